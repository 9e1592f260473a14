//! Files for direct I/O through the ring.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::beside::{beside, close_beside};
use super::operation::{Operation, Plain, Transfer};
use super::ring::Ring;
use super::scheduler;
use crate::reactor::sync::{Completion, completion};
use crate::reactor::{Chunk, ChunkSlice, Class};

/// An open file. Closed when the last clone and the last operation under way have gone.
pub struct File {
    open: Rc<Open>,
    ring: Rc<Ring>,
}

/// The descriptor of a file, with its name for the messages.
pub(super) struct Open {
    fd: Option<OwnedFd>,
    path: PathBuf,
}

impl AsRawFd for Open {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_ref().expect("open until it is dropped").as_raw_fd()
    }
}

impl Open {
    /// The file's size. The inode of an open file is in memory: this does not block.
    fn size(&self) -> io::Result<u64> {
        // SAFETY: an all-zero stat is valid, and the call fills it.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            match libc::fstat(self.as_raw_fd(), &mut stat) {
                0 => Ok(stat.st_size as u64),
                _ => Err(self.failed("fstat", io::Error::last_os_error())),
            }
        }
    }

    /// Whether nothing follows `position`. Direct reads go on from a block's start only, so that a short one
    /// cannot be told from the file's end by reading on.
    pub(super) fn ends_at(&self, position: u64) -> bool {
        self.size().is_ok_and(|size| position >= size)
    }

    /// The error with what was tried and on which file.
    pub(super) fn failed(&self, what: &str, error: io::Error) -> io::Error {
        failed(what, &self.path, error)
    }
}

/// The error with what was tried and where.
pub(super) fn failed(what: &str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} of {} failed: {error}", path.display()))
}

impl Drop for Open {
    fn drop(&mut self) {
        // Closing the last descriptor of a removed file frees its blocks, which may take long: not here.
        let fd = self.fd.take().expect("dropped once");
        // SAFETY: an all-zero stat is valid, and the call fills it.
        let links = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            if libc::fstat(fd.as_raw_fd(), &mut stat) == 0 { stat.st_nlink } else { 0 }
        };
        if links == 0 {
            close_beside(fd);
        }
    }
}

impl File {
    pub(super) fn new(fd: OwnedFd, path: PathBuf, ring: Rc<Ring>) -> File {
        File { open: Rc::new(Open { fd: Some(fd), path }), ring }
    }

    /// See [`crate::reactor::File::write_at`].
    pub fn write_at(&self, data: ChunkSlice, position: u64) -> Completion<io::Result<()>> {
        if data.is_empty() {
            return Completion::ready(Ok(()));
        }
        let (to, done) = completion();
        let file = self.open.clone();
        self.ring.begin(Operation::Write(Transfer { file, data, position, done: 0, retries: 0, to }));
        done
    }

    /// See [`crate::reactor::File::read_at`].
    pub fn read_at(&self, into: Chunk, position: u64) -> Completion<io::Result<Chunk>> {
        debug_assert!(into.is_empty(), "a read goes to an empty chunk");
        let (to, done) = completion();
        let file = self.open.clone();
        self.ring.begin(Operation::Read(Transfer { file, data: into, position, done: 0, retries: 0, to }));
        done
    }

    /// See [`crate::reactor::File::flush`].
    pub fn flush(&self) -> Completion<io::Result<()>> {
        self.plain(Operation::Flush)
    }

    /// See [`crate::reactor::File::allocate`].
    pub fn allocate(&self, from: u64, len: u64) -> Completion<io::Result<()>> {
        self.plain(|plain| Operation::Allocate(plain, from, len))
    }

    /// See [`crate::reactor::File::truncate`].
    pub fn truncate(&self, len: u64) -> Completion<io::Result<()>> {
        if self.ring.can_truncate() {
            return self.plain(|plain| Operation::Truncate(plain, len));
        }
        let (to, done) = completion();
        let open = self.open.clone();
        let cut_beside = async move {
            let fd = open.as_raw_fd();
            let cut = beside(move || {
                // SAFETY: the file stays open until this task ends.
                if unsafe { libc::ftruncate(fd, len as i64) } == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            });
            let result = cut.await;
            to.complete(result.map_err(|e| open.failed(&format!("ftruncate to {len} bytes"), e)));
        };
        let core = scheduler::here().expect("files live on a core");
        core.spawn(Class::Background, cut_beside);
        done
    }

    /// See [`crate::reactor::File::size`].
    pub fn size(&self) -> Completion<io::Result<u64>> {
        Completion::ready(self.open.size())
    }

    fn plain(&self, make: impl FnOnce(Plain) -> Operation) -> Completion<io::Result<()>> {
        let (to, done) = completion();
        self.ring.begin(make(Plain { file: self.open.clone(), retries: 0, to }));
        done
    }
}
