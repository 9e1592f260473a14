//! Offsets that are committed within transactions: the transaction's coordinator is asked before the group's.

use std::rc::Rc;

use super::GROUPS_TOPIC;
use super::groups::refused;
use super::seat::{Seat, now};
use crate::broker::call::Responder;
use crate::broker::core::Core;
use crate::broker::shard::Shard;
use crate::broker::verification::{Mode, verify};
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::error_of_log;
use crate::coordinator::{Caller, Event, Groups, Request};
use crate::reactor::Class;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{AddPartitionsToTxnTopic, TxnOffsetCommitRequest};

/// From this version of TxnOffsetCommit on, clients know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 4;
/// From this version on, the broker adds the group's offsets to the transaction, not the client.
const IS_ADDED: i16 = 5;

impl Shard {
    /// Commits offsets within a transaction. The coordinator of transactions is asked first, but where the transaction
    /// has offsets here already: a request that comes late must not get into the transaction after.
    pub(super) fn commit_in_transaction(
        &self,
        seat: Rc<Seat<Groups>>,
        caller: Caller,
        request: TxnOffsetCommitRequest,
        responder: Responder,
    ) {
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let version = caller.version;
        let (is_open, ended) = seat.look(|groups| {
            let committers = groups.committers();
            (committers.is_open(producer), committers.ended(producer.id))
        });
        let commit = move |seat: &Seat<Groups>, now, request, responder| {
            let event = |token| Event::Request(Caller { token, ..caller }, Request::TxnOffsetCommit(request));
            seat.ask(now, responder, event);
        };
        if is_open || !seat.is_active() {
            return commit(&seat, now(&self.reactor), request, responder);
        }
        let core = self.transactions.core();
        self.reactor.spawn(Class::Coordination, async move {
            let Some(core) = core.upgrade() else { return };
            let agreed = agree(&core, &request, version, seat.id().partition).await;
            let has_ended = seat.look(|groups| groups.committers().ended(producer.id)) != ended;
            match agreed {
                Ok(()) if has_ended => {
                    responder.answer(refused(Request::TxnOffsetCommit(request), ErrorCode::INVALID_TXN_STATE))
                }
                Ok(()) => commit(&seat, now(&core.reactor), request, responder),
                Err(error) => responder.answer(refused(Request::TxnOffsetCommit(request), error)),
            }
        });
    }
}

/// Asks the coordinator of transactions whether the offsets are part of the transaction, or adds them.
async fn agree(
    core: &Core,
    request: &TxnOffsetCommitRequest,
    version: i16,
    partition: i32,
) -> Result<(), ErrorCode> {
    let topic = AddPartitionsToTxnTopic { name: GROUPS_TOPIC.to_string(), partitions: vec![partition] };
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let mode = if version >= IS_ADDED { Mode::Add } else { Mode::Verify };
    let answers = verify(core, &request.transactional_id, producer, vec![topic], mode).await;
    match answers.first().copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR) {
        ErrorCode::NONE => Ok(()),
        ErrorCode::PRODUCER_FENCED => Err(ErrorCode::INVALID_PRODUCER_EPOCH),
        ErrorCode::TRANSACTION_ABORTABLE if version < KNOWS_ABORTABLE => Err(ErrorCode::INVALID_TXN_STATE),
        error => Err(error_of_log(error)),
    }
}
