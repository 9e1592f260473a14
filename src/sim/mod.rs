//! The cluster in a box: workloads and checkers that run the broker's own code on the simulated side.
//!
//! - [`storage`]: one core's shard under appends, reads, faults, crashes and power loss.

pub mod storage;
