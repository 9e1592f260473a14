//! Settings over the wire: `configs.txt` holds requests and what stock Kafka 4.2 answers to them.
//!
//! Each line with `>` is a request, what follows is the answer. With OTTLA_TEST_BOOTSTRAP the same is asked of the
//! broker there, so that the file can be held against stock Kafka. Where an error has a message, ours begins with
//! Kafka's and may go on with advice.

use std::time::Duration;

use bytes::Bytes;
use ottla::command::client::Connection;
use ottla::config::settings;
use ottla::wire::api::ApiKey;
use ottla::wire::batch::{Batch, BatchBuilder, Compression, Record};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::*;

use crate::broker::{Broker, Folder, free_address};
use crate::target::{PATIENCE, Target};

const SCRIPT: &str = include_str!("configs.txt");

#[test]
fn settings_are_answered_for_as_stock_kafka_does() {
    let target = Target::start();
    let topic = target.topic("settings", 1).name;
    let mut client = Connection::open(&target.address, Duration::from_secs(8)).unwrap();
    let mut asked = Vec::new();
    for step in SCRIPT.split("\n> ").skip(1) {
        let (request, expected) = step.split_once('\n').unwrap_or((step, ""));
        let spoken = request.replace("$T", &topic);
        let found =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ask(&mut client, &spoken, &topic)))
                .unwrap_or_else(|_| {
                    client = Connection::open(&target.address, Duration::from_secs(8)).unwrap();
                    "HANGS".to_owned()
                });
        let found = found.replace(&topic, "$T");
        if std::env::var("OTTLA_TEST_TRANSCRIPT").is_ok() {
            println!("> {request}\n{found}");
        }
        // Stock Kafka's brokers learn of changes after they are answered.
        if !target.is_own() {
            std::thread::sleep(Duration::from_millis(200));
        }
        asked.push((request, expected.trim_end_matches('\n'), found));
    }
    let differ = asked.iter().filter(|(_, expected, found)| {
        let lines = || expected.lines().zip(found.lines());
        expected.lines().count() != found.lines().count()
            || !lines().all(|(expected, found)| found == expected || is_longer_message(expected, found))
    });
    let told: Vec<_> =
        differ.map(|(request, expected, found)| difference(request, expected, found)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    assert!(asked.len() > 50, "{} requests", asked.len());
}

/// The lines in which two answers differ.
fn difference(request: &str, expected: &str, found: &str) -> String {
    let lines = |text: &str, without: &str, mark: &str| {
        let own = text.lines().filter(|line| !without.lines().any(|other| other == *line));
        own.map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    format!("> {request}\n{}{}", lines(expected, found, "expected"), lines(found, expected, "found   "))
}

/// An error, and the same with more of a message.
fn is_longer_message(expected: &str, found: &str) -> bool {
    let code = expected.split_once(' ').map_or("", |(_, code)| code);
    code.starts_with(|c: char| c.is_ascii_uppercase())
        && !code.starts_with("NONE")
        && found.starts_with(expected)
}

/// `alter`, `change` or `describe`, perhaps `@version`, perhaps `dry`; then `KIND:NAME` and what is to be done, and
/// the same of further resources behind `|`.
fn ask(client: &mut Connection, request: &str, topic: &str) -> String {
    let (verb, rest) = request.split_once(' ').unwrap_or((request, ""));
    let (verb, version) = verb.split_once('@').unwrap_or((verb, ""));
    let version: i16 = version.parse().unwrap_or(i16::MAX);
    let (dry, rest) = match rest.strip_prefix("dry ") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let resources = rest.split(" | ").filter(|part| !part.is_empty()).map(|part| {
        let (resource, what) = part.split_once(' ').unwrap_or((part, ""));
        let (kind, name) = resource.split_once(':').unwrap();
        let words: Vec<String> =
            what.split(' ').filter(|w| !w.is_empty()).map(|w| w.replace('~', " ")).collect();
        (kind.parse::<i8>().unwrap(), name.to_owned(), words)
    });
    match verb {
        "change" => change(client, version, dry, resources),
        "alter" => alter(client, version, dry, resources),
        "describe" | "whole" => describe(client, version, verb == "whole", resources),
        "list" => list(client, version, rest, topic),
        other => panic!("{other}"),
    }
}

fn call<R: Request>(client: &mut Connection, version: i16, request: &R) -> R::Response {
    let version = client.version_up_to(R::API, version).unwrap();
    let sent = client.send(request, version).unwrap();
    client.receive(sent, Duration::ZERO).unwrap()
}

fn outcome(kind: i8, error: ErrorCode, message: &Option<String>) -> String {
    match message {
        Some(message) => format!("{kind} {}: {}", error.name(), message.replace('\n', " ")),
        None => format!("{kind} {}", error.name()),
    }
}

/// `+name=value` sets, `-name` deletes, `>name=value` appends, `<name=value` subtracts, `+name` sets null.
fn change(
    client: &mut Connection,
    version: i16,
    validate_only: bool,
    resources: impl Iterator<Item = (i8, String, Vec<String>)>,
) -> String {
    let config = |word: &String| {
        let (name, value) = word[1..].split_once('=').map_or((&word[1..], None), |(n, v)| (n, Some(v)));
        let operation = "+-><?".find(&word[..1]).unwrap() as i8;
        IncrementalAlterableConfig {
            name: name.to_owned(),
            config_operation: if operation == 4 { 9 } else { operation },
            value: value.map(str::to_owned),
        }
    };
    let resources = resources.map(|(resource_type, resource_name, words)| IncrementalAlterConfigsResource {
        resource_type,
        resource_name,
        configs: words.iter().map(config).collect(),
    });
    let request = IncrementalAlterConfigsRequest { resources: resources.collect(), validate_only };
    let mut lines: Vec<String> = call(client, version, &request)
        .responses
        .iter()
        .map(|r| outcome(r.resource_type, r.error_code, &r.error_message))
        .collect();
    lines.sort();
    lines.join("\n")
}

fn alter(
    client: &mut Connection,
    version: i16,
    validate_only: bool,
    resources: impl Iterator<Item = (i8, String, Vec<String>)>,
) -> String {
    let config = |word: &String| {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
        AlterableConfig { name: name.to_owned(), value: value.map(str::to_owned) }
    };
    let resources = resources.map(|(resource_type, resource_name, words)| AlterConfigsResource {
        resource_type,
        resource_name,
        configs: words.iter().map(config).collect(),
    });
    let request = AlterConfigsRequest { resources: resources.collect(), validate_only };
    let mut lines: Vec<String> = call(client, version, &request)
        .responses
        .iter()
        .map(|r| outcome(r.resource_type, r.error_code, &r.error_message))
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Names what is shown; with `dynamic`, all that was set at run time, with `none` no setting.
fn describe(
    client: &mut Connection,
    version: i16,
    whole: bool,
    resources: impl Iterator<Item = (i8, String, Vec<String>)>,
) -> String {
    let mut dynamic = false;
    let resources = resources.map(|(resource_type, resource_name, words)| {
        dynamic |= words.iter().any(|word| word == "dynamic");
        DescribeConfigsResource {
            resource_type,
            resource_name,
            configuration_keys: (!dynamic && !words.is_empty()).then_some(words),
        }
    });
    let resources = resources.collect();
    let request = DescribeConfigsRequest { resources, include_synonyms: true, ..Default::default() };
    let answer = call(client, version, &request);
    let mut lines = Vec::new();
    for result in answer.results {
        lines.push(outcome(result.resource_type, result.error_code, &result.error_message));
        let mut rows: Vec<String> = result
            .configs
            .iter()
            .filter(|row| !dynamic || row.config_source < 4 || row.config_source > 5)
            .filter(|row| row.name != "min.insync.replicas" && !(whole && differs(&row.name)))
            .map(setting)
            .collect();
        rows.sort();
        lines.extend(rows);
    }
    lines.join("\n")
}

/// Whether a broker's or a topic's value is not that of stock Kafka in these tests: what is in the broker's file,
/// and the defaults in which Ottla differs. (`min.insync.replicas` is left out everywhere: stock Kafka sets it for
/// all brokers itself, where it keeps eligible leader replicas.)
fn differs(name: &str) -> bool {
    let rows = [settings::topic().get(name), settings::broker().get(name)];
    let own = [
        "advertised.listeners",
        "auto.create.topics.enable",
        "log.dirs",
        "node.id",
        "process.roles",
        "broker.id",
        "controller.listener.names",
        "controller.quorum.voters",
        "group.initial.rebalance.delay.ms",
        "inter.broker.listener.name",
        "listener.security.protocol.map",
        "offsets.topic.num.partitions",
        "offsets.topic.replication.factor",
        "share.coordinator.state.topic.min.isr",
        "share.coordinator.state.topic.replication.factor",
        "transaction.state.log.min.isr",
        "transaction.state.log.num.partitions",
        "transaction.state.log.replication.factor",
    ];
    own.contains(&name) || rows.into_iter().flatten().any(|row| row.differs.is_some())
}

/// One setting: what it is, where it comes from, and what else gives it a value.
fn setting(row: &DescribeConfigsResourceResult) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let mut line =
        format!("  {}={} from {} type {}", row.name, shown(&row.value), row.config_source, row.config_type);
    for (flag, name) in [(row.read_only, " read-only"), (row.is_sensitive, " sensitive")] {
        line.push_str(if flag { name } else { "" });
    }
    for synonym in &row.synonyms {
        line.push_str(&format!(" [{}={} {}]", synonym.name, shown(&synonym.value), synonym.source));
    }
    line
}

fn list(client: &mut Connection, version: i16, types: &str, topic: &str) -> String {
    let resource_types = types.split(' ').filter_map(|kind| kind.parse().ok()).collect();
    let answer = call(client, version, &ListConfigResourcesRequest { resource_types });
    let told = answer.config_resources.iter().map(|r| format!("{}:{}", r.resource_type, r.resource_name));
    // Topics of others than this test are passed over.
    let mut told: Vec<_> = told.filter(|r| !r.starts_with("2:") || r.ends_with(topic)).collect();
    told.sort();
    format!("{} {}", answer.error_code.name(), told.join(" ")).trim_end().to_owned()
}

#[test]
fn every_version_of_the_requests_is_answered() {
    let target = Target::start();
    let topic = target.topic("settings", 1).name;
    let mut client = target.client();
    for (api, verb, what) in [
        (ApiKey::AlterConfigs, "alter", "retention.ms=7000"),
        (ApiKey::IncrementalAlterConfigs, "change", "+retention.ms=8000"),
        (ApiKey::DescribeConfigs, "describe", "retention.ms"),
    ] {
        for version in api.versions() {
            let answer = ask(&mut client, &format!("{verb}@{version} 2:{topic} {what}"), &topic);
            assert!(answer.starts_with("2 NONE"), "{verb}@{version}: {answer}");
        }
    }
}

/// A broker of the test's own, a client, and a topic.
fn own_broker() -> (Broker, String) {
    let broker = Broker::start();
    broker.ottla(&["topic", "create", "t"]);
    let address = broker.address.clone();
    (broker, address)
}

fn changed(client: &mut Connection, what: &str) {
    let answer = ask(client, &format!("change {what}"), "t");
    assert!(answer.ends_with("NONE"), "{what}: {answer}");
}

/// Appends one record of about so many bytes in a partition, and says what came of it and under which time.
fn append(client: &mut Connection, bytes: usize, timestamp: i64) -> (ErrorCode, i64) {
    let mut builder = BatchBuilder::new();
    builder.append(timestamp, None, Some(&vec![7; bytes]), &[]);
    let records = Some(builder.build().unwrap().into());
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: "t".to_owned(), partition_data, ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let answer = call(client, 9, &request).responses.remove(0).partition_responses.remove(0);
    (answer.error_code, answer.log_append_time_ms)
}

#[test]
fn a_change_holds_at_once_for_partitions_that_are_served() {
    let (_broker, address) = own_broker();
    let mut client = Connection::open(&address, PATIENCE).unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    assert_eq!(append(&mut client, 1000, now), (ErrorCode::NONE, -1));
    changed(&mut client, "2:t +max.message.bytes=500");
    assert_eq!(append(&mut client, 1000, now).0, ErrorCode::MESSAGE_TOO_LARGE);
    changed(&mut client, "2:t -max.message.bytes");
    assert_eq!(append(&mut client, 1000, now).0, ErrorCode::NONE);
    // The same through the settings of the broker, which the topic overrides.
    changed(&mut client, "4:1 +message.max.bytes=500");
    assert_eq!(append(&mut client, 1000, now).0, ErrorCode::MESSAGE_TOO_LARGE);
    changed(&mut client, "2:t +max.message.bytes=5000");
    assert_eq!(append(&mut client, 1000, now).0, ErrorCode::NONE);
    changed(&mut client, "4: +log.message.timestamp.type=LogAppendTime");
    assert!(append(&mut client, 10, 5).1 >= now);
    changed(&mut client, "4: -log.message.timestamp.type");
    changed(&mut client, "2:t +message.timestamp.before.max.ms=60000 +message.timestamp.after.max.ms=60000");
    assert_eq!(append(&mut client, 10, now), (ErrorCode::NONE, -1));
    assert_eq!(append(&mut client, 10, now - 100_000).0, ErrorCode::INVALID_TIMESTAMP);
    assert_eq!(append(&mut client, 10, now + 100_000).0, ErrorCode::INVALID_TIMESTAMP);
}

#[test]
fn what_was_set_outlives_the_process() {
    let (mut broker, address) = own_broker();
    let mut client = Connection::open(&address, PATIENCE).unwrap();
    for what in [
        "2:t +retention.ms=1234 +segment.bytes=2000000",
        "4: +message.max.bytes=500",
        "4:1 +log.retention.ms=99",
        "16:m +interval.ms=1000",
        "32:g +consumer.session.timeout.ms=50000",
        "2:t -segment.bytes",
    ] {
        changed(&mut client, what);
    }
    let resources = ["2:t dynamic", "4: dynamic", "4:1 dynamic", "16:m dynamic", "32:g"];
    let before = resources.map(|what| ask(&mut client, &format!("describe {what}"), "t"));
    assert!(before[0].contains("retention.ms=1234 from 1") && !before[0].contains("segment.bytes"));
    for clean in [false, true] {
        if clean {
            broker.stop();
        } else {
            broker.kill();
        }
        broker.begin();
        broker.wait();
        client = Connection::open(&address, PATIENCE).unwrap();
        let after = resources.map(|what| ask(&mut client, &format!("describe {what}"), "t"));
        assert_eq!(before, after);
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    assert_eq!(append(&mut client, 1000, now).0, ErrorCode::MESSAGE_TOO_LARGE, "and it is in force");
}

#[test]
fn the_limit_of_connections_changes_at_run_time() {
    let (broker, address) = own_broker();
    let mut client = Connection::open(&address, PATIENCE).unwrap();
    changed(&mut client, "4: +max.connections.per.ip=1");
    assert!(Connection::open(&address, PATIENCE).is_err(), "the second from this address is closed");
    changed(&mut client, "4:1 +max.connections.per.ip.overrides=127.0.0.1:2");
    let second = Connection::open(&address, PATIENCE).unwrap();
    assert!(Connection::open(&address, PATIENCE).is_err());
    drop(second);
    changed(&mut client, "4:1 +max.connections=1 -max.connections.per.ip.overrides");
    changed(&mut client, "4: -max.connections.per.ip");
    // The next one waits for its place, until there is one more.
    let waiting = std::thread::spawn(move || Connection::open(&address, PATIENCE).map(drop));
    while !broker.log().contains("which is max.connections; further ones wait") {
        assert!(!waiting.is_finished());
        std::thread::sleep(Duration::from_millis(10));
    }
    changed(&mut client, "4:1 +max.connections=2");
    waiting.join().unwrap().unwrap();
}

/// A batch of text in this compression.
fn text(compression: Compression, records: usize) -> Bytes {
    let mut builder = BatchBuilder::new().compression(compression);
    for n in 0..records {
        builder.append(
            1_000 + n as i64,
            Some(b"key"),
            Some(&format!("value {n} ").repeat(9).into_bytes()),
            &[],
        );
    }
    builder.build().unwrap().into()
}

fn append_batch(client: &mut Connection, topic: &str, batch: Bytes) -> (ErrorCode, i64) {
    let partition_data = vec![PartitionProduceData { index: 0, records: Some(batch) }];
    let topic = TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let answer = call(client, 9, &request).responses.remove(0).partition_responses.remove(0);
    (answer.error_code, answer.base_offset)
}

/// The batch at an offset.
fn batch_at(client: &mut Connection, topic: &str, fetch_offset: i64) -> Vec<u8> {
    let partition = FetchPartition { fetch_offset, partition_max_bytes: 1, ..Default::default() };
    let wanted = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        min_bytes: 1,
        max_wait_ms: 5_000,
        topics: vec![wanted],
        ..Default::default()
    };
    let answer = call(client, 12, &request);
    let records = answer.responses[0].partitions[0].records.as_ref().unwrap().to_bytes();
    let batch = Batch::first(&records).unwrap();
    batch.check().unwrap();
    batch.bytes().to_vec()
}

#[test]
fn batches_are_kept_in_the_compression_that_the_topic_wants() {
    let target = Target::start();
    let topic = target.topic("compression", 1).name;
    let mut client = Connection::open(&target.address, PATIENCE).unwrap();
    let set = |client: &mut Connection, what: &str| {
        changed(client, &format!("2:{topic} {what}"));
        if !target.is_own() {
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    for (wanted, is) in [
        ("gzip", Some(Compression::Gzip)),
        ("zstd", Some(Compression::Zstd)),
        ("uncompressed", Some(Compression::None)),
        ("snappy", Some(Compression::Snappy)),
        ("lz4", Some(Compression::Lz4)),
        ("producer", None),
    ] {
        set(&mut client, &format!("+compression.type={wanted}"));
        for from in Compression::ALL {
            let sent = text(from, 200);
            let (error, offset) = append_batch(&mut client, &topic, sent.clone());
            assert_eq!(error, ErrorCode::NONE, "{from} to {wanted}");
            let kept = batch_at(&mut client, &topic, offset);
            let (kept, sent) = (Batch::first(&kept).unwrap(), Batch::first(&sent).unwrap());
            assert_eq!(kept.compression().unwrap(), is.unwrap_or(from), "{from} to {wanted}");
            if is.is_none_or(|is| is == from) {
                assert_eq!(kept.payload(), sent.payload(), "what is as it is wanted stays to the byte");
            }
            assert_eq!((kept.header().max_timestamp, kept.header().count), (1_199, 200));
            let (kept, sent) = (kept.open(1 << 20).unwrap(), sent.open(1 << 20).unwrap());
            let plain = |(kept, sent): (Record, Record)| {
                kept.key == sent.key && kept.value == sent.value && kept.timestamp == sent.timestamp
            };
            assert!(kept.iter().map(Result::unwrap).zip(sent.iter().map(Result::unwrap)).all(plain));
        }
    }
    // The level counts, and so does the size that comes out.
    set(&mut client, "+compression.type=gzip +compression.gzip.level=1");
    let size = |client: &mut Connection| {
        let (_, offset) = append_batch(client, &topic, text(Compression::None, 3_000));
        batch_at(client, &topic, offset).len()
    };
    let low = size(&mut client);
    set(&mut client, "+compression.gzip.level=9");
    let high = size(&mut client);
    assert!(high < low, "{low} and {high}");
    set(&mut client, "+compression.type=uncompressed +max.message.bytes=20000");
    let large = append_batch(&mut client, &topic, text(Compression::Zstd, 1_000));
    assert_eq!(large.0, ErrorCode::MESSAGE_TOO_LARGE);
    // What cannot be read is refused, and the next is taken.
    let mut bad = text(Compression::Zstd, 100).to_vec();
    let middle = bad.len() / 2;
    bad[middle..].fill(0x55);
    let header = Batch::first(&bad).unwrap().header();
    let bad: Bytes = header.write(&bad[61..]).into();
    assert!(append_batch(&mut client, &topic, bad).0.is_error());
    assert_eq!(append_batch(&mut client, &topic, text(Compression::Lz4, 10)).0, ErrorCode::NONE);
}

/// The segments of the topic's only partition.
fn segments(broker: &Broker) -> usize {
    let entries =
        std::fs::read_dir(broker.data().join("t-0")).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name.to_str().unwrap().ends_with(".log")).count()
}

/// Waits until the number of segments is right.
fn wait_for(broker: &Broker, right: impl Fn(usize) -> bool) {
    let since = std::time::Instant::now();
    while !right(segments(broker)) {
        assert!(since.elapsed() < PATIENCE, "{} segments", segments(broker));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn segments_and_retention_follow_what_is_set() {
    let folder = Folder::new();
    let config = folder.0.join("server.properties");
    std::fs::write(&config, "log.retention.check.interval.ms=1\nlog.segment.delete.delay.ms=0\n").unwrap();
    let address = free_address();
    let arguments = ["--config", config.to_str().unwrap(), "--listen", &address].map(str::to_owned);
    let mut broker = Broker::with(folder, address.clone(), arguments.to_vec());
    broker.begin();
    broker.wait();
    broker.ottla(&["topic", "create", "t"]);
    let mut client = Connection::open(&address, PATIENCE).unwrap();
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let append_some = |client: &mut Connection, count: usize| {
        for _ in 0..count {
            assert_eq!(append(client, 1_000, now()).0, ErrorCode::NONE);
        }
    };
    append_some(&mut client, 20);
    assert_eq!(segments(&broker), 1);
    changed(&mut client, "2:t +internal.segment.bytes=5000");
    append_some(&mut client, 40);
    wait_for(&broker, |count| count >= 10);
    changed(&mut client, "2:t +retention.bytes=12000");
    wait_for(&broker, |count| (2..=4).contains(&count));
    // By age: an old segment goes, once there is a newer one.
    changed(&mut client, "2:t -retention.bytes +retention.ms=1 +segment.ms=1");
    append_some(&mut client, 1);
    wait_for(&broker, |count| count <= 2);
}

#[test]
fn producers_are_forgotten_as_soon_as_is_set() {
    let folder = Folder::new();
    let config = folder.0.join("server.properties");
    std::fs::write(&config, "producer.id.expiration.check.interval.ms=10\n").unwrap();
    let address = free_address();
    let arguments = ["--config", config.to_str().unwrap(), "--listen", &address].map(str::to_owned);
    let mut broker = Broker::with(folder, address.clone(), arguments.to_vec());
    broker.begin();
    broker.wait();
    broker.ottla(&["topic", "create", "t"]);
    let mut client = Connection::open(&address, PATIENCE).unwrap();
    let mut batch = BatchBuilder::new().producer(7, 0, 0);
    batch.append(1_000, None, Some(b"x"), &[]);
    assert_eq!(append_batch(&mut client, "t", batch.build().unwrap().into()).0, ErrorCode::NONE);
    let known = |client: &mut Connection| {
        let wanted = DescribeProducersTopicRequest { name: "t".to_owned(), partition_indexes: vec![0] };
        let answer = client.call(&DescribeProducersRequest { topics: vec![wanted] }).unwrap();
        answer.topics[0].partitions[0].active_producers.len()
    };
    assert_eq!(known(&mut client), 1);
    changed(&mut client, "4: +producer.id.expiration.ms=1");
    let since = std::time::Instant::now();
    while known(&mut client) > 0 {
        assert!(since.elapsed() < PATIENCE, "it is not forgotten");
        std::thread::sleep(Duration::from_millis(10));
    }
}
