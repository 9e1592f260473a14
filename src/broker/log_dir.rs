//! A log directory as one core sees it: its file system, its flusher, and whether it can still be trusted.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};

use crate::log::growth::Durability;
use crate::reactor::sync::Bell;
use crate::reactor::{Disk, DiskReport, File, Reactor, Space};
use crate::wire::uuid::Uuid;

/// The clean file through which a whole round is flushed. It is never written, so its flush has nothing of its
/// own to do but to empty the device's cache.
const FLUSHER: &str = ".flusher";

/// A log directory, on one core.
pub struct LogDir {
    /// Its `directory.id`.
    pub id: Uuid,
    /// Where it is.
    pub path: PathBuf,
    /// What its file system allows.
    pub report: DiskReport,
    /// Directory operations.
    pub disk: Disk,
    flusher: File,
    /// Which folder it was when it was opened.
    place: (u64, u64),
    failure: RefCell<Option<String>>,
    /// Rung when the directory has failed.
    failed: Bell,
    full: Cell<bool>,
}

impl LogDir {
    /// Opens a directory that exists and was examined.
    pub async fn open(
        reactor: &Reactor,
        (id, path): (Uuid, &Path),
        report: DiskReport,
    ) -> io::Result<LogDir> {
        let disk = reactor.disk();
        let flusher = disk.open(&path.join(FLUSHER), true).await?;
        flusher.flush().await?;
        disk.sync_dir(path).await?;
        let place = disk.space(path).await?.place;
        let (failure, failed, full) = (RefCell::new(None), Bell::default(), Cell::new(false));
        Ok(LogDir { id, path: path.to_path_buf(), report, disk, flusher, place, failure, failed, full })
    }

    /// Makes finished writes durable: all those into prepared blocks (`device`), and those of `files`.
    pub async fn flush(&self, device: bool, files: &[File]) -> io::Result<()> {
        // All are submitted before the first is awaited, and after every write of the round was seen finished.
        let mut flushes: Vec<_> = files.iter().map(File::flush).collect();
        if device {
            flushes.push(self.flusher.flush());
        }
        for flush in flushes {
            flush.await?;
        }
        Ok(())
    }

    /// Whether writes into prepared blocks may share a flush here.
    pub fn shares_flush(&self) -> bool {
        self.report.one_flush
    }

    /// Notes that a write or flush has failed: nothing is served from here any more.
    pub fn fail(&self, what: &str, error: &io::Error) {
        let message = format!("{}: {what}: {error}", self.path.display());
        tracing::error!(
            "log directory {message}. It is offline from now on: nothing in it is served or acknowledged. {}, \
             then start the broker again",
            advice(error.kind())
        );
        self.went_offline(message);
    }

    /// Whether the directory is still the one that was opened. What is opened by its name may lie elsewhere else, where
    /// nobody finds it once the disk is back in its place.
    pub async fn check_place(&self) -> io::Result<()> {
        self.space().await.map(drop)
    }

    async fn space(&self) -> io::Result<Space> {
        let space = self.disk.space(&self.path).await?;
        match space.place == self.place {
            true => Ok(space),
            false => Err(io::Error::new(io::ErrorKind::NotFound, "another folder is in its place")),
        }
    }

    /// Notes that the directory has failed, on this core or another.
    pub fn went_offline(&self, message: String) {
        self.failure.borrow_mut().get_or_insert(message);
        self.failed.ring();
    }

    /// Resolves when the directory has failed; says why.
    pub async fn failed(&self) -> String {
        loop {
            let failed = self.failed.notified();
            match self.failure() {
                Some(failure) => return failure,
                None => failed.await,
            }
        }
    }

    /// Why the directory is offline, if it is.
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Whether the directory is offline.
    pub fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Whether there is too little room to take more records.
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Looks at the free space, and gives it: below `reserve`, no more records are taken until there is room again.
    /// With `tell`, the operator hears of the change, and the directory fails if it is not there any more.
    pub async fn look_at_space(&self, reserve: u64, tell: bool) -> u64 {
        let free = match self.space().await {
            Ok(space) => space.free,
            Err(error) => {
                let is_away = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                if is_away && tell && !self.has_failed() {
                    self.fail("it is not there any more", &error);
                }
                return u64::MAX;
            }
        };
        let full = free < reserve;
        if full != self.full.replace(full) && tell {
            let dir = self.path.display();
            if full {
                tracing::error!(
                    "log directory {dir} is full: {free} bytes are left of the {reserve} that are kept in \
                     reserve. Produce requests get KAFKA_STORAGE_ERROR until there is room: delete files, \
                     shorten retention, or grow the disk"
                );
            } else {
                tracing::info!("log directory {dir} has room again: {free} bytes free");
            }
        }
        free
    }
}

/// What an operator does about an error.
fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull => "Make room on the disk",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "Mount its disk again, or put the folder back in its place"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "The file system cannot be written any more, as the kernel has it when it found errors (dmesg tells them): \
             check it (fsck)"
        }
        _ => "Look what the kernel says of the disk (dmesg), mend or replace it",
    }
}

/// What a round has to flush.
#[derive(Default)]
pub struct FlushSet {
    /// Whether a write went into prepared blocks.
    pub device: bool,
    files: Vec<(FileKey, File)>,
}

/// Names a segment's file.
pub type FileKey = (crate::log::PartitionId, i64);

impl FlushSet {
    /// Notes a finished write.
    pub fn add(&mut self, durability: Durability, key: FileKey, file: &File) {
        match durability {
            Durability::Device => self.device = true,
            Durability::File if self.files.iter().any(|(k, _)| *k == key) => {}
            Durability::File => self.files.push((key, file.clone())),
        }
    }

    /// Takes in what another round has to flush.
    pub fn merge(&mut self, other: FlushSet) {
        self.device |= other.device;
        self.files.extend(other.files);
        self.files.sort_by_key(|(key, _)| *key);
        self.files.dedup_by_key(|(key, _)| *key);
    }

    /// The files that need a flush of their own.
    pub fn files(&self) -> Vec<File> {
        self.files.iter().map(|(_, file)| file.clone()).collect()
    }
}
