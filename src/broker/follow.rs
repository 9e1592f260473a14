//! A core's partitions follow the image: what the image has and the shard has not is opened, what has changed is
//! taken up, what is gone is deleted.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::cleaner::CleanerConfig;
use super::coordinator::topics::News;
use super::core::Core;
use super::dirs::Dirs;
use super::lifecycle::PartitionSpec;
use super::messages::{PartitionId, ShardRequest};
use super::open::Before;
use super::shard::Shard;
use super::verification;
use crate::config::topic::TimestampType;
use crate::config::{Layers, TopicConfig};
use crate::controller::image::resource;
use crate::controller::{Change, Image, Partition, Topic};
use crate::log::LogConfig;
use crate::log::compact::Compaction;
use crate::partition::AppendRules;
use crate::reactor::Class;
use crate::wire::uuid::Uuid;

/// How many partitions are compared without letting other tasks run.
const TURN: usize = 64;

/// Has one core's shard follow the image.
pub struct Follower {
    core: Rc<Core>,
    shard: Rc<Shard>,
    /// The image that the shard goes by.
    image: RefCell<Arc<Image>>,
}

impl Follower {
    /// For a core whose shard has no partitions yet.
    pub fn new(core: Rc<Core>, shard: Rc<Shard>) -> Follower {
        let image = RefCell::new(core.image());
        // The core leads back to its shard: neither must keep the other when the node is gone.
        let (asking, controller) = (Rc::downgrade(&core), core.settings.controller_core);
        let ask = move |command| {
            let core = asking.upgrade().expect("a core lives as long as its shard works");
            core.caller.call(controller, ShardRequest::Command(command))
        };
        shard.set_controller(Rc::new(ask));
        shard.transactions.set_core(Rc::downgrade(&core));
        shard.set_transactions(verification::asker(&core));
        Follower { core, shard, image }
    }

    /// Opens all partitions that are this core's by its image, at the start of the node.
    pub async fn open_all(&self, dirs: &Dirs, accept_loss: &[(String, i32)]) {
        let image = self.image.borrow().clone();
        let layers = self.layers(&image);
        self.take_up(&layers);
        self.shard.coordinate_by(&image, &News::unknown(&image));
        for topic in image.topics() {
            let mut config = None;
            for (number, partition) in topic.partitions.iter().filter(|(_, p)| self.is_mine(p)) {
                let config = config.get_or_insert_with(|| resolve(topic, &layers));
                let spec = self.spec(topic, *number, partition, config);
                let accepted = |(name, n): &(String, i32)| **name == *topic.name && n == number;
                let before = Before {
                    accept_loss: accept_loss.iter().any(accepted),
                    ..dirs.before(spec.directory, spec.id, &topic.name)
                };
                self.shard.open_partition(spec, before);
                if *number as usize % TURN == TURN - 1 {
                    self.core.reactor.yield_now().await;
                }
            }
            self.core.reactor.yield_now().await;
        }
        self.go_on_moving(&dirs.on_their_way);
    }

    /// Moves what was being moved when the node ended.
    fn go_on_moving(&self, on_their_way: &[(PartitionId, Uuid)]) {
        let mine = on_their_way.iter().filter(|(id, _)| self.shard.replica(*id).is_some());
        let mine: Vec<_> = mine.copied().collect();
        if mine.is_empty() {
            return;
        }
        let shard = self.shard.clone();
        self.core.reactor.spawn(Class::Background, async move {
            shard.all_opened().await;
            for (id, directory) in mine {
                // One that does not serve is not moved.
                let _ = shard.relocate(id, directory);
            }
        });
    }

    /// Goes by another image from now on. The APIs of this core do so at once.
    pub fn follow(&self, image: Arc<Image>) {
        let before = self.image.replace(image.clone());
        self.core.set_image(image.clone());
        let Some(changes) = image.changes_since(before.version()) else {
            self.shard.coordinate_by(&image, &News::unknown(&image));
            return self.compare(&before, &image);
        };
        let changes: Vec<&Change> = changes.collect();
        self.shard.coordinate_by(&image, &News::of(&before, &image, changes.iter().copied()));
        let layers = self.layers(&image);
        let (mut topics, mut partitions, mut all) = (BTreeSet::new(), BTreeSet::new(), false);
        for change in changes {
            match change {
                Change::TopicDeleted(id) | Change::TopicConfig(id) => drop(topics.insert(*id)),
                Change::Partition(topic, number) => drop(partitions.insert((*topic, *number))),
                // Topics without settings of their own have the broker's.
                Change::Config(kind, _) => all |= *kind == resource::BROKER,
                Change::TopicCreated(_) | Change::Broker(_) | Change::Feature(_) | Change::ProducerIds => {}
            }
        }
        if all {
            return self.compare(&before, &image);
        }
        self.tell_of_deleted(&before, &image, topics.iter());
        for id in &topics {
            let both = before.topic(*id).into_iter().chain(image.topic(*id));
            partitions.extend(both.flat_map(|topic| topic.partitions.keys().map(|number| (*id, *number))));
        }
        let mut known = Known::default();
        for (topic, partition) in partitions {
            let id = PartitionId { topic, partition };
            self.close_difference(&before, &image, &layers, id, &mut known);
        }
    }

    /// Goes by the broker's own settings that change at run time.
    fn take_up(&self, layers: &Layers) {
        let expiry = layers.value("producer.id.expiration.ms").and_then(|text| text.trim().parse().ok());
        let every = Duration::from_millis(self.core.config.producer_id_expiration_check_ms);
        if let Some(after_ms) = expiry {
            self.shard.expire_producers(after_ms, every);
        }
        self.shard.groups.tune(layers);
        self.shard.transactions.tune(layers);
        let cores = self.core.reactor.cores();
        self.shard.tune_cleaner(CleanerConfig::of(layers, cores));
        let moved = layers.value("replica.alter.log.dirs.io.max.bytes.per.second");
        if let Some(rate) = moved.and_then(|text| text.trim().parse::<f64>().ok()) {
            self.shard.pace_moves(rate / cores as f64);
        }
    }

    /// Compares everything.
    fn compare(&self, before: &Image, image: &Image) {
        let layers = self.layers(image);
        self.take_up(&layers);
        let known: Vec<Uuid> = before.topics().map(|topic| topic.id).collect();
        self.tell_of_deleted(before, image, known.iter());
        let both = before.topics().chain(image.topics());
        let ids: BTreeSet<_> = both
            .flat_map(|topic| topic.partitions.keys().map(|partition| (topic.id, *partition)))
            .map(|(topic, partition)| PartitionId { topic, partition })
            .collect();
        let mut known = Known::default();
        for id in ids {
            self.close_difference(before, image, &layers, id, &mut known);
        }
    }

    /// Tells the coordinators which of these topics are no more.
    fn tell_of_deleted<'a>(&self, before: &Image, image: &Image, ids: impl Iterator<Item = &'a Uuid>) {
        let gone = ids.filter(|id| image.topic(**id).is_none()).filter_map(|id| before.topic(*id));
        let names: BTreeSet<String> = gone.map(|topic| topic.name.to_string()).collect();
        if !names.is_empty() {
            self.shard.topics_deleted(&names);
        }
    }

    fn close_difference(
        &self,
        before: &Image,
        image: &Image,
        layers: &Layers,
        id: PartitionId,
        known: &mut Known,
    ) {
        let topic = image.topic(id.topic);
        let mine = topic.and_then(|topic| Some((topic, topic.partitions.get(&id.partition)?)));
        match mine.filter(|(_, partition)| self.is_mine(partition)) {
            Some((topic, partition)) => {
                let spec = self.spec(topic, id.partition, partition, known.config(topic, layers));
                match self.shard.replica(id) {
                    Some(_) => self.shard.update_partition(&spec),
                    None => self.shard.open_partition(spec, Before::default()),
                }
            }
            None if self.shard.replica(id).is_some() => {
                let config = before.topic(id.topic).map(|topic| resolve(topic, layers)).unwrap_or_default();
                self.shard.delete_partition(id, Duration::from_millis(config.file_delete_delay_ms));
            }
            None => {}
        }
    }

    fn layers(&self, image: &Image) -> Layers {
        image.broker_layers(self.core.settings.node_id, &self.core.config.layers)
    }

    fn spec(&self, topic: &Topic, number: i32, partition: &Partition, config: &TopicConfig) -> PartitionSpec {
        let id = PartitionId { topic: topic.id, partition: number };
        let limit = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        PartitionSpec {
            id,
            topic: Rc::from(&*topic.name),
            directory: partition.directory_on(self.core.settings.node_id).unwrap_or_default(),
            revision: partition.revision,
            leader_epoch: partition.leader_epoch,
            log: LogConfig {
                segment_bytes: config.segment_bytes.into(),
                segment_ms: i64::try_from(config.segment_age_ms(chance(id))).unwrap_or(i64::MAX),
                index_interval_bytes: config.index_interval_bytes.into(),
                segment_index_bytes: config.segment_index_bytes as usize,
                retention_ms: limit(config.retention_ms),
                retention_bytes: limit(config.retention_bytes),
                delete: config.cleanup_policy.delete,
                delete_delay_ms: config.file_delete_delay_ms,
                compaction: config.cleanup_policy.compact.then(|| compaction(config)),
            },
            rules: AppendRules {
                max_message_bytes: config.max_message_bytes as usize,
                log_append_time: config.message_timestamp_type == TimestampType::LogAppendTime,
                timestamp_before_max_ms: config.message_timestamp_before_max_ms,
                timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            },
        }
    }

    fn is_mine(&self, partition: &Partition) -> bool {
        partition.core_on(self.core.settings.node_id) == Some(self.core.reactor.core())
    }
}

/// Settings that were worked out, for the next partition that has the same.
#[derive(Default)]
struct Known {
    /// Of a topic.
    topic: Option<(Uuid, TopicConfig)>,
    /// Of all topics with so many replicas for which nothing is set.
    bare: Option<(usize, TopicConfig)>,
}

impl Known {
    fn config(&mut self, topic: &Topic, layers: &Layers) -> &TopicConfig {
        let replicas = replicas(topic);
        if topic.configs.is_empty() {
            self.bare = self.bare.take().filter(|(of, _)| *of == replicas);
            return &self.bare.get_or_insert_with(|| (replicas, resolve(topic, layers))).1;
        }
        self.topic = self.topic.take().filter(|(of, _)| *of == topic.id);
        &self.topic.get_or_insert_with(|| (topic.id, resolve(topic, layers))).1
    }
}

fn replicas(topic: &Topic) -> usize {
    topic.partitions.get(&0).map_or(1, |partition| partition.replicas.len())
}

fn resolve(topic: &Topic, layers: &Layers) -> TopicConfig {
    TopicConfig::resolve(&topic.configs, layers, replicas(topic))
}

fn compaction(config: &TopicConfig) -> Compaction {
    let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    Compaction {
        min_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_lag_ms: millis(config.min_compaction_lag_ms),
        max_lag_ms: millis(config.max_compaction_lag_ms),
        delete_retention_ms: millis(config.delete_retention_ms),
    }
}

/// What takes a partition's share of `segment.jitter.ms`: always the same, so that an image that changes something
/// else does not move it.
fn chance(id: PartitionId) -> u64 {
    let (half, _) = id.topic.0.split_at(8);
    let topic = u64::from_be_bytes(half.try_into().expect("half of sixteen bytes"));
    topic.wrapping_add(id.partition as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}
