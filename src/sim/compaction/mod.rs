//! One core's shard whose logs are compacted, under appends, reads, retention, faults, full disks, crashes and power
//! loss.
//!
//! Few keys are written again and again. Whatever becomes of the machine, and whenever: of each key the last record
//! that anybody was told of is there, or a later one; a record that is there is where it always was; and where a
//! tombstone has been taken away, nothing of its key is left that was before it. Where `cleanup.policy` has `delete` in
//! it too, that is so from the log's start on, which moves no further than retention may take it.
//!
//! `clients.rs` holds the producers and the readers.

mod clients;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::traced;
use crate::broker::boot;
use crate::broker::cleaner::CleanerConfig;
use crate::broker::lifecycle::PartitionSpec;
use crate::broker::messages::PartitionId;
use crate::broker::shard::Shard;
use crate::log::LogConfig;
use crate::log::compact::Compaction;
use crate::log::compact::checkpoint::CLEANED;
use crate::partition::AppendRules;
use crate::reactor::sim::{CrashKind, IoKind, NodeId, Options, Rng, View, World};
use crate::reactor::{Class, Reactor};
use crate::wire::uuid::Uuid;

const DIR: &str = "/data";
/// No operation takes longer than this in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);
/// What the disk holds: so little that the shard looks often how much is left.
const CAPACITY: u64 = 4 << 30;
/// With so little, no more records are taken; what is there is still looked after.
const NEARLY_FULL: u64 = 100 << 20;

/// What a seed saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// Records that a start found.
    pub found: u64,
    /// Records that somebody was told of, and that compaction had taken away at some start.
    pub gone: u64,
    /// Tombstones among them.
    pub tombstones_gone: u64,
    /// Times that a consumer read a log from its start to its end beside the cleaner.
    pub read_whole: u64,
    /// Times that a log was seen to start later than before, for retention had deleted what was there.
    pub retained: u64,
    /// Times that the disk was full.
    pub filled: u64,
    /// Of those, within an exchange, with the next one's files under way when death came.
    pub filled_in_exchange: u64,
    /// Losses of power.
    pub power_losses: u64,
    /// Failures of the disk.
    pub disk_failures: u64,
    /// The hash of the trace.
    pub trace: u64,
}

impl Report {
    /// Adds another seed's.
    pub fn add(&mut self, other: &Report) {
        self.acknowledged += other.acknowledged;
        self.found += other.found;
        self.gone += other.gone;
        self.tombstones_gone += other.tombstones_gone;
        self.read_whole += other.read_whole;
        self.retained += other.retained;
        self.filled += other.filled;
        self.filled_in_exchange += other.filled_in_exchange;
        self.power_losses += other.power_losses;
        self.disk_failures += other.disk_failures;
        self.trace ^= other.trace;
    }
}

/// A record as the workload tells them apart: each has a number of its own, and those without a value are tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    key: u8,
    number: u64,
    is_tombstone: bool,
}

/// What is known of one partition.
#[derive(Default)]
struct Known {
    /// What somebody was told of, by offset.
    told: BTreeMap<i64, Record>,
    /// What was sent, by number.
    sent: BTreeMap<u64, Record>,
    /// When each was sent in this life, by the wall clock.
    sent_at: BTreeMap<u64, i64>,
    /// Where the log was last seen to start in this life, and the version of its files.
    start: Option<(i64, u32)>,
    /// Where it started when the last life ended, if it was served then.
    last_start: Option<i64>,
}

struct Partition {
    id: PartitionId,
    known: RefCell<Known>,
}

impl Partition {
    /// Of each key, the last record that anybody was told of.
    fn latest(&self) -> BTreeMap<u8, (i64, Record)> {
        let known = self.known.borrow();
        known.told.iter().map(|(offset, record)| (record.key, (*offset, *record))).collect()
    }
}

/// A log that was read to its end.
struct Read {
    found: BTreeMap<i64, Record>,
    is_prompt: bool,
    /// Where the log started in the end.
    start: i64,
}

struct Run {
    world: World,
    node: NodeId,
    rng: RefCell<Rng>,
    partitions: Vec<Rc<Partition>>,
    log: LogConfig,
    keys: u64,
    cleaner: CleanerConfig,
    next_number: Cell<u64>,
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
    Report { trace: run.world.trace_hash(), ..*run.report.borrow() }
}

fn begin(seed: u64, lines: usize) -> Rc<Run> {
    let mut options = Options::drawn(seed);
    options.trace_lines = lines;
    options.disk.capacity = CAPACITY;
    let world = World::new(seed, options);
    let node = world.add_node();
    let mut rng = Rng::new(seed);
    let compaction = Compaction {
        min_dirty_ratio: *rng.pick(&[0.0, 0.2, 0.5]),
        min_lag_ms: *rng.pick(&[0, 0, 500]),
        max_lag_ms: *rng.pick(&[i64::MAX, i64::MAX, 2_000]),
        delete_retention_ms: *rng.pick(&[0, 1_000, 10_000]),
    };
    // By one of both alone: so it can be told whether it was right.
    let (delete, retention_ms, retention_bytes) = match rng.below(5) {
        0 => (true, *rng.pick(&[300, 2_000]), -1),
        1 => (true, -1, *rng.pick(&[4_000, 20_000, 100_000])),
        _ => (false, 300, 4_000),
    };
    let partition = |partition| {
        let id = PartitionId { topic: Uuid([7; 16]), partition };
        Rc::new(Partition { id, known: RefCell::default() })
    };
    let partitions = (0..*rng.pick(&[1, 1, 2, 4])).map(partition).collect();
    let log = LogConfig {
        segment_bytes: *rng.pick(&[2_000, 10_000, 40_000]),
        segment_ms: *rng.pick(&[500, 1 << 50]),
        index_interval_bytes: *rng.pick(&[100, 4096]),
        delete,
        retention_ms,
        retention_bytes,
        delete_delay_ms: *rng.pick(&[0, 50, 60_000]),
        compaction: Some(compaction),
        ..LogConfig::default()
    };
    let keys = *rng.pick(&[2, 20, 200]);
    let cleaner = CleanerConfig {
        table_bytes: *rng.pick(&[200, 1 << 20]),
        bytes_per_second: *rng.pick(&[f64::MAX, 20_000.0]),
        backoff: Duration::from_secs(1),
        table_load: *rng.pick(&[0.9, 0.3]),
        piece: *rng.pick(&[4096, 128 << 10]),
    };
    Rc::new(Run {
        world,
        node,
        partitions,
        log,
        keys,
        cleaner,
        rng: RefCell::new(rng),
        next_number: Cell::new(0),
        report: RefCell::default(),
    })
}

impl Run {
    fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().below(below)
    }

    fn to_the_end(self: &Rc<Run>) {
        for _ in 0..2 + self.draw(5) {
            self.live();
        }
        let reactor = self.world.boot(self.node, 1).remove(0);
        self.start_and_check(&reactor);
    }

    fn live(self: &Rc<Run>) {
        let reactor = self.world.boot(self.node, 1).remove(0);
        let Some(shard) = self.start_and_check(&reactor) else { return self.crash(CrashKind::Power) };
        for _ in 0..1 + self.draw(3) {
            let (run, core, shard) = (self.clone(), reactor.clone(), shard.clone());
            reactor.spawn(Class::Request, async move { run.produce(core, shard).await });
        }
        for partition in &self.partitions {
            let (run, core, reading, of) = (self.clone(), reactor.clone(), shard.clone(), partition.clone());
            reactor.spawn(Class::Fetch, async move { run.consume(core, reading, of).await });
        }
        if self.draw(8) == 0 {
            let kind =
                *self.rng.borrow_mut().pick(&[IoKind::Write, IoKind::Flush, IoKind::Metadata, IoKind::Read]);
            self.world.disk(self.node).fail_nth(kind, 1 + self.draw(200));
        }
        match self.draw(6) {
            0 | 1 => {
                self.run_into_an_exchange(&shard);
                self.run_for_micros(600);
                return self.die(&shard, CrashKind::Power);
            }
            2 => {
                self.fill_in_an_exchange(&shard);
                return self.die(&shard, self.some_death());
            }
            3 => self.fill_and_make_room(),
            _ => {}
        }
        let span = *self.rng.borrow_mut().pick(&[50_000, 2_000_000, 6_000_000]);
        self.run_for_micros(span);
        if shard.volumes[0].log_dir.has_failed() {
            self.report.borrow_mut().disk_failures += 1;
        } else if self.draw(4) == 0 {
            let (stopping, on) = (shard.clone(), reactor.clone());
            let troubled = self.world.disk(self.node).has_trouble();
            let ended = self.world.run(&reactor, PATIENCE, async move {
                boot::stop_alone(&on, &stopping, Path::new(DIR)).await
            });
            assert!(ended.is_ok() || troubled, "seed {}: no stop: {ended:?}", self.world.seed());
        }
        self.die(&shard, self.some_death());
    }

    fn some_death(&self) -> CrashKind {
        if self.draw(3) == 0 { CrashKind::Process } else { CrashKind::Power }
    }

    fn run_for_micros(&self, below: u64) {
        self.world.run_for(Duration::from_micros(self.draw(below)));
    }

    /// Runs until files are being exchanged; tells whether that came.
    fn run_into_an_exchange(&self, shard: &Shard) -> bool {
        let is_in = |partition: &Rc<Partition>| {
            shard.replica(partition.id).is_some_and(|r| !r.files.version().is_multiple_of(2))
        };
        self.world.run_until(Duration::from_secs(4), || self.partitions.iter().any(is_in))
    }

    fn set_capacity(&self, capacity: u64) {
        self.world.note(&format!("the disk holds {capacity} bytes"));
        self.world.disk(self.node).change(|options| options.capacity = capacity);
        self.report.borrow_mut().filled += u64::from(capacity == 0);
    }

    /// The disk becomes full, all at once or so that no records are taken any more before, and has room again.
    fn fill_and_make_room(&self) {
        self.run_for_micros(2_000_000);
        if self.draw(4) > 0 {
            self.set_capacity(NEARLY_FULL);
            self.run_for_micros(2_000_000);
        }
        self.set_capacity(0);
        self.run_for_micros(3_000_000);
        self.set_capacity(CAPACITY);
    }

    /// The disk becomes full within an exchange of files, and has room again; then runs until the next such files are
    /// being written.
    fn fill_in_an_exchange(&self, shard: &Shard) {
        self.run_for_micros(2_000_000);
        if self.draw(4) > 0 {
            self.set_capacity(NEARLY_FULL);
        }
        let is_in = self.run_into_an_exchange(shard);
        self.run_for_micros(100);
        self.set_capacity(0);
        self.run_for_micros(500_000);
        self.set_capacity(CAPACITY);
        let disk = self.world.disk(self.node);
        let is_cleaned = |(path, _): &(std::path::PathBuf, u64)| {
            path.as_os_str().as_encoded_bytes().ends_with(CLEANED.as_bytes())
        };
        let is_writing = || disk.files(View::Current).iter().any(is_cleaned);
        for _ in 0..2_000 {
            if is_writing() {
                break;
            }
            self.world.run_for(Duration::from_millis(2));
        }
        self.run_for_micros(2_000);
        self.report.borrow_mut().filled_in_exchange += u64::from(is_in && is_writing());
    }

    fn die(&self, shard: &Shard, kind: CrashKind) {
        for partition in &self.partitions {
            let start =
                shard.replica(partition.id).and_then(|r| r.online(|o| o.partition.log.start_offset()));
            partition.known.borrow_mut().last_start = start;
        }
        self.crash(kind);
    }

    fn crash(&self, kind: CrashKind) {
        self.report.borrow_mut().power_losses += u64::from(kind == CrashKind::Power);
        self.world.note(&format!("the end: {kind:?}"));
        self.world.crash(self.node, kind);
        if kind == CrashKind::Process {
            // The kernel ends a killed process only when what it had under way is done.
            self.world.run_for(PATIENCE);
        }
        self.world.disk(self.node).mend();
    }

    /// Starts the shard and holds what it has against what is known. None where the file system takes no changes.
    fn start_and_check(self: &Rc<Run>, reactor: &Reactor) -> Option<Rc<Shard>> {
        let (run, core) = (self.clone(), reactor.clone());
        let shard = self.world.run(reactor, PATIENCE, async move { run.start(&core).await });
        if self.world.disk(self.node).is_read_only() {
            return None;
        }
        let shard = shard.unwrap_or_else(|error| panic!("seed {}: no start: {error}", self.world.seed()));
        self.partitions.iter().for_each(|partition| self.check(reactor, &shard, partition));
        Some(shard)
    }

    fn check(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>, partition: &Rc<Partition>) {
        let seed = self.world.seed();
        // Another life may have another clock.
        partition.known.borrow_mut().sent_at.clear();
        let (run, core, reading, of) = (self.clone(), reactor.clone(), shard.clone(), partition.clone());
        let read =
            self.world.run(reactor, PATIENCE, async move { run.read_promptly(&core, &reading, &of).await });
        let refusal = || shard.replica(partition.id).map(|replica| replica.refusal());
        let read = read.unwrap_or_else(|| panic!("seed {seed}: it does not serve: {:?}", refusal()));
        self.expect_latest(reactor, partition, &partition.latest(), &read);
        let mut known = partition.known.borrow_mut();
        for (offset, record) in &read.found {
            let told = known.told.insert(*offset, *record);
            assert!(
                told.is_none_or(|told| told == *record),
                "seed {seed}: offset {offset}: {told:?}, {record:?}"
            );
        }
        // What was sent and is not there will not come any more, unless somebody was told of it: then a crash may
        // bring it back. Nor is it known what retention has taken since the start, which a crash may undo too.
        let numbers: BTreeSet<u64> = known.told.values().map(|record| record.number).collect();
        let deletes = self.log.delete;
        known.sent.retain(|number, _| deletes || numbers.contains(number));
        let gone: Vec<_> = known.told.iter().filter(|(offset, _)| !read.found.contains_key(offset)).collect();
        let mut report = self.report.borrow_mut();
        report.found += read.found.len() as u64;
        report.gone += gone.len() as u64;
        report.tombstones_gone += gone.iter().filter(|(_, record)| record.is_tombstone).count() as u64;
    }

    /// No log starts later than it did when the last life ended: only retention moves that, which is still to
    /// come where the start was prompt.
    fn expect_start(&self, shard: &Shard, partition: &Partition, is_prompt: bool) {
        let start = shard.replica(partition.id).and_then(|r| r.online(|o| o.partition.log.start_offset()));
        let mut known = partition.known.borrow_mut();
        let (Some(start), before) = (start, known.last_start.take()) else { return };
        let seed = self.world.seed();
        assert!(
            before.is_none_or(|before| start <= before || self.log.delete && !is_prompt),
            "seed {seed}: the log started at {before:?}, and starts at {start} after the crash"
        );
        known.start = None;
    }

    async fn start(&self, reactor: &Reactor) -> std::io::Result<Rc<Shard>> {
        let began = reactor.now();
        let (found, shard) = boot::start_alone(reactor, Path::new(DIR)).await?;
        let spec = |id| PartitionSpec {
            id,
            topic: "t".into(),
            directory: Uuid::ZERO,
            revision: 0,
            leader_epoch: 0,
            log: self.log.clone(),
            rules: AppendRules::default(),
        };
        for id in self.partitions.iter().map(|partition| partition.id) {
            shard.open_partition(spec(id), found.before("t", id));
        }
        shard.all_opened().await;
        let is_prompt = reactor.now().since(began) < Duration::from_secs(1);
        self.partitions.iter().for_each(|partition| self.expect_start(&shard, partition, is_prompt));
        shard.check_retention_every(Duration::from_secs(1));
        shard.start_cleaner(self.cleaner);
        Ok(shard)
    }
}
