//! Aligned memory in chunks, from one pool per core, with a budget per share.
//!
//! A [`Chunk`] has one writer, which only appends; [`ChunkSlice`]s of what was appended may be read anywhere,
//! on any core, while the writer goes on. Dropping the last reference anywhere puts the memory on its owner's
//! lock-free return list and never waits.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

use bytes::Bytes;

use super::sync::Bell;
use crate::limits::{BLOCK, CHUNK_MAX, CHUNK_MIN};

/// What a chunk is used for. Each share has a budget of its own, so that no use can starve another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Request frames.
    Frames,
    /// The tails of the partitions, and what of them is cached.
    Tail,
    /// Reads from disk for consumers.
    Reads,
    /// Recovery, retention, compaction, growing files.
    Background,
}

impl Share {
    /// All shares, with the hundredth of the pool's memory that each may use.
    pub const ALL: [(Share, usize); 4] =
        [(Share::Frames, 30), (Share::Tail, 45), (Share::Reads, 20), (Share::Background, 5)];
}

const CLASSES: usize = (CHUNK_MAX / CHUNK_MIN).ilog2() as usize + 1;

/// One core's chunks. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Pool {
    inner: Rc<Inner>,
}

struct Inner {
    home: Arc<Home>,
    free: RefCell<[Vec<NonNull<Raw>>; CLASSES]>,
    used: [Cell<usize>; Share::ALL.len()],
    budget: [usize; Share::ALL.len()],
    returned: Bell,
}

/// The part of a pool that other cores reach: where they put chunks back.
struct Home {
    returns: AtomicPtr<Raw>,
    /// Set while an allocation waits for a return; whoever returns then calls `wake`.
    starved: AtomicBool,
    waker: super::bus::RemoteWaker,
}

/// The memory of one chunk. Reached through counted references only.
struct Raw {
    data: NonNull<u8>,
    capacity: usize,
    share: Cell<Share>,
    references: AtomicUsize,
    next: Cell<*mut Raw>,
    home: Arc<Home>,
}

impl Pool {
    /// A pool that hands out at most `memory` bytes.
    pub fn new(memory: usize) -> Pool {
        let home = Home {
            returns: AtomicPtr::new(std::ptr::null_mut()),
            starved: AtomicBool::new(false),
            waker: super::bus::RemoteWaker::default(),
        };
        Pool {
            inner: Rc::new(Inner {
                home: Arc::new(home),
                free: RefCell::new(std::array::from_fn(|_| Vec::new())),
                used: std::array::from_fn(|_| Cell::new(0)),
                budget: Share::ALL.map(|(_, percent)| memory / 100 * percent),
                returned: Bell::default(),
            }),
        }
    }

    /// The bytes that `share` may hold.
    pub fn budget(&self, share: Share) -> usize {
        self.inner.budget[share as usize]
    }

    /// The bytes that `share` holds now, as far as returns from other cores were seen.
    pub fn used(&self, share: Share) -> usize {
        self.collect();
        self.inner.used[share as usize].get()
    }

    /// An empty chunk of at least `len` bytes, or none where the share's budget is spent. A chunk larger than
    /// the whole budget is given when the share holds nothing else.
    pub fn try_chunk(&self, share: Share, len: usize) -> Option<Chunk> {
        self.collect();
        let capacity = capacity_for(len);
        let used = &self.inner.used[share as usize];
        if used.get() > 0 && used.get() + capacity > self.budget(share) {
            return None;
        }
        used.set(used.get() + capacity);
        let raw = match class_of(capacity).and_then(|class| self.inner.free.borrow_mut()[class].pop()) {
            Some(raw) => raw,
            None => Raw::allocate(capacity, self.inner.home.clone()),
        };
        // SAFETY: a free chunk is reached by nobody else.
        let header = unsafe { raw.as_ref() };
        header.share.set(share);
        header.references.store(1, Ordering::Relaxed);
        Some(Chunk { raw: Reference { raw }, filled: 0 })
    }

    /// An empty chunk of at least `len` bytes, once the share's budget allows it.
    pub async fn chunk(&self, share: Share, len: usize) -> Chunk {
        loop {
            let returned = self.inner.returned.notified();
            if let Some(chunk) = self.try_chunk(share, len) {
                return chunk;
            }
            // Announce the wait, then look once more: a return between the look and the announcement would
            // not have woken us.
            self.inner.home.starved.store(true, Ordering::SeqCst);
            if let Some(chunk) = self.try_chunk(share, len) {
                return chunk;
            }
            let remote = self.inner.home.waker.wait();
            super::sync::either(returned, remote).await;
        }
    }

    /// Takes back what was returned.
    fn collect(&self) {
        let home = &self.inner.home;
        if home.returns.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut next = home.returns.swap(std::ptr::null_mut(), Ordering::Acquire);
        while let Some(raw) = NonNull::new(next) {
            // SAFETY: what stands on the return list is reached by the list alone, and the swap took the list.
            let header = unsafe { raw.as_ref() };
            next = header.next.get();
            let used = &self.inner.used[header.share.get() as usize];
            used.set(used.get() - header.capacity);
            match class_of(header.capacity) {
                Some(class) => self.inner.free.borrow_mut()[class].push(raw),
                // SAFETY: nobody else reaches it.
                None => unsafe { Raw::free(raw) },
            }
        }
        self.inner.returned.ring();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Chunks that are still referenced elsewhere, or returned from now on, are leaked with their home: a
        // pool lives as long as its core, and cores end with the process (or with the simulated node).
        for class in self.free.borrow_mut().iter_mut() {
            for raw in class.drain(..) {
                // SAFETY: a free chunk is reached by nobody else.
                unsafe { Raw::free(raw) };
            }
        }
        let mut next = self.home.returns.swap(std::ptr::null_mut(), Ordering::Acquire);
        while let Some(raw) = NonNull::new(next) {
            // SAFETY: as in `collect`.
            unsafe {
                next = raw.as_ref().next.get();
                Raw::free(raw);
            }
        }
    }
}

fn capacity_for(len: usize) -> usize {
    if len <= CHUNK_MAX { len.next_power_of_two().max(CHUNK_MIN) } else { len.next_multiple_of(BLOCK) }
}

fn class_of(capacity: usize) -> Option<usize> {
    (capacity <= CHUNK_MAX).then(|| (capacity / CHUNK_MIN).ilog2() as usize)
}

impl Raw {
    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BLOCK).expect("a chunk's size is a multiple of the block")
    }

    fn allocate(capacity: usize, home: Arc<Home>) -> NonNull<Raw> {
        let layout = Raw::layout(capacity);
        // SAFETY: the layout is never empty.
        let data = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // Slices show initialised memory only; what is appended overwrites this.
        // SAFETY: `data` points to `capacity` bytes of our own.
        unsafe { data.as_ptr().write_bytes(0, capacity) };
        let raw = Box::new(Raw {
            data,
            capacity,
            share: Cell::new(Share::Background),
            references: AtomicUsize::new(0),
            next: Cell::new(std::ptr::null_mut()),
            home,
        });
        NonNull::from(Box::leak(raw))
    }

    /// # Safety
    /// Nobody else may reach the chunk.
    unsafe fn free(raw: NonNull<Raw>) {
        // SAFETY: by the caller's word this is the only way to it, and it was made by `Box::leak`.
        let header = unsafe { Box::from_raw(raw.as_ptr()) };
        // SAFETY: `data` was allocated with this layout.
        unsafe { dealloc(header.data.as_ptr(), Raw::layout(header.capacity)) };
    }
}

/// A counted reference to a chunk's memory.
struct Reference {
    raw: NonNull<Raw>,
}

// SAFETY: the count and the return list are atomic; `share` and `next` are touched by whoever holds the chunk
// alone (the pool before it hands it out, the one who drops the last reference).
unsafe impl Send for Reference {}
// SAFETY: as above.
unsafe impl Sync for Reference {}

impl Reference {
    fn header(&self) -> &Raw {
        // SAFETY: a counted reference keeps the chunk alive.
        unsafe { self.raw.as_ref() }
    }
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        self.header().references.fetch_add(1, Ordering::Relaxed);
        Reference { raw: self.raw }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        if self.header().references.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        fence(Ordering::Acquire);
        let home = self.header().home.clone();
        let raw = self.raw.as_ptr();
        let mut head = home.returns.load(Ordering::Relaxed);
        loop {
            // SAFETY: the count is zero, so this is the only way to the chunk until it is on the list.
            unsafe { (*raw).next.set(head) };
            match home.returns.compare_exchange_weak(head, raw, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if home.starved.load(Ordering::SeqCst) && home.starved.swap(false, Ordering::SeqCst) {
            home.waker.wake();
        }
    }
}

/// Memory with one writer. What was appended never changes while a slice of it is held elsewhere, except for
/// bytes that [`Chunk::patch`] is asked to set before they are shown to anybody.
pub struct Chunk {
    raw: Reference,
    filled: usize,
}

impl Chunk {
    /// How many bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.raw.header().capacity
    }

    /// How many bytes were appended.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// How many bytes can still be appended.
    pub fn room(&self) -> usize {
        self.capacity() - self.filled
    }

    /// Appends bytes, which must fit.
    pub fn append(&mut self, bytes: &[u8]) {
        self.spare()[..bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Appends zeros up to the next multiple of `alignment`, which must fit.
    pub fn pad_to(&mut self, alignment: usize) {
        let end = self.filled.next_multiple_of(alignment);
        let pad = end - self.filled;
        self.spare()[..pad].fill(0);
        self.filled = end;
    }

    /// The memory behind what was appended, to be filled and then counted with [`Chunk::advance`].
    pub fn spare(&mut self) -> &mut [u8] {
        let header = self.raw.header();
        // SAFETY: slices end at `filled`, so nobody else looks at what lies behind it, and `self` is the one
        // writer.
        unsafe {
            std::slice::from_raw_parts_mut(
                header.data.as_ptr().add(self.filled),
                header.capacity - self.filled,
            )
        }
    }

    /// Counts `len` bytes of [`Chunk::spare`] as appended.
    pub fn advance(&mut self, len: usize) {
        assert!(len <= self.room(), "a chunk is not filled past its end");
        self.filled += len;
    }

    /// Sets bytes that were appended but of which no slice was made yet.
    ///
    /// # Safety
    /// No slice that covers the range may exist.
    pub unsafe fn patch(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.filled, "only what was appended is patched");
        // SAFETY: in bounds by the assertion, and unshared by the caller's word.
        unsafe {
            let to = self.raw.header().data.as_ptr().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    /// A shared view of bytes that were appended.
    pub fn slice(&self, range: Range<usize>) -> ChunkSlice {
        assert!(range.start <= range.end && range.end <= self.filled, "a slice shows what was appended");
        ChunkSlice { raw: self.raw.clone(), start: range.start, len: range.len() }
    }

    /// A shared view of all that was appended, and the end of writing.
    pub fn freeze(self) -> ChunkSlice {
        ChunkSlice { start: 0, len: self.filled, raw: self.raw }
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: what was appended is initialised, and only `patch` (which takes `&mut self`) changes it.
        unsafe { std::slice::from_raw_parts(self.raw.header().data.as_ptr(), self.filled) }
    }
}

/// A shared, unchanging view of a part of a chunk. May cross cores.
#[derive(Clone)]
pub struct ChunkSlice {
    raw: Reference,
    start: usize,
    len: usize,
}

impl ChunkSlice {
    /// A view of a part of this view.
    pub fn slice(&self, range: Range<usize>) -> ChunkSlice {
        assert!(range.start <= range.end && range.end <= self.len, "a slice of a slice lies within it");
        ChunkSlice { raw: self.raw.clone(), start: self.start + range.start, len: range.len() }
    }

    /// The same view as [`Bytes`], which keeps the chunk until it is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for ChunkSlice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies within what was appended, which stays as it is while a slice is held.
        unsafe { std::slice::from_raw_parts(self.raw.header().data.as_ptr().add(self.start), self.len) }
    }
}

impl AsRef<[u8]> for ChunkSlice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chunk({} of {})", self.filled, self.capacity())
    }
}

impl std::fmt::Debug for ChunkSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkSlice({} at {})", self.len, self.start)
    }
}

// The pool frees its own memory when its core ends, and a chunk that outlives it is leaked; `Raw` holds its
// home, so a late return finds a list to go to.

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_and_returned_across_threads() {
        let pool = Pool::new(1 << 20);
        let budget = pool.budget(Share::Tail);
        let mut held = Vec::new();
        while let Some(chunk) = pool.try_chunk(Share::Tail, 64 << 10) {
            held.push(chunk);
        }
        assert_eq!(held.len(), budget / (64 << 10));
        assert!(pool.try_chunk(Share::Reads, 4096).is_some(), "another share is not touched");
        std::thread::scope(|s| {
            s.spawn(move || drop(held));
        });
        assert_eq!(pool.used(Share::Tail), 0);
    }

    #[test]
    fn slices_stay_while_the_writer_goes_on() {
        let pool = Pool::new(1 << 20);
        let mut chunk = pool.try_chunk(Share::Tail, 8192).unwrap();
        chunk.append(b"hello");
        let seen = chunk.slice(0..5);
        chunk.pad_to(4096);
        chunk.append(b"more");
        assert_eq!(&*seen, b"hello");
        assert_eq!(chunk.len(), 4100);
        drop(chunk);
        assert_eq!(&seen.slice(1..3).into_bytes()[..], b"el");
    }
}
