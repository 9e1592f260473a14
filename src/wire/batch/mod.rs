//! Record batches (version 2) as they lie in frames and logs.
//!
//! A [`Batch`] is a view of the bytes and copies nothing; [`batches`] walks over several. [`BatchMut`] sets in place
//! what a broker sets. [`Batch::open`] decompresses, within a bound, and gives the records. [`BatchBuilder`] makes
//! batches.

mod builder;
mod compression;
pub mod front;
mod recompress;
mod record;

use std::fmt;

pub use builder::{BatchBuilder, control_key};
pub use compression::Compression;
pub use recompress::Recompressor;
pub use record::{Header, Headers, Record, RecordIter, RecordSet};

use super::error::ErrorCode;

/// The bytes before the records.
pub const HEADER: usize = 61;
/// The bytes before what the length field counts: the base offset and the length itself.
pub const PREFIX: usize = 12;
/// The only layout that is read and written here.
pub const MAGIC: i8 = 2;

const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC_AT: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const COUNT: usize = 57;

/// The meaning of a batch's attribute bits.
pub mod attributes {
    /// Which [`Compression`](super::Compression).
    pub const COMPRESSION: i16 = 0b111;
    /// The timestamps are the broker's: all records have the batch's highest.
    pub const LOG_APPEND_TIME: i16 = 1 << 3;
    /// The batch belongs to a transaction.
    pub const TRANSACTIONAL: i16 = 1 << 4;
    /// The batch holds control records, which consumers do not see.
    pub const CONTROL: i16 = 1 << 5;
    /// The base timestamp says from when on tombstones and markers in the batch may be deleted.
    pub const DELETE_HORIZON: i16 = 1 << 6;
}

/// Why bytes are not a good batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The batch goes on behind the end of the bytes.
    Cut {
        /// How long it is.
        needed: usize,
        /// How many bytes there are.
        left: usize,
    },
    /// A length that no batch can have.
    Length(i32),
    /// Another layout.
    Magic(i8),
    /// The checksum of the bytes is another than the one in the batch.
    Crc {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The number of records does not fit the offsets.
    Count {
        /// What the batch says.
        count: i32,
        /// The last record's offset, counted from the batch's.
        last_offset_delta: i32,
    },
    /// No compression has this number.
    Compression(u8),
    /// The compressed bytes are damaged.
    Compressed(String),
    /// The records are larger than allowed when decompressed.
    TooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// A record is damaged, or there are more or fewer than the batch says.
    Record(&'static str),
    /// A client may not send such a batch; it is answered this error.
    NotForClients(ErrorCode, &'static str),
}

impl BatchError {
    /// What a produce request with such a batch is answered.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            BatchError::Cut { .. }
            | BatchError::Length(_)
            | BatchError::Crc { .. }
            | BatchError::Compressed(_)
            | BatchError::TooLarge { .. } => ErrorCode::CORRUPT_MESSAGE,
            BatchError::Magic(_) | BatchError::Count { .. } | BatchError::Record(_) => {
                ErrorCode::INVALID_RECORD
            }
            BatchError::NotForClients(code, _) => *code,
            BatchError::Compression(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Cut { needed, left } => {
                write!(f, "the batch has {needed} bytes, of which {left} are there")
            }
            BatchError::Length(n) => write!(f, "{n} is not a possible length of a batch"),
            BatchError::Magic(n) => write!(f, "the batch has layout {n}; only 2 is known"),
            BatchError::Crc { stored, computed } => {
                write!(f, "the batch's checksum is {stored:#010x}, its bytes give {computed:#010x}")
            }
            BatchError::Count { count, last_offset_delta } => {
                write!(
                    f,
                    "the batch has {count} records, but its last offset is its first plus {last_offset_delta}"
                )
            }
            BatchError::Compression(id) => write!(f, "no compression has the number {id}"),
            BatchError::Compressed(why) => write!(f, "the batch cannot be decompressed: {why}"),
            BatchError::TooLarge { limit } => {
                write!(f, "the batch's records take more than {limit} bytes when decompressed")
            }
            BatchError::Record(why) | BatchError::NotForClients(_, why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BatchError {}

/// The fields of a batch's header, apart from its length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, or of where it was before compaction.
    pub base_offset: i64,
    /// The leader epoch in which it was appended.
    pub leader_epoch: i32,
    /// See [`attributes`].
    pub attributes: i16,
    /// The offset of the last record, counted from the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamps are counted from.
    pub base_timestamp: i64,
    /// The highest timestamp.
    pub max_timestamp: i64,
    /// The idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// How many records there are.
    pub count: i32,
}

impl BatchHeader {
    /// Writes the header before `records` (compressed as the attributes say), with its length and checksum.
    pub fn write(&self, records: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + records.len());
        bytes.extend_from_slice(&self.base_offset.to_be_bytes());
        bytes.extend_from_slice(&((HEADER - PREFIX + records.len()) as i32).to_be_bytes());
        bytes.extend_from_slice(&self.leader_epoch.to_be_bytes());
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.attributes.to_be_bytes());
        bytes.extend_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes.extend_from_slice(&self.base_timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.max_timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.producer_id.to_be_bytes());
        bytes.extend_from_slice(&self.producer_epoch.to_be_bytes());
        bytes.extend_from_slice(&self.base_sequence.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(records);
        seal(&mut bytes);
        bytes
    }
}

/// Sets the checksum.
fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[ATTRIBUTES..]);
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

/// One whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    bytes: &'a [u8],
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $at:expr;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name(&self) -> $type {
            let field = &self.bytes[$at..$at + size_of::<$type>()];
            <$type>::from_be_bytes(field.try_into().expect("its length"))
        }
    )*};
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`. Checks its length and layout, not yet its checksum: see [`Batch::check`].
    pub fn first(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let len = Batch::peek_len(bytes)?;
        if len > bytes.len() {
            return Err(BatchError::Cut { needed: len, left: bytes.len() });
        }
        Ok(Batch { bytes: &bytes[..len] })
    }

    /// How long the batch at the front of `bytes` is, which may be more than is there. Checks what it can see: the
    /// length, and the layout if its byte is there.
    pub fn peek_len(bytes: &[u8]) -> Result<usize, BatchError> {
        let Some(length) = bytes.get(LENGTH..PREFIX) else {
            return Err(BatchError::Cut { needed: HEADER, left: bytes.len() });
        };
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        // The layout is told first: a batch of an old one may well be shorter.
        match bytes.get(MAGIC_AT) {
            Some(&magic) if magic as i8 != MAGIC => Err(BatchError::Magic(magic as i8)),
            _ if length < (HEADER - PREFIX) as i32 => Err(BatchError::Length(length)),
            _ => Ok(PREFIX + length as usize),
        }
    }

    fields! {
        /// The offset of the first record, or of where it was before compaction.
        base_offset: i64 = 0;
        /// The leader epoch in which it was appended; whatever the producer put there before that.
        leader_epoch: i32 = LEADER_EPOCH;
        /// The CRC32C of all bytes from the attributes on.
        crc: u32 = CRC;
        /// See [`attributes`].
        attributes: i16 = ATTRIBUTES;
        /// The offset of the last record, counted from the base offset.
        last_offset_delta: i32 = LAST_OFFSET_DELTA;
        /// What the records' timestamps are counted from.
        base_timestamp: i64 = BASE_TIMESTAMP;
        /// The highest timestamp.
        max_timestamp: i64 = MAX_TIMESTAMP;
        /// The idempotent producer, or -1.
        producer_id: i64 = PRODUCER_ID;
        /// Its epoch, or -1.
        producer_epoch: i16 = PRODUCER_EPOCH;
        /// The sequence number of the first record, or -1.
        base_sequence: i32 = BASE_SEQUENCE;
        /// How many records there are.
        count: i32 = COUNT;
    }

    /// All its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its records, compressed as the attributes say.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }

    /// The whole header.
    pub fn header(&self) -> BatchHeader {
        BatchHeader {
            base_offset: self.base_offset(),
            leader_epoch: self.leader_epoch(),
            attributes: self.attributes(),
            last_offset_delta: self.last_offset_delta(),
            base_timestamp: self.base_timestamp(),
            max_timestamp: self.max_timestamp(),
            producer_id: self.producer_id(),
            producer_epoch: self.producer_epoch(),
            base_sequence: self.base_sequence(),
            count: self.count(),
        }
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset().wrapping_add(self.last_offset_delta().into())
    }

    /// The sequence number of the last record, which wraps to 0 after the highest; -1 if there is none.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence() {
            -1 => -1,
            base => base.wrapping_add(self.last_offset_delta()) & i32::MAX,
        }
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_id((self.attributes() & attributes::COMPRESSION) as u8)
    }

    fn has(&self, attribute: i16) -> bool {
        self.attributes() & attribute != 0
    }

    /// Whether the timestamps are the broker's.
    pub fn is_log_append_time(&self) -> bool {
        self.has(attributes::LOG_APPEND_TIME)
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.has(attributes::TRANSACTIONAL)
    }

    /// Whether it holds control records.
    pub fn is_control(&self) -> bool {
        self.has(attributes::CONTROL)
    }

    /// From when on tombstones and markers in the batch may be deleted, if that was decided.
    pub fn delete_horizon(&self) -> Option<i64> {
        self.has(attributes::DELETE_HORIZON).then(|| self.base_timestamp())
    }

    /// Whether it has a producer id.
    pub fn is_idempotent(&self) -> bool {
        self.producer_id() >= 0
    }

    /// Checks what must hold for every batch in a log: the checksum, the compression, and that the number of records
    /// fits the offsets. Compaction leaves fewer records than offsets.
    pub fn check(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.crc(), crc32c::crc32c(&self.bytes[ATTRIBUTES..]));
        if stored != computed {
            return Err(BatchError::Crc { stored, computed });
        }
        self.compression()?;
        let (count, last_offset_delta) = (self.count(), self.last_offset_delta());
        if last_offset_delta < 0 || count < 0 || i64::from(count) > i64::from(last_offset_delta) + 1 {
            return Err(BatchError::Count { count, last_offset_delta });
        }
        Ok(())
    }

    /// Checks what must also hold for a batch of a produce request.
    pub fn check_from_client(&self) -> Result<(), BatchError> {
        self.check()?;
        let (count, last_offset_delta) = (self.count(), self.last_offset_delta());
        if count < 1 || i64::from(count) != i64::from(last_offset_delta) + 1 {
            return Err(BatchError::Count { count, last_offset_delta });
        }
        let refuse = |code, why| Err(BatchError::NotForClients(code, why));
        if self.is_control() {
            return refuse(ErrorCode::INVALID_RECORD, "clients may not write control records");
        }
        if self.is_idempotent() && self.base_sequence() < 0 {
            return refuse(ErrorCode::INVALID_RECORD, "a batch with a producer id needs a sequence number");
        }
        Ok(())
    }

    /// The latest timestamp of its records, as they say themselves; none where they are compressed or damaged.
    pub fn latest_timestamp(&self) -> Option<i64> {
        match self.compression() {
            Ok(Compression::None) => record::latest_timestamp(*self),
            _ => None,
        }
    }

    /// Decompresses the records, which may take at most `limit` bytes then. Uncompressed ones are not copied.
    pub fn open(&self, limit: usize) -> Result<RecordSet<'a>, BatchError> {
        RecordSet::open(*self, limit)
    }
}

/// Walks over the batches in `bytes`. The last item is an error if the bytes do not end with a whole batch; that is
/// [`BatchError::Cut`] where only the end is missing, as in answers to fetches that reached their limit.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// What was not walked over yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::first(self.rest);
        self.rest = match &batch {
            Ok(batch) => &self.rest[batch.bytes.len()..],
            Err(_) => &[],
        };
        Some(batch)
    }
}

/// One whole batch in which a broker sets what is its own to set.
#[derive(Debug)]
pub struct BatchMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> BatchMut<'a> {
    /// The batch at the front of `bytes`.
    pub fn first(bytes: &'a mut [u8]) -> Result<BatchMut<'a>, BatchError> {
        let len = Batch::first(bytes)?.bytes.len();
        Ok(BatchMut { bytes: &mut bytes[..len] })
    }

    /// The same batch, to be read.
    pub fn view(&self) -> Batch<'_> {
        Batch { bytes: self.bytes }
    }

    /// Sets the offset of the first record. It lies outside of what the checksum covers.
    pub fn set_base_offset(&mut self, offset: i64) {
        self.bytes[..8].copy_from_slice(&offset.to_be_bytes());
    }

    /// Sets the leader epoch. It lies outside of what the checksum covers.
    pub fn set_leader_epoch(&mut self, epoch: i32) {
        self.bytes[LEADER_EPOCH..LEADER_EPOCH + 4].copy_from_slice(&epoch.to_be_bytes());
    }

    /// Gives all records the broker's time, and computes the checksum anew.
    pub fn set_log_append_time(&mut self, now: i64) {
        let attributes = self.view().attributes() | attributes::LOG_APPEND_TIME;
        self.bytes[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
        self.set_max_timestamp(now);
    }

    /// Sets the highest timestamp, and computes the checksum anew.
    pub fn set_max_timestamp(&mut self, timestamp: i64) {
        self.bytes[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&timestamp.to_be_bytes());
        seal(self.bytes);
    }
}

#[cfg(test)]
mod tests;
