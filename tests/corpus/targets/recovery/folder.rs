//! Folders as Ottla leaves them, and a life of the shard that opens one.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ottla::broker::boot;
use ottla::broker::call::Responder;
use ottla::broker::cleaner::CleanerConfig;
use ottla::broker::lifecycle::PartitionSpec;
use ottla::broker::messages::{
    DeleteRecordsPart, FetchCall, FetchPart, PartitionId, ProduceCall, ProducePart, ShardReply, ShardRequest,
};
use ottla::broker::open::Before;
use ottla::broker::replica::State;
use ottla::broker::shard::Shard;
use ottla::limits::BLOCK;
use ottla::log::LogConfig;
use ottla::log::compact::Compaction;
use ottla::partition::AppendRules;
use ottla::reactor::Reactor;
use ottla::reactor::sim::{CrashKind, NodeId, Options, View, World};
use ottla::reactor::sync::completion;
use ottla::wire::batch::{Batch, BatchBuilder, Compression};
use ottla::wire::error::ErrorCode;
use ottla::wire::uuid::Uuid;

use super::damage::places;

/// The log directory.
pub const DIR: &str = "/data";
/// The partition's folder.
pub const PARTITION: &str = "/data/t-0";
/// The longest that anything may take in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);
const ID: PartitionId = PartitionId { topic: Uuid([7; 16]), partition: 0 };

/// What a folder holds.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A folder that nothing has happened to yet.
pub struct Folder {
    kind: usize,
    pub files: Files,
    /// All batches in its files, by offset: those that were deleted too.
    pub written: BTreeMap<i64, Vec<u8>>,
    /// What is served of it, by offset.
    pub batches: BTreeMap<i64, Vec<u8>>,
    /// The last segment's file, from where on nothing is known to be flushed, and the offset there. None after a clean
    /// stop, where all was.
    pub tail: Option<(PathBuf, usize, i64)>,
}

thread_local! {
    static FOLDERS: [OnceCell<Rc<Folder>>; Folder::KINDS] = const { [const { OnceCell::new() }; Folder::KINDS] };
}

/// How a folder came to be.
#[derive(Clone, Copy)]
enum End {
    /// The shard was stopped.
    Stop,
    /// The process died.
    Death,
    /// The shard was stopped, and all that only Ottla writes was taken away: so Kafka leaves it.
    Kafkas,
}

impl Folder {
    /// How many kinds there are.
    pub const KINDS: usize = 18;

    /// The folder of this kind.
    pub fn of(kind: usize) -> Rc<Folder> {
        FOLDERS.with(|folders| folders[kind].get_or_init(|| Rc::new(Folder::make(kind))).clone())
    }

    fn ends(kind: usize) -> End {
        [End::Stop, End::Death, End::Kafkas][kind % 3]
    }

    fn is_compacted(kind: usize) -> bool {
        kind / 3 == 4
    }

    fn log_config(kind: usize) -> LogConfig {
        let compaction = Compaction { min_dirty_ratio: 0.0, ..Compaction::default() };
        LogConfig {
            segment_bytes: if (kind / 3).is_multiple_of(2) { 700 } else { 1 << 30 },
            index_interval_bytes: 200,
            delete: false,
            compaction: Folder::is_compacted(kind).then_some(compaction),
            ..LogConfig::default()
        }
    }

    fn make(kind: usize) -> Folder {
        let life = Life::begin();
        let shard = life.start(kind, false);
        let count = [3, 12, 30, 1, 24, 9][kind / 3];
        for number in 0..count {
            life.append(&shard, batch(kind, number)).expect("nothing is damaged yet");
        }
        if Folder::is_compacted(kind) {
            let config = CleanerConfig {
                table_bytes: 1 << 16,
                bytes_per_second: f64::MAX,
                backoff: Duration::from_secs(1),
                ..CleanerConfig::default()
            };
            shard.start_cleaner(config);
            life.world.run_for(Duration::from_secs(10));
            life.append(&shard, batch(kind, count)).expect("nothing is damaged yet");
        }
        if kind / 3 == 5 {
            life.delete_before(&shard, 5);
        }
        match Folder::ends(kind) {
            End::Death => {
                // Written, and not waited for.
                life.send(&shard, batch(kind, 97));
                life.send(&shard, batch(kind, 98));
                life.world.run_for(Duration::from_micros(900));
            }
            End::Stop | End::Kafkas => life.stop(&shard),
        }
        let disk = life.world.disk(life.node);
        let mut files = Files::new();
        for (path, _) in disk.files(View::Current) {
            let is_ours = path.to_string_lossy().contains("stable-ends");
            if !(matches!(Folder::ends(kind), End::Kafkas) && is_ours) {
                let mut bytes = disk.content(&path, View::Current).expect("it was just listed");
                if is_ours {
                    // Most of it was never written.
                    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    bytes.truncate(end.next_multiple_of(BLOCK));
                }
                files.insert(path, bytes);
            }
        }
        drop(shard);
        life.end();
        let logs = files.iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "log"));
        let written = logs.flat_map(|(_, bytes)| ottla::wire::batch::batches(bytes).map_while(Result::ok));
        let written = written.map(|batch| (batch.base_offset(), batch.bytes().to_vec())).collect();
        let mut folder = Folder { kind, files, written, batches: BTreeMap::new(), tail: None };
        let opening = Opening { files: folder.files.clone(), accept_loss: false, again: false };
        let Served::Logs(mut lives, _) = opening.open(&folder) else { panic!("nothing was damaged") };
        folder.batches = lives.remove(0);
        folder.tail = folder.find_tail();
        folder
    }

    fn find_tail(&self) -> Option<(PathBuf, usize, i64)> {
        let End::Death = Folder::ends(self.kind) else { return None };
        let marks = self.files.iter().filter(|(path, _)| path.to_string_lossy().contains("stable-ends"));
        let marks = marks.filter_map(|(_, bytes)| ottla::log::marks::read_file(bytes));
        let mark = marks.max_by_key(|file| file.generation)?.marks.get(&ID).copied()?;
        let is_log = |path: &&PathBuf| path.extension().is_some_and(|kind| kind == "log");
        let last = self.files.keys().rfind(is_log)?;
        let bytes = &self.files[last];
        let is_below = |at: &usize| Batch::first(&bytes[*at..]).is_ok_and(|batch| batch.last_offset() < mark);
        let below = places(bytes).into_iter().take_while(|(at, _)| is_below(at)).last();
        Some((last.clone(), below.map_or(0, |(at, len)| at + len), mark))
    }

    /// Whether these files hold a whole batch past the mark that was never at this place.
    pub fn is_contradicted_by(&self, files: &Files) -> bool {
        let Some((path, position, mark)) = &self.tail else { return false };
        let bytes = files.get(path).and_then(|bytes| bytes.get(*position..)).unwrap_or_default();
        let batches = ottla::wire::batch::batches(bytes).map_while(Result::ok);
        let mut next = *mark;
        for batch in batches.take_while(|batch| batch.check().is_ok()) {
            let known = self.written.get(&batch.base_offset()).is_some_and(|known| known == batch.bytes());
            if batch.base_offset() < next || !known {
                return true;
            }
            next = batch.last_offset() + 1;
        }
        false
    }

    /// Whether these bytes of a file hold some of where a batch says that it lies.
    pub fn hits_front(&self, path: &Path, from: usize, to: usize) -> bool {
        let Some(bytes) = self.files.get(path) else { return true };
        let places = places(bytes);
        let end = places.iter().next_back().map_or(0, |(at, len)| at + len);
        to > end || places.keys().any(|at| from < at + 16 && *at < to)
    }
}

/// What is there before a life, and what the life is like.
pub struct Opening {
    pub files: Files,
    pub accept_loss: bool,
    /// Whether there is an append, a loss of power and another life.
    pub again: bool,
}

/// What came of it.
pub enum Served {
    /// Of each life, the batches by their offsets; and why the second does not serve them, if it does not.
    Logs(Vec<BTreeMap<i64, Vec<u8>>>, Option<String>),
    /// Why the partition, or all of the folder, is not served.
    Refused(String),
}

impl Opening {
    pub fn open(&self, folder: &Folder) -> Served {
        let life = Life::begin();
        life.lay_out(&self.files);
        let shard = match life.try_start(folder.kind, self.accept_loss) {
            Ok(shard) => shard,
            Err(why) => return life.refused(why),
        };
        if let Some(why) = refusal(&shard) {
            assert!(!self.accept_loss || !why.contains("start once with --accept-loss"), "{why}");
            drop(shard);
            return life.refused(why);
        }
        let first = life.read_all(&shard);
        if !self.again {
            drop(shard);
            life.end();
            return Served::Logs(vec![first], None);
        }
        let is_appended = life.append(&shard, batch(folder.kind, 99)).is_ok();
        drop(shard);
        let life = life.reboot();
        let shard = life.start(folder.kind, false);
        if let Some(why) = refusal(&shard) {
            drop(shard);
            life.end();
            return Served::Logs(vec![first], Some(why));
        }
        let second = life.read_all(&shard);
        drop(shard);
        life.end();
        Served::Logs(if is_appended { vec![first, second] } else { vec![first] }, None)
    }
}

fn refusal(shard: &Rc<Shard>) -> Option<String> {
    let replica = shard.replica(ID).expect("it was opened");
    match &*replica.state.borrow() {
        State::Offline(_, why) => Some(why.clone()),
        _ => None,
    }
}

/// One life of a node.
struct Life {
    world: World,
    node: NodeId,
    reactor: Reactor,
}

impl Life {
    fn begin() -> Life {
        let mut options = Options::calm();
        options.schedule.busy_limit = 200_000;
        let world = World::new(1, options);
        let node = world.add_node();
        let reactor = world.boot(node, 1).remove(0);
        Life { world, node, reactor }
    }

    fn reboot(self) -> Life {
        self.lose_power();
        let reactor = self.world.boot(self.node, 1).remove(0);
        Life { reactor, ..self }
    }

    fn end(self) {
        self.lose_power();
        let remains = self.world.remains();
        drop(self);
        assert_eq!(remains.holders(), 0, "a shard leaves nothing in memory behind");
    }

    fn lose_power(&self) {
        // It takes back what the others held, and must outlast them.
        let pool = self.reactor.pool().clone();
        self.world.crash(self.node, CrashKind::Power);
        drop(pool);
    }

    fn refused(self, why: String) -> Served {
        self.end();
        Served::Refused(why)
    }

    /// Puts files onto the disk, durably.
    fn lay_out(&self, files: &Files) {
        let (disk, files) = (self.reactor.disk(), files.clone());
        self.world.run(&self.reactor, PATIENCE, async move {
            disk.create_dirs(Path::new(PARTITION)).await.expect("the disk works");
            for (path, bytes) in files {
                disk.replace(&path, bytes).await.expect("the disk works");
            }
        });
    }

    fn start(&self, kind: usize, accept_loss: bool) -> Rc<Shard> {
        self.try_start(kind, accept_loss).expect("it starts")
    }

    fn try_start(&self, kind: usize, accept_loss: bool) -> Result<Rc<Shard>, String> {
        let reactor = self.reactor.clone();
        let spec = PartitionSpec {
            id: ID,
            topic: "t".into(),
            directory: Uuid::ZERO,
            revision: 0,
            leader_epoch: 3,
            log: Folder::log_config(kind),
            rules: AppendRules::default(),
        };
        let started = self.world.run(&self.reactor, PATIENCE, async move {
            let (found, shard) = boot::start_alone(&reactor, Path::new(DIR)).await?;
            shard.open_partition(spec, Before { accept_loss, ..found.before("t", ID) });
            shard.all_opened().await;
            Ok(shard)
        });
        started.map_err(|error: std::io::Error| error.to_string())
    }

    fn ask(&self, shard: &Rc<Shard>, request: ShardRequest) -> ShardReply {
        let (completer, answer) = completion();
        shard.handle(request, Responder::Local(completer));
        self.world.run(&self.reactor, PATIENCE, answer)
    }

    fn produce(&self, batch: Bytes) -> ShardRequest {
        let deadline = self.reactor.now() + PATIENCE;
        ShardRequest::Produce(ProduceCall { acks: -1, deadline, parts: vec![ProducePart::new(ID, batch)] })
    }

    fn append(&self, shard: &Rc<Shard>, batch: Bytes) -> Result<i64, ErrorCode> {
        let request = self.produce(batch);
        let ShardReply::Produce(replies) = self.ask(shard, request) else { panic!("answered as it is") };
        match replies[0].error {
            ErrorCode::NONE => Ok(replies[0].base_offset),
            error => Err(error),
        }
    }

    /// Appends, and does not wait.
    fn send(&self, shard: &Rc<Shard>, batch: Bytes) {
        let (completer, _) = completion();
        shard.handle(self.produce(batch), Responder::Local(completer));
    }

    fn delete_before(&self, shard: &Rc<Shard>, before: i64) {
        let request = ShardRequest::DeleteRecords(vec![DeleteRecordsPart { id: ID, before }]);
        let ShardReply::DeleteRecords(replies) = self.ask(shard, request) else {
            panic!("answered as it is")
        };
        assert_eq!(replies, [Ok(before)]);
    }

    fn stop(&self, shard: &Rc<Shard>) {
        let (reactor, shard) = (self.reactor.clone(), shard.clone());
        let stopping = async move { boot::stop_alone(&reactor, &shard, Path::new(DIR)).await };
        self.world.run(&self.reactor, PATIENCE, stopping).expect("it stops");
    }

    /// All batches from the log's start on, as far as they can be read.
    fn read_all(&self, shard: &Rc<Shard>) -> BTreeMap<i64, Vec<u8>> {
        let replica = shard.replica(ID).expect("it was opened");
        let bounds = replica.online(|o| (o.partition.log.start_offset(), o.partition.high_watermark()));
        let (mut offset, end) = bounds.expect("it is served");
        let mut found = BTreeMap::new();
        while offset < end {
            let part = FetchPart {
                id: ID,
                offset,
                max_bytes: 1 << 20,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
            };
            let call = FetchCall { read_committed: false, max_bytes: 1 << 20, parts: vec![part] };
            let ShardReply::Fetch(mut replies) = self.ask(shard, ShardRequest::Fetch(call)) else {
                panic!("answered as it is")
            };
            let reply = replies.remove(0);
            if reply.error != ErrorCode::NONE {
                break;
            }
            let before = offset;
            for batch in ottla::wire::batch::batches(&reply.records.concat()).map_while(Result::ok) {
                batch.check().unwrap_or_else(|why| panic!("served at offset {offset}: {why}"));
                assert!(batch.last_offset() >= offset, "offsets grow");
                assert!(batch.last_offset() < end, "nothing is served past the high watermark");
                offset = batch.last_offset() + 1;
                found.insert(batch.base_offset(), batch.bytes().to_vec());
            }
            if offset == before {
                break;
            }
        }
        found
    }
}

/// The batch of this number of a folder of this kind.
fn batch(kind: usize, number: i32) -> Bytes {
    let compression = if number % 4 == 3 { Compression::Lz4 } else { Compression::None };
    let mut builder = BatchBuilder::new().compression(compression);
    if kind / 3 != 0 && number < 90 {
        // The producers take turns, and each sends records of its own.
        let id = i64::from(number % 3);
        builder = builder.producer(id, 0, number / 3 * 2);
    }
    for record in 0..2 {
        let key = [b'k', (number % 5) as u8 + record];
        let value = format!("{kind} {number} {record} {}", "v".repeat(number as usize % 7 * 20));
        builder.append(1_000_000 + i64::from(number), Some(&key), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("it can be built").into()
}
