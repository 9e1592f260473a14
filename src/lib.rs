//! Ottla: a Kafka-compatible message broker, one pinned thread and one io_uring reactor per core.
//!
//! # The rooms
//!
//! - [`command`]: the command line, a file or folder for each subcommand; [`command::serve`] runs a broker.
//! - [`broker`]: a node: its start and stop, connections, one file for each API, shards, the disk's rounds.
//! - [`controller`]: commands to records to images of the cluster. Pure.
//! - [`coordinator`]: consumer groups and their offsets: records and replies, timers, undo. Pure.
//! - [`partition`]: a log with a role: what may be appended, watermarks, what may be read. Pure.
//! - [`log`]: one partition's log: segments, tail, indexes, recovery, retention, compaction. Pure.
//! - [`config`]: the table of all settings, the broker's file, the per-core profiles. Pure.
//! - [`wire`]: Kafka's bytes: messages, record batches, the records of the metadata log. Pure.
//! - [`reactor`]: the one seam to the machine, and its simulated twin.
//! - [`sim`]: workloads that run the real code on the twin, and check what was promised.
//! - [`limits`]: every bound. [`collections`]: maps whose order is the same in every process.
//!
//! Imports point one way: command, broker, then coordinator, controller and partition, log, wire, limits. What decides is pure: it
//! is given its input and the time, and says what to do; the shell around it awaits, and decides nothing. Outside
//! `reactor` nothing names a clock, a socket, a file or a thread.
//!
//! # A produce, function by function
//!
//! On the core of the connection:
//!
//! 1. `broker/connection/frame.rs: read_frame` receives a request into a chunk of the pool.
//! 2. `broker/api/produce.rs: split` checks each batch's CRC and sorts them by the shards that own their partitions.
//! 3. `broker/call.rs: call` orders the batches at each shard: one message for each, or a plain call on this core.
//!    Now the connection reads its next request.
//!
//! On the core of the partition:
//!
//! 4. `broker/produce.rs: append_part` finds the partition, and memory where the tail needs some.
//! 5. `partition/mod.rs: admit` says whether the batch may be appended; `partition/producers/mod.rs: check` whether it
//!    is the next of its producer, or was appended before.
//! 6. `log/tail.rs: push` copies it behind the end, once; `partition/mod.rs: append` has set its offset and epoch.
//! 7. `broker/flush.rs: write_rounds` writes what all partitions have gathered, straight from the chunks.
//! 8. `broker/flush.rs: flush_rounds` makes the round durable, with one flush where the file system allows it.
//! 9. `partition/mod.rs: advance` moves the stable offset and the high watermark, and who waited is answered.
//!
//! Back on the core of the connection:
//!
//! 10. `broker/connection/replies.rs: reply` sends the reply, in the order of the requests.
//!
//! # A fetch, function by function
//!
//! On the core of the connection:
//!
//! 1. `broker/connection/frame.rs: read_frame` receives the request.
//! 2. `broker/api/fetch/plan.rs: plan` joins it with the session, and sorts the partitions by their shards.
//! 3. `broker/call.rs: call` asks each shard, once.
//!
//! On the core of the partition:
//!
//! 4. `broker/fetch.rs: fetch_part` finds the partition.
//! 5. `partition/mod.rs: read_plan` says where the records lie: in the tail's chunks, or in a file.
//! 6. `broker/fetch.rs: read_records` reads the file where it must, a window ahead of the consumer.
//! 7. `broker/watch.rs: watch` waits for more where there was too little: until the high watermark moves.
//!
//! Back on the core of the connection:
//!
//! 8. `broker/api/fetch/response.rs: reply` puts the chunks into the reply as they are.
//! 9. `broker/connection/replies.rs: reply` sends them, scattered, without a copy in user space.

pub mod broker;
pub mod collections;
pub mod command;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod limits;
pub mod log;
pub mod partition;
pub mod reactor;
pub mod sim;
pub mod wire;

#[cfg(test)]
mod tests {
    /// Every function that the map names is where the map says.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "looks at the sources")]
    fn the_map_agrees_with_the_code() {
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut named = 0;
        let map: String = include_str!("lib.rs").lines().filter(|line| line.starts_with("//!")).collect();
        for quoted in map.split('`').skip(1).step_by(2) {
            let Some((file, function)) = quoted.split_once(".rs: ") else { continue };
            let path = sources.join(format!("{file}.rs"));
            let text = String::from_utf8(std::fs::read(&path).expect(file)).unwrap();
            assert!(text.contains(&format!("fn {function}(")), "{file}.rs has no function {function}");
            named += 1;
        }
        assert!(named >= 18, "{named} functions are named");
    }
}
