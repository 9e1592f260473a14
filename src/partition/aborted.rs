//! The aborted transactions of a partition, by the segment that holds their marker: what of `.txnindex` is in memory.
//!
//! A segment's entries are in memory from when they are made, or read, until they are let go
//! ([`AbortedTransactions::forget`]), which may be when its file is durable. What is not known is read: a look-up says
//! which file it wants.

use std::collections::BTreeMap;

use crate::log::aborted::{Aborted, AbortedIndex, Search};

/// The entries of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entries {
    InMemory(AbortedIndex),
    /// They are in the segment's file.
    InFile,
}

/// The aborted transactions of a partition.
#[derive(Clone, Debug, Default)]
pub struct AbortedTransactions {
    /// Segments without any are left out.
    segments: BTreeMap<i64, Entries>,
}

impl AbortedTransactions {
    /// A transaction whose marker lies in this segment was aborted.
    pub fn push(&mut self, segment: i64, aborted: Aborted) {
        let entries = self.segments.entry(segment).or_insert(Entries::InMemory(AbortedIndex::default()));
        match entries {
            Entries::InMemory(index) => index.push(aborted),
            Entries::InFile => panic!("the entries of a segment that grows are in memory"),
        }
    }

    /// A segment has a file with entries.
    pub fn has_file(&mut self, segment: i64) {
        self.segments.insert(segment, Entries::InFile);
    }

    /// These are a segment's entries, read from its file or from its records.
    pub fn learn(&mut self, segment: i64, index: AbortedIndex) {
        match index.is_empty() {
            true => self.segments.remove(&segment),
            false => self.segments.insert(segment, Entries::InMemory(index)),
        };
    }

    /// Lets go of a segment's entries: its file is durable.
    pub fn forget(&mut self, segment: i64) {
        if let Some(entries) = self.segments.get_mut(&segment) {
            *entries = Entries::InFile;
        }
    }

    /// A segment's entries, for its file; none where it has none, or where they are in the file already.
    pub fn entries(&self, segment: i64) -> Option<&AbortedIndex> {
        match self.segments.get(&segment)? {
            Entries::InMemory(index) => Some(index),
            Entries::InFile => None,
        }
    }

    /// The content of a segment's file; none where it has none, or where it is written already.
    pub fn file(&self, segment: i64) -> Option<Vec<u8>> {
        self.entries(segment).map(AbortedIndex::encode)
    }

    /// These segments are gone.
    pub fn drop_segments(&mut self, bases: &[i64]) {
        bases.iter().for_each(|base| drop(self.segments.remove(base)));
    }

    /// A group of segments was compacted into its first, whose entries are these.
    pub fn exchange(&mut self, group: &[i64], index: AbortedIndex) {
        self.drop_segments(group);
        if let Some(first) = group.first() {
            self.learn(*first, index);
        }
    }

    /// The transactions that a reader from `from` up to `limit` is to leave out, where `segment` is the base offset of
    /// the segment that holds `from`. The error is the segment whose file is to be read first.
    pub fn between(&self, segment: i64, from: i64, limit: i64) -> Result<Vec<Aborted>, i64> {
        let mut found = Vec::new();
        self.collect(segment, from, limit, &mut found).map(|()| found)
    }

    /// The same, adding to what was found. The error is the segment whose file is to be searched next; then it goes on
    /// behind that.
    pub fn collect(&self, segment: i64, from: i64, limit: i64, found: &mut Vec<Aborted>) -> Result<(), i64> {
        for (base, entries) in self.segments.range(segment..) {
            match entries {
                Entries::InFile => return Err(*base),
                Entries::InMemory(index) => {
                    if index.collect(from, limit, found) == Search::Done {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64, last_stable_offset: i64) -> Aborted {
        Aborted { producer_id, first_offset, last_offset, last_stable_offset }
    }

    #[test]
    fn a_look_up_goes_on_over_segments_and_says_what_it_has_to_read() {
        let mut all = AbortedTransactions::default();
        all.push(0, aborted(1, 10, 20, 5));
        all.push(100, aborted(2, 5, 110, 111));
        all.push(200, aborted(3, 150, 210, 211));
        let found = |all: &AbortedTransactions, segment, from, limit| {
            all.between(segment, from, limit)
                .map(|found| found.iter().map(|aborted| aborted.producer_id).collect::<Vec<_>>())
        };
        assert_eq!(found(&all, 0, 0, 100), Ok(vec![1, 2]), "its marker lies in a later segment");
        assert_eq!(found(&all, 0, 0, 5), Ok(vec![]));
        assert_eq!(found(&all, 100, 120, 300), Ok(vec![3]));
        let index = all.entries(100).unwrap().clone();
        all.forget(100);
        assert_eq!((found(&all, 0, 0, 100), all.entries(100)), (Err(100), None));
        assert_eq!(found(&all, 200, 200, 300), Ok(vec![3]));
        all.learn(100, index);
        assert_eq!(found(&all, 0, 0, 300), Ok(vec![1, 2, 3]));
        all.exchange(&[0, 100], AbortedIndex::default());
        assert_eq!(found(&all, 0, 0, 300), Ok(vec![3]));
        all.drop_segments(&[200]);
        assert_eq!(found(&all, 0, 0, 300), Ok(vec![]));
    }
}
