//! ElectLeaders. With one replica, who leads a partition is the only one who can.

use std::sync::Arc;

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::broker::core::Core;
use crate::controller::image::NO_LEADER;
use crate::controller::{Image, Partition, Topic, names};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    ElectLeadersPartitionResult, ElectLeadersRequest, ElectLeadersResponse, ElectLeadersTopicPartitions,
    ReplicaElectionResult,
};

/// The first version that says which kind of election, and has an error for all.
const SAYS_KIND: i16 = 1;
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
/// Bytes of memory that an answer takes for each topic that is not asked for by name.
const ANSWER_TOPIC: usize = 384;

/// How much memory an answer may take: all topics may be asked for.
pub fn memory(core: &Core) -> usize {
    core.image().topic_count() * ANSWER_TOPIC
}

/// Tells of each partition that no election is needed, or why there can be none.
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: ElectLeadersRequest = asked.decode()?;
    let image = asked.client.core.image();
    let kind = if asked.version >= SAYS_KIND { request.election_type } else { PREFERRED };
    let known = [PREFERRED, UNCLEAN].contains(&kind);
    let replica_election_results = match &request.topic_partitions {
        Some(topics) if known => topics.iter().map(|topic| elect(&image, kind, topic)).collect(),
        None if known => all(&image, kind),
        topics => {
            let message = format!("Unknown election type {kind}");
            topics.iter().flatten().map(|topic| refuse(topic, &message)).collect()
        }
    };
    asked.reply(&ElectLeadersResponse {
        error_code: if known { ErrorCode::NONE } else { ErrorCode::INVALID_REQUEST },
        replica_election_results,
        ..ElectLeadersResponse::default()
    })
}

fn elect(image: &Image, kind: i8, topic: &ElectLeadersTopicPartitions) -> ReplicaElectionResult {
    let name = &topic.topic;
    let (known, shown) = (image.topic_named(name), names::shown(name));
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let one = |partition_id: &i32| {
        let (error_code, message) = match known.map(|known| known.partitions.get(partition_id)) {
            Some(Some(partition)) => judge(partition, kind),
            Some(None) => (unknown, format!("No such partition as {shown}-{partition_id}")),
            None => (unknown, format!("No such topic as {shown}")),
        };
        ElectLeadersPartitionResult { partition_id: *partition_id, error_code, error_message: Some(message) }
    };
    let partition_result = topic.partitions.iter().map(one).collect();
    ReplicaElectionResult { topic: name.clone(), partition_result }
}

/// All topics, with those partitions of which there is something to say.
fn all(image: &Image, kind: i8) -> Vec<ReplicaElectionResult> {
    let tell = |topic: &Arc<Topic>| {
        let judged = topic.partitions.iter().map(|(number, partition)| (*number, judge(partition, kind)));
        let told = judged.filter(|(_, (error, _))| *error != ErrorCode::ELECTION_NOT_NEEDED);
        let results = told.map(|(partition_id, (error_code, message))| ElectLeadersPartitionResult {
            partition_id,
            error_code,
            error_message: Some(message),
        });
        ReplicaElectionResult { topic: topic.name.to_string(), partition_result: results.collect() }
    };
    image.topics().map(tell).collect()
}

fn judge(partition: &Partition, kind: i8) -> (ErrorCode, String) {
    if partition.leader != NO_LEADER {
        let message = "Leader election not needed for topic partition.";
        return (ErrorCode::ELECTION_NOT_NEEDED, message.to_owned());
    }
    let error = match kind {
        PREFERRED => ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
        _ => ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
    };
    (error, error.message().to_owned())
}

fn refuse(topic: &ElectLeadersTopicPartitions, message: &str) -> ReplicaElectionResult {
    let one = |partition_id: &i32| ElectLeadersPartitionResult {
        partition_id: *partition_id,
        error_code: ErrorCode::INVALID_REQUEST,
        error_message: Some(message.to_owned()),
    };
    let partition_result = topic.partitions.iter().map(one).collect();
    ReplicaElectionResult { topic: topic.topic.clone(), partition_result }
}
