//! Aligned memory in chunks, from one pool per core, with a budget per share.
//!
//! A [`Chunk`] has one writer, which only appends; [`ChunkSlice`]s of what was appended may be read anywhere,
//! on any core, while the writer goes on. Dropping the last reference anywhere puts the memory on its owner's
//! lock-free return list and never waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::{Deref, Range};
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll};

use bytes::Bytes;

use super::memory::{HugePages, Source};
use super::sync::{Bell, Completer, Completion, Notified, completion};
use crate::limits::{BLOCK, CHUNK_MAX, CHUNK_MIN, TRIMMED_AT_ONCE};

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
    /// The fewest of each size that were free at any moment since [`Pool::trim`] last looked.
    idle: [Cell<usize>; CLASSES],
    used: [Cell<usize>; Share::ALL.len()],
    budget: [usize; Share::ALL.len()],
    memory: usize,
    /// What chunks hold that are handed out or kept for reuse.
    allocated: Cell<usize>,
    /// Where the memory of chunks comes from and goes to.
    source: Source,
    /// Who waits for which length, by share.
    waiting: [RefCell<Lines>; Share::ALL.len()],
    /// Rung when one of those who wait leaves: one of the others must listen for returns in its place.
    left: Bell,
}

/// How many that wait for little may pass one that waits for much.
const PASS_MAX: u32 = 64;

/// Who waits for memory of a share: each line in the order in which they came. Who waits for a small frame passes
/// who waits for a large one, so that a few large ones do not hold up the many; but only so often.
#[derive(Default)]
struct Lines {
    small: Line,
    large: Line,
    passed: u32,
}

/// Lengths that are waited for, and whom to give the chunk.
type Line = VecDeque<(usize, Completer<Chunk>)>;

impl Lines {
    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// The line whose turn it is.
    fn next(&mut self) -> &mut Line {
        let large = self.small.is_empty() || (self.passed >= PASS_MAX && !self.large.is_empty());
        if large { &mut self.large } else { &mut self.small }
    }

    /// Notes that the first of the line whose turn it was has been served.
    fn served(&mut self, was_large: bool) {
        self.passed = if was_large || self.large.is_empty() { 0 } else { self.passed + 1 };
    }
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
    /// A pool that hands out at most `memory` bytes from the allocator.
    pub fn new(memory: usize) -> Pool {
        Pool::over(memory, Source::Allocator)
    }

    /// A pool whose larger chunks lie in huge pages, for a core that lives as long as the process.
    pub fn in_huge_pages(memory: usize) -> Pool {
        Pool::over(memory, Source::HugePages(HugePages::default()))
    }

    fn over(memory: usize, source: Source) -> Pool {
        let home = Home {
            returns: AtomicPtr::new(std::ptr::null_mut()),
            starved: AtomicBool::new(false),
            waker: super::bus::RemoteWaker::default(),
        };
        Pool {
            inner: Rc::new(Inner {
                home: Arc::new(home),
                free: RefCell::new(std::array::from_fn(|_| Vec::new())),
                idle: std::array::from_fn(|_| Cell::new(0)),
                used: std::array::from_fn(|_| Cell::new(0)),
                budget: Share::ALL.map(|(_, percent)| memory / 100 * percent),
                memory,
                allocated: Cell::new(0),
                source,
                waiting: std::array::from_fn(|_| RefCell::default()),
                left: Bell::default(),
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

    /// An empty chunk of at least `len` bytes, or none where the share's budget is spent or others wait for it. A
    /// chunk larger than the whole budget is given when the share holds nothing else.
    pub fn try_chunk(&self, share: Share, len: usize) -> Option<Chunk> {
        self.collect();
        if !self.inner.waiting[share as usize].borrow().is_empty() {
            return None;
        }
        self.take(share, len)
    }

    /// Whether somebody waits for memory of this share.
    pub fn is_wanted(&self, share: Share) -> bool {
        !self.inner.waiting[share as usize].borrow().is_empty()
    }

    /// An empty chunk of at least `len` bytes, once the share's budget allows it. First come, first served; but a
    /// frame of more than a sixteenth of its budget lets others pass, up to a number of times.
    pub async fn chunk(&self, share: Share, len: usize) -> Chunk {
        if let Some(chunk) = self.try_chunk(share, len) {
            return chunk;
        }
        let mut turn = self.wait_in_line(share, len);
        // Declared before the turn is polled, so dropped after it.
        let _leaves = RingWhenDropped(&self.inner.left);
        let mut left = self.inner.left.notified();
        poll_fn(|cx| self.poll_turn(cx, &mut turn, &mut left)).await
    }

    fn wait_in_line(&self, share: Share, len: usize) -> Completion<Chunk> {
        let (completer, turn) = completion();
        let mut lines = self.inner.waiting[share as usize].borrow_mut();
        let line = if self.lets_pass(share, len) { &mut lines.large } else { &mut lines.small };
        line.push_back((len, completer));
        turn
    }

    fn lets_pass(&self, share: Share, len: usize) -> bool {
        share == Share::Frames && len > self.budget(share) / 16
    }

    fn poll_turn(
        &self,
        cx: &mut Context<'_>,
        turn: &mut Completion<Chunk>,
        left: &mut Notified,
    ) -> Poll<Chunk> {
        let home = &self.inner.home;
        loop {
            if let Poll::Ready(chunk) = Pin::new(&mut *turn).poll(cx) {
                return Poll::Ready(chunk);
            }
            if Pin::new(&mut *left).poll(cx).is_ready() {
                *left = self.inner.left.notified();
                continue;
            }
            let was_called = Pin::new(&mut home.waker.wait()).poll(cx).is_ready();
            // Whoever returns a chunk puts it on the list and then looks whether we starve; we say so and then
            // look at the list. One of the two sees the other.
            home.starved.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            self.collect();
            self.serve();
            if let Poll::Ready(chunk) = Pin::new(&mut *turn).poll(cx) {
                return Poll::Ready(chunk);
            }
            if !was_called {
                return Poll::Pending;
            }
        }
    }

    /// Gives to those who wait what the budgets allow.
    fn serve(&self) {
        for (share, _) in Share::ALL {
            loop {
                let mut lines = self.inner.waiting[share as usize].borrow_mut();
                let line = lines.next();
                let Some((len, completer)) = line.front() else { break };
                let is_large = self.lets_pass(share, *len);
                let chunk = if completer.is_abandoned() { None } else { self.take(share, *len) };
                if chunk.is_none() && !completer.is_abandoned() {
                    break;
                }
                let (_, completer) = line.pop_front().expect("the front was just seen");
                if chunk.is_some() {
                    lines.served(is_large);
                }
                drop(lines);
                if let Some(chunk) = chunk {
                    completer.complete(chunk);
                }
            }
        }
    }

    /// A chunk from the free list or the allocator, if the budget allows it.
    fn take(&self, share: Share, len: usize) -> Option<Chunk> {
        let inner = &self.inner;
        let capacity = capacity_for(len);
        let used = &inner.used[share as usize];
        if used.get() > 0 && used.get() + capacity > self.budget(share) {
            return None;
        }
        used.set(used.get() + capacity);
        let free = class_of(capacity).and_then(|class| {
            let free = &mut inner.free.borrow_mut()[class];
            let raw = free.pop();
            inner.idle[class].set(inner.idle[class].get().min(free.len()));
            raw
        });
        let raw = free.unwrap_or_else(|| {
            self.make_room(capacity);
            inner.allocated.set(inner.allocated.get() + capacity);
            Raw::allocate(capacity, &inner.source, inner.home.clone())
        });
        // SAFETY: a free chunk is reached by nobody else.
        let header = unsafe { raw.as_ref() };
        header.share.set(share);
        header.references.store(1, Ordering::Relaxed);
        Some(Chunk { raw: Reference { raw }, filled: 0 })
    }

    /// Gives half of the chunks back to the system that nobody had need of since the last call. Called now and then:
    /// what a burst took, or chunks of a size that nobody asks for any more, is not kept for good.
    pub fn trim(&self) {
        self.collect();
        let inner = &self.inner;
        let mut free = inner.free.borrow_mut();
        let mut left = TRIMMED_AT_ONCE;
        for (class, idle) in free.iter_mut().zip(&inner.idle).rev() {
            let doomed = idle.get().min(class.len()).div_ceil(2).min(left);
            left -= doomed;
            for raw in class.drain(..doomed) {
                // SAFETY: a free chunk is reached by nobody else.
                unsafe {
                    inner.allocated.set(inner.allocated.get() - raw.as_ref().capacity);
                    Raw::free(raw, &inner.source);
                }
            }
            idle.set(class.len());
        }
    }

    /// Gives chunks of other sizes that are kept for reuse back to the allocator, so that what the budgets allow
    /// and what is kept stay within the pool's memory together.
    fn make_room(&self, capacity: usize) {
        let inner = &self.inner;
        let mut free = inner.free.borrow_mut();
        for class in free.iter_mut().rev() {
            while inner.allocated.get() + capacity > inner.memory {
                let Some(raw) = class.pop() else { break };
                // SAFETY: a free chunk is reached by nobody else.
                unsafe {
                    inner.allocated.set(inner.allocated.get() - raw.as_ref().capacity);
                    Raw::free(raw, &inner.source);
                }
            }
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
                None => {
                    self.inner.allocated.set(self.inner.allocated.get() - header.capacity);
                    // SAFETY: nobody else reaches it.
                    unsafe { Raw::free(raw, &self.inner.source) };
                }
            }
        }
        self.serve();
    }
}

/// Rings the bell when somebody who waited leaves, served or not.
struct RingWhenDropped<'a>(&'a Bell);

impl Drop for RingWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Chunks that are still referenced elsewhere, or returned from now on, are leaked with their home: a
        // pool lives as long as its core, and cores end with the process (or with the simulated node).
        for class in self.free.borrow_mut().iter_mut() {
            for raw in class.drain(..) {
                // SAFETY: a free chunk is reached by nobody else.
                unsafe { Raw::free(raw, &self.source) };
            }
        }
        let mut next = self.home.returns.swap(std::ptr::null_mut(), Ordering::Acquire);
        while let Some(raw) = NonNull::new(next) {
            // SAFETY: as in `collect`.
            unsafe {
                next = raw.as_ref().next.get();
                Raw::free(raw, &self.source);
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
    fn allocate(capacity: usize, source: &Source, home: Arc<Home>) -> NonNull<Raw> {
        let raw = Box::new(Raw {
            data: source.allocate(capacity),
            capacity,
            share: Cell::new(Share::Background),
            references: AtomicUsize::new(0),
            next: Cell::new(std::ptr::null_mut()),
            home,
        });
        NonNull::from(Box::leak(raw))
    }

    /// # Safety
    /// Nobody else may reach the chunk, and `source` is where its memory came from.
    unsafe fn free(raw: NonNull<Raw>, source: &Source) {
        // SAFETY: by the caller's word this is the only way to it, and it was made by `Box::leak`.
        let header = unsafe { Box::from_raw(raw.as_ptr()) };
        // SAFETY: by the caller's word.
        unsafe { source.free(header.data, header.capacity) };
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
    fn what_nobody_has_need_of_is_given_back() {
        let pool = Pool::new(64 << 20);
        let allocated = || pool.inner.allocated.get();
        let held: Vec<_> = (0..64).map(|_| pool.try_chunk(Share::Tail, CHUNK_MIN).unwrap()).collect();
        drop(held);
        pool.trim();
        assert_eq!(allocated(), 64 * CHUNK_MIN, "they were in use just now");
        let used = pool.try_chunk(Share::Tail, CHUNK_MIN).unwrap();
        drop(used);
        pool.trim();
        assert_eq!(allocated(), 32 * CHUNK_MIN);
        (0..10).for_each(|_| pool.trim());
        assert_eq!(allocated(), 0);
        drop(pool.try_chunk(Share::Tail, CHUNK_MIN).unwrap());
        assert_eq!(allocated(), CHUNK_MIN, "and it goes on");
    }

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

    /// Counts how often a task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Waiter {
        future: Pin<Box<dyn Future<Output = Chunk>>>,
        woken: Arc<Woken>,
    }

    impl Waiter {
        fn new(pool: &Pool, share: Share, len: usize) -> Waiter {
            let pool = pool.clone();
            let future = Box::pin(async move { pool.chunk(share, len).await });
            Waiter { future, woken: Arc::default() }
        }

        fn poll(&mut self) -> Poll<Chunk> {
            self.future.as_mut().poll(&mut Context::from_waker(&self.woken.clone().into()))
        }

        fn was_woken(&self) -> bool {
            self.woken.0.swap(0, Ordering::Relaxed) > 0
        }
    }

    #[test]
    fn who_waits_is_served_in_order_and_woken_though_others_leave() {
        let pool = Pool::new(1 << 20);
        let half = pool.budget(Share::Tail) / 2 / BLOCK * BLOCK;
        let half = if half.is_power_of_two() { half } else { half.next_power_of_two() / 2 };
        let mut held: Vec<Chunk> = std::iter::from_fn(|| pool.try_chunk(Share::Tail, half)).collect();
        let mut large = Waiter::new(&pool, Share::Tail, half);
        let mut small = Waiter::new(&pool, Share::Tail, BLOCK);
        let mut last = Waiter::new(&pool, Share::Tail, BLOCK);
        for waiter in [&mut large, &mut small, &mut last] {
            assert!(waiter.poll().is_pending());
        }
        // Only the last one is known to those who return; it leaves, and another one has to take its place.
        drop(last);
        assert!(large.was_woken() && small.was_woken());
        assert!(large.poll().is_pending() && small.poll().is_pending());
        let returned = held.pop();
        std::thread::scope(|s| {
            s.spawn(move || drop(returned));
        });
        assert!(small.was_woken(), "it listened last");
        let passed = small.poll();
        assert!(large.was_woken(), "it stood in front and is served");
        let first = large.poll();
        assert!(first.is_ready());
        let room_for_both = pool.budget(Share::Tail) >= half * (held.len() + 1) + CHUNK_MIN;
        assert_eq!(passed.is_ready(), room_for_both);
    }

    #[test]
    fn who_waits_for_little_passes_who_waits_for_much_but_not_for_ever() {
        let pool = Pool::new(100 << 20);
        let budget = pool.budget(Share::Frames);
        let all = pool.try_chunk(Share::Frames, budget).unwrap();
        let mut large = Waiter::new(&pool, Share::Frames, budget);
        let mut small: Vec<Waiter> =
            (0..PASS_MAX + 10).map(|_| Waiter::new(&pool, Share::Frames, budget / 20)).collect();
        let is_served = |waiter: &mut Waiter| waiter.poll().is_ready();
        assert!(!is_served(&mut large) && !small.iter_mut().any(is_served));
        assert!(pool.is_wanted(Share::Frames) && !pool.is_wanted(Share::Reads));
        drop(all);
        let mut served = 0;
        let mut large_chunk = loop {
            if let Poll::Ready(chunk) = large.poll() {
                break Some(chunk);
            }
            let before = served;
            small.retain_mut(|waiter| {
                let ready = is_served(waiter);
                served += u32::from(ready);
                !ready
            });
            assert!(served > before, "somebody is served at any time");
        };
        assert_eq!(served, PASS_MAX);
        assert!(!small.iter_mut().any(is_served));
        drop(large_chunk.take());
        assert!(small.iter_mut().all(is_served) && !pool.is_wanted(Share::Frames));
    }

    #[test]
    fn what_is_kept_for_reuse_counts_against_the_memory() {
        let memory = 16 << 20;
        let pool = Pool::new(memory);
        let all = |len: usize| -> usize {
            let held: Vec<Chunk> = std::iter::from_fn(|| pool.try_chunk(Share::Tail, len)).collect();
            held.len() * held[0].capacity()
        };
        for len in [CHUNK_MIN, 64 << 10, 512 << 10, CHUNK_MIN, 2 << 20] {
            assert!(all(len) > memory / 3);
            assert!(pool.inner.allocated.get() <= memory, "{} for {len}", pool.inner.allocated.get());
        }
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
