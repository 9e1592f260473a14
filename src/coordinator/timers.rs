//! Many deadlines, of which the shell needs to know the next.

use std::collections::{BTreeMap, BTreeSet};

/// Deadlines by key, on the clock that never goes back, in milliseconds.
///
/// To put a deadline off costs one look-up: the queue keeps the old time, and when it comes, the key is queued again
/// for the new one. So a member that sends heartbeats moves in the queue once per session timeout.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    due: BTreeMap<K, Due>,
    queue: BTreeSet<(u64, K)>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    /// When it fires.
    at: u64,
    /// When it is looked at: never later.
    looked: u64,
}

impl<K: Ord + Clone> Timers<K> {
    /// None.
    pub fn new() -> Timers<K> {
        Timers { due: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// Sets the deadline of a key, instead of the one it has.
    pub fn schedule(&mut self, key: K, at: u64) {
        match self.due.get_mut(&key) {
            Some(due) if due.looked <= at => due.at = at,
            Some(due) => {
                let old = (due.looked, key);
                self.queue.remove(&old);
                *due = Due { at, looked: at };
                self.queue.insert((at, old.1));
            }
            None => {
                self.due.insert(key.clone(), Due { at, looked: at });
                self.queue.insert((at, key));
            }
        }
    }

    /// Forgets the deadline of a key.
    pub fn cancel(&mut self, key: &K) {
        if let Some(due) = self.due.remove(key) {
            self.queue.remove(&(due.looked, key.clone()));
        }
    }

    /// The deadline of a key.
    pub fn deadline(&self, key: &K) -> Option<u64> {
        self.due.get(key).map(|due| due.at)
    }

    /// No deadline is earlier. It may be that none is due even then.
    pub fn next(&self) -> Option<u64> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes a key whose deadline has come.
    pub fn pop(&mut self, now: u64) -> Option<K> {
        loop {
            let (looked, _) = self.queue.first()?;
            if *looked > now {
                return None;
            }
            let (_, key) = self.queue.pop_first()?;
            let due = self.due.get_mut(&key).expect("what is queued is due");
            if due.at <= now {
                self.due.remove(&key);
                return Some(key);
            }
            due.looked = due.at;
            self.queue.insert((due.at, key));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fires_once_at_its_newest_deadline() {
        let mut timers = Timers::new();
        timers.schedule("a", 10);
        timers.schedule("b", 12);
        timers.schedule("a", 20);
        timers.schedule("b", 5);
        assert_eq!(timers.next(), Some(5));
        assert_eq!(timers.pop(4), None);
        assert_eq!(timers.pop(15), Some("b"));
        assert_eq!(timers.pop(15), None);
        assert_eq!((timers.next(), timers.deadline(&"a")), (Some(20), Some(20)));
        assert_eq!(timers.pop(20), Some("a"));
        assert!(timers.is_empty() && timers.next().is_none());
    }

    #[test]
    fn a_cancelled_key_does_not_fire() {
        let mut timers = Timers::new();
        timers.schedule(1, 10);
        timers.schedule(1, 30);
        timers.schedule(2, 10);
        timers.cancel(&1);
        assert_eq!((timers.pop(40), timers.pop(40), timers.len()), (Some(2), None, 0));
    }
}
