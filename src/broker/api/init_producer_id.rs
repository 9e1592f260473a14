//! InitProducerId: for an idempotent producer an id that nobody had before, for a transactional one what its coordinator
//! says.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::broker::coordinator::transactions::ask;
use crate::broker::producer_ids::next_id;
use crate::coordinator::transaction::{self, Request};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{InitProducerIdRequest, InitProducerIdResponse};

/// The id and the epoch of one that has none.
const NONE: i64 = -1;

/// Gives an id and an epoch.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: InitProducerIdRequest = asked.decode()?;
    let core = asked.client.core.clone();
    // An id or an epoch alone is no producer. Both together ask for a new epoch: that is the coordinator's to give, and
    // without a transactional id there is none, so a new id is given, as Kafka does.
    let names_half = (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE);
    let given = match request.transactional_id.clone() {
        _ if names_half => Err(ErrorCode::INVALID_REQUEST),
        None => next_id(&core).await.map_err(|refusal| refusal.error),
        Some(id) if id.is_empty() => Err(ErrorCode::INVALID_REQUEST),
        Some(id) => {
            let question = Request::InitProducerId(request);
            let transaction::Reply::InitProducerId(response) = ask(&core, &id, asked.version, question).await
            else {
                unreachable!("a coordinator answers what it was asked")
            };
            return asked.reply(&response);
        }
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
