use std::sync::Arc;

use crate::config::BrokerConfig;
use crate::controller::image::resource;
use crate::controller::testing::*;
use crate::controller::{Controller, Image};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

fn error(controller: &mut Controller, topic: CreatableTopic) -> (ErrorCode, String) {
    let before = controller.image().version();
    let result = create(controller, vec![topic]).remove(0);
    assert_eq!(controller.image().version(), before, "a refused topic leaves no record");
    (result.error_code, result.error_message.unwrap_or_default())
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(number, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *number,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic { assignments: assignments.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

#[test]
fn a_topic_is_created_with_defaults_and_told_in_full() {
    let mut controller = cluster(&[1]);
    let result = create(&mut controller, vec![topic("t", -1, -1)]).remove(0);
    assert_eq!(result.error_code, ErrorCode::NONE);
    assert_eq!((result.num_partitions, result.replication_factor), (1, 1));
    let configs = result.configs.unwrap();
    let retention = configs.iter().find(|c| c.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("604800000"), 5));
    let created = controller.image().topic_named("t").unwrap();
    assert_eq!(created.id, result.topic_id);
    let partition = created.partitions.get(&0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (1, 0, 0));
    assert_eq!(partition.isr, [1]);
    assert_eq!(partition.revision, controller.image().version());
}

#[test]
fn bad_topics_are_refused_as_kafka_refuses_them() {
    let mut controller = cluster(&[1, 2]);
    create(&mut controller, vec![topic("there", 1, 1), topic("a.b", 1, 1)]);
    for (topic, code, part) in [
        (topic("", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION, "empty string"),
        (topic("a/b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION, "a/b"),
        (topic("a_b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION, "collides with existing topics: a.b"),
        (topic("__cluster_metadata", 1, 1), ErrorCode::INVALID_REQUEST, "cannot be created"),
        (topic("there", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS, "Topic 'there' already exists."),
        (topic("t", 0, 1), ErrorCode::INVALID_PARTITIONS, "larger than 0"),
        (topic("t", -2, 1), ErrorCode::INVALID_PARTITIONS, "larger than 0"),
        (topic("t", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR, "larger than 0"),
        (topic("t", 1, 3), ErrorCode::INVALID_REPLICATION_FACTOR, "only 2 broker(s) are registered"),
        (topic("t", 10_000, 1), ErrorCode::POLICY_VIOLATION, "Excessively large number of partitions"),
        (
            topic_with("t", &[("retention.mss", "1")]),
            ErrorCode::INVALID_CONFIG,
            "Did you mean 'retention.ms'?",
        ),
        (topic_with("t", &[("retention.ms", "x")]), ErrorCode::INVALID_CONFIG, "Not a number of type LONG"),
        (topic_with("t", &[("remote.storage.enable", "true")]), ErrorCode::INVALID_CONFIG, "Tiered Storage"),
    ] {
        let name = topic.name.clone();
        let (error, message) = error(&mut controller, topic);
        assert_eq!(error, code, "{name}: {message}");
        assert!(message.contains(part), "{name}: {message}");
    }
    let null = CreatableTopicConfig { name: "retention.ms".into(), value: None };
    let (code, _) = error(&mut controller, CreatableTopic { configs: vec![null], ..topic("t", 1, 1) });
    assert_eq!(code, ErrorCode::INVALID_CONFIG);
}

#[test]
fn manual_assignments_are_checked() {
    let mut controller = cluster(&[1, 2]);
    let with = |partitions, replicas| CreatableTopic {
        num_partitions: partitions,
        replication_factor: replicas,
        ..assigned("t", &[(0, &[1])])
    };
    for topic in [with(1, -1), with(-1, 1)] {
        assert_eq!(error(&mut controller, topic).0, ErrorCode::INVALID_REQUEST);
    }
    for (assignments, part) in [
        (&[(1, &[1][..])][..], "consecutive"),
        (&[(0, &[1]), (2, &[1])], "consecutive"),
        (&[(0, &[1]), (0, &[2])], "multiple manual partition assignments for partition 0"),
        (&[(0, &[])], "empty replica list"),
        (&[(0, &[1]), (1, &[1, 2])], "not consistent"),
        (&[(0, &[1, 1])], "more than once"),
        (&[(0, &[1, 9])], "broker 9"),
    ] {
        let (code, message) = error(&mut controller, assigned("t", assignments));
        assert_eq!(code, ErrorCode::INVALID_REPLICA_ASSIGNMENT, "{message}");
        assert!(message.contains(part), "{message}");
    }
    let result = create(&mut controller, vec![assigned("t", &[(1, &[2, 1]), (0, &[1, 2])])]).remove(0);
    assert_eq!((result.num_partitions, result.replication_factor), (2, 2));
    let topic = controller.image().topic_named("t").unwrap();
    assert_eq!(topic.partitions.get(&1).unwrap().replicas, [2, 1]);
    assert_eq!(topic.partitions.get(&1).unwrap().leader, 2);
    let away = controller.fence_broker(2, true);
    commit(&mut controller, away);
    let (code, message) = error(&mut controller, assigned("u", &[(0, &[2])]));
    assert!(code == ErrorCode::INVALID_REPLICA_ASSIGNMENT && message.contains("fenced"), "{message}");
}

#[test]
fn one_bad_topic_does_not_stop_the_others_and_twice_is_refused_once() {
    let mut controller = cluster(&[1]);
    let results = create(
        &mut controller,
        vec![
            topic("a", 1, 1),
            topic("", 1, 1),
            topic("twice", 1, 1),
            topic("twice", 2, 1),
            topic("x.y", 1, 1),
            topic("x_y", 1, 1),
        ],
    );
    let told: Vec<_> = results.iter().map(|r| (r.name.as_str(), r.error_code)).collect();
    assert_eq!(
        told,
        [
            ("a", ErrorCode::NONE),
            ("", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("twice", ErrorCode::INVALID_REQUEST),
            ("x.y", ErrorCode::NONE),
            ("x_y", ErrorCode::INVALID_TOPIC_EXCEPTION),
        ]
    );
    assert_eq!(controller.image().topic_count(), 2);
}

#[test]
fn validate_only_says_what_would_be_and_does_nothing() {
    let controller = cluster(&[1]);
    let mut chance = Chance::new(1);
    let request =
        CreateTopicsRequest { topics: vec![topic("t", 3, 1)], validate_only: true, ..Default::default() };
    let answer = controller.create_topics(&request, &mut || chance.next());
    assert_eq!((answer.reply[0].error_code, answer.reply[0].num_partitions), (ErrorCode::NONE, 3));
    assert_eq!(answer.records, []);
}

#[test]
fn one_request_fills_one_batch_at_most() {
    let mut controller = cluster(&[1]);
    let half = METADATA_BATCH_RECORDS as i32 / 2;
    let results = create(&mut controller, vec![topic("a", half, 1), topic("b", half, 1), topic("c", 1, 1)]);
    let codes: Vec<_> = results.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::POLICY_VIOLATION, ErrorCode::NONE]);
}

fn delete(controller: &mut Controller, topics: &[(Option<&str>, Uuid)]) -> Vec<ErrorCode> {
    let state =
        |(name, id): &(Option<&str>, Uuid)| DeleteTopicState { name: name.map(str::to_owned), topic_id: *id };
    let request = DeleteTopicsRequest { topics: topics.iter().map(state).collect(), ..Default::default() };
    let answer = controller.delete_topics(&request);
    commit(controller, answer.records);
    answer.reply.iter().map(|r| r.error_code).collect()
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut controller = cluster(&[1]);
    create(&mut controller, vec![topic("a", 2, 1), topic("b", 1, 1), topic("c", 1, 1), topic("d", 1, 1)]);
    let id = |controller: &Controller, name: &str| controller.image().topic_named(name).unwrap().id;
    let (b, c) = (id(&controller, "b"), id(&controller, "c"));
    let none = Uuid::ZERO;
    let codes = delete(
        &mut controller,
        &[
            (Some("a"), none),
            (None, b),
            (Some("b"), none),
            (Some("nope"), none),
            (None, Uuid([9; 16])),
            (None, none),
            (Some("c"), c),
            (Some("d"), none),
            (Some("d"), none),
        ],
    );
    assert_eq!(
        codes,
        [
            ErrorCode::NONE,
            ErrorCode::NONE,
            ErrorCode::INVALID_REQUEST,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::UNKNOWN_TOPIC_ID,
            ErrorCode::INVALID_REQUEST,
            ErrorCode::INVALID_REQUEST,
            ErrorCode::INVALID_REQUEST,
        ]
    );
    let left: Vec<&str> = controller.image().topics().map(|t| &*t.name).collect();
    assert_eq!(left, ["c", "d"]);
    // The name is free again, for another topic.
    create(&mut controller, vec![topic("b", 1, 1)]);
    assert_ne!(id(&controller, "b"), b);
}

#[test]
fn deletion_can_be_turned_off() {
    let config = BrokerConfig::read("delete.topic.enable=false", "f", &[]).unwrap();
    let controller = Controller::new(&config, Arc::new(Image::empty("c")));
    let request = DeleteTopicsRequest { topic_names: vec!["a".into()], ..Default::default() };
    let answer = controller.delete_topics(&request);
    assert_eq!(answer.reply[0].error_code, ErrorCode::TOPIC_DELETION_DISABLED);
}

fn grow(controller: &mut Controller, wanted: Vec<CreatePartitionsTopic>) -> Vec<(ErrorCode, String)> {
    let answer =
        controller.create_partitions(&CreatePartitionsRequest { topics: wanted, ..Default::default() });
    commit(controller, answer.records);
    answer.reply.into_iter().map(|r| (r.error_code, r.error_message.unwrap_or_default())).collect()
}

fn to(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let one = |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec() };
    CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assignments.map(|list| list.iter().map(one).collect()),
    }
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut controller = cluster(&[1, 2]);
    create(&mut controller, vec![topic("t", 3, 1), topic("u", 1, 2)]);
    for (wanted, code, part) in [
        (to("nope", 2, None), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "nope"),
        (to("t", 3, None), ErrorCode::INVALID_PARTITIONS, "Topic already has 3 partition(s)."),
        (to("t", 2, None), ErrorCode::INVALID_PARTITIONS, "2 would not be an increase."),
        (to("t", 5, Some(&[&[1]])), ErrorCode::INVALID_REPLICA_ASSIGNMENT, "only 1 assignment(s)"),
        (to("t", 4, Some(&[&[1, 2]])), ErrorCode::INVALID_REPLICA_ASSIGNMENT, "not consistent"),
        (to("t", 4, Some(&[&[7]])), ErrorCode::INVALID_REPLICA_ASSIGNMENT, "broker 7"),
        (to("t", 20_000, None), ErrorCode::POLICY_VIOLATION, "Excessively"),
    ] {
        let (error, message) = grow(&mut controller, vec![wanted]).remove(0);
        assert_eq!(error, code, "{message}");
        assert!(message.contains(part), "{message}");
    }
    let twice = grow(&mut controller, vec![to("t", 4, None), to("u", 2, None), to("t", 5, None)]);
    let codes: Vec<_> = twice.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST, ErrorCode::NONE]);
    assert_eq!(grow(&mut controller, vec![to("t", 5, Some(&[&[2], &[2]]))])[0].0, ErrorCode::NONE);
    let topic = controller.image().topic_named("t").unwrap();
    assert_eq!(topic.partitions.len(), 5);
    assert_eq!(topic.partitions.get(&4).unwrap().replicas, [2]);
    assert_eq!(controller.image().topic_named("u").unwrap().partitions.get(&1).unwrap().replicas.len(), 2);
}

fn change(name: &str, op: i8, value: Option<&str>) -> IncrementalAlterableConfig {
    IncrementalAlterableConfig { name: name.into(), config_operation: op, value: value.map(str::to_owned) }
}

fn alter(
    controller: &mut Controller,
    kind: i8,
    name: &str,
    configs: Vec<IncrementalAlterableConfig>,
) -> (ErrorCode, String) {
    let resource =
        IncrementalAlterConfigsResource { resource_type: kind, resource_name: name.into(), configs };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = controller.incremental_alter_configs(&request);
    commit(controller, answer.records);
    let result = &answer.reply[0];
    (result.error_code, result.error_message.clone().unwrap_or_default())
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

#[test]
fn single_settings_of_a_topic_are_changed() {
    let mut controller = cluster(&[1]);
    create(&mut controller, vec![topic_with("t", &[("retention.ms", "5")])]);
    let set = |controller: &Controller, name: &str| {
        controller.image().topic_named("t").unwrap().configs.get(name).cloned()
    };
    let ops = vec![change("retention.ms", DELETE, None), change("segment.ms", SET, Some("7"))];
    assert_eq!(alter(&mut controller, resource::TOPIC, "t", ops).0, ErrorCode::NONE);
    assert_eq!((set(&controller, "retention.ms"), set(&controller, "segment.ms")), (None, Some("7".into())));
    // Lists grow from what holds, be it the default.
    for (op, value, then) in [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
    ] {
        let ops = vec![change("cleanup.policy", op, Some(value))];
        assert_eq!(alter(&mut controller, resource::TOPIC, "t", ops).0, ErrorCode::NONE);
        assert_eq!(set(&controller, "cleanup.policy").as_deref(), Some(then));
    }
    // Setting what is set makes no record.
    let before = controller.image().version();
    alter(&mut controller, resource::TOPIC, "t", vec![change("segment.ms", SET, Some("7"))]);
    assert_eq!(controller.image().version(), before);
}

#[test]
fn bad_changes_of_settings_are_refused_whole() {
    let mut controller = cluster(&[1]);
    create(&mut controller, vec![topic("t", 1, 1)]);
    let long = "x".repeat(40_000);
    let before = controller.image().version();
    for (kind, name, ops, code, part) in [
        (2, "nope", vec![], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "nope"),
        (4, "9", vec![], ErrorCode::INVALID_REQUEST, "received 9"),
        (4, "x", vec![], ErrorCode::INVALID_REQUEST, "an integer"),
        (99, "x", vec![], ErrorCode::INVALID_REQUEST, "99"),
        (2, "t", vec![change("segment.ms", 7, None)], ErrorCode::INVALID_REQUEST, "operation 7"),
        (2, "t", vec![change("segment.ms", SET, None)], ErrorCode::INVALID_REQUEST, "Null value"),
        (2, "t", vec![change("segment.ms", APPEND, Some("1"))], ErrorCode::INVALID_CONFIG, "not LIST"),
        (2, "t", vec![change("segment.mss", SET, Some("1"))], ErrorCode::INVALID_CONFIG, "'segment.ms'"),
        (2, "t", vec![change("cleanup.policy", APPEND, Some("no"))], ErrorCode::INVALID_CONFIG, "one of"),
        (2, "t", vec![change("compression.type", SET, Some(&long))], ErrorCode::INVALID_CONFIG, "32767"),
        (
            2,
            "t",
            vec![change("segment.ms", SET, Some("5")), change("segment.ms", DELETE, None)],
            ErrorCode::INVALID_REQUEST,
            "duplicate config keys",
        ),
        (
            2,
            "t",
            vec![change("segment.ms", SET, Some("5")), change("retention.ms", SET, Some("x"))],
            ErrorCode::INVALID_CONFIG,
            "retention.ms",
        ),
        (4, "1", vec![change("num.partitions", SET, Some("5"))], ErrorCode::INVALID_REQUEST, "dynamically"),
        (4, "", vec![change("listeners", SET, Some("A://:1"))], ErrorCode::INVALID_REQUEST, "cluster level"),
        (4, "", vec![change("message.max.bytes", SET, Some("x"))], ErrorCode::INVALID_REQUEST, "INT"),
        (
            4,
            "",
            vec![change("message.max.byte", SET, Some("1"))],
            ErrorCode::INVALID_REQUEST,
            "'message.max.bytes'",
        ),
    ] {
        let (error, message) = alter(&mut controller, kind, name, ops);
        assert_eq!(error, code, "{message}");
        assert!(message.contains(part), "{part}: {message}");
        assert_eq!(controller.image().version(), before, "{message}");
    }
}

#[test]
fn what_is_set_for_brokers_gives_topics_their_defaults() {
    let mut controller = cluster(&[1, 2]);
    let ops = vec![change("log.retention.ms", SET, Some("77"))];
    assert_eq!(alter(&mut controller, resource::BROKER, "", ops).0, ErrorCode::NONE);
    let ops = vec![change("message.max.bytes", SET, Some("99"))];
    assert_eq!(alter(&mut controller, resource::BROKER, "1", ops).0, ErrorCode::NONE);
    let result = create(&mut controller, vec![topic("t", 1, 1)]).remove(0).configs.unwrap();
    let row = |name: &str| {
        result.iter().find(|c| c.name == name).map(|c| (c.value.clone().unwrap(), c.config_source)).unwrap()
    };
    assert_eq!(row("retention.ms"), ("77".to_owned(), 3));
    assert_eq!(row("max.message.bytes"), ("99".to_owned(), 2));
    let configured: Vec<_> = controller.image().configured().collect();
    assert_eq!(configured, [(resource::BROKER, ""), (resource::BROKER, "1")]);
    assert_eq!(
        alter(&mut controller, 4, "", vec![change("log.retention.ms", DELETE, None)]).0,
        ErrorCode::NONE
    );
    assert!(controller.image().configs(resource::BROKER, "").is_none());
}

#[test]
fn replacing_all_settings_takes_the_others_away() {
    let mut controller = cluster(&[1]);
    create(&mut controller, vec![topic_with("t", &[("retention.ms", "5"), ("segment.ms", "6")])]);
    let config = AlterableConfig { name: "segment.ms".into(), value: Some("7".into()) };
    let resource = AlterConfigsResource {
        resource_type: resource::TOPIC,
        resource_name: "t".into(),
        configs: vec![config],
    };
    let twice =
        AlterConfigsRequest { resources: vec![resource.clone(), resource.clone()], ..Default::default() };
    assert_eq!(controller.alter_configs(&twice).reply[0].error_code, ErrorCode::INVALID_REQUEST);
    let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = controller.alter_configs(&request);
    assert_eq!(answer.reply[0].error_code, ErrorCode::NONE);
    commit(&mut controller, answer.records);
    let configs = &controller.image().topic_named("t").unwrap().configs;
    assert_eq!(
        configs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(),
        [("segment.ms", "7")]
    );
}

#[test]
fn producer_ids_are_given_out_once() {
    let mut controller = cluster(&[1]);
    let epoch = controller.image().broker(1).unwrap().epoch;
    for expected in [0, 1000, 2000] {
        let answer = controller.allocate_producer_ids(1, epoch).unwrap();
        assert_eq!(answer.reply, expected);
        commit(&mut controller, answer.records);
    }
    let error = |broker, epoch| controller.allocate_producer_ids(broker, epoch).unwrap_err().error;
    assert_eq!(error(2, epoch), ErrorCode::BROKER_ID_NOT_REGISTERED);
    assert_eq!(error(1, epoch - 1), ErrorCode::STALE_BROKER_EPOCH);
}

#[test]
fn a_start_raises_the_leader_epochs_in_parts_and_moves_off_cores_that_are_gone() {
    let mut controller = cluster_of(&[registration(1, None, &[1, 1, 1]), registration(2, None, &[1])]);
    create(&mut controller, vec![topic("a", 6, 1), topic("b", 7, 2)]);
    let before = controller.image().clone();
    let again = controller.register_broker(&registration(1, None, &[1, 1]));
    assert!(again.reply > before.broker(1).unwrap().epoch);
    commit(&mut controller, again.records);
    let (mut after, mut rounds) = (None, 0);
    loop {
        let answer = controller.resume_leadership(1, after, 4);
        assert!(answer.records.len() <= 4);
        commit(&mut controller, answer.records);
        rounds += 1;
        after = answer.reply;
        if after.is_none() {
            break;
        }
    }
    assert!(rounds > 1);
    let mut held = 0;
    for (topic, number, partition) in controller.image().partitions_on(1) {
        let old = before.partition(topic.id, number).unwrap();
        let leads = i32::from(old.leader == 1);
        assert_eq!(partition.leader_epoch, old.leader_epoch + leads, "{} {number}", topic.name);
        assert!(partition.core_on(1).unwrap() < 2);
        assert_eq!(partition.revision, old.revision);
        held += 1;
    }
    assert!(held >= 10);
    let loads = [controller.image().load(1, 0).replicas, controller.image().load(1, 1).replicas];
    assert!(loads[0].abs_diff(loads[1]) <= 1, "{loads:?}");
}

#[test]
fn proposals_count_at_once_and_are_undone_together() {
    let mut controller = cluster(&[1]);
    let committed = controller.committed().clone();
    let mut chance = Chance::new(1);
    for name in ["a", "b"] {
        let request = CreateTopicsRequest { topics: vec![topic(name, 1, 1)], ..Default::default() };
        let answer = controller.create_topics(&request, &mut || chance.next());
        let offset = controller.image().version() + 1;
        controller.propose(answer.records, offset).unwrap().unwrap();
    }
    assert_eq!((controller.image().topic_count(), controller.in_flight()), (2, 2));
    assert_eq!(controller.committed().topic_count(), 0);
    controller.abandon();
    assert_eq!(**controller.image(), *committed);
    assert_eq!(controller.image().version(), committed.version());
}

#[test]
fn another_nodes_records_undo_what_was_proposed_in_their_place() {
    let mut controller = cluster(&[1]);
    let mut chance = Chance::new(1);
    let mut made = |name: &str| {
        let request = CreateTopicsRequest { topics: vec![topic(name, 1, 1)], ..Default::default() };
        controller.create_topics(&request, &mut || chance.next()).records
    };
    let (ours, theirs) = (made("ours"), made("theirs"));
    let offset = controller.image().version() + 1;
    controller.propose(ours, offset).unwrap();
    let image = controller.applied(offset, &theirs).unwrap().clone();
    assert!(image.topic_named("theirs").is_some() && image.topic_named("ours").is_none());
    assert!(controller.image().topic_named("ours").is_none());
    assert_eq!(controller.in_flight(), 0);
    assert_eq!(controller.propose(Vec::new(), offset + 9).unwrap(), None);
}

#[test]
fn records_that_contradict_the_image_are_refused_with_their_offset() {
    let mut controller = cluster(&[1]);
    create(&mut controller, vec![topic("t", 1, 1)]);
    let image = controller.image();
    let id = image.topic_named("t").unwrap().id;
    let good = PartitionRecord {
        partition_id: 1,
        topic_id: id,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        ..Default::default()
    };
    let bad: Vec<(MetadataRecord, &str)> = vec![
        (TopicRecord { name: "t".into(), topic_id: Uuid([8; 16]) }.into(), "the topic t exists"),
        (TopicRecord { name: "u".into(), topic_id: id }.into(), "belongs to the topic t"),
        (RemoveTopicRecord { topic_id: Uuid([8; 16]) }.into(), "no topic with the id"),
        (PartitionRecord { partition_id: 0, ..good.clone() }.into(), "where 1 is next"),
        (PartitionRecord { partition_id: 2, ..good.clone() }.into(), "where 1 is next"),
        (PartitionRecord { replicas: vec![], ..good.clone() }.into(), "no replicas"),
        (PartitionRecord { isr: vec![2], ..good.clone() }.into(), "broker 2 is in the ISR"),
        (PartitionRecord { leader: 2, ..good.clone() }.into(), "the leader 2"),
        (PartitionRecord { leader_epoch: -1, ..good.clone() }.into(), "leader epoch -1"),
        (PartitionRecord { cores: vec![0, 1], ..good.clone() }.into(), "2 owning cores"),
        (PartitionRecord { cores: vec![-1], ..good.clone() }.into(), "-1"),
        (
            PartitionChangeRecord { topic_id: id, partition_id: 3, ..Default::default() }.into(),
            "no partition 3",
        ),
        (
            ConfigRecord { resource_type: 2, resource_name: "u".into(), ..Default::default() }.into(),
            "no topic u",
        ),
        (RegisterBrokerRecord { broker_id: 1, broker_epoch: 0, ..Default::default() }.into(), "epoch"),
        (FenceBrokerRecord { id: 1, epoch: 99 }.into(), "not 99"),
        (UnregisterBrokerRecord { broker_id: 5, broker_epoch: 0 }.into(), "no broker 5"),
        (ProducerIdsRecord { next_producer_id: -5, ..Default::default() }.into(), "goes back"),
        (BeginTransactionRecord::default().into(), "newer"),
    ];
    for (record, part) in bad {
        let noop: MetadataRecord = NoOpRecord {}.into();
        let offset = image.version() + 10;
        let error = image.apply(&[noop, record.clone()], offset).unwrap_err();
        assert!(error.what.contains(part), "{error}");
        assert_eq!((error.offset, error.record), (offset + 1, record.name()));
    }
    assert!(image.apply(&[good.into()], image.version() + 1).is_ok());
}

#[test]
fn old_forms_of_fencing_count_and_a_broker_can_leave() {
    let mut controller = cluster(&[1, 2]);
    let epoch = controller.image().broker(2).unwrap().epoch;
    for (record, fenced) in [
        (MetadataRecord::from(FenceBrokerRecord { id: 2, epoch }), true),
        (UnfenceBrokerRecord { id: 2, epoch }.into(), false),
    ] {
        commit(&mut controller, vec![record]);
        assert_eq!(controller.image().broker(2).unwrap().fenced, fenced);
    }
    commit(&mut controller, vec![UnregisterBrokerRecord { broker_id: 2, broker_epoch: epoch }.into()]);
    assert_eq!(controller.image().brokers().count(), 1);
}
