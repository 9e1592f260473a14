//! Batches that say what they are.

use bytes::Bytes;

use super::known::Entry;
use crate::wire::batch::{Batch, BatchBuilder};

/// A batch that tells its entry, with about `size` bytes of values.
pub fn make_batch(entry: Entry, size: usize, timestamp: i64) -> Bytes {
    fill(BatchBuilder::new(), entry, size, timestamp)
}

/// The same of an idempotent producer: his id, epoch and the first record's sequence number.
pub fn make_idempotent_batch(
    entry: Entry,
    size: usize,
    timestamp: i64,
    (id, epoch, sequence): (i64, i16, i32),
) -> Bytes {
    fill(BatchBuilder::new().producer(id, epoch, sequence), entry, size, timestamp)
}

fn fill(mut builder: BatchBuilder, entry: Entry, size: usize, timestamp: i64) -> Bytes {
    let key = [entry.producer.to_be_bytes(), entry.number.to_be_bytes()].concat();
    let value = vec![entry.number as u8; size / entry.records as usize];
    for _ in 0..entry.records {
        builder.append(timestamp, Some(&key), Some(&value), &[]);
    }
    Bytes::from(builder.build().expect("an uncompressed batch can be built"))
}

/// A batch of exactly this length that tells its entry, of one record.
pub fn make_batch_of(len: usize, entry: Entry, timestamp: i64) -> Bytes {
    let mut size = len;
    loop {
        let batch = make_batch(entry, size, timestamp);
        if batch.len() == len {
            return batch;
        }
        size = (size + len).checked_sub(batch.len()).expect("a batch of this length can be made");
    }
}

/// The whole batches of what a fetch from `offset` gave, each with its offset.
pub fn read_batches(bytes: &[u8], offset: i64, high_watermark: i64) -> Vec<(i64, Entry)> {
    let mut batches = Vec::new();
    let mut rest = bytes;
    while let Ok(batch) = Batch::first(rest) {
        batch.check().expect("what is served has its checksum");
        assert!(batch.last_offset() >= offset, "a fetch begins with the batch that holds the offset");
        assert!(batch.last_offset() < high_watermark, "nothing is served past the high watermark");
        batches.push((batch.base_offset(), entry_of(&batch)));
        rest = &rest[batch.bytes().len()..];
    }
    assert!(!batches.is_empty() || bytes.is_empty(), "a fetch gives at least one whole batch");
    batches
}

fn entry_of(batch: &Batch<'_>) -> Entry {
    let records = batch.open(1 << 30).expect("the workload's batches open");
    let first = records.iter().next().expect("the workload's batches have records").expect("and whole ones");
    let key = first.key.expect("the workload's records have keys");
    let number = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().expect("four bytes"));
    Entry { producer: number(0), number: number(4), records: batch.count() as u32 }
}
