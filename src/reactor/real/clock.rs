//! The two clocks.

use crate::reactor::Nanos;

/// The monotonic clock, the same on every core.
pub(super) fn now() -> Nanos {
    let time = read(libc::CLOCK_MONOTONIC);
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Milliseconds since 1970.
pub(super) fn wall_clock_ms() -> i64 {
    let time = read(libc::CLOCK_REALTIME);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid; these clocks exist everywhere.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time
}
