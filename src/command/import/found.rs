//! What was found in the folders of a stopped Kafka, before anything is decided or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::metadata::Metadata;
use crate::log::checkpoint::MetaProperties;
use crate::log::segment;
use crate::wire::uuid::Uuid;

/// The name of Kafka's metadata partition.
pub const METADATA: &str = "__cluster_metadata-0";
/// What Kafka's metadata partition is called once Ottla has one in its place.
pub const KEPT: &str = "__cluster_metadata-0.kafka";

/// Offsets by topic and partition, as the checkpoints of a log directory tell them.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// All that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The log directories, in the order in which they were named.
    pub dirs: Vec<FoundDir>,
    /// Which of them holds the metadata.
    pub metadata_dir: usize,
    /// The metadata.
    pub metadata: Metadata,
}

/// A log directory.
#[derive(Clone, Debug)]
pub struct FoundDir {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub identity: MetaProperties,
    /// Whether Kafka has stopped cleanly.
    pub clean: bool,
    /// What an import has done here already.
    pub begun: Begun,
    /// Up to where logs are flushed.
    pub recovery_points: Offsets,
    /// Where logs start.
    pub starts: Offsets,
    /// How far logs were cleaned.
    pub cleaned: Offsets,
    /// The partitions.
    pub partitions: Vec<FoundPartition>,
    /// Other folders than those of partitions and of the metadata.
    pub others: Vec<String>,
}

/// What an import in place has done already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: Kafka can be started.
    #[default]
    No,
    /// It was cut short on the way from one broker to the other.
    Half,
}

/// A partition's folder.
#[derive(Clone, Debug, Default)]
pub struct FoundPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The topic's id as `partition.metadata` tells it; none where that is missing.
    pub topic_id: Option<Uuid>,
    /// The last leader epoch that was written under.
    pub epoch: Option<i32>,
    /// The segments' base offsets, oldest first.
    pub bases: Vec<i64>,
    /// The files that make up the partition: their names and sizes.
    pub files: Vec<(String, u64)>,
    /// Files of a compaction that was cut short while it exchanged segments.
    pub swaps: Vec<String>,
    /// The highest producer id in its snapshots.
    pub producer_id: Option<i64>,
    /// How many producers its snapshots know.
    pub producers: usize,
    /// The file and the layout of a segment with records of an old format.
    pub old_format: Option<(String, i8)>,
}

impl FoundPartition {
    /// The folder's name.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    /// The partition as checkpoints name it.
    pub fn key(&self) -> (String, i32) {
        (self.topic.clone(), self.partition)
    }

    /// The bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }

    /// Its segments' files: their base offsets, names and sizes, oldest first.
    pub fn segments(&self) -> Vec<(i64, &str, u64)> {
        let log = |(name, size): &'_ (String, u64)| match segment::parse_name(name) {
            Some((base, segment::Kind::Log)) => Some((base, *size)),
            _ => None,
        };
        let mut segments: Vec<_> = self
            .files
            .iter()
            .filter_map(|file| log(file).map(|(base, size)| (base, &file.0[..], size)))
            .collect();
        segments.sort();
        segments
    }
}

impl Found {
    /// All partitions, with the place of their log directory.
    pub fn partitions(&self) -> impl Iterator<Item = (usize, &FoundPartition)> {
        self.dirs.iter().enumerate().flat_map(|(at, dir)| dir.partitions.iter().map(move |p| (at, p)))
    }

    /// Who owns the folders.
    pub fn identity(&self) -> &MetaProperties {
        &self.dirs[self.metadata_dir].identity
    }

    /// Whether an import in place was cut short behind the point from which Kafka no longer starts.
    pub fn half_done(&self) -> bool {
        self.dirs.iter().any(|dir| dir.begun == Begun::Half)
    }

    /// The ids of the log directories.
    pub fn directory_ids(&self) -> BTreeSet<Uuid> {
        self.dirs.iter().map(|dir| dir.identity.directory_id).collect()
    }
}
