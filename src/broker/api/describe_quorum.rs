//! DescribeQuorum: who votes on the metadata, and how far each has come. One node is a quorum of one.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::broker::metadata_log::{METADATA_LOG, METADATA_TOPIC};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DescribeQuorumNode, DescribeQuorumReplicaState, DescribeQuorumRequest, DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData, DescribeQuorumResponseTopicData, DescribeQuorumTopicData,
};

/// The first version that tells of nodes and their directories.
const TELLS_NODES: i16 = 2;

/// Tells of the metadata log's only partition, which must be asked for alone.
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeQuorumRequest = asked.decode()?;
    let tells_nodes = asked.version >= TELLS_NODES;
    let knows_it = is_metadata(&request.topics);
    let core = &asked.client.core;
    let node = core.settings.node_id;
    let told = |partition_index: i32| {
        if !knows_it {
            let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            let error_message = Some("This server does not host this topic-partition.".to_owned());
            return DescribeQuorumResponsePartitionData {
                partition_index,
                error_code,
                error_message,
                ..Default::default()
            };
        }
        let image = core.image();
        let directory = image.broker(node).and_then(|broker| broker.log_dirs.first().copied());
        let (end, now) = (image.version() + 1, core.reactor.wall_clock_ms());
        let voter = DescribeQuorumReplicaState {
            replica_id: node,
            replica_directory_id: directory.filter(|_| tells_nodes).unwrap_or_default(),
            log_end_offset: end,
            last_fetch_timestamp: now,
            last_caught_up_timestamp: now,
        };
        DescribeQuorumResponsePartitionData {
            partition_index,
            error_message: Some(String::new()),
            leader_id: node,
            high_watermark: end,
            current_voters: vec![voter],
            ..Default::default()
        }
    };
    let topics = request.topics.iter().map(|topic| DescribeQuorumResponseTopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic.partitions.iter().map(|part| told(part.partition_index)).collect(),
    });
    // The voter has no listener of its own: nobody else votes.
    let nodes = DescribeQuorumNode { node_id: node, listeners: Vec::new() };
    asked.reply(&DescribeQuorumResponse {
        topics: topics.collect(),
        error_message: Some(String::new()),
        nodes: if knows_it && tells_nodes { vec![nodes] } else { Vec::new() },
        ..DescribeQuorumResponse::default()
    })
}

fn is_metadata(topics: &[DescribeQuorumTopicData]) -> bool {
    let [topic] = topics else { return false };
    let [part] = &topic.partitions[..] else { return false };
    topic.topic_name == METADATA_TOPIC && part.partition_index == METADATA_LOG.partition
}
