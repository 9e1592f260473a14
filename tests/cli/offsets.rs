//! `ottla offsets`, `ottla records` and `ottla cluster` against a broker.

use crate::support::Broker;

const TIME: i64 = 1_750_000_000_000;

/// A topic with two partitions, and ten records in partition 0.
fn ten(broker: &Broker) -> String {
    let name = broker.topic("ten");
    broker.ottla(&["topic", "create", &name, "-p", "2"]).ok();
    for number in 0..10 {
        broker.ottla_with(&["produce", "-t", &name, "-p", "0"], format!("record {number}\n")).ok();
    }
    name
}

fn ends(broker: &Broker, name: &str) -> Vec<(i64, i64, i64)> {
    let told = broker.ottla(&["offsets", name, "--output", "json"]).json();
    let number = |line: &serde_json::Value, field: &str| line[field].as_i64().unwrap();
    told.iter()
        .map(|line| (number(line, "begin_offset"), number(line, "end_offset"), number(line, "records")))
        .collect()
}

#[test]
fn offsets_are_shown() {
    let broker = Broker::start();
    let name = ten(&broker);
    assert_eq!(ends(&broker, &name), [(0, 10, 10), (0, 0, 0)]);
    let shown = broker.ottla(&["offsets"]).ok();
    assert!(shown.starts_with("TOPIC") && shown.contains(&name), "{shown}");
    let one = broker.ottla(&["offsets", &name, "-p", "1", "--output", "json"]).json();
    assert_eq!((one.len(), &one[0]["partition"]), (1, &1.into()));
    let by_time =
        |time: i64| broker.ottla(&["offsets", &name, "--time", &time.to_string(), "--output", "json"]).json();
    let found = by_time(TIME);
    assert_eq!((&found[0]["offset"], &found[1]["offset"]), (&0.into(), &serde_json::Value::Null));
    assert!(found[0]["timestamp"].as_i64().unwrap() > TIME);
    assert_eq!(by_time(i64::MAX / 2)[0]["offset"], serde_json::Value::Null);
    let err = broker.ottla(&["offsets", &name, "-p", "7"]).fails(2);
    assert!(err.contains("no partition 7"), "{err}");
    let err = broker.ottla(&["offsets", "no-such-topic"]).fails(1);
    assert!(err.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{err}");
}

#[test]
fn the_oldest_records_are_deleted() {
    let broker = Broker::start();
    let name = ten(&broker);
    let delete = |before: &str, more: &[&str]| {
        broker.ottla(&[&["records", "delete", &name, "--before", before][..], more].concat())
    };
    let err = delete("4", &["-p", "0"]).fails(2);
    assert!(err.contains("needs a yes") && err.contains("--yes"), "{err}");
    let done = delete("4", &["-p", "0", "--yes", "--output", "json"]).json();
    assert_eq!((&done[0]["partition"], &done[0]["begin_offset"]), (&0.into(), &4.into()));
    assert_eq!(ends(&broker, &name), [(4, 10, 6), (0, 0, 0)]);
    let read = broker.ottla(&["consume", "-t", &name, "-e", "-f", "%o %s\n"]).ok();
    assert!(read.starts_with("4 record 4\n") && read.lines().count() == 6, "{read}");
    // What is further than the end is refused; the other partition too, which is empty.
    let err = delete("11", &["--yes"]).fails(1);
    assert!(err.matches("OFFSET_OUT_OF_RANGE").count() == 2, "{err}");
    delete(&format!("@{TIME}"), &["--yes"]).ok();
    assert_eq!(ends(&broker, &name), [(4, 10, 6), (0, 0, 0)]);
    if let Some(data) = broker.data() {
        let folder = data.join(format!("{name}-0"));
        let dumped = broker.ottla(&["dump", folder.to_str().unwrap()]).out;
        assert!(dumped.contains("the log starts at offset 4\n"), "{dumped}");
        assert!(dumped.contains("log-start-offset-checkpoint: whole: 1 offset\n"), "{dumped}");
    }
    let shown = delete("end", &["--yes"]).ok();
    assert!(shown.starts_with("TOPIC"), "{shown}");
    assert_eq!(ends(&broker, &name), [(10, 10, 0), (0, 0, 0)]);
    let err = delete("start", &["--yes"]).fails(2);
    assert!(err.contains("is not an offset"), "{err}");
    let compacted = broker.topic("compacted");
    broker.ottla(&["topic", "create", &compacted, "-c", "cleanup.policy=compact"]).ok();
    let err = broker.ottla(&["records", "delete", &compacted, "--before", "0", "--yes"]).fails(1);
    assert!(err.contains("POLICY_VIOLATION"), "{err}");
}

#[test]
fn the_cluster_is_shown() {
    let broker = Broker::start();
    let told = broker.ottla(&["cluster", "--output", "json"]).json();
    let cluster = &told[0];
    assert_eq!(cluster["cluster_id"].as_str().unwrap().len(), 22);
    assert_eq!(cluster["controller"], cluster["brokers"][0]["id"]);
    let address = format!(
        "{}:{}",
        cluster["brokers"][0]["host"].as_str().unwrap(),
        cluster["brokers"][0]["port"].as_i64().unwrap()
    );
    assert_eq!(address, broker.address);
    assert_eq!(cluster["quorum"]["leader"], cluster["brokers"][0]["id"]);
    assert!(cluster["quorum"]["high_watermark"].as_i64().unwrap() > 0);
    assert_eq!(cluster["features"]["metadata.version"]["level"], 29);
    let shown = broker.ottla(&["cluster"]).ok();
    for text in [cluster["cluster_id"].as_str().unwrap(), &broker.address, "metadata.version", "voters"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}
