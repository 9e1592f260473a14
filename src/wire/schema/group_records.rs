//! The records of `__consumer_offsets`.

use bytes::Bytes;

use crate::wire::uuid::Uuid;

messages! {
    /// The key of a committed offset, in the oldest form.
    record LegacyOffsetCommitKey(key 0, versions 0..=0, flexible 32767..) {
        group: String, ..;
        topic: String, ..;
        partition: i32, ..;
    }

    /// A committed offset, in the oldest form.
    record LegacyOffsetCommitValue(key 0, versions 0..=0, flexible 32767..) {
        offset: i64, ..;
        metadata: String, ..;
        commit_timestamp: i64, ..;
    }

    /// The key of a committed offset.
    record OffsetCommitKey(key 1, versions 0..=0, flexible 32767..) {
        group: String, ..;
        topic: String, ..;
        partition: i32, ..;
    }

    /// A committed offset.
    record OffsetCommitValue(key 1, versions 0..=4, flexible 4..) {
        offset: i64, ..;
        leader_epoch: i32, 3.., default -1, else ignore;
        metadata: String, ..;
        commit_timestamp: i64, ..;
        expire_timestamp: i64, 1..=1, default -1, else ignore;
        topic_id: Uuid, 4.., tag 0, else ignore;
    }

    /// The key of a classic group.
    record GroupMetadataKey(key 2, versions 0..=0, flexible 32767..) {
        group: String, ..;
    }

    /// A classic group.
    record GroupMetadataValue(key 2, versions 0..=4, flexible 4..) {
        protocol_type: String, ..;
        generation: i32, ..;
        protocol: Option<String>, .., null ..;
        leader: Option<String>, .., null ..;
        current_state_timestamp: i64, 2.., default -1, else ignore;
        members: Vec<MemberMetadata>, ..;
    }

    part MemberMetadata(GroupMetadataValue) {
        member_id: String, ..;
        group_instance_id: Option<String>, 3.., null .., else ignore;
        client_id: String, ..;
        client_host: String, ..;
        rebalance_timeout: i32, 1.., default -1, else ignore;
        session_timeout: i32, ..;
        subscription: Bytes, ..;
        assignment: Bytes, ..;
    }

    /// The key of a consumer group's epoch.
    record ConsumerGroupMetadataKey(key 3, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// A consumer group's epoch.
    record ConsumerGroupMetadataValue(key 3, versions 0..=0, flexible 0..) {
        epoch: i32, ..;
        metadata_hash: i64, .., tag 0;
    }

    /// The key of what a consumer group knew of its topics, in the form of old versions.
    record ConsumerGroupPartitionMetadataKey(key 4, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// What a consumer group knew of its topics, in the form of old versions.
    record ConsumerGroupPartitionMetadataValue(key 4, versions 0..=0, flexible 0..) {
        topics: Vec<ConsumerGroupPartitionMetadataTopicMetadata>, ..;
    }

    part ConsumerGroupPartitionMetadataTopicMetadata(ConsumerGroupPartitionMetadataValue) {
        topic_id: Uuid, ..;
        topic_name: String, ..;
        num_partitions: i32, ..;
        partition_metadata: Vec<ConsumerGroupPartitionMetadataPartitionMetadata>, ..;
    }

    part ConsumerGroupPartitionMetadataPartitionMetadata(ConsumerGroupPartitionMetadataValue) {
        partition: i32, ..;
        racks: Vec<String>, ..;
    }

    /// The key of a member of a consumer group.
    record ConsumerGroupMemberMetadataKey(key 5, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// A member of a consumer group.
    record ConsumerGroupMemberMetadataValue(key 5, versions 0..=0, flexible 0..) {
        instance_id: Option<String>, .., null ..;
        rack_id: Option<String>, .., null ..;
        client_id: String, ..;
        client_host: String, ..;
        subscribed_topic_names: Vec<String>, ..;
        subscribed_topic_regex: Option<String>, .., null ..;
        rebalance_timeout_ms: i32, .., default -1;
        server_assignor: Option<String>, .., null ..;
        classic_member_metadata: Option<ClassicMemberMetadata>, .., null ..,
            default Some(ClassicMemberMetadata::default()), tag 0;
    }

    part ClassicMemberMetadata(ConsumerGroupMemberMetadataValue) {
        session_timeout_ms: i32, ..;
        supported_protocols: Vec<ClassicProtocol>, ..;
    }

    part ClassicProtocol(ConsumerGroupMemberMetadataValue) {
        name: String, ..;
        metadata: Bytes, ..;
    }

    /// The key of the epoch of a consumer group's target assignment.
    record ConsumerGroupTargetAssignmentMetadataKey(key 6, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
    }

    /// The epoch of a consumer group's target assignment.
    record ConsumerGroupTargetAssignmentMetadataValue(key 6, versions 0..=0, flexible 0..) {
        assignment_epoch: i32, ..;
    }

    /// The key of the target assignment of a member of a consumer group.
    record ConsumerGroupTargetAssignmentMemberKey(key 7, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// The target assignment of a member of a consumer group.
    record ConsumerGroupTargetAssignmentMemberValue(key 7, versions 0..=0, flexible 0..) {
        topic_partitions: Vec<ConsumerGroupTargetAssignmentMemberTopicPartition>, ..;
    }

    part ConsumerGroupTargetAssignmentMemberTopicPartition(ConsumerGroupTargetAssignmentMemberValue) {
        topic_id: Uuid, ..;
        partitions: Vec<i32>, ..;
    }

    /// The key of the current assignment of a member of a consumer group.
    record ConsumerGroupCurrentMemberAssignmentKey(key 8, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        member_id: String, ..;
    }

    /// The current assignment of a member of a consumer group.
    record ConsumerGroupCurrentMemberAssignmentValue(key 8, versions 0..=0, flexible 0..) {
        member_epoch: i32, ..;
        previous_member_epoch: i32, ..;
        state: i8, ..;
        assigned_partitions: Vec<ConsumerGroupCurrentMemberAssignmentTopicPartitions>, ..;
        partitions_pending_revocation: Vec<ConsumerGroupCurrentMemberAssignmentTopicPartitions>, ..;
    }

    part ConsumerGroupCurrentMemberAssignmentTopicPartitions(ConsumerGroupCurrentMemberAssignmentValue) {
        topic_id: Uuid, ..;
        partitions: Vec<i32>, ..;
    }

    /// The key of the topics that a regular expression of a consumer group matched.
    record ConsumerGroupRegularExpressionKey(key 16, versions 0..=0, flexible 32767..) {
        group_id: String, ..;
        regular_expression: String, ..;
    }

    /// The topics that a regular expression of a consumer group matched.
    record ConsumerGroupRegularExpressionValue(key 16, versions 0..=0, flexible 0..) {
        topics: Vec<String>, ..;
        version: i64, ..;
        timestamp: i64, ..;
    }
}
