//! Waiting for one another on one core: completions, notifications, semaphores, queues.
//!
//! Plain wakers and cells, the same code on the real and on the simulated side. Nothing here is `Send`; what
//! crosses cores goes over the [`bus`](super::bus). Waiters are served in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The result of something under way. Dropping it does not stop what is under way.
pub struct Completion<T> {
    slot: Rc<Slot<T>>,
}

/// Fulfils a [`Completion`].
pub struct Completer<T> {
    slot: Rc<Slot<T>>,
}

struct Slot<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

/// A completion and what fulfils it.
pub fn completion<T>() -> (Completer<T>, Completion<T>) {
    let slot = Rc::new(Slot { value: Cell::new(None), waker: Cell::new(None) });
    (Completer { slot: slot.clone() }, Completion { slot })
}

impl<T> Completer<T> {
    /// Hands over the value and wakes whoever waits.
    pub fn complete(self, value: T) {
        self.slot.value.set(Some(value));
        if let Some(waker) = self.slot.waker.take() {
            waker.wake();
        }
    }

    /// Whether nobody waits any more.
    pub fn is_abandoned(&self) -> bool {
        Rc::strong_count(&self.slot) == 1
    }
}

impl<T> Completion<T> {
    /// One that is fulfilled already.
    pub fn ready(value: T) -> Self {
        let (completer, completion) = completion();
        completer.complete(value);
        completion
    }
}

impl<T> Future for Completion<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.slot.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Lets the other ready tasks run once.
#[derive(Default)]
pub struct Yield {
    yielded: bool,
}

impl Future for Yield {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A bell: [`Bell::ring`] wakes all who wait *now*. A ring that nobody awaits leaves no trace, so look at the
/// state, make the [`Notified`], look again or await.
#[derive(Clone, Default)]
pub struct Bell {
    inner: Rc<BellState>,
}

#[derive(Default)]
struct BellState {
    rings: Cell<u64>,
    /// Who waits, in the order in which they came. Whoever gives up takes himself out, so that a bell that never
    /// rings does not collect those who have gone.
    waiters: RefCell<BTreeMap<u64, Waker>>,
    last: Cell<u64>,
}

impl Bell {
    /// Wakes all that wait.
    pub fn ring(&self) {
        self.inner.rings.set(self.inner.rings.get() + 1);
        let waiters = std::mem::take(&mut *self.inner.waiters.borrow_mut());
        for waker in waiters.into_values() {
            waker.wake();
        }
    }

    /// Resolves at the first ring after this call (not after the first poll).
    pub fn notified(&self) -> Notified {
        Notified { bell: self.inner.clone(), seen: self.inner.rings.get(), id: Cell::new(0) }
    }

    /// Resolves at once if the bell ever rang, else at its first ring: for what happens once, as a stop.
    pub fn rung(&self) -> Notified {
        Notified { bell: self.inner.clone(), seen: 0, id: Cell::new(0) }
    }

    /// Whether the bell ever rang.
    pub fn has_rung(&self) -> bool {
        self.inner.rings.get() > 0
    }
}

/// Waits for a [`Bell`].
pub struct Notified {
    bell: Rc<BellState>,
    seen: u64,
    /// The place among the waiters, once it was polled.
    id: Cell<u64>,
}

impl Notified {
    /// Whether it has happened.
    pub fn is_done(&self) -> bool {
        self.bell.rings.get() != self.seen
    }
}

impl Clone for Notified {
    fn clone(&self) -> Self {
        Notified { bell: self.bell.clone(), seen: self.seen, id: Cell::new(0) }
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        if self.id.get() != 0 {
            self.bell.waiters.borrow_mut().remove(&self.id.get());
        }
    }
}

impl Future for Notified {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_done() {
            return Poll::Ready(());
        }
        if self.id.get() == 0 {
            self.id.set(self.bell.last.get() + 1);
            self.bell.last.set(self.id.get());
        }
        let mut waiters = self.bell.waiters.borrow_mut();
        match waiters.get_mut(&self.id.get()) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => drop(waiters.insert(self.id.get(), cx.waker().clone())),
        }
        Poll::Pending
    }
}

/// Counts what may be held at once; who asks for more waits, first come, first served.
#[derive(Clone)]
pub struct Semaphore {
    inner: Rc<RefCell<SemaphoreState>>,
}

struct SemaphoreState {
    capacity: usize,
    free: usize,
    queue: VecDeque<(usize, Completer<Permit>)>,
}

/// Held units of a [`Semaphore`]; dropping gives them back.
pub struct Permit {
    semaphore: Semaphore,
    units: usize,
}

impl Semaphore {
    /// With `units` free.
    pub fn new(units: usize) -> Self {
        let state = SemaphoreState { capacity: units, free: units, queue: VecDeque::new() };
        Semaphore { inner: Rc::new(RefCell::new(state)) }
    }

    /// Takes `units`, or all there are where more are asked for, waiting for its turn.
    pub async fn acquire(&self, units: usize) -> Permit {
        let (units, turn) = {
            let mut state = self.inner.borrow_mut();
            let units = units.min(state.capacity);
            if state.queue.is_empty() && state.free >= units {
                state.free -= units;
                (units, None)
            } else {
                let (completer, turn) = completion::<Permit>();
                state.queue.push_back((units, completer));
                (units, Some(turn))
            }
        };
        match turn {
            // The permit travels in the completion, so a wait that is dropped after its turn came gives the
            // units back.
            Some(turn) => {
                // Declared before the turn is awaited, so dropped after it: who stood behind may be next.
                let _leave = ServeWhenDropped(self);
                turn.await
            }
            None => Permit { semaphore: self.clone(), units },
        }
    }

    /// Takes `units` if they are free and nobody waits.
    pub fn try_acquire(&self, units: usize) -> Option<Permit> {
        let mut state = self.inner.borrow_mut();
        if !state.queue.is_empty() || state.free < units {
            return None;
        }
        state.free -= units;
        drop(state);
        Some(Permit { semaphore: self.clone(), units })
    }

    /// Units that nobody holds.
    pub fn free(&self) -> usize {
        self.inner.borrow().free
    }

    fn serve(&self) {
        loop {
            let (units, turn) = {
                let mut state = self.inner.borrow_mut();
                match state.queue.front() {
                    Some((_, turn)) if turn.is_abandoned() => {
                        state.queue.pop_front();
                        continue;
                    }
                    Some((units, _)) if *units <= state.free => {
                        state.free -= *units;
                        state.queue.pop_front().expect("the front was just seen")
                    }
                    _ => return,
                }
            };
            turn.complete(Permit { semaphore: self.clone(), units });
        }
    }
}

struct ServeWhenDropped<'a>(&'a Semaphore);

impl Drop for ServeWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.serve();
    }
}

impl Permit {
    /// How much is held.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Gives back all but `units` of what is held.
    pub fn shrink_to(&mut self, units: usize) {
        if units < self.units {
            self.semaphore.inner.borrow_mut().free += self.units - units;
            self.units = units;
            self.semaphore.serve();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.inner.borrow_mut().free += self.units;
        self.semaphore.serve();
    }
}

/// A queue between tasks of one core, bounded by `capacity`.
pub struct Queue<T> {
    inner: Rc<QueueState<T>>,
}

struct QueueState<T> {
    items: RefCell<VecDeque<T>>,
    capacity: usize,
    closed: Cell<bool>,
    changed: Bell,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { inner: self.inner.clone() }
    }
}

impl<T> Queue<T> {
    /// Empty, for at most `capacity` items.
    pub fn new(capacity: usize) -> Self {
        Queue {
            inner: Rc::new(QueueState {
                items: RefCell::new(VecDeque::new()),
                capacity,
                closed: Cell::new(false),
                changed: Bell::default(),
            }),
        }
    }

    /// Adds an item, waiting while the queue is full. Gives it back if the queue is closed.
    pub async fn push(&self, item: T) -> Result<(), T> {
        loop {
            let changed = self.inner.changed.notified();
            if self.inner.closed.get() {
                return Err(item);
            }
            if self.inner.items.borrow().len() < self.inner.capacity {
                self.inner.items.borrow_mut().push_back(item);
                self.inner.changed.ring();
                return Ok(());
            }
            changed.await;
        }
    }

    /// The next item, waiting for one; none once the queue is closed and empty.
    pub async fn pop(&self) -> Option<T> {
        loop {
            let changed = self.inner.changed.notified();
            if let Some(item) = self.try_pop() {
                return Some(item);
            }
            if self.inner.closed.get() {
                return None;
            }
            changed.await;
        }
    }

    /// The next item, if there is one.
    pub fn try_pop(&self) -> Option<T> {
        let item = self.inner.items.borrow_mut().pop_front();
        if item.is_some() {
            self.inner.changed.ring();
        }
        item
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.inner.items.borrow().len()
    }

    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes no more items; those inside still come out.
    pub fn close(&self) {
        self.inner.closed.set(true);
        self.inner.changed.ring();
    }
}

/// Resolves when either does.
pub async fn either(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    std::future::poll_fn(|cx| {
        if a.as_mut().poll(cx).is_ready() || b.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await
}

/// Runs all of them at once and gives their results in order.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|f| (Some(Box::pin(f)), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in &mut running {
            let Some(f) = future else { continue };
            match f.as_mut().poll(cx) {
                Poll::Ready(value) => {
                    *output = Some(value);
                    *future = None;
                }
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().map(|(_, output)| output.expect("all have ended")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_bell_forgets_who_gave_up() {
        let bell = Bell::default();
        let mut stays = Box::pin(bell.notified());
        assert!(poll(stays.as_mut()).is_pending());
        for _ in 0..100 {
            let mut goes = Box::pin(bell.rung());
            assert!(poll(goes.as_mut()).is_pending());
            assert!(poll(goes.as_mut()).is_pending());
        }
        assert_eq!(bell.inner.waiters.borrow().len(), 1);
        bell.ring();
        assert!(poll(stays.as_mut()).is_ready());
        assert!(poll(Box::pin(bell.rung()).as_mut()).is_ready(), "it rang once");
        assert!(poll(Box::pin(bell.notified()).as_mut()).is_pending(), "but not since");
    }

    #[test]
    fn a_semaphore_serves_in_order_and_takes_back_from_who_gave_up() {
        let semaphore = Semaphore::new(3);
        let held = semaphore.try_acquire(2).unwrap();
        let mut large = Box::pin(semaphore.acquire(3));
        let mut small = Box::pin(semaphore.acquire(1));
        assert!(poll(large.as_mut()).is_pending());
        assert!(poll(small.as_mut()).is_pending(), "who came later does not pass");
        assert!(semaphore.try_acquire(1).is_none());
        drop(large);
        assert!(poll(small.as_mut()).is_ready(), "one is free, and who stood in front has gone");
        drop(held);
        assert_eq!(semaphore.free(), 3);
    }
}
