//! AlterPartitionReassignments and ListPartitionReassignments. On one node a partition can only be where it is.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::controller::{Image, Refusal, names};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};

/// Answers each partition: it stays where it is, or the wish cannot be met.
pub fn alter(mut asked: Asked) -> Result<Reply, Ended> {
    let request: AlterPartitionReassignmentsRequest = asked.decode()?;
    let image = asked.client.core.image();
    let nothing = request.topics.is_empty();
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|part| {
            let judged = judge(&image, &topic.name, part, request.allow_replication_factor_change);
            let error_code = judged.as_ref().err().map_or(ErrorCode::NONE, |refusal| refusal.error);
            let said = judged.err().map(|refusal| refusal.message).filter(|message| !message.is_empty());
            ReassignablePartitionResponse {
                partition_index: part.partition_index,
                error_code,
                error_message: said,
            }
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse { partitions, name: topic.name }
    });
    asked.reply(&AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses: responses.collect(),
        error_message: nothing.then(String::new),
        ..AlterPartitionReassignmentsResponse::default()
    })
}

fn judge(
    image: &Image,
    name: &str,
    part: &ReassignablePartition,
    may_change_count: bool,
) -> Result<(), Refusal> {
    let unknown = |what| Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what);
    let (number, shown) = (part.partition_index, names::shown(name));
    let topic = image.topic_named(name);
    let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {shown}.")))?;
    let partition = topic.partitions.get(&number);
    let partition =
        partition.ok_or_else(|| unknown(format!("Unable to find partition {shown}:{number}.")))?;
    let Some(wanted) = &part.replicas else {
        return Err(Refusal::new(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, ""));
    };
    let invalid = |what: String| {
        Err(Refusal::new(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!("The manual partition assignment includes {what}"),
        ))
    };
    if wanted.is_empty() {
        return invalid("an empty replica list.".to_owned());
    }
    let mut sorted = wanted.clone();
    sorted.sort_unstable();
    for (i, id) in sorted.iter().enumerate() {
        if image.broker(*id).is_none() {
            return invalid(format!("broker {id}, but no such broker is registered."));
        }
        if i > 0 && sorted[i - 1] == *id {
            return invalid(format!("the broker {id} more than once."));
        }
    }
    if !may_change_count && wanted.len() != partition.replicas.len() {
        return Err(Refusal::new(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            format!("the partition has {} replicas, not {}", partition.replicas.len(), wanted.len()),
        ));
    }
    if *wanted != partition.replicas {
        let what = "the partition cannot be moved: this broker is the only one that serves";
        return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, what));
    }
    Ok(())
}

/// Nothing is being moved.
pub fn list(mut asked: Asked) -> Result<Reply, Ended> {
    let _: ListPartitionReassignmentsRequest = asked.decode()?;
    asked.reply(&ListPartitionReassignmentsResponse::default())
}
