//! A [`Disk`] as a file of a file system of its own: every write and every flush of the file is one of the disk. They
//! take a while and finish in no particular order, as those of a disk with a queue do.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use super::disk::{Disk, Refused};
use crate::load::Chance;

/// The name of the file.
pub const FILE: &str = "disk";
const FILE_NUMBER: INodeNo = INodeNo(2);
const LONG: Duration = Duration::from_secs(1 << 20);
/// How long a write or flush takes at most, in microseconds.
const DELAY: u64 = 150;

/// Serves the disk below a folder until what it gives is dropped.
pub fn serve(disk: Arc<Disk>, folder: &Path) -> io::Result<BackgroundSession> {
    let queue = Arc::new(Queue::default());
    let (worker, worked) = (queue.clone(), disk.clone());
    thread::spawn(move || worker.work(&worked));
    fuser::spawn_mount(File { disk, queue }, folder, &Config::default())
}

struct File {
    disk: Arc<Disk>,
    queue: Arc<Queue>,
}

/// What is under way.
#[derive(Default)]
struct Queue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    changed: Condvar,
}

enum Job {
    Write { number: u64, len: u32, reply: ReplyWrite },
    Flush { covers: u64, reply: ReplyEmpty },
}

impl Queue {
    fn add(&self, job: Job) {
        self.jobs.lock().unwrap().0.push_back(job);
        self.changed.notify_one();
    }

    fn work(&self, disk: &Disk) {
        let mut chance = Chance::new(0);
        loop {
            let mut jobs = self.jobs.lock().unwrap();
            while jobs.0.is_empty() {
                if jobs.1 {
                    return;
                }
                jobs = self.changed.wait(jobs).unwrap();
            }
            drop(jobs);
            thread::sleep(Duration::from_micros(chance.below(DELAY)));
            let mut jobs = self.jobs.lock().unwrap();
            let count = if chance.below(2) == 0 { jobs.0.len() } else { 1 };
            for _ in 0..count {
                let any = chance.below(jobs.0.len() as u64) as usize;
                match jobs.0.swap_remove_back(any).expect("it is there") {
                    Job::Write { number, len, reply } => {
                        disk.finish_write(number);
                        reply.written(len);
                    }
                    Job::Flush { covers, reply } => match disk.finish_flush(covers) {
                        Ok(()) => reply.ok(),
                        Err(Refused) => reply.error(Errno::EIO),
                    },
                }
            }
        }
    }
}

impl File {
    fn attributes(&self, number: INodeNo) -> FileAttr {
        let is_file = number == FILE_NUMBER;
        let size = if is_file { self.disk.size() } else { 0 };
        let time = SystemTime::UNIX_EPOCH;
        FileAttr {
            ino: number,
            size,
            blocks: size / 512,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for File {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Several writes are under way at once.
        config
            .add_capabilities(InitFlags::FUSE_ASYNC_DIO)
            .map_err(|_| io::Error::other("this kernel's FUSE has no asynchronous direct I/O"))
    }

    fn destroy(&mut self) {
        self.queue.jobs.lock().unwrap().1 = true;
        self.queue.changed.notify_one();
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match parent == INodeNo::ROOT && name == FILE {
            true => reply.entry(&LONG, &self.attributes(FILE_NUMBER), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&LONG, &self.attributes(number));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let left = self.disk.size().saturating_sub(offset);
        let mut data = vec![0; (size as usize).min(left as usize)];
        match self.disk.read(offset, &mut data) {
            Ok(()) => reply.data(&data),
            Err(Refused) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if offset + data.len() as u64 > self.disk.size() {
            return reply.error(Errno::ENOSPC);
        }
        match self.disk.begin_write(offset, data) {
            Ok(number) => self.queue.add(Job::Write { number, len: data.len() as u32, reply }),
            Err(Refused) => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let covers = self.disk.begin_flush();
        self.queue.add(Job::Flush { covers, reply });
    }
}
