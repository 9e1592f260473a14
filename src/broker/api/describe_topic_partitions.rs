//! DescribeTopicPartitions: topics and their partitions, page by page.

use std::collections::BTreeSet;

use super::Asked;
use super::metadata::{TOPIC_OPERATIONS, View};
use crate::broker::connection::{Ended, Reply};
use crate::broker::coordinator::is_internal;
use crate::broker::core::Core;
use crate::controller::{Topic, names};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DescribeTopicPartitionsCursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};

/// What partitions are told with, as Metadata in its newest version.
const VERSION: i16 = i16::MAX;
/// Bytes of memory that an answer takes for each topic, and for each partition.
const ANSWER_PART: usize = 256;

/// How much memory an answer may take.
pub fn memory(core: &Core) -> usize {
    let image = core.image();
    (image.topic_count() + most_partitions(core).min(image.partition_count())) * ANSWER_PART
}

/// `max.request.partition.size.limit`
fn most_partitions(core: &Core) -> usize {
    let limit = core.config.layers.value("max.request.partition.size.limit");
    limit.and_then(|text| text.trim().parse().ok()).unwrap_or(2000)
}

/// Tells of the topics that are asked for, or of all, in the order of their names, from the cursor on.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeTopicPartitionsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let from = request.cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
    let named: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    if let Some(cursor) = &request.cursor
        && (cursor.partition_index < 0 || !named.is_empty() && !named.contains(from))
    {
        return asked.reply(&refuse(&request));
    }
    let image = core.image();
    let listener = &core.settings.listeners[asked.client.listener];
    let view = View { image: &image, listener, version: VERSION, operations: true };
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page {
        response: DescribeTopicPartitionsResponse::default(),
        left: limit.min(most_partitions(&core)).max(1),
    };
    let begins_at = |name: &str| match &request.cursor {
        Some(cursor) if cursor.topic_name == name => cursor.partition_index,
        _ => 0,
    };
    if named.is_empty() {
        for topic in image.topics_from(from) {
            if !page.add(&view, &topic.name, Some(topic), begins_at(&topic.name)) {
                break;
            }
        }
    } else {
        for name in named.range(from..) {
            if !page.add(&view, name, image.topic_named(name).map(|topic| &**topic), begins_at(name)) {
                break;
            }
        }
    }
    asked.reply(&page.response)
}

/// The answer, as far as it has come.
struct Page {
    response: DescribeTopicPartitionsResponse,
    /// How many partitions more it may have.
    left: usize,
}

impl Page {
    /// Adds a topic from a partition on; says whether there is room for more.
    fn add(&mut self, view: &View<'_>, name: &str, topic: Option<&Topic>, from: i32) -> bool {
        if self.left == 0 {
            self.go_on_at(name, 0);
            return false;
        }
        let mut told = DescribeTopicPartitionsResponseTopic {
            name: Some(name.to_owned()),
            is_internal: is_internal(name),
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..Default::default()
        };
        let Some(topic) = topic else {
            told.error_code = match names::check(name) {
                Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            self.response.topics.push(told);
            return true;
        };
        told.topic_id = topic.id;
        let mut rest = topic.partitions.iter().filter(|(number, _)| **number >= from);
        for (number, partition) in rest.by_ref().take(self.left) {
            let known = view.partition(*number, partition);
            told.partitions.push(DescribeTopicPartitionsResponsePartition {
                error_code: known.error_code,
                partition_index: *number,
                leader_id: known.leader_id,
                leader_epoch: known.leader_epoch,
                replica_nodes: known.replica_nodes,
                isr_nodes: known.isr_nodes,
                eligible_leader_replicas: Some(partition.eligible_leader_replicas.clone()),
                last_known_elr: Some(partition.last_known_elr.clone()),
                offline_replicas: known.offline_replicas,
            });
        }
        self.left -= told.partitions.len();
        self.response.topics.push(told);
        if let Some((number, _)) = rest.next() {
            self.go_on_at(name, *number);
            return false;
        }
        true
    }

    fn go_on_at(&mut self, topic: &str, partition_index: i32) {
        let cursor = DescribeTopicPartitionsCursor { topic_name: topic.to_owned(), partition_index };
        self.response.next_cursor = Some(cursor);
    }
}

/// The cursor names no topic that is asked for, or no partition: nothing is told.
fn refuse(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let refused = request.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(topic.name.clone()),
        ..Default::default()
    });
    DescribeTopicPartitionsResponse { topics: refused.collect(), ..Default::default() }
}
