//! One partition's log: its segments, where it ends, what of it is durable.
//!
//! Pure: it says what to write, what became stable, where to read and what to delete; the shard does it. A
//! record's way: [`Log::append`] puts it behind the end; [`Log::begin_round`] hands out what is to be written;
//! when that is written and flushed, [`Log::advance_stable`] moves the stable offset. Consumers are served
//! nothing past it.

mod compaction;

use std::collections::BTreeMap;
use std::ops::Range;

pub use compaction::Unknown;

use super::compact::Compaction;
use super::epochs::Epochs;
use super::index::{Landing, SegmentIndex};
use super::segment::BatchPlace;
use super::tail::{Tail, Write};
use super::walk::Extent;
use crate::limits::BLOCK;
use crate::reactor::{Chunk, ChunkSlice};
use crate::wire::batch::front::{self, Front};
use crate::wire::batch::{BatchHeader, HEADER};

/// What of a topic's configuration the log goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`
    pub segment_bytes: u64,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `index.interval.bytes`
    pub index_interval_bytes: u64,
    /// `segment.index.bytes`
    pub segment_index_bytes: usize,
    /// `retention.ms`, -1 for none
    pub retention_ms: i64,
    /// `retention.bytes`, -1 for none
    pub retention_bytes: i64,
    /// Whether `cleanup.policy` has `delete` in it.
    pub delete: bool,
    /// `file.delete.delay.ms`
    pub delete_delay_ms: u64,
    /// How it is compacted, where `cleanup.policy` has `compact` in it.
    pub compaction: Option<Compaction>,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            retention_ms: 7 * 24 * 3600 * 1000,
            retention_bytes: -1,
            delete: true,
            delete_delay_ms: 60_000,
            compaction: None,
        }
    }
}

/// One segment.
pub struct Segment {
    /// The offset of its first record, or of the first that may come.
    pub base_offset: i64,
    /// Bytes of batches in its file.
    size: u64,
    /// Up to here the file is durable.
    stable: u64,
    /// The end in memory, and what is cached; none once all of it was let go.
    tail: Option<Tail>,
    /// From here on memory holds what was written or was checked when it was read; before, the block that recovery
    /// goes on with holds what it did not look at.
    memory_from: u64,
    /// The index, while the segment is not finished.
    index: Option<SegmentIndex>,
    /// The largest timestamp, once it is known; the index of a finished segment is read for it when needed.
    max_timestamp: Option<i64>,
    /// The timestamp by which `segment.ms` is counted: the first batch's, or the wall clock's where it has none.
    rolls_from: Option<i64>,
    created_ms: i64,
}

impl Segment {
    /// A segment whose file and indexes are complete and durable.
    pub fn finished(base_offset: i64, size: u64) -> Segment {
        Segment {
            base_offset,
            size,
            stable: size,
            tail: None,
            memory_from: 0,
            index: None,
            max_timestamp: None,
            rolls_from: None,
            created_ms: 0,
        }
    }

    /// A segment to append to, as recovery left it.
    pub fn active(base_offset: i64, tail: Tail, index: SegmentIndex, now_ms: i64) -> Segment {
        let size = tail.end();
        let rolls_from = (index.max_timestamp() >= 0).then(|| index.max_timestamp());
        Segment {
            base_offset,
            size,
            stable: size,
            tail: Some(tail),
            memory_from: index.last_position(),
            index: Some(index),
            max_timestamp: None,
            rolls_from,
            created_ms: now_ms,
        }
    }

    /// A segment that gets no more records, whose indexes are still to be written.
    pub fn scanned(base_offset: i64, size: u64, index: SegmentIndex) -> Segment {
        Segment { index: Some(index), ..Segment::finished(base_offset, size) }
    }

    /// Bytes of batches in its file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to here the file is durable.
    pub fn stable_size(&self) -> u64 {
        self.stable
    }

    /// Whether its indexes are on disk.
    pub fn is_finished(&self) -> bool {
        self.index.is_none()
    }

    /// The largest timestamp in it, -1 for an empty one; none where the index file must be read for it.
    pub fn max_timestamp(&self) -> Option<i64> {
        self.index.as_ref().map(SegmentIndex::max_timestamp).or(self.max_timestamp)
    }
}

/// Up to where a round reaches: what is stable when it has been flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The base offset of the segment.
    pub segment: i64,
    /// The position in it.
    pub position: u64,
    /// The offset of the next record.
    pub offset: i64,
}

/// Writes of one round, with the base offset of the segment that each belongs to.
pub struct RoundPart {
    /// What to write.
    pub writes: Vec<(i64, Write)>,
    /// What is stable when all of it is durable.
    pub target: Target,
}

/// Where the records from an offset on are.
#[derive(Debug)]
pub enum ReadPlan {
    /// The offset is past the log's end or before its start.
    OutOfRange,
    /// The offset is the limit or lies behind it: nothing to give yet.
    AtEnd,
    /// In memory; the slices begin with the batch that holds the offset.
    Memory(Vec<ChunkSlice>),
    /// In the segment's file: look there for the first batch that ends at or after the offset.
    File(FilePlan),
}

/// Where in a segment's file the records from an offset on are.
#[derive(Clone, Copy, Debug)]
pub struct FilePlan {
    /// The segment's base offset.
    pub segment: i64,
    /// Where to begin; none where the index is on disk too, and is to be asked.
    pub landing: Option<Landing>,
    /// What is known of the segment.
    pub extent: Extent,
    /// Batches from this offset on are not to be given.
    pub limit: i64,
}

/// One partition's log.
pub struct Log {
    /// Boxed: most logs have one segment, and a node of the map has room for eleven.
    segments: BTreeMap<i64, Box<Segment>>,
    start_offset: i64,
    next_offset: i64,
    stable_offset: i64,
    epochs: Epochs,
    config: LogConfig,
    /// Below this offset it was compacted.
    first_dirty: i64,
    changed: bool,
}

impl Log {
    /// A log of these segments, of which the last is to be appended to.
    pub fn new(
        segments: Vec<Segment>,
        start_offset: i64,
        next_offset: i64,
        epochs: Epochs,
        config: LogConfig,
    ) -> Log {
        let segments: BTreeMap<_, _> = segments.into_iter().map(|s| (s.base_offset, Box::new(s))).collect();
        let last = segments.values().next_back().expect("a log has a segment");
        assert!(last.tail.is_some() && last.index.is_some(), "the last segment is to be appended to");
        assert!(last.base_offset <= next_offset && start_offset <= next_offset);
        let (stable_offset, first_dirty) = (next_offset, start_offset);
        let mut epochs = epochs;
        epochs.forget_before(start_offset);
        let changed = false;
        Log { segments, start_offset, next_offset, stable_offset, epochs, config, first_dirty, changed }
    }

    /// Whether anything was appended or rolled since it was opened.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// The first offset that consumers may read.
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Below this offset everything is durable.
    pub fn stable_offset(&self) -> i64 {
        self.stable_offset
    }

    /// Leader epochs and where they begin.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The configuration it goes by.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Goes by another configuration from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.values().map(Box::as_ref)
    }

    /// The segment of this base offset.
    pub fn segment(&self, base_offset: i64) -> Option<&Segment> {
        self.segments.get(&base_offset).map(Box::as_ref)
    }

    /// The offset at which a segment ends: where the next begins, or the log's end.
    pub fn end_of(&self, base_offset: i64) -> i64 {
        let behind = self.segments.range(base_offset + 1..).next();
        behind.map_or(self.next_offset, |(base, _)| *base)
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments().map(Segment::size).sum()
    }

    /// The segment that is appended to.
    pub fn active(&self) -> &Segment {
        self.segments.values().next_back().expect("a log has a segment")
    }

    fn active_tail(&self) -> &Tail {
        self.active().tail.as_ref().expect("the active segment has its tail")
    }

    /// The size of a chunk to hand to [`Log::append`] for a batch of `len` bytes, or none if there is room.
    pub fn needs_chunk(&self, len: usize, rate: u64) -> Option<usize> {
        self.active_tail().needs_chunk(len, rate)
    }

    /// Whether a new segment must begin before this batch is appended.
    pub fn must_roll(&self, header: &BatchHeader, len: u64, now_ms: i64) -> bool {
        let active = self.active();
        if active.size == 0 {
            return false;
        }
        let index = active.index.as_ref().expect("the active segment has its index");
        let waited = match active.rolls_from {
            Some(from) if header.max_timestamp >= 0 => header.max_timestamp - from,
            _ => now_ms - active.created_ms,
        };
        let last = self.next_offset + i64::from(header.last_offset_delta);
        active.size + len > self.config.segment_bytes
            || waited > self.config.segment_ms
            || index.is_full(self.config.segment_index_bytes)
            || last - active.base_offset > i64::from(i32::MAX)
    }

    /// Begins a new segment at the log's end.
    pub fn roll(&mut self, now_ms: i64) -> i64 {
        let base = self.next_offset;
        assert!(self.active().base_offset < base, "an empty segment is not rolled");
        self.changed = true;
        let segment = Segment::active(base, Tail::new(0, None), SegmentIndex::default(), now_ms);
        self.segments.insert(base, Box::new(segment));
        base
    }

    /// Appends a batch that was admitted, giving it the next offsets and this leader epoch. The batch comes as
    /// its header's bytes and the rest; the base offset and the epoch in it are overwritten, which lie outside
    /// its checksum.
    pub fn append(
        &mut self,
        header: &BatchHeader,
        (mut front, body): (Front, &[u8]),
        epoch: i32,
        chunk: Option<Chunk>,
    ) -> BatchPlace {
        let base_offset = self.next_offset;
        self.changed = true;
        let active = self.segments.values_mut().next_back().expect("a log has a segment");
        let place = BatchPlace {
            base_offset,
            last_offset: base_offset + i64::from(header.last_offset_delta),
            position: active.size,
            size: (HEADER + body.len()) as u64,
            max_timestamp: header.max_timestamp,
            leader_epoch: epoch,
        };
        front::place(&mut front, base_offset, epoch);
        let tail = active.tail.as_mut().expect("the active segment has its tail");
        tail.push(&[&front, body], chunk);
        let index = active.index.as_mut().expect("the active segment has its index");
        index.on_batch(active.base_offset, &place, self.config.index_interval_bytes);
        active.size += place.size;
        if active.rolls_from.is_none() && header.max_timestamp >= 0 {
            active.rolls_from = Some(header.max_timestamp);
        }
        assert_eq!(active.size, tail.end());
        self.epochs.begin(epoch, base_offset);
        self.next_offset = place.last_offset + 1;
        place
    }

    /// All that was appended since the last round, or none if nothing was. The next round begins only when the
    /// writes of this one have finished.
    pub fn begin_round(&mut self) -> Option<RoundPart> {
        let mut writes = Vec::new();
        for segment in self.segments.values_mut().rev().take_while(|segment| !segment.is_finished()) {
            let Some(tail) = segment.tail.as_mut().filter(|tail| tail.is_dirty()) else { continue };
            writes.extend(tail.take_writes().into_iter().map(|write| (segment.base_offset, write)));
        }
        let active = self.active();
        let target = Target { segment: active.base_offset, position: active.size, offset: self.next_offset };
        (!writes.is_empty()).then_some(RoundPart { writes, target })
    }

    /// Whether something was appended that no round has taken.
    pub fn is_dirty(&self) -> bool {
        let unfinished = self.segments.values().rev().take_while(|segment| !segment.is_finished());
        unfinished.filter_map(|segment| segment.tail.as_ref()).any(Tail::is_dirty)
    }

    /// Everything up to `target` is durable. Says how many bytes became so.
    pub fn advance_stable(&mut self, target: Target) -> u64 {
        assert!(self.stable_offset <= target.offset && target.offset <= self.next_offset);
        self.stable_offset = target.offset;
        let mut grown = 0;
        for segment in self.segments.range_mut(..=target.segment).rev().map(|(_, s)| s) {
            let position = if segment.base_offset == target.segment { target.position } else { segment.size };
            assert!(
                segment.stable <= position && position <= segment.size,
                "stable only grows, up to the end"
            );
            if segment.base_offset != target.segment && segment.stable == position {
                break;
            }
            grown += position - segment.stable;
            segment.stable = position;
        }
        grown
    }

    /// Segments that get no more records, are durable to their end, and have no index on disk yet.
    pub fn to_finish(&self) -> Vec<i64> {
        let active = self.active().base_offset;
        let ripe = |s: &&Segment| s.base_offset < active && !s.is_finished() && s.stable == s.size;
        self.segments().filter(ripe).map(|s| s.base_offset).collect()
    }

    /// All segments that have no index on disk, the active one too: what a clean stop has to finish.
    pub fn unfinished(&self) -> Vec<i64> {
        self.segments.values().filter(|s| !s.is_finished()).map(|s| s.base_offset).collect()
    }

    /// The index files of a segment, for its end: offset index and time index.
    pub fn index_files(&self, base_offset: i64) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut index = self.segments.get(&base_offset)?.index.clone()?;
        Some((index.offset_file(), index.time_file()))
    }

    /// The segment's file has its true size and its indexes are on disk: they need not be kept in memory.
    pub fn finished(&mut self, base_offset: i64) {
        if let Some(segment) = self.segments.get_mut(&base_offset) {
            segment.max_timestamp = segment.max_timestamp();
            segment.index = None;
            segment.tail = None;
        }
    }

    /// Where the records from `offset` on are, no further than `limit` (which is stable), about `max_bytes` of
    /// them and at least one batch.
    pub fn read_plan(&self, offset: i64, limit: i64, max_bytes: u64) -> ReadPlan {
        assert!(limit <= self.stable_offset, "nothing is served that is not stable");
        if offset < self.start_offset || offset > self.next_offset {
            return ReadPlan::OutOfRange;
        }
        if offset >= limit {
            return ReadPlan::AtEnd;
        }
        let (_, segment) =
            self.segments.range(..=offset).next_back().expect("the start offset lies in a segment");
        let base = segment.base_offset;
        let landing = segment.index.as_ref().map(|index| index.landing(base, offset));
        if let (Some(tail), Some(Landing { position, .. })) = (&segment.tail, landing)
            && tail.start().max(segment.memory_from) <= position
        {
            // Nothing is given from the limit on, though it is stable.
            let end = match &segment.index {
                Some(index) if limit < self.end_of(base).min(self.stable_offset) => position_of(
                    tail,
                    index.landing(base, limit).position.max(position)..segment.stable,
                    limit,
                ),
                _ => segment.stable,
            };
            return match read_memory(tail, position..end, offset, limit, max_bytes) {
                Some(slices) => ReadPlan::Memory(slices),
                None => ReadPlan::AtEnd,
            };
        }
        ReadPlan::File(FilePlan { segment: base, landing, extent: self.extent(segment), limit })
    }

    /// What is known of the stable part of a segment's file.
    fn extent(&self, segment: &Segment) -> Extent {
        // Where the epochs of all its batches are not known, neither is the latest.
        let known = self.epochs.at(segment.base_offset.max(self.start_offset));
        Extent {
            end: segment.stable,
            end_offset: self.end_of(segment.base_offset).min(self.stable_offset),
            max_epoch: known.and(self.epochs.latest()).unwrap_or(i32::MAX),
        }
    }

    /// Where this segment's index says to look for an offset; none where the index is on disk only.
    pub fn landing(&self, segment: i64, offset: i64) -> Option<Landing> {
        let segment = self.segments.get(&segment)?;
        Some(segment.index.as_ref()?.landing(segment.base_offset, offset))
    }

    /// A segment was read up to a position, and this is its index up to there: the index in memory, which a clean stop
    /// had left, does not fit. Says whether there is one in memory.
    pub fn mend_index(&mut self, segment: i64, read: &SegmentIndex, end: u64) -> bool {
        let index = self.segments.get_mut(&segment).and_then(|segment| segment.index.as_mut());
        let Some(index) = index else { return false };
        index.mend(read, end);
        // The one on disk must not be taken for good again.
        self.changed = true;
        true
    }

    /// Where to look for a record of `timestamp` or later in this segment.
    pub fn landing_for_time(&self, segment: i64, timestamp: i64) -> Option<Landing> {
        let segment = self.segments.get(&segment)?;
        Some(segment.index.as_ref()?.landing_for_time(segment.base_offset, timestamp))
    }

    /// What may be read of the file of this segment.
    pub fn readable(&self, segment: i64) -> Option<Extent> {
        self.segments.get(&segment).map(|segment| self.extent(segment))
    }

    /// Remembers what an index file told.
    pub fn learn_max_timestamp(&mut self, segment: i64, timestamp: i64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.max_timestamp = Some(timestamp);
        }
    }

    /// Whether the active segment is due to roll by time alone, so that retention can reach it.
    pub fn is_overdue(&self, now_ms: i64) -> bool {
        let active = self.active();
        let oldest = active.rolls_from.unwrap_or(active.created_ms);
        let expired = self.config.delete
            && self.config.retention_ms >= 0
            && active
                .max_timestamp()
                .is_some_and(|latest| latest >= 0 && now_ms - latest > self.config.retention_ms);
        active.size > 0
            && active.stable == active.size
            && (self.config.delete || self.config.compaction.is_some())
            && (expired || now_ms - oldest > self.config.segment_ms)
    }

    /// The log starts at this offset from now on, if it has not yet come so far. What lies before is not served any
    /// more, and retention removes it. It must be known on the disk before.
    pub fn start_at(&mut self, offset: i64) {
        assert!(offset <= self.stable_offset, "nothing is deleted that is not stable");
        self.start_offset = self.start_offset.max(offset);
        self.epochs.forget_before(self.start_offset);
    }

    /// Where the log starts, if that is not where its first segment does: then the files alone do not tell.
    pub fn start_within(&self) -> Option<i64> {
        let first = *self.segments.keys().next().expect("a log has a segment");
        (self.start_offset > first).then_some(self.start_offset)
    }

    /// The oldest segments that retention gives up: those that lie before the log's start, and, where
    /// `cleanup.policy` has `delete` in it, those that it gives up by size and by time. `Err` names the segment whose largest
    /// timestamp must be learnt first.
    pub fn expired(&self, now_ms: i64) -> Result<Vec<i64>, i64> {
        let mut expired = Vec::new();
        let active = self.active().base_offset;
        let mut size = self.size();
        // Oldest first and without a gap: one that is not finished yet holds back those behind it.
        for segment in self.segments.values().take_while(|s| s.base_offset < active && s.is_finished()) {
            if self.end_of(segment.base_offset) <= self.start_offset {
                size -= segment.size;
                expired.push(segment.base_offset);
                continue;
            }
            if !self.config.delete {
                break;
            }
            let too_much =
                self.config.retention_bytes >= 0 && size - segment.size >= self.config.retention_bytes as u64;
            let too_old = self.config.retention_ms >= 0 && {
                let latest = segment.max_timestamp().ok_or(segment.base_offset)?;
                latest >= 0 && now_ms - latest > self.config.retention_ms
            };
            if !too_much && !too_old {
                break;
            }
            size -= segment.size;
            expired.push(segment.base_offset);
        }
        Ok(expired)
    }

    /// Forgets segments, the oldest ones; the log then starts at the next.
    pub fn drop_segments(&mut self, bases: &[i64]) {
        for base in bases {
            assert!(*base < self.active().base_offset, "the active segment stays");
            self.segments.remove(base);
        }
        let first = *self.segments.keys().next().expect("a log has a segment");
        self.start_offset = self.start_offset.max(first);
        self.epochs.forget_before(self.start_offset);
    }

    /// Lets go of the oldest cached bytes; says how many, none if nothing can be let go.
    pub fn forget_oldest(&mut self) -> Option<usize> {
        self.segments.values_mut().find_map(|segment| segment.tail.as_mut()?.forget_oldest(segment.stable))
    }

    /// The log's end as a clean stop leaves it: the file's size and the index files of the active segment.
    pub fn clean_end(&self) -> Target {
        let active = self.active();
        Target { segment: active.base_offset, position: active.size, offset: self.next_offset }
    }

    /// The positions of the active segment from which on and up to which its bytes lie in memory.
    pub fn in_memory(&self) -> Range<u64> {
        let active = self.active();
        active.tail.as_ref().map_or(active.size, Tail::start)..active.size
    }

    /// Where the active segment ends, and its base offset.
    pub fn active_end(&self) -> (i64, u64) {
        (self.active().base_offset, self.active().size)
    }

    /// Where the next round's writes go: segments and ranges of whole blocks.
    pub fn dirty_ranges(&self) -> impl Iterator<Item = (i64, Range<u64>)> {
        let unfinished = self.segments.values().rev().take_while(|segment| !segment.is_finished());
        unfinished.filter_map(|segment| {
            let tail = segment.tail.as_ref().filter(|tail| tail.is_dirty())?;
            Some((segment.base_offset, tail.write_from()..tail.end().next_multiple_of(BLOCK as u64)))
        })
    }
}

/// Where the first batch begins that lies at or behind `limit`, from `range.start` on.
fn position_of(tail: &Tail, range: Range<u64>, limit: i64) -> u64 {
    let mut position = range.start;
    for slice in tail.read(range) {
        let mut rest: &[u8] = &slice;
        while !rest.is_empty() {
            let (header, size) = front::peek(rest).expect("what was appended was a batch");
            if header.base_offset >= limit {
                return position;
            }
            position += size as u64;
            rest = &rest[size..];
        }
    }
    position
}

/// Finds the batch that holds `offset` from `range.start` on, and gives it and what follows as slices.
fn read_memory(
    tail: &Tail,
    range: Range<u64>,
    offset: i64,
    limit: i64,
    max_bytes: u64,
) -> Option<Vec<ChunkSlice>> {
    // A batch is appended as one run, so it lies within one slice.
    let mut position = range.start;
    for slice in tail.read(range.clone()) {
        let mut rest: &[u8] = &slice;
        while !rest.is_empty() {
            let (header, size) = front::peek(rest).expect("what was appended was a batch");
            if header.base_offset + i64::from(header.last_offset_delta) >= offset {
                if header.base_offset >= limit {
                    return None;
                }
                let end = range.end.min(position + max_bytes.max(size as u64));
                return Some(tail.read(position..end));
            }
            position += size as u64;
            rest = &rest[size..];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_before_the_start_is_given_up_whatever_the_policy() {
        for delete in [true, false] {
            let active = Segment::active(30, Tail::new(0, None), SegmentIndex::default(), 0);
            let older = [0, 10, 20].map(|base| Segment::finished(base, 100));
            let config = LogConfig { delete, retention_ms: -1, ..LogConfig::default() };
            let segments = older.into_iter().chain([active]).collect();
            let mut log = Log::new(segments, 0, 35, Epochs::new([(0, 0), (1, 15)]), config);
            assert_eq!((log.expired(0), log.start_within()), (Ok(vec![]), None));
            log.start_at(19);
            assert_eq!((log.expired(0), log.start_within()), (Ok(vec![0]), Some(19)));
            assert_eq!(log.epochs().entries(), [(1, 19)]);
            assert!(matches!(log.read_plan(18, 35, 1), ReadPlan::OutOfRange));
            assert!(matches!(
                log.read_plan(19, 35, 1),
                ReadPlan::File(FilePlan { segment: 10, landing: None, .. })
            ));
            log.start_at(5);
            assert_eq!(log.start_offset(), 19, "the start only grows");
            log.drop_segments(&[0]);
            assert_eq!(log.start_offset(), 19);
            log.start_at(35);
            assert_eq!(log.expired(0), Ok(vec![10, 20]), "the active segment stays");
            log.drop_segments(&[10, 20]);
            assert_eq!((log.start_offset(), log.start_within()), (35, Some(35)));
        }
    }

    #[test]
    fn retention_leaves_no_gap_behind_a_segment_that_is_not_finished() {
        let segments = || {
            let active = Segment::active(30, Tail::new(0, None), SegmentIndex::default(), 0);
            vec![Segment::finished(10, 100), Segment::finished(20, 100), active]
        };
        let config = LogConfig { retention_bytes: 0, retention_ms: -1, ..LogConfig::default() };
        let log = |first| {
            let segments = std::iter::once(first).chain(segments()).collect();
            Log::new(segments, 0, 30, Epochs::default(), config.clone())
        };
        assert_eq!(log(Segment::finished(0, 100)).expired(0), Ok(vec![0, 10, 20]));
        let unfinished = Segment::scanned(0, 100, SegmentIndex::default());
        assert_eq!(log(unfinished).expired(0), Ok(vec![]));
    }
}
