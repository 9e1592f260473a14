//! What is done to a world: nodes added, started, stopped and crashed, clocks set, disks looked at.

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::core::Core;
use super::disk::control::DiskControl;
use super::disk::state::DiskState;
use super::events::Event;
use super::rng::Rng;
use super::world::{CrashKind, Inner, Node, NodeId};
use crate::reactor::{Class, CoreMain, CoreSpec, Nanos, Reactor};

/// Acts on a world: may be held by tasks and scheduled calls, for instance to crash a node.
#[derive(Clone)]
pub struct Handle {
    pub(super) inner: Rc<Inner>,
}

/// Tells whether a world that was dropped is gone.
///
/// A process of the machine gives back its memory when it ends, whatever its parts hold of one another. One that is
/// simulated has to let go of it, or a long run of many worlds fills the memory.
#[derive(Clone)]
pub struct Remains {
    world: Weak<Inner>,
}

impl Remains {
    /// How many still hold on to the world: itself, handles, and reactors of its cores.
    pub fn holders(&self) -> usize {
        self.world.strong_count()
    }
}

impl Handle {
    /// Tells, once the world was dropped, whether it is gone.
    pub fn remains(&self) -> Remains {
        Remains { world: Rc::downgrade(&self.inner) }
    }

    /// The world's clock.
    pub fn now(&self) -> Nanos {
        Nanos(self.inner.now.get())
    }

    /// The seed it runs from.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// A generator of its own for a workload, drawn from the world's seed.
    pub fn rng(&self) -> Rng {
        self.inner.rng.borrow_mut().fork(4)
    }

    /// A machine with an empty disk, on which nothing runs.
    pub fn add_node(&self) -> NodeId {
        let mut rng = self.inner.rng.borrow_mut();
        let mut nodes = self.inner.nodes.borrow_mut();
        let skew = self.inner.options.clock_skew.as_millis() as u64;
        let id = NodeId(nodes.len() as u32);
        let disk = DiskState::new(u64::from(id.0) + 1, rng.fork(5), self.inner.options.disk.clone());
        nodes.push(Node {
            incarnation: 0,
            cores: Vec::new(),
            running: 0,
            powered: true,
            disks: vec![(PathBuf::from("/"), Rc::new(RefCell::new(disk)))],
            wall_offset_ms: rng.below(2 * skew + 1) as i64 - skew as i64,
        });
        id
    }

    /// The address of a node.
    pub fn ip(&self, node: NodeId) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + node.0))
    }

    /// The address of a port of a node.
    pub fn address(&self, node: NodeId, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(node), port)
    }

    /// Starts a process on a node: one core for each of the mains. Powers the machine up if need be.
    ///
    /// # Panics
    /// If one runs there already.
    #[track_caller]
    pub fn start(&self, node: NodeId, mains: Vec<(CoreSpec, CoreMain)>) {
        let count = mains.len();
        self.inner.note(node, "start", [count as u64, 0, 0]);
        let cores: Vec<_> =
            self.add_cores(node, mains.iter().map(|(spec, _)| spec)).into_iter().zip(mains).collect();
        for (core, (_, main)) in cores {
            let reactor = Reactor::Sim(core.clone());
            let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { main(reactor).await });
            let mut executor = self.inner.executor.borrow_mut();
            executor.spawn(core.number, Class::Request, true, Location::caller(), future);
        }
    }

    /// Starts a process on a node whose cores have no main: who holds the reactors spawns on them, until the
    /// node crashes. Powers the machine up if need be.
    ///
    /// # Panics
    /// If a process runs there already.
    pub fn boot(&self, node: NodeId, cores: usize) -> Vec<Reactor> {
        self.inner.note(node, "boot", [cores as u64, 0, 0]);
        let specs = vec![CoreSpec::default(); cores];
        self.add_cores(node, &specs).into_iter().map(Reactor::Sim).collect()
    }

    /// A new node with one core and no main: for clients and checkers.
    pub fn add_client(&self) -> Reactor {
        self.boot(self.add_node(), 1).remove(0)
    }

    fn add_cores<'a>(&self, id: NodeId, specs: impl IntoIterator<Item = &'a CoreSpec>) -> Vec<Rc<Core>> {
        let mut nodes = self.inner.nodes.borrow_mut();
        let node = &mut nodes[id.0 as usize];
        assert!(node.cores.is_empty(), "node {} runs already", id.0);
        node.powered = true;
        let mut rng = self.inner.rng.borrow_mut();
        // A monotonic clock starts anywhere, at each start anew: who stores its readings or compares those of
        // two nodes is wrong.
        let clock_base = rng.below(1 << 50);
        let specs: Vec<&CoreSpec> = specs.into_iter().collect();
        let mut cores = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let number = self.inner.executor.borrow_mut().add_core();
            let core = Rc::new(Core::new(
                self.clone(),
                (id, node.incarnation),
                (index, specs.len(), number),
                clock_base,
                spec.memory,
                rng.fork(6),
            ));
            node.cores.push(number);
            self.inner.cores.borrow_mut().push(Some(core.clone()));
            cores.push(core);
        }
        node.running = cores.len();
        cores
    }

    /// Whether a process runs on the node.
    pub fn is_running(&self, node: NodeId) -> bool {
        !self.inner.nodes.borrow()[node.0 as usize].cores.is_empty()
    }

    /// Asks a node to stop, as SIGTERM does.
    pub fn request_stop(&self, node: NodeId) {
        self.inner.note(node, "stop", [0; 3]);
        let numbers = self.inner.nodes.borrow()[node.0 as usize].cores.clone();
        for number in numbers {
            let core = self.inner.core(number);
            if let Some(core) = core {
                core.stop.ring();
            }
        }
    }

    /// Ends what runs on a node at once: its tasks are dropped without another turn.
    pub fn crash(&self, node: NodeId, kind: CrashKind) {
        self.inner.note(node, "crash", [u64::from(kind == CrashKind::Power), 0, 0]);
        let (cores, disks) = {
            let mut nodes = self.inner.nodes.borrow_mut();
            let state = &mut nodes[node.0 as usize];
            state.powered = kind == CrashKind::Process;
            state.incarnation += 1;
            state.running = 0;
            (std::mem::take(&mut state.cores), state.disks.clone())
        };
        self.inner.mark_dead(&cores);
        for (_, disk) in disks {
            let lost: Vec<String> = disk.borrow_mut().crash(kind);
            for line in lost {
                self.inner.note_text(node, "crash.disk", &line);
            }
        }
        self.inner.network.borrow_mut().crash(&self.inner, node, kind);
        self.inner.drop_cores(&cores);
    }

    /// Sets a node's wall clock forward or back.
    pub fn jump_wall_clock(&self, node: NodeId, by_ms: i64) {
        self.inner.note(node, "wall", [by_ms as u64, 0, 0]);
        self.inner.nodes.borrow_mut()[node.0 as usize].wall_offset_ms += by_ms;
    }

    /// Gives a node on which nothing runs one more disk, seen below a path.
    pub fn mount(&self, node: NodeId, path: &Path) {
        let mut rng = self.inner.rng.borrow_mut();
        let mut nodes = self.inner.nodes.borrow_mut();
        let disks = &mut nodes[node.0 as usize].disks;
        let device = u64::from(node.0) + 1 + 1000 * disks.len() as u64;
        let mut disk = DiskState::new(device, rng.fork(5), self.inner.options.disk.clone());
        disk.mount_at(path);
        disks.push((path.to_owned(), Rc::new(RefCell::new(disk))));
    }

    /// Faults and inspection of a node's first disk.
    pub fn disk(&self, node: NodeId) -> DiskControl {
        self.disk_at(node, Path::new("/"))
    }

    /// Faults and inspection of the disk that holds a path.
    pub fn disk_at(&self, node: NodeId, path: &Path) -> DiskControl {
        let disks = self.inner.disks(node);
        DiskControl::new(disks[super::disk::holds(&disks, path)].1.clone())
    }

    /// Calls back after a span of virtual time; for faults that come while the world runs.
    pub fn after(&self, span: Duration, call: impl FnOnce(&Handle) + 'static) {
        let at = (self.now() + span).0;
        self.inner.events.borrow_mut().push(at, Event::Call(Box::new(call)));
    }

    /// A number that stands for all that happened so far: equal in any two runs of one seed.
    pub fn trace_hash(&self) -> u64 {
        self.inner.trace.borrow().hash()
    }

    /// The account of what happened, as far as [`Options::trace_lines`](super::Options::trace_lines) keeps it.
    pub fn trace_text(&self) -> String {
        self.inner.trace.borrow().text()
    }

    /// Adds a line of a workload or checker to the account.
    pub fn note(&self, text: &str) {
        self.inner.trace.borrow_mut().note_text(self.inner.now.get(), u32::MAX, "note", text);
    }
}
