//! How a segment's file grows ahead of need, and which flush makes a write durable.
//!
//! # Why one flush is enough, and when
//!
//! `fdatasync` does two things: it commits the file's own metadata where that has changed (its size, and which
//! blocks belong to it), and it tells the device to empty its write cache. The second does not know files: it
//! makes every write durable that the device had *completed* before. So where a direct write lands in blocks
//! whose metadata is durable already, the emptying of the cache is all it needs, and one `fdatasync` of any
//! file of that device gives it to all such writes of a round at once. That is what [`Durability::Device`]
//! means, and these conditions are what it rests on:
//!
//! 1. The file's size covered the write, and that size was durable, before the write was submitted.
//! 2. The blocks were *written* extents (not holes, not fallocated and never written) and that was durable.
//!    Both hold because [`Growth`] counts as prepared only what was written with zeros and then flushed through
//!    the file itself, and that flush had finished.
//! 3. The write's completion was *seen* before the flush was submitted. The shard's rounds see to it.
//! 4. The file system overwrites in place and keeps its own journal on the same device: ext4 or XFS without the
//!    options that `Disk::examine` refuses. Elsewhere [`Durability::File`] is used throughout.
//! 5. Nobody else truncates, clones or punches holes into a live segment.
//!
//! Every other write, into blocks that are merely allocated or past the file's end, is [`Durability::File`]: it
//! is durable after an `fdatasync` of its own file, which commits size and extents too.
//!
//! # Which to use when
//!
//! Zeros first cost every byte twice, but spare each small append the file system's journal. So a partition of
//! small appends is prepared with zeros, in steps that follow its rate; one that streams gets allocated blocks,
//! whole megabytes at a time, and a flush of its own file per round, which is then a small part of the work.

use std::ops::Range;

use crate::limits::BLOCK;

const BLOCK64: u64 = BLOCK as u64;
/// The largest step of zeros, whatever the largest step is.
const STEP_ZEROS: u64 = 4 << 20;
/// A partition that appends more than this between two looks at it, one look a second, streams.
pub const STREAMING_RATE: u64 = 2 << 20;

/// Which flush makes a write durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A flush of any file of the device: size and extents are durable already.
    Device,
    /// A flush of the file itself.
    File,
}

/// How to grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write zeros over the range, then flush the file.
    Zeros(Range<u64>),
    /// Allocate the range, then flush the file.
    Allocate(Range<u64>),
}

impl Step {
    /// The range that the step covers.
    pub fn range(&self) -> &Range<u64> {
        match self {
            Step::Zeros(range) | Step::Allocate(range) => range,
        }
    }
}

/// The steps in which files grow, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first and smallest.
    pub least: u64,
    /// The largest. Of zeros it is never more than 4 MiB.
    pub most: u64,
}

impl Default for Steps {
    fn default() -> Steps {
        Steps { least: 64 << 10, most: 64 << 20 }
    }
}

/// What is known of the blocks of one segment's file.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// Whether the device's flush may be shared at all.
    one_flush: bool,
    /// Blocks that were written and whose metadata is durable.
    prepared: Range<u64>,
    /// The file's blocks reach to here, written or merely allocated.
    allocated: u64,
    /// The step under way. No write may touch it.
    under_way: Option<Step>,
    /// The size the segment will have at most.
    limit: u64,
}

impl Growth {
    /// For a file whose blocks reach to `size`. `limit` is the segment's size.
    pub fn new(one_flush: bool, size: u64, limit: u64) -> Growth {
        let size = size.next_multiple_of(BLOCK64);
        Growth { one_flush, prepared: size..size, allocated: size, under_way: None, limit }
    }

    /// Which flush a write of this range needs, or none while a step that it touches is under way.
    pub fn durability(&self, write: &Range<u64>) -> Option<Durability> {
        if self.under_way.as_ref().is_some_and(|step| overlap(step.range(), write)) {
            return None;
        }
        let prepared = self.prepared.start <= write.start && write.end <= self.prepared.end;
        Some(if prepared { Durability::Device } else { Durability::File })
    }

    /// The next step to take, if there is need of one: `end` is where the log ends in the file, `rate` how much
    /// was appended in the last second. The step counts as under way from here on.
    pub fn plan(&mut self, end: u64, rate: u64, steps: Steps) -> Option<Step> {
        if self.under_way.is_some() {
            return None;
        }
        let streams = !self.one_flush || rate >= STREAMING_RATE;
        let ahead = if streams {
            (rate * 2).clamp(steps.least, steps.most)
        } else {
            rate.clamp(steps.least, steps.most.min(STEP_ZEROS).max(steps.least))
        };
        let covered = if streams { self.allocated } else { self.prepared.end };
        if covered >= end + ahead / 2 || end >= self.limit {
            return None;
        }
        // A step begins behind everything that was appended, so that no write can be under way in it.
        let from = covered.max(end.next_multiple_of(BLOCK64));
        let to = (from + ahead).next_multiple_of(BLOCK64).min(self.limit.next_multiple_of(BLOCK64));
        if to <= from {
            return None;
        }
        let step = if streams { Step::Allocate(from..to) } else { Step::Zeros(from..to) };
        self.under_way = Some(step.clone());
        Some(step)
    }

    /// The step has been taken and its flush has finished.
    pub fn finished(&mut self) {
        let Some(step) = self.under_way.take() else { return };
        let range = step.range().clone();
        self.allocated = self.allocated.max(range.end);
        if matches!(step, Step::Zeros(_)) {
            let start = if range.start == self.prepared.end { self.prepared.start } else { range.start };
            self.prepared = start..range.end;
        }
    }

    /// The step was given up (a full disk): nothing is prepared, and writes go on without.
    pub fn abandoned(&mut self) {
        self.under_way = None;
    }

    /// Whether a step is under way.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps { least: 64 << 10, most: 64 << 20 };
    const STEP_MIN: u64 = STEPS.least;

    #[test]
    fn only_what_was_zeroed_and_flushed_shares_the_flush() {
        let mut growth = Growth::new(true, 0, 1 << 30);
        assert_eq!(growth.durability(&(0..4096)), Some(Durability::File));
        let step = growth.plan(0, 0, STEPS).unwrap();
        assert_eq!(step, Step::Zeros(0..STEP_MIN));
        assert_eq!(growth.durability(&(0..4096)), None, "no write goes where a step is under way");
        growth.finished();
        assert_eq!(growth.durability(&(0..4096)), Some(Durability::Device));
        assert_eq!(growth.durability(&(STEP_MIN - 4096..STEP_MIN + 4096)), Some(Durability::File));
        assert_eq!(growth.plan(4096, 0, STEPS), None, "far enough ahead");
        let next = growth.plan(STEP_MIN - 5000, 0, STEPS).unwrap();
        assert_eq!(next, Step::Zeros(STEP_MIN..2 * STEP_MIN));
        growth.finished();
        assert_eq!(growth.durability(&(0..2 * STEP_MIN)), Some(Durability::Device), "runs join");
    }

    #[test]
    fn a_stream_gets_allocated_blocks_and_its_own_flush() {
        let mut growth = Growth::new(true, 0, 1 << 30);
        let step = growth.plan(1 << 20, 50 << 20, STEPS).unwrap();
        assert!(matches!(step, Step::Allocate(_)));
        growth.finished();
        assert_eq!(growth.durability(&((1 << 20)..(2 << 20))), Some(Durability::File));
        let mut elsewhere = Growth::new(false, 0, 1 << 30);
        assert!(matches!(elsewhere.plan(0, 0, STEPS), Some(Step::Allocate(_))));
    }

    #[test]
    fn an_abandoned_step_prepares_nothing() {
        let mut growth = Growth::new(true, 0, 1 << 30);
        growth.plan(0, 0, STEPS).unwrap();
        growth.abandoned();
        assert_eq!(growth.durability(&(0..4096)), Some(Durability::File));
        assert!(growth.plan(0, 0, STEPS).is_some());
    }

    #[test]
    fn a_segment_is_not_prepared_past_its_size() {
        let mut growth = Growth::new(true, 0, 10_000);
        assert_eq!(growth.plan(0, 0, STEPS), Some(Step::Zeros(0..12288)));
        growth.finished();
        assert_eq!(growth.plan(9000, 0, STEPS), None);
    }

    #[test]
    fn a_profile_chooses_the_steps() {
        let planned = |rate, least, most| {
            let step = Growth::new(true, 0, 1 << 40).plan(0, rate, Steps { least, most }).unwrap();
            (matches!(step, Step::Zeros(_)), step.range().end)
        };
        assert_eq!(planned(0, 16 << 10, 1 << 20), (true, 16 << 10));
        assert_eq!(planned(STREAMING_RATE - 1, 16 << 10, 1 << 20), (true, 1 << 20));
        assert_eq!(planned(1 << 30, 16 << 10, 1 << 20), (false, 1 << 20));
        assert_eq!(planned(0, 8 << 20, 64 << 20), (true, 8 << 20), "the least goes before the most of zeros");
    }
}
