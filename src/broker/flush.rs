//! Rounds: many appends, one flush.
//!
//! The writer takes all that was appended, of every partition of the core, writes it at once and waits until
//! every write has finished. Only then is the round handed to the flusher, which flushes once for all rounds
//! that are there, and moves the stable offsets. So a flush covers exactly the writes whose completion was seen
//! before it was submitted, and a partition has at most one write of each block under way.
//!
//! While the flusher is busy, the writer begins the next round only when there is enough to write: small
//! appends gather instead of being written one by one.
//!
//! A write or flush that fails ends the log directory: nothing of that round is acknowledged.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};

use super::log_dir::FlushSet;
use super::replica::{Online, Replica};
use super::shard::Shard;
use super::volume::{SharedVolume, Volume};
use crate::limits::{MARK_DELAY, ROUND_BYTES};
use crate::log::Target;
use crate::log::tail::Write;
use crate::reactor::sync::{Bell, Completion, either, join_all};

/// What is to be written and what was. Belongs to a log directory, which its partitions hold and which must not hold
/// them: what waits here when the node is gone would keep all of them.
pub struct Rounds {
    /// While a flush is under way, so many bytes are gathered before the next round is written.
    gather: Cell<usize>,
    dirty: RefCell<Vec<Weak<Replica>>>,
    dirty_bytes: Cell<usize>,
    /// Whether anything was appended since somebody asked.
    appended: Cell<bool>,
    /// Rung when there is something to write.
    work: Bell,
    writing: Cell<bool>,
    written: RefCell<Vec<Round>>,
    /// Rung when a round has been written.
    one_written: Bell,
    flushing: Cell<bool>,
    /// Rung when the flusher has nothing more to do.
    flushed: Bell,
}

/// How far a round goes, in each partition.
type Targets = Vec<(Weak<Replica>, Target)>;

/// A round whose writes have finished.
struct Round {
    targets: Targets,
    flush: FlushSet,
}

/// One write and where it goes.
struct Planned {
    replica: Rc<Replica>,
    segment: i64,
    write: Write,
}

impl Default for Rounds {
    fn default() -> Self {
        Rounds {
            gather: Cell::new(ROUND_BYTES),
            dirty: RefCell::default(),
            dirty_bytes: Cell::default(),
            appended: Cell::default(),
            work: Bell::default(),
            writing: Cell::default(),
            written: RefCell::default(),
            one_written: Bell::default(),
            flushing: Cell::default(),
            flushed: Bell::default(),
        }
    }
}

impl Rounds {
    /// Puts a partition on the list for the next round.
    pub fn want(&self, replica: &Rc<Replica>, online: &mut Online, bytes: usize) {
        self.dirty_bytes.set(self.dirty_bytes.get() + bytes);
        self.appended.set(true);
        if !online.dirty {
            online.dirty = true;
            self.dirty.borrow_mut().push(Rc::downgrade(replica));
        }
        self.work.ring();
    }

    /// Whether anything was appended since this was asked last.
    pub fn take_appended(&self) -> bool {
        self.appended.take()
    }

    /// Rung whenever there may be something to write.
    pub fn nudge(&self) {
        self.work.ring();
    }

    fn is_idle(&self) -> bool {
        self.dirty.borrow().is_empty() && !self.writing.get() && !self.flusher_is_busy()
    }

    fn flusher_is_busy(&self) -> bool {
        self.flushing.get() || !self.written.borrow().is_empty()
    }

    /// What each dirty partition has to write. A partition whose file is being grown just there waits for the
    /// next round.
    fn take_dirty(&self) -> (Vec<Planned>, Targets) {
        self.dirty_bytes.set(0);
        let (mut planned, mut targets, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for replica in self.dirty.take().iter().filter_map(Weak::upgrade) {
            let part = replica.online(|online| {
                if online.is_held_by_growth() {
                    held.push(Rc::downgrade(&replica));
                    return None;
                }
                online.dirty = false;
                online.partition.log.begin_round()
            });
            let Some(part) = part.flatten() else { continue };
            for (segment, write) in part.writes {
                planned.push(Planned { replica: replica.clone(), segment, write });
            }
            targets.push((Rc::downgrade(&replica), part.target));
        }
        self.dirty.borrow_mut().extend(held);
        (planned, targets)
    }
}

impl Planned {
    /// Begins the write. None if the partition has been retired meanwhile.
    fn submit(self, flush: &mut FlushSet) -> Option<Completion<io::Result<()>>> {
        let Planned { replica, segment, write } = self;
        let range = write.position..write.position + write.data.len() as u64;
        replica.online(|online| {
            let file = online.files.get(&segment).expect("the file was made before the write");
            let durability = file.growth.durability(&range).expect("no step grows where a write goes");
            flush.add(durability, (replica.id, segment), &file.file);
            file.file.write_at(write.data, write.position)
        })
    }
}

impl Volume {
    /// Resolves when all that was appended is flushed, or the log directory has failed.
    pub(super) async fn settled(&self) {
        loop {
            let flushed = self.rounds.flushed.notified();
            if self.rounds.is_idle() || self.log_dir.has_failed() {
                return;
            }
            flushed.await;
        }
    }
}

impl Shard {
    /// How many bytes are gathered while a flush is under way before the next round is written.
    pub fn gather(&self, bytes: usize) {
        self.volumes.iter().for_each(|volume| volume.rounds.gather.set(bytes));
    }

    /// Resolves when all that was appended is flushed, but for log directories that have failed.
    pub async fn settled(&self) {
        for volume in &self.volumes {
            volume.settled().await;
        }
    }

    /// The writer.
    pub(super) async fn write_rounds(self: Rc<Shard>, volume: SharedVolume) {
        let rounds = &volume.rounds;
        while !volume.log_dir.has_failed() {
            let (work, flushed) = (rounds.work.notified(), rounds.flushed.notified());
            if rounds.dirty.borrow().is_empty() {
                if !volume.marks.is_dirty() {
                    work.await;
                    continue;
                }
                // The marks of the last round lag until another goes; on a quiet core, one goes for them alone.
                let quiet = work.clone();
                either(work, self.reactor.sleep(MARK_DELAY)).await;
                if quiet.is_done() {
                    continue;
                }
            } else if rounds.flusher_is_busy() && rounds.dirty_bytes.get() < rounds.gather.get() {
                either(work, flushed).await;
                continue;
            }
            let again = rounds.work.notified();
            rounds.writing.set(true);
            let written = self.write_round(&volume).await;
            rounds.writing.set(false);
            match written {
                Ok(Some(round)) => {
                    rounds.written.borrow_mut().push(round);
                    rounds.one_written.ring();
                }
                // All that is dirty waits for its file to grow.
                Ok(None) => {
                    rounds.flushed.ring();
                    again.await;
                }
                Err(error) => {
                    self.fail(&volume, "a write failed", &error);
                    volume.marks.round_failed();
                }
            }
        }
        rounds.flushed.ring();
        rounds.one_written.ring();
    }

    /// Takes all that was appended and writes it; returns when every write has finished.
    async fn write_round(self: &Rc<Shard>, volume: &Volume) -> io::Result<Option<Round>> {
        let (planned, targets) = volume.rounds.take_dirty();
        if planned.is_empty() && !volume.marks.is_dirty() {
            return Ok(None);
        }
        self.make_files(&planned).await?;
        let mut flush = FlushSet::default();
        let mut writes = Vec::with_capacity(planned.len() + 1);
        for plan in planned {
            if let Some(write) = plan.submit(&mut flush) {
                writes.push(write);
            }
        }
        volume.marks.submit(&mut writes, &mut flush);
        for write in writes {
            write.await?;
        }
        volume.marks.round_written();
        Ok(Some(Round { targets, flush }))
    }

    /// Makes the files of segments that have just begun, and makes their names durable.
    async fn make_files(self: &Rc<Shard>, planned: &[Planned]) -> io::Result<()> {
        let missing = planned.iter().filter(|plan| {
            plan.replica.online(|online| !online.files.contains_key(&plan.segment)) == Some(true)
        });
        let made =
            missing.map(async |plan| match self.make_segment_file(&plan.replica, plan.segment).await {
                Err(error) if plan.replica.is_missed(&error) => Ok(()),
                made => made,
            });
        join_all(made.collect::<Vec<_>>()).await.into_iter().collect()
    }

    /// The flusher.
    pub(super) async fn flush_rounds(self: Rc<Shard>, volume: SharedVolume) {
        let rounds = &volume.rounds;
        while !volume.log_dir.has_failed() {
            let one_written = rounds.one_written.notified();
            let written = rounds.written.take();
            if written.is_empty() {
                one_written.await;
                continue;
            }
            rounds.flushing.set(true);
            let mut flush = FlushSet::default();
            let mut targets = Vec::new();
            for round in written {
                flush.merge(round.flush);
                targets.extend(round.targets);
            }
            match volume.log_dir.flush(flush.device, &flush.files()).await {
                Ok(()) => self.advance(targets),
                Err(error) => self.fail(&volume, "a flush failed", &error),
            }
            rounds.flushing.set(false);
            rounds.flushed.ring();
        }
        rounds.flushed.ring();
        rounds.work.ring();
    }

    /// Moves stable offsets and high watermarks, and answers who waited for them.
    fn advance(self: &Rc<Shard>, targets: Targets) {
        for (replica, target) in targets {
            // One that was deleted meanwhile has nobody who waits.
            let Some(replica) = replica.upgrade() else { continue };
            let moved = replica.online(|online| {
                let stable = online.partition.last_stable_offset();
                let was_held_back = stable < online.partition.high_watermark();
                let grown = online.partition.advance(target);
                // Behind the end of a transaction there may be any number of records that were held back.
                let is_let_go = was_held_back && online.partition.last_stable_offset() > stable;
                online.wake(if is_let_go { u64::MAX } else { grown })
            });
            let Some(acknowledged) = moved else { continue };
            replica.volume.marks.set(replica.id, target.offset);
            acknowledged.into_iter().for_each(|pending| pending.acknowledge());
            self.look_after_growth(&replica);
        }
        self.stable_moved.ring();
    }
}

impl Online {
    /// Takes out who waited for the high watermark that has been reached, and wakes the fetches.
    fn wake(&mut self, grown: u64) -> Vec<Rc<super::produce::Pending>> {
        let reached = self.partition.high_watermark();
        let count = self.waiting.partition_point(|(offset, ..)| *offset <= reached);
        let acknowledged = self.waiting.drain(..count).map(|(_, pending, _)| pending).collect();
        self.watches.retain(|watch| {
            watch.grew(usize::try_from(grown).unwrap_or(usize::MAX));
            !watch.is_answered()
        });
        acknowledged
    }

    /// Whether a file is being grown where the next writes go.
    fn is_held_by_growth(&self) -> bool {
        self.partition.log.dirty_ranges().any(|(segment, range)| {
            self.files.get(&segment).is_some_and(|file| file.growth.durability(&range).is_none())
        })
    }
}
