//! One core's shard under appends, reads, faults, crashes, power loss and rot.
//!
//! A run is a few lives of one node. In each, producers append batches that tell who wrote them and which of
//! his they are, and consumers read; then the node stops or dies, in some way, at some moment, perhaps while it
//! was still recovering from the last. After each end the logs are read whole and held against what the clients
//! were told:
//!
//! - what was acknowledged is there, at the offset that was told, unchanged;
//! - what a consumer was given is still there;
//! - what was deleted, and somebody was told so, stays deleted, and nothing else goes with it;
//! - what an earlier recovery found is still there, and what it did not find never comes back;
//! - nothing is there that nobody sent, nothing twice, and each producer's batches are in his order.
//!
//! And now and then, while the node is down, what is below a mark is damaged: then that partition is refused,
//! nothing of it is changed, and it is served again once it is restored or its loss is accepted.
//!
//! `clients.rs` holds the producers and consumers, `idempotent.rs` the producers that send again what they have no
//! answer to, `damage.rs` the rot.

mod clients;
mod damage;
mod idempotent;

pub(super) use clients::fetch;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::broker::boot;
use crate::broker::lifecycle::PartitionSpec;
use crate::broker::messages::PartitionId;
use crate::broker::open::Before;
use crate::broker::replica::{Replica, State};
use crate::broker::shard::Shard;
use crate::log::LogConfig;
use crate::partition::AppendRules;
use crate::reactor::sim::{CrashKind, DiskControl, IoKind, NodeId, Options, Rng, World};
use crate::reactor::{Class, Reactor};
use crate::sim::known::{Entry, Known};
use crate::sim::traced;
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

const DIR: &str = "/data";
/// The longest that anything may take in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a run did, for those who want to know that it was not empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// Batches that consumers were given.
    pub consumed: u64,
    /// Deaths of the node by power loss.
    pub power_losses: u64,
    /// Deaths of the process alone.
    pub kills: u64,
    /// Clean stops.
    pub stops: u64,
    /// Batches found after deaths that nobody had been told of.
    pub unacknowledged_found: u64,
    /// Lives that ended by a disk that failed.
    pub disk_failures: u64,
    /// Partitions that were refused because of damage.
    pub refused: u64,
    /// Of those, served again without what was lost, because the loss was accepted.
    pub losses_accepted: u64,
    /// Deletions of records that were acknowledged.
    pub deletions: u64,
    /// Times that a log's start moved because retention deleted what was before.
    pub retained: u64,
    /// Damage that recovery did not read, and that who read there was told of.
    pub rot_told: u64,
    /// Batches that were acknowledged more than once.
    pub repeated: u64,
    /// Batches that were refused for their epoch or sequence number, as was due.
    pub sequences_refused: u64,
    /// Snapshots of producers that were damaged.
    pub snapshots_damaged: u64,
    /// The hash of the run's trace.
    pub trace: u64,
}

impl Report {
    /// Adds another run's figures.
    pub fn add(&mut self, other: &Report) {
        self.acknowledged += other.acknowledged;
        self.consumed += other.consumed;
        self.power_losses += other.power_losses;
        self.kills += other.kills;
        self.stops += other.stops;
        self.unacknowledged_found += other.unacknowledged_found;
        self.disk_failures += other.disk_failures;
        self.refused += other.refused;
        self.losses_accepted += other.losses_accepted;
        self.deletions += other.deletions;
        self.retained += other.retained;
        self.rot_told += other.rot_told;
        self.repeated += other.repeated;
        self.sequences_refused += other.sequences_refused;
        self.snapshots_damaged += other.snapshots_damaged;
        self.trace ^= other.trace;
    }
}

struct Run {
    world: World,
    node: NodeId,
    rng: RefCell<Rng>,
    partitions: Vec<PartitionId>,
    log: LogConfig,
    /// Whether batches bear the time of their making, or none that means anything.
    stamped: bool,
    /// Whether each start leads under a new epoch. Without that, only the erasing keeps the dead down.
    raises_epochs: bool,
    /// The length of all batches, where they are all of one length: then one that was torn may be followed, after
    /// the crash, by another that ends just where the next old one begins.
    even: Option<usize>,
    /// How much is gathered for a round while another is flushed; none for what the broker does by itself.
    gathers: Option<usize>,
    starts: Cell<i32>,
    known: RefCell<BTreeMap<i32, Known>>,
    idempotent: RefCell<Vec<Rc<RefCell<idempotent::Producer>>>>,
    /// Whether records are deleted now and then.
    deletes: bool,
    /// After how long a producer is forgotten.
    expire_after: Duration,
    next_producer: Cell<u32>,
    /// Whether the last life ended with the death of the process alone.
    was_killed: Cell<bool>,
    report: RefCell<Report>,
}

/// How clients behave in one life.
#[derive(Clone, Copy)]
struct Pace {
    span: Duration,
    /// The longest that a producer waits between two batches.
    wait: Duration,
    /// How many batches a producer sends.
    batches: u32,
    /// The largest batch, where a producer's own habit does not say.
    largest: Option<u64>,
}

/// Runs one seed; panics, telling the seed, when something that was promised does not hold.
pub fn run(seed: u64) -> Report {
    run_traced(seed, 0, |_| ())
}

/// The same, handing so many lines of the trace to `keep` when it ends, however it ends.
pub fn run_traced(seed: u64, lines: usize, keep: impl FnOnce(&str)) -> Report {
    let run = begin(seed, lines);
    traced(&run.world, keep, || run.to_the_end());
    run.report()
}

fn begin(seed: u64, lines: usize) -> Rc<Run> {
    let mut options = Options::drawn(seed);
    options.trace_lines = lines;
    let world = World::new(seed, options);
    let node = world.add_node();
    let mut rng = Rng::new(seed);
    let topic = Uuid([7; 16]);
    let even = *rng.pick(&[None, None, None, None, Some(512), Some(1024), Some(4096), Some(8192)]);
    let count = if even.is_some() { 1 } else { 1 + rng.below(4) as i32 };
    let partitions = (0..count).map(|partition| PartitionId { topic, partition }).collect();
    let log = LogConfig {
        segment_bytes: *rng.pick(&[20_000, 200_000, 1 << 30]),
        index_interval_bytes: *rng.pick(&[100, 4096]),
        segment_ms: *rng.pick(&[1_000, 1 << 50]),
        retention_ms: *rng.pick(&[-1, -1, -1, -1, -1, 2_000]),
        retention_bytes: *rng.pick(&[-1, -1, 60_000]),
        ..LogConfig::default()
    };
    Rc::new(Run {
        world,
        node,
        partitions,
        log,
        stamped: rng.coin(),
        raises_epochs: rng.below(4) > if even.is_some() { 2 } else { 1 },
        even,
        deletes: rng.below(3) == 0,
        gathers: *rng.pick(&[None, None, Some(1), Some(5_000)]),
        starts: Cell::new(0),
        expire_after: Duration::from_millis(*rng.pick(&[1_500, 3_000, 86_400_000])),
        rng: RefCell::new(rng),
        known: RefCell::default(),
        idempotent: RefCell::default(),
        next_producer: Cell::new(0),
        was_killed: Cell::new(false),
        report: RefCell::default(),
    })
}

impl Run {
    fn to_the_end(self: &Rc<Run>) {
        let lives = if self.even.is_some() { 4 + self.draw(12) } else { 2 + self.draw(6) };
        for _ in 0..lives {
            self.live();
            if self.draw(4) == 0 {
                self.damage_and_mend();
            } else if self.draw(6) == 0 {
                self.damage_snapshot();
            }
        }
        self.last_life();
    }

    fn report(&self) -> Report {
        Report { trace: self.world.trace_hash(), ..*self.report.borrow() }
    }

    fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().below(below)
    }

    fn disk(&self) -> DiskControl {
        self.world.disk(self.node)
    }

    fn boot(&self) -> Reactor {
        self.world.boot(self.node, 1).remove(0)
    }

    fn run_for_micros(&self, below: u64) {
        let span = self.draw(below);
        self.world.run_for(Duration::from_micros(span));
    }

    /// Until so many directories more are being synced: what was made or removed in the last of them is not durable then.
    /// False if that does not come soon.
    fn run_until_dir_sync(&self, more: u64) -> bool {
        let disk = self.disk();
        let enough = disk.dir_syncs() + more;
        self.world.run_until(Duration::from_millis(50), || disk.dir_syncs() >= enough)
    }

    /// One life: start, work, die.
    fn live(self: &Rc<Run>) {
        let reactor = self.boot();
        let was_killed = self.was_killed.take();
        // Now and then death comes before recovery is done, or all is made for the first time.
        let is_first = self.starts.get() == 0;
        if self.draw(if is_first { 2 } else { 5 }) == 0 {
            if self.draw(4) == 0 {
                self.trouble();
            }
            let (starting, core) = (self.clone(), reactor.clone());
            reactor.spawn(Class::Request, async move { drop(starting.start(&core, None).await) });
            if self.draw(2) == 0 && self.run_until_dir_sync(3 + self.draw(6)) {
                return self.die(if is_first { 1 } else { 2 });
            }
            self.run_for_micros(20_000);
            return self.die(2);
        }
        let Some(shard) = self.start_and_check(&reactor) else { return self.lose_power() };
        // What recovery did must be durable before the first append, and that before its acknowledgement.
        if self.draw(8) == 0 {
            return self.die(3);
        }
        // What the one before has left half done must be durable before anything rests on it.
        if was_killed && self.draw(8) > 0 {
            return self.struck_soon(&reactor, &shard);
        }
        if self.even.is_some() && self.draw(3) == 0 {
            return self.struck(&reactor, &shard);
        }
        let pace = self.pace();
        self.work(&reactor, &shard, pace);
        if self.draw(6) == 0 {
            self.trouble();
        }
        self.world.run_for(pace.span);
        self.end(&reactor, &shard);
    }

    /// The power fails while a few batches, sent at once, are being written.
    fn struck(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) {
        let batches = 1 + self.draw(4) as u32;
        let at_once = Duration::from_micros(1);
        self.work(reactor, shard, Pace { span: PATIENCE, wait: at_once, batches, largest: None });
        for _ in 0..self.draw(400) {
            self.world.run_for(Duration::from_micros(5));
            if self.disk().is_writing() {
                break;
            }
        }
        // Before the write has landed, or just after.
        if self.draw(2) == 0 {
            self.run_for_micros(1_000);
        }
        self.lose_power();
    }

    /// The power fails soon after a few batches were sent.
    fn struck_soon(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) {
        let wait = Duration::from_micros(300);
        let batches = 1 + self.draw(8) as u32;
        self.work(reactor, shard, Pace { span: PATIENCE, wait, batches, largest: None });
        self.run_for_micros(40_000);
        self.lose_power();
    }

    fn pace(&self) -> Pace {
        let kind = if self.even.is_some() && self.draw(2) == 0 { 0 } else { self.draw(8) };
        let few = 1 + self.draw(3) as u32;
        let (span, wait, batches, largest) = match kind {
            // Just so many that they end somewhere among those that were cut off.
            0 => (20_000, 300, few, None),
            1 => (3_000, 3_000, u32::MAX, None),
            2 => (30_000, 3_000, u32::MAX, None),
            // The upkeep comes once a second.
            3 | 4 => (4_000_000, 60_000, u32::MAX, None),
            // So much that rounds are written while others are flushed.
            5 => (40_000, 300, 60, Some(300_000)),
            _ => (400_000, 3_000, u32::MAX, None),
        };
        let span = self.draw(span);
        Pace { span: Duration::from_micros(span), wait: Duration::from_micros(wait), batches, largest }
    }

    fn end(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) {
        if shard.volumes[0].log_dir.has_failed() {
            self.report.borrow_mut().disk_failures += 1;
        } else if self.draw(4) == 0 {
            self.stop(reactor, shard);
        } else if self.draw(3) == 0 && self.run_until_dir_sync(1) {
            return self.die(2);
        }
        self.die(3);
    }

    /// The last life only looks.
    fn last_life(self: &Rc<Run>) {
        let reactor = self.boot();
        if self.start_and_check(&reactor).is_none() {
            self.lose_power();
            self.last_life();
        }
    }

    /// The end of a life: of one in so many, that of the process alone.
    fn die(&self, one_in: u64) {
        if self.draw(one_in) == 0 {
            self.was_killed.set(true);
            self.report.borrow_mut().kills += 1;
            self.world.note("the process dies");
            self.world.crash(self.node, CrashKind::Process);
            // The kernel ends a killed process, and with it the lock on its folder, only when what it had under
            // way is done.
            self.world.run_for(PATIENCE);
            self.disk().mend();
        } else {
            self.lose_power();
        }
    }

    fn lose_power(&self) {
        self.report.borrow_mut().power_losses += 1;
        self.world.note("the power fails");
        self.world.crash(self.node, CrashKind::Power);
        self.disk().mend();
    }

    /// Something is wrong with the disk from now on.
    fn trouble(&self) {
        let kinds =
            [IoKind::Write, IoKind::Write, IoKind::Flush, IoKind::Flush, IoKind::Metadata, IoKind::Read];
        let kind = *self.rng.borrow_mut().pick(&kinds);
        self.disk().fail_nth(kind, 1 + self.draw(30));
    }

    fn stop(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) {
        let refused = shard.replicas().iter().any(|replica| replica.refusal().is_some());
        let (shard, on) = (shard.clone(), reactor.clone());
        let troubled = self.disk().has_trouble();
        // A stop finishes each segment that is not, and a disk may be very slow.
        let ended = self
            .world
            .run(reactor, 10 * PATIENCE, async move { boot::stop_alone(&on, &shard, Path::new(DIR)).await });
        match ended {
            Ok(()) => self.report.borrow_mut().stops += 1,
            // The next start must look at what this one did not get to see.
            Err(_) if refused => {}
            Err(_) if troubled => self.report.borrow_mut().disk_failures += 1,
            Err(error) => panic!("seed {}: no stop: {error}", self.world.seed()),
        }
    }

    /// Starts a shard with all partitions; the loss of `accepted` is accepted.
    async fn start(
        self: &Rc<Self>,
        reactor: &Reactor,
        accepted: Option<PartitionId>,
    ) -> std::io::Result<Rc<Shard>> {
        self.watch_silence(reactor);
        self.starts.set(self.starts.get() + 1);
        let (found, shard) = boot::start_alone(reactor, Path::new(DIR)).await?;
        shard.check_retention_every(Duration::from_secs(1));
        if let Some(bytes) = self.gathers {
            shard.gather(bytes);
        }
        shard.expire_producers(self.expire_after.as_millis() as i64, Duration::from_secs(1));
        for id in &self.partitions {
            let accept_loss = accepted == Some(*id);
            shard.open_partition(self.spec(*id), Before { accept_loss, ..found.before("t", *id) });
        }
        shard.all_opened().await;
        Ok(shard)
    }

    fn spec(&self, id: PartitionId) -> PartitionSpec {
        PartitionSpec {
            id,
            topic: "t".into(),
            directory: Uuid::ZERO,
            revision: 0,
            leader_epoch: if self.raises_epochs { self.starts.get() } else { 0 },
            log: self.log.clone(),
            rules: AppendRules::default(),
        }
    }

    /// Starts the shard, reads every log whole, and holds it against what is known. None where the file system
    /// takes no changes any more until the machine starts anew.
    fn start_and_check(self: &Rc<Run>, reactor: &Reactor) -> Option<Rc<Shard>> {
        let shard = self.start_whole(reactor, None)?;
        for replica in shard.replicas() {
            if let State::Offline(_, why) = &*replica.state.borrow() {
                panic!("seed {}: refused though nothing was damaged: {why}", self.world.seed());
            }
            self.check(reactor, &shard, &replica);
        }
        Some(shard)
    }

    /// Starts the shard; what became of each partition is for the caller to judge.
    fn start_whole(self: &Rc<Run>, reactor: &Reactor, accepted: Option<PartitionId>) -> Option<Rc<Shard>> {
        let (run, core) = (self.clone(), reactor.clone());
        let shard = self.world.run(reactor, PATIENCE, async move { run.start(&core, accepted).await });
        if self.disk().is_read_only() {
            let served = shard.is_ok_and(|shard| shard.replicas().iter().any(|r| r.refusal().is_none()));
            assert!(!served, "seed {}: served from a file system that takes no changes", self.world.seed());
            return None;
        }
        let shard = shard.unwrap_or_else(|error| panic!("seed {}: no start: {error}", self.world.seed()));
        Some(shard)
    }

    /// Reads a log whole and holds it against what is known.
    fn check(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>, replica: &Rc<Replica>) {
        let (run, reading, id) = (self.clone(), shard.clone(), replica.id);
        let (start, found) =
            self.world.run(reactor, PATIENCE, async move { run.read_all(&reading, id).await });
        let mut known = self.known.borrow_mut();
        let known = known.entry(id.partition).or_default();
        let may_start_later = self.log.retention_bytes >= 0 || self.log.retention_ms >= 0;
        let may_start_there = known.may_start_at(start) || may_start_later;
        assert!(
            may_start_there,
            "seed {}: {id:?} starts at {start}, which nobody asked for",
            self.world.seed()
        );
        let new =
            known.check(start, found, &format!("seed {}, partition {}", self.world.seed(), id.partition));
        let mut report = self.report.borrow_mut();
        report.unacknowledged_found += new.unacknowledged;
        report.retained += u64::from(new.start_moved);
    }

    /// All entries of a log, and where it starts.
    async fn read_all(&self, shard: &Rc<Shard>, id: PartitionId) -> (i64, BTreeMap<i64, Entry>) {
        'again: loop {
            let (start, mut found) = (log_start(shard, id), BTreeMap::new());
            let mut offset = start;
            loop {
                match clients::read(shard, id, offset, 1 + self.draw(100_000) as usize).await {
                    Ok(batches) if batches.is_empty() => return (start, found),
                    Ok(batches) => {
                        for (at, entry) in batches {
                            offset = at + i64::from(entry.records);
                            found.insert(at, entry);
                        }
                    }
                    // Retention was faster.
                    Err(ErrorCode::OFFSET_OUT_OF_RANGE) if log_start(shard, id) > start => continue 'again,
                    Err(error) => {
                        let (seed, failure) = (self.world.seed(), shard.volumes[0].log_dir.failure());
                        panic!("seed {seed}: {id:?} at offset {offset}: {error:?}: {failure:?}")
                    }
                }
            }
        }
    }
}

/// Where a log starts.
fn log_start(shard: &Rc<Shard>, id: PartitionId) -> i64 {
    let start = shard.replica(id).and_then(|r| r.online(|online| online.partition.log.start_offset()));
    start.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_few_seeds() {
        let mut sum = super::Report::default();
        for seed in 0..20 {
            sum.add(&super::run(seed));
        }
        assert!(sum.acknowledged > 1000 && sum.consumed > 1000, "{sum:?}");
    }
}
