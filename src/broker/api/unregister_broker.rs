//! UnregisterBroker: brokers that are gone for good. This one is not: it answers.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{UnregisterBrokerRequest, UnregisterBrokerResponse};

/// Refuses: a broker that is not registered, and the one that serves.
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let UnregisterBrokerRequest { broker_id: id } = asked.decode()?;
    let (error_code, message) = match asked.client.core.image().broker(id) {
        None => (ErrorCode::BROKER_ID_NOT_REGISTERED, format!("Broker ID {id} is not currently registered")),
        Some(_) => (
            ErrorCode::INVALID_REQUEST,
            format!("broker {id} is running, and has all partitions; stop it before it is unregistered"),
        ),
    };
    let error_message = Some(message);
    asked.reply(&UnregisterBrokerResponse { error_code, error_message, ..Default::default() })
}
