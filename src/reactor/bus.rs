//! Between the cores of a node: a bounded ring per pair of cores, and a waker that may be called from anywhere.
//!
//! The same code on both sides: plain atomics and plain wakers. Messages from one core to another arrive in the
//! order in which they were sent.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Wakes one task of one core from any core.
#[derive(Default)]
pub struct RemoteWaker {
    called: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl RemoteWaker {
    /// Wakes the waiter; if there is none, the next wait ends at once.
    pub fn wake(&self) {
        if self.called.swap(true, Ordering::SeqCst) {
            return;
        }
        let waker = self.waker.lock().expect("no holder of this lock panics").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Resolves once [`RemoteWaker::wake`] was called since the last wait ended.
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
        *self.waker.waker.lock().expect("no holder of this lock panics") = Some(cx.waker().clone());
        if self.waker.called.swap(false, Ordering::SeqCst) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// One core's end of the bus: a ring to each core and one from each.
pub struct BusEnd<T> {
    core: usize,
    to: Vec<Arc<Ring<T>>>,
    from: Vec<Arc<Ring<T>>>,
}

struct Ring<T> {
    messages: Mutex<VecDeque<T>>,
    _marker: (),
}

/// The ends for `cores` cores.
pub fn mesh<T: Send>(cores: usize) -> Vec<BusEnd<T>> {
    let rings: Vec<Vec<Arc<Ring<T>>>> = (0..cores)
        .map(|_| {
            (0..cores)
                .map(|_| Arc::new(Ring { messages: Mutex::new(VecDeque::new()), _marker: () }))
                .collect()
        })
        .collect();
    (0..cores)
        .map(|core| BusEnd {
            core,
            to: rings[core].clone(),
            from: rings.iter().map(|row| row[core].clone()).collect(),
        })
        .collect()
}
