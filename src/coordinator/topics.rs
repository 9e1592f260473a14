//! The topics of the cluster, as coordinators of groups need to know them.
//!
//! The shell gives a [`View`] when the coordinator begins and after each change. Groups of KIP-848 are assigned what
//! it says; before the first one came, their members are told that the coordinator is loading.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::names::Name;
use crate::wire::uuid::Uuid;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Name,
    /// How many partitions it has, numbered from 0.
    pub partitions: i32,
}

/// What topics there are, at one moment: it does not change.
pub trait Topics {
    /// The topic of this name.
    fn named(&self, name: &str) -> Option<TopicInfo>;
    /// The topic of this id.
    fn with_id(&self, id: Uuid) -> Option<TopicInfo>;
    /// The racks of the brokers that hold a partition; a broker without one adds nothing.
    fn racks(&self, topic: Uuid, partition: i32) -> BTreeSet<String>;
    /// At most so many names that come after this one, in the order of their bytes; from the first where there is
    /// none.
    fn names_after(&self, after: Option<&str>, most: usize) -> Vec<Name>;
}

/// The topics and which state of the metadata this is.
#[derive(Clone)]
pub struct View {
    /// Grows with each change.
    pub version: i64,
    /// The topics.
    pub topics: Arc<dyn Topics + Send + Sync>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({})", self.version)
    }
}

impl PartialEq for View {
    fn eq(&self, other: &View) -> bool {
        self.version == other.version && Arc::ptr_eq(&self.topics, &other.topics)
    }
}

/// What has changed since the view before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Anything may have.
    Unknown,
    /// Topics of these names.
    Topics {
        /// They were made, deleted, or have other partitions or racks.
        names: BTreeSet<String>,
        /// Whether some of them are new.
        added: bool,
    },
}

/// The newest view, and what was made of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    view: Option<View>,
    /// The view in which topics were new.
    pub added: i64,
    /// Of the topics that groups subscribe to.
    hashes: BTreeMap<String, u64>,
}

impl Known {
    /// Takes a newer view.
    pub fn set(&mut self, view: View, changed: &Changed) {
        let is_first = self.view.is_none();
        match changed {
            Changed::Topics { names, added } if !is_first => {
                self.hashes.retain(|name, _| !names.contains(name));
                if *added {
                    self.added = view.version;
                }
            }
            _ => {
                self.hashes.clear();
                self.added = view.version;
            }
        }
        self.view = Some(view);
    }

    /// The newest view, if there is one.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// A number that is another one when something about these topics is: their ids, how many partitions they have,
    /// the racks of those. Zero where none of them exists.
    pub fn hash<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> i64 {
        let Some(View { topics, .. }) = &self.view else { return 0 };
        let mut all = Fnv::new();
        let mut is_empty = true;
        for name in names {
            let hash = match self.hashes.get(name) {
                Some(hash) => *hash,
                None => {
                    let Some(topic) = topics.named(name) else { continue };
                    let hash = hash_of(&**topics, &topic);
                    self.hashes.insert(name.into(), hash);
                    hash
                }
            };
            is_empty = false;
            all.put(name.as_bytes());
            all.put(&hash.to_be_bytes());
        }
        if is_empty { 0 } else { all.0 as i64 }
    }
}

fn hash_of(topics: &dyn Topics, topic: &TopicInfo) -> u64 {
    let mut hash = Fnv::new();
    hash.put(&topic.id.0);
    hash.put(&topic.partitions.to_be_bytes());
    for partition in 0..topic.partitions {
        for rack in topics.racks(topic.id, partition) {
            hash.put(&partition.to_be_bytes());
            hash.put(rack.as_bytes());
        }
    }
    hash.0
}

/// FNV-1a: the number is kept in the log, so it must be the same in every build.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn put(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u32).to_be_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
