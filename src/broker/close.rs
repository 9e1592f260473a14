//! A clean stop: every log is left as Kafka leaves it, with true sizes, indexes and checkpoints on disk.
//!
//! Two syncs of the whole file system make that durable, whatever the number of partitions: the files are written
//! beside those whose place they take, all is synced, they are put in place, all is synced again.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::messages::{LogEnd, LogEnds};
use super::open::EPOCHS;
use super::replica::{Online, Replica};
use super::shard::Shard;

use super::volume::{UPKEEP_AT_ONCE, Volume};
use crate::log::checkpoint;
use crate::log::segment::{self, Kind};

/// What is written of a log, and where it belongs.
type Files = Vec<(PathBuf, Vec<u8>)>;

impl Shard {
    /// Leaves the logs of a log directory. The shard takes no more appends, and all rounds are flushed.
    pub async fn close(self: &Rc<Shard>, volume: &Volume) -> io::Result<LogEnds> {
        let (mut ends, mut left_out, mut places) = (Vec::new(), Vec::new(), Vec::new());
        // With all of them in hand, no file is growing and none is being finished or deleted by anybody else.
        let _all = volume.upkeep.acquire(UPKEEP_AT_ONCE).await;
        for replica in self.replicas().into_iter().filter(|replica| replica.volume.index == volume.index) {
            replica.online(|online| online.files.values_mut().for_each(|file| file.growth.abandoned()));
            let Some(bases) = replica.online(|online| online.partition.log.unfinished()) else {
                left_out.push(replica.name());
                continue;
            };
            if replica.online(|online| online.is_as_closed()) == Some(false) {
                self.leave(&replica, &bases, &mut places).await?;
            }
            ends.extend(replica.online(|online| LogEnd {
                topic: replica.topic.to_string(),
                partition: replica.id.partition,
                start: online.partition.log.start_within(),
                end: online.partition.log.next_offset(),
                cleaned: online.partition.log.cleaned(),
            }));
        }
        // What failed meanwhile took its partitions offline, and they were passed over: that is no clean stop.
        if let Some(failure) = volume.log_dir.failure() {
            return Err(io::Error::other(failure));
        }
        if !places.is_empty() {
            let log_dir = &volume.log_dir;
            log_dir.disk.sync_all(&log_dir.path).await?;
            log_dir.disk.put_in_place(places).await?;
            log_dir.disk.sync_all(&log_dir.path).await?;
        }
        volume.marks.finish().await?;
        // Their segments were not looked at to the end, or are damaged: a next start that took the folder for clean
        // would not look either.
        if let Some(first) = left_out.first() {
            let count = left_out.len();
            return Err(io::Error::other(format!(
                "{count} partitions were not recovered, {first} among them"
            )));
        }
        Ok(ends)
    }

    /// Finishes all segments but the last, and writes what the last is left with beside its place.
    async fn leave(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        bases: &[i64],
        places: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        replica.online(|online| {
            let end = online.partition.log.next_offset();
            if end > online.snapshot && end > online.partition.log.active_end().0 {
                online.partition.producers.begin_snapshot(end);
            }
        });
        let Some((active, older)) = bases.split_last() else { return Ok(()) };
        for (i, base) in older.iter().enumerate() {
            self.finish_one(replica, *base, (i == 0).then_some(bases)).await?;
        }
        self.end_file(replica, *active).await?;
        let mut files = Files::new();
        let end = replica.online(|online| online.partition.log.next_offset()).unwrap_or_default();
        if let Some((offset, snapshot)) = self.make_snapshot(replica, end).await {
            files.push((segment::file(&replica.dir, offset, Kind::Snapshot), snapshot));
        }
        files.extend(replica.online(|online| last_files(replica, online, *active)).into_iter().flatten());
        places.extend(files.iter().map(|(path, _)| path.clone()));
        replica.log_dir().disk.put_beside(files).await
    }
}

/// The epochs and the indexes of the last segment.
fn last_files(replica: &Replica, online: &Online, active: i64) -> Files {
    let log = &online.partition.log;
    let Some((offsets, times)) = log.index_files(active) else { return Files::new() };
    let aborted = online.partition.aborted.file(active);
    let aborted = aborted.map(|bytes| (segment::file(&replica.dir, active, Kind::TxnIndex), bytes));
    let others = [
        (replica.dir.join(EPOCHS), checkpoint::encode_epochs(log.epochs().entries())),
        (segment::file(&replica.dir, active, Kind::TimeIndex), times),
        (segment::file(&replica.dir, active, Kind::Index), offsets),
    ];
    aborted.into_iter().chain(others).collect()
}
