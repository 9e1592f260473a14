//! Replies that say no: an error where each kind of reply has its place for one.

use super::markers::Outcome;
use super::{Reply, Request, end, init};
use crate::coordinator::runtime::error_of_log;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// The answer to a request that is not handled.
pub fn refuse(request: Request, error: ErrorCode) -> Reply {
    match request {
        Request::InitProducerId(_) => Reply::InitProducerId(init::refused(error)),
        Request::AddPartitions(request) => Reply::AddPartitions(request.answer(|_, _| error)),
        Request::AddOffsets(..) => {
            Reply::AddOffsets(AddOffsetsToTxnResponse { error_code: error, ..Default::default() })
        }
        Request::End(_) => Reply::End(end::refused(error)),
        Request::List(_) => Reply::List(ListTransactionsResponse { error_code: error, ..Default::default() }),
        Request::Describe(ids) => {
            let state = |transactional_id| DescribeTransactionsTransactionState {
                error_code: error,
                transactional_id,
                ..Default::default()
            };
            Reply::Describe(ids.into_iter().map(state).collect())
        }
    }
}

/// The answer instead of one whose records the log did not take, because of this error of the log.
pub(super) fn fail(reply: Reply, error: ErrorCode) -> Reply {
    let told = error_of_log(error);
    match reply {
        Reply::InitProducerId(_) => Reply::InitProducerId(init::refused(told)),
        Reply::AddPartitions(mut result) => {
            let partitions =
                result.topic_results.iter_mut().flat_map(|topic| &mut topic.results_by_partition);
            partitions.for_each(|partition| partition.partition_error_code = told);
            Reply::AddPartitions(result)
        }
        Reply::AddOffsets(_) => {
            Reply::AddOffsets(AddOffsetsToTxnResponse { error_code: told, ..Default::default() })
        }
        Reply::End(_) => Reply::End(end::refused(told)),
        Reply::List(_) => Reply::List(ListTransactionsResponse { error_code: told, ..Default::default() }),
        Reply::Describe(states) => {
            let state = |state: DescribeTransactionsTransactionState| DescribeTransactionsTransactionState {
                error_code: told,
                transactional_id: state.transactional_id,
                ..Default::default()
            };
            Reply::Describe(states.into_iter().map(state).collect())
        }
        Reply::Markers(markers) => Reply::Withheld(markers.told(Outcome::Withheld)),
        Reply::Withheld(marked) => Reply::Withheld(marked),
    }
}
