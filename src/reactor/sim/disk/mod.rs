//! The simulated disk of a node, which outlives the node's processes. It punishes what a real one punishes
//! once in a year.
//!
//! - A write has its effect when it ends, a seeded delay after it was called; what is in flight at once ends
//!   in any order. Two writes to one block in flight, or memory that changes under a write, stop the world.
//! - What was written waits in the device's volatile cache. A flush makes durable what had *ended when the flush
//!   was called*: the file's own writes, its size and extents. Where the device flushes whole, also the writes
//!   of other files, but only into blocks whose extents and size were durable already.
//! - Names are durable when their directory is synced.
//! - A loss of power keeps, loses or tears at sectors each write that no flush covered; of a file's changes of
//!   size and extents it keeps some first part; of the changes of names any, but those of one name in order.
//!   What is written where the extent was lost reads as zeros; what an unflushed truncation cut off may return.
//! - A flush that fails, of a file or a directory, leaves the data that it should have covered for good to chance,
//!   though the next one succeeds. Changes of size, extents or names that it should have covered wait for the next one, or else the
//!   journal is gone, and with it every change until the machine starts anew.
//!
//! [`content`] holds a file, [`tree`] the names, [`mood`] the chance of a loss of power.

mod calls;
mod content;
pub(super) mod control;
mod crash;
mod effects;
mod mood;
pub(super) mod state;
mod tree;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use calls::{Call, Replace, ReplaceStep, Reply};
use content::BLOCK;
use state::{DiskState, Operation, failed, os};
use tree::InodeId;

use super::events::Event;
use super::handle::Handle;
use super::world::{Inner, Mount, NodeId};
use crate::reactor::sync::{Completion, completion};
use crate::reactor::{Chunk, ChunkSlice, DirEntry, DiskReport, Space};

/// The disks of a node as one process of it sees them.
#[derive(Clone)]
pub struct Disk {
    world: Handle,
    node: NodeId,
    incarnation: u64,
    disks: Rc<[Mount]>,
}

/// One of these disks.
#[derive(Clone)]
struct Device {
    world: Handle,
    node: NodeId,
    incarnation: u64,
    /// Its place among the node's disks.
    index: usize,
    state: Rc<RefCell<DiskState>>,
}

/// An open file of a simulated disk.
pub struct File {
    disk: Device,
    inode: InodeId,
}

/// The place of the disk that holds a path.
pub(super) fn holds(disks: &[Mount], path: &Path) -> usize {
    disks.iter().rposition(|(below, _)| path.starts_with(below)).unwrap_or(0)
}

/// An operation's time has come.
pub(super) fn finish(inner: &Inner, node: NodeId, disk: usize, operation: u64) {
    let disks = inner.disks(node);
    let mut state = disks[disk].1.borrow_mut();
    let now = inner.now.get();
    if state.stalled_until > now {
        // All come out together when the stall ends, in any order.
        inner.at(state.stalled_until - now, Event::Disk { node, disk, operation });
        return;
    }
    let Some(finished) = state.finish(operation) else { return };
    if let Some(delay) = finished.again {
        inner.at(delay, Event::Disk { node, disk, operation });
    }
    inner.note(node, finished.what, finished.numbers);
}

impl Disk {
    pub(super) fn new(world: Handle, node: NodeId, incarnation: u64, disks: Vec<Mount>) -> Disk {
        Disk { world, node, incarnation, disks: disks.into() }
    }

    /// The disk that holds a path.
    fn at(&self, path: &Path) -> Device {
        let index = holds(&self.disks, path);
        let (world, state) = (self.world.clone(), self.disks[index].1.clone());
        Device { world, node: self.node, incarnation: self.incarnation, index, state }
    }

    async fn call(&self, what: &'static str, path: &Path, call: Call) -> io::Result<Reply> {
        self.at(path).call(what, path, call).await
    }

    /// What the disk is like.
    pub async fn examine(&self, dir: &Path) -> io::Result<DiskReport> {
        match self.call("examination", dir, Call::Examine(dir.to_owned())).await? {
            Reply::Report(report) => Ok(report),
            _ => unreachable!("an examination gives a report"),
        }
    }

    /// Takes a lock until the process ends; an error if it is taken.
    pub async fn lock(&self, path: &Path) -> io::Result<()> {
        self.call("locking", path, Call::Lock(path.to_owned())).await.map(drop)
    }

    /// Creates a directory and those above it.
    pub async fn create_dirs(&self, path: &Path) -> io::Result<()> {
        self.call("creation", path, Call::CreateDirs(path.to_owned())).await.map(drop)
    }

    /// What a directory holds, sorted by name.
    pub async fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        match self.call("listing", path, Call::List(path.to_owned())).await? {
            Reply::Entries(entries) => Ok(entries),
            _ => unreachable!("a listing gives entries"),
        }
    }

    /// Makes a directory's entries durable.
    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("fsync", path, Call::SyncDir { path: path.to_owned(), covers: None }).await.map(drop)
    }

    /// Renames over what may be there.
    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let device = self.at(from);
        if device.index != holds(&self.disks, to) {
            return Err(failed("renaming", &from.display().to_string(), os(libc::EXDEV)));
        }
        if device.is_alive() {
            self.world.inner.note_text(self.node, "renaming to", &to.display().to_string());
        }
        self.call("renaming", from, Call::Rename(from.to_owned(), to.to_owned())).await.map(drop)
    }

    /// Removes a file's name.
    pub async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call("removal", path, Call::RemoveFile(path.to_owned())).await.map(drop)
    }

    /// Removes a directory and all it holds.
    pub async fn remove_dirs(&self, path: &Path) -> io::Result<()> {
        self.call("removal", path, Call::RemoveDirs(path.to_owned())).await.map(drop)
    }

    /// A whole small file.
    pub async fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.call("reading", path, Call::Read(path.to_owned())).await? {
            Reply::Content(content) => Ok(content),
            _ => unreachable!("reading gives content"),
        }
    }

    /// Replaces a whole small file durably.
    pub async fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        let replace = Replace { path: path.to_owned(), content, step: ReplaceStep::Write };
        self.call("replacement", path, Call::Replace(replace)).await.map(drop)
    }

    /// Writes whole small files beside others.
    pub async fn put_beside(&self, files: Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
        for (path, content) in files {
            self.call("replacement", &path.clone(), Call::PutBeside(path, content)).await?;
        }
        Ok(())
    }

    /// Puts them in place.
    pub async fn put_in_place(&self, paths: Vec<PathBuf>) -> io::Result<()> {
        for path in paths {
            self.rename(&calls::beside(&path), &path).await?;
        }
        Ok(())
    }

    /// Makes all durable that was done.
    pub async fn sync_all(&self, dir: &Path) -> io::Result<()> {
        self.call("syncfs", dir, Call::SyncAll(None)).await.map(drop)
    }

    /// Free bytes, and all.
    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        match self.call("statfs", path, Call::Space(path.to_owned())).await? {
            Reply::Space(space) => Ok(space),
            _ => unreachable!("statfs gives bytes"),
        }
    }

    /// Opens a file.
    pub async fn open(&self, path: &Path, create: bool) -> io::Result<Rc<File>> {
        match self.call("opening", path, Call::Open { path: path.to_owned(), create }).await? {
            Reply::Opened(inode) => Ok(Rc::new(File { disk: self.at(path), inode })),
            _ => unreachable!("opening gives an inode"),
        }
    }
}

impl Device {
    fn is_alive(&self) -> bool {
        self.world.inner.is_incarnation(self.node, self.incarnation)
    }

    /// Begins an operation, unless the process is gone.
    fn submit(&self, operation: Operation) {
        if !self.is_alive() {
            return;
        }
        let inner = &self.world.inner;
        let (id, delay) = self.state.borrow_mut().submit(operation, inner.now.get());
        inner.at(delay, Event::Disk { node: self.node, disk: self.index, operation: id });
    }

    async fn call(&self, what: &'static str, path: &Path, call: Call) -> io::Result<Reply> {
        if self.is_alive() {
            self.world.inner.note_text(self.node, what, &path.display().to_string());
        }
        let (done, result) = completion();
        self.submit(Operation::Call { call, done });
        result.await.map_err(|error| failed(what, &path.display().to_string(), error))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.disk.is_alive() {
            self.disk.state.borrow_mut().close(self.inode);
        }
    }
}

impl File {
    /// Writes the slice at a position; both are aligned.
    pub fn write_at(&self, data: ChunkSlice, position: u64) -> Completion<io::Result<()>> {
        if data.is_empty() {
            return Completion::ready(Ok(()));
        }
        let unaligned = !(data.as_ptr() as u64 | data.len() as u64 | position).is_multiple_of(BLOCK);
        if unaligned {
            return Completion::ready(Err(os(libc::EINVAL)));
        }
        let (done, result) = completion();
        let sum = crc32c::crc32c(&data);
        self.disk.submit(Operation::Write { file: self.inode, position, data, sum, done });
        result
    }

    /// Appends what the file holds to an empty chunk.
    pub fn read_at(&self, into: Chunk, position: u64) -> Completion<io::Result<Chunk>> {
        if !position.is_multiple_of(BLOCK) || !into.is_empty() {
            return Completion::ready(Err(os(libc::EINVAL)));
        }
        let (done, result) = completion();
        self.disk.submit(Operation::Read { file: self.inode, position, into, done });
        result
    }

    /// Makes durable what was finished when this was called.
    pub fn flush(&self) -> Completion<io::Result<()>> {
        let (done, result) = completion();
        let scope = self.disk.state.borrow_mut().scope(self.inode);
        self.disk.submit(Operation::Flush { file: self.inode, scope, done });
        result
    }

    /// Maps unwritten blocks.
    pub fn allocate(&self, from: u64, len: u64) -> Completion<io::Result<()>> {
        let (done, result) = completion();
        self.disk.submit(Operation::Allocate { file: self.inode, range: from..from + len, done });
        result
    }

    /// Cuts or grows the file.
    pub fn truncate(&self, len: u64) -> Completion<io::Result<()>> {
        let (done, result) = completion();
        self.disk.submit(Operation::Truncate { file: self.inode, len, done });
        result
    }

    /// The file's size.
    pub fn size(&self) -> Completion<io::Result<u64>> {
        let (done, result) = completion();
        self.disk.submit(Operation::Size { file: self.inode, done });
        result
    }
}
