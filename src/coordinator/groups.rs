//! The machine of groups: its events, its replies, its records, and which part answers what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::committers::Committers;
use super::group::{Group, Turn};
use super::names::{Name, Names};
use super::offsets::expiry::Sweeps;
use super::offsets::{Pending, PendingOffsets, Spot};
use super::records::{ConsumerRecord, Form, Record};
use super::runtime::{Effects, Machine, Now, Token};
use super::settings::{GroupSettings, Settings};
use super::timers::Timers;
use super::topics::{Changed, Known, View};
use crate::limits;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// To whom the reply goes.
    pub token: Token,
    /// The version of the request.
    pub version: i16,
    /// The client id, empty where there is none.
    pub client_id: String,
    /// The client's address, as Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
}

/// What a client asks of a coordinator of groups.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Joins a group. The bytes are random, for an id if the member has none.
    Join(JoinGroupRequest, [u8; 16]),
    /// Hands in or fetches the assignment of a generation.
    Sync(SyncGroupRequest),
    /// Tells that a member is alive.
    Heartbeat(HeartbeatRequest),
    /// Leaves a group.
    Leave(LeaveGroupRequest),
    /// Joins, stays in, changes in or leaves a group of KIP-848. The bytes are random, for an id if the member has
    /// none.
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest, [u8; 16]),
    /// Commits offsets. Topics have names; those that a client named by ids, both.
    OffsetCommit(OffsetCommitRequest),
    /// Commits offsets within a transaction, which has been verified.
    TxnOffsetCommit(TxnOffsetCommitRequest),
    /// Asks for the committed offsets of one group, and whether only such as no open transaction may change. Topics
    /// have names.
    OffsetFetch(OffsetFetchRequestGroup, bool),
    /// Deletes committed offsets.
    OffsetDelete(OffsetDeleteRequest),
    /// Asks which groups there are, with filters of states and types.
    List(Arc<ListGroupsRequest>),
    /// Asks for the state and members of groups.
    Describe(Vec<String>),
    /// Asks for the state and members of groups of KIP-848.
    ConsumerDescribe(Vec<String>),
    /// Deletes groups.
    Delete(Vec<String>),
    /// Ends the transaction of a producer: the log gets its marker.
    EndTransaction {
        /// Whose transaction.
        producer: super::records::Producer,
        /// The epoch of the transaction's coordinator.
        coordinator_epoch: i32,
        /// The version of the protocol of transactions.
        transaction_version: i16,
        /// Whether it is committed.
        commit: bool,
    },
}

/// What a coordinator of groups is told.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is a request")]
pub enum Event {
    /// A client asks.
    Request(Caller, Request),
    /// Topics of these names are no more.
    TopicsDeleted(BTreeSet<String>),
    /// What topics there are now, for groups of KIP-848.
    Topics(View, Changed),
    /// What is set for one group.
    GroupSettings(String, GroupSettings),
}

/// What a coordinator of groups answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Request::Join`].
    Join(JoinGroupResponse),
    /// To [`Request::Sync`].
    Sync(SyncGroupResponse),
    /// To [`Request::Heartbeat`].
    Heartbeat(HeartbeatResponse),
    /// To [`Request::Leave`].
    Leave(LeaveGroupResponse),
    /// To [`Request::ConsumerHeartbeat`].
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To [`Request::OffsetCommit`].
    OffsetCommit(OffsetCommitResponse),
    /// To [`Request::TxnOffsetCommit`].
    TxnOffsetCommit(TxnOffsetCommitResponse),
    /// To [`Request::OffsetFetch`].
    OffsetFetch(OffsetFetchResponseGroup),
    /// To [`Request::OffsetDelete`].
    OffsetDelete(OffsetDeleteResponse),
    /// To [`Request::List`]: this coordinator's part.
    List(ListGroupsResponse),
    /// To [`Request::Describe`].
    Describe(Vec<DescribedGroup>),
    /// To [`Request::ConsumerDescribe`].
    ConsumerDescribe(Vec<ConsumerGroupDescribeDescribedGroup>),
    /// To [`Request::Delete`].
    Delete(Vec<DeletableGroupResult>),
    /// To [`Request::EndTransaction`].
    EndTransaction(ErrorCode),
}

/// What a record overwrote.
#[derive(Clone, Debug)]
pub enum Undo {
    /// A committed offset, the pending ones that a tombstone dropped, and whom it superseded.
    Offset(Spot, Option<OffsetCommitValue>, Vec<(i64, Pending)>, Vec<i64>),
    /// An offset within a transaction.
    Pending(i64, Spot, Option<Pending>),
    /// A group's record.
    Group(Name, Option<Arc<GroupMetadataValue>>),
    /// A record of a group of KIP-848.
    Consumer(Name, ConsumerRecord),
    /// A transaction: each pending offset, and, where it was committed, what it overwrote and superseded.
    Transaction(i64, Vec<Ended>),
}

/// One pending offset of a transaction that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    spot: Spot,
    pending: Pending,
    /// Where it was committed: the offset before, and whom it superseded.
    committed: Option<(Option<OffsetCommitValue>, Vec<i64>)>,
}

/// What there are deadlines for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A member of a group has to show that it is alive, or to join with the id it was given.
    Session(Name, Name),
    /// The members of a group have to have joined.
    Join(Name),
    /// The members of a group have to have fetched their assignments.
    Sync(Name),
    /// A member of a group of KIP-848 has to have given up partitions.
    Rebalance(Name, Name),
    /// A classic member of such a group has to have joined again.
    Rejoin(Name, Name),
    /// It has to have fetched its assignment.
    Refetch(Name, Name),
    /// The patterns of such a group are to be matched with the topics.
    Resolve(Name),
    /// It is time to look for offsets that have expired.
    Expiry,
    /// A sweep over the groups goes on.
    Sweep,
}

/// The groups of one partition of `__consumer_offsets`.
pub struct Groups {
    settings: Settings,
    /// What is set for single groups.
    own_settings: BTreeMap<String, GroupSettings>,
    pub(super) topics: Known,
    pub(super) names: Names,
    pub(super) groups: BTreeMap<Name, Group>,
    pending: PendingOffsets,
    committers: Committers,
    timers: Timers<Timer>,
    pub(super) sweeps: Sweeps,
    /// While beginning: the last group that is done.
    begun: Option<Name>,
    /// Groups of which a record has been undone.
    undone: BTreeSet<Name>,
}

impl Groups {
    /// No groups yet.
    pub fn new(settings: Settings) -> Groups {
        Groups {
            settings,
            own_settings: BTreeMap::new(),
            topics: Known::default(),
            names: Names::default(),
            groups: BTreeMap::new(),
            pending: PendingOffsets::default(),
            committers: Committers::default(),
            timers: Timers::new(),
            sweeps: Sweeps::default(),
            begun: None,
            undone: BTreeSet::new(),
        }
    }

    /// What it goes by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How long a member of a group of KIP-848 may be silent.
    pub(super) fn session_timeout_ms(&self, group: &str) -> i32 {
        let own = self.own_settings.get(group).and_then(|own| own.consumer_session_timeout_ms);
        own.unwrap_or(self.settings.consumer_session_timeout_ms)
    }

    /// How often it is to send heartbeats.
    pub(super) fn heartbeat_interval_ms(&self, group: &str) -> i32 {
        let own = self.own_settings.get(group).and_then(|own| own.consumer_heartbeat_interval_ms);
        own.unwrap_or(self.settings.consumer_heartbeat_interval_ms)
    }

    fn set_topics(&mut self, view: View, changed: &Changed) {
        self.topics.set(view, changed);
        for group in self.groups.values_mut() {
            group.topics_changed(changed);
        }
    }

    /// A group.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// All groups, by name.
    pub fn all(&self) -> impl Iterator<Item = (&Name, &Group)> {
        self.groups.iter()
    }

    /// The offsets of open transactions.
    pub fn pending(&self) -> &PendingOffsets {
        &self.pending
    }

    /// The producers that have committed offsets within transactions.
    pub fn committers(&self) -> &Committers {
        &self.committers
    }

    /// How many deadlines there are.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Does something with a group that is there.
    pub(super) fn with_group<T>(
        &mut self,
        now: Now,
        name: &str,
        effects: &mut Effects<Groups>,
        act: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let (name, _) = self.groups.get_key_value(name)?;
        let name = name.clone();
        let consumer_session_timeout_ms = self.session_timeout_ms(&name);
        let group = self.groups.get_mut(&name)?;
        let mut turn = Turn {
            now,
            name,
            settings: &self.settings,
            consumer_session_timeout_ms,
            timers: &mut self.timers,
            topics: &mut self.topics,
            effects,
        };
        Some(act(group, &mut turn))
    }

    /// A group that is there from now on.
    pub(super) fn make_group(&mut self, name: &str) {
        if !self.groups.contains_key(name) {
            let name = self.names.get(name);
            self.groups.insert(name, Group::default());
        }
    }

    /// Forgets a group of which nothing durable is left.
    pub(super) fn forget_if_gone(&mut self, name: &Name) {
        if self.groups.get(name).is_some_and(|group| group.is_gone()) && !self.pending.has_group(name) {
            self.groups.remove(name);
        }
    }

    fn spot(&mut self, key: &OffsetCommitKey) -> Spot {
        Spot {
            group: self.names.get(&key.group),
            topic: self.names.get(&key.topic),
            partition: key.partition,
        }
    }

    fn replay_offset(
        &mut self,
        form: &Form,
        key: &OffsetCommitKey,
        value: Option<&OffsetCommitValue>,
    ) -> Undo {
        let spot = self.spot(key);
        match (value, form) {
            (Some(value), Form::Transactional(producer)) => {
                self.make_group(&spot.group);
                let before = self.pending.put(producer.id, &spot, value.clone());
                Undo::Pending(producer.id, spot, before)
            }
            (Some(value), _) => {
                self.make_group(&spot.group);
                let group = self.groups.get_mut(&spot.group).expect("it was made");
                let before = group.offsets.put(&spot.topic, spot.partition, value);
                let superseded = self.pending.supersede(&spot, None);
                Undo::Offset(spot, before, Vec::new(), superseded)
            }
            (None, _) => {
                let before = self
                    .groups
                    .get_mut(&spot.group)
                    .and_then(|group| group.offsets.remove(&spot.topic, spot.partition));
                let dropped = self.pending.remove_spot(&spot);
                Undo::Offset(spot, before, dropped, Vec::new())
            }
        }
    }

    fn replay_group(&mut self, key: &GroupMetadataKey, value: Option<&GroupMetadataValue>) -> Undo {
        let name = self.names.get(&key.group);
        let before = match value {
            Some(value) => {
                self.make_group(&name);
                let group = self.groups.get_mut(&name).expect("it was made");
                group.store(Some(Arc::new(value.clone())))
            }
            None => {
                let group = self.groups.get_mut(&name);
                let before = group.and_then(|group| {
                    group.forget_members();
                    group.store(None)
                });
                self.forget_if_gone(&name);
                before
            }
        };
        Undo::Group(name, before)
    }

    fn replay_consumer(&mut self, group: &str, record: &ConsumerRecord) -> Undo {
        let name = self.names.get(group);
        self.make_group(&name);
        let group = self.groups.get_mut(&name).expect("it was made");
        let before = group.replay_consumer(record.clone());
        // An empty group of KIP-848 becomes a classic one, with members already.
        let is_classic = self.groups.get(&name).is_some_and(|group| group.classic().is_some());
        if matches!(record, ConsumerRecord::Epoch(None)) && !is_classic {
            self.forget_if_gone(&name);
        }
        Undo::Consumer(name, before)
    }

    fn replay_end(&mut self, producer: i64, commit: bool) -> Undo {
        let mut ended = Vec::new();
        for (spot, pending) in self.pending.remove_producer(producer) {
            let mut committed = None;
            if commit && !pending.superseded {
                self.make_group(&spot.group);
                let group = self.groups.get_mut(&spot.group).expect("it was made");
                let before = group.offsets.put(&spot.topic, spot.partition, &pending.value);
                committed = Some((before, self.pending.supersede(&spot, Some(pending.order))));
            }
            ended.push(Ended { spot, pending, committed });
        }
        Undo::Transaction(producer, ended)
    }

    fn restore_offset(&mut self, spot: &Spot, before: Option<OffsetCommitValue>) {
        match before {
            Some(value) => {
                self.make_group(&spot.group);
                let group = self.groups.get_mut(&spot.group).expect("it was made");
                group.offsets.put(&spot.topic, spot.partition, &value);
            }
            None => {
                if let Some(group) = self.groups.get_mut(&spot.group) {
                    group.offsets.remove(&spot.topic, spot.partition);
                }
            }
        }
    }

    fn request(&mut self, now: Now, caller: Caller, request: Request, effects: &mut Effects<Groups>) {
        let token = caller.token;
        match request {
            Request::Join(request, chance) => self.join(now, caller, request, chance, effects),
            Request::Sync(request) => self.sync(now, caller, request, effects),
            Request::Heartbeat(request) => self.heartbeat(now, caller, request, effects),
            Request::Leave(request) => self.leave(now, caller, request, effects),
            Request::ConsumerHeartbeat(request, chance) => {
                self.consumer_heartbeat(now, caller, request, chance, effects);
            }
            Request::OffsetCommit(request) => self.offset_commit(now, caller, request, effects),
            Request::TxnOffsetCommit(request) => self.txn_offset_commit(now, caller, request, effects),
            Request::OffsetFetch(request, require_stable) => {
                let reply = self.offset_fetch(request, require_stable);
                effects.reply(token, Reply::OffsetFetch(reply));
            }
            Request::OffsetDelete(request) => self.offset_delete(caller, request, effects),
            Request::List(request) => effects.reply(token, Reply::List(self.list(&request))),
            Request::Describe(groups) => {
                effects.reply(token, Reply::Describe(self.describe(&groups, caller.version)));
            }
            Request::ConsumerDescribe(groups) => {
                effects.reply(token, Reply::ConsumerDescribe(self.consumer_describe(&groups)));
            }
            Request::Delete(groups) => {
                let results = self.delete(groups, effects);
                effects.reply(token, Reply::Delete(results));
            }
            Request::EndTransaction { producer, coordinator_epoch, transaction_version, commit } => {
                let may_end = self.committers.check_marker(producer, coordinator_epoch, transaction_version);
                if may_end.is_ok() {
                    effects.form = Form::Marker(producer);
                    effects.records.push(Record::EndTransaction { commit, coordinator_epoch });
                }
                effects.reply(token, Reply::EndTransaction(may_end.err().unwrap_or(ErrorCode::NONE)));
            }
        }
    }

    fn schedule_expiry(&mut self, now: Now) {
        let interval = self.settings.retention_check_interval_ms.max(1) as u64;
        self.timers.schedule(Timer::Expiry, now.tick + interval);
    }
}

impl Machine for Groups {
    type Record = Record;
    type Form = Form;
    type Event = Event;
    type Reply = Reply;
    type Undo = Undo;

    fn replay(&mut self, form: &Form, record: &Record) -> Undo {
        self.committers.note(form, record.coordinator_epoch());
        match (record, form) {
            (Record::Offset(key, value), form) => self.replay_offset(form, key, value.as_ref()),
            (Record::Group(key, value), _) => self.replay_group(key, value.as_ref()),
            (Record::Consumer(group, record), _) => self.replay_consumer(group, record),
            (Record::EndTransaction { commit, .. }, Form::Marker(producer)) => {
                self.replay_end(producer.id, *commit)
            }
            (Record::EndTransaction { .. }, _) => panic!("the end of a transaction names its producer"),
        }
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Offset(spot, before, dropped, superseded) => {
                self.restore_offset(&spot, before);
                for (producer, pending) in dropped {
                    self.make_group(&spot.group);
                    self.pending.restore(producer, &spot, pending);
                }
                self.pending.unsupersede(&spot, &superseded);
                self.undone.insert(spot.group);
            }
            Undo::Pending(producer, spot, before) => {
                match before {
                    Some(pending) => drop(self.pending.restore(producer, &spot, pending)),
                    None => drop(self.pending.remove(producer, &spot)),
                }
                self.undone.insert(spot.group);
            }
            Undo::Group(name, before) => {
                if before.is_some() {
                    self.make_group(&name);
                }
                if let Some(group) = self.groups.get_mut(&name) {
                    group.take_back(before);
                }
                self.undone.insert(name);
            }
            Undo::Consumer(name, before) => {
                self.make_group(&name);
                let group = self.groups.get_mut(&name).expect("it was made");
                group.take_back_consumer(before);
                self.undone.insert(name);
            }
            Undo::Transaction(producer, ended) => {
                for Ended { spot, pending, committed } in ended.into_iter().rev() {
                    if let Some((before, superseded)) = committed {
                        self.restore_offset(&spot, before);
                        self.pending.unsupersede(&spot, &superseded);
                        self.undone.insert(spot.group.clone());
                    }
                    self.make_group(&spot.group);
                    self.pending.restore(producer, &spot, pending);
                }
            }
        }
    }

    fn undone(&mut self, now: Now, error: ErrorCode, effects: &mut Effects<Groups>) {
        for name in std::mem::take(&mut self.undone) {
            let pending = self.pending.has_group(&name);
            self.with_group(now, &name, effects, |group, turn| group.undone(pending, error, turn));
            self.forget_if_gone(&name);
        }
    }

    fn begin(&mut self, now: Now, effects: &mut Effects<Groups>) -> bool {
        let from = self.begun.clone();
        let from = from.as_deref().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let next = self.groups.range::<str, _>((from, std::ops::Bound::Unbounded));
        let names: Vec<Name> = next.take(limits::GROUPS_TURN).map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.with_group(now, name, effects, |group, turn| group.begin(turn));
        }
        self.begun = names.last().cloned();
        let done = names.len() < limits::GROUPS_TURN;
        if done {
            self.begun = None;
            self.names.forget_unused();
            self.schedule_expiry(now);
        }
        done
    }

    fn handle(&mut self, now: Now, event: Event, effects: &mut Effects<Groups>) {
        match event {
            Event::Request(caller, request) => self.request(now, caller, request, effects),
            Event::TopicsDeleted(topics) => {
                self.sweeps.delete_topics(topics);
                self.timers.schedule(Timer::Sweep, now.tick);
            }
            Event::Topics(view, changed) => self.set_topics(view, &changed),
            Event::GroupSettings(group, own) if own == GroupSettings::default() => {
                self.own_settings.remove(&group);
            }
            Event::GroupSettings(group, own) => drop(self.own_settings.insert(group, own)),
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    fn fire(&mut self, now: Now, effects: &mut Effects<Groups>) -> bool {
        let Some(timer) = self.timers.pop(now.tick) else { return false };
        match &timer {
            Timer::Session(name, member) => {
                self.with_group(now, name, effects, |group, turn| group.session_ended(member, turn));
            }
            Timer::Join(name) => {
                self.with_group(now, name, effects, |group, turn| group.join_ended(turn));
            }
            Timer::Sync(name) => {
                self.with_group(now, name, effects, |group, turn| group.sync_ended(turn));
            }
            Timer::Rebalance(name, member) => {
                self.with_group(now, name, effects, |group, turn| group.revocation_ended(member, turn));
            }
            Timer::Rejoin(name, member) | Timer::Refetch(name, member) => {
                self.with_group(now, name, effects, |group, turn| group.classic_step_ended(member, turn));
            }
            Timer::Resolve(name) => {
                self.with_group(now, name, effects, |group, turn| group.resolve_patterns(turn));
            }
            Timer::Expiry => {
                self.sweeps.expire();
                self.timers.schedule(Timer::Sweep, now.tick);
                self.schedule_expiry(now);
            }
            Timer::Sweep => {
                self.sweep(now, effects);
                if !self.sweeps.is_empty() {
                    // Not in the same turn of the core.
                    self.timers.schedule(Timer::Sweep, now.tick + 1);
                }
            }
        }
        true
    }

    fn close(&mut self, error: ErrorCode, effects: &mut Effects<Groups>) {
        for group in self.groups.values_mut() {
            group.close(error, effects);
        }
    }

    fn refuse(event: Event, error: ErrorCode) -> Option<(Token, Reply)> {
        match event {
            Event::Request(caller, request) => Some((caller.token, super::refusals::refuse(request, error))),
            Event::TopicsDeleted(_) | Event::Topics(..) | Event::GroupSettings(..) => None,
        }
    }

    fn fail(reply: Reply, error: ErrorCode) -> Reply {
        super::refusals::fail(reply, error)
    }

    fn size(record: &Record) -> usize {
        record.size()
    }

    fn may_share(form: &Form) -> bool {
        !matches!(form, Form::Marker(_))
    }
}
