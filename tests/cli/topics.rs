//! `ottla topic` against a broker.

use crate::support::Broker;

#[test]
fn topics_live_and_die() {
    let broker = Broker::start();
    let name = broker.topic("life");
    let create = ["topic", "create", &name, "-p", "3", "-c", "retention.ms=86400000"];
    let created = broker.ottla(&[&create[..], &["--output", "json"]].concat()).json();
    assert_eq!(created[0]["result"], "created");
    assert_eq!(created[0]["partitions"], 3);
    let err = broker.ottla(&create).fails(1);
    assert!(err.contains("TOPIC_ALREADY_EXISTS"), "{err}");
    assert_eq!(broker.ottla(&["topic", "create", &name, "--if-not-exists"]).ok(), format!("exists {name}\n"));

    let listed = broker.ottla(&["topic", "list", "--output", "json"]).json();
    let mine = listed.iter().find(|t| t["topic"] == *name).expect("the topic is listed");
    assert_eq!((&mine["partitions"], &mine["replication_factor"]), (&3.into(), &1.into()));
    assert_eq!(mine["topic_id"], created[0]["topic_id"]);
    assert!(broker.ottla(&["topic", "list"]).ok().contains(&name));

    let described = &broker.ottla(&["topic", "describe", &name, "--output", "json"]).json()[0];
    let partitions = described["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 3);
    for (number, partition) in partitions.iter().enumerate() {
        assert_eq!(partition["partition"], number);
        assert_eq!((&partition["begin_offset"], &partition["end_offset"]), (&0.into(), &0.into()));
        assert_eq!(partition["isr"], partition["replicas"]);
    }
    let retention = described["configs"].as_array().unwrap().iter().find(|c| c["name"] == "retention.ms");
    assert_eq!(retention.unwrap()["value"], "86400000");
    assert_eq!(retention.unwrap()["source"], "topic");
    assert!(broker.ottla(&["topic", "describe", &name]).ok().contains("retention.ms"));

    broker.ottla(&["topic", "delete", &name]).fails(2);
    assert_eq!(broker.ottla(&["topic", "delete", &name, "--yes"]).ok(), format!("deleted {name}\n"));
    let err = broker.ottla(&["topic", "describe", &name]).fails(1);
    assert!(err.contains("UNKNOWN_TOPIC_OR_PARTITION") && err.contains("ottla topic create"), "{err}");
    broker.ottla(&["topic", "delete", &name, "--yes"]).fails(1);
    broker.ottla(&["topic", "delete", &name, "--yes", "--if-exists"]).ok();
}

#[test]
fn bad_topics_are_refused() {
    let broker = Broker::start();
    let name = broker.topic("bad");
    let err = broker.ottla(&["topic", "create", "a topic"]).fails(1);
    assert!(err.contains("INVALID_TOPIC_EXCEPTION"), "{err}");
    let err = broker.ottla(&["topic", "create", &name, "-c", "no.such.setting=1"]).fails(1);
    assert!(err.contains("INVALID_CONFIG") && err.contains("no.such.setting"), "{err}");
    let err = broker.ottla(&["topic", "create", &name, "-r", "30"]).fails(1);
    assert!(err.contains("INVALID_REPLICATION_FACTOR"), "{err}");
}
