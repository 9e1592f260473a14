//! Markers of a coordinator's transactions, on their way to the partitions of this broker.

use std::sync::Arc;

use super::GROUPS_TOPIC;
use super::groups::GroupCall;
use crate::broker::api::places::place;
use crate::broker::core::Core;
use crate::broker::messages::{PartitionId, ShardReply, ShardRequest};
use crate::controller::Image;
use crate::coordinator::names::Name;
use crate::coordinator::transaction::{Markers, Written};
use crate::coordinator::{self, Caller, Token};
use crate::reactor::sync::Completion;
use crate::wire::error::ErrorCode;

/// Writes markers, and tells what became of each once nothing is under way any more.
pub async fn write(core: &Core, markers: &Markers) -> Vec<(Name, i32, Written)> {
    let image = core.image();
    let mut written = Vec::with_capacity(markers.partitions.len());
    let mut calls = Vec::new();
    for (topic, partition) in markers.partitions.iter() {
        core.caller.has_room().await;
        match call(core, &image, topic, partition, markers) {
            Ok(answer) => calls.push((topic, partition, answer)),
            Err(told) => written.push((topic.clone(), partition, told)),
        }
    }
    for (topic, partition, answer) in calls {
        let error = match answer.await {
            ShardReply::Group(reply) => match *reply {
                coordinator::Reply::EndTransaction(error) => error,
                _ => unreachable!("a coordinator answers what it was asked"),
            },
            _ => unreachable!("a shard answers what it was asked"),
        };
        written.push((topic.clone(), partition, Written::Answer(error)));
    }
    written
}

/// Has the marker of one partition written. What groups have in their partition is their coordinator's to end.
fn call(
    core: &Core,
    image: &Arc<Image>,
    topic: &Name,
    partition: i32,
    markers: &Markers,
) -> Result<Completion<ShardReply>, Written> {
    let found = image.topic_named(topic).filter(|found| found.partitions.contains_key(&partition));
    let found = found.ok_or(Written::Gone)?;
    let place = place(core, found, partition).map_err(Written::Answer)?;
    if **topic == *GROUPS_TOPIC {
        return Ok(core
            .caller
            .call(place.core, ShardRequest::Group(Box::new(end_of_commits(place.id, markers)))));
    }
    // Nothing produces within transactions to other partitions yet.
    Err(Written::Answer(ErrorCode::UNSUPPORTED_VERSION))
}

/// The end of the offsets that a transaction has committed.
fn end_of_commits(id: PartitionId, markers: &Markers) -> GroupCall {
    let request = coordinator::Request::EndTransaction {
        producer: markers.producer,
        coordinator_epoch: markers.coordinator_epoch,
        transaction_version: markers.transaction_version,
        commit: markers.commit,
    };
    let caller = Caller { token: Token(0), version: 0, client_id: String::new(), client_host: String::new() };
    GroupCall { id, caller, request }
}
