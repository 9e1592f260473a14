//! Which log is to be cleaned, how far, and which of its segments become one.

use std::ops::Range;

use crate::log::index::OFFSET_ENTRY;

/// What of a topic's configuration compaction goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct Compaction {
    /// `min.cleanable.dirty.ratio`
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`
    pub max_lag_ms: i64,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
}

impl Default for Compaction {
    fn default() -> Self {
        Compaction {
            min_dirty_ratio: 0.5,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3600 * 1000,
        }
    }
}

/// What is known of a segment that gets no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its base offset.
    pub base_offset: i64,
    /// The base offset of the one behind it.
    pub end_offset: i64,
    /// Its bytes.
    pub size: u64,
    /// The timestamp of its first batch and the largest of all; -1 where it has none.
    pub times: (i64, i64),
}

/// A log that is worth cleaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What lies below was cleaned before; from here on it is dirty.
    pub dirty: Range<i64>,
    /// The segments, as groups of which each becomes one.
    pub groups: Vec<Vec<i64>>,
    /// How much of what may be cleaned is dirty.
    pub ratio: f64,
}

/// The bounds of a segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentBounds {
    /// `segment.bytes`
    pub bytes: u64,
    /// `segment.index.bytes`
    pub index_bytes: usize,
    /// `index.interval.bytes`
    pub index_interval_bytes: u64,
}

impl Compaction {
    /// Whether and how a log is to be cleaned, whose segments from its start on are these, without a gap.
    pub fn plan(
        &self,
        segments: &[Candidate],
        first_dirty: i64,
        now_ms: i64,
        bounds: SegmentBounds,
    ) -> Option<Plan> {
        let start = segments.first()?.base_offset;
        // Where the checkpoint says something else than the log, all of it is dirty.
        let last_end = segments.last()?.end_offset;
        let first_dirty = if (start..=last_end).contains(&first_dirty) { first_dirty } else { start };
        let is_young = |segment: &&Candidate| {
            self.min_lag_ms > 0 && segment.times.1 > now_ms.saturating_sub(self.min_lag_ms)
        };
        let young = segments.iter().filter(|s| s.end_offset > first_dirty).find(is_young);
        let end = young.map_or(last_end, |young| young.base_offset);
        if end <= first_dirty {
            return None;
        }
        let (clean, dirty): (Vec<_>, Vec<_>) =
            segments.iter().filter(|s| s.base_offset < end).partition(|s| s.end_offset <= first_dirty);
        let bytes = |segments: &[&Candidate]| segments.iter().map(|s| s.size).sum::<u64>();
        let (clean_bytes, dirty_bytes) = (bytes(&clean), bytes(&dirty));
        if dirty_bytes == 0 {
            return None;
        }
        let ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
        let overdue = dirty
            .iter()
            .any(|segment| segment.times.0 >= 0 && now_ms.saturating_sub(segment.times.0) > self.max_lag_ms);
        if ratio <= self.min_dirty_ratio && !overdue {
            return None;
        }
        let all: Vec<_> = clean.into_iter().chain(dirty).copied().collect();
        Some(Plan { dirty: first_dirty..end, groups: group(&all, bounds), ratio })
    }
}

/// Groups segments so that what becomes of each group keeps to the bounds even if all of it stays.
fn group(segments: &[Candidate], bounds: SegmentBounds) -> Vec<Vec<i64>> {
    let mut groups: Vec<Vec<i64>> = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for segment in segments {
        let index = (bytes + segment.size) / bounds.index_interval_bytes.max(1) * OFFSET_ENTRY as u64;
        let fits = bytes + segment.size <= bounds.bytes
            && index <= bounds.index_bytes as u64
            && segment.end_offset - first <= i64::from(i32::MAX);
        match groups.last_mut().filter(|_| fits) {
            Some(group) => {
                group.push(segment.base_offset);
                bytes += segment.size;
            }
            None => {
                groups.push(vec![segment.base_offset]);
                (first, bytes) = (segment.base_offset, segment.size);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: SegmentBounds =
        SegmentBounds { bytes: 1000, index_bytes: 1 << 20, index_interval_bytes: 100 };

    fn segments(sizes: &[u64]) -> Vec<Candidate> {
        let candidate = |(i, size): (usize, &u64)| Candidate {
            base_offset: i as i64 * 10,
            end_offset: i as i64 * 10 + 10,
            size: *size,
            times: (i as i64 * 1000, i as i64 * 1000 + 900),
        };
        sizes.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn a_log_is_cleaned_when_enough_of_it_is_dirty() {
        let rules = Compaction::default();
        let segments = segments(&[500, 400, 300, 300]);
        let plan = |first_dirty| rules.plan(&segments, first_dirty, 10_000, BOUNDS);
        assert_eq!(plan(0).unwrap().dirty, 0..40);
        assert_eq!(plan(0).unwrap().groups, [vec![0, 10], vec![20, 30]]);
        assert_eq!(plan(10).unwrap().ratio, 1000.0 / 1500.0);
        assert_eq!(plan(20), None, "600 of 1500");
        assert_eq!(plan(40), None, "nothing is dirty");
        assert_eq!(plan(15).unwrap().dirty, 15..40, "from within a segment");
        assert_eq!(plan(99).unwrap().dirty, 0..40, "the checkpoint is of another log");
        assert_eq!(rules.plan(&[], 0, 0, BOUNDS), None);
        let all = Compaction { min_dirty_ratio: 0.0, ..rules.clone() };
        assert_eq!(all.plan(&segments, 30, 10_000, BOUNDS).unwrap().dirty, 30..40);
    }

    #[test]
    fn what_is_young_is_left_and_what_is_old_is_not() {
        let segments = segments(&[500, 400, 300, 300]);
        let rules = Compaction { min_lag_ms: 5_000, ..Compaction::default() };
        assert_eq!(rules.plan(&segments, 0, 6_950, BOUNDS).unwrap().dirty, 0..20, "the third is of 2900");
        assert_eq!(rules.plan(&segments, 0, 5_000, BOUNDS), None);
        let rules = Compaction { max_lag_ms: 5_000, ..Compaction::default() };
        assert_eq!(rules.plan(&segments, 20, 7_000, BOUNDS), None);
        assert_eq!(rules.plan(&segments, 20, 7_001, BOUNDS).unwrap().dirty, 20..40);
    }

    #[test]
    fn groups_keep_to_the_bounds() {
        let of = |bounds| group(&segments(&[500, 500, 1, 2000, 1]), bounds);
        assert_eq!(of(BOUNDS), [vec![0, 10], vec![20], vec![30], vec![40]]);
        let small_index = SegmentBounds { bytes: 10_000, index_bytes: 48, ..BOUNDS };
        assert_eq!(of(small_index), [vec![0], vec![10, 20], vec![30], vec![40]]);
        let mut far = segments(&[1, 1, 1]);
        far[1].end_offset = i64::from(i32::MAX) + 5;
        assert_eq!(group(&far, BOUNDS), [vec![0], vec![10, 20]]);
    }
}
