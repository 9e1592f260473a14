//! `ottla group` against a broker, and against members that are librdkafka's.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::support::Broker;

/// How long a member may take to be assigned.
const PATIENCE: Duration = Duration::from_secs(60);

/// A topic with two partitions: ten records in partition 0, of times that rise, and none in partition 1.
fn ten(broker: &Broker, name: &str) -> String {
    let name = broker.topic(name);
    broker.ottla(&["topic", "create", &name, "-p", "2"]).ok();
    for half in [0..5, 5..10] {
        let records: String = half.map(|number| format!("record {number}\n")).collect();
        broker.ottla_with(&["produce", "-t", &name, "-p", "0"], records).ok();
    }
    name
}

fn consumer(broker: &Broker, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.address).set("group.id", group);
    config.set("client.id", "tester").set("enable.auto.commit", "false");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// Commits offsets as one who is no member.
fn commit(broker: &Broker, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
    }
    consumer(broker, group, &[]).commit(&list, CommitMode::Sync).unwrap();
}

/// A member that has been assigned the topic's two partitions.
fn member(broker: &Broker, group: &str, topic: &str, protocol: &str) -> BaseConsumer {
    let member = consumer(broker, group, &[("group.protocol", protocol)]);
    member.subscribe(&[topic]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while member.assignment().unwrap().count() < 2 {
        assert!(Instant::now() < deadline, "nothing was assigned");
        let _ = member.poll(Duration::from_millis(50));
    }
    member
}

/// The group protocols.
const PROTOCOLS: [&str; 2] = ["classic", "consumer"];

fn describe(broker: &Broker, group: &str) -> Value {
    broker.ottla(&["group", "describe", group, "--output", "json"]).json().remove(0)
}

#[test]
fn groups_are_listed() {
    let broker = Broker::start();
    let topic = ten(&broker, "listed");
    let (idle, busy, other) = (broker.topic("idle"), broker.topic("busy"), broker.topic("other"));
    commit(&broker, &idle, &topic, &[(0, 4)]);
    let _busy = member(&broker, &busy, &topic, "classic");
    let _other = member(&broker, &other, &topic, "consumer");
    let listed = |more: &[&str]| -> Vec<String> {
        let told = broker.ottla(&[&["group", "list", "--output", "json"], more].concat()).json();
        let ours = told.iter().map(|line| line["group"].as_str().unwrap().to_owned());
        ours.filter(|group| [&idle, &busy, &other].contains(&group)).collect()
    };
    assert_eq!(listed(&[]), [busy.as_str(), &idle, &other]);
    assert_eq!(listed(&["--state", "empty"]), [idle.as_str()]);
    assert_eq!(listed(&["--type", "consumer"]), [other.as_str()]);
    assert_eq!(listed(&["--type", "classic", "--state", "Stable"]), [busy.as_str()]);
    let shown = broker.ottla(&["group", "list"]).ok();
    assert!(shown.starts_with("GROUP") && shown.contains(&idle), "{shown}");
    let err = broker.ottla(&["group", "list", "--state", "happy"]).fails(2);
    assert!(err.contains("Stable"), "{err}");
}

#[test]
fn groups_of_both_protocols_are_described() {
    let broker = Broker::start();
    let topic = ten(&broker, "described");
    for protocol in PROTOCOLS {
        let group = broker.topic(protocol);
        commit(&broker, &group, &topic, &[(0, 4)]);
        let _member = member(&broker, &group, &topic, protocol);
        let told = describe(&broker, &group);
        assert_eq!((&told["state"], &told["type"]), (&json!("Stable"), &json!(protocol)), "{told}");
        assert_eq!((&told["total_lag"], &told["protocol_type"]), (&json!(6), &json!("consumer")));
        assert_eq!(told["coordinator_address"], broker.address);
        let member = &told["members"][0];
        assert_eq!((&member["client_id"], &member["member_type"]), (&json!("tester"), &json!(protocol)));
        assert_eq!(member["assignment"], json!({ (topic.clone()): [0, 1] }), "{told}");
        assert_eq!(member["subscribed_topics"], json!([topic]));
        assert!(member["host"].as_str().unwrap().contains("127.0.0.1"));
        let [one, two] = &told["partitions"].as_array().unwrap()[..] else { panic!("{told}") };
        assert_eq!((&one["committed_offset"], &one["end_offset"]), (&json!(4), &json!(10)));
        assert_eq!((&one["lag"], &one["member_id"]), (&json!(6), &member["member_id"]));
        assert_eq!((&two["committed_offset"], &two["end_offset"]), (&Value::Null, &json!(0)));
        assert_eq!((&two["lag"], &two["host"]), (&Value::Null, &member["host"]));
        let shown = broker.ottla(&["group", "describe", &group]).ok();
        for text in ["total lag    6\n", "  Stable\n", &format!("{topic}:0-1\n")] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
    }
    // Those that are there are shown, also where one is not.
    let group = broker.topic("alone");
    commit(&broker, &group, &topic, &[(0, 10), (1, 0)]);
    let outcome = broker.ottla(&["group", "describe", &group, "no-such-group", "--output", "json"]);
    let told: Value = serde_json::from_str(outcome.out.trim()).unwrap();
    assert_eq!((&told["state"], &told["total_lag"]), (&json!("Empty"), &json!(0)));
    let err = outcome.fails(1);
    assert!(err.contains("no-such-group: GROUP_ID_NOT_FOUND") && err.contains("group list"), "{err}");
}

/// The committed offsets of a topic's partitions 0 and 1.
fn committed(broker: &Broker, group: &str, topic: &str) -> [Option<i64>; 2] {
    let told = describe(broker, group);
    let of = |partition: i32| {
        let parts = told["partitions"].as_array().unwrap();
        let part = parts.iter().find(|part| part["topic"] == topic && part["partition"] == partition)?;
        part["committed_offset"].as_i64()
    };
    [of(0), of(1)]
}

#[test]
fn a_group_goes_on_where_it_is_told_to() {
    let broker = Broker::start();
    let topic = ten(&broker, "reset");
    let group = broker.topic("resetting");
    commit(&broker, &group, &topic, &[(0, 4)]);
    let reset = |which: &[&str], to: &str, more: &[&str]| {
        broker.ottla(&[&["group", "reset", &group, "--to", to], which, more].concat())
    };
    let (both, first) = (["--topic", &topic], ["--topic", &format!("{topic}:0")]);

    // Nothing happens without a yes, and in a dry run not even with one; what would happen is shown.
    let asked = reset(&both, "latest", &[]);
    assert!(asked.out.starts_with("TOPIC") && asked.out.contains("+6"), "{asked:?}");
    let err = asked.fails(2);
    assert!(err.contains("needs a yes") && err.contains("--yes"), "{err}");
    let dry = reset(&both, "latest", &["--dry-run", "--yes", "--output", "json"]).json();
    assert_eq!(
        dry[0],
        json!({ "topic": topic, "partition": 0, "old_offset": 4, "new_offset": 10, "change": 6, "result": "dry run" })
    );
    assert_eq!((&dry[1]["old_offset"], &dry[1]["change"]), (&Value::Null, &Value::Null));
    assert_eq!(committed(&broker, &group, &topic), [Some(4), None]);

    let sixth = broker.ottla(&["consume", "-t", &topic, "-p", "0", "-o", "5", "-c", "1", "-f", "%T"]).ok();
    let since = format!("@{sixth}");
    for (to, new) in [
        ("latest", 10),
        ("earliest", 0),
        ("+3", 3),
        ("-1", 2),
        ("current", 2),
        (&since, 5),
        ("@1", 0),
        ("@9000000000000", 10),
        ("7", 7),
    ] {
        let told = reset(&first, to, &["--yes", "--output", "json"]).json();
        assert_eq!((&told[0]["new_offset"], &told[0]["result"]), (&json!(new), &json!("reset")), "{to}");
        assert_eq!(committed(&broker, &group, &topic), [Some(new), None], "{to}");
    }
    // The log's ends are the furthest.
    for (to, new, end) in [("+4", 10, "end"), ("-11", 0, "begin"), ("11", 10, "end")] {
        let done = reset(&first, to, &["--yes", "--output", "json"]);
        assert!(done.err.contains("outside of the log"), "{done:?}");
        assert_eq!(done.json()[0]["moved_to"], end);
        assert_eq!(committed(&broker, &group, &topic), [Some(new), None], "{to}");
    }
    let err = reset(&both, "-1", &["--yes"]).fails(1);
    assert!(err.contains("committed nothing for") && err.contains(&format!("{topic}-1")), "{err}");
    reset(&["--all-topics"], "3", &["--yes"]).ok();
    assert_eq!(committed(&broker, &group, &topic), [Some(3), None]);
    // Where nothing is committed, current is the end.
    reset(&both, "current", &["--yes"]).ok();
    assert_eq!(committed(&broker, &group, &topic), [Some(3), Some(0)]);

    assert!(reset(&both, "middle", &[]).fails(2).contains("'middle' is not earliest"));
    assert!(reset(&["--topic", &format!("{topic}:7")], "1", &["--yes"]).fails(2).contains("no partition 7"));
    reset(&[], "1", &["--yes"]).fails(2);
    let new = broker.topic("new");
    let err = broker.ottla(&["group", "reset", &new, "--all-topics", "--to", "1", "--yes"]).fails(1);
    assert!(err.contains("has committed no offsets"), "{err}");
    let made = broker.ottla(&["group", "reset", &new, "--topic", &topic, "--to", "earliest", "--yes"]);
    assert!(made.err.contains("is new"), "{made:?}");
    made.ok();
    assert_eq!(committed(&broker, &new, &topic), [Some(0), Some(0)]);
}

#[test]
fn a_group_with_members_is_left_as_it_is() {
    let broker = Broker::start();
    let topic = ten(&broker, "held");
    for protocol in PROTOCOLS {
        let group = broker.topic(protocol);
        commit(&broker, &group, &topic, &[(0, 4)]);
        let held = member(&broker, &group, &topic, protocol);
        let reset = ["group", "reset", &group, "--topic", &topic, "--to", "earliest", "--yes"];
        let delete = ["group", "delete", &group, "--yes"];
        for command in [&reset[..], &delete] {
            let err = broker.ottla(command).fails(1);
            assert!(err.contains("has members: 1, one of them of client 'tester'"), "{err}");
            assert!(err.contains("Stop its consumers first"), "{err}");
        }
        let forget = ["group", "delete-offsets", &group, "--topic", &topic, "--yes"];
        let err = broker.ottla(&forget).fails(1);
        assert!(err.contains("GROUP_SUBSCRIBED_TO_TOPIC") && err.contains("Stop the consumers"), "{err}");
        assert_eq!(committed(&broker, &group, &topic)[0], Some(4));
        drop(held);
        broker.ottla(&reset).ok();
        assert_eq!(committed(&broker, &group, &topic), [Some(0), Some(0)]);
        broker.ottla(&delete).ok();
        broker.ottla(&["group", "describe", &group]).fails(1);
    }
}

#[test]
fn groups_and_their_offsets_are_deleted() {
    let broker = Broker::start();
    let (topic, other) = (ten(&broker, "one"), ten(&broker, "two"));
    let (group, second) = (broker.topic("first"), broker.topic("second"));
    for name in [&group, &second] {
        commit(&broker, name, &topic, &[(0, 4), (1, 0)]);
        commit(&broker, name, &other, &[(0, 5), (1, 0)]);
    }
    let forget = |which: &str, more: &[&str]| {
        broker.ottla(&[&["group", "delete-offsets", &group, "--topic", which], more].concat())
    };
    let first = format!("{topic}:0");
    let asked = forget(&first, &[]);
    assert!(asked.out.contains(&topic) && !asked.out.contains(&other), "{asked:?}");
    assert!(asked.fails(2).contains("needs a yes"));
    assert_eq!(forget(&first, &["--dry-run", "--output", "json"]).json()[0]["result"], "dry run");
    assert_eq!(committed(&broker, &group, &topic), [Some(4), Some(0)]);
    let done = forget(&first, &["--yes", "--output", "json"]).json();
    assert_eq!(done, [json!({ "topic": topic, "partition": 0, "committed_offset": 4, "result": "deleted" })]);
    assert_eq!(committed(&broker, &group, &topic), [None, Some(0)]);
    let err = forget(&first, &["--yes"]).fails(1);
    assert!(err.contains(&format!("committed no offset of {topic}-0")), "{err}");
    forget(&other, &["--yes"]).ok();
    assert_eq!(committed(&broker, &group, &other), [None, None]);
    assert_eq!(committed(&broker, &second, &other), [Some(5), Some(0)]);

    let delete = |more: &[&str]| broker.ottla(&[&["group", "delete", &group, &second], more].concat());
    let asked = delete(&[]);
    assert!(asked.out.contains(&group) && asked.out.contains("Empty"), "{asked:?}");
    assert!(asked.fails(2).contains("needs a yes"));
    assert_eq!(delete(&["--dry-run", "--output", "json"]).json().len(), 2);
    assert_eq!(committed(&broker, &group, &topic), [None, Some(0)]);
    let done = delete(&["--yes", "--output", "json"]).json();
    assert!(done.iter().all(|line| line["result"] == "deleted"), "{done:?}");
    let of_second = done.iter().find(|line| line["group"] == second.as_str()).unwrap();
    assert_eq!(of_second["committed_offsets"], 4);
    for name in [&group, &second] {
        assert!(broker.ottla(&["group", "describe", name]).fails(1).contains("GROUP_ID_NOT_FOUND"));
    }
    assert!(delete(&["--yes"]).fails(1).contains("nothing was deleted"));
}
