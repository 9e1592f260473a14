//! DescribeClientQuotas: there are none.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::collections::Set;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DescribeClientQuotasComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// None, to a question that can be asked.
pub fn describe(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeClientQuotasRequest = asked.decode()?;
    let response = match check(&request.components) {
        Ok(()) => DescribeClientQuotasResponse {
            entries: Some(Vec::new()),
            error_message: Some(String::new()),
            ..Default::default()
        },
        Err((error_code, message)) => DescribeClientQuotasResponse {
            error_code,
            error_message: Some(message),
            entries: None,
            ..Default::default()
        },
    };
    asked.reply(&response)
}

fn check(components: &[DescribeClientQuotasComponentData]) -> Result<(), (ErrorCode, String)> {
    let invalid = |what: String| Err((ErrorCode::INVALID_REQUEST, what));
    let mut named = Set::default();
    for DescribeClientQuotasComponentData { entity_type, match_type, r#match: wanted } in components {
        if entity_type.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if !named.insert(entity_type.as_str()) {
            return invalid(format!("Entity type {entity_type} cannot appear more than once in the filter."));
        }
        if !["user", "client-id", "ip"].contains(&entity_type.as_str()) {
            return Err((ErrorCode::UNSUPPORTED_VERSION, format!("Unsupported entity type {entity_type}")));
        }
        match (*match_type, wanted) {
            (EXACT, None) => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned(),
                );
            }
            (DEFAULT, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.".to_owned(),
                );
            }
            (ANY, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.".to_owned(),
                );
            }
            (EXACT | DEFAULT | ANY, _) => {}
            (other, _) => return invalid(format!("Unknown match type {other}")),
        }
    }
    if named.contains("ip") && named.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or \
             clientId filter component."
                .to_owned(),
        );
    }
    Ok(())
}
