//! `ottla bench` against a broker. No figure is judged here, only that they agree with one another.

use crate::support::Broker;

#[test]
fn producers_and_consumers_agree() {
    let broker = Broker::start();
    let name = broker.topic("bench");
    let bench = ["bench", "produce", "-t", &name, "--create", "--partitions", "4", "--output", "json"];
    let size = ["--bytes", "8MB", "--warmup", "1MB", "--record-size", "1000", "--batch-bytes", "16KiB"];
    let load = ["--connections", "3", "--threads", "2", "--consumers", "2", "--check-crc"];
    let pid = std::process::id().to_string();
    let watch = ["--broker-pid", &pid];
    let report = &broker.ottla(&[&bench[..], &size, &load, &watch].concat()).json()[0];
    let number = |figure: &serde_json::Value| figure.as_u64().unwrap();
    assert_eq!(report["records_acknowledged"], report["offsets_grew_by"]);
    let bytes_of = |records: u64| records / number(&report["batch_records"]) * number(&report["batch_bytes"]);
    assert_eq!(number(&report["consumed_bytes"]), bytes_of(number(&report["records_acknowledged"])));
    // When the warm-up was seen to be over depends on who ran when; of both together the size is known.
    let produced = &report["produced"];
    assert!(number(&report["consumed_bytes"]) >= 9_000_000, "{report}");
    assert!(number(&produced["bytes"]) + 1_000_000 <= number(&report["consumed_bytes"]), "{report}");
    assert_eq!(number(&produced["bytes"]), bytes_of(number(&produced["records"])));
    assert!(number(&report["acknowledged"]["count"]) >= number(&produced["requests"]), "{report}");
    assert!(report["broker"]["resident_bytes"].as_u64().unwrap() > 0, "{report}");

    let consumed =
        &broker.ottla(&["bench", "consume", "-t", &name, "--check-crc", "--output", "json"]).json()[0];
    assert_eq!(consumed["consumed"]["bytes"], report["consumed_bytes"]);
    assert_eq!(consumed["consumed"]["records"], report["records_acknowledged"]);
}

#[test]
fn every_kind_of_acknowledgement_is_counted() {
    let broker = Broker::start();
    for more in [
        &["--acks", "0"][..],
        &["--acks", "1"],
        &["--acks", "all", "--idempotent"],
        &["--rate", "20MB", "--seconds", "1"],
    ] {
        let name = broker.topic("acks");
        let bench = ["bench", "produce", "-t", &name, "--create", "--partitions", "2", "--output", "json"];
        let size: &[&str] = if more.contains(&"--seconds") { &[] } else { &["--bytes", "3MB"] };
        let report = &broker.ottla(&[&bench[..], size, more].concat()).json()[0];
        assert_eq!(report["records_acknowledged"], report["offsets_grew_by"], "{more:?}");
        assert!(report["records_acknowledged"].as_u64().unwrap() > 1000, "{more:?}: {report}");
    }
}

#[test]
fn latencies_are_taken_for_every_record() {
    let broker = Broker::start();
    let name = broker.topic("latency");
    let bench =
        ["bench", "latency", "-t", &name, "--create", "--partitions", "2", "--delete", "--output", "json"];
    let load = ["--rate", "200", "--seconds", "1", "--warmup", "0.2"];
    let report = &broker.ottla(&[&bench[..], &load].concat()).json()[0];
    for kind in ["acknowledged", "end_to_end"] {
        let latencies = &report[kind];
        assert!(latencies["count"].as_u64().unwrap() > 100, "{report}");
        let at = |quantile: &str| latencies[quantile].as_f64().unwrap();
        assert!(
            0.0 < at("p50_ms") && at("p50_ms") <= at("p99_ms") && at("p99_ms") <= at("max_ms"),
            "{report}"
        );
    }
    let err = broker.ottla(&["topic", "describe", &name]).fails(1);
    assert!(err.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{err}");
}

#[test]
fn a_refused_batch_ends_the_run() {
    let broker = Broker::start();
    let name = broker.topic("refused");
    broker.ottla(&["topic", "create", &name, "-p", "1", "-c", "max.message.bytes=10000"]).ok();
    let err = broker.ottla(&["bench", "produce", "-t", &name, "--bytes", "1MB"]).fails(1);
    assert!(err.contains("MESSAGE_TOO_LARGE") && err.contains("mean nothing"), "{err}");
    let err = broker.ottla(&["bench", "consume", "-t", &name]).fails(1);
    assert!(err.contains("holds nothing to read"), "{err}");
}
