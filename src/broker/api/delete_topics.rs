//! DeleteTopics.

use super::Asked;
use super::commands::{command, patience};
use crate::broker::connection::{Ended, Reply};
use crate::broker::controller::{Command, CommandReply};
use crate::controller::Refusal;
use crate::wire::schema::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use crate::wire::uuid::Uuid;

/// Has the controller delete the topics.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DeleteTopicsRequest = asked.decode()?;
    let named = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
    let wanted: Vec<_> =
        request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)).chain(named).collect();
    let patience = patience(request.timeout_ms);
    let responses = match command(&asked.client.core, Command::DeleteTopics(request), patience).await {
        Ok(CommandReply::DeleteTopics(topics)) => topics,
        Ok(_) => unreachable!("the controller answers what it was asked"),
        Err(refusal) => wanted.into_iter().map(|(name, id)| refused(name, id, &refusal)).collect(),
    };
    asked.reply(&DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
}

fn refused(name: Option<String>, topic_id: Uuid, refusal: &Refusal) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: refusal.error,
        error_message: Some(refusal.message.clone()),
    }
}
