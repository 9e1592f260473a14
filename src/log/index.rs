//! The offset index and the time index of a segment, in Kafka's formats.
//!
//! An offset index entry is a relative offset and a file position, 4 bytes each; a time index entry is a
//! timestamp (8 bytes) and a relative offset (4). Both are big-endian, sorted, and sparse: about one entry per
//! `index.interval.bytes` of log.

use super::segment::BatchPlace;

/// Bytes of one offset index entry.
pub const OFFSET_ENTRY: usize = 8;
/// Bytes of one time index entry.
pub const TIME_ENTRY: usize = 12;

/// An entry of the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// The last offset of a batch, less the segment's base offset.
    pub relative_offset: u32,
    /// Where that batch begins in the file.
    pub position: u32,
}

/// An entry of the time index: no record before `relative_offset` (and itself) is later than `timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The offset of the first record that has it, less the segment's base offset.
    pub relative_offset: u32,
}

/// Where to begin to look in a segment's file, and what the index tells of the batches there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landing {
    /// Where a batch begins.
    pub position: u64,
    /// Its first offset is this or a later one.
    pub from_offset: i64,
    /// It ends at this offset, or another does behind it.
    pub ends_at: Option<i64>,
    /// Where a later batch begins.
    pub next: Option<u64>,
}

impl Landing {
    /// The beginning of the segment of this base offset.
    pub fn start(base_offset: i64) -> Landing {
        Landing { position: 0, from_offset: base_offset, ends_at: None, next: None }
    }
}

/// Both indexes of a segment that is in memory.
#[derive(Clone, Debug, Default)]
pub struct SegmentIndex {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    bytes_since_entry: u64,
    max_timestamp: Option<(i64, u32)>,
}

impl SegmentIndex {
    /// From the files of a segment that is to be appended to again; none if they are damaged.
    pub fn from_files(offsets: &[u8], times: &[u8]) -> Option<SegmentIndex> {
        let (offsets, times) = (decode_offsets(offsets)?, decode_times(times)?);
        let max_timestamp = times.last().map(|last| (last.timestamp, last.relative_offset));
        Some(SegmentIndex { offsets, times, bytes_since_entry: 0, max_timestamp })
    }

    /// The same without the batches that begin behind a position.
    pub fn up_to(mut self, position: u64) -> SegmentIndex {
        self.offsets.retain(|entry| u64::from(entry.position) <= position);
        self
    }

    /// Takes this for what there is of a segment up to a position, and keeps what it knows of the batches behind.
    pub fn mend(&mut self, read: &SegmentIndex, end: u64) {
        let behind = read.max_timestamp.map_or(0, |(_, offset)| offset);
        let behind = read.offsets.last().map_or(behind, |entry| entry.relative_offset.max(behind));
        let offsets = self.offsets.drain(..).filter(|entry| u64::from(entry.position) >= end);
        self.offsets = read.offsets.iter().copied().chain(offsets).collect();
        let latest = read.max_timestamp();
        let is_behind = |(timestamp, offset): (i64, u32)| offset > behind && timestamp > latest;
        let times = self.times.drain(..).filter(|entry| is_behind((entry.timestamp, entry.relative_offset)));
        self.times = read.times.iter().copied().chain(times).collect();
        self.max_timestamp = self.max_timestamp.filter(|latest| is_behind(*latest)).or(read.max_timestamp);
    }

    /// Where the last indexed batch begins.
    pub fn last_position(&self) -> u64 {
        self.offsets.last().map_or(0, |entry| u64::from(entry.position))
    }

    /// The last offset of the last indexed batch.
    pub fn last_offset(&self, base_offset: i64) -> Option<i64> {
        self.offsets.last().map(|entry| base_offset + i64::from(entry.relative_offset))
    }

    /// Counts a batch that was appended to the segment of this base offset.
    pub fn on_batch(&mut self, base_offset: i64, batch: &BatchPlace, interval: u64) {
        let relative = |offset: i64| u32::try_from(offset - base_offset).unwrap_or(u32::MAX);
        if self.bytes_since_entry > interval {
            let position = u32::try_from(batch.position).expect("a segment is smaller than 2 GiB");
            self.offsets.push(OffsetEntry { relative_offset: relative(batch.last_offset), position });
            self.add_time_entry();
            self.bytes_since_entry = 0;
        }
        if self.max_timestamp.is_none_or(|(latest, _)| batch.max_timestamp > latest) {
            self.max_timestamp = Some((batch.max_timestamp, relative(batch.last_offset)));
        }
        self.bytes_since_entry += batch.size;
    }

    fn add_time_entry(&mut self) {
        if let Some((timestamp, relative_offset)) = self.max_timestamp
            && timestamp >= 0
            && self.times.last().is_none_or(|last| timestamp > last.timestamp)
        {
            self.times.push(TimeEntry { timestamp, relative_offset });
        }
    }

    /// The largest timestamp of the segment, -1 where it has none.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp.map_or(-1, |(timestamp, _)| timestamp)
    }

    /// Whether the index file would be larger than `segment.index.bytes` with one more entry.
    pub fn is_full(&self, max_bytes: usize) -> bool {
        (self.offsets.len() + 1) * OFFSET_ENTRY > max_bytes || (self.times.len() + 2) * TIME_ENTRY > max_bytes
    }

    /// Where to begin to look for `offset`: the last indexed batch that begins at or before it.
    pub fn landing(&self, base_offset: i64, offset: i64) -> Landing {
        landing(&self.offsets, base_offset, offset)
    }

    /// Where to begin to look for a record of `timestamp` or later.
    pub fn landing_for_time(&self, base_offset: i64, timestamp: i64) -> Landing {
        let relative = offset_before(&self.times, timestamp);
        self.landing(base_offset, base_offset + i64::from(relative))
    }

    /// The entries of the offset index.
    pub fn into_offsets(self) -> Vec<OffsetEntry> {
        self.offsets
    }

    /// The content of the `.index` file.
    pub fn offset_file(&self) -> Vec<u8> {
        encode_offsets(&self.offsets)
    }

    /// The content of the `.timeindex` file of a segment that gets no more records: its last entry tells the
    /// segment's largest timestamp.
    pub fn time_file(&mut self) -> Vec<u8> {
        self.add_time_entry();
        let mut bytes = Vec::with_capacity(self.times.len() * TIME_ENTRY);
        for entry in &self.times {
            bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
            bytes.extend_from_slice(&entry.relative_offset.to_be_bytes());
        }
        bytes
    }
}

fn encode_offsets(entries: &[OffsetEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * OFFSET_ENTRY);
    for entry in entries {
        bytes.extend_from_slice(&entry.relative_offset.to_be_bytes());
        bytes.extend_from_slice(&entry.position.to_be_bytes());
    }
    bytes
}

/// Where to begin to look for `offset` by these entries of the segment of this base offset.
pub fn landing(entries: &[OffsetEntry], base_offset: i64, offset: i64) -> Landing {
    let relative = u32::try_from((offset - base_offset).max(0)).unwrap_or(u32::MAX);
    // An entry names the *last* offset of the batch at its position, as Kafka writes it, so an entry whose
    // offset is the wanted one may begin before it, which is right as well.
    let after = entries.partition_point(|entry| entry.relative_offset <= relative);
    let (before, next) = entries.split_at(after);
    let last_offset = |entry: &OffsetEntry| base_offset + i64::from(entry.relative_offset);
    let (found, from) = match before {
        [.., previous, found] => (Some(found), last_offset(previous) + 1),
        [found] => (Some(found), base_offset),
        [] => (None, base_offset),
    };
    Landing {
        position: found.map_or(0, |entry| u64::from(entry.position)),
        from_offset: from,
        ends_at: found.map(last_offset),
        next: next.first().map(|entry| u64::from(entry.position)),
    }
}

/// The relative offset from which records of `timestamp` or later may be found.
pub fn offset_before(entries: &[TimeEntry], timestamp: i64) -> u32 {
    let after = entries.partition_point(|entry| entry.timestamp < timestamp);
    after.checked_sub(1).map_or(0, |i| entries[i].relative_offset)
}

/// Reads an `.index` file; none if it is not whole and sorted.
pub fn decode_offsets(bytes: &[u8]) -> Option<Vec<OffsetEntry>> {
    if !bytes.len().is_multiple_of(OFFSET_ENTRY) {
        return None;
    }
    let entries: Vec<_> = bytes
        .chunks_exact(OFFSET_ENTRY)
        .map(|entry| OffsetEntry {
            relative_offset: u32::from_be_bytes(entry[..4].try_into().expect("four bytes")),
            position: u32::from_be_bytes(entry[4..].try_into().expect("four bytes")),
        })
        .collect();
    let sorted = entries
        .windows(2)
        .all(|pair| pair[0].relative_offset < pair[1].relative_offset && pair[0].position < pair[1].position);
    sorted.then_some(entries)
}

/// Reads a `.timeindex` file; none if it is not whole and sorted.
pub fn decode_times(bytes: &[u8]) -> Option<Vec<TimeEntry>> {
    if !bytes.len().is_multiple_of(TIME_ENTRY) {
        return None;
    }
    let entries: Vec<_> = bytes
        .chunks_exact(TIME_ENTRY)
        .map(|entry| TimeEntry {
            timestamp: i64::from_be_bytes(entry[..8].try_into().expect("eight bytes")),
            relative_offset: u32::from_be_bytes(entry[8..].try_into().expect("four bytes")),
        })
        .collect();
    let sorted = entries.windows(2).all(|pair| {
        pair[0].timestamp <= pair[1].timestamp && pair[0].relative_offset <= pair[1].relative_offset
    });
    sorted.then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> SegmentIndex {
        let mut index = SegmentIndex::default();
        for i in 0..100u64 {
            let place = BatchPlace {
                base_offset: 1000 + i as i64 * 10,
                last_offset: 1000 + i as i64 * 10 + 9,
                position: i * 1000,
                size: 1000,
                max_timestamp: 5000 + i as i64,
                leader_epoch: 0,
            };
            index.on_batch(1000, &place, 4096);
        }
        index
    }

    #[test]
    fn finds_a_place_at_or_before_every_offset_and_close_to_it() {
        let index = filled();
        for offset in 1000..2000i64 {
            let position = index.landing(1000, offset).position;
            let wanted = (offset as u64 - 1000) / 10 * 1000;
            assert!(position <= wanted && wanted - position <= 6000, "{offset}: {position} for {wanted}");
        }
    }

    #[test]
    fn files_read_back_as_written() {
        let mut index = filled();
        let entries = decode_offsets(&index.offset_file()).unwrap();
        assert_eq!(entries, index.offsets);
        let times = decode_times(&index.time_file()).unwrap();
        assert_eq!(times, index.times);
        assert_eq!(times.last().unwrap().timestamp, index.max_timestamp());
        assert_eq!(decode_offsets(&[0; 7]), None);
        assert_eq!(decode_offsets(&[1; 16]), None, "not sorted");
    }

    #[test]
    fn time_finds_a_place_before_the_first_late_enough_record() {
        let index = filled();
        for timestamp in 4000..5200 {
            let position = index.landing_for_time(1000, timestamp).position;
            let first = (timestamp - 5000).clamp(0, 100) as u64 * 1000;
            assert!(position <= first, "{timestamp}: {position} is past {first}");
        }
    }
}
