//! DescribeUserScramCredentials: nobody has any.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::collections::Map;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};

/// Says so of each user that is asked for.
pub fn describe(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeUserScramCredentialsRequest = asked.decode()?;
    let users: Vec<String> = request.users.into_iter().flatten().map(|user| user.name).collect();
    let mut times: Map<&str, usize> = Map::default();
    users.iter().for_each(|user| *times.entry(user).or_default() += 1);
    let mut results = Vec::new();
    for user in &users {
        let (error_code, message) = match times.remove(user.as_str()) {
            None => continue,
            Some(1) => (
                ErrorCode::RESOURCE_NOT_FOUND,
                format!("Attempt to describe a user credential that does not exist: {user}"),
            ),
            Some(_) => (
                ErrorCode::DUPLICATE_RESOURCE,
                format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
                ),
            ),
        };
        results.push(DescribeUserScramCredentialsResult {
            user: user.clone(),
            error_code,
            error_message: Some(message),
            ..Default::default()
        });
    }
    asked.reply(&DescribeUserScramCredentialsResponse {
        results,
        error_message: Some(String::new()),
        ..Default::default()
    })
}
