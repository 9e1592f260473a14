//! Coordinators on the core that owns their partition of an internal topic.
//!
//! [`seat`] runs a pure coordinator over its partition's log: reads it when the partition is opened, appends what the
//! coordinator decides, and answers when that is durable. [`journal`] is how a coordinator's records stand in batches.
//! [`groups`] is what the shard asks the coordinators of groups, [`topics`] what they see of the cluster.

pub mod groups;
pub mod journal;
pub mod seat;
pub mod topics;

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
