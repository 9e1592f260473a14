//! Ottla: a Kafka-compatible message broker, one pinned thread and one io_uring reactor per core.

pub mod broker;
pub mod collections;
pub mod command;
pub mod config;
pub mod controller;
pub mod limits;
pub mod log;
pub mod partition;
pub mod reactor;
pub mod sim;
pub mod wire;
