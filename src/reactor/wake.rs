//! Waking a task of one core from any core, without a lock.

use std::cell::UnsafeCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

/// Nobody touches the waker.
const IDLE: u8 = 0;
/// Set while the waiter puts its waker in.
const REGISTERING: u8 = 1;
/// Set while somebody calls the waker, or asks the registration under way to call it.
const WAKING: u8 = 2;

/// A place for the waker of one task, which registers from its core while others wake it from theirs.
///
/// The waker stays in place when it is called, so that a task that waits again and again registers without
/// counting references, and only the task's own core ever drops it.
#[derive(Default)]
pub(super) struct WakerCell {
    state: AtomicU8,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: `waker` is touched only by who has moved `state` from IDLE: a registration to write, a wake to read.
unsafe impl Send for WakerCell {}
// SAFETY: as above.
unsafe impl Sync for WakerCell {}

impl WakerCell {
    /// Puts the task's waker in. To be called by one task at a time. The task has to look at what it waits for
    /// once more afterwards.
    pub(super) fn register(&self, waker: &Waker) {
        if self.state.compare_exchange(IDLE, REGISTERING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            // Somebody is calling the old waker, which may be another task's: this one goes round once more.
            waker.wake_by_ref();
            return;
        }
        // SAFETY: the state was IDLE and is REGISTERING: nobody else touches the waker until it is IDLE again.
        let place = unsafe { &mut *self.waker.get() };
        if !place.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *place = Some(waker.clone());
        }
        if self.state.swap(IDLE, Ordering::AcqRel) != REGISTERING {
            // Woken meanwhile: the wake was left to us.
            waker.wake_by_ref();
        }
    }

    /// Wakes the task that registered last, if there is one.
    pub(super) fn wake(&self) {
        // Where another wake or a registration is under way, the task looks again after it: a registration
        // during a wake goes round, and one that finds itself marked wakes. Both read this mark, or a state
        // that was written after it, and so see what was done before this call.
        if self.state.fetch_or(WAKING, Ordering::AcqRel) != IDLE {
            return;
        }
        // SAFETY: the state was IDLE and is WAKING: others only mark it until we take the mark off.
        if let Some(waker) = unsafe { &*self.waker.get() } {
            waker.wake_by_ref();
        }
        self.state.fetch_and(!WAKING, Ordering::Release);
    }
}

/// Wakes one task of one core from any core.
#[derive(Default)]
pub struct RemoteWaker {
    called: AtomicBool,
    waiter: WakerCell,
}

impl RemoteWaker {
    /// Wakes the waiter; if there is none, the next wait ends at once.
    pub fn wake(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            self.waiter.wake();
        }
    }

    /// Resolves once [`RemoteWaker::wake`] was called since the last wait ended. One task waits at a time.
    pub fn wait(&self) -> RemoteWait<'_> {
        RemoteWait { waker: self }
    }
}

/// Waits for a [`RemoteWaker`].
pub struct RemoteWait<'a> {
    waker: &'a RemoteWaker,
}

impl Future for RemoteWait<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waker.called.swap(false, Ordering::SeqCst) {
            return Poll::Ready(());
        }
        self.waker.waiter.register(cx.waker());
        // A call between the look and the registration found no waker, or an old one.
        if self.waker.called.swap(false, Ordering::SeqCst) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
