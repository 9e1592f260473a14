//! Consumer groups and their offsets: requests become records and replies.
//!
//! Pure code, one instance for each partition of `__consumer_offsets`, on the core that owns the partition.
//!
//! - [`runtime`]: what every coordinator is made of: records are replayed at once, replies wait until what they saw
//!   is committed, and what the log refuses is undone. Generic over the [`Machine`](runtime::Machine) it drives.
//! - [`groups`]: the machine of groups: its events, its replies, and which of its parts answers what.
//! - [`group`]: one group: what its record says, and the members that join, wait and time out.
//! - [`offsets`]: committed offsets, packed; those of open transactions; what is committed, read, deleted, expired.
//! - [`assign`]: the assignors of the brokers, for the groups of KIP-848.
//! - [`records`]: the records of `__consumer_offsets`, in Kafka's bytes.
//! - [`transaction`]: the machine of transactions, for the partitions of `__transaction_state`.
//! - [`topics`]: the topics of the cluster, as the shell sees them.
//! - [`timers`]: as many deadlines as there are members, and the next of them.
//!
//! # What is durable, and what is not
//!
//! Durable is a function of the newest value of each record key: a group's record, its offsets, the offsets of open
//! transactions. It changes by [`replay`](runtime::Machine::replay) alone, which gives what it overwrote; that undoes
//! it. Everything else is soft: who waits in a rebalance, which member ids were handed out, when a session ends. Soft
//! state is kept beside the durable one and lost with the process.
//!
//! - *On loading* a group has the members of its record and is stable, or it has none and is empty. Session deadlines
//!   start anew, from the moment at which loading ended.
//! - *On undo* a group keeps the members that it has in memory, and its generation, which never goes back; those who
//!   wait are answered with the error, and the group rebalances. A static member whose replacement was not
//!   stored has its old id again. A group of which nothing is durable any more is gone, and so are its members.

pub mod assign;
pub mod committers;
pub mod group;
pub mod groups;
pub mod names;
pub mod offsets;
pub mod records;
mod refusals;
pub mod runtime;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod topics;
pub mod transaction;

pub use groups::{Caller, Event, Groups, Reply, Request};
pub use refusals::refuse;
pub use runtime::{Batch, Now, Runtime, Token};
pub use settings::{GroupSettings, Settings};
