//! Adding partitions to topics.

use std::collections::BTreeMap;

use super::placement::Placer;
use super::topics::{check_replicas, new_partition, place};
use super::{Answer, Controller, Refusal};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;

impl Controller {
    /// Adds partitions to topics, each by itself. With `validate_only` the reply is what it would be, and there are
    /// no records.
    pub fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
    ) -> Answer<Vec<CreatePartitionsTopicResult>> {
        let mut placer = Placer::new(self.image(), &self.full);
        let mut records = Vec::new();
        let mut reply: Vec<CreatePartitionsTopicResult> = Vec::with_capacity(request.topics.len());
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *times.entry(&topic.name).or_default() += 1;
        }
        for wanted in &request.topics {
            let Some(times) = times.remove(wanted.name.as_str()) else { continue };
            let room = METADATA_BATCH_RECORDS - records.len();
            let result = match times {
                1 => self.more_partitions(wanted, &mut placer, room),
                _ => Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name.")),
            };
            let (error_code, error_message) = match result {
                Ok(new) => {
                    records.extend(new);
                    (ErrorCode::NONE, None)
                }
                Err(refusal) => (refusal.error, Some(refusal.message)),
            };
            reply.push(CreatePartitionsTopicResult { name: wanted.name.clone(), error_code, error_message });
        }
        if request.validate_only {
            records.clear();
        }
        Answer { reply, records }
    }

    fn more_partitions(
        &self,
        wanted: &CreatePartitionsTopic,
        placer: &mut Placer,
        room: usize,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let Some(topic) = self.image().topic_named(&wanted.name) else {
            let what = format!("there is no topic '{}'", wanted.name);
            return Err(Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what));
        };
        let has = topic.partitions.len() as i32;
        if wanted.count <= has {
            let what = match wanted.count == has {
                true => format!("Topic already has {has} partition(s)."),
                false => format!(
                    "The topic {} currently has {has} partition(s); {} would not be an increase.",
                    wanted.name, wanted.count
                ),
            };
            return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, what));
        }
        let more = (wanted.count - has) as usize;
        if more > room {
            let what = format!(
                "Excessively large number of partitions per request: {METADATA_BATCH_RECORDS} records fit in one"
            );
            return Err(Refusal::new(ErrorCode::POLICY_VIOLATION, what));
        }
        let replicas = topic.partitions.get(&0).map_or(1, |partition| partition.replicas.len());
        placer.begin_topic(topic.partitions.values());
        let placed = match &wanted.assignments {
            None => place(self.image(), placer, more, replicas)?,
            Some(given) => {
                if given.len() != more {
                    let what = format!(
                        "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
                        given.len()
                    );
                    return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, what));
                }
                for (number, assignment) in (has..).zip(given) {
                    check_replicas(self.image(), number, &assignment.broker_ids, replicas)?;
                }
                given.iter().map(|assignment| placer.place_on(&assignment.broker_ids)).collect()
            }
        };
        let numbered = (has..).zip(&placed);
        Ok(numbered.map(|(n, placed)| new_partition(self.image(), topic.id, n, placed).into()).collect())
    }
}
