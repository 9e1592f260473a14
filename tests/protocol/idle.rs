//! Thousands of connections that say nothing.

use crate::bystander::Bystander;
use crate::raw::Raw;
use crate::target::Target;

const IDLE: usize = 5_000;

/// Allows this process as many open files as the system does.
fn raise_open_files(needed: usize) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for both calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
    assert!(
        limit.rlim_cur as usize > needed,
        "this test opens {needed} files, and {} are allowed: raise the hard limit (ulimit -Hn)",
        limit.rlim_cur
    );
}

#[test]
fn thousands_of_idle_connections() {
    raise_open_files(IDLE + 200);
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let memory = target.watch_memory();
    let mut idle = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        let mut raw = Raw::connect(&target.address);
        // Some have asked before, and some have begun to ask.
        match number % 4 {
            0 => assert!(raw.is_served()),
            1 => assert!(raw.send(&[0, 0])),
            _ => {}
        }
        idle.push(raw);
        if number % 500 == 0 {
            bystander.goes_on();
        }
    }
    bystander.goes_on();
    memory.check(IDLE as u64);
    // They are still there, and are served.
    for raw in idle.iter_mut().step_by(4) {
        assert!(raw.is_served());
    }
    let last = idle.split_off(IDLE - 100);
    drop(idle);
    bystander.goes_on();
    for (number, mut raw) in last.into_iter().enumerate().filter(|(number, _)| number % 4 != 1) {
        assert!(raw.is_served(), "{number}");
    }
    bystander.end();
    memory.check(IDLE as u64);
}
