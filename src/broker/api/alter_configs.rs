//! AlterConfigs and IncrementalAlterConfigs: the controller changes the settings, and every core goes by them
//! before the answer.

use std::time::Duration;

use super::Asked;
use super::commands::command;
use crate::broker::connection::{Ended, Reply};
use crate::broker::controller::{Command, CommandReply};
use crate::broker::core::Core;
use crate::collections::Set;
use crate::controller::Refusal;
use crate::controller::configs::check_changes;
use crate::controller::image::resource;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource, IncrementalAlterConfigsResourceResponse,
    IncrementalAlterConfigsResponse,
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

/// IncrementalAlterConfigs: what is not named stays as it is. The levels of loggers are this broker's own affair; all
/// else is the controller's.
pub async fn change(mut asked: Asked) -> Result<Reply, Ended> {
    let mut request: IncrementalAlterConfigsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let of_loggers = |r: &IncrementalAlterConfigsResource| r.resource_type == resource::BROKER_LOGGER;
    let (loggers, others): (Vec<_>, Vec<_>) = request.resources.into_iter().partition(of_loggers);
    let mut responses = change_levels(&core, &loggers, request.validate_only);
    request.resources = others;
    if !request.resources.is_empty() || responses.is_empty() {
        responses.extend(change_settings(&core, request).await);
    }
    asked.reply(&IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() })
}

async fn change_settings(
    core: &Core,
    request: IncrementalAlterConfigsRequest,
) -> Vec<IncrementalAlterConfigsResourceResponse> {
    let named: Vec<_> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    match command(core, Command::IncrementalAlterConfigs(request), PATIENCE).await {
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
    }
}

fn change_levels(
    core: &Core,
    resources: &[IncrementalAlterConfigsResource],
    validate_only: bool,
) -> Vec<IncrementalAlterConfigsResourceResponse> {
    let mut seen = Set::default();
    let twice: Set<&str> =
        resources.iter().map(|r| r.resource_name.as_str()).filter(|name| !seen.insert(*name)).collect();
    let change = |wanted: &IncrementalAlterConfigsResource| {
        if twice.contains(wanted.resource_name.as_str()) {
            let what = "Each resource must appear at most once.";
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, what));
        }
        check_changes(&wanted.configs)?;
        check_node(core, &wanted.resource_name)?;
        match validate_only {
            true => core.loggers().levels().changed(&wanted.configs).map(drop),
            false => core.loggers().change(&wanted.configs),
        }
    };
    let response = |wanted: &IncrementalAlterConfigsResource| {
        let refusal = change(wanted).err();
        IncrementalAlterConfigsResourceResponse {
            error_code: refusal.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.error),
            error_message: refusal.map(|refusal| refusal.message),
            resource_type: wanted.resource_type,
            resource_name: wanted.resource_name.clone(),
        }
    };
    resources.iter().map(response).collect()
}

/// Whether it is this broker's loggers that are meant.
fn check_node(core: &Core, name: &str) -> Result<(), Refusal> {
    let node = core.settings.node_id;
    let what = match name.parse::<i32>() {
        Ok(id) if id == node => return Ok(()),
        Ok(id) => format!("Unexpected node id. Expected {node}, but received {id}"),
        Err(_) => format!("Node id must be an integer, but it is: {name}"),
    };
    Err(Refusal::new(ErrorCode::INVALID_REQUEST, what))
}
