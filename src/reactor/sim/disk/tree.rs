//! Names: directories and what they hold, now and after a loss of power.
//!
//! Every change of entries waits until the directories it touches are synced. A loss of power keeps or loses
//! each waiting change for itself, except that changes of one name keep their order, and that a rename happens
//! whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::content::Content;
use super::mood::Mood;

pub(in crate::reactor::sim) type InodeId = u64;
const ROOT: InodeId = 1;

#[derive(Default)]
struct Directory {
    now: BTreeMap<String, InodeId>,
    durable: BTreeMap<String, InodeId>,
}

enum Inode {
    Directory(Directory),
    File(Box<Content>),
}

/// A change of entries that is not durable.
struct Change {
    number: u64,
    entries: Vec<(InodeId, String, Option<InodeId>)>,
    unsynced: BTreeSet<InodeId>,
}

pub(super) struct Tree {
    inodes: BTreeMap<InodeId, Inode>,
    last: InodeId,
    changes: Vec<Change>,
    last_change: u64,
    removed: u32,
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or_else(|| os(libc::EINVAL))?),
            Component::ParentDir | Component::Prefix(_) => return Err(os(libc::EINVAL)),
        }
    }
    Ok(names)
}

impl Tree {
    pub fn new() -> Tree {
        let inodes = BTreeMap::from([(ROOT, Inode::Directory(Directory::default()))]);
        Tree { inodes, last: ROOT, changes: Vec::new(), last_change: 0, removed: 0 }
    }

    fn directory(&self, id: InodeId) -> io::Result<&Directory> {
        match self.inodes.get(&id) {
            Some(Inode::Directory(directory)) => Ok(directory),
            Some(Inode::File(_)) => Err(os(libc::ENOTDIR)),
            None => Err(os(libc::ENOENT)),
        }
    }

    fn is_directory(&self, id: InodeId) -> bool {
        matches!(self.inodes.get(&id), Some(Inode::Directory(_)))
    }

    pub fn file(&self, id: InodeId) -> io::Result<&Content> {
        match self.inodes.get(&id) {
            Some(Inode::File(content)) => Ok(content),
            Some(Inode::Directory(_)) => Err(os(libc::EISDIR)),
            None => Err(os(libc::ENOENT)),
        }
    }

    pub fn file_mut(&mut self, id: InodeId) -> io::Result<&mut Content> {
        match self.inodes.get_mut(&id) {
            Some(Inode::File(content)) => Ok(content),
            Some(Inode::Directory(_)) => Err(os(libc::EISDIR)),
            None => Err(os(libc::ENOENT)),
        }
    }

    pub fn files_mut(&mut self) -> impl Iterator<Item = (InodeId, &mut Content)> {
        self.inodes.iter_mut().filter_map(|(id, inode)| match inode {
            Inode::File(content) => Some((*id, &mut **content)),
            Inode::Directory(_) => None,
        })
    }

    /// What stands at a path, in the current or in the durable tree.
    pub fn find(&self, path: &Path, durable: bool) -> io::Result<InodeId> {
        let mut at = ROOT;
        for name in names(path)? {
            let directory = self.directory(at)?;
            let entries = if durable { &directory.durable } else { &directory.now };
            at = *entries.get(name).ok_or_else(|| os(libc::ENOENT))?;
        }
        Ok(at)
    }

    fn parent<'a>(&self, path: &'a Path) -> io::Result<(InodeId, &'a str)> {
        let names = names(path)?;
        let name = *names.last().ok_or_else(|| os(libc::EBUSY))?;
        let mut at = ROOT;
        for step in &names[..names.len() - 1] {
            at = *self.directory(at)?.now.get(*step).ok_or_else(|| os(libc::ENOENT))?;
        }
        self.directory(at)?;
        Ok((at, name))
    }

    fn entry(&self, directory: InodeId, name: &str) -> Option<InodeId> {
        self.directory(directory).ok()?.now.get(name).copied()
    }

    fn change(&mut self, entries: Vec<(InodeId, String, Option<InodeId>)>) {
        for (directory, name, target) in &entries {
            let Some(Inode::Directory(directory)) = self.inodes.get_mut(directory) else { continue };
            match target {
                Some(inode) => directory.now.insert(name.clone(), *inode),
                None => directory.now.remove(name),
            };
        }
        self.last_change += 1;
        let unsynced = entries.iter().map(|(directory, ..)| *directory).collect();
        self.changes.push(Change { number: self.last_change, entries, unsynced });
    }

    fn make(&mut self, parent: InodeId, name: &str, inode: Inode) -> InodeId {
        self.last += 1;
        self.inodes.insert(self.last, inode);
        self.change(vec![(parent, name.to_owned(), Some(self.last))]);
        self.last
    }

    /// Makes a directory and those above it.
    pub fn make_dirs(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in names(path)? {
            at = match self.directory(at)?.now.get(name) {
                Some(next) => *next,
                None => self.make(at, name, Inode::Directory(Directory::default())),
            };
        }
        self.directory(at).map(|_| ())
    }

    /// The file at a path; made if it is missing and `create` says so.
    pub fn open(&mut self, path: &Path, create: bool) -> io::Result<InodeId> {
        let (parent, name) = self.parent(path)?;
        match self.entry(parent, name) {
            Some(id) => self.file(id).map(|_| id),
            None if create => {
                let content = Content::new();
                Ok(self.make(parent, name, Inode::File(Box::new(content))))
            }
            None => Err(os(libc::ENOENT)),
        }
    }

    /// Renames over what may be there; gives back the file that lost its name by that.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<Option<InodeId>> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let moved = self.entry(from_dir, from_name).ok_or_else(|| os(libc::ENOENT))?;
        let replaced = self.entry(to_dir, to_name).filter(|id| *id != moved);
        if let Some(replaced) = replaced {
            match (self.is_directory(moved), self.directory(replaced)) {
                (true, Ok(directory)) if !directory.now.is_empty() => return Err(os(libc::ENOTEMPTY)),
                (true, Err(_)) => return Err(os(libc::ENOTDIR)),
                (false, Ok(_)) => return Err(os(libc::EISDIR)),
                _ => {}
            }
        }
        if from_dir == to_dir && from_name == to_name {
            return Ok(None);
        }
        self.change(vec![(from_dir, from_name.to_owned(), None), (to_dir, to_name.to_owned(), Some(moved))]);
        self.removed += u32::from(replaced.is_some());
        Ok(replaced)
    }

    /// Removes a file's name; gives back the file.
    pub fn remove_file(&mut self, path: &Path) -> io::Result<InodeId> {
        let (parent, name) = self.parent(path)?;
        let id = self.entry(parent, name).ok_or_else(|| os(libc::ENOENT))?;
        self.file(id)?;
        self.change(vec![(parent, name.to_owned(), None)]);
        self.removed += 1;
        Ok(id)
    }

    /// Removes what a directory holds and at last the directory itself, each as a change of its own, but stops
    /// after `limit` changes. Gives back the files that lost their names.
    pub fn remove_dirs(&mut self, path: &Path, limit: usize) -> io::Result<Vec<InodeId>> {
        let (parent, name) = self.parent(path)?;
        let id = self.entry(parent, name).ok_or_else(|| os(libc::ENOENT))?;
        self.directory(id)?;
        let mut order = Vec::new();
        self.gather(id, &mut order);
        order.push((parent, name.to_owned()));
        let mut files = Vec::new();
        for (directory, name) in order.into_iter().take(limit) {
            files.extend(self.entry(directory, &name).filter(|id| !self.is_directory(*id)));
            self.change(vec![(directory, name, None)]);
            self.removed += 1;
        }
        Ok(files)
    }

    fn gather(&self, directory: InodeId, order: &mut Vec<(InodeId, String)>) {
        let Ok(entries) = self.directory(directory) else { return };
        for (name, id) in &entries.now {
            self.gather(*id, order);
            order.push((directory, name.clone()));
        }
    }

    /// Entries of a directory: name, whether it is a directory, size.
    pub fn list(&self, path: &Path) -> io::Result<Vec<(String, bool, u64)>> {
        let directory = self.directory(self.find(path, false)?)?;
        let entry = |(name, id): (&String, &InodeId)| match self.inodes.get(id) {
            Some(Inode::File(content)) => (name.clone(), false, content.size()),
            _ => (name.clone(), true, 0),
        };
        Ok(directory.now.iter().map(entry).collect())
    }

    /// The number of the newest change of entries.
    pub fn last_change(&self) -> u64 {
        self.last_change
    }

    /// A directory's sync, begun after change number `upto`, has ended.
    pub fn sync_dir(&mut self, directory: InodeId, upto: u64) {
        let mut settled = vec![false; self.changes.len()];
        for (index, change) in self.changes.iter_mut().enumerate() {
            if change.number <= upto && change.unsynced.remove(&directory) {
                settled[index] = change.unsynced.is_empty();
            }
        }
        // What a durable change rests on is durable too.
        let mut touched = BTreeSet::new();
        for index in (0..self.changes.len()).rev() {
            let entries = &self.changes[index].entries;
            let below = entries.iter().any(|(dir, name, _)| touched.contains(&(*dir, name.clone())));
            if settled[index] || below {
                settled[index] = true;
                touched.extend(entries.iter().map(|(dir, name, _)| (*dir, name.clone())));
            }
        }
        let mut settled = settled.into_iter();
        let changes = std::mem::take(&mut self.changes);
        for change in changes {
            if settled.next() == Some(true) {
                self.settle(change);
            } else {
                self.changes.push(change);
            }
        }
        if self.removed > 64 {
            self.forget_unreachable();
        }
    }

    /// Whether a sync of a directory, begun after change number `upto`, has something to make durable.
    pub fn has_changes(&self, directory: InodeId, upto: u64) -> bool {
        self.changes.iter().any(|change| change.number <= upto && change.unsynced.contains(&directory))
    }

    /// Makes all changes of names durable.
    pub fn settle_all(&mut self) {
        std::mem::take(&mut self.changes).into_iter().for_each(|change| self.settle(change));
    }

    /// Makes the changes of names up to this number durable.
    pub fn settle_upto(&mut self, upto: u64) {
        let (settled, left) =
            std::mem::take(&mut self.changes).into_iter().partition(|change| change.number <= upto);
        self.changes = left;
        let settled: Vec<Change> = settled;
        settled.into_iter().for_each(|change| self.settle(change));
    }

    fn settle(&mut self, change: Change) {
        for (directory, name, target) in change.entries {
            let Some(Inode::Directory(directory)) = self.inodes.get_mut(&directory) else { continue };
            match target {
                Some(inode) => directory.durable.insert(name, inode),
                None => directory.durable.remove(&name),
            };
        }
    }

    /// The power goes.
    pub fn power_loss(&mut self, mood: &mut Mood) {
        let mut lost = BTreeSet::new();
        for change in std::mem::take(&mut self.changes) {
            let rests_on_lost =
                change.entries.iter().any(|(dir, name, _)| lost.contains(&(*dir, name.clone())));
            if !rests_on_lost && mood.keeps_entry() {
                self.settle(change);
            } else {
                lost.extend(change.entries.into_iter().map(|(dir, name, _)| (dir, name)));
            }
        }
        for inode in self.inodes.values_mut() {
            match inode {
                Inode::Directory(directory) => directory.now.clone_from(&directory.durable),
                Inode::File(content) => {
                    content.linked = false;
                    content.opens = 0;
                }
            }
        }
        self.forget_unreachable();
    }

    /// Forgets inodes that no name leads to, now or after a loss of power, and that nobody has open.
    fn forget_unreachable(&mut self) {
        self.removed = 0;
        let mut seen = BTreeSet::from([ROOT]);
        let mut work = vec![ROOT];
        work.extend(self.changes.iter().flat_map(|change| change.entries.iter().filter_map(|entry| entry.2)));
        let open = |(id, inode): (&InodeId, &Inode)| match inode {
            Inode::File(content) => (content.opens > 0).then_some(*id),
            Inode::Directory(_) => None,
        };
        work.extend(self.inodes.iter().filter_map(open));
        seen.extend(&work);
        while let Some(id) = work.pop() {
            let Some(Inode::Directory(directory)) = self.inodes.get(&id) else { continue };
            for next in directory.now.values().chain(directory.durable.values()) {
                if seen.insert(*next) {
                    work.push(*next);
                }
            }
        }
        self.inodes.retain(|id, _| seen.contains(id));
    }

    /// All files that have a name, with their paths, in order.
    pub fn paths(&self, durable: bool) -> Vec<(PathBuf, InodeId)> {
        let mut found = Vec::new();
        let mut work = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = work.pop() {
            match self.inodes.get(&id) {
                Some(Inode::Directory(directory)) => {
                    let entries = if durable { &directory.durable } else { &directory.now };
                    work.extend(entries.iter().map(|(name, id)| (path.join(name), *id)));
                }
                Some(Inode::File(_)) => found.push((path, id)),
                None => {}
            }
        }
        found.sort();
        found
    }
}
