//! Ottla's ring: what was begun in one turn of the loop goes to the kernel in one call.
//!
//! A [`Ring`] lives on one core. It owns what every operation needs (buffers, descriptors, message headers) from
//! the moment the operation begins until the kernel is done with it, whatever becomes of the future.
//!
//! [`Ring::begin`] only queues. The core's loop calls [`Ring::submit`] at the end of each turn, [`Ring::complete`]
//! to look at what has completed (a look at memory, unless the kernel says that it has work to finish), and
//! [`Ring::wait`] to sleep until something has. Disk operations beyond the ring's depth wait in order; those on
//! sockets are bounded by the number of connections and never wait for disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, cqueue, opcode, types};

use super::operation::{Operation, Step};

/// The user data of operations that nobody waits for.
const NOBODY: u64 = u64::MAX;
/// The user data of the poll of the bell.
const BELL: u64 = u64::MAX - 1;

/// How many files a ring can hold.
const HELD: usize = 8;

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
    /// Written by other threads to end a wait, and polled for as long as the ring lives.
    bell: OwnedFd,
    bell_is_polled: Cell<bool>,
    /// Completions of one look, copied out of the queue before anything is done with them.
    found: RefCell<Vec<(u64, i32, u32)>>,
    can_truncate: bool,
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
        // A generation of all ones is left to `NOBODY` and `BELL`.
        place.generation = (place.generation + 1) % u32::MAX;
        self.free.push(token.slot);
        place.operation.take().expect("a completion names an operation under way")
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Ring {
    /// A ring with `depth` entries for this thread.
    pub(super) fn new(depth: u32) -> io::Result<Rc<Ring>> {
        let uring = make(depth)?;
        // SAFETY: plain system call.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if bell < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let bell = unsafe { OwnedFd::from_raw_fd(bell) };
        let mut probe = io_uring::Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        Ok(Rc::new(Ring {
            disk_depth: uring.params().sq_entries() as usize,
            can_truncate: probe.is_supported(opcode::Ftruncate::CODE),
            uring: RefCell::new(uring),
            slots: RefCell::default(),
            disk_queue: RefCell::default(),
            socket_queue: RefCell::default(),
            cancels: RefCell::default(),
            disk_in_flight: Cell::new(0),
            bell,
            bell_is_polled: Cell::new(false),
            found: RefCell::default(),
        }))
    }

    /// What ends a wait from another thread when it is written.
    pub(super) fn bell(&self) -> io::Result<OwnedFd> {
        self.bell.try_clone()
    }

    /// Has the kernel hold an open file, the `number`th of this ring, until the last operation of the ring has ended,
    /// also when the process has ended before. Kernels let go of a dead process's descriptors at once, but not of
    /// what its rings hold.
    pub(super) fn hold(&self, file: &impl AsRawFd, number: usize) -> io::Result<()> {
        let uring = self.uring.borrow();
        if number == 0 {
            uring.submitter().register_files(&[-1; HELD])?;
        }
        match uring.submitter().register_files_update(number as u32, &[file.as_raw_fd()])? {
            1 => Ok(()),
            _ => Err(io::Error::other(format!("a ring holds no more than {HELD} files"))),
        }
    }

    /// Whether the kernel can shorten a file through the ring (6.9).
    pub(super) fn can_truncate(&self) -> bool {
        self.can_truncate
    }

    /// Begins an operation. It goes to the kernel at the end of this turn.
    pub(super) fn begin(&self, operation: Operation) -> Token {
        let queue = if operation.is_disk() { &self.disk_queue } else { &self.socket_queue };
        let token = self.slots.borrow_mut().insert(operation);
        queue.borrow_mut().push_back(token);
        token
    }

    /// Asks the kernel to end an operation early; it still completes. Does nothing if it has.
    pub(super) fn cancel(&self, token: Token) {
        if self.slots.borrow_mut().get(token).is_some() {
            self.cancels.borrow_mut().push(token);
        }
    }

    /// Whether something waits that the kernel may be given, and is not in the submission queue yet.
    fn has_to_fill(&self) -> bool {
        let disk = !self.disk_queue.borrow().is_empty() && self.disk_in_flight.get() < self.disk_depth;
        disk || !self.socket_queue.borrow().is_empty()
            || !self.cancels.borrow().is_empty()
            || !self.bell_is_polled.get()
    }

    /// Gives the kernel all that was begun and that it may hold, then looks at what has completed.
    pub(super) fn submit(&self) {
        while self.has_to_fill() || !self.uring.borrow_mut().submission().is_empty() {
            self.fill();
            let put_off = self.enter(0, None);
            if self.complete() == 0 && put_off {
                return;
            }
        }
    }

    /// Submits, sleeps until something completes, the bell is rung or `timeout` has passed, and looks at what has
    /// completed. One call to the kernel.
    pub(super) fn wait(&self, timeout: Option<Duration>) {
        self.fill();
        if self.has_to_fill() {
            // More than the queue holds: no sleep before all is under way.
            return self.submit();
        }
        self.enter(1, timeout);
        self.complete();
    }

    /// Enters the kernel. Returns whether it put the submission off until completions were taken.
    fn enter(&self, wait_for: usize, timeout: Option<Duration>) -> bool {
        let uring = self.uring.borrow();
        let result = match timeout {
            None => uring.submit_and_wait(wait_for),
            Some(timeout) => {
                let time = types::Timespec::from(timeout);
                uring.submitter().submit_with_args(wait_for, &types::SubmitArgs::new().timespec(&time))
            }
        };
        match result.map_err(|e| (e.raw_os_error(), e)) {
            Ok(_) => false,
            // A signal, or the time has passed: the loop looks around and comes back.
            Err((Some(libc::EINTR | libc::ETIME), _)) => false,
            Err((Some(libc::EBUSY | libc::EAGAIN), _)) => true,
            Err((_, e)) => panic!("io_uring_enter failed, and no operation can go on: {e}"),
        }
    }

    /// Moves what was begun into the submission queue, as far as there is room.
    fn fill(&self) {
        let mut uring = self.uring.borrow_mut();
        let mut queue = uring.submission();
        let mut slots = self.slots.borrow_mut();
        if !self.bell_is_polled.get() && !queue.is_full() {
            let poll = opcode::PollAdd::new(fd(&self.bell), libc::POLLIN as u32).multi(true).build();
            // SAFETY: it points to nothing, and the bell lives as long as the ring.
            unsafe { queue.push(&poll.user_data(BELL)) }.expect("there is room");
            self.bell_is_polled.set(true);
        }
        let mut cancels = self.cancels.borrow_mut();
        while !queue.is_full() {
            let Some(token) = cancels.pop() else { break };
            let entry = opcode::AsyncCancel::new(token.to_user_data()).build().user_data(NOBODY);
            // SAFETY: it points to nothing.
            unsafe { queue.push(&entry) }.expect("there is room");
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
            }
        }
    }

    /// Ends the operations whose completion has come. Returns how many completions there were.
    pub(super) fn complete(&self) -> usize {
        let mut found = self.found.take();
        let mut uring = self.uring.borrow_mut();
        if uring.submission().taskrun() {
            drop(uring);
            self.finish_kernel_work();
            uring = self.uring.borrow_mut();
        }
        found.extend(uring.completion().map(|cqe| (cqe.user_data(), cqe.result(), cqe.flags())));
        drop(uring);
        let count = found.len();
        for (data, result, flags) in found.drain(..) {
            match data {
                NOBODY => {}
                BELL => self.bell_is_polled.set(cqueue::more(flags)),
                data => self.complete_one(Token::from_user_data(data), result, flags),
            }
        }
        self.found.replace(found);
        count
    }

    /// Lets the kernel turn what the devices have finished into completions.
    fn finish_kernel_work(&self) {
        let uring = self.uring.borrow();
        // SAFETY: nothing is submitted and no argument is given. A failure shows at the next submission.
        let _ =
            unsafe { uring.submitter().enter::<libc::sigset_t>(0, 0, EnterFlags::GETEVENTS.bits(), None) };
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
        }
    }

    /// Blocks until nothing is under way: waits for the disk, and cancels the rest. For the end of a core.
    pub(super) fn drain(&self) {
        let sockets: Vec<Token> = {
            let slots = self.slots.borrow();
            let under_way = slots.slots.iter().enumerate();
            let sockets = under_way.filter(|(_, s)| s.operation.as_ref().is_some_and(|o| !o.is_disk()));
            sockets.map(|(i, s)| Token { slot: i as u32, generation: s.generation }).collect()
        };
        self.cancels.borrow_mut().extend(sockets);
        while self.slots.borrow().len() > 0 {
            self.wait(None);
        }
        // What it holds goes with the core, and not some time later with the ring. An error says that it holds
        // nothing.
        let _ = self.uring.borrow().submitter().unregister_files();
    }
}

/// A ring with the most useful set-up that this kernel knows.
///
/// COOP_TASKRUN keeps the kernel from interrupting the core for each completion: a core that spins sees the flag
/// and asks for them. Measured on loopback (bench `core`): a spinning core hears of a byte after 11 us instead of
/// 22, a sleeping one after 30 instead of 34 for a sixth less CPU. DEFER_TASKRUN does no better.
pub(super) fn make(depth: u32) -> io::Result<IoUring> {
    let depth = depth.clamp(8, 32768).next_power_of_two();
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp();
    let mut best = builder.clone();
    best.setup_submit_all().setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
    match best.build(depth) {
        // Kernels before 6.0 do not know all of these.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => builder.build(depth),
        made => made,
    }
}

/// Whether a ring does all that it is asked for here.
pub(super) fn is_sufficient(uring: &IoUring) -> io::Result<()> {
    let mut probe = io_uring::Probe::new();
    uring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::Write::CODE,
        opcode::Read::CODE,
        opcode::Fsync::CODE,
        opcode::Fallocate::CODE,
        opcode::SendMsg::CODE,
        opcode::PollAdd::CODE,
        opcode::Connect::CODE,
        opcode::AsyncCancel::CODE,
    ];
    let params = uring.params();
    let is_whole = needed.iter().all(|code| probe.is_supported(*code))
        && params.is_feature_nodrop()
        && params.is_feature_ext_arg()
        && params.is_feature_native_workers();
    if is_whole { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
}

/// The descriptor as io_uring names it.
pub(super) fn fd(of: &impl AsRawFd) -> types::Fd {
    types::Fd(of.as_raw_fd())
}
