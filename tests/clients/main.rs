//! Clients that the world uses, librdkafka and kcat, against a broker on two cores.
//!
//! Most tests share one broker. With OTTLA_TEST_BOOTSTRAP set to HOST:PORT they use the broker there instead, for
//! example stock Kafka (benches/stock-kafka/run.sh): what they expect is what it does. Those that need a broker
//! with settings of its own are left out then.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests run processes, talk to them and look at their files"
)]

#[path = "../support/mod.rs"]
mod broker;
mod groups;
mod idempotent;
mod kcat;
mod listeners;
mod parallel;
mod positions;
mod records;
mod support;
mod topics;
mod transactions;
