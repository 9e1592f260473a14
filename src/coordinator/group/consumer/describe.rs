//! ConsumerGroupDescribe.

use super::Consumer;
use crate::coordinator::assign::Assignment;
use crate::coordinator::groups::Groups;
use crate::coordinator::topics::View;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// How a member of the classic protocol is told of, and one of the new.
const MEMBER_TYPES: [i8; 2] = [0, 1];

impl Groups {
    pub(in crate::coordinator) fn consumer_describe(
        &self,
        groups: &[String],
    ) -> Vec<ConsumerGroupDescribeDescribedGroup> {
        let view = self.topics.view();
        let default = self.settings().consumer_assignors.first().map_or("", |assignor| assignor.name());
        let describe = |group_id: &String| {
            let group = self.group(group_id);
            match group.and_then(|group| group.consumer()) {
                Some(consumer) => consumer.describe(group_id, default, view),
                None => ConsumerGroupDescribeDescribedGroup {
                    error_code: ErrorCode::GROUP_ID_NOT_FOUND,
                    error_message: Some(match group {
                        Some(_) => format!("Group {group_id} is not a consumer group."),
                        None => format!("Group {group_id} not found."),
                    }),
                    group_id: group_id.clone(),
                    ..Default::default()
                },
            }
        };
        groups.iter().map(describe).collect()
    }
}

impl Consumer {
    fn describe(
        &self,
        group_id: &str,
        default_assignor: &str,
        view: Option<&View>,
    ) -> ConsumerGroupDescribeDescribedGroup {
        let members = self.members.iter().map(|(id, member)| {
            let current = self.current(id);
            let [classic, consumer] = MEMBER_TYPES;
            ConsumerGroupDescribeMember {
                member_id: id.clone(),
                instance_id: member.instance_id.clone(),
                rack_id: member.rack_id.clone(),
                member_epoch: current.epoch,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                subscribed_topic_names: member.subscribed_topic_names.clone(),
                subscribed_topic_regex: member.subscribed_topic_regex.clone(),
                assignment: named(&current.assigned, view),
                target_assignment: named(&self.target(id), view),
                member_type: if self.is_classic(id) { classic } else { consumer },
            }
        });
        ConsumerGroupDescribeDescribedGroup {
            group_id: group_id.into(),
            group_state: self.state().name().into(),
            group_epoch: self.epoch(),
            assignment_epoch: self.target_epoch().max(0),
            assignor_name: self.preferred_assignor().unwrap_or(default_assignor).into(),
            members: members.collect(),
            ..Default::default()
        }
    }
}

/// With the names of the topics; those that are no more are left out.
fn named(assignment: &Assignment, view: Option<&View>) -> ConsumerGroupDescribeAssignment {
    let topics = assignment.iter().filter_map(|(topic_id, partitions)| {
        let topic = view?.topics.with_id(*topic_id)?;
        Some(ConsumerGroupDescribeTopicPartitions {
            topic_id: *topic_id,
            topic_name: topic.name.to_string(),
            partitions: partitions.iter().copied().collect(),
        })
    });
    ConsumerGroupDescribeAssignment { topic_partitions: topics.collect() }
}
