//! Looks at the folders of a stopped Kafka. Changes nothing in them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::found::{Begun, Found, FoundDir, FoundPartition, KEPT, METADATA, Offsets};
use super::metadata::{self, MetadataFile};
use super::plan::is_ours;
use crate::command::failure::{At, Failure, Result};
use crate::config::properties;
use crate::log::checkpoint::{MetaProperties, decode_epochs, decode_offsets, decode_partition_metadata};
use crate::log::segment::{self, Kind};
use crate::log::snapshot::Snapshot;
use crate::wire::batch::front::peek;
use crate::wire::uuid::Uuid;

/// The `version` in `meta.properties` of a folder that is neither broker's for a while: neither starts on it.
pub const HALF_DONE: &str = "ottla-import";
/// Kafka's sign of a clean stop.
pub const CLEAN: &str = ".kafka_cleanshutdown";
/// The file that says whose a folder is.
pub const IDENTITY: &str = "meta.properties";
/// The ending of the metadata log's snapshots.
const SNAPSHOT: &str = ".checkpoint";
/// Bytes of a batch before its records.
const BATCH_HEADER: u64 = 61;
/// Where a batch says its layout.
const MAGIC_AT: usize = 16;

/// Looks at all of them.
pub fn look(dirs: &[PathBuf]) -> Result<Found> {
    let mut found = Vec::new();
    for dir in dirs {
        found.push(look_at(dir)?);
    }
    let metadata_dir = find_metadata(&found)?;
    let first = &found[metadata_dir].identity;
    for dir in &found {
        if (&dir.identity.cluster_id, dir.identity.node_id) != (&first.cluster_id, first.node_id) {
            return Err(Failure::new(format!(
                "{} belongs to node {} of cluster {}, and {} to node {} of cluster {}",
                found[metadata_dir].path.display(),
                first.node_id,
                first.cluster_id,
                dir.path.display(),
                dir.identity.node_id,
                dir.identity.cluster_id
            ))
            .advice("Name the log.dirs of one broker only."));
        }
    }
    let (path, half) = (metadata_path(&found[metadata_dir]), found[metadata_dir].begun == Begun::Half);
    if !half && found[metadata_dir].path.join(KEPT).exists() {
        return Err(Failure::new(format!(
            "{} holds both {METADATA} of Kafka and {KEPT} of an earlier import",
            found[metadata_dir].path.display()
        ))
        .advice(format!("Move {KEPT} away: it is older than what Kafka has written since.")));
    }
    let metadata = read_metadata(&path, &found[metadata_dir].identity.cluster_id)?;
    Ok(Found { dirs: found, metadata_dir, metadata })
}

/// Where Kafka's metadata lies.
pub fn metadata_path(dir: &FoundDir) -> PathBuf {
    match dir.path.join(KEPT) {
        kept if dir.begun == Begun::Half && kept.exists() => kept,
        _ => dir.path.join(METADATA),
    }
}

fn find_metadata(found: &[FoundDir]) -> Result<usize> {
    let holds = |dir: &FoundDir| metadata_path(dir).exists();
    let Some(at) = found.iter().position(holds) else {
        let paths: Vec<String> = found.iter().map(|dir| dir.path.display().to_string()).collect();
        return Err(Failure::new(format!("{METADATA} is not in {}", paths.join(", "))).advice(
            "Name all folders of log.dirs, and that of metadata.log.dir where it is set. A Kafka with ZooKeeper has none: \
             migrate it to KRaft first.",
        ));
    };
    let dir = &found[at];
    if dir.begun == Begun::No && !metadata_path(dir).join("quorum-state").exists() {
        return Err(Failure::new(format!("{} is Ottla's already", dir.path.display()))
            .advice(format!("Start it: ottla serve --data-dir {}", dir.path.display())));
    }
    Ok(at)
}

fn look_at(dir: &Path) -> Result<FoundDir> {
    let (identity, begun) = read_identity(dir)?;
    let mut found = FoundDir {
        path: dir.to_path_buf(),
        identity,
        begun,
        clean: dir.join(CLEAN).exists(),
        recovery_points: offsets(&dir.join("recovery-point-offset-checkpoint"))?,
        starts: offsets(&dir.join("log-start-offset-checkpoint"))?,
        cleaned: offsets(&dir.join("cleaner-offset-checkpoint"))?,
        partitions: Vec::new(),
        others: Vec::new(),
    };
    for (name, is_dir, _) in list(dir)?.into_iter().filter(|(_, is_dir, _)| *is_dir) {
        debug_assert!(is_dir);
        if name == METADATA || name == KEPT || name == "lost+found" {
            continue;
        }
        match segment::parse_partition_dir(&name) {
            Some((topic, partition)) => {
                let mut partition = look_at_partition(&dir.join(&name), topic, partition)?;
                if !found.clean {
                    look_behind_snapshots(&dir.join(&name), &mut partition)?;
                }
                found.partitions.push(partition);
            }
            None => found.others.push(name),
        }
    }
    Ok(found)
}

/// Whose the folder is.
fn read_identity(dir: &Path) -> Result<(MetaProperties, Begun)> {
    let path = dir.join(IDENTITY);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(format!("{} holds no {IDENTITY}", dir.display()))
                .advice("Name folders of the stopped Kafka's log.dirs."));
        }
        read => read.at(path.display())?,
    };
    let bad = |what: &str| Failure::new(format!("{}: {what}", path.display()));
    let entries = properties::parse(&text).map_err(|error| bad(&error.to_string()))?;
    let get = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.trim());
    let begun = match get("version") {
        Some("1") => Begun::No,
        Some(HALF_DONE) => Begun::Half,
        Some("0") => {
            return Err(bad("of a Kafka with ZooKeeper").advice("Migrate it to KRaft with Kafka 3.9 first."));
        }
        other => return Err(bad(&format!("the version {} is not known", other.unwrap_or("(none)")))),
    };
    let cluster_id = get("cluster.id").ok_or_else(|| bad("no cluster.id in it"))?.to_owned();
    let directory_id = match get("directory.id") {
        Some(id) => id.parse().map_err(|_| bad(&format!("directory.id={id} is no id")))?,
        // Before Kafka 3.7 they had none.
        None => made_id(&cluster_id, dir),
    };
    let identity = MetaProperties {
        cluster_id,
        node_id: get("node.id").and_then(|id| id.parse().ok()).ok_or_else(|| bad("no node.id in it"))?,
        directory_id,
    };
    Ok((identity, begun))
}

/// An id for a folder that has none, the same each time it is asked for.
fn made_id(cluster_id: &str, dir: &Path) -> Uuid {
    // FNV-1a, 128 bits.
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let text = format!("{cluster_id} {}", dir.display());
    loop {
        for byte in text.bytes() {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
        if let Some(id) = Uuid::from_random(hash.to_be_bytes()) {
            return id;
        }
    }
}

fn offsets(path: &Path) -> Result<Offsets> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offsets::new()),
        read => read.at(path.display())?,
    };
    // Kafka makes it empty, and writes it when there is something to say.
    if bytes.is_empty() {
        return Ok(Offsets::new());
    }
    let entries = decode_offsets(&bytes).map_err(|why| Failure::new(format!("{}: {why}", path.display())))?;
    Ok(entries.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect())
}

/// The names in a folder, in their order, whether they are folders, and their sizes.
pub fn list(dir: &Path) -> Result<Vec<(String, bool, u64)>> {
    let read = || -> io::Result<Vec<(String, bool, u64)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A link is what it leads to, as for Kafka.
            let metadata = fs::metadata(entry.path())?;
            entries.push((
                entry.file_name().to_string_lossy().into_owned(),
                metadata.is_dir(),
                metadata.len(),
            ));
        }
        entries.sort();
        Ok(entries)
    };
    read().at(dir.display())
}

fn look_at_partition(dir: &Path, topic: &str, partition: i32) -> Result<FoundPartition> {
    let mut found = FoundPartition { topic: topic.to_owned(), partition, ..Default::default() };
    for (name, is_dir, size) in list(dir)? {
        if is_dir {
            continue;
        }
        let path = dir.join(&name);
        if name.ends_with(".swap") {
            found.swaps.push(name.clone());
        }
        if !is_ours(&name) {
            continue;
        }
        match segment::parse_name(&name) {
            Some((base, Kind::Log)) => {
                found.bases.push(base);
                let magic = first_magic(&path).at(path.display())?;
                if let Some(old) = magic.filter(|magic| *magic < 2 && found.old_format.is_none()) {
                    found.old_format = Some((name.clone(), old));
                }
            }
            Some((_, Kind::Snapshot)) => look_at_snapshot(&path, &mut found)?,
            _ => {}
        }
        found.files.push((name, size));
    }
    let read = |name: &str| match fs::read(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).at(dir.join(name).display()),
    };
    let bad = |name: &str, why| Failure::new(format!("{}: {why}", dir.join(name).display()));
    if let Some(bytes) = read("leader-epoch-checkpoint")? {
        let epochs = decode_epochs(&bytes).map_err(|why| bad("leader-epoch-checkpoint", why))?;
        found.epoch = epochs.iter().map(|(epoch, _)| *epoch).max();
    }
    if let Some(bytes) = read("partition.metadata")? {
        let id = decode_partition_metadata(&bytes).map_err(|why| bad("partition.metadata", why))?;
        found.topic_id = Some(id);
    }
    Ok(found)
}

/// The layout of a segment's first batch; none where it is empty, or was only extended.
fn first_magic(path: &Path) -> io::Result<Option<i8>> {
    let mut head = Vec::new();
    File::open(path)?.take(MAGIC_AT as u64 + 1).read_to_end(&mut head)?;
    let is_batch = head.len() > MAGIC_AT && head.iter().any(|byte| *byte != 0);
    Ok(is_batch.then(|| head[MAGIC_AT] as i8))
}

/// One that is damaged is passed over, as brokers do: the log tells the same.
fn look_at_snapshot(path: &Path, found: &mut FoundPartition) -> Result<()> {
    let bytes = fs::read(path).at(path.display())?;
    let Ok(snapshot) = Snapshot::decode(&bytes) else { return Ok(()) };
    found.producers = snapshot.entries().len();
    for entry in snapshot.entries() {
        found.producer_id = found.producer_id.max(Some(entry.producer_id));
    }
    Ok(())
}

/// What the snapshots of a Kafka that was killed do not tell: it writes one when a segment is rolled, and at a clean stop.
fn look_behind_snapshots(dir: &Path, found: &mut FoundPartition) -> Result<()> {
    let names = found.files.iter().filter_map(|(name, _)| segment::parse_name(name));
    let newest =
        names.filter(|(_, kind)| *kind == Kind::Snapshot).map(|(offset, _)| offset).max().unwrap_or(0);
    let at = found.bases.iter().rposition(|base| *base <= newest).unwrap_or(0);
    for base in found.bases.clone().into_iter().skip(at) {
        let path = segment::file(dir, base, Kind::Log);
        look_at_batches(&path, newest, found).at(path.display())?;
    }
    Ok(())
}

/// Goes from header to header, as far as they make sense.
fn look_at_batches(path: &Path, from: i64, found: &mut FoundPartition) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut position = 0;
    loop {
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(position))?;
        (&mut file).take(BATCH_HEADER).read_to_end(&mut head)?;
        let Ok((header, len)) = peek(&head) else { return Ok(()) };
        if header.base_offset >= from && header.producer_id >= 0 {
            found.producer_id = found.producer_id.max(Some(header.producer_id));
        }
        position += len as u64;
    }
}

fn read_metadata(dir: &Path, cluster_id: &str) -> Result<metadata::Metadata> {
    let (mut segments, mut snapshots) = (BTreeMap::new(), BTreeMap::new());
    for (name, ..) in list(dir)? {
        if let Some((base, Kind::Log)) = segment::parse_name(&name) {
            segments.insert(base, name);
        } else if let Some(at) = snapshot_name(&name) {
            snapshots.insert(at, name);
        }
    }
    let read = |offset: i64, name: &String| -> Result<MetadataFile> {
        let path = dir.join(name);
        let bytes = fs::read(&path).at(path.display())?;
        Ok(MetadataFile { name: path.display().to_string(), offset, bytes })
    };
    let snapshot = snapshots.last_key_value().map(|((offset, _), name)| read(*offset, name)).transpose()?;
    let begin = snapshot.as_ref().map_or(0, |snapshot| snapshot.offset);
    // The segment in which the snapshot ends may be the last of those that begin before it.
    let first = segments.range(..=begin).next_back().map_or(0, |(base, _)| *base);
    let segments: Result<Vec<MetadataFile>> =
        segments.range(first..).map(|(base, name)| read(*base, name)).collect();
    let read = metadata::read(cluster_id, snapshot.as_ref(), &segments?);
    read.map_err(|why| {
        Failure::new(format!("Kafka's metadata cannot be adopted: {why}")).advice("Nothing was changed.")
    })
}

/// The offset and the epoch at which a snapshot ends: `<20 digits>-<10 digits>.checkpoint`.
fn snapshot_name(name: &str) -> Option<(i64, i32)> {
    let (offset, epoch) = name.strip_suffix(SNAPSHOT)?.split_once('-')?;
    (offset.len() == 20).then_some(())?;
    Some((offset.parse().ok()?, epoch.parse().ok()?))
}
