//! A broker that is killed again and again while clients write to it.
//!
//! `kill -9` takes what the process had in memory and leaves what it had handed to the system: this shows that
//! recovery keeps what was acknowledged, not that flushes reach the disk (the simulator and tests/power show that). A seed chooses
//! the moments; OTTLA_CRASH_SEED chooses the seed, OTTLA_CRASH_CYCLES how often the broker is killed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test runs a broker and clients as processes and threads"
)]

#[path = "../support/mod.rs"]
mod broker;
#[path = "../support/load/mod.rs"]
mod load;
mod readers;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use broker::Broker;
use load::churn::Churn;
use load::ledger::Ledger;
use load::{Chance, Fail, setting, writers};
use readers::{Follower, Looker};

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
