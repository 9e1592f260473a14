//! Making batches.

use std::io;

use super::{BatchHeader, Compression, attributes};
use crate::wire::codec::{Writer, varlong_len};

/// Makes one batch, record by record.
///
/// ```
/// use ottla::wire::batch::{Batch, BatchBuilder, Compression};
///
/// let mut builder = BatchBuilder::new().compression(Compression::Zstd);
/// builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[("trace", Some(b"1"))]);
/// let bytes = builder.build().unwrap();
/// let batch = Batch::first(&bytes).unwrap();
/// batch.check_from_client().unwrap();
/// let records = batch.open(1 << 20).unwrap();
/// assert_eq!(records.iter().next().unwrap().unwrap().value, Some(&b"value"[..]));
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    records: Writer,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty batch at offset 0, without a producer, not compressed.
    pub fn new() -> BatchBuilder {
        BatchBuilder::with_header(BatchHeader {
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: 0,
        })
    }

    /// An empty batch that takes the place of one with this header: it keeps the offsets, the producer, the flags and
    /// the compression, even if fewer records are appended than there were. Its timestamps are those of the records
    /// again, counted from the same base.
    pub fn replacing(header: BatchHeader) -> BatchBuilder {
        BatchBuilder::with_header(BatchHeader { count: 0, max_timestamp: -1, ..header })
    }

    fn with_header(header: BatchHeader) -> BatchBuilder {
        let id = (header.attributes & attributes::COMPRESSION) as u8;
        let compression = Compression::from_id(id).unwrap_or_default();
        BatchBuilder { header, compression, records: Writer::new() }
    }

    /// Sets the offset of the first record.
    pub fn base_offset(mut self, offset: i64) -> BatchBuilder {
        self.header.base_offset = offset;
        self
    }

    /// Sets the leader epoch.
    pub fn leader_epoch(mut self, epoch: i32) -> BatchBuilder {
        self.header.leader_epoch = epoch;
        self
    }

    /// Sets the compression.
    pub fn compression(mut self, compression: Compression) -> BatchBuilder {
        self.compression = compression;
        self
    }

    /// Sets the producer and the sequence number of the first record.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> BatchBuilder {
        (self.header.producer_id, self.header.producer_epoch) = (id, epoch);
        self.header.base_sequence = base_sequence;
        self
    }

    /// Makes it part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.header.attributes |= attributes::TRANSACTIONAL;
        self
    }

    /// Makes it a batch of control records.
    pub fn control(mut self) -> BatchBuilder {
        self.header.attributes |= attributes::CONTROL;
        self
    }

    /// Makes all timestamps the broker's. The last record's timestamp is then that of all.
    pub fn log_append_time(mut self) -> BatchBuilder {
        self.header.attributes |= attributes::LOG_APPEND_TIME;
        self
    }

    /// Says from when on tombstones and markers may be deleted. Called before the first record.
    pub fn delete_horizon(mut self, horizon: i64) -> BatchBuilder {
        debug_assert_eq!(self.header.count, 0, "timestamps are counted from the horizon");
        self.header.attributes |= attributes::DELETE_HORIZON;
        self.header.base_timestamp = horizon;
        self
    }

    /// Appends a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let next = self.header.last_offset_delta + 1;
        self.append_at(next, timestamp, key, value, headers.iter().map(|&(k, v)| (k.as_bytes(), v)));
    }

    /// Appends a record whose offset is the base offset plus `offset_delta`, which is larger than that of the record
    /// before.
    pub fn append_at<'a>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) {
        let header = &mut self.header;
        if header.count == 0 && header.base_timestamp < 0 {
            header.base_timestamp = timestamp;
        }
        header.count += 1;
        header.last_offset_delta = header.last_offset_delta.max(offset_delta);
        header.max_timestamp = match header.attributes & attributes::LOG_APPEND_TIME {
            0 => header.max_timestamp.max(timestamp),
            _ => timestamp,
        };
        let timestamp_delta = timestamp.wrapping_sub(header.base_timestamp);
        let len = |bytes: Option<&[u8]>| match bytes {
            None => 1,
            Some(bytes) => varlong_len(bytes.len() as i64) + bytes.len(),
        };
        let size = 1
            + varlong_len(timestamp_delta)
            + varlong_len(offset_delta.into())
            + len(key)
            + len(value)
            + varlong_len(headers.len() as i64)
            + headers.clone().map(|(k, v)| len(Some(k)) + len(v)).sum::<usize>();
        let w = &mut self.records;
        w.put_varint(size as i32);
        w.put_i8(0);
        w.put_varlong(timestamp_delta);
        w.put_varint(offset_delta);
        put_field(w, key);
        put_field(w, value);
        w.put_varint(headers.len() as i32);
        for (key, value) in headers {
            put_field(w, Some(key));
            put_field(w, value);
        }
    }

    /// How many records were appended.
    pub fn count(&self) -> usize {
        self.header.count as usize
    }

    /// How many bytes the batch takes before compression.
    pub fn len(&self) -> usize {
        super::HEADER + self.records.len()
    }

    /// Whether no record was appended.
    pub fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// Compresses the records and writes the batch.
    pub fn build(mut self) -> io::Result<Vec<u8>> {
        self.header.attributes &= !attributes::COMPRESSION;
        self.header.attributes |= self.compression.id();
        let records = self.records.into_bytes();
        Ok(match self.compression {
            Compression::None => self.header.write(&records),
            compression => self.header.write(&compression.compress(&records)?),
        })
    }
}

fn put_field(w: &mut Writer, bytes: Option<&[u8]>) {
    w.put_varint(bytes.map_or(-1, |b| b.len() as i32));
    w.put_slice(bytes.unwrap_or_default());
}

/// The key of a control record: 0 aborts and 1 commits a transaction, 2 tells of a leader of the metadata quorum, 3
/// and 4 begin and end a snapshot, 5 and 6 are the quorum's version and voters.
pub fn control_key(kind: i16) -> [u8; 4] {
    let [high, low] = kind.to_be_bytes();
    [0, 0, high, low]
}
