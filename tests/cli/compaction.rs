//! A compacted topic from its first record to a read after a crash, by `ottla`'s own commands.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Folder, free_address};
use crate::support::run;

/// How long the cleaner may take.
const PATIENCE: Duration = Duration::from_secs(120);
const KEYS: usize = 500;

/// Lines of `key=value`, the keys again and again, and the last value of each.
fn input(records: usize) -> (String, BTreeMap<String, String>) {
    let (mut lines, mut last) = (String::new(), BTreeMap::new());
    for number in 0..records {
        let (key, value) = (format!("key-{}", number % KEYS), format!("{number}-{}", "v".repeat(600)));
        writeln!(lines, "{key}={value}").unwrap();
        last.insert(key, value);
    }
    (lines, last)
}

/// Bytes of all segments but the active one.
fn older_bytes(dir: &Path) -> u64 {
    let logs = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut logs: Vec<_> = logs
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"))
        .map(|entry| (entry.file_name(), entry.metadata().map_or(0, |metadata| metadata.len())))
        .collect();
    logs.sort();
    logs.pop();
    logs.iter().map(|(_, size)| size).sum()
}

fn read(broker: &Broker) -> Vec<(String, String)> {
    let arguments =
        ["-b", &broker.address, "consume", "-t", "compacted", "-o", "beginning", "-e", "-f", "%k=%s\\n"];
    let lines = run(&arguments, b"").ok();
    let split = |line: &str| line.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
    lines.lines().map(split).collect()
}

#[test]
fn of_each_key_the_last_record_stays() {
    let (folder, address) = (Folder::new(), free_address());
    let config = folder.0.join("server.properties");
    // So slow that nothing comes of it, until both are changed.
    let slow = "log.cleaner.backoff.ms=3600000\nlog.cleaner.io.max.bytes.per.second=1000\n";
    std::fs::write(&config, slow).unwrap();
    let arguments = ["--config", &config.to_string_lossy(), "--listen", &address].map(str::to_owned);
    let mut broker = Broker::with(folder, address.clone(), arguments.to_vec());
    broker.begin();
    broker.wait();
    let settings = ["cleanup.policy=compact", "segment.bytes=1048576", "min.cleanable.dirty.ratio=0.01"];
    let mut create = vec!["topic", "create", "compacted", "-p", "1"];
    settings.iter().for_each(|setting| create.extend(["-c", setting]));
    broker.ottla(&create);

    let refused = run(&["-b", &address, "produce", "-t", "compacted"], b"no key\n").fails(1);
    assert!(refused.contains("INVALID_RECORD") && refused.contains("key"), "{refused}");

    let (lines, last) = input(20_000);
    let produce = ["-b", &address, "produce", "-t", "compacted", "-K", "="];
    run(&produce, lines.as_bytes()).ok();
    let (more, later) = input(2 * KEYS);
    run(&produce, more.as_bytes()).ok();
    let dir = broker.data().join("compacted-0");
    assert!(older_bytes(&dir) > 10_000_000);
    let quick = ["config", "set", "--cluster", "log.cleaner.backoff.ms=100"];
    broker.ottla(&[&quick[..], &["log.cleaner.io.max.bytes.per.second=1e9"]].concat());
    let deadline = Instant::now() + PATIENCE;
    // Twelve segments were written; of all but the last, less than one is left.
    while older_bytes(&dir) > 700_000 {
        assert!(Instant::now() < deadline, "{} bytes; {}", older_bytes(&dir), broker.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let expect = |records: Vec<(String, String)>| {
        let read: BTreeMap<_, _> = records.into_iter().collect();
        assert_eq!(read.len(), last.len());
        assert_eq!(read, later, "the last value of each key");
    };
    expect(read(&broker));
    broker.kill();
    broker.begin();
    broker.wait();
    expect(read(&broker));
    broker.stop();
    let log = dir.join("00000000000000000000.log");
    let dumped = run(&["dump", &log.to_string_lossy()], b"").ok();
    assert!(dumped.contains("whole") && dumped.contains("next offset"), "{dumped}");
}
