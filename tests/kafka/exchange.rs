//! Files that change hands between Ottla and stock Kafka.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ottla::wire::batch::{BatchBuilder, Compression};
use ottla::wire::error::ErrorCode;

use crate::broker::{Broker, Folder, free_address};
use crate::driver::Driver;
use crate::files::{exchange, named};
use crate::remote::{PATIENCE, Remote};
use crate::stock::Stock;

/// What both brokers are told: the cleaner is not to wait.
pub const SETTINGS: [&str; 2] = ["log.cleaner.backoff.ms=100", "log.cleaner.dedupe.buffer.size=4194304"];
const SEGMENT: (&str, &str) = ("segment.bytes", "1048576");
const FOREVER: (&str, &str) = ("retention.ms", "-1");
const COMPACT: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("delete.retention.ms", "86400000000"),
    (LAG, "0"),
];
/// Its records are old, those of its last producers too, so that its last segment rolls by age.
const AGED: &str = "compacted";

/// Set to this, nothing is compacted any more.
const LAG: &str = "min.compaction.lag.ms";
const NEVER: &str = "9000000000000";

/// The topics: name, the producers' codec, how many keys there are (0 for any number), how many records, settings.
pub type Made = (&'static str, &'static str, u32, u32, Vec<(&'static str, &'static str)>);

pub fn topics() -> Vec<Made> {
    let plain = |name, codec| (name, codec, 0, 3_000, vec![SEGMENT, FOREVER]);
    vec![
        plain("plain", "none"),
        plain("gzip", "gzip"),
        plain("snappy", "snappy"),
        plain("lz4", "lz4"),
        plain("zstd", "zstd"),
        ("recompressed", "none", 0, 500, vec![FOREVER, ("compression.type", "zstd")]),
        ("stamped", "lz4", 0, 500, vec![FOREVER, ("message.timestamp.type", "LogAppendTime")]),
        (AGED, "none", 300, 6_000, [&COMPACT[..], &[SEGMENT]].concat()),
        ("compacted-lz4", "lz4", 300, 6_000, [&COMPACT[..], &[SEGMENT]].concat()),
        ("empty", "none", 0, 0, vec![]),
    ]
}

/// An Ottla of the test's own.
fn ottla() -> Broker {
    let (folder, address) = (Folder::new(), free_address());
    let config = folder.0.join("server.properties");
    std::fs::write(&config, SETTINGS.join("\n")).unwrap();
    let arguments = ["--config", &config.to_string_lossy(), "--listen", &address].map(str::to_owned);
    Broker::with(folder, address.clone(), arguments.to_vec())
}

/// Makes the topics of a broker, and fills them. Gives the batch that an idempotent producer appended last to each, and
/// its offset.
pub fn fill(driver: &mut Driver, address: &str) -> Vec<(Vec<u8>, i64)> {
    let mut remote = Remote::open(address);
    let mut last = Vec::new();
    for (seed, (name, codec, keys, count, settings)) in topics().into_iter().enumerate() {
        remote.create(name, 1, &settings);
        if count == 0 {
            continue;
        }
        let (count, keys, seed) = (count.to_string(), keys.to_string(), seed.to_string());
        let codec = format!("compression.type={codec}");
        let words = ["Write", address, name, &count, &keys, &seed, &codec, "linger.ms=5"];
        let end: i64 = driver.run(&words).ok().trim().parse().unwrap();
        last.push(append_own(&mut remote, name, end + 1));
    }
    last
}

/// Appends two batches of a new idempotent producer; gives the second and its offset. The brokers know nothing of each
/// other's producers, so its id is one that neither gives.
fn append_own(remote: &mut Remote, topic: &str, end: i64) -> (Vec<u8>, i64) {
    static NEXT: AtomicI64 = AtomicI64::new(1 << 40);
    let id = NEXT.fetch_add(1, Relaxed);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let time = if topic == AGED { 1_700_000_000_000 } else { now };
    let batch = |sequence| {
        let mut builder = BatchBuilder::new().producer(id, 0, sequence).compression(Compression::Gzip);
        (0..3).for_each(|n| builder.append(time + n, Some(b"own"), Some(b"value"), &[]));
        builder.build().unwrap()
    };
    for (sequence, offset) in [(0, end), (3, end + 3)] {
        let answer = remote.produce(topic, 0, &batch(sequence));
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, offset), "{topic}");
    }
    (batch(3), end + 3)
}

/// Waits until compacted topics are, their older segments became small, and sees to it that they stay as they are.
pub fn wait_for_cleaner(address: &str, data: &Path) {
    let sizes = |topic: &str| -> Vec<(PathBuf, u64)> {
        let logs = named(&data.join(place(topic)), ".log");
        logs.into_iter()
            .filter_map(|log| std::fs::metadata(&log).map(|found| (log, found.len())).ok())
            .collect()
    };
    let older = |topic: &str| sizes(topic).iter().rev().skip(1).map(|(_, size)| size).sum::<u64>();
    let deadline = Instant::now() + PATIENCE;
    for (topic, ..) in topics().into_iter().filter(|topic| topic.2 > 0) {
        while older(topic) > 600_000 {
            assert!(Instant::now() < deadline, "{topic} still has {} bytes", older(topic));
            std::thread::sleep(Duration::from_millis(50));
        }
        Remote::open(address).set(topic, LAG, NEVER);
        let (mut before, mut since) = (sizes(topic), Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(50));
            let now = sizes(topic);
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
    }
}

/// What a broker serves of a topic: to a client, and over the wire.
#[derive(PartialEq)]
pub struct Served {
    read: String,
    bytes: Vec<u8>,
}

pub fn serve(driver: &mut Driver, address: &str) -> Vec<Served> {
    let mut remote = Remote::open(address);
    let mut all = Vec::new();
    for (name, ..) in topics() {
        remote.wait_for(name, 0);
        let read = driver.run(&["Read", address, name]).ok();
        all.push(Served { read, bytes: remote.fetch_all(name, 0) });
    }
    all
}

/// Both serve the same. Where a compacted topic begins with an empty segment, stock Kafka finds nothing by a time before
/// the first record; else both find the first record that is not before that time.
#[track_caller]
pub fn assert_same(before: &[Served], after: &[Served]) {
    for ((name, _, keys, ..), (before, after)) in topics().iter().zip(before.iter().zip(after)) {
        let is_search = |line: &&str| line.starts_with("at ");
        let records = |served: &Served| -> Vec<String> {
            served.read.lines().filter(|line| !is_search(line)).map(str::to_owned).collect()
        };
        let (mine, theirs) = (records(before), records(after));
        let differs = mine.iter().zip(&theirs).find(|(before, after)| before != after);
        assert_eq!(differs, None, "{name}: the first record that differs");
        assert_eq!(mine.len(), theirs.len(), "{name}: records");
        assert!(
            before.bytes == after.bytes,
            "{name}: {} bytes, {} bytes",
            before.bytes.len(),
            after.bytes.len()
        );
        let times = offsets_and_times(&mine);
        for line in before.read.lines().chain(after.read.lines()).filter(is_search) {
            let time: i64 = line.split(' ').nth(1).unwrap().parse().unwrap();
            let wanted = times.iter().find(|(_, timestamp)| *timestamp >= time);
            let wanted =
                wanted.map_or("none".to_owned(), |(offset, timestamp)| format!("{offset} {timestamp}"));
            let lost_by_stock = *keys > 0 && line.ends_with(" none");
            assert!(
                line == format!("at {time} {wanted}") || lost_by_stock,
                "{name}: {line}, wanted {wanted}"
            );
        }
    }
}

/// The offsets and timestamps of lines that tell of records.
fn offsets_and_times(lines: &[String]) -> Vec<(i64, i64)> {
    let records = lines.iter().filter(|line| line.contains(" key "));
    let numbers =
        records.map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<i64>>());
    numbers.map(|numbers| (numbers[0], numbers[1])).collect()
}

/// A producer that sends its last batch once more is told where it is, and a new one goes on. Gives what that sent last.
/// (Stock Kafka forgets a producer whose last batch is old.)
pub fn retry(address: &str, last: &[(Vec<u8>, i64)]) -> Vec<(Vec<u8>, i64)> {
    let mut remote = Remote::open(address);
    let filled = topics().into_iter().filter(|topic| topic.3 > 0);
    let mut newer = Vec::new();
    for ((name, ..), (batch, offset)) in filled.zip(last) {
        remote.wait_for(name, 0);
        let (end, _) = remote.offset(name, 0, -1).unwrap();
        let answer = remote.produce(name, 0, batch);
        if name == AGED && answer.base_offset == end {
            newer.push(append_own(&mut remote, name, end + 3));
            continue;
        }
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, *offset), "{name}: {answer:?}");
        assert_eq!(remote.offset(name, 0, -1).unwrap().0, end, "{name}: nothing was appended");
        newer.push(append_own(&mut remote, name, end));
    }
    newer
}

/// A new Ottla that serves what lies in another broker's folder.
fn adopt(from: &Path) -> Broker {
    let mut broker = ottla();
    broker.begin();
    broker.wait();
    make(&broker.address);
    broker.stop();
    topics()
        .iter()
        .for_each(|(name, ..)| exchange(&from.join(place(name)), &broker.data().join(place(name))));
    broker.begin();
    broker.wait();
    broker
}

/// The folder of a topic's partition.
fn place(topic: &str) -> String {
    format!("{topic}-0")
}

/// Makes the topics of a broker that is to take another's files; there nothing is compacted.
fn make(address: &str) {
    let mut remote = Remote::open(address);
    for (name, .., settings) in topics() {
        let keeps = settings.iter().filter(|setting| setting.0 != LAG);
        let settings: Vec<_> = keeps.copied().chain([(LAG, NEVER)]).collect();
        remote.create(name, 1, &settings);
    }
}

#[test]
fn ottla_serves_what_stock_kafka_wrote() {
    let mut driver = Driver::start();
    let mut stock = Stock::start(&SETTINGS);
    let last = fill(&mut driver, &stock.address);
    wait_for_cleaner(&stock.address, &stock.data());
    let served = serve(&mut driver, &stock.address);
    stock.stop();
    let mut broker = adopt(&stock.data());
    assert_same(&served, &serve(&mut driver, &broker.address));
    let more = retry(&broker.address, &last);
    let served_then = serve(&mut driver, &broker.address);
    broker.kill();
    broker.begin();
    broker.wait();
    assert_same(&served_then, &serve(&mut driver, &broker.address));
    retry(&broker.address, &more);
    drop(broker);

    // A stock Kafka that was killed, and has seen a few leader epochs.
    for _ in 0..2 {
        stock.begin();
        stock.stop();
    }
    stock.begin();
    let more = retry(&stock.address, &last);
    let served = serve(&mut driver, &stock.address);
    stock.kill();
    let mut broker = adopt(&stock.data());
    assert_same(&served, &serve(&mut driver, &broker.address));
    retry(&broker.address, &more);
    let served = serve(&mut driver, &broker.address);
    broker.kill();
    broker.begin();
    broker.wait();
    assert_same(&served, &serve(&mut driver, &broker.address));
}

#[test]
fn stock_kafka_reads_and_serves_what_ottla_wrote() {
    let mut driver = Driver::start();
    let (mut stock, mut broker) = (Stock::new(&SETTINGS), ottla());
    broker.begin();
    broker.wait();
    let last = fill(&mut driver, &broker.address);
    wait_for_cleaner(&broker.address, &broker.data());
    // More than one leader epoch.
    broker.kill();
    broker.begin();
    broker.wait();
    let last = retry(&broker.address, &last);
    let served = serve(&mut driver, &broker.address);
    broker.stop();
    for ((name, _, keys, ..), served) in topics().iter().zip(&served) {
        dump(&mut driver, &broker.data().join(place(name)), served, *keys > 0);
    }
    stock.begin();
    make(&stock.address);
    stock.stop();
    for (name, ..) in topics() {
        exchange(&broker.data().join(place(name)), &stock.data().join(place(name)));
    }
    stock.begin();
    assert_same(&served, &serve(&mut driver, &stock.address));
    retry(&stock.address, &last);
}

/// Reads all files of a stopped broker's partition with Kafka's own tool.
fn dump(driver: &mut Driver, dir: &Path, served: &Served, compacted: bool) {
    let (mut records, mut dumped) = (0, |file: &Path, arguments: &[&str]| {
        let file = file.to_str().unwrap();
        let ran = driver.run(&[&["kafka.tools.DumpLogSegments", "--files", file][..], arguments].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out + &ran.err
    });
    for log in named(dir, ".log") {
        let plain = dumped(&log, &["--deep-iteration", "--print-data-log"]);
        let is_whole = |line: &str| !line.starts_with("baseOffset: ") || line.contains(" isvalid: true");
        assert!(plain.lines().all(is_whole), "{}: {plain}", log.display());
        for bad in ["invalid", "mismatch", "Mismatch", "rror"] {
            assert!(!plain.contains(bad), "{}: {bad}: {plain}", log.display());
        }
        assert!(compacted || !plain.contains("Non-consecutive"), "{}: {plain}", log.display());
        records += plain.lines().filter(|line| line.starts_with("| offset: ")).count();
        let shallow = dumped(&log, &["--skip-record-metadata"]);
        assert!(shallow.lines().all(is_whole), "{}: {shallow}", log.display());
    }
    let offsets = served.read.lines().filter(|line| line.contains(" key ")).count();
    assert_eq!(records, offsets, "{}: records that the tool found", dir.display());
    for (index, what) in [(".index", "offset: "), (".timeindex", "timestamp: ")] {
        let files = named(dir, index);
        assert_eq!(files.len(), named(dir, ".log").len(), "{}", dir.display());
        for file in files {
            let entries = dumped(&file, &[]);
            let larger = std::fs::metadata(file.with_extension("log")).unwrap().len() > 100_000;
            assert!(
                !larger || entries.lines().filter(|line| line.starts_with(what)).count() > 3,
                "{entries}"
            );
            let sane = dumped(&file, &["--index-sanity-check"]);
            assert!(
                sane.contains("passed sanity check") || sane.contains("is empty"),
                "{}: {sane}",
                file.display()
            );
            for text in [entries, sane, dumped(&file, &["--verify-index-only"])] {
                for bad in ["ismatch", "Found", "out of order", "rror"] {
                    assert!(!text.contains(bad), "{}: {text}", file.display());
                }
            }
        }
    }
    let snapshots = named(dir, ".snapshot");
    assert_eq!(snapshots.is_empty(), records == 0, "{}", dir.display());
    for (at, file) in snapshots.iter().enumerate() {
        let text = dumped(file, &[]);
        let producers = text.lines().filter(|line| line.starts_with("producerId: ")).count();
        let wanted = if at + 1 == snapshots.len() { 3 } else { 1 };
        assert!(producers >= wanted && !text.contains("rror"), "{}: {text}", file.display());
    }
}
