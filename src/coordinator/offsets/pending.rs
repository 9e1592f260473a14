//! The offsets of open transactions: they count when their transaction is committed, and are dropped when not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::coordinator::names::Name;
use crate::wire::schema::OffsetCommitValue;

/// A partition of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The group.
    pub group: Name,
    /// The topic.
    pub topic: Name,
    /// The partition.
    pub partition: i32,
}

/// An offset that a transaction is to commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// What it will be.
    pub value: OffsetCommitValue,
    /// Its place among all pending offsets, in the order of the log.
    pub order: u64,
    /// A later record has committed an offset of the same partition: this one is not to overwrite it. The log's
    /// compaction keeps the later record only, so that a replay of what it left must come to the same.
    pub superseded: bool,
}

/// All pending offsets of a coordinator.
#[derive(Clone, Debug, Default)]
pub struct PendingOffsets {
    spots: BTreeMap<Spot, BTreeMap<i64, Pending>>,
    producers: BTreeMap<i64, BTreeSet<Spot>>,
    order: u64,
}

impl PendingOffsets {
    /// A record of an open transaction; gives the one of the same transaction that it replaces.
    pub fn put(&mut self, producer: i64, spot: &Spot, value: OffsetCommitValue) -> Option<Pending> {
        self.order += 1;
        self.restore(producer, spot, Pending { value, order: self.order, superseded: false })
    }

    /// Puts one back as it was.
    pub fn restore(&mut self, producer: i64, spot: &Spot, pending: Pending) -> Option<Pending> {
        self.producers.entry(producer).or_default().insert(spot.clone());
        self.spots.entry(spot.clone()).or_default().insert(producer, pending)
    }

    /// Takes one out.
    pub fn remove(&mut self, producer: i64, spot: &Spot) -> Option<Pending> {
        let at = self.spots.get_mut(spot)?;
        let pending = at.remove(&producer)?;
        if at.is_empty() {
            self.spots.remove(spot);
        }
        let spots = self.producers.get_mut(&producer).expect("each pending offset is known by its producer");
        spots.remove(spot);
        if spots.is_empty() {
            self.producers.remove(&producer);
        }
        Some(pending)
    }

    /// Takes out those of all producers for a partition.
    pub fn remove_spot(&mut self, spot: &Spot) -> Vec<(i64, Pending)> {
        let producers: Vec<i64> =
            self.spots.get(spot).into_iter().flat_map(|at| at.keys().copied()).collect();
        producers.into_iter().filter_map(|producer| Some((producer, self.remove(producer, spot)?))).collect()
    }

    /// Takes out those of a producer, in the order of the log.
    pub fn remove_producer(&mut self, producer: i64) -> Vec<(Spot, Pending)> {
        let spots: Vec<Spot> = self.producers.get(&producer).into_iter().flatten().cloned().collect();
        let mut removed: Vec<(Spot, Pending)> = spots
            .into_iter()
            .filter_map(|spot| self.remove(producer, &spot).map(|pending| (spot, pending)))
            .collect();
        removed.sort_unstable_by_key(|(_, pending)| pending.order);
        removed
    }

    /// An offset of this partition was committed by a record that is later than all that came before `order`, or
    /// than all there are. Gives whom it superseded.
    pub fn supersede(&mut self, spot: &Spot, order: Option<u64>) -> Vec<i64> {
        let mut superseded = Vec::new();
        if self.spots.is_empty() {
            return superseded;
        }
        for (producer, pending) in self.spots.get_mut(spot).into_iter().flatten() {
            if !pending.superseded && order.is_none_or(|order| pending.order < order) {
                pending.superseded = true;
                superseded.push(*producer);
            }
        }
        superseded
    }

    /// Takes [`supersede`](PendingOffsets::supersede) back.
    pub fn unsupersede(&mut self, spot: &Spot, producers: &[i64]) {
        for producer in producers {
            if let Some(pending) = self.spots.get_mut(spot).and_then(|at| at.get_mut(producer)) {
                pending.superseded = false;
            }
        }
    }

    /// Whether a transaction is to commit an offset of this partition.
    pub fn contains(&self, spot: &Spot) -> bool {
        !self.spots.is_empty() && self.spots.contains_key(spot)
    }

    /// The partitions of a group.
    pub fn of_group(&self, group: &Name) -> impl Iterator<Item = &Spot> {
        let first = Spot { group: group.clone(), topic: "".into(), partition: i32::MIN };
        let group = group.clone();
        self.spots
            .range((Bound::Included(first), Bound::Unbounded))
            .map(|(spot, _)| spot)
            .take_while(move |spot| spot.group == group)
    }

    /// Whether a transaction is to commit an offset of this group.
    pub fn has_group(&self, group: &Name) -> bool {
        !self.spots.is_empty() && self.of_group(group).next().is_some()
    }

    /// All of them, by partition and producer.
    pub fn iter(&self) -> impl Iterator<Item = (&Spot, i64, &Pending)> {
        self.spots
            .iter()
            .flat_map(|(spot, at)| at.iter().map(move |(producer, pending)| (spot, *producer, pending)))
    }

    /// How many transactions are open.
    pub fn open(&self) -> usize {
        self.producers.len()
    }
}
