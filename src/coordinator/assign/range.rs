//! The range assignor.

use std::collections::BTreeMap;

use super::{Assignment, Given, Subscriber, Task};
use crate::coordinator::names::Name;
use crate::wire::uuid::Uuid;

/// What of a topic is still to be given.
struct Rest {
    next: i32,
    partitions: i32,
    least: i32,
    /// So many members get one more.
    extra: i32,
}

/// Gives each member a run of partitions of each of its topics. Members stand in one order for all topics, so that
/// topics with the same number of partitions and the same members are given alike: static ones first, by instance.
pub fn range(task: &Task) -> Given {
    let mut members: Vec<(&Name, &Subscriber)> = task.members.iter().collect();
    members.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance.clone(), (*id).clone()));
    let mut subscribers: BTreeMap<Uuid, i32> = BTreeMap::new();
    for (_, member) in &members {
        for topic in member.topics.iter() {
            *subscribers.entry(*topic).or_default() += 1;
        }
    }
    let rest = |(topic, members): (Uuid, i32)| {
        let partitions = task.partitions_of(&topic);
        (topic, Rest { next: 0, partitions, least: partitions / members, extra: partitions % members })
    };
    let mut rests: BTreeMap<Uuid, Rest> = subscribers.into_iter().map(rest).collect();
    let mut given = Given::new();
    for (id, member) in members {
        let mut assignment = Assignment::new();
        for topic in member.topics.iter() {
            let rest = rests.get_mut(topic).expect("the topics of all members were counted");
            let end = (rest.next + rest.least + i32::from(rest.extra > 0)).min(rest.partitions);
            rest.extra = (rest.extra - 1).max(0);
            if rest.next < end {
                assignment.insert(*topic, (rest.next..end).collect());
            }
            rest.next = end;
        }
        given.insert(id.clone(), assignment);
    }
    given
}
