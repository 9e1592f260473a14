//! `ottla transaction` against a broker, and producers that are librdkafka's.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

use crate::support::Broker;

/// How long a step of a transaction may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Transactional = ThreadedProducer<DefaultProducerContext>;

/// A producer in the middle of a transaction, with a record in partition 0 of a topic.
fn in_transaction(broker: &Broker, id: &str, topic: &str) -> Transactional {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.address).set("transactional.id", id);
    let producer: Transactional = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(b"open");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer
}

fn describe(broker: &Broker, id: &str) -> Value {
    broker.ottla(&["transaction", "describe", id, "--output", "json"]).json().remove(0)
}

fn made(broker: &Broker, name: &str) -> (String, String) {
    let (topic, id) = (broker.topic(name), broker.topic(&format!("{name}-id")));
    broker.ottla(&["topic", "create", &topic, "-p", "1"]).ok();
    (topic, id)
}

#[test]
fn transactions_are_listed_and_described() {
    let broker = Broker::start();
    let (topic, id) = made(&broker, "open");
    let producer = in_transaction(&broker, &id, &topic);
    let listed = |more: &[&str]| -> Vec<String> {
        let told = broker.ottla(&[&["transaction", "list", "--output", "json"], more].concat()).json();
        let all = told.iter().map(|line| line["id"].as_str().unwrap().to_owned());
        all.filter(|one| *one == id).collect()
    };
    assert_eq!(listed(&[]), [id.as_str()]);
    assert_eq!(listed(&["--state", "ongoing"]), [id.as_str()]);
    assert!(listed(&["--state", "empty"]).is_empty());
    assert!(listed(&["--longer-than", "3600"]).is_empty());
    assert_eq!(listed(&["--id-pattern", &format!("{id}.*")]), [id.as_str()]);
    let told = describe(&broker, &id);
    assert_eq!((&told["state"], &told["partitions"]), (&json!("Ongoing"), &json!([format!("{topic}-0")])));
    assert!(told["started_ms"].as_i64().unwrap() > 0, "{told}");
    let shown = broker.ottla(&["transaction", "describe", &id]).ok();
    assert!(shown.contains("Ongoing") && shown.contains(&format!("{topic}-0")), "{shown}");
    // Its coordinator knows of it, so it does not hang.
    let hanging = broker.ottla(&["transaction", "hanging", "--longer-than", "0", "--output", "json"]).json();
    assert!(hanging.is_empty(), "{hanging:?}");
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(describe(&broker, &id)["state"], "CompleteCommit");
    let err = broker.ottla(&["transaction", "describe", "absent"]).fails(1);
    assert!(err.contains("TRANSACTIONAL_ID_NOT_FOUND") && err.contains("ottla transaction list"), "{err}");
}

#[test]
fn an_open_transaction_is_aborted_and_its_producer_fenced() {
    let broker = Broker::start();
    let (topic, id) = made(&broker, "aborted");
    let producer = in_transaction(&broker, &id, &topic);
    let shown = broker.ottla(&["transaction", "abort", &id, "--dry-run"]).ok();
    assert!(shown.contains("Ongoing"), "{shown}");
    let err = broker.ottla(&["transaction", "abort", &id]).fails(2);
    assert!(err.contains("--yes"), "{err}");
    assert_eq!(describe(&broker, &id)["state"], "Ongoing", "nothing was aborted");
    broker.ottla(&["transaction", "abort", &id, "--yes"]).ok();
    assert_eq!(describe(&broker, &id)["state"], "Empty");
    producer.commit_transaction(PATIENCE).unwrap_err();
    broker.ottla(&["transaction", "abort", "absent", "--yes"]).fails(1);
}

#[test]
fn what_is_open_in_a_partition_is_ended_there() {
    let broker = Broker::start();
    let (topic, id) = made(&broker, "hangs");
    let _producer = in_transaction(&broker, &id, &topic);
    let place = format!("{topic}:0");
    let abort = |start: &str| {
        broker.ottla(&["transaction", "abort", "--partition", &place, "--start", start, "--yes"])
    };
    let err = abort("7").fails(1);
    assert!(err.contains("no transaction is open"), "{err}");
    abort("0").ok();
    let err = abort("0").fails(1);
    assert!(err.contains("no transaction is open"), "{err}");
    broker.ottla(&["transaction", "abort"]).fails(2);
    broker.ottla(&["transaction", "abort", "--partition", "x", "--start", "0"]).fails(2);
}
