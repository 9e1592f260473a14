//! Metadata: brokers, topics, and who leads what.

use std::sync::Arc;

use super::Asked;
use super::create_topics::create_missing;
use crate::broker::connection::{Ended, Reply};
use crate::broker::coordinator::is_internal;
use crate::broker::core::Core;
use crate::collections::Set;
use crate::controller::image::NO_LEADER;
use crate::controller::{Image, Partition, Topic, names};
use crate::reactor::Reactor;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};

/// What may be done to the cluster, as bits of Kafka's operations: everything, as there are no ACLs.
pub const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// What may be done to a topic.
pub const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// From this version on, an empty list asks for no topic; before, for all of them.
const EMPTY_IS_NONE: i16 = 1;
/// The first version that can ask by id. Versions 10 and 11 have the field, and Kafka refuses it there.
const BY_ID: i16 = 12;
/// From this version on, a leader without the client's listener is told apart.
const KNOWS_LISTENERS: i16 = 6;
/// How many partitions may be gathered without letting other tasks run.
const TURN: usize = 1_000;

/// Bytes of memory that an answer takes for each topic, and for each partition.
const ANSWER_PART: usize = 256;

/// How much memory an answer may take: each topic is told of once.
pub fn memory(core: &Core) -> usize {
    let image = core.image();
    (image.topic_count() + image.partition_count()) * ANSWER_PART
}

/// Tells of all topics, or of those that are asked for, after creating what is missing where that is allowed.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: MetadataRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let named = request.topics.filter(|topics| !topics.is_empty() || asked.version >= EMPTY_IS_NONE);
    if let Some(topics) = &named {
        let is_by_id = |topic: &MetadataRequestTopic| !topic.topic_id.is_zero() || topic.name.is_none();
        if asked.version < BY_ID && topics.iter().any(is_by_id) {
            return asked.reply(&refuse_ids(topics));
        }
        if request.allow_auto_topic_creation && core.settings.auto_create_topics {
            create_missing(&core, topics.iter().filter_map(|topic| topic.name.as_deref())).await;
        }
    }
    let image = core.image();
    let view = View {
        image: &image,
        listener: &core.settings.listeners[asked.client.listener],
        version: asked.version,
        operations: request.include_topic_authorized_operations,
    };
    let mut told = Told { topics: Vec::new(), turn: 0 };
    match &named {
        None => {
            for topic in image.topics() {
                told.add(view.topic(topic), &core.reactor).await;
            }
        }
        Some(topics) => {
            // Each once, however often it is named, as Kafka does.
            let mut named = Set::default();
            for topic in topics.iter().filter(|topic| named.insert((topic.name.as_deref(), topic.topic_id))) {
                told.add(view.asked_for(topic), &core.reactor).await;
            }
        }
    }
    let operations = request.include_cluster_authorized_operations;
    asked.reply(&MetadataResponse {
        brokers: view.brokers(),
        cluster_id: Some(image.cluster_id().to_string()),
        controller_id: core.settings.node_id,
        topics: told.topics,
        cluster_authorized_operations: if operations { CLUSTER_OPERATIONS } else { i32::MIN },
        ..MetadataResponse::default()
    })
}

/// Topics as they are gathered, with pauses for other tasks.
struct Told {
    topics: Vec<MetadataResponseTopic>,
    turn: usize,
}

impl Told {
    async fn add(&mut self, topic: MetadataResponseTopic, reactor: &Reactor) {
        self.turn += topic.partitions.len() + 1;
        self.topics.push(topic);
        if self.turn > TURN {
            self.turn = 0;
            reactor.yield_now().await;
        }
    }
}

/// The image, as a client sees it.
pub(super) struct View<'a> {
    pub(super) image: &'a Image,
    pub(super) listener: &'a str,
    pub(super) version: i16,
    pub(super) operations: bool,
}

impl View<'_> {
    /// The brokers that the client can reach.
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let alive = self.image.brokers().filter(|broker| !broker.fenced);
        let reached = alive.filter_map(|broker| {
            let endpoint = broker.endpoint(self.listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.id,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
            })
        });
        reached.collect()
    }

    /// What is told of a topic that was asked for.
    fn asked_for(&self, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
        let by_id = !asked.topic_id.is_zero();
        let name = asked.name.as_deref().unwrap_or_default();
        let found = if by_id { self.image.topic(asked.topic_id) } else { self.image.topic_named(name) };
        if let Some(topic) = found {
            return self.topic(topic);
        }
        let error_code = match by_id {
            true => ErrorCode::UNKNOWN_TOPIC_ID,
            false if names::check(name).is_err() => ErrorCode::INVALID_TOPIC_EXCEPTION,
            false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        };
        MetadataResponseTopic {
            error_code,
            name: if by_id { None } else { Some(name.to_string()) },
            topic_id: asked.topic_id,
            topic_authorized_operations: if self.operations && !by_id { TOPIC_OPERATIONS } else { i32::MIN },
            ..MetadataResponseTopic::default()
        }
    }

    fn topic(&self, topic: &Arc<Topic>) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().map(|(number, part)| self.partition(*number, part));
        MetadataResponseTopic {
            error_code: ErrorCode::NONE,
            name: Some(topic.name.to_string()),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions: partitions.collect(),
            topic_authorized_operations: if self.operations { TOPIC_OPERATIONS } else { i32::MIN },
        }
    }

    pub(super) fn partition(&self, partition_index: i32, partition: &Partition) -> MetadataResponsePartition {
        let is_alive = |id: &i32| self.image.is_online(*id, partition);
        let leader = self.image.broker(partition.leader).filter(|_| partition.leader != NO_LEADER);
        let error_code = match leader {
            None => ErrorCode::LEADER_NOT_AVAILABLE,
            Some(leader) if leader.endpoint(self.listener).is_some() => ErrorCode::NONE,
            Some(_) if self.version >= KNOWS_LISTENERS => ErrorCode::LISTENER_NOT_FOUND,
            Some(_) => ErrorCode::LEADER_NOT_AVAILABLE,
        };
        let offline = partition.replicas.iter().filter(|id| !is_alive(id));
        MetadataResponsePartition {
            error_code,
            partition_index,
            leader_id: if error_code.is_none() { partition.leader } else { NO_LEADER },
            leader_epoch: partition.leader_epoch,
            offline_replicas: offline.copied().collect(),
            replica_nodes: partition.replicas.clone(),
            isr_nodes: partition.isr.clone(),
        }
    }
}

fn refuse_ids(topics: &[MetadataRequestTopic]) -> MetadataResponse {
    let refused = topics.iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    });
    MetadataResponse { topics: refused.collect(), ..MetadataResponse::default() }
}
