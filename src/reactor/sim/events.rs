//! What is to happen later, in the order of virtual time; what falls into one instant comes in a seeded order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::handle::Handle;
use super::rng::Rng;
use super::world::NodeId;

/// Something that happens at a point in time.
pub(super) enum Event {
    /// A timer of a core is due.
    Timer { core: u32 },
    /// A core's rest ends.
    Resume { core: u32 },
    /// An operation of one of a node's disks ends.
    Disk { node: NodeId, disk: usize, operation: u64 },
    /// Something arrives on a connection at the end with this number.
    Arrival { connection: u64, end: usize },
    /// A connection attempt reaches its target, or is tried again.
    Attempt { connection: u64 },
    /// A connection attempt's outcome reaches who made it.
    Outcome { connection: u64 },
    /// What a test asked for.
    Call(Box<dyn FnOnce(&Handle)>),
}

struct Entry {
    at: u64,
    tie: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    // Turned round: the heap gives the largest first, and we want the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.tie).cmp(&(self.at, self.tie))
    }
}

pub(super) struct Events {
    heap: BinaryHeap<Entry>,
    rng: Rng,
    count: u64,
}

impl Events {
    pub fn new(rng: Rng) -> Events {
        Events { heap: BinaryHeap::new(), rng, count: 0 }
    }

    pub fn push(&mut self, at: u64, event: Event) {
        // The upper half by chance, the lower by count, so that no two are equal.
        self.count += 1;
        let tie = (self.rng.next_u64() & !0xffff_ffff) | (self.count & 0xffff_ffff);
        self.heap.push(Entry { at, tie, event });
    }

    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at)
    }

    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    pub fn clear(&mut self) -> Vec<Event> {
        self.heap.drain().map(|entry| entry.event).collect()
    }
}
