//! Compaction at work: one log at a time on each core, the dirtiest first, beside everything else.
//!
//! What is kept and why is decided in [`compact`](crate::log::compact). Here files are read and written, a little at
//! a time, and exchanged.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::log_dir::LogDir;
use super::open::remove_if_there;
use super::pace::Pace;
use super::read_cache::SegmentFiles;
use super::replica::{Online, Replica};
use super::shard::Shard;
use crate::config::Layers;
use crate::config::settings;
use crate::limits::BLOCK;
use crate::log::aborted::AbortedIndex;
use crate::log::compact::checkpoint::{CLEANED, Checkpoint, NAME};
use crate::log::compact::filter::{Kept, Rules};
use crate::log::compact::offset_map::OffsetMap;
use crate::log::compact::transactions::{CleanedTransactions, Fate};
use crate::log::compact::{Compaction, Plan};
use crate::log::index::SegmentIndex;
use crate::log::segment::{self, BatchPlace, Kind};
use crate::log::{LogConfig, Unknown};
use crate::reactor::sync::either;
use crate::reactor::{File, Share};
use crate::wire::batch::{Batch, front};

/// Bytes that are read or written at once, at least and at most.
const PIECES: (usize, usize) = (BLOCK, 512 << 10);
const BLOCK64: u64 = BLOCK as u64;
/// How long the cleaner waits when there is nothing to clean, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// What the broker's configuration says of compaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerConfig {
    /// Bytes that the table of keys may take on this core.
    pub table_bytes: usize,
    /// Bytes that this core may read and write a second.
    pub bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`
    pub backoff: Duration,
    /// `log.cleaner.io.buffer.load.factor`
    pub table_load: f64,
    /// Bytes that this core reads or writes at once.
    pub piece: usize,
}

impl CleanerConfig {
    /// A core's part of what the broker's configuration gives to all.
    pub fn of(layers: &Layers, cores: usize) -> CleanerConfig {
        fn number<T: std::str::FromStr>(layers: &Layers, name: &str) -> T {
            let row = settings::broker().get(name).expect("a setting of the table");
            let given = layers.value(name).and_then(|text| text.trim().parse().ok());
            given.or_else(|| row.default?.parse().ok()).expect("the default is a number")
        }
        let bytes = number::<u64>(layers, "log.cleaner.dedupe.buffer.size") as usize;
        // One half is for reading, the other for writing.
        let buffers = number::<usize>(layers, "log.cleaner.io.buffer.size") / 2 / cores;
        CleanerConfig {
            table_bytes: bytes / cores,
            bytes_per_second: number::<f64>(layers, "log.cleaner.io.max.bytes.per.second") / cores as f64,
            backoff: Duration::from_millis(number(layers, "log.cleaner.backoff.ms")),
            table_load: number(layers, "log.cleaner.io.buffer.load.factor"),
            piece: (buffers / BLOCK * BLOCK).clamp(PIECES.0, PIECES.1),
        }
    }
}

impl Default for CleanerConfig {
    fn default() -> Self {
        CleanerConfig::of(&Layers::default(), 1)
    }
}

/// Why a cleaning ends before its end.
enum Stopped {
    /// The disk said no.
    Io(io::Error),
    /// The disk said no while files were being exchanged: what is there is neither the old nor the new.
    Torn(io::Error),
    /// The partition is going, or the node.
    Going,
    /// The log cannot be cleaned; the text says why.
    Unfit(String),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Stopped::Io(error)
    }
}

impl Shard {
    /// Cleans logs until the node stops.
    pub(super) async fn clean_logs(self: Rc<Shard>) {
        while !self.is_stopping() {
            let tuned = self.cleaner_tuned.notified();
            let config = self.cleaner.get();
            let Some((replica, _)) = self.dirtiest_log().await else {
                either(self.reactor.sleep(config.backoff.max(PAUSE)), tuned).await;
                continue;
            };
            let permit = replica.volume.upkeep.acquire(1).await;
            if self.is_stopping() {
                return;
            }
            // Retention may have been at work meanwhile, or still is: the plan is made anew as the log is claimed.
            let now_ms = self.reactor.wall_clock_ms();
            let claim = |online: &mut Online| {
                let plan = online.partition.cleaning_plan(now_ms).ok().flatten().filter(|_| !online.upkeep);
                online.cleaning = plan.is_some();
                plan
            };
            let Some(plan) = replica.online(claim).flatten() else {
                drop(permit);
                self.reactor.sleep(PAUSE).await;
                continue;
            };
            let cleaned = Cleaning::new(&self, &replica).run(&plan).await;
            replica.online(|online| online.cleaning = false);
            drop(permit);
            match cleaned {
                Ok(()) | Err(Stopped::Going) => {}
                Err(Stopped::Io(error)) if replica.is_missed(&error) => {}
                Err(Stopped::Io(error)) if error.kind() == io::ErrorKind::StorageFull => {
                    self.reactor.sleep(config.backoff.max(PAUSE)).await;
                }
                Err(Stopped::Torn(error)) if replica.is_missed(&error) => {}
                Err(Stopped::Io(error) | Stopped::Torn(error)) => {
                    let what = format!("{}: it could not be compacted", replica.name());
                    self.fail(&replica.volume, &what, &error);
                }
                Err(Stopped::Unfit(_)) if replica.log_dir().has_failed() => {}
                Err(Stopped::Unfit(why)) => {
                    tracing::error!(
                        "{}: it is not compacted any more until the broker starts again: {why}",
                        replica.name()
                    );
                    replica.unfit_to_clean.set(true);
                }
            }
        }
    }

    /// The log of which the largest part is dirty, among those that are worth cleaning.
    async fn dirtiest_log(self: &Rc<Shard>) -> Option<(Rc<Replica>, Plan)> {
        let mut dirtiest: Option<(Rc<Replica>, Plan)> = None;
        for (i, replica) in self.replicas().into_iter().enumerate() {
            if i % 64 == 63 {
                self.reactor.yield_now().await;
            }
            if replica.unfit_to_clean.get() {
                continue;
            }
            let Some(plan) = self.cleaning_plan(&replica).await else { continue };
            if dirtiest.as_ref().is_none_or(|(_, dirtier)| plan.ratio > dirtier.ratio) {
                dirtiest = Some((replica, plan));
            }
        }
        dirtiest
    }

    async fn cleaning_plan(self: &Rc<Shard>, replica: &Rc<Replica>) -> Option<Plan> {
        let now_ms = self.reactor.wall_clock_ms();
        loop {
            // Retention that is at work on its segments goes first.
            let plan =
                replica.online(|online| (!online.upkeep).then(|| online.partition.cleaning_plan(now_ms)));
            match plan.flatten()? {
                Ok(plan) => return plan,
                Err(Unknown::MaxTimestamp(base)) => drop(self.max_timestamp(replica, base).await.ok()?),
                Err(Unknown::FirstTimestamp(base)) => {
                    let timestamp = self.first_timestamp(replica, base).await.ok()?;
                    replica.online(|online| online.partition.log.learn_first_timestamp(base, timestamp));
                }
            }
        }
    }

    async fn first_timestamp(self: &Rc<Shard>, replica: &Rc<Replica>, base: i64) -> io::Result<i64> {
        let file = self.segment_file(replica, base).await?;
        let chunk = self.reactor.pool().chunk(Share::Background, BLOCK).await;
        let chunk = file.read_at(chunk, 0).await?;
        Ok(front::peek(&chunk).map_or(-1, |(header, _)| header.max_timestamp))
    }
}

/// One log, while it is being cleaned.
struct Cleaning<'a> {
    shard: &'a Rc<Shard>,
    replica: &'a Rc<Replica>,
    pace: Pace,
}

impl<'a> Cleaning<'a> {
    fn new(shard: &'a Rc<Shard>, replica: &'a Rc<Replica>) -> Self {
        let pace = Pace::new(shard.reactor.now(), shard.cleaner.get().bytes_per_second);
        Cleaning { shard, replica, pace }
    }

    /// What may change while a log is being cleaned.
    fn config(&self) -> CleanerConfig {
        self.shard.cleaner.get()
    }

    async fn run(mut self, plan: &Plan) -> Result<(), Stopped> {
        let (rules, before, stable) = self.online(|online| {
            let log = &online.partition.log;
            (log.config().clone(), log.size(), log.stable_offset())
        })?;
        let Some(compaction) = rules.compaction.clone() else { return Err(Stopped::Going) };
        // An exchange that is over must not be done again with what is written from here on: an earlier cleaning may
        // not have been able to say that it was over.
        self.write_checkpoint(plan.dirty.start, Vec::new()).await?;
        // The batch that reaches to the mark may go too: recovery, which looks for it, must find a mark that lies behind
        // all that is cleaned. On a full disk marks lag.
        self.replica.volume.marks.set_now(self.replica.id, stable).await?;
        let (mut table, end) = self.note_keys(plan).await?;
        let first_dirty = plan.dirty.start;
        let mut transactions = CleanedTransactions::default();
        for group in plan.groups.iter().filter(|group| group[0] < end) {
            let pass = Pass { table: &table, end, config: &rules, compaction: &compaction };
            self.clean_group(group, first_dirty, &pass, &mut transactions).await?;
        }
        let keys = table.len();
        while table.let_go() {
            self.shard.reactor.yield_now().await;
        }
        self.online(|online| online.partition.log.cleaned_up_to(end))?;
        self.write_checkpoint(end, Vec::new()).await?;
        let after = self.online(|online| online.partition.log.size())?;
        tracing::info!(
            "{}: compacted up to offset {end}: {before} bytes became {after}, {} keys",
            self.replica.name(),
            keys
        );
        Ok(())
    }

    /// Reads what is dirty, and notes where each key is last. Gives up where the table is full; says up to which
    /// offset it knows all.
    async fn note_keys(&mut self, plan: &Plan) -> Result<(OffsetMap, i64), Stopped> {
        let Range { start, end } = plan.dirty;
        let random = || self.shard.reactor.random();
        let most_keys = usize::try_from(end - start).unwrap_or(usize::MAX);
        let CleanerConfig { table_bytes, table_load, .. } = self.config();
        let mut table = OffsetMap::with_load((random(), random()), most_keys, table_bytes, table_load);
        let mut transactions = CleanedTransactions::default();
        for (base, size) in self.segments(start..end)? {
            self.learn_aborted(&mut transactions, base).await?;
            let mut reader = self.reader(base, size).await?;
            while let Some((range, _)) = reader.next(self).await? {
                let batch = Batch::first(&reader.bytes[range]).map_err(|why| reader.unfit(&why))?;
                batch.check().map_err(|why| reader.unfit(&why))?;
                let fate = transactions.read(&batch).map_err(|why| reader.unfit(&why))?;
                if fate != Fate::Counts || batch.is_control() || batch.last_offset() < start {
                    continue;
                }
                let records =
                    batch.open(crate::limits::DECOMPRESSED_MAX).map_err(|why| reader.unfit(&why))?;
                for record in records.iter() {
                    let record = record.map_err(|why| reader.unfit(&why))?;
                    let Some(key) = record.key.filter(|_| record.offset >= start) else { continue };
                    if !table.put(key, record.offset) {
                        return match record.offset > start {
                            true => Ok((table, record.offset)),
                            false => Err(reader.unfit(&"log.cleaner.dedupe.buffer.size is too small")),
                        };
                    }
                }
            }
        }
        Ok((table, end))
    }

    /// Tells which transactions in a segment were aborted, wherever they end. Says whether there are any.
    async fn learn_aborted(
        &self,
        transactions: &mut CleanedTransactions,
        base: i64,
    ) -> Result<bool, Stopped> {
        let end = self.online(|online| online.partition.log.end_of(base))?;
        let files = SegmentFiles { id: self.replica.id, base, version: self.replica.files.version() };
        let aborted = self.shard.aborted_between(self.replica, files, base, end).await;
        let aborted = aborted.map_err(|why| Stopped::Unfit(why.to_string()))?;
        let any = !aborted.is_empty();
        transactions.learn(aborted);
        Ok(any)
    }

    /// Writes what stays of a group of segments as one, and puts that in their place.
    async fn clean_group(
        &mut self,
        group: &[i64],
        first_dirty: i64,
        pass: &Pass<'_>,
        transactions: &mut CleanedTransactions,
    ) -> Result<(), Stopped> {
        let base = group[0];
        let mut writer = Writer::create(self, base).await?;
        let mut changed = group.len() > 1;
        let last = *group.last().expect("a group has a segment");
        let mut knows_aborted = false;
        for (segment, size) in self.segments(base..last + 1)? {
            knows_aborted |= self.learn_aborted(transactions, segment).await?;
            let mut reader = self.reader(segment, size).await?;
            while let Some((range, position)) = reader.next(self).await? {
                let bytes = &reader.bytes[range];
                let batch = Batch::first(bytes).map_err(|why| reader.unfit(&why))?;
                batch.check().map_err(|why| reader.unfit(&why))?;
                let header = batch.header();
                let is_last = segment == last && position + bytes.len() as u64 == size
                    || self.online(|online| online.partition.producers.is_last(&header))?;
                let rules = Rules {
                    last: pass.table,
                    end: pass.end,
                    now_ms: self.shard.reactor.wall_clock_ms(),
                    delete_retention_ms: pass.compaction.delete_retention_ms,
                };
                let fate = transactions.read(&batch).map_err(|why| reader.unfit(&why))?;
                match rules.apply_within(&batch, fate, is_last).map_err(|why| reader.unfit(&why))? {
                    Kept::Whole => writer.push(self, bytes, pass.config).await?,
                    Kept::Part(part) => {
                        changed = true;
                        writer.push(self, &part, pass.config).await?;
                    }
                    Kept::Nothing => changed = true,
                }
            }
        }
        let aborted = transactions.take_index();
        if !changed {
            return Ok(remove_if_there(self.replica.log_dir(), &writer.path).await.map(drop)?);
        }
        // A file without any takes the place of one that has some.
        if knows_aborted || !aborted.is_empty() {
            let path = cleaned(&self.replica.dir, base, Kind::TxnIndex);
            self.replica.log_dir().disk.replace(&path, aborted.encode()).await?;
        }
        let written = writer.finish(self).await?;
        self.exchange(group, first_dirty, written, aborted).await
    }

    /// Puts what was written in the place of the group.
    async fn exchange(
        &mut self,
        group: &[i64],
        first_dirty: i64,
        written: Written,
        aborted: AbortedIndex,
    ) -> Result<(), Stopped> {
        self.still_wanted()?;
        self.write_checkpoint(first_dirty, group.to_vec()).await?;
        let (replica, log_dir) = (self.replica, self.replica.log_dir());
        replica.files.begin();
        let exchanged = exchange_files(log_dir, &replica.dir, group).await;
        if exchanged.is_ok() {
            replica.online(|online| {
                online.partition.log.exchange(group, written.size, written.max_timestamp);
                online.partition.aborted.exchange(group, aborted);
                online.partition.aborted.forget(group[0]);
            });
        }
        replica.files.end();
        exchanged.map_err(Stopped::Torn)?;
        self.write_checkpoint(first_dirty, Vec::new()).await
    }

    async fn write_checkpoint(&self, first_dirty: i64, exchange: Vec<i64>) -> Result<(), Stopped> {
        let checkpoint = Checkpoint { first_dirty, exchange };
        Ok(self.replica.log_dir().disk.replace(&self.replica.dir.join(NAME), checkpoint.encode()).await?)
    }

    /// The segments that hold these offsets, with their sizes.
    fn segments(&self, offsets: Range<i64>) -> Result<Vec<(i64, u64)>, Stopped> {
        self.online(|online| {
            let all: Vec<_> = online.partition.log.segments().map(|s| (s.base_offset, s.size())).collect();
            let ends = all.iter().skip(1).map(|(base, _)| *base).chain([i64::MAX]);
            let within =
                all.iter().zip(ends).filter(|((base, _), end)| *base < offsets.end && *end > offsets.start);
            within.map(|(segment, _)| *segment).collect()
        })
    }

    fn online<T>(&self, f: impl FnOnce(&mut Online) -> T) -> Result<T, Stopped> {
        self.still_wanted()?;
        self.replica.online(f).ok_or(Stopped::Going)
    }

    fn still_wanted(&self) -> Result<(), Stopped> {
        match self.shard.is_stopping() || self.replica.gone.get() || self.replica.log_dir().has_failed() {
            true => Err(Stopped::Going),
            false => Ok(()),
        }
    }

    async fn reader(&self, base: i64, size: u64) -> io::Result<Reader> {
        let file = self.shard.segment_file(self.replica, base).await?;
        let path = segment::file(&self.replica.dir, base, Kind::Log);
        Ok(Reader { file, path, size, bytes: Vec::new(), used: 0, position: 0 })
    }

    /// Counts bytes, lets others run, and waits where there were too many.
    async fn pace(&mut self, bytes: usize) -> Result<(), Stopped> {
        self.still_wanted()?;
        let reactor = &self.shard.reactor;
        let appended = self.replica.volume.rounds.take_appended();
        let rate = self.config().bytes_per_second;
        self.pace.keep_to(reactor.now(), rate);
        let Some(mut wait) = self.pace.step(reactor.now(), bytes, appended) else {
            reactor.yield_now().await;
            self.pace.resume(reactor.now());
            return Ok(());
        };
        while !wait.is_zero() && self.config().bytes_per_second == rate {
            let some = wait.min(PAUSE);
            either(reactor.sleep(some), self.shard.stop_begun()).await;
            self.still_wanted()?;
            wait -= some;
        }
        self.pace.resume(reactor.now());
        Ok(())
    }
}

/// What one cleaning goes by.
struct Pass<'a> {
    table: &'a OffsetMap,
    end: i64,
    config: &'a LogConfig,
    compaction: &'a Compaction,
}

/// Reads the batches of one segment, in order.
struct Reader {
    file: File,
    path: PathBuf,
    size: u64,
    /// What was read and not yet used begins at `used`.
    bytes: Vec<u8>,
    used: usize,
    /// Where in the file what is used next begins.
    position: u64,
}

impl Reader {
    /// The next batch, as a range of `bytes`, and where it begins in the file.
    async fn next(&mut self, cleaning: &mut Cleaning<'_>) -> Result<Option<(Range<usize>, u64)>, Stopped> {
        let size = loop {
            let there = &self.bytes[self.used..];
            let left = self.size - self.position;
            if left == 0 {
                return Ok(None);
            }
            match Batch::peek_len(there) {
                Ok(size) if size <= there.len() => break size,
                Ok(size) if size as u64 > left => return Err(self.unfit(&"the last batch is cut")),
                Err(why) if there.len() as u64 >= left => return Err(self.unfit(&why)),
                // A batch whose head is there and wrong does not become right by what follows.
                Err(why) if there.len() >= crate::wire::batch::HEADER => return Err(self.unfit(&why)),
                _ => self.read_more(cleaning).await?,
            }
        };
        let (position, from) = (self.position, self.used);
        self.position += size as u64;
        self.used += size;
        Ok(Some((from..from + size, position)))
    }

    async fn read_more(&mut self, cleaning: &mut Cleaning<'_>) -> Result<(), Stopped> {
        self.bytes.drain(..self.used);
        self.used = 0;
        let at = self.position + self.bytes.len() as u64;
        let skip = (at % BLOCK64) as usize;
        let len = cleaning.config().piece.min((self.size - at) as usize + skip).max(1);
        let chunk = cleaning.shard.reactor.pool().chunk(Share::Background, len).await;
        let read = self.file.read_at(chunk, at - skip as u64).await;
        // A disk that cannot be read somewhere may well be written and flushed elsewhere.
        let chunk = read.map_err(|why| self.unfit(&why))?;
        let more = chunk.get(skip..).unwrap_or_default();
        let more = &more[..more.len().min((self.size - at) as usize)];
        if more.is_empty() {
            return Err(self.unfit(&"the file ends before the segment does"));
        }
        let count = more.len();
        self.bytes.extend_from_slice(more);
        drop(chunk);
        cleaning.pace(count).await
    }

    fn unfit(&self, why: &dyn std::fmt::Display) -> Stopped {
        Stopped::Unfit(format!("{} at position {}: {why}", self.path.display(), self.position))
    }
}

/// A segment that was written, durably, under the names that it has before the exchange.
struct Written {
    size: u64,
    max_timestamp: i64,
}

/// Writes a segment beside those that it will take the place of.
struct Writer {
    base: i64,
    path: PathBuf,
    file: File,
    /// What is not yet written; begins at a block.
    bytes: Vec<u8>,
    written: u64,
    index: SegmentIndex,
}

impl Writer {
    async fn create(cleaning: &Cleaning<'_>, base: i64) -> io::Result<Writer> {
        let path = cleaned(&cleaning.replica.dir, base, Kind::Log);
        let file = cleaning.replica.log_dir().disk.open(&path, true).await?;
        file.truncate(0).await?;
        Ok(Writer { base, path, file, bytes: Vec::new(), written: 0, index: SegmentIndex::default() })
    }

    async fn push(
        &mut self,
        cleaning: &mut Cleaning<'_>,
        batch: &[u8],
        config: &LogConfig,
    ) -> Result<(), Stopped> {
        let (header, _) = front::peek(batch).expect("it was looked at before");
        let position = self.written + self.bytes.len() as u64;
        let place = BatchPlace::new(&header, position, batch.len() as u64);
        self.index.on_batch(self.base, &place, config.index_interval_bytes);
        self.bytes.extend_from_slice(batch);
        let piece = cleaning.config().piece;
        while self.bytes.len() >= piece {
            self.write(cleaning, piece).await?;
        }
        Ok(())
    }

    async fn write(&mut self, cleaning: &mut Cleaning<'_>, count: usize) -> Result<(), Stopped> {
        let len = count.next_multiple_of(BLOCK);
        let mut chunk = cleaning.shard.reactor.pool().chunk(Share::Background, len).await;
        chunk.append(&self.bytes[..count]);
        chunk.pad_to(BLOCK);
        self.file.write_at(chunk.freeze(), self.written).await?;
        self.bytes.drain(..count);
        self.written += count as u64;
        cleaning.pace(count).await
    }

    async fn finish(mut self, cleaning: &mut Cleaning<'_>) -> Result<Written, Stopped> {
        let left = self.bytes.len();
        if left > 0 {
            self.write(cleaning, left).await?;
        }
        self.file.truncate(self.written).await?;
        self.file.flush().await?;
        let (disk, dir) = (&cleaning.replica.log_dir().disk, &cleaning.replica.dir);
        let max_timestamp = self.index.max_timestamp();
        disk.replace(&cleaned(dir, self.base, Kind::TimeIndex), self.index.time_file()).await?;
        disk.replace(&cleaned(dir, self.base, Kind::Index), self.index.offset_file()).await?;
        disk.sync_dir(dir).await?;
        Ok(Written { size: self.written, max_timestamp })
    }
}

fn cleaned(dir: &Path, base: i64, kind: Kind) -> PathBuf {
    let mut path = segment::file(dir, base, kind).into_os_string();
    path.push(CLEANED);
    path.into()
}

/// Puts the files of one segment in the place of all of these. Done again after a crash, it does what is left.
async fn exchange_files(log_dir: &LogDir, dir: &Path, bases: &[i64]) -> io::Result<()> {
    for kind in [Kind::Log, Kind::TxnIndex, Kind::TimeIndex, Kind::Index] {
        let renamed =
            log_dir.disk.rename(&cleaned(dir, bases[0], kind), &segment::file(dir, bases[0], kind)).await;
        match renamed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for base in &bases[1..] {
        for kind in [Kind::Index, Kind::TimeIndex, Kind::TxnIndex, Kind::Snapshot, Kind::Log] {
            remove_if_there(log_dir, &segment::file(dir, *base, kind)).await?;
        }
    }
    log_dir.disk.sync_dir(dir).await
}

/// Does what is left of an exchange that a crash cut short, and removes what never came to one. Says how far the log
/// was cleaned; the error, what is wrong with the checkpoint.
pub async fn settle(log_dir: &LogDir, dir: &Path) -> io::Result<Result<i64, String>> {
    let path = dir.join(NAME);
    let checkpoint = match log_dir.disk.read(&path).await {
        Ok(bytes) => match Checkpoint::decode(&bytes) {
            Ok(checkpoint) => checkpoint,
            Err(why) => return Ok(Err(format!("{}: {why}", path.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Checkpoint::default(),
        Err(error) => return Err(error),
    };
    if !checkpoint.exchange.is_empty() {
        exchange_files(log_dir, dir, &checkpoint.exchange).await?;
        let settled = Checkpoint { exchange: Vec::new(), ..checkpoint };
        log_dir.disk.replace(&path, settled.encode()).await?;
        return Ok(Ok(settled.first_dirty));
    }
    for entry in log_dir.disk.list(dir).await? {
        if entry.name.ends_with(CLEANED) {
            remove_if_there(log_dir, &dir.join(&entry.name)).await?;
        }
    }
    Ok(Ok(checkpoint.first_dirty))
}
