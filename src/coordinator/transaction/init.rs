//! InitProducerId: a producer begins with a transactional id, or goes on after an error.

use super::state::{NO_EPOCH, NO_ID, Status, Transaction};
use super::{Caller, Reply, Transactions};
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::{Effects, Now};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{InitProducerIdRequest, InitProducerIdResponse};

/// From this version on, clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 4;

impl Transactions {
    pub(super) fn init_producer_id(
        &mut self,
        now: Now,
        caller: Caller,
        request: InitProducerIdRequest,
        effects: &mut Effects<Transactions>,
    ) -> Reply {
        Reply::InitProducerId(match self.init(now, &request, effects) {
            Ok(Producer { id, epoch }) => {
                InitProducerIdResponse { producer_id: id, producer_epoch: epoch, ..Default::default() }
            }
            Err(ErrorCode::PRODUCER_FENCED) if caller.version < KNOWS_FENCED => {
                refused(ErrorCode::INVALID_PRODUCER_EPOCH)
            }
            Err(error) => refused(error),
        })
    }

    fn init(
        &mut self,
        now: Now,
        request: &InitProducerIdRequest,
        effects: &mut Effects<Transactions>,
    ) -> Result<Producer, ErrorCode> {
        let expected = expected(request)?;
        let id = request.transactional_id.as_deref().unwrap_or_default();
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let timeout_ms = request.transaction_timeout_ms;
        if timeout_ms <= 0 || timeout_ms > self.settings.max_timeout_ms {
            return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        }
        let (id, known) = match self.find(id) {
            Some(known) => known,
            None => (id.into(), Transaction::new(self.ids.next()?, now.wall).into()),
        };
        if known.status.is_prepared() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        if !expected.is_none_or(|expected| may_go_on(&known, expected)) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        if known.status == Status::Ongoing {
            // He is told to come again, and is given an epoch of his own then.
            self.fence(now, &id, &known, effects);
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let next = self.next_producer(now, &known, expected, timeout_ms)?;
        let producer = next.producer;
        self.put(&id, next, effects);
        Ok(producer)
    }

    fn next_producer(
        &mut self,
        now: Now,
        known: &Transaction,
        expected: Option<Producer>,
        timeout_ms: i32,
    ) -> Result<Transaction, ErrorCode> {
        let Producer { id, epoch } = known.producer;
        let (producer, last_epoch) = match expected {
            None if known.is_exhausted() => (Producer { id: self.ids.next()?, epoch: 0 }, NO_EPOCH),
            None => (Producer { id, epoch: epoch + 1 }, NO_EPOCH),
            Some(expected) if epoch == NO_EPOCH || expected.epoch == epoch => match known.is_exhausted() {
                true => (Producer { id: self.ids.next()?, epoch: 0 }, epoch),
                false => (Producer { id, epoch: epoch + 1 }, epoch),
            },
            // He has not heard of the answer: nobody else came meanwhile, else there would be no last epoch.
            Some(expected) if expected.epoch == known.last_epoch => (known.producer, known.last_epoch),
            Some(_) => return Err(ErrorCode::PRODUCER_FENCED),
        };
        Ok(known.initialized(producer, last_epoch, timeout_ms, now.wall))
    }
}

/// Which id and epoch the client says it has.
fn expected(request: &InitProducerIdRequest) -> Result<Option<Producer>, ErrorCode> {
    match (request.producer_id, request.producer_epoch) {
        (NO_ID, NO_EPOCH) => Ok(None),
        (NO_ID, _) | (_, NO_EPOCH) => Err(ErrorCode::INVALID_REQUEST),
        (id, epoch) => Ok(Some(Producer { id, epoch })),
    }
}

/// Whether a producer that says who it is may go on: it is the one that is known, or it was the one before and has
/// not heard the answer that gave it another id. A transactional id that was forgotten is anybody's.
fn may_go_on(known: &Transaction, expected: Producer) -> bool {
    known.producer.epoch == NO_EPOCH
        || expected.id == known.producer.id
        || (expected.id == known.previous_id && expected.epoch >= super::state::LAST_EPOCH)
}

pub(super) fn refused(error_code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code, producer_id: NO_ID, producer_epoch: NO_EPOCH, ..Default::default() }
}
