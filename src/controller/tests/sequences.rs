//! Random commands from seeds, and what must hold after each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::controller::image::{Load, NO_LEADER, resource};
use crate::controller::testing::*;
use crate::controller::{Change, Controller, Image, features, names};
use crate::wire::codec::{Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// What must hold of every image by itself: the indexes agree with what they index.
fn consistent(image: &Image) {
    let mut loads: BTreeMap<(i32, usize), Load> = BTreeMap::new();
    let (mut partitions, mut topics, mut keys) = (0, 0, BTreeSet::new());
    let mut revisions = BTreeSet::new();
    let mut directories: BTreeMap<Uuid, u32> = BTreeMap::new();
    for topic in image.topics() {
        topics += 1;
        assert_eq!(image.topic(topic.id).unwrap().name, topic.name);
        assert!(keys.insert(names::collision_key(&topic.name)), "{} collides", topic.name);
        for (at, (number, p)) in topic.partitions.iter().enumerate() {
            partitions += 1;
            assert_eq!(at as i32, *number);
            assert!(revisions.insert(p.revision), "two partitions of revision {}", p.revision);
            assert!(p.isr.iter().all(|id| p.replicas.contains(id)));
            assert!(p.leader == NO_LEADER || p.isr.contains(&p.leader));
            assert_eq!(p.cores.len(), p.replicas.len());
            for ((broker, core), directory) in p.replicas.iter().zip(&p.cores).zip(&p.directories) {
                let load = loads.entry((*broker, *core)).or_default();
                load.replicas += 1;
                load.leaders += u32::from(*broker == p.leader);
                *directories.entry(*directory).or_default() += 1;
            }
        }
    }
    assert_eq!((topics, partitions), (image.topic_count(), image.partition_count()));
    assert_eq!(image.loads.iter().map(|(k, v)| (*k, *v)).collect::<BTreeMap<_, _>>(), loads);
    assert_eq!(image.directory_loads.iter().map(|(k, v)| (*k, *v)).collect::<BTreeMap<_, _>>(), directories);
}

/// What must hold from one image to a later one.
fn only_forward(before: &Image, after: &Image) {
    assert!(after.version() >= before.version());
    assert!(after.next_producer_id() >= before.next_producer_id());
    for topic in before.topics() {
        let Some(later) = after.topic(topic.id) else { continue };
        assert!(later.partitions.len() >= topic.partitions.len(), "{} lost partitions", topic.name);
        for (number, p) in topic.partitions.iter() {
            let later = later.partitions.get(number).unwrap();
            assert!(later.leader_epoch >= p.leader_epoch && later.partition_epoch >= p.partition_epoch);
            assert!(
                later.leader_epoch > p.leader_epoch || later.leader == p.leader,
                "a leader without an epoch"
            );
            assert!(
                later.leader_epoch > p.leader_epoch || later.core_on(later.leader) == p.core_on(p.leader),
                "the leader moved to another core without an epoch"
            );
            assert_eq!(later.revision, p.revision);
        }
    }
    for broker in before.brokers() {
        assert!(after.broker(broker.id).is_none_or(|later| later.epoch >= broker.epoch));
    }
}

/// Everything that differs between two images is in the list of changes.
fn changes_are_complete(before: &Image, after: &Image) {
    let Some(changes) = after.changes_since(before.version()) else { return };
    let changes: Vec<&Change> = changes.collect();
    let told = |change: Change| assert!(changes.contains(&&change), "{change:?} is not in {changes:?}");
    for topic in before.topics().filter(|topic| after.topic(topic.id).is_none()) {
        told(Change::TopicDeleted(topic.id));
    }
    for topic in after.topics() {
        let old = before.topic(topic.id);
        if old.is_none() {
            told(Change::TopicCreated(topic.id));
        }
        if old.is_some_and(|old| old.configs != topic.configs) {
            told(Change::TopicConfig(topic.id));
        }
        for (number, p) in topic.partitions.iter() {
            if old.and_then(|old| old.partitions.get(number)) != Some(p) {
                told(Change::Partition(topic.id, *number));
            }
        }
    }
    for broker in after.brokers().filter(|broker| before.broker(broker.id) != Some(broker)) {
        told(Change::Broker(broker.id));
    }
    for (kind, name) in after.configured().filter(|(k, n)| before.configs(*k, n) != after.configs(*k, n)) {
        told(Change::Config(kind, name.to_owned()));
    }
}

/// Records survive their way through bytes, and the image its way through records.
fn survives(image: &Image, log: &[(i64, Vec<MetadataRecord>)]) {
    let again = |record: MetadataRecord| {
        let mut w = Writer::new();
        record.encode(&mut w).unwrap();
        MetadataRecord::decode(&mut Reader::new(w.into_bytes().to_vec().into())).unwrap()
    };
    let loaded = Image::from_records("cluster", image.records().map(again), image.version()).unwrap();
    assert_eq!(loaded, *image);
    assert_eq!(loaded.version(), image.version());
    consistent(&loaded);
    let mut replayed = Image::empty("cluster");
    for (offset, records) in log {
        for (at, record) in records.iter().enumerate() {
            replayed = replayed.apply(&[again(record.clone())], offset + at as i64).unwrap();
        }
    }
    assert_eq!(replayed, *image);
    assert_eq!(replayed.version(), image.version());
}

struct Run {
    chance: Chance,
    controller: Controller,
    /// What was committed.
    log: Vec<(i64, Vec<MetadataRecord>)>,
    /// What was proposed and is not committed.
    open: Vec<(i64, Vec<MetadataRecord>)>,
    ids: BTreeSet<Uuid>,
}

impl Run {
    fn name(&mut self) -> String {
        let names = ["a", "b", "c", "d.e", "d_e", "f", "g", "h"];
        (*self.chance.pick(&names)).to_owned()
    }

    fn command(&mut self) -> Vec<MetadataRecord> {
        let name = self.name();
        match self.chance.below(12) {
            0..=2 => {
                let topics = (0..=self.chance.below(2)).map(|_| {
                    let replicas = self.chance.below(5) as i16 - 1;
                    topic(&self.name(), self.chance.below(7) as i32 - 1, replicas)
                });
                let request = CreateTopicsRequest { topics: topics.collect(), ..Default::default() };
                let chance = &mut self.chance;
                self.controller.create_topics(&request, &mut || chance.next()).records
            }
            3 => {
                let request = DeleteTopicsRequest { topic_names: vec![name], ..Default::default() };
                self.controller.delete_topics(&request).records
            }
            4..=5 => {
                let count = self.chance.below(10) as i32;
                let wanted = CreatePartitionsTopic { name, count, assignments: None };
                let request = CreatePartitionsRequest { topics: vec![wanted], ..Default::default() };
                self.controller.create_partitions(&request).records
            }
            6..=7 => self.settings(name),
            8 => {
                let id = self.chance.below(4) as i32;
                let cores = 1 + self.chance.below(3) as usize;
                let weights: Vec<u32> = (0..cores).map(|_| 1 + self.chance.below(3) as u32).collect();
                let rack = (*self.chance.pick(&[None, Some("x"), Some("y")])).to_owned();
                self.controller.register_broker(&registration(id, rack, &weights)).records
            }
            9 => {
                let broker = self.chance.below(4) as i32;
                let limit = 1 + self.chance.below(20) as usize;
                self.controller.resume_leadership(broker, None, limit).records
            }
            10 => {
                let (broker, fenced) = (self.chance.below(4) as i32, self.chance.one_in(2));
                self.controller.fence_broker(broker, fenced)
            }
            _ => {
                let broker = self.chance.below(4) as i32;
                let epoch = self.controller.image().broker(broker).map_or(0, |b| b.epoch);
                let before = self.controller.image().next_producer_id();
                match self.controller.allocate_producer_ids(broker, epoch) {
                    Ok(answer) => {
                        assert_eq!(answer.reply, before);
                        answer.records
                    }
                    Err(refusal) => {
                        assert_eq!(refusal.error, ErrorCode::BROKER_ID_NOT_REGISTERED);
                        Vec::new()
                    }
                }
            }
        }
    }

    fn settings(&mut self, topic: String) -> Vec<MetadataRecord> {
        let broker = self.chance.below(4).to_string();
        let targets = [
            (resource::TOPIC, topic, ["retention.ms", "segment.bytes", "cleanup.policy"]),
            (resource::BROKER, broker, ["log.retention.ms", "message.max.bytes", "log.cleanup.policy"]),
            (
                resource::BROKER,
                String::new(),
                ["log.retention.ms", "message.max.bytes", "log.cleanup.policy"],
            ),
        ];
        let (kind, name, settings) = self.chance.pick(&targets).clone();
        let config = IncrementalAlterableConfig {
            name: (*self.chance.pick(&settings)).to_owned(),
            config_operation: self.chance.below(5) as i8,
            value: Some((*self.chance.pick(&["5000000", "compact", "delete", "x"])).to_owned()),
        };
        let resource = IncrementalAlterConfigsResource {
            resource_type: kind,
            resource_name: name,
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        self.controller.incremental_alter_configs(&request).records
    }

    fn step(&mut self) {
        let before = self.controller.image().clone();
        let records = self.command();
        let offset = before.version() + 1 + self.chance.below(2) as i64;
        if let Some(proposal) = self.controller.propose(records, offset).unwrap() {
            self.open.push((offset, proposal.records));
        }
        let after = self.controller.image().clone();
        consistent(&after);
        only_forward(&before, &after);
        changes_are_complete(&before, &after);
        for topic in after.topics().filter(|topic| before.topic(topic.id).is_none()) {
            assert!(self.ids.insert(topic.id), "a deleted topic's id came back");
        }
        match self.chance.below(20) {
            0 => {
                self.controller.abandon();
                self.open.clear();
                assert_eq!(self.controller.image(), self.controller.committed());
            }
            1..=9 if !self.open.is_empty() => {
                let (offset, records) = self.open.remove(0);
                let old = self.controller.committed().clone();
                self.controller.applied(offset, &records).unwrap();
                only_forward(&old, self.controller.committed());
                self.log.push((offset, records));
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_is_commanded_the_image_holds_together_and_can_be_made_again() {
    for seed in 0..60 {
        let controller = cluster(&[1, 2]);
        let bootstrap = features::finalize(controller.image());
        let mut run = Run {
            chance: Chance::new(seed),
            log: Vec::new(),
            open: Vec::new(),
            ids: BTreeSet::new(),
            controller: Controller::new(
                &crate::config::BrokerConfig::defaults(),
                Arc::new(Image::empty("cluster")),
            ),
        };
        let mut first = bootstrap;
        for id in [1, 2] {
            first.extend(run.controller.register_broker(&registration(id, None, &[1, 1])).records);
        }
        run.controller.propose(first.clone(), 0).unwrap();
        run.controller.applied(0, &first).unwrap();
        run.log.push((0, first));
        for _ in 0..150 {
            run.step();
        }
        survives(run.controller.committed(), &run.log);
        // A follower that reads the log comes to the same image.
        let mut follower =
            Controller::new(&crate::config::BrokerConfig::defaults(), Arc::new(Image::empty("cluster")));
        for (offset, records) in &run.log {
            follower.applied(*offset, records).unwrap();
        }
        assert_eq!(follower.committed(), run.controller.committed(), "seed {seed}");
    }
}

#[test]
fn the_same_commands_give_the_same_records() {
    let records = |seed| {
        let mut controller = cluster(&[1, 2, 3]);
        let mut chance = Chance::new(seed);
        let topics = vec![topic("a", 9, 2), topic("b", 4, 3)];
        let request = CreateTopicsRequest { topics, ..Default::default() };
        let answer = controller.create_topics(&request, &mut || chance.next());
        commit(&mut controller, answer.records.clone());
        answer.records
    };
    assert_eq!(records(1), records(1));
    assert_ne!(records(1), records(2), "ids come from chance");
}

#[test]
fn changes_are_remembered_for_a_while() {
    let mut controller = cluster(&[1]);
    let old = controller.image().version();
    create(&mut controller, vec![topic("a", 2, 1)]);
    let image = controller.image().clone();
    let id = image.topic_named("a").unwrap().id;
    let changes: Vec<Change> = image.changes_since(old).unwrap().cloned().collect();
    assert_eq!(changes, [Change::TopicCreated(id), Change::Partition(id, 0), Change::Partition(id, 1)]);
    assert_eq!(image.changes_since(image.version()).unwrap().count(), 0);
    for i in 0..100 {
        create(&mut controller, vec![topic(&format!("t{i}"), 1, 1)]);
    }
    assert!(controller.image().changes_since(image.version()).is_none());
}
