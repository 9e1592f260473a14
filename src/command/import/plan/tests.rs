use super::*;
use crate::command::import::found::{Begun, FoundDir};
use crate::command::import::metadata::{Metadata, Unserved};
use crate::controller::Image;
use crate::log::checkpoint::MetaProperties;
use crate::wire::schema::*;

const DIR: Uuid = Uuid([7; 16]);
const TOPIC: Uuid = Uuid([1; 16]);

fn partition_record(partition_id: i32, replicas: &[i32]) -> MetadataRecord {
    PartitionRecord {
        partition_id,
        topic_id: TOPIC,
        replicas: replicas.to_vec(),
        isr: replicas.to_vec(),
        leader: 1,
        leader_epoch: 4,
        partition_epoch: 9,
        directories: vec![DIR; replicas.len()],
        ..Default::default()
    }
    .into()
}

fn feature(name: &str, feature_level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.into(), feature_level }.into()
}

/// A cluster of broker 1 with the topic t of two partitions.
fn found(more: &[MetadataRecord]) -> Found {
    let records = [
        feature("metadata.version", 25),
        feature("group.version", 1),
        RegisterBrokerRecord { broker_id: 1, broker_epoch: 5, ..Default::default() }.into(),
        TopicRecord { name: "t".into(), topic_id: TOPIC }.into(),
        partition_record(0, &[1]),
        partition_record(1, &[1]),
    ];
    let records = [&records[..], more].concat();
    let metadata = Metadata {
        image: Image::empty("c").apply(&records, 0).unwrap(),
        unserved: Unserved::default(),
        torn: None,
    };
    let dir = FoundDir {
        path: "/kafka".into(),
        identity: MetaProperties { cluster_id: "c".into(), node_id: 1, directory_id: DIR },
        clean: true,
        begun: Begun::No,
        recovery_points: Offsets::new(),
        starts: Offsets::new(),
        cleaned: Offsets::new(),
        partitions: vec![folder("t", 0), folder("t", 1)],
        others: Vec::new(),
    };
    Found { dirs: vec![dir], metadata_dir: 0, metadata }
}

fn folder(topic: &str, partition: i32) -> FoundPartition {
    let log = |base: i64| (format!("{base:020}.log"), 1000);
    FoundPartition {
        topic: topic.into(),
        partition,
        topic_id: Some(TOPIC),
        epoch: Some(3),
        bases: vec![10, 20, 30],
        files: vec![log(10), log(20), log(30)],
        ..Default::default()
    }
}

fn planned(found: &Found) -> Plan {
    plan(found, |_| DIR)
}

fn image(plan: &Plan) -> Image {
    Image::empty("c").apply(&plan.records, 0).unwrap()
}

#[track_caller]
fn assert_problem(found: &Found, text: &str) {
    let plan = planned(found);
    assert!(plan.problems.len() == 1 && plan.problems[0].contains(text), "{text}: {:?}", plan.problems);
}

#[test]
fn the_cluster_is_taken_over() {
    let set = ConfigRecord {
        resource_type: 2,
        resource_name: "t".into(),
        name: "retention.ms".into(),
        value: Some("77".into()),
    };
    let mut found = found(&[set.into()]);
    found.dirs[0].partitions[1].epoch = Some(12);
    let plan = planned(&found);
    assert_eq!(plan.problems, Vec::<String>::new());
    let image = image(&plan);
    let topic = image.topic_named("t").unwrap();
    assert_eq!((topic.id, topic.configs["retention.ms"].as_str()), (TOPIC, "77"));
    assert_eq!(image.features().keys().collect::<Vec<_>>(), ["group.version", "metadata.version"]);
    assert_eq!(image.brokers().count(), 0, "the broker registers itself");
    let epochs =
        |n: i32| (topic.partitions.get(&n).unwrap().leader_epoch, topic.partitions.get(&n).unwrap().leader);
    assert_eq!((epochs(0), epochs(1)), ((4, NO_LEADER), (12, NO_LEADER)), "above all that the log has seen");
    assert_eq!(topic.partitions.get(&0).unwrap().directories, [DIR]);
}

#[test]
fn new_producers_get_ids_that_nobody_has() {
    let given =
        |next_producer_id| ProducerIdsRecord { broker_id: 1, broker_epoch: 5, next_producer_id }.into();
    let mut found = found(&[given(3000)]);
    assert_eq!(image(&planned(&found)).next_producer_id(), 3000);
    found.dirs[0].partitions[0].producer_id = Some(2999);
    assert_eq!(image(&planned(&found)).next_producer_id(), 3000);
    found.dirs[0].partitions[1].producer_id = Some(1 << 40);
    assert_eq!(image(&planned(&found)).next_producer_id(), (1 << 40) + 1);
    found.dirs[0].partitions[1].producer_id = Some(i64::MAX);
    assert_problem(&found, "the last there is");
}

#[test]
fn checkpoints_go_to_the_partitions_folders() {
    let mut found = found(&[]);
    let at = |n: i32, offset: i64| (("t".to_owned(), n), offset);
    found.dirs[0].starts = [at(0, 15), at(1, 10)].into();
    found.dirs[0].cleaned = [at(0, 0), at(1, 30)].into();
    found.dirs[0].recovery_points = [at(0, 20), at(1, 21)].into();
    let works = planned(&found).partitions;
    assert_eq!((works[0].start.as_deref(), works[1].start.as_deref()), (Some(&b"0\n15\n"[..]), None));
    assert_eq!((works[0].cleaned.as_deref(), works[1].cleaned.as_deref()), (None, Some(&b"0\n30\n\n"[..])));
    assert!(works.iter().all(|work| work.doubtful.is_empty()), "it was stopped cleanly");
    found.dirs[0].clean = false;
    let doubtful: Vec<Vec<String>> = planned(&found)
        .partitions
        .iter()
        .map(|work| work.doubtful.iter().map(|(name, _)| name[18..20].to_owned()).collect())
        .collect();
    assert_eq!(doubtful, [["20"], ["20"]], "what is not flushed, but for the last");
}

#[test]
fn what_is_no_partitions_is_left_out() {
    let mut found = found(&[]);
    found.dirs[0].partitions.push(folder("gone", 0));
    found.dirs[0].partitions[1].topic_id = Some(Uuid([9; 16]));
    let plan = planned(&found);
    assert_eq!(plan.partitions.iter().map(|p| &p.name[..]).collect::<Vec<_>>(), ["t-0"]);
    assert!(plan.cautions.iter().any(|c| c.contains("/kafka/t-1, /kafka/gone-0")), "{:?}", plan.cautions);
    assert!(plan.cautions.iter().any(|c| c.contains("t-1 have no folder")), "{:?}", plan.cautions);
    found.dirs[0].partitions[1].topic_id = None;
    assert_eq!(planned(&found).partitions[1].topic_id, Some(TOPIC), "of before topics had ids");
}

#[test]
fn what_cannot_be_adopted_is_refused() {
    let other = RegisterBrokerRecord { broker_id: 2, broker_epoch: 6, ..Default::default() };
    assert_problem(&found(&[other.into()]), "node.id 2");
    assert_problem(&found(&[partition_record(2, &[1, 2])]), "t-2 have replicas on other brokers");
    let mut another_node = found(&[]);
    another_node.dirs[0].identity.node_id = 3;
    assert!(planned(&another_node).problems.iter().any(|p| p.contains("node 3 is no broker")));
    let mut one_missing = found(&[]);
    one_missing.dirs[0].identity.directory_id = Uuid([8; 16]);
    assert_problem(&one_missing, "none of --from");
    let mut tiered = found(&[]);
    let on = ConfigRecord {
        resource_type: 2,
        resource_name: "t".into(),
        name: "remote.storage.enable".into(),
        value: Some("true".into()),
    };
    tiered.metadata.image = tiered.metadata.image.apply(&[on.into()], 100).unwrap();
    assert_problem(&tiered, "tiered");
    let mut swap = found(&[]);
    swap.dirs[0].partitions[0].swaps = vec!["x.log.swap".into()];
    assert_problem(&swap, "cut short while it exchanged files");
    let mut twice = found(&[]);
    twice.dirs.push(FoundDir { path: "/other".into(), ..twice.dirs[0].clone() });
    assert!(planned(&twice).problems.iter().any(|p| p.contains("/other/t-0 is in /kafka too")));
    let mut old = found(&[]);
    old.dirs[0].partitions[0].old_format = Some(("x.log".into(), 1));
    assert_problem(&old, "format 1");
    assert_problem(&found(&[feature("metadata.version", 6)]), "older than Kafka 3.3");
}
