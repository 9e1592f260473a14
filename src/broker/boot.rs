//! A log directory from its folder to a running shard, and back to the folder.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::log_dir::LogDir;
use super::marks::{FoundMarks, MarkFiles};
use super::messages::PartitionId;
use super::shard::Shard;
use super::upkeep::remove_deleted;
use crate::log::checkpoint;
use crate::reactor::{Disk, DiskReport, Reactor};

/// Kafka's sign of a clean stop.
const CLEAN: &str = ".kafka_cleanshutdown";
/// Kafka's checkpoint of what is flushed.
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// What a log directory holds when a node starts, before anything in it is changed.
#[derive(Debug)]
pub struct Found {
    /// What its file system allows.
    pub report: DiskReport,
    /// The stable ends.
    pub marks: FoundMarks,
    /// Whether it was stopped cleanly.
    pub clean: bool,
}

/// Looks at a log directory, making it if it is missing. Once per node, before its shards start.
pub async fn look(disk: &Disk, dir: &Path) -> io::Result<Found> {
    disk.create_dirs(dir).await?;
    // The folder's own name, and those above it, must outlast a power failure too.
    for above in dir.ancestors().skip(1) {
        match disk.sync_dir(above).await {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    let report = disk.examine(dir).await?;
    let clean = disk.list(dir).await?.iter().any(|entry| entry.name == CLEAN);
    let marks = FoundMarks::read(disk, dir).await?;
    Ok(Found { report, marks, clean })
}

/// Takes the sign of a clean stop away, durably. Comes before the first append, and after [`look`]: from here on
/// a crash leaves a folder that is not clean.
pub async fn begin(disk: &Disk, dir: &Path) -> io::Result<()> {
    match disk.remove_file(&dir.join(CLEAN)).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => disk.sync_dir(dir).await,
    }
}

/// Starts the shard of one core, without partitions. `mine` says which partitions are this core's.
pub async fn start_shard(
    reactor: &Reactor,
    dir: &Path,
    found: &Found,
    mine: impl Fn(PartitionId) -> bool,
) -> io::Result<Rc<Shard>> {
    let log_dir = Rc::new(LogDir::open(reactor, dir, found.report.clone()).await?);
    if reactor.core() == 0 {
        remove_deleted(&log_dir).await?;
    }
    let marks = MarkFiles::begin(reactor, dir, log_dir.shares_flush(), &found.marks, mine).await?;
    let shard = Shard::new(reactor.clone(), log_dir, marks);
    shard.start();
    Ok(shard)
}

/// Stops a shard: takes no more appends, waits until all that was appended is flushed, and leaves the logs as
/// Kafka would. Gives where each log ends.
pub async fn stop_shard(shard: &Rc<Shard>) -> io::Result<Vec<(String, i32, i64)>> {
    shard.begin_stop();
    shard.settled().await;
    if let Some(failure) = shard.log_dir.failure() {
        return Err(io::Error::other(failure));
    }
    shard.close().await
}

/// Leaves the sign of a clean stop, once every shard has stopped. `ends` is where the logs end.
pub async fn finish(disk: &Disk, dir: &Path, ends: &[(String, i32, i64)]) -> io::Result<()> {
    disk.replace(&dir.join(RECOVERY_POINTS), checkpoint::encode_offsets(ends)).await?;
    disk.replace(&dir.join(CLEAN), b"{\"version\":0,\"brokerEpoch\":-1}".to_vec()).await
}
