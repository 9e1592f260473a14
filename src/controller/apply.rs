//! A record's effect on an image: the only way in which an image changes.

use std::fmt;
use std::sync::Arc;

use super::image::{Broker, Change, Changes, Image, Load, NO_LEADER, Partition, Topic, resource};
use super::names::collision_key;
use super::tree::Tree;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// A record that contradicts the image, or that this version of Ottla does not know the meaning of. The metadata
/// log is then not what was written, and must not be served from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError {
    /// The record's offset.
    pub offset: i64,
    /// Kafka's name of the record.
    pub record: &'static str,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata log, offset {}, {}: {}", self.offset, self.record, self.what)
    }
}

impl std::error::Error for ApplyError {}

/// "No change" in a [`PartitionChangeRecord`]'s leader.
const SAME_LEADER: i32 = -2;

impl Image {
    /// The image after these records, of which the first has `offset` in the metadata log.
    ///
    /// # Panics
    /// If `offset` does not lie behind this image.
    pub fn apply(&self, records: &[MetadataRecord], offset: i64) -> Result<Image, ApplyError> {
        assert!(offset > self.version, "offset {offset} is part of the image at {}", self.version);
        let mut next = Next { image: self.clone(), offset, changes: Vec::new() };
        for record in records {
            next.record(record).map_err(|what| ApplyError {
                offset: next.offset,
                record: record.name(),
                what,
            })?;
            next.image.version = next.offset;
            next.offset += 1;
        }
        let Next { mut image, changes, .. } = next;
        if image.version > self.version {
            image.remember(Changes { before: self.version, list: changes });
        }
        Ok(image)
    }
}

/// An image in the making.
struct Next {
    image: Image,
    offset: i64,
    changes: Vec<Change>,
}

type Applied = Result<(), String>;

impl Next {
    fn record(&mut self, record: &MetadataRecord) -> Applied {
        match record {
            MetadataRecord::Topic(r) => self.topic(r),
            MetadataRecord::RemoveTopic(r) => self.remove_topic(r),
            MetadataRecord::Partition(r) => self.partition(r),
            MetadataRecord::PartitionChange(r) => self.partition_change(r),
            MetadataRecord::Config(r) => self.config(r),
            MetadataRecord::RegisterBroker(r) => self.register_broker(r),
            MetadataRecord::UnregisterBroker(r) => self.unregister_broker(r),
            MetadataRecord::FenceBroker(r) => self.change_broker(r.id, r.epoch, |b| b.fenced = true),
            MetadataRecord::UnfenceBroker(r) => self.change_broker(r.id, r.epoch, |b| b.fenced = false),
            MetadataRecord::BrokerRegistrationChange(r) => self.registration_change(r),
            MetadataRecord::FeatureLevel(r) => {
                let features = Arc::make_mut(&mut self.image.features);
                match r.feature_level {
                    0 => features.remove(&r.name),
                    level => features.insert(r.name.clone(), level),
                };
                self.changes.push(Change::Feature(r.name.clone()));
                Ok(())
            }
            MetadataRecord::ProducerIds(r) => {
                if r.next_producer_id < self.image.next_producer_id {
                    return Err(format!(
                        "producer ids up to {} are given out, and it goes back to {}",
                        self.image.next_producer_id, r.next_producer_id
                    ));
                }
                self.image.next_producer_id = r.next_producer_id;
                self.changes.push(Change::ProducerIds);
                Ok(())
            }
            MetadataRecord::NoOp(_) => Ok(()),
            MetadataRecord::DelegationToken(_)
            | MetadataRecord::UserScramCredential(_)
            | MetadataRecord::ClientQuota(_)
            | MetadataRecord::AccessControlEntry(_)
            | MetadataRecord::RemoveAccessControlEntry(_)
            | MetadataRecord::RemoveUserScramCredential(_)
            | MetadataRecord::RemoveDelegationToken(_)
            | MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_)
            | MetadataRecord::RegisterController(_) => {
                Err("this version of Ottla does not write such records; a newer one did: start that"
                    .to_owned())
            }
        }
    }

    fn topic(&mut self, r: &TopicRecord) -> Applied {
        if let Some(topic) = self.image.topics.get(&r.topic_id) {
            return Err(format!("the id {} belongs to the topic {}", r.topic_id, topic.name));
        }
        if let Some(id) = self.image.names.get(r.name.as_str()) {
            return Err(format!("the topic {} exists with the id {id}", r.name));
        }
        let name: Arc<str> = r.name.as_str().into();
        self.image.names.insert(name.clone(), r.topic_id);
        self.image.colliding.insert(collision_key(&name).into(), r.topic_id);
        let topic = Topic { id: r.topic_id, name, partitions: Tree::default(), configs: Arc::default() };
        self.image.topics.insert(r.topic_id, Arc::new(topic));
        self.changes.push(Change::TopicCreated(r.topic_id));
        Ok(())
    }

    fn remove_topic(&mut self, r: &RemoveTopicRecord) -> Applied {
        let topic = self.image.topics.remove(&r.topic_id).ok_or_else(|| no_topic(r.topic_id))?;
        self.image.names.remove(&*topic.name);
        let key = collision_key(&topic.name);
        if self.image.colliding.get(&*key) == Some(&topic.id) {
            self.image.colliding.remove(&*key);
        }
        for partition in topic.partitions.values() {
            self.weigh(partition, false);
        }
        self.image.partition_count -= topic.partitions.len();
        self.changes.push(Change::TopicDeleted(r.topic_id));
        Ok(())
    }

    fn change_topic<T>(
        &mut self,
        id: Uuid,
        change: impl FnOnce(&mut Topic) -> Result<T, String>,
    ) -> Result<T, String> {
        let topic = self.image.topics.get_mut(&id).ok_or_else(|| no_topic(id))?;
        change(Arc::make_mut(topic))
    }

    fn partition(&mut self, r: &PartitionRecord) -> Applied {
        let offset = self.offset;
        let partition = Arc::new(Partition {
            replicas: r.replicas.clone(),
            isr: r.isr.clone(),
            removing_replicas: r.removing_replicas.clone(),
            adding_replicas: r.adding_replicas.clone(),
            leader: r.leader,
            leader_epoch: r.leader_epoch,
            partition_epoch: r.partition_epoch,
            leader_recovery_state: r.leader_recovery_state,
            eligible_leader_replicas: r.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: r.last_known_elr.clone().unwrap_or_default(),
            directories: r.directories.clone(),
            cores: cores(&r.cores)?,
            revision: if r.revision >= 0 { r.revision } else { offset },
        });
        check(&partition)?;
        self.change_topic(r.topic_id, |topic| {
            let next = topic.partitions.len() as i32;
            if r.partition_id != next {
                return Err(format!(
                    "it is partition {} of {}, where {next} is next",
                    r.partition_id, topic.name
                ));
            }
            topic.partitions.insert(r.partition_id, partition.clone());
            Ok(())
        })?;
        self.weigh(&partition, true);
        self.image.partition_count += 1;
        self.changes.push(Change::Partition(r.topic_id, r.partition_id));
        Ok(())
    }

    fn partition_change(&mut self, r: &PartitionChangeRecord) -> Applied {
        let before = self.image.partition(r.topic_id, r.partition_id).cloned();
        let before =
            before.ok_or_else(|| format!("there is no partition {} of {}", r.partition_id, r.topic_id))?;
        let mut after = (*before).clone();
        take(&mut after.isr, &r.isr);
        take(&mut after.replicas, &r.replicas);
        take(&mut after.removing_replicas, &r.removing_replicas);
        take(&mut after.adding_replicas, &r.adding_replicas);
        take(&mut after.eligible_leader_replicas, &r.eligible_leader_replicas);
        take(&mut after.last_known_elr, &r.last_known_elr);
        take(&mut after.directories, &r.directories);
        if let Some(new) = &r.cores {
            after.cores = cores(new)?;
        }
        if r.leader != SAME_LEADER {
            after.leader = r.leader;
            after.leader_epoch += 1;
        }
        if r.leader_recovery_state >= 0 {
            after.leader_recovery_state = r.leader_recovery_state;
        }
        after.partition_epoch += 1;
        check(&after)?;
        self.weigh(&before, false);
        self.weigh(&after, true);
        self.change_topic(r.topic_id, |topic| {
            topic.partitions.insert(r.partition_id, Arc::new(after));
            Ok(())
        })?;
        self.changes.push(Change::Partition(r.topic_id, r.partition_id));
        Ok(())
    }

    /// Puts a partition on the scales of the cores that hold it, or takes it off.
    fn weigh(&mut self, partition: &Partition, on: bool) {
        for (at, broker) in partition.replicas.iter().enumerate() {
            let place = (*broker, partition.core_of(at));
            let mut load = self.image.loads.get(&place).copied().unwrap_or_default();
            let leads = u32::from(*broker == partition.leader);
            load = match on {
                true => Load { leaders: load.leaders + leads, replicas: load.replicas + 1 },
                false => Load { leaders: load.leaders - leads, replicas: load.replicas - 1 },
            };
            match load.replicas {
                0 => self.image.loads.remove(&place),
                _ => self.image.loads.insert(place, load),
            };
        }
        for directory in partition.directories.iter().filter(|directory| !directory.is_reserved()) {
            let carried = self.image.directory_load(*directory);
            match if on { carried + 1 } else { carried - 1 } {
                0 => self.image.directory_loads.remove(directory),
                load => self.image.directory_loads.insert(*directory, load),
            };
        }
    }

    fn config(&mut self, r: &ConfigRecord) -> Applied {
        let set = |configs: &mut Arc<crate::config::Overrides>| {
            let configs = Arc::make_mut(configs);
            match &r.value {
                Some(value) => configs.insert(r.name.clone(), value.clone()),
                None => configs.remove(&r.name),
            };
        };
        if r.resource_type == resource::TOPIC {
            let id = self.image.names.get(r.resource_name.as_str()).copied();
            let id = id.ok_or_else(|| format!("there is no topic {}", r.resource_name))?;
            self.change_topic(id, |topic| {
                set(&mut topic.configs);
                Ok(())
            })?;
            self.changes.push(Change::TopicConfig(id));
            return Ok(());
        }
        let key = (r.resource_type, r.resource_name.as_str().into());
        let mut configs = self.image.configs.get(&key).cloned().unwrap_or_default();
        set(&mut configs);
        match configs.is_empty() {
            true => self.image.configs.remove(&key),
            false => self.image.configs.insert(key, configs),
        };
        self.changes.push(Change::Config(r.resource_type, r.resource_name.clone()));
        Ok(())
    }

    fn register_broker(&mut self, r: &RegisterBrokerRecord) -> Applied {
        if let Some(before) = self.image.brokers.get(&r.broker_id)
            && before.epoch >= r.broker_epoch
        {
            return Err(format!("broker {} has the epoch {} already", r.broker_id, before.epoch));
        }
        let weight = |w: &i32| u32::try_from(*w).map_err(|_| format!("a core's weight is {w}"));
        let broker = Broker {
            id: r.broker_id,
            epoch: r.broker_epoch,
            incarnation: r.incarnation_id,
            endpoints: r.end_points.clone(),
            features: r.features.clone(),
            rack: r.rack.clone(),
            fenced: r.fenced,
            in_controlled_shutdown: r.in_controlled_shutdown,
            log_dirs: r.log_dirs.clone(),
            core_weights: r.core_weights.iter().map(weight).collect::<Result<_, _>>()?,
        };
        self.image.brokers.insert(r.broker_id, Arc::new(broker));
        self.changes.push(Change::Broker(r.broker_id));
        Ok(())
    }

    fn unregister_broker(&mut self, r: &UnregisterBrokerRecord) -> Applied {
        self.change_broker(r.broker_id, r.broker_epoch, |_| {})?;
        self.image.brokers.remove(&r.broker_id);
        Ok(())
    }

    fn change_broker(&mut self, id: i32, epoch: i64, change: impl FnOnce(&mut Broker)) -> Applied {
        let broker = self.image.brokers.get(&id).cloned();
        let mut broker = broker.ok_or_else(|| format!("there is no broker {id}"))?;
        if broker.epoch != epoch {
            return Err(format!("broker {id} has the epoch {}, not {epoch}", broker.epoch));
        }
        change(Arc::make_mut(&mut broker));
        self.image.brokers.insert(id, broker);
        self.changes.push(Change::Broker(id));
        Ok(())
    }

    fn registration_change(&mut self, r: &BrokerRegistrationChangeRecord) -> Applied {
        if !(-1..=1).contains(&r.fenced) || !(0..=1).contains(&r.in_controlled_shutdown) {
            return Err(format!("fenced {}, in controlled shutdown {}", r.fenced, r.in_controlled_shutdown));
        }
        self.change_broker(r.broker_id, r.broker_epoch, |broker| {
            match r.fenced {
                1 => broker.fenced = true,
                -1 => broker.fenced = false,
                _ => {}
            }
            broker.in_controlled_shutdown |= r.in_controlled_shutdown == 1;
            if !r.log_dirs.is_empty() {
                broker.log_dirs = r.log_dirs.clone();
            }
        })
    }
}

fn no_topic(id: Uuid) -> String {
    format!("there is no topic with the id {id}")
}

fn take<T: Clone>(field: &mut T, new: &Option<T>) {
    if let Some(new) = new {
        field.clone_from(new);
    }
}

fn cores(cores: &[i32]) -> Result<Vec<usize>, String> {
    cores.iter().map(|core| usize::try_from(*core).map_err(|_| format!("an owning core is {core}"))).collect()
}

/// What must hold of every partition.
fn check(p: &Partition) -> Applied {
    if p.replicas.is_empty() {
        return Err("it has no replicas".to_owned());
    }
    if let Some(stranger) = p.isr.iter().find(|id| !p.replicas.contains(id)) {
        return Err(format!("broker {stranger} is in the ISR, but holds no replica"));
    }
    if p.leader != NO_LEADER && !p.isr.contains(&p.leader) {
        return Err(format!("the leader {} is not in the ISR", p.leader));
    }
    if p.leader_epoch < 0 || p.partition_epoch < 0 {
        return Err(format!("leader epoch {}, partition epoch {}", p.leader_epoch, p.partition_epoch));
    }
    if !p.cores.is_empty() && p.cores.len() != p.replicas.len() {
        return Err(format!("{} replicas have {} owning cores", p.replicas.len(), p.cores.len()));
    }
    if !p.directories.is_empty() && p.directories.len() != p.replicas.len() {
        return Err(format!("{} replicas have {} directories", p.replicas.len(), p.directories.len()));
    }
    Ok(())
}
