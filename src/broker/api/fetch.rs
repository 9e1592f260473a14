//! Fetch: what to read, reading it from each shard, waiting for more, and telling the client.
//!
//! The bytes are spent over the partitions in the order of the request or the session. Each shard gets its share
//! of them and one call; while there is too little, a watch on each shard waits for the high watermarks to move.
//! What was read is not held while waiting: it is read again.

mod plan;
mod response;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

pub use plan::{Plan, plan};

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::broker::core::Core;
use crate::broker::messages::{FetchCall, ShardReply, ShardRequest, WatchCall};
use crate::broker::sessions::{Closing, Context, Opening, PartKey, TopicKey, Wanted};
use crate::limits::{FETCH_REPLY_BYTES, FETCH_REPLY_LEAST, FETCH_REQUEST_FREE, REQUEST_ELEMENT};
use crate::reactor::Nanos;
use crate::reactor::sync::{Completion, Permit, either};
use crate::wire::codec::Reader;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{FetchRequest, FetchTopic, ForgottenTopic};

/// The first version that names topics by their ids.
const BY_ID: i16 = 13;

/// What a request takes in memory while it waits, for each of its bytes.
const GROWTH: usize = 16;

/// How much memory a request takes, with the partitions of the session that it goes on with.
pub fn memory(core: &Core, body: &Reader, version: i16) -> usize {
    let partitions = session_id(body, version).map_or(0, |id| core.sessions.borrow().partitions_of(id));
    body.left() * GROWTH + partitions * REQUEST_ELEMENT
}

/// The session that a request names.
fn session_id(body: &Reader, version: i16) -> Option<i32> {
    let mut body = body.clone();
    let before = match version {
        ..7 => return None,
        7..15 => 17,
        _ => 13,
    };
    body.skip(before).ok()?;
    body.i32().ok()
}

/// Reads until there is enough, or the client's patience ends.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let core = asked.client.core.clone();
    // What is large gives way where others want the memory.
    let gives_way = memory(&core, &asked.body, asked.version) > FETCH_REQUEST_FREE;
    let request: FetchRequest = asked.decode()?;
    let deadline = core.reactor.now() + Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let opened = core.sessions.borrow_mut().open(opening(&request, asked.version), core.reactor.now());
    let (context, wanted) = match opened {
        Ok(opened) => opened,
        Err(error) => return asked.reply(&response::refused(error)),
    };
    let mut plan = plan(&core, limits(&core, &request, asked.version), wanted);
    let held = plan.read_until(&core, deadline, gives_way).await;
    match close(&core, context, &plan) {
        Ok(closing) => response::reply(&asked, plan, &closing, held),
        Err(error) => asked.reply(&response::refused(error)),
    }
}

/// What a request asks for, apart from its partitions.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Answer when there is so much.
    pub min_bytes: usize,
    /// Bytes of records in the reply; the first batch may be larger.
    pub max_bytes: usize,
    /// Whether only records of committed transactions are to be seen.
    pub read_committed: bool,
    /// Whether it comes from a follower, which no partition here has.
    pub from_follower: bool,
}

fn limits(core: &Core, request: &FetchRequest, version: i16) -> Limits {
    let positive = |n: i32| usize::try_from(n).unwrap_or(0);
    let most = FETCH_REPLY_BYTES.min(core.settings.fetch_max_bytes).min(core.fetch_memory.bytes() / 4);
    let max_bytes = positive(request.max_bytes).min(most);
    let replica = if version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    Limits {
        min_bytes: positive(request.min_bytes).min(max_bytes),
        max_bytes,
        read_committed: request.isolation_level == 1,
        from_follower: replica >= 0,
    }
}

/// What the request says of sessions and partitions.
fn opening(request: &FetchRequest, version: i16) -> Opening {
    let by_id = version >= BY_ID;
    let key = |name: &str, id| if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.into()) };
    let wanted = |topic: &FetchTopic| -> Vec<Wanted> {
        let topic_key = key(&topic.topic, topic.topic_id);
        let parts = topic.partitions.iter().map(|part| Wanted {
            key: (topic_key.clone(), part.partition),
            offset: part.fetch_offset,
            max_bytes: part.partition_max_bytes,
            current_leader_epoch: part.current_leader_epoch,
            last_fetched_epoch: part.last_fetched_epoch,
        });
        parts.collect()
    };
    let forgotten = |topic: &ForgottenTopic| -> Vec<PartKey> {
        let topic_key = key(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(|partition| (topic_key.clone(), *partition)).collect()
    };
    Opening {
        id: request.session_id,
        epoch: request.session_epoch,
        by_id,
        parts: request.topics.iter().flat_map(wanted).collect(),
        forgotten: request.forgotten_topics_data.iter().flat_map(forgotten).collect(),
    }
}

fn close(core: &Core, context: Context, plan: &Plan) -> Result<Closing, ErrorCode> {
    let (now, chance) = (core.reactor.now(), core.reactor.random());
    core.sessions.borrow_mut().close(context, &plan.wanted(), &plan.news(), now, chance)
}

impl Plan {
    /// Reads from each shard until there is enough, or the deadline has come, or others want the memory of a fetch
    /// that gives way. Gives the memory that the records pin.
    async fn read_until(&mut self, core: &Rc<Core>, deadline: Nanos, gives_way: bool) -> Option<Permit> {
        let wanted = self.limits;
        loop {
            if self.is_empty() {
                return None;
            }
            let bytes = wanted.max_bytes.min(core.fetch_memory.share(FETCH_REPLY_LEAST));
            let mut held = core.fetch_memory.take(bytes).await;
            self.limits = Limits { max_bytes: bytes, min_bytes: wanted.min_bytes.min(bytes), ..wanted };
            self.read(core).await;
            held.shrink_to(self.bytes());
            let is_over = core.reactor.now() >= deadline || (gives_way && core.request_memory.is_wanted());
            if self.is_enough() || is_over {
                return Some(held);
            }
            // Watched before what was read is let go, so that the watch knows how much there was.
            let watches = self.watch(core, deadline);
            self.let_go();
            drop(held);
            let time = core.reactor.sleep_until(deadline);
            match gives_way {
                true => any_of(watches, either(time, core.request_memory.wanted())).await,
                false => any_of(watches, time).await,
            }
        }
    }

    /// Asks each shard once for what is there.
    async fn read(&mut self, core: &Core) {
        let calls: Vec<Completion<ShardReply>> = self
            .shares()
            .into_iter()
            .map(|share| {
                let call = FetchCall {
                    read_committed: self.limits.read_committed,
                    max_bytes: share.max_bytes,
                    parts: share.parts,
                };
                core.caller.call(share.core, ShardRequest::Fetch(call))
            })
            .collect();
        let mut replies = Vec::with_capacity(calls.len());
        for call in calls {
            match call.await {
                ShardReply::Fetch(parts) => replies.push(parts),
                _ => unreachable!("a shard answers what it was asked"),
            }
        }
        self.take(replies);
    }

    /// Waits on each shard for what is missing.
    fn watch(&self, core: &Core, deadline: Nanos) -> Vec<Completion<ShardReply>> {
        let missing = self.limits.min_bytes.saturating_sub(self.bytes());
        let watched = self.watched();
        let bytes = (missing / watched.len().max(1)).max(1);
        let calls = watched.into_iter().map(|(to, parts)| {
            core.caller.call(to, ShardRequest::Watch(WatchCall { parts, bytes, deadline }))
        });
        calls.collect()
    }
}

/// Resolves when one of the watches does, or the time has come.
async fn any_of(watches: Vec<Completion<ShardReply>>, time: impl Future<Output = ()>) {
    let mut time = pin!(time);
    let mut watches: Vec<_> = watches.into_iter().map(Box::pin).collect();
    poll_fn(|cx| {
        let woken = watches.iter_mut().any(|watch| watch.as_mut().poll(cx).is_ready());
        if woken || time.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await
}
