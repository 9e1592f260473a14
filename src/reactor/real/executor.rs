//! The loop of a core: run what is ready, give the kernel what was begun, look at what came, sleep.
//!
//! One turn runs the ready tasks until there are none, or for [`TURN`]. Then all operations that they began go to
//! the kernel in one call; if nothing is ready that call also sleeps, until a completion, another thread's wake
//! or the next timer. A core that spins before it sleeps looks at the completions in memory meanwhile.
//!
//! Why not glommio, whose executor this room was first built on (its 0.9 is the newest release): it sleeps with
//! tasks that are ready when its preemption timer fires between being armed and the first task, which with a
//! timer of 1 ms stopped one run of this room's tests in thirty for good; it offers no place to look at a second
//! ring before it sleeps; and each sleep costs nine system calls and a membarrier. Beside it, on one machine in
//! the same minutes (benches `core` and `ring_wake`): a byte over loopback wakes a sleeping core after 30 us for
//! 28 us of CPU (glommio 41 and 64, a blocking thread 28 and 25), a spinning one after 11 us (29); a round trip
//! of the bus takes 35 us asleep (63) and 1.5 us spinning (14).

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::clock;
use super::ring::Ring;
use super::scheduler::Scheduler;
use crate::reactor::timers::Timers;
use crate::reactor::{Class, CoreSpec};

/// How long what was begun may wait for tasks that are still ready before it goes to the kernel.
const TURN: Duration = Duration::from_micros(100);

/// One core's loop and what it turns on.
pub(super) struct Executor {
    pub(super) scheduler: Rc<Scheduler>,
    pub(super) ring: Rc<Ring>,
    pub(super) timers: Timers,
    spin: Duration,
    slice: Duration,
}

impl Executor {
    /// Makes this thread core number `core`.
    pub(super) fn new(core: usize, spec: &CoreSpec) -> io::Result<Rc<Executor>> {
        let ring = Ring::new(spec.ring_depth)?;
        Ok(Rc::new(Executor {
            scheduler: Scheduler::new(core, spec.shares, ring.bell()?),
            ring,
            timers: Timers::default(),
            spin: spec.spin_before_park,
            slice: spec.preempt,
        }))
    }

    /// Runs until `main` has ended; then drops all other tasks, and waits for what is under way on disk.
    pub(super) fn run(&self, main: Pin<Box<dyn Future<Output = ()>>>) {
        let ended = Rc::new(Cell::new(false));
        let end = ended.clone();
        self.scheduler.spawn(Class::Request, async move {
            main.await;
            end.set(true);
        });
        loop {
            self.work();
            if ended.get() {
                break;
            }
            self.look_or_sleep();
        }
        self.scheduler.end();
        self.ring.drain();
    }

    /// Runs what is ready, after a look at all that may have made something ready.
    fn work(&self) {
        self.ring.complete();
        self.scheduler.collect();
        self.fire_timers();
        self.scheduler.run_ready(TURN, self.slice);
    }

    /// Gives the kernel what was begun, and sleeps if nothing is ready.
    fn look_or_sleep(&self) {
        if self.scheduler.is_ready() {
            self.ring.submit();
        } else if self.spin.is_zero() {
            self.sleep();
        } else {
            self.ring.submit();
            self.spin();
        }
    }

    /// Fires what is due, and tells how long it is to the next.
    fn fire_timers(&self) -> Option<Duration> {
        let deadline = self.timers.next_deadline()?;
        let now = clock::now();
        if deadline <= now {
            self.timers.fire(now);
        }
        self.timers.next_deadline().map(|next| next.since(now))
    }

    /// Looks for work for a while before it sleeps.
    fn spin(&self) {
        let from = clock::now();
        loop {
            self.ring.complete();
            self.fire_timers();
            if self.scheduler.is_ready() || self.scheduler.home().has_woken() {
                return;
            }
            if clock::now().since(from) >= self.spin {
                return self.sleep();
            }
            std::hint::spin_loop();
        }
    }

    fn sleep(&self) {
        let home = self.scheduler.home();
        let next = self.fire_timers();
        // After the announcement nothing may make a task ready here before the kernel is entered, except the
        // timers that were just fired.
        if self.scheduler.is_ready() || !home.may_sleep() {
            return self.ring.submit();
        }
        self.ring.wait(next);
        home.awake();
    }
}
