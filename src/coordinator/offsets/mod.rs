//! The committed offsets of groups.
//!
//! - [`store`]: a group's offsets, packed. [`pending`]: those of open transactions.
//! - `commit`, `fetch`, `delete`, `expiry`: what the machine of groups does with them.

mod commit;
mod delete;
pub(super) mod expiry;
mod fetch;
pub mod pending;
pub mod store;

pub(super) use commit::{refused_commit, refused_txn_commit};
pub use pending::{Pending, PendingOffsets, Spot};
pub use store::GroupOffsets;
