//! One partition on its core: the pure partition, its files, and who waits for it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::lifecycle::PartitionSpec;
use super::log_dir::LogDir;
use super::messages::{PartitionId, ProducePart};
use super::produce::Pending;
use super::relocate::Moving;
use super::verification::Verifying;
use super::volume::SharedVolume;
use super::watch::Watch;
use crate::limits::ROT_NOTED;
use crate::log::growth::Growth;
use crate::partition::Partition;
use crate::reactor::sync::{Bell, Semaphore};
use crate::reactor::{File, Nanos};
use crate::wire::error::ErrorCode;

/// After how long the operator hears again that a segment cannot be read.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// One partition on its core. The shard holds it until it is deleted or the node ends.
pub struct Replica {
    /// The partition.
    pub id: PartitionId,
    /// The topic's name.
    pub topic: Rc<str>,
    /// The log directory that its folder is in.
    pub volume: SharedVolume,
    /// Its folder.
    pub dir: PathBuf,
    /// The metadata offset at which this incarnation was created.
    pub revision: i64,
    /// How it is to be served.
    pub spec: RefCell<PartitionSpec>,
    /// Where it goes, while it is being moved.
    pub moving: RefCell<Option<Rc<Moving>>>,
    /// Held by who moves it.
    pub move_turn: Semaphore,
    /// What it is at the moment. Never borrowed across an await.
    pub state: RefCell<State>,
    /// Held by who writes or removes the indexes of a segment.
    pub index_turn: Semaphore,
    /// Held by who moves the log's start.
    pub start_turn: Semaphore,
    /// From where on the log's start is on the disk, whatever becomes of its segments: retention's deletions are told
    /// before they are durable.
    pub start_written: Cell<i64>,
    /// Set once it is being deleted; what is under way then comes to nothing.
    pub gone: Cell<bool>,
    /// Whether compaction has failed on it.
    pub unfit_to_clean: Cell<bool>,
    /// Tells who reads finished segments that their files were exchanged.
    pub files: Exchange,
    /// How often in a row its coordinator could not read it.
    pub unread: Cell<u32>,
    /// Where files were found not to hold what was written: segments and positions.
    pub rot: RefCell<BTreeSet<(i64, u64)>>,
    /// The segment of which the operator was told last that it cannot be read, and when.
    pub told_unread: Cell<Option<(Option<i64>, Nanos)>>,
}

/// Tells who reads finished segments when others have taken their place: files and what is known of them do not
/// change in one moment.
#[derive(Default)]
pub struct Exchange {
    /// Odd while files are being exchanged.
    version: Cell<u32>,
    /// Rung when they have been.
    done: Bell,
}

impl Exchange {
    /// What the files are at the moment. Who has read from them asks [`Exchange::is`] whether they still are.
    pub fn version(&self) -> u32 {
        self.version.get()
    }

    /// Whether the files are those of this version, and were all the time since.
    pub fn is(&self, version: u32) -> bool {
        version.is_multiple_of(2) && self.version.get() == version
    }

    /// Resolves when no exchange is under way.
    pub async fn settled(&self) {
        loop {
            let done = self.done.notified();
            if self.version.get().is_multiple_of(2) {
                return;
            }
            done.await;
        }
    }

    /// From here on, until [`Exchange::end`], nobody trusts what he reads.
    pub fn begin(&self) {
        assert!(self.version.get().is_multiple_of(2), "one exchange at a time");
        self.version.set(self.version.get() + 1);
    }

    /// The files and what is known of them agree again.
    pub fn end(&self) {
        self.version.set(self.version.get() + 1);
        self.done.ring();
    }
}

/// A batch that waits until its log can be appended to, the call that it is part of, and its place there.
pub type Queued = (ProducePart, Rc<Pending>, usize);

/// What a replica is at the moment.
pub enum State {
    /// Its log is being recovered; appends wait in order.
    Opening(Vec<Queued>),
    /// It serves.
    Online(Box<Online>),
    /// It cannot serve, and answers this.
    Offline(ErrorCode, String),
}

/// A replica that serves.
pub struct Online {
    /// Decides.
    pub partition: Partition,
    /// The files of the segments that are not finished, and some of the others.
    pub files: BTreeMap<i64, Box<SegmentFile>>,
    /// Produces that wait for the high watermark, in order of the offset they wait for.
    pub waiting: VecDeque<(i64, Rc<Pending>, usize)>,
    /// Fetches that wait for more.
    pub watches: Vec<Rc<Watch>>,
    /// Batches that wait for the coordinators of their transactions, by producer.
    pub verifying: BTreeMap<i64, Verifying>,
    /// Appends that wait until it is moved to another log directory.
    pub held: Option<Vec<Queued>>,
    /// Whether it is on the shard's list for the next round.
    pub dirty: bool,
    /// How fast it grows.
    pub rate: RateMeter,
    /// The finished segment that a deletion or the finishing works on.
    pub upkeep: bool,
    /// The offset of the producers' newest snapshot on disk, 0 for none.
    pub snapshot: i64,
    /// Whether it was opened as a clean stop had left it, and nothing was changed in its folder.
    pub opened_as_closed: bool,
    /// The segment of which a clean stop has left indexes, as long as they are there and it may be appended to.
    pub left_index: Option<i64>,
    /// Whether it is being compacted: nobody else touches its finished segments then.
    pub cleaning: bool,
    /// Whether retention is to be looked at: at the start, and each `log.retention.check.interval.ms`.
    pub check_retention: bool,
}

impl Online {
    /// Whether its folder is as the last clean stop left it, and is to be left so.
    pub fn is_as_closed(&self) -> bool {
        self.opened_as_closed && !self.partition.log.has_changed()
    }
}

impl Online {
    /// Takes out all that waits for the coordinators of transactions.
    pub fn take_verifying(&mut self) -> Vec<Queued> {
        std::mem::take(&mut self.verifying).into_values().flat_map(Verifying::into_queue).collect()
    }
}

/// An open segment.
#[derive(Clone)]
pub struct SegmentFile {
    /// Its `.log` file.
    pub file: File,
    /// What is known of its blocks.
    pub growth: Growth,
}

impl Replica {
    /// Notes that a segment's file does not hold what was written. Says whether that is to be told.
    pub fn note_rot(&self, segment: i64, position: u64) -> bool {
        let mut rot = self.rot.borrow_mut();
        if rot.len() == ROT_NOTED {
            rot.pop_first();
        }
        rot.insert((segment, position))
    }

    /// Whether that was noted of this segment.
    pub fn has_rot(&self, segment: i64) -> bool {
        self.rot.borrow().range((segment, 0)..=(segment, u64::MAX)).next().is_some()
    }

    /// The log directory that its folder is in.
    pub fn log_dir(&self) -> &LogDir {
        &self.volume.log_dir
    }

    /// Tells the operator, once in a while, that a segment cannot be read, or something in the folder.
    pub fn tell_unread(&self, segment: Option<i64>, error: &std::io::Error, now: Nanos) {
        let told = self.told_unread.get();
        if self.is_missed(error) || told.is_some_and(|(of, at)| of == segment && now.since(at) < TELL_AGAIN) {
            return;
        }
        self.told_unread.set(Some((segment, now)));
        let behind = segment.and_then(|base| {
            self.online(|online| online.partition.log.segments().map(|s| s.base_offset).find(|b| *b > base))?
        });
        let which =
            segment.map_or("a file".into(), |base| format!("the segment that begins at offset {base}"));
        let way_on = behind.map_or(String::new(), |end| {
            let (topic, partition) = (&self.topic, self.id.partition);
            format!(
                ". If it cannot be brought back, consumers go on behind it once the log begins there: ottla records \
                 delete {topic} -p {partition} --before {end}"
            )
        });
        tracing::error!(
            "{}: {which} cannot be read: {error}. Who asks for its records gets KAFKA_STORAGE_ERROR; all else of the \
             partition is served. Look what the kernel says of the disk (dmesg){way_on}",
            self.name()
        );
    }

    /// Its name as a person says it.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.id.partition)
    }

    /// Whether an error comes of its deletion: the folder has another name then. No other error is to be passed
    /// over, whoever it meets: a flush that fails leaves what others wrote to chance too.
    pub fn is_missed(&self, error: &std::io::Error) -> bool {
        self.gone.get() && error.kind() == std::io::ErrorKind::NotFound
    }

    /// Runs `f` on the replica if it serves.
    pub fn online<T>(&self, f: impl FnOnce(&mut Online) -> T) -> Option<T> {
        match &mut *self.state.borrow_mut() {
            State::Online(online) => Some(f(online)),
            _ => None,
        }
    }

    /// Whether its log is still being opened.
    pub fn is_opening(&self) -> bool {
        matches!(&*self.state.borrow(), State::Opening(_))
    }

    /// The error that a request gets while the replica does not serve.
    pub fn refusal(&self) -> Option<ErrorCode> {
        match &*self.state.borrow() {
            State::Online(_) => None,
            // A code after which clients of all requests ask again: Java's consumer knows no other here.
            State::Opening(_) => Some(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            State::Offline(error, _) => Some(*error),
        }
    }
}

/// Bytes a second, by the second.
#[derive(Default)]
pub struct RateMeter {
    since: Nanos,
    bytes: u64,
    last: u64,
}

impl RateMeter {
    /// Counts bytes.
    pub fn add(&mut self, bytes: u64, now: Nanos) {
        self.turn(now);
        self.bytes += bytes;
    }

    /// The rate of the last second or of this one, whichever is higher.
    pub fn rate(&mut self, now: Nanos) -> u64 {
        self.turn(now);
        self.last.max(self.bytes)
    }

    fn turn(&mut self, now: Nanos) {
        let seconds = now.since(self.since).as_secs();
        if seconds > 0 {
            self.last = if seconds == 1 { self.bytes } else { 0 };
            self.bytes = 0;
            self.since = now;
        }
    }
}
