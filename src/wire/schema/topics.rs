//! Topics, their partitions and their replicas.

use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Creates topics.
    request CreateTopicsRequest(CreateTopics -> CreateTopicsResponse) {
        topics: Vec<CreatableTopic>, ..;
        timeout_ms: i32, .., default 60000;
        validate_only: bool, ..;
    }

    part CreatableTopic(CreateTopicsRequest) {
        name: String, ..;
        num_partitions: i32, ..;
        replication_factor: i16, ..;
        assignments: Vec<CreatableReplicaAssignment>, ..;
        configs: Vec<CreatableTopicConfig>, ..;
    }

    part CreatableReplicaAssignment(CreateTopicsRequest) {
        partition_index: i32, ..;
        broker_ids: Vec<i32>, ..;
    }

    part CreatableTopicConfig(CreateTopicsRequest) {
        name: String, ..;
        value: Option<String>, .., null ..;
    }

    /// The answer to [`CreateTopicsRequest`].
    response CreateTopicsResponse(CreateTopics) {
        throttle_time_ms: i32, ..;
        topics: Vec<CreatableTopicResult>, ..;
    }

    part CreatableTopicResult(CreateTopicsResponse) {
        name: String, ..;
        topic_id: Uuid, 7.., else ignore;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        num_partitions: i32, 5.., default -1, else ignore;
        replication_factor: i16, 5.., default -1, else ignore;
        configs: Option<Vec<CreatableTopicConfigs>>, 5.., null .., else ignore;
        topic_config_error_code: ErrorCode, 5.., tag 0, else ignore;
    }

    part CreatableTopicConfigs(CreateTopicsResponse) {
        name: String, ..;
        value: Option<String>, .., null ..;
        read_only: bool, ..;
        config_source: i8, .., default -1;
        is_sensitive: bool, ..;
    }

    /// Deletes topics.
    request DeleteTopicsRequest(DeleteTopics -> DeleteTopicsResponse) {
        topics: Vec<DeleteTopicState>, 6..;
        topic_names: Vec<String>, ..=5, else ignore;
        timeout_ms: i32, ..;
    }

    part DeleteTopicState(DeleteTopicsRequest) {
        name: Option<String>, .., null ..;
        topic_id: Uuid, ..;
    }

    /// The answer to [`DeleteTopicsRequest`].
    response DeleteTopicsResponse(DeleteTopics) {
        throttle_time_ms: i32, ..;
        responses: Vec<DeletableTopicResult>, ..;
    }

    part DeletableTopicResult(DeleteTopicsResponse) {
        name: Option<String>, .., null 6..;
        topic_id: Uuid, 6.., else ignore;
        error_code: ErrorCode, ..;
        error_message: Option<String>, 5.., null .., else ignore;
    }

    /// Adds partitions to topics.
    request CreatePartitionsRequest(CreatePartitions -> CreatePartitionsResponse) {
        topics: Vec<CreatePartitionsTopic>, ..;
        timeout_ms: i32, ..;
        validate_only: bool, ..;
    }

    part CreatePartitionsTopic(CreatePartitionsRequest) {
        name: String, ..;
        count: i32, ..;
        assignments: Option<Vec<CreatePartitionsAssignment>>, .., null ..;
    }

    part CreatePartitionsAssignment(CreatePartitionsRequest) {
        broker_ids: Vec<i32>, ..;
    }

    /// The answer to [`CreatePartitionsRequest`].
    response CreatePartitionsResponse(CreatePartitions) {
        throttle_time_ms: i32, ..;
        results: Vec<CreatePartitionsTopicResult>, ..;
    }

    part CreatePartitionsTopicResult(CreatePartitionsResponse) {
        name: String, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Moves partitions to other brokers, or stops such moves.
    request AlterPartitionReassignmentsRequest(
        AlterPartitionReassignments -> AlterPartitionReassignmentsResponse
    ) {
        timeout_ms: i32, .., default 60000;
        allow_replication_factor_change: bool, 1.., default true;
        topics: Vec<ReassignableTopic>, ..;
    }

    part ReassignableTopic(AlterPartitionReassignmentsRequest) {
        name: String, ..;
        partitions: Vec<ReassignablePartition>, ..;
    }

    part ReassignablePartition(AlterPartitionReassignmentsRequest) {
        partition_index: i32, ..;
        replicas: Option<Vec<i32>>, .., null ..;
    }

    /// The answer to [`AlterPartitionReassignmentsRequest`].
    response AlterPartitionReassignmentsResponse(AlterPartitionReassignments) {
        throttle_time_ms: i32, ..;
        allow_replication_factor_change: bool, 1.., default true, else ignore;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        responses: Vec<ReassignableTopicResponse>, ..;
    }

    part ReassignableTopicResponse(AlterPartitionReassignmentsResponse) {
        name: String, ..;
        partitions: Vec<ReassignablePartitionResponse>, ..;
    }

    part ReassignablePartitionResponse(AlterPartitionReassignmentsResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Asks which partitions are being moved.
    request ListPartitionReassignmentsRequest(
        ListPartitionReassignments -> ListPartitionReassignmentsResponse
    ) {
        timeout_ms: i32, .., default 60000;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, .., null ..;
    }

    part ListPartitionReassignmentsTopics(ListPartitionReassignmentsRequest) {
        name: String, ..;
        partition_indexes: Vec<i32>, ..;
    }

    /// The answer to [`ListPartitionReassignmentsRequest`].
    response ListPartitionReassignmentsResponse(ListPartitionReassignments) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        topics: Vec<OngoingTopicReassignment>, ..;
    }

    part OngoingTopicReassignment(ListPartitionReassignmentsResponse) {
        name: String, ..;
        partitions: Vec<OngoingPartitionReassignment>, ..;
    }

    part OngoingPartitionReassignment(ListPartitionReassignmentsResponse) {
        partition_index: i32, ..;
        replicas: Vec<i32>, ..;
        adding_replicas: Vec<i32>, ..;
        removing_replicas: Vec<i32>, ..;
    }

    /// Elects leaders for partitions.
    request ElectLeadersRequest(ElectLeaders -> ElectLeadersResponse) {
        election_type: i8, 1..;
        topic_partitions: Option<Vec<ElectLeadersTopicPartitions>>, .., null ..;
        timeout_ms: i32, .., default 60000;
    }

    part ElectLeadersTopicPartitions(ElectLeadersRequest) {
        topic: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`ElectLeadersRequest`].
    response ElectLeadersResponse(ElectLeaders) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, 1..;
        replica_election_results: Vec<ReplicaElectionResult>, ..;
    }

    part ReplicaElectionResult(ElectLeadersResponse) {
        topic: String, ..;
        partition_result: Vec<ElectLeadersPartitionResult>, ..;
    }

    part ElectLeadersPartitionResult(ElectLeadersResponse) {
        partition_id: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }
}
