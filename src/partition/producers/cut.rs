//! Snapshots of producers that go on appending meanwhile.
//!
//! With a new segment comes a snapshot of the producers at its base offset. Where there are hundreds of thousands,
//! writing them all down would hold up the core. So each has a side: beginning a snapshot turns the current side
//! over, and whoever is not on it has still to be written down, which happens bit by bit, or right before he changes.

use std::collections::BTreeMap;

use super::Entry;
use crate::log::snapshot::SnapshotWriter;

/// Up to so many are written down at once.
const AT_ONCE: usize = 1024;

/// The snapshot under way, and those that are made and wait to be written.
#[derive(Debug, Default)]
pub struct Cut {
    under_way: Option<UnderWay>,
    made: BTreeMap<i64, Vec<u8>>,
    side: bool,
}

#[derive(Debug)]
struct UnderWay {
    offset: i64,
    writer: SnapshotWriter,
    next: usize,
}

impl Cut {
    /// The side of those that need not be written down.
    pub fn side(&self) -> bool {
        self.side
    }

    /// Begins a snapshot. One that is under way is finished first.
    pub fn begin(&mut self, offset: i64, entries: &mut [Entry]) {
        self.go_on(usize::MAX, entries);
        self.side = !self.side;
        let writer = SnapshotWriter::with_capacity(entries.len());
        self.under_way = Some(UnderWay { offset, writer, next: 0 });
        if entries.len() <= AT_ONCE {
            self.go_on(usize::MAX, entries);
        }
    }

    /// Writes a producer down as it is, where that is still to be done.
    pub fn save(&mut self, entry: &mut Entry) {
        if entry.side == self.side {
            return;
        }
        entry.side = self.side;
        if let Some(under_way) = &mut self.under_way {
            under_way.writer.add(&entry.as_snapshot(), entry.older());
        }
    }

    /// Writes the next producers down; says whether there are more.
    pub fn go_on(&mut self, count: usize, entries: &mut [Entry]) -> bool {
        let Some(next) = self.under_way.as_ref().map(|under_way| under_way.next) else { return false };
        let end = next.saturating_add(count).min(entries.len());
        for entry in entries.iter_mut().take(end).skip(next) {
            self.save(entry);
        }
        let Some(mut under_way) = self.under_way.take() else { return false };
        under_way.next = end;
        if end < entries.len() {
            self.under_way = Some(under_way);
            return true;
        }
        self.made.insert(under_way.offset, under_way.writer.finish());
        false
    }

    /// Takes the newest up to an offset that is made, and forgets those before.
    pub fn take(&mut self, offset: i64) -> Option<(i64, Vec<u8>)> {
        let later = self.made.split_off(&(offset + 1));
        std::mem::replace(&mut self.made, later).pop_last()
    }

    /// Gives one back.
    pub fn put_back(&mut self, offset: i64, snapshot: Vec<u8>) {
        self.made.insert(offset, snapshot);
    }
}
