//! Idempotent producers: they outlive the node's deaths, and send again what they have no answer to.
//!
//! Each writes to one partition, at most five batches ahead of the first that he has no answer to. Answers get lost,
//! batches are sent twice though they were answered, and now and then a batch is sent that must be refused: with a
//! gap before it, or of an epoch that is over. Whatever happens, each batch must be in the log once, at the offset
//! that was told, and no number left out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{PATIENCE, Pace, Run};
use crate::broker::call::Responder;
use crate::broker::messages::{
    PartitionId, ProduceCall, ProducePart, ProducePartReply, ShardReply, ShardRequest,
};
use crate::broker::shard::Shard;
use crate::reactor::sync::{Completion, completion};
use crate::reactor::{Class, Nanos, Reactor};
use crate::sim::batches::make_idempotent_batch;
use crate::sim::known::{Entry, IDEMPOTENT};
use crate::wire::error::ErrorCode;

/// How far a producer goes ahead of his first unanswered batch.
const AHEAD: usize = 5;
/// The sequence number with which some begin, so that they come to the largest.
const NEAR_THE_END: i32 = i32::MAX - 20;

/// How often it is looked who is silent.
const LOOK: Duration = Duration::from_millis(25);

/// A producer, whatever becomes of the node.
pub struct Producer {
    /// Who he is, in the entries and as producer id.
    number: u32,
    partition: PartitionId,
    /// All that he ever sent.
    history: Vec<Sent>,
    /// Of these the first that he will send again, should he have to.
    first: usize,
    epoch: i16,
    next_sequence: i32,
    /// When he last sent a batch for the first time, in this life of the node.
    heard: Nanos,
    /// He has been silent for so long that he may have been forgotten.
    forgotten: bool,
}

struct Sent {
    entry: Entry,
    sequence: i32,
    epoch: i16,
    batch: Bytes,
    /// What he was told.
    offset: Option<i64>,
}

type Shared = Rc<RefCell<Producer>>;

impl Producer {
    fn id(&self) -> i64 {
        i64::from(self.number)
    }

    /// What of his was lost, and he knows it, is as if he had never sent it: he goes on with what is left.
    fn rewind(&mut self, left: usize) {
        self.history.truncate(left);
        self.first = self.first.min(left);
        match self.history.last() {
            Some(last) => {
                self.epoch = last.epoch;
                self.next_sequence = last.sequence.wrapping_add(last.entry.records as i32) & i32::MAX;
            }
            None => (self.epoch, self.next_sequence) = (0, 0),
        }
    }

    fn unanswered(&self) -> bool {
        self.history[self.first..].iter().any(|sent| sent.offset.is_none())
    }
}

impl Run {
    /// Sets the idempotent producers to work, for the rest of this life.
    pub(super) fn produce_once(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>, pace: Pace) {
        if self.draw(3) == 0 {
            let number = IDEMPOTENT + self.next_producer.replace(self.next_producer.get() + 1);
            let partition = self.partitions[self.draw(self.partitions.len() as u64) as usize];
            let producer = Producer {
                number,
                partition,
                history: Vec::new(),
                first: 0,
                epoch: 0,
                next_sequence: if self.draw(4) == 0 { NEAR_THE_END } else { 0 },
                heard: reactor.now(),
                forgotten: false,
            };
            self.idempotent.borrow_mut().push(Rc::new(RefCell::new(producer)));
        }
        for producer in self.idempotent.borrow().iter().filter(|producer| !producer.borrow().forgotten) {
            if self.draw(4) > 0 {
                let (run, core, shard) = (self.clone(), reactor.clone(), shard.clone());
                let producer = producer.clone();
                reactor
                    .spawn(Class::Request, async move { run.send_once(core, shard, producer, pace).await });
            }
        }
    }

    /// Tells the producers of a partition that all from an offset on is lost.
    pub(super) fn rewind(&self, id: PartitionId) {
        let known = self.known.borrow();
        let Some(known) = known.get(&id.partition) else { return };
        for producer in self.idempotent.borrow().iter() {
            let mut producer = producer.borrow_mut();
            if producer.partition == id {
                let left = known.numbers_of(producer.number);
                producer.rewind(left as usize);
            }
        }
    }

    async fn send_once(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>, producer: Shared, pace: Pace) {
        if self.may_be_forgotten(&reactor, &producer) {
            return;
        }
        // The node has died since: first of all, what has no answer is sent again, in order.
        let first = producer.borrow().first;
        self.send_again(&reactor, &shard, &producer, first);
        for _ in 0..pace.batches {
            if self.may_be_forgotten(&reactor, &producer) {
                return;
            }
            match self.draw(12) {
                0 => {
                    // From anywhere, also what was answered: the answers had been lost.
                    let (first, end) = (producer.borrow().first, producer.borrow().history.len());
                    let from = first + self.draw((end - first + 1) as u64) as usize;
                    self.send_again(&reactor, &shard, &producer, from);
                }
                1 => self.send_wrong(&reactor, &shard, &producer).await,
                2 if !producer.borrow().unanswered() => self.begin_epoch(&producer),
                3 | 4 if self.expire_after < Duration::from_secs(60) => {
                    // So long that he would be forgotten, were he forgotten a little too early.
                    let silence = self.expire_after.as_micros() as u64;
                    let silence = silence * 6 / 10 + self.draw(silence * 3 / 10);
                    reactor.sleep(Duration::from_micros(silence)).await;
                    if self.may_be_forgotten(&reactor, &producer) {
                        return;
                    }
                    let first = producer.borrow().first;
                    self.send_again(&reactor, &shard, &producer, first);
                }
                _ => self.send_next(&reactor, &shard, &producer),
            }
            let wait = self.draw(1 + pace.wait.as_micros() as u64);
            reactor.sleep(Duration::from_micros(wait)).await;
        }
    }

    /// Looks who is silent for so long that he may be forgotten, for the rest of this life.
    pub(super) fn watch_silence(self: &Rc<Run>, reactor: &Reactor) {
        for producer in self.idempotent.borrow().iter() {
            // What the log tells of him is read from here on.
            producer.borrow_mut().heard = reactor.now();
        }
        let (run, core) = (self.clone(), reactor.clone());
        reactor.spawn(Class::Request, async move {
            loop {
                core.sleep(LOOK).await;
                for producer in run.idempotent.borrow().iter() {
                    run.may_be_forgotten(&core, producer);
                }
            }
        });
    }

    fn may_be_forgotten(&self, reactor: &Reactor, producer: &Shared) -> bool {
        let mut producer = producer.borrow_mut();
        let silent = reactor.now().since(producer.heard);
        producer.forgotten |= silent >= self.expire_after.saturating_sub(2 * LOOK);
        producer.forgotten
    }

    fn begin_epoch(&self, producer: &Shared) {
        let mut producer = producer.borrow_mut();
        // Only after the last batch of the old one is there: else it could never be sent again.
        producer.first = producer.history.len();
        producer.epoch += 1;
        producer.next_sequence = 0;
    }

    fn send_next(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>, producer: &Shared) {
        let index = {
            let mut producer = producer.borrow_mut();
            while producer.history.len() - producer.first >= AHEAD {
                if producer.history[producer.first].offset.is_none() {
                    return;
                }
                producer.first += 1;
            }
            let records = if self.even.is_some() { 1 } else { 1 + self.draw(5) as u32 };
            let entry = Entry { producer: producer.number, number: producer.history.len() as u32, records };
            let (sequence, epoch) = (producer.next_sequence, producer.epoch);
            let timestamp = if self.stamped { reactor.wall_clock_ms() } else { 0 };
            let size = self.draw(600) as usize;
            let batch = make_idempotent_batch(entry, size, timestamp, (producer.id(), epoch, sequence));
            producer.next_sequence = sequence.wrapping_add(records as i32) & i32::MAX;
            producer.heard = reactor.now();
            producer.history.push(Sent { entry, sequence, epoch, batch, offset: None });
            producer.history.len() - 1
        };
        self.send_again(reactor, shard, producer, index);
    }

    /// Sends all from this one on.
    fn send_again(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>, producer: &Shared, from: usize) {
        let end = producer.borrow().history.len();
        for index in from..end {
            let (id, batch, entry) = {
                let producer = producer.borrow();
                let sent = &producer.history[index];
                (producer.partition, sent.batch.clone(), sent.entry)
            };
            self.known.borrow_mut().entry(id.partition).or_default().sends(entry);
            let answer = send(reactor, shard, id, batch);
            let (run, producer) = (self.clone(), producer.clone());
            reactor.spawn(Class::Request, async move {
                let ShardReply::Produce(replies) = answer.await else {
                    panic!("a produce is answered as one")
                };
                run.is_answered(&producer, index, entry, &replies[0]);
            });
        }
    }

    fn is_answered(&self, producer: &Shared, index: usize, entry: Entry, reply: &ProducePartReply) {
        let mut producer = producer.borrow_mut();
        let (seed, id) = (self.world.seed(), producer.partition);
        if reply.error != ErrorCode::NONE {
            let of_producers = [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::INVALID_PRODUCER_EPOCH];
            // What was sent again from before a new epoch is late.
            let is_late = producer.history.get(index).is_none_or(|sent| sent.epoch < producer.epoch);
            let is_expected = !of_producers.contains(&reply.error) || is_late;
            assert!(is_expected, "seed {seed}: {id:?}: {entry:?} is refused: {:?}", reply.message);
            return;
        }
        let at = reply.base_offset;
        self.world.note(&format!("acknowledged once: {id:?} {at} {entry:?}"));
        let told = self.known.borrow_mut().entry(id.partition).or_default().is_told(at, entry);
        assert!(told.is_none_or(|told| told == entry), "seed {seed}: {id:?} offset {at} is {told:?}");
        self.report.borrow_mut().acknowledged += 1;
        // The answer is lost.
        if self.draw(4) == 0 {
            return;
        }
        let sent = &mut producer.history[index];
        self.report.borrow_mut().repeated += u64::from(sent.offset.is_some());
        let before = sent.offset.replace(at);
        assert!(
            before.is_none_or(|before| before == at),
            "seed {seed}: {id:?}: {entry:?} was at {before:?} and is at {at}"
        );
    }

    /// Sends what must be refused, where it is known that it must.
    async fn send_wrong(&self, reactor: &Reactor, shard: &Rc<Shard>, producer: &Shared) {
        let (id, batch, wanted) = {
            let producer = producer.borrow();
            // His last batch is there, and it is the last: only then is it certain what comes next.
            let Some(last) = producer.history.last() else { return };
            if producer.unanswered() || producer.history[producer.first..].is_empty() {
                return;
            }
            let entry = Entry { producer: producer.number, number: u32::MAX, records: 1 };
            let gap = 1 + self.draw(20) as i32;
            let (epoch, sequence, wanted) = match self.draw(3) {
                0 => (last.epoch - 1, 0, ErrorCode::INVALID_PRODUCER_EPOCH),
                1 => (last.epoch + 1, gap, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
                _ => {
                    let sequence = producer.next_sequence.wrapping_add(gap) & i32::MAX;
                    (last.epoch, sequence, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
                }
            };
            let timestamp = if self.stamped { reactor.wall_clock_ms() } else { 0 };
            let batch = make_idempotent_batch(entry, 10, timestamp, (producer.id(), epoch, sequence));
            (producer.partition, batch, wanted)
        };
        let ShardReply::Produce(replies) = send(reactor, shard, id, batch).await else {
            panic!("a produce is answered as one")
        };
        let (error, seed) = (replies[0].error, self.world.seed());
        assert!(error != ErrorCode::NONE, "seed {seed}: {id:?}: taken, where {wanted:?} was due");
        if error == wanted {
            self.report.borrow_mut().sequences_refused += 1;
        }
    }
}

fn send(reactor: &Reactor, shard: &Rc<Shard>, id: PartitionId, batch: Bytes) -> Completion<ShardReply> {
    let (completer, answer) = completion();
    let deadline = reactor.now() + PATIENCE;
    let call = ProduceCall { acks: -1, deadline, parts: vec![ProducePart::new(id, batch)] };
    shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
    answer
}
