//! Where a log starts, over stops and deaths.

use super::*;
use crate::broker::messages::DeleteRecordsPart;

impl Life {
    fn delete_before(&self, before: i64) -> Result<i64, ErrorCode> {
        let shard = self.shard.clone();
        self.world.run(&self.reactor, PATIENCE, async move {
            let (completer, answer) = completion();
            let parts = vec![DeleteRecordsPart { id: ID, before }];
            shard.handle(ShardRequest::DeleteRecords(parts), Responder::Local(completer));
            let ShardReply::DeleteRecords(replies) = answer.await else { panic!("answered as what it is") };
            replies[0]
        })
    }

    fn start(&self) -> Option<i64> {
        self.shard.replica(ID).unwrap().online(|online| online.partition.log.start_offset())
    }

    fn write(&self, path: &str, content: Option<&[u8]>) {
        let (disk, path) = (self.reactor.disk(), PathBuf::from(path));
        let content = content.map(<[u8]>::to_vec);
        self.world.run(&self.reactor, PATIENCE, async move {
            match content {
                Some(content) => disk.replace(&path, content).await.unwrap(),
                None => disk.remove_file(&path).await.unwrap(),
            }
        });
    }

    fn read(&self, path: &str) -> String {
        let content = self.world.disk(self.node).content(Path::new(path), View::Current).unwrap();
        String::from_utf8(content).unwrap()
    }
}

const OWN: &str = "/data/t-0/log-start-offset-checkpoint";
const ALL: &str = "/data/log-start-offset-checkpoint";

#[test]
fn deleted_records_stay_deleted() {
    let life = Life::first(LogConfig::default()).opened();
    life.produce(10, 100);
    assert_eq!(life.delete_before(11), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(life.delete_before(-2), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!((life.delete_before(4), life.delete_before(2)), (Ok(4), Ok(4)));
    let life = life.next().opened();
    assert_eq!((life.start(), life.end()), (Some(4), Some(10)), "after a death");
    assert_eq!(life.delete_before(-1), Ok(10));
    life.stop().unwrap();
    assert_eq!(life.read(ALL), "0\n1\nt 0 10\n", "as Kafka leaves it");
    let life = life.next().opened();
    assert_eq!((life.start(), life.end()), (Some(10), Some(10)), "after a stop");
    life.produce(1, 100);
    assert_eq!((life.start(), life.end()), (Some(10), Some(11)));
}

#[test]
fn the_checkpoint_of_all_is_believed_after_a_clean_stop_only() {
    let life = Life::first(LogConfig::default()).opened();
    life.produce(10, 100);
    assert_eq!(life.delete_before(3), Ok(3));
    life.stop().unwrap();
    // A folder that Kafka has left has no files of their own in the partitions' folders.
    life.write(OWN, None);
    let life = life.next().opened();
    assert_eq!(life.start(), Some(3));
    assert_eq!(life.read(OWN), "0\n3\n", "from here on the partition tells for itself");
    // It may be of a topic of the same name that is no more.
    life.write(ALL, Some(b"0\n1\nt 0 8\n"));
    let life = life.next().opened();
    assert!(!life.found.clean);
    assert_eq!((life.start(), life.end()), (Some(3), Some(10)));
}

#[test]
fn a_start_that_cannot_be_read_or_lies_behind_the_end_is_damage() {
    for content in [&b"0\nthree\n"[..], b"0\n11\n"] {
        let life = Life::first(LogConfig::default()).opened();
        life.produce(10, 100);
        life.write(OWN, Some(content));
        let life = life.next().opened();
        let replica = life.shard.replica(ID).unwrap();
        let State::Offline(error, why) = &*replica.state.borrow() else { panic!("it is served") };
        assert_eq!(*error, ErrorCode::KAFKA_STORAGE_ERROR);
        assert!(why.contains("t-0"), "{why}");
    }
}

#[test]
fn segments_before_the_start_go() {
    let log = LogConfig { segment_bytes: 2_000, retention_ms: -1, delete_delay_ms: 0, ..Default::default() };
    let life = Life::first(log).opened();
    life.produce(20, 500);
    life.world.run_for(5 * SECOND);
    let before = life.files(Kind::Log).len();
    assert!(before > 4, "{before} segments");
    assert_eq!(life.delete_before(15), Ok(15));
    life.world.run_for(5 * SECOND);
    let bases: Vec<i64> = life
        .files(Kind::Log)
        .iter()
        .filter_map(|path| segment::parse_name(path.file_name()?.to_str()?).map(|(base, _)| base))
        .collect();
    assert!(bases.len() < before && bases.iter().filter(|base| **base <= 15).count() == 1, "{bases:?}");
    let life = life.next().opened();
    assert_eq!((life.start(), life.end()), (Some(15), Some(20)));
}
