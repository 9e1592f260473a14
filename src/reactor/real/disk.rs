//! Directories and whole small files, run on helper threads beside the core.

use std::cell::Cell;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::beside::beside;
use super::file::{File, failed};
use super::lock::{self, Locks};
use super::ring::Ring;
use crate::limits::BLOCK;
use crate::reactor::{DirEntry, DiskReport, Space};

/// The kernel's file systems, as one core sees them.
#[derive(Clone)]
pub struct Disk {
    inner: Rc<Inner>,
}

struct Inner {
    ring: Rc<Ring>,
    /// What this node has locked.
    locks: Arc<Locks>,
    /// How many of them the ring holds.
    held: Cell<usize>,
}

impl Disk {
    pub(super) fn new(ring: Rc<Ring>, locks: Arc<Locks>) -> Disk {
        Disk { inner: Rc::new(Inner { ring, locks, held: Cell::new(0) }) }
    }

    /// See [`crate::reactor::Disk::examine`].
    pub async fn examine(&self, dir: &Path) -> io::Result<DiskReport> {
        on_path("examination", dir, super::examine::examine).await
    }

    /// See [`crate::reactor::Disk::lock`].
    pub async fn lock(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        let fd = beside(move || lock::lock(&path)).await?;
        self.inner.locks.add(fd);
        self.hold_locks()
    }

    /// Has the ring hold the node's locks before it is given a file: see [`super::lock`].
    fn hold_locks(&self) -> io::Result<()> {
        let held = &self.inner.held;
        for lock in self.inner.locks.since(held.get()) {
            self.inner.ring.hold(&lock, held.get())?;
            held.set(held.get() + 1);
        }
        Ok(())
    }

    /// See [`crate::reactor::Disk::create_dirs`].
    pub async fn create_dirs(&self, path: &Path) -> io::Result<()> {
        on_path("creation", path, |p| fs::create_dir_all(p)).await
    }

    /// See [`crate::reactor::Disk::list`].
    pub async fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        on_path("listing", path, list).await
    }

    /// See [`crate::reactor::Disk::sync_dir`].
    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        on_path("fsync", path, |p| fs::File::open(p)?.sync_all()).await
    }

    /// See [`crate::reactor::Disk::rename`].
    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        beside(move || {
            fs::rename(&from, &to).map_err(|e| failed(&format!("renaming to {}", to.display()), &from, e))
        })
        .await
    }

    /// See [`crate::reactor::Disk::remove_file`].
    pub async fn remove_file(&self, path: &Path) -> io::Result<()> {
        on_path("removal", path, |p| fs::remove_file(p)).await
    }

    /// See [`crate::reactor::Disk::remove_dirs`].
    pub async fn remove_dirs(&self, path: &Path) -> io::Result<()> {
        on_path("removal", path, |p| fs::remove_dir_all(p)).await
    }

    /// See [`crate::reactor::Disk::read`].
    pub async fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        on_path("reading", path, |p| fs::read(p)).await
    }

    /// See [`crate::reactor::Disk::replace`].
    pub async fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        on_path("replacement", path, move |p| replace(p, &content)).await
    }

    /// See [`crate::reactor::Disk::put_beside`].
    pub async fn put_beside(&self, files: Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
        beside(move || {
            files.iter().try_for_each(|(path, content)| {
                write_beside(path, content).map(drop).map_err(|e| failed("replacement", path, e))
            })
        })
        .await
    }

    /// See [`crate::reactor::Disk::put_in_place`].
    pub async fn put_in_place(&self, paths: Vec<PathBuf>) -> io::Result<()> {
        beside(move || {
            paths.iter().try_for_each(|path| {
                fs::rename(name_beside(path), path).map_err(|e| failed("replacement", path, e))
            })
        })
        .await
    }

    /// See [`crate::reactor::Disk::sync_all`].
    pub async fn sync_all(&self, dir: &Path) -> io::Result<()> {
        on_path("syncfs", dir, |p| {
            let dir = fs::File::open(p)?;
            // SAFETY: a plain system call on a descriptor of our own.
            match unsafe { libc::syncfs(dir.as_raw_fd()) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
        .await
    }

    /// See [`crate::reactor::Disk::space`].
    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        on_path("statfs", path, super::examine::space).await
    }

    /// See [`crate::reactor::Disk::open`].
    pub async fn open(&self, path: &Path, create: bool) -> io::Result<Rc<File>> {
        self.hold_locks()?;
        let fd = on_path("opening", path, move |p| open(p, create)).await?;
        Ok(Rc::new(File::new(fd, path.to_owned(), self.inner.ring.clone())))
    }
}

/// Runs `call` on a helper thread and says in its error what failed where.
async fn on_path<T: Send + 'static>(
    what: &'static str,
    path: &Path,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path: PathBuf = path.to_owned();
    beside(move || call(&path).map_err(|e| failed(what, &path, e))).await
}

/// Opens for direct I/O, or through the page cache where the file system refuses that, or needs an alignment
/// beyond the block in which Ottla writes.
fn open(path: &Path, create: bool) -> io::Result<OwnedFd> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    let direct = options.clone().custom_flags(libc::O_DIRECT).open(path);
    let file = match direct {
        Ok(file) if super::examine::alignment(&file).is_some_and(|needed| needed <= BLOCK) => file,
        Ok(_) => options.open(path)?,
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => options.open(path)?,
        Err(e) => return Err(e),
    };
    Ok(file.into())
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            let message = format!("{} in it has a name that is not text; move it away", name.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        match entry.metadata() {
            Ok(found) => entries.push(DirEntry { name, is_dir: found.is_dir(), len: found.len() }),
            // Removed since it was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    write_beside(path, content)?.sync_all()?;
    fs::rename(name_beside(path), path)?;
    let dir = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()
}

fn name_beside(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".tmp");
    name.into()
}

fn write_beside(path: &Path, content: &[u8]) -> io::Result<fs::File> {
    let beside = name_beside(path);
    // What an attempt that failed has left is not gone on with: a file whose flush has failed once may hold
    // pages that the kernel takes for clean.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::File::create_new(&beside)?;
    file.write_all(content)?;
    Ok(file)
}
