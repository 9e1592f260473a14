//! The cluster in a box: workloads and checkers that run the broker's own code on the simulated side.
//!
//! - [`storage`]: one core's shard under appends, reads, faults, crashes and power loss.
//! - [`node`]: a whole node, from its clients' connections to its disk.
//! - [`known`]: what clients were told of a partition, and the check of its log. [`batches`]: batches that say what
//!   they are. [`client`]: a client of Kafka's protocol.

pub mod batches;
pub mod client;
pub mod known;
pub mod node;
pub mod storage;
