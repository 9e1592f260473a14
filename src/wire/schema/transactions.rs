//! Producer ids and transactions.

use crate::wire::error::ErrorCode;

messages! {
    /// Asks for a producer id and epoch.
    request InitProducerIdRequest(InitProducerId -> InitProducerIdResponse) {
        transactional_id: Option<String>, .., null ..;
        transaction_timeout_ms: i32, ..;
        producer_id: i64, 3.., default -1;
        producer_epoch: i16, 3.., default -1;
    }

    /// The answer to [`InitProducerIdRequest`].
    response InitProducerIdResponse(InitProducerId) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        producer_id: i64, .., default -1;
        producer_epoch: i16, ..;
    }

    /// Adds partitions to a transaction.
    request AddPartitionsToTxnRequest(AddPartitionsToTxn -> AddPartitionsToTxnResponse) {
        transactions: Vec<AddPartitionsToTxnTransaction>, 4..;
        v3_and_below_transactional_id: String, ..=3;
        v3_and_below_producer_id: i64, ..=3;
        v3_and_below_producer_epoch: i16, ..=3;
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, ..=3;
    }

    part AddPartitionsToTxnTransaction(AddPartitionsToTxnRequest) {
        transactional_id: String, ..;
        producer_id: i64, ..;
        producer_epoch: i16, ..;
        verify_only: bool, ..;
        topics: Vec<AddPartitionsToTxnTopic>, ..;
    }

    part AddPartitionsToTxnTopic(AddPartitionsToTxnRequest) {
        name: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// The answer to [`AddPartitionsToTxnRequest`].
    response AddPartitionsToTxnResponse(AddPartitionsToTxn) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, 4.., else ignore;
        results_by_transaction: Vec<AddPartitionsToTxnResult>, 4..;
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, ..=3;
    }

    part AddPartitionsToTxnResult(AddPartitionsToTxnResponse) {
        transactional_id: String, ..;
        topic_results: Vec<AddPartitionsToTxnTopicResult>, ..;
    }

    part AddPartitionsToTxnTopicResult(AddPartitionsToTxnResponse) {
        name: String, ..;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, ..;
    }

    part AddPartitionsToTxnPartitionResult(AddPartitionsToTxnResponse) {
        partition_index: i32, ..;
        partition_error_code: ErrorCode, ..;
    }

    /// Adds a group's offsets to a transaction.
    request AddOffsetsToTxnRequest(AddOffsetsToTxn -> AddOffsetsToTxnResponse) {
        transactional_id: String, ..;
        producer_id: i64, ..;
        producer_epoch: i16, ..;
        group_id: String, ..;
    }

    /// The answer to [`AddOffsetsToTxnRequest`].
    response AddOffsetsToTxnResponse(AddOffsetsToTxn) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
    }

    /// Commits or aborts a transaction.
    request EndTxnRequest(EndTxn -> EndTxnResponse) {
        transactional_id: String, ..;
        producer_id: i64, ..;
        producer_epoch: i16, ..;
        committed: bool, ..;
    }

    /// The answer to [`EndTxnRequest`].
    response EndTxnResponse(EndTxn) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        producer_id: i64, 5.., default -1, else ignore;
        producer_epoch: i16, 5.., default -1, else ignore;
    }

    /// Writes the markers that end transactions.
    request WriteTxnMarkersRequest(WriteTxnMarkers -> WriteTxnMarkersResponse) {
        markers: Vec<WritableTxnMarker>, ..;
    }

    part WritableTxnMarker(WriteTxnMarkersRequest) {
        producer_id: i64, ..;
        producer_epoch: i16, ..;
        transaction_result: bool, ..;
        topics: Vec<WritableTxnMarkerTopic>, ..;
        coordinator_epoch: i32, ..;
        transaction_version: i8, 2.., else ignore;
    }

    part WritableTxnMarkerTopic(WriteTxnMarkersRequest) {
        name: String, ..;
        partition_indexes: Vec<i32>, ..;
    }

    /// The answer to [`WriteTxnMarkersRequest`].
    response WriteTxnMarkersResponse(WriteTxnMarkers) {
        markers: Vec<WritableTxnMarkerResult>, ..;
    }

    part WritableTxnMarkerResult(WriteTxnMarkersResponse) {
        producer_id: i64, ..;
        topics: Vec<WritableTxnMarkerTopicResult>, ..;
    }

    part WritableTxnMarkerTopicResult(WriteTxnMarkersResponse) {
        name: String, ..;
        partitions: Vec<WritableTxnMarkerPartitionResult>, ..;
    }

    part WritableTxnMarkerPartitionResult(WriteTxnMarkersResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
    }

    /// Commits offsets within a transaction.
    request TxnOffsetCommitRequest(TxnOffsetCommit -> TxnOffsetCommitResponse) {
        transactional_id: String, ..;
        group_id: String, ..;
        producer_id: i64, ..;
        producer_epoch: i16, ..;
        generation_id: i32, 3.., default -1;
        member_id: String, 3..;
        group_instance_id: Option<String>, 3.., null ..;
        topics: Vec<TxnOffsetCommitRequestTopic>, ..;
    }

    part TxnOffsetCommitRequestTopic(TxnOffsetCommitRequest) {
        name: String, ..;
        partitions: Vec<TxnOffsetCommitRequestPartition>, ..;
    }

    part TxnOffsetCommitRequestPartition(TxnOffsetCommitRequest) {
        partition_index: i32, ..;
        committed_offset: i64, ..;
        committed_leader_epoch: i32, 2.., default -1, else ignore;
        committed_metadata: Option<String>, .., null ..;
    }

    /// The answer to [`TxnOffsetCommitRequest`].
    response TxnOffsetCommitResponse(TxnOffsetCommit) {
        throttle_time_ms: i32, ..;
        topics: Vec<TxnOffsetCommitResponseTopic>, ..;
    }

    part TxnOffsetCommitResponseTopic(TxnOffsetCommitResponse) {
        name: String, ..;
        partitions: Vec<TxnOffsetCommitResponsePartition>, ..;
    }

    part TxnOffsetCommitResponsePartition(TxnOffsetCommitResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
    }

    /// Asks which producers write to partitions.
    request DescribeProducersRequest(DescribeProducers -> DescribeProducersResponse) {
        topics: Vec<DescribeProducersTopicRequest>, ..;
    }

    part DescribeProducersTopicRequest(DescribeProducersRequest) {
        name: String, ..;
        partition_indexes: Vec<i32>, ..;
    }

    /// The answer to [`DescribeProducersRequest`].
    response DescribeProducersResponse(DescribeProducers) {
        throttle_time_ms: i32, ..;
        topics: Vec<DescribeProducersTopicResponse>, ..;
    }

    part DescribeProducersTopicResponse(DescribeProducersResponse) {
        name: String, ..;
        partitions: Vec<DescribeProducersPartitionResponse>, ..;
    }

    part DescribeProducersPartitionResponse(DescribeProducersResponse) {
        partition_index: i32, ..;
        error_code: ErrorCode, ..;
        error_message: Option<String>, .., null ..;
        active_producers: Vec<ProducerState>, ..;
    }

    part ProducerState(DescribeProducersResponse) {
        producer_id: i64, ..;
        producer_epoch: i32, ..;
        last_sequence: i32, .., default -1;
        last_timestamp: i64, .., default -1;
        coordinator_epoch: i32, ..;
        current_txn_start_offset: i64, .., default -1;
    }

    /// Asks for the state of transactions.
    request DescribeTransactionsRequest(DescribeTransactions -> DescribeTransactionsResponse) {
        transactional_ids: Vec<String>, ..;
    }

    /// The answer to [`DescribeTransactionsRequest`].
    response DescribeTransactionsResponse(DescribeTransactions) {
        throttle_time_ms: i32, ..;
        transaction_states: Vec<DescribeTransactionsTransactionState>, ..;
    }

    part DescribeTransactionsTransactionState(DescribeTransactionsResponse) {
        error_code: ErrorCode, ..;
        transactional_id: String, ..;
        transaction_state: String, ..;
        transaction_timeout_ms: i32, ..;
        transaction_start_time_ms: i64, ..;
        producer_id: i64, ..;
        producer_epoch: i16, ..;
        topics: Vec<DescribeTransactionsTopicData>, ..;
    }

    part DescribeTransactionsTopicData(DescribeTransactionsResponse) {
        topic: String, ..;
        partitions: Vec<i32>, ..;
    }

    /// Asks which transactions there are.
    request ListTransactionsRequest(ListTransactions -> ListTransactionsResponse) {
        state_filters: Vec<String>, ..;
        producer_id_filters: Vec<i64>, ..;
        duration_filter: i64, 1.., default -1;
        transactional_id_pattern: Option<String>, 2.., null ..;
    }

    /// The answer to [`ListTransactionsRequest`].
    response ListTransactionsResponse(ListTransactions) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        unknown_state_filters: Vec<String>, ..;
        transaction_states: Vec<ListedTransaction>, ..;
    }

    part ListedTransaction(ListTransactionsResponse) {
        transactional_id: String, ..;
        producer_id: i64, ..;
        transaction_state: String, ..;
    }

    /// Asks the controller for a block of producer ids.
    request AllocateProducerIdsRequest(AllocateProducerIds -> AllocateProducerIdsResponse) {
        broker_id: i32, ..;
        broker_epoch: i64, .., default -1;
    }

    /// The answer to [`AllocateProducerIdsRequest`].
    response AllocateProducerIdsResponse(AllocateProducerIds) {
        throttle_time_ms: i32, ..;
        error_code: ErrorCode, ..;
        producer_id_start: i64, ..;
        producer_id_len: i32, ..;
    }
}
