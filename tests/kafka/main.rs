//! Kafka's own side of it: stock Kafka 4.2 beside Ottla, its tools against both, its files in Ottla's folders and
//! Ottla's in its own, and clients of other languages.
//!
//! Stock Kafka and its tools come from Maven (benches/stock-kafka), the other clients from their registries; all of it
//! is kept under target/. `tests/setup.sh` installs what that needs.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests run processes, talk to them and look at their files"
)]

#[path = "../support/mod.rs"]
mod broker;
mod driver;
mod exchange;
mod files;
mod groups;
mod import;
mod languages;
mod members;
mod remote;
mod stock;
mod tools;
