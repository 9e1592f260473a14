//! The uniform assignor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Assignment, Given, Task};
use crate::coordinator::names::Name;
use crate::wire::uuid::Uuid;

/// Gives all members as nearly the same number of partitions as their topics allow, and leaves with each member what
/// it has, as far as that goes.
pub fn uniform(task: &Task) -> Given {
    match task.common_topics() {
        Some(topics) => alike(task, topics),
        None => different(task),
    }
}

/// All members subscribe to the same topics: each gets a quota, and some get one more.
fn alike(task: &Task, topics: &BTreeSet<Uuid>) -> Given {
    let total: usize = topics.iter().map(|topic| task.partitions_of(topic) as usize).sum();
    let quota = total / task.members.len();
    let mut extra = total % task.members.len();
    let mut given = Given::new();
    let mut wanting: Vec<(Name, usize)> = Vec::new();
    let mut taken: BTreeMap<Uuid, BTreeSet<i32>> = BTreeMap::new();
    // Who has more than the quota keeps one of the extras, while there are any.
    let held = |id: &Name| task.members[id].assignment.values().map(BTreeSet::len).sum::<usize>();
    let mut ids: Vec<&Name> = task.members.keys().collect();
    ids.sort_by_key(|id| held(id) <= quota);
    for id in ids {
        let mut room = quota + usize::from(extra > 0);
        extra = extra.saturating_sub(1);
        let mut kept = Assignment::new();
        for (topic, partitions) in &task.members[id].assignment {
            if !topics.contains(topic) {
                continue;
            }
            for partition in partitions.range(..task.partitions_of(topic)) {
                // Two members may have it, where one has not let go of it yet.
                if room > 0 && taken.entry(*topic).or_default().insert(*partition) {
                    kept.entry(*topic).or_default().insert(*partition);
                    room -= 1;
                }
            }
        }
        if room > 0 {
            wanting.push((id.clone(), room));
        }
        given.insert(id.clone(), kept);
    }
    let free = topics
        .iter()
        .flat_map(|topic| (0..task.partitions_of(topic)).map(move |partition| (*topic, partition)));
    let mut free =
        free.filter(|(topic, partition)| !taken.get(topic).is_some_and(|taken| taken.contains(partition)));
    for (id, room) in wanting {
        let assignment = given.entry(id).or_default();
        for (topic, partition) in free.by_ref().take(room) {
            assignment.entry(topic).or_default().insert(partition);
        }
    }
    given
}

/// Members subscribe to different topics.
struct Different<'a> {
    task: &'a Task,
    given: Given,
    loads: BTreeMap<&'a Name, usize>,
    subscribers: BTreeMap<Uuid, Vec<&'a Name>>,
}

fn different(task: &Task) -> Given {
    let mut subscribers: BTreeMap<Uuid, Vec<&Name>> = BTreeMap::new();
    for (id, member) in &task.members {
        for topic in member.topics.iter() {
            subscribers.entry(*topic).or_default().push(id);
        }
    }
    let given = task.members.keys().map(|id| (id.clone(), Assignment::new())).collect();
    let loads = task.members.keys().map(|id| (id, 0)).collect();
    let mut work = Different { task, given, loads, subscribers };
    let mut taken: BTreeMap<Uuid, BTreeSet<i32>> = BTreeMap::new();
    for (id, member) in &task.members {
        for (topic, partitions) in member.assignment.iter().filter(|(topic, _)| member.topics.contains(topic))
        {
            for partition in partitions.range(..task.partitions_of(topic)) {
                if taken.entry(*topic).or_default().insert(*partition) {
                    work.give(id, *topic, *partition);
                }
            }
        }
    }
    // What few can take is given first.
    let mut topics: Vec<Uuid> = work.subscribers.keys().copied().collect();
    topics.sort_by_key(|topic| (work.subscribers[topic].len(), *topic));
    for topic in &topics {
        let none = BTreeSet::new();
        let taken = taken.get(topic).unwrap_or(&none);
        for partition in (0..task.partitions_of(topic)).filter(|partition| !taken.contains(partition)) {
            let id = work.least_loaded(topic);
            work.give(id, *topic, partition);
        }
    }
    work.balance(&topics);
    work.given
}

impl<'a> Different<'a> {
    fn give(&mut self, id: &'a Name, topic: Uuid, partition: i32) {
        self.given.get_mut(id).expect("each member is there").entry(topic).or_default().insert(partition);
        *self.loads.get_mut(id).expect("each member is there") += 1;
    }

    fn take(&mut self, id: &'a Name, topic: Uuid) -> Option<i32> {
        let assignment = self.given.get_mut(id)?;
        let partitions = assignment.get_mut(&topic)?;
        let partition = partitions.pop_last()?;
        if partitions.is_empty() {
            assignment.remove(&topic);
        }
        *self.loads.get_mut(id)? -= 1;
        Some(partition)
    }

    fn least_loaded(&self, topic: &Uuid) -> &'a Name {
        let subscribers = self.subscribers[topic].iter().copied();
        subscribers.min_by_key(|id| self.loads[id]).expect("the topic has subscribers")
    }

    /// Moves partitions from who has more to who has at least two less, until nobody does. Each move makes the sum
    /// of the squares of what members have smaller, so that it ends.
    fn balance(&mut self, topics: &[Uuid]) {
        let mut waiting: VecDeque<Uuid> = topics.iter().copied().collect();
        let mut queued: BTreeSet<Uuid> = topics.iter().copied().collect();
        while let Some(topic) = waiting.pop_front() {
            queued.remove(&topic);
            let mut moved: BTreeSet<&Name> = BTreeSet::new();
            loop {
                let to = self.least_loaded(&topic);
                let holders = self.subscribers[&topic].iter().copied();
                let holders = holders.filter(|id| self.given[*id].contains_key(&topic));
                let Some(from) = holders.max_by_key(|id| self.loads[id]) else { break };
                if self.loads[from] < self.loads[to] + 2 {
                    break;
                }
                let Some(partition) = self.take(from, topic) else { break };
                self.give(to, topic, partition);
                moved.extend([from, to]);
            }
            // Other topics of who has more or less now may be out of balance.
            for id in moved {
                for other in self.task.members[id].topics.iter().filter(|other| **other != topic) {
                    if self.subscribers.contains_key(other) && queued.insert(*other) {
                        waiting.push_back(*other);
                    }
                }
            }
        }
    }
}
