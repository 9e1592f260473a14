//! A node: shards, the bus, connections, one file per API, start and stop.

pub mod api;
pub mod boot;
pub mod call;
pub mod cleaner;
pub mod connection;
pub mod controller;
pub mod core;
pub mod delete_records;
pub mod dirs;
pub mod fetch;
pub mod flush;
pub mod follow;
pub mod identity;
pub mod kept_memory;
pub mod lifecycle;
pub mod list_offsets;
pub mod listener;
pub mod log_dir;
pub mod marks;
pub mod members;
pub mod messages;
pub mod metadata_log;
pub mod node;
pub mod open;
pub mod produce;
pub mod producer_state;
pub mod producers;
pub mod read_cache;
pub mod relocate;
pub mod replica;
pub mod sessions;
pub mod shard;
#[cfg(test)]
mod testing;
pub mod upkeep;
pub mod volume;
pub mod watch;
