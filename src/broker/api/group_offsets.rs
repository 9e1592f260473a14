//! OffsetCommit, OffsetFetch, OffsetDelete: how far groups have come.

use std::sync::Arc;

use super::Asked;
use super::coordinators::{answered, ask, ask_at, place_of_group};
use crate::broker::connection::{Ended, Reply};
use crate::collections::Map;
use crate::controller::{Image, Topic};
use crate::coordinator::{self, Request, refuse};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// The first version of OffsetCommit and OffsetFetch that names topics by their ids.
const BY_ID: i16 = 10;
/// From this version of TxnOffsetCommit on, clients come again when a coordinator is still loading.
const KNOWS_LOADING: i16 = 2;
/// The first version of OffsetFetch that asks for several groups.
const SEVERAL: i16 = 8;
/// The first version of OffsetFetch that has a place for an error of the group.
const TELLS_OF_GROUP: i16 = 2;

/// Commits offsets of partitions that there are.
pub async fn commit(mut asked: Asked) -> Result<Reply, Ended> {
    let mut request: OffsetCommitRequest = asked.decode()?;
    let image = asked.client.core.image();
    let mut response = OffsetCommitResponse::default();
    let mut known = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        let found = find(&image, &topic.name, topic.topic_id, asked.version);
        let (unknown, error_code) = match &found {
            Ok(found) => {
                topic.name = found.name.to_string();
                let is_there =
                    |p: &OffsetCommitRequestPartition| found.partitions.contains_key(&p.partition_index);
                let (there, missing) = topic.partitions.into_iter().partition(is_there);
                topic.partitions = there;
                (missing, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
            Err(error) => (std::mem::take(&mut topic.partitions), *error),
        };
        if !unknown.is_empty() {
            let refused = |p: OffsetCommitRequestPartition| OffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code,
            };
            response.topics.push(OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: unknown.into_iter().map(refused).collect(),
            });
        }
        if !topic.partitions.is_empty() {
            known.push(topic);
        }
    }
    // A request without topics is one too: of whoever asks only whether he may.
    if !known.is_empty() || response.topics.is_empty() {
        request.topics = known;
        let group = request.group_id.clone();
        let coordinator::Reply::OffsetCommit(committed) =
            ask(&asked, &group, Request::OffsetCommit(request)).await
        else {
            unreachable!("a coordinator answers what it was asked")
        };
        let mut places: Map<(String, Uuid), usize> = Map::default();
        for (at, topic) in response.topics.iter().enumerate() {
            places.insert((topic.name.clone(), topic.topic_id), at);
        }
        for topic in committed.topics {
            match places.get(&(topic.name.clone(), topic.topic_id)) {
                Some(at) => response.topics[*at].partitions.extend(topic.partitions),
                None => response.topics.push(topic),
            }
        }
    }
    asked.reply(&response)
}

/// Commits offsets of partitions that there are, within a transaction.
pub async fn commit_in_transaction(mut asked: Asked) -> Result<Reply, Ended> {
    let mut request: TxnOffsetCommitRequest = asked.decode()?;
    let image = asked.client.core.image();
    let mut response = TxnOffsetCommitResponse::default();
    let mut known = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        let found = image.topic_named(&topic.name);
        let is_there = |p: &TxnOffsetCommitRequestPartition| {
            found.is_some_and(|found| found.partitions.contains_key(&p.partition_index))
        };
        let (there, missing): (Vec<_>, Vec<_>) = topic.partitions.into_iter().partition(is_there);
        topic.partitions = there;
        if !missing.is_empty() {
            let refused = |p: TxnOffsetCommitRequestPartition| TxnOffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            };
            response.topics.push(TxnOffsetCommitResponseTopic {
                name: topic.name.clone(),
                partitions: missing.into_iter().map(refused).collect(),
            });
        }
        if !topic.partitions.is_empty() {
            known.push(topic);
        }
    }
    if !known.is_empty() {
        request.topics = known;
        let group = request.group_id.clone();
        let coordinator::Reply::TxnOffsetCommit(committed) =
            ask(&asked, &group, Request::TxnOffsetCommit(request)).await
        else {
            unreachable!("a coordinator answers what it was asked")
        };
        for topic in committed.topics {
            match response.topics.iter_mut().find(|known| known.name == topic.name) {
                Some(known) => known.partitions.extend(topic.partitions),
                None => response.topics.push(topic),
            }
        }
    }
    if asked.version < KNOWS_LOADING {
        let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|p| p.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) {
            partition.error_code = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        }
    }
    asked.reply(&response)
}

/// The topic that a request names, in a version that does so by name or by id.
fn find<'a>(image: &'a Image, name: &str, id: Uuid, version: i16) -> Result<&'a Arc<Topic>, ErrorCode> {
    match version {
        BY_ID.. => image.topic(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID),
        _ => image.topic_named(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

/// Tells committed offsets.
pub async fn fetch(mut asked: Asked) -> Result<Reply, Ended> {
    let request: OffsetFetchRequest = asked.decode()?;
    if asked.version < SEVERAL {
        return fetch_one(asked, request).await;
    }
    let core = asked.client.core.clone();
    let image = core.image();
    let mut answers = Vec::new();
    for mut group in request.groups {
        let unknown = name_topics(&image, &mut group, asked.version);
        let place = place_of_group(&core, &image, &group.group_id);
        core.caller.has_room().await;
        let question = Request::OffsetFetch(group, request.require_stable);
        let answer = match place {
            Ok(place) => Ok(ask_at(&asked, place, question)),
            Err(error) => Err(refuse(question, error)),
        };
        answers.push((answer, unknown));
    }
    let mut response = OffsetFetchResponse::default();
    for (answer, unknown) in answers {
        let answer = match answer {
            Ok(asked) => answered(asked).await,
            Err(refused) => refused,
        };
        let coordinator::Reply::OffsetFetch(mut group) = answer else {
            unreachable!("a coordinator answers what it was asked")
        };
        if asked.version >= BY_ID {
            name_by_ids(&image, &mut group);
        }
        if !group.error_code.is_error() {
            group.topics.extend(unknown);
        }
        response.groups.push(group);
    }
    asked.reply(&response)
}

/// Gives topics that were named by ids their names; what there is not is taken out, with what is told of it.
fn name_topics(
    image: &Image,
    group: &mut OffsetFetchRequestGroup,
    version: i16,
) -> Vec<OffsetFetchResponseTopics> {
    let mut unknown = Vec::new();
    let (Some(topics), BY_ID..) = (&mut group.topics, version) else { return unknown };
    topics.retain_mut(|topic| match image.topic(topic.topic_id) {
        Some(found) => {
            topic.name = found.name.to_string();
            true
        }
        None => {
            let partitions = topic.partition_indexes.iter();
            unknown.push(OffsetFetchResponseTopics {
                name: String::new(),
                topic_id: topic.topic_id,
                partitions: partitions.map(|p| nothing(*p, ErrorCode::UNKNOWN_TOPIC_ID)).collect(),
            });
            false
        }
    });
    unknown
}

/// Gives topics their ids. What is committed for topics that are no more cannot be told.
fn name_by_ids(image: &Image, group: &mut OffsetFetchResponseGroup) {
    group.topics.retain_mut(|topic| {
        if topic.topic_id.is_zero() {
            topic.topic_id = image.topic_named(&topic.name).map_or(Uuid::ZERO, |found| found.id);
        }
        !topic.topic_id.is_zero()
    });
}

fn nothing(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    }
}

/// The same as older versions ask and are told it.
async fn fetch_one(asked: Asked, request: OffsetFetchRequest) -> Result<Reply, Ended> {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            topic_id: Uuid::ZERO,
            partition_indexes: topic.partition_indexes,
        });
        topics.collect::<Vec<_>>()
    });
    let named = topics.clone().unwrap_or_default();
    let group = OffsetFetchRequestGroup { group_id: request.group_id.clone(), topics, ..Default::default() };
    let question = Request::OffsetFetch(group, request.require_stable);
    let coordinator::Reply::OffsetFetch(mut group) = ask(&asked, &request.group_id, question).await else {
        unreachable!("a coordinator answers what it was asked")
    };
    if group.error_code.is_error() && asked.version < TELLS_OF_GROUP {
        let failed = named.into_iter().map(|topic| OffsetFetchResponseTopics {
            name: topic.name,
            topic_id: Uuid::ZERO,
            partitions: topic.partition_indexes.iter().map(|p| nothing(*p, group.error_code)).collect(),
        });
        group.topics = failed.collect();
    }
    let partition = |p: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: p.partition_index,
        committed_offset: p.committed_offset,
        committed_leader_epoch: p.committed_leader_epoch,
        metadata: p.metadata,
        error_code: p.error_code,
    };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    asked.reply(&OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    })
}

/// Deletes committed offsets of partitions that there are.
pub async fn delete(mut asked: Asked) -> Result<Reply, Ended> {
    let mut request: OffsetDeleteRequest = asked.decode()?;
    let image = asked.client.core.image();
    let mut response = OffsetDeleteResponse::default();
    let mut known = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        let found = image.topic_named(&topic.name);
        let is_there = |p: &OffsetDeleteRequestPartition| {
            found.is_some_and(|found| found.partitions.contains_key(&p.partition_index))
        };
        let (there, missing): (Vec<_>, Vec<_>) = topic.partitions.into_iter().partition(is_there);
        topic.partitions = there;
        if !missing.is_empty() {
            let refused = |p: OffsetDeleteRequestPartition| OffsetDeleteResponsePartition {
                partition_index: p.partition_index,
                error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            };
            response.topics.push(OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: missing.into_iter().map(refused).collect(),
            });
        }
        if !topic.partitions.is_empty() {
            known.push(topic);
        }
    }
    if !known.is_empty() || response.topics.is_empty() {
        request.topics = known;
        let group = request.group_id.clone();
        let coordinator::Reply::OffsetDelete(deleted) =
            ask(&asked, &group, Request::OffsetDelete(request)).await
        else {
            unreachable!("a coordinator answers what it was asked")
        };
        if deleted.error_code.is_error() {
            response = deleted;
        } else {
            merge(&mut response.topics, deleted.topics);
        }
    }
    asked.reply(&response)
}

fn merge(into: &mut Vec<OffsetDeleteResponseTopic>, more: Vec<OffsetDeleteResponseTopic>) {
    for topic in more {
        match into.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => into.push(topic),
        }
    }
}
