//! Where new producer ids come from.

use crate::wire::error::ErrorCode;

/// Hands out producer ids, each of them once in the cluster.
pub trait ProducerIds {
    /// One that nobody has. The error is what the client is told, Kafka's `COORDINATOR_LOAD_IN_PROGRESS` where there
    /// will be more in a moment.
    fn next(&mut self) -> Result<i64, ErrorCode>;
}

impl<F: FnMut() -> Result<i64, ErrorCode>> ProducerIds for F {
    fn next(&mut self) -> Result<i64, ErrorCode> {
        self()
    }
}
