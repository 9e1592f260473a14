//! FindCoordinator: nobody coordinates groups and transactions here, and this is said in Kafka's way.
//!
//! It is told of among the APIs because librdkafka compresses with lz4 only for a broker that tells of it. The
//! error is the one for a coordinator that cannot be found yet: a client that needs none goes on, one that does
//! tries again.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// The first version that asks for several keys.
const SEVERAL: i16 = 4;
/// Groups, transactions, and from version 6 on share groups.
const KINDS: std::ops::RangeInclusive<i8> = 0..=2;
const NOBODY: i32 = -1;

/// Names no coordinator for any key.
pub fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: FindCoordinatorRequest = asked.decode()?;
    let (error_code, message) = match KINDS.contains(&request.key_type) {
        true => (
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            "this broker coordinates no groups or transactions".to_string(),
        ),
        false => (ErrorCode::INVALID_REQUEST, format!("there is no coordinator type {}", request.key_type)),
    };
    let (node_id, port) = (NOBODY, NOBODY);
    if asked.version < SEVERAL {
        let error_message = Some(message);
        return asked.reply(&FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            port,
            ..Default::default()
        });
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| Coordinator {
        key,
        node_id,
        host: String::new(),
        port,
        error_code,
        error_message: Some(message.clone()),
    });
    asked.reply(&FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() })
}
