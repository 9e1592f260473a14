//! What goes on behind the requests: files grow, full segments are finished, old ones deleted.
//!
//! All of it in the background class, a few files at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::log_dir::LogDir;
use super::open::{EPOCHS, remove_if_there};
use super::replica::{Replica, SegmentFile};
use super::shard::Shard;
use super::volume::{SharedVolume, Volume};
use crate::limits::{DISK_LOW, DISK_RESERVE, SPACE_LOOK_LOW};
use crate::log::checkpoint;
use crate::log::growth::{Growth, Step};
use crate::log::segment::{self, Kind};
use crate::reactor::{Class, File, Share};

/// How often a shard looks after its partitions.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Zeros of one write while a file grows.
const ZEROS: usize = 256 << 10;
/// After how many partitions the upkeep lets others run.
pub(super) const AT_A_TIME: usize = 64;

impl Shard {
    /// Looks after the partitions once a second, until the node stops.
    pub(super) async fn look_after(self: Rc<Shard>) {
        for volume in &self.volumes {
            let (shard, of) = (self.clone(), volume.clone());
            self.reactor.spawn(Class::Request, async move {
                if let Err(error) = of.marks.turn_over().await
                    && !of.log_dir.has_failed()
                {
                    shard.fail(&of, "the stable ends could not be written", &error);
                }
            });
            self.reactor.spawn(Class::Background, self.clone().watch_space(volume.clone()));
        }
        self.reactor.spawn(Class::Background, self.clone().look_after_producers());
        let mut checked = self.reactor.now();
        while !self.is_stopping() {
            self.reactor.sleep(EVERY).await;
            self.reactor.pool().trim();
            let now = self.reactor.now();
            let check_retention = now.since(checked) >= self.retention_check.get();
            if check_retention {
                checked = now;
            }
            for (i, replica) in self.replicas().into_iter().enumerate() {
                if i % AT_A_TIME == AT_A_TIME - 1 {
                    self.reactor.yield_now().await;
                }
                replica.online(|online| {
                    online.watches.iter().filter(|watch| watch.is_over(now)).for_each(|watch| watch.answer());
                    online.watches.retain(|watch| !watch.is_answered());
                    online.check_retention =
                        (online.check_retention || check_retention) && online.has_older_segments();
                });
                self.roll_if_overdue(&replica);
                if replica.online(|online| !online.upkeep && online.needs_upkeep()) == Some(true) {
                    replica.online(|online| online.upkeep = true);
                    let shard = self.clone();
                    self.reactor
                        .spawn(Class::Background, async move { shard.finish_and_expire(replica).await });
                }
            }
        }
    }

    /// Looks at the free space until the node stops; more often where it may soon be gone.
    async fn watch_space(self: Rc<Shard>, volume: SharedVolume) {
        while !self.is_stopping() && !volume.log_dir.has_failed() {
            let free = self.look_at_space(&volume).await;
            let pause = if free < DISK_LOW { SPACE_LOOK_LOW } else { EVERY };
            self.reactor.sleep(pause).await;
        }
    }

    async fn look_at_space(&self, volume: &Volume) -> u64 {
        // All cores look, and one tells.
        volume.log_dir.look_at_space(DISK_RESERVE, self.reactor.core() == 0).await
    }

    fn roll_if_overdue(&self, replica: &Replica) {
        let now_ms = self.reactor.wall_clock_ms();
        replica.online(|online| {
            if !online.dirty && online.partition.log.is_overdue(now_ms) {
                online.partition.roll(now_ms);
            }
        });
    }

    /// Finishes full segments and deletes those that retention gives up.
    async fn finish_and_expire(self: Rc<Shard>, replica: Rc<Replica>) {
        let permit = replica.volume.upkeep.acquire(1).await;
        if self.is_stopping() {
            return;
        }
        let ripe = replica.online(|online| online.partition.log.to_finish()).unwrap_or_default();
        for (i, base) in ripe.iter().enumerate() {
            let finished = self.finish_one(&replica, *base, (i == 0).then(|| &ripe[..])).await;
            match finished.map_err(|error| (error.kind(), error)) {
                Ok(()) => {}
                Err((_, error)) if replica.is_missed(&error) => {}
                // What is already there stays as it is until there is room again.
                Err((io::ErrorKind::StorageFull, _)) => break,
                Err((_, error)) => {
                    let what = format!("{}: segment {base} could not be finished", replica.name());
                    return self.fail(&replica.volume, &what, &error);
                }
            }
        }
        let due = replica.online(|o| !o.cleaning && std::mem::take(&mut o.check_retention));
        if due == Some(true)
            && let Err(error) = self.expire(&replica).await
            && !replica.is_missed(&error)
            && error.kind() != io::ErrorKind::StorageFull
        {
            // Deletions that come later must not leave a gap behind what is still there.
            let what = format!("{}: old segments could not be deleted", replica.name());
            self.fail(&replica.volume, &what, &error);
            return;
        }
        replica.online(|online| online.upkeep = false);
        drop(permit);
    }

    /// Finishes a segment. With the first of several comes the snapshot of the producers at the end of the last: those
    /// between are not wanted any more. It comes first, for nothing but snapshots tells of deleted batches.
    pub(super) async fn finish_one(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        base: i64,
        all: Option<&[i64]>,
    ) -> io::Result<()> {
        if let Some(last) = all.and_then(|all| all.last())
            && let Some(end) = replica.online(|online| online.partition.log.end_of(*last))
        {
            self.write_snapshot(replica, end).await?;
        }
        self.finish_segment(replica, base).await
    }

    /// Gives a full segment its true size and writes its indexes. The index file is the sign that the segment
    /// is finished, so it comes last.
    async fn finish_segment(self: &Rc<Shard>, replica: &Rc<Replica>, base: i64) -> io::Result<()> {
        let growing =
            replica.online(|online| online.files.get(&base).is_some_and(|f| f.growth.is_under_way()));
        let indexes = replica.online(|online| online.partition.log.index_files(base)).flatten();
        let (Some(false), Some((offsets, times))) = (growing, indexes) else {
            return Ok(());
        };
        self.end_file(replica, base).await?;
        self.segment_file(replica, base).await?.flush().await?;
        self.write_epochs(replica).await?;
        let _turn = replica.index_turn.acquire(1).await;
        let disk = &replica.log_dir().disk;
        let aborted = replica.online(|online| online.partition.aborted.file(base)).flatten();
        if let Some(aborted) = aborted {
            disk.replace(&segment::file(&replica.dir, base, Kind::TxnIndex), aborted).await?;
        }
        disk.replace(&segment::file(&replica.dir, base, Kind::TimeIndex), times).await?;
        disk.replace(&segment::file(&replica.dir, base, Kind::Index), offsets).await?;
        replica.online(|online| {
            online.partition.log.finished(base);
            online.partition.aborted.forget(base);
            online.files.remove(&base);
            online.left_index.take_if(|left| *left == base);
        });
        Ok(())
    }

    /// Gives a segment's file its true size. Not durable yet.
    pub(super) async fn end_file(&self, replica: &Rc<Replica>, base: i64) -> io::Result<()> {
        let size = replica.online(|online| online.partition.log.segment(base).map(|s| s.size())).flatten();
        let Some(size) = size else { return Ok(()) };
        // One that was rolled by its age has no file before its first append.
        if size == 0 && replica.online(|online| !online.files.contains_key(&base)) == Some(true) {
            self.make_segment_file(replica, base).await?;
        }
        self.segment_file(replica, base).await?.truncate(size).await
    }

    /// Removes the indexes that a clean stop left of a segment to which more was appended since, before another
    /// follows on it: as long as it is the last one, recovery does not go by them.
    async fn remove_left_index(&self, replica: &Rc<Replica>) -> io::Result<()> {
        if replica.online(|online| online.left_index.is_none()) != Some(false) {
            return Ok(());
        }
        let _turn = replica.index_turn.acquire(1).await;
        let Some(base) = replica.online(|online| online.left_index).flatten() else { return Ok(()) };
        for kind in [Kind::Index, Kind::TimeIndex] {
            remove_if_there(replica.log_dir(), &segment::file(&replica.dir, base, kind)).await?;
        }
        replica.log_dir().disk.sync_dir(&replica.dir).await?;
        replica.online(|online| online.left_index = None);
        Ok(())
    }

    async fn write_epochs(&self, replica: &Replica) -> io::Result<()> {
        let entries = replica.online(|online| online.partition.log.epochs().entries().to_vec());
        let Some(entries) = entries else { return Ok(()) };
        replica.log_dir().disk.replace(&replica.dir.join(EPOCHS), checkpoint::encode_epochs(&entries)).await
    }

    async fn expire(self: &Rc<Shard>, replica: &Rc<Replica>) -> io::Result<()> {
        let now_ms = self.reactor.wall_clock_ms();
        let expired = loop {
            match replica.online(|online| online.partition.log.expired(now_ms)) {
                None => return Ok(()),
                Some(Ok(expired)) => break expired,
                Some(Err(base)) => {
                    if let Err(error) = self.max_timestamp(replica, base).await {
                        replica.tell_unread(Some(base), &error, self.reactor.now());
                        return Ok(());
                    }
                }
            }
        };
        if expired.is_empty() {
            return Ok(());
        }
        // The log's first file alone says at which offset it goes on. It may still be to be made.
        let unmade = replica.online(|online| {
            let first = online.partition.log.segments().nth(expired.len()).filter(|s| !s.is_finished());
            first.map(|first| first.base_offset).filter(|base| !online.files.contains_key(base))
        });
        if let Some(base) = unmade.flatten() {
            self.make_segment_file(replica, base).await?;
        }
        replica.online(|online| {
            online.partition.log.drop_segments(&expired);
            online.partition.aborted.drop_segments(&expired);
            expired.iter().for_each(|base| drop(online.files.remove(base)));
        });
        let delay =
            replica.online(|online| online.partition.log.config().delete_delay_ms).unwrap_or_default();
        let (delay, mut later) = (Duration::from_millis(delay), Vec::new());
        for base in &expired {
            tracing::info!("{}: retention deletes the segment that begins at offset {base}", replica.name());
            // The log last: what is left of a deletion that was cut short must not look like a finished segment.
            for kind in [Kind::Index, Kind::TimeIndex, Kind::TxnIndex, Kind::Snapshot, Kind::Log] {
                let path = segment::file(&replica.dir, *base, kind);
                if delay.is_zero() {
                    remove_if_there(replica.log_dir(), &path).await?;
                } else if let Some(doomed) = doom(replica.log_dir(), &path).await? {
                    later.push(doomed);
                }
            }
            // Each for itself: a loss of power must not bring an older segment back without those behind it.
            replica.log_dir().disk.sync_dir(&replica.dir).await?;
        }
        if !later.is_empty() {
            self.remove_later(replica.volume.clone(), later, delay);
        }
        Ok(())
    }

    fn remove_later(self: &Rc<Shard>, volume: SharedVolume, files: Vec<PathBuf>, delay: Duration) {
        let shard = self.clone();
        self.reactor.spawn(Class::Background, async move {
            shard.reactor.sleep(delay).await;
            for path in files {
                if let Err(error) = remove_if_there(&volume.log_dir, &path).await {
                    tracing::warn!("{}: could not be removed: {error}", path.display());
                }
            }
        });
    }

    /// The file of a segment: the one that is open, or opened anew.
    pub(super) async fn segment_file(&self, replica: &Rc<Replica>, base: i64) -> io::Result<File> {
        let open = replica.online(|online| online.files.get(&base).map(|file| file.file.clone()));
        match open.flatten() {
            Some(file) => Ok(file),
            None => replica.log_dir().disk.open(&segment::file(&replica.dir, base, Kind::Log), false).await,
        }
    }

    /// Makes the file of a segment that has just begun, durably.
    pub(super) async fn make_segment_file(&self, replica: &Rc<Replica>, base: i64) -> io::Result<()> {
        self.remove_left_index(replica).await?;
        let log_dir = replica.log_dir();
        let file = log_dir.disk.open(&segment::file(&replica.dir, base, Kind::Log), true).await?;
        log_dir.disk.sync_dir(&replica.dir).await?;
        log_dir.check_place().await?;
        let shares = log_dir.shares_flush();
        replica.online(|online| {
            let growth = Growth::new(shares, 0, online.partition.log.config().segment_bytes);
            online.files.entry(base).or_insert_with(|| Box::new(SegmentFile { file, growth }));
        });
        Ok(())
    }

    /// Has the active segment's file grow, if there is need of it.
    pub(super) fn look_after_growth(self: &Rc<Shard>, replica: &Rc<Replica>) {
        let now = self.reactor.now();
        let planned = replica.online(|online| {
            let (base, end) = online.partition.log.active_end();
            let rate = online.rate.rate(now);
            let file = online.files.get_mut(&base)?;
            Some((base, file.growth.plan(end, rate, self.growth_steps.get())?, file.file.clone()))
        });
        let Some((base, step, file)) = planned.flatten() else { return };
        let (shard, replica) = (self.clone(), replica.clone());
        self.reactor.spawn(Class::Background, async move {
            let permit = replica.volume.upkeep.acquire(1).await;
            let grown = match shard.is_stopping() {
                true => None,
                false => Some(shard.grow(&file, &step).await),
            };
            replica.online(|online| {
                if let Some(file) = online.files.get_mut(&base) {
                    match &grown {
                        Some(Ok(())) => file.growth.finished(),
                        _ => file.growth.abandoned(),
                    }
                }
            });
            if let Some(Err(error)) = grown {
                shard.growth_failed(&replica, &error).await;
            }
            drop(permit);
            replica.volume.rounds.nudge();
        });
    }

    async fn grow(&self, file: &File, step: &Step) -> io::Result<()> {
        match step {
            Step::Allocate(range) => file.allocate(range.start, range.end - range.start).await?,
            Step::Zeros(range) => {
                let len = ZEROS.min((range.end - range.start) as usize);
                let mut zeros = self.reactor.pool().chunk(Share::Background, len).await;
                zeros.spare()[..len].fill(0);
                zeros.advance(len);
                let zeros = zeros.freeze();
                let mut position = range.start;
                while position < range.end {
                    let count = len.min((range.end - position) as usize);
                    file.write_at(zeros.slice(0..count), position).await?;
                    position += count as u64;
                }
            }
        }
        // Size and extents are durable before a write counts on them.
        file.flush().await
    }

    async fn growth_failed(&self, replica: &Replica, error: &io::Error) {
        if error.kind() == io::ErrorKind::StorageFull {
            self.look_at_space(&replica.volume).await;
        } else {
            self.fail(&replica.volume, &format!("{}: its file could not grow", replica.name()), error);
        }
    }

    /// Takes a deleted topic's folder away: renamed at once, removed after `delay`.
    pub async fn delete_folder(self: &Rc<Shard>, replica: &Replica, delay: Duration) -> io::Result<()> {
        let name = segment::renamed_dir(&replica.name(), replica.id.topic, "delete");
        let log_dir = replica.log_dir();
        let doomed = log_dir.path.join(name);
        log_dir.disk.rename(&replica.dir, &doomed).await?;
        log_dir.disk.sync_dir(&log_dir.path).await?;
        let (shard, volume) = (self.clone(), replica.volume.clone());
        self.reactor.spawn(Class::Background, async move {
            shard.reactor.sleep(delay).await;
            if let Err(error) = volume.log_dir.disk.remove_dirs(&doomed).await {
                tracing::warn!("{}: could not be removed: {error}", doomed.display());
            }
        });
        Ok(())
    }
}

impl super::replica::Online {
    pub(super) fn has_older_segments(&self) -> bool {
        self.partition.log.segments().nth(1).is_some()
    }

    /// Whether a segment is to be finished, or it is time to look for what retention gives up.
    fn needs_upkeep(&self) -> bool {
        self.check_retention || self.partition.log.segments().rev().skip(1).any(|older| !older.is_finished())
    }
}

/// Gives a file the name under which the next start removes it; none where there is no such file.
async fn doom(log_dir: &LogDir, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(DELETED_FILE);
    let doomed = path.with_file_name(name);
    match log_dir.disk.rename(path, &doomed).await {
        Ok(()) => Ok(Some(doomed)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of files that retention gave up end with this until they are removed.
pub const DELETED_FILE: &str = ".deleted";

/// Where a deleted partition's folder is renamed to ends with this.
pub const DELETED: &str = "-delete";

/// Removes what a deletion left when the node last stopped.
pub async fn remove_deleted(log_dir: &LogDir) -> io::Result<()> {
    let doomed = |name: &str| name.ends_with(DELETED);
    let entries = log_dir.disk.list(&log_dir.path).await?;
    let paths: Vec<PathBuf> =
        entries.iter().filter(|e| e.is_dir && doomed(&e.name)).map(|e| log_dir.path.join(&e.name)).collect();
    for path in paths {
        log_dir.disk.remove_dirs(&path).await?;
    }
    Ok(())
}
