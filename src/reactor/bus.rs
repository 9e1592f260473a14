//! Between the cores of a node: a bounded ring for each pair of cores.
//!
//! [`mesh`] makes one [`BusEnd`] for each core. Messages from one core to another arrive in the order in which
//! they were sent; at most [`BUS_CREDITS`] of them are under way, and a sender past that waits for its turn. A
//! message lies in the ring itself: sending allocates nothing, and the ring's memory is its sender's, made when it
//! first sends there and freed with the mesh. What a message points to is its maker's business; a
//! [`ChunkSlice`](super::ChunkSlice) finds its way home by itself.
//!
//! The same code on both sides: plain atomics and plain wakers. A message to a core that is at work costs one
//! store and one fence; a wake is called only where the other side has said that it waits.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use super::wake::WakerCell;
pub use super::wake::{RemoteWait, RemoteWaker};
use crate::limits::BUS_CREDITS;

const _: () = assert!(BUS_CREDITS.is_power_of_two(), "positions in a ring are masked");

/// The receiver tells of places that became free when it has taken this many, or all there were.
const CREDIT_BATCH: usize = 32;

/// Keeps what one core writes off the cache line of what the other one writes.
#[repr(align(128))]
#[derive(Default)]
struct Apart<T>(T);

/// The messages from one core to another.
struct Ring<T> {
    slots: OnceLock<Box<[Slot<T>]>>,
    /// How many messages were ever sent. Written by the sender.
    sent: Apart<AtomicUsize>,
    /// How many were ever received, as far as was told. Written by the receiver.
    received: Apart<AtomicUsize>,
    /// Set by a sender that waits for a place, taken by the receiver that wakes it.
    full: AtomicBool,
    room: WakerCell,
}

struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: a slot is written by the sending core before `sent` covers it, and read by the receiving core after
// that and before `received` covers it; the release and acquire of those two order the accesses.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Ring<T> {}

/// What a core waits on for messages from all others.
#[derive(Default)]
struct Inbox {
    /// Set by the receiver before it waits, taken by the sender that wakes it.
    waits: AtomicBool,
    waker: WakerCell,
}

impl Inbox {
    /// Wakes the receiver if it waits; to be called after `sent` was written.
    fn tell(&self) {
        // The receiver sets `waits` and then looks at `sent`; we wrote `sent` and now look at `waits`. With a
        // fence on both sides, at least one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}

/// One core's end of the bus. It may be handed to its core, and stays there.
pub struct BusEnd<T> {
    core: usize,
    to: Vec<Outgoing<T>>,
    from: Vec<Incoming<T>>,
    inbox: Arc<Inbox>,
    /// The source that is looked at first.
    next: Cell<usize>,
}

/// The sending side of a ring.
struct Outgoing<T> {
    ring: Arc<Ring<T>>,
    inbox: Arc<Inbox>,
    sent: Cell<usize>,
    /// What the receiver was last seen to have received.
    received: Cell<usize>,
    /// Who waits for a place, in order; only the first looks for one.
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    last_ticket: Cell<u64>,
}

/// The receiving side of a ring.
struct Incoming<T> {
    ring: Arc<Ring<T>>,
    received: Cell<usize>,
    /// What the sender has last been told.
    told: Cell<usize>,
    /// What the sender was last seen to have sent.
    sent: Cell<usize>,
}

/// The ends for `cores` cores, in the order of their numbers.
pub fn mesh<T: Send>(cores: usize) -> Vec<BusEnd<T>> {
    let inboxes: Vec<Arc<Inbox>> = (0..cores).map(|_| Arc::default()).collect();
    let rings: Vec<Vec<Arc<Ring<T>>>> =
        (0..cores).map(|_| (0..cores).map(|_| Arc::new(Ring::new())).collect()).collect();
    let end = |core: usize| BusEnd {
        core,
        to: rings[core].iter().zip(&inboxes).map(|(ring, inbox)| Outgoing::new(ring, inbox)).collect(),
        from: rings.iter().map(|row| Incoming::new(&row[core])).collect(),
        inbox: inboxes[core].clone(),
        next: Cell::new(0),
    };
    (0..cores).map(end).collect()
}

impl<T> BusEnd<T> {
    /// The core that this end is for.
    pub fn core(&self) -> usize {
        self.core
    }

    /// How many cores the bus joins.
    pub fn cores(&self) -> usize {
        self.to.len()
    }

    /// Sends a message to core `to`, which may be this one, once there is a place for it. Messages to one core
    /// leave in the order in which their sends were first polled. A core that has ended takes no more: a send to
    /// it waits for good once its ring is full.
    pub async fn send(&self, to: usize, message: T) {
        let outgoing = &self.to[to];
        let mut message = match self.try_send(to, message) {
            Ok(()) => return,
            Err(message) => Some(message),
        };
        let mut turn = Turn { outgoing, ticket: None };
        poll_fn(|cx| outgoing.poll_send(cx, &mut turn, &mut message)).await;
    }

    /// Sends a message if there is a place for it and nobody waits for one; else gives it back.
    pub fn try_send(&self, to: usize, message: T) -> Result<(), T> {
        let outgoing = &self.to[to];
        if !outgoing.waiting.borrow().is_empty() {
            return Err(message);
        }
        outgoing.push(message)
    }

    /// The next message and the core it came from, waiting for one. The sources take turns. One task of the core
    /// receives.
    pub async fn receive(&self) -> (usize, T) {
        poll_fn(|cx| {
            if let Some(message) = self.try_receive() {
                return Poll::Ready(message);
            }
            self.inbox.waker.register(cx.waker());
            self.inbox.waits.store(true, Ordering::SeqCst);
            // See `Inbox::tell`.
            fence(Ordering::SeqCst);
            match self.try_receive() {
                Some(message) => {
                    self.inbox.waits.store(false, Ordering::Relaxed);
                    Poll::Ready(message)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The next message and the core it came from, if there is one.
    pub fn try_receive(&self) -> Option<(usize, T)> {
        let first = self.next.get();
        for source in (first..self.from.len()).chain(0..first) {
            if let Some(message) = self.from[source].pop() {
                self.next.set(if source + 1 == self.from.len() { 0 } else { source + 1 });
                return Some((source, message));
            }
        }
        None
    }
}

impl<T> Outgoing<T> {
    fn new(ring: &Arc<Ring<T>>, inbox: &Arc<Inbox>) -> Self {
        Outgoing {
            ring: ring.clone(),
            inbox: inbox.clone(),
            sent: Cell::new(0),
            received: Cell::new(0),
            waiting: RefCell::default(),
            last_ticket: Cell::new(0),
        }
    }

    fn push(&self, message: T) -> Result<(), T> {
        let sent = self.sent.get();
        if sent - self.received.get() == BUS_CREDITS {
            self.received.set(self.ring.received.0.load(Ordering::Acquire));
            if sent - self.received.get() == BUS_CREDITS {
                return Err(message);
            }
        }
        let slots = self.ring.slots.get_or_init(make_slots);
        // SAFETY: `received` says that the receiver is done with this slot, and it does not look at it again
        // before `sent` is written below. Nobody else sends on this ring.
        unsafe { (*slots[sent % BUS_CREDITS].0.get()).write(message) };
        self.sent.set(sent + 1);
        self.ring.sent.0.store(sent + 1, Ordering::Release);
        self.inbox.tell();
        Ok(())
    }

    fn poll_send(&self, cx: &Context<'_>, turn: &mut Turn<'_, T>, message: &mut Option<T>) -> Poll<()> {
        let ticket = *turn.ticket.get_or_insert_with(|| {
            self.last_ticket.set(self.last_ticket.get() + 1);
            self.waiting.borrow_mut().push_back((self.last_ticket.get(), cx.waker().clone()));
            self.last_ticket.get()
        });
        let is_first = {
            let mut waiting = self.waiting.borrow_mut();
            let place = waiting.iter().position(|(t, _)| *t == ticket).expect("it waits until it has sent");
            waiting[place].1.clone_from(cx.waker());
            place == 0
        };
        if !is_first {
            return Poll::Pending;
        }
        let mut push = || match self.push(message.take().expect("polled until it has sent")) {
            Ok(()) => true,
            Err(back) => {
                *message = Some(back);
                false
            }
        };
        if push() {
            return Poll::Ready(());
        }
        self.ring.room.register(cx.waker());
        self.ring.full.store(true, Ordering::SeqCst);
        // The receiver writes `received` and then looks at `full`: see `Incoming::tell`.
        fence(Ordering::SeqCst);
        if push() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A send's place among those that wait. Given up when the send ends, or its future is dropped.
struct Turn<'a, T> {
    outgoing: &'a Outgoing<T>,
    ticket: Option<u64>,
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut waiting = self.outgoing.waiting.borrow_mut();
        let was_first = waiting.front().is_some_and(|(first, _)| *first == ticket);
        waiting.retain(|(waits, _)| *waits != ticket);
        // The next one has to look for itself, and to put its waker where the receiver finds it.
        let next = if was_first { waiting.front().map(|(_, waker)| waker.clone()) } else { None };
        drop(waiting);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl<T> Incoming<T> {
    fn new(ring: &Arc<Ring<T>>) -> Self {
        Incoming { ring: ring.clone(), received: Cell::new(0), told: Cell::new(0), sent: Cell::new(0) }
    }

    fn pop(&self) -> Option<T> {
        let received = self.received.get();
        if received == self.sent.get() {
            self.sent.set(self.ring.sent.0.load(Ordering::Acquire));
            if received == self.sent.get() {
                return None;
            }
        }
        let slots = self.ring.slots.get().expect("made before the first message was sent");
        // SAFETY: `sent` covers the slot, so that its message is written, and it is taken out once, since
        // `received` moves on. Nobody else receives from this ring.
        let message = unsafe { (*slots[received % BUS_CREDITS].0.get()).assume_init_read() };
        self.received.set(received + 1);
        if received + 1 == self.sent.get() || received + 1 - self.told.get() >= CREDIT_BATCH {
            self.tell();
        }
        Some(message)
    }

    /// Gives the places back, and wakes the sender that waits for one.
    fn tell(&self) {
        self.told.set(self.received.get());
        self.ring.received.0.store(self.received.get(), Ordering::Release);
        fence(Ordering::SeqCst);
        if self.ring.full.load(Ordering::Relaxed) && self.ring.full.swap(false, Ordering::SeqCst) {
            self.ring.room.wake();
        }
    }
}

fn make_slots<T>() -> Box<[Slot<T>]> {
    (0..BUS_CREDITS).map(|_| Slot(UnsafeCell::new(MaybeUninit::uninit()))).collect()
}

impl<T> Ring<T> {
    fn new() -> Self {
        Ring {
            slots: OnceLock::new(),
            sent: Apart::default(),
            received: Apart::default(),
            full: AtomicBool::new(false),
            room: WakerCell::default(),
        }
    }
}

impl<T> Drop for Incoming<T> {
    fn drop(&mut self) {
        // The ring is dropped with its last end; it has to know which messages are still in it.
        self.ring.received.0.store(self.received.get(), Ordering::Release);
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let (received, sent) = (*self.received.0.get_mut(), *self.sent.0.get_mut());
        if let Some(slots) = self.slots.get_mut() {
            for position in received..sent {
                // SAFETY: sent and not received: the message is in its slot, and nobody else reaches the ring.
                unsafe { slots[position % BUS_CREDITS].0.get_mut().assume_init_drop() };
            }
        }
    }
}

#[cfg(test)]
mod tests;
