//! Directories and whole small files, run on helper threads beside the core.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::beside::beside;
use super::file::{File, failed};
use super::ring::Ring;
use crate::limits::BLOCK;
use crate::reactor::{DirEntry, DiskReport};

/// The kernel's file systems, as one core sees them.
#[derive(Clone)]
pub struct Disk {
    inner: Rc<Inner>,
}

struct Inner {
    ring: Rc<Ring>,
    /// Locked files, held until the core ends.
    locks: RefCell<Vec<OwnedFd>>,
}

impl Disk {
    pub(super) fn new(ring: Rc<Ring>) -> Disk {
        Disk { inner: Rc::new(Inner { ring, locks: RefCell::default() }) }
    }

    /// See [`crate::reactor::Disk::examine`].
    pub async fn examine(&self, dir: &Path) -> io::Result<DiskReport> {
        on_path("examination", dir, super::examine::examine).await
    }

    /// See [`crate::reactor::Disk::lock`].
    pub async fn lock(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        let fd = beside(move || lock(&path)).await?;
        self.inner.locks.borrow_mut().push(fd);
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

    /// See [`crate::reactor::Disk::free_space`].
    pub async fn free_space(&self, path: &Path) -> io::Result<u64> {
        on_path("statfs", path, super::examine::free_space).await
    }

    /// See [`crate::reactor::Disk::open`].
    pub async fn open(&self, path: &Path, create: bool) -> io::Result<Rc<File>> {
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
    let mut beside = path.to_owned().into_os_string();
    beside.push(".tmp");
    // What an attempt that failed has left is not gone on with: a file whose flush has failed once may hold
    // pages that the kernel takes for clean.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::File::create_new(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let dir = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()
}

/// Locks by fcntl, as Kafka does, so that neither broker opens a folder that the other one holds; but for this
/// open file, not for the process, so that two nodes of one process shut each other out too.
fn lock(path: &Path) -> io::Result<OwnedFd> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| failed("opening", path, e))?;
    // SAFETY: an all-zero flock covers the whole file.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as i16;
    range.l_whence = libc::SEEK_SET as i16;
    // SAFETY: the descriptor is open and `range` is our own.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) } < 0 {
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
            return Err(failed("locking", path, error));
        }
        // SAFETY: as above; the call tells who holds the lock, where it is a process.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut range) };
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let holder = match (range.l_pid, holder.trim().parse::<u32>()) {
            (pid, _) if pid > 0 => format!("process {pid}"),
            (_, Ok(pid)) => format!("process {pid}"),
            _ => "another process".to_owned(),
        };
        let folder = path.parent().and_then(Path::to_str).or(path.to_str()).unwrap_or_default();
        let message = format!(
            "{folder} is in use by another broker ({holder} holds the lock on {}): stop that broker, or give this one \
             a folder of its own (--data-dir, or log.dirs in the file)",
            path.file_name().map(OsStr::display).map(|name| name.to_string()).unwrap_or_default()
        );
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file.into())
}
