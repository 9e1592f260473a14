//! The wire room held against others: the `kafka-protocol` crate, the classes of Kafka 4.2's own jars, and hostile
//! bytes.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a JVM is started beside the test")]

mod batches;
mod generate;
mod hostile;
mod jars;
mod kafka_protocol_crate;
#[path = "../support/memory.rs"]
mod memory;
