//! One of several log directories fails while the node works.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::log::segment::parse_partition_dir;
use crate::reactor::sim::{DiskControl, View};
use crate::sim::batches::{make_batch, read_batches};
use crate::sim::client::Client;
use crate::sim::known::Entry;
use crate::wire::codec::Records;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 9;

/// A run with three disks that go wrong in no way but those of the test.
fn calm() -> Rc<Run> {
    calm_of((0..).find(|seed| begin(*seed, 0).dirs.len() > 1).expect("half of them have"))
}

fn calm_of(seed: u64) -> Rc<Run> {
    let run = begin(seed, 0);
    let unchanged = |disk: DiskControl| disk.change(|options| *options = Options::calm().disk);
    run.dirs.iter().for_each(|dir| unchanged(run.world.disk_at(run.node, dir)));
    run
}

fn serve(run: &Run) -> Arc<Mutex<Status>> {
    let status = run.start();
    let serves = || status.lock().unwrap().serving || status.lock().unwrap().ended.is_some();
    assert!(run.world.run_until(PATIENCE, serves));
    assert_eq!(status.lock().unwrap().ended, None);
    status
}

/// Asks until the partition is no longer being opened: what a produce to it gives.
async fn produce(run: &Run, client: &mut Client, partition: i32) -> io::Result<(ErrorCode, i64)> {
    loop {
        let producer = run.next_producer.get();
        run.next_producer.set(producer + 1);
        let entry = Entry { producer, number: 0, records: 3 };
        let batch = make_batch(entry, 100, run.clients.wall_clock_ms());
        let data = PartitionProduceData { index: partition, records: Some(batch) };
        let topic =
            TopicProduceData { name: TOPIC.to_owned(), partition_data: vec![data], ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let response = client.ask(&request, 9).await?;
        let answer = &response.responses[0].partition_responses[0];
        if answer.error_code != ErrorCode::NOT_LEADER_OR_FOLLOWER {
            return Ok((answer.error_code, answer.base_offset));
        }
        run.clients.sleep(Duration::from_millis(5)).await;
    }
}

async fn produce_to_all(run: Rc<Run>) -> io::Result<Vec<(ErrorCode, i64)>> {
    let mut client = Client::connect(&run.clients, run.address).await?;
    let mut answers = Vec::new();
    for partition in 0..PARTITIONS {
        answers.push(produce(&run, &mut client, partition).await?);
    }
    Ok(answers)
}

/// The leader of each partition.
async fn leaders(run: Rc<Run>) -> io::Result<Vec<i32>> {
    let mut client = Client::connect(&run.clients, run.address).await?;
    let response = client.ask(&MetadataRequest { topics: None, ..Default::default() }, 12).await?;
    let mut partitions = response.topics[0].partitions.clone();
    partitions.sort_by_key(|partition| partition.partition_index);
    for partition in &partitions {
        let is_offline = partition.leader_id == -1;
        assert_eq!(partition.error_code == ErrorCode::LEADER_NOT_AVAILABLE, is_offline);
        assert_eq!(!partition.offline_replicas.is_empty(), is_offline);
    }
    Ok(partitions.iter().map(|partition| partition.leader_id).collect())
}

async fn create(run: Rc<Run>) -> io::Result<()> {
    let mut client = Client::connect(&run.clients, run.address).await?;
    let topic = CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let response = client.ask(&request, 7).await?;
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE);
    Ok(())
}

fn on<T: 'static>(run: &Rc<Run>, work: impl Future<Output = io::Result<T>> + 'static) -> T {
    run.world.run(&run.clients, PATIENCE, work).unwrap()
}

#[test]
fn one_that_fails_takes_its_partitions_and_no_others() {
    let run = calm();
    let status = serve(&run);
    on(&run, create(run.clone()));
    let before = on(&run, produce_to_all(run.clone()));
    assert!(before.iter().all(|answer| *answer == (ErrorCode::NONE, 0)), "{before:?}");

    let broken = run.world.disk_at(run.node, &run.dirs[1]);
    broken.set_broken(true);
    let during = on(&run, produce_to_all(run.clone()));
    let fell = |answers: &[(ErrorCode, i64)]| -> Vec<usize> {
        (0..answers.len()).filter(|n| answers[*n].0 == ErrorCode::KAFKA_STORAGE_ERROR).collect()
    };
    let lost = fell(&during);
    assert_eq!(lost.len(), 3, "a third of the partitions lies there: {during:?}");
    assert!(during.iter().all(|(_, offset)| *offset == 3 || *offset == -1), "{during:?}");
    run.world.run_for(Duration::from_secs(1));
    let led = on(&run, leaders(run.clone()));
    for (n, leader) in led.iter().enumerate() {
        assert_eq!(*leader == -1, lost.contains(&n), "{led:?}");
    }
    assert_eq!(status.lock().unwrap().ended, None, "the node goes on");

    // A start without the disk serves the others as well, and one with it serves all, with all that was acknowledged.
    for mended in [false, true] {
        run.world.crash(run.node, CrashKind::Power);
        broken.set_broken(!mended);
        let _status = serve(&run);
        let after = on(&run, produce_to_all(run.clone()));
        assert_eq!(fell(&after), if mended { vec![] } else { lost.clone() }, "{after:?}");
        let led = on(&run, leaders(run.clone()));
        assert!(led.iter().enumerate().all(|(n, l)| (*l == -1) == (!mended && lost.contains(&n))), "{led:?}");
        let at_least = |n: usize| {
            if lost.contains(&n) {
                3
            } else if mended {
                9
            } else {
                6
            }
        };
        for (n, (error, offset)) in after.iter().enumerate().filter(|(_, (error, _))| error.is_none()) {
            assert!(*offset >= at_least(n), "partition {n}: {error} at {offset}");
        }
    }
}

#[test]
fn one_that_cannot_be_made_ready_takes_its_partitions_and_no_others() {
    let kinds = [(IoKind::Metadata, 40), (IoKind::Write, 12), (IoKind::Flush, 16)];
    let mut cut_off = 0;
    for (kind, nth) in kinds.into_iter().flat_map(|(kind, most)| (1..most).map(move |nth| (kind, nth))) {
        let run = calm();
        serve(&run);
        on(&run, create(run.clone()));
        on(&run, produce_to_all(run.clone()));
        run.world.crash(run.node, CrashKind::Power);
        // So that it is not always the same number of cores.
        (0..nth % 3).for_each(|_| _ = run.draw(2));
        let failing = run.world.disk_at(run.node, &run.dirs[1]);
        failing.fail_nth(kind, nth);
        serve(&run);
        let during = on(&run, produce_to_all(run.clone()));
        let served = during.iter().filter(|(error, _)| error.is_none()).count();
        assert!(served >= 6, "{kind:?} {nth}: {during:?}");
        cut_off += usize::from(served < 9);
        run.world.crash(run.node, CrashKind::Power);
        failing.mend();
        serve(&run);
        on(&run, produce_to_all(run.clone()));
        on(&run, read_all(run.clone(), 6));
    }
    assert!(cut_off > 40, "{cut_off} of these failures were met");
}

#[test]
fn that_of_the_metadata_log_takes_the_node_with_it() {
    let run = calm();
    let status = serve(&run);
    on(&run, create(run.clone()));
    run.world.disk_at(run.node, &run.dirs[0]).set_broken(true);
    let ended = || status.lock().unwrap().ended.is_some();
    let clients = run.clone();
    run.clients.spawn(crate::reactor::Class::Request, async move { drop(produce_to_all(clients).await) });
    assert!(run.world.run_until(PATIENCE, ended));
    let why = status.lock().unwrap().ended.clone().unwrap().unwrap_err();
    assert!(why.contains("/data") && why.contains("Mend the disk"), "{why}");
}

/// Where each partition lies, and where else it is being copied to.
async fn places(run: Rc<Run>) -> io::Result<Vec<(String, i32, i64, bool)>> {
    let mut client = Client::connect(&run.clients, run.address).await?;
    let response = client.ask(&DescribeLogDirsRequest { topics: None }, 4).await?;
    let mut places = Vec::new();
    for dir in response.results {
        assert_eq!(dir.error_code, ErrorCode::NONE);
        assert!(dir.usable_bytes > 0 && dir.usable_bytes <= dir.total_bytes);
        for topic in dir.topics {
            for part in topic.partitions {
                let (number, size) = (part.partition_index, part.partition_size);
                places.push((dir.log_dir.clone(), number, size, part.is_future_key));
            }
        }
    }
    places.sort_by_key(|place| place.1);
    Ok(places)
}

async fn move_all(run: Rc<Run>, to: PathBuf) -> io::Result<Vec<ErrorCode>> {
    let mut client = Client::connect(&run.clients, run.address).await?;
    let topic = AlterReplicaLogDirTopic { name: TOPIC.to_owned(), partitions: (0..PARTITIONS).collect() };
    let dir = AlterReplicaLogDir { path: to.display().to_string(), topics: vec![topic] };
    let response = client.ask(&AlterReplicaLogDirsRequest { dirs: vec![dir] }, 2).await?;
    Ok(response.results[0].partitions.iter().map(|answer| answer.error_code).collect())
}

#[test]
fn replicas_of_a_topic_that_was_just_made_can_be_moved() {
    for seed in (0..).filter(|seed| begin(*seed, 0).dirs.len() > 1).take(5) {
        let run = calm_of(seed);
        serve(&run);
        let (made, to) = (run.clone(), run.dirs[2].clone());
        let answers = on(&run, async move {
            create(made.clone()).await?;
            move_all(made, to).await
        });
        assert_eq!(answers, [ErrorCode::NONE; PARTITIONS as usize]);
    }
}

#[test]
fn replicas_go_where_they_are_told_and_take_everything_along() {
    let run = calm();
    let status = serve(&run);
    on(&run, create(run.clone()));
    for _ in 0..3 {
        on(&run, produce_to_all(run.clone()));
    }
    let to = run.dirs[2].clone();
    let answers = on(&run, move_all(run.clone(), to.clone()));
    assert_eq!(answers, [ErrorCode::NONE; PARTITIONS as usize]);
    let during = on(&run, produce_to_all(run.clone()));
    assert!(during.iter().all(|answer| *answer == (ErrorCode::NONE, 9)), "{during:?}");
    run.world.run_for(Duration::from_secs(5));
    let all_there = |places: &[(String, i32, i64, bool)]| {
        places.len() == PARTITIONS as usize
            && places
                .iter()
                .all(|(dir, _, size, future)| *dir == to.display().to_string() && *size > 0 && !future)
    };
    let places_after = on(&run, places(run.clone()));
    assert!(all_there(&places_after), "{places_after:?}");
    let refused = on(&run, move_all(run.clone(), PathBuf::from("/elsewhere")));
    assert_eq!(refused, [ErrorCode::LOG_DIR_NOT_FOUND; PARTITIONS as usize]);
    for stops in [true, false] {
        if stops {
            run.stop(&status);
        }
        run.world.crash(run.node, CrashKind::Power);
        serve(&run);
        let places_after = on(&run, places(run.clone()));
        assert!(all_there(&places_after), "{places_after:?}");
    }
    let after = on(&run, produce_to_all(run.clone()));
    assert!(after.iter().all(|answer| *answer == (ErrorCode::NONE, 12)), "{after:?}");
    let left = [&run.dirs[0], &run.dirs[1]].map(|dir| run.world.disk_at(run.node, dir).files(View::Current));
    let of_topic = |(path, _): &&(PathBuf, u64)| path.display().to_string().contains(&format!("/{TOPIC}-"));
    assert_eq!(left.iter().flatten().filter(of_topic).count(), 0, "nothing is left behind: {left:?}");
}

/// Reads each partition from its beginning to this end: every batch is whole, and none is missing.
async fn read_all(run: Rc<Run>, end: i64) -> io::Result<()> {
    let mut client = Client::connect(&run.clients, run.address).await?;
    for partition in 0..PARTITIONS {
        let mut offset = 0;
        while offset < end {
            let asked = FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            };
            let topics =
                vec![FetchTopic { topic: TOPIC.to_owned(), partitions: vec![asked], ..Default::default() }];
            let request =
                FetchRequest { max_bytes: 1 << 20, session_epoch: -1, topics, ..FetchRequest::default() };
            let response = client.ask(&request, 11).await?;
            let data = &response.responses[0].partitions[0];
            assert_eq!(data.error_code, ErrorCode::NONE, "partition {partition} at {offset}");
            let records = data.records.as_ref().map(Records::to_bytes).unwrap_or_default();
            let batches = read_batches(&records, offset, data.high_watermark);
            assert!(!batches.is_empty(), "partition {partition} gives nothing at {offset}");
            for (at, entry) in batches {
                assert_eq!(at, offset, "partition {partition}");
                offset = at + i64::from(entry.records);
            }
        }
    }
    Ok(())
}

/// How many partitions' folders there are in a directory, but for those on their way.
fn logs_in(run: &Run, dir: &Path) -> usize {
    let files = run.world.disk_at(run.node, dir).files(View::Current);
    let folders = files.iter().filter_map(|(path, _)| path.strip_prefix(dir).ok()?.parent()?.to_str());
    folders.filter(|folder| parse_partition_dir(folder).is_some()).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_move_that_power_cuts_short_anywhere_loses_nothing() {
    let mut moved = BTreeSet::new();
    for step in 0..80 {
        let run = calm();
        let status = serve(&run);
        on(&run, create(run.clone()));
        on(&run, produce_to_all(run.clone()));
        // So that there is a segment with its indexes, too.
        run.stop(&status);
        run.world.crash(run.node, CrashKind::Power);
        serve(&run);
        on(&run, produce_to_all(run.clone()));
        // The cut may come before the answer: a message takes longer than the move of a replica.
        let (asks, to) = (run.clone(), run.dirs[2].clone());
        run.clients.spawn(crate::reactor::Class::Request, async move { drop(move_all(asks, to).await) });
        run.world.run_for(Duration::from_micros(1 + 250 * step + 60 * step * step));
        run.world.crash(run.node, CrashKind::Power);
        moved.insert(logs_in(&run, &run.dirs[2]));
        serve(&run);
        let after = on(&run, produce_to_all(run.clone()));
        assert!(after.iter().all(|answer| *answer == (ErrorCode::NONE, 6)), "cut at {step}: {after:?}");
        // What was on its way goes on.
        run.world.run_for(Duration::from_secs(10));
        on(&run, read_all(run.clone(), 9));
    }
    assert!(moved.len() > 2, "they are cut when some have moved, and some not: {moved:?}");
}

#[test]
fn a_move_that_a_disk_cuts_short_anywhere_loses_nothing() {
    for (disk, nth) in (1..3).flat_map(|disk| (1..60).map(move |nth| (disk, nth))) {
        let run = calm();
        serve(&run);
        on(&run, create(run.clone()));
        on(&run, produce_to_all(run.clone()));
        let failing = run.world.disk_at(run.node, &run.dirs[disk]);
        failing.fail_nth(IoKind::Metadata, nth);
        on(&run, move_all(run.clone(), run.dirs[2].clone()));
        run.world.run_for(Duration::from_millis(200));
        run.world.crash(run.node, CrashKind::Power);
        failing.mend();
        serve(&run);
        let after = on(&run, produce_to_all(run.clone()));
        assert!(after.iter().all(|answer| *answer == (ErrorCode::NONE, 3)), "disk {disk}, {nth}: {after:?}");
        on(&run, read_all(run.clone(), 6));
    }
}

/// Commits this offset, or reads what is committed: the error, and the offset.
async fn commit(run: Rc<Run>, offset: Option<i64>) -> io::Result<(ErrorCode, i64)> {
    let mut client = Client::connect(&run.clients, run.address).await?;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".to_owned()], ..Default::default() };
    while client.ask(&find, 4).await?.coordinators[0].error_code.is_error() {
        run.clients.sleep(Duration::from_millis(5)).await;
    }
    let Some(committed_offset) = offset else {
        let topics = vec![OffsetFetchRequestTopics {
            name: TOPIC.to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        }];
        let group =
            OffsetFetchRequestGroup { group_id: "g".to_owned(), topics: Some(topics), ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let group = client.ask(&request, 8).await?.groups.remove(0);
        let found = group.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
        return Ok((group.error_code, found));
    };
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset,
        committed_metadata: Some("x".repeat(1_000)),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest { group_id: "g".to_owned(), topics: vec![topic], ..Default::default() };
    let response = client.ask(&request, 9).await?;
    Ok((response.topics[0].partitions[0].error_code, committed_offset))
}

#[test]
fn a_coordinator_that_cannot_read_its_log_reads_it_again() {
    let run = calm();
    let status = serve(&run);
    on(&run, create(run.clone()));
    let mut committed = 0;
    while committed < 20 {
        let (error, _) = on(&run, commit(run.clone(), Some(42)));
        committed += usize::from(error.is_none());
        run.world.run_for(Duration::from_millis(10));
    }
    // After a clean stop nobody else reads it, but for its last block.
    run.stop(&status);
    run.world.crash(run.node, CrashKind::Process);
    let mut unread = Vec::new();
    for dir in &run.dirs {
        let disk = run.world.disk_at(run.node, dir);
        let is_log = |path: &Path| {
            path.to_string_lossy().contains("__consumer_offsets-") && path.extension() == Some("log".as_ref())
        };
        for (path, _) in
            disk.files(View::Current).into_iter().filter(|(path, size)| *size > 8192 && is_log(path))
        {
            disk.make_unreadable(&path, 0..4096).unwrap();
            unread.push((dir, path));
        }
    }
    assert_eq!(unread.len(), 1, "{unread:?}");
    let status = serve(&run);
    run.world.run_for(Duration::from_secs(20));
    let (error, _) = on(&run, commit(run.clone(), None));
    assert_eq!(error, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    for (dir, path) in unread {
        run.world.disk_at(run.node, dir).make_readable(&path).unwrap();
    }
    run.world.run_for(Duration::from_secs(70));
    assert_eq!(on(&run, commit(run.clone(), None)), (ErrorCode::NONE, 42));
    assert_eq!(status.lock().unwrap().ended, None, "the node has not started again");
}
