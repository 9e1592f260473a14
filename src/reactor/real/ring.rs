//! Ottla's own ring: what was begun in one turn of the loop goes to the kernel in one call.
//!
//! A [`Ring`] lives on one core. It owns what every operation needs (buffers, descriptors, message headers) from
//! the moment the operation begins until the kernel is done with it, whatever becomes of the future.
//!
//! **Submission.** [`Ring::begin`] only queues. The submitter task, woken by the first operation, runs behind the
//! tasks that are ready with it, and enters the kernel once for all that they began. Disk operations beyond the
//! ring's depth wait in order; those on sockets are bounded by the number of connections and never wait for disk.
//!
//! **Completion.** The kernel counts completions up in an eventfd, of which glommio has a read under way; that
//! wakes the executor when it has parked. Measured on the bench `ring_wake` against a send that is linked to each
//! operation, and against a poll of the ring's descriptor: the eventfd costs 1.2 us over the bare executor, the
//! linked send 4 us and a third more CPU at depth 32, the poll as much as the eventfd but three system calls.
//! During a submission the eventfd is off, since the queue is looked at right after it anyway.
//!
//! COOP_TASKRUN is not used: a spinning executor makes no system call, and would see its completions only when
//! the preemption timer fires (1 ms); with a parking one it showed no gain.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Poll, Waker};

use glommio::io::BufferedFile;
use io_uring::{IoUring, cqueue, opcode, types};

use super::operation::{Operation, Step};

/// The user data of operations that nobody waits for.
const NOBODY: u64 = u64::MAX;

/// One core's ring.
pub(super) struct Ring {
    uring: RefCell<IoUring>,
    slots: RefCell<Slots>,
    /// Begun and not yet given to the kernel, oldest first.
    disk_queue: RefCell<VecDeque<Token>>,
    socket_queue: RefCell<VecDeque<Token>>,
    /// To be cancelled at the next submission.
    cancels: RefCell<Vec<Token>>,
    /// Disk operations that the kernel may hold at once.
    disk_depth: usize,
    disk_in_flight: Cell<usize>,
    submitter: Cell<Option<Waker>>,
    /// Completions of one look, copied out of the queue before anything is done with them.
    found: RefCell<Vec<(u64, i32, u32)>>,
    eventfd: OwnedFd,
    can_truncate: bool,
    closed: Cell<bool>,
    /// The submitter and the listener.
    tasks: RefCell<Vec<glommio::Task<()>>>,
    counts: Counts,
}

/// What a ring has done since it was made.
#[derive(Default, Debug)]
pub(super) struct Counts {
    /// Calls of io_uring_enter.
    pub submits: Cell<u64>,
    /// Operations given to the kernel.
    pub submitted: Cell<u64>,
    /// Times that the eventfd woke the core.
    pub wakes: Cell<u64>,
}

/// Names an operation that was begun. Never names another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    slot: u32,
    generation: u32,
}

impl Token {
    fn to_user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    fn from_user_data(data: u64) -> Token {
        Token { slot: data as u32, generation: (data >> 32) as u32 }
    }
}

/// The operations under way.
#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    operation: Option<Operation>,
}

impl Slots {
    fn insert(&mut self, operation: Operation) -> Token {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("operations under way are bounded far below 2^32")
        });
        let place = &mut self.slots[slot as usize];
        place.operation = Some(operation);
        Token { slot, generation: place.generation }
    }

    fn get(&mut self, token: Token) -> Option<&mut Operation> {
        let place = self.slots.get_mut(token.slot as usize)?;
        if place.generation == token.generation { place.operation.as_mut() } else { None }
    }

    fn remove(&mut self, token: Token) -> Operation {
        let place = &mut self.slots[token.slot as usize];
        assert_eq!(place.generation, token.generation, "a completion names an operation under way");
        // A generation of all ones would make the user data `NOBODY` in the last slot.
        place.generation = (place.generation + 1) % u32::MAX;
        self.free.push(token.slot);
        place.operation.take().expect("a completion names an operation under way")
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Ring {
    /// A ring with `depth` entries, and its two tasks on `queue` of the executor that runs now.
    pub(super) fn new(depth: u32, queue: glommio::TaskQueueHandle) -> io::Result<Rc<Ring>> {
        let uring = make(depth)?;
        // SAFETY: plain system call.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if eventfd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
        uring.submitter().register_eventfd(eventfd.as_raw_fd())?;
        let mut probe = io_uring::Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        let ring = Rc::new(Ring {
            disk_depth: uring.params().sq_entries() as usize,
            can_truncate: probe.is_supported(opcode::Ftruncate::CODE),
            uring: RefCell::new(uring),
            slots: RefCell::default(),
            disk_queue: RefCell::default(),
            socket_queue: RefCell::default(),
            cancels: RefCell::default(),
            disk_in_flight: Cell::new(0),
            submitter: Cell::default(),
            found: RefCell::default(),
            eventfd,
            closed: Cell::new(false),
            tasks: RefCell::default(),
            counts: Counts::default(),
        });
        let listener = ring.clone().listen()?;
        let submitter = glommio::spawn_local_into(ring.clone().submit_when_woken(), queue)?;
        let listener = glommio::spawn_local_into(listener, queue)?;
        ring.tasks.borrow_mut().extend([submitter, listener]);
        Ok(ring)
    }

    /// Whether the kernel can shorten a file through the ring (6.9).
    pub(super) fn can_truncate(&self) -> bool {
        self.can_truncate
    }

    /// What was done so far.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Begins an operation. It goes to the kernel at the end of this turn.
    pub(super) fn begin(&self, operation: Operation) -> Token {
        let queue = if operation.is_disk() { &self.disk_queue } else { &self.socket_queue };
        let token = self.slots.borrow_mut().insert(operation);
        queue.borrow_mut().push_back(token);
        self.wake_submitter();
        token
    }

    /// Asks the kernel to end an operation early; it still completes. Does nothing if it has.
    pub(super) fn cancel(&self, token: Token) {
        if self.slots.borrow_mut().get(token).is_some() {
            self.cancels.borrow_mut().push(token);
            self.wake_submitter();
        }
    }

    fn wake_submitter(&self) {
        if let Some(waker) = self.submitter.take() {
            waker.wake();
        }
    }

    async fn submit_when_woken(self: Rc<Self>) {
        poll_fn(|cx| {
            if self.closed.get() {
                return Poll::Ready(());
            }
            // Before the submission: what completes in it may begin the next operation.
            self.submitter.set(Some(cx.waker().clone()));
            self.submit();
            Poll::Pending
        })
        .await;
    }

    /// Waits for the eventfd and looks at the completions; made before the first operation is.
    fn listen(self: Rc<Self>) -> io::Result<impl Future<Output = ()>> {
        let eventfd = self.eventfd.try_clone()?;
        // SAFETY: the descriptor is handed over.
        let eventfd = unsafe { BufferedFile::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(eventfd)) };
        Ok(async move {
            while !self.closed.get() {
                if let Err(e) = eventfd.read_at(0, 8).await {
                    panic!("the eventfd of the ring cannot be read: {e}");
                }
                self.counts.wakes.set(self.counts.wakes.get() + 1);
                self.complete();
                if !self.queues_empty() {
                    self.wake_submitter();
                }
            }
            // Closing it late costs nothing; closing it by drop would be logged as a fault.
            let _ = eventfd.close().await;
        })
    }

    fn queues_empty(&self) -> bool {
        self.disk_queue.borrow().is_empty()
            && self.socket_queue.borrow().is_empty()
            && self.cancels.borrow().is_empty()
    }

    /// Gives the kernel all that was begun and that it may hold, then looks at what has completed.
    fn submit(&self) {
        if self.queues_empty() {
            return;
        }
        self.uring.borrow_mut().completion().disable_eventfd();
        loop {
            let filled = self.fill();
            if filled == 0 && self.uring.borrow_mut().submission().is_empty() {
                break;
            }
            match self.enter(0) {
                Ok(()) => {}
                // The kernel has no room for more until completions were taken.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    if self.complete() == 0 {
                        self.wake_submitter();
                        break;
                    }
                }
                Err(e) => panic!("io_uring_enter failed, and no operation can go on: {e}"),
            }
            self.complete();
        }
        self.uring.borrow_mut().completion().enable_eventfd();
        // A kernel worker may have completed something after the last look and seen the eventfd still off. Its
        // look at the flag follows its write of the queue's tail, and ours goes the other way round.
        fence(Ordering::SeqCst);
        self.complete();
        if !self.queues_empty() && self.disk_in_flight.get() < self.disk_depth {
            self.wake_submitter();
        }
    }

    fn enter(&self, wait_for: usize) -> io::Result<()> {
        loop {
            let uring = self.uring.borrow();
            self.counts.submits.set(self.counts.submits.get() + 1);
            match uring.submit_and_wait(wait_for) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Moves what was begun into the submission queue, as far as there is room.
    fn fill(&self) -> usize {
        let mut uring = self.uring.borrow_mut();
        let mut queue = uring.submission();
        let mut slots = self.slots.borrow_mut();
        let mut filled = 0;
        let mut cancels = self.cancels.borrow_mut();
        while !queue.is_full() {
            let Some(token) = cancels.pop() else { break };
            let entry = opcode::AsyncCancel::new(token.to_user_data()).build().user_data(NOBODY);
            // SAFETY: it points to nothing.
            unsafe { queue.push(&entry) }.expect("there is room");
            filled += 1;
        }
        for (waiting, is_disk) in [(&self.socket_queue, false), (&self.disk_queue, true)] {
            let mut waiting = waiting.borrow_mut();
            while !queue.is_full() && (!is_disk || self.disk_in_flight.get() < self.disk_depth) {
                let Some(token) = waiting.pop_front() else { break };
                let operation = slots.get(token).expect("what waits in a queue is under way");
                let entry = operation.entry().user_data(token.to_user_data());
                // SAFETY: what the entry points to is owned by the operation, on the heap, and the operation
                // stays in its slot until its completion was seen.
                unsafe { queue.push(&entry) }.expect("there is room");
                if is_disk {
                    self.disk_in_flight.set(self.disk_in_flight.get() + 1);
                }
                filled += 1;
            }
        }
        self.counts.submitted.set(self.counts.submitted.get() + filled as u64);
        filled
    }

    /// Ends the operations whose completion has come. Returns how many completions there were.
    fn complete(&self) -> usize {
        let mut found = self.found.take();
        found.extend(
            self.uring.borrow_mut().completion().map(|cqe| (cqe.user_data(), cqe.result(), cqe.flags())),
        );
        let count = found.len();
        for (data, result, flags) in found.drain(..) {
            if data != NOBODY {
                self.complete_one(Token::from_user_data(data), result, flags);
            }
        }
        self.found.replace(found);
        count
    }

    fn complete_one(&self, token: Token, result: i32, flags: u32) {
        if cqueue::more(flags) {
            let mut slots = self.slots.borrow_mut();
            slots.get(token).expect("a completion names an operation under way").note(result);
            return;
        }
        let operation = self.slots.borrow_mut().remove(token);
        let is_disk = operation.is_disk();
        if is_disk {
            self.disk_in_flight.set(self.disk_in_flight.get() - 1);
        }
        if let Step::Again(operation) = operation.finish(result) {
            // In front: it was begun before all that waits.
            let token = self.slots.borrow_mut().insert(operation);
            let queue = if is_disk { &self.disk_queue } else { &self.socket_queue };
            queue.borrow_mut().push_front(token);
            self.wake_submitter();
        } else if is_disk && !self.disk_queue.borrow().is_empty() {
            self.wake_submitter();
        }
    }

    /// Ends the ring with its core: waits for the disk, cancels the rest, and lets go of all memory.
    pub(super) async fn close(&self) {
        self.drain();
        self.closed.set(true);
        // The eventfd wakes the listener, which then sees that the ring is closed.
        let one = 1u64;
        // SAFETY: eight bytes of our own.
        unsafe { libc::write(self.eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
        self.wake_submitter();
        let tasks = self.tasks.take();
        for task in tasks {
            task.await;
        }
    }

    /// Blocks until nothing is under way.
    fn drain(&self) {
        let tokens: Vec<Token> = {
            let slots = self.slots.borrow();
            let sockets = slots.slots.iter().enumerate();
            sockets
                .filter(|(_, s)| s.operation.as_ref().is_some_and(|o| !o.is_disk()))
                .map(|(i, s)| Token { slot: i as u32, generation: s.generation })
                .collect()
        };
        self.cancels.borrow_mut().extend(tokens);
        while self.slots.borrow().len() > 0 {
            self.fill();
            if let Err(e) = self.enter(1) {
                // The memory of what is still under way must outlive this: it is given up.
                tracing::error!("the ring could not be drained at the end of its core: {e}");
                std::mem::forget(self.slots.take());
                return;
            }
            self.complete();
        }
    }
}

/// A ring with the most useful set-up that this kernel knows.
fn make(depth: u32) -> io::Result<IoUring> {
    let depth = depth.clamp(8, 32768).next_power_of_two();
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp().setup_submit_all().setup_single_issuer();
    match builder.build(depth) {
        // Kernels before 6.0 do not know one of the flags.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            let mut builder = IoUring::builder();
            builder.dontfork().setup_clamp();
            builder.build(depth)
        }
        made => made,
    }
}

/// The descriptor as io_uring names it.
pub(super) fn fd(of: &impl AsRawFd) -> types::Fd {
    types::Fd(of.as_raw_fd())
}
