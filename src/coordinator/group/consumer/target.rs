//! The target assignment: who is to have what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Consumer;
use super::draft::Draft;
use super::index::pattern_of;
use crate::coordinator::assign::{Assignment, Assignor, Subscriber, Task};
use crate::coordinator::names::Name;
use crate::coordinator::records::ConsumerRecord;
use crate::coordinator::topics::View;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// What a record says.
pub(super) fn from_record(value: &ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
    let topics = value.topic_partitions.iter().filter(|topic| !topic.partitions.is_empty());
    topics.map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect()
}

/// What the record is to say.
pub(super) fn to_record(assignment: &Assignment) -> ConsumerGroupTargetAssignmentMemberValue {
    let topics =
        assignment.iter().map(|(topic_id, partitions)| ConsumerGroupTargetAssignmentMemberTopicPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
        });
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions: topics.collect() }
}

/// The names and the pattern of a member.
type Subscription<'a> = (&'a [String], Option<&'a str>);

impl Consumer {
    fn task(&self, view: &View) -> Task {
        let mut task = Task::default();
        // Most members subscribe to the same: their topics are looked up once.
        let mut known: BTreeMap<Subscription<'_>, Arc<BTreeSet<Uuid>>> = BTreeMap::new();
        for (id, member) in &self.members {
            let subscription = (member.subscribed_topic_names.as_slice(), pattern_of(member));
            let topics = known.entry(subscription).or_insert_with(|| {
                let topics = self.topics_of(member).filter_map(|name| view.topics.named(name));
                let topics = topics.inspect(|topic| {
                    task.partitions.insert(topic.id, topic.partitions);
                });
                Arc::new(topics.map(|topic| topic.id).collect())
            });
            let subscriber = Subscriber {
                instance: member.instance_id.clone(),
                topics: topics.clone(),
                assignment: self.target(id),
            };
            task.members.insert(Name::from(id.as_str()), subscriber);
        }
        task
    }
}

impl Draft<'_> {
    /// A new target for the group's epoch. Records tell what is different from the one before.
    pub fn assign(&mut self, view: &View, offered: &[Assignor]) {
        let asked = self.preferred_assignor();
        let asked = offered.iter().copied().find(|assignor| Some(assignor.name()) == asked);
        let assignor = asked.or(offered.first().copied()).unwrap_or(Assignor::Uniform);
        let task = self.task(view);
        let given = assignor.assign(&task);
        for (id, subscriber) in &task.members {
            let none = Assignment::new();
            let now = given.get(id).unwrap_or(&none);
            if *now != subscriber.assignment || !self.targets.contains_key(&**id) {
                self.put(ConsumerRecord::Target(id.to_string(), Some(to_record(now))));
            }
        }
        let assignment_epoch = self.epoch();
        self.put(ConsumerRecord::TargetEpoch(Some(ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch,
        })));
    }
}
