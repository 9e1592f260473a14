//! What the cluster consists of, and what it speaks.

use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Asks which versions of which APIs the broker speaks.
    request ApiVersionsRequest(ApiVersions -> ApiVersionsResponse) {
        client_software_name: String, 3.., else ignore;
        client_software_version: String, 3.., else ignore;
    }

    /// The answer to [`ApiVersionsRequest`].
    response ApiVersionsResponse(ApiVersions) {
        error_code: ErrorCode, ..;
        api_keys: Vec<ApiVersion>, ..;
        throttle_time_ms: i32, 1.., else ignore;
        supported_features: Vec<SupportedFeatureKey>, 3.., tag 0, else ignore;
        finalized_features_epoch: i64, 3.., default -1, tag 1, else ignore;
        finalized_features: Vec<FinalizedFeatureKey>, 3.., tag 2, else ignore;
        zk_migration_ready: bool, 3.., tag 3, else ignore;
    }

    part ApiVersion(ApiVersionsResponse) {
        api_key: i16, ..;
        min_version: i16, ..;
        max_version: i16, ..;
    }

    part SupportedFeatureKey(ApiVersionsResponse) {
        name: String, ..;
        min_version: i16, ..;
        max_version: i16, ..;
    }

    part FinalizedFeatureKey(ApiVersionsResponse) {
        name: String, ..;
        max_version_level: i16, ..;
        min_version_level: i16, ..;
    }

    /// Asks for brokers, topics and leaders.
    request MetadataRequest(Metadata -> MetadataResponse) {
        topics: Option<Vec<MetadataRequestTopic>>, .., null 1..;
        allow_auto_topic_creation: bool, 4.., default true;
        include_cluster_authorized_operations: bool, 8..=10;
        include_topic_authorized_operations: bool, 8..;
    }

    part MetadataRequestTopic(MetadataRequest) {
        topic_id: Uuid, 10.., else ignore;
        name: Option<String>, .., null 10..;
    }

    /// The answer to [`MetadataRequest`].
    response MetadataResponse(Metadata) {
        throttle_time_ms: i32, 3.., else ignore;
        brokers: Vec<MetadataResponseBroker>, ..;
        cluster_id: Option<String>, 2.., null .., else ignore;
        controller_id: i32, 1.., default -1, else ignore;
        topics: Vec<MetadataResponseTopic>, ..;
        cluster_authorized_operations: i32, 8..=10, default i32::MIN;
        error_code: ErrorCode, 13.., else ignore;
    }

    part MetadataResponseBroker(MetadataResponse) {
        node_id: i32, ..;
        host: String, ..;
        port: i32, ..;
        rack: Option<String>, 1.., null .., else ignore;
    }

    part MetadataResponseTopic(MetadataResponse) {
        error_code: ErrorCode, ..;
        name: Option<String>, .., null 12..;
        topic_id: Uuid, 10.., else ignore;
        is_internal: bool, 1.., else ignore;
        partitions: Vec<MetadataResponsePartition>, ..;
        topic_authorized_operations: i32, 8.., default i32::MIN;
    }

    part MetadataResponsePartition(MetadataResponse) {
        error_code: ErrorCode, ..;
        partition_index: i32, ..;
        leader_id: i32, ..;
        leader_epoch: i32, 7.., default -1, else ignore;
        replica_nodes: Vec<i32>, ..;
        isr_nodes: Vec<i32>, ..;
        offline_replicas: Vec<i32>, 5.., else ignore;
    }

    /// Asks for the nodes of the cluster.
    request DescribeClusterRequest(DescribeCluster -> DescribeClusterResponse) {
        include_cluster_authorized_operations: bool, ..;
        endpoint_type: i8, 1.., default 1;
        include_fenced_brokers: bool, 2..;
    }

    /// The answer to [`DescribeClusterRequest`].
    response DescribeClusterResponse(DescribeCluster) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        endpoint_type: i8, 1.., default 1;
        cluster_id: String, ..;
        controller_id: i32, .., default -1;
        brokers: Vec<DescribeClusterBroker>, ..;
        cluster_authorized_operations: i32, .., default i32::MIN;
    }

    part DescribeClusterBroker(DescribeClusterResponse) {
        broker_id: i32, ..;
        host: String, ..;
        port: i32, ..;
        rack: Option<String>, .., null ..;
        is_fenced: bool, 2..;
    }

    /// Asks for the partitions of topics, page by page.
    request DescribeTopicPartitionsRequest(DescribeTopicPartitions -> DescribeTopicPartitionsResponse) {
        topics: Vec<DescribeTopicPartitionsTopicRequest>, ..;
        response_partition_limit: i32, .., default 2000;
        cursor: Option<DescribeTopicPartitionsCursor>, .., null ..;
    }

    part DescribeTopicPartitionsTopicRequest(DescribeTopicPartitionsRequest) {
        name: String, ..;
    }

    part DescribeTopicPartitionsCursor(DescribeTopicPartitionsRequest) {
        topic_name: String, ..;
        partition_index: i32, ..;
    }

    /// The answer to [`DescribeTopicPartitionsRequest`].
    response DescribeTopicPartitionsResponse(DescribeTopicPartitions) {
        throttle_time_ms: i32, ..;
        topics: Vec<DescribeTopicPartitionsResponseTopic>, ..;
        next_cursor: Option<DescribeTopicPartitionsCursor>, .., null ..;
    }

    part DescribeTopicPartitionsResponseTopic(DescribeTopicPartitionsResponse) {
        error_code: ErrorCode, ..;
        name: Option<String>, .., null ..;
        topic_id: Uuid, ..;
        is_internal: bool, ..;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, ..;
        topic_authorized_operations: i32, .., default i32::MIN;
    }

    part DescribeTopicPartitionsResponsePartition(DescribeTopicPartitionsResponse) {
        error_code: ErrorCode, ..;
        partition_index: i32, ..;
        leader_id: i32, ..;
        leader_epoch: i32, .., default -1;
        replica_nodes: Vec<i32>, ..;
        isr_nodes: Vec<i32>, ..;
        eligible_leader_replicas: Option<Vec<i32>>, .., null ..;
        last_known_elr: Option<Vec<i32>>, .., null ..;
        offline_replicas: Vec<i32>, ..;
    }
}
