//! The members of a classic group: who they are, who waits, what they have in common.
//!
//! Soft state: its durable part is the group's record, which is written when the leader hands in an assignment, when
//! the last member is gone, and when a static member comes back under a new id.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::member::{Member, Waiter};
use super::{CONSUMER, Turn};
use crate::coordinator::groups::{Groups, Reply, Timer};
use crate::coordinator::names::Name;
use crate::coordinator::records::Record;
use crate::coordinator::refusals;
use crate::coordinator::runtime::{Effects, error_of_log};
use crate::wire::codec::Reader;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// What a group is at. A group that is deleted is gone, so there is no state of the dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It has no members.
    Empty,
    /// Its members are to join again.
    PreparingRebalance,
    /// The leader is to hand in the assignment.
    CompletingRebalance,
    /// Each member can have its assignment.
    Stable,
}

impl State {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The members of a group, and what they are at.
#[derive(Debug)]
pub struct Classic {
    state: State,
    /// The state before.
    pub(super) previous: State,
    /// Since when it is in this state; -1 if that is not known.
    since: i64,
    generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    leader: Option<Name>,
    /// Boxed: most groups are small, and a tree makes room for several at once.
    members: BTreeMap<Name, Box<Member>>,
    statics: BTreeMap<String, Name>,
    /// Members that were given an id and have not joined with it.
    pending_joins: BTreeSet<Name>,
    /// How many members wait for the end of the rebalance.
    joining: usize,
    /// How many members support a protocol.
    supported: BTreeMap<String, usize>,
    /// Members of this generation that have not asked for their assignment.
    pending_syncs: BTreeSet<Name>,
    /// The topics of all members, if they can be read.
    topics: Option<BTreeSet<String>>,
    /// While the first rebalance waits for more members: the step that it waits for now and what remains after.
    pub(super) initial_delay: Option<(i32, i32)>,
    /// A member has joined since the last step.
    pub(super) member_came: bool,
    /// Static members whose new id is told to nobody before its record is committed.
    replaced: BTreeSet<String>,
}

impl Classic {
    /// What a record tells of a group: its members are stable, or there are none. The generation is not below one
    /// that was told.
    pub(super) fn from_record(record: Option<&GroupMetadataValue>, told: i32, wall: i64) -> Classic {
        let mut classic = Classic {
            state: State::Empty,
            previous: State::Empty,
            since: wall,
            generation: told,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            joining: 0,
            supported: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            topics: None,
            initial_delay: None,
            member_came: false,
            replaced: BTreeSet::new(),
        };
        let Some(record) = record else { return classic };
        classic.since = record.current_state_timestamp;
        classic.generation = record.generation.max(told);
        classic.protocol = record.protocol.clone();
        let protocol = record.protocol.as_deref().unwrap_or_default();
        for member in &record.members {
            // Nobody writes such a record; were there one, the last of several would count.
            if let Some(twin) =
                member.group_instance_id.as_ref().and_then(|id| classic.statics.get(id)).cloned()
            {
                classic.remove(&twin);
            }
            classic.remove(&member.member_id);
            classic.add(Member::from_record(member, protocol), &record.protocol_type, None);
        }
        classic.protocol_type = Some(record.protocol_type.clone()).filter(|name| !name.is_empty());
        classic.leader = record.leader.as_deref().map(Name::from);
        if !classic.members.is_empty() {
            classic.state = State::Stable;
        }
        classic.topics = classic.read_topics();
        classic
    }

    /// A stable group of consumers, each with what is assigned to its id, in the form that its metadata asks for.
    pub(super) fn of_members(
        members: Vec<Member>,
        generation: i32,
        assignment: impl Fn(&str, Bytes) -> Option<Bytes>,
        wall: i64,
    ) -> Option<Classic> {
        let mut classic = Classic::from_record(None, generation, wall);
        for member in members {
            classic.add(member, CONSUMER, None);
        }
        classic.protocol = Some(classic.choose_protocol()?.into());
        let protocol = classic.protocol.clone()?;
        for member in classic.members_mut() {
            member.assignment = assignment(&member.id, member.metadata(&protocol))?;
        }
        classic.topics = classic.read_topics();
        classic.state = State::Stable;
        Some(classic)
    }

    /// What the group's record is to say.
    pub(super) fn to_record(&self) -> GroupMetadataValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().map(str::to_string),
            current_state_timestamp: self.since,
            members: self.members.values().map(|member| member.to_record(protocol)).collect(),
        }
    }

    /// Writes the group's record.
    pub(super) fn write(&self, turn: &mut Turn<'_>) {
        let key = GroupMetadataKey { group: turn.name.to_string() };
        turn.effects.records.push(Record::Group(key, Some(self.to_record())));
    }

    /// Whether the group is empty, and its record says all there is to say of it.
    pub(super) fn is_told_by(&self, record: Option<&GroupMetadataValue>) -> bool {
        self.state == State::Empty
            && self.members.is_empty()
            && self.pending_joins.is_empty()
            && record.is_some_and(|record| {
                record.members.is_empty()
                    && record.generation == self.generation
                    && record.current_state_timestamp == self.since
                    && record.protocol_type == self.protocol_type.as_deref().unwrap_or_default()
            })
    }

    /// What the group is at.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when, in milliseconds since 1970; -1 if that is not known.
    pub fn since(&self) -> i64 {
        self.since
    }

    /// The generation: it grows with each rebalance.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The protocol that the members have chosen.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The leader's id.
    pub fn leader(&self) -> Option<&Name> {
        self.leader.as_ref()
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// A member.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id).map(|member| &**member)
    }

    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id).map(|member| &mut **member)
    }

    /// The members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|member| &**member)
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut().map(|member| &mut **member)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The id of a static member.
    pub fn static_member(&self, instance: &str) -> Option<&Name> {
        self.statics.get(instance)
    }

    /// Whether an id was handed out that is not used yet.
    pub fn awaits_members(&self) -> bool {
        !self.pending_joins.is_empty()
    }

    pub(super) fn pending_joins(&self) -> usize {
        self.pending_joins.len()
    }

    pub(super) fn is_pending(&self, id: &str) -> bool {
        self.pending_joins.contains(id)
    }

    pub(super) fn add_pending(&mut self, id: Name) {
        self.pending_joins.insert(id);
    }

    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    pub(super) fn have_all_joined(&self) -> bool {
        self.members.len() == self.joining && self.pending_joins.is_empty()
    }

    pub(super) fn have_all_synced(&self) -> bool {
        self.pending_syncs.is_empty()
    }

    /// Whether a member has asked for its assignment of this generation.
    pub(super) fn knows_assignment(&self, member: &Member) -> bool {
        !member.assignment.is_empty() && !self.pending_syncs.contains(&member.id)
    }

    pub(super) fn has_synced(&mut self, id: &str) {
        self.pending_syncs.remove(id);
    }

    pub(super) fn clear_pending_syncs(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.pending_syncs)
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    pub(super) fn set_state(&mut self, state: State, wall: i64) {
        self.previous = std::mem::replace(&mut self.state, state);
        self.since = wall;
    }

    /// Whether this is a member, and under this id if it is a static one.
    pub(super) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(known) if **known != *id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        self.members.contains_key(id).then_some(()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// Whether a member with these protocols fits in.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| {
                self.supported.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
            })
    }

    fn count_protocols(&mut self, member: &Member, more: bool) {
        for name in member.protocol_names() {
            match self.supported.get_mut(name) {
                Some(count) if more => *count += 1,
                Some(1) => drop(self.supported.remove(name)),
                Some(count) => *count -= 1,
                None => drop(self.supported.insert(name.into(), 1)),
            }
        }
    }

    /// The protocol that most members would choose among those that all support.
    pub(super) fn choose_protocol(&self) -> Option<&str> {
        let everyone = |count: &usize| *count == self.members.len();
        let mut candidates =
            self.supported.iter().filter(|(_, count)| everyone(count)).map(|(name, _)| name.as_str());
        let first = candidates.next()?;
        if candidates.next().is_none() {
            return Some(first);
        }
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocol_names().find(|name| self.supported.get(*name).is_some_and(everyone));
            *votes.entry(vote?).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(name, votes)| (*votes, std::cmp::Reverse(*name))).map(|(name, _)| name)
    }

    /// A member comes in; it may wait for an answer.
    pub(super) fn add(&mut self, mut member: Member, protocol_type: &str, joining: Option<Waiter>) {
        if let Some(instance) = &member.instance {
            let before = self.statics.insert(instance.clone(), member.id.clone());
            assert!(before.is_none(), "a static member is replaced, not added twice");
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.into());
        }
        let id = member.id.clone();
        self.leader.get_or_insert_with(|| id.clone());
        self.count_protocols(&member, true);
        self.joining += usize::from(joining.is_some());
        member.joining = joining;
        self.pending_joins.remove(&id);
        self.members.insert(id, Box::new(member));
    }

    /// A member, or one that was given an id, goes.
    pub(super) fn remove(&mut self, id: &str) -> Option<Box<Member>> {
        let member = self.members.remove(id);
        if let Some(member) = &member {
            self.count_protocols(member, false);
            self.joining -= usize::from(member.is_joining());
            if let Some(instance) = &member.instance {
                self.statics.remove(instance);
                self.replaced.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
        member
    }

    /// A member has joined again, with other protocols and timeouts perhaps.
    pub(super) fn update(&mut self, id: &str, request: &JoinGroupRequest, joining: Option<Waiter>) {
        let Some(mut member) = self.members.remove(id) else { return };
        self.count_protocols(&member, false);
        member.protocols = request.protocols.clone();
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        self.count_protocols(&member, true);
        self.joining -= usize::from(member.is_joining());
        self.joining += usize::from(joining.is_some());
        member.joining = joining;
        self.members.insert(member.id.clone(), member);
    }

    /// A static member has a new id. Gives the requests under the old one that wait.
    pub(super) fn rename(&mut self, instance: &str, new: Name) -> Option<(Option<Waiter>, Option<Waiter>)> {
        let old = self.statics.get(instance)?.clone();
        let mut member = self.members.remove(&old)?;
        let waiting = (member.joining.take(), member.syncing.take());
        self.joining -= usize::from(waiting.0.is_some());
        member.id = new.clone();
        member.is_new = false;
        if self.is_leader(&old) {
            self.leader = Some(new.clone());
        }
        self.statics.insert(instance.into(), new.clone());
        self.members.insert(new, member);
        Some(waiting)
    }

    /// Notes whether the new id of a static member is told only when its record is committed.
    pub(super) fn note_replaced(&mut self, instance: &str, by_record: bool) {
        match by_record {
            true => drop(self.replaced.insert(instance.into())),
            false => drop(self.replaced.remove(instance)),
        }
    }

    /// The leader, where it has joined; else the first who has. False: nobody has joined.
    pub(super) fn choose_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|member| member.is_joining()) {
            return true;
        }
        let joined = self.members.values().find(|member| member.is_joining());
        let Some(member) = joined else { return false };
        self.leader = Some(member.id.clone());
        true
    }

    /// The next generation begins, with the members there are.
    pub(super) fn next_generation(&mut self, wall: i64) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.choose_protocol().map(str::to_string);
        self.topics = self.read_topics();
        let state = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.set_state(state, wall);
        self.pending_syncs = self.members.keys().cloned().collect();
    }

    /// The topics of all members, for consumers that say them in Kafka's own way.
    fn read_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let mut r = Reader::new(member.metadata(protocol));
            r.i16().ok()?;
            // Every version begins like the first.
            topics.extend(ConsumerProtocolSubscription::decode(&mut r, 0).ok()?.topics);
        }
        Some(topics)
    }

    pub(super) fn knows_topics(&self) -> bool {
        self.topics.is_some()
    }

    /// Whether the group consumes the topic. A group of consumers whose topics are not known may consume any.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.topics {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER),
        }
    }

    /// How JoinGroup tells the leader of the members.
    pub(super) fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| JoinGroupResponseMember {
            member_id: member.id.to_string(),
            group_instance_id: member.instance.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    /// Answers a member that waits for the end of the rebalance.
    pub(super) fn answer_join(&mut self, id: &str, reply: JoinGroupResponse, effects: &mut Effects<Groups>) {
        let Some(waiter) = self.members.get_mut(id).and_then(|member| member.joining.take()) else { return };
        self.joining -= 1;
        effects.reply(waiter.token, join_reply(waiter.version, reply));
    }

    /// Answers all who wait with an error.
    pub(super) fn answer_waiting(&mut self, error: ErrorCode, effects: &mut Effects<Groups>) {
        self.joining = 0;
        for member in self.members.values_mut() {
            if let Some(waiter) = member.joining.take() {
                effects.reply(waiter.token, join_reply(waiter.version, refusals::join(&member.id, error)));
            }
            if let Some(waiter) = member.syncing.take() {
                let reply = SyncGroupResponse { error_code: error, ..Default::default() };
                effects.reply(waiter.token, Reply::Sync(reply));
            }
        }
    }

    /// Forgets all deadlines of the group.
    pub(super) fn forget_timers(&mut self, turn: &mut Turn<'_>) {
        for id in self.members.keys().chain(&self.pending_joins) {
            turn.timers.cancel(&Timer::Session(turn.name.clone(), id.clone()));
        }
        turn.end_join();
        turn.end_sync();
    }

    /// A record of the group, or of its offsets, was undone; `stored` is what is durable now.
    pub(super) fn undone(
        &mut self,
        stored: Option<&GroupMetadataValue>,
        error: ErrorCode,
        turn: &mut Turn<'_>,
    ) {
        let replaced = std::mem::take(&mut self.replaced);
        if let Some(stored) = stored.filter(|_| !replaced.is_empty()) {
            let protocol = stored.protocol.as_deref().unwrap_or_default();
            for member in &stored.members {
                if member.group_instance_id.as_ref().is_some_and(|instance| replaced.contains(instance)) {
                    self.put_back(Member::from_record(member, protocol), error_of_log(error), turn);
                }
            }
        }
        // Where a deletion was undone too, there was a higher generation.
        self.generation = self.generation.max(stored.map_or(0, |stored| stored.generation));
        if self.state == State::Stable && !self.agrees_with(stored) {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
            }
            self.prepare_rebalance(turn);
        }
    }

    /// A static member that was replaced has its old id again, and is what it was.
    fn put_back(&mut self, old: Member, error: ErrorCode, turn: &mut Turn<'_>) {
        let Some(instance) = old.instance.clone() else { return };
        let Some(new) = self.statics.get(&instance).filter(|new| **new != old.id).cloned() else { return };
        turn.end_session(&new);
        let Some((joining, syncing)) = self.rename(&instance, old.id.clone()) else { return };
        if let Some(waiter) = joining {
            turn.effects.reply(waiter.token, join_reply(waiter.version, refusals::join("", error)));
        }
        if let Some(waiter) = syncing {
            let reply = SyncGroupResponse { error_code: error, ..Default::default() };
            turn.effects.reply(waiter.token, Reply::Sync(reply));
        }
        turn.start_session(&old.id, old.session_timeout_ms);
        if let Some(now) = self.members.remove(&old.id) {
            self.count_protocols(&now, false);
            self.count_protocols(&old, true);
            self.members.insert(old.id.clone(), Box::new(old));
        }
    }

    /// Whether the record tells of this generation, with these members and their assignments.
    pub(super) fn agrees_with(&self, record: Option<&GroupMetadataValue>) -> bool {
        record.is_some_and(|record| {
            record.generation == self.generation
                && record.members.len() == self.members.len()
                && record.members.iter().all(|stored| {
                    self.members.get(stored.member_id.as_str()).is_some_and(|member| {
                        member.assignment == stored.assignment && member.instance == stored.group_instance_id
                    })
                })
        })
    }
}

/// A JoinGroup response in the form that the version has: old ones cannot say that there is no protocol.
pub(super) fn join_reply(version: i16, mut reply: JoinGroupResponse) -> Reply {
    if version < 7 && reply.protocol_name.is_none() {
        reply.protocol_name = Some(String::new());
    }
    Reply::Join(reply)
}
