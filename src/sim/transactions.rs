//! One core's shard under transactions, with crashes and power loss.
//!
//! Producers write batches within transactions and have them ended by markers, as a coordinator does that outlives the
//! node: what was decided before a death is carried out after it, and what was open then is aborted. Readers of
//! committed records leave out what they are told to. Held against what was decided:
//!
//! - no record is read whose transaction was not committed, none at two offsets, and what was read once stays;
//! - the last stable offset never goes back, not even by a crash;
//! - who comes with an epoch that is over is refused, though a coordinator agreed to his batch before;
//! - when all has ended, no transaction holds readers back, and each committed record is read.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::traced;
use crate::broker::boot;
use crate::broker::call::Responder;
use crate::broker::lifecycle::PartitionSpec;
use crate::broker::messages::{
    By, FetchCall, FetchPart, MarkerPart, PartitionId, ProduceCall, ProducePart, ShardReply, ShardRequest,
    TransactionNamed,
};
use crate::broker::shard::Shard;
use crate::log::LogConfig;
use crate::partition::AppendRules;
use crate::partition::markers::Marker;
use crate::reactor::sim::{CrashKind, NodeId, Options, Rng, World};
use crate::reactor::sync::{Completion, completion};
use crate::reactor::{Class, Reactor};
use crate::wire::batch::{BatchBuilder, batches};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

const DIR: &str = "/data";
/// No operation takes longer than this in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);
/// The version of Produce and that of the protocol of transactions.
const VERSIONS: (i16, i16) = (12, 2);

/// What a seed saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// Transactions that were committed.
    pub committed: u64,
    /// Transactions that were aborted.
    pub aborted: u64,
    /// Transactions told to readers because they were aborted.
    pub told: u64,
    /// Records that readers were given.
    pub read: u64,
    /// Batches of an epoch that was over, refused.
    pub fenced: u64,
    /// Losses of power.
    pub power_losses: u64,
    /// The hash of the run's trace.
    pub trace: u64,
}

impl Report {
    /// Adds another run's figures.
    pub fn add(&mut self, other: &Report) {
        self.acknowledged += other.acknowledged;
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.told += other.told;
        self.read += other.read;
        self.fenced += other.fenced;
        self.power_losses += other.power_losses;
        self.trace ^= other.trace;
    }
}

/// A record: its producer, the number of the transaction, and the number within it.
type Record = (i64, u32, u32);

/// A producer with its coordinator, whatever becomes of the node.
struct Producer {
    id: i64,
    partition: PartitionId,
    epoch: i16,
    transaction: u32,
    sent: u32,
    /// Where the acknowledged ones are.
    acknowledged: Vec<(i64, Record)>,
    /// Whether its transaction is to be committed, once that is decided.
    decided: Option<bool>,
    /// Whether a death of the node has left a transaction open.
    is_cut: bool,
}

/// What is known of a partition.
#[derive(Default)]
struct Known {
    last_stable: i64,
    read: BTreeMap<i64, Record>,
}

struct Run {
    world: World,
    node: NodeId,
    rng: RefCell<Rng>,
    log: LogConfig,
    known: Vec<RefCell<Known>>,
    producers: Vec<RefCell<Producer>>,
    /// The outcomes, and of those that were committed what must be there.
    outcomes: RefCell<BTreeMap<(i64, u32), bool>>,
    committed: RefCell<Vec<(PartitionId, i64, Record)>>,
    /// Whether only what is open is to be ended.
    is_over: Cell<bool>,
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

fn partition(partition: usize) -> PartitionId {
    PartitionId { topic: Uuid([7; 16]), partition: partition as i32 }
}

fn begin(seed: u64, lines: usize) -> Rc<Run> {
    let mut options = Options::drawn(seed);
    options.trace_lines = lines;
    let world = World::new(seed, options);
    let node = world.add_node();
    let mut rng = Rng::new(seed);
    let log = LogConfig {
        segment_bytes: *rng.pick(&[1_500, 6_000, 1 << 20]),
        index_interval_bytes: *rng.pick(&[100, 4096]),
        retention_ms: -1,
        ..LogConfig::default()
    };
    let partitions = *rng.pick(&[1, 1, 2]);
    let producer = |id: usize| {
        RefCell::new(Producer {
            id: id as i64,
            partition: partition(id % partitions),
            epoch: 0,
            transaction: 0,
            sent: 0,
            acknowledged: Vec::new(),
            decided: None,
            is_cut: false,
        })
    };
    let producers = (0..1 + rng.below(4) as usize).map(producer).collect();
    Rc::new(Run {
        world,
        node,
        rng: RefCell::new(rng),
        log,
        known: (0..partitions).map(|_| RefCell::default()).collect(),
        producers,
        outcomes: RefCell::default(),
        committed: RefCell::default(),
        is_over: Cell::new(false),
        report: RefCell::default(),
    })
}

impl Run {
    fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().below(below)
    }

    fn to_the_end(self: &Rc<Run>) {
        for _ in 0..3 + self.draw(5) {
            let reactor = self.world.boot(self.node, 1).remove(0);
            let shard = self.start_and_check(&reactor);
            self.set_to_work(&reactor, &shard);
            self.world.run_for(Duration::from_micros(self.draw(1_500_000)));
            self.end(&reactor, &shard);
        }
        let reactor = self.world.boot(self.node, 1).remove(0);
        let shard = self.start_and_check(&reactor);
        self.is_over.set(true);
        let (run, core, on) = (self.clone(), reactor.clone(), shard.clone());
        self.world.run(&reactor, PATIENCE, async move {
            for producer in 0..run.producers.len() {
                run.work(&core, &on, producer).await;
            }
        });
        let ends = self.read_all(&reactor, &shard);
        for (number, (stable, end)) in ends.into_iter().enumerate() {
            assert_eq!(stable, end, "seed {}: partition {number} holds readers back", self.world.seed());
        }
        for (id, offset, record) in self.committed.borrow().iter() {
            let found = self.known[id.partition as usize].borrow().read.get(offset).copied();
            assert_eq!(found, Some(*record), "seed {}: {id:?}, offset {offset}", self.world.seed());
        }
    }

    /// The node stops or dies.
    fn end(&self, reactor: &Reactor, shard: &Rc<Shard>) {
        match self.draw(4) {
            0 => {
                let (stopping, on) = (shard.clone(), reactor.clone());
                let stop = async move { boot::stop_alone(&on, &stopping, Path::new(DIR)).await };
                self.world.run(reactor, PATIENCE, stop).expect("nothing is wrong with the disk");
                self.world.crash(self.node, CrashKind::Power);
            }
            1 => {
                self.world.crash(self.node, CrashKind::Process);
                self.world.run_for(PATIENCE);
            }
            _ => {
                self.report.borrow_mut().power_losses += 1;
                self.world.crash(self.node, CrashKind::Power);
            }
        }
        // Who waits for an answer does not get it: its coordinator aborts what was not decided.
        for producer in &self.producers {
            let mut producer = producer.borrow_mut();
            producer.is_cut = producer.sent > 0 && producer.decided.is_none();
        }
    }

    async fn start(self: &Rc<Run>, reactor: &Reactor) -> std::io::Result<Rc<Shard>> {
        let (found, shard) = boot::start_alone(reactor, Path::new(DIR)).await?;
        let (run, core) = (self.clone(), reactor.clone());
        // It agrees to everything, sometimes late: what it agreed to may be over by then.
        shard.set_transactions(Rc::new(move |question| {
            let (wait, core) = (run.draw(4) * run.draw(2_000), core.clone());
            Box::pin(async move {
                core.sleep(Duration::from_micros(wait)).await;
                vec![ErrorCode::NONE; question.topics.iter().map(|topic| topic.partitions.len()).sum()]
            })
        }));
        for number in 0..self.known.len() {
            let id = partition(number);
            let spec = PartitionSpec {
                id,
                topic: "t".into(),
                directory: Uuid::ZERO,
                revision: 0,
                leader_epoch: 0,
                log: self.log.clone(),
                rules: AppendRules::default(),
            };
            shard.open_partition(spec, found.before("t", id));
        }
        shard.all_opened().await;
        Ok(shard)
    }

    fn start_and_check(self: &Rc<Run>, reactor: &Reactor) -> Rc<Shard> {
        let (run, core) = (self.clone(), reactor.clone());
        let shard = self.world.run(reactor, PATIENCE, async move { run.start(&core).await });
        let shard = shard.unwrap_or_else(|error| panic!("seed {}: no start: {error}", self.world.seed()));
        self.read_all(reactor, &shard);
        shard
    }

    /// Reads all logs whole. Gives their last stable offsets and high watermarks.
    fn read_all(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) -> Vec<(i64, i64)> {
        let mut ends = Vec::new();
        for number in 0..self.known.len() {
            let (run, on) = (self.clone(), shard.clone());
            let read = self.world.run(reactor, PATIENCE, async move { run.read(&on, number).await });
            ends.push(read.unwrap_or_else(|error| panic!("seed {}: {error}", self.world.seed())));
        }
        ends
    }

    fn set_to_work(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>) {
        for producer in 0..self.producers.len() {
            let (run, core, on) = (self.clone(), reactor.clone(), shard.clone());
            reactor.spawn(Class::Request, async move { while run.work(&core, &on, producer).await {} });
        }
        for number in 0..self.known.len() {
            let (run, core, on) = (self.clone(), reactor.clone(), shard.clone());
            reactor.spawn(Class::Fetch, async move {
                while run.read(&on, number).await.is_ok() {
                    core.sleep(Duration::from_micros(run.draw(100_000))).await;
                }
            });
        }
    }

    /// One transaction, from where it is to its end. Says whether the node still serves.
    async fn work(&self, reactor: &Reactor, shard: &Rc<Shard>, place: usize) -> bool {
        let producer = &self.producers[place];
        let is_cut = std::mem::take(&mut producer.borrow_mut().is_cut);
        if is_cut {
            self.decide(producer, false);
        }
        let mut late = None;
        if producer.borrow().decided.is_none() && !self.is_over.get() {
            for _ in 0..1 + self.draw(4) {
                let (answer, record) = self.send(reactor, shard, producer);
                if self.draw(8) == 0 {
                    // Its coordinator does not wait for it.
                    late = Some(answer);
                    break;
                }
                let (error, offset) = produced(answer).await;
                if error.is_error() {
                    return self.expect_storage(error);
                }
                producer.borrow_mut().acknowledged.push((offset, record));
                self.report.borrow_mut().acknowledged += 1;
                reactor.sleep(Duration::from_micros(self.draw(5_000))).await;
            }
            let commits = late.is_none() && self.draw(2) == 0;
            self.decide(producer, commits);
        }
        if producer.borrow().decided.is_some() && !self.mark(shard, producer).await {
            return false;
        }
        if self.draw(4) == 0 && producer.borrow().epoch > 0 {
            return self.send_fenced(reactor, shard, producer).await;
        }
        if let Some(late) = late {
            let _ = produced(late).await;
        }
        true
    }

    fn decide(&self, producer: &RefCell<Producer>, commits: bool) {
        let mut producer = producer.borrow_mut();
        producer.decided = Some(commits);
        let before = self.outcomes.borrow_mut().insert((producer.id, producer.transaction), commits);
        assert!(before.is_none(), "an outcome is decided once");
        let acknowledged = std::mem::take(&mut producer.acknowledged);
        let mut report = self.report.borrow_mut();
        if commits {
            let all = acknowledged.into_iter().map(|(offset, record)| (producer.partition, offset, record));
            self.committed.borrow_mut().extend(all);
            report.committed += 1;
        } else {
            report.aborted += 1;
        }
    }

    /// The next batch of the producer's transaction, of one record.
    fn send(
        &self,
        reactor: &Reactor,
        shard: &Rc<Shard>,
        producer: &RefCell<Producer>,
    ) -> (Completion<ShardReply>, Record) {
        let mut producer = producer.borrow_mut();
        let record = (producer.id, producer.transaction, producer.sent);
        let (id, epoch, sequence) = (producer.id, producer.epoch, producer.sent as i32);
        producer.sent += 1;
        let batch = batch(record, epoch, sequence, reactor.wall_clock_ms());
        (self.produce(shard, producer.partition, id, batch), record)
    }

    fn produce(
        &self,
        shard: &Rc<Shard>,
        id: PartitionId,
        producer: i64,
        batch: Bytes,
    ) -> Completion<ShardReply> {
        let named = TransactionNamed { id: format!("t{producer}"), version: VERSIONS.0 };
        let part = ProducePart { by: By::Client(Some(Arc::new(named))), ..ProducePart::new(id, batch) };
        let deadline = crate::reactor::Nanos(u64::MAX);
        let (completer, answer) = completion();
        let call = ProduceCall { acks: -1, deadline, parts: vec![part] };
        shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
        answer
    }

    /// Has the marker written of what was decided.
    async fn mark(&self, shard: &Rc<Shard>, producer: &RefCell<Producer>) -> bool {
        let part = {
            let producer = producer.borrow();
            let marker = Marker {
                producer_id: producer.id,
                producer_epoch: producer.epoch + 1,
                commit: producer.decided.expect("it was decided"),
                coordinator_epoch: 0,
            };
            MarkerPart { id: producer.partition, marker, transaction_version: VERSIONS.1 }
        };
        let (completer, answer) = completion();
        shard.handle(ShardRequest::WriteMarkers(vec![part]), Responder::Local(completer));
        let ShardReply::WriteMarkers(errors) = answer.await else { panic!("markers are answered as such") };
        if errors[0].is_error() {
            return self.expect_storage(errors[0]);
        }
        let mut producer = producer.borrow_mut();
        (producer.decided, producer.sent) = (None, 0);
        producer.epoch += 1;
        producer.transaction += 1;
        true
    }

    /// A batch of the transaction that has ended, from somebody who has not heard of that.
    async fn send_fenced(&self, reactor: &Reactor, shard: &Rc<Shard>, producer: &RefCell<Producer>) -> bool {
        let (id, partition, epoch, transaction) = {
            let producer = producer.borrow();
            (producer.id, producer.partition, producer.epoch - 1, producer.transaction - 1)
        };
        let batch = batch((id, transaction, u32::MAX), epoch, self.draw(3) as i32, reactor.wall_clock_ms());
        let (error, _) = produced(self.produce(shard, partition, id, batch)).await;
        let seed = self.world.seed();
        match error {
            ErrorCode::NONE => {
                panic!("seed {seed}: producer {id} was let in with epoch {epoch}, which is over")
            }
            ErrorCode::INVALID_PRODUCER_EPOCH => {
                self.report.borrow_mut().fenced += 1;
                true
            }
            error => self.expect_storage(error),
        }
    }

    fn expect_storage(&self, error: ErrorCode) -> bool {
        let is_end = matches!(error, ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert!(is_end, "seed {}: {error}", self.world.seed());
        false
    }

    /// Reads a log as a reader of committed records does, from its start to its last stable offset.
    async fn read(&self, shard: &Rc<Shard>, number: usize) -> Result<(i64, i64), ErrorCode> {
        let (seed, mut offset, mut found) = (self.world.seed(), 0, BTreeMap::new());
        let before = self.known[number].borrow().read.clone();
        let ends = loop {
            let part = FetchPart {
                id: partition(number),
                offset,
                max_bytes: 1 + self.draw(5_000) as usize,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
            };
            let call = FetchCall { read_committed: true, max_bytes: part.max_bytes, parts: vec![part] };
            let (completer, answer) = completion();
            shard.handle(ShardRequest::Fetch(call), Responder::Local(completer));
            let ShardReply::Fetch(mut replies) = answer.await else { panic!("a fetch is answered as one") };
            let reply = replies.remove(0);
            if reply.error.is_error() {
                return Err(reply.error);
            }
            let (stable, mut known) = (reply.last_stable_offset, self.known[number].borrow_mut());
            assert!(
                stable >= known.last_stable,
                "seed {seed}: partition {number} was stable up to {}, and is up to {stable}",
                known.last_stable
            );
            known.last_stable = stable;
            if reply.records.is_empty() {
                break (stable, reply.high_watermark);
            }
            self.report.borrow_mut().told += reply.aborted.len() as u64;
            let mut coming: Vec<_> = reply.aborted.iter().map(|a| (a.first_offset, a.producer_id)).collect();
            coming.sort_unstable();
            offset = take_committed(&reply.records.concat(), coming.into(), &mut found);
        };
        let mut known = self.known[number].borrow_mut();
        for (at, record) in &found {
            let outcome = self.outcomes.borrow().get(&(record.0, record.1)).copied();
            assert_eq!(outcome, Some(true), "seed {seed}: {record:?} was read at offset {at}");
            let other = known.read.insert(*at, *record);
            assert!(other.is_none_or(|other| other == *record), "seed {seed}: {other:?}, {record:?} at {at}");
        }
        let missing = before.keys().find(|at| !found.contains_key(at));
        assert!(missing.is_none(), "seed {seed}: what was read at offset {missing:?} is there no more");
        let records: BTreeSet<_> = known.read.values().collect();
        assert_eq!(records.len(), known.read.len(), "seed {seed}: a record is there twice");
        self.report.borrow_mut().read += found.len() as u64;
        Ok(ends)
    }
}

fn batch((id, transaction, number): Record, epoch: i16, sequence: i32, now_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new().producer(id, epoch, sequence).transactional();
    let key = [transaction.to_be_bytes(), number.to_be_bytes()].concat();
    builder.append(now_ms, Some(&key), Some(&[1; 100]), &[]);
    builder.build().expect("an uncompressed batch can be built").into()
}

async fn produced(answer: Completion<ShardReply>) -> (ErrorCode, i64) {
    let ShardReply::Produce(replies) = answer.await else { panic!("a produce is answered as one") };
    (replies[0].error, replies[0].base_offset)
}

/// Takes the records that a client gives to its user, who wants committed ones. Gives the offset to go on with.
fn take_committed(bytes: &[u8], mut coming: VecDeque<(i64, i64)>, found: &mut BTreeMap<i64, Record>) -> i64 {
    let (mut next, mut aborted) = (0, BTreeSet::new());
    for batch in batches(bytes).map_while(Result::ok) {
        batch.check().expect("what is served has its checksum");
        next = batch.last_offset() + 1;
        let id = batch.header().producer_id;
        while coming.front().is_some_and(|(first, _)| *first <= batch.last_offset()) {
            aborted.extend(coming.pop_front().map(|(_, id)| id));
        }
        if batch.is_control() {
            aborted.remove(&id);
            continue;
        }
        if aborted.contains(&id) {
            continue;
        }
        for record in batch.open(1 << 20).expect("the workload's batches open").iter() {
            let record = record.expect("the workload's records are whole");
            let key = record.key.expect("the workload's records have keys");
            let number = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().expect("four bytes"));
            found.insert(record.offset, (id, number(0), number(4)));
        }
    }
    next
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_few_seeds() {
        let mut sum = super::Report::default();
        for seed in 0..20 {
            sum.add(&super::run(seed));
        }
        assert!(sum.committed > 100 && sum.aborted > 100 && sum.read > 100 && sum.told > 100, "{sum:?}");
        assert!(sum.fenced > 10, "{sum:?}");
    }
}
