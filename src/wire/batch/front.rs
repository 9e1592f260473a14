//! The header apart from the records: what a broker looks at and sets without touching them.

use super::{
    ATTRIBUTES, Batch, BatchError, BatchHeader, CRC, HEADER, LEADER_EPOCH, MAX_TIMESTAMP, attributes,
};

/// The header of the batch at the front of `bytes`, of which the records may be missing, and the whole batch's
/// length. Its checksum is not looked at.
pub fn peek(bytes: &[u8]) -> Result<(BatchHeader, usize), BatchError> {
    let len = Batch::peek_len(bytes)?;
    let header = bytes.get(..HEADER).ok_or(BatchError::Cut { needed: HEADER, left: bytes.len() })?;
    Ok((Batch { bytes: header }.header(), len))
}

/// The bytes of a batch before its records, as its broker sets them.
pub type Front = [u8; HEADER];

/// Where in a batch begins what its checksum is of.
pub const CHECKED_FROM: usize = ATTRIBUTES;

/// The checksum that the front says.
pub fn checksum(front: &Front) -> u32 {
    Batch { bytes: front }.crc()
}

/// A copy of the batch's front.
pub fn front(batch: &[u8]) -> Front {
    batch[..HEADER].try_into().expect("a batch has a whole header")
}

/// Sets what lies outside of the checksum: the first record's offset and the leader epoch.
pub fn place(front: &mut Front, base_offset: i64, leader_epoch: i32) {
    front[..8].copy_from_slice(&base_offset.to_be_bytes());
    front[LEADER_EPOCH..LEADER_EPOCH + 4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// The front of a batch whose records all get the broker's time, with the checksum that goes with it.
pub fn with_log_append_time(batch: &[u8], now: i64) -> Front {
    let mut front = front(batch);
    let set = Batch { bytes: &front }.attributes() | attributes::LOG_APPEND_TIME;
    front[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&set.to_be_bytes());
    front[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&now.to_be_bytes());
    sealed(front, batch)
}

/// The front of a batch whose records keep their own times, whatever its producer says of them.
pub fn with_create_time(batch: &[u8]) -> Front {
    let mut front = front(batch);
    let set = Batch { bytes: &front }.attributes() & !attributes::LOG_APPEND_TIME;
    front[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&set.to_be_bytes());
    sealed(front, batch)
}

/// The front of a batch whose latest record is of another time than its producer says.
pub fn with_max_timestamp(batch: &[u8], latest: i64) -> Front {
    let mut front = front(batch);
    front[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&latest.to_be_bytes());
    sealed(front, batch)
}

/// With the checksum that goes with it and the records.
fn sealed(mut front: Front, batch: &[u8]) -> Front {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&front[ATTRIBUTES..]), &batch[HEADER..]);
    front[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchBuilder;

    #[test]
    fn a_batch_with_a_new_front_stands() {
        let mut builder = BatchBuilder::new();
        builder.append(5, Some(b"k"), Some(b"v"), &[]);
        let bytes = builder.build().unwrap();
        let (header, len) = peek(&bytes[..HEADER]).unwrap();
        assert_eq!((header.max_timestamp, len), (5, bytes.len()));
        let mut front = with_log_append_time(&bytes, 99);
        place(&mut front, 1234, 7);
        let whole = [&front[..], &bytes[HEADER..]].concat();
        let batch = Batch::first(&whole).unwrap();
        batch.check().unwrap();
        assert!(batch.is_log_append_time());
        assert_eq!((batch.base_offset(), batch.leader_epoch(), batch.max_timestamp()), (1234, 7, 99));
    }
    #[test]
    fn a_producer_does_not_set_the_brokers_time() {
        let mut builder = BatchBuilder::new().log_append_time();
        builder.append(5, Some(b"k"), Some(b"v"), &[]);
        let bytes = builder.build().unwrap();
        assert!(Batch::first(&bytes).unwrap().is_log_append_time());
        let whole = [&with_create_time(&bytes)[..], &bytes[HEADER..]].concat();
        let batch = Batch::first(&whole).unwrap();
        batch.check().unwrap();
        assert!(!batch.is_log_append_time());
    }
}
