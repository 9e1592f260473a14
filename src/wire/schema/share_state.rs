//! The persisted state of share groups.

use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

messages! {
    /// Starts the state of share-partitions.
    request InitializeShareGroupStateRequest(InitializeShareGroupState -> InitializeShareGroupStateResponse) {
        group_id: String, ..;
        topics: Vec<InitializeStateData>, ..;
    }

    part InitializeStateData(InitializeShareGroupStateRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<InitializeShareGroupStatePartitionData>, ..;
    }

    part InitializeShareGroupStatePartitionData(InitializeShareGroupStateRequest) {
        partition: i32, ..;
        state_epoch: i32, ..;
        start_offset: i64, ..;
    }

    /// The answer to [`InitializeShareGroupStateRequest`].
    response InitializeShareGroupStateResponse(InitializeShareGroupState) {
        results: Vec<InitializeStateResult>, ..;
    }

    part InitializeStateResult(InitializeShareGroupStateResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<InitializeShareGroupStatePartitionResult>, ..;
    }

    part InitializeShareGroupStatePartitionResult(InitializeShareGroupStateResponse) {
        partition: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Reads the state of share-partitions.
    request ReadShareGroupStateRequest(ReadShareGroupState -> ReadShareGroupStateResponse) {
        group_id: String, ..;
        topics: Vec<ReadStateData>, ..;
    }

    part ReadStateData(ReadShareGroupStateRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<ReadShareGroupStatePartitionData>, ..;
    }

    part ReadShareGroupStatePartitionData(ReadShareGroupStateRequest) {
        partition: i32, ..;
        leader_epoch: i32, ..;
    }

    /// The answer to [`ReadShareGroupStateRequest`].
    response ReadShareGroupStateResponse(ReadShareGroupState) {
        results: Vec<ReadStateResult>, ..;
    }

    part ReadStateResult(ReadShareGroupStateResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<ReadShareGroupStatePartitionResult>, ..;
    }

    part ReadShareGroupStatePartitionResult(ReadShareGroupStateResponse) {
        partition: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        state_epoch: i32, ..;
        start_offset: i64, ..;
        state_batches: Vec<ReadShareGroupStateStateBatch>, ..;
    }

    part ReadShareGroupStateStateBatch(ReadShareGroupStateResponse) {
        first_offset: i64, ..;
        last_offset: i64, ..;
        delivery_state: i8, ..;
        delivery_count: i16, ..;
    }

    /// Writes the state of share-partitions.
    request WriteShareGroupStateRequest(WriteShareGroupState -> WriteShareGroupStateResponse) {
        group_id: String, ..;
        topics: Vec<WriteStateData>, ..;
    }

    part WriteStateData(WriteShareGroupStateRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<WriteShareGroupStatePartitionData>, ..;
    }

    part WriteShareGroupStatePartitionData(WriteShareGroupStateRequest) {
        partition: i32, ..;
        state_epoch: i32, ..;
        leader_epoch: i32, ..;
        start_offset: i64, ..;
        delivery_complete_count: i32, 1.., default -1, else ignore;
        state_batches: Vec<WriteShareGroupStateStateBatch>, ..;
    }

    part WriteShareGroupStateStateBatch(WriteShareGroupStateRequest) {
        first_offset: i64, ..;
        last_offset: i64, ..;
        delivery_state: i8, ..;
        delivery_count: i16, ..;
    }

    /// The answer to [`WriteShareGroupStateRequest`].
    response WriteShareGroupStateResponse(WriteShareGroupState) {
        results: Vec<WriteStateResult>, ..;
    }

    part WriteStateResult(WriteShareGroupStateResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<WriteShareGroupStatePartitionResult>, ..;
    }

    part WriteShareGroupStatePartitionResult(WriteShareGroupStateResponse) {
        partition: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Deletes the state of share-partitions.
    request DeleteShareGroupStateRequest(DeleteShareGroupState -> DeleteShareGroupStateResponse) {
        group_id: String, ..;
        topics: Vec<DeleteStateData>, ..;
    }

    part DeleteStateData(DeleteShareGroupStateRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<DeleteShareGroupStatePartitionData>, ..;
    }

    part DeleteShareGroupStatePartitionData(DeleteShareGroupStateRequest) {
        partition: i32, ..;
    }

    /// The answer to [`DeleteShareGroupStateRequest`].
    response DeleteShareGroupStateResponse(DeleteShareGroupState) {
        results: Vec<DeleteStateResult>, ..;
    }

    part DeleteStateResult(DeleteShareGroupStateResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<DeleteShareGroupStatePartitionResult>, ..;
    }

    part DeleteShareGroupStatePartitionResult(DeleteShareGroupStateResponse) {
        partition: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
    }

    /// Reads the start offsets of share-partitions.
    request ReadShareGroupStateSummaryRequest(
        ReadShareGroupStateSummary -> ReadShareGroupStateSummaryResponse
    ) {
        group_id: String, ..;
        topics: Vec<ReadStateSummaryData>, ..;
    }

    part ReadStateSummaryData(ReadShareGroupStateSummaryRequest) {
        topic_id: Uuid, ..;
        partitions: Vec<ReadShareGroupStateSummaryPartitionData>, ..;
    }

    part ReadShareGroupStateSummaryPartitionData(ReadShareGroupStateSummaryRequest) {
        partition: i32, ..;
        leader_epoch: i32, ..;
    }

    /// The answer to [`ReadShareGroupStateSummaryRequest`].
    response ReadShareGroupStateSummaryResponse(ReadShareGroupStateSummary) {
        results: Vec<ReadStateSummaryResult>, ..;
    }

    part ReadStateSummaryResult(ReadShareGroupStateSummaryResponse) {
        topic_id: Uuid, ..;
        partitions: Vec<ReadShareGroupStateSummaryPartitionResult>, ..;
    }

    part ReadShareGroupStateSummaryPartitionResult(ReadShareGroupStateSummaryResponse) {
        partition: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        state_epoch: i32, ..;
        leader_epoch: i32, ..;
        start_offset: i64, ..;
        delivery_complete_count: i32, 1.., default -1, else ignore;
    }
}
