//! What is known of producers outlives stops, deaths, and the loss of its shortcuts.

use super::*;
use crate::log::snapshot::Snapshot;
use crate::partition::producers::{ProducerRoom, Producers};
use crate::reactor::sync::Completion;
use crate::wire::batch::{Batch, BatchHeader};

fn batch(id: i64, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new().producer(id, 0, sequence);
    (0..2).for_each(|_| builder.append(-1, None, Some(&[b'v'; 200]), &[]));
    Bytes::from(builder.build().unwrap())
}

impl Life {
    fn order(&self, id: i64, sequence: i32) -> Completion<ShardReply> {
        let part = ProducePart::new(ID, batch(id, sequence));
        let (completer, answer) = completion();
        let call = ProduceCall { acks: -1, deadline: Nanos(u64::MAX), parts: vec![part] };
        self.shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
        answer
    }

    /// Sends a batch of two records; gives the offset that is answered.
    fn send(&self, id: i64, sequence: i32) -> Result<i64, ErrorCode> {
        let answer = self.order(id, sequence);
        let answered = self.world.run(&self.reactor, PATIENCE, answer);
        let ShardReply::Produce(replies) = answered else { panic!("a produce is answered as one") };
        if replies[0].error.is_error() { Err(replies[0].error) } else { Ok(replies[0].base_offset) }
    }

    fn change(
        &self,
        path: &Path,
        change: impl AsyncFnOnce(crate::reactor::Disk, PathBuf) -> io::Result<()> + 'static,
    ) {
        let (disk, path) = (self.reactor.disk(), path.to_path_buf());
        self.world.run(&self.reactor, PATIENCE, async move { change(disk, path).await }).unwrap();
    }

    fn remove(&self, path: &Path) {
        self.change(path, async |disk, path| disk.remove_file(&path).await);
    }

    fn snapshots(&self) -> Vec<i64> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let offset = |path| segment::parse_name(&name(path)).unwrap().0;
        self.files(Kind::Snapshot).into_iter().map(offset).collect()
    }

    /// Each of the last five batches of producer 1 is answered with its offset, the one before is not known, and the
    /// next may come, and nobody else's.
    fn knows(&self, offsets: &[i64]) {
        let count = offsets.len();
        for (n, offset) in offsets.iter().enumerate() {
            let wanted =
                if n + 5 >= count { Ok(*offset) } else { Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) };
            assert_eq!(self.send(1, n as i32 * 2), wanted, "batch {n} of {count}");
        }
        let gap = self.send(1, count as i32 * 2 + 2);
        assert_eq!(gap, Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    }
}

/// Segments of three batches.
fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 3 * batch(1, 0).len() as u64, ..LogConfig::default() }
}

#[test]
fn producers_are_known_after_a_stop_and_after_a_death() {
    let life = Life::first(LogConfig::default()).opened();
    let offsets: Vec<i64> = (0..7).map(|n| life.send(1, n * 2).unwrap()).collect();
    life.knows(&offsets);
    life.stop().unwrap();
    let life = life.next();
    assert!(life.found.clean);
    let life = life.opened();
    assert_eq!(life.snapshots(), [14], "a clean stop writes one at the log's end");
    life.knows(&offsets);
    let offsets = [offsets, vec![life.send(1, 14).unwrap()]].concat();
    let life = life.next().opened();
    life.knows(&offsets);
    assert_eq!(life.end(), Some(16), "nothing was appended twice");
}

#[test]
fn with_each_segment_comes_a_snapshot_and_none_must_be_there() {
    let life = Life::first(small_segments()).opened();
    let offsets: Vec<i64> = (0..10).map(|n| life.send(1, n * 2).unwrap()).collect();
    let silent = life.send(2, 0).unwrap();
    life.world.run_for(3 * SECOND);
    assert_eq!(life.snapshots(), [18], "of those that came at once, the newest");
    assert_eq!(life.send(1, 20), Ok(22));
    let offsets = [offsets, vec![22, life.send(1, 22).unwrap()]].concat();
    life.world.run_for(3 * SECOND);
    assert_eq!(life.snapshots(), [18, 24]);
    let mut life = life.next().opened();
    life.knows(&offsets);
    // One damaged, then all of them gone, with a stop before and without.
    for round in 0..4 {
        let snapshots = life.files(Kind::Snapshot);
        assert!(!snapshots.is_empty(), "round {round}");
        if round % 2 == 0 {
            assert!(life.world.disk(life.node).corrupt(snapshots.last().unwrap(), 20, 1).unwrap());
        } else {
            snapshots.iter().for_each(|path| life.remove(path));
        }
        if round > 1 {
            life.stop().unwrap();
            life.files(Kind::Snapshot).iter().for_each(|path| life.remove(path));
        }
        life = life.next().opened();
        life.knows(&offsets);
        assert_eq!(life.send(2, 0), Ok(silent), "round {round}");
        // What was read again is not read a third time.
        let newest = life.snapshots().last().copied();
        assert!(newest.is_some_and(|newest| newest >= 24), "round {round}: {newest:?}");
    }
}

#[test]
fn a_snapshot_behind_the_end_tells_nothing() {
    let life = Life::first(LogConfig::default()).opened();
    let offsets: Vec<i64> = (0..3).map(|n| life.send(1, n * 2).unwrap()).collect();
    let mut other = Producers::new(ProducerRoom::default());
    for n in 0..9 {
        let header = Batch::first(&batch(1, n * 2)).unwrap().header();
        other.append(&BatchHeader { base_offset: i64::from(n) * 2, ..header }, 0);
    }
    let path = segment::partition_dir(Path::new(DIR), "t", 0);
    let path = segment::file(&path, 18, Kind::Snapshot);
    let bytes = other.snapshot();
    life.change(&path, async |disk, path| disk.replace(&path, bytes).await);
    let life = life.next().opened();
    assert!(!life.snapshots().contains(&18), "it is gone before the log grows that far");
    life.knows(&offsets);
    assert_eq!(life.send(1, 6), Ok(6));
}

#[test]
fn the_silent_are_known_though_retention_has_deleted_their_batches() {
    let life = Life::first(LogConfig { retention_bytes: 0, delete_delay_ms: 0, ..small_segments() }).opened();
    life.shard.check_retention_every(SECOND);
    let silent = life.send(2, 0).unwrap();
    let offsets: Vec<i64> = (0..5).map(|n| life.send(1, n * 2).unwrap()).collect();
    life.world.run_for(5 * SECOND);
    let life = life.next().opened();
    let start = life.shard.replica(ID).unwrap().online(|online| online.partition.log.start_offset());
    assert!(start.unwrap() > silent + 2, "its batch is gone");
    assert_eq!(life.send(2, 0), Ok(silent));
    life.knows(&offsets);
    assert_eq!(life.snapshots(), [start.unwrap()], "those of deleted segments went with them");
}

#[test]
fn a_duplicate_is_answered_when_the_original_is_durable() {
    let life = Life::first(LogConfig::default()).opened();
    life.world.disk(life.node).change(|disk| disk.bytes_per_second = 1_000);
    let answers = [(1, 0), (1, 2), (1, 0), (1, 2), (1, 0)].map(|(id, sequence)| life.order(id, sequence));
    let shard = life.shard.clone();
    let offsets = life.world.run(&life.reactor, PATIENCE, async move {
        let stable = || shard.replica(ID).unwrap().online(|o| o.partition.high_watermark()).unwrap();
        assert_eq!(stable(), 0);
        let mut offsets = Vec::new();
        // The duplicates first: nobody has waited for the originals then.
        for answer in answers.into_iter().rev() {
            let ShardReply::Produce(replies) = answer.await else { panic!("a produce is answered as one") };
            assert_eq!(replies[0].error, ErrorCode::NONE);
            assert!(stable() >= replies[0].base_offset + 2, "answered before it is durable");
            offsets.push(replies[0].base_offset);
        }
        offsets
    });
    assert_eq!(offsets, [0, 2, 0, 2, 0]);
    assert_eq!(life.end(), Some(4));
    let waiting = life.shard.replica(ID).unwrap().online(|online| online.waiting.len());
    assert_eq!(waiting, Some(0));
}

#[test]
fn the_silent_are_forgotten_when_it_is_looked_for_them() {
    let life = Life::first(LogConfig::default()).opened();
    life.shard.expire_producers(20_000, 5 * SECOND);
    life.send(1, 0).unwrap();
    life.world.run_for(15 * SECOND);
    life.send(2, 0).unwrap();
    assert_eq!(life.send(1, 5), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), "not yet");
    life.world.run_for(15 * SECOND);
    assert_eq!(life.send(2, 5), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), "not yet");
    assert_eq!(life.send(1, 5), Ok(4), "forgotten: any number may come");
}

#[test]
fn snapshots_are_as_kafka_writes_them() {
    let life = Life::first(LogConfig::default()).opened();
    for n in 0..7 {
        life.send(1, n * 2).unwrap();
    }
    life.send(2, 0).unwrap();
    life.stop().unwrap();
    let path = life.files(Kind::Snapshot).remove(0);
    let bytes = life.world.disk(life.node).content(&path, View::Current).unwrap();
    let snapshot = Snapshot::decode(&bytes).unwrap();
    let entries: Vec<_> = snapshot.entries().map(|e| (e.producer_id, e.epoch, e.last)).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0].0, entries[0].1), (1, 0));
    let last = entries[0].2;
    assert_eq!((last.last_sequence, last.last_offset, last.offset_delta, last.timestamp), (13, 13, 1, -1));
    assert_eq!(snapshot.older().len(), 4);
}
