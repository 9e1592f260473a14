//! DescribeAcls, CreateAcls and DeleteAcls: there is no authorizer.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    AclCreationResult, CreateAclsRequest, CreateAclsResponse, DeleteAclsFilterResult, DeleteAclsRequest,
    DeleteAclsResponse, DescribeAclsRequest, DescribeAclsResponse,
};

const DISABLED: ErrorCode = ErrorCode::SECURITY_DISABLED;

/// Says so.
pub fn describe(mut asked: Asked) -> Result<Reply, Ended> {
    let _: DescribeAclsRequest = asked.decode()?;
    let error_message = Some("No Authorizer is configured on the broker".to_owned());
    asked.reply(&DescribeAclsResponse { error_code: DISABLED, error_message, ..Default::default() })
}

/// Says so of each.
pub fn create(mut asked: Asked) -> Result<Reply, Ended> {
    let request: CreateAclsRequest = asked.decode()?;
    let refused = AclCreationResult { error_code: DISABLED, error_message: told() };
    let results = vec![refused; request.creations.len()];
    asked.reply(&CreateAclsResponse { results, ..CreateAclsResponse::default() })
}

/// Says so of each.
pub fn delete(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DeleteAclsRequest = asked.decode()?;
    let refused =
        DeleteAclsFilterResult { error_code: DISABLED, error_message: told(), ..Default::default() };
    let filter_results = vec![refused; request.filters.len()];
    asked.reply(&DeleteAclsResponse { filter_results, ..DeleteAclsResponse::default() })
}

fn told() -> Option<String> {
    Some("No Authorizer is configured.".to_owned())
}
