//! Groups that change from one protocol to the other while they have members.
//!
//! A classic group becomes one of KIP-848 when the first member of the new protocol joins: its members stay, as
//! classic ones, with what they have. A group of KIP-848 becomes a classic one when the last member of the new
//! protocol goes, or is a static one that comes back with the classic protocol.

use bytes::Bytes;

use super::draft::Draft;
use super::heartbeat::in_order;
use super::reconcile::{Current, STABLE};
use super::{Consumer, Refusal, Soft, target};
use crate::coordinator::assign::Assignment;
use crate::coordinator::group::classic::{Classic, State};
use crate::coordinator::group::member::Member;
use crate::coordinator::group::{CONSUMER, Group, Turn};
use crate::coordinator::groups::Timer;
use crate::coordinator::names::Name;
use crate::coordinator::records::{ConsumerRecord, Record};
use crate::coordinator::settings::Settings;
use crate::coordinator::topics::View;
use crate::wire::codec::{Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// From what a group becomes one of KIP-848.
pub(super) enum Start {
    /// It is one, or nothing is known of it.
    There,
    /// An empty classic group.
    Empty,
    /// A classic group with members, of which these records tell.
    Classic(Vec<ConsumerRecord>),
}

impl Start {
    /// What the group's first records are.
    pub fn records(&self) -> &[ConsumerRecord] {
        match self {
            Start::There | Start::Empty => &[],
            Start::Classic(records) => records,
        }
    }
}

impl Group {
    /// How to begin as a group of KIP-848. Nothing is changed yet.
    pub(super) fn as_consumer(
        &self,
        is_joining: bool,
        view: &View,
        turn: &Turn<'_>,
    ) -> Result<Start, Refusal> {
        if self.consumer.is_some() {
            return Ok(Start::There);
        }
        let refuse = |why: &str| {
            Err(Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, format!("Group {} {why}", turn.name)))
        };
        if !is_joining {
            return refuse("is not a consumer group.");
        }
        let classic = match &self.classic {
            Some(classic) if classic.state() != State::Empty => classic,
            _ => return Ok(Start::Empty),
        };
        if !turn.settings.consumer_migration.may_upgrade() {
            return refuse("cannot be upgraded to a consumer group because online upgrade is disabled.");
        }
        if classic.protocol_type.as_deref() != Some(CONSUMER) {
            return refuse(
                "cannot be upgraded to a consumer group because it does not use the consumer embedded protocol.",
            );
        }
        if classic.len() > turn.settings.consumer_max_size {
            return refuse(
                "cannot be upgraded to a consumer group because it exceeds the consumer group maximum size.",
            );
        }
        match upgraded(classic, view) {
            Ok(records) => Ok(Start::Classic(records)),
            Err(why) => refuse(&format!("cannot be upgraded to a consumer group because {why}.")),
        }
    }

    /// The classic group is no more: who waits in it is asked to join again.
    pub(super) fn begin_as(&mut self, start: Start, turn: &mut Turn<'_>) {
        if matches!(start, Start::There) {
            return;
        }
        if let Some(mut classic) = self.classic.take() {
            classic.answer_waiting(ErrorCode::REBALANCE_IN_PROGRESS, turn.effects);
            classic.forget_timers(turn);
            for member in classic.members() {
                turn.start_session(&member.id, member.session_timeout_ms);
            }
        }
        if self.stored.is_some() {
            let key = GroupMetadataKey { group: turn.name.to_string() };
            turn.effects.records.push(Record::Group(key, None));
        }
        self.soft = Soft::default();
    }

    /// The group is a classic one from now on.
    pub(super) fn begin_classic(&mut self, mut classic: Classic, rebalances: bool, turn: &mut Turn<'_>) {
        if let Some(consumer) = &self.consumer {
            for id in consumer.members() {
                turn.end_all(&id.as_str().into());
            }
            turn.records(consumer.tombstones());
        }
        turn.timers.cancel(&Timer::Resolve(turn.name.clone()));
        self.soft = Soft::default();
        classic.write(turn);
        for member in classic.members() {
            turn.start_session(&member.id, member.session_timeout_ms);
        }
        if rebalances {
            classic.prepare_rebalance(turn);
        }
        self.classic = Some(Box::new(classic));
    }
}

/// The records of a group of KIP-848 with the members of a classic one; or why there can be none.
fn upgraded(classic: &Classic, view: &View) -> Result<Vec<ConsumerRecord>, &'static str> {
    const MALFORMED: &str = "the embedded consumer protocol is malformed";
    let epoch = classic.generation();
    let mut group = Consumer::default();
    let mut draft = Draft::new(&mut group);
    let protocol = classic.protocol().unwrap_or_default();
    draft.put(ConsumerRecord::Epoch(Some(ConsumerGroupMetadataValue { epoch, ..Default::default() })));
    let is_told = |member: &&Member| classic.knows_assignment(member);
    let first = classic.members().filter(is_told);
    for member in first.chain(classic.members().filter(|member| !is_told(member))) {
        let metadata = match member.protocols.iter().find(|known| known.name == protocol) {
            Some(protocol) => protocol.metadata.clone(),
            None => member.protocols.first().map(|protocol| protocol.metadata.clone()).unwrap_or_default(),
        };
        let subscription = read_subscription(metadata).ok_or(MALFORMED)?;
        let mut assigned = match member.assignment.is_empty() {
            true => Assignment::new(),
            false => read_assignment(member.assignment.clone(), view)?,
        };
        // Who has not fetched its assignment has what it said it has when it joined.
        if !classic.knows_assignment(member) {
            for (topic, partitions) in owned(&subscription, view) {
                assigned.entry(topic).or_default().extend(partitions);
            }
        }
        // Assignors of clients may give one partition to two members.
        for (topic, partitions) in &mut assigned {
            partitions.retain(|partition| draft.owner(topic, *partition).is_none());
        }
        assigned.retain(|_, partitions| !partitions.is_empty());
        let id = member.id.to_string();
        let value = as_classic_member(
            ConsumerGroupMemberMetadataValue {
                instance_id: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                ..Default::default()
            },
            &subscription,
            member.session_timeout_ms,
            &member.protocols,
        );
        draft.put(ConsumerRecord::Member(id.clone(), Some(value)));
        draft.put(ConsumerRecord::Target(id.clone(), Some(target::to_record(&assigned))));
        let current = Current { epoch, previous_epoch: epoch, state: STABLE, assigned, ..Default::default() };
        draft.put(ConsumerRecord::Current(id, Some(current.to_record())));
    }
    draft.put(ConsumerRecord::TargetEpoch(Some(ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: epoch,
    })));
    Ok(draft.done())
}

/// What is known of a member that speaks the classic protocol.
pub(super) fn as_classic_member(
    mut member: ConsumerGroupMemberMetadataValue,
    subscription: &ConsumerProtocolSubscription,
    session_timeout_ms: i32,
    protocols: &[JoinGroupRequestProtocol],
) -> ConsumerGroupMemberMetadataValue {
    if let Some(rack) = subscription.rack_id.clone().filter(|rack| !rack.is_empty()) {
        member.rack_id = Some(rack);
    }
    member.subscribed_topic_names = in_order(&subscription.topics);
    // There are no patterns in the classic protocol.
    member.subscribed_topic_regex = Some(String::new());
    let protocols = protocols
        .iter()
        .map(|protocol| ClassicProtocol { name: protocol.name.clone(), metadata: protocol.metadata.clone() });
    member.classic_member_metadata =
        Some(ClassicMemberMetadata { session_timeout_ms, supported_protocols: protocols.collect() });
    member
}

impl Consumer {
    /// Whether the group is to be a classic one when these members are gone, or replaced.
    pub(super) fn may_downgrade(&self, without: &[&str], replaced: bool, settings: &Settings) -> bool {
        let classics = without.iter().filter(|id| self.is_classic(id)).count();
        let rest = self.len() - without.len();
        let members = if replaced { self.len() } else { rest };
        rest == self.index.classics - classics
            && members > 0
            && settings.consumer_migration.may_downgrade()
            && members <= settings.max_size
    }

    /// Whether all members are at a target that nothing has changed since.
    pub(super) fn is_settled(&self) -> bool {
        let epoch = self.epoch();
        epoch == self.target_epoch() && self.members.keys().all(|id| self.current(id).is_at(epoch))
    }

    /// The classic group with the same members, but for these; the assignment of each is what it may have, so that
    /// nobody else gets it before the next generation.
    pub(super) fn downgraded(&self, without: &[&str], view: &View, wall: i64) -> Option<Classic> {
        let ids = self.members.iter().filter(|(id, _)| !without.contains(&id.as_str()));
        let members = ids.filter_map(|(id, member)| {
            let classic = member.classic_member_metadata.as_ref()?;
            let protocols = classic.supported_protocols.iter().map(|protocol| JoinGroupRequestProtocol {
                name: protocol.name.clone(),
                metadata: protocol.metadata.clone(),
            });
            Some(Member {
                id: Name::from(id.as_str()),
                instance: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                protocols: protocols.collect(),
                assignment: Bytes::new(),
                is_new: false,
                joining: None,
                syncing: None,
            })
        });
        let assignment = |id: &str, metadata: Bytes| {
            let Current { mut assigned, revoking, .. } = self.current(id);
            for (topic, partitions) in revoking {
                assigned.entry(topic).or_default().extend(partitions);
            }
            write_assignment(&assigned, metadata, view)
        };
        Classic::of_members(members.collect(), self.epoch(), assignment, wall)
    }
}

/// What a member of the classic protocol subscribes to and has.
pub(super) fn read_subscription(metadata: Bytes) -> Option<ConsumerProtocolSubscription> {
    let mut r = Reader::new(metadata);
    let version = r.i16().ok().filter(|version| *version >= 0)?;
    // Newer versions begin like the newest that is known.
    let version = version.min(*ConsumerProtocolSubscription::versions().end());
    ConsumerProtocolSubscription::decode(&mut r, version).ok()
}

/// What a member of the classic protocol says it has.
pub(super) fn owned(subscription: &ConsumerProtocolSubscription, view: &View) -> Assignment {
    let mut owned = Assignment::new();
    for topic in subscription.owned_partitions.iter().filter(|topic| !topic.partitions.is_empty()) {
        if let Some(known) = view.topics.named(&topic.topic) {
            owned.entry(known.id).or_default().extend(&topic.partitions);
        }
    }
    owned
}

fn read_assignment(bytes: Bytes, view: &View) -> Result<Assignment, &'static str> {
    const MALFORMED: &str = "an assignment of the embedded consumer protocol is malformed";
    let mut r = Reader::new(bytes);
    let version = r.i16().ok().filter(|version| *version >= 0).ok_or(MALFORMED)?;
    let version = version.min(*ConsumerProtocolAssignment::versions().end());
    let read = ConsumerProtocolAssignment::decode(&mut r, version).map_err(|_| MALFORMED)?;
    if read.user_data.is_some_and(|data| !data.is_empty()) {
        return Err("an unsupported custom assignor is in use: switch to one of Kafka's own first");
    }
    let topics = read.assigned_partitions.iter().filter(|topic| !topic.partitions.is_empty());
    let topics = topics.filter_map(|topic| {
        let known = view.topics.named(&topic.topic)?;
        Some((known.id, topic.partitions.iter().copied().collect()))
    });
    Ok(topics.collect())
}

/// An assignment in the version in which the member subscribes.
pub(super) fn write_assignment(assignment: &Assignment, metadata: Bytes, view: &View) -> Option<Bytes> {
    let version = Reader::new(metadata).i16().ok().filter(|version| *version >= 0)?;
    let version = version.min(*ConsumerProtocolAssignment::versions().end());
    let topics = assignment.iter().filter_map(|(topic, partitions)| {
        let known = view.topics.with_id(*topic)?;
        Some(ConsumerProtocolAssignmentTopicPartition {
            topic: known.name.to_string(),
            partitions: partitions.iter().copied().collect(),
        })
    });
    let written = ConsumerProtocolAssignment { assigned_partitions: topics.collect(), ..Default::default() };
    let mut w = Writer::new();
    w.put_i16(version);
    written.encode(&mut w, version).ok()?;
    Some(w.into_bytes())
}
