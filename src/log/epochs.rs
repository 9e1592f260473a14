//! Which leader epoch began at which offset.

/// The epochs of a log, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<(i32, i64)>,
}

impl Epochs {
    /// From entries in order; those that do not grow are dropped.
    pub fn new(entries: impl IntoIterator<Item = (i32, i64)>) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, offset) in entries {
            epochs.begin(epoch, offset);
        }
        epochs
    }

    /// Notes that `epoch` begins at `offset`. Says whether that is news.
    pub fn begin(&mut self, epoch: i32, offset: i64) -> bool {
        if self.entries.last().is_some_and(|(last, _)| epoch <= *last) {
            return false;
        }
        // Epochs under which nothing was written leave no trace.
        while self.entries.last().is_some_and(|(_, start)| *start >= offset) {
            self.entries.pop();
        }
        self.entries.push((epoch, offset));
        true
    }

    /// The latest epoch.
    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The largest epoch not after `epoch`, and the offset at which it ends, in a log that ends at `end`.
    pub fn end_of(&self, epoch: i32, end: i64) -> Option<(i32, i64)> {
        if self.latest()? < epoch {
            return None;
        }
        let after = self.entries.partition_point(|(e, _)| *e <= epoch);
        let found = self.entries[..after].last()?.0;
        Some((found, self.entries.get(after).map_or(end, |(_, start)| *start)))
    }

    /// The epoch of the record at `offset`.
    pub fn at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        self.entries[..after].last().map(|(epoch, _)| *epoch)
    }

    /// Forgets what lies at or past `end`.
    pub fn cut(&mut self, end: i64) {
        self.entries.retain(|(_, start)| *start < end);
    }

    /// Forgets what ends before `start`.
    pub fn forget_before(&mut self, start: i64) {
        let after = self.entries.partition_point(|(_, s)| *s <= start);
        if after > 1 {
            self.entries.drain(..after - 1);
        }
        if let Some(first) = self.entries.first_mut() {
            first.1 = first.1.max(start);
        }
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_ends_and_epochs() {
        let mut epochs = Epochs::new([(0, 0), (2, 10), (5, 30)]);
        assert!(!epochs.begin(5, 40));
        assert_eq!(epochs.end_of(0, 50), Some((0, 10)));
        assert_eq!(epochs.end_of(3, 50), Some((2, 30)));
        assert_eq!(epochs.end_of(5, 50), Some((5, 50)));
        assert_eq!(epochs.end_of(6, 50), None);
        assert_eq!(epochs.at(29), Some(2));
        epochs.forget_before(15);
        assert_eq!(epochs.entries(), [(2, 15), (5, 30)]);
        epochs.cut(30);
        assert_eq!(epochs.entries(), [(2, 15)]);
        assert!(epochs.begin(7, 15));
        assert_eq!(epochs.entries(), [(7, 15)], "an epoch without records leaves no trace");
    }
}
