//! The simulated twin.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use super::sync::Completion;
use super::timers::Timers;
use super::{Chunk, ChunkSlice, Class, DirEntry, DiskReport, Nanos, Pool, sync};

pub struct Core {}
impl Core {
    pub fn core(&self) -> usize {
        unimplemented!()
    }
    pub fn cores(&self) -> usize {
        unimplemented!()
    }
    pub fn now(&self) -> Nanos {
        unimplemented!()
    }
    pub fn wall_clock_ms(&self) -> i64 {
        unimplemented!()
    }
    pub fn random(&self) -> u64 {
        unimplemented!()
    }
    pub fn pool(&self) -> &Pool {
        unimplemented!()
    }
    pub fn timers(&self) -> &Timers {
        unimplemented!()
    }
    pub fn spawn(&self, _class: Class, _task: impl Future<Output = ()> + 'static) {
        unimplemented!()
    }
    pub fn stop_requested(&self) -> sync::Notified {
        unimplemented!()
    }
    pub fn disk(&self) -> Disk {
        unimplemented!()
    }
    pub fn listen(&self, _a: SocketAddr) -> io::Result<Listener> {
        unimplemented!()
    }
    pub fn adopt(&self, _a: Accepted) -> io::Result<(Receiver, Sender)> {
        unimplemented!()
    }
    pub async fn connect(&self, _a: SocketAddr) -> io::Result<(Receiver, Sender)> {
        unimplemented!()
    }
}
pub struct Listener {}
impl Listener {
    pub async fn accept(&self) -> io::Result<Accepted> {
        unimplemented!()
    }
    pub fn local_address(&self) -> SocketAddr {
        unimplemented!()
    }
}
#[derive(Debug)]
pub struct Accepted {}
pub struct Receiver {}
impl Receiver {
    pub async fn receive(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        unimplemented!()
    }
    pub fn peer(&self) -> SocketAddr {
        unimplemented!()
    }
}
pub struct Sender {}
impl Sender {
    pub async fn send(&mut self, _slices: Vec<Bytes>) -> io::Result<()> {
        unimplemented!()
    }
    pub fn shut_down(&self) {
        unimplemented!()
    }
}
#[derive(Clone)]
pub struct Disk {}
impl Disk {
    pub async fn examine(&self, _d: &Path) -> io::Result<DiskReport> {
        unimplemented!()
    }
    pub async fn lock(&self, _p: &Path) -> io::Result<()> {
        unimplemented!()
    }
    pub async fn create_dirs(&self, _p: &Path) -> io::Result<()> {
        unimplemented!()
    }
    pub async fn list(&self, _p: &Path) -> io::Result<Vec<DirEntry>> {
        unimplemented!()
    }
    pub async fn sync_dir(&self, _p: &Path) -> io::Result<()> {
        unimplemented!()
    }
    pub async fn rename(&self, _f: &Path, _t: &Path) -> io::Result<()> {
        unimplemented!()
    }
    pub async fn remove_file(&self, _p: &Path) -> io::Result<()> {
        unimplemented!()
    }
    pub async fn remove_dirs(&self, _p: &Path) -> io::Result<()> {
        unimplemented!()
    }
    pub async fn read(&self, _p: &Path) -> io::Result<Vec<u8>> {
        unimplemented!()
    }
    pub async fn replace(&self, _p: &Path, _c: Vec<u8>) -> io::Result<()> {
        unimplemented!()
    }
    pub async fn free_space(&self, _p: &Path) -> io::Result<u64> {
        unimplemented!()
    }
    pub async fn open(&self, _p: &Path, _create: bool) -> io::Result<Rc<File>> {
        unimplemented!()
    }
}
pub struct File {}
impl File {
    pub fn write_at(&self, _d: ChunkSlice, _p: u64) -> Completion<io::Result<()>> {
        unimplemented!()
    }
    pub fn read_at(&self, _c: Chunk, _p: u64) -> Completion<io::Result<Chunk>> {
        unimplemented!()
    }
    pub fn flush(&self) -> Completion<io::Result<()>> {
        unimplemented!()
    }
    pub fn allocate(&self, _f: u64, _l: u64) -> Completion<io::Result<()>> {
        unimplemented!()
    }
    pub fn truncate(&self, _l: u64) -> Completion<io::Result<()>> {
        unimplemented!()
    }
    pub fn size(&self) -> Completion<io::Result<u64>> {
        unimplemented!()
    }
}
