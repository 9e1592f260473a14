//! Compaction: of each key, the last record stays.
//!
//! A log is cleaned from its start up to some offset behind which nothing may be touched yet. One pass reads what is
//! dirty (what came since the last cleaning) and notes where each key was seen last ([`offset_map`]); another reads
//! all of it, keeps what [`filter`] says, and writes each group of segments ([`plan`]) as one, beside them. Offsets
//! and timestamps stay as they were.
//!
//! The new files take the place of the old ones by way of the partition's [`checkpoint`]: it names them before the
//! first is touched, and whoever opens the folder after a crash goes on where that stopped.
//!
//! The last batch of each new segment stays, if only as an empty one: so a segment always ends right before the next
//! begins, and recovery can tell what follows what.

pub mod checkpoint;
pub mod filter;
pub mod offset_map;
pub mod plan;
pub mod transactions;

pub use plan::{Compaction, Plan};
