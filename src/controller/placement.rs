//! Where partitions go: which brokers, which core of each, which of its log directories.
//!
//! Evenly first within the topic, then over all topics of a broker; leaders apart from replicas, because they carry
//! more. Nothing here is left to chance: the same image gives the same placement.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::image::{Broker, Image, Load, Partition};
use crate::wire::uuid::Uuid;

/// A partition's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Its brokers, the first to lead.
    pub replicas: Vec<i32>,
    /// The owning core on each.
    pub cores: Vec<usize>,
    /// The log directory on each.
    pub directories: Vec<Uuid>,
}

/// Finds places, and remembers what it gave out, so that the partitions of one request spread as well.
pub struct Placer<'a> {
    image: &'a Image,
    /// Log directories without room.
    full: &'a BTreeSet<Uuid>,
    brokers: Vec<&'a Arc<Broker>>,
    cores: BTreeMap<(i32, usize), Load>,
    directories: BTreeMap<Uuid, u32>,
    /// What the topic at hand has where.
    topic: BTreeMap<(i32, usize), Load>,
}

/// How full something is for its size, compared without rounding.
#[derive(Clone, Copy, Debug)]
struct Fill {
    /// With the one that is to be placed.
    count: u64,
    size: u64,
}

impl Ord for Fill {
    fn cmp(&self, other: &Fill) -> Ordering {
        (self.count * other.size).cmp(&(other.count * self.size))
    }
}

impl PartialOrd for Fill {
    fn partial_cmp(&self, other: &Fill) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fill {
    fn eq(&self, other: &Fill) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fill {}

impl<'a> Placer<'a> {
    /// For the brokers of an image. Log directories that are `full` are passed over, where a broker has others.
    pub fn new(image: &'a Image, full: &'a BTreeSet<Uuid>) -> Placer<'a> {
        Placer {
            image,
            full,
            brokers: image.brokers().collect(),
            cores: BTreeMap::new(),
            directories: BTreeMap::new(),
            topic: BTreeMap::new(),
        }
    }

    /// Turns to a topic that has these partitions already.
    pub fn begin_topic<'p>(&mut self, partitions: impl Iterator<Item = &'p Arc<Partition>>) {
        self.topic.clear();
        for partition in partitions {
            for (at, broker) in partition.replicas.iter().enumerate() {
                add(self.topic.entry((*broker, partition.core_of(at))).or_default(), at == 0);
            }
        }
    }

    /// A place for one partition with this many replicas, which is at most the number of brokers. None where no
    /// broker may lead.
    pub fn place(&mut self, replicas: usize) -> Option<Placed> {
        let mut chosen: Vec<&'a Arc<Broker>> = Vec::with_capacity(replicas);
        let leader = *self.brokers.iter().filter(|b| may_lead(b)).min_by_key(|b| self.broker_key(b, &[]))?;
        chosen.push(leader);
        while chosen.len() < replicas {
            let free = self.brokers.iter().filter(|b| !chosen.iter().any(|c| c.id == b.id));
            let next = *free.min_by_key(|b| self.broker_key(b, &chosen))?;
            chosen.push(next);
        }
        Some(self.place_on(&chosen.iter().map(|b| b.id).collect::<Vec<_>>()))
    }

    /// The cores and directories for a partition on these brokers, the first to lead.
    pub fn place_on(&mut self, replicas: &[i32]) -> Placed {
        let mut placed = Placed { replicas: replicas.to_vec(), ..Placed::default() };
        for (at, broker) in replicas.iter().enumerate() {
            let core = self.core(*broker, at == 0);
            placed.cores.push(core);
            placed.directories.push(self.directory(*broker));
        }
        placed
    }

    /// A core of a broker for one more replica.
    pub fn core(&mut self, broker: i32, leads: bool) -> usize {
        let weights = self.image.broker(broker).map(|b| &b.core_weights[..]).unwrap_or_default();
        let usable = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
        let core = usable
            .min_by_key(|(core, weight)| {
                let size = u64::from(**weight);
                let fill = |load: Load, leads: bool| Fill {
                    count: u64::from(if leads { load.leaders } else { load.replicas }) + 1,
                    size,
                };
                let (topic, all) = (self.topic_load(broker, *core), self.load(broker, *core));
                (fill(topic, leads), fill(all, leads), fill(topic, !leads), fill(all, !leads), *core)
            })
            .map_or(0, |(core, _)| core);
        let load = self.load(broker, core);
        add(self.cores.entry((broker, core)).or_insert(load), leads);
        add(self.topic.entry((broker, core)).or_default(), leads);
        core
    }

    fn directory(&mut self, broker: i32) -> Uuid {
        let directories = self.image.broker(broker).map(|b| &b.log_dirs[..]).unwrap_or_default();
        let carries = |dir: &Uuid| {
            self.directories.get(dir).copied().unwrap_or_else(|| self.image.directory_load(*dir))
        };
        let key = |dir: &Uuid| (self.full.contains(dir), carries(dir), *dir);
        let Some(least) = directories.iter().copied().min_by_key(key) else {
            // The broker says later where it put the replica.
            return Uuid::ONE;
        };
        let carried = carries(&least);
        self.directories.insert(least, carried + 1);
        least
    }

    /// Brokers that may lead first, then racks that the partition has fewest replicas in, then the emptiest.
    fn broker_key(&self, broker: &Broker, chosen: &[&Arc<Broker>]) -> (bool, usize, [Fill; 4], i32) {
        let same_rack = chosen.iter().filter(|c| c.rack.is_some() && c.rack == broker.rack).count();
        let size = u64::from(broker.core_weights.iter().sum::<u32>()).max(1);
        let cores = 0..broker.core_weights.len().max(1);
        let sum = |of: &dyn Fn(usize) -> Load| {
            cores.clone().map(of).fold((0, 0), |(leaders, replicas), load| {
                (leaders + u64::from(load.leaders), replicas + u64::from(load.replicas))
            })
        };
        let (topic_leaders, topic_replicas) = sum(&|core| self.topic_load(broker.id, core));
        let (leaders, replicas) = sum(&|core| self.load(broker.id, core));
        let counts = match chosen.is_empty() {
            true => [topic_leaders, leaders, topic_replicas, replicas],
            false => [topic_replicas, replicas, topic_leaders, leaders],
        };
        (!may_lead(broker), same_rack, counts.map(|count| Fill { count: count + 1, size }), broker.id)
    }

    fn load(&self, broker: i32, core: usize) -> Load {
        self.cores.get(&(broker, core)).copied().unwrap_or_else(|| self.image.load(broker, core))
    }

    fn topic_load(&self, broker: i32, core: usize) -> Load {
        self.topic.get(&(broker, core)).copied().unwrap_or_default()
    }
}

fn add(load: &mut Load, leads: bool) {
    load.leaders += u32::from(leads);
    load.replicas += 1;
}

/// Whether a broker may become leader.
pub fn may_lead(broker: &Broker) -> bool {
    !broker.fenced && !broker.in_controlled_shutdown
}

#[cfg(test)]
mod tests;
