//! Markers: the control batches that end transactions.

use super::Reject;
use crate::wire::batch::{Batch, BatchBuilder, BatchError, control_key};
use crate::wire::codec::{Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::schema::EndTxnMarker;

/// Types of control records.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// From this version of the protocol on, a marker's epoch is newer than that of the transaction that it ends.
const EPOCH_PER_TRANSACTION: i16 = 2;

/// The end of a producer's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction ends.
    pub producer_id: i64,
    /// Under which epoch.
    pub producer_epoch: i16,
    /// Whether it is committed.
    pub commit: bool,
    /// The epoch of the coordinator that says so.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The batch that is appended.
    pub fn to_batch(&self, now_ms: i64) -> Vec<u8> {
        let mut value = Writer::new();
        value.put_i16(0);
        let message = EndTxnMarker { coordinator_epoch: self.coordinator_epoch };
        message.encode(&mut value, 0).expect("a number can be written");
        let kind = if self.commit { COMMIT } else { ABORT };
        let mut builder =
            BatchBuilder::new().producer(self.producer_id, self.producer_epoch, -1).transactional().control();
        builder.append(now_ms, Some(&control_key(kind)), Some(&value.into_bytes()), &[]);
        builder.build().expect("nothing is compressed")
    }

    /// The marker that a batch is; none if it is anything else. Its checksum was found right before.
    pub fn of(batch: &Batch<'_>) -> Result<Option<Marker>, BatchError> {
        if !batch.is_control() || !batch.is_transactional() {
            return Ok(None);
        }
        let records = batch.open(crate::limits::DECOMPRESSED_MAX)?;
        let Some(record) = records.iter().next().transpose()? else { return Ok(None) };
        let kind =
            record.key.and_then(|key| key.get(2..4)).map(|kind| i16::from_be_bytes([kind[0], kind[1]]));
        let commit = match kind {
            Some(COMMIT) => true,
            Some(ABORT) => false,
            _ => return Ok(None),
        };
        let damaged = || BatchError::Record("a marker's value cannot be read");
        let value = record.value.ok_or_else(damaged)?;
        let mut r = Reader::new(bytes::Bytes::copy_from_slice(value));
        // Later versions have more behind, which is not needed.
        r.i16().map_err(|_| damaged())?;
        let coordinator_epoch = r.i32().map_err(|_| damaged())?;
        let header = batch.header();
        let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
        Ok(Some(Marker { producer_id, producer_epoch, commit, coordinator_epoch }))
    }
}

/// What a partition knows of the producer of a marker.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its epoch.
    pub epoch: i16,
    /// The epoch of the coordinator that has written its last marker.
    pub coordinator_epoch: i32,
    /// Whether a transaction of it is open here.
    pub in_transaction: bool,
}

/// Whether a marker for this producer id and epoch may be appended, from a coordinator of this epoch, that goes by this
/// version of the protocol of transactions.
pub fn check(
    (id, epoch): (i64, i16),
    coordinator_epoch: i32,
    transaction_version: i16,
    known: Option<Known>,
) -> Result<(), Reject> {
    let Some(known) = known else { return Ok(()) };
    let is_newer = match transaction_version >= EPOCH_PER_TRANSACTION {
        // The same epoch again: the marker was written before, and the producer has not begun anew.
        true => epoch > known.epoch || epoch == known.epoch && !known.in_transaction,
        false => epoch >= known.epoch,
    };
    if !is_newer {
        return Err(Reject::new(
            ErrorCode::INVALID_PRODUCER_EPOCH,
            format!(
                "producer {id} has the epoch {}; the marker has {epoch}, by version {transaction_version} of \
                 transactions",
                known.epoch
            ),
        ));
    }
    if coordinator_epoch < known.coordinator_epoch {
        return Err(Reject::new(
            ErrorCode::TRANSACTION_COORDINATOR_FENCED,
            format!(
                "the coordinator of producer {id} has the epoch {}; the marker has {}",
                known.coordinator_epoch, coordinator_epoch
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker { producer_id: 7, producer_epoch: 3, commit: true, coordinator_epoch: 9 };

    #[test]
    fn a_marker_reads_back_as_it_was_written() {
        for commit in [true, false] {
            let marker = Marker { commit, ..MARKER };
            let bytes = marker.to_batch(1000);
            let batch = Batch::first(&bytes).unwrap();
            batch.check().unwrap();
            assert!(batch.is_control() && batch.is_transactional());
            let header = batch.header();
            assert_eq!((header.base_sequence, header.count, header.max_timestamp), (-1, 1, 1000));
            assert_eq!(Marker::of(&batch).unwrap(), Some(marker));
            let records = batch.open(1 << 20).unwrap();
            let record = records.iter().next().unwrap().unwrap();
            assert_eq!(record.key.unwrap(), [0, 0, 0, u8::from(commit)]);
            assert_eq!(record.value.unwrap(), [0, 0, 0, 0, 0, 9]);
        }
    }

    #[test]
    fn other_batches_are_no_markers() {
        let mut builder = BatchBuilder::new().control();
        builder.append(1, Some(&control_key(2)), Some(b"x"), &[]);
        let leader_change = builder.build().unwrap();
        assert_eq!(Marker::of(&Batch::first(&leader_change).unwrap()).unwrap(), None);
        let mut builder = BatchBuilder::new().control().transactional().producer(1, 0, -1);
        builder.append(1, Some(&control_key(1)), Some(&[0, 0, 0]), &[]);
        let damaged = builder.build().unwrap();
        assert!(Marker::of(&Batch::first(&damaged).unwrap()).is_err());
    }

    #[test]
    fn epochs_say_whether_a_marker_is_late() {
        let known = |epoch, in_transaction| Some(Known { epoch, coordinator_epoch: 9, in_transaction });
        let checked = |marker: Marker, version, known| {
            let producer = (marker.producer_id, marker.producer_epoch);
            check(producer, marker.coordinator_epoch, version, known).map_err(|reject| reject.error)
        };
        let told = |version, known| checked(MARKER, version, known);
        let late = Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        for version in [0, 1] {
            assert_eq!(told(version, known(3, true)), Ok(()), "the transaction's own epoch");
            assert_eq!(told(version, known(3, false)), Ok(()));
            assert_eq!(told(version, known(4, true)), late);
        }
        assert_eq!(told(2, known(2, true)), Ok(()));
        assert_eq!(told(2, known(3, true)), late, "the transaction after");
        assert_eq!(told(2, known(3, false)), Ok(()), "once more");
        assert_eq!(told(2, known(4, false)), late);
        assert_eq!((told(0, None), told(2, None)), (Ok(()), Ok(())));
        let fenced = Marker { coordinator_epoch: 8, ..MARKER };
        let told = checked(fenced, 2, known(2, true));
        assert_eq!(told, Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED));
    }
}
