//! A partition, with what lies in its log.

use std::collections::BTreeMap;

use super::Meant;
use crate::log::aborted::AbortedIndex;
use crate::log::index::SegmentIndex;
use crate::log::snapshot::Snapshot;
use crate::log::tail::Tail;
use crate::log::{Log, LogConfig, Segment};
use crate::partition::markers::Marker;
use crate::partition::producers::Producers;
use crate::partition::transactions::{Transactions, note};
use crate::partition::{Admitted, AppendRules, Appended, Partition};
use crate::reactor::{Pool, Share};
use crate::wire::batch::{Batch, BatchHeader};

/// When everything is appended.
pub const NOW: i64 = 1_700_000_000_000;

/// A batch in the log.
#[derive(Clone, Debug)]
struct Entry {
    header: BatchHeader,
    marker: Option<Marker>,
    /// To which transaction of the model its record belongs.
    meant: Option<usize>,
}

pub struct Shelf {
    pub partition: Partition,
    /// Grows with each start.
    pub epoch: i32,
    pool: Pool,
    entries: Vec<Entry>,
    /// A snapshot of the producers, and the offset that it was made at.
    snapshot: (i64, Vec<u8>),
    /// What readers of committed records were given: offsets, and whether the record was committed.
    given: BTreeMap<i64, bool>,
}

impl Shelf {
    pub fn new() -> Shelf {
        let active = Segment::active(0, Tail::new(0, None), SegmentIndex::default(), 0);
        let log = Log::new(vec![active], 0, 0, Default::default(), LogConfig::default());
        let producers = Producers::new(Default::default());
        let snapshot = (0, producers.snapshot());
        Shelf {
            partition: Partition::new(log, producers, AppendRules::default(), 0),
            epoch: 0,
            pool: Pool::new(64 << 20),
            entries: Vec::new(),
            snapshot,
            given: BTreeMap::new(),
        }
    }

    pub fn append(
        &mut self,
        admitted: &Admitted,
        bytes: &[u8],
        marker: Option<Marker>,
        meant: Option<usize>,
    ) -> Appended {
        let size = self.partition.log.needs_chunk(bytes.len(), 0);
        let chunk = size.map(|size| self.pool.try_chunk(Share::Tail, size).expect("there is memory"));
        let appended = self.partition.append(admitted, bytes, chunk);
        let header =
            BatchHeader { base_offset: appended.base_offset, ..Batch::first(bytes).unwrap().header() };
        self.entries.push(Entry { header, marker, meant });
        appended
    }

    /// What was appended is durable.
    pub fn commit(&mut self) {
        if let Some(round) = self.partition.log.begin_round() {
            self.partition.advance(round.target);
        }
    }

    /// The process ends and another reads the log: what was not durable is gone.
    pub fn restart(&mut self, keeps_snapshot: bool) {
        let end = self.partition.high_watermark();
        self.entries.retain(|entry| entry.header.base_offset < end);
        let (mut from, mut producers) = (0, Producers::new(Default::default()));
        let mut transactions = Transactions::default();
        let mut index = AbortedIndex::default();
        if self.snapshot.0 <= end && keeps_snapshot {
            from = self.snapshot.0;
            producers.load(&Snapshot::decode(&self.snapshot.1).unwrap(), NOW);
            let open = producers.active(0, producers.len());
            let open: Vec<_> = open.filter(|known| known.transaction_first_offset >= 0).collect();
            open.iter()
                .for_each(|known| transactions.begin(known.producer_id, known.transaction_first_offset));
            // What was aborted before is in the files of the segments.
            let known = self.partition.aborted.between(0, 0, i64::MAX).unwrap();
            known.into_iter().filter(|aborted| aborted.last_offset < from).for_each(|one| index.push(one));
        }
        for entry in self.entries.iter().filter(|entry| entry.header.base_offset >= from) {
            let aborted = note(&mut producers, &mut transactions, &entry.header, entry.marker.as_ref(), NOW);
            aborted.into_iter().for_each(|aborted| index.push(aborted));
        }
        if !keeps_snapshot {
            self.snapshot = (end, producers.snapshot());
        }
        self.epoch += 1;
        let active = Segment::active(end, Tail::new(0, None), SegmentIndex::default(), 0);
        let older = (end > 0).then(|| Segment::finished(0, 1000));
        let segments = older.into_iter().chain([active]).collect();
        let log = Log::new(segments, 0, end, Default::default(), LogConfig::default());
        self.partition = Partition::new(log, producers, AppendRules::default(), self.epoch);
        self.partition.aborted.learn(0, index);
    }

    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.partition.last_stable_offset() < self.partition.log.next_offset()
    }

    /// The records of a transaction of the model, and whether they are committed.
    pub fn outcomes(&self, meant: usize) -> impl Iterator<Item = (i64, bool)> {
        let of_it = self.entries.iter().enumerate().filter(move |(_, entry)| entry.meant == Some(meant));
        of_it.map(|(at, entry)| {
            let marker = self.end_of(at).expect("nothing is open any more");
            (entry.header.base_offset, marker.1)
        })
    }

    /// The marker that ends the transaction of a record: its offset, and whether it commits.
    fn end_of(&self, at: usize) -> Option<(i64, bool)> {
        let id = self.entries[at].header.producer_id;
        let mut behind = self.entries[at + 1..].iter().filter(|entry| entry.header.producer_id == id);
        behind.find_map(|entry| entry.marker.map(|marker| (entry.header.base_offset, marker.commit)))
    }

    pub fn check(&mut self, meant: &[Meant]) {
        let stable = self.partition.last_stable_offset();
        let durable = self.partition.high_watermark();
        let aborted = self.partition.aborted.between(0, 0, stable).unwrap();
        let mut open: BTreeMap<i64, usize> = BTreeMap::new();
        let mut epochs: BTreeMap<i64, i16> = BTreeMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let BatchHeader { producer_id: id, producer_epoch, base_offset: offset, .. } = entry.header;
            let before = epochs.insert(id, producer_epoch);
            assert!(
                before.is_none_or(|before| before <= producer_epoch),
                "the epoch of {id} falls at {offset}"
            );
            let Some(transaction) = entry.meant else {
                open.remove(&id);
                continue;
            };
            assert!(transaction < meant.len());
            let with = *open.entry(id).or_insert(transaction);
            assert_eq!(with, transaction, "a record of one transaction got into another, at {offset}");
            if offset >= stable {
                continue;
            }
            let Some((marker, commit)) = self.end_of(at).filter(|(marker, _)| *marker < durable) else {
                panic!("readers get the record at {offset}, whose outcome may yet be another");
            };
            let given = *self.given.entry(offset).or_insert(commit);
            assert_eq!(given, commit, "the outcome of the record at {offset} has changed");
            let is_listed = aborted.iter().any(|aborted| {
                aborted.producer_id == id && (aborted.first_offset..=aborted.last_offset).contains(&offset)
            });
            assert_eq!(is_listed, !commit, "the record at {offset}, marked at {marker}");
        }
        let behind = self.given.range(durable..).next();
        assert_eq!(behind, None, "a record that was given is gone");
    }
}
