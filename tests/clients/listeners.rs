//! Several named listeners, and the addresses that clients are told.

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use crate::support::{Broker, Folder, PATIENCE, Target, free_address, kcat, send, wait};

/// A broker with these lines in its file, listening at this address among others; none where the tests use
/// another broker.
fn broker(address: &str, lines: &[String]) -> Option<Target> {
    if std::env::var_os("OTTLA_TEST_BOOTSTRAP").is_some() {
        return None;
    }
    let folder = Folder::new();
    let file = folder.0.join("server.properties");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let arguments = vec!["--config".to_string(), file.display().to_string()];
    let mut broker = Broker::with(folder, address.to_string(), arguments);
    broker.begin();
    broker.wait();
    Some(Target::of(broker))
}

/// What kcat is told that the brokers' addresses are.
fn told(address: &str) -> Vec<String> {
    let output = kcat(address, &["-L", "-J"], "");
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let brokers = listed["brokers"].as_array().unwrap().iter();
    brokers.map(|broker| broker["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn each_listener_tells_of_its_own_address() {
    let [inside, outside, third] = [free_address(), free_address(), free_address()];
    let port = |address: &str| address.split_once(':').unwrap().1.to_string();
    let lines = [
        format!("listeners=INSIDE://{inside},OUTSIDE://{outside},PLAINTEXT://{third}"),
        format!(
            "advertised.listeners=INSIDE://localhost:{},OUTSIDE://broker.example:4242,PLAINTEXT://{third}",
            port(&inside)
        ),
        "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_string(),
        "inter.broker.listener.name=INSIDE".to_string(),
    ];
    let Some(target) = broker(&inside, &lines) else { return };
    assert_eq!(told(&inside), [format!("localhost:{}", port(&inside))]);
    assert_eq!(told(&outside), ["broker.example:4242"]);
    assert_eq!(told(&third), [third.as_str()]);
    // What is written through one listener is read through another.
    let topic = target.topic("through", 4, &[]);
    let writer = target.writer(&[]);
    (0..4).for_each(|partition| writer.send(send(&topic, partition, b"x")));
    assert_eq!(writer.offsets(), [0; 4]);
    let output = kcat(&third, &["-C", "-t", &topic, "-e", "-q"], "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "x\nx\nx\nx\n");
}

#[test]
fn the_settings_of_the_file_hold() {
    let address = free_address();
    let lines = [
        format!("listeners=PLAINTEXT://{address}"),
        "auto.create.topics.enable=false".to_string(),
        "num.partitions=5".to_string(),
        "message.max.bytes=5000".to_string(),
        "log.message.timestamp.type=LogAppendTime".to_string(),
        "broker.id=77".to_string(),
    ];
    let Some(target) = broker(&address, &lines) else { return };
    let listed = target.reader(&[]).0.fetch_metadata(None, PATIENCE).unwrap();
    assert_eq!(listed.brokers()[0].id(), 77);

    let writer = target.writer(&[("topic.metadata.propagation.max.ms", "0")]);
    writer.send(send("nobody", 0, b"x"));
    let error = writer.reports()[0].error;
    assert!(
        matches!(error, Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)),
        "{error:?}"
    );

    let topic = NewTopic::new("five", -1, TopicReplication::Fixed(1));
    wait(target.admin().create_topics([&topic], &AdminOptions::new())).unwrap().remove(0).unwrap();
    let listed = target.reader(&[]).0.fetch_metadata(Some("five"), PATIENCE).unwrap();
    assert_eq!(listed.topics()[0].partitions().len(), 5);
    let writer = target.writer(&[]);
    writer.send(send("five", 4, &[0; 4900]));
    writer.send(send("five", 3, &[0; 5000]));
    let reports = writer.reports();
    assert!(matches!(reports[0].timestamp, rdkafka::Timestamp::LogAppendTime(_)), "{reports:?}");
    assert_eq!(reports[1].error, Some(RDKafkaErrorCode::MessageSizeTooLarge));
}
