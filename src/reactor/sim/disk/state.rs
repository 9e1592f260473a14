//! A node's disk: its tree, what is in flight, and what may go wrong.
//!
//! An operation is taken in when it is called, and has its effect when it ends, a seeded delay later; those in
//! flight at once end in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::content::{BLOCK, Content, Manner};
use super::control::{Flip, IoKind};
use super::crash::Mood;
use super::tree::{InodeId, Tree};
use crate::reactor::sim::options::DiskOptions;
use crate::reactor::sim::rng::Rng;
use crate::reactor::sim::world::{CrashKind, digest};
use crate::reactor::sync::Completer;
use crate::reactor::{Chunk, ChunkSlice, DirEntry, DiskReport};

/// A directory call.
pub(in crate::reactor::sim) enum Call {
    Examine(PathBuf),
    Lock(PathBuf),
    CreateDirs(PathBuf),
    List(PathBuf),
    SyncDir { path: PathBuf, covers: Option<(InodeId, u64)> },
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDirs(PathBuf),
    Read(PathBuf),
    Replace(Replace),
    FreeSpace,
    Open { path: PathBuf, create: bool },
}

/// Where the replacing of a whole file stands. Each step takes its own time, and a crash may come between.
pub(in crate::reactor::sim) struct Replace {
    pub path: PathBuf,
    pub content: Vec<u8>,
    pub step: ReplaceStep,
}

#[derive(Clone, Copy)]
pub(in crate::reactor::sim) enum ReplaceStep {
    Write,
    Flush(InodeId),
    Rename,
    SyncDir,
}

/// What a directory call gives.
pub(in crate::reactor::sim) enum Reply {
    Done,
    Report(DiskReport),
    Entries(Vec<DirEntry>),
    Content(Vec<u8>),
    Free(u64),
    Opened(InodeId),
}

/// What a flush covers: fixed when it is called.
pub(in crate::reactor::sim) struct Scope {
    writes: u64,
    changes: u64,
    blocks: Vec<(InodeId, u32)>,
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
    device: u64,
    pub(super) rng: Rng,
    pub(super) options: DiskOptions,
    pub(super) tree: Tree,
    /// Blocks that files hold.
    used: u64,
    operations: BTreeMap<u64, Operation>,
    last_operation: u64,
    finished_writes: u64,
    pub(super) stalled_until: u64,
    pub(super) fail_at: Vec<(IoKind, u64)>,
    pub(super) broken: bool,
    pub(super) flips: Vec<Flip>,
    locks: Vec<InodeId>,
    /// Files that may have data which no flush covered.
    dirty: BTreeSet<InodeId>,
}

pub(super) fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// What `finish` did: a line for the trace, and for a call of several steps the delay of the next.
pub(in crate::reactor::sim) struct Finished {
    pub what: &'static str,
    pub numbers: [u64; 3],
    pub again: Option<u64>,
}

impl Finished {
    fn new<T>(what: &'static str, file: InodeId, number: u64, result: &io::Result<T>) -> Finished {
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
            broken: false,
            flips: Vec::new(),
            locks: Vec::new(),
            dirty: BTreeSet::new(),
        }
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
            Operation::Flush { .. } => self.options.flush.draw(&mut self.rng),
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
        (id, delay * u64::from(self.options.slowness))
    }

    fn transfer_delay(&mut self, bytes: usize) -> u64 {
        let draw = self.options.transfer.draw(&mut self.rng);
        draw + bytes as u64 * 1_000_000_000 / self.options.bytes_per_second.max(1)
    }

    fn begin_write(&mut self, id: u64, file: InodeId, position: u64, len: u64) {
        let range = position..position + len;
        self.forbid_overlap(file, range.clone(), "a write");
        if let Ok(content) = self.tree.file_mut(file) {
            content.in_flight.push((id, range.start, range.end));
        }
    }

    fn forbid_overlap(&self, file: InodeId, range: Range<u64>, what: &str) {
        let Ok(content) = self.tree.file(file) else { return };
        let other = content.in_flight.iter().find(|(_, start, end)| range.start < *end && *start < range.end);
        if let (Some((_, start, end)), true) = (other, self.options.forbid_overlaps) {
            let path = self.path_of(file);
            panic!(
                "{what} at {}..{} of {path} overlaps a write at {start}..{end} that is still in flight: which \
                 of them wins is open, and sectors of both may mix",
                range.start, range.end
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
                    let settled = content.dirty().filter(|block| content.is_settled(*block));
                    blocks.extend(settled.map(|block| (*other, block)));
                }
                content.dirty().next().is_some()
            });
        }
        Scope { writes: self.finished_writes, changes, blocks }
    }

    /// Whether an operation of this kind fails, by the seed or because a test said so.
    fn fault(&mut self, kind: IoKind) -> io::Result<()> {
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
                let mut finished = Finished::new("write", file, position, &result);
                finished.numbers[1] ^= u64::from(sum) << 32;
                drop(data);
                done.complete(result);
                finished
            }
            Operation::Read { file, position, mut into, done } => {
                let result = self.finish_read(file, position, &mut into).map(|()| into);
                let seen = result.as_ref().map_or(0, |chunk| digest(chunk));
                let finished = Finished::new("read", file, position ^ seen, &result);
                done.complete(result);
                finished
            }
            Operation::Flush { file, scope, done } => {
                let result = self.finish_flush(file, &scope);
                let finished = Finished::new("flush", file, scope.blocks.len() as u64, &result);
                done.complete(result);
                finished
            }
            Operation::Allocate { file, range, done } => {
                let result = self.finish_allocate(file, range.clone());
                let finished = Finished::new("allocate", file, range.end, &result);
                done.complete(result);
                finished
            }
            Operation::Truncate { file, len, done } => {
                let result = self.finish_truncate(file, len);
                let finished = Finished::new("truncate", file, len, &result);
                done.complete(result);
                finished
            }
            Operation::Size { file, done } => {
                let result = self.tree.file(file).map(Content::size);
                let finished = Finished::new("size", file, *result.as_ref().unwrap_or(&0), &result);
                done.complete(result);
                finished
            }
            Operation::Call { call, done } => self.finish_call(id, call, done),
        })
    }

    fn finish_write(
        &mut self,
        id: u64,
        file: InodeId,
        position: u64,
        data: &[u8],
        sum: u32,
    ) -> io::Result<()> {
        if self.options.forbid_changed_buffers && crc32c::crc32c(data) != sum {
            let path = self.path_of(file);
            panic!("the memory of a write at {position} of {path} changed while it was in flight");
        }
        let fault = self.fault(IoKind::Write);
        let content = self.tree.file_mut(file)?;
        content.in_flight.retain(|(operation, ..)| *operation != id);
        // A write that fails has done any part of its work.
        let mut len = data.len() as u64;
        if fault.is_err() {
            len = self.rng.below(len / BLOCK + 1) * BLOCK;
        }
        self.put(file, position, &data[..len as usize], false)?;
        fault
    }

    /// Writes what there is room for.
    fn put(&mut self, file: InodeId, position: u64, data: &[u8], buffered: bool) -> io::Result<()> {
        let through = !self.options.write_cache && !buffered;
        let room = (self.options.capacity / BLOCK).saturating_sub(self.used);
        let content = self.tree.file_mut(file)?;
        let mut len = data.len() as u64;
        let full = content.holes(position..position + len) > room;
        while content.holes(position..position + len) > room {
            len = (len - 1) / BLOCK * BLOCK;
        }
        self.finished_writes += 1;
        self.dirty.insert(file);
        let before = content.mapped();
        if len > 0 {
            let manner = Manner { sequence: self.finished_writes, buffered, through };
            content.write(position, &data[..len as usize], &manner);
        }
        self.used += content.mapped() - before;
        if full { Err(os(libc::ENOSPC)) } else { Ok(()) }
    }

    fn finish_read(&mut self, file: InodeId, position: u64, into: &mut Chunk) -> io::Result<()> {
        self.fault(IoKind::Read)?;
        let content = self.tree.file(file)?;
        let len = content.size().saturating_sub(position).min(into.room() as u64);
        let range = position..position + len;
        if content.unreadable.iter().any(|bad| bad.start < range.end && range.start < bad.end) {
            return Err(os(libc::EIO));
        }
        let buffer = &mut into.spare()[..len as usize];
        content.read(position, buffer, false);
        // A read beside a write sees any mixture of old and new sectors.
        for (operation, start, end) in &content.in_flight {
            if *start >= range.end || range.start >= *end {
                continue;
            }
            let Some(Operation::Write { data, .. }) = self.operations.get(operation) else { continue };
            let mixed = (start / SECTOR..end / SECTOR).filter(|_| self.rng.coin());
            for sector in mixed.map(|sector| sector * SECTOR).filter(|at| range.contains(at)) {
                let to = (sector - range.start) as usize;
                let part = SECTOR.min(range.end - sector) as usize;
                let from = (sector - start) as usize;
                buffer[to..to + part].copy_from_slice(&data[from..from + part]);
            }
        }
        into.advance(len as usize);
        Ok(())
    }

    fn finish_flush(&mut self, file: InodeId, scope: &Scope) -> io::Result<()> {
        if let Err(error) = self.fault(IoKind::Flush) {
            for (owner, block) in &scope.blocks {
                if let Ok(content) = self.tree.file_mut(*owner) {
                    content.doom_data(*block, scope.writes);
                }
            }
            if let Ok(content) = self.tree.file_mut(file) {
                content.doom_changes(scope.changes);
            }
            return Err(error);
        }
        if self.options.void_flushes {
            return Ok(());
        }
        for (owner, block) in &scope.blocks {
            if let Ok(content) = self.tree.file_mut(*owner) {
                content.settle_data(*block, scope.writes, *owner == file);
            }
        }
        self.tree.file_mut(file)?.settle_changes(scope.changes);
        Ok(())
    }

    fn finish_allocate(&mut self, file: InodeId, range: Range<u64>) -> io::Result<()> {
        self.fault(IoKind::Metadata)?;
        let room = (self.options.capacity / BLOCK).saturating_sub(self.used);
        self.finished_writes += 1;
        let content = self.tree.file_mut(file)?;
        if content.holes(range.clone()) > room {
            return Err(os(libc::ENOSPC));
        }
        let before = content.mapped();
        content.reserve(range, self.finished_writes);
        self.used += content.mapped() - before;
        Ok(())
    }

    fn finish_truncate(&mut self, file: InodeId, len: u64) -> io::Result<()> {
        self.fault(IoKind::Metadata)?;
        self.finished_writes += 1;
        let content = self.tree.file_mut(file)?;
        let before = content.mapped();
        if len < content.size() {
            content.cut(len, self.finished_writes);
        } else {
            content.grow(len, self.finished_writes);
        }
        self.used -= before - content.mapped();
        Ok(())
    }

    fn finish_call(&mut self, id: u64, call: Call, done: Completer<io::Result<Reply>>) -> Finished {
        let (what, result) = match call {
            Call::Replace(replace) => match self.step_replace(replace) {
                Ok(Some((replace, delay))) => {
                    let call = Call::Replace(replace);
                    self.operations.insert(id, Operation::Call { call, done });
                    return Finished { what: "replace.step", numbers: [id, 0, 0], again: Some(delay) };
                }
                Ok(None) => ("replace", Ok(Reply::Done)),
                Err(error) => ("replace", Err(error)),
            },
            call => self.run_call(call),
        };
        let number = match &result {
            Ok(Reply::Opened(inode)) => {
                if let (false, Ok(content)) = (done.is_abandoned(), self.tree.file_mut(*inode)) {
                    content.opens += 1;
                }
                *inode
            }
            Ok(Reply::Content(content)) => digest(content),
            Ok(Reply::Entries(entries)) => entries.len() as u64,
            _ => 0,
        };
        let finished = Finished::new(what, id, number, &result);
        done.complete(result);
        finished
    }

    fn run_call(&mut self, call: Call) -> (&'static str, io::Result<Reply>) {
        match call {
            Call::Examine(path) => ("examine", self.tree.find(&path, false).map(|_| self.examine())),
            Call::FreeSpace => ("free", Ok(Reply::Free(self.free()))),
            Call::Lock(path) => ("lock", self.lock(&path)),
            Call::List(path) => ("list", self.list(&path)),
            Call::Read(path) => ("read.whole", self.read_whole(&path).map(Reply::Content)),
            call => {
                let (what, result) = self.change(call);
                (what, result.map(|opened| opened.map_or(Reply::Done, Reply::Opened)))
            }
        }
    }

    fn change(&mut self, call: Call) -> (&'static str, io::Result<Option<InodeId>>) {
        let fault = self.fault(IoKind::Metadata);
        match call {
            Call::CreateDirs(path) => {
                ("mkdir", fault.and_then(|()| self.tree.make_dirs(&path)).map(|()| None))
            }
            Call::Open { path, create } => {
                ("open", fault.and_then(|()| self.tree.open(&path, create)).map(Some))
            }
            Call::Rename(from, to) => ("rename", fault.and_then(|()| self.rename(&from, &to)).map(|()| None)),
            Call::RemoveFile(path) => ("remove", fault.and_then(|()| self.remove(&path)).map(|()| None)),
            Call::RemoveDirs(path) => {
                // One that fails has done any part of its work.
                let limit = if fault.is_err() { self.rng.index(4) } else { usize::MAX };
                let removed = self.remove_dirs(&path, limit);
                ("remove.dirs", removed.and(fault).map(|()| None))
            }
            Call::SyncDir { path, covers } => {
                ("sync.dir", self.sync_dir(&path, covers, fault).map(|()| None))
            }
            _ => unreachable!("not a change"),
        }
    }

    fn sync_dir(
        &mut self,
        path: &Path,
        covers: Option<(InodeId, u64)>,
        fault: io::Result<()>,
    ) -> io::Result<()> {
        let Some((directory, upto)) = covers else {
            return Err(self.tree.find(path, false).err().unwrap_or_else(|| os(libc::ENOENT)));
        };
        if let Err(error) = fault {
            self.tree.doom_dir(directory, upto);
            return Err(error);
        }
        if !self.options.void_flushes {
            self.tree.sync_dir(directory, upto);
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = self.tree.rename(from, to)?;
        replaced.into_iter().for_each(|file| self.unlinked(file));
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let file = self.tree.remove_file(path)?;
        self.unlinked(file);
        Ok(())
    }

    fn remove_dirs(&mut self, path: &Path, limit: usize) -> io::Result<()> {
        let files = self.tree.remove_dirs(path, limit)?;
        files.into_iter().for_each(|file| self.unlinked(file));
        Ok(())
    }

    fn unlinked(&mut self, file: InodeId) {
        if let Ok(content) = self.tree.file_mut(file) {
            content.linked = false;
            if content.opens == 0 {
                self.used -= content.mapped();
            }
        }
    }

    /// A handle of a file was closed.
    pub fn close(&mut self, file: InodeId) {
        if let Ok(content) = self.tree.file_mut(file) {
            content.opens = content.opens.saturating_sub(1);
            if content.opens == 0 && !content.linked {
                self.used -= content.mapped();
            }
        }
    }

    fn free(&self) -> u64 {
        self.options.capacity.saturating_sub(self.used * BLOCK)
    }

    fn examine(&self) -> Reply {
        let one_flush = self.options.one_flush;
        Reply::Report(DiskReport {
            file_system: "simulated".to_owned(),
            device: self.device,
            one_flush,
            reason: if one_flush { "the simulated device flushes whole" } else { "set so" }.to_owned(),
            alignment: BLOCK as usize,
            direct: true,
            free: self.free(),
            no_barrier: self.options.void_flushes,
            write_cache: Some(self.options.write_cache),
        })
    }

    fn lock(&mut self, path: &Path) -> io::Result<Reply> {
        let file = self.tree.open(path, true)?;
        if self.locks.contains(&file) {
            return Err(os(libc::EWOULDBLOCK));
        }
        self.locks.push(file);
        Ok(Reply::Done)
    }

    fn list(&mut self, path: &Path) -> io::Result<Reply> {
        self.fault(IoKind::Metadata)?;
        let entries = self.tree.list(path)?;
        let entry = |(name, is_dir, len)| DirEntry { name, is_dir, len };
        Ok(Reply::Entries(entries.into_iter().map(entry).collect()))
    }

    fn read_whole(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.fault(IoKind::Read)?;
        let content = self.tree.file(self.tree.find(path, false)?)?;
        if content.unreadable.iter().any(|bad| bad.start < content.size()) {
            return Err(os(libc::EIO));
        }
        let mut bytes = vec![0; content.size() as usize];
        content.read(0, &mut bytes, false);
        Ok(bytes)
    }

    /// One step of a replacement; gives back the rest and its delay, if there is a rest.
    fn step_replace(&mut self, mut replace: Replace) -> io::Result<Option<(Replace, u64)>> {
        let beside = beside(&replace.path);
        let delay = match replace.step {
            ReplaceStep::Write => {
                self.fault(IoKind::Write)?;
                let file = self.tree.open(&beside, true)?;
                self.finish_truncate(file, 0)?;
                self.put(file, 0, &std::mem::take(&mut replace.content), true)?;
                replace.step = ReplaceStep::Flush(file);
                self.options.flush.draw(&mut self.rng)
            }
            ReplaceStep::Flush(file) => {
                let scope = self.scope(file);
                self.finish_flush(file, &scope)?;
                replace.step = ReplaceStep::Rename;
                self.options.metadata.draw(&mut self.rng)
            }
            ReplaceStep::Rename => {
                self.fault(IoKind::Metadata)?;
                self.rename(&beside, &replace.path)?;
                replace.step = ReplaceStep::SyncDir;
                self.options.flush.draw(&mut self.rng)
            }
            ReplaceStep::SyncDir => {
                let fault = self.fault(IoKind::Metadata);
                let directory = parent_of(&replace.path);
                let covers = self.tree.find(directory, false).ok().map(|dir| (dir, self.tree.last_change()));
                self.sync_dir(directory, covers, fault)?;
                return Ok(None);
            }
        };
        Ok(Some((replace, delay * u64::from(self.options.slowness))))
    }

    /// Drops what is in flight without an effect.
    pub fn forget_operations(&mut self) {
        self.operations.clear();
    }

    /// The process ended by itself.
    pub fn end_process(&mut self) {
        self.crash(CrashKind::Process);
    }

    /// The process or the machine goes down. Gives lines for the trace.
    pub fn crash(&mut self, kind: CrashKind) -> Vec<String> {
        self.locks.clear();
        self.stalled_until = 0;
        let mut operations: Vec<_> = std::mem::take(&mut self.operations).into_iter().collect();
        self.rng.shuffle(&mut operations);
        let options = self.options.clone();
        self.options.forbid_changed_buffers = false;
        for (id, operation) in operations {
            self.interrupt(id, operation, kind);
        }
        self.options = options;
        let mut lines = Vec::new();
        if kind == CrashKind::Power {
            lines.push(self.power_loss());
        }
        self.used = 0;
        for (_, content) in self.tree.files_mut() {
            content.in_flight.clear();
            content.opens = 0;
            content.linked = false;
        }
        for (_, file) in self.tree.paths(false) {
            if let Ok(content) = self.tree.file_mut(file) {
                content.linked = true;
                self.used += content.mapped();
            }
        }
        if kind == CrashKind::Power && self.rng.chance(self.options.flip_at_power_loss) {
            lines.extend(self.flip_any());
        }
        lines
    }

    /// An operation that was in flight had any part of its effect.
    fn interrupt(&mut self, id: u64, operation: Operation, kind: CrashKind) {
        let ends = self.rng.coin();
        match operation {
            Operation::Write { file, position, data, .. } if !ends => match kind {
                CrashKind::Process => {
                    let len = self.rng.index(data.len() / BLOCK as usize + 1) * BLOCK as usize;
                    let _ = self.put(file, position, &data[..len], false);
                }
                CrashKind::Power => {
                    self.finished_writes += 1;
                    let sequence = self.finished_writes;
                    if let Ok(content) = self.tree.file_mut(file) {
                        content.write_in_flight(position, &data, sequence);
                    }
                }
            },
            Operation::Call { call: Call::RemoveDirs(path), .. } if !ends => {
                let limit = self.rng.index(8);
                let _ = self.remove_dirs(&path, limit);
            }
            operation if ends => {
                self.operations.insert(id, operation);
                self.finish(id);
                self.operations.clear();
            }
            _ => {}
        }
    }

    fn power_loss(&mut self) -> String {
        let mut mood = Mood::new(&mut self.rng);
        for (_, content) in self.tree.files_mut().filter(|(_, content)| content.is_unsettled()) {
            content.power_loss(&mut mood);
        }
        self.tree.power_loss(&mut mood);
        mood.name()
    }

    fn flip_any(&mut self) -> Option<String> {
        let paths = self.tree.paths(false);
        if paths.is_empty() {
            return None;
        }
        let (path, file) = self.rng.pick(&paths).clone();
        let blocks = self.tree.file(file).ok()?.durable_blocks();
        if blocks.is_empty() {
            return None;
        }
        let position = self.rng.pick(&blocks) * BLOCK + self.rng.below(BLOCK);
        let mask = 1 << self.rng.below(8);
        self.tree.file_mut(file).ok()?.corrupt(position, mask);
        let line = format!("flipped {mask:#04x} at {position} of {}", path.display());
        self.flips.push(Flip { path, position, mask });
        Some(line)
    }
}

const SECTOR: u64 = super::content::SECTOR as u64;

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Where the new content of a file stands until it is renamed over the old.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
