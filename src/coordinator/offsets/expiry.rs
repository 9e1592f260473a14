//! Offsets that nobody wants any more: those that have expired, and those of deleted topics.
//!
//! A sweep walks over the groups, a part of them at a time, so that a core with many groups serves others between.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use crate::coordinator::group::Expiry;
use crate::coordinator::groups::Groups;
use crate::coordinator::names::Name;
use crate::coordinator::offsets::Spot;
use crate::coordinator::offsets::delete::tombstone;
use crate::coordinator::runtime::{Effects, Now};
use crate::limits;

/// A walk over all groups.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Deletes the offsets of these topics; without them, those that have expired.
    topics: Option<BTreeSet<String>>,
    /// The last group that is done.
    after: Option<Name>,
}

/// The walks that are to be done, the first of them under way.
#[derive(Clone, Debug, Default)]
pub(in crate::coordinator) struct Sweeps {
    waiting: VecDeque<Sweep>,
}

impl Sweeps {
    /// Asks for a walk that deletes what has expired, unless one is waiting.
    pub(in crate::coordinator) fn expire(&mut self) {
        if !self.waiting.iter().any(|sweep| sweep.topics.is_none()) {
            self.waiting.push_back(Sweep::default());
        }
    }

    /// Asks for a walk that deletes the offsets of these topics.
    pub(in crate::coordinator) fn delete_topics(&mut self, topics: BTreeSet<String>) {
        let is_full = self.waiting.len() >= limits::TOPIC_SWEEPS;
        match self.waiting.back_mut() {
            // One that has not begun takes more topics; past the bound, it begins anew with more of them.
            Some(Sweep { topics: Some(more), after }) if after.is_none() || is_full => {
                more.extend(topics);
                *after = None;
            }
            _ => self.waiting.push_back(Sweep { topics: Some(topics), after: None }),
        }
    }

    pub(in crate::coordinator) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Groups {
    /// Does a part of the first walk.
    pub(in crate::coordinator) fn sweep(&mut self, now: Now, effects: &mut Effects<Groups>) {
        let Some(sweep) = self.sweeps.waiting.front() else { return };
        let from = sweep.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut done = None;
        let mut looked = 0;
        for (name, _) in
            self.groups.range::<str, _>((from.as_ref().map(|name: &Name| &**name), Bound::Unbounded))
        {
            let complete = match &sweep.topics {
                Some(topics) => self.delete_topics_of(name, topics, effects),
                None => self.expire_group(now, name, effects),
            };
            looked += 1;
            if complete {
                done = Some(name.clone());
            }
            if !complete || looked >= limits::GROUPS_TURN || effects.records.len() >= limits::OFFSETS_TURN {
                self.sweeps.waiting.front_mut().expect("it is under way").after = done.or(from_name(from));
                return;
            }
        }
        let expired = sweep.topics.is_none();
        self.sweeps.waiting.pop_front();
        if expired {
            self.names.forget_unused();
        }
    }

    /// Deletes a group's offsets of these topics; whether it got to the end.
    fn delete_topics_of(
        &self,
        name: &Name,
        topics: &BTreeSet<String>,
        effects: &mut Effects<Groups>,
    ) -> bool {
        let Some(group) = self.group(name) else { return true };
        let mut spots: BTreeSet<Spot> = BTreeSet::new();
        if self.pending().has_group(name) {
            spots.extend(self.pending().of_group(name).filter(|spot| topics.contains(&*spot.topic)).cloned());
        }
        for topic in topics.iter().filter(|topic| group.offsets.has_topic(topic)) {
            let topic: Name = topic.as_str().into();
            spots.extend(group.offsets.of(&topic).map(|(partition, _)| Spot {
                group: name.clone(),
                topic: topic.clone(),
                partition,
            }));
        }
        effects.records.extend(spots.iter().take(limits::OFFSETS_TURN).map(tombstone));
        spots.len() <= limits::OFFSETS_TURN
    }

    /// Deletes the offsets of a group that have expired, and the group when nothing is left of it. Whether it got
    /// to the end.
    fn expire_group(&self, now: Now, name: &Name, effects: &mut Effects<Groups>) -> bool {
        let Some(group) = self.group(name) else { return true };
        let retention = self.settings().offsets_retention_ms;
        let mut all_gone = !self.pending().has_group(name);
        let mut room = limits::OFFSETS_TURN;
        if !group.offsets.is_empty() {
            let expiry = group.expiry();
            if expiry == Expiry::Never {
                return true;
            }
            let fits = |committed: i64, expires: Option<i64>| match (expires, expiry) {
                (Some(at), _) => now.wall >= at,
                (None, Expiry::After(since)) => now.wall - since >= retention,
                (None, _) => now.wall - committed >= retention,
            };
            for topic in group.offsets.topics() {
                if group.is_subscribed(topic) {
                    all_gone = false;
                    continue;
                }
                for (partition, expired) in group.offsets.that_fit(topic, fits) {
                    let spot = Spot { group: name.clone(), topic: topic.clone(), partition };
                    if !expired || self.pending().contains(&spot) {
                        all_gone = false;
                        continue;
                    }
                    if room == 0 {
                        return false;
                    }
                    room -= 1;
                    effects.records.push(tombstone(&spot));
                }
            }
        }
        // A member that was given an id is about to join.
        if all_gone && group.is_empty() && !group.awaits_members() {
            group.delete(name, effects);
        }
        true
    }
}

fn from_name(from: Bound<Name>) -> Option<Name> {
    match from {
        Bound::Included(name) | Bound::Excluded(name) => Some(name),
        Bound::Unbounded => None,
    }
}
