//! The lock on a folder: held until the last write of the node has ended, even if its process ended before.
//!
//! When a process is killed, direct writes that its rings have under way go on: with a slow or throttled disk one
//! was seen to land 230 ms after the process was gone and a new one could have begun. Such a write would come over
//! what recovery has erased and over what was written since. Each ring of a node therefore holds the lock's open
//! file ([`Ring::hold`](super::ring::Ring::hold)): the kernel lets go of it, and of the lock, when the ring's last
//! operation has ended. Who finds the folder locked by a process that is gone waits for that. By then the
//! listening sockets of the old process are closed as well.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::file::failed;

/// How long to wait for the last writes of a process that is gone.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
/// How long it takes before the wait is told of.
const TELL: Duration = Duration::from_secs(1);

/// The locks of a node, shared by its cores and held until the last of them has ended.
#[derive(Default)]
pub(super) struct Locks(Mutex<Vec<Arc<OwnedFd>>>);

impl Locks {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a locked file.
    pub(super) fn add(&self, lock: OwnedFd) {
        self.all().push(Arc::new(lock));
    }

    /// All but the first `known`.
    pub(super) fn since(&self, known: usize) -> Vec<Arc<OwnedFd>> {
        self.all()[known..].to_vec()
    }
}

/// Locks by fcntl, as Kafka does, so that neither broker opens a folder that the other one holds; but for this
/// open file, not for the process, so that two nodes of one process shut each other out too. Blocks while a
/// process that is gone still writes.
pub(super) fn lock(path: &Path) -> io::Result<OwnedFd> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| failed("opening", path, e))?;
    let begun = Instant::now();
    let mut is_told = false;
    while let Some(holder) = try_lock(&mut file).map_err(|e| failed("locking", path, e))? {
        if !holder.is_gone() || begun.elapsed() >= PATIENCE {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, holder.refusal(path)));
        }
        if begun.elapsed() >= TELL && !is_told {
            is_told = true;
            tracing::warn!(
                "{}: waiting for the last writes of {}, which is gone",
                path.display(),
                holder.name()
            );
        }
        thread::sleep(LOOK);
    }
    file.set_len(0)?;
    file.rewind()?;
    let own = std::process::id();
    writeln!(file, "{own} {}", started(own).unwrap_or_default())?;
    Ok(file.into())
}

/// Who holds a lock.
struct Holder {
    pid: Option<u32>,
    /// When a holder like us was started, as the kernel tells it.
    started: Option<String>,
}

/// Locks the file, or says who has.
fn try_lock(file: &mut fs::File) -> io::Result<Option<Holder>> {
    // SAFETY: an all-zero flock covers the whole file.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as i16;
    range.l_whence = libc::SEEK_SET as i16;
    // SAFETY: the descriptor is open and `range` is our own.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) } == 0 {
        return Ok(None);
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
        return Err(error);
    }
    // SAFETY: as above; the call tells who holds the lock, where it is a process.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut range) };
    if range.l_pid > 0 {
        return Ok(Some(Holder { pid: u32::try_from(range.l_pid).ok(), started: None }));
    }
    let mut text = String::new();
    file.rewind()?;
    // What is no text names nobody.
    let _ = file.read_to_string(&mut text);
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok());
    Ok(Some(Holder { pid, started: words.next().map(str::to_owned) }))
}

impl Holder {
    /// Whether it was a process that has ended. Its number may be another's by now.
    fn is_gone(&self) -> bool {
        match (self.pid, &self.started) {
            (Some(pid), Some(then)) => started(pid).as_ref() != Some(then),
            _ => false,
        }
    }

    fn name(&self) -> String {
        self.pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    }

    fn refusal(&self, path: &Path) -> String {
        let folder = path.parent().and_then(Path::to_str).or(path.to_str()).unwrap_or_default();
        let name = path.file_name().map(OsStr::display).map(|name| name.to_string()).unwrap_or_default();
        let who = self.name();
        if self.is_gone() {
            return format!(
                "{folder} has been locked for {} s by {who}, which is not there: it runs in another container, or it \
                 has ended and its last writes have not. Look for it, and whether the disk is stuck",
                PATIENCE.as_secs()
            );
        }
        format!(
            "{folder} is in use by another broker ({who} holds the lock on {name}): stop that broker, or give this \
             one a folder of its own (--data-dir, or log.dirs in the file)"
        )
    }
}

/// When a process was started, in ticks since the machine was; none if there is no such process, or what is left
/// of it only waits to be noticed.
fn started(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name comes before, in brackets, and may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(19).map(|ticks| (*ticks).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::real::ring::Ring;

    struct Path(std::path::PathBuf);

    impl Path {
        fn new(name: &str) -> Path {
            Path(std::env::temp_dir().join(format!("ottla-lock-{name}-{}", std::process::id())))
        }

        fn is_locked(&self) -> bool {
            try_lock(&mut fs::File::options().read(true).write(true).open(&self.0).unwrap())
                .unwrap()
                .is_some()
        }
    }

    impl Drop for Path {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_ring_holds_a_lock_when_its_descriptor_is_closed() {
        let path = Path::new("ring");
        let ring = Ring::new(8).unwrap();
        let locks = Locks::default();
        locks.add(lock(&path.0).unwrap());
        for (number, held) in locks.since(0).iter().enumerate() {
            ring.hold(held, number).unwrap();
        }
        drop(locks);
        assert!(path.is_locked());
        // The kernel closes a ring some time after it was let go of.
        drop(ring);
        while path.is_locked() {
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn who_is_gone_is_waited_for() {
        let path = Path::new("gone");
        let held = lock(&path.0).unwrap();
        let refusal = lock(&path.0).unwrap_err().to_string();
        assert!(refusal.contains(&format!("(process {} holds the lock", std::process::id())), "{refusal}");
        // Our number, and another start: a process that had the number before.
        fs::write(&path.0, format!("{} 1\n", std::process::id())).unwrap();
        let second = thread::scope(|scope| {
            let waits = scope.spawn(|| lock(&path.0));
            thread::sleep(10 * LOOK);
            assert!(!waits.is_finished());
            drop(held);
            waits.join().unwrap()
        });
        assert_eq!(lock(&path.0).unwrap_err().to_string(), refusal, "the lock says whose it is");
        drop(second);
        assert!(!path.is_locked());
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = std::process::id();
        assert!(started(own).is_some_and(|ticks| ticks.parse::<u64>().unwrap() > 0));
        assert!(!Holder { pid: Some(own), started: started(own) }.is_gone());
        assert!(Holder { pid: Some(own), started: Some("1".to_owned()) }.is_gone());
        // Who does not say more than a number may be there.
        assert!(!Holder { pid: Some(4_000_000), started: None }.is_gone());
        assert!(Holder { pid: Some(4_000_000), started: Some("1".to_owned()) }.is_gone());
    }
}
