//! A core's loop and the bus, beside glommio's in the same run: latency of a wake, and CPU for each operation.
//!
//! `cargo bench --bench core`. The disk part writes one file in the temp folder.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench of the layer at the seam")]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_io::AsyncRead;
use glommio::channels::shared_channel;
use glommio::{LocalExecutorBuilder, Placement};
use ottla::reactor::bus::{BusEnd, mesh};
use ottla::reactor::sync::completion;
use ottla::reactor::{Class, CoreMain, CoreSpec, Reactor, Share, real};

fn spec(cpu: usize, spin: Duration) -> CoreSpec {
    CoreSpec { cpu: Some(cpu), spin_before_park: spin, ..CoreSpec::default() }
}

/// Runs one core on CPU 0.
fn on_core<T: Send + 'static>(spin: Duration, main: impl AsyncFnOnce(Reactor) -> T + Send + 'static) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    let main: CoreMain =
        Box::new(move |reactor| Box::pin(async move { tell.send(main(reactor).await).unwrap() }));
    real::run(vec![(spec(0, spin), main)]).expect("it runs");
    told.recv().unwrap()
}

fn on_glommio<T: Send + 'static>(spin: Duration, main: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    LocalExecutorBuilder::new(Placement::Fixed(0))
        .spin_before_park(spin)
        .spawn(move || async move { main().await })
        .expect("an executor")
        .join()
        .expect("it ends")
}

fn clock() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn cpu_micros() -> f64 {
    // SAFETY: zeros are a valid usage, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage
    };
    let micros = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

fn report(what: &str, mut latencies: Vec<u64>, cpu: f64) {
    latencies.sort_unstable();
    let at = |p: f64| latencies[(latencies.len() as f64 * p) as usize] as f64 / 1000.0;
    println!("{what:<40} median {:>6.1} us  p90 {:>6.1} us  cpu {:>6.1} us/op", at(0.5), at(0.9), cpu);
}

const PINGS: usize = 3000;

/// A thread that sends a byte over loopback some time after it was asked to, and notes when.
struct Pinger {
    at: AtomicU64,
    go: AtomicBool,
    stop: AtomicBool,
}

fn pinger(pause: Duration) -> (Arc<Pinger>, TcpStream, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (there, _) = listener.accept().unwrap();
    let pinger =
        Arc::new(Pinger { at: AtomicU64::new(0), go: AtomicBool::new(false), stop: AtomicBool::new(false) });
    let shared = pinger.clone();
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
            here.write_all(&[1]).unwrap();
        }
    });
    (pinger, there, thread)
}

async fn pings(pinger: &Pinger, mut receive: impl AsyncFnMut()) -> (Vec<u64>, f64) {
    let mut latencies = Vec::with_capacity(PINGS);
    let from = cpu_micros();
    for _ in 0..PINGS {
        pinger.go.store(true, Ordering::Release);
        receive().await;
        latencies.push(clock() - pinger.at.load(Ordering::Acquire));
    }
    (latencies, (cpu_micros() - from) / PINGS as f64)
}

fn wake_by_socket(spin: Duration) {
    let pause = Duration::from_micros(if spin.is_zero() { 150 } else { 20 });
    let how = if spin.is_zero() { "parked" } else { "spinning" };
    if spin.is_zero() {
        let (ping, mut there, thread) = pinger(pause);
        let worker = {
            let ping = ping.clone();
            std::thread::spawn(move || {
                core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
                let mut latencies = Vec::new();
                let from = cpu_micros();
                for _ in 0..PINGS {
                    ping.go.store(true, Ordering::Release);
                    there.read_exact(&mut [0]).unwrap();
                    latencies.push(clock() - ping.at.load(Ordering::Acquire));
                }
                (latencies, (cpu_micros() - from) / PINGS as f64)
            })
        };
        let (latencies, cpu) = worker.join().unwrap();
        ping.stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        report("socket, blocking thread", latencies, cpu);
    }
    let (ping, there, thread) = pinger(pause);
    let shared = ping.clone();
    let (latencies, cpu) = on_glommio(spin, async move || {
        let mut stream = {
            use std::os::fd::{FromRawFd, IntoRawFd};
            // SAFETY: the descriptor is handed over.
            unsafe { glommio::net::TcpStream::from_raw_fd(there.into_raw_fd()) }
        };
        pings(&shared, async || {
            let got = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut [0])).await;
            assert_eq!(got.unwrap(), 1);
        })
        .await
    });
    ping.stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    report(&format!("socket, {how}, glommio"), latencies, cpu);

    let (ping, there, thread) = pinger(pause);
    let shared = ping.clone();
    let (latencies, cpu) = on_core(spin, async move |r: Reactor| {
        let (mut receiver, _sender) =
            r.adopt(ottla::reactor::Accepted::Real(real::accepted(there).unwrap())).unwrap();
        pings(&shared, async || assert_eq!(receiver.receive(&mut [0]).await.unwrap(), 1)).await
    });
    ping.stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    report(&format!("socket, {how}, ottla"), latencies, cpu);
}

fn disk(depth: usize, spin: Duration) {
    let path = std::env::temp_dir().join(format!("ottla-core-bench-{}", std::process::id()));
    let total = if depth == 1 { 4000 } else { 40_000 };
    let there = path.clone();
    let (elapsed, cpu) = on_core(spin, async move |r: Reactor| {
        let file = r.disk().open(&there, true).await.unwrap();
        let mut chunk = r.pool().chunk(Share::Tail, 1 << 20).await;
        chunk.append(&vec![7; 1 << 20]);
        let data = chunk.freeze();
        file.write_at(data.clone(), 0).await.unwrap();
        file.flush().await.unwrap();
        let from = (Instant::now(), cpu_micros());
        let ended = Rc::new(RefCell::new(Vec::new()));
        for lane in 0..depth {
            let (done, end) = completion();
            ended.borrow_mut().push(end);
            let (file, data) = (file.clone(), data.slice(lane * 4096..(lane + 1) * 4096));
            r.spawn(Class::Request, async move {
                for _ in 0..total / depth {
                    file.write_at(data.clone(), lane as u64 * 4096).await.unwrap();
                }
                done.complete(());
            });
        }
        for end in ended.take() {
            end.await;
        }
        (from.0.elapsed(), cpu_micros() - from.1)
    });
    std::fs::remove_file(&path).unwrap();
    println!(
        "disk, depth {depth:>2}, {}  {:>7.0}/s  {:>6.1} us/op  cpu {:>5.2} us/op",
        if spin.is_zero() { "parking " } else { "spinning" },
        total as f64 / elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e6 / total as f64,
        cpu / total as f64,
    );
}

/// Both cores of a pair, each with its end of the bus.
fn on_two_cores(
    spin: Duration,
    a: impl AsyncFnOnce(BusEnd<u64>) + Send + 'static,
    b: impl AsyncFnOnce(BusEnd<u64>) + Send + 'static,
) {
    let mut ends = mesh::<u64>(2);
    let (end_b, end_a) = (ends.pop().unwrap(), ends.pop().unwrap());
    let a: CoreMain = Box::new(move |_| Box::pin(async move { a(end_a).await }));
    let b: CoreMain = Box::new(move |_| Box::pin(async move { b(end_b).await }));
    real::run(vec![(spec(0, spin), a), (spec(1, spin), b)]).expect("it runs");
}

const TRIPS: u64 = 20_000;
const BULK: u64 = 2_000_000;

fn bus(spin: Duration) {
    let how = if spin.is_zero() { "parked" } else { "spinning" };
    on_two_cores(
        spin,
        async move |end| {
            let (from, cpu) = (Instant::now(), cpu_micros());
            for i in 0..TRIPS {
                end.send(1, i).await;
                assert_eq!(end.receive().await, (1, i));
            }
            let each = from.elapsed().as_secs_f64() * 1e6 / TRIPS as f64;
            let cpu = (cpu_micros() - cpu) / TRIPS as f64;
            println!("bus round trip, {how}, ottla: {each:.1} us, cpu {cpu:.1} us on one side");
        },
        async move |end| {
            for _ in 0..TRIPS {
                let (from, i) = end.receive().await;
                end.send(from, i).await;
            }
        },
    );
    glommio_pair(spin, TRIPS, 1, &format!("bus round trip, {how}, glommio"));
    // At depth 64.
    on_two_cores(
        spin,
        async move |end| {
            let from = Instant::now();
            for i in 0..64 {
                end.send(1, i).await;
            }
            for i in 64..BULK {
                end.receive().await;
                end.send(1, i).await;
            }
            for _ in 0..64 {
                end.receive().await;
            }
            let rate = BULK as f64 / from.elapsed().as_secs_f64() / 1e6;
            println!("bus depth 64, {how}, ottla: {rate:.2} million round trips/s");
        },
        async move |end| {
            for _ in 0..BULK {
                let (from, i) = end.receive().await;
                end.send(from, i).await;
            }
        },
    );
    glommio_pair(spin, BULK, 64, &format!("bus depth 64, {how}, glommio"));
}

fn glommio_pair(spin: Duration, trips: u64, depth: u64, what: &str) {
    let (to_b, from_a) = shared_channel::new_bounded::<u64>(1024);
    let (to_a, from_b) = shared_channel::new_bounded::<u64>(1024);
    let what = what.to_owned();
    let b = LocalExecutorBuilder::new(Placement::Fixed(1))
        .spin_before_park(spin)
        .spawn(move || async move {
            let (from_a, to_a) = (from_a.connect().await, to_a.connect().await);
            for _ in 0..trips {
                let i = from_a.recv().await.unwrap();
                to_a.send(i).await.unwrap();
            }
        })
        .unwrap();
    on_glommio(spin, async move || {
        let (to_b, from_b) = (to_b.connect().await, from_b.connect().await);
        let (from, cpu) = (Instant::now(), cpu_micros());
        for i in 0..depth {
            to_b.send(i).await.unwrap();
        }
        for i in depth..trips {
            from_b.recv().await.unwrap();
            to_b.send(i).await.unwrap();
        }
        for _ in 0..depth {
            from_b.recv().await.unwrap();
        }
        let seconds = from.elapsed().as_secs_f64();
        let cpu = (cpu_micros() - cpu) / trips as f64;
        if depth == 1 {
            println!("{what}: {:.1} us, cpu {cpu:.1} us on one side", seconds * 1e6 / trips as f64);
        } else {
            println!("{what}: {:.2} million round trips/s", trips as f64 / seconds / 1e6);
        }
    });
    b.join().unwrap();
}

fn main() {
    let only = std::env::args().nth(1).filter(|a| !a.starts_with('-'));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    for spin in [Duration::ZERO, Duration::from_millis(1)] {
        if wanted("socket") {
            wake_by_socket(spin);
        }
        if wanted("disk") {
            disk(1, spin);
            disk(32, spin);
        }
        if wanted("bus") {
            bus(spin);
        }
    }
}
