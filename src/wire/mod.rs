//! Kafka's bytes: frames, messages, record batches, error codes, ids and partitioners.
//!
//! Pure code: nothing here waits, and nothing here trusts a length that it read.
//!
//! - [`codec`]: primitive forms, and slices of a frame without copies.
//! - [`schema`]: the table of messages and records, with `decode` and `encode` for every version.
//! - [`api`]: the APIs by number, headers, whole frames.
//! - [`error`]: Kafka's error codes.
//! - [`metadata_record`]: the records of the metadata log in their frame.
//! - [`uuid`]: the ids of topics and directories.

pub mod api;
pub mod codec;
pub mod error;
pub mod metadata_record;
pub mod schema;
pub mod uuid;
