//! The command line as a person uses it: the built binary, its output and its exit codes.
//!
//! Tests that need a broker start one of their own, `ottla serve` in a temporary folder. With OTTLA_TEST_BOOTSTRAP
//! set to HOST:PORT they use the broker there instead, for example stock Kafka (benches/stock-kafka/run.sh).

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of the binary run it, talk to it and look at its files"
)]

mod alone;
mod bench;
#[path = "../support/mod.rs"]
mod broker;
mod compaction;
mod configs;
mod full_disk;
mod group;
mod import;
mod log_dirs;
mod offsets;
mod records;
mod rot;
mod serve;
mod support;
mod topics;
mod transaction;
