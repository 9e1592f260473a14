//! A replica moves from one log directory to another while it serves.
//!
//! Its files are copied into a folder beside the others of the new directory, again and again while more is appended.
//! When little is missing the appends wait for a moment, the rest is copied, all of it is made durable, and the
//! controller is told where the replica lies from now on. Only then the folders change their names. So of the two
//! copies the metadata say which one counts, at any moment, and a start after a crash goes by that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::boot::LOG_STARTS;
use super::call::Responder;
use super::controller::{Command, CommandReply};
use super::messages::{LogDirsReply, LogSize, PartitionId, ShardReply};
use super::metadata_log::METADATA_LOG;
use super::open::Before;
use super::open::{EPOCHS, METADATA, remove_if_there};
use super::replica::{Online, Replica, State};
use super::shard::Shard;
use super::volume::SharedVolume;
use crate::collections::Set;
use crate::controller::directories::Assignment;
use crate::limits::BLOCK;
use crate::log::checkpoint;
use crate::log::compact::checkpoint::NAME as CLEANER;
use crate::log::segment::{self, Kind};
use crate::reactor::{Class, Share};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

/// The folder that a replica is copied into ends with this.
pub const FUTURE: &str = "future";
/// How many replicas of a core are copied at once.
pub(super) const MOVES_AT_ONCE: usize = 2;
/// Bytes that are copied at once.
const COPY: usize = 256 << 10;
/// When so many bytes are missing, the appends wait until they are copied.
const LITTLE: u64 = 4 << 20;
/// How often what was appended meanwhile is copied before the appends wait all the same.
const PASSES: u32 = 100;
/// How long to wait between two looks whether a replica is quiet.
const LOOK: Duration = Duration::from_millis(1);

/// A replica on its way to another log directory.
pub struct Moving {
    /// Where it goes.
    pub to: SharedVolume,
    cancelled: Cell<bool>,
    /// The segments that are copied so far.
    copied: RefCell<BTreeMap<i64, Copied>>,
}

/// How much of a segment is copied.
#[derive(Clone, Copy, Default)]
struct Copied {
    size: u64,
    /// With its indexes.
    finished: bool,
}

impl Moving {
    /// The bytes that are copied so far, and the offset that all of the copied segments reach.
    pub fn progress(&self) -> (u64, i64) {
        let copied = self.copied.borrow();
        (copied.values().map(|copied| copied.size).sum(), copied.keys().next_back().copied().unwrap_or(0))
    }
}

/// Why a replica stays where it is.
enum Stays {
    /// Somebody wants it so, or it is going, or the node.
    Cancelled,
    /// The disk that it lies on says no.
    From(io::Error),
    /// The disk that it was to go to says no.
    To(io::Error),
    /// The controller says no.
    Refused(String),
}

/// The folder that a replica is copied into.
pub fn future_dir(log_dir: &Path, name: &str, topic: Uuid) -> PathBuf {
    log_dir.join(segment::renamed_dir(name, topic, FUTURE))
}

impl Shard {
    /// Begins to move a replica to another log directory. One that is on its way elsewhere turns round.
    pub(super) fn relocate(self: &Rc<Shard>, id: PartitionId, directory: Uuid) -> Result<(), ErrorCode> {
        let replica = self.serving(id)?;
        let to = self.volume(directory).filter(|to| !to.log_dir.has_failed());
        let to = to.ok_or(ErrorCode::KAFKA_STORAGE_ERROR)?;
        if let Some(moving) = &*replica.moving.borrow() {
            if moving.to.index == to.index {
                return Ok(());
            }
            moving.cancelled.set(true);
        }
        *replica.moving.borrow_mut() = None;
        if to.index == replica.volume.index {
            return Ok(());
        }
        let moving = Rc::new(Moving { to, cancelled: Cell::new(false), copied: RefCell::default() });
        *replica.moving.borrow_mut() = Some(moving.clone());
        let shard = self.clone();
        self.reactor.spawn(Class::Background, async move { shard.move_replica(replica, moving).await });
        Ok(())
    }

    /// Sends replicas to other log directories. Who made a topic may ask before its logs are open: they are waited for.
    pub(super) fn relocate_all(self: &Rc<Shard>, moves: Vec<(PartitionId, Uuid)>, responder: Responder) {
        let is_opening = |shard: &Shard, moves: &[(PartitionId, Uuid)]| {
            moves.iter().any(|(id, _)| shard.replica(*id).is_some_and(|replica| replica.is_opening()))
        };
        let answer = |shard: &Rc<Shard>, moves: Vec<(PartitionId, Uuid)>, responder: Responder| {
            let replies = moves.into_iter().map(|(id, directory)| shard.relocate(id, directory));
            responder.answer(ShardReply::Relocate(replies.collect()));
        };
        if !is_opening(self, &moves) {
            return answer(self, moves, responder);
        }
        let shard = self.clone();
        self.reactor.spawn(Class::Background, async move {
            loop {
                let opened_one = shard.opened_one.notified();
                if !is_opening(&shard, &moves) {
                    return answer(&shard, moves, responder);
                }
                opened_one.await;
            }
        });
    }

    /// Tells what the replicas take, those on their way too.
    pub(super) fn describe_log_dirs(&self, ids: Option<Set<PartitionId>>) -> LogDirsReply {
        let mut reply = LogDirsReply::default();
        let serving = self.volumes.iter().filter(|volume| !volume.log_dir.has_failed());
        reply.serving.extend(serving.map(|volume| volume.log_dir.id));
        let asked = |id: &PartitionId| ids.as_ref().is_none_or(|ids| ids.contains(id));
        for replica in self.replicas().into_iter().filter(|r| r.id != METADATA_LOG && asked(&r.id)) {
            let taken = replica.online(|o| (o.partition.log.size(), o.partition.log.next_offset()));
            let Some((size, end)) = taken else { continue };
            let here = LogSize { id: replica.id, directory: replica.log_dir().id, size, lag: None };
            reply.replicas.push(here);
            if let Some(moving) = &*replica.moving.borrow() {
                let (size, reached) = moving.progress();
                let directory = moving.to.log_dir.id;
                reply.replicas.push(LogSize { directory, size, lag: Some(end - reached), ..here });
            }
        }
        reply
    }

    async fn move_replica(self: Rc<Shard>, replica: Rc<Replica>, moving: Rc<Moving>) {
        let _turn = replica.move_turn.acquire(1).await;
        let _permit = self.moves.acquire(1).await;
        let dir = future_dir(&moving.to.log_dir.path, &replica.name(), replica.id.topic);
        let (from, to) = (replica.log_dir().path.display(), moving.to.log_dir.path.display());
        let name = replica.name();
        tracing::info!("{name}: it is moved from {from} to {to}");
        let mut mover = Mover {
            shard: &self,
            replica: &replica,
            moving: &moving,
            dir: dir.clone(),
            version: None,
            counts: false,
            hurries: false,
        };
        let moved = mover.run().await;
        let mine = replica.moving.borrow().as_ref().is_some_and(|now| Rc::ptr_eq(now, &moving));
        if mine {
            *replica.moving.borrow_mut() = None;
        }
        match moved {
            Ok(()) => return tracing::info!("{name}: it lies in {to} from now on"),
            Err(Stays::Cancelled) => {}
            Err(Stays::From(error)) if replica.is_missed(&error) => {}
            // What cannot be read takes nothing away that can.
            Err(Stays::From(error)) if !mover.counts => {
                tracing::error!(
                    "{name}: it stays in {from}, for it could not be copied to {to}: {error}. Look what the kernel says of \
                     the disk (dmesg)"
                );
            }
            Err(Stays::From(error)) => {
                self.fail(&replica.volume, &format!("{name}: it could not be copied to {to}"), &error);
            }
            Err(Stays::To(error)) if error.kind() == io::ErrorKind::StorageFull && !mover.counts => {
                tracing::warn!("{name}: it stays in {from}, for {to} is full");
            }
            Err(Stays::To(error)) => {
                self.fail(&moving.to, &format!("{name}: it could not be moved there"), &error);
            }
            Err(Stays::Refused(why)) => tracing::warn!("{name}: it stays in {from}: {why}"),
        }
        // Once the copy counts, nothing but a deletion of the topic takes it away: the next start gives it its name.
        let may_go = !mover.counts || replica.gone.get();
        if may_go
            && !moving.to.log_dir.has_failed()
            && let Err(error) = remove_future(&moving.to, &dir).await
        {
            tracing::warn!("{}: could not be removed: {error}", dir.display());
        }
    }
}

async fn remove_future(volume: &SharedVolume, dir: &Path) -> io::Result<()> {
    match volume.log_dir.disk.remove_dirs(dir).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => volume.log_dir.disk.sync_dir(&volume.log_dir.path).await,
    }
}

/// Moves one replica.
struct Mover<'a> {
    shard: &'a Rc<Shard>,
    replica: &'a Rc<Replica>,
    moving: &'a Moving,
    /// The folder that it is copied into.
    dir: PathBuf,
    /// What the files were when they were copied, see [`Replica::files`].
    version: Option<u32>,
    /// Whether the copy counts by the metadata.
    counts: bool,
    /// Whether others wait: then the rate of copying does not hold.
    hurries: bool,
}

/// A segment as far as it is to be copied.
struct Part {
    base: i64,
    size: u64,
    is_finished: bool,
}

impl Mover<'_> {
    async fn run(&mut self) -> Result<(), Stays> {
        self.prepare().await.map_err(Stays::To)?;
        let now_ms = self.shard.reactor.wall_clock_ms();
        // What is appended while the rest is copied goes into a segment of its own, which is soon copied again.
        self.online(|online| {
            if !online.dirty && online.partition.log.active().size() > 0 {
                online.partition.roll(now_ms);
            }
        })?;
        for pass in 1.. {
            let now = self.online(|online| parts(online))?;
            self.copy_all(&now).await?;
            let missing = self.online(|online| self.missing(&parts(online)))?;
            // Where the operator has it copied slowly, it may take as long as it takes.
            if missing < LITTLE || pass >= PASSES && !self.shard.move_rate.is_limited() {
                break;
            }
        }
        self.hurries = true;
        let _here = self.replica.volume.upkeep.acquire(1).await;
        let _there = self.moving.to.upkeep.acquire(1).await;
        self.claim().await?;
        let held = self.hold().await?;
        match self.finish(&held).await {
            Ok(()) => self.swap(*held).await,
            Err(why) => {
                self.let_go(held);
                Err(why)
            }
        }
    }

    async fn prepare(&self) -> io::Result<()> {
        let log_dir = &self.moving.to.log_dir;
        remove_future(&self.moving.to, &self.dir).await?;
        log_dir.disk.create_dirs(&self.dir).await?;
        let metadata = checkpoint::encode_partition_metadata(self.replica.id.topic);
        log_dir.disk.replace(&self.dir.join(METADATA), metadata).await?;
        log_dir.disk.sync_dir(&log_dir.path).await
    }

    fn online<T>(&self, f: impl FnOnce(&mut Online) -> T) -> Result<T, Stays> {
        self.still_wanted()?;
        self.replica.online(f).ok_or(Stays::Cancelled)
    }

    fn still_wanted(&self) -> Result<(), Stays> {
        let over = self.moving.cancelled.get()
            || self.replica.gone.get()
            || self.shard.is_stopping()
            || self.replica.log_dir().has_failed()
            || self.moving.to.log_dir.has_failed();
        if over { Err(Stays::Cancelled) } else { Ok(()) }
    }

    fn missing(&self, parts: &[Part]) -> u64 {
        let copied = self.moving.copied.borrow();
        let size = |base| copied.get(base).map_or(0, |copied| copied.size);
        parts.iter().map(|part| part.size.saturating_sub(size(&part.base))).sum()
    }

    /// Copies what is not yet, and takes away what is not there any more.
    async fn copy_all(&mut self, parts: &[Part]) -> Result<(), Stays> {
        let version = self.replica.files.version();
        if self.version.replace(version) != Some(version) {
            // Compaction has put other files in their place.
            self.prepare().await.map_err(Stays::To)?;
            self.moving.copied.borrow_mut().clear();
        }
        let gone: Vec<i64> = {
            let copied = self.moving.copied.borrow();
            copied.keys().filter(|base| !parts.iter().any(|part| part.base == **base)).copied().collect()
        };
        for base in gone {
            self.moving.copied.borrow_mut().remove(&base);
            for kind in Kind::ALL {
                let path = segment::file(&self.dir, base, kind);
                remove_if_there(&self.moving.to.log_dir, &path).await.map_err(Stays::To)?;
            }
        }
        for part in parts {
            match self.copy_segment(part).await {
                // Retention or compaction took it meanwhile: the next pass sees that.
                Err(Stays::From(error)) if error.kind() == io::ErrorKind::NotFound => {}
                copied => copied?,
            }
        }
        Ok(())
    }

    async fn copy_segment(&self, part: &Part) -> Result<(), Stays> {
        let done = self.moving.copied.borrow().get(&part.base).copied();
        let as_far = |done: Copied| done.size == part.size;
        if !done.is_some_and(as_far) {
            self.copy_log(part, done.unwrap_or_default().size).await?;
        }
        if part.is_finished && !done.is_some_and(|done| done.finished) {
            for kind in [Kind::Index, Kind::TimeIndex, Kind::TxnIndex] {
                self.copy_file(&segment::file(Path::new(""), part.base, kind)).await?;
            }
        }
        let copied = Copied { size: part.size, finished: part.is_finished };
        self.moving.copied.borrow_mut().insert(part.base, copied);
        Ok(())
    }

    async fn copy_log(&self, part: &Part, done: u64) -> Result<(), Stays> {
        let from = self.shard.segment_file(self.replica, part.base).await.map_err(Stays::From)?;
        let disk = &self.moving.to.log_dir.disk;
        let to = disk.open(&segment::file(&self.dir, part.base, Kind::Log), true).await.map_err(Stays::To)?;
        let mut position = done / BLOCK as u64 * BLOCK as u64;
        while position < part.size {
            self.still_wanted()?;
            let chunk = self.shard.reactor.pool().chunk(Share::Background, COPY).await;
            let mut chunk = from.read_at(chunk, position).await.map_err(Stays::From)?;
            if chunk.is_empty() {
                let what = format!("{} ends at {position}, before {}", self.replica.name(), part.size);
                return Err(Stays::From(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
            }
            let len = chunk.len() as u64;
            chunk.pad_to(BLOCK);
            to.write_at(chunk.freeze(), position).await.map_err(Stays::To)?;
            position += len;
            if !self.hurries {
                let wanted = || self.still_wanted().is_ok();
                self.shard.move_rate.handled(&self.shard.reactor, len, wanted).await;
            }
        }
        to.truncate(part.size).await.map_err(Stays::To)?;
        to.flush().await.map_err(Stays::To)
    }

    /// Copies a whole small file, if it is there.
    async fn copy_file(&self, name: &Path) -> Result<(), Stays> {
        let content = match self.replica.log_dir().disk.read(&self.replica.dir.join(name)).await {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Stays::From(error)),
        };
        self.moving.to.log_dir.disk.replace(&self.dir.join(name), content).await.map_err(Stays::To)
    }

    /// Waits until nobody else works on the replica's files, and lets nobody begin.
    async fn claim(&self) -> Result<(), Stays> {
        loop {
            let claimed = self.online(|online| {
                let free = !online.upkeep && !online.cleaning;
                online.upkeep |= free;
                free
            })?;
            if claimed {
                return Ok(());
            }
            self.shard.reactor.sleep(LOOK).await;
        }
    }

    /// Has the appends wait until all that came before them is durable, and takes the replica in hand.
    async fn hold(&self) -> Result<Box<Online>, Stays> {
        let held = self.online(|online| online.held = Some(online.take_verifying()));
        loop {
            let quiet = held.as_ref().map_err(|_| Stays::Cancelled).and_then(|()| {
                self.online(|online| {
                    let log = &online.partition.log;
                    let growing = online.files.values().any(|file| file.growth.is_under_way());
                    !online.dirty && !growing && log.stable_offset() == log.next_offset()
                })
            });
            match quiet {
                Ok(true) => break,
                Ok(false) => self.shard.reactor.sleep(LOOK).await,
                Err(why) => {
                    let held = self.replica.online(|online| {
                        online.upkeep = false;
                        online.held.take()
                    });
                    self.shard.produce_queued(held.flatten().unwrap_or_default());
                    return Err(why);
                }
            }
        }
        let queue = self.replica.online(|online| online.held.take()).flatten().unwrap_or_default();
        match self.replica.state.replace(State::Opening(queue)) {
            State::Online(online) => Ok(online),
            _ => unreachable!("it was online a moment ago"),
        }
    }

    /// The replica stays, and goes on.
    fn let_go(&self, mut online: Box<Online>) {
        online.upkeep = false;
        let queue = match &mut *self.replica.state.borrow_mut() {
            State::Opening(queue) => std::mem::take(queue),
            // It was taken out of service meanwhile.
            _ => return,
        };
        *self.replica.state.borrow_mut() = State::Online(online);
        self.shard.opened_one.ring();
        self.shard.produce_queued(queue);
    }

    /// Copies the rest, makes all of it durable, and has the controller say that the copy counts.
    async fn finish(&mut self, online: &Online) -> Result<(), Stays> {
        self.copy_all(&parts(online)).await?;
        let listed = self.replica.log_dir().disk.list(&self.replica.dir).await.map_err(Stays::From)?;
        let is_snapshot = |name: &str| matches!(segment::parse_name(name), Some((_, Kind::Snapshot)));
        for entry in listed.iter().filter(|entry| is_snapshot(&entry.name)) {
            self.copy_file(Path::new(&entry.name)).await?;
        }
        for name in [EPOCHS, LOG_STARTS, CLEANER] {
            self.copy_file(Path::new(name)).await?;
        }
        let there = &self.moving.to.log_dir;
        there.disk.sync_dir(&self.dir).await.map_err(Stays::To)?;
        there.disk.sync_dir(&there.path).await.map_err(Stays::To)?;
        let end = online.partition.log.next_offset();
        self.moving.to.marks.set_now(self.replica.id, end).await.map_err(Stays::To)?;
        self.still_wanted()?;
        let PartitionId { topic, partition } = self.replica.id;
        let assignment = Assignment { topic, partition, directory: there.id };
        match self.shard.ask_controller(Command::AssignDirectories(vec![assignment])).await {
            ShardReply::Command(CommandReply::Done) => {
                self.counts = true;
                Ok(())
            }
            ShardReply::Command(CommandReply::Refused(refusal)) => Err(Stays::Refused(refusal.message)),
            _ => unreachable!("a command is answered as one"),
        }
    }

    /// The folders change their names, and the replica is opened where it lies now. What comes between is done by the
    /// next start.
    async fn swap(&self, online: Online) -> Result<(), Stays> {
        let (here, there) = (self.replica.log_dir(), &self.moving.to.log_dir);
        let (name, topic) = (self.replica.name(), self.replica.id.topic);
        let old = here.path.join(segment::renamed_dir(&name, topic, "delete"));
        let mark = online.partition.log.next_offset();
        online.watches.iter().for_each(|watch| watch.answer());
        assert!(online.waiting.is_empty(), "all that was appended is durable");
        drop(online);
        if self.replica.gone.get() {
            return Err(Stays::Cancelled);
        }
        let renamed = async {
            here.disk.rename(&self.replica.dir, &old).await.map_err(Stays::From)?;
            here.disk.sync_dir(&here.path).await.map_err(Stays::From)?;
            let place = there.path.join(&name);
            there.disk.rename(&self.dir, &place).await.map_err(Stays::To)?;
            there.disk.sync_dir(&there.path).await.map_err(Stays::To)
        };
        if let Err(why) = renamed.await {
            self.shard.retire(
                self.replica,
                ErrorCode::KAFKA_STORAGE_ERROR,
                "its folder could not be renamed",
            );
            return Err(why);
        }
        let elsewhere = "it lies in another log directory now".to_owned();
        let elsewhere = State::Offline(ErrorCode::NOT_LEADER_OR_FOLLOWER, elsewhere);
        let queue = match self.replica.state.replace(elsewhere) {
            State::Opening(queue) => queue,
            // The disk that it lay on has failed meanwhile.
            _ => Vec::new(),
        };
        if self.replica.gone.get() {
            let removed = there.disk.remove_dirs(&there.path.join(&name)).await;
            return removed.map_err(Stays::To).and(Err(Stays::Cancelled));
        }
        self.replica.volume.marks.remove(self.replica.id);
        let mut spec = self.replica.spec.borrow().clone();
        spec.directory = there.id;
        let before = Before { mark: Some(mark), ..Before::default() };
        self.replica.gone.set(true);
        self.shard.open_with(spec, before, queue);
        if let Err(error) = here.disk.remove_dirs(&old).await {
            tracing::warn!("{}: could not be removed: {error}", old.display());
        }
        Ok(())
    }
}

/// The segments as far as they are durable.
fn parts(online: &Online) -> Vec<Part> {
    let part = |segment: &crate::log::Segment| Part {
        base: segment.base_offset,
        size: segment.stable_size(),
        is_finished: segment.is_finished(),
    };
    online.partition.log.segments().map(part).collect()
}
