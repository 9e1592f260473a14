//! Where a request's partitions are served, one call for each shard, and their answers in the request's order.

use std::sync::Arc;

use crate::broker::core::Core;
use crate::broker::messages::{PartitionId, ShardReply, ShardRequest};
use crate::collections::Map;
use crate::controller::{Image, Topic};
use crate::reactor::sync::Completion;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{LeaderIdAndEpoch, NodeEndpoint};

/// Where a partition is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name among the shards.
    pub id: PartitionId,
    /// The core whose shard has it.
    pub core: usize,
}

/// Where a partition of a topic is answered for, if this broker leads it, or could.
pub fn place(core: &Core, topic: &Topic, partition: i32) -> Result<Place, ErrorCode> {
    let found = topic.partitions.get(&partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let core = found.answering_core(core.settings.node_id).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    Ok(Place { id: PartitionId { topic: topic.id, partition }, core })
}

/// The same for a topic of this name.
pub fn place_named(core: &Core, image: &Image, topic: &str, partition: i32) -> Result<Place, ErrorCode> {
    let topic = image.topic_named(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    place(core, topic, partition)
}

/// Whether this error sends the client to another leader.
pub fn is_led_elsewhere(error: ErrorCode) -> bool {
    error == ErrorCode::NOT_LEADER_OR_FOLLOWER || error == ErrorCode::FENCED_LEADER_EPOCH
}

/// Who leads a partition, for clients that asked the wrong broker or go by an old epoch.
pub fn leader(topic: Option<&Arc<Topic>>, partition: i32) -> LeaderIdAndEpoch {
    let found = topic.and_then(|topic| topic.partitions.get(&partition));
    found.map_or_else(LeaderIdAndEpoch::default, |found| LeaderIdAndEpoch {
        leader_id: found.leader,
        leader_epoch: found.leader_epoch,
    })
}

/// How to reach each of these leaders through a listener.
pub fn endpoints(
    image: &Image,
    listener: &str,
    leaders: impl Iterator<Item = LeaderIdAndEpoch>,
) -> Vec<NodeEndpoint> {
    let mut ids: Vec<i32> = leaders.map(|leader| leader.leader_id).filter(|id| *id >= 0).collect();
    ids.sort_unstable();
    ids.dedup();
    let brokers = ids.iter().filter_map(|id| image.broker(*id));
    let reached = brokers.filter_map(|broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(NodeEndpoint {
            node_id: broker.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
        })
    });
    reached.collect()
}

/// The parts of a request by the core that serves them, each with its place in the request.
pub struct ByCore<P> {
    groups: Vec<Group<P>>,
    by_core: Map<usize, usize>,
}

/// One core's parts.
pub struct Group<P> {
    /// The core.
    pub core: usize,
    /// Where in the request each part stands.
    pub places: Vec<usize>,
    /// The parts, in the request's order.
    pub parts: Vec<P>,
}

impl<P> Default for ByCore<P> {
    fn default() -> Self {
        ByCore { groups: Vec::new(), by_core: Map::default() }
    }
}

impl<P> ByCore<P> {
    /// Adds a part that stands at `place` in the request.
    pub fn add(&mut self, core: usize, place: usize, part: P) {
        let groups = &mut self.groups;
        let group = *self.by_core.entry(core).or_insert_with(|| {
            groups.push(Group { core, places: Vec::new(), parts: Vec::new() });
            groups.len() - 1
        });
        groups[group].places.push(place);
        groups[group].parts.push(part);
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.parts.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Each core's parts.
    pub fn into_groups(self) -> Vec<Group<P>> {
        self.groups
    }
}

/// A call under way, and where in the request its parts stand.
pub struct Call {
    places: Vec<usize>,
    answer: Completion<ShardReply>,
}

/// Calls each shard once, in order.
pub fn call_each<P>(
    core: &Core,
    parts: ByCore<P>,
    mut request: impl FnMut(Vec<P>) -> ShardRequest,
) -> Vec<Call> {
    let groups = parts.into_groups().into_iter();
    groups
        .map(|Group { core: to, places, parts }| Call {
            places,
            answer: core.caller.call(to, request(parts)),
        })
        .collect()
}

/// Waits for all calls, and puts each part's answer where the part stands in the request. `read` takes the
/// parts' answers out of a shard's.
pub async fn merge<R>(calls: Vec<Call>, into: &mut [Option<R>], read: impl Fn(ShardReply) -> Option<Vec<R>>) {
    for Call { places, answer } in calls {
        let answers = read(answer.await).expect("a shard answers what it was asked");
        assert_eq!(answers.len(), places.len(), "a shard answers each part");
        for (place, answer) in places.into_iter().zip(answers) {
            into[place] = Some(answer);
        }
    }
}

/// The questions of a request, in its order: each is for a shard, or is answered already.
pub struct Questions<P, R> {
    parts: ByCore<P>,
    answers: Vec<Option<R>>,
}

impl<P, R> Default for Questions<P, R> {
    fn default() -> Self {
        Questions { parts: ByCore::default(), answers: Vec::new() }
    }
}

impl<P, R> Questions<P, R> {
    /// Adds the next: where it is to be asked, and what, or its answer.
    pub fn push(&mut self, question: Result<(Place, P), R>) {
        match question {
            Ok((place, part)) => {
                self.parts.add(place.core, self.answers.len(), part);
                self.answers.push(None);
            }
            Err(answer) => self.answers.push(Some(answer)),
        }
    }

    /// Asks each shard once, and gives the answers in the order of the questions. `read` takes the parts' answers out of
    /// a shard's.
    pub async fn ask(
        mut self,
        core: &Core,
        request: impl FnMut(Vec<P>) -> ShardRequest,
        read: impl Fn(ShardReply) -> Option<Vec<R>>,
    ) -> impl Iterator<Item = R> {
        let calls = call_each(core, self.parts, request);
        merge(calls, &mut self.answers, read).await;
        self.answers.into_iter().map(|answer| answer.expect("each part was answered"))
    }
}
