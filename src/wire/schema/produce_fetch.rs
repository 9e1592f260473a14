//! Writing, reading and finding records.

use bytes::Bytes;

use crate::wire::codec::Records;
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Appends record batches.
    request ProduceRequest(Produce -> ProduceResponse) {
        transactional_id: Option<String>, .., null ..;
        acks: i16, ..;
        timeout_ms: i32, ..;
        topic_data: Vec<TopicProduceData>, ..;
    }

    part TopicProduceData(ProduceRequest) {
        name: String, ..=12, else ignore;
        topic_id: Uuid, 13.., else ignore;
        partition_data: Vec<PartitionProduceData>, ..;
    }

    part PartitionProduceData(ProduceRequest) {
        index: i32, ..;
        records: Option<Bytes>, .., null ..;
    }

    /// The answer to [`ProduceRequest`].
    response ProduceResponse(Produce) {
        responses: Vec<TopicProduceResponse>, ..;
        throttle_time_ms: i32, ..;
        node_endpoints: Vec<NodeEndpoint>, 10.., tag 0;
    }

    part TopicProduceResponse(ProduceResponse) {
        name: String, ..=12, else ignore;
        topic_id: Uuid, 13.., else ignore;
        partition_responses: Vec<PartitionProduceResponse>, ..;
    }

    part PartitionProduceResponse(ProduceResponse) {
        index: i32, ..;
        error_code: ErrorCode, ..;
        base_offset: i64, ..;
        log_append_time_ms: i64, .., default -1;
        log_start_offset: i64, 5.., default -1, else ignore;
        record_errors: Vec<BatchIndexAndErrorMessage>, 8.., else ignore;
        error_message: Option<String>, 8.., null .., else ignore;
        current_leader: LeaderIdAndEpoch, 10.., tag 0;
    }

    part BatchIndexAndErrorMessage(ProduceResponse) {
        batch_index: i32, ..;
        batch_index_error_message: Option<String>, .., null ..;
    }

    part LeaderIdAndEpoch(ProduceResponse) {
        leader_id: i32, .., default -1;
        leader_epoch: i32, .., default -1;
    }

    part NodeEndpoint(ProduceResponse) {
        node_id: i32, ..;
        host: String, ..;
        port: i32, ..;
        rack: Option<String>, .., null ..;
    }

    /// Reads record batches, for consumers and followers.
    request FetchRequest(Fetch -> FetchResponse) {
        replica_id: i32, ..=14, default -1;
        max_wait_ms: i32, ..;
        min_bytes: i32, ..;
        max_bytes: i32, .., default i32::MAX;
        isolation_level: i8, ..;
        session_id: i32, 7.., else ignore;
        session_epoch: i32, 7.., default -1, else ignore;
        topics: Vec<FetchTopic>, ..;
        forgotten_topics_data: Vec<ForgottenTopic>, 7..;
        rack_id: String, 11.., else ignore;
        cluster_id: Option<String>, 12.., null .., tag 0, else ignore;
        replica_state: ReplicaState, 15.., tag 1;
    }

    part ReplicaState(FetchRequest) {
        replica_id: i32, .., default -1;
        replica_epoch: i64, .., default -1;
    }

    part FetchTopic(FetchRequest) {
        topic: String, ..=12, else ignore;
        topic_id: Uuid, 13.., else ignore;
        partitions: Vec<FetchPartition>, ..;
    }

    part FetchPartition(FetchRequest) {
        partition: i32, ..;
        current_leader_epoch: i32, 9.., default -1, else ignore;
        fetch_offset: i64, ..;
        last_fetched_epoch: i32, 12.., default -1;
        log_start_offset: i64, 5.., default -1, else ignore;
        partition_max_bytes: i32, ..;
        replica_directory_id: Uuid, 17.., tag 0, else ignore;
        high_watermark: i64, 18.., default i64::MAX, tag 1, else ignore;
    }

    part ForgottenTopic(FetchRequest) {
        topic: String, ..=12, else ignore;
        topic_id: Uuid, 13.., else ignore;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`FetchRequest`].
    response FetchResponse(Fetch) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, 7.., else ignore;
        session_id: i32, 7..;
        responses: Vec<FetchableTopicResponse>, ..;
        node_endpoints: Vec<NodeEndpoint>, 16.., tag 0;
    }

    part FetchableTopicResponse(FetchResponse) {
        topic: String, ..=12, else ignore;
        topic_id: Uuid, 13.., else ignore;
        partitions: Vec<PartitionData>, ..;
    }

    part PartitionData(FetchResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        high_watermark: i64, ..;
        last_stable_offset: i64, .., default -1;
        log_start_offset: i64, 5.., default -1, else ignore;
        aborted_transactions: Option<Vec<AbortedTransaction>>, .., null ..;
        preferred_read_replica: i32, 11.., default -1;
        records: Option<Records>, .., null .., default Some(Records::default());
        diverging_epoch: EpochEndOffset, 12.., tag 0;
        current_leader: LeaderIdAndEpoch, 12.., tag 1;
        snapshot_id: SnapshotId, 12.., tag 2;
    }

    part EpochEndOffset(FetchResponse) {
        epoch: i32, .., default -1;
        end_offset: i64, .., default -1;
    }

    part SnapshotId(FetchResponse) {
        end_offset: i64, .., default -1;
        epoch: i32, .., default -1;
    }

    part AbortedTransaction(FetchResponse) {
        producer_id: i64, ..;
        first_offset: i64, ..;
    }

    /// Finds offsets by timestamp, or the first and last ones.
    request ListOffsetsRequest(ListOffsets -> ListOffsetsResponse) {
        replica_id: i32, ..;
        isolation_level: i8, 2..;
        topics: Vec<ListOffsetsTopic>, ..;
        timeout_ms: i32, 10.., else ignore;
    }

    part ListOffsetsTopic(ListOffsetsRequest) {
        name: String, ..;
        partitions: Vec<ListOffsetsPartition>, ..;
    }

    part ListOffsetsPartition(ListOffsetsRequest) {
        partition_index: i32, ..;
        current_leader_epoch: i32, 4.., default -1, else ignore;
        timestamp: i64, ..;
    }

    /// The answer to [`ListOffsetsRequest`].
    response ListOffsetsResponse(ListOffsets) {
        throttle_time_ms: i32, 2.., else ignore;
        topics: Vec<ListOffsetsTopicResponse>, ..;
    }

    part ListOffsetsTopicResponse(ListOffsetsResponse) {
        name: String, ..;
        partitions: Vec<ListOffsetsPartitionResponse>, ..;
    }

    part ListOffsetsPartitionResponse(ListOffsetsResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        timestamp: i64, .., default -1;
        offset: i64, .., default -1;
        leader_epoch: i32, 4.., default -1;
    }

    /// Finds where a leader epoch ends.
    request OffsetForLeaderEpochRequest(OffsetForLeaderEpoch -> OffsetForLeaderEpochResponse) {
        replica_id: i32, 3.., default -2, else ignore;
        topics: Vec<OffsetForLeaderTopic>, ..;
    }

    part OffsetForLeaderTopic(OffsetForLeaderEpochRequest) {
        topic: String, ..;
        partitions: Vec<OffsetForLeaderPartition>, ..;
    }

    part OffsetForLeaderPartition(OffsetForLeaderEpochRequest) {
        partition: i32, ..;
        current_leader_epoch: i32, .., default -1;
        leader_epoch: i32, ..;
    }

    /// The answer to [`OffsetForLeaderEpochRequest`].
    response OffsetForLeaderEpochResponse(OffsetForLeaderEpoch) {
        throttle_time_ms: i32, ..;
        topics: Vec<OffsetForLeaderTopicResult>, ..;
    }

    part OffsetForLeaderTopicResult(OffsetForLeaderEpochResponse) {
        topic: String, ..;
        partitions: Vec<LeaderEpochEndOffset>, ..;
    }

    part LeaderEpochEndOffset(OffsetForLeaderEpochResponse) {
        error_code: ErrorCode, ..;
        partition: i32, ..;
        leader_epoch: i32, .., default -1;
        end_offset: i64, .., default -1;
    }

    /// Deletes the records before an offset.
    request DeleteRecordsRequest(DeleteRecords -> DeleteRecordsResponse) {
        topics: Vec<DeleteRecordsTopic>, ..;
        timeout_ms: i32, ..;
    }

    part DeleteRecordsTopic(DeleteRecordsRequest) {
        name: String, ..;
        partitions: Vec<DeleteRecordsPartition>, ..;
    }

    part DeleteRecordsPartition(DeleteRecordsRequest) {
        partition_index: i32, ..;
        offset: i64, ..;
    }

    /// The answer to [`DeleteRecordsRequest`].
    response DeleteRecordsResponse(DeleteRecords) {
        throttle_time_ms: i32, ..;
        topics: Vec<DeleteRecordsTopicResult>, ..;
    }

    part DeleteRecordsTopicResult(DeleteRecordsResponse) {
        name: String, ..;
        partitions: Vec<DeleteRecordsPartitionResult>, ..;
    }

    part DeleteRecordsPartitionResult(DeleteRecordsResponse) {
        partition_index: i32, ..;
        low_watermark: i64, ..;
        error_code: ErrorCode, ..;
    }
}
