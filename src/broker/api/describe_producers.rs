//! DescribeProducers: who produces to a partition, and how far each has come.

use super::Asked;
use super::places::{Questions, place};
use crate::broker::connection::{Ended, Reply};
use crate::broker::core::Core;
use crate::broker::messages::{DescribeProducersReply, ShardReply, ShardRequest};
use crate::controller::names;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DescribeProducersPartitionResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicResponse, ProducerState,
};

/// What a producer takes in memory, in its shard's answer, in the response and in its frame.
const PRODUCER: usize = 160;

/// How much memory an answer may take.
pub fn memory(core: &Core) -> usize {
    core.answer_memory
}

/// How many producers each shard may tell of.
fn most(core: &Core) -> usize {
    core.answer_memory / PRODUCER / core.reactor.cores()
}

/// A partition's answer: its producers, or an error and what to say of it.
type Answer = Result<DescribeProducersReply, (ErrorCode, String)>;

/// Asks the shard of each partition.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeProducersRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let mut questions = Questions::default();
    {
        let image = core.image();
        for topic in &request.topics {
            let known = names::check(&topic.name)
                .map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why))
                .and_then(|()| {
                    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                    image.topic_named(&topic.name).ok_or((unknown, unknown.message().to_string()))
                });
            for partition in &topic.partition_indexes {
                questions.push(match known.as_ref().map(|topic| place(&core, topic, *partition)) {
                    Ok(Ok(place)) => Ok((place, place.id)),
                    Ok(Err(error)) => Err(Ok(Err(error))),
                    Err(error) => Err(Err(error.clone())),
                });
            }
        }
    }
    let most = most(&core);
    let read = |reply| match reply {
        ShardReply::DescribeProducers(replies) => Some(replies.into_iter().map(Ok).collect()),
        _ => None,
    };
    let request_of = |parts| ShardRequest::DescribeProducers(parts, most);
    let answers = questions.ask(&core, request_of, read).await;
    asked.reply(&response(request, answers, most))
}

fn response(
    request: DescribeProducersRequest,
    mut answers: impl Iterator<Item = Answer>,
    most: usize,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            let answer = answers.next().expect("each part was answered");
            partition_response(*partition, answer, most)
        });
        DescribeProducersTopicResponse { partitions: partitions.collect(), name: topic.name }
    });
    let topics = topics.collect();
    DescribeProducersResponse { topics, ..DescribeProducersResponse::default() }
}

fn partition_response(
    partition_index: i32,
    answer: Answer,
    most: usize,
) -> DescribeProducersPartitionResponse {
    let empty = DescribeProducersPartitionResponse { partition_index, ..Default::default() };
    match answer {
        Ok(Ok(producers)) => {
            let states = producers.into_iter().map(|producer| ProducerState {
                producer_id: producer.producer_id,
                producer_epoch: producer.epoch.into(),
                last_sequence: producer.last.last_sequence,
                last_timestamp: producer.last.timestamp,
                coordinator_epoch: producer.coordinator_epoch,
                current_txn_start_offset: producer.transaction_first_offset,
            });
            DescribeProducersPartitionResponse { active_producers: states.collect(), ..empty }
        }
        Ok(Err(error_code @ ErrorCode::UNKNOWN_SERVER_ERROR)) => DescribeProducersPartitionResponse {
            error_code,
            error_message: Some(format!(
                "the partitions asked for have more than {most} producers: ask for fewer at once"
            )),
            ..empty
        },
        Ok(Err(error_code)) => DescribeProducersPartitionResponse { error_code, ..empty },
        Err((error_code, why)) => {
            DescribeProducersPartitionResponse { error_code, error_message: Some(why), ..empty }
        }
    }
}
