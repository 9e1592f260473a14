//! What can be told of a group's records without looking at all of them.
//!
//! Kept as records are replayed and taken back, and always the same as if it were made anew from them.

use std::collections::BTreeMap;

use crate::coordinator::names::Name;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// How often each name occurs; none is there with zero.
pub(super) type Counts = BTreeMap<String, usize>;

/// What is counted and looked up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    /// The member of each `group.instance.id`.
    pub statics: BTreeMap<String, String>,
    /// The members that subscribe to each topic by its name.
    pub names: Counts,
    /// The members that subscribe by each pattern.
    pub patterns: Counts,
    /// The members that ask for each assignor.
    pub assignors: Counts,
    /// The classic members that support each protocol.
    pub protocols: Counts,
    /// How many members are classic ones.
    pub classics: usize,
    /// Who has a partition, or has not given it up.
    pub owners: BTreeMap<Uuid, BTreeMap<i32, Name>>,
}

fn count(counts: &mut Counts, name: &str, more: bool) {
    match counts.get_mut(name) {
        Some(count) if more => *count += 1,
        Some(1) => drop(counts.remove(name)),
        Some(count) => *count -= 1,
        None if more => drop(counts.insert(name.into(), 1)),
        None => {}
    }
}

/// The pattern of a member that subscribes by one.
pub(super) fn pattern_of(member: &ConsumerGroupMemberMetadataValue) -> Option<&str> {
    member.subscribed_topic_regex.as_deref().filter(|pattern| !pattern.is_empty())
}

impl Index {
    /// A member's record has changed.
    pub fn member(
        &mut self,
        id: &str,
        before: Option<&ConsumerGroupMemberMetadataValue>,
        now: Option<&ConsumerGroupMemberMetadataValue>,
    ) {
        if let Some(before) = before {
            self.count(before, false);
            if let Some(instance) = &before.instance_id
                && self.statics.get(instance).is_some_and(|member| member == id)
            {
                self.statics.remove(instance);
            }
        }
        if let Some(now) = now {
            self.count(now, true);
            if let Some(instance) = &now.instance_id {
                self.statics.insert(instance.clone(), id.into());
            }
        }
    }

    fn count(&mut self, member: &ConsumerGroupMemberMetadataValue, more: bool) {
        for name in &member.subscribed_topic_names {
            count(&mut self.names, name, more);
        }
        if let Some(pattern) = pattern_of(member) {
            count(&mut self.patterns, pattern, more);
        }
        if let Some(assignor) = &member.server_assignor {
            count(&mut self.assignors, assignor, more);
        }
        if let Some(classic) = &member.classic_member_metadata {
            for protocol in &classic.supported_protocols {
                count(&mut self.protocols, &protocol.name, more);
            }
            match more {
                true => self.classics += 1,
                false => self.classics -= 1,
            }
        }
    }

    /// What a member has has changed.
    pub fn current(
        &mut self,
        id: &str,
        before: Option<&ConsumerGroupCurrentMemberAssignmentValue>,
        now: Option<&ConsumerGroupCurrentMemberAssignmentValue>,
    ) {
        for topic in before.into_iter().flat_map(held) {
            let Some(owners) = self.owners.get_mut(&topic.topic_id) else { continue };
            for partition in &topic.partitions {
                if owners.get(partition).is_some_and(|owner| **owner == *id) {
                    owners.remove(partition);
                }
            }
            if owners.is_empty() {
                self.owners.remove(&topic.topic_id);
            }
        }
        let owner: Name = id.into();
        for topic in now.into_iter().flat_map(held) {
            let owners = self.owners.entry(topic.topic_id).or_default();
            owners.extend(topic.partitions.iter().map(|partition| (*partition, owner.clone())));
        }
    }

    /// Whether somebody else has the partition, or has not given it up.
    pub fn is_held_from(&self, id: &str, topic: &Uuid, partition: i32) -> bool {
        let owner = self.owners.get(topic).and_then(|owners| owners.get(&partition));
        owner.is_some_and(|owner| **owner != *id)
    }
}

fn held(
    current: &ConsumerGroupCurrentMemberAssignmentValue,
) -> impl Iterator<Item = &ConsumerGroupCurrentMemberAssignmentTopicPartitions> {
    let topics = current.assigned_partitions.iter().chain(&current.partitions_pending_revocation);
    topics.filter(|topic| !topic.partitions.is_empty())
}
