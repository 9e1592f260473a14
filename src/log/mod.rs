//! One partition's log: what is in memory, what is on disk, what is left after a crash. Pure.
//!
//! - [`log`]: the segments and the stable offset
//! - [`tail`]: the end in memory, which the disk writes from and consumers are served from
//! - [`growth`]: files grow ahead of need; why one flush makes a whole round durable
//! - [`index`]: offset and time index
//! - [`marks`]: the stable ends, by which recovery tells a torn tail from rot
//! - [`recovery`]: what stands after a crash
//! - [`walk`]: what must hold from batch to batch when they are read again
//! - [`snapshot`]: what was known of the producers at an offset, in a file
//! - [`aborted`]: which transactions were aborted, in a file
//! - [`compact`]: of each key, the last record stays
//! - [`epochs`], [`checkpoint`], [`segment`]: leader epochs, Kafka's small files, names

pub mod aborted;
pub mod checkpoint;
pub mod compact;
pub mod epochs;
pub mod growth;
pub mod index;
#[expect(clippy::module_inception, reason = "the room is named after what it holds")]
pub mod log;
pub mod marks;
pub mod recovery;
pub mod segment;
pub mod snapshot;
pub mod tail;
pub mod walk;

pub use log::{FilePlan, Log, LogConfig, ReadPlan, RoundPart, Segment, Target, Unknown};
pub use marks::PartitionId;
