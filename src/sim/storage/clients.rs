//! Producers and consumers.

use std::rc::Rc;
use std::time::Duration;

use super::{PATIENCE, Pace, Run, log_start};
use crate::broker::call::Responder;
use crate::broker::messages::{
    DeleteRecordsPart, FetchCall, FetchPart, PartitionId, ProduceCall, ProducePart, ShardReply, ShardRequest,
    WatchCall,
};
use crate::broker::shard::Shard;
use crate::reactor::sync::completion;
use crate::reactor::{Class, Reactor};
use crate::sim::batches::{make_batch, make_batch_of, read_batches};
use crate::sim::known::Entry;
use crate::wire::batch::batches;
use crate::wire::error::ErrorCode;

impl Run {
    /// Producers and consumers, for the rest of this life.
    pub(super) fn work(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>, pace: Pace) {
        let producers = match (pace.batches, pace.largest) {
            (u32::MAX, _) => 1 + self.draw(4),
            (_, Some(_)) => 4,
            _ => 1,
        };
        for _ in 0..producers {
            let producer = self.next_producer.replace(self.next_producer.get() + 1);
            let (run, core, shard) = (self.clone(), reactor.clone(), shard.clone());
            reactor.spawn(Class::Request, async move { run.produce(core, shard, producer, pace).await });
        }
        self.produce_once(reactor, shard, pace);
        for id in &self.partitions {
            let (run, core, shard, id) = (self.clone(), reactor.clone(), shard.clone(), *id);
            reactor.spawn(Class::Fetch, async move { run.consume(core, shard, id).await });
        }
        for id in self.partitions.iter().filter(|_| self.deletes) {
            for _ in 0..self.draw(3) {
                let (run, core, shard, id) = (self.clone(), reactor.clone(), shard.clone(), *id);
                reactor.spawn(Class::Request, async move { run.delete(core, shard, id).await });
            }
        }
    }

    /// Deletes records now and then.
    async fn delete(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>, id: PartitionId) {
        loop {
            reactor.sleep(Duration::from_micros(self.draw(200_000))).await;
            let end = shard.replica(id).and_then(|r| r.online(|o| o.partition.high_watermark()));
            let (Some(end), start) = (end, log_start(&shard, id)) else { return };
            let before = match self.draw(8) {
                0 => -1,
                1 => i64::MAX,
                2 => start - 1,
                // Mostly a little, so that something is left.
                3 => start + self.draw((end - start + 1) as u64) as i64,
                _ => start + self.draw((end - start) as u64 / 8 + 1) as i64,
            };
            let refused = before == i64::MAX || before < -1;
            if !refused {
                self.known.borrow_mut().entry(id.partition).or_default().asks_to_delete(before);
            }
            let (completer, answer) = completion();
            let call = ShardRequest::DeleteRecords(vec![DeleteRecordsPart { id, before }]);
            shard.handle(call, Responder::Local(completer));
            let ShardReply::DeleteRecords(replies) = answer.await else { panic!("answered as what it is") };
            let (seed, reply) = (self.world.seed(), replies[0]);
            self.world.note(&format!("{id:?}: delete before {before}: {reply:?}"));
            match reply {
                Ok(start) => {
                    assert!(!refused && start >= before, "seed {seed}: {before}: {reply:?}");
                    assert!(before != -1 || start >= end, "seed {seed}: up to {end}: {reply:?}");
                    let mut known = self.known.borrow_mut();
                    known.entry(id.partition).or_default().is_deleted(before, start);
                    self.report.borrow_mut().deletions += 1;
                }
                Err(ErrorCode::OFFSET_OUT_OF_RANGE) => assert!(refused, "seed {seed}: {before} is there"),
                Err(_) => return,
            }
        }
    }

    async fn produce(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>, producer: u32, pace: Pace) {
        let (large, pipelined) = (self.draw(4) == 0, self.draw(2) == 0 || pace.largest.is_some());
        let largest = pace.largest.unwrap_or(if large { 30_000 } else { 600 });
        for number in 0..pace.batches {
            let id = self.partitions[self.draw(self.partitions.len() as u64) as usize];
            let timestamp = if self.stamped { reactor.wall_clock_ms() } else { 0 };
            let records = if self.even.is_some() { 1 } else { 1 + self.draw(5) as u32 };
            let entry = Entry { producer, number, records };
            let size = self.draw(largest) as usize;
            let batch = match self.even {
                Some(len) if pace.largest.is_none() => make_batch_of(len, entry, timestamp),
                _ => make_batch(entry, size, timestamp),
            };
            self.known.borrow_mut().entry(id.partition).or_default().sends(entry);
            let (completer, answer) = completion();
            let deadline = reactor.now() + PATIENCE;
            let call = ProduceCall { acks: -1, deadline, parts: vec![ProducePart::new(id, batch)] };
            shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
            let run = self.clone();
            let told = async move {
                let ShardReply::Produce(replies) = answer.await else {
                    panic!("a produce is answered as one")
                };
                if replies[0].error == ErrorCode::NONE {
                    let at = replies[0].base_offset;
                    run.world.note(&format!("acknowledged: {id:?} {at} {entry:?}"));
                    run.known.borrow_mut().entry(id.partition).or_default().is_told(at, entry);
                    run.report.borrow_mut().acknowledged += 1;
                }
            };
            if pipelined {
                reactor.spawn(Class::Request, told);
            } else {
                told.await;
            }
            if pipelined || self.draw(3) == 0 || pace.wait > Duration::from_millis(10) {
                let wait = self.draw(pace.wait.as_micros() as u64);
                reactor.sleep(Duration::from_micros(wait)).await;
            }
        }
    }

    async fn consume(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>, id: PartitionId) {
        let end = shard.replica(id).and_then(|r| r.online(|o| o.partition.high_watermark())).unwrap_or(0);
        let mut offset = if self.draw(2) == 0 { end } else { log_start(&shard, id) };
        loop {
            let batches = match read(&shard, id, offset, 1 + self.draw(200_000) as usize).await {
                Ok(batches) => batches,
                Err(ErrorCode::OFFSET_OUT_OF_RANGE) if offset < log_start(&shard, id) => {
                    offset = log_start(&shard, id);
                    continue;
                }
                Err(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                    panic!("seed {}: {id:?}: offset {offset} was there", self.world.seed())
                }
                Err(_) => return,
            };
            for (at, entry) in &batches {
                offset = at + i64::from(entry.records);
                let before = self.known.borrow_mut().entry(id.partition).or_default().is_told(*at, *entry);
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
pub(super) async fn read(
    shard: &Rc<Shard>,
    id: PartitionId,
    offset: i64,
    max: usize,
) -> Result<Vec<(i64, Entry)>, ErrorCode> {
    let (bytes, high_watermark) = fetch(shard, id, offset, max).await?;
    let batches = read_batches(&bytes, offset, high_watermark);
    check_epochs(shard, id, &bytes);
    assert!(
        !batches.is_empty() || offset == high_watermark,
        "{id:?}: a fetch gives what there is from offset {offset} on, up to {high_watermark}"
    );
    Ok(batches)
}

/// What is known of the leader epochs must fit the batches.
fn check_epochs(shard: &Rc<Shard>, id: PartitionId, bytes: &[u8]) {
    let Some(replica) = shard.replica(id) else { return };
    for batch in batches(bytes).map_while(Result::ok) {
        let known = replica.online(|online| {
            let log = &online.partition.log;
            (batch.base_offset() >= log.start_offset())
                .then(|| log.epochs().at(batch.base_offset()))
                .flatten()
        });
        if let Some(known) = known.flatten() {
            let (offset, epoch) = (batch.base_offset(), batch.leader_epoch());
            assert_eq!(known, epoch, "{id:?}: the epoch of the batch at offset {offset}");
        }
    }
}

/// Fetches, and gives the bytes and the high watermark.
pub(in crate::sim) async fn fetch(
    shard: &Rc<Shard>,
    id: PartitionId,
    offset: i64,
    max: usize,
) -> Result<(Vec<u8>, i64), ErrorCode> {
    let part = FetchPart { id, offset, max_bytes: max, current_leader_epoch: -1, last_fetched_epoch: -1 };
    let call = FetchCall { read_committed: false, max_bytes: max, parts: vec![part] };
    let (completer, answer) = completion();
    shard.handle(ShardRequest::Fetch(call), Responder::Local(completer));
    let ShardReply::Fetch(mut replies) = answer.await else { panic!("a fetch is answered as one") };
    let reply = replies.remove(0);
    match reply.error {
        ErrorCode::NONE => Ok((reply.records.concat(), reply.high_watermark)),
        error => Err(error),
    }
}
