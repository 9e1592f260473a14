//! What must hold.

use super::*;
use crate::coordinator::records::{ConsumerRecord, Record};

/// The committed log, as far as it was read: lives of the group, in each of which its epoch grows.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    at: usize,
    pub life: usize,
    /// The group's epoch, or its generation.
    level: i32,
    members: BTreeSet<String>,
    is_consumer: bool,
    /// The record of a classic group was deleted just now.
    was_deleted: bool,
    pub upgrades: usize,
    pub downgrades: usize,
}

impl Scan {
    fn level(&mut self, level: i32) {
        if level < self.level {
            assert!(self.members.is_empty(), "epoch {level} after {} of a group with members", self.level);
            self.life += 1;
        }
        self.level = level;
    }

    fn read(&mut self, record: &Record) {
        let was_deleted = std::mem::take(&mut self.was_deleted);
        match record {
            Record::Group(_, None) => {
                self.members.clear();
                self.was_deleted = true;
            }
            Record::Group(_, Some(value)) => {
                if self.is_consumer && !value.members.is_empty() {
                    assert!(value.generation >= self.level, "a downgrade to generation {}", value.generation);
                    self.downgrades += 1;
                }
                self.is_consumer = false;
                self.level(value.generation);
                self.members = value.members.iter().map(|member| member.member_id.clone()).collect();
            }
            Record::Consumer(_, ConsumerRecord::Epoch(Some(value))) => {
                if was_deleted {
                    // A classic group with members goes on; an empty one ends, and the next begins with a member.
                    assert!(value.epoch >= self.level, "an upgrade to epoch {}", value.epoch);
                    self.upgrades += 1;
                }
                self.is_consumer = true;
                self.level(value.epoch);
            }
            Record::Consumer(_, ConsumerRecord::Member(id, Some(_))) => {
                if was_deleted {
                    self.life += 1;
                    self.level = -1;
                }
                self.members.insert(id.clone());
            }
            Record::Consumer(_, ConsumerRecord::Member(id, None)) => drop(self.members.remove(id)),
            _ => {}
        }
    }
}

/// What was told to whom.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The owner of a partition in an epoch of a life; a static member is the same under each of its ids.
    owners: BTreeMap<(usize, Uuid, i32), BTreeMap<i32, String>>,
    /// The highest epoch of a member of a life.
    epochs: BTreeMap<(usize, String), i32>,
}

impl World {
    /// The life that the group is in, by what is committed.
    pub(super) fn life(&mut self) -> usize {
        let hw = self.bench.high_watermark;
        for at in self.scan.at..hw {
            self.scan.read(&self.bench.log[at].1);
        }
        self.scan.at = hw;
        self.scan.life
    }

    /// A member was told that it has these in an epoch.
    pub(super) fn told(&mut self, at: usize, id: &str, epoch: i32, given: &Has) {
        let life = self.life();
        let who = self.clients[at].instance.clone().unwrap_or_else(|| id.into());
        let before = self.told.epochs.insert((life, id.into()), epoch);
        assert!(before.is_none_or(|before| before <= epoch), "{id} is told {epoch} after {before:?}");
        for (topic, partition) in given {
            let owners = self.told.owners.entry((life, *topic, *partition)).or_default();
            let owner = owners.entry(epoch).or_insert_with(|| who.clone());
            assert_eq!(*owner, who, "{topic}-{partition} has two owners in epoch {epoch}");
        }
        self.counts.given += 1;
    }

    /// A commit was taken: nobody else had been told of the partition in a later epoch.
    pub(super) fn taken(&mut self, partition: (Uuid, i32), epoch: i32, who: &str) {
        let life = self.life();
        let Some(owners) = self.told.owners.get(&(life, partition.0, partition.1)) else { return };
        for (later, owner) in owners.range(epoch + 1..) {
            assert_eq!(
                owner, who,
                "a commit of epoch {epoch} was taken; in {later} {owner} has {partition:?}"
            );
        }
    }

    /// Members that the group has at present do not share a partition.
    pub(super) fn check_shared(&self) {
        let Some(group) = self.bench.machine().group(GROUP) else { return };
        let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.is_up && !client.id.is_empty()) {
            let is_member = match (group.consumer(), group.classic()) {
                (Some(consumer), _) => {
                    consumer.has_member(&client.id) && consumer.current(&client.id).epoch == client.epoch
                }
                (None, Some(classic)) => {
                    classic.member(&client.id).is_some() && classic.generation() == client.epoch
                }
                _ => false,
            };
            if !is_member {
                continue;
            }
            for partition in &client.has {
                let other = owners.insert(*partition, &client.id);
                assert!(other.is_none(), "{} has {partition:?}, and so has {other:?}", client.id);
            }
        }
    }

    /// Running has come to what a replay comes to.
    pub(super) fn check(&mut self) {
        self.bench.check_durable();
        self.check_shared();
        self.life();
        (self.counts.upgrades, self.counts.downgrades) = (self.scan.upgrades, self.scan.downgrades);
    }

    /// A coordinator that reads a part of the log and runs on comes to the same as one that reads all of it; and
    /// what a log says does not change when it is compacted.
    pub(super) fn replay_everywhere(&mut self) {
        let whole = Durable::replayed(&self.bench.log);
        assert_eq!(Durable::replayed(&super::super::model::compacted(&self.bench.log)), whole);
        let step = (self.bench.log.len() / 16).max(1);
        for end in (0..self.bench.log.len()).step_by(step) {
            let part = &self.bench.log[..end];
            assert_eq!(Durable::replayed(&super::super::model::compacted(part)), Durable::replayed(part));
        }
    }

    pub(super) fn is_converged(&self) -> bool {
        let topics = &self.bench.topics.known;
        let is_subscribed = |client: &Client, name: &str| {
            client.names.iter().any(|known| known == name)
                || client.pattern.as_deref().is_some_and(|pattern| match pattern {
                    "a.*" => name.starts_with('a'),
                    _ => name == "b" || name == "c",
                })
        };
        let up: Vec<&Client> = self.clients.iter().filter(|client| client.is_up).collect();
        let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for client in &up {
            let settled = client.given.is_none() && client.epoch > 0 && client.epoch == up[0].epoch;
            if !settled || client.classic && client.phase != Phase::Stable {
                return false;
            }
            for (topic, partition) in &client.has {
                let known = topics.iter().find(|(_, (id, _))| id == topic);
                if known.is_none_or(|(name, (_, all))| !is_subscribed(client, name) || partition >= all) {
                    return false;
                }
                *owners.entry((*topic, *partition)).or_default() += 1;
            }
        }
        let wanted = topics.iter().filter(|(name, _)| up.iter().any(|client| is_subscribed(client, name)));
        let wanted: Has =
            wanted.flat_map(|(_, (id, all))| (0..*all).map(move |partition| (*id, partition))).collect();
        owners.values().all(|count| *count == 1) && owners.keys().eq(wanted.iter())
    }
}
