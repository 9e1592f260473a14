//! How fast work goes on behind the requests: within a rate of bytes, and courteously while there are appends.

use std::time::Duration;

use crate::reactor::Nanos;

/// While records are appended, work waits so many times as long as it took the disk and the core: whatever the disk can
/// do, most of it is left to those who wait for acknowledgements. A disk that falls behind is left alone the longer.
const COURTESY: u32 = 3;
/// So long after an append the next is expected.
const EXPECTED: Duration = Duration::from_millis(100);
/// What is owed is slept in one piece, not at every step.
const SHORTEST: Duration = Duration::from_millis(1);

/// The pace of one piece of work.
pub struct Pace {
    bytes_per_second: f64,
    began: Nanos,
    bytes: u64,
    resumed: Nanos,
    owed: Duration,
    courteous_until: Nanos,
}

impl Pace {
    /// Work that begins now, and may read and write so many bytes a second.
    pub fn new(now: Nanos, bytes_per_second: f64) -> Pace {
        let (bytes, owed) = (0, Duration::ZERO);
        Pace { bytes_per_second, began: now, bytes, resumed: now, owed, courteous_until: Nanos(0) }
    }

    /// Goes at this rate from now on; what was done at another is forgotten.
    pub fn keep_to(&mut self, now: Nanos, bytes_per_second: f64) {
        if self.bytes_per_second != bytes_per_second {
            (self.bytes_per_second, self.began, self.bytes) = (bytes_per_second, now, 0);
        }
    }

    /// A step has ended that read or wrote these bytes, and something was appended meanwhile, or not. Says how long to
    /// wait before the next, if at all.
    pub fn step(&mut self, now: Nanos, bytes: usize, appended: bool) -> Option<Duration> {
        self.bytes += bytes as u64;
        if appended {
            self.courteous_until = now + EXPECTED;
        }
        let worked = now.since(self.resumed);
        self.owed = if now < self.courteous_until { self.owed + worked * COURTESY } else { Duration::ZERO };
        let due = self.bytes as f64 / self.bytes_per_second - now.since(self.began).as_secs_f64();
        // A rate of nothing is waited at until there is another.
        let due = if due == f64::INFINITY {
            Duration::MAX
        } else {
            Duration::try_from_secs_f64(due).unwrap_or_default()
        };
        let wait = due.max(self.owed);
        if wait < SHORTEST {
            return None;
        }
        self.owed = Duration::ZERO;
        Some(wait)
    }

    /// The next step begins.
    pub fn resume(&mut self, now: Nanos) {
        self.resumed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How long steps of 100 kB, which take so long each, take in all.
    fn took(bytes_per_second: f64, each: Duration, appended: impl Fn(Nanos) -> bool) -> Duration {
        let mut now = Nanos(5);
        let mut pace = Pace::new(now, bytes_per_second);
        for _ in 0..100 {
            now = now + each;
            if let Some(wait) = pace.step(now, 100_000, appended(now)) {
                now = now + wait;
            }
            pace.resume(now);
        }
        now.since(Nanos(5))
    }

    #[test]
    fn goes_at_the_rate_that_is_set_and_no_faster() {
        assert_eq!(took(10e6, MS / 10, |_| false), 1000 * MS);
        assert_eq!(took(f64::MAX, MS / 10, |_| false), 10 * MS, "alone and without a limit it does not wait");
        assert_eq!(took(10e6, 20 * MS, |_| false), 2000 * MS, "a slow disk need not be waited for twice");
    }

    #[test]
    fn another_rate_holds_at_once() {
        let at = |seconds: u64| Nanos(seconds * 1_000_000_000);
        let mut pace = Pace::new(at(0), 1000.0);
        assert_eq!(pace.step(at(0), 10_000, false), Some(10_000 * MS));
        pace.keep_to(at(1), 10_000.0);
        assert_eq!(pace.step(at(1), 10_000, false), Some(1000 * MS));
        pace.keep_to(at(2), 0.0);
        assert_eq!(pace.step(at(2), 1, false), Some(Duration::MAX));
        pace.keep_to(at(3), f64::MAX);
        assert_eq!(pace.step(at(3), 1, false), None);
    }

    #[test]
    fn leaves_most_of_the_time_to_appends() {
        for each in [MS / 10, MS, 50 * MS] {
            let all = took(f64::MAX, each, |_| true);
            assert!(all >= 395 * each && all <= 400 * each, "{all:?} for 100 times {each:?}");
        }
        assert_eq!(took(10e6, MS, |_| true), 1000 * MS, "the stricter of both");
    }

    #[test]
    fn hurries_when_appends_have_ended() {
        let all = took(f64::MAX, 10 * MS, |now| now < Nanos(5) + 200 * MS);
        // 5 steps of 40 ms, and about 3 more while an append is still expected.
        assert!(all >= 1200 * MS && all <= 1300 * MS, "{all:?}");
    }
}
