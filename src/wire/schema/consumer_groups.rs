//! Consumer groups with the protocol of KIP-848.

use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Joins, keeps alive, changes and leaves a consumer group.
    request ConsumerGroupHeartbeatRequest(ConsumerGroupHeartbeat -> ConsumerGroupHeartbeatResponse) {
        group_id: String, ..;
        member_id: String, ..;
        member_epoch: i32, ..;
        instance_id: Option<String>, .., null ..;
        rack_id: Option<String>, .., null ..;
        rebalance_timeout_ms: i32, .., default -1;
        subscribed_topic_names: Option<Vec<String>>, .., null ..;
        subscribed_topic_regex: Option<String>, 1.., null ..;
        server_assignor: Option<String>, .., null ..;
        topic_partitions: Option<Vec<ConsumerGroupHeartbeatTopicPartitions>>, .., null ..;
    }

    part ConsumerGroupHeartbeatTopicPartitions(ConsumerGroupHeartbeatRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`ConsumerGroupHeartbeatRequest`].
    response ConsumerGroupHeartbeatResponse(ConsumerGroupHeartbeat) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        member_id: Option<String>, .., null ..;
        member_epoch: i32, ..;
        heartbeat_interval_ms: i32, ..;
        assignment: Option<ConsumerGroupHeartbeatAssignment>, .., null ..;
    }

    part ConsumerGroupHeartbeatAssignment(ConsumerGroupHeartbeatResponse) {
        topic_partitions: Vec<ConsumerGroupHeartbeatTopicPartitions>, ..;
    }

    /// Asks for the state and the members of consumer groups.
    request ConsumerGroupDescribeRequest(ConsumerGroupDescribe -> ConsumerGroupDescribeResponse) {
        group_ids: Vec<String>, ..;
        include_authorized_operations: bool, ..;
    }

    /// The answer to [`ConsumerGroupDescribeRequest`].
    response ConsumerGroupDescribeResponse(ConsumerGroupDescribe) {
        throttle_time_ms: i32, ..;
        groups: Vec<ConsumerGroupDescribeDescribedGroup>, ..;
    }

    part ConsumerGroupDescribeDescribedGroup(ConsumerGroupDescribeResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        group_id: String, ..;
        group_state: String, ..;
        group_epoch: i32, ..;
        assignment_epoch: i32, ..;
        assignor_name: String, ..;
        members: Vec<ConsumerGroupDescribeMember>, ..;
        authorized_operations: i32, .., default i32::MIN;
    }

    part ConsumerGroupDescribeMember(ConsumerGroupDescribeResponse) {
        member_id: String, ..;
        instance_id: Option<String>, .., null ..;
        rack_id: Option<String>, .., null ..;
        member_epoch: i32, ..;
        client_id: String, ..;
        client_host: String, ..;
        subscribed_topic_names: Vec<String>, ..;
        subscribed_topic_regex: Option<String>, .., null ..;
        assignment: ConsumerGroupDescribeAssignment, ..;
        target_assignment: ConsumerGroupDescribeAssignment, ..;
        member_type: i8, 1.., default -1, else ignore;
    }

    part ConsumerGroupDescribeAssignment(ConsumerGroupDescribeResponse) {
        topic_partitions: Vec<ConsumerGroupDescribeTopicPartitions>, ..;
    }

    part ConsumerGroupDescribeTopicPartitions(ConsumerGroupDescribeResponse) {
        topic_id: Uuid, ..;
        topic_name: String, ..;
        partitions: Vec<i32>, ..;
    }
}
