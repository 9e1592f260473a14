//! The lock by which a running broker holds its folders.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::command::failure::{Failure, Result};

/// The file that is locked; Kafka and Ottla lock the same.
const LOCK: &str = ".lock";

/// A folder that no broker uses as long as this is kept.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it gives the lock back")] Option<File>);

/// Takes the lock of a folder. One that is only read may be on a disk that cannot be written: then it is only looked
/// whether another holds it.
pub fn lock(dir: &Path, writes: bool) -> Result<Lock> {
    let path = dir.join(LOCK);
    let opened = OpenOptions::new().read(true).write(true).create(writes).truncate(false).open(&path);
    let (file, probe) = match opened {
        Ok(file) => (file, false),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !writes => return Ok(Lock(None)),
        Err(error) if !writes && is_read_only(&error) => match File::open(&path) {
            Ok(file) => (file, true),
            Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
        },
        Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
    };
    match is_free(&file, probe) {
        Ok(true) => Ok(Lock(Some(file))),
        Ok(false) => {
            Err(Failure::new(format!("{} is in use: a broker, or another import, runs on it", dir.display()))
                .advice("Stop it first (kafka-server-stop.sh), and wait until its process has ended."))
        }
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn is_free(file: &File, probe: bool) -> io::Result<bool> {
    // SAFETY: an all-zero flock covers the whole file.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as i16;
    range.l_whence = libc::SEEK_SET as i16;
    let command = if probe { libc::F_OFD_GETLK } else { libc::F_OFD_SETLK };
    // SAFETY: the descriptor is open and `range` is our own.
    if unsafe { libc::fcntl(file.as_raw_fd(), command, &mut range) } == 0 {
        return Ok(!probe || range.l_type == libc::F_UNLCK as i16);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        error => Err(error),
    }
}
