//! Topics through the admin client.

use rdkafka::Offset;
use rdkafka::admin::{
    AdminOptions, ConfigEntry, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::support::{PATIENCE, Target, broker, send, wait};

/// A topic's partitions as its metadata tells them, none if it is unknown.
fn partitions(broker: &Target, topic: &str) -> Option<Vec<i32>> {
    let metadata = broker.reader(&[]).0.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let [found] = metadata.topics() else { panic!("one topic was asked for") };
    assert_eq!(found.name(), topic);
    if found.error().is_some() {
        assert!(found.partitions().is_empty());
        return None;
    }
    let mut numbers: Vec<_> = found.partitions().iter().map(|part| part.id()).collect();
    numbers.sort_unstable();
    for part in found.partitions() {
        let leader = metadata.brokers().iter().find(|broker| broker.id() == part.leader()).unwrap();
        assert_eq!((part.replicas(), part.isr()), (&[leader.id()][..], &[leader.id()][..]));
    }
    Some(numbers)
}

fn delete(broker: &Target, topic: &str) -> Result<String, (String, RDKafkaErrorCode)> {
    let mut deleted = wait(broker.admin().delete_topics(&[topic], &AdminOptions::new())).unwrap();
    deleted.remove(0)
}

/// The settings of a topic or broker; none if it is unknown.
fn settings(broker: &Target, of: ResourceSpecifier<'_>) -> Vec<ConfigEntry> {
    let mut described = wait(broker.admin().describe_configs([&of], &AdminOptions::new())).unwrap();
    described.remove(0).unwrap().entries
}

fn setting<'a>(entries: &'a [ConfigEntry], name: &str) -> (String, &'a ConfigSource) {
    let entry = entries.iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("no {name}"));
    (entry.value.clone().unwrap_or_default(), &entry.source)
}

#[test]
fn topics_are_created_listed_and_deleted() {
    let broker = broker();
    let names = [broker.topic("one", 1, &[]), broker.topic("seven", 7, &[])];
    assert_eq!(partitions(&broker, &names[0]), Some(vec![0]));
    assert_eq!(partitions(&broker, &names[1]), Some((0..7).collect()));
    let listed = broker.reader(&[]).0.fetch_metadata(None, PATIENCE).unwrap();
    for name in &names {
        assert!(listed.topics().iter().any(|topic| topic.name() == name));
    }
    assert_eq!(delete(&broker, &names[0]), Ok(names[0].clone()));
    assert_eq!(partitions(&broker, &names[0]), None);
    let again = delete(&broker, &names[0]).unwrap_err();
    assert_eq!(again.1, RDKafkaErrorCode::UnknownTopicOrPartition);
    let listed = broker.reader(&[]).0.fetch_metadata(None, PATIENCE).unwrap();
    assert!(!listed.topics().iter().any(|topic| topic.name() == names[0]));
    assert_eq!(partitions(&broker, &names[1]), Some((0..7).collect()));
}

#[test]
fn a_topic_that_cannot_be_is_refused() {
    let broker = broker();
    let there = broker.topic("there", 1, &[]);
    let fine = broker.name("fine");
    let long = "x".repeat(250);
    let new = |name, partitions| NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topics = [
        new(&there, 1),
        new("not/a/name", 1),
        new(&long, 1),
        NewTopic::new(&fine, 1, TopicReplication::Fixed(5)),
        new(&fine, 1).set("no.such.setting", "1"),
        new(&fine, 1).set("segment.bytes", "many"),
    ];
    let wanted = [
        RDKafkaErrorCode::TopicAlreadyExists,
        RDKafkaErrorCode::InvalidTopic,
        RDKafkaErrorCode::InvalidTopic,
        RDKafkaErrorCode::InvalidReplicationFactor,
        RDKafkaErrorCode::InvalidConfig,
        RDKafkaErrorCode::InvalidConfig,
    ];
    for (topic, wanted) in topics.iter().zip(wanted) {
        let mut made = wait(broker.admin().create_topics([topic], &AdminOptions::new())).unwrap();
        assert_eq!(made.remove(0).unwrap_err().1, wanted);
    }
    // Only to see whether it could be.
    let options = AdminOptions::new().validate_only(true);
    let topic = new(&fine, 3);
    assert_eq!(wait(broker.admin().create_topics([&topic], &options)).unwrap(), [Ok(fine.clone())]);
    assert_eq!(partitions(&broker, &fine), None);
}

#[test]
fn partitions_are_added_and_take_records() {
    let broker = broker();
    let topic = broker.topic("grows", 2, &[]);
    let writer = broker.writer(&[]);
    writer.send(send(&topic, 1, b"before"));
    writer.offsets();
    let grow = |to| {
        let more = NewPartitions::new(&topic, to);
        wait(broker.admin().create_partitions([&more], &AdminOptions::new())).unwrap().remove(0)
    };
    assert_eq!(grow(6), Ok(topic.clone()));
    assert_eq!(partitions(&broker, &topic), Some((0..6).collect()));
    assert_eq!(grow(5).unwrap_err().1, RDKafkaErrorCode::InvalidPartitions);
    assert_eq!(grow(6).unwrap_err().1, RDKafkaErrorCode::InvalidPartitions);
    let writer = broker.writer(&[]);
    (0..6).for_each(|partition| writer.send(send(&topic, partition, b"after")));
    assert_eq!(writer.offsets(), [0, 1, 0, 0, 0, 0]);
    for partition in 0..6 {
        let read = broker.read(&topic, partition, Offset::OffsetTail(1));
        assert_eq!(read[0].value.as_deref(), Some(&b"after"[..]));
    }
}

#[test]
fn settings_are_told_with_where_they_come_from() {
    let broker = broker();
    let given = [("retention.ms", "123456789"), ("cleanup.policy", "delete"), ("segment.bytes", "2000000")];
    let topic = broker.topic("settings", 1, &given);
    let entries = settings(&broker, ResourceSpecifier::Topic(&topic));
    for (name, value) in given {
        assert_eq!(setting(&entries, name), (value.to_string(), &ConfigSource::DynamicTopic), "{name}");
    }
    assert_eq!(setting(&entries, "max.message.bytes"), ("1048588".to_string(), &ConfigSource::Default));
    assert_eq!(setting(&entries, "message.timestamp.type").0, "CreateTime");
    let nobody = broker.name("nobody");
    assert_eq!(settings(&broker, ResourceSpecifier::Topic(&nobody)), []);

    let metadata = broker.reader(&[]).0.fetch_metadata(None, PATIENCE).unwrap();
    let node = metadata.brokers()[0].id();
    let entries = settings(&broker, ResourceSpecifier::Broker(node));
    assert_eq!(setting(&entries, "num.partitions").0, "1");
    assert!(setting(&entries, "listeners").0.contains("PLAINTEXT://"));
}

#[test]
fn a_topic_made_again_begins_anew() {
    let broker = broker();
    let topic = broker.topic("again", 2, &[]);
    let writer = broker.writer(&[]);
    (0..20).for_each(|n| writer.send(send(&topic, n % 2, b"old")));
    writer.offsets();
    let reader = broker.reader(&[("topic.metadata.propagation.max.ms", "0")]);
    reader.assign(&topic, &[(0, Offset::Offset(0))]);
    assert_eq!(reader.to_end().len(), 10);
    delete(&broker, &topic).unwrap();
    // Who still reads it is told.
    let told = loop {
        match reader.next() {
            Err(KafkaError::PartitionEOF(_)) => {}
            told => break told,
        }
    };
    let error = told.unwrap_err().rdkafka_error_code();
    assert!(
        matches!(
            error,
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownPartition
                    | RDKafkaErrorCode::UnknownTopic
            )
        ),
        "{error:?}"
    );
    drop(reader);
    let again = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    let made = wait(broker.admin().create_topics([&again], &AdminOptions::new())).unwrap();
    assert_eq!(made, [Ok(topic.clone())]);
    let writer = broker.writer(&[]);
    writer.send(send(&topic, 0, b"new"));
    assert_eq!(writer.offsets(), [0]);
    let values: Vec<_> = broker.read(&topic, 0, Offset::Offset(0)).into_iter().map(|r| r.value).collect();
    assert_eq!(values, [Some(b"new".to_vec())]);
    assert_eq!(broker.read(&topic, 1, Offset::Offset(0)), []);
}
