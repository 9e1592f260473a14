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
use super::segment::{BatchPlace, OFFSET_MAX};
use crate::wire::batch::{Batch, BatchError, HEADER};

/// Why a scan ended where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The file ends there, or zeros begin.
    Clean,
    /// Bytes that are no batch that could stand there.
    Broken(String),
    /// A whole batch whose offset or epoch cannot follow what stands before it. No crash leaves that behind: what
    /// lay past an earlier end was erased before anything was appended, and a torn write is told by
    /// `has_torn_offset`. Offset and epoch lie outside of the checksum, so one of them has rotted, here or before.
    Contradicted(String),
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
    /// What lies before this offset was durable before the crash. A mark is where a batch ends.
    mark: Option<i64>,
    /// The last offset that the first batch must have.
    first_ends_at: Option<i64>,
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
    pub fn new(base_offset: i64, epoch: i32, mark: Option<i64>, index_interval: u64) -> Scan {
        Scan {
            mark,
            first_ends_at: None,
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
    /// All of it was durable.
    pub fn resume(base_offset: i64, index: SegmentIndex, mark: Option<i64>, index_interval: u64) -> Scan {
        let position = index.last_position();
        let first_ends_at = index.last_offset(base_offset);
        Scan {
            position,
            durable: u64::MAX,
            index,
            first_ends_at,
            ..Scan::new(base_offset, i32::MIN, mark, index_interval)
        }
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
        self.durable.min(self.position)..self.position
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
    pub fn feed(&mut self, bytes: &[u8], left: u64) -> Progress {
        self.feed_each(bytes, left, |_| ())
    }

    /// The same, telling of each batch that stands.
    pub fn feed_each(&mut self, mut bytes: &[u8], left: u64, mut each: impl FnMut(&Batch<'_>)) -> Progress {
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
            match self.take(&bytes[..size]) {
                Ok(batch) => each(&batch),
                Err(end) => return Progress::Ended(end),
            }
            bytes = &bytes[size..];
        }
    }

    fn take<'b>(&mut self, bytes: &'b [u8]) -> Result<Batch<'b>, End> {
        let broken = |why: BatchError| End::Broken(why.to_string());
        let batch = Batch::first(bytes).map_err(broken)?;
        batch.check().map_err(broken)?;
        let header = batch.header();
        if header.base_offset < self.next_offset {
            let (found, wanted) = (header.base_offset, self.next_offset);
            let why = format!("offset {found} stands where {wanted} or a later one should");
            return Err(match has_torn_offset(bytes, self.position, wanted) {
                true => End::Broken(why),
                false => End::Contradicted(why),
            });
        }
        let ends_at = header.base_offset.saturating_add(header.last_offset_delta.into());
        if ends_at > OFFSET_MAX {
            return Err(End::Contradicted(format!(
                "offset {ends_at} is larger than any that a log comes to"
            )));
        }
        if let Some(wanted) = self.first_ends_at.take()
            && wanted != ends_at
        {
            let why = format!("offset {ends_at} ends the batch that is indexed to end at {wanted}");
            return Err(End::Contradicted(why));
        }
        if let Some(mark) = self.mark.filter(|mark| self.next_offset < *mark && *mark <= ends_at) {
            let why = format!("offset {ends_at} is passed by the batch that should reach to {}", mark - 1);
            return Err(End::Contradicted(why));
        }
        if header.leader_epoch < self.epoch {
            let (found, before) = (header.leader_epoch, self.epoch);
            return Err(End::Contradicted(format!("leader epoch {found} comes after {before}")));
        }
        if header.leader_epoch > self.epoch || self.epochs.is_empty() {
            self.epochs.push((header.leader_epoch, header.base_offset));
        }
        let place = BatchPlace::new(&header, self.position, bytes.len() as u64);
        self.index.on_batch(self.base_offset, &place, self.interval);
        self.epoch = header.leader_epoch;
        self.next_offset = place.last_offset + 1;
        self.position += place.size;
        if self.mark.is_some_and(|mark| self.next_offset <= mark) {
            self.durable = self.durable.max(self.position);
        }
        Ok(batch)
    }

    fn broken(&self, why: String) -> Progress {
        Progress::Ended(End::Broken(why))
    }
}

/// What a device writes whole or not at all.
const SECTOR: u64 = 512;

/// Whether a batch that stands where `wanted` is the next offset is whole but for the beginning of its offset: a write
/// was torn where a sector ends within it, and what lay before was zeros. The checksum does not cover offset and
/// length, and a short length begins with zeros itself.
fn has_torn_offset(batch: &[u8], position: u64, wanted: i64) -> bool {
    const OFFSET: usize = size_of::<i64>();
    let lost = (SECTOR - position % SECTOR) as usize;
    let kept = OFFSET.saturating_sub(lost);
    let of_wanted = wanted.to_be_bytes();
    lost < OFFSET + size_of::<i32>()
        && batch[..lost].iter().all(|byte| *byte == 0)
        && batch[OFFSET - kept..OFFSET] == of_wanted[OFFSET - kept..]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{BatchBuilder, BatchMut};

    /// Batches of these base offsets, of one record each.
    fn log(offsets: &[i64]) -> Vec<u8> {
        let batch = |offset: &i64| {
            let mut builder = BatchBuilder::new();
            builder.append(0, None, Some(b"value"), &[]);
            let mut bytes = builder.build().unwrap();
            BatchMut::first(&mut bytes).unwrap().set_base_offset(*offset);
            bytes
        };
        offsets.iter().flat_map(batch).collect()
    }

    fn end(mut scan: Scan, bytes: &[u8]) -> (i64, bool) {
        let position = scan.position() as usize;
        match scan.feed(&bytes[position..], (bytes.len() - position) as u64) {
            Progress::Ended(end) => (scan.next_offset(), end == End::Clean),
            needs => panic!("it has all bytes: {needs:?}"),
        }
    }

    #[test]
    fn an_offset_that_was_torn_is_no_contradiction() {
        // The second batch begins `lost` bytes before the end of a sector, of which it lost what it had there.
        let torn = |lost: usize, offset: i64| {
            let of_value = |len: usize| {
                let mut builder = BatchBuilder::new();
                builder.append(0, None, Some(&vec![b'v'; len]), &[]);
                let mut bytes = builder.build().unwrap();
                BatchMut::first(&mut bytes).unwrap().set_base_offset(700);
                bytes
            };
            let first = (0..).map(of_value).find(|first| first.len() >= SECTOR as usize - lost).unwrap();
            assert_eq!(first.len(), SECTOR as usize - lost);
            let mut bytes = [first.clone(), log(&[offset])].concat();
            bytes[first.len()..SECTOR as usize].fill(0);
            let mut scan = Scan::new(700, -1, Some(701), 4096);
            match scan.feed(&bytes, bytes.len() as u64) {
                Progress::Ended(end) => (scan.next_offset(), end),
                needs => panic!("it has all bytes: {needs:?}"),
            }
        };
        for lost in 7..12 {
            assert!(matches!(torn(lost, 701), (701, End::Broken(_))), "{lost}: {:?}", torn(lost, 701));
        }
        // Less than that takes nothing away, and what is wrong then was wrong before.
        assert_eq!(torn(6, 701), (702, End::Clean));
        assert!(matches!(torn(6, 5), (701, End::Contradicted(_))));
        assert!(matches!(torn(7, 700), (701, End::Contradicted(_))));
    }

    #[test]
    fn an_offset_that_falls_ends_the_log_and_one_that_jumps_does_not() {
        let scan = || Scan::new(5, -1, None, 4096);
        assert_eq!(end(scan(), &log(&[5, 6, 9])), (10, true));
        assert_eq!(end(scan(), &log(&[5, 6, 5])), (7, false));
        assert_eq!(end(scan(), &log(&[4])), (5, false));
    }

    #[test]
    fn no_offset_is_too_large_to_count_on() {
        let scan = || Scan::new(5, -1, None, 4096);
        for offset in [OFFSET_MAX + 1, i64::MAX - 1, i64::MAX] {
            assert_eq!(end(scan(), &log(&[5, 6, offset])), (7, false));
        }
        assert_eq!(end(scan(), &log(&[5, 6, OFFSET_MAX])), (OFFSET_MAX + 1, true));
    }

    #[test]
    fn no_batch_jumps_over_the_mark() {
        // The offset lies outside the checksum: one that rotted must not pass for the end of what was durable.
        let scan = |mark| Scan::new(5, -1, Some(mark), 4096);
        assert_eq!(end(scan(8), &log(&[5, 6, 7, 9])), (10, true));
        assert_eq!(end(scan(8), &log(&[5, 6, 9])), (7, false));
        assert_eq!(end(scan(8), &log(&[5, 6, 7 + 64])), (7, false));
        assert_eq!(end(scan(5), &log(&[6])), (7, true));
    }

    #[test]
    fn what_stands_above_the_mark_is_doubtful() {
        let bytes = log(&[0, 1, 2]);
        let third = bytes.len() as u64 / 3;
        let mut scan = Scan::new(0, -1, Some(2), 4096);
        scan.feed(&bytes, bytes.len() as u64);
        assert_eq!(scan.doubtful(), 2 * third..3 * third);
        let mut unmarked = Scan::new(0, -1, None, 4096);
        unmarked.feed(&bytes, bytes.len() as u64);
        assert_eq!(unmarked.doubtful(), 0..3 * third);
    }

    #[test]
    fn a_scan_goes_on_where_the_index_ends_and_nothing_else_stands_there() {
        let bytes = log(&[0, 1, 2, 3]);
        let mut scan = Scan::new(0, -1, None, 100);
        scan.feed(&bytes, bytes.len() as u64);
        let index = scan.index.clone();
        assert!(index.last_position() > 0);
        let resume = || Scan::resume(0, index.clone(), Some(4), 100);
        assert_eq!(end(resume(), &bytes), (4, true));
        assert_eq!(resume().doubtful(), resume().position()..resume().position());
        let mut moved = bytes.clone();
        BatchMut::first(&mut moved[index.last_position() as usize..]).unwrap().set_base_offset(1);
        assert!(!end(resume(), &moved).1);
    }
}
