//! OffsetForLeaderEpoch: where a leader epoch ends.

use super::Asked;
use super::places::{Questions, place_named};
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
    let mut questions = Questions::default();
    {
        let image = core.image();
        for topic in &request.topics {
            for part in &topic.partitions {
                let question = |id| EpochEndPart {
                    id,
                    current_leader_epoch: part.current_leader_epoch,
                    leader_epoch: part.leader_epoch,
                };
                let place = place_named(&core, &image, &topic.topic, part.partition);
                questions.push(place.map(|place| (place, question(place.id))).map_err(Err));
            }
        }
    }
    let read = |reply| match reply {
        ShardReply::EpochEnds(replies) => Some(replies),
        _ => None,
    };
    let mut answers = questions.ask(&core, ShardRequest::EpochEnds, read).await;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|part| {
            let answer = answers.next().expect("each part was answered");
            let (leader_epoch, end_offset) = answer.unwrap_or((-1, -1));
            let error_code = answer.err().unwrap_or(ErrorCode::NONE);
            LeaderEpochEndOffset { error_code, partition: part.partition, leader_epoch, end_offset }
        });
        OffsetForLeaderTopicResult { partitions: partitions.collect(), topic: topic.topic }
    });
    let topics = topics.collect();
    asked.reply(&OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() })
}
