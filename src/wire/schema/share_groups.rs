//! Share groups.

use super::produce_fetch::NodeEndpoint;
use crate::wire::codec::Records;
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Joins, keeps alive and leaves a share group.
    request ShareGroupHeartbeatRequest(ShareGroupHeartbeat -> ShareGroupHeartbeatResponse) {
        group_id: String, ..;
        member_id: String, ..;
        member_epoch: i32, ..;
        rack_id: Option<String>, .., null ..;
        subscribed_topic_names: Option<Vec<String>>, .., null ..;
    }

    /// The answer to [`ShareGroupHeartbeatRequest`].
    response ShareGroupHeartbeatResponse(ShareGroupHeartbeat) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        member_id: Option<String>, .., null ..;
        member_epoch: i32, ..;
        heartbeat_interval_ms: i32, ..;
        assignment: Option<ShareGroupHeartbeatAssignment>, .., null ..;
    }

    part ShareGroupHeartbeatAssignment(ShareGroupHeartbeatResponse) {
        topic_partitions: Vec<ShareGroupHeartbeatTopicPartitions>, ..;
    }

    part ShareGroupHeartbeatTopicPartitions(ShareGroupHeartbeatResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<i32>, ..;
    }

    /// Asks for the state and the members of share groups.
    request ShareGroupDescribeRequest(ShareGroupDescribe -> ShareGroupDescribeResponse) {
        group_ids: Vec<String>, ..;
        include_authorized_operations: bool, ..;
    }

    /// The answer to [`ShareGroupDescribeRequest`].
    response ShareGroupDescribeResponse(ShareGroupDescribe) {
        throttle_time_ms: i32, ..;
        groups: Vec<ShareGroupDescribeDescribedGroup>, ..;
    }

    part ShareGroupDescribeDescribedGroup(ShareGroupDescribeResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        group_id: String, ..;
        group_state: String, ..;
        group_epoch: i32, ..;
        assignment_epoch: i32, ..;
        assignor_name: String, ..;
        members: Vec<ShareGroupDescribeMember>, ..;
        authorized_operations: i32, .., default i32::MIN;
    }

    part ShareGroupDescribeMember(ShareGroupDescribeResponse) {
        member_id: String, ..;
        rack_id: Option<String>, .., null ..;
        member_epoch: i32, ..;
        client_id: String, ..;
        client_host: String, ..;
        subscribed_topic_names: Vec<String>, ..;
        assignment: ShareGroupDescribeAssignment, ..;
    }

    part ShareGroupDescribeAssignment(ShareGroupDescribeResponse) {
        topic_partitions: Vec<ShareGroupDescribeTopicPartitions>, ..;
    }

    part ShareGroupDescribeTopicPartitions(ShareGroupDescribeResponse) {
        topic_id: Uuid, ..;
        topic_name: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// Acquires records of a share group.
    request ShareFetchRequest(ShareFetch -> ShareFetchResponse) {
        group_id: Option<String>, .., null ..;
        member_id: Option<String>, .., null ..;
        share_session_epoch: i32, ..;
        max_wait_ms: i32, ..;
        min_bytes: i32, ..;
        max_bytes: i32, .., default i32::MAX;
        max_records: i32, ..;
        batch_size: i32, ..;
        share_acquire_mode: i8, 2.., else ignore;
        is_renew_ack: bool, 2..;
        topics: Vec<ShareFetchTopic>, ..;
        forgotten_topics_data: Vec<ShareFetchForgottenTopic>, ..;
    }

    part ShareFetchTopic(ShareFetchRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<ShareFetchPartition>, ..;
    }

    part ShareFetchPartition(ShareFetchRequest) {
        partition_index: i32, ..;
        acknowledgement_batches: Vec<AcknowledgementBatch>, ..;
    }

    part AcknowledgementBatch(ShareFetchRequest) {
        first_offset: i64, ..;
        last_offset: i64, ..;
        acknowledge_types: Vec<i8>, ..;
    }

    part ShareFetchForgottenTopic(ShareFetchRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`ShareFetchRequest`].
    response ShareFetchResponse(ShareFetch) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        acquisition_lock_timeout_ms: i32, ..;
        responses: Vec<ShareFetchableTopicResponse>, ..;
        node_endpoints: Vec<NodeEndpoint>, ..;
    }

    part ShareFetchableTopicResponse(ShareFetchResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<ShareFetchPartitionData>, ..;
    }

    part ShareFetchPartitionData(ShareFetchResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        acknowledge_error_code: ErrorCode, ..;
        acknowledge_error_message: Option<String>, .., null ..;
        current_leader: ShareFetchLeaderIdAndEpoch, ..;
        records: Records, ..;
        acquired_records: Vec<AcquiredRecords>, ..;
    }

    part ShareFetchLeaderIdAndEpoch(ShareFetchResponse) {
        leader_id: i32, ..;
        leader_epoch: i32, ..;
    }

    part AcquiredRecords(ShareFetchResponse) {
        first_offset: i64, ..;
        last_offset: i64, ..;
        delivery_count: i16, ..;
    }

    /// Acknowledges records of a share group.
    request ShareAcknowledgeRequest(ShareAcknowledge -> ShareAcknowledgeResponse) {
        group_id: Option<String>, .., null ..;
        member_id: Option<String>, .., null ..;
        share_session_epoch: i32, ..;
        is_renew_ack: bool, 2..;
        topics: Vec<AcknowledgeTopic>, ..;
    }

    part AcknowledgeTopic(ShareAcknowledgeRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<AcknowledgePartition>, ..;
    }

    part AcknowledgePartition(ShareAcknowledgeRequest) {
        partition_index: i32, ..;
        acknowledgement_batches: Vec<ShareAcknowledgeAcknowledgementBatch>, ..;
    }

    part ShareAcknowledgeAcknowledgementBatch(ShareAcknowledgeRequest) {
        first_offset: i64, ..;
        last_offset: i64, ..;
        acknowledge_types: Vec<i8>, ..;
    }

    /// The answer to [`ShareAcknowledgeRequest`].
    response ShareAcknowledgeResponse(ShareAcknowledge) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        acquisition_lock_timeout_ms: i32, 2.., else ignore;
        responses: Vec<ShareAcknowledgeTopicResponse>, ..;
        node_endpoints: Vec<NodeEndpoint>, ..;
    }

    part ShareAcknowledgeTopicResponse(ShareAcknowledgeResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<ShareAcknowledgePartitionData>, ..;
    }

    part ShareAcknowledgePartitionData(ShareAcknowledgeResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        current_leader: ShareAcknowledgeLeaderIdAndEpoch, ..;
    }

    part ShareAcknowledgeLeaderIdAndEpoch(ShareAcknowledgeResponse) {
        leader_id: i32, ..;
        leader_epoch: i32, ..;
    }

    /// Asks for the start offsets of a share group.
    request DescribeShareGroupOffsetsRequest(DescribeShareGroupOffsets -> DescribeShareGroupOffsetsResponse) {
        groups: Vec<DescribeShareGroupOffsetsRequestGroup>, ..;
    }

    part DescribeShareGroupOffsetsRequestGroup(DescribeShareGroupOffsetsRequest) {
        group_id: String, ..;
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>>, .., null ..;
    }

    part DescribeShareGroupOffsetsRequestTopic(DescribeShareGroupOffsetsRequest) {
        topic_name: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`DescribeShareGroupOffsetsRequest`].
    response DescribeShareGroupOffsetsResponse(DescribeShareGroupOffsets) {
        throttle_time_ms: i32, ..;
        groups: Vec<DescribeShareGroupOffsetsResponseGroup>, ..;
    }

    part DescribeShareGroupOffsetsResponseGroup(DescribeShareGroupOffsetsResponse) {
        group_id: String, ..;
        topics: Vec<DescribeShareGroupOffsetsResponseTopic>, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    part DescribeShareGroupOffsetsResponseTopic(DescribeShareGroupOffsetsResponse) {
        topic_name: String, ..;
        topic_id: Uuid, ..;
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition>, ..;
    }

    part DescribeShareGroupOffsetsResponsePartition(DescribeShareGroupOffsetsResponse) {
        partition_index: i32, ..;
        start_offset: i64, ..;
        leader_epoch: i32, ..;
        lag: i64, 1.., default -1, else ignore;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Sets the start offsets of a share group.
    request AlterShareGroupOffsetsRequest(AlterShareGroupOffsets -> AlterShareGroupOffsetsResponse) {
        group_id: String, ..;
        topics: Vec<AlterShareGroupOffsetsRequestTopic>, ..;
    }

    part AlterShareGroupOffsetsRequestTopic(AlterShareGroupOffsetsRequest) {
        topic_name: String, ..;
        partitions: Vec<AlterShareGroupOffsetsRequestPartition>, ..;
    }

    part AlterShareGroupOffsetsRequestPartition(AlterShareGroupOffsetsRequest) {
        partition_index: i32, ..;
        start_offset: i64, ..;
    }

    /// The answer to [`AlterShareGroupOffsetsRequest`].
    response AlterShareGroupOffsetsResponse(AlterShareGroupOffsets) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        responses: Vec<AlterShareGroupOffsetsResponseTopic>, ..;
    }

    part AlterShareGroupOffsetsResponseTopic(AlterShareGroupOffsetsResponse) {
        topic_name: String, ..;
        topic_id: Uuid, ..;
        partitions: Vec<AlterShareGroupOffsetsResponsePartition>, ..;
    }

    part AlterShareGroupOffsetsResponsePartition(AlterShareGroupOffsetsResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Deletes the offsets of a share group.
    request DeleteShareGroupOffsetsRequest(DeleteShareGroupOffsets -> DeleteShareGroupOffsetsResponse) {
        group_id: String, ..;
        topics: Vec<DeleteShareGroupOffsetsRequestTopic>, ..;
    }

    part DeleteShareGroupOffsetsRequestTopic(DeleteShareGroupOffsetsRequest) {
        topic_name: String, ..;
    }

    /// The answer to [`DeleteShareGroupOffsetsRequest`].
    response DeleteShareGroupOffsetsResponse(DeleteShareGroupOffsets) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        responses: Vec<DeleteShareGroupOffsetsResponseTopic>, ..;
    }

    part DeleteShareGroupOffsetsResponseTopic(DeleteShareGroupOffsetsResponse) {
        topic_name: String, ..;
        topic_id: Uuid, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }
}
