//! Fetches that wait for more: woken by the high watermark, at no cost while they wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::call::Responder;
use super::messages::{ShardReply, WatchCall};
use super::shard::Shard;
use crate::reactor::Nanos;

/// A fetch that waits for its partitions of this shard to grow.
pub struct Watch {
    responder: RefCell<Option<Responder>>,
    wanted: Cell<usize>,
    deadline: Nanos,
}

impl Watch {
    /// Notes that a partition grew by `bytes`.
    pub fn grew(&self, bytes: usize) {
        self.wanted.set(self.wanted.get().saturating_sub(bytes));
        if self.wanted.get() == 0 {
            self.answer();
        }
    }

    /// Answers now, if it has not been answered yet.
    pub fn answer(&self) {
        if let Some(responder) = self.responder.borrow_mut().take() {
            responder.answer(ShardReply::Watch);
        }
    }

    /// Whether it has been answered.
    pub fn is_answered(&self) -> bool {
        self.responder.borrow().is_none()
    }

    /// Whether it need not be kept: answered, or past its deadline.
    pub fn is_over(&self, now: Nanos) -> bool {
        self.is_answered() || self.deadline <= now
    }
}

impl Shard {
    /// Begins to watch; answers at once if there is more already.
    pub fn watch(&self, call: WatchCall, responder: Responder) {
        let watch = Rc::new(Watch {
            responder: RefCell::new(Some(responder)),
            wanted: Cell::new(call.bytes.max(1)),
            deadline: call.deadline,
        });
        for (id, seen) in call.parts {
            let watched = self.replica(id).and_then(|replica| {
                replica.online(|online| {
                    let grown = online.partition.high_watermark() != seen;
                    if !grown {
                        online.watches.push(watch.clone());
                    }
                    !grown
                })
            });
            if watched != Some(true) {
                watch.answer();
                return;
            }
        }
    }
}
