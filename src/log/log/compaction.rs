//! What compaction asks of a log, and does to it.

use super::{Log, Segment};
use crate::log::compact::Plan;
use crate::log::compact::plan::{Candidate, SegmentBounds};

/// What must be read of a segment before it is known whether a log is to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The timestamp of its first batch.
    FirstTimestamp(i64),
    /// Its largest timestamp.
    MaxTimestamp(i64),
}

impl Log {
    /// Below this offset the log was compacted.
    pub fn first_dirty(&self) -> i64 {
        self.first_dirty
    }

    /// How far it was compacted, if it is and was.
    pub fn cleaned(&self) -> Option<i64> {
        let was = self.config.compaction.is_some() && self.first_dirty > 0;
        was.then_some(self.first_dirty)
    }

    /// Notes how far the log was compacted.
    pub fn cleaned_up_to(&mut self, offset: i64) {
        self.first_dirty = offset;
    }

    /// Whether and how the log is to be compacted, where no transaction is open below `last_stable_offset`. `Err` names
    /// what must be learnt of a segment first.
    pub fn cleaning_plan(&self, now_ms: i64, last_stable_offset: i64) -> Result<Option<Plan>, Unknown> {
        let Some(rules) = &self.config.compaction else { return Ok(None) };
        let ends = self.segments.keys().skip(1);
        let mut candidates = Vec::new();
        for (segment, end_offset) in self.segments.values().zip(ends) {
            if !segment.is_finished() || *end_offset > last_stable_offset {
                break;
            }
            let base_offset = segment.base_offset;
            let needs_first = rules.max_lag_ms < i64::MAX && *end_offset > self.first_dirty;
            let first = match segment.rolls_from {
                None if needs_first && segment.size > 0 => return Err(Unknown::FirstTimestamp(base_offset)),
                first => first.unwrap_or(-1),
            };
            let latest = match segment.max_timestamp() {
                None if rules.min_lag_ms > 0 => return Err(Unknown::MaxTimestamp(base_offset)),
                latest => latest.unwrap_or(-1),
            };
            let (end_offset, size) = (*end_offset, segment.size);
            candidates.push(Candidate { base_offset, end_offset, size, times: (first, latest) });
        }
        let bounds = SegmentBounds {
            bytes: self.config.segment_bytes,
            index_bytes: self.config.segment_index_bytes,
            index_interval_bytes: self.config.index_interval_bytes,
        };
        Ok(rules.plan(&candidates, self.first_dirty, now_ms, bounds))
    }

    /// Remembers what the file told.
    pub fn learn_first_timestamp(&mut self, segment: i64, timestamp: i64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.rolls_from = Some(timestamp);
        }
    }

    /// One segment, at the first of these base offsets, has taken the place of all of them.
    pub fn exchange(&mut self, bases: &[i64], size: u64, max_timestamp: i64) {
        let first = bases[0];
        for base in bases {
            let segment = self.segments.remove(base).expect("what was compacted is still there");
            assert!(segment.is_finished(), "only finished segments are compacted");
            if *base == first {
                let rolls_from = segment.rolls_from;
                let max_timestamp = Some(max_timestamp);
                let segment = Segment { max_timestamp, rolls_from, ..Segment::finished(first, size) };
                self.segments.insert(first, Box::new(segment));
            }
        }
    }
}
