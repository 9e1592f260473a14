//! OffsetCommit and TxnOffsetCommit.

use crate::coordinator::group::CommitBy;
use crate::coordinator::groups::{Caller, Groups, Reply};
use crate::coordinator::records::{Form, Producer, Record};
use crate::coordinator::runtime::{Effects, Now};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// From this version on an unknown group is called so.
const KNOWS_GROUP_ID_NOT_FOUND: i16 = 9;

impl Groups {
    pub(in crate::coordinator) fn offset_commit(
        &mut self,
        now: Now,
        caller: Caller,
        request: OffsetCommitRequest,
        effects: &mut Effects<Groups>,
    ) {
        let by = CommitBy {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
            knows_epochs: caller.version >= KNOWS_GROUP_ID_NOT_FOUND,
            transactional: false,
        };
        let unknown = match caller.version < KNOWS_GROUP_ID_NOT_FOUND {
            true => ErrorCode::ILLEGAL_GENERATION,
            false => ErrorCode::GROUP_ID_NOT_FOUND,
        };
        let checked = self.check_commit(&request.group_id, &by, unknown);
        if let Err(error) = checked {
            return effects.reply(caller.token, Reply::OffsetCommit(refused_commit(request, error)));
        }
        self.with_group(now, &request.group_id, effects, |group, turn| {
            group.keep_alive_by_commit(&request.member_id, turn);
        });
        let expires = match request.retention_time_ms {
            -1 => -1,
            retention => now.wall.saturating_add(retention),
        };
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default(),
                    commit_timestamp: now.wall,
                    expire_timestamp: expires,
                    topic_id: topic.topic_id,
                };
                let error_code = self.commit_one(
                    &request.group_id,
                    &topic.name,
                    partition.partition_index,
                    value,
                    effects,
                );
                OffsetCommitResponsePartition { partition_index: partition.partition_index, error_code }
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions }
        });
        let topics = topics.collect();
        let reply = OffsetCommitResponse { throttle_time_ms: 0, topics };
        effects.reply(caller.token, Reply::OffsetCommit(reply));
    }

    pub(in crate::coordinator) fn txn_offset_commit(
        &mut self,
        now: Now,
        caller: Caller,
        request: TxnOffsetCommitRequest,
        effects: &mut Effects<Groups>,
    ) {
        let by = CommitBy {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id,
            knows_epochs: true,
            transactional: true,
        };
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let checked = match request.group_id.is_empty() {
            true => Err(ErrorCode::INVALID_GROUP_ID),
            false => self.check_commit(&request.group_id, &by, ErrorCode::ILLEGAL_GENERATION),
        };
        if let Err(error) = checked.and_then(|()| self.committers().check(producer)) {
            return effects.reply(caller.token, Reply::TxnOffsetCommit(refused_txn_commit(request, error)));
        }
        effects.form = Form::Transactional(producer);
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default(),
                    commit_timestamp: now.wall,
                    expire_timestamp: -1,
                    topic_id: Uuid::ZERO,
                };
                let error_code = self.commit_one(
                    &request.group_id,
                    &topic.name,
                    partition.partition_index,
                    value,
                    effects,
                );
                TxnOffsetCommitResponsePartition { partition_index: partition.partition_index, error_code }
            });
            let partitions = partitions.collect();
            TxnOffsetCommitResponseTopic { name: topic.name, partitions }
        });
        let topics = topics.collect();
        let reply = TxnOffsetCommitResponse { throttle_time_ms: 0, topics };
        effects.reply(caller.token, Reply::TxnOffsetCommit(reply));
    }

    /// Whether this committer may commit. A group that is not there is made by the commit of one who is no member.
    fn check_commit(&self, group_id: &str, by: &CommitBy<'_>, unknown: ErrorCode) -> Result<(), ErrorCode> {
        match self.group(group_id) {
            Some(group) => match group.check_commit(by) {
                Err(ErrorCode::STALE_MEMBER_EPOCH) if by.transactional => Err(ErrorCode::ILLEGAL_GENERATION),
                checked => checked,
            },
            None if by.generation < 0 => Ok(()),
            None => Err(unknown),
        }
    }

    fn commit_one(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        value: OffsetCommitValue,
        effects: &mut Effects<Groups>,
    ) -> ErrorCode {
        if is_longer(&value.metadata, self.settings().offset_metadata_max) {
            return ErrorCode::OFFSET_METADATA_TOO_LARGE;
        }
        let key = OffsetCommitKey { group: group.into(), topic: topic.into(), partition };
        effects.records.push(Record::Offset(key, Some(value)));
        ErrorCode::NONE
    }
}

/// Kafka counts what Java calls characters.
fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.encode_utf16().count() > most
}

/// The answer with the same error for each partition.
pub(in crate::coordinator) fn refused_commit(
    request: OffsetCommitRequest,
    error: ErrorCode,
) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error,
            })
            .collect(),
    });
    OffsetCommitResponse { throttle_time_ms: 0, topics: topics.collect() }
}

/// The same for a commit within a transaction.
pub(in crate::coordinator) fn refused_txn_commit(
    request: TxnOffsetCommitRequest,
    error: ErrorCode,
) -> TxnOffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error,
            })
            .collect(),
    });
    TxnOffsetCommitResponse { throttle_time_ms: 0, topics: topics.collect() }
}
