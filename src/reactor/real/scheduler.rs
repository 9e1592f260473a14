//! A core's tasks: who is ready, whose turn it is, and how others wake them.
//!
//! A future lives in its core's table and is touched there alone. What crosses cores is its [`Task`], a handle
//! without the future: waking it from its own core puts it in line, from another one on the list of its
//! [`Home`], and rings the core's bell if it sleeps.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::clock;
use super::start::panicked;
use crate::reactor::{Class, Nanos};

/// Tasks of one class that run before the clock is looked at.
const TASKS_PER_LOOK: u32 = 4;

/// The tasks of one core. Lives on its thread.
pub(super) struct Scheduler {
    core: usize,
    home: Arc<Home>,
    table: RefCell<Table>,
    lanes: RefCell<Lanes>,
}

/// What other threads know of a core.
pub(super) struct Home {
    /// Tasks woken from elsewhere, the last one first.
    woken: AtomicPtr<Task>,
    /// Set while the core sleeps or is about to. Who takes it rings the bell.
    asleep: AtomicBool,
    /// The core is gone; waking has no effect any more.
    closed: AtomicBool,
    bell: OwnedFd,
}

/// A task's handle, which is also its waker.
struct Task {
    /// Set from the wake until the poll: it stands in one line at most.
    queued: AtomicBool,
    class: Class,
    index: usize,
    home: Arc<Home>,
    /// The next one of the list at home. Touched by who has queued it, and then by who took the list.
    next: AtomicPtr<Task>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

struct Entry {
    task: Arc<Task>,
    /// Away while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// The ready tasks by class. Each class is charged for the time it used, the less the more shares it has, and the
/// one charged least is next.
struct Lanes {
    lanes: [Lane; Class::ALL.len()],
    /// The charge of the lane that was chosen last; who comes back after a pause starts from here, so that a pause
    /// cannot be saved up.
    least: u64,
    /// The lane that runs now, which may be empty for a moment without having paused.
    running: Option<usize>,
}

struct Lane {
    ready: VecDeque<Arc<Task>>,
    shares: u64,
    charged: u64,
}

thread_local! {
    static HERE: RefCell<Option<Rc<Scheduler>>> = const { RefCell::new(None) };
}

/// The scheduler of this thread, if it is a core at work.
pub(super) fn here() -> Option<Rc<Scheduler>> {
    HERE.try_with(|here| here.try_borrow().ok()?.clone()).ok()?
}

impl Scheduler {
    /// The scheduler of this thread, woken through `bell`.
    pub(super) fn new(core: usize, shares: [usize; Class::ALL.len()], bell: OwnedFd) -> Rc<Scheduler> {
        let lanes =
            shares.map(|shares| Lane { ready: VecDeque::new(), shares: shares.max(1) as u64, charged: 0 });
        let scheduler = Rc::new(Scheduler {
            core,
            home: Arc::new(Home {
                woken: AtomicPtr::new(ptr::null_mut()),
                asleep: AtomicBool::new(false),
                closed: AtomicBool::new(false),
                bell,
            }),
            table: RefCell::default(),
            lanes: RefCell::new(Lanes { lanes, least: 0, running: None }),
        });
        let before = HERE.replace(Some(scheduler.clone()));
        assert!(before.is_none(), "one core to a thread");
        scheduler
    }

    /// What other threads know of this core.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// Takes in a task, ready to run.
    pub(super) fn spawn(&self, class: Class, future: impl Future<Output = ()> + 'static) {
        let mut table = self.table.borrow_mut();
        let index = table.free.pop().unwrap_or_else(|| {
            table.entries.push(None);
            table.entries.len() - 1
        });
        let task = Arc::new(Task {
            queued: AtomicBool::new(true),
            class,
            index,
            home: self.home.clone(),
            next: AtomicPtr::new(ptr::null_mut()),
        });
        table.entries[index] = Some(Entry { task: task.clone(), future: Some(Box::pin(future)) });
        self.lanes.borrow_mut().push(task);
    }

    /// Puts what was woken from elsewhere in line, in the order in which it was. Returns whether there was any.
    pub(super) fn collect(&self) -> bool {
        let mut woken = self.home.take_woken();
        let some = !woken.is_empty();
        let mut lanes = self.lanes.borrow_mut();
        while let Some(task) = woken.pop() {
            lanes.push(task);
        }
        some
    }

    /// Whether a task is in line.
    pub(super) fn is_ready(&self) -> bool {
        self.lanes.borrow().lanes.iter().any(|lane| !lane.ready.is_empty())
    }

    /// Runs ready tasks until there are none or `turn` has passed. A class runs for `slice` before another one is
    /// looked at. Returns how many tasks ran.
    pub(super) fn run_ready(&self, turn: Duration, slice: Duration) -> u64 {
        let from = clock::now();
        let mut now = from;
        let mut ran = 0;
        while now.since(from) < turn {
            let Some(lane) = self.lanes.borrow_mut().next() else { break };
            let ran_before = ran;
            let end = self.run_lane(lane, now, slice.min(turn), &mut ran);
            debug_assert!(ran > ran_before, "a lane that was chosen has a task");
            self.lanes.borrow_mut().charge(lane, end.since(now));
            now = end;
        }
        ran
    }

    fn run_lane(&self, lane: usize, from: Nanos, slice: Duration, ran: &mut u64) -> Nanos {
        loop {
            for _ in 0..TASKS_PER_LOOK {
                let task = self.lanes.borrow_mut().lanes[lane].ready.pop_front();
                let Some(task) = task else { return clock::now() };
                self.poll(task);
                *ran += 1;
            }
            let now = clock::now();
            if now.since(from) >= slice {
                return now;
            }
        }
    }

    fn poll(&self, task: Arc<Task>) {
        let index = task.index;
        let future = {
            let mut table = self.table.borrow_mut();
            match &mut table.entries[index] {
                Some(entry) if Arc::ptr_eq(&entry.task, &task) => entry.future.take(),
                _ => None,
            }
        };
        // Woken after its end.
        let Some(mut future) = future else { return };
        // From here on a wake means another poll. Who woke before has written what it woke for before it set the
        // flag; taking the flag makes us see it.
        task.queued.swap(false, Ordering::AcqRel);
        let waker = Waker::from(task);
        let mut cx = Context::from_waker(&waker);
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let polled = polled.unwrap_or_else(|payload| panicked(&format!("core {}", self.core), &*payload));
        let mut table = self.table.borrow_mut();
        match polled {
            Poll::Pending => {
                let entry = table.entries[index].as_mut().expect("only its own end takes a task out");
                entry.future = Some(future);
            }
            Poll::Ready(()) => {
                table.entries[index] = None;
                table.free.push(index);
                // What the future still holds may spawn or wake when it goes.
                drop(table);
                drop(future);
            }
        }
    }

    /// Drops all tasks where they stand, and takes no more wakes.
    pub(super) fn end(&self) {
        loop {
            let entries = std::mem::take(&mut *self.table.borrow_mut()).entries;
            if entries.iter().all(Option::is_none) {
                break;
            }
            drop(entries);
        }
        self.home.closed.store(true, Ordering::SeqCst);
        drop(self.home.take_woken());
        self.lanes.borrow_mut().lanes.iter_mut().for_each(|lane| lane.ready.clear());
        HERE.set(None);
    }
}

impl Lanes {
    fn push(&mut self, task: Arc<Task>) {
        let index = task.class as usize;
        let lane = &mut self.lanes[index];
        if lane.ready.is_empty() && self.running != Some(index) {
            lane.charged = lane.charged.max(self.least);
        }
        lane.ready.push_back(task);
    }

    /// The lane charged least among those with a ready task; of equals the most urgent.
    fn next(&mut self) -> Option<usize> {
        let ready = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.ready.is_empty());
        let (index, lane) = ready.min_by_key(|(_, lane)| lane.charged)?;
        self.least = self.least.max(lane.charged);
        self.running = Some(index);
        Some(index)
    }

    /// Ends a lane's run.
    fn charge(&mut self, lane: usize, time: Duration) {
        self.running = None;
        let lane = &mut self.lanes[lane];
        lane.charged += (time.as_nanos() as u64).max(1) * 64 / lane.shares;
    }
}

impl Home {
    /// Announces that the core is about to sleep. If nothing was woken before, whoever wakes from now on rings.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        // Who wakes puts the task on the list and then looks at `asleep`; here it goes the other way round.
        fence(Ordering::SeqCst);
        let may = self.woken.load(Ordering::Acquire).is_null();
        if !may {
            self.awake();
        }
        may
    }

    /// Announces that the core is at work.
    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether something was woken that is not in line yet.
    pub(super) fn has_woken(&self) -> bool {
        !self.woken.load(Ordering::Relaxed).is_null()
    }

    /// The tasks woken from elsewhere, the last one first.
    fn take_woken(&self) -> Vec<Arc<Task>> {
        let mut tasks = Vec::new();
        if !self.has_woken() {
            return tasks;
        }
        let mut next = self.woken.swap(ptr::null_mut(), Ordering::Acquire);
        while !next.is_null() {
            // SAFETY: put on the list by `put`, and taken off it by the swap, which nobody else did.
            let task = unsafe { Arc::from_raw(next) };
            next = task.next.load(Ordering::Relaxed);
            tasks.push(task);
        }
        tasks
    }

    /// Puts a task on the list. Its flag says that it stands in no other line.
    fn put(&self, task: Arc<Task>) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let task = Arc::into_raw(task).cast_mut();
        let mut first = self.woken.load(Ordering::Relaxed);
        loop {
            // SAFETY: the reference that was just given up keeps it alive until it is taken off the list.
            unsafe { (*task).next.store(first, Ordering::Relaxed) };
            match self.woken.compare_exchange_weak(first, task, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // See `may_sleep`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            self.ring_bell();
        }
    }

    fn ring_bell(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of our own. The count never comes near its end, where a write would block.
        unsafe { libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }
}

impl Task {
    /// Puts the task in line: here, if this is its core's thread, else on the list at its home.
    fn enqueue(self: Arc<Self>) {
        let mut task = Some(self);
        // Fails while the thread ends, and then the task is put on the list like any from elsewhere.
        let _ = HERE.try_with(|here| {
            if let Ok(here) = here.try_borrow()
                && let Some(here) = &*here
                && task.as_ref().is_some_and(|task| Arc::ptr_eq(&task.home, &here.home))
            {
                here.lanes.borrow_mut().push(task.take().expect("just seen"));
            }
        });
        if let Some(task) = task {
            let home = task.home.clone();
            home.put(task);
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.enqueue();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.clone().enqueue();
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.take_woken());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes() -> (Lanes, Arc<Home>) {
        // SAFETY: plain system call; the descriptor is ours.
        let bell = unsafe { std::os::fd::FromRawFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let home = Home {
            woken: AtomicPtr::new(ptr::null_mut()),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            bell,
        };
        let shares = [1000, 500, 500, 300, 100];
        let lanes = shares.map(|shares| Lane { ready: VecDeque::new(), shares, charged: 0 });
        (Lanes { lanes, least: 0, running: None }, Arc::new(home))
    }

    fn task(class: Class, home: &Arc<Home>) -> Arc<Task> {
        Arc::new(Task {
            queued: AtomicBool::new(true),
            class,
            index: 0,
            home: home.clone(),
            next: AtomicPtr::new(ptr::null_mut()),
        })
    }

    /// Runs the lanes for `rounds` slices of 100 us, each class with one task that is always ready again.
    fn run(lanes: &mut Lanes, rounds: usize, home: &Arc<Home>) -> [usize; 5] {
        let mut ran = [0; 5];
        for _ in 0..rounds {
            let lane = lanes.next().unwrap();
            let again = lanes.lanes[lane].ready.pop_front().unwrap();
            assert_eq!(again.class as usize, lane);
            lanes.push(task(again.class, home));
            lanes.charge(lane, Duration::from_micros(100));
            ran[lane] += 1;
        }
        ran
    }

    #[test]
    fn time_is_given_by_shares() {
        let (mut lanes, home) = lanes();
        Class::ALL.into_iter().for_each(|class| lanes.push(task(class, &home)));
        let ran = run(&mut lanes, 2400, &home);
        for (ran, shares) in ran.into_iter().zip([1000, 500, 500, 300, 100]) {
            assert!(ran.abs_diff(shares) <= 10, "{ran} of {shares}");
        }
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let (mut lanes, home) = lanes();
        lanes.push(task(Class::Fetch, &home));
        run(&mut lanes, 1000, &home);
        lanes.push(task(Class::Replication, &home));
        let ran = run(&mut lanes, 100, &home);
        assert!(ran[1].abs_diff(50) <= 2 && ran[2].abs_diff(50) <= 2, "{ran:?}");
    }

    #[test]
    fn who_was_woken_from_elsewhere_comes_in_order_and_a_sleeper_is_rung_once() {
        let (_, home) = lanes();
        assert!(home.may_sleep());
        for class in Class::ALL {
            home.put(task(class, &home));
        }
        let mut rung = 0u64;
        // SAFETY: eight bytes of our own.
        let got = unsafe { libc::read(home.bell.as_raw_fd(), (&raw mut rung).cast(), 8) };
        assert_eq!((got, rung), (8, 1));
        assert!(!home.may_sleep(), "there is work");
        let woken: Vec<Class> = home.take_woken().into_iter().rev().map(|task| task.class).collect();
        assert_eq!(woken, Class::ALL);
        assert!(home.may_sleep());
    }
}
