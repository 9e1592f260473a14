//! DescribeLogDirs and AlterReplicaLogDirs: what lies in which log directory, and moving it to another.

use std::collections::BTreeMap;
use std::path::Path;

use super::Asked;
use super::places::{Questions, place_named};
use crate::broker::connection::{Ended, Reply};
use crate::broker::core::{Core, NamedDir};
use crate::broker::messages::{LogDirsReply, LogSize, PartitionId, ShardReply, ShardRequest};
use crate::collections::{Map, Set};
use crate::controller::Image;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// What a replica takes in memory, in its shard's answer, in the response and in its frame.
const REPLICA: usize = 96;

/// How much memory an answer may take.
pub fn memory(core: &Core) -> usize {
    core.image().partition_count() * REPLICA
}

/// Tells what lies in each log directory.
pub async fn describe(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeLogDirsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let image = core.image();
    let wanted = request.topics.map(|topics| ids(&image, &topics));
    let calls: Vec<_> = (0..core.caller.cores())
        .map(|to| core.caller.call(to, ShardRequest::DescribeLogDirs(wanted.clone())))
        .collect();
    let mut replies = Vec::new();
    for call in calls {
        match call.await {
            ShardReply::DescribeLogDirs(reply) => replies.push(reply),
            _ => unreachable!("a shard answers what it was asked"),
        }
    }
    let mut by_directory = by_directory(&image, &replies);
    let mut results = Vec::new();
    for dir in core.log_dirs().iter() {
        let serves = |id: &Uuid| replies.iter().all(|reply| reply.serving.contains(id));
        results.push(match dir.id.filter(serves) {
            Some(id) => serving(&core, dir, by_directory.remove(&id).unwrap_or_default()).await,
            None => DescribeLogDirsResult {
                error_code: ErrorCode::KAFKA_STORAGE_ERROR,
                log_dir: name(&dir.path),
                ..Default::default()
            },
        });
    }
    asked.reply(&DescribeLogDirsResponse { results, ..Default::default() })
}

/// How a directory is named to clients.
fn name(path: &Path) -> String {
    path.display().to_string()
}

fn ids(image: &Image, topics: &[DescribableLogDirTopic]) -> Set<PartitionId> {
    let known = topics.iter().filter_map(|asked| Some((image.topic_named(&asked.topic)?.id, asked)));
    let of = |(topic, asked): (Uuid, &DescribableLogDirTopic)| {
        asked.partitions.iter().map(move |partition| PartitionId { topic, partition: *partition }).collect()
    };
    known.flat_map(|known| -> Vec<PartitionId> { of(known) }).collect()
}

type Topics = BTreeMap<String, Vec<DescribeLogDirsPartition>>;

fn by_directory(image: &Image, replies: &[LogDirsReply]) -> Map<Uuid, Topics> {
    let mut found: Map<Uuid, Topics> = Map::default();
    for LogSize { id, directory, size, lag } in replies.iter().flat_map(|reply| &reply.replicas) {
        let Some(topic) = image.topic(id.topic) else { continue };
        let partition = DescribeLogDirsPartition {
            partition_index: id.partition,
            partition_size: i64::try_from(*size).unwrap_or(i64::MAX),
            offset_lag: lag.unwrap_or(0),
            is_future_key: lag.is_some(),
        };
        let topics = found.entry(*directory).or_default();
        topics.entry(topic.name.to_string()).or_default().push(partition);
    }
    found
}

async fn serving(core: &Core, dir: &NamedDir, topics: Topics) -> DescribeLogDirsResult {
    let space = core.reactor.disk().space(&dir.path).await.ok();
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic { name, partitions }
    });
    DescribeLogDirsResult {
        error_code: ErrorCode::NONE,
        log_dir: name(&dir.path),
        topics: topics.collect(),
        total_bytes: bytes(space.map(|space| space.total)),
        usable_bytes: bytes(space.map(|space| space.free)),
    }
}

/// Begins to move replicas; the copying goes on after the answer.
pub async fn alter(mut asked: Asked) -> Result<Reply, Ended> {
    let request: AlterReplicaLogDirsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    // Of a partition that is named twice the last directory counts.
    let mut wanted = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for partition in &topic.partitions {
                wanted.insert((topic.name.clone(), *partition), &*dir.path);
            }
        }
    }
    let mut questions = Questions::default();
    {
        let (image, dirs) = (core.image(), core.log_dirs());
        for ((topic, partition), path) in &wanted {
            let goes = check_name(topic, *partition).and_then(|()| directory(&dirs, path));
            let goes = goes.and_then(|directory| {
                let place = place_named(&core, &image, topic, *partition)?;
                Ok((place, (place.id, directory)))
            });
            questions.push(goes.map_err(Err));
        }
    }
    let read = |reply| match reply {
        ShardReply::Relocate(replies) => Some(replies),
        _ => None,
    };
    let answers = questions.ask(&core, ShardRequest::Relocate, read).await;
    let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    for ((topic, partition_index), answer) in wanted.into_keys().zip(answers) {
        let error = match answer {
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) => ErrorCode::REPLICA_NOT_AVAILABLE,
            answer => answer.err().unwrap_or(ErrorCode::NONE),
        };
        let result = AlterReplicaLogDirPartitionResult { partition_index, error_code: error };
        match results.last_mut() {
            Some(last) if last.topic_name == topic => last.partitions.push(result),
            _ => results.push(AlterReplicaLogDirTopicResult { topic_name: topic, partitions: vec![result] }),
        }
    }
    asked.reply(&AlterReplicaLogDirsResponse { results, ..Default::default() })
}

/// Kafka puts forty more characters behind the name of the folder that a replica is copied into, and refuses what gets
/// too long by that before it looks at anything else.
fn check_name(topic: &str, partition: i32) -> Result<(), ErrorCode> {
    match topic.len() + 1 + partition.to_string().len() + 40 {
        0..=255 => Ok(()),
        _ => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
    }
}

fn directory(dirs: &[NamedDir], path: &str) -> Result<Uuid, ErrorCode> {
    let named = dirs.iter().find(|dir| dir.path == Path::new(path)).ok_or(ErrorCode::LOG_DIR_NOT_FOUND)?;
    named.id.ok_or(ErrorCode::KAFKA_STORAGE_ERROR)
}
