//! What tests that write to a broker while it ends in every way share: who writes, and the ledger of what was sent and
//! what was acknowledged.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod churn;
pub mod ledger;
pub mod writers;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ottla::command::client::Connection;
use ottla::wire::schema::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

/// How long anything may take before the test counts as hanging. A disk that others use too has stood still for a minute.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Whether the test has failed, and nobody has to wait for anything any more.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Another test begins.
pub fn begin() {
    FAILED.store(false, Relaxed);
}

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

/// A number that the environment may choose.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Where a log starts, by the broker's own word; none where it does not say.
pub fn earliest(address: &str, topic: &str, partition_index: i32) -> Option<i64> {
    const EARLIEST: i64 = -2;
    let partition = ListOffsetsPartition { partition_index, current_leader_epoch: -1, timestamp: EARLIEST };
    let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let mut client = Connection::open(address, PATIENCE).ok()?;
    let answer = client.call(&request).ok()?;
    let partition = &answer.topics[0].partitions[0];
    (!partition.error_code.is_error()).then_some(partition.offset)
}

/// Tells the other threads when this one fails.
pub struct Fail;

impl Drop for Fail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            FAILED.store(true, Relaxed);
        }
    }
}
