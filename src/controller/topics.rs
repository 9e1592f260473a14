//! Creating and deleting topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::image::{Broker, Image, NO_LEADER, Topic, resource};
use super::placement::{Placed, Placer, may_lead};
use super::snapshot::config;
use super::{Answer, Controller, Refusal, names};
use crate::config::{Overrides, describe, topic};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// Random numbers, handed in by the shell.
pub type Chance<'a> = dyn FnMut() -> u64 + 'a;

/// A topic that will be created.
struct Planned {
    id: Uuid,
    configs: Overrides,
    partitions: Vec<Placed>,
}

impl Controller {
    /// Creates topics: each by itself, a bad one does not stop the others. With `validate_only` the reply is what it
    /// would be, and there are no records.
    pub fn create_topics(
        &self,
        request: &CreateTopicsRequest,
        chance: &mut Chance,
    ) -> Answer<Vec<CreatableTopicResult>> {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *times.entry(&topic.name).or_default() += 1;
        }
        let mut placer = Placer::new(self.image(), &self.full);
        let mut taken = BTreeMap::new();
        let mut records = Vec::new();
        let mut reply = Vec::with_capacity(request.topics.len());
        for wanted in &request.topics {
            match times.insert(&wanted.name, 0) {
                Some(0) => continue,
                Some(1) => {}
                _ => {
                    let refusal = Refusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name.");
                    reply.push(refused(wanted, refusal));
                    continue;
                }
            }
            let room = METADATA_BATCH_RECORDS - records.len();
            let planned = self.plan(wanted, &mut placer, &taken, chance, room);
            match planned {
                Ok(planned) => {
                    taken.insert(names::collision_key(&wanted.name), wanted.name.clone());
                    reply.push(self.created(wanted, &planned));
                    self.topic_records(wanted, &planned, &mut records);
                }
                Err(refusal) => reply.push(refused(wanted, refusal)),
            }
        }
        if request.validate_only {
            records.clear();
        }
        Answer { reply, records }
    }

    fn plan(
        &self,
        wanted: &CreatableTopic,
        placer: &mut Placer,
        taken: &BTreeMap<String, String>,
        chance: &mut Chance,
        room: usize,
    ) -> Result<Planned, Refusal> {
        self.check_new_name(&wanted.name, taken)?;
        let count = match wanted.num_partitions {
            -1 => self.defaults.num_partitions,
            count => count,
        };
        let replicas = match wanted.replication_factor {
            -1 => self.defaults.replication_factor,
            replicas => replicas,
        };
        // Kafka looks at the settings first.
        let configs = overrides(&wanted.configs)?;
        let given =
            wanted.assignments.first().map_or(replicas.max(1) as usize, |given| given.broker_ids.len());
        topic::validate(&configs, &self.layers(), given)
            .map_err(|what| Refusal::new(ErrorCode::INVALID_CONFIG, what))?;
        let (count, replicas) = match wanted.assignments.is_empty() {
            true => check_counts(count, replicas)?,
            false => check_assignments(self.image(), wanted)?,
        };
        if count + configs.len() + 1 > room {
            return Err(Refusal::new(
                ErrorCode::POLICY_VIOLATION,
                format!(
                    "Excessively large number of partitions per request: {METADATA_BATCH_RECORDS} records fit in \
                     one. Create fewer topics at once, or add partitions later"
                ),
            ));
        }
        placer.begin_topic(std::iter::empty());
        let partitions = match wanted.assignments.is_empty() {
            true => place(self.image(), placer, count, replicas)?,
            false => {
                let mut given: Vec<_> = wanted.assignments.iter().collect();
                given.sort_by_key(|assignment| assignment.partition_index);
                given.iter().map(|assignment| placer.place_on(&assignment.broker_ids)).collect()
            }
        };
        Ok(Planned { id: self.new_id(chance), configs, partitions })
    }

    fn check_new_name(&self, name: &str, taken: &BTreeMap<String, String>) -> Result<(), Refusal> {
        if name == names::CLUSTER_METADATA {
            let what = format!("the topic {name} is the cluster's own and cannot be created");
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, what));
        }
        names::check(name).map_err(|what| Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, what))?;
        if self.image().topic_named(name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TOPIC_ALREADY_EXISTS,
                format!("Topic '{name}' already exists."),
            ));
        }
        let key = names::collision_key(name);
        let other = self.image().topic_colliding(&key).map(|topic| topic.name.to_string());
        if let Some(other) = other.or_else(|| taken.get(&key).cloned()) {
            let what = format!(
                "Topic '{name}' collides with existing topics: {other}. Metrics write '.' as '_', so the two could \
                 not be told apart"
            );
            return Err(Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, what));
        }
        Ok(())
    }

    fn new_id(&self, chance: &mut Chance) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&chance().to_be_bytes());
            bytes[8..].copy_from_slice(&chance().to_be_bytes());
            if let Some(id) = Uuid::from_random(bytes)
                && self.image().topic(id).is_none()
            {
                return id;
            }
        }
    }

    fn created(&self, wanted: &CreatableTopic, planned: &Planned) -> CreatableTopicResult {
        let replicas = planned.partitions[0].replicas.len();
        let rows = describe::topic(&planned.configs, &self.layers(), replicas);
        let row = |row: describe::Row| CreatableTopicConfigs {
            name: row.name,
            value: row.value,
            read_only: row.read_only,
            config_source: row.source.code(),
            is_sensitive: row.sensitive,
        };
        CreatableTopicResult {
            name: wanted.name.clone(),
            topic_id: planned.id,
            num_partitions: planned.partitions.len() as i32,
            replication_factor: replicas as i16,
            configs: Some(rows.into_iter().map(row).collect()),
            ..Default::default()
        }
    }

    fn topic_records(&self, wanted: &CreatableTopic, planned: &Planned, records: &mut Vec<MetadataRecord>) {
        records.push(TopicRecord { name: wanted.name.clone(), topic_id: planned.id }.into());
        for (name, value) in &planned.configs {
            records.push(config(resource::TOPIC, &wanted.name, name, value).into());
        }
        for (number, placed) in planned.partitions.iter().enumerate() {
            records.push(new_partition(self.image(), planned.id, number as i32, placed).into());
        }
    }

    /// Deletes topics, named or by id, each by itself.
    pub fn delete_topics(&self, request: &DeleteTopicsRequest) -> Answer<Vec<DeletableTopicResult>> {
        let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
        let wanted: Vec<(Option<String>, Uuid)> =
            request.topics.iter().map(|t| (t.name.clone(), t.topic_id)).chain(by_name).collect();
        let mut records = Vec::new();
        let mut reply = Vec::with_capacity(wanted.len());
        let mut deleted = BTreeSet::new();
        let mut answered = BTreeSet::new();
        let mut times: BTreeMap<(&Option<String>, &Uuid), usize> = BTreeMap::new();
        for (name, id) in &wanted {
            *times.entry((name, id)).or_default() += 1;
        }
        for (name, id) in &wanted {
            let same = times[&(name, id)];
            if same > 1 && !answered.insert((name, id)) {
                continue;
            }
            let result = self.find_to_delete(name.as_deref(), *id, same, &deleted);
            match &result {
                Ok(topic) => {
                    deleted.insert(topic.id);
                    records.push(RemoveTopicRecord { topic_id: topic.id }.into());
                    reply.push(DeletableTopicResult {
                        name: Some(topic.name.to_string()),
                        topic_id: topic.id,
                        ..Default::default()
                    });
                }
                Err(refusal) => reply.push(DeletableTopicResult {
                    name: name.clone(),
                    topic_id: *id,
                    error_code: refusal.error,
                    error_message: Some(refusal.message.clone()),
                }),
            }
        }
        Answer { reply, records }
    }

    fn find_to_delete(
        &self,
        name: Option<&str>,
        id: Uuid,
        times: usize,
        deleted: &BTreeSet<Uuid>,
    ) -> Result<&Arc<Topic>, Refusal> {
        let invalid = |what: &str| Err(Refusal::new(ErrorCode::INVALID_REQUEST, what));
        if !self.defaults.delete_topics {
            let what = "Topic deletion is disabled: delete.topic.enable is false on the controller.";
            return Err(Refusal::new(ErrorCode::TOPIC_DELETION_DISABLED, what));
        }
        let topic = match name {
            None if id.is_zero() => return invalid("Neither topic name nor id were specified."),
            Some(_) if !id.is_zero() => return invalid("You may not specify both topic name and topic id."),
            Some(_) if times > 1 => return invalid("Duplicate topic name."),
            None if times > 1 => return invalid("Duplicate topic id."),
            None => self.image().topic(id).ok_or_else(|| {
                Refusal::new(ErrorCode::UNKNOWN_TOPIC_ID, format!("there is no topic with the id {id}"))
            })?,
            Some(name) => self.image().topic_named(name).ok_or_else(|| {
                let what = format!("there is no topic '{name}'");
                Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what)
            })?,
        };
        if deleted.contains(&topic.id) {
            return invalid("The topic is in the request by its name and by its id.");
        }
        Ok(topic)
    }
}

fn refused(wanted: &CreatableTopic, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: wanted.name.clone(),
        error_code: refusal.error,
        error_message: Some(refusal.message),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

fn overrides(given: &[CreatableTopicConfig]) -> Result<Overrides, Refusal> {
    let mut overrides = Overrides::new();
    for config in given {
        let Some(value) = &config.value else {
            let what = format!("Null value not supported for topic configs: {}", config.name);
            return Err(Refusal::new(ErrorCode::INVALID_CONFIG, what));
        };
        overrides.insert(config.name.clone(), value.clone());
    }
    Ok(overrides)
}

fn check_counts(count: i32, replicas: i16) -> Result<(usize, usize), Refusal> {
    if count < 1 {
        let what = format!(
            "Number of partitions must be larger than 0, or -1 for the broker's default; it is {count}"
        );
        return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, what));
    }
    if replicas < 1 {
        let what = format!(
            "Replication factor must be larger than 0, or -1 for the broker's default; it is {replicas}"
        );
        return Err(Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, what));
    }
    Ok((count as usize, replicas as usize))
}

/// How many partitions and replicas a manual assignment has, if it is possible.
fn check_assignments(image: &Image, wanted: &CreatableTopic) -> Result<(usize, usize), Refusal> {
    for (given, what) in [
        (wanted.num_partitions != -1, "numPartitions"),
        (wanted.replication_factor != -1, "replicationFactor"),
    ] {
        if given {
            let message =
                format!("A manual partition assignment was specified, but {what} was not set to -1.");
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
    }
    let wrong = |what: String| Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, what));
    let mut numbers = BTreeSet::new();
    let replicas = wanted.assignments[0].broker_ids.len();
    for assignment in &wanted.assignments {
        let number = assignment.partition_index;
        if !numbers.insert(number) {
            return wrong(format!("Found multiple manual partition assignments for partition {number}"));
        }
        check_replicas(image, number, &assignment.broker_ids, replicas)?;
    }
    if numbers.iter().enumerate().any(|(at, number)| at as i32 != *number) {
        return wrong("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    Ok((numbers.len(), replicas))
}

/// Whether these brokers can hold a new partition.
pub(super) fn check_replicas(
    image: &Image,
    number: i32,
    brokers: &[i32],
    replicas: usize,
) -> Result<(), Refusal> {
    let wrong = |what: String| Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, what));
    if brokers.is_empty() {
        return wrong(format!(
            "The manual partition assignment for partition {number} has an empty replica list."
        ));
    }
    if brokers.len() != replicas {
        return wrong(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
             with previous partitions, which have {replicas} replica(s).",
            brokers.len()
        ));
    }
    for (at, broker) in brokers.iter().enumerate() {
        if brokers[..at].contains(broker) {
            return wrong(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            ));
        }
        if image.broker(*broker).is_none() {
            return wrong(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
    }
    if !brokers.iter().any(|broker| image.broker(*broker).is_some_and(|b| may_lead(b))) {
        return wrong(format!(
            "All brokers specified in the manual partition assignment for partition {number} are fenced or in \
             controlled shutdown."
        ));
    }
    Ok(())
}

/// Places that the cluster finds by itself.
pub(super) fn place(
    image: &Image,
    placer: &mut Placer,
    count: usize,
    replicas: usize,
) -> Result<Vec<Placed>, Refusal> {
    let wrong = |what: String| Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, what);
    let brokers = image.brokers().count();
    if replicas > brokers {
        return Err(wrong(format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor of {replicas} \
             cannot be reached because only {brokers} broker(s) are registered."
        )));
    }
    let fenced = || {
        wrong(format!(
            "Unable to replicate the partition {replicas} time(s): All brokers are currently fenced."
        ))
    };
    (0..count).map(|_| placer.place(replicas).ok_or_else(fenced)).collect()
}

/// The record of a new partition: those of its brokers that may lead are in sync, and the first of them leads.
pub(super) fn new_partition(image: &Image, topic: Uuid, number: i32, placed: &Placed) -> PartitionRecord {
    let leads = |broker: &&i32| image.broker(**broker).is_some_and(|b: &Arc<Broker>| may_lead(b));
    let isr: Vec<i32> = placed.replicas.iter().filter(leads).copied().collect();
    PartitionRecord {
        partition_id: number,
        topic_id: topic,
        replicas: placed.replicas.clone(),
        leader: isr.first().copied().unwrap_or(NO_LEADER),
        isr,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: placed.directories.clone(),
        cores: placed.cores.iter().map(|core| *core as i32).collect(),
        ..Default::default()
    }
}
