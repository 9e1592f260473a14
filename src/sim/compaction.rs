//! One core's shard whose logs are compacted, under appends, reads, faults, crashes and power loss.
//!
//! Few keys are written again and again. Whatever becomes of the machine, and whenever: of each key the last record
//! that anybody was told of is there, or a later one; a record that is there is where it always was; and where a
//! tombstone has been taken away, nothing of its key is left that was before it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::storage::fetch;
use super::traced;
use crate::broker::boot;
use crate::broker::call::Responder;
use crate::broker::cleaner::CleanerConfig;
use crate::broker::lifecycle::{Before, PartitionSpec};
use crate::broker::messages::{PartitionId, ProduceCall, ProducePart, ShardReply, ShardRequest};
use crate::broker::shard::Shard;
use crate::log::LogConfig;
use crate::log::compact::Compaction;
use crate::partition::AppendRules;
use crate::reactor::sim::{CrashKind, IoKind, NodeId, Options, Rng, World};
use crate::reactor::sync::completion;
use crate::reactor::{Class, Reactor};
use crate::wire::batch::{BatchBuilder, Compression, batches};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

const DIR: &str = "/data";
/// No operation takes longer than this in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

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
}

struct Run {
    world: World,
    node: NodeId,
    rng: RefCell<Rng>,
    id: PartitionId,
    log: LogConfig,
    keys: u64,
    cleaner: CleanerConfig,
    known: RefCell<Known>,
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
    let world = World::new(seed, options);
    let node = world.add_node();
    let mut rng = Rng::new(seed);
    let compaction = Compaction {
        min_dirty_ratio: *rng.pick(&[0.0, 0.2, 0.5]),
        min_lag_ms: *rng.pick(&[0, 0, 500]),
        max_lag_ms: *rng.pick(&[i64::MAX, i64::MAX, 2_000]),
        delete_retention_ms: *rng.pick(&[0, 1_000, 10_000]),
    };
    let log = LogConfig {
        segment_bytes: *rng.pick(&[2_000, 10_000, 40_000]),
        segment_ms: *rng.pick(&[500, 1 << 50]),
        index_interval_bytes: *rng.pick(&[100, 4096]),
        delete: false,
        compaction: Some(compaction),
        ..LogConfig::default()
    };
    let keys = *rng.pick(&[2, 20, 200]);
    let cleaner = CleanerConfig {
        table_bytes: *rng.pick(&[200, 1 << 20]),
        bytes_per_second: *rng.pick(&[f64::MAX, 20_000.0]),
        backoff: Duration::from_secs(1),
    };
    Rc::new(Run {
        world,
        node,
        id: PartitionId { topic: Uuid([7; 16]), partition: 0 },
        log,
        keys,
        cleaner,
        rng: RefCell::new(rng),
        known: RefCell::default(),
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
        let Some(shard) = self.start_and_check(&reactor) else { return self.die(CrashKind::Power) };
        for _ in 0..1 + self.draw(3) {
            let (run, core, shard) = (self.clone(), reactor.clone(), shard.clone());
            reactor.spawn(Class::Request, async move { run.produce(core, shard).await });
        }
        let (run, core, reading) = (self.clone(), reactor.clone(), shard.clone());
        reactor.spawn(Class::Fetch, async move { run.consume(core, reading).await });
        if self.draw(8) == 0 {
            let kind =
                *self.rng.borrow_mut().pick(&[IoKind::Write, IoKind::Flush, IoKind::Metadata, IoKind::Read]);
            self.world.disk(self.node).fail_nth(kind, 1 + self.draw(200));
        }
        if self.draw(3) == 0 {
            self.run_into_an_exchange(&shard);
            return self.die(CrashKind::Power);
        }
        let span = *self.rng.borrow_mut().pick(&[50_000, 2_000_000, 6_000_000]);
        self.world.run_for(Duration::from_micros(self.draw(span)));
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
        self.die(if self.draw(3) == 0 { CrashKind::Process } else { CrashKind::Power });
    }

    /// Runs until files are being exchanged, and a moment longer.
    fn run_into_an_exchange(&self, shard: &Shard) {
        let is_under_way = || shard.replica(self.id).is_some_and(|r| !r.files.version().is_multiple_of(2));
        for _ in 0..40_000 {
            self.world.run_for(Duration::from_micros(100));
            if is_under_way() {
                break;
            }
        }
        self.world.run_for(Duration::from_micros(self.draw(600)));
    }

    fn die(&self, kind: CrashKind) {
        self.report.borrow_mut().power_losses += u64::from(kind == CrashKind::Power);
        self.world.note(&format!("the end: {kind:?}"));
        self.world.crash(self.node, kind);
        if kind == CrashKind::Process {
            // The kernel ends a killed process only when what it had under way is done.
            self.world.run_for(PATIENCE);
        }
        self.world.disk(self.node).mend();
    }

    async fn produce(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>) {
        loop {
            let compression =
                *self.rng.borrow_mut().pick(&[Compression::None, Compression::None, Compression::Lz4]);
            let mut builder = BatchBuilder::new().compression(compression);
            let mut records = Vec::new();
            for _ in 0..1 + self.draw(4) {
                let number = self.next_number.replace(self.next_number.get() + 1);
                let record =
                    Record { key: self.draw(self.keys) as u8, number, is_tombstone: self.draw(8) == 0 };
                let mut value = number.to_be_bytes().to_vec();
                value.resize(8 + self.draw(400) as usize, 1);
                let value = (!record.is_tombstone).then_some(&value[..]);
                // A tombstone tells its number in a header.
                let name = number.to_string();
                let time = reactor.wall_clock_ms();
                builder.append(time, Some(&[record.key]), value, &[(&name, None)]);
                records.push(record);
                let mut known = self.known.borrow_mut();
                known.sent.insert(number, record);
                known.sent_at.insert(number, time);
            }
            let batch = Bytes::from(builder.build().expect("a batch can be built"));
            let (completer, answer) = completion();
            let deadline = reactor.now() + PATIENCE;
            let parts = vec![ProducePart { id: self.id, batch }];
            let call = ProduceCall { acks: -1, deadline, parts };
            shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
            let ShardReply::Produce(replies) = answer.await else { panic!("a produce is answered as one") };
            if replies[0].error == ErrorCode::NONE {
                for (offset, record) in (replies[0].base_offset..).zip(records) {
                    self.tell(offset, record);
                }
                self.report.borrow_mut().acknowledged += 1;
            }
            reactor.sleep(Duration::from_micros(self.draw(20_000))).await;
        }
    }

    /// Somebody is told of a record.
    fn tell(&self, offset: i64, record: Record) {
        let before = self.known.borrow_mut().told.insert(offset, record);
        assert!(before.is_none_or(|before| before == record), "seed {}: offset {offset}", self.world.seed());
    }

    /// Reads the log from its start to its end, again and again, while it is being compacted.
    async fn consume(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>) {
        loop {
            let latest = self.latest();
            let Some((found, is_prompt)) = self.read_promptly(&reactor, &shard).await else { return };
            for (offset, record) in &found {
                self.tell(*offset, *record);
            }
            self.expect_latest(&reactor, &latest, &found, is_prompt);
            self.report.borrow_mut().read_whole += 1;
            reactor.sleep(Duration::from_micros(self.draw(200_000))).await;
        }
    }

    /// Of each key, the last record that anybody was told of.
    fn latest(&self) -> BTreeMap<u8, (i64, Record)> {
        let known = self.known.borrow();
        known.told.iter().map(|(offset, record)| (record.key, (*offset, *record))).collect()
    }

    /// Of each key, that record or a later one was found.
    fn expect_latest(
        &self,
        reactor: &Reactor,
        latest: &BTreeMap<u8, (i64, Record)>,
        found: &BTreeMap<i64, Record>,
        is_prompt: bool,
    ) {
        for (key, (offset, record)) in latest {
            let seed = self.world.seed();
            if found.get(offset) == Some(record)
                || found.range(offset + 1..).any(|(_, later)| later.key == *key)
            {
                continue;
            }
            assert!(record.is_tombstone, "seed {seed}: key {key}: {record:?} at offset {offset} is gone");
            let before = found.range(..offset).find(|(_, before)| before.key == *key);
            assert!(
                before.is_none() || !is_prompt,
                "seed {seed}: {record:?} at {offset} is gone, and {before:?} is there"
            );
            let stays = self.log.compaction.as_ref().map_or(0, |rules| rules.delete_retention_ms);
            let sent_at = self.known.borrow().sent_at.get(&record.number).copied();
            let age = sent_at.map_or(i64::MAX, |sent_at| reactor.wall_clock_ms() - sent_at);
            assert!(age >= stays, "seed {seed}: {record:?} is gone after {age} of {stays} ms");
        }
    }

    /// All records of the log, and whether they were read before a tombstone may go whose record was met: within
    /// `delete.retention.ms`, or with no compaction meanwhile. None if the shard stops serving meanwhile.
    async fn read_promptly(
        &self,
        reactor: &Reactor,
        shard: &Rc<Shard>,
    ) -> Option<(BTreeMap<i64, Record>, bool)> {
        let (replica, began) = (shard.replica(self.id)?, reactor.now());
        let version = replica.files.version();
        let found = self.read_all(reactor, shard).await?;
        let stays = self.log.compaction.as_ref().map_or(0, |rules| rules.delete_retention_ms);
        let took = reactor.now().since(began).as_millis() as i64;
        Some((found, took < stays || replica.files.is(version)))
    }

    /// All records of the log; none if the shard stops serving meanwhile.
    async fn read_all(&self, reactor: &Reactor, shard: &Rc<Shard>) -> Option<BTreeMap<i64, Record>> {
        let start = shard.replica(self.id)?.online(|online| online.partition.log.start_offset())?;
        let (mut offset, mut found) = (start, BTreeMap::new());
        loop {
            let (bytes, high_watermark) =
                match fetch(shard, self.id, offset, 1 + self.draw(20_000) as usize).await {
                    Ok(fetched) => fetched,
                    Err(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                        panic!("seed {}: {offset} was there", self.world.seed())
                    }
                    Err(_) => return None,
                };
            if offset >= high_watermark {
                return Some(found);
            }
            let from = offset;
            for batch in batches(&bytes) {
                let Ok(batch) = batch else { break };
                batch.check().expect("what is served has its checksum");
                assert!(batch.last_offset() >= from, "a fetch begins with the batch that holds the offset");
                for record in batch.open(1 << 30).expect("the workload's batches open").iter() {
                    let record = record.expect("whole records");
                    let name = record.headers.clone().next().expect("a header").expect("a whole one").key;
                    let number = std::str::from_utf8(name).expect("a number").parse().expect("a number");
                    let key = record.key.expect("a key")[0];
                    let read = Record { key, number, is_tombstone: record.value.is_none() };
                    assert_eq!(
                        self.known.borrow().sent.get(&number),
                        Some(&read),
                        "seed {}: it was sent",
                        self.world.seed()
                    );
                    found.insert(record.offset, read);
                }
                offset = batch.last_offset() + 1;
            }
            assert!(offset > from, "seed {}: nothing from offset {from} on", self.world.seed());
            reactor.yield_now().await;
        }
    }

    /// Starts the shard and holds what it has against what is known. None where the file system takes no changes.
    fn start_and_check(self: &Rc<Run>, reactor: &Reactor) -> Option<Rc<Shard>> {
        let (run, core) = (self.clone(), reactor.clone());
        let shard = self.world.run(reactor, PATIENCE, async move { run.start(&core).await });
        if self.world.disk(self.node).is_read_only() {
            return None;
        }
        let seed = self.world.seed();
        let shard = shard.unwrap_or_else(|error| panic!("seed {seed}: no start: {error}"));
        let (run, core, reading) = (self.clone(), reactor.clone(), shard.clone());
        let found =
            self.world.run(reactor, PATIENCE, async move { run.read_promptly(&core, &reading).await });
        let refusal = || shard.replica(self.id).map(|replica| replica.refusal());
        let found = found.unwrap_or_else(|| panic!("seed {seed}: it does not serve: {:?}", refusal()));
        let (found, is_prompt) = found;
        // Another life may have another clock.
        self.known.borrow_mut().sent_at.clear();
        self.expect_latest(reactor, &self.latest(), &found, is_prompt);
        let mut known = self.known.borrow_mut();
        for (offset, record) in &found {
            let told = known.told.insert(*offset, *record);
            assert!(
                told.is_none_or(|told| told == *record),
                "seed {seed}: offset {offset}: {told:?}, {record:?}"
            );
        }
        // What was sent and is not there will not come any more, unless somebody was told of it: then a crash may
        // bring it back.
        let numbers: Vec<u64> = known.told.values().map(|record| record.number).collect();
        known.sent.retain(|number, _| numbers.contains(number));
        let gone: Vec<_> = known.told.iter().filter(|(offset, _)| !found.contains_key(offset)).collect();
        let mut report = self.report.borrow_mut();
        report.found += found.len() as u64;
        report.gone += gone.len() as u64;
        report.tombstones_gone += gone.iter().filter(|(_, record)| record.is_tombstone).count() as u64;
        drop(report);
        drop(known);
        Some(shard)
    }

    async fn start(&self, reactor: &Reactor) -> std::io::Result<Rc<Shard>> {
        let (found, shard) = boot::start_alone(reactor, Path::new(DIR)).await?;
        let spec = PartitionSpec {
            id: self.id,
            topic: "t".into(),
            directory: Uuid::ZERO,
            revision: 0,
            leader_epoch: 0,
            log: self.log.clone(),
            rules: AppendRules::default(),
        };
        let mark = found.marks.marks.get(&self.id).copied();
        let is_kafkas = found.marks.is_kafkas;
        let (start, end) = (found.start_of("t", 0), found.end_of("t", 0));
        shard.open_partition(
            spec,
            Before { mark, clean: found.clean, accept_loss: false, start, end, is_kafkas },
        );
        shard.all_opened().await;
        shard.start_cleaner(self.cleaner);
        Ok(shard)
    }
}
