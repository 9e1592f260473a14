//! One core: its executor's task queues, clock, chance, timers, and the way to its ring.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use glommio::{Latency, Shares, TaskQueueHandle};

use super::net::{self, Accepted, Listener, Receiver, Sender};
use super::ring::Ring;
use super::start::{StopLine, panicked};
use super::{Disk, clock};
use crate::reactor::sync::{Bell, Notified};
use crate::reactor::timers::Timers;
use crate::reactor::{Class, CoreSpec, Nanos, Pool};

/// A core of the real side. Lives on its own thread, from the start of the node to its end.
pub struct Core {
    core: usize,
    cores: usize,
    pool: Pool,
    timers: Timers,
    queues: [TaskQueueHandle; Class::ALL.len()],
    ring: Rc<Ring>,
    disk: Disk,
    stop: Bell,
    chance: RefCell<Chance>,
    tasks: Rc<Tasks>,
}

/// The tasks that run, so that they end with their core and let go of what they hold.
#[derive(Default)]
struct Tasks {
    last: Cell<u64>,
    running: RefCell<BTreeMap<u64, glommio::Task<()>>>,
}

/// Bytes from the kernel's random source, fetched some at a time.
struct Chance {
    bytes: [u64; 32],
    left: usize,
}

thread_local! {
    static ON_A_CORE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is a core whose executor runs.
pub(super) fn on_a_core() -> bool {
    ON_A_CORE.get()
}

impl Core {
    /// Makes the core of the executor that runs on this thread.
    pub(super) fn new(
        core: usize,
        cores: usize,
        spec: &CoreSpec,
        stop: Arc<StopLine>,
    ) -> io::Result<Rc<Core>> {
        let executor = glommio::executor();
        let mut shares = spec.shares.into_iter();
        let queues = Class::ALL.map(|class| {
            let shares = Shares::Static(shares.next().expect("a share for each class").max(1));
            executor.create_task_queue(shares, Latency::NotImportant, name(class))
        });
        let ring = Ring::new(spec.ring_depth, queues[Class::Request as usize])?;
        let made = Rc::new(Core {
            core,
            cores,
            pool: Pool::new(spec.memory),
            timers: Timers::default(),
            queues,
            disk: Disk::new(ring.clone()),
            ring,
            stop: Bell::default(),
            chance: RefCell::new(Chance { bytes: [0; 32], left: 0 }),
            tasks: Rc::default(),
        });
        ON_A_CORE.set(true);
        made.spawn(Class::Request, drive_timers(made.timers.clone()));
        for offset in [5, 10, 15] {
            made.spawn(Class::Request, beat(Duration::from_millis(offset)));
        }
        let bell = made.stop.clone();
        made.spawn(Class::Request, async move {
            stop.requested(core).await;
            bell.ring();
        });
        Ok(made)
    }

    /// See [`crate::reactor::Reactor::core`].
    pub fn core(&self) -> usize {
        self.core
    }

    /// See [`crate::reactor::Reactor::cores`].
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// See [`crate::reactor::Reactor::now`].
    pub fn now(&self) -> Nanos {
        clock::now()
    }

    /// See [`crate::reactor::Reactor::wall_clock_ms`].
    pub fn wall_clock_ms(&self) -> i64 {
        clock::wall_clock_ms()
    }

    /// See [`crate::reactor::Reactor::random`].
    pub fn random(&self) -> u64 {
        self.chance.borrow_mut().next()
    }

    /// See [`crate::reactor::Reactor::pool`].
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The deadlines of this core.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// See [`crate::reactor::Reactor::spawn`].
    pub fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        let id = self.tasks.last.get() + 1;
        self.tasks.last.set(id);
        let (tasks, core) = (self.tasks.clone(), self.core);
        let whole = async move {
            fatal_when_it_panics(core, task).await;
            // Taken out before it is let go: dropping a handle may run code that spawns.
            let ended = tasks.running.borrow_mut().remove(&id);
            if let Some(task) = ended {
                task.detach();
            }
        };
        let task = glommio::spawn_local_into(whole, self.queues[class as usize])
            .expect("the queue of a class lives as long as its core");
        self.tasks.running.borrow_mut().insert(id, task);
    }

    /// See [`crate::reactor::Reactor::stop_requested`].
    pub fn stop_requested(&self) -> Notified {
        self.stop.rung()
    }

    /// See [`crate::reactor::Reactor::disk`].
    pub fn disk(&self) -> Disk {
        self.disk.clone()
    }

    /// See [`crate::reactor::Reactor::listen`].
    pub fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        Listener::bind(address, self.ring.clone())
    }

    /// See [`crate::reactor::Reactor::adopt`].
    pub fn adopt(&self, accepted: Accepted) -> io::Result<(Receiver, Sender)> {
        Ok(net::halves(accepted, self.ring.clone()))
    }

    /// See [`crate::reactor::Reactor::connect`].
    pub async fn connect(&self, address: SocketAddr) -> io::Result<(Receiver, Sender)> {
        net::connect(address, self.ring.clone()).await
    }

    /// Ends the core: its tasks are dropped where they stand, and what is under way on disk is waited for.
    pub(super) async fn end(&self) {
        loop {
            let next = self.tasks.running.borrow_mut().pop_last();
            let Some((_, task)) = next else { break };
            task.cancel().await;
        }
        self.ring.close().await;
        ON_A_CORE.set(false);
    }
}

fn name(class: Class) -> &'static str {
    match class {
        Class::Request => "request",
        Class::Fetch => "fetch",
        Class::Replication => "replication",
        Class::Coordination => "coordination",
        Class::Background => "background",
    }
}

/// Ends the process if the task panics: other tasks may rest on what this one had half done.
pub(super) async fn fatal_when_it_panics(core: usize, task: impl Future<Output = ()>) {
    let mut task = std::pin::pin!(task);
    std::future::poll_fn(|cx| {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.as_mut().poll(cx)));
        polled.unwrap_or_else(|payload: Box<dyn Any + Send>| panicked(&format!("core {core}"), &*payload))
    })
    .await
}

/// glommio 0.9 parks with tasks that are ready when its preemption timer fires between the arming and the first
/// task (mended after that release). It then sleeps until the next event: this is one, so that the harm has an end.
/// Several, because the task that a beat makes ready may be the one that is slept on.
async fn beat(offset: Duration) {
    glommio::timer::Timer::new(offset).await;
    loop {
        glommio::timer::Timer::new(Duration::from_millis(15)).await;
    }
}

/// Fires the core's timers, woken by glommio's.
async fn drive_timers(timers: Timers) {
    loop {
        let earlier = timers.earlier();
        let Some(deadline) = timers.next_deadline() else {
            earlier.await;
            continue;
        };
        let left = deadline.since(clock::now());
        if left > Duration::ZERO {
            let mut alarm = std::pin::pin!(glommio::timer::Timer::new(left));
            let mut earlier = std::pin::pin!(earlier);
            std::future::poll_fn(|cx| {
                if alarm.as_mut().poll(cx).is_ready() || earlier.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
        timers.fire(clock::now());
    }
}

impl Chance {
    fn next(&mut self) -> u64 {
        if self.left == 0 {
            let size = size_of_val(&self.bytes);
            // SAFETY: the array is valid for its size. Up to 256 bytes come whole, without being interrupted.
            let got = unsafe { libc::getrandom(self.bytes.as_mut_ptr().cast(), size, 0) };
            assert_eq!(got, size as isize, "the kernel's random source does not answer");
            self.left = self.bytes.len();
        }
        self.left -= 1;
        self.bytes[self.left]
    }
}
