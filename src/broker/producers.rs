//! The producers of a core's partitions: told, forgotten when silent, and written down.

use std::io;
use std::rc::Rc;

use super::call::Responder;
use super::messages::{DescribeProducersReply, PartitionId, ShardReply};
use super::replica::Replica;
use super::shard::Shard;
use crate::limits::PRODUCERS_TURN;
use crate::log::segment::{self, Kind};
use crate::partition::producers::{ActiveProducer, Producers};
use crate::reactor::Class;
use crate::wire::error::ErrorCode;

impl Shard {
    /// Tells who produces to these partitions, `most` producers in all.
    pub(super) fn describe_producers(
        self: &Rc<Shard>,
        parts: Vec<PartitionId>,
        most: usize,
        responder: Responder,
    ) {
        let shard = self.clone();
        self.reactor.spawn(Class::Background, async move {
            let (mut replies, mut left) = (Vec::with_capacity(parts.len()), most);
            for id in parts {
                let reply = shard.describe(id, left).await;
                left -= reply.as_ref().map_or(0, Vec::len);
                replies.push(reply);
            }
            responder.answer(ShardReply::DescribeProducers(replies));
        });
    }

    async fn describe(&self, id: PartitionId, most: usize) -> DescribeProducersReply {
        let replica = self.serving(id)?;
        let mut told: Vec<ActiveProducer> = Vec::new();
        loop {
            let from = told.len();
            let count = replica.online(|online| {
                let producers = &online.partition.producers;
                if producers.len() <= most {
                    told.extend(producers.active(from, PRODUCERS_TURN));
                }
                producers.len()
            });
            match count {
                None => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                Some(count) if count > most => return Err(ErrorCode::UNKNOWN_SERVER_ERROR),
                Some(_) if told.len() < from + PRODUCERS_TURN => return Ok(told),
                Some(_) => self.reactor.yield_now().await,
            }
        }
    }

    /// Forgets the producers that have been silent for too long, and makes room where there is none, until the node
    /// stops.
    pub(super) async fn look_after_producers(self: Rc<Shard>) {
        let mut checked = self.reactor.now();
        while !self.is_stopping() {
            self.reactor.sleep(super::upkeep::EVERY).await;
            let (after_ms, every) = self.producer_expiry.get();
            let now = self.reactor.now();
            if now.since(checked) >= every {
                checked = now;
                self.expire_silent(after_ms).await;
            }
            if self.producer_room.excess() > 0 {
                self.make_room().await;
            }
        }
    }

    async fn expire_silent(&self, after_ms: i64) {
        let now_ms = self.reactor.wall_clock_ms();
        for (i, replica) in self.replicas().into_iter().enumerate() {
            let mut from = None;
            let forgets = |producers: &mut Producers| {
                from = producers.expire(from, PRODUCERS_TURN, now_ms, after_ms);
                from.is_some()
            };
            self.bit_by_bit(&replica, forgets).await;
            if i % super::upkeep::AT_A_TIME == super::upkeep::AT_A_TIME - 1 {
                self.reactor.yield_now().await;
            }
        }
    }

    /// The partition that has most gives some up.
    async fn make_room(&self) {
        let count = |replica: &Rc<Replica>| replica.online(|online| online.partition.producers.len());
        let Some(replica) = self.replicas().into_iter().max_by_key(count) else { return };
        tracing::warn!(
            "{} producers are known on this core, which is the most it may know: {} forgets those that were silent \
             longest. Short-lived clients, each with a producer id of its own, may be the cause",
            self.producer_room.used(),
            replica.name()
        );
        let mut left = self.producer_room.excess().min(count(&replica).unwrap_or(0) / 2);
        let sheds = |producers: &mut Producers| {
            let now = left.min(PRODUCERS_TURN);
            producers.shed(now);
            left -= now;
            left > 0
        };
        self.bit_by_bit(&replica, sheds).await;
    }

    /// Does a piece of work on a partition's producers, and others between, while it says that there is more.
    async fn bit_by_bit(&self, replica: &Replica, mut work: impl FnMut(&mut Producers) -> bool) {
        while replica.online(|online| work(&mut online.partition.producers)) == Some(true) {
            self.reactor.yield_now().await;
        }
    }

    /// Writes the newest snapshot of the producers up to an offset, if one was begun there.
    pub(super) async fn write_snapshot(&self, replica: &Replica, offset: i64) -> io::Result<()> {
        let Some((offset, snapshot)) = self.make_snapshot(replica, offset).await else { return Ok(()) };
        let path = segment::file(&replica.dir, offset, Kind::Snapshot);
        let written = replica.log_dir().disk.replace(&path, snapshot.clone()).await;
        replica.online(|online| match &written {
            Ok(()) => online.snapshot = online.snapshot.max(offset),
            Err(_) => online.partition.producers.put_back(offset, snapshot),
        });
        written
    }

    /// The snapshot of the producers that was begun at this offset, and its offset.
    pub(super) async fn make_snapshot(&self, replica: &Replica, offset: i64) -> Option<(i64, Vec<u8>)> {
        self.bit_by_bit(replica, |producers| producers.go_on(PRODUCERS_TURN)).await;
        replica.online(|online| online.partition.producers.take_snapshot(offset)).flatten()
    }
}
