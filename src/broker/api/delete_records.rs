//! DeleteRecords: the records before an offset go.
//!
//! With one replica what is deleted here is deleted, so nothing waits until `timeout.ms` is over.

use std::collections::BTreeMap;

use super::Asked;
use super::metadata::is_internal;
use super::places::{ByCore, call_each, merge, place};
use crate::broker::connection::{Ended, Reply};
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
    let (mut answers, mut parts) = (Vec::new(), ByCore::default());
    {
        let image = core.image();
        for ((topic, partition), before) in &wanted {
            let known = image.topic_named(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            let place = known.and_then(|topic| place(&core, topic, *partition));
            match place {
                Ok(_) if is_internal(topic) => {
                    answers.push(Some(Err(ErrorCode::INVALID_TOPIC_EXCEPTION)));
                }
                Ok(place) => {
                    parts.add(place.core, answers.len(), DeleteRecordsPart { id: place.id, before: *before });
                    answers.push(None);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
    }
    let calls = call_each(&core, parts, ShardRequest::DeleteRecords);
    merge(calls, &mut answers, |reply| match reply {
        ShardReply::DeleteRecords(replies) => Some(replies),
        _ => None,
    })
    .await;
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
    for ((topic, partition_index), answer) in wanted.into_keys().zip(answers) {
        let answer = answer.expect("each part was answered");
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
