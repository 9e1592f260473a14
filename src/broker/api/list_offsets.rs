//! ListOffsets: the first and last offsets, and those of a time.

use super::Asked;
use super::places::{Questions, place_named};
use crate::broker::connection::{Ended, Reply};
use crate::broker::core::Core;
use crate::broker::messages::{ListOffsetsPart, ListOffsetsReply, ShardReply, ShardRequest};
use crate::collections::Map;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};

const READ_COMMITTED: i8 = 1;
/// The first version that tells the epoch of the record.
const TELLS_EPOCH: i16 = 4;

/// Answers each question from its shard.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: ListOffsetsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let read = |reply| match reply {
        ShardReply::ListOffsets(replies) => Some(replies),
        _ => None,
    };
    let answers = split(&core, &request, asked.version).ask(&core, ShardRequest::ListOffsets, read).await;
    asked.reply(&response(request, answers, asked.version))
}

/// What is answered without asking, and what each shard is asked.
fn split(
    core: &Core,
    request: &ListOffsetsRequest,
    version: i16,
) -> Questions<ListOffsetsPart, ListOffsetsReply> {
    let image = core.image();
    let mut questions = Questions::default();
    let named = times_named(request);
    for topic in &request.topics {
        for part in &topic.partitions {
            let partition = part.partition_index;
            let once = match named[&(topic.name.as_str(), partition)] {
                1 => Ok(()),
                _ => Err(ErrorCode::INVALID_REQUEST),
            };
            let may_be_asked = once.and_then(|()| may_be_asked(part.timestamp, version));
            let place = may_be_asked.and_then(|()| place_named(core, &image, &topic.name, partition));
            let question = |id| ListOffsetsPart {
                id,
                timestamp: part.timestamp,
                current_leader_epoch: part.current_leader_epoch,
                read_committed: request.isolation_level == READ_COMMITTED,
            };
            questions.push(place.map(|place| (place, question(place.id))).map_err(ListOffsetsReply::failed));
        }
    }
    questions
}

/// Kafka refuses a partition that is named more than once.
fn times_named(request: &ListOffsetsRequest) -> Map<(&str, i32), usize> {
    let mut named = Map::default();
    for topic in &request.topics {
        for part in &topic.partitions {
            *named.entry((topic.name.as_str(), part.partition_index)).or_default() += 1;
        }
    }
    named
}

/// Whether a version knows what a negative timestamp stands for.
fn may_be_asked(timestamp: i64, version: i16) -> Result<(), ErrorCode> {
    let since = match timestamp {
        -2.. => 1,
        -3 => 7,
        -4 => 8,
        -5 => 9,
        -6 => 11,
        _ => i16::MAX,
    };
    if version < since { Err(ErrorCode::UNSUPPORTED_VERSION) } else { Ok(()) }
}

fn response(
    request: ListOffsetsRequest,
    mut answers: impl Iterator<Item = ListOffsetsReply>,
    version: i16,
) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|part| {
            let answer = answers.next().expect("each part was answered");
            ListOffsetsPartitionResponse {
                partition_index: part.partition_index,
                error_code: answer.error,
                timestamp: answer.timestamp,
                offset: answer.offset,
                leader_epoch: if version >= TELLS_EPOCH { answer.leader_epoch } else { -1 },
            }
        });
        ListOffsetsTopicResponse { partitions: partitions.collect(), name: topic.name }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_knows_its_questions() {
        for (timestamp, since) in [(0, 1), (-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
            assert!(may_be_asked(timestamp, since).is_ok(), "{timestamp}");
            assert!(since == 1 || may_be_asked(timestamp, since - 1).is_err(), "{timestamp}");
        }
        assert_eq!(may_be_asked(-7, 11), Err(ErrorCode::UNSUPPORTED_VERSION));
    }
}
