//! A node's disk: its tree, what is in flight, and what may go wrong.
//!
//! An operation is taken in when it is called, and has its effect when it ends, a seeded delay later; those in
//! flight at once end in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;

use super::calls::{Call, Reply};
use super::content::{Content, InFlight};
use super::control::{Flip, IoKind};
use super::tree::{InodeId, Tree};
use crate::reactor::sim::options::DiskOptions;
use crate::reactor::sim::rng::Rng;
use crate::reactor::sim::world::digest;
use crate::reactor::sync::Completer;
use crate::reactor::{Chunk, ChunkSlice};

/// What a flush covers: fixed when it is called.
pub(in crate::reactor::sim) struct Scope {
    pub(super) writes: u64,
    pub(super) changes: u64,
    pub(super) blocks: Vec<(InodeId, u32)>,
}

/// An operation in flight.
pub(in crate::reactor::sim) enum Operation {
    Write { file: InodeId, position: u64, data: ChunkSlice, sum: u32, done: Completer<io::Result<()>> },
    Read { file: InodeId, position: u64, into: Chunk, done: Completer<io::Result<Chunk>> },
    Flush { file: InodeId, scope: Scope, done: Completer<io::Result<()>> },
    Allocate { file: InodeId, range: Range<u64>, done: Completer<io::Result<()>> },
    Truncate { file: InodeId, len: u64, done: Completer<io::Result<()>> },
    Size { file: InodeId, done: Completer<io::Result<u64>> },
    Call { call: Call, done: Completer<io::Result<Reply>> },
}

pub(in crate::reactor::sim) struct DiskState {
    pub(super) device: u64,
    pub(super) rng: Rng,
    pub(super) options: DiskOptions,
    pub(super) tree: Tree,
    /// Blocks that files hold.
    pub(super) used: u64,
    pub(super) operations: BTreeMap<u64, Operation>,
    pub(super) last_operation: u64,
    pub(super) finished_writes: u64,
    pub(super) stalled_until: u64,
    pub(super) fail_at: Vec<(IoKind, u64)>,
    /// What begins to count at the next change of a name that ends so.
    pub(super) fail_from: Vec<(&'static str, u64)>,
    /// Something was asked to fail since the disk was last mended.
    pub(super) troubled: bool,
    pub(super) broken: bool,
    /// The journal could not be written: nothing is changed any more until the machine starts anew.
    pub(super) read_only: bool,
    pub(super) flips: Vec<Flip>,
    pub(super) locks: Vec<InodeId>,
    /// Flushes in flight.
    pub(super) flushes: u32,
    /// Syncs of directories that were begun.
    pub(super) dir_syncs: u64,
    /// Files that may have data which no flush covered.
    pub(super) dirty: BTreeSet<InodeId>,
}

pub(super) fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// The error as the real side gives it: its kind, and in words what failed where.
pub(super) fn failed(what: &str, path: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} of {path} failed: {error}"))
}

/// What `finish` did: a line for the trace, and for a call of several steps the delay of the next.
pub(in crate::reactor::sim) struct Finished {
    pub what: &'static str,
    pub numbers: [u64; 3],
    pub again: Option<u64>,
}

impl Finished {
    pub(super) fn new<T>(what: &'static str, file: InodeId, number: u64, result: &io::Result<T>) -> Finished {
        let error = result.as_ref().err().and_then(io::Error::raw_os_error).unwrap_or(0) as u64;
        Finished { what, numbers: [file, number, error], again: None }
    }
}

impl DiskState {
    pub fn new(device: u64, mut rng: Rng, options: DiskOptions) -> DiskState {
        DiskState {
            device,
            rng: rng.fork(1),
            options,
            tree: Tree::new(),
            used: 0,
            operations: BTreeMap::new(),
            last_operation: 0,
            finished_writes: 0,
            stalled_until: 0,
            fail_at: Vec::new(),
            fail_from: Vec::new(),
            troubled: false,
            broken: false,
            read_only: false,
            flips: Vec::new(),
            locks: Vec::new(),
            flushes: 0,
            dir_syncs: 0,
            dirty: BTreeSet::new(),
        }
    }

    /// The path that leads to the disk is there whatever becomes of the disk.
    pub fn mount_at(&mut self, path: &Path) {
        self.tree.make_dirs(path).expect("an empty disk has room for it");
        self.tree.settle_all();
    }

    /// Takes an operation in; gives its number and how long it takes.
    pub fn submit(&mut self, mut operation: Operation, now: u64) -> (u64, u64) {
        self.last_operation += 1;
        let id = self.last_operation;
        let delay = match &mut operation {
            Operation::Write { file, position, data, .. } => {
                self.begin_write(id, *file, *position, data.len() as u64);
                self.transfer_delay(data.len())
            }
            Operation::Read { into, .. } => self.transfer_delay(into.room()),
            Operation::Flush { .. } => {
                self.flushes += 1;
                self.options.flush.draw(&mut self.rng)
            }
            Operation::Truncate { file, len, .. } => {
                self.forbid_overlap(*file, *len..u64::MAX, "a truncation");
                self.options.metadata.draw(&mut self.rng)
            }
            Operation::Call { call, .. } => self.begin_call(call),
            Operation::Allocate { .. } | Operation::Size { .. } => self.options.metadata.draw(&mut self.rng),
        };
        self.operations.insert(id, operation);
        if self.rng.chance(self.options.stall) {
            let max = self.options.stall_max.as_nanos() as u64;
            self.stalled_until = self.stalled_until.max(now + self.rng.below(max + 1));
        }
        let mut delay = delay * u64::from(self.options.slowness);
        if self.rng.chance(self.options.stall_one) {
            delay += self.rng.below(self.options.stall_max.as_nanos() as u64 + 1);
        }
        (id, delay)
    }

    fn transfer_delay(&mut self, bytes: usize) -> u64 {
        let draw = self.options.transfer.draw(&mut self.rng);
        draw + bytes as u64 * 1_000_000_000 / self.options.bytes_per_second.max(1)
    }

    fn begin_write(&mut self, id: u64, file: InodeId, position: u64, len: u64) {
        let range = position..position + len;
        self.forbid_overlap(file, range.clone(), "a write");
        if let Ok(content) = self.tree.file_mut(file) {
            content.in_flight.push(InFlight { operation: id, range, mixes: Vec::new() });
        }
    }

    fn forbid_overlap(&self, file: InodeId, range: Range<u64>, what: &str) {
        let Ok(content) = self.tree.file(file) else { return };
        let other = content.in_flight.iter().find(|write| write.common(&range).is_some());
        if let (Some(other), true) = (other, self.options.forbid_overlaps) {
            let path = self.path_of(file);
            panic!(
                "{what} at {range:?} of {path} overlaps a write at {:?} that is still in flight: which of them \
                 wins is open, and sectors of both may mix",
                other.range
            );
        }
    }

    pub(super) fn path_of(&self, file: InodeId) -> String {
        let paths = self.tree.paths(false);
        let path = paths.iter().find(|(_, id)| *id == file);
        path.map_or_else(|| format!("a removed file ({file})"), |(path, _)| path.display().to_string())
    }

    fn begin_call(&mut self, call: &mut Call) -> u64 {
        if let Call::SyncDir { path, covers } = call {
            *covers = self.tree.find(path, false).ok().map(|dir| (dir, self.tree.last_change()));
            self.dir_syncs += 1;
            return self.options.flush.draw(&mut self.rng);
        }
        if let Call::SyncAll(covers) = call {
            *covers = Some(self.everything());
            return self.options.flush.draw(&mut self.rng);
        }
        let draw = self.options.metadata.draw(&mut self.rng);
        if let Call::Read(_) = call { draw + self.options.transfer.draw(&mut self.rng) } else { draw }
    }

    /// What a flush of `file` called now will cover.
    pub fn scope(&mut self, file: InodeId) -> Scope {
        let mut blocks = Vec::new();
        let mut changes = 0;
        if let Ok(content) = self.tree.file(file) {
            changes = content.last_change();
            blocks.extend(content.dirty().map(|block| (file, block)));
        }
        if self.options.one_flush {
            self.dirty.retain(|other| {
                let Ok(content) = self.tree.file(*other) else { return false };
                if *other != file {
                    blocks.extend(content.dirty_in_place().map(|block| (*other, block)));
                }
                content.dirty().next().is_some()
            });
        }
        Scope { writes: self.finished_writes, changes, blocks }
    }

    /// Whether anything may be changed.
    pub(super) fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(os(libc::EROFS)) } else { Ok(()) }
    }

    /// The device could not be flushed: what had been written in place may be gone from its cache.
    pub(super) fn device_fault(&mut self) {
        if self.options.one_flush {
            let writes = self.finished_writes;
            for (_, content) in self.tree.files_mut() {
                let blocks: Vec<u32> = content.dirty_in_place().collect();
                blocks.into_iter().for_each(|block| content.doom_data(block, writes));
            }
        }
    }

    /// The journal was to be written, and that failed: perhaps it is gone, and the file system with it.
    pub(super) fn journal_fault(&mut self) {
        self.read_only |= self.rng.coin();
    }

    /// A name is about to be changed: perhaps a fault waits for it.
    pub(super) fn note_rename(&mut self, from: &Path, to: &Path) {
        let ends = |path: &Path, end: &str| path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes());
        let waits = |(end, _): &mut (&'static str, u64)| ends(from, end) || ends(to, end);
        let begun: Vec<_> = self.fail_from.extract_if(.., waits).collect();
        self.fail_at.extend(begun.into_iter().map(|(_, nth)| (IoKind::Metadata, nth)));
    }

    /// Whether an operation of this kind fails, by the seed or because a test said so.
    pub(super) fn fault(&mut self, kind: IoKind) -> io::Result<()> {
        let mut fails = self.broken;
        for (wanted, left) in &mut self.fail_at {
            if *wanted == kind && *left > 0 {
                *left -= 1;
                fails |= *left == 0;
            }
        }
        self.fail_at.retain(|(_, left)| *left > 0);
        let chance = match kind {
            IoKind::Read => self.options.read_error,
            IoKind::Write => self.options.write_error,
            IoKind::Flush => self.options.flush_error,
            IoKind::Metadata => self.options.metadata_error,
        };
        if fails || self.rng.chance(chance) { Err(os(libc::EIO)) } else { Ok(()) }
    }

    /// Ends an operation; none if there is no such operation any more.
    pub fn finish(&mut self, id: u64) -> Option<Finished> {
        Some(match self.operations.remove(&id)? {
            Operation::Write { file, position, data, sum, done } => {
                let result = self.finish_write(id, file, position, &data, sum);
                drop(data);
                self.conclude(done, "write", (file, position ^ u64::from(sum) << 32), result)
            }
            Operation::Read { file, position, mut into, done } => {
                let result = self.finish_read(file, position, &mut into).map(|()| into);
                let seen = result.as_ref().map_or(0, |chunk| digest(chunk));
                self.conclude(done, "read", (file, position ^ seen), result)
            }
            Operation::Flush { file, scope, done } => {
                let result = self.finish_flush(file, &scope);
                self.conclude(done, "flush", (file, scope.blocks.len() as u64), result)
            }
            Operation::Allocate { file, range, done } => {
                let result = self.finish_allocate(file, range.clone());
                self.conclude(done, "allocate", (file, range.end), result)
            }
            Operation::Truncate { file, len, done } => {
                let result = self.finish_truncate(file, len);
                self.conclude(done, "truncate", (file, len), result)
            }
            Operation::Size { file, done } => {
                let result = self.tree.file(file).map(Content::size);
                let size = *result.as_ref().unwrap_or(&0);
                self.conclude(done, "size", (file, size), result)
            }
            Operation::Call { call, done } => self.finish_call(id, call, done),
        })
    }

    /// Hands a result over, with the file's name if it is an error.
    fn conclude<T>(
        &self,
        done: Completer<io::Result<T>>,
        what: &'static str,
        (file, number): (InodeId, u64),
        result: io::Result<T>,
    ) -> Finished {
        let finished = Finished::new(what, file, number, &result);
        done.complete(result.map_err(|error| failed(what, &self.path_of(file), error)));
        finished
    }

    /// Drops what is in flight without an effect.
    pub fn forget_operations(&mut self) {
        self.operations.clear();
    }
}
