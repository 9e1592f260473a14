//! What is to be done, from what was found. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::found::{Found, FoundPartition, Offsets};
use crate::controller::features;
use crate::controller::image::NO_LEADER;
use crate::log::checkpoint::encode_start;
use crate::log::compact::checkpoint::Checkpoint;
use crate::log::segment;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::{PartitionRecord, ProducerIdsRecord};
use crate::wire::uuid::Uuid;

/// The core that partitions are given: no node has so many, so each is placed on one of the node's when it first starts.
const NO_CORE: i32 = i32::MAX;
/// The first metadata.version that can be adopted, 3.3-IV3: older clusters have records that no Kafka 4 reads.
const OLDEST_VERSION: i16 = 7;
/// Names that are told before the rest is only counted.
const TOLD: usize = 5;

/// What to do, and what to say before.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Why it cannot be done; each with what to do.
    pub problems: Vec<String>,
    /// What the operator should know before saying yes.
    pub cautions: Vec<String>,
    /// The partitions: for each its log directory's place and the place in that.
    pub partitions: Vec<PartitionWork>,
    /// The records of Ottla's metadata log.
    pub records: Vec<MetadataRecord>,
    /// The next producer id.
    pub next_producer_id: i64,
}

/// What is written into a partition's folder beside what Kafka has left in it; none where no file may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionWork {
    /// The place of its log directory.
    pub dir: usize,
    /// The folder's name.
    pub name: String,
    /// Where the log starts.
    pub start: Option<Vec<u8>>,
    /// How far it was cleaned.
    pub cleaned: Option<Vec<u8>>,
    /// The topic's id, where the folder does not tell it yet.
    pub topic_id: Option<Uuid>,
    /// The files that make up the partition.
    pub files: Vec<(String, u64)>,
    /// Segments that were perhaps not flushed when Kafka ended.
    pub doubtful: Vec<(String, u64)>,
}

impl PartitionWork {
    /// The bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }
}

/// Decides. `directory` says in which directory a partition lies afterwards, by the place of the one it was found in.
pub fn plan(found: &Found, directory: impl Fn(usize) -> Uuid) -> Plan {
    let mut plan = Plan::default();
    check_cluster(found, &mut plan);
    check_topics(found, &mut plan);
    check_logs(found, &mut plan);
    tell_unserved(found, &mut plan);
    let served = served(found, &mut plan);
    plan.partitions = served.values().map(|(dir, p)| work(found, *dir, p)).collect();
    next_producer_id(found, &mut plan);
    plan.records = records(found, &served, plan.next_producer_id, directory);
    plan
}

fn check_cluster(found: &Found, plan: &mut Plan) {
    let (identity, image) = (found.identity(), &found.metadata.image);
    let version = found.metadata.version();
    if version < OLDEST_VERSION {
        plan.problems.push(format!(
            "metadata.version has the level {version}, older than Kafka 3.3 wrote it: upgrade the cluster \
             (kafka-features.sh upgrade) before it is stopped"
        ));
    }
    let brokers: Vec<i32> = image.brokers().map(|broker| broker.id).collect();
    let others: Vec<String> =
        brokers.iter().filter(|id| **id != identity.node_id).map(i32::to_string).collect();
    if !others.is_empty() {
        plan.problems.push(format!(
            "the cluster has other brokers too (node.id {}), and only a cluster of one broker can be adopted today. Move \
             their partitions here (kafka-reassign-partitions.sh) and take them away (kafka-cluster.sh unregister)",
            others.join(", ")
        ));
    }
    if !brokers.contains(&identity.node_id) {
        plan.problems.push(format!(
            "node {} is no broker of this cluster, but perhaps a controller: name the broker's log.dirs",
            identity.node_id
        ));
    }
    if let Some(torn) = &found.metadata.torn {
        plan.cautions
            .push(format!("the metadata log breaks off ({torn}); what Kafka had confirmed lies before that"));
    }
}

fn check_topics(found: &Found, plan: &mut Plan) {
    let (identity, ids) = (found.identity(), found.directory_ids());
    let (mut elsewhere, mut lost) = (Vec::new(), BTreeMap::<Uuid, Vec<String>>::new());
    for topic in found.metadata.image.topics() {
        if topic.configs.get("remote.storage.enable").is_some_and(|value| value == "true") {
            plan.problems.push(format!(
                "{} is tiered (remote.storage.enable=true): its older records are not in these folders, and Ottla does \
                 not read them yet. Turn that off with remote.log.delete.on.disable=true, or leave the topic out by \
                 deleting it",
                topic.name
            ));
        }
        for (number, partition) in topic.partitions.iter() {
            let name = format!("{}-{number}", topic.name);
            if partition.replicas != [identity.node_id] {
                elsewhere.push(name.clone());
            }
            let directory = partition.directory_on(identity.node_id).unwrap_or_default();
            if !directory.is_reserved() && !ids.contains(&directory) {
                lost.entry(directory).or_default().push(name);
            }
        }
    }
    if !elsewhere.is_empty() {
        plan.problems.push(format!(
            "{} have replicas on other brokers than node {}: only a cluster of one broker can be adopted today. Give them \
             one replica here (kafka-reassign-partitions.sh)",
            some(&elsewhere),
            identity.node_id
        ));
    }
    for (directory, names) in lost {
        plan.problems.push(format!(
            "{} lie in the log directory with the directory.id {directory}, which is none of --from: name all folders of \
             log.dirs",
            some(&names)
        ));
    }
}

fn check_logs(found: &Found, plan: &mut Plan) {
    let mut seen = BTreeMap::new();
    for (dir, p) in found.partitions() {
        let path = found.dirs[dir].path.join(p.name());
        if let Some(other) = seen.insert(p.key(), dir) {
            plan.problems.push(format!(
                "{} is in {} too: Kafka would not start either. Move the older of the two away",
                path.display(),
                found.dirs[other].path.display()
            ));
        }
        if let Some((file, format)) = &p.old_format {
            plan.problems.push(format!(
                "{}/{file} holds records in the format {format} of before Kafka 0.11, which are not read here: copy the \
                 topic to a new one with Kafka, or wait until retention has removed them",
                path.display()
            ));
        }
        if !p.swaps.is_empty() {
            plan.problems.push(format!(
                "{}: a compaction was cut short while it exchanged files ({}). Start Kafka once and stop it cleanly: it \
                 finishes that",
                path.display(),
                p.swaps[0]
            ));
        }
    }
    for dir in found.dirs.iter().filter(|dir| !dir.clean) {
        plan.cautions.push(format!(
            "{} was not stopped cleanly: what Kafka had not flushed is checked now, and its logs are recovered when Ottla \
             first starts, as Kafka would. After a power failure, records that Kafka acknowledged may be missing",
            dir.path.display()
        ));
    }
}

fn tell_unserved(found: &Found, plan: &mut Plan) {
    let unserved = &found.metadata.unserved;
    let mut tell = |count: usize, what: &str, means: &str| {
        if count > 0 {
            plan.cautions
                .push(format!("{count} {what}: {means}. They stay in Kafka's metadata, which is kept"));
        }
    };
    tell(
        unserved.acls.len(),
        "ACLs",
        "Ottla does not enforce them yet, and whoever reaches it may do everything",
    );
    tell(unserved.users.len(), "SCRAM credentials", "Ottla does not authenticate users yet");
    tell(unserved.quotas.len(), "client quotas", "Ottla does not enforce them yet");
    tell(unserved.tokens.len(), "delegation tokens", "Ottla does not take them yet");
    const SHARE_GROUPS: &str = "__share_group_state";
    if found.metadata.image.topic_named(SHARE_GROUPS).is_some() {
        plan.cautions.push(format!(
            "share groups: Ottla does not serve them yet. {SHARE_GROUPS} is adopted as it is, and nothing of it is lost"
        ));
    }
    for dir in &found.dirs {
        for name in &dir.others {
            plan.cautions.push(format!("{}: {}", dir.path.join(name).display(), other_folder(name)));
        }
    }
}

fn other_folder(name: &str) -> &'static str {
    match name {
        _ if name.ends_with("-delete") => {
            "of a deleted topic: left out (Ottla removes it where it is adopted in place)"
        }
        _ if name.ends_with("-future") => {
            "half of a move between log directories: left out; the partition is whole where it came from"
        }
        _ if name.ends_with("-stray") => "put aside by a broker: left out, and left where it is",
        _ => "no partition's folder: left out, and left where it is",
    }
}

/// The partitions' folders that the metadata knows; the others are told.
fn served<'a>(found: &'a Found, plan: &mut Plan) -> BTreeMap<(String, i32), (usize, &'a FoundPartition)> {
    let image = &found.metadata.image;
    let (mut served, mut strays) = (BTreeMap::new(), Vec::new());
    for (dir, p) in found.partitions() {
        let topic = image.topic_named(&p.topic).filter(|topic| p.topic_id.is_none_or(|id| id == topic.id));
        match topic.and_then(|topic| topic.partitions.get(&p.partition)) {
            Some(_) => drop(served.insert(p.key(), (dir, p))),
            None => strays.push(found.dirs[dir].path.join(p.name()).display().to_string()),
        }
    }
    if !strays.is_empty() {
        plan.cautions.push(format!(
            "{}: not in the metadata, as after the deletion of a topic: left out (where they are adopted in place, Ottla \
             renames them to end in -stray)",
            some(&strays)
        ));
    }
    let (node_id, ids) = (found.identity().node_id, found.directory_ids());
    let mut missing = Vec::new();
    for topic in image.topics() {
        for (number, partition) in topic.partitions.iter() {
            let said = partition.directory_on(node_id).unwrap_or_default();
            let is_here = said.is_reserved() || ids.contains(&said);
            if is_here && !served.contains_key(&(topic.name.to_string(), *number)) {
                missing.push(format!("{}-{number}", topic.name));
            }
        }
    }
    if !missing.is_empty() {
        plan.cautions
            .push(format!("{} have no folder: they begin empty, as they would with Kafka", some(&missing)));
    }
    served
}

fn work(found: &Found, dir: usize, p: &FoundPartition) -> PartitionWork {
    let (log_dir, key) = (&found.dirs[dir], p.key());
    let of = |offsets: &Offsets| offsets.get(&key).copied();
    let first = p.bases.first().copied().unwrap_or(0);
    let segments = p.segments();
    let point = of(&log_dir.recovery_points).unwrap_or(0);
    // The last segment is checked whenever Ottla starts on an unclean folder; the one before it may hold the point.
    let doubtful = segments.windows(2).filter(|two| !log_dir.clean && two[1].0 > point);
    let topic = found.metadata.image.topic_named(&p.topic);
    PartitionWork {
        dir,
        name: p.name(),
        start: of(&log_dir.starts).filter(|start| *start > first).map(encode_start),
        cleaned: of(&log_dir.cleaned)
            .filter(|cleaned| *cleaned > 0)
            .map(|first_dirty| Checkpoint { first_dirty, exchange: Vec::new() }.encode()),
        topic_id: topic.filter(|_| p.topic_id.is_none()).map(|topic| topic.id),
        files: p.files.clone(),
        doubtful: doubtful.map(|two| (two[0].1.to_owned(), two[0].2)).collect(),
    }
}

fn next_producer_id(found: &Found, plan: &mut Plan) {
    let known = found.partitions().filter_map(|(_, p)| p.producer_id).max().unwrap_or(-1);
    match known.checked_add(1) {
        Some(next) => plan.next_producer_id = next.max(found.metadata.image.next_producer_id()),
        None => plan.problems.push(format!(
            "a producer has the id {known}, the last there is: no new producer could be given one"
        )),
    }
}

/// What makes the cluster out of an empty one. The broker registers itself when it starts.
fn records(
    found: &Found,
    served: &BTreeMap<(String, i32), (usize, &FoundPartition)>,
    next_producer_id: i64,
    directory: impl Fn(usize) -> Uuid,
) -> Vec<MetadataRecord> {
    let image = &found.metadata.image;
    let names: BTreeMap<Uuid, &str> = image.topics().map(|topic| (topic.id, &*topic.name)).collect();
    let built: BTreeSet<&str> = features::supported().map(|feature| feature.name).collect();
    let mut records = Vec::new();
    for record in image.records() {
        match record {
            MetadataRecord::RegisterBroker(_) | MetadataRecord::ProducerIds(_) => {}
            MetadataRecord::FeatureLevel(r) if !built.contains(&r.name[..]) => {}
            MetadataRecord::Partition(r) => {
                let place = served.get(&(names[&r.topic_id].to_owned(), r.partition_id));
                let lies_in = place.map_or(Uuid::ZERO, |(dir, _)| directory(*dir));
                let epoch = place.and_then(|(_, p)| p.epoch);
                records.push(adopted(r, found.identity().node_id, lies_in, epoch).into());
            }
            other => records.push(other),
        }
    }
    if next_producer_id > 0 {
        let ids = ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id };
        records.push(ids.into());
    }
    records
}

/// A partition as Ottla takes it up: it has no leader until the broker has started, and its next leader epoch is above
/// all that its log has seen.
fn adopted(r: PartitionRecord, node_id: i32, directory: Uuid, epoch: Option<i32>) -> PartitionRecord {
    PartitionRecord {
        partition_id: r.partition_id,
        topic_id: r.topic_id,
        replicas: vec![node_id],
        isr: vec![node_id],
        leader: NO_LEADER,
        leader_epoch: r.leader_epoch.max(epoch.unwrap_or(0)),
        partition_epoch: r.partition_epoch,
        directories: vec![directory],
        cores: vec![NO_CORE],
        ..Default::default()
    }
}

/// A few names, and how many more there are.
pub fn some(names: &[String]) -> String {
    match names.len() {
        ..=TOLD => names.join(", "),
        more => format!("{} and {} more", names[..TOLD].join(", "), more - TOLD),
    }
}

/// The files of a partition that are adopted.
pub fn is_ours(name: &str) -> bool {
    segment::parse_name(name).is_some() || matches!(name, "leader-epoch-checkpoint" | "partition.metadata")
}

#[cfg(test)]
mod tests;
