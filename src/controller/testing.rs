//! What the tests of this room share.

use std::sync::Arc;

use super::brokers::Registration;
use super::{Controller, Image};
use crate::config::BrokerConfig;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// Numbers from a seed.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// A broker's registration, with one log directory of its own.
pub fn registration(id: i32, rack: Option<&str>, core_weights: &[u32]) -> Registration {
    let mut directory = [7; 16];
    directory[..4].copy_from_slice(&id.to_be_bytes());
    Registration {
        id,
        incarnation: Uuid::from_random([id as u8; 16]).unwrap(),
        endpoints: vec![BrokerEndpoint {
            name: "PLAINTEXT".into(),
            host: "h".into(),
            port: 9092,
            ..Default::default()
        }],
        rack: rack.map(str::to_owned),
        log_dirs: vec![Uuid(directory)],
        core_weights: core_weights.to_vec(),
        fenced: false,
    }
}

/// A controller that knows these brokers: each two cores.
pub fn cluster(brokers: &[i32]) -> Controller {
    let brokers: Vec<Registration> = brokers.iter().map(|id| registration(*id, None, &[1, 1])).collect();
    cluster_of(&brokers)
}

pub fn cluster_of(brokers: &[Registration]) -> Controller {
    let mut controller = Controller::new(&BrokerConfig::defaults(), Arc::new(Image::empty("cluster")));
    for broker in brokers {
        let records = controller.register_broker(broker).records;
        commit(&mut controller, records);
    }
    controller
}

/// Proposes records at once behind the image and commits them.
pub fn commit(controller: &mut Controller, records: Vec<MetadataRecord>) {
    let offset = controller.image().version() + 1;
    if let Some(proposal) = controller.propose(records, offset).unwrap() {
        controller.applied(proposal.offset, &proposal.records).unwrap();
    }
}

/// A topic for a request, with -1 for what is not said.
pub fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    }
}

/// A topic with its settings.
pub fn topic_with(name: &str, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    CreatableTopic { configs: configs.iter().map(config).collect(), ..topic(name, 1, 1) }
}

/// Creates topics and commits; the results.
pub fn create(controller: &mut Controller, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    let mut chance = Chance::new(controller.image().version() as u64);
    let request = CreateTopicsRequest { topics, ..Default::default() };
    let answer = controller.create_topics(&request, &mut || chance.next());
    commit(controller, answer.records);
    answer.reply
}
