//! One core: its executor, clocks, chance, and the way to its ring.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::executor::Executor;
use super::lock::Locks;
use super::net::{self, Accepted, Listener, Receiver, Sender};
use super::start::StopLine;
use super::{Disk, clock};
use crate::reactor::sync::{Bell, Notified};
use crate::reactor::timers::Timers;
use crate::reactor::{Class, CoreSpec, Nanos, Pool};

/// A core of the real side. Lives on its own thread, from the start of the node to its end.
pub struct Core {
    core: usize,
    cores: usize,
    pool: Pool,
    executor: Rc<Executor>,
    disk: Disk,
    stop: Bell,
    chance: RefCell<Chance>,
}

/// Bytes from the kernel's random source, fetched some at a time.
struct Chance {
    bytes: [u64; 32],
    left: usize,
}

impl Core {
    /// The core that `executor` runs.
    pub(super) fn new(
        core: usize,
        cores: usize,
        spec: &CoreSpec,
        executor: Rc<Executor>,
        stop: Arc<StopLine>,
        locks: Arc<Locks>,
    ) -> Rc<Core> {
        let made = Rc::new(Core {
            core,
            cores,
            pool: Pool::in_huge_pages(spec.memory),
            disk: Disk::new(executor.ring.clone(), locks),
            executor,
            stop: Bell::default(),
            chance: RefCell::new(Chance { bytes: [0; 32], left: 0 }),
        });
        let bell = made.stop.clone();
        made.spawn(Class::Request, async move {
            stop.requested(core).await;
            bell.ring();
        });
        made
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
        &self.executor.timers
    }

    /// See [`crate::reactor::Reactor::spawn`].
    pub fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        self.executor.scheduler.spawn(class, task);
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
        Listener::bind(address, self.executor.ring.clone())
    }

    /// See [`crate::reactor::Reactor::adopt`].
    pub fn adopt(&self, accepted: Accepted) -> io::Result<(Receiver, Sender)> {
        Ok(net::halves(accepted, self.executor.ring.clone()))
    }

    /// See [`crate::reactor::Reactor::connect`].
    pub async fn connect(&self, address: SocketAddr) -> io::Result<(Receiver, Sender)> {
        net::connect(address, self.executor.ring.clone()).await
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
