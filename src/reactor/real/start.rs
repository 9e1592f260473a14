//! Starting a node's cores, and stopping them.

use std::any::Any;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;

use super::core::Core;
use super::executor::Executor;
use super::lock::Locks;
use crate::reactor::bus::RemoteWaker;
use crate::reactor::{CoreMain, CoreSpec, Reactor};

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

/// What a node's cores have in common.
#[derive(Clone)]
struct Shared {
    stop: Arc<StopLine>,
    locks: Arc<Locks>,
}

/// Runs a node: one thread for each core, named `ottla-<core>`. Returns when every core's main function has
/// ended, or at once with an error if one core cannot be set up; then none has run.
///
/// A panic on any core ends the process.
pub fn run(cores: Vec<(CoreSpec, CoreMain)>) -> io::Result<()> {
    let count = cores.len();
    let shared = Shared { stop: StopLine::new(count), locks: Arc::default() };
    listen_for_signals(&shared.stop)?;
    let (ready, all_ready) = mpsc::channel();
    let mut go = Vec::new();
    let mut threads = Vec::new();
    for (core, (spec, main)) in cores.into_iter().enumerate() {
        let (say_go, told) = mpsc::channel::<()>();
        let (ready, shared) = (ready.clone(), shared.clone());
        let thread = thread::Builder::new()
            .name(format!("ottla-{core}"))
            .spawn(move || run_core(core, count, spec, main, shared, ready, told))?;
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
            panicked("a core", &*payload);
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
    shared: Shared,
    ready: Readiness,
    told: mpsc::Receiver<()>,
) {
    let made = spec.cpu.map_or(Ok(()), pin).and_then(|()| Executor::new(core, &spec));
    let executor = match made {
        Ok(executor) => executor,
        Err(e) => return drop(ready.send((core, Err(e)))),
    };
    drop(ready.send((core, Ok(()))));
    drop(ready);
    let reactor = Core::new(core, cores, &spec, executor.clone(), shared.stop, shared.locks);
    if told.recv().is_ok() {
        let run = catch_unwind(AssertUnwindSafe(|| executor.run(main(Reactor::Real(reactor)))));
        if let Err(payload) = run {
            panicked(&format!("core {core}"), &*payload);
        }
    }
}

/// Pins this thread to a CPU.
fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero set is empty, and `cpu` is checked before it is put in.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no CPU {cpu}")));
        }
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let advice = "name CPUs that this process may use (see taskset -p, or the container's cpuset)";
    Err(io::Error::new(error.kind(), format!("it cannot be pinned to CPU {cpu}: {error}; {advice}")))
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
