//! A member's step towards its target.
//!
//! A member gives up first what it is not to have any more, and keeps its epoch while it does. Then it moves to the
//! epoch of the target, and gets what nobody else holds; what others still hold it gets when they have let go.

use std::collections::BTreeSet;

use crate::coordinator::assign::Assignment;
use crate::wire::schema::{
    ConsumerGroupCurrentMemberAssignmentTopicPartitions, ConsumerGroupCurrentMemberAssignmentValue,
};
use crate::wire::uuid::Uuid;

/// All that the target gives is there.
pub const STABLE: i8 = 0;
/// The member is to give up partitions.
pub const UNREVOKED: i8 = 1;
/// The member waits for partitions that others hold.
pub const UNRELEASED: i8 = 2;

/// Where a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The member's epoch.
    pub epoch: i32,
    /// The one before, with which a heartbeat may come whose answer was lost.
    pub previous_epoch: i32,
    /// [`STABLE`], [`UNREVOKED`] or [`UNRELEASED`].
    pub state: i8,
    /// What it has, or may take.
    pub assigned: Assignment,
    /// What it is to give up; nobody else gets it before it has.
    pub revoking: Assignment,
}

impl Default for Current {
    fn default() -> Current {
        Current {
            epoch: 0,
            previous_epoch: -1,
            state: STABLE,
            assigned: Assignment::new(),
            revoking: Assignment::new(),
        }
    }
}

/// Where the member is to be.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The epoch of the target assignment.
    pub epoch: i32,
    /// What it gives the member.
    pub assignment: &'a Assignment,
}

/// What is known when a member takes a step.
pub struct Around<'a> {
    /// What the member says it has, where it does.
    pub owned: Option<&'a Assignment>,
    /// Whether its subscription has changed just now.
    pub has_new_subscription: bool,
    /// Whether it subscribes to a topic.
    pub is_subscribed: &'a dyn Fn(&Uuid) -> bool,
    /// Whether another member has a partition or has not given it up.
    pub is_held: &'a dyn Fn(&Uuid, i32) -> bool,
}

impl Current {
    /// What a record says.
    pub fn from_record(value: &ConsumerGroupCurrentMemberAssignmentValue) -> Current {
        let read = |topics: &[ConsumerGroupCurrentMemberAssignmentTopicPartitions]| {
            let topics = topics.iter().filter(|topic| !topic.partitions.is_empty());
            topics.map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect()
        };
        Current {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            state: value.state,
            assigned: read(&value.assigned_partitions),
            revoking: read(&value.partitions_pending_revocation),
        }
    }

    /// What the record is to say.
    pub fn to_record(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        let written = |assignment: &Assignment| {
            let topics = assignment.iter().map(|(topic_id, partitions)| {
                ConsumerGroupCurrentMemberAssignmentTopicPartitions {
                    topic_id: *topic_id,
                    partitions: partitions.iter().copied().collect(),
                }
            });
            topics.collect()
        };
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state,
            assigned_partitions: written(&self.assigned),
            partitions_pending_revocation: written(&self.revoking),
        }
    }

    /// Whether it has got to the target of this epoch.
    pub fn is_at(&self, epoch: i32) -> bool {
        self.state == STABLE && self.epoch == epoch
    }

    /// The next step; the same where there is none. None: it is in a state that is not known here, and has to give up
    /// all that it has before it can go on.
    pub fn towards(&self, target: Target<'_>, around: &Around<'_>) -> Option<Current> {
        let next = match self.state {
            STABLE if self.epoch != target.epoch => self.step(target, around),
            STABLE if around.has_new_subscription => self.without_unsubscribed(around),
            STABLE => self.clone(),
            UNREVOKED if !owns_any(around.owned, &self.revoking) => self.step(target, around),
            UNREVOKED if around.has_new_subscription => self.without_unsubscribed(around),
            UNREVOKED => self.clone(),
            UNRELEASED => self.step(target, around),
            _ if around.owned.is_some_and(Assignment::is_empty) => self.step(target, around),
            _ => return None,
        };
        Some(next)
    }

    /// Takes from it what it does not subscribe to any more, before there is a target that says so.
    fn without_unsubscribed(&self, around: &Around<'_>) -> Current {
        let mut next = self.clone();
        next.assigned.retain(|topic, _| (around.is_subscribed)(topic));
        if next.assigned == self.assigned {
            return next;
        }
        for (topic, partitions) in &self.assigned {
            if !next.assigned.contains_key(topic) {
                next.revoking.entry(*topic).or_default().extend(partitions);
            }
        }
        match owns_any(around.owned, &next.revoking) {
            true => next.state = UNREVOKED,
            false => next.revoking = self.revoking.clone(),
        }
        next
    }

    fn step(&self, target: Target<'_>, around: &Around<'_>) -> Current {
        let none = BTreeSet::new();
        let wanted = |topic: &Uuid| match (around.is_subscribed)(topic) {
            true => target.assignment.get(topic).unwrap_or(&none),
            false => &none,
        };
        let mut assigned = Assignment::new();
        let mut revoking = Assignment::new();
        for (topic, partitions) in &self.assigned {
            let wanted = wanted(topic);
            for partition in partitions {
                let to = if wanted.contains(partition) { &mut assigned } else { &mut revoking };
                to.entry(*topic).or_default().insert(*partition);
            }
        }
        if !revoking.is_empty() && owns_any(around.owned, &revoking) {
            return self.at(self.epoch, UNREVOKED, assigned, revoking);
        }
        let mut state = STABLE;
        for topic in target.assignment.keys() {
            for partition in wanted(topic) {
                let has_it = assigned.get(topic).is_some_and(|assigned| assigned.contains(partition));
                if !has_it && (around.is_held)(topic, *partition) {
                    state = UNRELEASED;
                } else if !has_it {
                    assigned.entry(*topic).or_default().insert(*partition);
                }
            }
        }
        self.at(target.epoch, state, assigned, Assignment::new())
    }

    /// It is there by a step: also one within an epoch ends the time in which a heartbeat may bear the one before.
    fn at(&self, epoch: i32, state: i8, assigned: Assignment, revoking: Assignment) -> Current {
        Current { epoch, previous_epoch: self.epoch, state, assigned, revoking }
    }
}

/// Whether the member has some of these, as far as it has said: who has said nothing may have all.
fn owns_any(owned: Option<&Assignment>, partitions: &Assignment) -> bool {
    let Some(owned) = owned else { return true };
    let none = BTreeSet::new();
    partitions.iter().any(|(topic, partitions)| !owned.get(topic).unwrap_or(&none).is_disjoint(partitions))
}
