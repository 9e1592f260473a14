//! Groups with the classic protocol, and committed offsets.

use bytes::Bytes;

use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Asks which broker coordinates a group or transactional id.
    request FindCoordinatorRequest(FindCoordinator -> FindCoordinatorResponse) {
        key: String, ..=3;
        key_type: i8, 1..;
        coordinator_keys: Vec<String>, 4..;
    }

    /// The answer to [`FindCoordinatorRequest`].
    response FindCoordinatorResponse(FindCoordinator) {
        throttle_time_ms: i32, 1.., else ignore;
        error_code: ErrorCode, ..=3;
        error_message: Option<String>, 1..=3, null .., else ignore;
        node_id: i32, ..=3;
        host: String, ..=3;
        port: i32, ..=3;
        coordinators: Vec<Coordinator>, 4..;
    }

    part Coordinator(FindCoordinatorResponse) {
        key: String, ..;
        node_id: i32, ..;
        host: String, ..;
        port: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Commits offsets of a group.
    request OffsetCommitRequest(OffsetCommit -> OffsetCommitResponse) {
        group_id: String, ..;
        generation_id_or_member_epoch: i32, .., default -1;
        member_id: String, ..;
        group_instance_id: Option<String>, 7.., null ..;
        retention_time_ms: i64, ..=4, default -1, else ignore;
        topics: Vec<OffsetCommitRequestTopic>, ..;
    }

    part OffsetCommitRequestTopic(OffsetCommitRequest) {
        name: String, ..=9, else ignore;
        topic_id: Uuid, 10.., else ignore;
        partitions: Vec<OffsetCommitRequestPartition>, ..;
    }

    part OffsetCommitRequestPartition(OffsetCommitRequest) {
        partition_index: i32, ..;
        committed_offset: i64, ..;
        committed_leader_epoch: i32, 6.., default -1, else ignore;
        committed_metadata: Option<String>, .., null ..;
    }

    /// The answer to [`OffsetCommitRequest`].
    response OffsetCommitResponse(OffsetCommit) {
        throttle_time_ms: i32, 3.., else ignore;
        topics: Vec<OffsetCommitResponseTopic>, ..;
    }

    part OffsetCommitResponseTopic(OffsetCommitResponse) {
        name: String, ..=9, else ignore;
        topic_id: Uuid, 10.., else ignore;
        partitions: Vec<OffsetCommitResponsePartition>, ..;
    }

    part OffsetCommitResponsePartition(OffsetCommitResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
    }

    /// Asks for the committed offsets of groups.
    request OffsetFetchRequest(OffsetFetch -> OffsetFetchResponse) {
        group_id: String, ..=7;
        topics: Option<Vec<OffsetFetchRequestTopic>>, ..=7, null 2..;
        groups: Vec<OffsetFetchRequestGroup>, 8..;
        require_stable: bool, 7..;
    }

    part OffsetFetchRequestTopic(OffsetFetchRequest) {
        name: String, ..;
        partition_indexes: Vec<i32>, ..;
    }

    part OffsetFetchRequestGroup(OffsetFetchRequest) {
        group_id: String, ..;
        member_id: Option<String>, 9.., null .., else ignore;
        member_epoch: i32, 9.., default -1, else ignore;
        topics: Option<Vec<OffsetFetchRequestTopics>>, .., null ..;
    }

    part OffsetFetchRequestTopics(OffsetFetchRequest) {
        name: String, ..=9, else ignore;
        topic_id: Uuid, 10.., else ignore;
        partition_indexes: Vec<i32>, ..;
    }

    /// The answer to [`OffsetFetchRequest`].
    response OffsetFetchResponse(OffsetFetch) {
        throttle_time_ms: i32, 3.., else ignore;
        topics: Vec<OffsetFetchResponseTopic>, ..=7;
        error_code: ErrorCode, 2..=7, else ignore;
        groups: Vec<OffsetFetchResponseGroup>, 8..;
    }

    part OffsetFetchResponseTopic(OffsetFetchResponse) {
        name: String, ..;
        partitions: Vec<OffsetFetchResponsePartition>, ..;
    }

    part OffsetFetchResponsePartition(OffsetFetchResponse) {
        partition_index: i32, ..;
        committed_offset: i64, ..;
        committed_leader_epoch: i32, 5.., default -1, else ignore;
        metadata: Option<String>, .., null ..;
        error_code: ErrorCode, ..;
    }

    part OffsetFetchResponseGroup(OffsetFetchResponse) {
        group_id: String, ..;
        topics: Vec<OffsetFetchResponseTopics>, ..;
        error_code: ErrorCode, ..;
    }

    part OffsetFetchResponseTopics(OffsetFetchResponse) {
        name: String, ..=9, else ignore;
        topic_id: Uuid, 10.., else ignore;
        partitions: Vec<OffsetFetchResponsePartitions>, ..;
    }

    part OffsetFetchResponsePartitions(OffsetFetchResponse) {
        partition_index: i32, ..;
        committed_offset: i64, ..;
        committed_leader_epoch: i32, .., default -1;
        metadata: Option<String>, .., null ..;
        error_code: ErrorCode, ..;
    }

    /// Joins a group.
    request JoinGroupRequest(JoinGroup -> JoinGroupResponse) {
        group_id: String, ..;
        session_timeout_ms: i32, ..;
        rebalance_timeout_ms: i32, 1.., default -1, else ignore;
        member_id: String, ..;
        group_instance_id: Option<String>, 5.., null ..;
        protocol_type: String, ..;
        protocols: Vec<JoinGroupRequestProtocol>, ..;
        reason: Option<String>, 8.., null .., else ignore;
    }

    part JoinGroupRequestProtocol(JoinGroupRequest) {
        name: String, ..;
        metadata: Bytes, ..;
    }

    /// The answer to [`JoinGroupRequest`].
    response JoinGroupResponse(JoinGroup) {
        throttle_time_ms: i32, 2.., else ignore;
        error_code: ErrorCode, ..;
        generation_id: i32, .., default -1;
        protocol_type: Option<String>, 7.., null .., else ignore;
        protocol_name: Option<String>, .., null 7..;
        leader: String, ..;
        skip_assignment: bool, 9..;
        member_id: String, ..;
        members: Vec<JoinGroupResponseMember>, ..;
    }

    part JoinGroupResponseMember(JoinGroupResponse) {
        member_id: String, ..;
        group_instance_id: Option<String>, 5.., null .., else ignore;
        metadata: Bytes, ..;
    }

    /// Hands in or fetches the assignment of a generation.
    request SyncGroupRequest(SyncGroup -> SyncGroupResponse) {
        group_id: String, ..;
        generation_id: i32, ..;
        member_id: String, ..;
        group_instance_id: Option<String>, 3.., null ..;
        protocol_type: Option<String>, 5.., null .., else ignore;
        protocol_name: Option<String>, 5.., null .., else ignore;
        assignments: Vec<SyncGroupRequestAssignment>, ..;
    }

    part SyncGroupRequestAssignment(SyncGroupRequest) {
        member_id: String, ..;
        assignment: Bytes, ..;
    }

    /// The answer to [`SyncGroupRequest`].
    response SyncGroupResponse(SyncGroup) {
        throttle_time_ms: i32, 1.., else ignore;
        error_code: ErrorCode, ..;
        protocol_type: Option<String>, 5.., null .., else ignore;
        protocol_name: Option<String>, 5.., null .., else ignore;
        assignment: Bytes, ..;
    }

    /// Tells that a member is alive.
    request HeartbeatRequest(Heartbeat -> HeartbeatResponse) {
        group_id: String, ..;
        generation_id: i32, ..;
        member_id: String, ..;
        group_instance_id: Option<String>, 3.., null ..;
    }

    /// The answer to [`HeartbeatRequest`].
    response HeartbeatResponse(Heartbeat) {
        throttle_time_ms: i32, 1.., else ignore;
        error_code: ErrorCode, ..;
    }

    /// Leaves a group.
    request LeaveGroupRequest(LeaveGroup -> LeaveGroupResponse) {
        group_id: String, ..;
        member_id: String, ..=2;
        members: Vec<MemberIdentity>, 3..;
    }

    part MemberIdentity(LeaveGroupRequest) {
        member_id: String, ..;
        group_instance_id: Option<String>, .., null ..;
        reason: Option<String>, 5.., null .., else ignore;
    }

    /// The answer to [`LeaveGroupRequest`].
    response LeaveGroupResponse(LeaveGroup) {
        throttle_time_ms: i32, 1.., else ignore;
        error_code: ErrorCode, ..;
        members: Vec<MemberResponse>, 3..;
    }

    part MemberResponse(LeaveGroupResponse) {
        member_id: String, ..;
        group_instance_id: Option<String>, .., null ..;
        error_code: ErrorCode, ..;
    }

    /// Asks for the state and the members of groups.
    request DescribeGroupsRequest(DescribeGroups -> DescribeGroupsResponse) {
        groups: Vec<String>, ..;
        include_authorized_operations: bool, 3..;
    }

    /// The answer to [`DescribeGroupsRequest`].
    response DescribeGroupsResponse(DescribeGroups) {
        throttle_time_ms: i32, 1.., else ignore;
        groups: Vec<DescribedGroup>, ..;
    }

    part DescribedGroup(DescribeGroupsResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, 6.., null ..;
        group_id: String, ..;
        group_state: String, ..;
        protocol_type: String, ..;
        protocol_data: String, ..;
        members: Vec<DescribedGroupMember>, ..;
        authorized_operations: i32, 3.., default i32::MIN;
    }

    part DescribedGroupMember(DescribeGroupsResponse) {
        member_id: String, ..;
        group_instance_id: Option<String>, 4.., null .., else ignore;
        client_id: String, ..;
        client_host: String, ..;
        member_metadata: Bytes, ..;
        member_assignment: Bytes, ..;
    }

    /// Asks which groups there are.
    request ListGroupsRequest(ListGroups -> ListGroupsResponse) {
        states_filter: Vec<String>, 4..;
        types_filter: Vec<String>, 5..;
    }

    /// The answer to [`ListGroupsRequest`].
    response ListGroupsResponse(ListGroups) {
        throttle_time_ms: i32, 1.., else ignore;
        error_code: ErrorCode, ..;
        groups: Vec<ListedGroup>, ..;
    }

    part ListedGroup(ListGroupsResponse) {
        group_id: String, ..;
        protocol_type: String, ..;
        group_state: String, 4.., else ignore;
        group_type: String, 5.., else ignore;
    }

    /// Deletes empty groups.
    request DeleteGroupsRequest(DeleteGroups -> DeleteGroupsResponse) {
        groups_names: Vec<String>, ..;
    }

    /// The answer to [`DeleteGroupsRequest`].
    response DeleteGroupsResponse(DeleteGroups) {
        throttle_time_ms: i32, ..;
        results: Vec<DeletableGroupResult>, ..;
    }

    part DeletableGroupResult(DeleteGroupsResponse) {
        group_id: String, ..;
        error_code: ErrorCode, ..;
    }

    /// Deletes committed offsets.
    request OffsetDeleteRequest(OffsetDelete -> OffsetDeleteResponse) {
        group_id: String, ..;
        topics: Vec<OffsetDeleteRequestTopic>, ..;
    }

    part OffsetDeleteRequestTopic(OffsetDeleteRequest) {
        name: String, ..;
        partitions: Vec<OffsetDeleteRequestPartition>, ..;
    }

    part OffsetDeleteRequestPartition(OffsetDeleteRequest) {
        partition_index: i32, ..;
    }

    /// The answer to [`OffsetDeleteRequest`].
    response OffsetDeleteResponse(OffsetDelete) {
        error_code: ErrorCode, ..;
        throttle_time_ms: i32, ..;
        topics: Vec<OffsetDeleteResponseTopic>, ..;
    }

    part OffsetDeleteResponseTopic(OffsetDeleteResponse) {
        name: String, ..;
        partitions: Vec<OffsetDeleteResponsePartition>, ..;
    }

    part OffsetDeleteResponsePartition(OffsetDeleteResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
    }

    /// What a consumer tells its group: the metadata of its member.
    data ConsumerProtocolSubscription(versions 0..=3, flexible 32767..) {
        topics: Vec<String>, ..;
        user_data: Option<Bytes>, .., null ..;
        owned_partitions: Vec<ConsumerProtocolSubscriptionTopicPartition>, 1.., else ignore;
        generation_id: i32, 2.., default -1, else ignore;
        rack_id: Option<String>, 3.., null .., else ignore;
    }

    part ConsumerProtocolSubscriptionTopicPartition(ConsumerProtocolSubscription) {
        topic: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// What a consumer is told: the assignment of its member.
    data ConsumerProtocolAssignment(versions 0..=3, flexible 32767..) {
        assigned_partitions: Vec<ConsumerProtocolAssignmentTopicPartition>, ..;
        user_data: Option<Bytes>, .., null ..;
    }

    part ConsumerProtocolAssignmentTopicPartition(ConsumerProtocolAssignment) {
        topic: String, ..;
        partitions: Vec<i32>, ..;
    }
}
