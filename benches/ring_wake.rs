//! How could a completion on a ring of one's own wake a parked glommio executor? Three ways, side by side. They
//! work; what came of it is told in `reactor::real::executor`, and the bench `core` shows the loop that was built.
//!
//! - `linked send`: every operation is hard-linked to a one-byte send on a socket pair that the executor
//!   receives. (One send per *round* is not enough: operations of a round finish in any order.)
//! - `eventfd`: one eventfd is registered with the ring, and the executor has a read of it under way.
//! - `ring poll`: the executor has a poll of the ring's own descriptor under way.
//!
//! Beside them stand the bare executor (it reads the triggering eventfd itself) and a bare ring that blocks in
//! its own wait. Run with `cargo bench --bench ring_wake`; the disk part writes one file in the temp folder.

#![expect(clippy::disallowed_methods, reason = "a bench of the layer below the seam")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_io::AsyncRead;
use glommio::io::BufferedFile;
use glommio::net::{TcpStream, UnixStream};
use glommio::{LocalExecutorBuilder, Placement};
use io_uring::{IoUring, opcode, squeue, types};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    LinkedSend,
    EventFd,
    RingPoll,
}

struct Ring {
    uring: RefCell<IoUring>,
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
    way: Way,
    eventfd: RawFd,
    bell: RawFd,
    listen: Cell<RawFd>,
    flusher: Cell<Option<Waker>>,
    unsubmitted: Cell<usize>,
    in_flight: Cell<usize>,
    driver: Cell<Option<Waker>>,
    enters: Cell<u64>,
    wakes: Cell<u64>,
}

#[derive(Default)]
struct Slot {
    result: Option<i32>,
    waker: Option<Waker>,
}

struct Operation {
    ring: Rc<Ring>,
    slot: usize,
}

impl Future for Operation {
    type Output = i32;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<i32> {
        let mut slots = self.ring.slots.borrow_mut();
        match slots[self.slot].result.take() {
            Some(result) => {
                self.ring.free.borrow_mut().push(self.slot);
                Poll::Ready(result)
            }
            None => {
                slots[self.slot].waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

const BELL: u64 = u64::MAX;
static BYTE: u8 = 1;

impl Ring {
    fn new(way: Way, flags: &str) -> Rc<Ring> {
        let mut builder = IoUring::builder();
        if flags.contains('c') {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        }
        if flags.contains('s') {
            builder.setup_single_issuer();
        }
        let uring: IoUring = builder.build(256).expect("a ring");
        let mut pair = [0; 2];
        let mut eventfd = -1;
        match way {
            Way::LinkedSend => unsafe {
                assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()), 0);
            },
            Way::EventFd => {
                eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
                uring.submitter().register_eventfd(eventfd).expect("registered");
            }
            Way::RingPoll => {}
        }
        let ring = Rc::new(Ring {
            uring: RefCell::new(uring),
            slots: RefCell::new((0..256).map(|_| Slot::default()).collect()),
            free: RefCell::new((0..256).rev().collect()),
            way,
            eventfd,
            bell: pair[0],
            listen: Cell::new(pair[1]),
            flusher: Cell::default(),
            unsubmitted: Cell::new(0),
            in_flight: Cell::new(0),
            driver: Cell::default(),
            enters: Cell::new(0),
            wakes: Cell::new(0),
        });
        glommio::spawn_local(flush(ring.clone())).detach();
        glommio::spawn_local(drive(ring.clone())).detach();
        ring
    }

    fn begin(self: &Rc<Ring>, sqe: squeue::Entry) -> Operation {
        let slot = self.free.borrow_mut().pop().expect("a free slot");
        let sqe = sqe.user_data(slot as u64);
        let mut uring = self.uring.borrow_mut();
        let mut queue = uring.submission();
        unsafe {
            if self.way == Way::LinkedSend {
                queue.push(&sqe.flags(squeue::Flags::IO_HARDLINK)).unwrap();
                let send = opcode::Send::new(types::Fd(self.bell), &BYTE, 1).build().user_data(BELL);
                queue.push(&send).unwrap();
            } else {
                queue.push(&sqe).unwrap();
            }
        }
        drop(queue);
        self.unsubmitted.set(self.unsubmitted.get() + 1);
        if let Some(waker) = self.flusher.take() {
            waker.wake();
        }
        Operation { ring: self.clone(), slot }
    }

    fn drain(&self) -> usize {
        let mut uring = self.uring.borrow_mut();
        let mut slots = self.slots.borrow_mut();
        let mut found = 0;
        for cqe in uring.completion() {
            if cqe.user_data() == BELL {
                continue;
            }
            found += 1;
            let slot = &mut slots[cqe.user_data() as usize];
            slot.result = Some(cqe.result());
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
        self.in_flight.set(self.in_flight.get() - found);
        found
    }
}

/// Submits once for all operations that were begun while it waited for its turn.
async fn flush(ring: Rc<Ring>) {
    std::future::poll_fn::<(), _>(|cx| {
        if ring.unsubmitted.get() > 0 {
            if ring.way == Way::EventFd {
                ring.uring.borrow_mut().completion().disable_eventfd();
            }
            ring.uring.borrow().submit().expect("submitted");
            ring.enters.set(ring.enters.get() + 1);
            ring.in_flight.set(ring.in_flight.get() + ring.unsubmitted.take());
            ring.drain();
            if ring.way == Way::EventFd {
                ring.uring.borrow_mut().completion().enable_eventfd();
                std::sync::atomic::fence(Ordering::SeqCst);
                ring.drain();
            }
            if ring.in_flight.get() > 0
                && let Some(waker) = ring.driver.take()
            {
                waker.wake();
            }
        }
        ring.flusher.set(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await
}

/// Waits for the wake and looks at the completion queue.
async fn drive(ring: Rc<Ring>) {
    let eventfd = (ring.way == Way::EventFd).then(|| unsafe { BufferedFile::from_raw_fd(ring.eventfd) });
    let mut stream =
        (ring.way == Way::LinkedSend).then(|| unsafe { UnixStream::from_raw_fd(ring.listen.get()) });
    loop {
        std::future::poll_fn(|cx| {
            if ring.in_flight.get() > 0 {
                return Poll::Ready(());
            }
            ring.driver.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        match ring.way {
            Way::LinkedSend => {
                let mut bytes = [0u8; 256];
                read(stream.as_mut().unwrap(), &mut bytes).await.expect("a byte");
            }
            Way::EventFd => {
                eventfd.as_ref().unwrap().read_at(0, 8).await.expect("a count");
            }
            Way::RingPoll => {
                let mut byte = [0u8; 1];
                let fd = unsafe { libc::dup(ring.uring.borrow().as_raw_fd()) };
                let mut polled = unsafe { TcpStream::from_raw_fd(fd) };
                // The ring is no socket: the read fails as soon as the poll under it says "ready".
                read(&mut polled, &mut byte).await.expect_err("no socket");
            }
        }
        ring.wakes.set(ring.wakes.get() + 1);
        ring.drain();
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> std::io::Result<usize> {
    std::future::poll_fn(|cx| Pin::new(&mut *from).poll_read(cx, into)).await
}

fn executor<T: Send + 'static>(spin: Duration, main: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    LocalExecutorBuilder::new(Placement::Fixed(0))
        .spin_before_park(spin)
        .spawn(move || async move { main().await })
        .expect("an executor")
        .join()
        .expect("it ends")
}

/// A thread that writes an eventfd now and then, noting when.
struct Trigger {
    fd: RawFd,
    at: AtomicU64,
    go: AtomicBool,
    stop: AtomicBool,
}

fn clock() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn trigger(pause: Duration) -> (Arc<Trigger>, std::thread::JoinHandle<()>) {
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    let trigger = Arc::new(Trigger {
        fd,
        at: AtomicU64::new(0),
        go: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    });
    let shared = trigger.clone();
    let thread = std::thread::spawn(move || {
        core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
        while !shared.stop.load(Ordering::Relaxed) {
            if !shared.go.swap(false, Ordering::Acquire) {
                std::hint::spin_loop();
                continue;
            }
            let from = Instant::now();
            while from.elapsed() < pause {
                std::hint::spin_loop();
            }
            shared.at.store(clock(), Ordering::Release);
            let one = 1u64;
            unsafe { libc::write(shared.fd, (&raw const one).cast(), 8) };
        }
    });
    (trigger, thread)
}

const PINGS: usize = 1000;

fn report(what: &str, mut latencies: Vec<u64>, cpu: f64) {
    latencies.sort_unstable();
    let at = |p: f64| latencies[(latencies.len() as f64 * p) as usize] as f64 / 1000.0;
    println!("{what:<46} median {:>6.1} us  p90 {:>6.1} us  cpu {:>6.1} us/op", at(0.5), at(0.9), cpu);
}

fn cpu_micros() -> f64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    let micros = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

fn ping(way: Option<Way>, flags: &'static str, spin: Duration) {
    let (trigger, thread) = trigger(Duration::from_micros(if spin.is_zero() { 150 } else { 20 }));
    let shared = trigger.clone();
    let (latencies, cpu) = executor(spin, async move || {
        let ring = way.map(|way| Ring::new(way, flags));
        let file = unsafe { BufferedFile::from_raw_fd(libc::dup(shared.fd)) };
        let mut latencies = Vec::with_capacity(PINGS);
        let from = cpu_micros();
        for _ in 0..PINGS {
            let mut count = 0u64;
            shared.go.store(true, Ordering::Release);
            match &ring {
                Some(ring) => {
                    let read = opcode::Read::new(types::Fd(shared.fd), (&raw mut count).cast(), 8).build();
                    assert_eq!(ring.begin(read).await, 8);
                }
                None => {
                    file.read_at(0, 8).await.expect("a count");
                }
            }
            latencies.push(clock() - shared.at.load(Ordering::Acquire));
        }
        (latencies, (cpu_micros() - from) / PINGS as f64)
    });
    trigger.stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let spin = if spin.is_zero() { "parked" } else { "spinning" };
    report(&format!("ping, {spin}, {}", name(way, flags)), latencies, cpu);
}

fn name(way: Option<Way>, flags: &str) -> String {
    match way {
        None => "executor alone".to_owned(),
        Some(way) => format!("{way:?} {flags}"),
    }
}

fn bare_ring_ping() {
    let (trigger, thread) = trigger(Duration::from_micros(150));
    let shared = trigger.clone();
    let worker = std::thread::spawn(move || {
        core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
        let mut ring = IoUring::new(8).unwrap();
        let mut latencies = Vec::new();
        let from = cpu_micros();
        for _ in 0..PINGS {
            let mut count = 0u64;
            let read = opcode::Read::new(types::Fd(shared.fd), (&raw mut count).cast(), 8).build();
            unsafe { ring.submission().push(&read).unwrap() };
            shared.go.store(true, Ordering::Release);
            ring.submit_and_wait(1).unwrap();
            latencies.push(clock() - shared.at.load(Ordering::Acquire));
            assert_eq!(ring.completion().next().unwrap().result(), 8);
        }
        (latencies, (cpu_micros() - from) / PINGS as f64)
    });
    let (latencies, cpu) = worker.join().unwrap();
    trigger.stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    report("ping, parked, bare ring", latencies, cpu);
}

/// Rounds of direct 4 KiB overwrites, `depth` at a time.
fn disk(way: Way, flags: &'static str, depth: usize, spin: Duration) {
    let path = std::env::temp_dir().join(format!("ottla-ring-wake-{}", std::process::id()));
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .expect("a file for direct I/O in the temp folder");
    let mut buffer = vec![0u8; 1 << 20];
    let aligned = buffer.as_mut_ptr().align_offset(4096);
    unsafe {
        assert_eq!(libc::pwrite(file.as_raw_fd(), buffer[aligned..].as_ptr().cast(), 512 << 10, 0), 512 << 10)
    };
    file.sync_all().unwrap();
    let total = if depth == 1 { 4000 } else { 40_000 };
    let (elapsed, cpu, enters, wakes) = executor(spin, async move || {
        let ring = Ring::new(way, flags);
        let from = (Instant::now(), cpu_micros());
        let mut tasks = Vec::new();
        let address = buffer[aligned..].as_ptr() as usize;
        for lane in 0..depth {
            let (ring, fd) = (ring.clone(), file.as_raw_fd());
            tasks.push(glommio::spawn_local(async move {
                for _ in 0..total / depth {
                    let from = (address + lane * 4096) as *const u8;
                    let write =
                        opcode::Write::new(types::Fd(fd), from, 4096).offset(lane as u64 * 4096).build();
                    assert_eq!(ring.begin(write).await, 4096);
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        drop(buffer);
        (from.0.elapsed(), cpu_micros() - from.1, ring.enters.get(), ring.wakes.get())
    });
    std::fs::remove_file(&path).unwrap();
    println!(
        "disk, depth {depth:>2}, {}, {:<20} {:>7.0}/s  {:>6.1} us/op  cpu {:>5.2} us/op  enters/op {:.2}  wakes/op {:.2}",
        if spin.is_zero() { "parking " } else { "spinning" },
        name(Some(way), flags),
        total as f64 / elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e6 / total as f64,
        cpu / total as f64,
        enters as f64 / total as f64,
        wakes as f64 / total as f64,
    );
}

fn main() {
    let spin = Duration::from_millis(1);
    let ways = [Way::LinkedSend, Way::EventFd, Way::RingPoll];
    bare_ring_ping();
    for spin in [Duration::ZERO, spin] {
        ping(None, "", spin);
        for way in ways {
            for flags in ["", "cs"] {
                ping(Some(way), flags, spin);
            }
        }
    }
    for depth in [1, 32] {
        for spin in [Duration::ZERO, spin] {
            for way in ways {
                for flags in ["", "cs"] {
                    disk(way, flags, depth, spin);
                }
            }
        }
    }
}
