//! Helper threads for calls that block.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use super::start::panicked;
use crate::reactor::bus::RemoteWaker;

/// Helper threads of the process. What they run is rare, and mostly waits for the disk.
const HELPERS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The line to the helpers, who are started with the first job and stay.
fn helpers() -> &'static Sender<Job> {
    static LINE: OnceLock<Sender<Job>> = OnceLock::new();
    LINE.get_or_init(|| {
        let (line, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for helper in 0..HELPERS {
            let jobs = jobs.clone();
            let started = thread::Builder::new().name(format!("ottla-helper-{helper}")).spawn(move || {
                while let Some(job) = next(&jobs) {
                    job()
                }
            });
            started.expect("the system refuses a thread: raise the limit on tasks (ulimit -u, TasksMax)");
        }
        line
    })
}

fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Runs a call that may block on a helper thread.
pub(super) async fn beside<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    struct Result<T> {
        value: Mutex<Option<T>>,
        done: RemoteWaker,
    }
    let result = Arc::new(Result { value: Mutex::new(None), done: RemoteWaker::default() });
    let there = result.clone();
    run_beside(move || {
        let value = call();
        *there.value.lock().expect("no holder of this lock panics") = Some(value);
        there.done.wake();
    });
    result.done.wait().await;
    let value = result.value.lock().expect("no holder of this lock panics").take();
    value.expect("the helper wakes when the value is there")
}

/// Has a helper thread run a call whose end nobody waits for.
fn run_beside(call: impl FnOnce() + Send + 'static) {
    // A panic would end the helper and leave its core waiting for good.
    let guarded = move || {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
            panicked("a helper thread", &*payload);
        }
    };
    helpers().send(Box::new(guarded)).expect("the helpers never end");
}

/// Closes a descriptor on a helper thread.
pub(super) fn close_beside(fd: OwnedFd) {
    run_beside(move || drop(fd));
}
