//! What an operator may set.

/// The settings that coordinators of transactions go by, with Kafka's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_interval_ms: i64,
    /// The finalized level of the feature `transaction.version`.
    pub transaction_version: i16,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            id_expiration_ms: 7 * 24 * 60 * 60 * 1000,
            max_timeout_ms: 15 * 60 * 1000,
            abort_interval_ms: 10_000,
            expiry_interval_ms: 60 * 60 * 1000,
            transaction_version: 2,
        }
    }
}
