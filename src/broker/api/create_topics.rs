//! CreateTopics, and the creation of topics that are only asked for.

use std::time::Duration;

use super::Asked;
use super::commands::{command, patience};
use crate::broker::connection::{Ended, Reply};
use crate::broker::controller::{Command, CommandReply};
use crate::broker::coordinator::{GROUPS_TOPIC, TRANSACTIONS_TOPIC};
use crate::broker::core::Core;
use crate::collections::Set;
use crate::controller::{Image, Refusal, names};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

/// How long a Metadata request waits for the topics that it has created.
const AUTO_CREATE_PATIENCE: Duration = Duration::from_secs(5);

/// The least bytes that a topic takes in a request.
const TOPIC: usize = 10;
/// The most memory that one topic takes in an answer: all its settings.
const ANSWER_PART: usize = 16 << 10;

/// How much memory an answer to a request of this many bytes may take.
pub fn memory(request_bytes: usize) -> usize {
    (request_bytes / TOPIC + 1).min(METADATA_BATCH_RECORDS).saturating_mul(ANSWER_PART)
}

/// Has the controller create the topics.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: CreateTopicsRequest = asked.decode()?;
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let patience = patience(request.timeout_ms);
    let done = command(&asked.client.core, Command::CreateTopics(request), patience).await;
    let topics = match done {
        Ok(CommandReply::CreateTopics(topics)) => topics,
        Ok(_) => unreachable!("the controller answers what it was asked"),
        Err(refusal) => names.into_iter().map(|name| refused(name, &refusal)).collect(),
    };
    asked.reply(&CreateTopicsResponse { topics, ..CreateTopicsResponse::default() })
}

fn refused(name: String, refusal: &Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: refusal.error,
        error_message: Some(refusal.message.clone()),
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}

/// A topic with the broker's defaults; one that Kafka keeps for itself as its coordinators need it.
fn wanted(core: &Core, image: &Image, name: &str) -> CreatableTopic {
    let topic = CreatableTopic {
        name: name.to_string(),
        num_partitions: -1,
        replication_factor: -1,
        ..CreatableTopic::default()
    };
    let Some(internal) = Internal::named(name) else { return topic };
    let layers = &core.config.layers;
    let value = |name: &str| layers.value(name).unwrap_or_default().trim().to_string();
    let number = |name: &str| value(name).parse::<i32>().unwrap_or(-1);
    let factor = i16::try_from(number(internal.replicas)).unwrap_or(-1);
    // Nobody has asked for more replicas than there are brokers: then a cluster of one has groups too.
    let brokers = i16::try_from(image.brokers().count()).unwrap_or(i16::MAX).max(1);
    let asked = layers.given(internal.replicas).is_some();
    let replication_factor = if asked { factor } else { factor.min(brokers) };
    let config = |name: &str, value: String| CreatableTopicConfig { name: name.into(), value: Some(value) };
    let mut configs = vec![
        config("cleanup.policy", "compact".into()),
        config("compression.type", internal.compression.into()),
        config("segment.bytes", value(internal.segment_bytes)),
    ];
    if let Some(min_isr) = internal.min_isr {
        configs.push(config("min.insync.replicas", value(min_isr)));
        configs.push(config("unclean.leader.election.enable", "false".into()));
    }
    CreatableTopic { num_partitions: number(internal.partitions), replication_factor, configs, ..topic }
}

/// How a topic is made that Kafka keeps for itself: the names of its settings, and what is not set.
struct Internal {
    partitions: &'static str,
    replicas: &'static str,
    segment_bytes: &'static str,
    min_isr: Option<&'static str>,
    compression: &'static str,
}

impl Internal {
    fn named(topic: &str) -> Option<Internal> {
        match topic {
            GROUPS_TOPIC => Some(Internal {
                partitions: "offsets.topic.num.partitions",
                replicas: "offsets.topic.replication.factor",
                segment_bytes: "offsets.topic.segment.bytes",
                min_isr: None,
                compression: "producer",
            }),
            TRANSACTIONS_TOPIC => Some(Internal {
                partitions: "transaction.state.log.num.partitions",
                replicas: "transaction.state.log.replication.factor",
                segment_bytes: "transaction.state.log.segment.bytes",
                min_isr: Some("transaction.state.log.min.isr"),
                compression: "uncompressed",
            }),
            _ => None,
        }
    }
}

/// Has the controller create those of the topics that do not exist, with the broker's defaults. Whatever comes of
/// it shows in the image.
pub async fn create_missing(core: &Core, named: impl Iterator<Item = &str>) {
    let image = core.image();
    let mut seen = Set::default();
    let missing = named.filter(|name| {
        image.topic_named(name).is_none() && names::check(name).is_ok() && seen.insert(name.to_string())
    });
    let topics: Vec<CreatableTopic> = missing.map(|name| wanted(core, &image, name)).collect();
    if topics.is_empty() {
        return;
    }
    let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
    match command(core, Command::CreateTopics(request), AUTO_CREATE_PATIENCE).await {
        Ok(CommandReply::CreateTopics(topics)) => {
            // Another one may have asked for it in the same moment.
            let there = [ErrorCode::NONE, ErrorCode::TOPIC_ALREADY_EXISTS];
            for topic in topics.iter().filter(|topic| !there.contains(&topic.error_code)) {
                let why = topic.error_message.as_deref().unwrap_or_default();
                tracing::info!("topic {} was not created on demand: {}: {why}", topic.name, topic.error_code);
            }
        }
        Ok(_) => unreachable!("the controller answers what it was asked"),
        Err(refusal) => {
            tracing::info!("topics were not created on demand: {}: {}", refusal.error, refusal.message)
        }
    }
}
