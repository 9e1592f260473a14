//! What must hold from batch to batch of a segment that is read again: whoever reads finds what has rotted on the disk.
//!
//! The checksum covers a batch from its attributes on. Before that lie its base offset, its length and its leader
//! epoch; of these, neighbours, index and the segment's end must agree. A segment that was compacted may have gaps,
//! and nothing tells one from the other for certain, so a gap alone is no contradiction.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::index::Landing;
use crate::wire::batch::front::{self, Front};
use crate::wire::batch::{BatchError, BatchHeader, HEADER};

/// The lowest leader epoch of a batch: it was not known.
const NO_EPOCH: i32 = -1;

/// A place where a segment's file does not hold what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rot {
    /// Where in the file the batch begins.
    pub position: u64,
    /// The offsets that it seems to have, as far as they can be told.
    pub offsets: Option<(i64, i64)>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Rot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offsets {
            Some((first, last)) if first == last => write!(f, "the batch of offset {first} ")?,
            Some((first, last)) => write!(f, "the batch of offsets {first} to {last} ")?,
            None => write!(f, "the batch ")?,
        }
        write!(f, "at position {} is damaged: {}", self.position, self.why)
    }
}

/// What is known of a segment without its file.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Where its batches end in the file.
    pub end: u64,
    /// The offset at which it ends.
    pub end_offset: i64,
    /// No batch has a later leader epoch.
    pub max_epoch: i32,
}

/// Goes over a segment's batches in order.
pub struct Walk {
    extent: Extent,
    position: u64,
    /// No batch begins before this offset.
    next_offset: i64,
    epoch: i32,
    /// The offset at which the index says that a batch ends.
    ends_at: Option<i64>,
    /// Where the index says that a batch begins.
    boundary: u64,
    /// What of the batch before is certain.
    certain: Certain,
    /// A batch with a wrong checksum was passed. Its length is right if the next batch fits.
    doubt: Option<Rot>,
}

/// What cannot be wrong about a batch although its checksum does not cover it, if those around it are right.
#[derive(Clone, Copy, Default)]
struct Certain {
    /// It begins where its predecessor ends, or ends where the index says.
    offsets: bool,
    /// Its predecessor has it, too.
    epoch: bool,
}

/// A batch contradicts what is known, and the one before may be the one that is wrong.
struct Contradiction {
    rot: Rot,
    before_is_right: bool,
}

/// What stands of what was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Stands {
    /// So many bytes, of whole batches.
    pub len: usize,
    /// What comes then.
    pub rot: Option<Rot>,
}

impl Walk {
    /// From a place that the index gave.
    pub fn new(landing: &Landing, extent: Extent) -> Walk {
        Walk {
            extent,
            position: landing.position,
            next_offset: landing.from_offset,
            epoch: NO_EPOCH,
            ends_at: landing.ends_at,
            // More may have been appended and indexed since.
            boundary: landing.next.unwrap_or(extent.end).min(extent.end),
            certain: Certain::default(),
            doubt: None,
        }
    }

    /// Where the next batch begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The header at the front of these bytes, and the size of its batch. They are not passed yet.
    pub fn peek(&self, front: &[u8]) -> Result<(BatchHeader, u64), Rot> {
        let (header, size) = front::peek(front).map_err(|why| self.rot(None, &why))?;
        let end = self.position + size as u64;
        let behind_boundary = self.position < self.boundary && end > self.boundary;
        if behind_boundary || end > self.extent.end {
            let to = if behind_boundary { self.boundary } else { self.extent.end };
            let why = format!("its length is {size}, but it ends at position {to} or before");
            return Err(self.rot(Some(&header), &why));
        }
        Ok((header, size as u64))
    }

    /// Passes a batch that nobody asked for. If its checksum is wrong, the next batch decides whether that matters.
    pub fn skip(&mut self, header: &BatchHeader, batch: &[Bytes]) -> Result<(), Rot> {
        let size = batch.iter().map(Bytes::len).sum();
        let sum = Cursor::new(batch).check(size);
        self.fits(header).map_err(|contradiction| contradiction.rot)?;
        self.pass(header, size as u64);
        self.doubt = sum
            .err()
            .map(|why| Rot { position: self.position - size as u64, ..self.rot(Some(header), &why) });
        Ok(())
    }

    /// How much stands of the batches in these bytes: whole ones below the offset `limit`, of `max_bytes` and no more,
    /// but at least one. The bytes may end with a part of a batch; its header still tells something of the one before.
    pub fn take(&mut self, bytes: &[Bytes], limit: i64, max_bytes: u64) -> Stands {
        let mut cursor = Cursor::new(bytes);
        let mut stands = Stands { len: 0, rot: None };
        let mut before = 0;
        while let Some(front) = cursor.front() {
            let size = match self.peek(&front) {
                // One behind the segment's end has rotted, which is told below.
                Ok((header, _)) if (limit..self.extent.end_offset).contains(&header.base_offset) => break,
                Ok((_, size)) => size as usize,
                Err(rot) => return Stands { rot: Some(rot), ..stands },
            };
            let header = front::peek(&front).expect("it was peeked at").0;
            let is_whole = size <= cursor.left;
            if is_whole && let Err(why) = cursor.check(size) {
                return Stands { rot: Some(self.rot(Some(&header), &why)), ..stands };
            }
            if let Err(Contradiction { rot, before_is_right }) = self.fits(&header) {
                let len = if before_is_right { stands.len } else { before };
                return Stands { len, rot: Some(rot) };
            }
            let is_asked_for = stands.len == 0 || (stands.len + size) as u64 <= max_bytes;
            if !is_whole || !is_asked_for {
                break;
            }
            self.pass(&header, size as u64);
            before = stands.len;
            stands.len += size;
        }
        stands
    }

    /// At the segment's end: whether all came that had to.
    pub fn end(&self) -> Result<(), Rot> {
        if let Some(doubt) = &self.doubt {
            return Err(doubt.clone());
        }
        match self.ends_at {
            Some(offset) => {
                Err(self.rot(None, &format!("no batch ends at offset {offset}, as the index says")))
            }
            None => Ok(()),
        }
    }

    /// Whether the next batch may have this header.
    fn fits(&mut self, header: &BatchHeader) -> Result<(), Contradiction> {
        let base = header.base_offset;
        if let Some(rot) = self.doubt.take_if(|_| base != self.next_offset) {
            return Err(Contradiction { rot, before_is_right: false });
        }
        let (why, before_is_right) = match (self.misplaced(header), self.misdated(header)) {
            (Some(why), _) => (why, self.certain.offsets),
            (None, Some(why)) => (why, self.certain.epoch),
            (None, None) => return Ok(()),
        };
        Err(Contradiction { rot: self.rot(Some(header), &why), before_is_right })
    }

    /// Why the next batch cannot have these offsets.
    fn misplaced(&self, header: &BatchHeader) -> Option<String> {
        let (base, end) = (header.base_offset, self.extent.end_offset);
        let last = base.saturating_add(header.last_offset_delta.into());
        if base < self.next_offset {
            return Some(format!("its offset is {base} where {} or a later one should be", self.next_offset));
        }
        if last < base || last >= end {
            return Some(format!("its last offset is {last}, but the segment ends before {end}"));
        }
        let indexed = self.ends_at.filter(|indexed| last > *indexed)?;
        Some(format!("its last offset is {last}, but a batch ends at {indexed}, as the index says"))
    }

    /// Why the next batch cannot have this leader epoch.
    fn misdated(&self, header: &BatchHeader) -> Option<String> {
        let (epoch, latest) = (header.leader_epoch, self.extent.max_epoch);
        if epoch < self.epoch {
            return Some(format!("its leader epoch is {epoch}, but {} came before", self.epoch));
        }
        (epoch > latest).then(|| format!("its leader epoch is {epoch}, but {latest} is the latest"))
    }

    fn pass(&mut self, header: &BatchHeader, size: u64) {
        let last = header.base_offset + i64::from(header.last_offset_delta);
        let as_indexed = self.ends_at.take_if(|indexed| *indexed == last).is_some();
        self.certain = Certain {
            offsets: as_indexed || header.base_offset == self.next_offset,
            epoch: header.leader_epoch == self.epoch,
        };
        (self.next_offset, self.epoch) = (last + 1, header.leader_epoch);
        self.position += size;
        self.doubt = None;
    }

    fn rot(&self, header: Option<&BatchHeader>, why: &dyn fmt::Display) -> Rot {
        let offsets = header.and_then(|header| {
            let last = header.base_offset.checked_add(header.last_offset_delta.into())?;
            (header.base_offset >= 0 && last >= header.base_offset).then_some((header.base_offset, last))
        });
        Rot { position: self.position, offsets, why: why.to_string() }
    }
}

/// Bytes in several pieces, from the front.
struct Cursor<'a> {
    pieces: &'a [Bytes],
    /// Where the first piece is read on.
    at: usize,
    left: usize,
}

impl<'a> Cursor<'a> {
    fn new(pieces: &'a [Bytes]) -> Cursor<'a> {
        Cursor { pieces, at: 0, left: pieces.iter().map(Bytes::len).sum() }
    }

    /// A copy of the next batch's front.
    fn front(&self) -> Option<Front> {
        if self.left < HEADER {
            return None;
        }
        let mut front = [0; HEADER];
        let mut filled = 0;
        Cursor { ..*self }.each(0..HEADER, |part| {
            front[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        });
        Some(front)
    }

    /// Passes a batch of this size, and compares its checksum.
    fn check(&mut self, size: usize) -> Result<(), BatchError> {
        let stored = self.front().map(|front| front::checksum(&front));
        let mut computed = 0;
        self.each(front::CHECKED_FROM..size, |part| computed = crc32c::crc32c_append(computed, part));
        match stored {
            Some(stored) if stored == computed => Ok(()),
            stored => Err(BatchError::Crc { stored: stored.unwrap_or_default(), computed }),
        }
    }

    /// Passes the bytes up to the range's end, and gives those in it.
    fn each(&mut self, range: Range<usize>, mut f: impl FnMut(&[u8])) {
        let mut passed = 0;
        while passed < range.end && self.left > 0 {
            let piece = &self.pieces[0][self.at..];
            let len = piece.len().min(range.end - passed);
            if passed + len > range.start {
                f(&piece[range.start.saturating_sub(passed)..len]);
            }
            (passed, self.at, self.left) = (passed + len, self.at + len, self.left - len);
            if self.at == self.pieces[0].len() {
                (self.pieces, self.at) = (&self.pieces[1..], 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::{self, OffsetEntry, SegmentIndex};
    use crate::log::segment::BatchPlace;
    use crate::wire::batch::{Batch, BatchBuilder, BatchMut, batches};

    const BASE: i64 = 1000;
    const EPOCH: Range<usize> = 12..16;

    struct Segment {
        bytes: Vec<u8>,
        entries: Vec<OffsetEntry>,
        extent: Extent,
    }

    impl Segment {
        /// Batches of so many records, each that many offsets behind the one before.
        fn new(batches: &[(usize, i64)]) -> Segment {
            let (mut bytes, mut index, mut next) = (Vec::new(), SegmentIndex::default(), BASE);
            for (i, (records, gap)) in batches.iter().enumerate() {
                let mut builder = BatchBuilder::new();
                for record in 0..*records {
                    builder.append(5, Some(b"key"), Some(format!("value {i} {record}").as_bytes()), &[]);
                }
                let mut batch = builder.build().unwrap();
                let mut set = BatchMut::first(&mut batch).unwrap();
                set.set_base_offset(next + gap);
                set.set_leader_epoch(if i < 3 { 4 } else { 5 });
                let header = set.view().header();
                let place = BatchPlace::new(&header, bytes.len() as u64, batch.len() as u64);
                index.on_batch(BASE, &place, 200);
                (bytes, next) = ([bytes, batch].concat(), place.last_offset + 1);
            }
            let extent = Extent { end: bytes.len() as u64, end_offset: next, max_epoch: 5 };
            Segment { bytes, entries: index.into_offsets(), extent }
        }

        /// What a reader gets from `offset` on, in pieces as from windows.
        fn read(&self, offset: i64, max_bytes: u64) -> Result<Vec<u8>, Rot> {
            let mut walk = Walk::new(&index::landing(&self.entries, BASE, offset), self.extent);
            let pieces = |range: Range<usize>| -> Vec<Bytes> {
                self.bytes[range].chunks(97).map(Bytes::copy_from_slice).collect()
            };
            loop {
                let at = walk.position() as usize;
                if at + HEADER > self.bytes.len() {
                    return walk.end().map(|()| Vec::new());
                }
                let (header, size) = walk.peek(&self.bytes[at..])?;
                if header.base_offset.saturating_add(header.last_offset_delta.into()) < offset {
                    walk.skip(&header, &pieces(at..at + size as usize))?;
                    continue;
                }
                let to = (at + size.max(max_bytes) as usize + HEADER).min(self.bytes.len());
                let stands = walk.take(&pieces(at..to), self.extent.end_offset, max_bytes);
                return match stands.rot.filter(|_| stands.len == 0) {
                    Some(rot) => Err(rot),
                    None => Ok(self.bytes[at..at + stands.len].to_vec()),
                };
            }
        }

        fn offsets(&self) -> Range<i64> {
            BASE..self.extent.end_offset
        }
    }

    #[test]
    fn what_is_whole_is_read_in_whole_batches() {
        let segment = Segment::new(&[(3, 0), (1, 0), (9, 0), (2, 0), (4, 0), (1, 0)]);
        assert!(segment.entries.len() > 1);
        for offset in segment.offsets() {
            for max_bytes in [1, 150, 400, 10_000] {
                let read = segment.read(offset, max_bytes).unwrap();
                let found: Vec<_> = batches(&read).map(Result::unwrap).collect();
                assert!(found[0].base_offset() <= offset && offset <= found[0].last_offset());
                assert!(read.len() as u64 <= max_bytes || found.len() == 1);
            }
        }
        let with_gaps = Segment::new(&[(3, 2), (1, 0), (9, 7), (2, 0), (4, 100), (1, 0)]);
        for offset in with_gaps.offsets() {
            let read = with_gaps.read(offset, 1).unwrap();
            assert!(Batch::first(&read).unwrap().last_offset() >= offset);
        }
    }

    /// Each bit of a segment, read from each offset: nothing that differs is given, and nothing is passed over.
    #[test]
    fn a_bit_that_flips_is_found_by_who_reads_it() {
        let whole = Segment::new(&[(3, 0), (1, 0), (9, 0), (2, 0), (4, 0), (1, 0)]);
        let starts: Vec<usize> = batches(&whole.bytes)
            .map(|batch| batch.unwrap().bytes().as_ptr() as usize - whole.bytes.as_ptr() as usize)
            .collect();
        let first_of_last = *starts.last().unwrap();
        for at in 0..whole.bytes.len() {
            let start = *starts.iter().rfind(|start| **start <= at).unwrap();
            let in_batch = at - start;
            for bit in 0..8 {
                let mut rotten =
                    Segment { bytes: whole.bytes.clone(), entries: whole.entries.clone(), ..whole };
                rotten.bytes[at] ^= 1 << bit;
                let mut found = false;
                for offset in whole.offsets() {
                    for max_bytes in [1, 400, 10_000] {
                        let what =
                            format!("bit {bit} of byte {in_batch} of the batch at {start}, offset {offset}");
                        let Ok(read) = rotten.read(offset, max_bytes) else {
                            found = true;
                            continue;
                        };
                        let right = whole.read(offset, max_bytes).unwrap();
                        // An epoch that is neither too high nor too low cannot be told.
                        let may_differ =
                            EPOCH.contains(&in_batch) && rotten.bytes[start..][EPOCH][..3] == [0; 3];
                        if !may_differ {
                            assert!(right.starts_with(&read) && !read.is_empty(), "{what}");
                        }
                    }
                }
                let certain = !EPOCH.contains(&in_batch) || bit == 7 || in_batch < EPOCH.end - 1;
                assert!(
                    found || !certain,
                    "bit {bit} of byte {in_batch} of the batch at {start} is not found"
                );
                if in_batch >= HEADER && start != first_of_last {
                    rotten.read(whole.offsets().end - 1, 1).expect("what lies behind is served");
                }
            }
        }
    }
}
