//! What is left of a segment after a crash.
//!
//! A [`Scan`] is fed the bytes of a segment's file, in order, and finds the batches that stand: whole, with the
//! right checksum, their offsets growing and their epochs not falling. The first that does not stand ends the
//! log. [`verdict`] then says whether that end is a torn tail or damage: a log must reach at least to the mark
//! that was durable (see [`marks`](super::marks)); ending below it means that records which may have been
//! acknowledged are gone, and nothing of that kind happens in silence.
//!
//! What lies behind the end is erased, durably, before the first append. A batch there may be whole, with a
//! valid checksum and just the offset that will be next some day: after another crash it would stand up again.

use super::index::SegmentIndex;
use super::segment::BatchPlace;
use crate::wire::batch::{Batch, BatchError, HEADER};

/// Why a scan ended where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The file ends there, or zeros begin.
    Clean,
    /// Bytes that are no batch that could stand there.
    Broken(String),
}

/// What a scan wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes from [`Scan::position`] on, at least this many (or all that are left).
    Needs(usize),
    /// The log ends at [`Scan::position`].
    Ended(End),
}

/// The segment's batches, as far as they were found to stand.
#[derive(Debug)]
pub struct Scan {
    base_offset: i64,
    interval: u64,
    position: u64,
    next_offset: i64,
    epoch: i32,
    /// What lies before this offset was durable before the crash.
    mark: i64,
    /// Where that ends in the file.
    durable: u64,
    /// The index of the batches that stand.
    pub index: SegmentIndex,
    /// Epochs and the offsets at which they begin, as met.
    pub epochs: Vec<(i32, i64)>,
}

/// A batch larger than this is not read in one piece, whatever its length field says.
const LARGEST: usize = 1 << 30;

impl Scan {
    /// A scan of the segment that begins at `base_offset`. Batches of an epoch before `epoch` do not stand. What
    /// lies before the offset `mark` was durable before.
    pub fn new(base_offset: i64, epoch: i32, mark: i64, index_interval: u64) -> Scan {
        Scan {
            mark,
            durable: 0,
            base_offset,
            interval: index_interval,
            position: 0,
            next_offset: base_offset,
            epoch,
            index: SegmentIndex::default(),
            epochs: Vec::new(),
        }
    }

    /// A scan that goes on behind what an index that can be trusted knows, for a log that was stopped cleanly.
    pub fn resume(base_offset: i64, index: SegmentIndex, index_interval: u64) -> Scan {
        let position = index.last_position();
        Scan { position, index, ..Scan::new(base_offset, i32::MIN, i64::MAX, index_interval) }
    }

    /// The segment's base offset.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Where the next batch begins in the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The bytes that stand, but that no flush is known to have covered.
    pub fn doubtful(&self) -> std::ops::Range<u64> {
        self.durable..self.position
    }

    /// The offset that the next batch has at least.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The epoch of the last batch that stands.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Takes the file's bytes from [`Scan::position`] on; `left` is how many bytes the file has from there.
    pub fn feed(&mut self, mut bytes: &[u8], left: u64) -> Progress {
        let end = self.position + left;
        loop {
            let left = end - self.position;
            if left == 0 {
                return Progress::Ended(End::Clean);
            }
            if (bytes.len() as u64) < left && bytes.len() < HEADER {
                return Progress::Needs(HEADER);
            }
            if bytes.iter().take(HEADER).all(|b| *b == 0) {
                return Progress::Ended(End::Clean);
            }
            let size = match Batch::peek_len(bytes) {
                Ok(size) if size as u64 <= left && size <= LARGEST => size,
                Ok(size) => {
                    return self.broken(BatchError::Cut { needed: size, left: left as usize }.to_string());
                }
                Err(why) => return self.broken(why.to_string()),
            };
            if size > bytes.len() {
                return Progress::Needs(size);
            }
            if let Err(why) = self.take(&bytes[..size]) {
                return self.broken(why);
            }
            bytes = &bytes[size..];
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let batch = Batch::first(bytes).map_err(|e| e.to_string())?;
        batch.check().map_err(|e| e.to_string())?;
        let header = batch.header();
        if header.base_offset < self.next_offset {
            let (found, wanted) = (header.base_offset, self.next_offset);
            return Err(format!("offset {found} stands where {wanted} or a later one should"));
        }
        if header.leader_epoch < self.epoch {
            let (found, before) = (header.leader_epoch, self.epoch);
            return Err(format!("leader epoch {found} comes after {before}"));
        }
        if header.leader_epoch > self.epoch || self.epochs.is_empty() {
            self.epochs.push((header.leader_epoch, header.base_offset));
        }
        let place = BatchPlace::new(&header, self.position, bytes.len() as u64);
        self.index.on_batch(self.base_offset, &place, self.interval);
        self.epoch = header.leader_epoch;
        self.next_offset = place.last_offset + 1;
        self.position += place.size;
        if self.next_offset <= self.mark {
            self.durable = self.position;
        }
        Ok(())
    }

    fn broken(&self, why: String) -> Progress {
        Progress::Ended(End::Broken(why))
    }
}

/// Acknowledged records are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The log stands up to this offset.
    pub end_offset: i64,
    /// It was durable up to this one.
    pub mark: i64,
}

/// Whether a log that stands up to `end_offset` has lost what was durable below `mark`.
pub fn verdict(end_offset: i64, mark: Option<i64>) -> Result<(), Damage> {
    match mark {
        Some(mark) if end_offset < mark => Err(Damage { end_offset, mark }),
        _ => Ok(()),
    }
}
