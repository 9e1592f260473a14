//! OffsetForLeaderEpoch: where a leader epoch ends.

use super::Asked;
use super::places::{ByCore, call_each, merge, place};
use crate::broker::connection::{Ended, Reply};
use crate::broker::messages::{EpochEndPart, ShardReply, ShardRequest};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    LeaderEpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};

/// Asks the shard of each partition.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: OffsetForLeaderEpochRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let (mut answers, mut parts) = (Vec::new(), ByCore::default());
    {
        let image = core.image();
        for topic in &request.topics {
            let known = image.topic_named(&topic.topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            for part in &topic.partitions {
                match known.and_then(|topic| place(&core, topic, part.partition)) {
                    Ok(place) => {
                        let question = EpochEndPart {
                            id: place.id,
                            current_leader_epoch: part.current_leader_epoch,
                            leader_epoch: part.leader_epoch,
                        };
                        parts.add(place.core, answers.len(), question);
                        answers.push(None);
                    }
                    Err(error) => answers.push(Some(Err(error))),
                }
            }
        }
    }
    let calls = call_each(&core, parts, ShardRequest::EpochEnds);
    merge(calls, &mut answers, |reply| match reply {
        ShardReply::EpochEnds(replies) => Some(replies),
        _ => None,
    })
    .await;
    let mut answers = answers.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|part| {
            let answer = answers.next().flatten().expect("each part was answered");
            let (leader_epoch, end_offset) = answer.unwrap_or((-1, -1));
            let error_code = answer.err().unwrap_or(ErrorCode::NONE);
            LeaderEpochEndOffset { error_code, partition: part.partition, leader_epoch, end_offset }
        });
        OffsetForLeaderTopicResult { partitions: partitions.collect(), topic: topic.topic }
    });
    let topics = topics.collect();
    asked.reply(&OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() })
}
