use super::*;
use crate::collections::Set;
use crate::log::compact::filter::{Kept, Rules};
use crate::log::compact::offset_map::OffsetMap;
use crate::wire::batch::{BatchBuilder, BatchMut, control_key};

const RETENTION_MS: i64 = 100;

/// A batch, and which transaction of its producer it belongs to.
#[derive(Clone)]
struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    fn new(base: i64, builder: BatchBuilder) -> Entry {
        let mut bytes = builder.build().unwrap();
        BatchMut::first(&mut bytes).unwrap().set_base_offset(base);
        Entry { bytes }
    }

    fn batch(&self) -> Batch<'_> {
        Batch::first(&self.bytes).unwrap()
    }

    fn records(&self) -> Vec<(i64, String, Option<String>)> {
        let batch = self.batch();
        batch.check().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let records = batch.open(1 << 20).unwrap();
        let records = records.iter().map(|record| record.unwrap());
        records.map(|record| (record.offset, text(record.key.unwrap()), record.value.map(text))).collect()
    }
}

fn data(base: i64, producer: i64, is_transactional: bool, records: &[(&str, Option<&str>)]) -> Entry {
    let mut builder = BatchBuilder::new().producer(producer, 0, base as i32);
    if is_transactional {
        builder = builder.transactional();
    }
    for (key, value) in records {
        builder.append(1, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    Entry::new(base, builder)
}

fn marker(base: i64, producer: i64, commit: bool) -> Entry {
    let mut builder = BatchBuilder::new().producer(producer, 0, -1).transactional().control();
    builder.append(1, Some(&control_key(i16::from(commit))), Some(&[0, 0, 0, 0, 0, 0]), &[]);
    Entry::new(base, builder)
}

fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> Aborted {
    Aborted { producer_id, first_offset, last_offset, last_stable_offset: last_offset + 1 }
}

/// The log is cleaned as a whole. Batches of these base offsets may not go.
fn clean(log: &mut Vec<Entry>, index: &mut Vec<Aborted>, end: i64, now_ms: i64, last: &Set<i64>) {
    let mut map = OffsetMap::new((1, 2), 10_000, usize::MAX);
    let mut seen = CleanedTransactions::default();
    seen.learn(index.iter().copied());
    for entry in log.iter().take_while(|entry| entry.batch().base_offset() < end) {
        if seen.read(&entry.batch()).unwrap() == Fate::Counts {
            for (offset, key, _) in entry.records() {
                assert!(map.put(key.as_bytes(), offset));
            }
        }
    }
    let mut seen = CleanedTransactions::default();
    seen.learn(index.iter().copied());
    let rules = Rules { last: &map, end, now_ms, delete_retention_ms: RETENTION_MS };
    let mut kept = Vec::new();
    for entry in log.iter() {
        let batch = entry.batch();
        let fate = seen.read(&batch).unwrap();
        match rules.apply_within(&batch, fate, last.contains(&batch.base_offset())).unwrap() {
            Kept::Whole => kept.push(entry.clone()),
            Kept::Part(bytes) => kept.push(Entry { bytes }),
            Kept::Nothing => {}
        }
    }
    *log = kept;
    *index = seen.take_index().entries().to_vec();
}

/// What a reader of committed records ends up with: the last record of each key.
fn committed(log: &[Entry], index: &[Aborted]) -> BTreeMap<String, (i64, Option<String>)> {
    let mut view = BTreeMap::new();
    for entry in log.iter().filter(|entry| !entry.batch().is_control()) {
        let (id, is_transactional) = (entry.batch().header().producer_id, entry.batch().is_transactional());
        for (offset, key, value) in entry.records() {
            let is_aborted = is_transactional
                && index.iter().any(|aborted| {
                    aborted.producer_id == id
                        && (aborted.first_offset..=aborted.last_offset).contains(&offset)
                });
            if !is_aborted {
                view.insert(key, (offset, value));
            }
        }
    }
    view.retain(|_, (_, value)| value.is_some());
    view
}

fn bases(log: &[Entry]) -> Vec<i64> {
    log.iter().map(|entry| entry.batch().base_offset()).collect()
}

#[test]
fn aborted_records_go_and_hide_nothing() {
    let mut log = vec![
        data(0, 1, false, &[("a", Some("0"))]),
        data(1, 7, true, &[("a", Some("1"))]),
        data(2, 8, true, &[("b", Some("2"))]),
        marker(3, 7, false),
        marker(4, 8, true),
    ];
    let mut index = vec![aborted(7, 1, 3)];
    clean(&mut log, &mut index, 5, 1000, &Set::default());
    assert_eq!(bases(&log), [0, 2, 3, 4]);
    assert_eq!(committed(&log, &index)["a"].1.as_deref(), Some("0"));
    assert_eq!(index, [aborted(7, 1, 3)], "there was a batch of it");
    // Nothing is left of it now: its marker has a horizon from here on.
    clean(&mut log, &mut index, 5, 1000, &Set::default());
    assert_eq!((bases(&log), index.len()), (vec![0, 2, 3, 4], 0));
    assert_eq!(log[2].batch().delete_horizon(), Some(1000 + RETENTION_MS));
    assert_eq!(log[3].batch().delete_horizon(), None, "records are left of this one");
    clean(&mut log, &mut index, 5, 1000 + RETENTION_MS - 1, &Set::default());
    assert_eq!(bases(&log), [0, 2, 3, 4]);
    clean(&mut log, &mut index, 5, 1000 + RETENTION_MS, &Set::default());
    assert_eq!(bases(&log), [0, 2, 4]);
}

#[test]
fn what_tells_of_a_producer_stays_if_only_as_an_empty_batch() {
    let mut log = vec![data(0, 7, true, &[("a", Some("1"))]), marker(1, 7, false)];
    let mut index = vec![aborted(7, 0, 1)];
    let last = Set::from_iter([0]);
    for now_ms in [0, 1000, 2000] {
        clean(&mut log, &mut index, 5, now_ms, &last);
        assert_eq!((bases(&log), log[0].records().len()), (vec![0, 1], 0));
        assert_eq!(log[1].batch().delete_horizon(), None, "the empty batch is of the transaction still");
        assert_eq!(index.len(), 1);
    }
    let last = Set::from_iter([1]);
    for now_ms in [3000, 3000, 4000] {
        clean(&mut log, &mut index, 5, now_ms, &last);
    }
    assert_eq!((bases(&log), index.len()), (vec![1], 0));
    let batch = log[0].batch();
    assert_eq!(batch.open(100).unwrap().iter().count(), 0, "the marker too");
    assert!(batch.is_control() && batch.header().producer_id == 7);
}

#[test]
fn what_lies_behind_the_end_is_left_as_it_is() {
    let log = vec![data(0, 7, true, &[("a", Some("1"))]), marker(1, 7, false), marker(2, 8, true)];
    let mut cleaned = log.clone();
    clean(&mut cleaned, &mut vec![aborted(7, 0, 1)], 0, 1000, &Set::default());
    assert!(cleaned.iter().zip(&log).all(|(after, before)| after.bytes == before.bytes));
}

#[test]
fn a_log_whose_index_does_not_tell_of_an_abort_is_refused() {
    let mut seen = CleanedTransactions::default();
    let (batch, end) = (data(0, 7, true, &[("a", Some("1"))]), marker(1, 7, false));
    assert_eq!(seen.read(&batch.batch()), Ok(Fate::Counts));
    assert!(seen.read(&end.batch()).is_err());
}

/// Random logs are cleaned again and again while they grow, up to where no transaction is open.
#[test]
fn readers_see_the_same_before_and_after() {
    let mut chance = 7u64;
    let mut draw = move |below: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    for _ in 0..200 {
        let (mut log, mut index): (Vec<Entry>, Vec<Aborted>) = Default::default();
        let mut open: BTreeMap<i64, i64> = BTreeMap::new();
        let (mut offset, mut now_ms) = (0, 0);
        for _ in 0..draw(120) {
            let producer = draw(4) as i64;
            let keys = ["a", "b", "c", "d", "e"];
            let value = offset.to_string();
            let value = if draw(5) == 0 { None } else { Some(value.as_str()) };
            let records = [(keys[draw(5) as usize], value), (keys[draw(5) as usize], value)];
            let records = &records[..1 + draw(2) as usize];
            let entry = match draw(8) {
                0 | 1 => {
                    let commit = draw(2) == 0;
                    let first = open.remove(&producer);
                    if let (Some(first), false) = (first, commit) {
                        index.push(aborted(producer, first, offset));
                    }
                    marker(offset, producer, commit)
                }
                2..=4 if !open.contains_key(&producer) => data(offset, producer, false, records),
                _ => {
                    open.entry(producer).or_insert(offset);
                    data(offset, producer, true, records)
                }
            };
            offset = entry.batch().last_offset() + 1;
            log.push(entry);
            now_ms += draw(60) as i64;
            if draw(10) == 0 {
                let stable = open.values().min().copied().unwrap_or(offset);
                let last: Set<i64> = bases(&log).into_iter().filter(|_| draw(6) == 0).collect();
                let (before, told) = (committed(&log, &index), index.clone());
                let behind = log.iter().filter(|entry| entry.batch().base_offset() >= stable).count();
                // Only what was written of the index counts from here on, and what lies behind.
                let (mut head, tail): (Vec<Entry>, Vec<Entry>) =
                    log.drain(..).partition(|entry| entry.batch().base_offset() < stable);
                assert_eq!(tail.len(), behind);
                let later = told.iter().filter(|aborted| aborted.last_offset >= stable).copied();
                let later: Vec<Aborted> = later.collect();
                clean(&mut head, &mut index, stable, now_ms, &last);
                log = head.into_iter().chain(tail).collect();
                index.retain(|aborted| aborted.last_offset < stable);
                index.extend(later);
                assert_eq!(committed(&log, &index), before);
                let of_aborted = |entry: &&Entry| {
                    let batch = entry.batch();
                    batch.is_transactional()
                        && !batch.is_control()
                        && batch.base_offset() < stable
                        && told.iter().any(|aborted| {
                            aborted.producer_id == batch.header().producer_id
                                && (aborted.first_offset..=aborted.last_offset).contains(&batch.base_offset())
                        })
                };
                assert!(log.iter().filter(of_aborted).all(|entry| entry.records().is_empty()));
            }
        }
    }
}
