//! The records of one event, as if they were replayed already.
//!
//! What an event leads to depends on what it has led to so far: the target on the new member, the member's step on
//! the new target. A draft replays each record at once, and takes all of them back in the end, so that the runtime
//! replays them like all others, and an event that is refused has changed nothing.

use std::ops::Deref;

use super::Consumer;
use crate::coordinator::records::ConsumerRecord;

/// A group with records that are not handed out.
pub(super) struct Draft<'a> {
    group: &'a mut Consumer,
    records: Vec<ConsumerRecord>,
    undo: Vec<ConsumerRecord>,
}

impl Draft<'_> {
    /// Nothing is drafted yet.
    pub fn new(group: &mut Consumer) -> Draft<'_> {
        Draft { group, records: Vec::new(), undo: Vec::new() }
    }

    /// One more record.
    pub fn put(&mut self, record: ConsumerRecord) {
        self.undo.push(self.group.replay(record.clone()));
        self.records.push(record);
    }

    /// The records, in their order. The group is as it was before.
    pub fn done(mut self) -> Vec<ConsumerRecord> {
        std::mem::take(&mut self.records)
    }
}

impl Deref for Draft<'_> {
    type Target = Consumer;

    fn deref(&self) -> &Consumer {
        self.group
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        while let Some(undo) = self.undo.pop() {
            self.group.replay(undo);
        }
    }
}
