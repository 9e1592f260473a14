//! One group: what its record says, its offsets, and its members.
//!
//! - [`classic`]: the members of a classic group and what they are at. [`member`]: one of them.
//! - [`consumer`]: a group of KIP-848, which a group is instead of a classic one.
//! - `join`, `sync`, `heartbeat`, `leave`: what members ask. `rebalance`: from one generation to the next.
//! - `look`: what others ask: which groups there are, who is in them; and to delete them.

pub mod classic;
pub mod consumer;
mod heartbeat;
mod join;
mod leave;
mod look;
pub mod member;
mod rebalance;
mod sync;

use std::sync::Arc;

pub use classic::{Classic, State};
pub use consumer::Consumer;
pub use member::Member;

use super::groups::{Groups, Timer};
use super::names::Name;
use super::offsets::GroupOffsets;
use super::records::{ConsumerRecord, Record};
use super::runtime::{Effects, Now};
use super::settings::Settings;
use super::timers::Timers;
use super::topics::Known;
use crate::wire::error::ErrorCode;
use crate::wire::schema::GroupMetadataValue;

/// The protocol type of consumers.
pub const CONSUMER: &str = "consumer";

/// A group.
#[derive(Debug, Default)]
pub struct Group {
    /// The newest record. A group that only has offsets has none.
    stored: Option<Arc<GroupMetadataValue>>,
    /// The members and what they are at. Where there is none, the group is empty, as its record says.
    classic: Option<Box<Classic>>,
    /// The highest generation of a record that was undone: members may have been told of it.
    told: i32,
    /// A group of KIP-848.
    consumer: Option<Box<Consumer>>,
    /// What of it is lost with the process.
    soft: consumer::Soft,
    /// What is committed.
    pub offsets: GroupOffsets,
}

/// What a group is given to work with for one event.
pub(super) struct Turn<'a> {
    pub now: Now,
    /// The group's.
    pub name: Name,
    pub settings: &'a Settings,
    /// The group's own, or that of all groups.
    pub consumer_session_timeout_ms: i32,
    pub timers: &'a mut Timers<Timer>,
    pub topics: &'a mut Known,
    pub effects: &'a mut Effects<Groups>,
}

impl Turn<'_> {
    fn after(&self, ms: i32) -> u64 {
        self.now.tick + ms.max(0) as u64
    }

    fn start(&mut self, timer: Timer, ms: i32) {
        let at = self.after(ms);
        self.timers.schedule(timer, at);
    }

    /// Forgets all deadlines of a member.
    fn end_all(&mut self, member: &Name) {
        self.end_session(member);
        for timer in [Timer::Rebalance, Timer::Rejoin, Timer::Refetch] {
            self.timers.cancel(&timer(self.name.clone(), member.clone()));
        }
    }

    /// Records of the group of KIP-848.
    fn records(&mut self, records: Vec<ConsumerRecord>) {
        let name = &self.name;
        let records = records.into_iter().map(|record| Record::Consumer(name.to_string(), record));
        self.effects.records.extend(records);
    }

    fn start_session(&mut self, member: &Name, ms: i32) {
        let at = self.after(ms);
        self.timers.schedule(Timer::Session(self.name.clone(), member.clone()), at);
    }

    fn end_session(&mut self, member: &Name) {
        self.timers.cancel(&Timer::Session(self.name.clone(), member.clone()));
    }

    fn start_join(&mut self, ms: i32) {
        let at = self.after(ms);
        self.timers.schedule(Timer::Join(self.name.clone()), at);
    }

    fn start_sync(&mut self, ms: i32) {
        let at = self.after(ms);
        self.timers.schedule(Timer::Sync(self.name.clone()), at);
    }

    fn end_join(&mut self) {
        self.timers.cancel(&Timer::Join(self.name.clone()));
    }

    fn end_sync(&mut self) {
        self.timers.cancel(&Timer::Sync(self.name.clone()));
    }
}

/// Who commits offsets.
#[derive(Clone, Copy, Debug)]
pub struct CommitBy<'a> {
    /// Empty for one who is no member.
    pub member_id: &'a str,
    /// Of a static member.
    pub instance_id: Option<&'a str>,
    /// Below zero for one who is no member.
    pub generation: i32,
    /// Whether its request can have come from a member of a group of KIP-848.
    pub knows_epochs: bool,
    /// Whether it does so within a transaction.
    pub transactional: bool,
}

/// From when on the offsets of a group are kept for the time of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// They do not expire while the group is as it is.
    Never,
    /// Each from when it was committed.
    AfterCommit,
    /// All of them from when the group became empty.
    After(i64),
}

impl Group {
    /// The newest record of the group.
    pub fn stored(&self) -> Option<&Arc<GroupMetadataValue>> {
        self.stored.as_ref()
    }

    /// The members and what they are at, where there are any.
    pub fn classic(&self) -> Option<&Classic> {
        self.classic.as_deref()
    }

    /// Topics have changed: the group looks at those it subscribes to when a member asks for something.
    pub(super) fn topics_changed(&mut self, changed: &super::topics::Changed) {
        let Some(consumer) = &self.consumer else { return };
        let concerns = match changed {
            super::topics::Changed::Unknown => true,
            super::topics::Changed::Topics { names, .. } => {
                names.iter().any(|name| consumer.is_subscribed(name))
            }
        };
        self.soft.is_fresh &= !concerns;
    }

    /// The group of KIP-848 that it is, if it is one.
    pub fn consumer(&self) -> Option<&Consumer> {
        self.consumer.as_deref()
    }

    /// The effect of a record of a group of KIP-848; gives the record that takes it back.
    pub(super) fn replay_consumer(&mut self, record: ConsumerRecord) -> ConsumerRecord {
        let consumer = self.consumer.get_or_insert_default();
        let before = consumer.replay(record);
        if consumer.is_gone() {
            self.consumer = None;
        }
        before
    }

    /// Takes a record of a group of KIP-848 back. A classic group that comes instead has none of its epochs.
    pub(super) fn take_back_consumer(&mut self, before: ConsumerRecord) {
        self.told = self.told.max(self.consumer.as_ref().map_or(0, |consumer| consumer.epoch()));
        self.replay_consumer(before);
    }

    /// Whether nothing durable is left, open transactions aside.
    pub(super) fn is_gone(&self) -> bool {
        self.stored.is_none() && self.consumer.is_none() && self.offsets.is_empty()
    }

    /// What the group is at, in Kafka's words.
    pub fn state_name(&self) -> &'static str {
        match &self.consumer {
            Some(consumer) => consumer.state().name(),
            None => self.state().name(),
        }
    }

    /// What a classic group is at.
    pub fn state(&self) -> State {
        self.classic.as_ref().map_or(State::Empty, |classic| classic.state())
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.state() == State::Empty && self.consumer.as_ref().is_none_or(|consumer| consumer.is_empty())
    }

    /// The type of its protocol, where one was ever chosen.
    pub fn protocol_type(&self) -> Option<&str> {
        match &self.classic {
            Some(classic) => classic.protocol_type.as_deref(),
            None if self.consumer.is_some() => Some(CONSUMER),
            None => self
                .stored
                .as_ref()
                .map(|stored| stored.protocol_type.as_str())
                .filter(|name| !name.is_empty()),
        }
    }

    /// Whether a member id was handed out that is not used yet.
    pub fn awaits_members(&self) -> bool {
        self.classic.as_ref().is_some_and(|classic| classic.awaits_members())
    }

    /// Sets the newest record, and gives the one before.
    pub(super) fn store(
        &mut self,
        value: Option<Arc<GroupMetadataValue>>,
    ) -> Option<Arc<GroupMetadataValue>> {
        if self.classic.as_ref().is_some_and(|classic| classic.is_told_by(value.as_deref())) {
            self.classic = None;
        }
        std::mem::replace(&mut self.stored, value)
    }

    /// Sets the record to what it was before one that is undone.
    pub(super) fn take_back(&mut self, before: Option<Arc<GroupMetadataValue>>) {
        let undone = std::mem::replace(&mut self.stored, before);
        self.told = self.told.max(undone.map_or(0, |undone| undone.generation));
    }

    /// The group is deleted: nobody is in it, but ids may have been handed out.
    pub(super) fn forget_members(&mut self) {
        self.classic = None;
    }

    /// The members and what they are at, from the record where nobody has asked yet.
    fn members(&mut self, now: Now) -> &mut Classic {
        let (stored, told) = (self.stored.as_deref(), self.told);
        self.classic.get_or_insert_with(|| Box::new(Classic::from_record(stored, told, now.wall)))
    }

    /// The log has been replayed.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>) {
        self.begin_consumer(turn);
        if self.stored.as_ref().is_none_or(|stored| stored.members.is_empty()) {
            return;
        }
        let max_size = turn.settings.max_size;
        self.members(turn.now);
        let Some(classic) = &mut self.classic else { return };
        for member in classic.members() {
            turn.start_session(&member.id, member.session_timeout_ms);
        }
        // Members that are too many do not get in again, and all can commit before. If a later generation was undone,
        // the members of this one are to join the next.
        if classic.len() > max_size || !classic.agrees_with(self.stored.as_deref()) {
            classic.prepare_rebalance(turn);
        }
    }

    /// Records of the group or of its offsets were undone.
    pub(super) fn undone(&mut self, has_pending: bool, error: ErrorCode, turn: &mut Turn<'_>) {
        let gone = self.is_gone() && !has_pending || self.consumer.is_some();
        self.soft = consumer::Soft::default();
        match &mut self.classic {
            Some(classic) if gone => {
                classic.answer_waiting(super::runtime::error_of_log(error), turn.effects);
                classic.forget_timers(turn);
                self.classic = None;
            }
            Some(classic) => classic.undone(self.stored.as_deref(), error, turn),
            None => self.begin(turn),
        }
        // Last: the deadlines of a classic group that is no more went by the same names.
        self.begin_consumer(turn);
    }

    /// The sessions of the members that have none begin.
    fn begin_consumer(&mut self, turn: &mut Turn<'_>) {
        let Some(consumer) = &self.consumer else { return };
        for id in consumer.members() {
            let current = consumer.current(id);
            let id: Name = id.as_str().into();
            if turn.timers.deadline(&Timer::Session(turn.name.clone(), id.clone())).is_none() {
                turn.start_session(&id, turn.consumer_session_timeout_ms);
            }
            let timer = Timer::Rebalance(turn.name.clone(), id.clone());
            let is_revoking = current.state == consumer::reconcile::UNREVOKED && !consumer.is_classic(&id);
            if !is_revoking {
                turn.timers.cancel(&timer);
            } else if turn.timers.deadline(&timer).is_none() {
                turn.start(timer, consumer.rebalance_timeout_ms(&id));
            }
        }
    }

    /// The coordinator ends.
    pub(super) fn close(&mut self, error: ErrorCode, effects: &mut Effects<Groups>) {
        if let Some(classic) = &mut self.classic {
            classic.answer_waiting(error, effects);
        }
    }

    pub(super) fn session_ended(&mut self, member: &Name, turn: &mut Turn<'_>) {
        if self.consumer.is_some() {
            return self.consumer_time_ended(member, turn);
        }
        if let Some(classic) = &mut self.classic {
            classic.session_ended(member, turn);
            if classic.is_told_by(self.stored.as_deref()) {
                self.classic = None;
            }
        }
    }

    pub(super) fn join_ended(&mut self, turn: &mut Turn<'_>) {
        if let Some(classic) = &mut self.classic {
            classic.join_ended(turn);
        }
    }

    pub(super) fn sync_ended(&mut self, turn: &mut Turn<'_>) {
        if let Some(classic) = &mut self.classic {
            classic.sync_ended(turn);
        }
    }

    /// Whether this committer may commit offsets.
    pub fn check_commit(&self, by: &CommitBy<'_>) -> Result<(), ErrorCode> {
        if let Some(consumer) = &self.consumer {
            return consumer.check_commit(by);
        }
        let state = self.state();
        if by.generation < 0 && state == State::Empty {
            return Ok(());
        }
        if by.generation >= 0 || !by.member_id.is_empty() || by.instance_id.is_some() {
            let classic = self.classic.as_ref().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            classic.check_member(by.member_id, by.instance_id)?;
            if by.generation != classic.generation() {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else if !by.transactional && state != State::Empty {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        match state {
            State::CompletingRebalance if !by.transactional => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// Whether this one may read committed offsets.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        self.consumer.as_ref().map_or(Ok(()), |consumer| consumer.check_fetch(member_id, epoch))
    }

    /// A commit shows that its member is alive.
    pub(super) fn keep_alive_by_commit(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        let Some(classic) = &self.classic else { return };
        if !matches!(classic.state(), State::Stable | State::PreparingRebalance) {
            return;
        }
        if let Some(member) = classic.member(member_id) {
            turn.start_session(&member.id, member.session_timeout_ms);
        }
    }

    /// Whether offsets may be deleted.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        match self.state() {
            State::Empty => Ok(()),
            _ if self.protocol_type() == Some(CONSUMER) => Ok(()),
            _ => Err(ErrorCode::NON_EMPTY_GROUP),
        }
    }

    /// Whether the group consumes the topic, or may do so.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        if let Some(consumer) = &self.consumer {
            return consumer.is_subscribed(topic);
        }
        self.classic.as_ref().is_some_and(|classic| classic.is_subscribed(topic))
    }

    /// From when on its offsets are kept for the time of retention.
    pub fn expiry(&self) -> Expiry {
        let state = self.state();
        let Some(protocol_type) = self.protocol_type().filter(|_| self.consumer.is_none()) else {
            return Expiry::AfterCommit;
        };
        match state {
            State::Empty => {
                let since = match &self.classic {
                    Some(classic) => classic.since(),
                    None => self.stored.as_ref().map_or(-1, |stored| stored.current_state_timestamp),
                };
                if since == -1 { Expiry::AfterCommit } else { Expiry::After(since) }
            }
            State::Stable if protocol_type == CONSUMER && self.knows_topics() => Expiry::AfterCommit,
            _ => Expiry::Never,
        }
    }

    fn knows_topics(&self) -> bool {
        self.classic.as_ref().is_some_and(|classic| classic.knows_topics())
    }
}
