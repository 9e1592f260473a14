//! The records of share groups in `__consumer_offsets`.

use crate::wire::uuid::Uuid;

messages! {
    /// The key of a member of a share group.
    record ShareGroupMemberMetadataKey(key 10, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// A member of a share group.
    record ShareGroupMemberMetadataValue(key 10, versions 0..=0, flexible 0..) {
        rack_id: Option<String>, .., null ..;
        client_id: String, ..;
        client_host: String, ..;
        subscribed_topic_names: Vec<String>, ..;
    }

    /// The key of a share group's epoch.
    record ShareGroupMetadataKey(key 11, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// A share group's epoch.
    record ShareGroupMetadataValue(key 11, versions 0..=0, flexible 0..) {
        epoch: i32, ..;
        metadata_hash: i64, ..;
    }

    /// The key of the epoch of a share group's target assignment.
    record ShareGroupTargetAssignmentMetadataKey(key 12, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// The epoch of a share group's target assignment.
    record ShareGroupTargetAssignmentMetadataValue(key 12, versions 0..=0, flexible 0..) {
        assignment_epoch: i32, ..;
    }

    /// The key of the target assignment of a member of a share group.
    record ShareGroupTargetAssignmentMemberKey(key 13, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// The target assignment of a member of a share group.
    record ShareGroupTargetAssignmentMemberValue(key 13, versions 0..=0, flexible 0..) {
        topic_partitions: Vec<ShareGroupTargetAssignmentMemberTopicPartition>, ..;
    }

    part ShareGroupTargetAssignmentMemberTopicPartition(ShareGroupTargetAssignmentMemberValue) {
        topic_id: Uuid, ..;
        partitions: Vec<i32>, ..;
    }

    /// The key of the current assignment of a member of a share group.
    record ShareGroupCurrentMemberAssignmentKey(key 14, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// The current assignment of a member of a share group.
    record ShareGroupCurrentMemberAssignmentValue(key 14, versions 0..=0, flexible 0..) {
        member_epoch: i32, ..;
        previous_member_epoch: i32, ..;
        state: i8, ..;
        assigned_partitions: Vec<ShareGroupCurrentMemberAssignmentTopicPartitions>, ..;
    }

    part ShareGroupCurrentMemberAssignmentTopicPartitions(ShareGroupCurrentMemberAssignmentValue) {
        topic_id: Uuid, ..;
        partitions: Vec<i32>, ..;
    }

    /// The key of the state that a share group's partitions are in.
    record ShareGroupStatePartitionMetadataKey(key 15, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// The state that a share group's partitions are in.
    record ShareGroupStatePartitionMetadataValue(key 15, versions 0..=0, flexible 0..) {
        initializing_topics: Vec<TopicPartitionsInfo>, ..;
        initialized_topics: Vec<TopicPartitionsInfo>, ..;
        deleting_topics: Vec<ShareGroupStatePartitionMetadataTopicInfo>, ..;
    }

    part TopicPartitionsInfo(ShareGroupStatePartitionMetadataValue) {
        topic_id: Uuid, ..;
        topic_name: String, ..;
        partitions: Vec<i32>, ..;
    }

    part ShareGroupStatePartitionMetadataTopicInfo(ShareGroupStatePartitionMetadataValue) {
        topic_id: Uuid, ..;
        topic_name: String, ..;
    }
}
