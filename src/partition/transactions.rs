//! The transactions of one partition: which are open, which have ended, and up to where readers of committed records
//! may read.
//!
//! A transaction is open from its first record until its marker. One whose marker is appended still holds readers
//! back until the marker itself lies below the high watermark: before that, its outcome may yet vanish.

use std::collections::BTreeMap;

use super::markers::Marker;
use super::producers::Producers;
use crate::log::aborted::Aborted;
use crate::wire::batch::{BatchHeader, attributes};

/// The transactions that hold readers back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transactions {
    /// The open ones: where each begins, and its producer.
    open: BTreeMap<i64, i64>,
    /// Those that have ended: where each began, and the offset of its marker.
    ended: BTreeMap<i64, i64>,
}

impl Transactions {
    /// The open ones of these producers.
    pub fn of(producers: &Producers) -> Transactions {
        let mut transactions = Transactions::default();
        let open =
            producers.active(0, producers.len()).filter(|producer| producer.transaction_first_offset >= 0);
        open.for_each(|producer| transactions.begin(producer.producer_id, producer.transaction_first_offset));
        transactions
    }

    /// A producer's transaction begins with the record at this offset.
    pub fn begin(&mut self, producer_id: i64, first_offset: i64) {
        let other = self.open.insert(first_offset, producer_id);
        assert!(other.is_none_or(|other| other == producer_id), "an offset is one record's");
    }

    /// The marker at this offset ends the transaction that began at `first_offset`. Gives what readers are to be told
    /// of it if it was aborted. None where no such transaction is open: a marker may be the only thing that a
    /// transaction has left in a partition.
    pub fn end(&mut self, first_offset: i64, marker: i64, is_committed: bool) -> Option<Aborted> {
        let producer_id = self.open.remove(&first_offset)?;
        self.ended.insert(first_offset, marker);
        let next = self.open.keys().next().copied();
        (!is_committed).then_some(Aborted {
            producer_id,
            first_offset,
            last_offset: marker,
            last_stable_offset: next.unwrap_or(marker + 1),
        })
    }

    /// Markers below this offset cannot vanish any more.
    pub fn advance(&mut self, high_watermark: i64) {
        self.ended.retain(|_, marker| *marker >= high_watermark);
    }

    /// The records before this offset are gone, and with them the markers among them. What is open stays open.
    pub fn forget_before(&mut self, start_offset: i64) {
        self.ended.retain(|_, marker| *marker >= start_offset);
    }

    /// Below this offset, and below the high watermark, no transaction is open.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let first = [self.open.keys().next(), self.ended.keys().next()].into_iter().flatten().min();
        first.map_or(high_watermark, |first| high_watermark.min(*first))
    }

    /// The open ones: where each begins, and its producer, oldest first.
    pub fn open(&self) -> impl Iterator<Item = (i64, i64)> {
        self.open.iter().map(|(first, producer)| (*first, *producer))
    }
}

/// Notes a batch that was appended, or that a scan of the log meets; `marker` is what it says, if it is one. Gives what
/// readers are to be told if it aborts a transaction.
pub fn note(
    producers: &mut Producers,
    transactions: &mut Transactions,
    header: &BatchHeader,
    marker: Option<&Marker>,
    now_ms: i64,
) -> Option<Aborted> {
    let id = header.producer_id;
    let open = producers.transaction_first_offset(id);
    if let Some(marker) = marker {
        producers.append_marker(header, marker, now_ms);
        let last = header.base_offset + i64::from(header.last_offset_delta);
        return if open >= 0 { transactions.end(open, last, marker.commit) } else { None };
    }
    producers.append(header, now_ms);
    let flags = attributes::TRANSACTIONAL | attributes::CONTROL;
    if header.attributes & flags == attributes::TRANSACTIONAL && open < 0 && id >= 0 {
        transactions.begin(id, header.base_offset);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_wait_for_the_marker_and_for_the_marker_to_stay() {
        let mut transactions = Transactions::default();
        assert_eq!(transactions.last_stable_offset(100), 100);
        transactions.begin(7, 40);
        transactions.begin(8, 60);
        assert_eq!(transactions.last_stable_offset(100), 40);
        assert_eq!(transactions.last_stable_offset(30), 30, "never past the high watermark");
        assert_eq!(transactions.end(40, 100, true), None);
        assert_eq!(transactions.last_stable_offset(100), 40, "the marker may vanish yet");
        transactions.advance(100);
        assert_eq!(
            transactions.last_stable_offset(100),
            40,
            "the watermark is before the marker, not behind it"
        );
        transactions.advance(101);
        assert_eq!(transactions.last_stable_offset(101), 60);
        assert_eq!(transactions.open().collect::<Vec<_>>(), [(60, 8)]);
    }

    #[test]
    fn what_is_aborted_says_what_was_open_beside_it() {
        let mut transactions = Transactions::default();
        transactions.begin(1, 5);
        transactions.begin(2, 10);
        let first = Aborted { producer_id: 2, first_offset: 10, last_offset: 20, last_stable_offset: 5 };
        assert_eq!(transactions.end(10, 20, false), Some(first));
        let second = Aborted { producer_id: 1, first_offset: 5, last_offset: 30, last_stable_offset: 31 };
        assert_eq!(transactions.end(5, 30, false), Some(second));
        assert_eq!(transactions.end(5, 40, false), None, "it has ended");
    }

    /// Against the plain rule: the lowest offset of a record whose transaction has no marker below the watermark.
    #[test]
    fn the_last_stable_offset_is_what_the_rule_says() {
        let mut chance = 1u64;
        let mut draw = |below: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % below
        };
        for _ in 0..200 {
            let mut transactions = Transactions::default();
            let mut log: Vec<(i64, Option<i64>)> = Vec::new(); // where each begins, and its marker
            let mut open: BTreeMap<i64, i64> = BTreeMap::new(); // by producer
            let mut high_watermark = 0;
            for offset in 0..60 {
                let producer = draw(4) as i64;
                match (open.get(&producer).copied(), draw(3)) {
                    (None, _) => {
                        open.insert(producer, offset);
                        log.push((offset, None));
                        transactions.begin(producer, offset);
                    }
                    (Some(first), 0) => {
                        open.remove(&producer);
                        log.iter_mut().find(|(begun, _)| *begun == first).unwrap().1 = Some(offset);
                        let aborted = transactions.end(first, offset, draw(2) == 0);
                        assert!(aborted.is_none_or(|aborted| aborted.first_offset == first));
                    }
                    _ => {}
                }
                high_watermark = high_watermark.max(draw(offset as u64 + 2) as i64);
                transactions.advance(high_watermark);
                let holds = |(_, marker): &&(i64, Option<i64>)| marker.is_none_or(|at| at >= high_watermark);
                let wanted = log.iter().filter(holds).map(|(first, _)| *first).min();
                let wanted = wanted.map_or(high_watermark, |first| first.min(high_watermark));
                assert_eq!(transactions.last_stable_offset(high_watermark), wanted);
            }
        }
    }
}
