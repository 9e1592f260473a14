//! Opening a partition's folder: what is there, what of it stands, and making sure that the rest stays down.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::boot::LOG_STARTS;
use super::cleaner;
use super::log_dir::LogDir;
use super::messages::PartitionId;
use super::producer_state::Rebuild;
use super::replica::SegmentFile;
use super::upkeep::DELETED_FILE;
use crate::limits::BLOCK;
use crate::log::aborted::AbortedIndex;
use crate::log::compact::checkpoint::{Checkpoint, NAME};
use crate::log::epochs::Epochs;
use crate::log::growth::Growth;
use crate::log::index::SegmentIndex;
use crate::log::recovery::{End, Progress, Scan, verdict};
use crate::log::segment::{self, Kind};
use crate::log::tail::Tail;
use crate::log::{Log, LogConfig, Segment, checkpoint};
use crate::partition::aborted::AbortedTransactions;
use crate::partition::producers::{ProducerRoom, Producers};
use crate::reactor::{ChunkSlice, File, Reactor, Share};

/// The name of the file that holds the leader epochs.
pub const EPOCHS: &str = "leader-epoch-checkpoint";
/// The name of the file that holds the topic's id.
pub const METADATA: &str = "partition.metadata";
/// Bytes read at once while a segment is scanned.
const READ: usize = 1 << 20;
const BLOCK64: u64 = BLOCK as u64;

/// What is known of a folder before it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    /// Up to where it was durable, as the stable ends tell.
    pub mark: Option<i64>,
    /// Whether the node was stopped cleanly, so that nothing need be scanned.
    pub clean: bool,
    /// Whether the loss of acknowledged records is accepted.
    pub accept_loss: bool,
    /// Where the log starts, as the log directory's checkpoint tells.
    pub start: Option<i64>,
    /// Whether Kafka may have left it so: no Ottla has told of a stable end since.
    pub is_kafkas: bool,
}

/// What is to be opened.
pub struct OpenRequest {
    /// The partition.
    pub id: PartitionId,
    /// Its folder.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: LogConfig,
    /// What is known of the folder.
    pub before: Before,
    /// Where its producers are counted.
    pub room: ProducerRoom,
}

/// A log that is ready.
pub struct Opened {
    /// The log.
    pub log: Log,
    /// The file of the active segment, and of those that are not finished.
    pub files: BTreeMap<i64, Box<SegmentFile>>,
    /// Bytes that were scanned.
    pub scanned: u64,
    /// What is known of its producers.
    pub producers: Producers,
    /// The transactions that were aborted.
    pub aborted: AbortedTransactions,
    /// The offset of the newest snapshot of them, 0 for none.
    pub snapshot: i64,
    /// Whether it was found as a clean stop leaves it, and nothing was changed in its folder.
    pub as_closed: bool,
    /// The segment of which indexes are there though it may be appended to.
    pub left_index: Option<i64>,
}

/// Why a partition does not open.
#[derive(Debug)]
pub enum OpenError {
    /// The disk said no.
    Io(io::Error),
    /// What is on the disk is not what was acknowledged; the text says where and what to do.
    Damaged(String),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Io(error) => error.fmt(f),
            OpenError::Damaged(what) => what.fmt(f),
        }
    }
}

/// Opens a partition's folder, or makes it.
pub struct Opener<'a> {
    reactor: &'a Reactor,
    log_dir: &'a LogDir,
    request: &'a OpenRequest,
    now_ms: i64,
    /// What retention gave up before the last stop, and is removed once the log is open.
    doomed: RefCell<Vec<PathBuf>>,
    /// Where the log starts, if records were deleted: by its own file, and by all that is known.
    told: Cell<(i64, i64)>,
    /// What lies before this offset was compacted.
    cleaned: Cell<i64>,
}

/// A segment's files, as found.
struct Found {
    base_offset: i64,
    size: u64,
    indexed: bool,
    /// Whether there is a `.txnindex` with something in it.
    aborted: bool,
}

/// A segment as the scan left it.
struct Scanned {
    file: File,
    scan: Scan,
    size: u64,
    end: End,
    /// Whether a clean stop has left it: then nothing lies behind its last batch.
    closed: bool,
    /// Whether its indexes are there.
    indexed: bool,
    /// What its `.txnindex` holds, where that was left by a clean stop.
    aborted: Option<AbortedIndex>,
}

impl<'a> Opener<'a> {
    /// For one folder.
    pub fn new(reactor: &'a Reactor, log_dir: &'a LogDir, request: &'a OpenRequest) -> Self {
        let now_ms = reactor.wall_clock_ms();
        let (doomed, told, cleaned) = (RefCell::default(), Cell::default(), Cell::default());
        Opener { reactor, log_dir, request, now_ms, doomed, told, cleaned }
    }

    /// Opens it.
    pub async fn open(&self) -> Result<Opened, OpenError> {
        let cleaned = self.settle_compaction().await?;
        self.cleaned.set(cleaned);
        self.told.set(self.read_start().await?);
        let (found, snapshots) = self.look().await?;
        if found.is_empty() {
            self.refuse_loss(0, "the folder holds no segment")?;
            return Ok(self.make().await?);
        }
        let epochs = self.read_epochs().await?;
        let mut first_to_scan = found.iter().position(|segment| !segment.indexed).unwrap_or(found.len() - 1);
        // The end of the segment before tells whether what follows does follow: names of files of one round come in
        // any order. What Kafka has left is looked at once.
        let with_one_before =
            first_to_scan > 0 && (!self.request.before.clean || self.request.before.is_kafkas);
        first_to_scan -= usize::from(with_one_before);
        let mut rebuild = self.begin_rebuild(snapshots, &found).await?;
        self.read_again(&mut rebuild, &found, first_to_scan).await?;
        let (mut scanned, beyond) = self.scan_from(&found, first_to_scan, &epochs, &mut rebuild).await?;
        if with_one_before && scanned.len() > 1 {
            scanned.remove(0);
            first_to_scan += 1;
        }
        let mut segments: Vec<Segment> =
            found[..first_to_scan].iter().map(|f| Segment::finished(f.base_offset, f.size)).collect();
        let newest = scanned.last().expect("the last segment is always scanned");
        self.judge(newest)?;
        let next_offset = newest.scan.next_offset();
        if rebuild.knows_before(next_offset + 1) {
            // The snapshot lies behind the end: all that was made of it is worth nothing.
            rebuild.load_newest(next_offset, found[0].base_offset).await?;
            self.read_again(&mut rebuild, &found, first_to_scan).await?;
            for Scanned { file, scan, .. } in &scanned {
                rebuild.read_again(file, scan.base_offset(), scan.position()).await?;
            }
        }
        let bases = found[..first_to_scan].iter().map(|found| found.base_offset);
        let bases = bases.chain(scanned.iter().map(|scanned| scanned.scan.base_offset())).collect();
        let tidied = rebuild.tidy(next_offset, &bases).await?;
        let as_closed = scanned.len() == 1 && beyond.is_empty() && self.is_as_closed(newest);
        let left_index = newest.indexed.then_some(newest.scan.base_offset()).filter(|_| as_closed);
        let tail = if as_closed {
            let end = newest.scan.position();
            Tail::new(end, self.last_block(&newest.file, end).await?)
        } else {
            let tail = self.erase_beyond(newest, beyond, tidied).await?;
            for scanned in &scanned {
                self.make_durable(scanned).await?;
            }
            tail
        };
        let aborted = self.aborted(&found[..first_to_scan], &scanned, &rebuild, next_offset);
        let (producers, snapshot) = rebuild.finish(next_offset).await?;

        let epochs = join_epochs(epochs, &scanned);
        let bytes = scanned.iter().map(|s| s.scan.position()).sum();
        let mut files = BTreeMap::new();
        let count = scanned.len();
        let mut tail = Some(tail);
        for (i, scanned) in scanned.into_iter().enumerate() {
            let (base, end) = (scanned.scan.base_offset(), scanned.scan.position());
            let growth = Growth::new(self.log_dir.shares_flush(), end, self.request.config.segment_bytes);
            files.insert(base, Box::new(SegmentFile { file: scanned.file, growth }));
            segments.push(match tail.take_if(|_| i + 1 == count) {
                Some(tail) => Segment::active(base, tail, scanned.scan.index, self.now_ms),
                None => Segment::scanned(base, end, scanned.scan.index),
            });
        }
        let start = self.settle_start(segments[0].base_offset, next_offset).await?;
        for path in self.doomed.take() {
            remove_if_there(self.log_dir, &path).await?;
        }
        let mut log = Log::new(segments, start, next_offset, epochs, self.request.config.clone());
        log.cleaned_up_to(self.settle_cleaned(cleaned).await?);
        Ok(Opened { log, files, scanned: bytes, producers, aborted, snapshot, as_closed, left_index })
    }

    /// The aborted transactions: those of finished segments are in their files.
    fn aborted(
        &self,
        finished: &[Found],
        scanned: &[Scanned],
        rebuild: &Rebuild<'_>,
        end: i64,
    ) -> AbortedTransactions {
        let mut all = AbortedTransactions::default();
        finished.iter().filter(|found| found.aborted).for_each(|found| all.has_file(found.base_offset));
        let ends = scanned.iter().skip(1).map(|next| next.scan.base_offset()).chain([end]);
        for (scanned, end) in scanned.iter().zip(ends) {
            let base = scanned.scan.base_offset();
            all.learn(base, scanned.aborted.clone().unwrap_or_else(|| rebuild.aborted(base..end)));
        }
        all
    }

    /// Does what is left of a compaction. Says how far the log was cleaned.
    async fn settle_compaction(&self) -> Result<i64, OpenError> {
        match cleaner::settle(self.log_dir, &self.request.dir).await {
            Ok(cleaned) => cleaned.map_err(OpenError::Damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the scan saw that Kafka has compacted further than the checkpoint tells, it tells so from here on.
    async fn settle_cleaned(&self, told: i64) -> io::Result<i64> {
        let cleaned = self.cleaned.get();
        if cleaned > told {
            let checkpoint = Checkpoint { first_dirty: cleaned, exchange: Vec::new() };
            self.log_dir.disk.replace(&self.request.dir.join(NAME), checkpoint.encode()).await?;
        }
        Ok(cleaned)
    }

    async fn begin_rebuild(&self, snapshots: BTreeMap<i64, u64>, found: &[Found]) -> io::Result<Rebuild<'a>> {
        let place = (self.reactor, self.log_dir, self.request.dir.as_path());
        Rebuild::begin(place, self.now_ms, self.request.room.clone(), snapshots, found[0].base_offset).await
    }

    /// Reads the batches of finished segments again of which no snapshot tells.
    async fn read_again(
        &self,
        rebuild: &mut Rebuild<'_>,
        found: &[Found],
        finished: usize,
    ) -> io::Result<()> {
        for (segment, next) in found[..finished].iter().zip(&found[1..]) {
            if !rebuild.knows_before(next.base_offset) {
                let file = self.log_dir.disk.open(&self.path(segment.base_offset), false).await?;
                rebuild.read_again(&file, segment.base_offset, segment.size).await?;
            }
        }
        Ok(())
    }

    /// The segments in the folder, oldest first, and the producers' snapshots; none where there is no folder yet.
    async fn look(&self) -> io::Result<(Vec<Found>, BTreeMap<i64, u64>)> {
        let entries = match self.log_dir.disk.list(&self.request.dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(error),
        };
        let mut snapshots = BTreeMap::new();
        let mut found: BTreeMap<i64, Found> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            if entry.name.ends_with(DELETED_FILE) {
                self.doomed.borrow_mut().push(self.request.dir.join(&entry.name));
            }
            match segment::parse_name(&entry.name) {
                Some((base_offset, Kind::Log)) => {
                    found.insert(
                        base_offset,
                        Found { base_offset, size: entry.len, indexed: false, aborted: false },
                    );
                }
                Some((offset, Kind::Snapshot)) => {
                    snapshots.insert(offset, entry.len);
                }
                _ => {}
            }
        }
        // A deletion that a crash cut short may leave one of the two.
        let named = |wanted: Kind| {
            let names = entries.iter().filter_map(|entry| segment::parse_name(&entry.name));
            names.filter(move |(_, kind)| *kind == wanted).map(|(base, _)| base).collect::<BTreeSet<_>>()
        };
        let (offsets, times) = (named(Kind::Index), named(Kind::TimeIndex));
        let filled =
            entries.iter().filter(|entry| entry.len > 0).filter_map(|e| segment::parse_name(&e.name));
        let aborted: BTreeSet<i64> =
            filled.filter(|(_, kind)| *kind == Kind::TxnIndex).map(|(base, _)| base).collect();
        for (base, segment) in &mut found {
            segment.indexed = offsets.contains(base) && times.contains(base);
            segment.aborted = aborted.contains(base);
        }
        Ok((found.into_values().collect(), snapshots))
    }

    /// Makes the folder with an empty first segment, durably.
    async fn make(&self) -> io::Result<Opened> {
        let (disk, dir) = (&self.log_dir.disk, &self.request.dir);
        disk.create_dirs(dir).await?;
        remove_if_there(self.log_dir, &dir.join(LOG_STARTS)).await?;
        let metadata = checkpoint::encode_partition_metadata(self.request.id.topic);
        disk.replace(&dir.join(METADATA), metadata).await?;
        let file = disk.open(&segment::file(dir, 0, Kind::Log), true).await?;
        disk.sync_dir(dir).await?;
        disk.sync_dir(&self.log_dir.path).await?;
        let config = self.request.config.clone();
        let growth = Growth::new(self.log_dir.shares_flush(), 0, config.segment_bytes);
        let active = Segment::active(0, Tail::new(0, None), SegmentIndex::default(), self.now_ms);
        let log = Log::new(vec![active], 0, 0, Epochs::default(), config);
        let producers = Producers::new(self.request.room.clone());
        let files = [(0, Box::new(SegmentFile { file, growth }))].into();
        let aborted = AbortedTransactions::default();
        Ok(Opened {
            log,
            files,
            scanned: 0,
            producers,
            aborted,
            snapshot: 0,
            as_closed: false,
            left_index: None,
        })
    }

    async fn read_start(&self) -> Result<(i64, i64), OpenError> {
        let path = self.request.dir.join(LOG_STARTS);
        let own = match self.log_dir.disk.read(&path).await {
            Ok(bytes) => checkpoint::decode_start(&bytes)
                .map_err(|why| OpenError::Damaged(format!("{}: {why}", path.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        Ok((own, own.max(self.request.before.start.unwrap_or(0))))
    }

    /// Where the log starts whose first segment begins at `first`. Its own file says so too from here on: by the next
    /// start, the log directory's checkpoint may be out of date.
    async fn settle_start(&self, first: i64, end: i64) -> io::Result<i64> {
        let (own, told) = self.told.get();
        // It lies behind the end only if the loss of what was there was accepted. Then it must not hide what comes.
        let told = told.min(end);
        if told != own && told > first || own > end {
            let path = self.request.dir.join(LOG_STARTS);
            self.log_dir.disk.replace(&path, checkpoint::encode_start(told)).await?;
        }
        Ok(told.max(first))
    }

    /// Up to where the log was durable: no start was ever told that lies behind that.
    fn durable_end(&self) -> Option<i64> {
        let (_, told) = self.told.get();
        self.request.before.mark.max((told > 0).then_some(told))
    }

    async fn read_epochs(&self) -> Result<Epochs, OpenError> {
        let path = self.request.dir.join(EPOCHS);
        match self.log_dir.disk.read(&path).await {
            Ok(bytes) => match checkpoint::decode_epochs(&bytes) {
                Ok(entries) => Ok(Epochs::new(entries)),
                Err(why) => Err(OpenError::Damaged(format!("{}: {why}", path.display()))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Epochs::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Scans segments from this one on, oldest first, as far as they follow one another. Gives those that stand, and
    /// the base offsets of those that lie beyond the log's end.
    async fn scan_from(
        &self,
        found: &[Found],
        first: usize,
        epochs: &Epochs,
        rebuild: &mut Rebuild<'_>,
    ) -> Result<(Vec<Scanned>, Vec<i64>), OpenError> {
        let mut scanned: Vec<Scanned> = Vec::new();
        for (i, segment) in found.iter().enumerate().skip(first) {
            if let Some(before) = scanned.last()
                && !self.is_followed(before, segment.base_offset)
            {
                return Ok((scanned, found[i..].iter().map(|f| f.base_offset).collect()));
            }
            let epoch = match scanned.last() {
                Some(before) => before.scan.epoch(),
                None => epochs.at(segment.base_offset - 1).unwrap_or(-1),
            };
            if i > first {
                rebuild.segment_begins(segment.base_offset);
            }
            scanned.push(self.scan(found, i, epoch, rebuild).await?);
        }
        Ok((scanned, Vec::new()))
    }

    /// Whether the segment at this base offset follows a scanned one.
    fn is_followed(&self, before: &Scanned, base_offset: i64) -> bool {
        // One that breaks off may end at the right offset all the same: offsets lie outside of the checksum.
        let end = before.scan.next_offset();
        if before.end != End::Clean || end >= base_offset {
            return before.end == End::Clean && end == base_offset;
        }
        // Kafka's cleaner takes the last batches of a segment out too. Its own checkpoint may be behind: in what Kafka
        // has left, a finished segment that ends before the next was cleaned.
        let is_whole = before.scan.position() == before.size;
        let is_cleaned = base_offset <= self.cleaned.get();
        if is_whole && !is_cleaned && before.closed && self.request.before.is_kafkas {
            self.cleaned.set(base_offset);
            return true;
        }
        is_whole && is_cleaned
    }

    /// Scans one segment to its end.
    async fn scan(
        &self,
        all: &[Found],
        place: usize,
        epoch: i32,
        rebuild: &mut Rebuild<'_>,
    ) -> io::Result<Scanned> {
        let (found, is_last) = (&all[place], place + 1 == all.len());
        let interval = self.request.config.index_interval_bytes;
        let file = self.log_dir.disk.open(&self.path(found.base_offset), false).await?;
        let index = self.trusted_index(found, is_last).await;
        let closed = index.is_some();
        if let Some((index, aborted)) = index {
            let resumes_at = index.last_offset(found.base_offset);
            if resumes_at.is_some_and(|offset| !rebuild.knows_before(offset)) {
                rebuild.read_again(&file, found.base_offset, index.last_position()).await?;
            }
            // A segment behind which another follows was durable whole, and compaction may have taken the batch out
            // that ended at the mark.
            let mark = self.request.before.mark.filter(|_| is_last);
            let mut scan = Scan::resume(found.base_offset, index, mark, interval);
            let end = self.feed(&mut scan, &file, found.size, rebuild).await?;
            if scan.position() == found.size {
                let (size, indexed, aborted) = (found.size, true, Some(aborted));
                return Ok(Scanned { file, scan, size, end, closed, indexed, aborted });
            }
            // Perhaps it is the index that is damaged: all of the segment is read.
        }
        // Only who knows which transactions are open where it begins can tell which of them are aborted in it.
        if rebuild.knows_before(found.base_offset + 1) {
            rebuild.load_newest(found.base_offset, all[0].base_offset).await?;
            self.read_again(rebuild, all, place).await?;
        }
        // Compaction may have taken the batch out that ended at the mark. The segment may be the last one all the same, for
        // one that was rolled by its age has none behind it.
        let mark = self.request.before.mark.filter(|mark| *mark > self.cleaned.get());
        let mut scan = Scan::new(found.base_offset, epoch, mark, interval);
        let end = self.feed(&mut scan, &file, found.size, rebuild).await?;
        let (size, indexed, aborted) = (found.size, found.indexed, None);
        Ok(Scanned { file, scan, size, end, closed, indexed, aborted })
    }

    async fn feed(
        &self,
        scan: &mut Scan,
        file: &File,
        size: u64,
        rebuild: &mut Rebuild<'_>,
    ) -> io::Result<End> {
        let mut wanted = READ;
        loop {
            let from = scan.position() - scan.position() % BLOCK64;
            let skip = (scan.position() - from) as usize;
            let left = size - scan.position();
            let len = (skip as u64 + left.min(wanted as u64)).max(1) as usize;
            let chunk = self.reactor.pool().chunk(Share::Background, len).await;
            let chunk = file.read_at(chunk, from).await?;
            let bytes = chunk.get(skip..).unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(left as usize)];
            match scan.feed_each(bytes, left, |batch| rebuild.take(batch)) {
                Progress::Needs(more) => wanted = more.max(READ),
                Progress::Ended(end) => return Ok(end),
            }
        }
    }

    /// The indexes of a segment that was finished, or left by a clean stop.
    async fn trusted_index(&self, found: &Found, is_last: bool) -> Option<(SegmentIndex, AbortedIndex)> {
        // The index of the last segment is out of date after a crash.
        if !found.indexed || is_last && !self.request.before.clean {
            return None;
        }
        let disk = &self.log_dir.disk;
        let offsets =
            disk.read(&segment::file(&self.request.dir, found.base_offset, Kind::Index)).await.ok()?;
        let times =
            disk.read(&segment::file(&self.request.dir, found.base_offset, Kind::TimeIndex)).await.ok()?;
        let index = SegmentIndex::from_files(&offsets, &times)?;
        let index = Some(index).filter(|index| index.last_position() < found.size)?;
        // The unfinished block of the last segment is served from memory, where nobody looks at it again.
        let block = found.size - found.size % BLOCK64;
        let aborted = match found.aborted {
            true => {
                disk.read(&segment::file(&self.request.dir, found.base_offset, Kind::TxnIndex)).await.ok()?
            }
            false => Vec::new(),
        };
        let aborted = AbortedIndex::decode(&aborted, found.base_offset).ok()?;
        Some((if is_last { index.up_to(block) } else { index }, aborted))
    }

    /// Whether the last segment is as a clean stop leaves it, so that nothing need be erased or made durable. Its
    /// indexes must tell the truth or be missing.
    fn is_as_closed(&self, newest: &Scanned) -> bool {
        self.request.before.clean
            && newest.end == End::Clean
            && newest.scan.position() == newest.size
            && newest.scan.doubtful().is_empty()
            && (newest.closed || !newest.indexed)
    }

    /// Whether the log may end where the scan ended.
    fn judge(&self, newest: &Scanned) -> Result<(), OpenError> {
        let why = match &newest.end {
            End::Clean if newest.closed && newest.scan.position() != newest.size => "zeros in the middle",
            End::Clean => "nothing but zeros or the file's end",
            End::Broken(why) | End::Contradicted(why) => why.as_str(),
        };
        let (path, position) = (self.path(newest.scan.base_offset()), newest.scan.position());
        let place = format!("{} at position {position}: {why}", path.display());
        let end = newest.scan.next_offset();
        let cut_short = newest.closed && newest.scan.position() != newest.size;
        let contradicted = matches!(newest.end, End::Contradicted(_));
        if (cut_short || contradicted) && verdict(end, self.durable_end()).is_ok() {
            return self.refuse(end, format!("the records from offset {end} on"), &place);
        }
        self.refuse_loss(end, &place)
    }

    fn refuse_loss(&self, end_offset: i64, place: &str) -> Result<(), OpenError> {
        let Err(damage) = verdict(end_offset, self.durable_end()) else { return Ok(()) };
        let records = format!("the records from offset {end_offset} to {}", damage.mark - 1);
        self.refuse(end_offset, records, place)
    }

    fn refuse(&self, end: i64, records: String, place: &str) -> Result<(), OpenError> {
        let name = self.request.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = format!(
            "{name}: {records} were durable and are damaged or gone ({place}). Nothing was changed. Restore the files \
             from a copy; or, to go on without these records, start once with --accept-loss {name}"
        );
        if self.request.before.accept_loss {
            tracing::warn!("{what}. The loss is accepted by --accept-loss: the log goes on at offset {end}");
            return Ok(());
        }
        Err(OpenError::Damaged(what))
    }

    /// Erases everything past the log's end, and gives the tail to go on with. Durable once the file is flushed.
    ///
    /// Shortening the file does it for whole blocks; the last, unfinished block is written anew
    /// with zeros behind the end. Without this, a batch of the old tail could stand up again after another
    /// crash, behind new batches that happen to end where it begins.
    async fn erase_beyond(&self, newest: &Scanned, beyond: Vec<i64>, removed: bool) -> io::Result<Tail> {
        let (disk, dir) = (&self.log_dir.disk, &self.request.dir);
        let mut removed = removed;
        for base in &beyond {
            for kind in Kind::ALL {
                removed |= remove_if_there(self.log_dir, &segment::file(dir, *base, kind)).await?;
            }
        }
        let base = newest.scan.base_offset();
        let end = newest.scan.position();
        // The index files of a clean stop: from here on they would be out of date, and an index file is the
        // sign of a finished segment.
        for kind in [Kind::Index, Kind::TimeIndex, Kind::TxnIndex] {
            removed |= remove_if_there(self.log_dir, &segment::file(dir, base, kind)).await?;
        }
        // What is written from here on counts on it. What was made and removed before is durable since `boot::begin`.
        if removed {
            disk.sync_dir(dir).await?;
        }
        let last_block = self.last_block(&newest.file, end).await?;
        if let Some(block) = &last_block {
            let mut padded = self.reactor.pool().chunk(Share::Background, BLOCK).await;
            padded.append(block);
            padded.pad_to(BLOCK);
            newest.file.write_at(padded.freeze(), end - end % BLOCK64).await?;
        }
        newest.file.truncate(end.next_multiple_of(BLOCK64)).await?;
        if newest.size > end && newest.end != End::Clean {
            let path = self.path(base);
            tracing::info!("{}: a torn tail was cut off at position {end}", path.display());
        }
        Ok(Tail::new(end, last_block))
    }

    /// Makes durable what stands, for from here on it is served. After the death of the process alone some of it
    /// may never have been flushed; and if it died of a flush that failed, the system may hold it for clean, and
    /// flush nothing. So what is above the mark is written once more. The flush also makes the erasing durable.
    async fn make_durable(&self, scanned: &Scanned) -> io::Result<()> {
        let doubtful = scanned.scan.doubtful();
        let mut from = doubtful.start - doubtful.start % BLOCK64;
        let end = doubtful.end.next_multiple_of(BLOCK64);
        while from < end && !doubtful.is_empty() {
            let len = (end - from).min(READ as u64) as usize;
            let chunk = self.reactor.pool().chunk(Share::Background, len).await;
            let mut chunk = scanned.file.read_at(chunk, from).await?;
            chunk.pad_to(BLOCK);
            let len = chunk.len().min(len);
            scanned.file.write_at(chunk.slice(0..len), from).await?;
            from += len as u64;
        }
        scanned.file.flush().await
    }

    /// What the file holds of the unfinished block before `end`.
    async fn last_block(&self, file: &File, end: u64) -> io::Result<Option<ChunkSlice>> {
        let unfinished = (end % BLOCK64) as usize;
        if unfinished == 0 {
            return Ok(None);
        }
        // It stays until the first append, and so must not be of the share that recovery itself waits for.
        let chunk = self.reactor.pool().chunk(Share::Tail, BLOCK).await;
        let chunk = file.read_at(chunk, end - unfinished as u64).await?;
        Ok(Some(chunk.slice(0..unfinished)))
    }

    fn path(&self, base_offset: i64) -> PathBuf {
        segment::file(&self.request.dir, base_offset, Kind::Log)
    }
}

/// The epochs of the checkpoint, and those that the scan met.
fn join_epochs(epochs: Epochs, scanned: &[Scanned]) -> Epochs {
    let from_scan = scanned.iter().flat_map(|s| s.scan.epochs.iter().copied());
    let mut all = Epochs::new(epochs.entries().iter().copied().chain(from_scan));
    if let Some(last) = scanned.last() {
        all.cut(last.scan.next_offset());
    }
    all
}

/// Removes a file; it is no error if there is none. Says whether there was.
pub async fn remove_if_there(log_dir: &LogDir, path: &Path) -> io::Result<bool> {
    match log_dir.disk.remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        removed => Ok(removed.is_ok()),
    }
}
