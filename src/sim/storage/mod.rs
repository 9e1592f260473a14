//! One core's shard under appends, reads, faults, crashes and power loss.
//!
//! A run is a few lives of one node. In each, producers append batches that tell who wrote them and which of
//! his they are, and consumers read; then the node dies, in some way, at some moment, perhaps while it was
//! still recovering from the last. After each death the logs are read whole and held against what the clients
//! were told:
//!
//! - what was acknowledged is there, at the offset that was told, unchanged;
//! - what a consumer was given is still there;
//! - what an earlier recovery found is still there, so nothing that was cut off has stood up again;
//! - nothing is there that nobody sent, nothing twice, and each producer's batches are in his order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::boot;
use crate::broker::call::Responder;
use crate::broker::lifecycle::{Before, PartitionSpec};
use crate::broker::messages::{
    FetchCall, FetchPart, PartitionId, ProduceCall, ProducePart, ShardReply, ShardRequest, WatchCall,
};
use crate::broker::replica::State;
use crate::broker::shard::Shard;
use crate::log::LogConfig;
use crate::partition::AppendRules;
use crate::reactor::sim::{CrashKind, NodeId, Options, Rng, World};
use crate::reactor::sync::completion;
use crate::reactor::{Class, Reactor};
use crate::wire::batch::{Batch, BatchBuilder};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

const DIR: &str = "/data";
/// The longest that anything may take in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

/// A batch as it lies in a log: who wrote it, which of his it is, and how many records it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    producer: u32,
    number: u32,
    records: u32,
}

/// What is known of one partition.
#[derive(Default)]
struct Known {
    /// Acknowledged, or seen by a consumer or an earlier recovery: must be there.
    certain: BTreeMap<i64, Entry>,
    /// Sent, whatever became of it.
    sent: BTreeMap<(u32, u32), u32>,
}

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
    /// The hash of the run's trace.
    pub trace: u64,
}

struct Run {
    world: World,
    node: NodeId,
    rng: RefCell<Rng>,
    partitions: Vec<PartitionId>,
    log: LogConfig,
    known: RefCell<BTreeMap<i32, Known>>,
    next_producer: Cell<u32>,
    report: RefCell<Report>,
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
        self.trace ^= other.trace;
    }
}

/// Runs one seed; panics, telling the seed, when something that was promised does not hold.
pub fn run(seed: u64) -> Report {
    let run = begin(seed, 0);
    run.to_the_end();
    run.report()
}

/// The same, handing the trace's text to `keep` when it ends, however it ends.
pub fn run_traced(seed: u64, lines: usize, keep: impl FnOnce(&str)) -> Report {
    let run = begin(seed, lines);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.to_the_end()));
    keep(&run.world.trace_text());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    run.report()
}

fn begin(seed: u64, lines: usize) -> Rc<Run> {
    let mut options = Options::drawn(seed);
    options.trace_lines = lines;
    let world = World::new(seed, options);
    let node = world.add_node();
    let mut rng = Rng::new(seed);
    let topic = Uuid([7; 16]);
    let partitions = (0..1 + rng.below(4) as i32).map(|partition| PartitionId { topic, partition }).collect();
    let log = LogConfig {
        segment_bytes: *rng.pick(&[20_000, 200_000, 1 << 30]),
        index_interval_bytes: *rng.pick(&[100, 4096]),
        retention_ms: -1,
        ..LogConfig::default()
    };
    Rc::new(Run {
        world,
        node,
        rng: RefCell::new(rng),
        partitions,
        log,
        known: RefCell::default(),
        next_producer: Cell::new(0),
        report: RefCell::default(),
    })
}

impl Run {
    fn to_the_end(self: &Rc<Run>) {
        for _ in 0..2 + self.draw(5) {
            self.live();
        }
        self.last_life();
    }

    fn report(&self) -> Report {
        Report { trace: self.world.trace_hash(), ..*self.report.borrow() }
    }

    fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().below(below)
    }

    /// One life: start, work, die.
    fn live(self: &Rc<Run>) {
        let reactor = self.world.boot(self.node, 1).remove(0);
        // Now and then death comes before recovery is done.
        if self.draw(6) == 0 {
            let starting = self.clone();
            let core = reactor.clone();
            reactor.spawn(Class::Request, async move { drop(starting.start(&core).await) });
            let span = self.draw(20_000);
            self.world.run_for(Duration::from_micros(span));
            return self.die();
        }
        let Some(shard) = self.start_and_check(&reactor) else { return self.lose_power() };
        self.work(&reactor, &shard);
        if self.draw(6) == 0 {
            self.trouble();
        }
        let span = match self.draw(4) {
            0 => self.draw(3_000),
            1 => self.draw(30_000),
            _ => self.draw(400_000),
        };
        self.world.run_for(Duration::from_micros(span));
        if shard.log_dir.has_failed() {
            self.report.borrow_mut().disk_failures += 1;
        }
        if self.draw(5) == 0 && !shard.log_dir.has_failed() {
            self.stop(&reactor, &shard);
        }
        self.die();
    }

    /// The last life only looks.
    fn last_life(self: &Rc<Run>) {
        let reactor = self.world.boot(self.node, 1).remove(0);
        if self.start_and_check(&reactor).is_none() {
            self.lose_power();
            self.last_life();
        }
    }

    fn die(&self) {
        if self.draw(3) == 0 {
            self.report.borrow_mut().kills += 1;
            self.world.note("the process dies");
            self.world.crash(self.node, CrashKind::Process);
            // The kernel ends a killed process, and with it the lock on its folder, only when what it had under
            // way is done.
            self.world.run_for(PATIENCE);
            self.world.disk(self.node).mend();
        } else {
            self.lose_power();
        }
    }

    fn lose_power(&self) {
        self.report.borrow_mut().power_losses += 1;
        self.world.note("the power fails");
        self.world.crash(self.node, CrashKind::Power);
        self.world.disk(self.node).mend();
    }

    /// Something is wrong with the disk from now on.
    fn trouble(&self) {
        let disk = self.world.disk(self.node);
        let kinds = [
            crate::reactor::sim::IoKind::Write,
            crate::reactor::sim::IoKind::Flush,
            crate::reactor::sim::IoKind::Write,
        ];
        let kind = *self.rng.borrow_mut().pick(&kinds);
        disk.fail_nth(kind, 1 + self.draw(30));
    }

    fn stop(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) {
        let shard = shard.clone();
        let disk = reactor.disk();
        let ended = self.world.run(reactor, PATIENCE, async move {
            let ends = boot::stop_shard(&shard).await?;
            boot::finish(&disk, Path::new(DIR), &ends).await
        });
        match ended {
            Ok(()) => self.report.borrow_mut().stops += 1,
            Err(_) => self.report.borrow_mut().disk_failures += 1,
        }
    }

    async fn start(&self, reactor: &Reactor) -> std::io::Result<Rc<Shard>> {
        let (disk, dir) = (reactor.disk(), Path::new(DIR));
        let found = boot::look(&disk, dir).await?;
        boot::begin(&disk, dir).await?;
        let shard = boot::start_shard(reactor, dir, &found, |_| true).await?;
        for id in &self.partitions {
            let before =
                Before { mark: found.marks.marks.get(id).copied(), clean: found.clean, accept_loss: false };
            shard.open_partition(self.spec(*id), before);
        }
        shard.all_opened().await;
        Ok(shard)
    }

    fn spec(&self, id: PartitionId) -> PartitionSpec {
        PartitionSpec {
            id,
            topic: "t".into(),
            revision: 0,
            leader_epoch: self.next_producer.get() as i32,
            log: self.log.clone(),
            rules: AppendRules::default(),
        }
    }

    /// Starts the shard, reads every log whole, and holds it against what is known. None where the file system
    /// takes no changes any more until the machine starts anew.
    fn start_and_check(self: &Rc<Run>, reactor: &Reactor) -> Option<Rc<Shard>> {
        let (run, core) = (self.clone(), reactor.clone());
        let shard = self.world.run(reactor, PATIENCE, async move { run.start(&core).await });
        if self.world.disk(self.node).is_read_only() {
            let served = shard.is_ok_and(|shard| shard.replicas().iter().any(|r| r.refusal().is_none()));
            assert!(!served, "seed {}: served from a file system that takes no changes", self.world.seed());
            return None;
        }
        let shard = shard.unwrap_or_else(|error| panic!("seed {}: no start: {error}", self.world.seed()));
        for replica in shard.replicas() {
            if let State::Offline(_, why) = &*replica.state.borrow() {
                panic!("seed {}: refused though nothing was damaged: {why}", self.world.seed());
            }
        }
        for id in &self.partitions {
            let (run, reading, id) = (self.clone(), shard.clone(), *id);
            let found = self.world.run(reactor, PATIENCE, async move { run.read_all(&reading, id).await });
            self.check(id, found);
        }
        Some(shard)
    }

    async fn read_all(&self, shard: &Rc<Shard>, id: PartitionId) -> BTreeMap<i64, Entry> {
        let mut found = BTreeMap::new();
        let mut offset = 0;
        loop {
            let batches = read(shard, id, offset, 1 + self.draw(100_000) as usize).await;
            let Ok(batches) = batches else {
                panic!("seed {}: {batches:?}: {:?}", self.world.seed(), shard.log_dir.failure())
            };
            if batches.is_empty() {
                return found;
            }
            for (at, entry) in batches {
                offset = at + i64::from(entry.records);
                found.insert(at, entry);
            }
        }
    }

    fn check(&self, id: PartitionId, found: BTreeMap<i64, Entry>) {
        let seed = self.world.seed();
        let mut known = self.known.borrow_mut();
        let known = known.entry(id.partition).or_default();
        for (offset, entry) in &known.certain {
            assert_eq!(
                found.get(offset),
                Some(entry),
                "seed {seed}, partition {}, offset {offset}",
                id.partition
            );
        }
        let (mut next, mut last) = (0, BTreeMap::new());
        for (offset, entry) in &found {
            let Entry { producer, number, records } = *entry;
            assert_eq!(*offset, next, "seed {seed}: offsets follow one another");
            next += i64::from(records);
            assert_eq!(
                known.sent.get(&(producer, number)),
                Some(&records),
                "seed {seed}: {entry:?} was never sent"
            );
            let before = last.insert(producer, number);
            assert!(
                before.is_none_or(|before| before < number),
                "seed {seed}: {entry:?} comes after {before:?}"
            );
        }
        let new = found.len() - known.certain.len();
        self.report.borrow_mut().unacknowledged_found += new as u64;
        known.certain = found;
    }

    /// Producers and consumers, for the rest of this life.
    fn work(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) {
        for _ in 0..1 + self.draw(4) {
            let producer = self.next_producer.replace(self.next_producer.get() + 1);
            let (run, core, shard) = (self.clone(), reactor.clone(), shard.clone());
            reactor.spawn(Class::Request, async move { run.produce(core, shard, producer).await });
        }
        for id in &self.partitions {
            let (run, core, shard, id) = (self.clone(), reactor.clone(), shard.clone(), *id);
            reactor.spawn(Class::Fetch, async move { run.consume(core, shard, id).await });
        }
    }

    async fn produce(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>, producer: u32) {
        let (large, pipelined) = (self.draw(4) == 0, self.draw(2) == 0);
        for number in 0.. {
            let id = self.partitions[self.draw(self.partitions.len() as u64) as usize];
            let records = 1 + self.draw(5) as u32;
            let size = if large { self.draw(30_000) } else { self.draw(600) } as usize;
            let batch = make_batch(Entry { producer, number, records }, size);
            let known = |run: &Run, f: &mut dyn FnMut(&mut Known)| {
                f(run.known.borrow_mut().entry(id.partition).or_default());
            };
            known(&self, &mut |k| {
                k.sent.insert((producer, number), records);
            });
            let (completer, answer) = completion();
            let deadline = reactor.now() + PATIENCE;
            let call = ProduceCall { acks: -1, deadline, parts: vec![ProducePart { id, batch }] };
            shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
            let run = self.clone();
            let told = async move {
                let ShardReply::Produce(replies) = answer.await else {
                    panic!("a produce is answered as one")
                };
                if replies[0].error == ErrorCode::NONE {
                    let entry = Entry { producer, number, records };
                    let at = replies[0].base_offset;
                    run.world.note(&format!("acknowledged: {id:?} {at} {entry:?}"));
                    let mut known = run.known.borrow_mut();
                    known.entry(id.partition).or_default().certain.insert(at, entry);
                    run.report.borrow_mut().acknowledged += 1;
                }
            };
            if pipelined {
                reactor.spawn(Class::Request, told);
            } else {
                told.await;
            }
            if pipelined || self.draw(3) == 0 {
                reactor.sleep(Duration::from_micros(self.draw(3_000))).await;
            }
        }
    }

    async fn consume(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>, id: PartitionId) {
        let end = shard.replica(id).and_then(|r| r.online(|o| o.partition.high_watermark())).unwrap_or(0);
        let mut offset = if self.draw(2) == 0 { end } else { 0 };
        loop {
            let Ok(batches) = read(&shard, id, offset, 1 + self.draw(200_000) as usize).await else { return };
            for (at, entry) in &batches {
                offset = at + i64::from(entry.records);
                let mut known = self.known.borrow_mut();
                let before = known.entry(id.partition).or_default().certain.insert(*at, *entry);
                assert!(
                    before.is_none_or(|before| before == *entry),
                    "seed {}: offset {at}",
                    self.world.seed()
                );
                self.report.borrow_mut().consumed += 1;
            }
            if batches.is_empty() {
                let (completer, woken) = completion();
                let call =
                    WatchCall { parts: vec![(id, offset)], bytes: 1, deadline: reactor.now() + PATIENCE };
                shard.handle(ShardRequest::Watch(call), Responder::Local(completer));
                woken.await;
            }
            if self.draw(4) == 0 {
                reactor.sleep(Duration::from_micros(self.draw(20_000))).await;
            }
        }
    }
}

/// Reads the whole batches that a fetch gives.
async fn read(
    shard: &Rc<Shard>,
    id: PartitionId,
    offset: i64,
    max: usize,
) -> Result<Vec<(i64, Entry)>, ErrorCode> {
    let part = FetchPart { id, offset, max_bytes: max, current_leader_epoch: -1, last_fetched_epoch: -1 };
    let call = FetchCall { read_committed: false, max_bytes: max, parts: vec![part] };
    let (completer, answer) = completion();
    shard.handle(ShardRequest::Fetch(call), Responder::Local(completer));
    let ShardReply::Fetch(mut replies) = answer.await else { panic!("a fetch is answered as one") };
    let reply = replies.remove(0);
    if reply.error != ErrorCode::NONE {
        return Err(reply.error);
    }
    let bytes = reply.records.concat();
    let mut batches = Vec::new();
    let mut rest = &bytes[..];
    while let Ok(batch) = Batch::first(rest) {
        batch.check().expect("what is served has its checksum");
        assert!(batch.last_offset() >= offset, "a fetch begins with the batch that holds the offset");
        assert!(batch.last_offset() < reply.high_watermark, "nothing is served past the high watermark");
        batches.push((batch.base_offset(), entry_of(&batch)));
        rest = &rest[batch.bytes().len()..];
    }
    assert!(!batches.is_empty() || bytes.is_empty(), "a fetch gives at least one whole batch");
    Ok(batches)
}

fn make_batch(entry: Entry, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    let key = [entry.producer.to_be_bytes(), entry.number.to_be_bytes()].concat();
    let value = vec![entry.number as u8; size / entry.records as usize];
    for _ in 0..entry.records {
        builder.append(0, Some(&key), Some(&value), &[]);
    }
    Bytes::from(builder.build().expect("an uncompressed batch can be built"))
}

fn entry_of(batch: &Batch<'_>) -> Entry {
    let records = batch.open(1 << 30).expect("the workload's batches open");
    let first = records.iter().next().expect("the workload's batches have records").expect("and whole ones");
    let key = first.key.expect("the workload's records have keys");
    let number = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().expect("four bytes"));
    Entry { producer: number(0), number: number(4), records: batch.count() as u32 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_few_seeds() {
        let mut sum = super::Report::default();
        for seed in 0..20 {
            let report = super::run(seed);
            sum.acknowledged += report.acknowledged;
            sum.consumed += report.consumed;
        }
        assert!(sum.acknowledged > 1000 && sum.consumed > 1000, "{sum:?}");
    }
}
