//! OffsetFetch, for one group: the shell asks the coordinators of a request's groups one by one.

use crate::coordinator::groups::Groups;
use crate::coordinator::names::Name;
use crate::coordinator::offsets::{GroupOffsets, Spot};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// Nothing is committed.
const NO_OFFSET: i64 = -1;

impl Groups {
    pub(in crate::coordinator) fn offset_fetch(
        &mut self,
        request: OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let none = GroupOffsets::default();
        let name: Name = request.group_id.as_str().into();
        let checked = self
            .group(&name)
            .map(|group| group.check_fetch(request.member_id.as_deref(), request.member_epoch));
        if let Some(Err(error_code)) = checked {
            return OffsetFetchResponseGroup { group_id: request.group_id, topics: Vec::new(), error_code };
        }
        let offsets = self.group(&name).map_or(&none, |group| &group.offsets);
        let answer = |topic: &Name, partition_index: i32, value: Option<OffsetCommitValue>| {
            let spot = Spot { group: name.clone(), topic: topic.clone(), partition: partition_index };
            if require_stable && self.pending().contains(&spot) {
                return partition_without(partition_index, ErrorCode::UNSTABLE_OFFSET_COMMIT);
            }
            value.map_or_else(
                || partition_without(partition_index, ErrorCode::NONE),
                |value| OffsetFetchResponsePartitions {
                    partition_index,
                    committed_offset: value.offset,
                    committed_leader_epoch: value.leader_epoch,
                    metadata: Some(value.metadata),
                    error_code: ErrorCode::NONE,
                },
            )
        };
        let topics = match request.topics {
            Some(topics) => topics
                .into_iter()
                .map(|topic| {
                    let shared: Name = topic.name.as_str().into();
                    let partitions = topic.partition_indexes.into_iter().map(|partition| {
                        let value = offsets.get(&topic.name, partition);
                        answer(
                            &shared,
                            partition,
                            value.filter(|value| is_same(value.topic_id, topic.topic_id)),
                        )
                    });
                    let partitions = partitions.collect();
                    OffsetFetchResponseTopics { name: topic.name, topic_id: topic.topic_id, partitions }
                })
                .collect(),
            None => offsets
                .topics()
                .into_iter()
                .map(|topic| OffsetFetchResponseTopics {
                    name: topic.to_string(),
                    topic_id: Uuid::ZERO,
                    partitions: offsets
                        .of(topic)
                        .map(|(partition, value)| answer(topic, partition, Some(value)))
                        .collect(),
                })
                .collect(),
        };
        OffsetFetchResponseGroup { group_id: request.group_id, topics, error_code: ErrorCode::NONE }
    }
}

/// An offset that was committed for a topic of this name that is no more is not told.
fn is_same(committed: Uuid, asked: Uuid) -> bool {
    committed.is_zero() || asked.is_zero() || committed == asked
}

fn partition_without(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    }
}
