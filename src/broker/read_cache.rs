//! Reads from segment files for consumers that lag: in windows, read once for all who want them, and ahead of
//! who reads on. Bounded by the pool's share for reads, so that no lagging consumer can evict a tail.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::kept_memory::KeptMemory;
use super::messages::PartitionId;
use crate::collections::Map;
use crate::limits::{BLOCK, INDEX_CACHE, READ_MEMORY, READ_WINDOW};
use crate::log::aborted::{self, AbortedIndex};
use crate::log::index::{self, OffsetEntry};
use crate::reactor::sync::Bell;
use crate::reactor::{Chunk, ChunkSlice, File, Reactor, Share};

/// A segment's files, as long as they are these: compaction puts others in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentFiles {
    /// The partition.
    pub id: PartitionId,
    /// The segment's base offset.
    pub base: i64,
    /// Which of the files that it had one after the other.
    pub version: u32,
}

/// A window of a segment's file.
type Window = (SegmentFiles, u64);
type CachedIndex = (SegmentFiles, Rc<Vec<OffsetEntry>>);

/// What was read from files lately. One per core.
pub struct ReadCache {
    reactor: Reactor,
    windows: RefCell<Windows>,
    reading: RefCell<Map<Window, Bell>>,
    indexes: RefCell<VecDeque<CachedIndex>>,
    index_bytes: Cell<usize>,
    aborted: RefCell<VecDeque<(SegmentFiles, Rc<AbortedIndex>)>>,
}

/// Segments whose aborted transactions are kept.
const ABORTED_KEPT: usize = 64;
const WINDOW: u64 = READ_WINDOW as u64;

impl ReadCache {
    /// Empty.
    pub fn new(reactor: &Reactor) -> ReadCache {
        ReadCache {
            reactor: reactor.clone(),
            windows: RefCell::new(Windows::new(reactor.pool().budget(Share::Reads))),
            reading: RefCell::default(),
            indexes: RefCell::default(),
            index_bytes: Cell::new(0),
            aborted: RefCell::default(),
        }
    }

    /// Bytes of the file from `position` on, no further than `end` (which is stable), up to the end of their
    /// window. At least one.
    pub async fn read(
        &self,
        segment: SegmentFiles,
        file: &File,
        position: u64,
        end: u64,
    ) -> io::Result<ChunkSlice> {
        assert!(position < end, "a read has something to read");
        let first = position - position % WINDOW;
        let key = (segment, first);
        let from = (position - first) as usize;
        let to = (end - first).min(WINDOW) as usize;
        loop {
            let known = self.windows.borrow().get(&key, to).cloned();
            if let Some(slice) = known {
                return Ok(slice.slice(from..to));
            }
            let under_way = self.reading.borrow().get(&key).map(Bell::notified);
            match under_way {
                Some(read) => read.await,
                None => {
                    let slice = self.read_window(key, file, to).await?;
                    if slice.len() < to {
                        let what = format!("{} bytes at {first} wanted, {} found", to, slice.len());
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                    }
                    return Ok(slice.slice(from..to));
                }
            }
        }
    }

    /// Whether the window is cached up to `end`, or being read.
    pub fn has(&self, segment: SegmentFiles, position: u64, end: u64) -> bool {
        let first = position - position % WINDOW;
        let key = (segment, first);
        let to = (end - first).min(WINDOW) as usize;
        self.reading.borrow().contains_key(&key) || self.windows.borrow().get(&key, to).is_some()
    }

    async fn read_window(&self, key: Window, file: &File, to: usize) -> io::Result<ChunkSlice> {
        let bell = Bell::default();
        self.reading.borrow_mut().insert(key, bell.clone());
        let _done = Reading { cache: self, key, bell };
        let chunk = self.chunk(to.next_multiple_of(BLOCK)).await;
        let chunk = file.read_at(chunk, key.1).await?;
        // What lies past the stable end was read too, but may still change: it is cut off.
        let len = chunk.len().min(to);
        let slice = chunk.slice(0..len);
        self.windows.borrow_mut().insert(key, slice.clone());
        Ok(slice)
    }

    /// A chunk for a read, letting go of the oldest windows for it.
    async fn chunk(&self, len: usize) -> Chunk {
        self.windows.borrow_mut().make_room(len);
        loop {
            if let Some(chunk) = self.reactor.pool().try_chunk(Share::Reads, len) {
                return chunk;
            }
            if !self.windows.borrow_mut().evict_oldest() {
                return self.reactor.pool().chunk(Share::Reads, len).await;
            }
        }
    }

    /// The aborted transactions of a finished segment, if they were read lately.
    pub fn aborted(&self, key: SegmentFiles) -> Option<Rc<AbortedIndex>> {
        self.aborted.borrow().iter().find(|(known, _)| *known == key).map(|(_, index)| index.clone())
    }

    /// These were just read.
    pub fn put_aborted(&self, key: SegmentFiles, index: Rc<AbortedIndex>) {
        let mut all = self.aborted.borrow_mut();
        all.retain(|(known, _)| *known != key);
        all.push_back((key, index));
        let size = |index: &AbortedIndex| index.entries().len() * aborted::ENTRY;
        let mut bytes: usize = all.iter().map(|(_, index)| size(index)).sum();
        while all.len() > ABORTED_KEPT || bytes > INDEX_CACHE && all.len() > 1 {
            bytes -= all.pop_front().map_or(0, |(_, index)| size(&index));
        }
    }

    /// The offset index of a finished segment, from its file.
    pub async fn index(&self, key: SegmentFiles, path: &std::path::Path) -> io::Result<Rc<Vec<OffsetEntry>>> {
        let known = self.indexes.borrow().iter().find(|(k, _)| *k == key).map(|(_, index)| index.clone());
        if let Some(index) = known {
            return Ok(index);
        }
        let bytes = self.reactor.disk().read(path).await?;
        // A damaged index costs time, not records: the search then begins at the segment's beginning.
        let entries = index::decode_offsets(&bytes).unwrap_or_else(|| {
            tracing::warn!("{}: the index is damaged; the segment is searched without it", path.display());
            Vec::new()
        });
        let entries = Rc::new(entries);
        self.put_index(key, entries.clone());
        Ok(entries)
    }

    /// Goes by this index from now on.
    pub fn put_index(&self, key: SegmentFiles, entries: Rc<Vec<OffsetEntry>>) {
        let size = |index: &Rc<Vec<OffsetEntry>>| index.len() * index::OFFSET_ENTRY;
        self.index_bytes.set(self.index_bytes.get() + size(&entries));
        let mut indexes = self.indexes.borrow_mut();
        if let Some(at) = indexes.iter().position(|(known, _)| *known == key)
            && let Some((_, old)) = indexes.remove(at)
        {
            self.index_bytes.set(self.index_bytes.get() - size(&old));
        }
        indexes.push_back((key, entries));
        while self.index_bytes.get() > INDEX_CACHE && indexes.len() > 1 {
            if let Some((_, oldest)) = indexes.pop_front() {
                self.index_bytes.set(self.index_bytes.get() - size(&oldest));
            }
        }
    }
}

/// The windows in memory, and which ones were there lately.
struct Windows {
    kept: Map<Window, ChunkSlice>,
    order: VecDeque<Window>,
    bytes: usize,
    memory: KeptMemory,
    /// What was evicted, with what had been evicted before it: as much as doubled memory would hold.
    ghosts: Map<Window, u64>,
    ghost_order: VecDeque<(Window, u64)>,
    evicted: u64,
}

impl Windows {
    fn new(most: usize) -> Windows {
        Windows {
            kept: Map::default(),
            order: VecDeque::new(),
            bytes: 0,
            memory: KeptMemory::new(READ_MEMORY, most),
            ghosts: Map::default(),
            ghost_order: VecDeque::new(),
            evicted: 0,
        }
    }

    /// The window, if it is kept up to `to`.
    fn get(&self, key: &Window, to: usize) -> Option<&ChunkSlice> {
        self.kept.get(key).filter(|slice| slice.len() >= to)
    }

    fn insert(&mut self, key: Window, slice: ChunkSlice) {
        if let Some(at) = self.ghosts.remove(&key) {
            self.memory.missed(slice.len(), self.memory.wanted() as u64 + self.evicted - at);
        }
        self.bytes += slice.len();
        match self.kept.insert(key, slice) {
            // It was kept up to less.
            Some(short) => self.bytes -= short.len(),
            None => self.order.push_back(key),
        }
    }

    fn make_room(&mut self, len: usize) {
        while self.bytes + len > self.memory.wanted() && self.evict_oldest() {}
    }

    /// Lets go of the oldest window; says whether there was one.
    fn evict_oldest(&mut self) -> bool {
        let Some(key) = self.order.pop_front() else { return false };
        let Some(slice) = self.kept.remove(&key) else { return true };
        self.bytes -= slice.len();
        self.ghosts.insert(key, self.evicted);
        self.ghost_order.push_back((key, self.evicted));
        self.evicted += slice.len() as u64;
        while let Some((key, at)) = self.ghost_order.front().copied() {
            if self.evicted - at <= self.memory.wanted() as u64 {
                break;
            }
            self.ghost_order.pop_front();
            if self.ghosts.get(&key) == Some(&at) {
                self.ghosts.remove(&key);
            }
        }
        true
    }
}

/// Ends the announcement that a window is being read, however the read ends.
struct Reading<'a> {
    cache: &'a ReadCache,
    key: Window,
    bell: Bell,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.cache.reading.borrow_mut().remove(&self.key);
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Pool;
    use crate::wire::uuid::Uuid;

    const MIB: usize = 1 << 20;

    fn window(number: u64) -> Window {
        let id = PartitionId { topic: Uuid::ZERO, partition: 0 };
        (SegmentFiles { id, base: 0, version: 0 }, number * WINDOW)
    }

    /// Reads a window as the cache does; says whether it had to be read from disk.
    fn read(windows: &mut Windows, pool: &Pool, number: u64) -> bool {
        if windows.get(&window(number), MIB / 2).is_some() {
            return false;
        }
        windows.make_room(MIB / 2);
        let mut chunk = pool.try_chunk(Share::Reads, MIB / 2).unwrap();
        chunk.advance(MIB / 2);
        windows.insert(window(number), chunk.freeze());
        true
    }

    #[test]
    fn who_reads_on_takes_little_and_who_comes_again_gets_more() {
        let pool = Pool::new(15 * READ_MEMORY);
        let mut windows = Windows::new(pool.budget(Share::Reads));
        let of = |bytes: usize| (bytes / (MIB / 2)) as u64;
        for number in 0..of(4 * READ_MEMORY) {
            assert!(read(&mut windows, &pool, number));
        }
        assert_eq!(pool.used(Share::Reads), READ_MEMORY, "nobody wants the old ones");
        let again = of(READ_MEMORY) + 8;
        let rounds = (0..).take_while(|_| (0..again).filter(|n| read(&mut windows, &pool, *n)).count() > 0);
        let rounds = rounds.count();
        assert!((8..12).contains(&rounds), "{rounds} rounds until all of it is kept");
        assert!(windows.ghosts.len() <= windows.ghost_order.len());
        assert!(windows.ghost_order.len() as u64 <= of(READ_MEMORY) + 1);
    }
}
