//! A group of KIP-848: the broker assigns, and each member follows at its own pace.
//!
//! Its records, replayed and taken back, and [`reconcile`]: a member's step towards its target.

pub mod reconcile;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::CommitBy;
use crate::coordinator::records::ConsumerRecord;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

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
            Member(id, value) => Member(id.clone(), set(&mut self.members, id, value)),
            Target(id, value) => Target(id.clone(), set(&mut self.targets, id, value)),
            Current(id, value) => Current(id.clone(), set(&mut self.currents, id, value)),
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

    /// Whether a member subscribes to the topic, by its name or by what its pattern matched.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.subscribed_topic_names.iter().any(|name| name == topic))
            || self.patterns.values().any(|matched| matched.topics.iter().any(|name| name == topic))
    }

    /// Whether this committer may commit offsets.
    pub fn check_commit(&self, by: &CommitBy<'_>) -> Result<(), ErrorCode> {
        if by.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(by.member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let is_classic = member.classic_member_metadata.is_some();
        if !by.transactional && !is_classic && !by.knows_epochs {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let epoch = self.currents.get(by.member_id).map_or(0, |current| current.member_epoch);
        match by.generation == epoch {
            true => Ok(()),
            false if is_classic => Err(ErrorCode::ILLEGAL_GENERATION),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    /// The records that put a member out, if it is one: those of its own go, and the group has a new epoch.
    pub fn without(&self, id: &str) -> Vec<ConsumerRecord> {
        use ConsumerRecord::*;
        if !self.members.contains_key(id) {
            return Vec::new();
        }
        let epoch =
            ConsumerGroupMetadataValue { epoch: self.epoch() + 1, ..self.epoch.clone().unwrap_or_default() };
        vec![Current(id.into(), None), Target(id.into(), None), Member(id.into(), None), Epoch(Some(epoch))]
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
