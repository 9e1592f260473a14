//! Produce: each batch is looked at, each shard gets one call, and the answer names every partition.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Asked;
use super::places::{ByCore, Call, call_each, endpoints, is_led_elsewhere, leader, merge, place};
use super::produce_refused;
use super::recompress::{self, Job};
use crate::broker::connection::{Answer, Ended, Outcome, Replies};
use crate::broker::coordinator::is_internal;
use crate::broker::core::Core;
use crate::broker::messages::{
    By, PartitionId, ProduceCall, ProducePart, ProducePartReply, ShardReply, ShardRequest, TransactionNamed,
};
use crate::limits::PRODUCE_ELEMENTS;
use crate::reactor::sync::Permit;
use crate::wire::api::ApiKey;
use crate::wire::batch::{Batch, BatchError, Compression};
use crate::wire::codec::{DecodeError, Reason};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    LeaderIdAndEpoch, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
    TopicProduceResponse,
};

/// The first version that may carry zstd.
const KNOWS_ZSTD: i16 = 7;
/// The first version that says where the leader is.
const TELLS_LEADER: i16 = 10;
/// The first version that names topics by their ids.
const BY_ID: i16 = 13;
/// How many bytes may be checked without letting other tasks run.
const CHECK_TURN: usize = 1 << 20;

/// A request whose partitions were looked at.
pub struct Split {
    topics: Vec<TopicProduceData>,
    /// Per partition, in the request's order: the answer, where none is to come from a shard.
    answers: Vec<Option<ProducePartReply>>,
    /// What each shard is to append.
    parts: ByCore<ProducePart>,
    /// What must be compressed anew first.
    rework: Vec<Job>,
    transaction: InTransaction,
}

/// The transaction that a request names, if it does.
struct InTransaction(Option<Arc<TransactionNamed>>);

impl InTransaction {
    fn of(request: &mut ProduceRequest, version: i16) -> InTransaction {
        InTransaction(request.transactional_id.take().map(|id| Arc::new(TransactionNamed { id, version })))
    }

    fn part(&self, id: PartitionId, batch: Bytes) -> ProducePart {
        ProducePart { by: By::Client(self.0.clone()), ..ProducePart::new(id, batch) }
    }
}

/// Puts the request's batches in order on their shards.
pub async fn order(mut asked: Asked, before: &Replies) -> Result<Answer, Ended> {
    if !ApiKey::Produce.versions().contains(&asked.version) {
        return produce_refused::order(asked);
    }
    let core = asked.client.core.clone();
    let (mut request, held) = decode(&mut asked, before).await?;
    let Split { topics, mut answers, mut parts, rework, transaction } =
        split(&core, &mut request, asked.version).await;
    let mut remade = Vec::new();
    if !rework.is_empty() {
        remade = recompress::work(&core, rework, |at, place, made| match made {
            Ok(batch) => parts.add(place.core, at, transaction.part(place.id, batch)),
            Err((error, why)) => answers[at] = Some(ProducePartReply::failed(error, Some(why))),
        })
        .await;
    }
    let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let (acks, deadline) = (request.acks, core.reactor.now() + timeout);
    let calls = call_each(&core, parts, |parts| ShardRequest::Produce(ProduceCall { acks, deadline, parts }));
    Ok(Box::pin(async move {
        let mut outcome = answer(asked, topics, acks, answers, calls).await?;
        drop(remade);
        if let (Outcome::Reply(reply), Some(mut held)) = (&mut outcome, held) {
            held.shrink_to(reply.len());
            reply.held.push(held);
        }
        Ok(outcome)
    }))
}

/// The request; and the memory that was asked for where it has very many partitions.
async fn decode(asked: &mut Asked, before: &Replies) -> Result<(ProduceRequest, Option<Permit>), Ended> {
    let (mut body, core) = (asked.body().clone(), asked.client.core.clone());
    body.allow_elements(PRODUCE_ELEMENTS);
    let is_wide = |e: &DecodeError| matches!(e.reason(), Reason::Elements { .. });
    match ProduceRequest::decode(&mut body, asked.version) {
        Ok(request) => Ok((request, None)),
        Err(e) if is_wide(&e) => {
            // Only when it is its turn: who holds memory must not wait for requests that may want some.
            before.all_answered().await;
            let held = core.request_memory.take(asked.memory()).await;
            Ok((asked.decode()?, Some(held)))
        }
        Err(e) => Err(asked.malformed(&e)),
    }
}

/// Looks at each batch. One that may be appended goes to its shard; the others are answered here.
pub async fn split(core: &Core, request: &mut ProduceRequest, version: i16) -> Split {
    let image = core.image();
    let (mut answers, mut parts, mut rework) = (Vec::new(), ByCore::default(), Vec::new());
    let may_be_sent = check_transaction(request).err();
    let transaction = InTransaction::of(request, version);
    let mut turn = 0;
    for topic in &mut request.topic_data {
        let known = match version {
            BY_ID.. => image.topic(topic.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID),
            _ => image.topic_named(&topic.name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        for part in &mut topic.partition_data {
            let records = part.records.take().unwrap_or_default();
            turn += records.len();
            if turn > CHECK_TURN {
                turn = 0;
                core.reactor.yield_now().await;
            }
            let place = known.and_then(|topic| match is_internal(&topic.name) {
                true => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
                false => place(core, topic, part.index),
            });
            let place = place.map_err(Refused::from);
            let checked = match may_be_sent {
                Some(error) => Err(error.into()),
                None => place.and_then(|place| Ok((place, check(records, version, request.acks)?))),
            };
            match checked {
                Ok((place, batch)) => {
                    let topic = known.expect("its place was found");
                    match Job::find(core, &image, topic, place, batch) {
                        Ok(job) => rework.push(job.answered_at(answers.len())),
                        Err(batch) => parts.add(place.core, answers.len(), transaction.part(place.id, batch)),
                    }
                    answers.push(None);
                }
                Err(Refused(error, why)) => answers.push(Some(ProducePartReply::failed(error, why))),
            }
        }
    }
    Split { topics: std::mem::take(&mut request.topic_data), answers, parts, rework, transaction }
}

/// What a batch is answered that no shard sees, and why.
#[derive(Debug, PartialEq)]
struct Refused(ErrorCode, Option<String>);

impl From<ErrorCode> for Refused {
    fn from(error: ErrorCode) -> Refused {
        Refused(error, None)
    }
}

fn check_acks(acks: i16) -> Result<(), Refused> {
    if matches!(acks, -1..=1) { Ok(()) } else { Err(ErrorCode::INVALID_REQUIRED_ACKS.into()) }
}

/// Transactional batches come in a request that names the transaction; else all of it is refused.
fn check_transaction(request: &ProduceRequest) -> Result<(), ErrorCode> {
    let mut parts = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_transactional =
        |records: &Bytes| Batch::first(records).is_ok_and(|batch| batch.is_transactional());
    let is_any = parts.any(|part| part.records.as_ref().is_some_and(is_transactional));
    match is_any && request.transactional_id.is_none() {
        true => Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        false => Ok(()),
    }
}

/// The one batch of a partition, if it is whole, good, and of the kind that clients may send.
fn check(records: Bytes, version: i16, acks: i16) -> Result<Bytes, Refused> {
    let refused = |error, why: String| Refused(error, Some(why));
    let bad = |e: BatchError| {
        let error = match &e {
            BatchError::Cut { .. } => ErrorCode::INVALID_RECORD,
            BatchError::Magic(magic) if !(0..=2).contains(magic) => ErrorCode::CORRUPT_MESSAGE,
            e => e.error_code(),
        };
        refused(error, e.to_string())
    };
    if records.is_empty() {
        return Err(refused(ErrorCode::INVALID_RECORD, "there is no batch".to_string()));
    }
    let batch = Batch::first(&records).map_err(bad)?;
    if batch.bytes().len() != records.len() {
        // Where the length is what is wrong, the checksum tells.
        batch.check().map_err(bad)?;
        let (one, all) = (batch.bytes().len(), records.len());
        let why = format!("there is to be one batch: the first has {one} of {all} bytes");
        return Err(refused(ErrorCode::INVALID_RECORD, why));
    }
    if batch.compression() == Ok(Compression::Zstd) && version < KNOWS_ZSTD {
        let why =
            format!("version {version} of Produce does not know zstd; it came with version {KNOWS_ZSTD}");
        return Err(refused(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    check_acks(acks)?;
    if batch.base_offset() != 0 {
        let why = format!("offsets are to start at 0, not at {}", batch.base_offset());
        return Err(refused(ErrorCode::INVALID_RECORD, why));
    }
    batch.check_from_client().map_err(bad)?;
    Ok(records)
}

/// Waits for the shards and says what became of each batch.
async fn answer(
    asked: Asked,
    topics: Vec<TopicProduceData>,
    acks: i16,
    mut answers: Vec<Option<ProducePartReply>>,
    calls: Vec<Call>,
) -> Result<Outcome, Ended> {
    merge(calls, &mut answers, |reply| match reply {
        ShardReply::Produce(replies) => Some(replies),
        _ => None,
    })
    .await;
    let answers = answers.into_iter().map(|answer| answer.expect("each part was answered"));
    if acks == 0 {
        return silence(&topics, answers);
    }
    let response = response(&asked, topics, answers);
    Ok(Outcome::Reply(asked.reply(&response)?))
}

/// A producer that wants no answer learns of an error by losing its connection.
fn silence(
    topics: &[TopicProduceData],
    answers: impl Iterator<Item = ProducePartReply>,
) -> Result<Outcome, Ended> {
    let parts =
        topics.iter().flat_map(|topic| topic.partition_data.iter().map(move |part| (topic, part.index)));
    match parts.zip(answers).find(|(_, answer)| answer.error.is_error()) {
        None => Ok(Outcome::Silence),
        Some(((topic, partition), answer)) => {
            let name = if topic.name.is_empty() { topic.topic_id.to_string() } else { topic.name.clone() };
            let why = answer.message.unwrap_or_else(|| answer.error.message().to_string());
            Err(Ended::because(format!(
                "its Produce request with acks=0 was refused for {name}-{partition}: {}: {why}",
                answer.error.name()
            )))
        }
    }
}

fn response(
    asked: &Asked,
    topics: Vec<TopicProduceData>,
    mut answers: impl Iterator<Item = ProducePartReply>,
) -> ProduceResponse {
    let core = &asked.client.core;
    let (image, tells_leader) = (core.image(), asked.version >= TELLS_LEADER);
    let mut leaders = Vec::new();
    let responses = topics.into_iter().map(|topic| {
        let mut leader_of = |partition| {
            let known = image.topic_named(&topic.name).or_else(|| image.topic(topic.topic_id));
            let leader = leader(known, partition);
            leaders.push(leader.clone());
            leader
        };
        let parts = topic.partition_data.iter().map(|part| {
            let answer = answers.next().expect("each part was answered");
            let current_leader = match tells_leader && is_led_elsewhere(answer.error) {
                true => leader_of(part.index),
                false => LeaderIdAndEpoch::default(),
            };
            PartitionProduceResponse { current_leader, ..part_response(part.index, answer) }
        });
        TopicProduceResponse {
            partition_responses: parts.collect(),
            name: topic.name.clone(),
            topic_id: topic.topic_id,
        }
    });
    let responses = responses.collect();
    let listener = &core.settings.listeners[asked.client.listener];
    let node_endpoints = endpoints(&image, listener, leaders.into_iter());
    ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() }
}

fn part_response(index: i32, answer: ProducePartReply) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: answer.error,
        base_offset: answer.base_offset,
        log_append_time_ms: answer.log_append_time,
        log_start_offset: answer.log_start_offset,
        error_message: answer.message,
        ..PartitionProduceResponse::default()
    }
}

#[cfg(test)]
mod tests;
