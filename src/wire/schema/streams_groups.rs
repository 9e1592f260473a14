//! Streams groups.

use crate::wire::error::ErrorCode;

messages! {
    /// Joins, keeps alive and leaves a streams group.
    request StreamsGroupHeartbeatRequest(StreamsGroupHeartbeat -> StreamsGroupHeartbeatResponse) {
        group_id: String, ..;
        member_id: String, ..;
        member_epoch: i32, ..;
        endpoint_information_epoch: i32, ..;
        instance_id: Option<String>, .., null ..;
        rack_id: Option<String>, .., null ..;
        rebalance_timeout_ms: i32, .., default -1;
        topology: Option<StreamsGroupHeartbeatTopology>, .., null ..;
        active_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>, .., null ..;
        standby_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>, .., null ..;
        warmup_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>, .., null ..;
        process_id: Option<String>, .., null ..;
        user_endpoint: Option<StreamsGroupHeartbeatEndpoint>, .., null ..;
        client_tags: Option<Vec<StreamsGroupHeartbeatKeyValue>>, .., null ..;
        task_offsets: Option<Vec<StreamsGroupHeartbeatTaskOffset>>, .., null ..;
        task_end_offsets: Option<Vec<StreamsGroupHeartbeatTaskOffset>>, .., null ..;
        shutdown_application: bool, ..;
    }

    part StreamsGroupHeartbeatTopology(StreamsGroupHeartbeatRequest) {
        epoch: i32, ..;
        subtopologies: Vec<StreamsGroupHeartbeatSubtopology>, ..;
    }

    part StreamsGroupHeartbeatSubtopology(StreamsGroupHeartbeatRequest) {
        subtopology_id: String, ..;
        source_topics: Vec<String>, ..;
        source_topic_regex: Vec<String>, ..;
        state_changelog_topics: Vec<StreamsGroupHeartbeatTopicInfo>, ..;
        repartition_sink_topics: Vec<String>, ..;
        repartition_source_topics: Vec<StreamsGroupHeartbeatTopicInfo>, ..;
        copartition_groups: Vec<StreamsGroupHeartbeatCopartitionGroup>, ..;
    }

    part StreamsGroupHeartbeatTopicInfo(StreamsGroupHeartbeatRequest) {
        name: String, ..;
        partitions: i32, ..;
        replication_factor: i16, ..;
        topic_configs: Vec<StreamsGroupHeartbeatKeyValue>, ..;
    }

    part StreamsGroupHeartbeatKeyValue(StreamsGroupHeartbeatRequest) {
        key: String, ..;
        value: String, ..;
    }

    part StreamsGroupHeartbeatCopartitionGroup(StreamsGroupHeartbeatRequest) {
        source_topics: Vec<i16>, ..;
        source_topic_regex: Vec<i16>, ..;
        repartition_source_topics: Vec<i16>, ..;
    }

    part StreamsGroupHeartbeatTaskIds(StreamsGroupHeartbeatRequest) {
        subtopology_id: String, ..;
        partitions: Vec<i32>, ..;
    }

    part StreamsGroupHeartbeatEndpoint(StreamsGroupHeartbeatRequest) {
        host: String, ..;
        port: u16, ..;
    }

    part StreamsGroupHeartbeatTaskOffset(StreamsGroupHeartbeatRequest) {
        subtopology_id: String, ..;
        partition: i32, ..;
        offset: i64, ..;
    }

    /// The answer to [`StreamsGroupHeartbeatRequest`].
    response StreamsGroupHeartbeatResponse(StreamsGroupHeartbeat) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        member_id: String, ..;
        member_epoch: i32, ..;
        heartbeat_interval_ms: i32, ..;
        acceptable_recovery_lag: i32, ..;
        task_offset_interval_ms: i32, ..;
        status: Option<Vec<StreamsGroupHeartbeatStatus>>, .., null ..;
        active_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>, .., null ..;
        standby_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>, .., null ..;
        warmup_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>, .., null ..;
        endpoint_information_epoch: i32, ..;
        partitions_by_user_endpoint: Option<Vec<StreamsGroupHeartbeatEndpointToPartitions>>, .., null ..;
    }

    part StreamsGroupHeartbeatStatus(StreamsGroupHeartbeatResponse) {
        status_code: i8, ..;
        status_detail: String, ..;
    }

    part StreamsGroupHeartbeatEndpointToPartitions(StreamsGroupHeartbeatResponse) {
        user_endpoint: StreamsGroupHeartbeatEndpoint, ..;
        active_partitions: Vec<StreamsGroupHeartbeatTopicPartition>, ..;
        standby_partitions: Vec<StreamsGroupHeartbeatTopicPartition>, ..;
    }

    part StreamsGroupHeartbeatTopicPartition(StreamsGroupHeartbeatResponse) {
        topic: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// Asks for the state and the members of streams groups.
    request StreamsGroupDescribeRequest(StreamsGroupDescribe -> StreamsGroupDescribeResponse) {
        group_ids: Vec<String>, ..;
        include_authorized_operations: bool, ..;
    }

    /// The answer to [`StreamsGroupDescribeRequest`].
    response StreamsGroupDescribeResponse(StreamsGroupDescribe) {
        throttle_time_ms: i32, ..;
        groups: Vec<StreamsGroupDescribeDescribedGroup>, ..;
    }

    part StreamsGroupDescribeDescribedGroup(StreamsGroupDescribeResponse) {
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        group_id: String, ..;
        group_state: String, ..;
        group_epoch: i32, ..;
        assignment_epoch: i32, ..;
        topology: Option<StreamsGroupDescribeTopology>, .., null ..;
        members: Vec<StreamsGroupDescribeMember>, ..;
        authorized_operations: i32, .., default i32::MIN;
    }

    part StreamsGroupDescribeTopology(StreamsGroupDescribeResponse) {
        epoch: i32, ..;
        subtopologies: Option<Vec<StreamsGroupDescribeSubtopology>>, .., null ..;
    }

    part StreamsGroupDescribeSubtopology(StreamsGroupDescribeResponse) {
        subtopology_id: String, ..;
        source_topics: Vec<String>, ..;
        repartition_sink_topics: Vec<String>, ..;
        state_changelog_topics: Vec<StreamsGroupDescribeTopicInfo>, ..;
        repartition_source_topics: Vec<StreamsGroupDescribeTopicInfo>, ..;
    }

    part StreamsGroupDescribeTopicInfo(StreamsGroupDescribeResponse) {
        name: String, ..;
        partitions: i32, ..;
        replication_factor: i16, ..;
        topic_configs: Vec<StreamsGroupDescribeKeyValue>, ..;
    }

    part StreamsGroupDescribeKeyValue(StreamsGroupDescribeResponse) {
        key: String, ..;
        value: String, ..;
    }

    part StreamsGroupDescribeMember(StreamsGroupDescribeResponse) {
        member_id: String, ..;
        member_epoch: i32, ..;
        instance_id: Option<String>, .., null ..;
        rack_id: Option<String>, .., null ..;
        client_id: String, ..;
        client_host: String, ..;
        topology_epoch: i32, ..;
        process_id: String, ..;
        user_endpoint: Option<StreamsGroupDescribeEndpoint>, .., null ..;
        client_tags: Vec<StreamsGroupDescribeKeyValue>, ..;
        task_offsets: Vec<StreamsGroupDescribeTaskOffset>, ..;
        task_end_offsets: Vec<StreamsGroupDescribeTaskOffset>, ..;
        assignment: StreamsGroupDescribeAssignment, ..;
        target_assignment: StreamsGroupDescribeAssignment, ..;
        is_classic: bool, ..;
    }

    part StreamsGroupDescribeEndpoint(StreamsGroupDescribeResponse) {
        host: String, ..;
        port: u16, ..;
    }

    part StreamsGroupDescribeTaskOffset(StreamsGroupDescribeResponse) {
        subtopology_id: String, ..;
        partition: i32, ..;
        offset: i64, ..;
    }

    part StreamsGroupDescribeAssignment(StreamsGroupDescribeResponse) {
        active_tasks: Vec<StreamsGroupDescribeTaskIds>, ..;
        standby_tasks: Vec<StreamsGroupDescribeTaskIds>, ..;
        warmup_tasks: Vec<StreamsGroupDescribeTaskIds>, ..;
    }

    part StreamsGroupDescribeTaskIds(StreamsGroupDescribeResponse) {
        subtopology_id: String, ..;
        partitions: Vec<i32>, ..;
    }
}
