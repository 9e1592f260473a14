//! DeleteRecords: the records before an offset go.
//!
//! With one replica what is deleted here is deleted, so nothing waits until `timeout.ms` is over.

use std::collections::BTreeMap;

use super::Asked;
use super::places::{Questions, place_named};
use crate::broker::connection::{Ended, Reply};
use crate::broker::coordinator::is_internal;
use crate::broker::messages::{DeleteRecordsPart, ShardReply, ShardRequest};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

/// Asks the shard of each partition.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DeleteRecordsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    // Of a partition that is named twice the last offset counts.
    let mut wanted = BTreeMap::new();
    for topic in request.topics {
        for part in topic.partitions {
            wanted.insert((topic.name.clone(), part.partition_index), part.offset);
        }
    }
    let mut questions = Questions::default();
    {
        let image = core.image();
        for ((topic, partition), before) in &wanted {
            questions.push(match place_named(&core, &image, topic, *partition) {
                Ok(_) if is_internal(topic) => Err(Err(ErrorCode::INVALID_TOPIC_EXCEPTION)),
                Ok(place) => Ok((place, DeleteRecordsPart { id: place.id, before: *before })),
                Err(error) => Err(Err(error)),
            });
        }
    }
    let read = |reply| match reply {
        ShardReply::DeleteRecords(replies) => Some(replies),
        _ => None,
    };
    let answers = questions.ask(&core, ShardRequest::DeleteRecords, read).await;
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
    for ((topic, partition_index), answer) in wanted.into_keys().zip(answers) {
        let result = DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: answer.unwrap_or(-1),
            error_code: answer.err().unwrap_or(ErrorCode::NONE),
        };
        match topics.last_mut() {
            Some(last) if last.name == topic => last.partitions.push(result),
            _ => topics.push(DeleteRecordsTopicResult { name: topic, partitions: vec![result] }),
        }
    }
    asked.reply(&DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() })
}
