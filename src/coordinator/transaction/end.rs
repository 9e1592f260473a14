//! EndTxn: the outcome of a transaction is decided.

use std::sync::Arc;

use super::state::{LAST_EPOCH, NO_EPOCH, NO_ID, Status, Transaction};
use super::{Caller, Reply, Transactions};
use crate::coordinator::names::Name;
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::{Effects, Now};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{EndTxnRequest, EndTxnResponse};

/// From this version on, clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 2;
/// From this version on, clients go by the second protocol.
const SECOND_PROTOCOL: i16 = 5;
/// Who has ended a transaction by the first protocol stays who he is, and is not told.
const UNCHANGED: Producer = Producer { id: NO_ID, epoch: NO_EPOCH };

impl Transactions {
    pub(super) fn end_transaction(
        &mut self,
        now: Now,
        caller: Caller,
        request: EndTxnRequest,
        effects: &mut Effects<Transactions>,
    ) -> Reply {
        let ended = match caller.version >= SECOND_PROTOCOL {
            true => self.end_second(now, &request, effects),
            false => self.end_first(now, &request, effects),
        };
        Reply::End(match ended {
            Ok(Producer { id, epoch }) => {
                EndTxnResponse { producer_id: id, producer_epoch: epoch, ..Default::default() }
            }
            Err(ErrorCode::PRODUCER_FENCED) if caller.version < KNOWS_FENCED => {
                refused(ErrorCode::INVALID_PRODUCER_EPOCH)
            }
            Err(error) => refused(error),
        })
    }

    fn find_to_end(&self, request: &EndTxnRequest) -> Result<(Name, Arc<Transaction>), ErrorCode> {
        if request.transactional_id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        self.find(&request.transactional_id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
    }

    /// The first protocol: the producer's epoch stays, so a request that is repeated looks like the one before.
    fn end_first(
        &mut self,
        now: Now,
        request: &EndTxnRequest,
        effects: &mut Effects<Transactions>,
    ) -> Result<Producer, ErrorCode> {
        let (id, known) = self.find_to_end(request)?;
        if known.producer.id != request.producer_id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if known.producer.epoch != request.producer_epoch {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        match (known.status, request.committed) {
            (Status::Ongoing, commit) => {
                self.decide(now, &id, known.prepared(commit, now.wall), effects);
                Ok(UNCHANGED)
            }
            (Status::CompleteCommit, true) | (Status::CompleteAbort, false) => Ok(UNCHANGED),
            (status, _) if status.is_prepared() => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
            _ => Err(ErrorCode::INVALID_TXN_STATE),
        }
    }

    /// The second protocol: every transaction has an epoch of its own. Who repeats a request has the epoch before, or
    /// the last one of the id before.
    fn end_second(
        &mut self,
        now: Now,
        request: &EndTxnRequest,
        effects: &mut Effects<Transactions>,
    ) -> Result<Producer, ErrorCode> {
        let (id, known) = self.find_to_end(request)?;
        if known.status.is_prepared() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let (producer_id, epoch) = (request.producer_id, request.producer_epoch);
        // Who ends by the first protocol keeps his epoch: then the one before is somebody's who was fenced. (Kafka lets
        // him go on with the epoch of the other.)
        let bumped = known.client_version >= 2;
        let after_last =
            bumped && known.previous_id == producer_id && epoch == LAST_EPOCH && known.producer.epoch == 0;
        let after_bump = bumped && i32::from(known.producer.epoch) == i32::from(epoch) + 1;
        if known.producer.id != producer_id && !after_last {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        let repeats = after_bump || after_last;
        let is_complete = matches!(known.status, Status::CompleteCommit | Status::CompleteAbort);
        if known.producer.epoch != epoch && !(is_complete && repeats) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        let nothing_added = match (known.status, request.committed) {
            (Status::Ongoing, _) => false,
            (Status::CompleteCommit, true) | (Status::CompleteAbort, false) if repeats => {
                return Ok(known.producer);
            }
            (_, false) if !repeats => true,
            _ => return Err(ErrorCode::INVALID_TXN_STATE),
        };
        let next_id = if known.is_exhausted() { self.ids.next()? } else { NO_ID };
        let prepared = known.prepared_with_bump(request.committed, next_id, nothing_added, now.wall);
        let producer = prepared.producer_when_complete();
        self.decide(now, &id, prepared, effects);
        Ok(producer)
    }

    /// Aborts an open transaction, and takes its producer's epoch from him.
    pub(super) fn fence(
        &mut self,
        now: Now,
        id: &Name,
        known: &Transaction,
        effects: &mut Effects<Transactions>,
    ) {
        let prepared = match self.second_protocol() {
            true => known.prepared_with_bump(false, NO_ID, false, now.wall),
            false => known.fenced(now.wall),
        };
        self.decide(now, id, prepared, effects);
    }

    /// The outcome, and what follows from it once it is committed.
    fn decide(&mut self, now: Now, id: &Name, prepared: Transaction, effects: &mut Effects<Transactions>) {
        self.put(id, prepared.clone(), effects);
        self.finish(now, id, &prepared, effects);
    }
}

pub(super) fn refused(error_code: ErrorCode) -> EndTxnResponse {
    EndTxnResponse { error_code, producer_id: NO_ID, producer_epoch: NO_EPOCH, ..Default::default() }
}
