//! Brokers: registration, leadership at a start, blocks of producer ids.

use super::image::{Image, NO_LEADER, Partition};
use super::placement::{Placer, may_lead};
use super::{Answer, Controller, Refusal};
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// Producer ids that a broker is given at once.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// What a broker says of itself when it starts.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its `node.id`.
    pub id: i32,
    /// By chance at this start.
    pub incarnation: Uuid,
    /// The addresses that clients are told.
    pub endpoints: Vec<BrokerEndpoint>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its log directories.
    pub log_dirs: Vec<Uuid>,
    /// How much of the partitions each of its cores takes against the others.
    pub core_weights: Vec<u32>,
    /// Whether it may not lead yet.
    pub fenced: bool,
}

/// A partition, for going through all of them in parts.
pub type Position = (Uuid, i32);

impl Controller {
    /// A broker starts: its epoch in the cluster.
    pub fn register_broker(&self, broker: &Registration) -> Answer<i64> {
        let before = self.image().broker(broker.id).map_or(-1, |before| before.epoch);
        // Kafka takes the offset of the record; what matters is that it rises.
        let epoch = (self.image().version() + 1).max(before + 1);
        let features = super::features::supported().map(|f| BrokerFeature {
            name: f.name.to_owned(),
            min_supported_version: f.min,
            max_supported_version: f.max,
        });
        let record = RegisterBrokerRecord {
            broker_id: broker.id,
            is_migrating_zk_broker: false,
            incarnation_id: broker.incarnation,
            broker_epoch: epoch,
            end_points: broker.endpoints.clone(),
            features: features.collect(),
            rack: broker.rack.clone(),
            fenced: broker.fenced,
            in_controlled_shutdown: false,
            log_dirs: broker.log_dirs.clone(),
            core_weights: broker.core_weights.iter().map(|weight| *weight as i32).collect(),
        };
        Answer { reply: epoch, records: vec![record.into()] }
    }

    /// A broker that has started takes its partitions up again: each that it leads, or that has no leader and may
    /// have it, gets a new leader epoch; each whose core is gone gets another one. At most `limit` records at a
    /// time, for the partitions behind `after`; the reply is where to go on, none at the end.
    ///
    /// The records count only after the broker's own registration.
    pub fn resume_leadership(
        &self,
        broker: i32,
        after: Option<Position>,
        limit: usize,
    ) -> Answer<Option<Position>> {
        let image = self.image();
        let mut placer = Placer::new(image, &self.full);
        let mut records = Vec::new();
        for (topic, number, partition) in partitions_after(image, after) {
            let Some(at) = partition.replicas.iter().position(|replica| *replica == broker) else { continue };
            if let Some(record) = resume(image, &mut placer, broker, at, partition) {
                let record = PartitionChangeRecord { topic_id: topic, partition_id: number, ..record };
                records.push(record.into());
            }
            if records.len() >= limit {
                return Answer { reply: Some((topic, number)), records };
            }
        }
        Answer { reply: None, records }
    }

    /// A block of producer ids for a broker: the first id of [`PRODUCER_ID_BLOCK`].
    pub fn allocate_producer_ids(&self, broker: i32, epoch: i64) -> Result<Answer<i64>, Refusal> {
        let registered = self.image().broker(broker).ok_or_else(|| {
            Refusal::new(ErrorCode::BROKER_ID_NOT_REGISTERED, format!("broker {broker} is not registered"))
        })?;
        if registered.epoch != epoch {
            let what = format!("broker {broker} has the epoch {}, not {epoch}", registered.epoch);
            return Err(Refusal::new(ErrorCode::STALE_BROKER_EPOCH, what));
        }
        let first = self.image().next_producer_id();
        let Some(next_producer_id) = first.checked_add(PRODUCER_ID_BLOCK) else {
            return Err(Refusal::new(
                ErrorCode::UNKNOWN_SERVER_ERROR,
                "all producer ids are given out".to_owned(),
            ));
        };
        let record = ProducerIdsRecord { broker_id: broker, broker_epoch: epoch, next_producer_id };
        Ok(Answer { reply: first, records: vec![record.into()] })
    }

    /// A broker may lead from now on, or no more. Leadership itself is moved by other records.
    pub fn fence_broker(&self, broker: i32, fenced: bool) -> Vec<MetadataRecord> {
        match self.image().broker(broker) {
            Some(registered) if registered.fenced != fenced => vec![
                BrokerRegistrationChangeRecord {
                    broker_id: broker,
                    broker_epoch: registered.epoch,
                    fenced: if fenced { 1 } else { -1 },
                    ..Default::default()
                }
                .into(),
            ],
            _ => Vec::new(),
        }
    }
}

pub(super) fn partitions_after(
    image: &Image,
    after: Option<Position>,
) -> impl Iterator<Item = (Uuid, i32, &Partition)> {
    let (topic, number) = after.unwrap_or((Uuid::ZERO, -1));
    image.topics.from(&topic).flat_map(move |(id, t)| {
        let from = if *id == topic { number + 1 } else { 0 };
        t.partitions.from(&from).map(move |(number, partition)| (*id, *number, &**partition))
    })
}

/// What a starting broker changes of a partition of which it holds the replica at `at`.
fn resume(
    image: &Image,
    placer: &mut Placer,
    broker: i32,
    at: usize,
    partition: &Partition,
) -> Option<PartitionChangeRecord> {
    let mut change = PartitionChangeRecord::default();
    let registered = image.broker(broker)?;
    let weight = |core: usize| registered.core_weights.get(core).copied().unwrap_or(0);
    let leads = registered.has_directory(partition.directory_of(at))
        && (partition.leader == broker
            || partition.leader == NO_LEADER && partition.isr.contains(&broker) && may_lead(registered));
    let leaves = !leads && partition.leader == broker;
    if leads {
        change.leader = broker;
    } else if leaves {
        change.leader = NO_LEADER;
    }
    if weight(partition.core_of(at)) == 0 && registered.core_weights.iter().any(|weight| *weight > 0) {
        placer.begin_topic(std::iter::empty());
        let mut cores: Vec<usize> = (0..partition.replicas.len()).map(|at| partition.core_of(at)).collect();
        cores[at] = placer.core(broker, leads);
        change.cores = Some(cores.into_iter().map(|core| core as i32).collect());
    }
    (leads || leaves || change.cores.is_some()).then_some(change)
}
