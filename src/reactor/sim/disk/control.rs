//! What a test does to a disk and sees of it, past the processes of the node.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::state::DiskState;
use crate::reactor::sim::options::DiskOptions;

/// A kind of operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes of files.
    Flush,
    /// Directory calls, allocations, truncations.
    Metadata,
}

/// Which state of a disk is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What processes see.
    Current,
    /// What is certain to survive a loss of power.
    Durable,
}

/// A bit that flipped by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The file it is in.
    pub path: PathBuf,
    /// The byte.
    pub position: u64,
    /// The bit, as a mask.
    pub mask: u8,
}

/// Faults and inspection of one node's disk.
#[derive(Clone)]
pub struct DiskControl {
    state: Rc<RefCell<DiskState>>,
}

impl DiskControl {
    pub(in crate::reactor::sim) fn new(state: Rc<RefCell<DiskState>>) -> DiskControl {
        DiskControl { state }
    }

    /// Changes what the disk is like from now on.
    pub fn change(&self, change: impl FnOnce(&mut DiskOptions)) {
        change(&mut self.state.borrow_mut().options);
    }

    /// Fails the `nth` operation of a kind to end from now on (1 is the next) with `EIO`.
    pub fn fail_nth(&self, kind: IoKind, nth: u64) {
        let mut state = self.state.borrow_mut();
        state.fail_at.push((kind, nth));
        state.troubled = true;
    }

    /// Fails the `nth` directory call, allocation or truncation from the next change of a name on that ends so, or did
    /// (1 is that change itself), with `EIO`.
    pub fn fail_from_rename(&self, end: &'static str, nth: u64) {
        let mut state = self.state.borrow_mut();
        state.fail_from.push((end, nth));
        state.troubled = true;
    }

    /// Fails everything with `EIO`, or no longer.
    pub fn set_broken(&self, broken: bool) {
        self.state.borrow_mut().broken = broken;
    }

    /// Whether a write is under way.
    pub fn is_writing(&self) -> bool {
        self.state.borrow_mut().tree.files_mut().any(|(_, content)| !content.in_flight.is_empty())
    }

    /// How many syncs of directories were begun so far.
    pub fn dir_syncs(&self) -> u64 {
        self.state.borrow().dir_syncs
    }

    /// Whether something that was asked to fail has not done so yet, or did and the disk was not mended since.
    pub fn has_trouble(&self) -> bool {
        let state = self.state.borrow();
        state.broken || state.troubled
    }

    /// Nothing fails any more of what was asked to.
    pub fn mend(&self) {
        let mut state = self.state.borrow_mut();
        state.broken = false;
        state.fail_at.clear();
        state.fail_from.clear();
        state.troubled = false;
    }

    /// Whether its journal could not be written, so that nothing can be changed until the machine starts anew.
    pub fn is_read_only(&self) -> bool {
        self.state.borrow().read_only
    }

    /// No operation ends before this point in the world's time.
    pub fn stall_until(&self, until: crate::reactor::Nanos) {
        self.state.borrow_mut().stalled_until = until.0;
    }

    /// Reads of these bytes of a file fail with `EIO`.
    pub fn make_unreadable(&self, path: &Path, range: Range<u64>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let file = state.tree.find(path, false)?;
        state.tree.file_mut(file)?.unreadable.push(range);
        Ok(())
    }

    /// All of a file can be read again.
    pub fn make_readable(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let file = state.tree.find(path, false)?;
        state.tree.file_mut(file)?.unreadable.clear();
        Ok(())
    }

    /// Flips the bits of `mask` in a byte of a file, as rot does; false where nothing was ever written.
    pub fn corrupt(&self, path: &Path, position: u64, mask: u8) -> io::Result<bool> {
        let mut state = self.state.borrow_mut();
        let file = state.tree.find(path, false)?;
        Ok(state.tree.file_mut(file)?.corrupt(position, mask))
    }

    /// Flips one bit of what is durable, somewhere; none if nothing is.
    pub fn corrupt_any(&self) -> Option<Flip> {
        self.state.borrow_mut().flip_any()
    }

    /// The bits that flipped by themselves so far.
    pub fn flips(&self) -> Vec<Flip> {
        self.state.borrow().flips.clone()
    }

    /// All files with their sizes, in the order of their paths.
    pub fn files(&self, view: View) -> Vec<(PathBuf, u64)> {
        let state = self.state.borrow();
        let durable = view == View::Durable;
        let size = |id| {
            let content = state.tree.file(id).expect("a path leads to a file");
            if durable { content.durable_size() } else { content.size() }
        };
        state.tree.paths(durable).into_iter().map(|(path, id)| (path, size(id))).collect()
    }

    /// What a file holds.
    pub fn content(&self, path: &Path, view: View) -> io::Result<Vec<u8>> {
        let state = self.state.borrow();
        let durable = view == View::Durable;
        let content = state.tree.file(state.tree.find(path, durable)?)?;
        let size = if durable { content.durable_size() } else { content.size() };
        let mut bytes = vec![0; size as usize];
        content.read(0, &mut bytes, durable);
        Ok(bytes)
    }
}
