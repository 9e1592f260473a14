//! The image: what every core needs to know of the cluster, immutable and versioned.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::tree::Tree;
use crate::config::layers::{Layers, Overrides};
use crate::wire::schema::{BrokerEndpoint, BrokerFeature};
use crate::wire::uuid::Uuid;

/// The kinds of things that settings belong to, with Kafka's numbers.
pub mod resource {
    /// A topic.
    pub const TOPIC: i8 = 2;
    /// A broker, or all of them where the name is empty.
    pub const BROKER: i8 = 4;
    /// The log levels of a broker.
    pub const BROKER_LOGGER: i8 = 8;
    /// A subscription to clients' metrics.
    pub const CLIENT_METRICS: i8 = 16;
    /// A group.
    pub const GROUP: i8 = 32;
}

/// How many versions back an image remembers what changed.
const HISTORY: usize = 64;

/// A partition has no leader.
pub const NO_LEADER: i32 = -1;

/// The cluster's metadata after a record of the metadata log. Cheap to clone and to change: what did not change is
/// shared with the image before.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub(super) cluster_id: Arc<str>,
    pub(super) version: i64,
    pub(super) topics: Tree<Uuid, Arc<Topic>>,
    pub(super) names: Tree<Arc<str>, Uuid>,
    /// By [`super::names::collision_key`].
    pub(super) colliding: Tree<Arc<str>, Uuid>,
    pub(super) brokers: Tree<i32, Arc<Broker>>,
    pub(super) configs: Tree<(i8, Arc<str>), Arc<Overrides>>,
    pub(super) features: Arc<BTreeMap<String, i16>>,
    pub(super) next_producer_id: i64,
    pub(super) loads: Tree<(i32, usize), Load>,
    pub(super) directory_loads: Tree<Uuid, u32>,
    pub(super) partition_count: usize,
    pub(super) history: VecDeque<Arc<Changes>>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its id; a topic that is deleted and created again has another.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions, numbered from 0 without gaps.
    pub partitions: Tree<i32, Arc<Partition>>,
    /// The settings that were set for it.
    pub configs: Arc<Overrides>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub isr: Vec<i32>,
    /// Those of them that are to go.
    pub removing_replicas: Vec<i32>,
    /// Those of them that are new and not in sync yet.
    pub adding_replicas: Vec<i32>,
    /// The leader, or [`NO_LEADER`].
    pub leader: i32,
    /// Rises with every leadership.
    pub leader_epoch: i32,
    /// Rises with every change.
    pub partition_epoch: i32,
    /// Whether the leader was elected uncleanly and is recovering: 1, else 0.
    pub leader_recovery_state: i8,
    /// Replicas that left the ISR but may become leader.
    pub eligible_leader_replicas: Vec<i32>,
    /// The last of these that were known.
    pub last_known_elr: Vec<i32>,
    /// The log directory of each replica.
    pub directories: Vec<Uuid>,
    /// The core of each replica's broker that owns it.
    pub cores: Vec<usize>,
    /// The offset in the metadata log at which this partition was created: tells it from one of the same name that
    /// was there before.
    pub revision: i64,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Its `node.id`.
    pub id: i32,
    /// Rises with every registration.
    pub epoch: i64,
    /// By chance at every start.
    pub incarnation: Uuid,
    /// The addresses that clients are told.
    pub endpoints: Vec<BrokerEndpoint>,
    /// The levels of features that it supports.
    pub features: Vec<BrokerFeature>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it may not lead.
    pub fenced: bool,
    /// Whether it is about to stop in good order.
    pub in_controlled_shutdown: bool,
    /// Its log directories that work.
    pub log_dirs: Vec<Uuid>,
    /// How much of the partitions each of its cores takes against the others.
    pub core_weights: Vec<u32>,
}

impl Broker {
    /// The address of a listener.
    pub fn endpoint(&self, listener: &str) -> Option<&BrokerEndpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener)
    }
}

/// What a core of a broker carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Partitions that it leads.
    pub leaders: u32,
    /// Partitions that it holds, those it leads among them.
    pub replicas: u32,
}

/// What differs from the version before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A topic was created. Its partitions follow.
    TopicCreated(Uuid),
    /// A topic was deleted with all its partitions.
    TopicDeleted(Uuid),
    /// A topic's settings changed.
    TopicConfig(Uuid),
    /// A partition was created or its state changed.
    Partition(Uuid, i32),
    /// A broker registered, changed or was removed.
    Broker(i32),
    /// Settings of something other than a topic changed: its kind, see [`resource`], and its name.
    Config(i8, String),
    /// The level of a feature was finalized.
    Feature(String),
    /// Producer ids were given out.
    ProducerIds,
}

/// The changes from one version to the next.
#[derive(Debug)]
pub(super) struct Changes {
    pub before: i64,
    pub list: Vec<Change>,
}

impl Image {
    /// A cluster in which nothing happened yet.
    pub fn empty(cluster_id: &str) -> Image {
        Image { cluster_id: cluster_id.into(), version: -1, ..Image::default() }
    }

    /// Whether a broker's replica of a partition is there: the broker is not fenced, and its log directory works.
    pub fn is_online(&self, broker: i32, partition: &Partition) -> bool {
        let directory = partition.directory_on(broker).unwrap_or_default();
        self.broker(broker).is_some_and(|broker| !broker.fenced && broker.has_directory(directory))
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The offset of the last record that went into this image, -1 for none.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions there are in all topics together.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The topic of this id.
    pub fn topic(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// The topic of this name.
    pub fn topic_named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.names.get(name).and_then(|id| self.topics.get(id))
    }

    /// The topic whose name gives this [`super::names::collision_key`].
    pub fn topic_colliding(&self, key: &str) -> Option<&Arc<Topic>> {
        self.colliding.get(key).and_then(|id| self.topics.get(id))
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// The topics from this name on, in the order of their names.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.from(&name.into()).filter_map(|(_, id)| self.topics.get(id))
    }

    /// A partition, by its topic's id and its number.
    pub fn partition(&self, topic: Uuid, partition: i32) -> Option<&Arc<Partition>> {
        self.topics.get(&topic).and_then(|topic| topic.partitions.get(&partition))
    }

    /// The broker of this id.
    pub fn broker(&self, id: i32) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All brokers, in the order of their ids.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// The settings that were set for something other than a topic; see [`resource`] for the kinds.
    pub fn configs(&self, kind: i8, name: &str) -> Option<&Arc<Overrides>> {
        self.configs.get(&(kind, name.into()))
    }

    /// Everything other than a topic that settings were set for: its kind and its name.
    pub fn configured(&self) -> impl Iterator<Item = (i8, &str)> {
        self.configs.keys().map(|(kind, name)| (*kind, &**name))
    }

    /// A broker's settings: what was set at run time over what its file says.
    pub fn broker_layers(&self, broker: i32, file: &Layers) -> Layers {
        let set = |name: &str| self.configs(resource::BROKER, name).cloned().unwrap_or_default();
        Layers { dynamic: set(&broker.to_string()), dynamic_default: set(""), file: file.file.clone() }
    }

    /// The finalized levels of features, by name.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The first producer id that was not given out.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// What a core of a broker carries.
    pub fn load(&self, broker: i32, core: usize) -> Load {
        self.loads.get(&(broker, core)).copied().unwrap_or_default()
    }

    /// How many replicas lie in a log directory.
    pub fn directory_load(&self, directory: Uuid) -> u32 {
        self.directory_loads.get(&directory).copied().unwrap_or(0)
    }

    /// The partitions of which a broker holds a replica: topic, number, partition. Looks at all partitions.
    pub fn partitions_on(&self, broker: i32) -> impl Iterator<Item = (&Arc<Topic>, i32, &Arc<Partition>)> {
        self.topics.values().flat_map(move |topic| {
            let held = topic.partitions.iter().filter(move |(_, p)| p.replicas.contains(&broker));
            held.map(move |(number, partition)| (topic, *number, partition))
        })
    }

    /// What changed since an image of `version`, oldest first; none where that is too long ago: compare all then.
    pub fn changes_since(&self, version: i64) -> Option<impl Iterator<Item = &Change>> {
        let from = match version == self.version {
            true => self.history.len(),
            false => self.history.iter().position(|changes| changes.before == version)?,
        };
        Some(self.history.range(from..).flat_map(|changes| changes.list.iter()))
    }

    pub(super) fn remember(&mut self, changes: Changes) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Arc::new(changes));
    }
}

/// Equal if they say the same of the cluster, whatever their versions.
impl PartialEq for Image {
    fn eq(&self, other: &Image) -> bool {
        self.cluster_id == other.cluster_id
            && self.topics == other.topics
            && self.names == other.names
            && self.brokers == other.brokers
            && self.configs == other.configs
            && self.features == other.features
            && self.next_producer_id == other.next_producer_id
            && self.colliding == other.colliding
            && self.loads == other.loads
            && self.directory_loads == other.directory_loads
            && self.partition_count == other.partition_count
    }
}

impl Partition {
    /// The core that owns the replica of a broker; none where the broker holds no replica.
    pub fn core_on(&self, broker: i32) -> Option<usize> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        Some(self.core_of(at))
    }

    /// The log directory of the replica of a broker, reserved where that was never said; none where the broker holds
    /// no replica.
    pub fn directory_on(&self, broker: i32) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        Some(self.directory_of(at))
    }

    /// The log directory by the place in `replicas`.
    pub(super) fn directory_of(&self, at: usize) -> Uuid {
        self.directories.get(at).copied().unwrap_or(Uuid::ZERO)
    }

    /// The core of a broker that answers for this partition: that of its leader, or, while it has none, that of any
    /// replica, which says why it does not serve.
    pub fn answering_core(&self, broker: i32) -> Option<usize> {
        self.core_on(broker).filter(|_| self.leader == broker || self.leader == NO_LEADER)
    }

    /// The owning core by the place in `replicas`. What was written without cores belongs to the first.
    pub(super) fn core_of(&self, at: usize) -> usize {
        self.cores.get(at).copied().unwrap_or(0)
    }
}
