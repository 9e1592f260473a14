//! AlterConfigs and IncrementalAlterConfigs: the controller changes the settings, and every core goes by them
//! before the answer.

use std::time::Duration;

use super::Asked;
use super::commands::command;
use crate::broker::connection::{Ended, Reply};
use crate::broker::controller::{Command, CommandReply};
use crate::wire::schema::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

/// How long the controller is waited for; the requests say no time.
const PATIENCE: Duration = Duration::from_secs(30);

/// AlterConfigs: what is not named goes back to its default.
pub async fn replace(mut asked: Asked) -> Result<Reply, Ended> {
    let request: AlterConfigsRequest = asked.decode()?;
    let named: Vec<_> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let done = command(&asked.client.core, Command::AlterConfigs(request), PATIENCE).await;
    let responses = match done {
        Ok(CommandReply::AlterConfigs(responses)) => responses,
        Ok(_) => unreachable!("the controller answers what it was asked"),
        Err(refusal) => {
            let refused = |(resource_type, resource_name)| AlterConfigsResourceResponse {
                error_code: refusal.error,
                error_message: Some(refusal.message.clone()),
                resource_type,
                resource_name,
            };
            named.into_iter().map(refused).collect()
        }
    };
    asked.reply(&AlterConfigsResponse { responses, ..AlterConfigsResponse::default() })
}

/// IncrementalAlterConfigs: what is not named stays as it is.
pub async fn change(mut asked: Asked) -> Result<Reply, Ended> {
    let request: IncrementalAlterConfigsRequest = asked.decode()?;
    let named: Vec<_> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let done = command(&asked.client.core, Command::IncrementalAlterConfigs(request), PATIENCE).await;
    let responses = match done {
        Ok(CommandReply::IncrementalAlterConfigs(responses)) => responses,
        Ok(_) => unreachable!("the controller answers what it was asked"),
        Err(refusal) => {
            let refused = |(resource_type, resource_name)| IncrementalAlterConfigsResourceResponse {
                error_code: refusal.error,
                error_message: Some(refusal.message.clone()),
                resource_type,
                resource_name,
            };
            named.into_iter().map(refused).collect()
        }
    };
    asked.reply(&IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() })
}
