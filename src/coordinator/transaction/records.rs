//! The records of `__transaction_state`, in Kafka's bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::state::{NO_EPOCH, NO_ID, Partitions, Status, Transaction};
use crate::coordinator::names::Name;
use crate::coordinator::records::Producer;
use crate::wire::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::wire::schema::Record as _;
use crate::wire::schema::{Message, PartitionsSchema, TransactionLogKey, TransactionLogValue};

/// A record of `__transaction_state`: what is known of a transactional id from now on. Without a value it is a
/// tombstone.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The transactional id.
    pub id: Name,
    /// What is known of it.
    pub value: Option<Arc<Transaction>>,
    /// The version in which the value is written: what version 0 leaves out, the second protocol needs.
    pub version: i16,
}

impl Record {
    /// The bytes of key and value.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let mut key = Writer::new();
        key.put_i16(TransactionLogKey::KEY);
        TransactionLogKey { transactional_id: self.id.to_string() }.encode(&mut key, 0)?;
        let Some(value) = &self.value else { return Ok((key.into_bytes(), None)) };
        let mut w = Writer::new();
        w.put_i16(self.version);
        message(value, self.version).encode(&mut w, self.version)?;
        Ok((key.into_bytes(), Some(w.into_bytes())))
    }

    /// Reads a record. None: its key or its value has a version that is not known here.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Record>, DecodeError> {
        let mut r = Reader::new(key);
        if r.i16()? != TransactionLogKey::KEY {
            return Ok(None);
        }
        let id: Name = TransactionLogKey::decode(&mut r, 0)?.transactional_id.into();
        r.finish()?;
        let Some(value) = value else { return Ok(Some(Record { id, value: None, version: 0 })) };
        let mut r = Reader::new(value);
        let version = r.i16()?;
        if !TransactionLogValue::versions().contains(&version) {
            return Ok(None);
        }
        let value = TransactionLogValue::decode(&mut r, version)?;
        r.finish().map_err(|e| e.within(TransactionLogValue::NAME))?;
        let Some(status) = Status::of_number(value.transaction_status) else { return Ok(None) };
        Ok(Some(Record { id, value: Some(Arc::new(transaction(value, status))), version }))
    }

    /// About how many bytes it takes in a batch.
    pub fn size(&self) -> usize {
        const FRAME: usize = 96;
        let partitions = self.value.iter().flat_map(|value| value.partitions.topics());
        FRAME
            + self.id.len()
            + partitions.map(|(topic, numbers)| 8 + topic.len() + 4 * numbers.len()).sum::<usize>()
    }
}

fn message(value: &Transaction, version: i16) -> TransactionLogValue {
    let partitions = value.partitions.topics().map(|(topic, numbers)| PartitionsSchema {
        topic: topic.to_string(),
        partition_ids: numbers.iter().copied().collect(),
    });
    let plain = TransactionLogValue {
        producer_id: value.producer.id,
        producer_epoch: value.producer.epoch,
        transaction_timeout_ms: value.timeout_ms,
        transaction_status: value.status as i8,
        transaction_partitions: (value.status != Status::Empty).then(|| partitions.collect()),
        transaction_last_update_timestamp_ms: value.updated,
        transaction_start_timestamp_ms: value.started,
        ..Default::default()
    };
    match version {
        0 => plain,
        _ => TransactionLogValue {
            previous_producer_id: value.previous_id,
            next_producer_id: value.next_id,
            client_transaction_version: value.client_version,
            ..plain
        },
    }
}

fn transaction(value: TransactionLogValue, status: Status) -> Transaction {
    let mut partitions = Partitions::default();
    if status != Status::Empty {
        for topic in value.transaction_partitions.iter().flatten() {
            topic.partition_ids.iter().for_each(|partition| partitions.insert(&topic.topic, *partition));
        }
    }
    Transaction {
        producer: Producer { id: value.producer_id, epoch: value.producer_epoch },
        previous_id: value.previous_producer_id,
        next_id: value.next_producer_id,
        last_epoch: NO_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        status,
        partitions,
        started: value.transaction_start_timestamp_ms,
        updated: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
    }
}

/// What a coordinator knows of a transaction that it reads from its log: version 0 tells less, and no version tells of
/// the epoch with which a request may be repeated.
pub fn as_stored(value: &Transaction, version: i16) -> Transaction {
    let stored = Transaction { last_epoch: NO_EPOCH, ..value.clone() };
    match version {
        0 => Transaction { previous_id: NO_ID, next_id: NO_ID, client_version: 0, ..stored },
        _ => stored,
    }
}
