//! What directory calls do when they end.

use std::io;
use std::path::{Path, PathBuf};

use super::content::BLOCK;
use super::control::IoKind;
use super::state::{DiskState, Finished, Operation, os};
use super::tree::InodeId;
use crate::reactor::sim::world::digest;
use crate::reactor::sync::Completer;
use crate::reactor::{DirEntry, DiskReport, Space};

/// A directory call.
pub(in crate::reactor::sim) enum Call {
    Examine(PathBuf),
    Lock(PathBuf),
    CreateDirs(PathBuf),
    List(PathBuf),
    SyncDir {
        path: PathBuf,
        covers: Option<(InodeId, u64)>,
    },
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDirs(PathBuf),
    Read(PathBuf),
    Replace(Replace),
    PutBeside(PathBuf, Vec<u8>),
    /// What it covers is fixed when it is called.
    SyncAll(Option<Everything>),
    Space(PathBuf),
    Open {
        path: PathBuf,
        create: bool,
    },
}

/// What a sync of the whole file system covers.
pub(in crate::reactor::sim) struct Everything {
    pub writes: u64,
    pub blocks: Vec<(InodeId, u32)>,
    pub changes: Vec<(InodeId, u64)>,
    pub names: u64,
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
    Space(Space),
    Opened(InodeId),
}

impl DiskState {
    pub(super) fn finish_call(
        &mut self,
        id: u64,
        call: Call,
        done: Completer<io::Result<Reply>>,
    ) -> Finished {
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

    pub(super) fn run_call(&mut self, call: Call) -> (&'static str, io::Result<Reply>) {
        match call {
            Call::Examine(path) => ("examine", self.tree.find(&path, false).map(|_| self.examine())),
            Call::Space(path) => {
                let number = self.tree.find(&path, false).unwrap_or(0);
                let place = (self.device, number);
                let space = Space { free: self.free(), total: self.options.capacity, place };
                ("free", Ok(Reply::Space(space)))
            }
            Call::Lock(path) => ("lock", self.lock(&path)),
            Call::List(path) => ("list", self.list(&path)),
            Call::PutBeside(path, content) => {
                ("put.beside", self.put_beside(&path, &content).map(|_| Reply::Done))
            }
            Call::SyncAll(covers) => {
                let covers = covers.expect("fixed when it was called");
                ("sync.all", self.sync_all(&covers).map(|()| Reply::Done))
            }
            Call::Read(path) => ("read.whole", self.read_whole(&path).map(Reply::Content)),
            call => {
                let (what, result) = self.change(call);
                (what, result.map(|opened| opened.map_or(Reply::Done, Reply::Opened)))
            }
        }
    }

    pub(super) fn change(&mut self, call: Call) -> (&'static str, io::Result<Option<InodeId>>) {
        // A file that is there opens on a file system that takes no changes too.
        let writable = match &call {
            Call::Open { path, .. } if self.tree.find(path, false).is_ok() => Ok(()),
            _ => self.writable(),
        };
        if let Call::Rename(from, to) = &call {
            self.note_rename(from, to);
        }
        let fault = writable.and(self.fault(IoKind::Metadata));
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
                let limit = match &fault {
                    Ok(()) => usize::MAX,
                    Err(_) if self.read_only => 0,
                    Err(_) => self.rng.index(4),
                };
                let removed = self.remove_dirs(&path, limit);
                ("remove.dirs", removed.and(fault).map(|()| None))
            }
            Call::SyncDir { path, covers } => {
                ("sync.dir", self.sync_dir(&path, covers, fault).map(|()| None))
            }
            _ => unreachable!("not a change"),
        }
    }

    pub(super) fn sync_dir(
        &mut self,
        path: &Path,
        covers: Option<(InodeId, u64)>,
        fault: io::Result<()>,
    ) -> io::Result<()> {
        let Some((directory, upto)) = covers else {
            return Err(self.tree.find(path, false).err().unwrap_or_else(|| os(libc::ENOENT)));
        };
        if let Err(error) = fault {
            self.device_fault();
            if self.tree.has_changes(directory, upto) {
                self.journal_fault();
            }
            return Err(error);
        }
        if !self.options.void_flushes {
            self.tree.sync_dir(directory, upto);
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = self.tree.rename(from, to)?;
        replaced.into_iter().for_each(|file| self.unlinked(file));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let file = self.tree.remove_file(path)?;
        self.unlinked(file);
        Ok(())
    }

    pub(super) fn remove_dirs(&mut self, path: &Path, limit: usize) -> io::Result<()> {
        let files = self.tree.remove_dirs(path, limit)?;
        files.into_iter().for_each(|file| self.unlinked(file));
        Ok(())
    }

    pub(super) fn unlinked(&mut self, file: InodeId) {
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

    pub(super) fn free(&self) -> u64 {
        self.options.capacity.saturating_sub(self.used * BLOCK)
    }

    pub(super) fn examine(&self) -> Reply {
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

    pub(super) fn lock(&mut self, path: &Path) -> io::Result<Reply> {
        let file = self.tree.open(path, !self.read_only)?;
        if self.locks.contains(&file) {
            let message = format!("{} is locked by another broker", path.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        self.locks.push(file);
        Ok(Reply::Done)
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Reply> {
        self.fault(IoKind::Metadata)?;
        let entries = self.tree.list(path)?;
        let entry = |(name, is_dir, len)| DirEntry { name, is_dir, len };
        Ok(Reply::Entries(entries.into_iter().map(entry).collect()))
    }

    pub(super) fn read_whole(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.fault(IoKind::Read)?;
        let content = self.tree.file(self.tree.find(path, false)?)?;
        if content.unreadable.iter().any(|bad| bad.start < content.size()) {
            return Err(os(libc::EIO));
        }
        let mut bytes = vec![0; content.size() as usize];
        content.read(0, &mut bytes, false);
        Ok(bytes)
    }

    fn put_beside(&mut self, path: &Path, content: &[u8]) -> io::Result<InodeId> {
        let beside = beside(path);
        self.writable()?;
        self.fault(IoKind::Write)?;
        // What an attempt that failed has left is not gone on with.
        if self.tree.find(&beside, false).is_ok() {
            self.remove(&beside)?;
        }
        let file = self.tree.open(&beside, true)?;
        self.put(file, 0, content, true)?;
        Ok(file)
    }

    /// All that a sync of the whole file system called now will cover.
    pub(super) fn everything(&mut self) -> Everything {
        let (mut blocks, mut changes) = (Vec::new(), Vec::new());
        for (file, content) in self.tree.files_mut() {
            blocks.extend(content.dirty().map(|block| (file, block)));
            changes.push((file, content.last_change()));
        }
        Everything { writes: self.finished_writes, blocks, changes, names: self.tree.last_change() }
    }

    fn sync_all(&mut self, covers: &Everything) -> io::Result<()> {
        self.writable()?;
        if let Err(error) = self.fault(IoKind::Flush) {
            for (owner, block) in &covers.blocks {
                if let Ok(content) = self.tree.file_mut(*owner) {
                    content.doom_data(*block, covers.writes);
                }
            }
            self.device_fault();
            self.journal_fault();
            return Err(error);
        }
        if self.options.void_flushes {
            return Ok(());
        }
        for (owner, block) in &covers.blocks {
            if let Ok(content) = self.tree.file_mut(*owner) {
                content.settle_data(*block, covers.writes, true);
            }
        }
        for (file, upto) in &covers.changes {
            if let Ok(content) = self.tree.file_mut(*file) {
                content.settle_changes(*upto);
            }
        }
        self.tree.settle_upto(covers.names);
        Ok(())
    }

    /// One step of a replacement; gives back the rest and its delay, if there is a rest.
    pub(super) fn step_replace(&mut self, mut replace: Replace) -> io::Result<Option<(Replace, u64)>> {
        let beside = beside(&replace.path);
        let delay = match replace.step {
            ReplaceStep::Write => {
                let file = self.put_beside(&replace.path, &std::mem::take(&mut replace.content))?;
                replace.step = ReplaceStep::Flush(file);
                self.options.flush.draw(&mut self.rng)
            }
            ReplaceStep::Flush(file) => {
                let scope = self.scope(file);
                self.flushes += 1;
                self.finish_flush(file, &scope)?;
                replace.step = ReplaceStep::Rename;
                self.options.metadata.draw(&mut self.rng)
            }
            ReplaceStep::Rename => {
                self.writable()?;
                self.fault(IoKind::Metadata)?;
                self.rename(&beside, &replace.path)?;
                replace.step = ReplaceStep::SyncDir;
                self.options.flush.draw(&mut self.rng)
            }
            ReplaceStep::SyncDir => {
                let fault = self.writable().and(self.fault(IoKind::Metadata));
                let directory = parent_of(&replace.path);
                let covers = self.tree.find(directory, false).ok().map(|dir| (dir, self.tree.last_change()));
                self.sync_dir(directory, covers, fault)?;
                return Ok(None);
            }
        };
        Ok(Some((replace, delay * u64::from(self.options.slowness))))
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Where the new content of a file stands until it is renamed over the old.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
