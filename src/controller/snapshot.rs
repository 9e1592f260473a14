//! From an image to records that make the same image.

use super::apply::ApplyError;
use super::image::{Broker, Image, Partition, Topic, resource};
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;

impl Image {
    /// Records that make this image out of an empty one, in an order in which they can be applied.
    pub fn records(&self) -> impl Iterator<Item = MetadataRecord> {
        let features = self
            .features
            .iter()
            .map(|(name, level)| FeatureLevelRecord { name: name.clone(), feature_level: *level }.into());
        let brokers = self.brokers.values().map(|broker| register(broker).into());
        let topics = self.topics.values().flat_map(|topic| topic_records(topic));
        let configs = self.configs.iter().flat_map(|((kind, resource), configs)| {
            configs.iter().map(move |(name, value)| config(*kind, resource, name, value).into())
        });
        // Left out where none were given out, as the record itself would be.
        let ids = (self.next_producer_id > 0).then(|| {
            ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id: self.next_producer_id }
                .into()
        });
        features.chain(brokers).chain(topics).chain(configs).chain(ids)
    }

    /// The image that a snapshot's records make; `version` is the offset of the last record that it stands for.
    pub fn from_records(
        cluster_id: &str,
        records: impl IntoIterator<Item = MetadataRecord>,
        version: i64,
    ) -> Result<Image, ApplyError> {
        let records: Vec<MetadataRecord> = records.into_iter().collect();
        let mut image = Image::empty(cluster_id).apply(&records, 0)?;
        image.history.clear();
        image.version = version;
        Ok(image)
    }
}

fn register(broker: &Broker) -> RegisterBrokerRecord {
    RegisterBrokerRecord {
        broker_id: broker.id,
        is_migrating_zk_broker: false,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch,
        end_points: broker.endpoints.clone(),
        features: broker.features.clone(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.clone(),
        core_weights: broker.core_weights.iter().map(|weight| *weight as i32).collect(),
    }
}

fn topic_records(topic: &Topic) -> impl Iterator<Item = MetadataRecord> {
    let first = TopicRecord { name: topic.name.to_string(), topic_id: topic.id };
    let configs =
        topic.configs.iter().map(|(name, value)| config(resource::TOPIC, &topic.name, name, value).into());
    let partitions = topic.partitions.iter().map(|(number, p)| partition(topic, *number, p).into());
    std::iter::once(first.into()).chain(configs).chain(partitions)
}

fn partition(topic: &Topic, number: i32, p: &Partition) -> PartitionRecord {
    let unless_empty = |list: &Vec<i32>| (!list.is_empty()).then(|| list.clone());
    PartitionRecord {
        partition_id: number,
        topic_id: topic.id,
        replicas: p.replicas.clone(),
        isr: p.isr.clone(),
        removing_replicas: p.removing_replicas.clone(),
        adding_replicas: p.adding_replicas.clone(),
        leader: p.leader,
        leader_epoch: p.leader_epoch,
        partition_epoch: p.partition_epoch,
        directories: p.directories.clone(),
        leader_recovery_state: p.leader_recovery_state,
        eligible_leader_replicas: unless_empty(&p.eligible_leader_replicas),
        last_known_elr: unless_empty(&p.last_known_elr),
        cores: p.cores.iter().map(|core| *core as i32).collect(),
        revision: p.revision,
    }
}

pub(super) fn config(kind: i8, resource: &str, name: &str, value: &str) -> ConfigRecord {
    ConfigRecord {
        resource_type: kind,
        resource_name: resource.to_owned(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
    }
}
