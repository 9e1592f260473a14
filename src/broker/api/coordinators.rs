//! The way from a request to the coordinator of its group.

use super::Asked;
use super::places::{Place, place};
use crate::broker::coordinator::groups::GroupCall;
use crate::broker::coordinator::{GROUPS_TOPIC, partition_for};
use crate::broker::core::Core;
use crate::broker::messages::{ShardReply, ShardRequest};
use crate::controller::Image;
use crate::coordinator::{Caller, Reply, Request, Token, refuse};
use crate::reactor::sync::Completion;
use crate::wire::error::ErrorCode;

/// Where the coordinator of a group is, if it is on this broker.
pub fn place_of_group(core: &Core, image: &Image, group: &str) -> Result<Place, ErrorCode> {
    let topic = image.topic_named(GROUPS_TOPIC).ok_or(ErrorCode::NOT_COORDINATOR)?;
    let partition = partition_for(group, topic.partitions.len());
    place(core, topic, partition).map_err(|_| ErrorCode::NOT_COORDINATOR)
}

/// Asks the coordinator at this place. The request is on its way when this returns.
pub fn ask_at(asked: &Asked, place: Place, request: Request) -> Completion<ShardReply> {
    let caller = Caller {
        token: Token(0),
        version: asked.version,
        client_id: asked.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", asked.client.peer.ip()),
    };
    let call = GroupCall { id: place.id, caller, request };
    asked.client.core.caller.call(place.core, ShardRequest::Group(Box::new(call)))
}

/// What a coordinator of groups answers.
pub async fn answered(answer: Completion<ShardReply>) -> Reply {
    match answer.await {
        ShardReply::Group(reply) => *reply,
        _ => unreachable!("a shard answers what it was asked"),
    }
}

/// Asks the coordinator of a group.
pub async fn ask(asked: &Asked, group: &str, request: Request) -> Reply {
    let core = &asked.client.core;
    match place_of_group(core, &core.image(), group) {
        Ok(place) => answered(ask_at(asked, place, request)).await,
        // What is wrong in itself is told by whoever is asked.
        Err(_) if group.is_empty() => refuse(request, ErrorCode::INVALID_GROUP_ID),
        Err(error) => refuse(request, error),
    }
}
