//! What clients were told of one partition, and the check of a log against it.

use std::collections::BTreeMap;

/// A batch as it lies in a log: who wrote it, which of his it is, and how many records it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub producer: u32,
    pub number: u32,
    pub records: u32,
}

/// Producers from this number on are idempotent: each writes to one partition, and leaves no number out.
pub const IDEMPOTENT: u32 = 1 << 31;

/// What is known of one partition.
#[derive(Default)]
pub struct Known {
    /// Acknowledged, or seen by a consumer or an earlier recovery: must be there.
    certain: BTreeMap<i64, Entry>,
    /// Sent, and not found missing by a recovery since: may be there.
    sent: BTreeMap<(u32, u32), u32>,
    /// Where the log started when it was last checked.
    start: i64,
    /// What was certain and was deleted by retention. A crash may bring it back, as it was.
    retired: BTreeMap<i64, Entry>,
    /// All that was ever sent.
    ever: BTreeMap<(u32, u32), u32>,
    /// The latest start that the log ever had.
    latest_start: i64,
    /// Below this offset somebody was told that all is deleted.
    deleted: i64,
    /// The latest offset below which a deletion was ever asked for.
    asked: i64,
    /// Deletions up to the high watermark, whatever it may be, that nobody was told the end of.
    open_ended: u32,
}

/// What a check found that nobody had been told of.
pub struct News {
    pub unacknowledged: u64,
    pub start_moved: bool,
}

impl Known {
    /// A producer sends this.
    pub fn sends(&mut self, entry: Entry) {
        self.sent.insert((entry.producer, entry.number), entry.records);
        self.ever.insert((entry.producer, entry.number), entry.records);
    }

    /// Somebody was told that this is there. Gives what he had been told before.
    pub fn is_told(&mut self, offset: i64, entry: Entry) -> Option<Entry> {
        self.certain.insert(offset, entry)
    }

    /// A deletion of what lies before this offset is asked for; -1 is the high watermark.
    pub fn asks_to_delete(&mut self, before: i64) {
        self.asked = self.asked.max(before);
        self.open_ended += u32::from(before == -1);
    }

    /// It was done: the log starts at `start` now.
    pub fn is_deleted(&mut self, before: i64, start: i64) {
        self.deleted = self.deleted.max(start);
        self.asked = self.asked.max(start);
        self.open_ended -= u32::from(before == -1);
    }

    /// Whether a log that nothing but deletions shortens may start at this offset.
    pub fn may_start_at(&mut self, start: i64) -> bool {
        if std::mem::take(&mut self.open_ended) > 0 {
            self.asked = self.asked.max(start);
        }
        start <= self.asked
    }

    /// How many batches of an idempotent producer must have been there, from his first on.
    pub fn numbers_of(&self, producer: u32) -> u32 {
        let all = self.retired.values().chain(self.certain.values());
        let last = all.filter(|entry| entry.producer == producer).map(|entry| entry.number).max();
        last.map_or(0, |last| last + 1)
    }

    /// Where the last of what must be there ends.
    pub fn certain_end(&self) -> i64 {
        self.certain.last_key_value().map_or(self.start, |(at, entry)| at + i64::from(entry.records))
    }

    /// What must be there at this offset.
    pub fn at(&self, offset: i64) -> Option<Entry> {
        self.certain.get(&offset).copied()
    }

    /// The offset of the first batch behind this one that must be there.
    pub fn next_after(&self, offset: i64) -> Option<i64> {
        self.certain.range(offset + 1..).next().map(|(offset, _)| *offset)
    }

    /// What lies from this offset on is lost, and that was accepted.
    pub fn lose_from(&mut self, offset: i64) {
        self.certain.split_off(&offset);
        self.retired.split_off(&offset);
        self.latest_start = self.latest_start.min(offset);
        self.deleted = self.deleted.min(offset);
        let kept: Vec<_> = self.certain.values().map(|entry| (entry.producer, entry.number)).collect();
        self.sent.retain(|sent, _| kept.contains(sent));
    }

    /// Holds a log that was read from its start to its end against what is known, while nobody appends.
    /// From here on all that was found is certain, and what was sent but not found is dead.
    pub fn check(&mut self, start: i64, found: BTreeMap<i64, Entry>, place: &str) -> News {
        assert!(start >= self.deleted, "{place}: offset {start} was deleted, up to {}", self.deleted);
        // The log may start within a batch.
        let first = found.first_key_value().map_or(start, |(offset, _)| start.min(*offset));
        if let Some((offset, entry)) = found.first_key_value() {
            let end = offset + i64::from(entry.records);
            assert!(end > start, "{place}: the batch at offset {offset} lies before the start {start}");
        }
        let certain = self.certain.split_off(&first);
        self.retired.extend(std::mem::replace(&mut self.certain, certain));
        for (offset, entry) in &self.certain {
            assert_eq!(found.get(offset), Some(entry), "{place}, offset {offset}");
        }
        for (offset, entry) in self.retired.range(first..) {
            assert_eq!(
                found.get(offset),
                Some(entry),
                "{place}, offset {offset}, which was deleted and came back"
            );
        }
        let (mut next, mut last) = (first, BTreeMap::new());
        for (offset, entry) in &found {
            let Entry { producer, number, records } = *entry;
            assert_eq!(*offset, next, "{place}: offsets follow one another");
            next += i64::from(records);
            let may_be_there = if *offset < self.latest_start { &self.ever } else { &self.sent };
            assert_eq!(
                may_be_there.get(&(producer, number)),
                Some(&records),
                "{place}, offset {offset}: {entry:?} was never sent, or had been cut off"
            );
            let before = last.insert(producer, number);
            assert!(before.is_none_or(|before| before < number), "{place}: {entry:?} comes after {before:?}");
            if producer >= IDEMPOTENT {
                let follows = before.map_or(start > 0 || number == 0, |before| before + 1 == number);
                assert!(follows, "{place}: there is a gap between {before:?} and {entry:?}");
            }
        }
        self.latest_start = self.latest_start.max(start);
        let news = News {
            unacknowledged: found.keys().filter(|offset| !self.certain.contains_key(offset)).count() as u64,
            start_moved: start > std::mem::replace(&mut self.start, start),
        };
        self.sent = found.values().map(|e| ((e.producer, e.number), e.records)).collect();
        self.certain = found;
        news
    }
}
