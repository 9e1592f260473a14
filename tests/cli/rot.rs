//! A bit that has flipped in a finished segment: it is never served, and the log says where it is and what to do.

use std::fs;
use std::path::PathBuf;

use crate::broker::Broker;
use crate::support::{Outcome, run};

const RECORDS: usize = 42;
const SIZE: usize = 60_000;
/// Bytes of an entry of an index.
const ENTRY: usize = 8;

/// Records of which each says its number, and is a batch of its own.
fn fill(broker: &Broker) {
    let create = ["topic", "create", "t", "-p", "1", "-c", "segment.bytes=1048576"];
    broker.ottla(&create);
    for n in 0..RECORDS {
        let arguments = ["-b", &broker.address, "produce", "-t", "t"];
        run(&arguments, format!("{n:0SIZE$}\n").as_bytes()).ok();
    }
}

/// The offsets of what is read from an offset on, and how the reader ended.
fn read(broker: &Broker, from: &str) -> (Vec<usize>, Outcome) {
    let arguments = ["-b", &broker.address, "consume", "-t", "t", "-o", from, "-e", "-f", "%o %s\\n"];
    let outcome = run(&arguments, b"");
    let offset = |line: &str| -> usize {
        let (offset, value) = line.split_once(' ').unwrap();
        assert_eq!(value.len(), SIZE);
        let offset: usize = offset.parse().unwrap();
        assert_eq!(value.parse::<usize>().unwrap(), offset, "each record says its number");
        offset
    };
    (outcome.out.lines().map(offset).collect(), outcome)
}

fn segments(broker: &Broker, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(broker.data().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

fn flip(path: &PathBuf, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_told_and_not_served() {
    let mut broker = Broker::start();
    fill(&broker);
    broker.stop();
    let rotten = segments(&broker, "log")[1].clone();
    let base: usize = rotten.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    // In the value of the segment's third record.
    let batch = fs::metadata(&rotten).unwrap().len() as usize / (SIZE + 70);
    assert!(batch > 4, "a segment holds several batches");
    let position = 2 * (SIZE + 75) + 5000;
    flip(&rotten, position);

    broker.begin();
    broker.wait();
    let (offsets, outcome) = read(&broker, "beginning");
    assert_eq!(offsets, (0..base + 2).collect::<Vec<_>>(), "what lies before is served");
    assert!(outcome.fails(1).contains("CORRUPT_MESSAGE"));
    let log = broker.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("is damaged")).collect();
    assert_eq!(told.len(), 1, "{log}");
    let damaged = base + 2;
    for part in [
        &rotten.display().to_string(),
        &format!("the batch of offset {damaged} at position "),
        "checksum",
        "not served",
        &format!("from offset {} on", damaged + 1),
        "put this file back from a copy",
    ] {
        assert!(told[0].contains(part), "{part} is not in {}", told[0]);
    }
    let (offsets, outcome) = read(&broker, &(damaged + 1).to_string());
    outcome.ok();
    assert_eq!(offsets, (damaged + 1..RECORDS).collect::<Vec<_>>(), "what lies behind is served");
    broker.stop();

    flip(&rotten, position);
    // An index that leads to the wrong place costs time, no records: of a finished segment, and of the last one.
    let indexes = segments(&broker, "index");
    let (finished, last) = (&indexes[1], indexes.last().unwrap());
    let whole = fs::read(last).unwrap();
    assert!(whole.len() > 2 * ENTRY, "the last segment has an index worth its name");
    flip(finished, 7);
    flip(last, 7);
    broker.begin();
    broker.wait();
    let (offsets, outcome) = read(&broker, "beginning");
    outcome.ok();
    assert_eq!(offsets, (0..RECORDS).collect::<Vec<_>>());
    for from in (0..RECORDS).step_by(3) {
        assert_eq!(read(&broker, &from.to_string()).0, (from..RECORDS).collect::<Vec<_>>());
    }
    let log = broker.log();
    for index in [finished, last] {
        let told =
            |line: &&str| line.contains("the index does not fit") && line.contains(&*index.to_string_lossy());
        assert_eq!(log.lines().filter(told).count(), 1, "{log}");
    }
    broker.stop();
    assert_eq!(fs::read(last).unwrap(), whole, "a clean stop writes it anew");
}
