//! The assignors of the brokers: who of a group's members gets which partitions.
//!
//! Pure functions of the members, what each subscribes to, and what each was given before.
//!
//! - [`range`]: for each topic by itself, a run of partitions for each member.
//! - [`uniform`]: the same number for each, and as few moves as that allows.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use range::range;
pub use uniform::uniform;

use super::names::Name;
use crate::wire::uuid::Uuid;

/// Partitions by topic. No topic is without partitions.
pub type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// A member, as assignors see it.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// The `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// The topics that it subscribes to. Members with the same topics share them.
    pub topics: Arc<BTreeSet<Uuid>>,
    /// What it was given before.
    pub assignment: Assignment,
}

/// What there is to assign, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Task {
    /// The members, by id.
    pub members: BTreeMap<Name, Subscriber>,
    /// How many partitions each topic has. What is not here does not exist and is given to nobody.
    pub partitions: BTreeMap<Uuid, i32>,
}

/// What each member is given.
pub type Given = BTreeMap<Name, Assignment>;

impl Task {
    /// The topics of all members, where they are the same.
    fn common_topics(&self) -> Option<&BTreeSet<Uuid>> {
        let mut members = self.members.values();
        let first = &members.next()?.topics;
        let same = |other: &Subscriber| Arc::ptr_eq(first, &other.topics) || *first == other.topics;
        members.all(same).then_some(&**first)
    }

    /// How many partitions a topic has.
    fn partitions_of(&self, topic: &Uuid) -> i32 {
        self.partitions.get(topic).copied().unwrap_or(0)
    }
}

/// An assignor that brokers offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// [`uniform`]
    Uniform,
    /// [`range`]
    Range,
}

impl Assignor {
    /// The assignor of this name.
    pub fn named(name: &str) -> Option<Assignor> {
        [Assignor::Uniform, Assignor::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// Who gets what.
    pub fn assign(self, task: &Task) -> Given {
        match self {
            Assignor::Uniform => uniform(task),
            Assignor::Range => range(task),
        }
    }
}
