//! Timers of one core: deadlines in order, on plain wakers, the same code on both sides.
//!
//! A side owns one [`Timers`], asks it for the [`Timers::next_deadline`], and calls [`Timers::fire`] when that
//! time has come: the real side from its loop, the simulated one from its event queue. A timer that is dropped
//! leaves nothing behind, so that a million requests with a timeout that never comes cost what is under way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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
    /// Who waits, by deadline and then by the order in which they came.
    waiting: RefCell<BTreeMap<(Nanos, u64), Waker>>,
    last: Cell<u64>,
}

/// Resolves once its deadline was fired.
pub struct Sleep {
    timers: Timers,
    deadline: Nanos,
    /// Set by the first poll.
    id: Cell<u64>,
}

impl Timers {
    /// A future that resolves once `deadline` has been reached.
    pub fn sleep_until(&self, deadline: Nanos) -> Sleep {
        Sleep { timers: self.clone(), deadline, id: Cell::new(0) }
    }

    /// The earliest deadline that somebody waits for.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.inner.waiting.borrow().first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Wakes all whose deadline is `now` or before, in the order of their deadlines.
    pub fn fire(&self, now: Nanos) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            let first = self.inner.waiting.borrow_mut().pop_first();
            if let Some((_, waker)) = first {
                waker.wake();
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let state = &self.timers.inner;
        let mut waiting = state.waiting.borrow_mut();
        if self.id.get() == 0 {
            self.id.set(state.last.get() + 1);
            state.last.set(self.id.get());
            waiting.insert((self.deadline, self.id.get()), cx.waker().clone());
            return Poll::Pending;
        }
        match waiting.get_mut(&(self.deadline, self.id.get())) {
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
        self.timers.inner.waiting.borrow_mut().remove(&(self.deadline, self.id.get()));
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
        assert!(timers.inner.waiting.borrow().is_empty(), "what was dropped is not kept");
    }
}
