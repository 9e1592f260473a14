//! Folders as Kafka leaves them, and files that are none of the log's.

use super::*;
use crate::broker::messages::{FetchCall, FetchPart};
use crate::log::compact::Compaction;
use crate::log::compact::checkpoint::{Checkpoint, NAME};
use crate::wire::batch::batches;

const CLEANED: &str = "/data/t-0/cleaner-offset-checkpoint";
const ALL_CLEANED: &str = "/data/cleaner-offset-checkpoint";

impl Life {
    fn content(&self, path: &Path) -> Vec<u8> {
        self.world.disk(self.node).content(path, View::Current).unwrap()
    }

    fn put(&self, path: &Path, content: Option<Vec<u8>>) {
        let (disk, path) = (self.reactor.disk(), path.to_owned());
        self.world.run(&self.reactor, PATIENCE, async move {
            match content {
                Some(content) => disk.replace(&path, content).await.unwrap(),
                None => disk.remove_file(&path).await.unwrap(),
            }
        });
    }

    fn bases(&self) -> Vec<i64> {
        let name = |path: &PathBuf| segment::parse_name(path.file_name().unwrap().to_str().unwrap());
        self.files(Kind::Log).iter().filter_map(|path| Some(name(path)?.0)).collect()
    }

    fn refusal_of(&self) -> Option<String> {
        match &*self.shard.replica(ID).unwrap().state.borrow() {
            State::Offline(_, why) => Some(why.clone()),
            _ => None,
        }
    }

    /// The offset of the first batch that is read from an offset on.
    fn read_from(&self, offset: i64) -> Option<i64> {
        let shard = self.shard.clone();
        self.world.run(&self.reactor, PATIENCE, async move {
            let (completer, answer) = completion();
            let (current_leader_epoch, last_fetched_epoch) = (-1, -1);
            let max_bytes = 1 << 20;
            let part = FetchPart { id: ID, offset, max_bytes, current_leader_epoch, last_fetched_epoch };
            let call = FetchCall { read_committed: false, max_bytes, parts: vec![part] };
            shard.handle(ShardRequest::Fetch(call), Responder::Local(completer));
            let ShardReply::Fetch(replies) = answer.await else { panic!("answered as what it is") };
            assert_eq!(replies[0].error, ErrorCode::NONE);
            batches(&replies[0].records.concat()).next().map(|batch| batch.unwrap().base_offset())
        })
    }
}

/// What Kafka's cleaner, and its stop, have left.
#[derive(Clone, Copy, Debug)]
struct Kafkas {
    /// Whether the checkpoint tells of the last cleaning.
    is_told: bool,
    is_clean: bool,
    /// Whether the index of a segment in the middle is missing.
    lacks_index: bool,
}

/// A stopped log of several segments, of which all but the active one have lost their last batch to the cleaner. Gives
/// where the active one begins.
fn compacted(kafkas: Kafkas) -> (Life, i64) {
    let log = LogConfig { segment_bytes: 2_000, retention_ms: -1, ..Default::default() };
    let life = Life::first(log).opened();
    life.produce(20, 500);
    life.world.run_for(5 * SECOND);
    life.stop().unwrap();
    let bases = life.bases();
    let (active, older) = bases.split_last().unwrap();
    assert!(older.len() > 3, "{bases:?}");
    let dir = Path::new("/data/t-0");
    for base in older {
        let path = segment::file(dir, *base, Kind::Log);
        let bytes = life.content(&path);
        let last = batches(&bytes).map(|batch| batch.unwrap().bytes().len()).last().unwrap();
        life.put(&path, Some(bytes[..bytes.len() - last].to_vec()));
        for kind in [Kind::Index, Kind::TimeIndex] {
            life.put(&segment::file(dir, *base, kind), Some(Vec::new()));
        }
    }
    if kafkas.lacks_index {
        life.put(&segment::file(dir, older[1], Kind::Index), None);
    }
    if kafkas.is_told {
        let checkpoint = Checkpoint { first_dirty: *active, exchange: Vec::new() };
        life.put(&dir.join(NAME), Some(checkpoint.encode()));
    }
    let ours = life.world.disk(life.node).files(View::Current).into_iter().map(|(path, _)| path);
    for path in ours.filter(|path| path.to_string_lossy().contains("stable-ends")).collect::<Vec<_>>() {
        life.put(&path, None);
    }
    if !kafkas.is_clean {
        life.put(&Path::new(DIR).join(CLEAN), None);
    }
    (life, *active)
}

#[test]
fn what_kafka_compacted_is_served_before_and_after_a_crash() {
    for number in 0..8 {
        let (is_told, is_clean, lacks_index) = (number & 1 != 0, number & 2 != 0, number & 4 != 0);
        if lacks_index && !is_told {
            // Then nothing tells the cleaner's gaps from lost segments.
            continue;
        }
        let kafkas = Kafkas { is_told, is_clean, lacks_index };
        let (life, active) = compacted(kafkas);
        let life = life.next().opened();
        assert_eq!(life.refusal_of(), None, "{kafkas:?}");
        assert_eq!(life.end(), Some(20), "{kafkas:?}");
        life.produce(1, 100);
        life.world.run_for(SECOND);
        let life = life.next().opened();
        assert_eq!(life.refusal_of(), None, "{kafkas:?}, after a crash");
        assert_eq!(life.end(), Some(21), "{kafkas:?}, after a crash");
        assert_eq!(life.read_from(active - 1), Some(active), "{kafkas:?}: the next batch behind a gap");
        assert_eq!(life.read_from(20), Some(20), "{kafkas:?}");
        assert_eq!(life.content(Path::new(CLEANED)), format!("0\n{active}\n\n").into_bytes());
    }
}

#[test]
fn a_segment_that_is_gone_is_told_from_one_that_was_compacted() {
    let log = LogConfig { segment_bytes: 2_000, retention_ms: -1, ..Default::default() };
    let life = Life::first(log).opened();
    life.produce(20, 500);
    life.world.run_for(5 * SECOND);
    let bases = life.bases();
    let gone = bases[bases.len() - 2];
    // It was compacted, but not so far.
    let checkpoint = Checkpoint { first_dirty: gone, exchange: Vec::new() };
    life.put(Path::new(CLEANED), Some(checkpoint.encode()));
    for kind in [Kind::Log, Kind::Index, Kind::TimeIndex] {
        life.put(&segment::file(Path::new("/data/t-0"), gone, kind), None);
    }
    let life = life.next().opened();
    let why = life.refusal_of().expect("acknowledged records are gone");
    assert!(why.contains(&format!("from offset {gone} to")), "{why}");
}

#[test]
fn what_kafka_compacted_outlasts_a_first_start_that_is_cut_short() {
    for step in 0..40 {
        let (life, active) = compacted(Kafkas { is_told: false, is_clean: false, lacks_index: false });
        let bases = life.bases();
        let life = life.next();
        life.open();
        life.world.run_for(Duration::from_micros(150 * step));
        let life = life.after(CrashKind::Power).opened();
        assert_eq!(life.refusal_of(), None, "step {step}");
        assert_eq!((life.end(), life.bases()), (Some(20), bases), "step {step}");
        assert_eq!(life.read_from(active - 1), Some(active), "step {step}: the next batch behind a gap");
    }
}

#[test]
fn a_clean_stop_tells_kafka_how_far_logs_are_cleaned() {
    let rules =
        Compaction { min_dirty_ratio: 0.5, min_lag_ms: 0, max_lag_ms: i64::MAX, delete_retention_ms: 0 };
    for (compaction, told) in [(None, "0\n0\n"), (Some(rules), "0\n1\nt 0 2\n")] {
        let life = Life::first(LogConfig { compaction, ..Default::default() }).opened();
        life.produce(3, 100);
        life.stop().unwrap();
        assert_eq!(life.content(ALL_CLEANED.as_ref()), b"0\n0\n", "nothing is cleaned");
        let checkpoint = Checkpoint { first_dirty: 2, exchange: Vec::new() };
        life.put(CLEANED.as_ref(), Some(checkpoint.encode()));
        let life = life.next().opened();
        life.stop().unwrap();
        assert_eq!(life.content(ALL_CLEANED.as_ref()), told.as_bytes());
    }
}
