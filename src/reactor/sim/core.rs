//! One core of a simulated node: the reactor's face.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use super::disk::Disk;
use super::handle::Handle;
use super::rng::Rng;
use super::world::NodeId;
use crate::reactor::sync::{Bell, Notified};
use crate::reactor::timers::Timers;
use crate::reactor::{Class, Nanos, Pool};

/// A core of a simulated node, for as long as its process lives. What is asked of it afterwards, as by
/// destructors of tasks that a crash drops, has no effect.
pub struct Core {
    pub(super) world: Handle,
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) index: usize,
    cores: usize,
    /// The executor's number.
    pub(super) number: u32,
    clock_base: u64,
    pool: Pool,
    timers: Timers,
    pub(super) stop: Bell,
    rng: RefCell<Rng>,
    alive: Cell<bool>,
    /// The deadline for which the world has been asked to fire the timers, and when it will.
    pub(super) armed_for: Cell<Nanos>,
    pub(super) armed_at: Cell<u64>,
}

impl Core {
    pub(super) fn new(
        world: Handle,
        (node, incarnation): (NodeId, u64),
        (index, cores, number): (usize, usize, u32),
        clock_base: u64,
        memory: usize,
        rng: Rng,
    ) -> Core {
        Core {
            world,
            node,
            incarnation,
            index,
            cores,
            number,
            clock_base,
            pool: Pool::new(memory),
            timers: Timers::default(),
            stop: Bell::default(),
            rng: RefCell::new(rng),
            alive: Cell::new(true),
            armed_for: Cell::new(Nanos(u64::MAX)),
            armed_at: Cell::new(u64::MAX),
        }
    }

    /// Its number within the node.
    pub fn core(&self) -> usize {
        self.index
    }

    /// How many cores the node has.
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// The node it belongs to.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The monotonic clock: the world's, from a start of its own.
    pub fn now(&self) -> Nanos {
        self.on_its_clock(self.world.inner.now.get())
    }

    pub(super) fn on_its_clock(&self, world: u64) -> Nanos {
        Nanos(world + self.clock_base)
    }

    pub(super) fn on_world_clock(&self, its: Nanos) -> u64 {
        its.0.saturating_sub(self.clock_base)
    }

    /// The node's wall clock.
    pub fn wall_clock_ms(&self) -> i64 {
        self.world.inner.wall_clock_ms(self.node)
    }

    /// A number by the seed.
    pub fn random(&self) -> u64 {
        self.rng.borrow_mut().next_u64()
    }

    /// Its pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Its timers.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Runs a task on this core.
    #[track_caller]
    pub fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        if !self.is_alive() {
            return;
        }
        let task = Box::pin(task);
        let mut executor = self.world.inner.executor.borrow_mut();
        executor.spawn(self.number, class, false, Location::caller(), task);
    }

    /// Resolves once the world asked the node to stop.
    pub fn stop_requested(&self) -> Notified {
        self.stop.rung()
    }

    /// The node's disks.
    pub fn disk(&self) -> Disk {
        let inner = &self.world.inner;
        Disk::new(self.world.clone(), self.node, self.incarnation, inner.disks(self.node))
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.get()
    }

    pub(super) fn die(&self) {
        self.alive.set(false);
    }
}

/// Keeps what a shared core needs short in the network's code.
pub(super) fn is_alive(core: &Rc<Core>) -> bool {
    core.is_alive()
}
