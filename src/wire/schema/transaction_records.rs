//! The records of `__transaction_state`.

messages! {
    /// The key of a transaction's state.
    record TransactionLogKey(key 0, versions 0..=0, flexible 32767..) {
        transactional_id: String, ..;
    }

    /// A transaction's state.
    record TransactionLogValue(key 0, versions 0..=1, flexible 1..) {
        producer_id: i64, ..;
        producer_epoch: i16, ..;
        transaction_timeout_ms: i32, ..;
        transaction_status: i8, ..;
        transaction_partitions: Option<Vec<PartitionsSchema>>, .., null ..;
        transaction_last_update_timestamp_ms: i64, ..;
        transaction_start_timestamp_ms: i64, ..;
        previous_producer_id: i64, 1.., default -1, tag 0;
        next_producer_id: i64, 1.., default -1, tag 1;
        client_transaction_version: i16, 1.., tag 2;
        next_producer_epoch: i16, 1.., default -1, tag 3;
    }

    part PartitionsSchema(TransactionLogValue) {
        topic: String, ..;
        partition_ids: Vec<i32>, ..;
    }
}
