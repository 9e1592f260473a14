//! Starts and stops of a shard on a simulated disk.

mod kafkas;
mod producers;
mod starts;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::broker::call::Responder;
use crate::broker::lifecycle::PartitionSpec;
use crate::broker::messages::{ProduceCall, ProducePart, ShardReply, ShardRequest};
use crate::broker::replica::State;
use crate::log::LogConfig;
use crate::log::segment::Kind;
use crate::partition::AppendRules;
use crate::reactor::Nanos;
use crate::reactor::sim::{CrashKind, IoKind, NodeId, Options, View, World};
use crate::reactor::sync::completion;
use crate::wire::batch::BatchBuilder;
use crate::wire::error::ErrorCode;

const DIR: &str = "/data";
const ID: PartitionId = PartitionId { topic: Uuid([7; 16]), partition: 0 };
/// Of virtual time.
const PATIENCE: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

/// One life of a node with one core and one partition.
struct Life {
    world: World,
    node: NodeId,
    reactor: Reactor,
    shard: Rc<Shard>,
    found: Found,
    log: LogConfig,
}

impl Life {
    fn first(log: LogConfig) -> Life {
        Life::first_of(1, log)
    }

    fn first_of(seed: u64, log: LogConfig) -> Life {
        let world = World::new(seed, Options::calm());
        let node = world.add_node();
        Life::begin(world, node, log)
    }

    /// After the death of the process.
    fn next(self) -> Life {
        self.after(CrashKind::Process)
    }

    fn after(self, crash: CrashKind) -> Life {
        let Life { world, node, reactor, shard, log, .. } = self;
        drop((reactor, shard));
        world.crash(node, crash);
        world.run_for(PATIENCE);
        Life::begin(world, node, log)
    }

    fn begin(world: World, node: NodeId, log: LogConfig) -> Life {
        let reactor = world.boot(node, 1).remove(0);
        let core = reactor.clone();
        let (shard, found) = world.run(&reactor, PATIENCE, async move {
            let (found, shard) = start_alone(&core, Path::new(DIR)).await.unwrap();
            (shard, found)
        });
        Life { world, node, reactor, shard, found, log }
    }

    /// Begins to open the partition.
    fn open(&self) {
        self.open_one(ID);
    }

    fn open_one(&self, id: PartitionId) {
        let spec = PartitionSpec {
            id,
            topic: "t".into(),
            directory: Uuid::ZERO,
            revision: 0,
            leader_epoch: 0,
            log: self.log.clone(),
            rules: AppendRules::default(),
        };
        self.shard.open_partition(spec, self.found.before("t", id));
    }

    fn opened(self) -> Life {
        self.open();
        self.wait_until_opened();
        self
    }

    fn wait_until_opened(&self) {
        let shard = self.shard.clone();
        self.world.run(&self.reactor, PATIENCE, async move { shard.all_opened().await });
    }

    fn produce(&self, batches: usize, size: usize) {
        let errors = self.try_produce(batches, size);
        assert!(errors.iter().all(|error| error.is_none()), "{errors:?}");
    }

    fn try_produce(&self, batches: usize, size: usize) -> Vec<ErrorCode> {
        let (shard, now) = (self.shard.clone(), self.reactor.wall_clock_ms());
        self.world.run(&self.reactor, PATIENCE, async move {
            let mut errors = Vec::new();
            for _ in 0..batches {
                let mut builder = BatchBuilder::new();
                builder.append(now, None, Some(&vec![b'v'; size]), &[]);
                let part = ProducePart::new(ID, Bytes::from(builder.build().unwrap()));
                let (completer, answer) = completion();
                let call = ProduceCall { acks: -1, deadline: Nanos(u64::MAX), parts: vec![part] };
                shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
                let ShardReply::Produce(replies) = answer.await else {
                    panic!("a produce is answered as one")
                };
                errors.push(replies[0].error);
            }
            errors
        })
    }

    /// Stops the shard, and leaves the sign of a clean stop if it was one, as a node does.
    fn stop(&self) -> Result<(), String> {
        let (shard, on) = (self.shard.clone(), self.reactor.clone());
        self.world.run(&self.reactor, PATIENCE, async move {
            stop_alone(&on, &shard, Path::new(DIR)).await.map_err(|error| error.to_string())
        })
    }

    fn end(&self) -> Option<i64> {
        self.shard.replica(ID).unwrap().online(|online| online.partition.log.next_offset())
    }

    fn files(&self, kind: Kind) -> Vec<PathBuf> {
        let files = self.world.disk(self.node).files(View::Current).into_iter().map(|(path, _)| path);
        let of_kind = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            segment::parse_name(name).is_some_and(|(_, found)| found == kind)
        };
        files.filter(of_kind).collect()
    }
}

#[test]
fn a_clean_stop_is_told_by_the_next_start() {
    let life = Life::first(LogConfig::default()).opened();
    assert!(!life.found.clean);
    life.produce(3, 100);
    life.stop().unwrap();
    let life = life.next();
    assert!(life.found.clean);
    let life = life.opened();
    assert_eq!(life.end(), Some(3));
    assert!(!life.next().found.clean, "the sign is gone once the folder is in use");
}

#[test]
fn a_stop_waits_for_a_short_recovery() {
    let life = Life::first(LogConfig::default()).opened();
    life.produce(3, 100);
    let life = life.next();
    life.open();
    let refusal = life.shard.replica(ID).unwrap().refusal();
    assert_eq!(refusal, Some(ErrorCode::NOT_LEADER_OR_FOLLOWER), "clients ask again after it");
    life.stop().unwrap();
    let life = life.next();
    assert!(life.found.clean);
    assert_eq!(life.opened().end(), Some(3));
}

#[test]
fn a_stop_does_not_wait_for_a_long_recovery_and_is_not_clean() {
    let life = Life::first(LogConfig::default()).opened();
    life.produce(100, 500_000);
    let life = life.next();
    life.world.disk(life.node).change(|disk| disk.bytes_per_second = 1_000_000);
    life.open();
    life.world.run_for(5 * SECOND);
    let begun = life.reactor.now();
    assert!(life.stop().unwrap_err().contains("t-0"));
    assert!(life.reactor.now().since(begun) < 5 * SECOND, "fifty seconds of reading were left");
    let life = life.next();
    assert!(!life.found.clean);
    life.world.disk(life.node).change(|disk| disk.bytes_per_second = 1_000_000_000);
    assert_eq!(life.opened().end(), Some(100));
}

#[test]
fn a_stop_with_a_damaged_partition_is_not_clean() {
    let life = Life::first(LogConfig::default()).opened();
    life.produce(3, 100);
    // The stable ends follow the last round when the core is quiet.
    life.world.run_for(SECOND);
    let log = life.files(Kind::Log);
    let life = life.next();
    assert!(life.world.disk(life.node).corrupt(&log[0], 80, 1).unwrap());
    let life = life.opened();
    let damaged = |life: &Life| matches!(&*life.shard.replica(ID).unwrap().state.borrow(), State::Offline(_, why) if why.contains("damaged"));
    assert!(damaged(&life));
    assert!(life.stop().unwrap_err().contains("t-0"));
    let life = life.next();
    assert!(!life.found.clean);
    assert!(damaged(&life.opened()), "it is still refused");
}

#[test]
fn segments_are_finished_soon_and_deleted_when_retention_is_checked() {
    let log = LogConfig { segment_bytes: 20_000, retention_bytes: 50_000, ..LogConfig::default() };
    let life = Life::first(log).opened();
    life.shard.check_retention_every(300 * SECOND);
    life.world.run_for(2 * SECOND);
    life.produce(40, 5_000);
    life.world.run_for(5 * SECOND);
    let all = life.files(Kind::Log).len();
    assert!(all > 10, "{all} segments");
    assert_eq!(life.files(Kind::Index).len(), all - 1, "all but the active one are finished");
    life.world.run_for(250 * SECOND);
    assert_eq!(life.files(Kind::Log).len(), all, "it is not yet time");
    life.world.run_for(50 * SECOND);
    let kept = life.files(Kind::Log).len();
    assert!((3..5).contains(&kept), "{kept} segments of 20 kB make the 50 kB that are kept");
}

#[test]
fn what_retention_gives_up_stays_on_disk_for_a_while() {
    let log = LogConfig {
        segment_bytes: 20_000,
        retention_bytes: 50_000,
        delete_delay_ms: 100_000,
        ..LogConfig::default()
    };
    let life = Life::first(log).opened();
    let doomed = |life: &Life| {
        let files = life.world.disk(life.node).files(View::Current).into_iter();
        files.filter(|(path, _)| path.to_str().unwrap().ends_with(".log.deleted")).count()
    };
    let filled = |life: &Life| {
        life.shard.check_retention_every(SECOND);
        life.world.run_for(2 * SECOND);
        life.produce(40, 5_000);
        life.world.run_for(5 * SECOND);
        assert!(life.files(Kind::Log).len() < 5, "they are not part of the log any more");
    };
    filled(&life);
    assert!(doomed(&life) > 5);
    life.world.run_for(60 * SECOND);
    assert!(doomed(&life) > 5, "not yet");
    life.world.run_for(50 * SECOND);
    assert_eq!(doomed(&life), 0);
    // What a crash leaves is removed by the next start, and the log goes on where it was.
    filled(&life);
    let (end, left) = (life.end(), doomed(&life));
    assert!(left > 5);
    let life = life.next().opened();
    assert_eq!((life.end(), doomed(&life)), (end, 0));
}

#[test]
fn a_full_disk_takes_nothing_and_breaks_nothing() {
    let log = LogConfig { segment_bytes: 20_000, ..LogConfig::default() };
    let life = Life::first(log).opened();
    let other = PartitionId { partition: 1, ..ID };
    life.world.run_for(2 * SECOND);
    life.produce(7, 9_000);
    // Full segments are waiting to be finished, and from now on nothing more fits on the disk.
    let disk = life.world.disk(life.node);
    disk.change(|disk| disk.capacity = 0);
    let (logs, indexes) = (life.files(Kind::Log).len(), life.files(Kind::Index).len());
    assert!(indexes + 1 < logs);
    life.world.run_for(10 * SECOND);
    assert_eq!(life.try_produce(1, 100), [ErrorCode::KAFKA_STORAGE_ERROR]);
    life.open_one(other);
    life.wait_until_opened();
    assert!(life.shard.replica(other).unwrap().refusal().is_some());
    assert_eq!(life.shard.volumes[0].log_dir.failure(), None, "what is there is still served");
    assert_eq!(life.files(Kind::Index).len(), indexes);

    disk.change(|disk| disk.capacity = 1 << 40);
    life.world.run_for(10 * SECOND);
    assert_eq!(life.files(Kind::Index).len(), logs - 1);
    life.produce(1, 100);
    assert_eq!(life.end(), Some(8));
}

#[test]
fn what_is_opened_in_a_directory_that_has_failed_does_not_serve() {
    let refused = [ErrorCode::KAFKA_STORAGE_ERROR];
    let fail = |life: &Life| {
        life.shard.went_offline(0, "it failed on another core".to_owned());
        life.world.run_for(SECOND);
    };
    let life = Life::first(LogConfig::default());
    fail(&life);
    life.open();
    assert_eq!(life.try_produce(1, 100), refused, "it comes after the failure");

    let life = Life::first(LogConfig::default());
    life.world.disk(life.node).change(|disk| disk.slowness = 10_000);
    life.open();
    fail(&life);
    assert_eq!(life.try_produce(1, 100), refused, "it is being opened");
    life.world.run_for(PATIENCE);
    assert_eq!(life.try_produce(1, 100), refused, "it has been opened");
    assert_eq!(life.shard.serving(ID).err(), Some(refused[0]));
}

#[test]
fn what_a_killed_start_has_made_is_durable_before_anything_rests_on_it() {
    for (seed, syncs) in (1..8).flat_map(|seed| (1..4).map(move |syncs| (seed, syncs))) {
        let life = Life::first_of(seed, LogConfig::default());
        let disk = life.world.disk(life.node);
        let enough = disk.dir_syncs() + syncs;
        life.open();
        life.world.run_until(SECOND, || disk.dir_syncs() == enough);
        let life = life.next().opened();
        life.produce(1, 100);
        let life = life.after(CrashKind::Power).opened();
        assert_eq!(life.end(), Some(1), "seed {seed}, {syncs} syncs");
    }
}

#[test]
fn after_a_write_that_failed_nobody_waits_for_the_marks() {
    let mut failed = 0;
    for nth in 1..6 {
        let life = Life::first(LogConfig::default()).opened();
        life.produce(1, 100);
        // That of a file that grows, or of the mark that the batch has moved.
        life.world.disk(life.node).fail_nth(IoKind::Write, nth);
        life.world.run_for(SECOND);
        let volume = life.shard.volumes[0].clone();
        let was_failed = volume.log_dir.has_failed();
        let set = life.world.run(&life.reactor, PATIENCE, async move { volume.marks.set_now(ID, 1).await });
        failed += usize::from(was_failed && set.is_err());
    }
    assert!(failed > 0, "one of them was the write of the marks");
}
