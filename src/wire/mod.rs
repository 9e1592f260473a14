//! Kafka's bytes: frames, messages, record batches, error codes, ids and partitioners.
//!
//! Pure code: nothing here waits, and nothing here trusts a length that it read.
//!
//! - [`codec`]: primitive forms, and slices of a frame without copies.
//! - [`schema`]: the table of messages and records, with `decode` and `encode` for every version.
//! - [`api`]: the APIs by number, headers, whole frames.
//! - [`batch`]: a view of record batches as they lie in a log, their records, and a builder.
//! - [`error`]: Kafka's error codes.
//! - [`metadata_record`]: the records of the metadata log in their frame.
//! - [`partitioner`]: which partition a key belongs to.
//! - [`uuid`]: the ids of topics and directories.

pub mod api;
pub mod batch;
pub mod codec;
pub mod error;
pub mod metadata_record;
pub mod partitioner;
pub mod schema;
pub mod uuid;
