//! The broker's own code under the simulated clock, network and disk.
//!
//! `OTTLA_SEEDS=2000 cargo test --test simulation` runs that many seeds of each workload, and
//! `OTTLA_SEED=17 cargo test --test simulation shard` replays one and leaves its trace in `target/shard-17.txt`.

#![allow(clippy::disallowed_methods, reason = "a test runs outside of the seam")]

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla::sim::{compaction, node, storage, transactions};

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is '{value}'; it takes a number")))
}

/// Runs a seed, keeps so many lines of its trace and hands them on when it ends, however it ends.
type RunTraced<R> = fn(u64, usize, &dyn Fn(&str)) -> R;

/// A workload, and its report.
struct Workload<R: 'static> {
    name: &'static str,
    /// How many seeds are run where nobody says.
    seeds: u64,
    run: fn(u64) -> R,
    run_traced: RunTraced<R>,
    add: fn(&mut R, &R),
}

impl<R: Debug + Default + Send> Workload<R> {
    /// Runs many seeds; gives how many and the sum of their reports, or none where one seed was replayed.
    fn explore(&self) -> Option<(u64, R)> {
        if let Some(seed) = number("OTTLA_SEED") {
            self.replay(seed);
            return None;
        }
        let seeds = number("OTTLA_SEEDS").unwrap_or(self.seeds);
        let first = number("OTTLA_FIRST_SEED").unwrap_or(0);
        let (failed, sum) = (Mutex::new(Vec::new()), Mutex::new(R::default()));
        let next = AtomicU64::new(first);
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + seeds {
                    return;
                }
                match std::panic::catch_unwind(|| (self.run)(seed)) {
                    Ok(report) => (self.add)(&mut sum.lock().unwrap(), &report),
                    Err(_) => failed.lock().unwrap().push(seed),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let (mut failed, sum) = (failed.into_inner().unwrap(), sum.into_inner().unwrap());
        failed.sort_unstable();
        println!("{}: {seeds} seeds: {sum:?}", self.name);
        assert!(
            failed.is_empty(),
            "{} of {seeds} seeds failed: {:?}; replay the first: OTTLA_SEED={} cargo test --test simulation {}",
            failed.len(),
            &failed[..failed.len().min(20)],
            failed[0],
            self.name
        );
        Some((seeds, sum))
    }

    fn replay(&self, seed: u64) {
        let log = tracing_subscriber::fmt().without_time().with_writer(std::io::stderr).finish();
        let path = format!("{}/target/{}-{seed}.txt", env!("CARGO_MANIFEST_DIR"), self.name);
        let keep = |trace: &str| {
            std::fs::write(&path, trace).unwrap_or_else(|error| panic!("{path}: {error}"));
            println!("{} lines of trace in {path}", trace.lines().count());
        };
        let report = tracing::subscriber::with_default(log, || (self.run_traced)(seed, 5_000_000, &keep));
        println!("{} {seed}: {report:?}", self.name);
    }
}

#[test]
fn shard_loses_nothing_acknowledged_and_nothing_comes_back_from_the_dead() {
    let workload = Workload {
        name: "shard",
        seeds: 300,
        run: storage::run,
        run_traced: |seed, lines, keep| storage::run_traced(seed, lines, keep),
        add: storage::Report::add,
    };
    let Some((seeds, sum)) = workload.explore() else { return };
    assert!(sum.acknowledged > seeds && sum.consumed > seeds, "the runs did something: {sum:?}");
    assert!(sum.power_losses > seeds && sum.kills > 0 && sum.stops > 0 && sum.disk_failures > 0, "{sum:?}");
    assert!(sum.refused > seeds / 4 && sum.losses_accepted > 0 && sum.retained > 0, "{sum:?}");
    assert!(seeds < 100 || sum.rot_told > 0, "{sum:?}");
    assert!(sum.deletions > seeds, "{sum:?}");
}

#[test]
fn shard_transactions_are_read_whole_or_not_at_all() {
    let workload = Workload {
        name: "shard_transactions",
        seeds: 120,
        run: transactions::run,
        run_traced: |seed, lines, keep| transactions::run_traced(seed, lines, keep),
        add: transactions::Report::add,
    };
    let Some((seeds, sum)) = workload.explore() else { return };
    assert!(sum.committed > seeds && sum.aborted > seeds && sum.read > seeds, "{sum:?}");
    assert!(sum.told > seeds && sum.fenced > seeds / 2 && sum.power_losses > seeds, "{sum:?}");
}

#[test]
fn compaction_keeps_the_last_record_of_each_key() {
    let workload = Workload {
        name: "compaction",
        seeds: 80,
        run: compaction::run,
        run_traced: |seed, lines, keep| compaction::run_traced(seed, lines, keep),
        add: compaction::Report::add,
    };
    let Some((seeds, sum)) = workload.explore() else { return };
    assert!(sum.acknowledged > seeds && sum.found > seeds && sum.read_whole > seeds, "{sum:?}");
    assert!(sum.gone > seeds && sum.tombstones_gone > 0, "something was compacted: {sum:?}");
    assert!(sum.power_losses > seeds && sum.disk_failures > 0, "{sum:?}");
    assert!(sum.retained > 0 && sum.filled > seeds / 3 && sum.filled_in_exchange > 0, "{sum:?}");
}

#[test]
fn node_keeps_what_its_clients_were_told() {
    let workload = Workload {
        name: "node",
        seeds: 60,
        run: node::run,
        run_traced: |seed, lines, keep| node::run_traced(seed, lines, keep),
        add: node::Report::add,
    };
    let Some((seeds, sum)) = workload.explore() else { return };
    assert!(sum.acknowledged > seeds && sum.consumed > seeds, "the runs did something: {sum:?}");
    assert!(sum.topics_created > seeds && sum.topics_deleted > 0 && sum.producer_ids > seeds, "{sum:?}");
    assert!(sum.moves > 0 && sum.repeated > 0, "{sum:?}");
    assert!(sum.power_losses > seeds && sum.kills > 0 && sum.stops > 0 && sum.disk_failures > 0, "{sum:?}");
}

/// Replays a seed in a process of its own, and gives its trace.
fn replayed(name: &str, seed: u64) -> String {
    let path = format!("{}/target/{name}-{seed}.txt", env!("CARGO_MANIFEST_DIR"));
    let _ = std::fs::remove_file(&path);
    let replay = std::process::Command::new(std::env::current_exe().unwrap())
        .arg(name)
        .env("OTTLA_SEED", seed.to_string())
        .output()
        .unwrap();
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let trace = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    std::fs::remove_file(&path).unwrap();
    trace
}

#[test]
fn one_seed_is_one_run_to_the_byte_in_any_process() {
    if number("OTTLA_SEED").is_some() {
        return;
    }
    // Seeds that no other test of these replays, and so no other writes the traces of.
    for (name, seed) in [("shard", 900_001), ("shard", 900_002), ("node", 900_001), ("compaction", 900_001)] {
        let (one, other) = (replayed(name, seed), replayed(name, seed));
        assert!(one.lines().count() > 1000, "{name} {seed}: {one}");
        let differs = one.lines().zip(other.lines()).find(|(a, b)| a != b);
        assert!(one == other, "{name} {seed} is not one run: {differs:?}");
    }
}
