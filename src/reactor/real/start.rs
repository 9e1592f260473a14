//! Starting a node's cores, and stopping them.

use std::any::Any;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use super::core::{Core, fatal_when_it_panics};
use crate::reactor::bus::RemoteWaker;
use crate::reactor::{CoreMain, CoreSpec, Reactor};

/// Entries of each of glommio's rings, which serve its sockets and timers alone.
const GLOMMIO_RING_DEPTH: usize = 256;
/// glommio's preemption timer; a shorter one makes the fault likelier that `core::beat` tells of.
const SHORTEST_PREEMPT: Duration = Duration::from_millis(20);
/// Helper threads of a core for calls that block.
const HELPER_THREADS: usize = 2;

/// Carries the wish to stop to each core of a node.
pub(super) struct StopLine {
    asked: AtomicBool,
    cores: Vec<RemoteWaker>,
}

impl StopLine {
    fn new(cores: usize) -> Arc<StopLine> {
        let cores = (0..cores).map(|_| RemoteWaker::default()).collect();
        Arc::new(StopLine { asked: AtomicBool::new(false), cores })
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.cores.iter().for_each(RemoteWaker::wake);
    }

    /// Resolves when the node is asked to stop.
    pub(super) async fn requested(&self, core: usize) {
        while !self.asked.load(Ordering::SeqCst) {
            self.cores[core].wait().await;
        }
    }
}

/// Runs a node: one thread for each core, named `ottla-<core>`. Returns when every core's main function has
/// ended, or at once with an error if one core cannot be set up; then none has run.
///
/// A panic on any core ends the process.
pub fn run(cores: Vec<(CoreSpec, CoreMain)>) -> io::Result<()> {
    let count = cores.len();
    let stop = StopLine::new(count);
    listen_for_signals(&stop)?;
    let (ready, all_ready) = mpsc::channel();
    let mut go = Vec::new();
    let mut threads = Vec::new();
    for (core, (spec, main)) in cores.into_iter().enumerate() {
        let (say_go, told) = mpsc::channel::<()>();
        let (ready, stop) = (ready.clone(), stop.clone());
        let thread = thread::Builder::new()
            .name(format!("ottla-{core}"))
            .spawn(move || run_core(core, count, spec, main, stop, ready, told))?;
        threads.push(thread);
        go.push(say_go);
    }
    drop(ready);
    let failed = all_ready.iter().find_map(|(core, result): (usize, io::Result<()>)| {
        result.err().map(|e| io::Error::new(e.kind(), format!("core {core} cannot start: {e}")))
    });
    if failed.is_none() {
        // A core that has gone is found when it is joined.
        for go in &go {
            let _ = go.send(());
        }
    }
    drop(go);
    for thread in threads {
        if let Err(payload) = thread.join() {
            give_up("a core", &payload);
        }
    }
    failed.map_or(Ok(()), Err)
}

type Readiness = mpsc::Sender<(usize, io::Result<()>)>;

fn run_core(
    core: usize,
    cores: usize,
    spec: CoreSpec,
    main: CoreMain,
    stop: Arc<StopLine>,
    ready: Readiness,
    told: mpsc::Receiver<()>,
) {
    let executor = LocalExecutorBuilder::new(spec.cpu.map_or(Placement::Unbound, Placement::Fixed))
        .spin_before_park(spec.spin_before_park)
        .preempt_timer(spec.preempt.max(SHORTEST_PREEMPT))
        .ring_depth(GLOMMIO_RING_DEPTH)
        .io_memory(0)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(HELPER_THREADS))
        .make();
    let executor = match executor {
        Ok(executor) => executor,
        Err(e) => return drop(ready.send((core, Err(io::Error::from(e))))),
    };
    executor.run(async move {
        let made = match Core::new(core, cores, &spec, stop) {
            Ok(made) => made,
            Err(e) => return drop(ready.send((core, Err(e)))),
        };
        drop(ready.send((core, Ok(()))));
        drop(ready);
        // Nothing runs on this core yet, so it may block.
        if told.recv().is_ok() {
            let task = main(Reactor::Real(made.clone()));
            fatal_when_it_panics(core, task).await;
        }
        made.end().await;
    });
}

/// Ends the process because of a panic.
pub(super) fn panicked(who: &str, payload: &(dyn Any + Send)) -> ! {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let message = format!(
        "ottla: {who} panicked: {text}\nottla: a broker that lost a part of itself must not go on; the process ends. \
         Its logs are recovered at the next start.\n"
    );
    // Written past the standard library, which may hold the message back for a test that never ends.
    // SAFETY: the bytes are valid for their length.
    unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
    std::process::abort()
}

/// Ends the process because of a panic that was caught as a whole.
pub(super) fn give_up(who: &str, payload: &Box<dyn Any + Send>) -> ! {
    panicked(who, &**payload)
}

/// The write end of the pipe from the signal handler to the thread that tells the cores.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);
static SIGNALLED: AtomicBool = AtomicBool::new(false);
/// The nodes of this process.
static NODES: Mutex<Vec<Weak<StopLine>>> = Mutex::new(Vec::new());

/// Catches SIGTERM and SIGINT, once per process, and has them told to this node too.
fn listen_for_signals(stop: &Arc<StopLine>) -> io::Result<()> {
    static CAUGHT: OnceLock<Result<(), String>> = OnceLock::new();
    let caught = CAUGHT.get_or_init(|| catch_signals().map_err(|e| e.to_string()));
    caught.clone().map_err(|e| io::Error::other(format!("signals cannot be caught: {e}")))?;
    let mut nodes = NODES.lock().expect("no holder of this lock panics");
    nodes.retain(|node| node.strong_count() > 0);
    nodes.push(Arc::downgrade(stop));
    Ok(())
}

fn catch_signals() -> io::Result<()> {
    let mut ends = [0; 2];
    // SAFETY: two descriptors of our own.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's. The write end stays open for good.
    let read_end = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    SIGNAL_PIPE.store(ends[1], Ordering::SeqCst);
    thread::Builder::new().name("ottla-signals".to_owned()).spawn(move || tell_nodes(&read_end))?;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler only does what a signal handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            if libc::sigaction(signal, &action, std::ptr::null_mut()) < 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// The first signal asks the nodes to stop; the second ends the process at once.
extern "C" fn on_signal(signal: libc::c_int) {
    if SIGNALLED.swap(true, Ordering::SeqCst) {
        // SAFETY: allowed in a signal handler.
        unsafe { libc::_exit(128 + signal) };
    }
    // SAFETY: allowed in a signal handler.
    unsafe { libc::write(SIGNAL_PIPE.load(Ordering::SeqCst), [1u8].as_ptr().cast(), 1) };
}

fn tell_nodes(pipe: &OwnedFd) {
    let mut byte = [0u8; 1];
    loop {
        // SAFETY: one byte of our own.
        let got = unsafe { libc::read(pipe.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
        if got == 1 {
            let nodes = NODES.lock().expect("no holder of this lock panics");
            nodes.iter().filter_map(Weak::upgrade).for_each(|node| node.ask());
        }
    }
}
