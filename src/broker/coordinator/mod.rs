//! Coordinators on the core that owns their partition of an internal topic.
//!
//! [`seat`] runs a pure coordinator over its partition's log: reads it when the partition is opened, appends what the
//! coordinator decides, and answers when that is durable. [`journal`] is how a coordinator's records stand in batches.
//! [`groups`] is what the shard asks the coordinators of groups, [`topics`] what they see of the cluster;
//! [`transactions`] is what it asks those of transactions, [`markers`](super::markers) how these end
//! transactions in the partitions.

mod commits;
pub mod groups;
pub mod journal;
pub mod seat;
pub mod topics;
pub mod transactions;

use std::rc::Rc;
use std::sync::Arc;

use self::topics::News;
use super::messages::PartitionId;
use super::replica::Replica;
use super::shard::Shard;
use crate::controller::Image;
use crate::wire::error::ErrorCode;

/// The topic of committed offsets and of groups.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";
/// The topic of transactions.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// The topic of share groups.
pub const SHARE_GROUPS_TOPIC: &str = "__share_group_state";

/// Whether Kafka keeps this topic for itself.
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, GROUPS_TOPIC | TRANSACTIONS_TOPIC | SHARE_GROUPS_TOPIC)
}

/// The partition of an internal topic whose coordinator is responsible for this group or transaction.
pub fn partition_for(key: &str, partitions: usize) -> i32 {
    // Java's hash of a string, which Kafka's brokers and tools go by.
    let hash = key.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    let count = i32::try_from(partitions.max(1)).unwrap_or(i32::MAX);
    // Kafka's absolute value takes the sign away, nothing else.
    (hash & i32::MAX) % count
}

impl Shard {
    /// Begins to coordinate, where the partition is one of an internal topic. A coordinator that serves goes on where its
    /// partition was moved to another log directory: the log is the same.
    pub(super) fn seat_coordinator(self: &Rc<Shard>, replica: &Replica) {
        if self.is_stopping() {
            return;
        }
        match &*replica.topic {
            GROUPS_TOPIC if !self.groups.seats.serves(replica.id) => self.seat_groups(replica),
            TRANSACTIONS_TOPIC if !self.transactions.seats.serves(replica.id) => {
                self.seat_transactions(replica);
            }
            _ => {}
        }
    }

    /// Coordinates no more on this partition.
    pub(super) fn unseat_coordinator(&self, id: PartitionId) {
        self.groups.seats.close(id);
        self.transactions.seats.close(id);
    }

    /// Coordinates no more at all.
    pub(super) fn unseat_coordinators(&self) {
        self.groups.seats.close_all();
        self.transactions.seats.close_all();
    }

    /// Has the coordinators go by this image from now on.
    pub(super) fn coordinate_by(&self, image: &Arc<Image>, news: &News) {
        self.coordinate_groups_by(image, news);
        self.coordinate_transactions_by(image);
    }

    /// What is answered for a partition that has no coordinator here.
    fn no_coordinator(&self, id: PartitionId) -> ErrorCode {
        match self.replica(id) {
            Some(replica) if replica.is_opening() => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            _ => ErrorCode::NOT_COORDINATOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_spread_as_kafka_spreads_them() {
        // "abc".hashCode() is 96354, "polygenelubricants".hashCode() is the smallest integer.
        assert_eq!(partition_for("abc", 50), 96354 % 50);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("", 50), 0);
        // A character outside the basic plane is two of Java's.
        let units = [0xd83d_i32, 0xde00];
        assert_eq!(
            partition_for("😀", 50),
            (units[0].wrapping_mul(31).wrapping_add(units[1]) & i32::MAX) % 50
        );
    }
}
