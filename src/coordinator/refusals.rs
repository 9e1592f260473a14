//! Replies that say no: an error where each kind of reply has its place for one.

use super::group::consumer::refused_heartbeat;
use super::groups::{Reply, Request};
use super::offsets::{refused_commit, refused_txn_commit};
use super::runtime::error_of_log;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// The answer to a request that is not handled.
pub fn refuse(request: Request, error: ErrorCode) -> Reply {
    match request {
        Request::Join(..) => Reply::Join(join("", error)),
        Request::Sync(_) => Reply::Sync(SyncGroupResponse { error_code: error, ..Default::default() }),
        // Nobody can have been forgotten while the groups are read.
        Request::Heartbeat(_) if error == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
            Reply::Heartbeat(HeartbeatResponse::default())
        }
        Request::Heartbeat(_) => {
            Reply::Heartbeat(HeartbeatResponse { error_code: error, ..Default::default() })
        }
        Request::Leave(_) => Reply::Leave(LeaveGroupResponse { error_code: error, ..Default::default() }),
        Request::ConsumerHeartbeat(..) => Reply::ConsumerHeartbeat(refused_heartbeat(error, None)),
        Request::OffsetCommit(request) => Reply::OffsetCommit(refused_commit(request, error)),
        Request::TxnOffsetCommit(request) => Reply::TxnOffsetCommit(refused_txn_commit(request, error)),
        Request::OffsetFetch(request, _) => Reply::OffsetFetch(OffsetFetchResponseGroup {
            group_id: request.group_id,
            error_code: error,
            ..Default::default()
        }),
        Request::OffsetDelete(_) => {
            Reply::OffsetDelete(OffsetDeleteResponse { error_code: error, ..Default::default() })
        }
        Request::List(_) => Reply::List(ListGroupsResponse { error_code: error, ..Default::default() }),
        Request::Describe(groups) => Reply::Describe(
            groups
                .into_iter()
                .map(|group_id| DescribedGroup { group_id, error_code: error, ..Default::default() })
                .collect(),
        ),
        Request::ConsumerDescribe(groups) => Reply::ConsumerDescribe(
            groups
                .into_iter()
                .map(|group_id| ConsumerGroupDescribeDescribedGroup {
                    group_id,
                    error_code: error,
                    ..Default::default()
                })
                .collect(),
        ),
        Request::Delete(groups) => Reply::Delete(
            groups.into_iter().map(|group_id| DeletableGroupResult { group_id, error_code: error }).collect(),
        ),
        Request::EndTransaction { .. } => Reply::EndTransaction(error),
    }
}

/// The answer instead of one whose records the log did not take, because of this error of the log.
pub(super) fn fail(reply: Reply, error: ErrorCode) -> Reply {
    let told = error_of_log(error);
    match reply {
        Reply::Join(_) => Reply::Join(join("", told)),
        Reply::Sync(_) => Reply::Sync(SyncGroupResponse { error_code: told, ..Default::default() }),
        Reply::Heartbeat(_) => Reply::Heartbeat(HeartbeatResponse { error_code: told, ..Default::default() }),
        Reply::Leave(_) => Reply::Leave(LeaveGroupResponse { error_code: told, ..Default::default() }),
        Reply::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(refused_heartbeat(told, None)),
        Reply::OffsetCommit(mut reply) => {
            let partitions = reply.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.error_code = told);
            Reply::OffsetCommit(reply)
        }
        Reply::TxnOffsetCommit(mut reply) => {
            let partitions = reply.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.error_code = told);
            Reply::TxnOffsetCommit(reply)
        }
        Reply::OffsetFetch(reply) => {
            // Consumers before 3.9 know no other error that makes them look for the coordinator and try again.
            let error_code = match told {
                ErrorCode::COORDINATOR_NOT_AVAILABLE => ErrorCode::NOT_COORDINATOR,
                told => told,
            };
            Reply::OffsetFetch(OffsetFetchResponseGroup {
                group_id: reply.group_id,
                topics: Vec::new(),
                error_code,
            })
        }
        Reply::OffsetDelete(_) => {
            Reply::OffsetDelete(OffsetDeleteResponse { error_code: told, ..Default::default() })
        }
        Reply::List(_) => Reply::List(ListGroupsResponse { error_code: told, ..Default::default() }),
        Reply::Describe(groups) => Reply::Describe(
            groups
                .into_iter()
                .map(|group| DescribedGroup {
                    group_id: group.group_id,
                    error_code: told,
                    ..Default::default()
                })
                .collect(),
        ),
        Reply::ConsumerDescribe(groups) => Reply::ConsumerDescribe(
            groups
                .into_iter()
                .map(|group| ConsumerGroupDescribeDescribedGroup {
                    group_id: group.group_id,
                    error_code: told,
                    ..Default::default()
                })
                .collect(),
        ),
        Reply::Delete(results) => Reply::Delete(
            results.into_iter().map(|result| DeletableGroupResult { error_code: told, ..result }).collect(),
        ),
        Reply::EndTransaction(_) => Reply::EndTransaction(told),
    }
}

/// A JoinGroup response that is an error. The protocol's name is empty, not null, as in Kafka's.
pub(super) fn join(member_id: &str, error_code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code,
        member_id: member_id.into(),
        protocol_name: Some(String::new()),
        ..Default::default()
    }
}
