//! A broker that is killed again and again while clients write to it.
//!
//! `kill -9` takes what the process had in memory and leaves what it had handed to the system: this shows that
//! recovery keeps what was acknowledged, not that flushes reach the disk (the simulator shows that). A seed chooses
//! the moments; OTTLA_CRASH_SEED chooses the seed, OTTLA_CRASH_CYCLES how often the broker is killed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test runs a broker and clients as processes and threads"
)]

#[path = "../support/mod.rs"]
mod broker;
mod churn;
mod ledger;
mod readers;
mod writers;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use broker::Broker;
use churn::Churn;
use ledger::Ledger;
use readers::{Follower, Looker};

/// How long anything may take before the test counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the test has failed, and nobody has to wait for anything any more.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Waits no longer once the test has failed, or for too long.
pub fn wait_on(until: Instant, what: impl FnOnce() -> String) {
    assert!(!FAILED.load(Relaxed), "the test has failed elsewhere");
    assert!(Instant::now() < until, "{}", what());
}

/// Numbers that follow from a seed.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }

    /// A time of so many milliseconds.
    pub fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    let seed = setting("OTTLA_CRASH_SEED", std::process::id().into());
    let cycles = setting("OTTLA_CRASH_CYCLES", 50);
    println!("seed {seed}: OTTLA_CRASH_SEED={seed} chooses the same moments again");
    let mut chance = Chance::new(seed);
    let mut broker = Broker::start();
    let address = broker.address.clone();
    let ledger = Ledger::default();
    let writers = writers::all(&address, &ledger);
    let churn = Churn::new(&address, &ledger, seed);
    let looker = Looker::new(&address);
    let (stop, seen_all) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let _fail = Fail;
        let threads: Vec<_> = writers.iter().map(|writer| scope.spawn(|| writer.run(&stop))).collect();
        let churning = scope.spawn(|| churn.run(&stop));
        let follower = scope.spawn(|| Follower::new(&address, &ledger).run(&seen_all));
        for cycle in 0..cycles {
            live(&mut broker, &mut chance);
            ledger.killed();
            start_again(&mut broker, &mut chance, &ledger);
            churn.check();
            looker.check(&ledger, &mut chance);
            assert!(!threads.iter().any(|thread| thread.is_finished()), "a writer ended in cycle {cycle}");
            assert!(!churning.is_finished() && !follower.is_finished(), "a client ended in cycle {cycle}");
        }
        stop.store(true, Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        churning.join().unwrap();
        seen_all.store(true, Relaxed);
        let seen = follower.join().unwrap();
        churn.check();
        let logs = readers::all(&address, &ledger);
        ledger.check(&logs);
        seen.check(&logs);
        println!("{}", ledger.summary(&logs));
    });
    broker.stop();
    let data = broker.data().display().to_string();
    let folders = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> =
        folders.filter(|path| path.is_dir()).map(|path| path.display().to_string()).collect();
    broker.ottla(&[vec!["dump", "--verdict-only"], folders.iter().map(String::as_str).collect()].concat());
}

/// Lets the broker live for a while, and kills it.
fn live(broker: &mut Broker, chance: &mut Chance) {
    match chance.below(3) {
        0 => thread::sleep(chance.millis(0..100)),
        1 => thread::sleep(chance.millis(0..800)),
        _ => thread::sleep(chance.millis(300..1200)),
    }
    broker.kill();
}

/// Starts the broker until it serves; now and then it is killed while it starts, or stopped cleanly once more.
fn start_again(broker: &mut Broker, chance: &mut Chance, ledger: &Ledger) {
    while chance.below(5) == 0 {
        broker.begin();
        thread::sleep(chance.millis(0..400));
        broker.kill();
        ledger.killed();
    }
    broker.begin();
    broker.wait();
    if chance.below(10) == 0 {
        broker.stop();
        ledger.killed();
        broker.begin();
        broker.wait();
    }
}

/// Tells the other threads when this one fails.
struct Fail;

impl Drop for Fail {
    fn drop(&mut self) {
        if thread::panicking() {
            FAILED.store(true, Relaxed);
        }
    }
}
