//! What stays of a batch.

use super::offset_map::OffsetMap;
use super::transactions::Fate;
use crate::limits::DECOMPRESSED_MAX;
use crate::wire::batch::{Batch, BatchBuilder, BatchError, BatchHeader, Compression, Record};

/// Goes by this while a log is cleaned.
pub struct Rules<'a> {
    /// The last offset of each key below `end`.
    pub last: &'a OffsetMap,
    /// The offset behind the last record that `last` knows of: later ones stay.
    pub end: i64,
    /// The wall clock.
    pub now_ms: i64,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it, as it is.
    Whole,
    /// This, instead of it.
    Part(Vec<u8>),
    /// Nothing of it.
    Nothing,
}

impl Rules<'_> {
    /// What stays of a batch. `as_empty` says that its offsets and its producer's sequence must stay, even if none of
    /// its records does.
    pub fn apply(&self, batch: &Batch<'_>, as_empty: bool) -> Result<Kept, BatchError> {
        if batch.is_control() || batch.base_offset() >= self.end {
            return Ok(Kept::Whole);
        }
        let horizon = batch.delete_horizon();
        let records = batch.open(DECOMPRESSED_MAX)?;
        let (mut kept, mut dropped, mut tombstones) = (Vec::new(), 0, false);
        let mut next = batch.base_offset();
        for record in records.iter() {
            let record = record?;
            // Where producers' batches are taken as they come, nobody has looked at this.
            if !(next..=batch.last_offset()).contains(&record.offset) {
                return Err(BatchError::Record("a record's offset does not follow, or is not the batch's"));
            }
            next = record.offset + 1;
            if self.stays(&record, horizon) {
                tombstones |= record.offset < self.end && record.value.is_none();
                kept.push(record);
            } else {
                dropped += 1;
            }
        }
        let sets_horizon = tombstones && horizon.is_none();
        if dropped == 0 && !sets_horizon && (!kept.is_empty() || as_empty) {
            return Ok(Kept::Whole);
        }
        if kept.is_empty() {
            return Ok(if as_empty { Kept::Part(emptied(batch.header())) } else { Kept::Nothing });
        }
        let mut builder = BatchBuilder::replacing(batch.header());
        if sets_horizon {
            builder = builder.delete_horizon(self.now_ms.saturating_add(self.delete_retention_ms));
        }
        for record in &kept {
            let delta = (record.offset - batch.base_offset()) as i32;
            let headers: Result<Vec<_>, _> =
                record.headers.map(|header| header.map(|header| (header.key, header.value))).collect();
            builder.append_at(delta, record.timestamp, record.key, record.value, headers?.into_iter());
        }
        builder.build().map(Kept::Part).map_err(|error| BatchError::Compressed(error.to_string()))
    }

    /// What stays of a batch in a log with transactions, of which it is known what it is.
    pub fn apply_within(&self, batch: &Batch<'_>, fate: Fate, as_empty: bool) -> Result<Kept, BatchError> {
        let nothing = || match as_empty {
            true if batch.header().count == 0 => Kept::Whole,
            true => Kept::Part(emptied(batch.header())),
            false => Kept::Nothing,
        };
        if batch.base_offset() >= self.end {
            return Ok(Kept::Whole);
        }
        match fate {
            Fate::Counts => self.apply(batch, as_empty),
            Fate::Aborted => Ok(nothing()),
            Fate::Marker { is_needed: true } => Ok(Kept::Whole),
            Fate::Marker { is_needed: false } => match batch.delete_horizon() {
                Some(horizon) if horizon <= self.now_ms => Ok(nothing()),
                Some(_) => Ok(Kept::Whole),
                None => self.with_horizon(batch),
            },
        }
    }

    /// A marker of which nothing is left but itself: it may go when the horizon has come.
    fn with_horizon(&self, batch: &Batch<'_>) -> Result<Kept, BatchError> {
        let horizon = self.now_ms.saturating_add(self.delete_retention_ms);
        let mut builder = BatchBuilder::replacing(batch.header()).delete_horizon(horizon);
        for record in batch.open(DECOMPRESSED_MAX)?.iter() {
            let record = record?;
            let delta = (record.offset - batch.base_offset()) as i32;
            builder.append_at(delta, record.timestamp, record.key, record.value, std::iter::empty());
        }
        builder.build().map(Kept::Part).map_err(|error| BatchError::Compressed(error.to_string()))
    }

    fn stays(&self, record: &Record<'_>, horizon: Option<i64>) -> bool {
        if record.offset >= self.end {
            return true;
        }
        // Without a key nothing says what would replace it; a compacted topic takes no such record.
        let Some(key) = record.key else { return false };
        let is_last = self.last.get(key).is_none_or(|last| record.offset >= last);
        let is_over = record.value.is_none() && horizon.is_some_and(|horizon| horizon < self.now_ms);
        is_last && !is_over
    }
}

/// The batch without its records: its offsets, its producer and its sequences.
fn emptied(header: BatchHeader) -> Vec<u8> {
    let builder = BatchBuilder::replacing(header).compression(Compression::None);
    builder.build().expect("nothing is compressed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchMut;

    fn batch(base: i64, records: &[(&str, Option<&str>)], compression: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new().compression(compression).producer(7, 0, 3).leader_epoch(4);
        for (i, (key, value)) in records.iter().enumerate() {
            let value = value.map(str::as_bytes);
            builder.append(1000 + i as i64, Some(key.as_bytes()), value, &[("h", Some(b"1"))]);
        }
        let mut bytes = builder.build().unwrap();
        BatchMut::first(&mut bytes).unwrap().set_base_offset(base);
        bytes
    }

    fn map(keys: &[(&str, i64)]) -> OffsetMap {
        let mut map = OffsetMap::new((3, 4), 100, usize::MAX);
        keys.iter().for_each(|(key, offset)| assert!(map.put(key.as_bytes(), *offset)));
        map
    }

    fn apply(bytes: &[u8], last: &OffsetMap, end: i64, now_ms: i64, as_empty: bool) -> Kept {
        let rules = Rules { last, end, now_ms, delete_retention_ms: 100 };
        rules.apply(&Batch::first(bytes).unwrap(), as_empty).unwrap()
    }

    fn seen(bytes: &[u8]) -> Vec<(i64, i64, String)> {
        let batch = Batch::first(bytes).unwrap();
        batch.check().unwrap();
        let records = batch.open(1 << 20).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        records.iter().map(|r| r.unwrap()).map(|r| (r.offset, r.timestamp, text(r.key.unwrap()))).collect()
    }

    #[test]
    fn the_last_record_of_each_key_stays_with_its_offset_and_time() {
        for compression in Compression::ALL {
            let bytes = batch(
                10,
                &[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("c", Some("4"))],
                compression,
            );
            let kept = apply(&bytes, &map(&[("a", 12), ("b", 20), ("c", 13)]), 30, 5000, false);
            let Kept::Part(part) = kept else { panic!("{kept:?}") };
            assert_eq!(seen(&part), [(12, 1002, "a".into()), (13, 1003, "c".into())]);
            let (before, after) =
                (Batch::first(&bytes).unwrap().header(), Batch::first(&part).unwrap().header());
            assert_eq!(
                (after.base_offset, after.last_offset_delta),
                (10, 3),
                "the offsets of the batch stay"
            );
            assert_eq!((after.producer_id, after.base_sequence), (before.producer_id, before.base_sequence));
            assert_eq!((after.leader_epoch, after.attributes), (before.leader_epoch, before.attributes));
            assert_eq!((after.base_timestamp, after.max_timestamp), (1000, 1003));
        }
    }

    #[test]
    fn what_is_not_known_stays_as_it_is() {
        let bytes = batch(10, &[("a", Some("1")), ("b", Some("2"))], Compression::None);
        assert_eq!(apply(&bytes, &map(&[]), 30, 0, false), Kept::Whole);
        assert_eq!(apply(&bytes, &map(&[("a", 9)]), 30, 0, false), Kept::Whole);
        assert_eq!(apply(&bytes, &map(&[("a", 40), ("b", 41)]), 10, 0, false), Kept::Whole, "past the end");
        let Kept::Part(part) = apply(&bytes, &map(&[("a", 40), ("b", 41)]), 11, 0, false) else { panic!() };
        assert_eq!(seen(&part), [(11, 1001, "b".into())], "the end lies within the batch");
    }

    #[test]
    fn a_batch_of_which_nothing_stays_may_stay_empty() {
        let bytes = batch(10, &[("a", Some("1")), ("a", Some("2"))], Compression::Zstd);
        let last = map(&[("a", 20)]);
        assert_eq!(apply(&bytes, &last, 30, 0, false), Kept::Nothing);
        let Kept::Part(empty) = apply(&bytes, &last, 30, 0, true) else { panic!() };
        assert_eq!(seen(&empty), []);
        let view = Batch::first(&empty).unwrap();
        assert_eq!((view.base_offset(), view.last_offset(), view.last_sequence()), (10, 11, 4));
        assert_eq!(apply(&empty, &last, 30, 0, true), Kept::Whole, "and stays so");
        assert_eq!(apply(&empty, &last, 30, 0, false), Kept::Nothing);
    }

    #[test]
    fn a_tombstone_stays_until_its_horizon() {
        let bytes = batch(10, &[("a", None), ("b", Some("2"))], Compression::None);
        let last = map(&[("a", 10), ("b", 11)]);
        let Kept::Part(marked) = apply(&bytes, &last, 30, 5000, false) else { panic!() };
        assert_eq!(Batch::first(&marked).unwrap().delete_horizon(), Some(5100));
        assert_eq!(seen(&marked), seen(&bytes), "offsets and times stay");
        assert_eq!(apply(&marked, &last, 30, 5100, false), Kept::Whole);
        let Kept::Part(without) = apply(&marked, &last, 30, 5101, false) else { panic!() };
        assert_eq!(seen(&without), [(11, 1001, "b".into())]);
    }

    #[test]
    fn a_batch_whose_records_are_not_where_it_says_is_refused() {
        let bytes = batch(10, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))], Compression::None);
        let header = Batch::first(&bytes).unwrap().header();
        let moved = |by: i64, last_offset_delta| {
            let header = BatchHeader { base_offset: header.base_offset + by, last_offset_delta, ..header };
            header.write(&bytes[crate::wire::batch::HEADER..])
        };
        let rules = Rules { last: &map(&[("a", 90)]), end: 99, now_ms: 0, delete_retention_ms: 0 };
        let apply = |bytes: &[u8]| rules.apply(&Batch::first(bytes).unwrap(), false);
        assert!(matches!(apply(&moved(5, 2)), Ok(Kept::Part(_))));
        assert!(matches!(apply(&moved(0, 1)), Err(BatchError::Record(_))));
    }

    #[test]
    fn a_record_without_a_key_goes_and_a_control_batch_stays() {
        let mut builder = BatchBuilder::new();
        builder.append(1, None, Some(b"x"), &[]);
        let bytes = builder.build().unwrap();
        assert_eq!(apply(&bytes, &map(&[]), 30, 0, false), Kept::Nothing);
        let mut builder = BatchBuilder::new().control();
        builder.append(1, None, Some(b"x"), &[]);
        assert_eq!(apply(&builder.build().unwrap(), &map(&[]), 30, 0, false), Kept::Whole);
    }
}
