//! `ottla import`: what stock Kafka has written, in its own folders, is served by Ottla to the byte.

use std::path::{Path, PathBuf};
use std::process::Command;

use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    DescribeConfigsRequest, DescribeConfigsResource, FindCoordinatorRequest, InitProducerIdRequest,
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest,
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use crate::broker::{Broker, Folder, OTTLA, free_address, succeeded};
use crate::driver::Driver;
use crate::exchange::{SETTINGS, assert_same, fill, retry, serve, topics, wait_for_cleaner};
use crate::remote::{PATIENCE, Remote};
use crate::stock::Stock;

/// The topic of more than one partition, records of which were deleted.
const WIDE: &str = "wide";
/// A group that reads it.
const GROUP: &str = "wide-readers";

/// Adopts; gives what was said.
#[track_caller]
fn import(arguments: &[&str]) -> String {
    let arguments = [&["import", "--yes"], arguments].concat();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let output = Command::new(OTTLA).args(&arguments).output().unwrap();
        // For a moment after a kill, the system still closes its files.
        let in_use = String::from_utf8_lossy(&output.stderr).contains("is in use");
        if !in_use || std::time::Instant::now() > deadline {
            return String::from_utf8(succeeded(&arguments, output)).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A copy of a folder, made by the system.
fn duplicate(from: &Path) -> Folder {
    let folder = Folder::new();
    let copied = Command::new("cp").arg("-a").arg(from).arg(folder.0.join("data")).status().unwrap();
    assert!(copied.success());
    folder
}

/// An Ottla on a folder whose `data` was adopted.
fn start(folder: Folder) -> Broker {
    let address = free_address();
    let config = folder.0.join("server.properties");
    std::fs::write(&config, SETTINGS.join("\n")).unwrap();
    let arguments = ["--config", &config.to_string_lossy(), "--listen", &address].map(str::to_owned);
    let mut broker = Broker::with(folder, address, arguments.to_vec());
    broker.begin();
    broker.wait();
    broker
}

/// A topic, and the settings that were set for it.
type TopicSettings = (String, Vec<(String, Option<String>)>);

/// The settings that were set for topics.
fn settings(address: &str) -> Vec<TopicSettings> {
    let of = |name: &str| DescribeConfigsResource {
        resource_type: 2,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let resources = topics().iter().map(|topic| of(topic.0)).chain([of(WIDE)]).collect();
    let request = DescribeConfigsRequest { resources, ..Default::default() };
    let answer = Remote::open(address).0.call(&request).unwrap();
    let told = answer.results.into_iter().map(|result| {
        assert_eq!(result.error_code, ErrorCode::NONE);
        let set = result.configs.into_iter().filter(|config| config.config_source == 1);
        let mut set: Vec<_> = set.map(|config| (config.name, config.value)).collect();
        set.sort();
        (result.resource_name, set)
    });
    told.collect()
}

/// Where the partitions of the wide topic begin and end, and its id.
fn wide(address: &str) -> (String, Vec<(i64, i64)>) {
    let mut remote = Remote::open(address);
    (0..6).for_each(|partition| remote.wait_for(WIDE, partition));
    let at = |remote: &mut Remote, n, time| remote.offset(WIDE, n, time).unwrap().0;
    let ends = (0..6).map(|n| (at(&mut remote, n, -2), at(&mut remote, n, -1))).collect();
    (remote.id(WIDE).to_string(), ends)
}

fn new_producer(address: &str) -> i64 {
    let request = InitProducerIdRequest { transaction_timeout_ms: 1000, ..Default::default() };
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        // Stock Kafka is still asking for its first ids for a moment.
        let answer = Remote::open(address).0.call(&request).unwrap();
        match answer.error_code {
            ErrorCode::NONE => return answer.producer_id,
            error => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn fill_wide(address: &str) {
    Remote::open(address).create(WIDE, 6, &[("retention.ms", "-1")]);
    let ottla = |arguments: &[&str]| {
        let output = Command::new(OTTLA).args(["-b", address]).args(arguments).output().unwrap();
        succeeded(arguments, output)
    };
    let lines = Folder::new();
    let file = lines.0.join("lines");
    let text: String = (0..3000).map(|n| format!("key {n}:value {n}\n")).collect();
    std::fs::write(&file, text).unwrap();
    ottla(&["produce", "-t", WIDE, "-K:", "-l", file.to_str().unwrap()]);
    ottla(&["records", "delete", WIDE, "--before", "100", "--yes"]);
    commit(address);
}

/// Commits offsets of a group without members.
fn commit(address: &str) {
    let mut remote = Remote::open(address);
    let partition = |n: i32| OffsetCommitRequestPartition {
        partition_index: n,
        committed_offset: 100 + i64::from(n),
        committed_leader_epoch: -1,
        committed_metadata: Some(format!("of {n}")),
    };
    let topic = OffsetCommitRequestTopic {
        name: WIDE.into(),
        topic_id: remote.id(WIDE),
        partitions: (0..6).map(partition).collect(),
    };
    let request = OffsetCommitRequest { group_id: GROUP.into(), topics: vec![topic], ..Default::default() };
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let find = FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..Default::default() };
        remote.0.call(&find).unwrap();
        let answer = remote.0.call(&request).unwrap();
        let error = answer.topics[0].partitions.iter().map(|p| p.error_code).find(|error| error.is_error());
        match error {
            None => return,
            Some(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// What the group has committed.
fn committed(address: &str) -> Vec<(i32, i64, Option<String>)> {
    let mut remote = Remote::open(address);
    let topic = OffsetFetchRequestTopics {
        name: WIDE.into(),
        topic_id: remote.id(WIDE),
        partition_indexes: (0..6).collect(),
    };
    let group =
        OffsetFetchRequestGroup { group_id: GROUP.into(), topics: Some(vec![topic]), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut answer = remote.0.call(&request).unwrap();
        let group = answer.groups.remove(0);
        if !group.error_code.is_error() {
            let parts = group.topics.into_iter().flat_map(|topic| topic.partitions);
            return parts.map(|p| (p.partition_index, p.committed_offset, p.metadata)).collect();
        }
        assert!(std::time::Instant::now() < deadline, "{}", group.error_code);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// All that a broker serves.
struct Whole {
    served: Vec<crate::exchange::Served>,
    settings: Vec<TopicSettings>,
    wide: (String, Vec<(i64, i64)>),
    committed: Vec<(i32, i64, Option<String>)>,
}

fn whole(driver: &mut Driver, address: &str) -> Whole {
    let wide = wide(address);
    let committed = committed(address);
    Whole { served: serve(driver, address), settings: settings(address), wide, committed }
}

#[track_caller]
fn assert_whole(wanted: &Whole, found: &Whole) {
    assert_same(&wanted.served, &found.served);
    assert_eq!(wanted.settings, found.settings);
    assert_eq!(wanted.wide, found.wide);
    assert_eq!((wanted.committed.len(), wanted.committed[5].1), (6, 105));
    assert_eq!(wanted.committed, found.committed);
}

/// Serves an adopted folder: all is as it was, producers go on, new ones have ids of their own, also after a crash.
fn check(driver: &mut Driver, folder: Folder, wanted: &Whole, last: &[(Vec<u8>, i64)], highest_id: i64) {
    let mut broker = start(folder);
    assert_whole(wanted, &whole(driver, &broker.address));
    // The first start after the import is the one that crashes: nothing deleted comes back, nothing is lost.
    broker.kill();
    broker.begin();
    broker.wait();
    assert_whole(wanted, &whole(driver, &broker.address));
    let id = new_producer(&broker.address);
    assert!(id > highest_id, "a new producer is given the id {id}, and {highest_id} is in use");
    let more = retry(&broker.address, last);
    let then = whole(driver, &broker.address);
    broker.kill();
    broker.begin();
    broker.wait();
    assert_whole(&then, &whole(driver, &broker.address));
    retry(&broker.address, &more);
    broker.stop();
}

#[test]
fn a_stopped_kafka_is_adopted_by_copy_and_in_place() {
    let mut driver = Driver::start();
    let mut stock = Stock::start(&SETTINGS);
    let mut last = fill(&mut driver, &stock.address);
    fill_wide(&stock.address);
    wait_for_cleaner(&stock.address, &stock.data());
    for killed in [false, true] {
        if killed {
            // By now it has seen a few leader epochs.
            stock.begin();
            last = retry(&stock.address, &last);
        }
        let wanted = whole(&mut driver, &stock.address);
        let highest = last.iter().map(|(batch, _)| producer_id(batch)).max().unwrap();
        assert!(highest > new_producer(&stock.address));
        if killed {
            stock.kill()
        } else {
            stock.stop()
        }

        let data = stock.data();
        let before = listing(&data);
        let target = Folder::new();
        let to = target.0.join("data");
        let said = import(&["--from", data.to_str().unwrap(), "--data-dir", to.to_str().unwrap()]);
        let state = if killed { "not stopped cleanly" } else { "stopped cleanly" };
        for text in [state, "12 (1 of Kafka's own)", "node.id=1", "of Kafka 4.2"] {
            assert!(said.contains(text), "{text}: {said}");
        }
        assert_eq!(listing(&data), before, "the source was changed");
        check(&mut driver, target, &wanted, &last, highest);

        let copy = duplicate(&data);
        import(&["--from", copy.0.join("data").to_str().unwrap(), "--in-place"]);
        check(&mut driver, copy, &wanted, &last, highest);
    }
    // On a folder that is just being adopted, stock Kafka does not start; with its metadata back, it does.
    let data = stock.data();
    import(&["--from", data.to_str().unwrap(), "--in-place"]);
    let identity = data.join("meta.properties");
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, text.replace("version=1", "version=ottla-import")).unwrap();
    assert!(!stock.can_begin(), "stock Kafka starts in the middle of an import");
    std::fs::remove_dir_all(data.join("__cluster_metadata-0")).unwrap();
    std::fs::rename(data.join("__cluster_metadata-0.kafka"), data.join("__cluster_metadata-0")).unwrap();
    let kafkas: String =
        text.lines().filter(|line| !line.starts_with("ottla.")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&identity, kafkas).unwrap();
    stock.begin();
    let back = wide(&stock.address);
    assert_eq!(back.1.iter().map(|(begin, _)| *begin).collect::<Vec<_>>(), [100; 6]);
}

fn producer_id(batch: &[u8]) -> i64 {
    ottla::wire::batch::Batch::first(batch).unwrap().producer_id()
}

/// The files of a folder and all below it, their sizes and times.
fn listing(dir: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(listing(&entry)),
            false => {
                let found = std::fs::metadata(&entry).unwrap();
                files.push((entry, found.len(), found.modified().unwrap()));
            }
        }
    }
    files.sort();
    files
}
