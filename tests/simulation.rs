//! The broker's own code under the simulated clock, network and disk.
//!
//! `OTTLA_SEEDS=2000 cargo test --test simulation` runs that many seeds (300 otherwise), and
//! `OTTLA_SEED=17 cargo test --test simulation` replays one and leaves its trace in `target/simulation-17.txt`.

#![allow(clippy::disallowed_methods, reason = "a test runs outside of the seam")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla::sim::storage;

const SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is '{value}'; it takes a number")))
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_comes_back_from_the_dead() {
    if let Some(seed) = number("OTTLA_SEED") {
        return replay(seed);
    }
    let seeds = number("OTTLA_SEEDS").unwrap_or(SEEDS);
    let first = number("OTTLA_FIRST_SEED").unwrap_or(0);
    let (failed, sum) = (Mutex::new(Vec::new()), Mutex::new(storage::Report::default()));
    let next = AtomicU64::new(first);
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            match std::panic::catch_unwind(|| storage::run(seed)) {
                Ok(report) => sum.lock().unwrap().add(&report),
                Err(_) => failed.lock().unwrap().push(seed),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(run);
        }
    });
    let (mut failed, sum) = (failed.into_inner().unwrap(), sum.into_inner().unwrap());
    failed.sort_unstable();
    println!("{seeds} seeds: {sum:?}");
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed: {:?}; replay the first with OTTLA_SEED={} cargo test --test simulation",
        failed.len(),
        &failed[..failed.len().min(20)],
        failed[0]
    );
    assert!(sum.acknowledged > seeds && sum.consumed > seeds, "the runs did something: {sum:?}");
    assert!(sum.power_losses > seeds && sum.kills > 0 && sum.stops > 0 && sum.disk_failures > 0, "{sum:?}");
}

fn replay(seed: u64) {
    tracing_subscriber::fmt().without_time().with_writer(std::io::stderr).init();
    let path = format!("{}/target/simulation-{seed}.txt", env!("CARGO_MANIFEST_DIR"));
    let report = storage::run_traced(seed, 5_000_000, |trace| {
        std::fs::write(&path, trace).unwrap_or_else(|error| panic!("{path}: {error}"));
        println!("{} lines of trace in {path}", trace.lines().count());
    });
    println!("seed {seed}: {report:?}");
}
