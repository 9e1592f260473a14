//! Delegation tokens: nobody gets one over a connection on which he has not proved who he is.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse, ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};

const REFUSED: ErrorCode = ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
/// The first version that names who asks.
const NAMES_REQUESTER: i16 = 3;

/// Refuses.
pub fn create(mut asked: Asked) -> Result<Reply, Ended> {
    let request: CreateDelegationTokenRequest = asked.decode()?;
    let (kind, name) = ("User".to_owned(), "ANONYMOUS".to_owned());
    let owner = request.owner_principal_type.zip(request.owner_principal_name);
    let owner = owner.filter(|(_, name)| !name.is_empty());
    let mut response = CreateDelegationTokenResponse {
        error_code: REFUSED,
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
        ..Default::default()
    };
    if asked.version >= NAMES_REQUESTER {
        response.token_requester_principal_type = kind.clone();
        response.token_requester_principal_name = name.clone();
    }
    (response.principal_type, response.principal_name) = owner.unwrap_or((kind, name));
    asked.reply(&response)
}

/// Refuses.
pub fn renew(mut asked: Asked) -> Result<Reply, Ended> {
    let _: RenewDelegationTokenRequest = asked.decode()?;
    let response = RenewDelegationTokenResponse { expiry_timestamp_ms: -1, ..Default::default() };
    asked.reply(&RenewDelegationTokenResponse { error_code: REFUSED, ..response })
}

/// Refuses.
pub fn expire(mut asked: Asked) -> Result<Reply, Ended> {
    let _: ExpireDelegationTokenRequest = asked.decode()?;
    let response = ExpireDelegationTokenResponse { expiry_timestamp_ms: -1, ..Default::default() };
    asked.reply(&ExpireDelegationTokenResponse { error_code: REFUSED, ..response })
}

/// Refuses.
pub fn describe(mut asked: Asked) -> Result<Reply, Ended> {
    let _: DescribeDelegationTokenRequest = asked.decode()?;
    asked.reply(&DescribeDelegationTokenResponse { error_code: REFUSED, ..Default::default() })
}
