//! How much is kept in memory for consumers: of the tails, and of what was read from files.

use std::cell::Cell;

/// A read from disk that a kept byte would have saved is so much cheaper than keeping one more byte: memory that is
/// touched for the first time has to be found and cleared, and then lies in no processor cache.
const PAYS_AFTER: usize = 8;

/// How many bytes are kept: few at first, for memory that goes round stays mapped and in reach, and twice as many
/// whenever so much had to be read from disk that keeping them would have paid. A consumer that falls ever further
/// behind does not make it grow.
pub struct KeptMemory {
    wanted: Cell<usize>,
    most: Cell<usize>,
    /// Bytes that were read from disk since the last growth, and that twice the memory would have held.
    missed: Cell<usize>,
}

impl KeptMemory {
    /// So many bytes at first, and at most so many.
    pub fn new(first: usize, most: usize) -> KeptMemory {
        KeptMemory { wanted: Cell::new(first.min(most)), most: Cell::new(most), missed: Cell::default() }
    }

    /// Not more than this from now on.
    pub fn limit(&self, most: usize) {
        self.most.set(self.most.get().min(most));
        self.wanted.set(self.wanted.get().min(self.most.get()));
    }

    /// How many bytes are to be kept.
    pub fn wanted(&self) -> usize {
        self.wanted.get()
    }

    /// So many bytes were read from disk that would have been found with `depth` bytes kept.
    pub fn missed(&self, bytes: usize, depth: u64) {
        let wanted = self.wanted.get();
        if depth > 2 * wanted as u64 || wanted == self.most.get() {
            return;
        }
        let missed = self.missed.get() + bytes;
        if missed < wanted.saturating_mul(PAYS_AFTER) {
            self.missed.set(missed);
        } else {
            self.missed.set(0);
            self.wanted.set(wanted.saturating_mul(2).min(self.most.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_where_that_pays() {
        let memory = KeptMemory::new(100, 300);
        (0..100).for_each(|_| memory.missed(100, 201));
        assert_eq!(memory.wanted(), 100, "twice as much would not have helped");
        (0..7).for_each(|_| memory.missed(100, 200));
        assert_eq!(memory.wanted(), 100, "not yet");
        memory.missed(100, 1);
        assert_eq!(memory.wanted(), 200);
        (0..16).for_each(|_| memory.missed(100, 1));
        assert_eq!(memory.wanted(), 300, "and never more than there is");
        (0..100).for_each(|_| memory.missed(100, 1));
        assert_eq!(memory.wanted(), 300);
        assert_eq!(KeptMemory::new(100, 50).wanted(), 50);
        memory.limit(120);
        (0..100).for_each(|_| memory.missed(100, 1));
        assert_eq!(memory.wanted(), 120);
        memory.limit(500);
        assert_eq!(memory.wanted(), 120, "a limit does not make it larger");
    }
}
