//! A whole node under clients, faults, crashes and power loss: cores and bus, connections and APIs, the controller
//! and its log, the shards.
//!
//! A run is a few lives of one node, each on one to three cores. In each, clients create and delete topics, ask for
//! producer ids, produce to several partitions at once over pipelined connections, and consume through fetch
//! sessions; then the node stops or dies. After each end the cluster is asked what it has, every log is read whole
//! through the network, and all is held against what clients were told:
//!
//! - a topic whose creation was acknowledged is there, with its partitions; one whose deletion was, is not;
//! - no producer id was given twice;
//! - an offset that was told committed, or was read as such, does not go back;
//! - what an idempotent producer sent is there once, without a gap;
//! - of each partition, what [`Known`] checks.

mod clients;
mod committing;
#[cfg(test)]
mod disks;
mod idempotent;
mod look;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::known::Known;
use super::traced;
use crate::broker::node::{self, Event, Node};
use crate::config::{BrokerConfig, Profile};
use crate::reactor::Reactor;
use crate::reactor::sim::{CrashKind, IoKind, NodeId, Options, Rng, World};
use crate::wire::uuid::Uuid;

const PORT: u16 = 9092;
/// The longest that anything may take in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a run did, for those who want to know that it was not empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// Batches that consumers were given.
    pub consumed: u64,
    /// Topics whose creation was acknowledged.
    pub topics_created: u64,
    /// Topics whose deletion was acknowledged.
    pub topics_deleted: u64,
    /// Replicas that were told to go to another log directory.
    pub moves: u64,
    /// Batches of idempotent producers that were acknowledged once more.
    pub repeated: u64,
    /// Producer ids that were given.
    pub producer_ids: u64,
    /// Offsets that were committed.
    pub commits: u64,
    /// Deaths of the node by power loss.
    pub power_losses: u64,
    /// Deaths of the process alone.
    pub kills: u64,
    /// Clean stops.
    pub stops: u64,
    /// Lives that ended by a disk that failed.
    pub disk_failures: u64,
    /// Batches found after deaths that nobody had been told of.
    pub unacknowledged_found: u64,
    /// The hash of the run's trace.
    pub trace: u64,
}

impl Report {
    /// Adds another run's figures.
    pub fn add(&mut self, other: &Report) {
        self.acknowledged += other.acknowledged;
        self.consumed += other.consumed;
        self.topics_created += other.topics_created;
        self.topics_deleted += other.topics_deleted;
        self.moves += other.moves;
        self.repeated += other.repeated;
        self.producer_ids += other.producer_ids;
        self.commits += other.commits;
        self.power_losses += other.power_losses;
        self.kills += other.kills;
        self.stops += other.stops;
        self.disk_failures += other.disk_failures;
        self.unacknowledged_found += other.unacknowledged_found;
        self.trace ^= other.trace;
    }
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existence {
    /// Its creation or deletion was asked for, and nobody knows what came of it.
    Perhaps,
    /// It is there.
    Yes,
    /// It was deleted.
    No,
}

#[derive(Clone, Debug)]
struct KnownTopic {
    exists: Existence,
    id: Uuid,
    /// At least so many.
    partitions: i32,
    /// At most so many: more were asked for, and nobody knows what came of it.
    asked: i32,
}

/// What the node has told of its life.
#[derive(Default)]
struct Status {
    serving: bool,
    ended: Option<Result<(), String>>,
}

struct Run {
    world: World,
    node: NodeId,
    /// Its log directories, each on a disk of its own.
    dirs: Vec<PathBuf>,
    address: SocketAddr,
    /// Where the clients run.
    clients: Reactor,
    rng: RefCell<Rng>,
    topics: RefCell<BTreeMap<String, KnownTopic>>,
    known: RefCell<BTreeMap<(String, i32), Known>>,
    producer_ids: RefCell<BTreeSet<i64>>,
    next_producer: Cell<u32>,
    idempotent: RefCell<Vec<idempotent::Shared>>,
    committers: RefCell<Vec<committing::Shared>>,
    /// Which life this is; clients of an earlier one have nothing to tell.
    life: Cell<u64>,
    report: RefCell<Report>,
}

/// Runs one seed; panics, telling the seed, when something that was promised does not hold.
pub fn run(seed: u64) -> Report {
    run_traced(seed, 0, |_| ())
}

/// The same, handing so many lines of the trace to `keep` when it ends, however it ends.
pub fn run_traced(seed: u64, lines: usize, keep: impl FnOnce(&str)) -> Report {
    let run = begin(seed, lines);
    traced(&run.world, keep, || run.to_the_end());
    let (report, remains) = (run.report(), run.world.remains());
    run.let_go();
    drop(run);
    assert_eq!(remains.holders(), 0, "seed {seed}: nodes leave nothing in memory behind");
    report
}

fn begin(seed: u64, lines: usize) -> Rc<Run> {
    let mut options = Options::drawn(seed);
    options.trace_lines = lines;
    let world = World::new(seed, options);
    let node = world.add_node();
    let mut rng = Rng::new(seed);
    let dirs = match rng.below(2) {
        0 => vec![PathBuf::from("/data")],
        _ => vec![PathBuf::from("/data"), PathBuf::from("/disk1/data"), PathBuf::from("/disk2/data")],
    };
    dirs.iter().skip(1).for_each(|dir| world.mount(node, dir.parent().expect("it has one")));
    Rc::new(Run {
        dirs,
        address: world.address(node, PORT),
        clients: world.add_client(),
        world,
        node,
        rng: RefCell::new(rng),
        topics: RefCell::default(),
        known: RefCell::default(),
        producer_ids: RefCell::default(),
        next_producer: Cell::new(0),
        idempotent: RefCell::default(),
        committers: RefCell::default(),
        life: Cell::new(0),
        report: RefCell::default(),
    })
}

impl Run {
    fn to_the_end(self: &Rc<Run>) {
        for _ in 0..2 + self.draw(3) {
            self.live();
        }
        self.serve_and_check();
    }

    /// Ends the clients, which hold the run.
    fn let_go(&self) {
        let Reactor::Sim(core) = &self.clients else { unreachable!("the run is simulated") };
        self.world.crash(core.node(), CrashKind::Process);
    }

    fn report(&self) -> Report {
        Report { trace: self.world.trace_hash(), ..*self.report.borrow() }
    }

    fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().below(below)
    }

    fn seed(&self) -> u64 {
        self.world.seed()
    }

    /// One life: start, work, end.
    fn live(self: &Rc<Run>) {
        // Now and then death comes before the node serves.
        if self.draw(6) == 0 {
            let status = self.start();
            self.world.run_for(Duration::from_micros(self.draw(30_000)));
            return self.die(&status);
        }
        let status = self.serve_and_check();
        self.work();
        if self.draw(8) == 0 {
            let kind = *self.rng.borrow_mut().pick(&[IoKind::Write, IoKind::Flush, IoKind::Metadata]);
            self.fail_some_disk(kind, 40);
        }
        let span = match self.draw(3) {
            0 => self.draw(30_000),
            _ => self.draw(500_000),
        };
        self.world.run_for(Duration::from_micros(span));
        if self.draw(4) == 0 {
            self.stop(&status);
        }
        self.die(&status);
    }

    /// One of the next operations of this kind fails on one of the disks.
    fn fail_some_disk(&self, kind: IoKind, within: u64) {
        let dir = self.rng.borrow_mut().pick(&self.dirs).clone();
        self.world.disk_at(self.node, &dir).fail_nth(kind, 1 + self.draw(within));
    }

    fn start(&self) -> Arc<Mutex<Status>> {
        self.life.set(self.life.get() + 1);
        let cores = 1 + self.draw(3) as usize;
        let cpus: Vec<usize> = (0..cores).collect();
        let memory = cores * *self.rng.borrow_mut().pick(&[16 << 20, 64 << 20]);
        let dirs: Vec<_> = self.dirs.iter().map(|dir| dir.display().to_string()).collect();
        let settings = [
            ("log.dirs", dirs.join(",")),
            ("listeners", format!("PLAINTEXT://{}", self.address)),
            ("log.segment.delete.delay.ms", "50".to_owned()),
            ("offsets.topic.num.partitions", "2".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let node = Node {
            config: Arc::new(BrokerConfig::read("", "", &settings).expect("the settings are valid")),
            addresses: vec![self.address],
            cores: Profile::default().resolve(&cpus, 2 * memory).expect("the profile is valid"),
            accept_loss: Vec::new(),
            accept_no_barrier: false,
            loggers: Arc::default(),
        };
        let status = Arc::new(Mutex::new(Status::default()));
        let told = status.clone();
        let report = move |event| {
            let mut status = told.lock().expect("nobody panics while holding it");
            match event {
                Event::Serving(..) => status.serving = true,
                Event::Ended(ended) => status.ended = Some(ended),
                Event::Folders(..) | Event::Stopping => {}
            }
        };
        self.world.start(self.node, node::cores(node, Box::new(report)));
        status
    }

    /// Starts the node and holds all that it has against what is known.
    fn serve_and_check(self: &Rc<Run>) -> Arc<Mutex<Status>> {
        let status = self.start();
        let is_decided = || {
            let status = status.lock().expect("nobody panics while holding it");
            status.serving || status.ended.is_some()
        };
        assert!(self.world.run_until(PATIENCE, is_decided), "seed {}: the node does not start", self.seed());
        let ended = status.lock().expect("nobody panics while holding it").ended.clone();
        assert_eq!(ended, None, "seed {}: the node serves", self.seed());
        let run = self.clone();
        self.world.run(&self.clients, PATIENCE, async move { run.look_at_all().await });
        status
    }

    fn stop(&self, status: &Mutex<Status>) {
        self.world.request_stop(self.node);
        let is_over = || status.lock().expect("nobody panics while holding it").ended.is_some();
        assert!(self.world.run_until(PATIENCE, is_over), "seed {}: the node does not stop", self.seed());
        let ended = status.lock().expect("nobody panics while holding it").ended.clone();
        if ended == Some(Ok(())) {
            self.report.borrow_mut().stops += 1;
        }
    }

    fn has_ended_badly(status: &Mutex<Status>) -> bool {
        matches!(status.lock().expect("nobody panics while holding it").ended, Some(Err(_)))
    }

    fn die(&self, status: &Mutex<Status>) {
        self.life.set(self.life.get() + 1);
        let disks: Vec<_> = self.dirs.iter().map(|dir| self.world.disk_at(self.node, dir)).collect();
        // One of several may have failed with the node going on.
        let is_spoilt = disks.iter().any(|disk| disk.is_read_only())
            || disks.iter().skip(1).any(|disk| disk.has_trouble())
            || Run::has_ended_badly(status);
        self.report.borrow_mut().disk_failures += u64::from(is_spoilt);
        // What a failed disk still holds in the system's memory does not outlast a new start of the host, which is
        // what has to come then.
        if !is_spoilt && self.draw(3) == 0 {
            self.report.borrow_mut().kills += 1;
            self.world.crash(self.node, CrashKind::Process);
            // The kernel ends a killed process, and with it the lock on its folder, only when what it had under way is
            // done.
            self.world.run_for(PATIENCE);
        } else {
            self.report.borrow_mut().power_losses += 1;
            self.world.crash(self.node, CrashKind::Power);
        }
        disks.iter().for_each(|disk| disk.mend());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_few_seeds() {
        let mut sum = super::Report::default();
        for seed in 0..8 {
            sum.add(&super::run(seed));
        }
        assert!(sum.commits > 50, "{sum:?}");
        assert!(sum.acknowledged > 100 && sum.consumed > 100 && sum.topics_created > 6, "{sum:?}");
    }
}
