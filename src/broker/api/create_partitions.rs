//! CreatePartitions.

use super::Asked;
use super::commands::{command, patience};
use crate::broker::connection::{Ended, Reply};
use crate::broker::controller::{Command, CommandReply};
use crate::wire::schema::{CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult};

/// Has the controller add the partitions.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: CreatePartitionsRequest = asked.decode()?;
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let patience = patience(request.timeout_ms);
    let results = match command(&asked.client.core, Command::CreatePartitions(request), patience).await {
        Ok(CommandReply::CreatePartitions(topics)) => topics,
        Ok(_) => unreachable!("the controller answers what it was asked"),
        Err(refusal) => {
            let refused = |name| CreatePartitionsTopicResult {
                name,
                error_code: refusal.error,
                error_message: Some(refusal.message.clone()),
            };
            names.into_iter().map(refused).collect()
        }
    };
    asked.reply(&CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() })
}
