//! The world: nodes with disks, a network, one clock, and the loop that runs them all from a seed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use super::core::Core;
use super::disk::state::DiskState;
use super::events::{Event, Events};
use super::executor::{Body, Choice, Executor, Turn};
use super::handle::Handle;
use super::network::Network;
use super::options::Options;
use super::rng::{Rng, spread};
use super::trace::Trace;
use crate::reactor::{Class, Nanos, Reactor};

/// A node of a world, by number from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// How a node goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// `kill -9`: the machine stays up, with all that was written.
    Process,
    /// The plug is pulled: what was not flushed is kept, lost or torn, by the seed.
    Power,
}

/// 2026-01-01 in milliseconds since 1970: what the wall clocks say when a world begins.
const WALL_CLOCK_START_MS: i64 = 1_767_225_600_000;

/// A world and the loop that runs it. Dropping it drops all tasks.
pub struct World {
    handle: Handle,
}

pub(super) struct Inner {
    pub seed: u64,
    pub now: Cell<u64>,
    /// Turns since time moved.
    turns: Cell<u64>,
    pub events: RefCell<Events>,
    pub executor: RefCell<Executor>,
    pub nodes: RefCell<Vec<Node>>,
    /// By the executor's number; gone cores leave nothing behind.
    pub cores: RefCell<Vec<Option<Rc<Core>>>>,
    pub network: RefCell<Network>,
    pub trace: RefCell<Trace>,
    pub rng: RefCell<Rng>,
    pub options: Options,
}

/// A disk of a node, and below which path it is seen.
pub(super) type Mount = (PathBuf, Rc<RefCell<DiskState>>);

pub(super) struct Node {
    pub incarnation: u64,
    /// The executor's numbers of its cores while it runs.
    pub cores: Vec<u32>,
    pub running: usize,
    /// Whether the machine has power.
    pub powered: bool,
    /// The first holds all that the others do not.
    pub disks: Vec<Mount>,
    pub wall_offset_ms: i64,
}

impl Deref for World {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, options: Options) -> World {
        let mut rng = Rng::new(seed);
        let inner = Inner {
            seed,
            now: Cell::new(0),
            turns: Cell::new(0),
            events: RefCell::new(Events::new(rng.fork(1))),
            executor: RefCell::new(Executor::new(rng.fork(2), options.schedule.clone())),
            nodes: RefCell::default(),
            cores: RefCell::default(),
            network: RefCell::new(Network::new(rng.fork(3), options.network.clone())),
            trace: RefCell::new(Trace::new(options.trace_lines)),
            rng: RefCell::new(rng),
            options,
        };
        World { handle: Handle { inner: Rc::new(inner) } }
    }

    /// Runs for a span of virtual time.
    pub fn run_for(&self, span: Duration) {
        self.run_until_time(self.now() + span);
    }

    /// Runs up to a point in virtual time.
    pub fn run_until_time(&self, deadline: Nanos) {
        while self.inner.step(&self.handle, deadline.0) {}
        self.inner.move_to(deadline.0);
    }

    /// Runs until the condition holds, at most for `limit`; tells whether it came to hold. The condition is
    /// looked at after each turn and each event.
    pub fn run_until(&self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let deadline = self.now() + limit;
        loop {
            if condition() {
                return true;
            }
            if !self.inner.step(&self.handle, deadline.0) {
                self.inner.move_to(deadline.0);
                return condition();
            }
        }
    }

    /// Runs until no task is ready and nothing is to come, at most for `limit`; tells whether it came to that.
    pub fn run_until_idle(&self, limit: Duration) -> bool {
        let deadline = self.now() + limit;
        while self.inner.step(&self.handle, deadline.0) {}
        self.inner.events.borrow().next_at().is_none()
    }

    /// Runs a future as a task of `reactor`'s core, and the world with it, until it ends.
    ///
    /// # Panics
    /// If it has not ended after `limit`.
    #[track_caller]
    pub fn run<T: 'static>(
        &self,
        reactor: &Reactor,
        limit: Duration,
        future: impl Future<Output = T> + 'static,
    ) -> T {
        let slot = Rc::new(Cell::new(None));
        let result = slot.clone();
        reactor.spawn(Class::Request, async move { result.set(Some(future.await)) });
        let mut value = None;
        let ended = self.run_until(limit, || {
            value = slot.take();
            value.is_some()
        });
        let Inner { seed, now, .. } = &*self.inner;
        assert!(ended, "not done after {limit:?} of virtual time (seed {seed}, now {} ns)", now.get());
        value.expect("it has ended")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let mut cores: Vec<u32> = Vec::new();
        for node in self.inner.nodes.borrow_mut().iter_mut() {
            node.incarnation += 1;
            cores.append(&mut node.cores);
        }
        let bodies = self.inner.executor.borrow_mut().take_cores(&cores);
        if std::thread::panicking() {
            // A destructor that asserts would abort the process and hide the first failure.
            std::mem::forget(bodies);
            return;
        }
        self.inner.mark_dead(&cores);
        let events = self.inner.events.borrow_mut().clear();
        for node in self.inner.nodes.borrow().iter() {
            node.disks.iter().for_each(|(_, disk)| disk.borrow_mut().forget_operations());
        }
        drop((bodies, events));
        self.inner.cores.borrow_mut().clear();
    }
}

impl Inner {
    pub fn note(&self, node: NodeId, what: &'static str, numbers: [u64; 3]) {
        self.trace.borrow_mut().note(self.now.get(), node.0, what, numbers);
    }

    pub fn note_text(&self, node: NodeId, what: &'static str, text: &str) {
        self.trace.borrow_mut().note_text(self.now.get(), node.0, what, text);
    }

    pub fn disks(&self, node: NodeId) -> Vec<Mount> {
        self.nodes.borrow()[node.0 as usize].disks.clone()
    }

    /// Whether the node is this run of it still.
    pub fn is_incarnation(&self, node: NodeId, incarnation: u64) -> bool {
        self.nodes.borrow()[node.0 as usize].incarnation == incarnation
    }

    pub fn incarnation(&self, node: NodeId) -> u64 {
        self.nodes.borrow()[node.0 as usize].incarnation
    }

    pub fn is_powered(&self, node: NodeId) -> bool {
        self.nodes.borrow()[node.0 as usize].powered
    }

    /// The node that an address belongs to.
    pub fn node_of(&self, ip: IpAddr) -> Option<NodeId> {
        let IpAddr::V4(ip) = ip else { return None };
        let number = u32::from(ip).checked_sub(0x0a00_0001)?;
        (number < self.nodes.borrow().len() as u32).then_some(NodeId(number))
    }

    pub fn wall_clock_ms(&self, node: NodeId) -> i64 {
        let offset = self.nodes.borrow()[node.0 as usize].wall_offset_ms;
        WALL_CLOCK_START_MS + (self.now.get() / 1_000_000) as i64 + offset
    }

    pub fn at(&self, delay: u64, event: Event) {
        self.events.borrow_mut().push(self.now.get() + delay, event);
    }

    pub fn core(&self, number: u32) -> Option<Rc<Core>> {
        self.cores.borrow()[number as usize].clone()
    }

    fn move_to(&self, time: u64) {
        if time > self.now.get() {
            self.now.set(time);
            self.turns.set(0);
        }
    }

    /// One turn of a task or one event; false if there is none before `limit`.
    fn step(&self, handle: &Handle, limit: u64) -> bool {
        // The borrow must end before the turn runs.
        let choice = self.executor.borrow_mut().choose();
        match choice {
            Choice::Run(turn) => {
                self.run_turn(turn);
                true
            }
            Choice::Pause(core, nanos) => {
                self.trace.borrow_mut().note(self.now.get(), u32::MAX, "pause", [u64::from(core), nanos, 0]);
                self.at(nanos, Event::Resume { core });
                true
            }
            Choice::Nothing => {
                self.network.borrow_mut().close_abandoned(self);
                self.next_event(handle, limit)
            }
        }
    }

    fn next_event(&self, handle: &Handle, limit: u64) -> bool {
        loop {
            let entry = {
                let mut events = self.events.borrow_mut();
                match events.next_at() {
                    Some(at) if at <= limit => events.pop(),
                    _ => return false,
                }
            };
            let Some((at, event)) = entry else { return false };
            if let Event::Timer { core } = event {
                if self.fire_timers(core, at) {
                    return true;
                }
                continue;
            }
            self.move_to(at);
            match event {
                Event::Timer { .. } => unreachable!("handled above"),
                Event::Resume { core } => self.executor.borrow_mut().resume(core),
                Event::Disk { node, disk, operation } => {
                    let finish = || super::disk::finish(self, node, disk, operation);
                    catch_unwind(AssertUnwindSafe(finish))
                        .unwrap_or_else(|panic| self.report(&format!("the disk of node {}", node.0), panic));
                }
                Event::Arrival { connection, end } => {
                    self.network.borrow_mut().arrive(self, connection, end);
                }
                Event::Attempt { connection } => self.network.borrow_mut().attempt(self, connection),
                Event::Outcome { connection } => self.network.borrow_mut().outcome(self, connection),
                Event::Call(call) => call(handle),
            }
            return true;
        }
    }

    /// Fires the due timers of a core; false, and no time passes, if nobody waits for this any more.
    fn fire_timers(&self, number: u32, at: u64) -> bool {
        let Some(core) = self.core(number) else { return false };
        if core.armed_at.get() != at {
            return false;
        }
        core.armed_at.set(u64::MAX);
        core.armed_for.set(Nanos(u64::MAX));
        let on_its_clock = core.on_its_clock(at.max(self.now.get()));
        let due = core.timers().next_deadline().is_some_and(|deadline| deadline <= on_its_clock);
        if due {
            self.move_to(at);
            self.note(core.node, "timer", [u64::from(number), 0, 0]);
            core.timers().fire(on_its_clock);
        }
        self.arm(&core);
        due
    }

    /// Sees to it that the earliest timer of a core will fire.
    fn arm(&self, core: &Core) {
        let Some(deadline) = core.timers().next_deadline() else { return };
        if deadline >= core.armed_for.get() {
            return;
        }
        let slack = self.options.schedule.timer_slack.as_nanos() as u64;
        let slack = if slack > 0 { self.rng.borrow_mut().below(slack) } else { 0 };
        let at = core.on_world_clock(deadline).max(self.now.get()) + slack;
        core.armed_for.set(deadline);
        core.armed_at.set(at);
        self.events.borrow_mut().push(at, Event::Timer { core: core.number });
    }

    fn run_turn(&self, turn: Turn) {
        let Turn { key, core: number, class, number: task, is_main, place, body } = turn;
        let core = self.core(number).expect("a core outlives its tasks");
        self.trace.borrow_mut().note(
            self.now.get(),
            core.node.0,
            "turn",
            [core.index as u64, task, class as u64],
        );
        self.turns.set(self.turns.get() + 1);
        if self.turns.get() > self.options.schedule.busy_limit {
            let places = self.executor.borrow_mut().ready_places();
            panic!("seed {}: time does not move: tasks wake one another for ever: {places:?}", self.seed);
        }
        let mut body: Body = body;
        let waker = body.waker.clone();
        let mut context = Context::from_waker(&waker);
        let result = catch_unwind(AssertUnwindSafe(|| body.future.as_mut().poll(&mut context)));
        match result {
            Ok(poll) if poll.is_ready() => {
                self.executor.borrow_mut().remove(key);
                drop(body);
                if is_main {
                    self.end_core(&core);
                }
            }
            Ok(_) => {
                // Dropped here, when nothing is borrowed, if its node crashed while it ran.
                let gone = self.executor.borrow_mut().put_back(key, body);
                drop(gone);
            }
            Err(panic) => {
                std::mem::forget(body);
                let Core { node, index, .. } = &*core;
                self.report(&format!("node {}, core {index}, task {task} spawned at {place}", node.0), panic);
            }
        }
        if core.is_alive() {
            self.arm(&core);
        }
    }

    /// Passes a panic on with what it takes to see it again.
    fn report(&self, whose: &str, panic: Box<dyn Any + Send>) -> ! {
        let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "a panic without words".to_owned(),
        };
        let report = format!("seed {}, {} ns, {whose}: {text}", self.seed, self.now.get());
        eprintln!("{report}");
        resume_unwind(Box::new(report))
    }

    /// A core's main has returned: its other tasks end with it, and with the last core the process.
    fn end_core(&self, core: &Rc<Core>) {
        let last = {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[core.node.0 as usize];
            if node.incarnation != core.incarnation {
                return;
            }
            node.running -= 1;
            node.running == 0
        };
        self.note(core.node, "end", [core.index as u64, u64::from(last), 0]);
        // Its destructors still run as the process's own: a socket dropped here is closed in good order.
        let bodies = self.executor.borrow_mut().take_cores(&[core.number]);
        drop(bodies);
        core.die();
        if !last {
            return;
        }
        let (cores, disks) = {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[core.node.0 as usize];
            node.incarnation += 1;
            (std::mem::take(&mut node.cores), node.disks.clone())
        };
        self.mark_dead(&cores);
        disks.iter().for_each(|(_, disk)| disk.borrow_mut().end_process());
        self.network.borrow_mut().crash(self, core.node, CrashKind::Process);
        self.drop_cores(&cores);
    }

    pub fn mark_dead(&self, cores: &[u32]) {
        for number in cores {
            if let Some(core) = self.core(*number) {
                core.die();
            }
        }
    }

    pub fn drop_cores(&self, cores: &[u32]) {
        let bodies = self.executor.borrow_mut().take_cores(cores);
        drop(bodies);
        for number in cores {
            let core = self.cores.borrow_mut()[*number as usize].take();
            drop(core);
        }
    }
}

/// A number that stands for a piece of content in the trace.
pub(super) fn digest(content: &[u8]) -> u64 {
    spread(u64::from(crc32c::crc32c(content)))
}
