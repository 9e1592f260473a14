//! InitProducerId for idempotent producers: an id that nobody had before, from a block of the core's own.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Duration;

use super::Asked;
use super::commands::command;
use crate::broker::connection::{Ended, Reply};
use crate::broker::controller::{Command, CommandReply};
use crate::broker::core::Core;
use crate::controller::Refusal;
use crate::controller::brokers::PRODUCER_ID_BLOCK;
use crate::reactor::sync::Bell;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{InitProducerIdRequest, InitProducerIdResponse};

/// How long to wait for a block of ids.
const PATIENCE: Duration = Duration::from_secs(5);

/// The id and the epoch of one that has none.
const NONE: i64 = -1;

/// Gives the next id, with the epoch 0.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: InitProducerIdRequest = asked.decode()?;
    // An id or an epoch alone is no producer. Both together ask for a new epoch: that is the coordinator's to give, and
    // without a transactional id there is none, so a new id is given, as Kafka does.
    let names_half = (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE);
    let given = match request.transactional_id.as_deref() {
        _ if names_half => Err(ErrorCode::INVALID_REQUEST),
        None => next_id(&asked.client.core).await.map_err(|refusal| refusal.error),
        Some("") => Err(ErrorCode::INVALID_REQUEST),
        // Transactions have no coordinator here; a retriable error would keep the producer asking for ever.
        Some(_) => Err(ErrorCode::UNSUPPORTED_VERSION),
    };
    let (error_code, producer_id, producer_epoch) = match given {
        Ok(id) => (ErrorCode::NONE, id, 0),
        Err(error) => (error, -1, -1),
    };
    asked.reply(&InitProducerIdResponse {
        error_code,
        producer_id,
        producer_epoch,
        ..InitProducerIdResponse::default()
    })
}

/// The producer ids that a core may give.
#[derive(Default)]
pub struct ProducerIds {
    left: RefCell<Range<i64>>,
    /// Whether a new block was asked for.
    asking: Cell<bool>,
    /// Rung when the asking has ended.
    asked: Bell,
}

async fn next_id(core: &Core) -> Result<i64, Refusal> {
    let ids = &core.producer_ids;
    loop {
        if let Some(id) = ids.left.borrow_mut().next() {
            return Ok(id);
        }
        let asked = ids.asked.notified();
        if ids.asking.replace(true) {
            asked.await;
            continue;
        }
        let block = {
            let _asking = Asking(ids);
            command(core, Command::AllocateProducerIds, PATIENCE).await?
        };
        let CommandReply::ProducerIds(first) = block else {
            unreachable!("the controller answers what it was asked")
        };
        *ids.left.borrow_mut() = first..first + PRODUCER_ID_BLOCK;
    }
}

/// While one request asks for a block, the others wait; also if its connection ends meanwhile.
struct Asking<'a>(&'a ProducerIds);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.set(false);
        self.0.asked.ring();
    }
}
