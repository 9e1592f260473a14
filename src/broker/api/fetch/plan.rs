//! What a fetch reads, from which shard, and with how many bytes. Pure.

use super::Limits;
use crate::broker::api::places::{ByCore, Group, place};
use crate::broker::core::Core;
use crate::broker::messages::{FetchPart, FetchPartReply, PartitionId};
use crate::broker::sessions::{News, TopicKey, Wanted};
use crate::controller::Image;
use crate::wire::error::ErrorCode;

/// What a fetch reads, and what was read.
pub struct Plan {
    /// What the client asks for.
    pub limits: Limits,
    /// In the order in which the bytes are spent.
    pub parts: Vec<Part>,
    shards: Vec<Group<FetchPart>>,
}

/// One partition of a fetch.
pub struct Part {
    /// What the client wants.
    pub wanted: Wanted,
    /// Whether a shard is asked for it.
    pub is_here: bool,
    /// What there is.
    pub reply: FetchPartReply,
}

/// What one shard is asked.
pub struct ShareOf {
    /// The shard's core.
    pub core: usize,
    /// Bytes for all of its parts.
    pub max_bytes: usize,
    /// Its parts, in order.
    pub parts: Vec<FetchPart>,
}

/// Finds the shard of each partition.
pub fn plan(core: &Core, limits: Limits, wanted: Vec<Wanted>) -> Plan {
    let image = core.image();
    let mut shards = ByCore::default();
    let mut parts = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let found = find(core, &image, &limits, &wanted);
        if let Ok((core, id)) = found {
            let part = FetchPart {
                id,
                offset: wanted.offset,
                max_bytes: usize::try_from(wanted.max_bytes).unwrap_or(0),
                current_leader_epoch: wanted.current_leader_epoch,
                last_fetched_epoch: wanted.last_fetched_epoch,
            };
            shards.add(core, parts.len(), part);
        }
        let reply = FetchPartReply::failed(found.err().unwrap_or(ErrorCode::NONE));
        parts.push(Part { wanted, is_here: found.is_ok(), reply });
    }
    Plan { limits, parts, shards: shards.into_groups() }
}

fn find(
    core: &Core,
    image: &Image,
    limits: &Limits,
    wanted: &Wanted,
) -> Result<(usize, PartitionId), ErrorCode> {
    let topic = match &wanted.key.0 {
        TopicKey::Name(name) => image.topic_named(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?,
        TopicKey::Id(id) => image.topic(*id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
    };
    let place = place(core, topic, wanted.key.1)?;
    if limits.from_follower {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    Ok((place.core, place.id))
}

impl Plan {
    /// Whether no shard is asked for anything.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Bytes of records that were read.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.reply.len()).sum()
    }

    /// What each shard is asked: of the bytes, as large a share as it has of the partitions.
    pub fn shares(&self) -> Vec<ShareOf> {
        let all: usize = self.shards.iter().map(|shard| shard.parts.len()).sum();
        let shares = self.shards.iter().map(|shard| ShareOf {
            core: shard.core,
            max_bytes: (self.limits.max_bytes as u128 * shard.parts.len() as u128 / all as u128) as usize,
            parts: shard.parts.clone(),
        });
        shares.collect()
    }

    /// Takes what the shards have read, in the order of [`Plan::shares`]. Each shard may have given a first
    /// batch larger than its share: what is past the limit for all is let go, but for the first of all.
    pub fn take(&mut self, replies: Vec<Vec<FetchPartReply>>) {
        assert_eq!(replies.len(), self.shards.len(), "each shard answers");
        for (shard, replies) in self.shards.iter().zip(replies) {
            assert_eq!(shard.places.len(), replies.len(), "a shard answers each part");
            for (place, reply) in shard.places.iter().zip(replies) {
                self.parts[*place].reply = reply;
            }
        }
        let mut spent = 0;
        for part in &mut self.parts {
            let len = part.reply.len();
            if spent > 0 && spent + len > self.limits.max_bytes {
                part.reply.let_go();
                part.reply.more = true;
            } else {
                spent += len;
            }
        }
    }

    /// Lets go of what was read.
    pub fn let_go(&mut self) {
        self.parts.iter_mut().for_each(|part| part.reply.let_go());
    }

    /// Whether the client is to be answered without more ado.
    pub fn is_enough(&self) -> bool {
        let bytes = self.bytes();
        let says_something = |part: &Part| part.reply.error.is_error() || part.reply.diverging.is_some();
        bytes >= self.limits.min_bytes
            || (bytes > 0 && self.parts.iter().any(|part| part.reply.is_empty() && part.reply.more))
            || self.parts.iter().any(|part| part.is_here && says_something(part))
    }

    /// By shard: the partitions to wait for, and the high watermark seen of each.
    pub fn watched(&self) -> Vec<(usize, Vec<(PartitionId, i64)>)> {
        let seen = |place: usize| self.parts[place].reply.high_watermark;
        let watched = self.shards.iter().map(|shard| {
            let ids = shard.parts.iter().map(|part| part.id);
            (shard.core, ids.zip(shard.places.iter().map(|place| seen(*place))).collect())
        });
        watched.collect()
    }

    /// What was wanted of each partition.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.parts.iter().map(|part| part.wanted.clone()).collect()
    }

    /// What the session is to know of each partition.
    pub fn news(&self) -> Vec<News> {
        let news = self.parts.iter().map(|Part { reply, .. }| News {
            must_tell: reply.error.is_error() || reply.diverging.is_some(),
            records: !reply.is_empty(),
            high_watermark: reply.high_watermark,
            log_start_offset: reply.log_start_offset,
        });
        news.collect()
    }
}
