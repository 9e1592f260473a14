//! Random histories from seeds: consumers that join, commit, crash and come back, a log that refuses batches, and
//! coordinators that start again from what the log says.
//!
//! `OTTLA_SEEDS=10000 cargo test --lib coordinator::tests::model` runs that many; `OTTLA_SEED=17` replays one.

mod clients;
mod hear;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::bench::Bench;
use super::durable::Durable;
use crate::coordinator::group::State;
use crate::coordinator::records::{Form, Producer, Record};
use crate::coordinator::{Event, Reply, Request, Settings, Token};
use crate::wire::codec::Writer;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 5;
const SESSION_MS: i32 = 6000;
const REBALANCE_MS: i32 = 8000;

/// A small generator: the same numbers for the same seed, everywhere.
pub struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a consumer is at.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Out,
    Joined(Vec<SyncGroupRequestAssignment>),
    Stable,
}

/// What a consumer waits for.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Join,
    Sync,
    Heartbeat,
    Commit(Commit),
    Fetch { floor: BTreeMap<i32, i64> },
    Leave,
}

#[derive(Clone, Debug, PartialEq)]
struct Commit {
    group: usize,
    generation: i32,
    member_id: String,
    partition: i32,
    offset: i64,
    /// It must be refused: the committer knows less than others have been told.
    is_stale: Option<&'static str>,
}

/// A consumer.
#[derive(Clone, Debug)]
struct Client {
    group: usize,
    instance: Option<String>,
    version: i16,
    member_id: String,
    generation: i32,
    phase: Phase,
    asked: Option<(Token, Asked)>,
    assigned: Vec<i32>,
    is_up: bool,
    heard: u64,
}

/// A member that was thought to be dead, with what it knew.
#[derive(Clone, Debug)]
struct Zombie {
    group: usize,
    instance: Option<String>,
    member_id: String,
    generation: i32,
}

/// Whose partition: a static member is the same under each of its ids.
type Owners = BTreeMap<(usize, usize, i32), BTreeMap<i32, String>>;

struct World {
    bench: Bench,
    chance: Chance,
    clients: Vec<Client>,
    zombies: Vec<Zombie>,
    /// Of those whose client waits no more.
    orphans: BTreeMap<Token, Asked>,
    /// The highest generation that anybody was told, by group; forgotten with the coordinator.
    told: BTreeMap<usize, i32>,
    /// Old ids of static members whose new id was told; forgotten with the coordinator.
    fenced: BTreeSet<String>,
    owners: Owners,
    next_offset: i64,
    /// The highest offset whose commit was acknowledged, and the place of the log at that time.
    acknowledged: BTreeMap<(usize, i32), (i64, usize)>,
    open: BTreeSet<i64>,
    next_producer: i64,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    commits: usize,
    stale: usize,
    refused: usize,
    restarts: usize,
    synced: usize,
    replaced: usize,
    converged: usize,
}

fn group_name(group: usize) -> String {
    format!("group-{group}")
}

fn subscription() -> Bytes {
    let mut w = Writer::new();
    w.put_i16(0);
    let topics = ConsumerProtocolSubscription { topics: vec![TOPIC.into()], ..Default::default() };
    topics.encode(&mut w, 0).unwrap();
    w.into_bytes()
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let settings = Settings {
            initial_rebalance_delay_ms: 500 * chance.below(3) as i32,
            offsets_retention_ms: 40_000,
            retention_check_interval_ms: 15_000,
            max_size: if chance.one_in(8) { 3 } else { 100 },
            ..Settings::default()
        };
        let groups = 1 + chance.below(2);
        let clients = (0..2 + chance.below(5))
            .map(|n| Client {
                group: chance.below(groups),
                instance: chance.one_in(2).then(|| format!("instance-{n}")),
                version: [0, 3, 4, 5, 7, 9][chance.below(6)],
                member_id: String::new(),
                generation: -1,
                phase: Phase::Out,
                asked: None,
                assigned: Vec::new(),
                is_up: true,
                heard: 0,
            })
            .map(|client| Client {
                // Old versions have no static members.
                version: if client.instance.is_some() { client.version.max(5) } else { client.version },
                ..client
            })
            .collect();
        let mut bench = Bench::new(settings);
        bench.prompt = false;
        World {
            bench,
            chance,
            clients,
            zombies: Vec::new(),
            orphans: BTreeMap::new(),
            told: BTreeMap::new(),
            fenced: BTreeSet::new(),
            owners: Owners::new(),
            next_offset: 0,
            acknowledged: BTreeMap::new(),
            open: BTreeSet::new(),
            next_producer: 1,
            counts: Counts::default(),
        }
    }

    fn committed_log(&self) -> &[(Form, Record)] {
        &self.bench.log[..self.bench.high_watermark]
    }

    /// Another coordinator takes over, from what was committed and perhaps some of what was appended besides.
    fn restart(&mut self) {
        let hw = self.bench.high_watermark;
        let kept = hw + self.chance.below(self.bench.log.len() - hw + 1);
        // A batch is kept whole, which the log's own checks see to; here every batch boundary is as good.
        let kept = if self.bench.log.len() == kept { kept } else { hw };
        self.bench.log.truncate(kept);
        self.bench.restart();
        self.told.clear();
        self.fenced.clear();
        self.orphans.clear();
        for (_, record) in &self.bench.log {
            if let Record::Group(key, Some(value)) = record {
                for group in 0..2 {
                    if key.group == group_name(group) {
                        self.told.insert(group, value.generation);
                    }
                }
            }
            if let Record::Group(key, None) = record {
                self.told.retain(|group, _| group_name(*group) != key.group);
            }
        }
        for client in &mut self.clients {
            client.asked = None;
        }
        self.counts.restarts += 1;
        self.check();
    }

    /// Running has come to what a replay comes to, and what groups are at agrees with what is durable.
    fn check(&mut self) {
        self.bench.check_durable();
        let (whole, compacted) = (Durable::replayed(&self.bench.log), compacted(&self.bench.log));
        assert_eq!(Durable::replayed(&compacted), whole, "compaction has changed what the log says");
        for (name, group) in self.bench.machine().all() {
            let Some(classic) = group.classic() else {
                let members = group.stored().map_or(0, |stored| stored.members.len());
                assert_eq!(members, 0, "{name} has members in its record and none in memory");
                continue;
            };
            if classic.state() == State::Stable {
                let stored = group.stored().unwrap_or_else(|| panic!("{name} is stable without a record"));
                assert_eq!(stored.generation, classic.generation());
                let stored: BTreeMap<_, _> =
                    stored.members.iter().map(|m| (m.member_id.clone(), m.assignment.clone())).collect();
                let live: BTreeMap<_, _> =
                    classic.members().map(|m| (m.id.to_string(), m.assignment.clone())).collect();
                assert_eq!(live, stored, "{name}");
            }
        }
        let mut generations: BTreeMap<&str, i32> = BTreeMap::new();
        for (_, record) in &self.bench.log {
            match record {
                Record::Group(key, Some(value)) => {
                    let before = generations.insert(&key.group, value.generation);
                    assert!(before.is_none_or(|before| before <= value.generation), "a generation went back");
                }
                Record::Group(key, None) => drop(generations.remove(key.group.as_str())),
                _ => {}
            }
        }
        self.forget_deleted_groups();
    }

    /// A group that is made anew counts its generations anew.
    fn forget_deleted_groups(&mut self) {
        let machine = self.bench.runtime.machine();
        self.told.retain(|group, _| {
            machine.group(&group_name(*group)).is_some_and(|group| group.stored().is_some())
        });
    }

    fn pass(&mut self, ms: u64) {
        self.bench.pass(ms);
        self.hear();
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..45 => {
                let at = self.chance.below(self.clients.len());
                self.act(at);
            }
            45..60 => {
                self.bench.append();
            }
            60..72 => {
                let hw = self.bench.high_watermark;
                let to = if self.chance.one_in(4) { hw } else { self.bench.log.len() };
                self.bench.commit(to);
                self.hear();
            }
            72..83 => {
                let ms = [5, 50, 400, 1500][self.chance.below(4)];
                self.pass(ms);
            }
            83..84 => {
                let ms = [7000, 30_000][self.chance.below(2)];
                self.pass(ms);
            }
            84..87 => {
                let at = self.chance.below(self.clients.len());
                self.crash(at);
            }
            87..91 => self.zombie_commits(),
            91..93 if !self.bench.queue.is_empty() => {
                let errors = [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::NOT_LEADER_OR_FOLLOWER];
                let error = errors[self.chance.below(2)];
                self.bench.refuse(error);
                self.counts.refused += 1;
                self.hear();
                self.check();
            }
            93..96 => self.transaction(),
            96..97 => self.administer(),
            97..98 => self.restart(),
            98..99 => self.leave(),
            _ => self.check(),
        }
        self.forget_deleted_groups();
    }

    fn is_converged(&self, group: usize) -> bool {
        let members: Vec<&Client> = self.clients.iter().filter(|c| c.group == group && c.is_up).collect();
        let mut partitions: Vec<i32> = members.iter().flat_map(|c| c.assigned.clone()).collect();
        partitions.sort_unstable();
        members.iter().all(|c| c.phase == Phase::Stable && c.generation == members[0].generation)
            && (members.is_empty() || partitions == (0..PARTITIONS).collect::<Vec<_>>())
    }

    /// Nothing fails any more: everybody who keeps trying is in, and everything is owned by one.
    fn converge(&mut self) {
        self.zombies.clear();
        self.bench.prompt = true;
        self.bench.drain();
        self.bench.commit(self.bench.log.len());
        self.hear();
        for round in 0.. {
            for at in 0..self.clients.len() {
                self.act(at);
            }
            self.pass(700);
            self.forget_deleted_groups();
            let groups: BTreeSet<usize> = self.clients.iter().map(|client| client.group).collect();
            if round > 20 && groups.iter().all(|group| self.is_converged(*group)) {
                break;
            }
            assert!(round < 200, "no end: {:#?}", self.clients);
        }
        self.check();
        assert_eq!((self.bench.runtime.in_flight(), self.bench.runtime.waiting()), (0, 0));
        self.counts.converged += 1;
    }

    /// Everybody goes: no member, no deadline is left, and in the end no offset.
    fn dissolve(&mut self) {
        for id in std::mem::take(&mut self.open) {
            let producer = Producer { id, epoch: 0 };
            self.bench.ask(
                0,
                Request::EndTransaction {
                    producer,
                    coordinator_epoch: 0,
                    transaction_version: 0,
                    commit: false,
                },
            );
        }
        self.bench.pass(150_000);
        let durable = Durable::of(self.bench.machine());
        assert!(durable.groups.is_empty() && durable.offsets.is_empty(), "{durable:#?}");
        assert!(durable.pending.is_empty(), "{durable:#?}");
        assert_eq!(self.bench.machine().timers(), 1, "all but the check for expiry");
    }
}

/// What compaction may leave of a log: before the first open transaction, the last record of each key that was not
/// aborted, and the ends of transactions.
pub fn compacted(log: &[(Form, Record)]) -> Vec<(Form, Record)> {
    let outcome = |at: usize, id: i64| {
        log[at..].iter().find_map(|(form, record)| match (form, record) {
            (Form::Marker(producer), Record::EndTransaction { commit, .. }) if producer.id == id => {
                Some(*commit)
            }
            _ => None,
        })
    };
    let of = |at: usize| match &log[at].0 {
        Form::Transactional(producer) => outcome(at, producer.id),
        _ => Some(true),
    };
    let stable = (0..log.len()).find(|at| of(*at).is_none()).unwrap_or(log.len());
    let mut last: BTreeMap<Bytes, usize> = BTreeMap::new();
    let key = |at: usize| match &log[at].1 {
        Record::EndTransaction { .. } => None,
        record => Some(record.encode().unwrap().0),
    };
    for at in (0..stable).filter(|at| of(*at) == Some(true)) {
        last.extend(key(at).map(|key| (key, at)));
    }
    let stays = |at: &usize| *at >= stable || key(*at).is_none_or(|key| last.get(&key) == Some(at));
    (0..log.len()).filter(stays).map(|at| log[at].clone()).collect()
}

fn run(seed: u64) -> Counts {
    let mut world = World::new(seed);
    for _ in 0..250 {
        world.step();
    }
    world.converge();
    world.dissolve();
    world.counts
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

#[test]
fn random_histories() {
    if let Some(seed) = number("OTTLA_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seeds = number("OTTLA_SEEDS").unwrap_or(300);
    let mut sum = Counts::default();
    for seed in 0..seeds {
        let counts = std::panic::catch_unwind(|| run(seed))
            .unwrap_or_else(|_| panic!("seed {seed} failed: OTTLA_SEED={seed} runs it alone"));
        sum.commits += counts.commits;
        sum.stale += counts.stale;
        sum.refused += counts.refused;
        sum.restarts += counts.restarts;
        sum.synced += counts.synced;
        sum.replaced += counts.replaced;
        sum.converged += counts.converged;
    }
    println!("{seeds} seeds: {sum:?}");
    assert!(sum.commits > 0 && sum.stale > 0 && sum.refused > 0 && sum.restarts > 0 && sum.replaced > 0);
    assert_eq!(sum.converged as u64, seeds);
}
