//! A log directory from its folder to a running shard, and back to the folder.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::dirs::belongs;
use super::log_dir::LogDir;
use super::marks::{FoundMarks, MarkFiles};
use super::messages::{LogEnd, LogEnds, PartitionId};
use super::metadata_log::METADATA_TOPIC;
use super::open::{Before, METADATA};
use super::shard::Shard;
pub use super::upkeep::remove_deleted;
use super::volume::{SharedVolume, Volume};
use crate::collections::Map;
use crate::controller::Image;
use crate::log::{checkpoint, segment};
use crate::reactor::{Disk, DiskReport, Reactor};
use crate::wire::uuid::Uuid;

/// Kafka's sign of a clean stop.
const CLEAN: &str = ".kafka_cleanshutdown";
/// Kafka's checkpoint of what is flushed: after a clean stop, where logs end.
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// Kafka's checkpoint of where logs start, for those whose first segment does not tell; in a partition's own folder,
/// where that one starts.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";

/// Kafka's checkpoint of how far compacted logs are cleaned. It is written for Kafka: here each partition's folder has
/// its own, which is exact after a crash too.
const CLEANED: &str = crate::log::compact::checkpoint::NAME;

/// What a log directory holds when a node starts, before anything in it is changed.
#[derive(Debug)]
pub struct Found {
    /// Its `directory.id`.
    pub id: Uuid,
    /// What its file system allows.
    pub report: DiskReport,
    /// The stable ends.
    pub marks: FoundMarks,
    /// Whether it was stopped cleanly.
    pub clean: bool,
    /// Where logs start, as a clean stop has left it: by the topic's name and the partition.
    pub starts: Map<(String, i32), i64>,
}

impl Found {
    /// What is known of a partition's log that lies here.
    pub fn before(&self, topic: &str, id: PartitionId) -> Before {
        let mark = self.marks.marks.get(&id).copied();
        Before {
            mark,
            clean: self.clean,
            accept_loss: false,
            start: self.start_of(topic, id.partition),
            is_kafkas: self.marks.is_kafkas || mark.is_none(),
        }
    }

    /// Where a log starts, as a clean stop has left it; none where its files tell.
    fn start_of(&self, topic: &str, partition: i32) -> Option<i64> {
        if self.starts.is_empty() {
            return None;
        }
        self.starts.get(&(topic.to_string(), partition)).copied()
    }
}

/// Looks at the log directory of this id, making it if it is missing. Once per node, before its shards start.
pub async fn look(disk: &Disk, dir: &Path, id: Uuid) -> io::Result<Found> {
    disk.create_dirs(dir).await?;
    // The folder's own name, and those above it, must outlast a power failure too.
    for above in dir.ancestors().skip(1) {
        // A relative path begins in the folder that has no name in it.
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match disk.sync_dir(above).await {
            // What may not be read, or cannot be written, was not made here.
            Err(error) if is_no_folder_of_ours(&error) => {}
            other => other?,
        }
    }
    let report = disk.examine(dir).await?;
    let clean = disk.list(dir).await?.iter().any(|entry| entry.name == CLEAN);
    let marks = FoundMarks::read(disk, dir).await?;
    // After a crash it may tell of a topic that was deleted and made again: the partitions' own files tell then.
    let starts = if clean { read_offsets(disk, dir.join(LOG_STARTS)).await? } else { Map::default() };
    Ok(Found { id, report, marks, clean, starts })
}

async fn read_offsets(disk: &Disk, path: PathBuf) -> io::Result<Map<(String, i32), i64>> {
    let entries = match disk.read(&path).await {
        Ok(bytes) => checkpoint::decode_offsets(&bytes).map_err(|why| {
            let what = format!("{}: {why}. Restore it from a copy, or remove it", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(entries.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect())
}

fn is_no_folder_of_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput)
}

/// Takes the sign of a clean stop away, durably. Comes before the first append, and after [`look`]: from here on
/// a crash leaves a folder that is not clean.
///
/// But for what a clean stop has left, all that is seen in the directory becomes durable here, at once for all
/// partitions: who died may have made and removed files without making that durable, and what is written from here on
/// counts on it. What a partition's opening itself changes it makes durable itself.
pub async fn begin(disk: &Disk, dir: &Path, found: &Found) -> io::Result<()> {
    match disk.remove_file(&dir.join(CLEAN)).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ if found.clean && !found.marks.is_kafkas => disk.sync_dir(dir).await,
        _ => disk.sync_all(dir).await,
    }
}

/// Begins to work with one of the node's log directories on one core. `mine` says which partitions in it are this
/// core's.
pub async fn start_volume(
    reactor: &Reactor,
    (index, dir): (usize, &Path),
    found: &Found,
    mine: impl Fn(PartitionId) -> bool,
) -> io::Result<SharedVolume> {
    let log_dir = LogDir::open(reactor, (found.id, dir), found.report.clone()).await?;
    let marks = MarkFiles::begin(reactor, dir, log_dir.shares_flush(), &found.marks, mine).await?;
    Ok(Volume::new(index, log_dir, marks))
}

/// Starts the shard of one core over the log directories that work, without partitions.
pub fn start_shard(reactor: &Reactor, volumes: Vec<SharedVolume>) -> Rc<Shard> {
    let shard = Shard::new(reactor.clone(), volumes);
    shard.start();
    shard
}

/// Starts a shard over one log directory alone, as tests do that need no node around it.
pub async fn start_alone(reactor: &Reactor, dir: &Path) -> io::Result<(Found, Rc<Shard>)> {
    let disk = reactor.disk();
    let found = look(&disk, dir, Uuid::ZERO).await?;
    begin(&disk, dir, &found).await?;
    let volume = start_volume(reactor, (0, dir), &found, |_| true).await?;
    Ok((found, start_shard(reactor, vec![volume])))
}

/// Stops what [`start_alone`] has started, and leaves the sign of a clean stop if it is one.
pub async fn stop_alone(reactor: &Reactor, shard: &Rc<Shard>, dir: &Path) -> io::Result<()> {
    let (_, ends) = stop_shard(shard).await.remove(0);
    finish(&reactor.disk(), dir, &ends.map_err(io::Error::other)?).await
}

/// Puts aside the folders of partitions that this broker does not have here by the image, such as those of a topic whose
/// deletion a crash cut short. They are renamed, not deleted: it is for the operator to say that they can go.
pub async fn put_strays_aside(log_dir: &LogDir, image: &Image, node_id: i32) -> io::Result<()> {
    for entry in log_dir.disk.list(&log_dir.path).await?.into_iter().filter(|entry| entry.is_dir) {
        let Some((topic, partition)) = segment::parse_partition_dir(&entry.name) else { continue };
        let known = image.topic_named(topic).and_then(|topic| topic.partitions.get(&partition));
        if topic == METADATA_TOPIC || known.is_some_and(|known| belongs(known, node_id, log_dir.id)) {
            continue;
        }
        let dir = log_dir.path.join(&entry.name);
        let id = match log_dir.disk.read(&dir.join(METADATA)).await {
            Ok(bytes) => checkpoint::decode_partition_metadata(&bytes).unwrap_or(Uuid::ZERO),
            Err(_) => Uuid::ZERO,
        };
        put_aside(log_dir, &dir, &entry.name, id).await?;
    }
    Ok(())
}

/// Renames the folder of a partition that is not served here.
pub async fn put_aside(log_dir: &LogDir, dir: &Path, name: &str, topic_id: Uuid) -> io::Result<()> {
    let aside = log_dir.path.join(segment::renamed_dir(name, topic_id, "stray"));
    tracing::warn!(
        "{} belongs to the topic id {topic_id}, which is not served here any more: renamed to {}",
        dir.display(),
        aside.display()
    );
    log_dir.disk.rename(dir, &aside).await?;
    log_dir.disk.sync_dir(&log_dir.path).await
}

/// Stops a shard: takes no more appends, waits a little for logs that are being opened and until all that was
/// appended is flushed, and leaves the logs as Kafka would. Gives where the logs of each log directory end, or why it
/// is not left as a clean stop leaves it.
pub async fn stop_shard(shard: &Rc<Shard>) -> Vec<(usize, Result<LogEnds, String>)> {
    shard.begin_stop();
    shard.all_opened().await;
    shard.settled().await;
    let mut ends = Vec::new();
    for volume in &shard.volumes {
        let closed = match volume.log_dir.failure() {
            Some(failure) => Err(failure),
            None => shard.close(volume).await.map_err(|error| error.to_string()),
        };
        ends.push((volume.index, closed));
    }
    ends
}

/// Leaves the sign of a clean stop, once every shard has stopped. `ends` is where the logs end.
pub async fn finish(disk: &Disk, dir: &Path, ends: &[LogEnd]) -> io::Result<()> {
    let at = |end: &LogEnd, offset| (end.topic.clone(), end.partition, offset);
    let points: Vec<_> = ends.iter().map(|end| at(end, end.end)).collect();
    let starts: Vec<_> = ends.iter().filter_map(|end| Some(at(end, end.start?))).collect();
    disk.replace(&dir.join(RECOVERY_POINTS), checkpoint::encode_offsets(&points)).await?;
    let cleaned: Vec<_> = ends.iter().filter_map(|end| Some(at(end, end.cleaned?))).collect();
    disk.replace(&dir.join(LOG_STARTS), checkpoint::encode_offsets(&starts)).await?;
    disk.replace(&dir.join(CLEANED), checkpoint::encode_offsets(&cleaned)).await?;
    disk.replace(&dir.join(CLEAN), b"{\"version\":0,\"brokerEpoch\":-1}".to_vec()).await
}

#[cfg(test)]
mod tests;
