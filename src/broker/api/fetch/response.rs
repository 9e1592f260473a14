//! What the client of a fetch is told.

use std::sync::Arc;

use super::plan::{Part, Plan};
use crate::broker::api::Asked;
use crate::broker::api::places::{endpoints, is_led_elsewhere, leader};
use crate::broker::connection::{Ended, Reply};
use crate::broker::sessions::{Closing, TopicKey};
use crate::controller::{Image, Topic};
use crate::reactor::sync::Permit;
use crate::wire::codec::Records;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    PartitionData,
};
use crate::wire::uuid::Uuid;

/// The first version that says who leads a partition and where the logs part.
const TELLS_LEADER: i16 = 12;
/// The first version that says how to reach that leader.
const TELLS_ENDPOINTS: i16 = 16;

/// An answer to the request as a whole.
pub fn refused(error_code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code, ..FetchResponse::default() }
}

/// The frame: what the session has the client told, with the records as they lie in memory.
pub fn reply(asked: &Asked, plan: Plan, closing: &Closing, held: Option<Permit>) -> Result<Reply, Ended> {
    let core = &asked.client.core;
    let image = core.image();
    let mut response = FetchResponse { session_id: closing.id, ..FetchResponse::default() };
    let mut leaders = Vec::new();
    let read_committed = plan.limits.read_committed;
    let told = plan.parts.into_iter().zip(&closing.tell).filter(|(_, tell)| **tell);
    for (part, _) in told {
        let mut data = partition_data(part.wanted.key.1, &part, read_committed);
        if asked.version >= TELLS_LEADER && is_led_elsewhere(data.error_code) {
            data.current_leader = leader(topic(&image, &part.wanted.key.0), data.partition_index);
            leaders.push(data.current_leader.clone());
        }
        if let Some((epoch, end_offset)) = part.reply.diverging {
            data.diverging_epoch = EpochEndOffset { epoch, end_offset };
        }
        data.records = Some(Records::from(part.reply.records));
        add(&mut response.responses, part.wanted.key.0, data);
    }
    if asked.version >= TELLS_ENDPOINTS {
        let listener = &core.settings.listeners[asked.client.listener];
        response.node_endpoints = endpoints(&image, listener, leaders.into_iter());
    }
    let mut reply = asked.reply(&response)?;
    reply.held.extend(held);
    Ok(reply)
}

fn partition_data(partition_index: i32, part: &Part, read_committed: bool) -> PartitionData {
    let reply = &part.reply;
    let ok = reply.error.is_none();
    let aborted = reply.aborted.iter().map(|aborted| AbortedTransaction {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
    });
    let unless_error = |offset| if ok { offset } else { -1 };
    PartitionData {
        partition_index,
        error_code: reply.error,
        high_watermark: unless_error(reply.high_watermark),
        last_stable_offset: unless_error(reply.last_stable_offset),
        log_start_offset: unless_error(reply.log_start_offset),
        aborted_transactions: (ok && read_committed).then(|| aborted.collect()),
        current_leader: LeaderIdAndEpoch::default(),
        ..PartitionData::default()
    }
}

/// Puts partitions of one topic that follow one another under one name.
fn add(topics: &mut Vec<FetchableTopicResponse>, key: TopicKey, data: PartitionData) {
    let (name, id) = match &key {
        TopicKey::Name(name) => (&**name, Uuid::ZERO),
        TopicKey::Id(id) => ("", *id),
    };
    match topics.last_mut() {
        Some(last) if last.topic == name && last.topic_id == id => last.partitions.push(data),
        _ => topics.push(FetchableTopicResponse {
            topic: name.to_string(),
            topic_id: id,
            partitions: vec![data],
        }),
    }
}

fn topic<'a>(image: &'a Image, key: &TopicKey) -> Option<&'a Arc<Topic>> {
    match key {
        TopicKey::Name(name) => image.topic_named(name),
        TopicKey::Id(id) => image.topic(*id),
    }
}
