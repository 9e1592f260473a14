//! The wire room held against others: the `kafka-protocol` crate, the classes of Kafka 4.2's own jars, and hostile
//! bytes.

#![expect(clippy::disallowed_methods, reason = "a JVM is fed from a thread beside the test")]

mod generate;
mod hostile;
mod jars;
mod kafka_protocol_crate;
