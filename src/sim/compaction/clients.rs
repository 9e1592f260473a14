//! Who writes and reads the logs while they are compacted, and what a reader may expect.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{PATIENCE, Partition, Read, Record, Run};
use crate::broker::call::Responder;
use crate::broker::messages::{ProduceCall, ProducePart, ShardReply, ShardRequest};
use crate::broker::shard::Shard;
use crate::reactor::Reactor;
use crate::reactor::sync::completion;
use crate::sim::storage::fetch;
use crate::wire::batch::{BatchBuilder, Compression, batches};
use crate::wire::error::ErrorCode;

impl Run {
    pub(super) async fn produce(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>) {
        loop {
            let partition = self.rng.borrow_mut().pick(&self.partitions).clone();
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
                let mut known = partition.known.borrow_mut();
                known.sent.insert(number, record);
                known.sent_at.insert(number, time);
            }
            let batch = Bytes::from(builder.build().expect("a batch can be built"));
            let (completer, answer) = completion();
            let deadline = reactor.now() + PATIENCE;
            let parts = vec![ProducePart::new(partition.id, batch)];
            let call = ProduceCall { acks: -1, deadline, parts };
            shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
            let ShardReply::Produce(replies) = answer.await else { panic!("a produce is answered as one") };
            if replies[0].error == ErrorCode::NONE {
                for (offset, record) in (replies[0].base_offset..).zip(records) {
                    self.tell(&partition, offset, record);
                }
                self.report.borrow_mut().acknowledged += 1;
            }
            reactor.sleep(Duration::from_micros(self.draw(20_000))).await;
        }
    }

    /// Somebody is told of a record.
    fn tell(&self, partition: &Partition, offset: i64, record: Record) {
        let before = partition.known.borrow_mut().told.insert(offset, record);
        assert!(before.is_none_or(|before| before == record), "seed {}: offset {offset}", self.world.seed());
    }

    /// Reads a log from its start to its end, again and again, while it is being compacted.
    pub(super) async fn consume(self: Rc<Run>, reactor: Reactor, shard: Rc<Shard>, partition: Rc<Partition>) {
        loop {
            let latest = partition.latest();
            let Some(read) = self.read_promptly(&reactor, &shard, &partition).await else { return };
            for (offset, record) in &read.found {
                self.tell(&partition, *offset, *record);
            }
            self.expect_latest(&reactor, &partition, &latest, &read);
            self.report.borrow_mut().read_whole += 1;
            reactor.sleep(Duration::from_micros(self.draw(200_000))).await;
        }
    }

    /// Of each key, that record or a later one was found, unless retention was right to take it.
    pub(super) fn expect_latest(
        &self,
        reactor: &Reactor,
        partition: &Partition,
        latest: &BTreeMap<u8, (i64, Record)>,
        read: &Read,
    ) {
        let (seed, found) = (self.world.seed(), &read.found);
        for (key, (offset, record)) in latest.iter().filter(|(_, (offset, _))| *offset >= read.start) {
            if found.get(offset) == Some(record)
                || found.range(offset + 1..).any(|(_, later)| later.key == *key)
            {
                continue;
            }
            assert!(record.is_tombstone, "seed {seed}: key {key}: {record:?} at offset {offset} is gone");
            let before = found.range(read.start..*offset).find(|(_, before)| before.key == *key);
            assert!(
                before.is_none() || !read.is_prompt,
                "seed {seed}: {record:?} at {offset} is gone, and {before:?} is there"
            );
            let stays = self.log.compaction.as_ref().map_or(0, |rules| rules.delete_retention_ms);
            let sent_at = partition.known.borrow().sent_at.get(&record.number).copied();
            let age = sent_at.map_or(i64::MAX, |sent_at| reactor.wall_clock_ms() - sent_at);
            assert!(age >= stays, "seed {seed}: {record:?} is gone after {age} of {stays} ms");
        }
    }

    /// What of a log lies before this offset was given up by retention, and rightly so.
    pub(super) fn expect_retained(&self, reactor: &Reactor, shard: &Shard, partition: &Partition) {
        let Some(replica) = shard.replica(partition.id) else { return };
        let online = replica.online(|o| (o.partition.log.start_offset(), o.partition.log.size()));
        let Some((start, size)) = online else { return };
        let (seed, version) = (self.world.seed(), replica.files.version());
        let mut known = partition.known.borrow_mut();
        let Some((seen, version_seen)) = known.start.replace((start, version)) else { return };
        assert!(start >= seen, "seed {seed}: the log started at {seen}, and starts at {start} now");
        if start == seen {
            return;
        }
        self.report.borrow_mut().retained += 1;
        assert!(self.log.delete, "seed {seed}: the log starts at {start}, and nothing was to be deleted");
        if self.log.retention_bytes >= 0 && version == version_seen {
            assert!(
                size >= self.log.retention_bytes as u64,
                "seed {seed}: {size} bytes are left from {start} on"
            );
        }
        let stays = self.log.retention_ms;
        for (offset, record) in known.told.range(seen..start).filter(|_| stays >= 0) {
            let Some(sent_at) = known.sent_at.get(&record.number) else { continue };
            let age = reactor.wall_clock_ms() - sent_at;
            assert!(age > stays, "seed {seed}: {record:?} at {offset} was deleted after {age} of {stays} ms");
        }
    }

    /// All records of a log, and whether they were read before a tombstone may go whose record was met: within
    /// `delete.retention.ms`, or with no compaction meanwhile. None if the shard stops serving meanwhile.
    pub(super) async fn read_promptly(
        &self,
        reactor: &Reactor,
        shard: &Rc<Shard>,
        partition: &Partition,
    ) -> Option<Read> {
        let (replica, began) = (shard.replica(partition.id)?, reactor.now());
        let version = replica.files.version();
        let found = self.read_all(reactor, shard, partition).await?;
        let stays = self.log.compaction.as_ref().map_or(0, |rules| rules.delete_retention_ms);
        let took = reactor.now().since(began).as_millis() as i64;
        self.expect_retained(reactor, shard, partition);
        let start = replica.online(|online| online.partition.log.start_offset())?;
        Some(Read { found, is_prompt: took < stays || replica.files.is(version), start })
    }

    /// All records of a log; none if the shard stops serving meanwhile.
    async fn read_all(
        &self,
        reactor: &Reactor,
        shard: &Rc<Shard>,
        partition: &Partition,
    ) -> Option<BTreeMap<i64, Record>> {
        let replica = shard.replica(partition.id)?;
        let start = || replica.online(|online| online.partition.log.start_offset());
        let (mut offset, mut found, seed) = (start()?, BTreeMap::new(), self.world.seed());
        loop {
            let (bytes, high_watermark) =
                match fetch(shard, partition.id, offset, 1 + self.draw(20_000) as usize).await {
                    Ok(fetched) => fetched,
                    Err(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                        let start = start()?;
                        assert!(self.log.delete && offset < start, "seed {seed}: {offset} was there");
                        offset = start;
                        continue;
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
                    let known = partition.known.borrow();
                    assert_eq!(known.sent.get(&number), Some(&read), "seed {seed}: it was sent");
                    found.insert(record.offset, read);
                }
                offset = batch.last_offset() + 1;
            }
            assert!(offset > from, "seed {seed}: nothing from offset {from} on");
            reactor.yield_now().await;
        }
    }
}
