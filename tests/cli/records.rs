//! `ottla produce` and `ottla consume` against a broker.

use std::io::{BufRead, BufReader};

use crate::support::{Broker, Outcome};

fn topic(broker: &Broker, name: &str, partitions: &str) -> String {
    let name = broker.topic(name);
    broker.ottla(&["topic", "create", &name, "-p", partitions]).ok();
    name
}

fn consume(broker: &Broker, topic: &str, more: &[&str]) -> Outcome {
    broker.ottla(&[&["consume", "-q", "-e", "-t", topic], more].concat())
}

#[test]
fn every_codec_goes_there_and_back() {
    let broker = Broker::start();
    let name = topic(&broker, "codecs", "1");
    let mut wanted = String::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: String = (0..2000).map(|n| format!("{codec} line {n}\n")).collect();
        broker.ottla_with(&["produce", "-t", &name, "-z", codec], &lines).ok();
        wanted += &lines;
    }
    assert_eq!(consume(&broker, &name, &[]).ok(), wanted);
}

#[test]
fn keys_headers_nulls_and_timestamps_are_kept() {
    let broker = Broker::start();
    let name = topic(&broker, "fields", "1");
    let input = "k1:v1\nk2:\n:v3\nno key\n";
    let produce = ["produce", "-t", &name, "-K:", "-H", "a=1", "-H", "b", "--timestamp", "1234567890123"];
    broker.ottla_with(&[&produce[..], &["-Z"]].concat(), input).ok();
    let format = "%o %T %k/%K %s/%S %h\\n";
    assert_eq!(
        consume(&broker, &name, &["-f", format]).ok(),
        "0 1234567890123 k1/2 v1/2 a=1,b=NULL\n\
         1 1234567890123 k2/2 /-1 a=1,b=NULL\n\
         2 1234567890123 /-1 v3/2 a=1,b=NULL\n\
         3 1234567890123 /-1 no key/6 a=1,b=NULL\n"
    );
    assert_eq!(consume(&broker, &name, &["-K", "|", "-Z"]).ok(), "k1|v1\nk2|NULL\nNULL|v3\nNULL|no key\n");
    let json = consume(&broker, &name, &["-J", "-c", "2"]).json();
    assert_eq!(json.len(), 2);
    assert_eq!(json[1]["key"], "k2");
    assert_eq!(json[1]["payload"], serde_json::Value::Null);
    assert_eq!(json[1]["headers"], serde_json::json!(["a", "1", "b", null]));
    assert_eq!((&json[1]["offset"], &json[1]["ts"]), (&1.into(), &1234567890123i64.into()));
}

#[test]
fn any_offset_can_be_read_from() {
    let broker = Broker::start();
    let name = topic(&broker, "offsets", "1");
    // One batch each, so that offsets lie within batches.
    for start in [0, 50] {
        let lines: String = (start..start + 50).map(|n| format!("{n}\n")).collect();
        let time = (1_700_000_000_000i64 + start).to_string();
        broker.ottla_with(&["produce", "-t", &name, "--timestamp", &time, "--linger-ms", "2000"], lines).ok();
    }
    let read = |more: &[&str]| -> Vec<i32> {
        consume(&broker, &name, more).ok().lines().map(|l| l.parse().unwrap()).collect()
    };
    assert_eq!(read(&["-o", "beginning"]), (0..100).collect::<Vec<_>>());
    assert_eq!(read(&["-o", "17", "-c", "40"]), (17..57).collect::<Vec<_>>());
    assert_eq!(read(&["-o", "-3"]), [97, 98, 99]);
    assert_eq!(read(&["-o", "-1000"]).len(), 100);
    assert_eq!(read(&["-o", "@1700000000001"]), (50..100).collect::<Vec<_>>());
    assert_eq!(read(&["-o", "@1700000000000", "-o", "e@1700000000050"]), (0..50).collect::<Vec<_>>());
    assert_eq!(read(&["-o", "@1800000000000"]), [0; 0]);
    assert_eq!(read(&["-o", "end"]), [0; 0]);
    assert_eq!(read(&["-o", "100"]), [0; 0]);
    let err = broker.ottla(&["consume", "-t", &name, "-o", "101", "-c", "1"]).fails(1);
    assert!(err.contains("offset 101 lies behind the end"), "{err}");
    let err = broker.ottla(&["consume", "-t", &name, "-p", "1", "-e"]).fails(2);
    assert!(err.contains("no partition 1"), "{err}");
}

#[test]
fn keys_go_where_kafkas_own_client_puts_them() {
    let broker = Broker::start();
    let name = topic(&broker, "murmur", "16");
    // Computed by org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey with 16 partitions.
    let wanted = [("21", 12), ("foobar", 14), ("abc", 11), ("a-little-bit-long-string", 0)];
    let input: String = wanted.iter().map(|(key, _)| format!("{key}:x\n")).collect();
    broker.ottla_with(&["produce", "-t", &name, "-K:"], input).ok();
    let out = consume(&broker, &name, &["-f", "%k %p\\n"]).ok();
    let mut found: Vec<&str> = out.lines().collect();
    found.sort_unstable();
    let mut wanted: Vec<String> =
        wanted.iter().map(|(key, partition)| format!("{key} {partition}")).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    broker.ottla_with(&["produce", "-t", &name, "-p", "9", "-k", "21"], "chosen\n").ok();
    assert_eq!(consume(&broker, &name, &["-p", "9"]).ok(), "chosen\n");
}

#[test]
fn records_may_be_as_large_as_allowed_and_no_larger() {
    let broker = Broker::start();
    let name = broker.topic("large");
    broker.ottla(&["topic", "create", &name, "-p", "1", "-c", "max.message.bytes=100000"]).ok();
    // A batch's header takes 61 bytes, this record's own fields 11.
    let fits = "x".repeat(100_000 - 61 - 11);
    broker.ottla_with(&["produce", "-t", &name], format!("{fits}\n")).ok();
    let err = broker.ottla_with(&["produce", "-t", &name], format!("{fits}y\n")).fails(1);
    assert!(err.contains("1 record was not delivered") && err.contains("MESSAGE_TOO_LARGE"), "{err}");
    assert_eq!(consume(&broker, &name, &[]).ok(), format!("{fits}\n"));
    // Many records that do not fit into one batch are spread over several, in order.
    let lines: String = (0..30_000).map(|n| format!("line {n}\n")).collect();
    broker.ottla_with(&["produce", "-t", &name, "--linger-ms", "2000"], &lines).ok();
    assert_eq!(consume(&broker, &name, &["-o", "1"]).ok(), lines);
}

#[test]
fn many_records_come_out_as_they_went_in() {
    let broker = Broker::start();
    let name = topic(&broker, "many", "4");
    let lines: String = (0..100_000).map(|n| format!("record number {n}\n")).collect();
    broker.ottla_with(&["produce", "-t", &name], &lines).ok();
    let read = consume(&broker, &name, &[]).ok();
    let mut sorted: Vec<&str> = read.lines().collect();
    let mut wanted: Vec<&str> = lines.lines().collect();
    sorted.sort_unstable();
    wanted.sort_unstable();
    assert!(sorted == wanted, "{} lines came, {} went", sorted.len(), wanted.len());
}

#[test]
fn a_consumer_follows_and_ends_with_its_reader() {
    let broker = Broker::start();
    let name = topic(&broker, "follow", "2");
    let mut consumer = broker.spawn(&["consume", "-q", "-t", &name]);
    let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines();
    for word in ["one", "two", "three"] {
        broker.ottla_with(&["produce", "-t", &name], format!("{word}\n")).ok();
        assert_eq!(lines.next().unwrap().unwrap(), word);
    }
    // The reader goes; the consumer must notice although it has nothing to write.
    drop(lines);
    assert_eq!(consumer.wait().unwrap().code(), Some(0));
}

#[test]
fn unknown_topics_are_told() {
    let broker = Broker::start();
    let name = broker.topic("nobody");
    let err = broker.ottla(&["consume", "-t", &name, "-e"]).fails(1);
    assert!(err.contains("UNKNOWN_TOPIC_OR_PARTITION") && err.contains(&name), "{err}");
    let err = broker.ottla_with(&["produce", "-t", &name, "--no-create"], "x\n").fails(1);
    assert!(err.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{err}");
}

#[test]
fn a_topic_is_made_when_it_is_first_written_to() {
    let broker = Broker::start();
    let name = broker.topic("auto");
    broker.ottla_with(&["produce", "-t", &name], "hello\n").ok();
    assert_eq!(consume(&broker, &name, &[]).ok(), "hello\n");
}

#[test]
fn files_are_records_or_lines() {
    let broker = Broker::start();
    let name = topic(&broker, "files", "1");
    let folder = crate::support::Folder::new();
    let path = folder.0.join("input");
    std::fs::write(&path, "a\nb\n").unwrap();
    let path = path.to_str().unwrap();
    broker.ottla(&["produce", "-t", &name, path]).ok();
    broker.ottla(&["produce", "-t", &name, "-l", path]).ok();
    assert_eq!(consume(&broker, &name, &["-f", "[%s]"]).ok(), "[a\nb\n][a][b]");
}

#[test]
fn what_was_written_is_whole_on_disk() {
    let broker = Broker::start();
    let name = topic(&broker, "disk", "1");
    broker.ottla_with(&["produce", "-t", &name, "-K:", "-z", "zstd"], "k:v\nk:w\n").ok();
    let Some(data) = broker.data() else { return };
    let partition = data.join(format!("{name}-0"));
    let segment = partition.join("00000000000000000000.log");
    let dumped = broker.ottla(&["dump", "--records", "--output", "json", segment.to_str().unwrap()]).json();
    let kinds: Vec<_> = dumped.iter().map(|d| d["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["batch", "record", "record", "verdict"]);
    assert_eq!((&dumped[0]["compression"], &dumped[0]["crc_right"]), (&"zstd".into(), &true.into()));
    assert_eq!((&dumped[2]["key"], &dumped[2]["value"]), (&"k".into(), &"w".into()));
    assert_eq!(dumped[3]["whole"], true);
}
