//! Reads from segment files for consumers that lag: in windows, read once for all who want them, and ahead of
//! who reads on. Bounded by the pool's share for reads, so that no lagging consumer can evict a tail.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::messages::PartitionId;
use crate::collections::Map;
use crate::limits::{BLOCK, INDEX_CACHE, READ_WINDOW};
use crate::log::index::{self, OffsetEntry};
use crate::reactor::sync::Bell;
use crate::reactor::{ChunkSlice, File, Reactor, Share};

/// A window of a segment's file.
type Window = (PartitionId, i64, u64);
type CachedIndex = ((PartitionId, i64), Rc<Vec<OffsetEntry>>);

/// What was read from files lately. One per core.
pub struct ReadCache {
    reactor: Reactor,
    windows: RefCell<Map<Window, ChunkSlice>>,
    order: RefCell<VecDeque<Window>>,
    reading: RefCell<Map<Window, Bell>>,
    indexes: RefCell<VecDeque<CachedIndex>>,
    index_bytes: Cell<usize>,
}

const WINDOW: u64 = READ_WINDOW as u64;

impl ReadCache {
    /// Empty.
    pub fn new(reactor: &Reactor) -> ReadCache {
        ReadCache {
            reactor: reactor.clone(),
            windows: RefCell::default(),
            order: RefCell::default(),
            reading: RefCell::default(),
            indexes: RefCell::default(),
            index_bytes: Cell::new(0),
        }
    }

    /// Bytes of the file from `position` on, no further than `end` (which is stable), up to the end of their
    /// window. At least one.
    pub async fn read(
        &self,
        id: PartitionId,
        segment: i64,
        file: &File,
        position: u64,
        end: u64,
    ) -> io::Result<ChunkSlice> {
        assert!(position < end, "a read has something to read");
        let first = position - position % WINDOW;
        let key = (id, segment, first);
        let from = (position - first) as usize;
        let to = (end - first).min(WINDOW) as usize;
        loop {
            let known = self.windows.borrow().get(&key).filter(|slice| slice.len() >= to).cloned();
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
    pub fn has(&self, id: PartitionId, segment: i64, position: u64, end: u64) -> bool {
        let first = position - position % WINDOW;
        let key = (id, segment, first);
        let to = (end - first).min(WINDOW) as usize;
        self.reading.borrow().contains_key(&key)
            || self.windows.borrow().get(&key).is_some_and(|slice| slice.len() >= to)
    }

    async fn read_window(&self, key: Window, file: &File, to: usize) -> io::Result<ChunkSlice> {
        let bell = Bell::default();
        self.reading.borrow_mut().insert(key, bell.clone());
        let _done = Reading { cache: self, key, bell };
        let chunk = self.chunk(to.next_multiple_of(BLOCK)).await;
        let chunk = file.read_at(chunk, key.2).await?;
        // What lies past the stable end was read too, but may still change: it is cut off.
        let len = chunk.len().min(to);
        let slice = chunk.slice(0..len);
        if self.windows.borrow_mut().insert(key, slice.clone()).is_none() {
            self.order.borrow_mut().push_back(key);
        }
        Ok(slice)
    }

    /// A chunk for a read, letting go of the oldest windows for it.
    async fn chunk(&self, len: usize) -> crate::reactor::Chunk {
        loop {
            if let Some(chunk) = self.reactor.pool().try_chunk(Share::Reads, len) {
                return chunk;
            }
            let oldest = self.order.borrow_mut().pop_front();
            match oldest {
                Some(key) => drop(self.windows.borrow_mut().remove(&key)),
                None => return self.reactor.pool().chunk(Share::Reads, len).await,
            }
        }
    }

    /// The offset index of a finished segment, from its file.
    pub async fn index(
        &self,
        id: PartitionId,
        segment: i64,
        path: &std::path::Path,
    ) -> io::Result<Rc<Vec<OffsetEntry>>> {
        let key = (id, segment);
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
        let size = |index: &Rc<Vec<OffsetEntry>>| index.len() * index::OFFSET_ENTRY;
        self.index_bytes.set(self.index_bytes.get() + size(&entries));
        let mut indexes = self.indexes.borrow_mut();
        indexes.push_back((key, entries.clone()));
        while self.index_bytes.get() > INDEX_CACHE && indexes.len() > 1 {
            if let Some((_, oldest)) = indexes.pop_front() {
                self.index_bytes.set(self.index_bytes.get() - size(&oldest));
            }
        }
        Ok(entries)
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
