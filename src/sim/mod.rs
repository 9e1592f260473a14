//! The cluster in a box: workloads and checkers that run the broker's own code on the simulated side.
//!
//! - [`storage`]: one core's shard under appends, reads, faults, crashes and power loss.
//! - [`compaction`]: a shard whose logs are compacted, under the same.
//! - [`transactions`]: a shard with transactions and their markers, under the same.
//! - [`node`]: a whole node, from its clients' connections to its disk.
//! - [`known`]: what clients were told of a partition, and the check of its log. [`batches`]: batches that say what
//!   they are. [`client`]: a client of Kafka's protocol.

pub mod batches;
pub mod client;
pub mod compaction;
pub mod known;
pub mod node;
pub mod storage;
pub mod transactions;

use crate::reactor::sim::World;

/// Runs a workload, and hands the text of its trace to `keep` however it ends.
fn traced(world: &World, keep: impl FnOnce(&str), workload: impl FnOnce()) {
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(workload));
    keep(&world.trace_text());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}
