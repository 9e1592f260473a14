//! Timers of one core: a heap of deadlines on plain wakers, the same code on both sides.
//!
//! A side owns one [`Timers`], asks it for the [`Timers::next_deadline`], and calls [`Timers::fire`] when that
//! time has come: the real side from its driver task, the simulated one from its event queue.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Nanos;

/// The deadlines of one core.
#[derive(Clone, Default)]
pub struct Timers {
    inner: Rc<State>,
}

#[derive(Default)]
struct State {
    heap: RefCell<BinaryHeap<Reverse<(Nanos, u64)>>>,
    waiting: RefCell<std::collections::BTreeMap<u64, Waker>>,
    last: Cell<u64>,
    /// Rung when a deadline earlier than all others was added.
    earlier: super::sync::Bell,
}

/// Resolves once its deadline was fired.
pub struct Sleep {
    timers: Timers,
    deadline: Nanos,
    id: Cell<u64>,
}

impl Timers {
    /// A future that resolves once `deadline` has been reached.
    pub fn sleep_until(&self, deadline: Nanos) -> Sleep {
        Sleep { timers: self.clone(), deadline, id: Cell::new(0) }
    }

    /// The earliest deadline that somebody waits for.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let waiting = self.inner.waiting.borrow();
        let mut heap = self.inner.heap.borrow_mut();
        while let Some(Reverse((deadline, id))) = heap.peek() {
            if waiting.contains_key(id) {
                return Some(*deadline);
            }
            heap.pop();
        }
        None
    }

    /// Resolves when a deadline earlier than [`Timers::next_deadline`] was added since this call.
    pub fn earlier(&self) -> super::sync::Notified {
        self.inner.earlier.notified()
    }

    /// Wakes all whose deadline is `now` or before.
    pub fn fire(&self, now: Nanos) {
        loop {
            let due = match self.inner.heap.borrow().peek() {
                Some(Reverse((deadline, id))) if *deadline <= now => *id,
                _ => return,
            };
            self.inner.heap.borrow_mut().pop();
            let waker = self.inner.waiting.borrow_mut().remove(&due);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let state = &self.timers.inner;
        if self.id.get() == 0 {
            let id = state.last.get() + 1;
            state.last.set(id);
            self.id.set(id);
            let first = self.timers.next_deadline().is_none_or(|next| self.deadline < next);
            state.waiting.borrow_mut().insert(id, cx.waker().clone());
            state.heap.borrow_mut().push(Reverse((self.deadline, id)));
            if first {
                state.earlier.ring();
            }
            return Poll::Pending;
        }
        match state.waiting.borrow_mut().get_mut(&self.id.get()) {
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.inner.waiting.borrow_mut().remove(&self.id.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_and_forgets_the_dropped() {
        let timers = Timers::default();
        let waker = std::task::Waker::noop();
        let mut cx = Context::from_waker(waker);
        let mut a = Box::pin(timers.sleep_until(Nanos(10)));
        let mut b = Box::pin(timers.sleep_until(Nanos(5)));
        assert!(a.as_mut().poll(&mut cx).is_pending());
        assert!(b.as_mut().poll(&mut cx).is_pending());
        assert_eq!(timers.next_deadline(), Some(Nanos(5)));
        timers.fire(Nanos(4));
        assert!(b.as_mut().poll(&mut cx).is_pending());
        drop(b);
        assert_eq!(timers.next_deadline(), Some(Nanos(10)));
        timers.fire(Nanos(10));
        assert!(a.as_mut().poll(&mut cx).is_ready());
        assert_eq!(timers.next_deadline(), None);
    }
}
