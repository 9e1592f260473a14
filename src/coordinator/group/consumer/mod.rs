//! A group of KIP-848: the broker assigns, and each member follows at its own pace.
//!
//! - This file: its records, replayed and taken back, and what they say. `index`: the same, to look up.
//! - `draft`: the records of one event, as if they were replayed already.
//! - `heartbeat`: what members ask. `advance`: what follows from it: epochs, the target assignment, the member's step.
//! - [`reconcile`]: a member's step towards its target. `target`: the target assignment.
//! - `patterns`: the topics that regular expressions match. [`pattern`]: one of them.
//! - `fence`: members that go. `classic`: members that speak the classic protocol. `migrate`: groups that change from
//!   one protocol to the other. `describe`: how a group is told of.

mod advance;
mod classic;
mod describe;
mod draft;
mod fence;
mod heartbeat;
mod index;
mod migrate;
pub mod pattern;
mod patterns;
pub mod reconcile;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use classic::check_join;
pub(in crate::coordinator) use heartbeat::refused as refused_heartbeat;
use patterns::Resolution;

use self::index::{Index, pattern_of};
use self::reconcile::Current;
use super::CommitBy;
use crate::coordinator::assign::Assignment;
use crate::coordinator::records::ConsumerRecord;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// Why a request is refused.
pub(super) struct Refusal {
    pub code: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

/// What of a group of KIP-848 is lost with the process.
#[derive(Debug, Default)]
pub(super) struct Soft {
    /// Nothing that it subscribes to has changed since its epoch was written.
    pub is_fresh: bool,
    /// Its patterns are being matched with the topics.
    pub resolution: Option<Box<Resolution>>,
}

/// What the records of a group say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consumer {
    epoch: Option<ConsumerGroupMetadataValue>,
    /// Of old versions: kept so that they are deleted with the group.
    topics: Option<Box<ConsumerGroupPartitionMetadataValue>>,
    members: BTreeMap<String, Box<ConsumerGroupMemberMetadataValue>>,
    target_epoch: Option<ConsumerGroupTargetAssignmentMetadataValue>,
    targets: BTreeMap<String, Box<ConsumerGroupTargetAssignmentMemberValue>>,
    currents: BTreeMap<String, Box<ConsumerGroupCurrentMemberAssignmentValue>>,
    patterns: BTreeMap<String, Box<ConsumerGroupRegularExpressionValue>>,
    index: Index,
}

/// What a group of KIP-848 is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    /// It has no members.
    Empty,
    /// The target assignment is older than the group's members and topics.
    Assigning,
    /// Some members have not got to their targets.
    Reconciling,
    /// All have.
    Stable,
}

impl ConsumerState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            ConsumerState::Empty => "Empty",
            ConsumerState::Assigning => "Assigning",
            ConsumerState::Reconciling => "Reconciling",
            ConsumerState::Stable => "Stable",
        }
    }
}

/// Sets or removes what is under a key; gives what was there.
fn set<V>(map: &mut BTreeMap<String, Box<V>>, key: String, value: Option<V>) -> Option<V> {
    let before = match value {
        Some(value) => map.insert(key, Box::new(value)),
        None => map.remove(&key),
    };
    before.map(|value| *value)
}

impl Consumer {
    /// The effect of a record. Gives the record that takes it back.
    pub fn replay(&mut self, record: ConsumerRecord) -> ConsumerRecord {
        use ConsumerRecord::*;
        match record {
            Epoch(value) => Epoch(std::mem::replace(&mut self.epoch, value)),
            Topics(value) => {
                Topics(std::mem::replace(&mut self.topics, value.map(Box::new)).map(|value| *value))
            }
            TargetEpoch(value) => TargetEpoch(std::mem::replace(&mut self.target_epoch, value)),
            Member(id, value) => {
                let before = set(&mut self.members, id.clone(), value);
                self.index.member(&id, before.as_ref(), self.members.get(&id).map(|value| &**value));
                Member(id, before)
            }
            Target(id, value) => Target(id.clone(), set(&mut self.targets, id, value)),
            Current(id, value) => {
                let before = set(&mut self.currents, id.clone(), value);
                self.index.current(&id, before.as_ref(), self.currents.get(&id).map(|value| &**value));
                Current(id, before)
            }
            Pattern(text, value) => Pattern(text.clone(), set(&mut self.patterns, text, value)),
        }
    }

    /// Whether nothing is left of it.
    pub fn is_gone(&self) -> bool {
        *self == Consumer::default()
    }

    /// The group's epoch: it grows with each change of its members or topics.
    pub fn epoch(&self) -> i32 {
        self.epoch.as_ref().map_or(0, |value| value.epoch)
    }

    /// The epoch of the target assignment.
    pub fn target_epoch(&self) -> i32 {
        self.target_epoch.as_ref().map_or(-1, |value| value.assignment_epoch)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What the group is at.
    pub fn state(&self) -> ConsumerState {
        let target = self.target_epoch();
        let is_there = |id: &String| {
            let current = self.currents.get(id);
            current
                .is_some_and(|current| current.state == reconcile::STABLE && current.member_epoch == target)
        };
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch() > target {
            ConsumerState::Assigning
        } else if self.members.keys().all(is_there) {
            ConsumerState::Stable
        } else {
            ConsumerState::Reconciling
        }
    }

    /// The ids of the members.
    pub fn members(&self) -> impl Iterator<Item = &String> {
        self.members.keys()
    }

    /// Whether this is a member.
    pub fn has_member(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    /// Where a member is; at the start, where nothing is told of it.
    pub fn current(&self, id: &str) -> Current {
        self.currents.get(id).map_or_else(Current::default, |value| Current::from_record(value))
    }

    /// What a member is to have.
    pub fn target(&self, id: &str) -> Assignment {
        self.targets.get(id).map_or_else(Assignment::new, |value| target::from_record(value))
    }

    /// How long a member may take to give up partitions.
    pub(super) fn rebalance_timeout_ms(&self, id: &str) -> i32 {
        self.members.get(id).map_or(0, |member| member.rebalance_timeout_ms)
    }

    /// Who has a partition, or has not given it up.
    pub fn owner(&self, topic: &Uuid, partition: i32) -> Option<&str> {
        self.index.owners.get(topic)?.get(&partition).map(|owner| &**owner)
    }

    /// How many members speak the classic protocol.
    pub fn classic_members(&self) -> usize {
        self.index.classics
    }

    /// Whether a member subscribes to the topic, by its name or by what its pattern matched.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.index.names.contains_key(topic)
            || self.matched().any(|topics| topics.iter().any(|name| name == topic))
    }

    /// The topics of each pattern that a member subscribes by.
    fn matched(&self) -> impl Iterator<Item = &Vec<String>> {
        let patterns = self.patterns.iter().filter(|(text, _)| self.index.patterns.contains_key(*text));
        patterns.map(|(_, matched)| &matched.topics)
    }

    /// All topics that members subscribe to, whether they exist or not.
    fn subscribed(&self) -> BTreeSet<&str> {
        let names = self.index.names.keys().map(String::as_str);
        names.chain(self.matched().flatten().map(String::as_str)).collect()
    }

    /// The topics that a member subscribes to.
    fn topics_of<'a>(
        &'a self,
        member: &'a ConsumerGroupMemberMetadataValue,
    ) -> impl Iterator<Item = &'a String> {
        let matched = pattern_of(member).and_then(|pattern| self.patterns.get(pattern));
        member.subscribed_topic_names.iter().chain(matched.into_iter().flat_map(|matched| &matched.topics))
    }

    /// The assignor that most members who ask for one ask for.
    fn preferred_assignor(&self) -> Option<&str> {
        let assignors = self.index.assignors.iter();
        assignors
            .max_by_key(|(name, count)| (**count, std::cmp::Reverse(*name)))
            .map(|(name, _)| name.as_str())
    }

    fn metadata_hash(&self) -> i64 {
        self.epoch.as_ref().map_or(0, |value| value.metadata_hash)
    }

    /// What can be looked up is what the records say.
    #[cfg(test)]
    pub fn check_index(&self) {
        let mut index = Index::default();
        for (id, member) in &self.members {
            index.member(id, None, Some(member));
        }
        let mut held = 0;
        for (id, current) in &self.currents {
            index.current(id, None, Some(current));
            let current = Current::from_record(current);
            let all = current.assigned.values().chain(current.revoking.values());
            held += all.map(BTreeSet::len).sum::<usize>();
        }
        assert_eq!(
            held,
            index.owners.values().map(BTreeMap::len).sum::<usize>(),
            "a partition is with two members"
        );
        assert_eq!(self.index, index);
    }

    /// Whether this committer may commit offsets.
    pub fn check_commit(&self, by: &CommitBy<'_>) -> Result<(), ErrorCode> {
        if by.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(by.member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if !by.transactional && member.classic_member_metadata.is_none() && !by.knows_epochs {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        self.check_epoch(by.member_id, by.generation)
    }

    /// Whether this one may read offsets: who names no member may.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match member_id {
            None if epoch < 0 => Ok(()),
            _ => self.check_epoch(member_id.unwrap_or_default(), epoch),
        }
    }

    fn check_epoch(&self, id: &str, epoch: i32) -> Result<(), ErrorCode> {
        let member = self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        match epoch == self.currents.get(id).map_or(0, |current| current.member_epoch) {
            true => Ok(()),
            false if member.classic_member_metadata.is_some() => Err(ErrorCode::ILLEGAL_GENERATION),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    /// The records that delete the group, what belongs to members first.
    pub fn tombstones(&self) -> Vec<ConsumerRecord> {
        use ConsumerRecord::*;
        let mut records = Vec::new();
        records.extend(self.currents.keys().map(|id| Current(id.clone(), None)));
        records.extend(self.targets.keys().map(|id| Target(id.clone(), None)));
        records.extend(self.target_epoch.as_ref().map(|_| TargetEpoch(None)));
        records.extend(self.members.keys().map(|id| Member(id.clone(), None)));
        records.extend(self.topics.as_ref().map(|_| Topics(None)));
        records.extend(self.patterns.keys().map(|text| Pattern(text.clone(), None)));
        records.push(Epoch(None));
        records
    }
}
