//! The one seam: clocks, chance, tasks, files, sockets and directories, for one core of one node.
//!
//! A [`Reactor`] is handed to each core's main function when its node starts, and is either *real* (a pinned
//! thread with one loop around one io_uring) or *simulated* (a seeded twin in virtual time). Everything above
//! this folder runs unchanged on both. The face is enums at the leaves: a file, a socket and a directory call
//! each know which side they are on, and nothing above them carries a type parameter for it.
//!
//! What is here lives on one core and is not `Send`, except where it says so: [`Chunk`], [`ChunkSlice`],
//! [`Accepted`] and the ends of the [`bus`].

pub mod bus;
mod memory;
pub mod pool;
pub mod real;
pub mod sim;
pub mod sync;
pub mod timers;
mod wake;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
pub use pool::{Chunk, ChunkSlice, Pool, Share};
use sync::Completion;

/// Nanoseconds on the node's monotonic clock, from an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The time that passed since `earlier`, zero if it lies ahead.
    pub fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Nanos {
    type Output = Nanos;
    fn add(self, d: Duration) -> Nanos {
        Nanos(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What a task works for; each class has shares of its core and a latency goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The bus, requests, appends, flushes and replies.
    Request,
    /// Reads for consumers.
    Fetch,
    /// Replica fetchers.
    Replication,
    /// Group and transaction coordinators, the controller.
    Coordination,
    /// Retention, compaction, recovery, growing files.
    Background,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Class; 5] =
        [Class::Request, Class::Fetch, Class::Replication, Class::Coordination, Class::Background];
}

/// How one core is set up; made from the profile.
#[derive(Clone, Debug)]
pub struct CoreSpec {
    /// The CPU to pin to; none leaves the thread to the scheduler.
    pub cpu: Option<usize>,
    /// Entries of Ottla's own ring.
    pub ring_depth: u32,
    /// How long the executor spins for work before it parks.
    pub spin_before_park: Duration,
    /// How long a task class may run before the next is looked at.
    pub preempt: Duration,
    /// Bytes of chunks that the core's pool may hand out.
    pub memory: usize,
    /// CPU shares per [`Class`], in the order of [`Class::ALL`].
    pub shares: [usize; 5],
}

impl Default for CoreSpec {
    fn default() -> Self {
        CoreSpec {
            cpu: None,
            ring_depth: 1024,
            spin_before_park: Duration::ZERO,
            preempt: Duration::from_millis(1),
            memory: 512 << 20,
            shares: [1000, 500, 500, 300, 100],
        }
    }
}

/// What a core runs: called on its own thread with its reactor; the core ends when the future does.
pub type CoreMain = Box<dyn FnOnce(Reactor) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// One core's reactor. Cheap to clone; stays on its core.
#[derive(Clone)]
pub enum Reactor {
    /// A pinned thread with its io_uring.
    Real(Rc<real::Core>),
    /// A core of the simulated twin.
    Sim(Rc<sim::Core>),
}

/// Calls the same method on whichever side this is.
macro_rules! either {
    ($self:expr, $side:ident, $inner:ident => $call:expr) => {
        match $self {
            $side::Real($inner) => $call,
            $side::Sim($inner) => $call,
        }
    };
}

impl Reactor {
    /// This core's number within its node, from 0.
    pub fn core(&self) -> usize {
        either!(self, Reactor, r => r.core())
    }

    /// How many cores the node has.
    pub fn cores(&self) -> usize {
        either!(self, Reactor, r => r.cores())
    }

    /// The monotonic clock.
    pub fn now(&self) -> Nanos {
        either!(self, Reactor, r => r.now())
    }

    /// Milliseconds since 1970 on the node's wall clock, which may jump.
    pub fn wall_clock_ms(&self) -> i64 {
        either!(self, Reactor, r => r.wall_clock_ms())
    }

    /// A number by chance; by the seed on the simulated side.
    pub fn random(&self) -> u64 {
        either!(self, Reactor, r => r.random())
    }

    /// This core's pool of aligned memory.
    pub fn pool(&self) -> &Pool {
        either!(self, Reactor, r => r.pool())
    }

    /// Runs `task` on this core until it ends or the node does.
    #[track_caller]
    pub fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        either!(self, Reactor, r => r.spawn(class, task))
    }

    /// Resolves once `deadline` has passed.
    pub fn sleep_until(&self, deadline: Nanos) -> timers::Sleep {
        either!(self, Reactor, r => r.timers().sleep_until(deadline))
    }

    /// Resolves once `duration` has passed.
    pub fn sleep(&self, duration: Duration) -> timers::Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Lets the other ready tasks of this core run once.
    pub fn yield_now(&self) -> sync::Yield {
        sync::Yield::default()
    }

    /// Resolves when the node is asked to stop (SIGTERM or SIGINT; the simulator's word), on every core.
    pub fn stop_requested(&self) -> sync::Notified {
        either!(self, Reactor, r => r.stop_requested())
    }

    /// Directories and files.
    pub fn disk(&self) -> Disk {
        match self {
            Reactor::Real(r) => Disk::Real(r.disk()),
            Reactor::Sim(r) => Disk::Sim(r.disk()),
        }
    }

    /// Binds a listener, once per node; its connections are handed to cores with [`Reactor::adopt`].
    pub fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        Ok(match self {
            Reactor::Real(r) => Listener::Real(r.listen(address)?),
            Reactor::Sim(r) => Listener::Sim(r.listen(address)?),
        })
    }

    /// Makes an accepted connection this core's own.
    pub fn adopt(&self, accepted: Accepted) -> io::Result<(Receiver, Sender)> {
        match (self, accepted) {
            (Reactor::Real(r), Accepted::Real(a)) => {
                r.adopt(a).map(|(rx, tx)| (Receiver::Real(rx), Sender::Real(tx)))
            }
            (Reactor::Sim(r), Accepted::Sim(a)) => {
                r.adopt(a).map(|(rx, tx)| (Receiver::Sim(rx), Sender::Sim(tx)))
            }
            _ => unreachable!("a connection stays on the side that accepted it"),
        }
    }

    /// Connects to a peer.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<(Receiver, Sender)> {
        match self {
            Reactor::Real(r) => {
                r.connect(address).await.map(|(rx, tx)| (Receiver::Real(rx), Sender::Real(tx)))
            }
            Reactor::Sim(r) => r.connect(address).await.map(|(rx, tx)| (Receiver::Sim(rx), Sender::Sim(tx))),
        }
    }
}

/// A bound listening socket.
pub enum Listener {
    /// A TCP socket.
    Real(real::Listener),
    /// A port of the simulated network.
    Sim(sim::Listener),
}

impl Listener {
    /// The next connection. An error is of one connection; the listener lives on.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Real(l) => l.accept().await.map(Accepted::Real),
            Listener::Sim(l) => l.accept().await.map(Accepted::Sim),
        }
    }

    /// The bound address, with the port that the system chose if 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        either!(self, Listener, l => l.local_address())
    }
}

/// A connection that no core owns yet. `Send`: it may cross the bus.
#[derive(Debug)]
pub enum Accepted {
    /// A TCP connection.
    Real(real::Accepted),
    /// A simulated one.
    Sim(sim::Accepted),
}

impl Accepted {
    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        either!(self, Accepted, a => a.peer())
    }
}

/// The receiving half of a connection.
pub enum Receiver {
    /// Readiness by the ring, then `recv`.
    Real(real::Receiver),
    /// Simulated.
    Sim(sim::Receiver),
}

impl Receiver {
    /// Fills a part of `into`, at least one byte; 0 when the peer has closed. Dropping the future loses nothing.
    pub async fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Receiver::Real(r) => r.receive(into).await,
            Receiver::Sim(r) => r.receive(into).await,
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        either!(self, Receiver, r => r.peer())
    }
}

/// The sending half of a connection. Dropping both halves closes it.
pub enum Sender {
    /// Scattered sends on the raw socket: at once while it takes them, else through the ring.
    Real(real::Sender),
    /// Simulated.
    Sim(sim::Sender),
}

impl Sender {
    /// Sends all the slices, in order, without copying them in user space.
    pub async fn send(&mut self, slices: Vec<Bytes>) -> io::Result<()> {
        match self {
            Sender::Real(s) => s.send(slices).await,
            Sender::Sim(s) => s.send(slices).await,
        }
    }

    /// Ends the connection in both directions; the receiving half then gets 0 or an error.
    pub fn shut_down(&self) {
        either!(self, Sender, s => s.shut_down())
    }
}

/// What the file system under a log directory allows, found once at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskReport {
    /// `ext4`, `xfs`, `overlay`, ... as a person would say it.
    pub file_system: String,
    /// The device, as `st_dev`: directories on one device share a flush.
    pub device: u64,
    /// Whether one flush of a clean file makes a whole round of direct writes durable (see `log::growth`).
    pub one_flush: bool,
    /// Why not, or what it rests on, for the account at start.
    pub reason: String,
    /// The alignment that direct I/O needs here, in bytes.
    pub alignment: usize,
    /// Whether direct I/O works at all here; without it, writes go through the page cache.
    pub direct: bool,
    /// Free bytes.
    pub free: u64,
    /// A mount option that makes flushes void (`nobarrier`), where one was found.
    pub no_barrier: bool,
    /// Whether the device says that it has a volatile write cache; none where it says nothing.
    pub write_cache: Option<bool>,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name within the directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
    /// Its size in bytes, for a file.
    pub len: u64,
}

/// The room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still take.
    pub free: u64,
    /// All of its bytes.
    pub total: u64,
    /// What was asked about, by its device and its number there: another mount in its place is another one.
    pub place: (u64, u64),
}

/// Directories and whole small files. Every call may block on the real side, and is run beside the core.
#[derive(Clone)]
pub enum Disk {
    /// The kernel's.
    Real(real::Disk),
    /// The simulated disk of this node.
    Sim(sim::Disk),
}

macro_rules! disk_calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl Disk {$(
            $(#[$doc])*
            pub async fn $name(&self, $($arg: $type),*) -> io::Result<$out> {
                match self {
                    Disk::Real(d) => d.$name($($arg),*).await,
                    Disk::Sim(d) => d.$name($($arg),*).await,
                }
            }
        )*}
    };
}

disk_calls! {
    /// Looks at the file system that holds `dir`, which exists.
    examine(dir: &Path) -> DiskReport;
    /// Takes the exclusive lock of the file `path` (made if missing); held until the node ends.
    lock(path: &Path) -> ();
    /// Creates a directory and those above it. Durable once the directories that hold them are synced.
    create_dirs(path: &Path) -> ();
    /// What a directory holds, sorted by name.
    list(path: &Path) -> Vec<DirEntry>;
    /// Makes the entries of a directory durable: files made, renamed and removed in it.
    sync_dir(path: &Path) -> ();
    /// Renames a file or directory over what may be there. Durable once both directories are synced.
    rename(from: &Path, to: &Path) -> ();
    /// Removes a file. Durable once its directory is synced.
    remove_file(path: &Path) -> ();
    /// Removes a directory and all it holds.
    remove_dirs(path: &Path) -> ();
    /// A whole small file.
    read(path: &Path) -> Vec<u8>;
    /// Replaces a whole small file durably: written beside it, flushed, renamed over it, directory synced.
    replace(path: &Path, content: Vec<u8>) -> ();
    /// Writes whole small files beside those whose place they are to take. Not durable: see [`Disk::put_in_place`].
    put_beside(files: Vec<(PathBuf, Vec<u8>)>) -> ();
    /// Puts what was written beside these files in their place. Durable once all is synced; and synced it must be
    /// before, too, or a loss of power may leave files that hold nothing.
    put_in_place(paths: Vec<PathBuf>) -> ();
    /// Makes all durable that was done in the file system that holds `dir`.
    sync_all(dir: &Path) -> ();
    /// The room of the file system that holds `path`.
    space(path: &Path) -> Space;
}

impl Disk {
    /// Opens a file for direct I/O; with `create`, makes it if it is missing (durable once its directory is
    /// synced).
    pub async fn open(&self, path: &Path, create: bool) -> io::Result<File> {
        match self {
            Disk::Real(d) => d.open(path, create).await.map(File::Real),
            Disk::Sim(d) => d.open(path, create).await.map(File::Sim),
        }
    }
}

/// A file for direct I/O. Cheap to clone; closed when the last clone is dropped.
///
/// Operations begin when they are called, not when they are awaited, and go on if the future is dropped. Two
/// that are under way at once may finish in either order, and overlapping writes in any mixture.
#[derive(Clone)]
pub enum File {
    /// A descriptor and its core's ring.
    Real(Rc<real::File>),
    /// A file of the simulated disk.
    Sim(Rc<sim::File>),
}

impl File {
    /// Writes the whole slice at `position`. Both, and the slice's place in its chunk, are multiples of
    /// [`crate::limits::BLOCK`]. Not durable until a flush that was called after this finished.
    pub fn write_at(&self, data: ChunkSlice, position: u64) -> Completion<io::Result<()>> {
        debug_assert!(position.is_multiple_of(crate::limits::BLOCK as u64));
        either!(self, File, f => f.write_at(data, position))
    }

    /// Appends what the file holds from `position` (a multiple of the block) to an empty chunk, until the
    /// chunk is full or the file ends. The chunk's length says how much came.
    pub fn read_at(&self, into: Chunk, position: u64) -> Completion<io::Result<Chunk>> {
        either!(self, File, f => f.read_at(into, position))
    }

    /// fdatasync: makes durable every finished write of this file, its size and its extents. On a device where
    /// [`DiskReport::one_flush`] holds, also every finished direct write of *other* files into blocks whose
    /// metadata is durable already.
    pub fn flush(&self) -> Completion<io::Result<()>> {
        either!(self, File, f => f.flush())
    }

    /// Reserves blocks for `[from, from + len)` without writing them and grows the file's size to cover them.
    /// They read as zeros. Durable after [`File::flush`].
    pub fn allocate(&self, from: u64, len: u64) -> Completion<io::Result<()>> {
        either!(self, File, f => f.allocate(from, len))
    }

    /// Cuts or grows the file to `len`. Durable after [`File::flush`].
    pub fn truncate(&self, len: u64) -> Completion<io::Result<()>> {
        either!(self, File, f => f.truncate(len))
    }

    /// The file's size.
    pub fn size(&self) -> Completion<io::Result<u64>> {
        either!(self, File, f => f.size())
    }
}
