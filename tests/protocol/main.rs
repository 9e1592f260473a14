//! What the broker does with bytes that no good client sends, and with clients that do not behave: an answer with
//! an error or a closed connection, in bounded memory, and nobody else is disturbed.
//!
//! Raw sockets against `ottla serve` with little memory; beside each attack a producer and a consumer work, and all
//! that they ask for must succeed. With OTTLA_TEST_BOOTSTRAP=HOST:PORT the broker there is tested instead, for
//! example stock Kafka (benches/stock-kafka/run.sh): so the answers that are expected here were held against its.
//! Of a broker that is not the tests' own the memory is not looked at.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of the binary run it, talk to it and look at its memory"
)]

#[path = "../support/mod.rs"]
mod broker;
#[path = "../wire_oracle/generate.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod generate;

mod admin;
mod batches;
mod bystander;
mod claims;
mod configs;
mod frames;
mod idle;
mod producers;
mod raw;
mod slow;
mod target;
mod wide;
