//! OffsetDelete, and the offsets of deleted groups.

use std::collections::BTreeSet;

use crate::coordinator::groups::{Caller, Groups, Reply};
use crate::coordinator::names::Name;
use crate::coordinator::offsets::Spot;
use crate::coordinator::records::Record;
use crate::coordinator::runtime::Effects;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

impl Groups {
    pub(in crate::coordinator) fn offset_delete(
        &mut self,
        caller: Caller,
        request: OffsetDeleteRequest,
        effects: &mut Effects<Groups>,
    ) {
        let reply = match self.delete_offsets(request, effects) {
            Ok(topics) => OffsetDeleteResponse { topics, ..Default::default() },
            Err(error_code) => OffsetDeleteResponse { error_code, ..Default::default() },
        };
        effects.reply(caller.token, Reply::OffsetDelete(reply));
    }

    fn delete_offsets(
        &self,
        request: OffsetDeleteRequest,
        effects: &mut Effects<Groups>,
    ) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let group = self.group(&request.group_id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        group.check_offset_delete()?;
        let name: Name = request.group_id.as_str().into();
        let topics = request.topics.into_iter().map(|topic| {
            let subscribed = group.is_subscribed(&topic.name);
            let shared: Name = topic.name.as_str().into();
            let partitions = topic.partitions.iter().map(|partition| {
                let partition_index = partition.partition_index;
                let spot = Spot { group: name.clone(), topic: shared.clone(), partition: partition_index };
                let error_code = match subscribed {
                    true => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
                    false => ErrorCode::NONE,
                };
                let there =
                    group.offsets.contains(&topic.name, partition_index) || self.pending().contains(&spot);
                if !subscribed && there {
                    effects.records.push(tombstone(&spot));
                }
                OffsetDeleteResponsePartition { partition_index, error_code }
            });
            let partitions = partitions.collect();
            OffsetDeleteResponseTopic { name: topic.name, partitions }
        });
        Ok(topics.collect())
    }

    /// Tombstones for all offsets of a group, also for those that are still within a transaction.
    pub(in crate::coordinator) fn delete_all_offsets(&self, name: &Name, effects: &mut Effects<Groups>) {
        let Some(group) = self.group(name) else { return };
        let mut spots: BTreeSet<Spot> = self.pending().of_group(name).cloned().collect();
        for topic in group.offsets.topics() {
            spots.extend(group.offsets.of(topic).map(|(partition, _)| Spot {
                group: name.clone(),
                topic: topic.clone(),
                partition,
            }));
        }
        effects.records.extend(spots.iter().map(tombstone));
    }
}

/// The record that deletes an offset.
pub(in crate::coordinator) fn tombstone(spot: &Spot) -> Record {
    let Spot { group, topic, partition } = spot;
    let key = OffsetCommitKey { group: group.to_string(), topic: topic.to_string(), partition: *partition };
    Record::Offset(key, None)
}
