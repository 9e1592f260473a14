//! The stable ends on disk: one core's two files, written with the rounds.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::log_dir::FlushSet;
use super::messages::PartitionId;
use crate::collections::Map;
use crate::limits::BLOCK;
use crate::log::marks::{MarkWriter, Snapshot, read_file};
use crate::reactor::sync::{Bell, Completion, Semaphore};
use crate::reactor::{Disk, File, Reactor, Share};

const PREFIX: &str = "stable-ends-";
/// On a full disk, a new generation is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// What all cores' files said when the node started.
#[derive(Debug, Default)]
pub struct FoundMarks {
    /// Up to where each partition was durable.
    pub marks: Map<PartitionId, i64>,
    /// Whether there is none of the files: no Ottla has worked in the log directory since Kafka did.
    pub is_kafkas: bool,
    /// The highest generation of any file.
    generation: u64,
    /// The generation of each core's latest file.
    by_core: Map<usize, u64>,
}

impl FoundMarks {
    /// Reads the files of all cores, those of an earlier and larger number of cores too.
    pub async fn read(disk: &Disk, log_dir: &Path) -> io::Result<FoundMarks> {
        let mut found = FoundMarks { is_kafkas: true, ..FoundMarks::default() };
        let mut latest: Map<PartitionId, u64> = Map::default();
        for entry in disk.list(log_dir).await? {
            let Some(core) = parse_name(&entry.name) else { continue };
            found.is_kafkas = false;
            let Some(file) = read_file(&disk.read(&log_dir.join(&entry.name)).await?) else { continue };
            found.generation = found.generation.max(file.generation);
            let own = found.by_core.entry(core).or_default();
            *own = file.generation.max(*own);
            for (id, offset) in file.marks {
                if latest.get(&id).is_none_or(|generation| *generation < file.generation) {
                    latest.insert(id, file.generation);
                    found.marks.insert(id, offset);
                }
            }
        }
        Ok(found)
    }

    /// The generation that a core begins with: after all others, and not in the file that holds its latest.
    fn first_generation(&self, core: usize) -> u64 {
        let next = self.generation + 1;
        match self.by_core.get(&core) {
            Some(own) if own % 2 == next % 2 => next + 1,
            _ => next,
        }
    }
}

fn name(core: usize, generation: u64) -> String {
    format!("{PREFIX}{core}.{}", generation % 2)
}

fn parse_name(name: &str) -> Option<usize> {
    let (core, parity) = name.strip_prefix(PREFIX)?.split_once('.')?;
    ["0", "1"].contains(&parity).then(|| core.parse().ok())?
}

/// One core's stable ends.
pub struct MarkFiles {
    reactor: Reactor,
    log_dir: PathBuf,
    shared_flush: bool,
    writer: RefCell<MarkWriter>,
    file: RefCell<File>,
    /// Held by who begins the next generation.
    turn: Semaphore,
    /// Whether the next generation is being begun.
    busy: Cell<bool>,
    /// Rung when the file is full.
    full: Bell,
    /// Whether a round is writing to the file.
    in_round: Cell<bool>,
    /// Rung when it has, or could not.
    round_written: Bell,
    /// Whether a round could not be written: what is under way of it may still come to the disk at any time.
    failed: Cell<bool>,
}

impl MarkFiles {
    /// Begins a generation with the marks of the partitions that `mine` says are this core's.
    pub async fn begin(
        reactor: &Reactor,
        log_dir: &Path,
        shared_flush: bool,
        found: &FoundMarks,
        mine: impl Fn(PartitionId) -> bool,
    ) -> io::Result<MarkFiles> {
        let marks =
            found.marks.iter().filter(|(id, _)| mine(**id)).map(|(id, offset)| (*id, *offset)).collect();
        let (writer, snapshot) = MarkWriter::new(found.first_generation(reactor.core()), marks);
        let file = write_snapshot(reactor, log_dir, &snapshot).await?;
        Ok(MarkFiles {
            reactor: reactor.clone(),
            log_dir: log_dir.to_path_buf(),
            shared_flush,
            writer: RefCell::new(writer),
            file: RefCell::new(file),
            turn: Semaphore::new(1),
            busy: Cell::new(false),
            full: Bell::default(),
            in_round: Cell::new(false),
            round_written: Bell::default(),
            failed: Cell::new(false),
        })
    }

    /// Notes that a partition is durable below `offset`.
    pub fn set(&self, id: PartitionId, offset: i64) {
        self.writer.borrow_mut().set(id, offset);
    }

    /// Forgets a partition that was deleted.
    pub fn remove(&self, id: PartitionId) {
        self.writer.borrow_mut().remove(id);
    }

    /// Whether there is something to write, and a place to write it.
    pub fn is_dirty(&self) -> bool {
        !self.busy.get() && self.writer.borrow().is_dirty()
    }

    /// Writes what has changed along with a round.
    pub fn submit(&self, writes: &mut Vec<Completion<io::Result<()>>>, flush: &mut FlushSet) {
        if !self.is_dirty() {
            return;
        }
        let mut writer = self.writer.borrow_mut();
        if writer.is_full() {
            self.full.ring();
            return;
        }
        let blocks = writer.changed_blocks();
        // Without memory for it the marks lag by a round more, which they may.
        let Some(mut chunk) = self.reactor.pool().try_chunk(Share::Background, blocks * BLOCK) else {
            return;
        };
        let (position, blocks) = writer.take_blocks();
        blocks.iter().for_each(|block| chunk.append(block));
        writes.push(self.file.borrow().write_at(chunk.freeze(), position));
        self.in_round.set(true);
        // The file was written whole and flushed when its generation began. Where flushes are not shared, the
        // marks are left to be flushed by the system: they may lag.
        if self.shared_flush {
            flush.device = true;
        }
    }

    /// The writes of the round have finished, those to the file of marks too.
    pub fn round_written(&self) {
        self.in_round.set(false);
        self.round_written.ring();
    }

    /// A write of the round has failed, and with it the log directory: there is no generation after this one.
    pub fn round_failed(&self) {
        self.failed.set(true);
        self.round_written.ring();
    }

    /// Begins a new generation each time the file is full.
    pub async fn turn_over(&self) -> io::Result<()> {
        loop {
            let full = self.full.notified();
            if !self.writer.borrow().is_full() {
                full.await;
                continue;
            }
            match self.begin_generation().await {
                // The marks may lag until there is room again.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    self.reactor.sleep(AGAIN).await;
                }
                begun => begun?,
            }
        }
    }

    /// Sets the mark of a partition, durably: of one whose loss was accepted it must not lead when the log goes on below
    /// it, and other than a mark that rises, it may not come later; that of one which has moved here tells of all of it.
    pub async fn set_now(&self, id: PartitionId, offset: i64) -> io::Result<()> {
        self.set(id, offset);
        self.begin_generation().await
    }

    /// Leaves all marks on disk, exact, when nothing is appended any more.
    pub async fn finish(&self) -> io::Result<()> {
        self.begin_generation().await
    }

    /// Writes all marks as they are to the other of the two files, durably.
    async fn begin_generation(&self) -> io::Result<()> {
        let _turn = self.turn.acquire(1).await;
        self.busy.set(true);
        // The file after the next is this one again: no write of a round may still be under way in it then.
        loop {
            let round_written = self.round_written.notified();
            if self.failed.get() {
                self.busy.set(false);
                return Err(io::Error::other("a write to the log directory has failed before"));
            }
            if !self.in_round.get() {
                break;
            }
            round_written.await;
        }
        let snapshot = self.writer.borrow_mut().next_generation();
        let written = write_snapshot(&self.reactor, &self.log_dir, &snapshot).await;
        self.busy.set(false);
        match written {
            Ok(file) => drop(self.file.replace(file)),
            Err(error) => {
                self.writer.borrow_mut().give_generation_up();
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Writes a whole file, durably: the snapshot, and zeros behind it so that later blocks overwrite in place.
async fn write_snapshot(reactor: &Reactor, log_dir: &Path, snapshot: &Snapshot) -> io::Result<File> {
    let disk = reactor.disk();
    let file = disk.open(&log_dir.join(name(reactor.core(), snapshot.generation)), true).await?;
    // The old content goes first: a block of two generations ago must not be taken for one of this.
    file.truncate(0).await?;
    file.flush().await?;
    const STEP: usize = 64;
    let total = snapshot.file_blocks as usize;
    for first in (0..total).step_by(STEP) {
        let count = STEP.min(total - first);
        let mut chunk = reactor.pool().chunk(Share::Background, count * BLOCK).await;
        for block in first..first + count {
            match snapshot.blocks.get(block) {
                Some(bytes) => chunk.append(bytes),
                None => chunk.append(&[0; BLOCK]),
            }
        }
        file.write_at(chunk.freeze(), (first * BLOCK) as u64).await?;
    }
    file.flush().await?;
    disk.sync_dir(log_dir).await?;
    Ok(file)
}
