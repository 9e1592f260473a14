//! CreateTopics, and the creation of topics that are only asked for.

use std::time::Duration;

use super::Asked;
use super::commands::{command, patience};
use crate::broker::connection::{Ended, Reply};
use crate::broker::controller::{Command, CommandReply};
use crate::broker::core::Core;
use crate::collections::Set;
use crate::controller::{Refusal, names};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::wire::schema::{CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};

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

/// Has the controller create those of the topics that do not exist, with the broker's defaults. Whatever comes of
/// it shows in the image.
pub async fn create_missing(core: &Core, named: impl Iterator<Item = &str>) {
    let image = core.image();
    let mut seen = Set::default();
    let missing = named.filter(|name| {
        image.topic_named(name).is_none() && names::check(name).is_ok() && seen.insert(name.to_string())
    });
    let topics: Vec<CreatableTopic> = missing
        .map(|name| CreatableTopic {
            name: name.to_string(),
            num_partitions: -1,
            replication_factor: -1,
            ..CreatableTopic::default()
        })
        .collect();
    if topics.is_empty() {
        return;
    }
    let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
    match command(core, Command::CreateTopics(request), AUTO_CREATE_PATIENCE).await {
        Ok(CommandReply::CreateTopics(topics)) => {
            for topic in topics.iter().filter(|topic| topic.error_code.is_error()) {
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
