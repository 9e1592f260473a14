//! How many producers the partitions of a core may know together.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits::PRODUCERS;

/// Room for producers, shared by the partitions of a core. Each (partition, producer) counts.
#[derive(Clone, Debug)]
pub struct ProducerRoom(Rc<Room>);

#[derive(Debug)]
struct Room {
    used: Cell<usize>,
    limit: usize,
}

impl Default for ProducerRoom {
    fn default() -> Self {
        ProducerRoom::new(PRODUCERS)
    }
}

impl ProducerRoom {
    /// Room for so many.
    pub fn new(limit: usize) -> ProducerRoom {
        ProducerRoom(Rc::new(Room { used: Cell::new(0), limit }))
    }

    /// How many are known.
    pub fn used(&self) -> usize {
        self.0.used.get()
    }

    /// Whether each new one takes the place of another.
    pub fn is_full(&self) -> bool {
        self.used() >= self.0.limit
    }

    /// How many are to go so that there is room again; none while there is some.
    pub fn excess(&self) -> usize {
        let enough = self.0.limit - self.0.limit / 8;
        if self.is_full() { self.used() - enough } else { 0 }
    }

    pub(super) fn take(&self, count: usize) {
        self.0.used.set(self.used() + count);
    }

    pub(super) fn give(&self, count: usize) {
        self.0.used.set(self.used() - count);
    }
}
