//! How much of the tails a core keeps in memory.

use std::cell::Cell;
use std::time::Duration;

use crate::limits::TAIL_MEMORY_START;
use crate::reactor::Nanos;

/// The wanted size at most doubles once in so long: what is kept longer from now on has to be appended first.
const GROW_EVERY: Duration = Duration::from_secs(1);

/// How many bytes of the tails stay in memory once they are stable: few as long as consumers keep up, for memory
/// that goes round stays mapped and in reach, and more when they lag by so little that it would have served them.
pub struct TailMemory {
    wanted: Cell<usize>,
    most: usize,
    grown: Cell<Nanos>,
}

impl TailMemory {
    /// For a core whose tails may hold `most` bytes.
    pub fn new(most: usize) -> TailMemory {
        TailMemory { wanted: Cell::new(TAIL_MEMORY_START.min(most)), most, grown: Cell::default() }
    }

    /// How much is to be kept. Bytes that are not stable are kept in any case.
    pub fn wanted(&self) -> usize {
        self.wanted.get()
    }

    /// A consumer read from disk what lies `distance` bytes before a log's end.
    pub fn missed(&self, distance: u64, now: Nanos) {
        let wanted = self.wanted.get();
        if distance <= self.most as u64 && wanted < self.most && now.since(self.grown.get()) >= GROW_EVERY {
            self.wanted.set(wanted.saturating_mul(2).min(self.most));
            self.grown.set(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_for_those_who_lag_a_little() {
        let memory = TailMemory::new(5 * TAIL_MEMORY_START);
        let second = |n: u64| Nanos(n * 1_000_000_000);
        memory.missed(5 * TAIL_MEMORY_START as u64 + 1, second(1));
        assert_eq!(memory.wanted(), TAIL_MEMORY_START, "that far back is never in memory");
        memory.missed(1, second(2));
        memory.missed(1, second(2));
        assert_eq!(memory.wanted(), 2 * TAIL_MEMORY_START, "once a second");
        (3..9).for_each(|n| memory.missed(1, second(n)));
        assert_eq!(memory.wanted(), 5 * TAIL_MEMORY_START);
        assert_eq!(TailMemory::new(1 << 20).wanted(), 1 << 20);
    }
}
