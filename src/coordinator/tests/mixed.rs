//! Random histories from seeds, of a group with members of both protocols: consumers that join, hang, crash and come
//! back, some with the other protocol; topics that come, grow and go; a log that refuses batches, answers that are
//! lost, and coordinators that start again from what the log says.
//!
//! `OTTLA_SEEDS=10000 cargo test --lib coordinator::tests::mixed` runs that many; `OTTLA_SEED=17` replays one.

mod checks;
mod clients;

use std::collections::{BTreeMap, BTreeSet};

use self::checks::{Scan, Told};
use super::bench::Bench;
use super::durable::Durable;
use super::model::Chance;
use crate::coordinator::{Settings, Token};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

const GROUP: &str = "g";
const SESSION_MS: i32 = 9000;
const REBALANCE_MS: i32 = 12_000;
const NAMES: [&str; 4] = ["a", "ab", "b", "c"];

/// Partitions, by the name of their topic.
type Has = BTreeSet<(Uuid, i32)>;

/// What a consumer waits for.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    /// Of the new protocol.
    Beat {
        full: bool,
    },
    /// Of the new protocol: for good, or for now.
    Leave,
    Join,
    Sync,
    ClassicBeat,
    ClassicLeave,
    Commit {
        partition: (Uuid, i32),
        epoch: i32,
        id: String,
    },
}

/// What a consumer of the classic protocol is at.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Out,
    Joined(Vec<(String, Has)>),
    Stable,
}

/// A consumer.
#[derive(Clone, Debug)]
struct Client {
    /// It speaks the classic protocol.
    classic: bool,
    /// Of a classic one: it keeps what it has while it joins again.
    cooperative: bool,
    instance: Option<String>,
    names: Vec<String>,
    pattern: Option<String>,
    id: String,
    epoch: i32,
    phase: Phase,
    /// The topics when it, as the leader, assigned.
    assigned_at: i64,
    has: Has,
    /// What it had when it was answered last, or since.
    had: Has,
    /// What it is to have, and has not followed yet.
    given: Option<Has>,
    /// It is to tell all there is.
    tell_all: bool,
    asked: Option<(Token, Asked)>,
    is_up: bool,
}

/// One that hangs or was thought to be dead.
#[derive(Clone, Debug)]
struct Zombie {
    id: String,
    epoch: i32,
    has: Has,
}

struct World {
    bench: Bench,
    chance: Chance,
    clients: Vec<Client>,
    zombies: Vec<Zombie>,
    orphans: BTreeMap<Token, Asked>,
    scan: Scan,
    told: Told,
    next_id: usize,
    counts: Counts,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    beats: usize,
    given: usize,
    commits: usize,
    stale: usize,
    fenced: usize,
    refused: usize,
    restarts: usize,
    upgrades: usize,
    downgrades: usize,
    topics: usize,
    replaced: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let settings = Settings {
            initial_rebalance_delay_ms: 500 * chance.below(2) as i32,
            min_session_timeout_ms: 1000,
            consumer_session_timeout_ms: SESSION_MS,
            offsets_retention_ms: 40_000_000,
            ..Settings::default()
        };
        let mut bench = Bench::new(settings);
        for name in &NAMES[..2] {
            bench.topic(name, 1 + chance.below(5) as i32);
        }
        bench.prompt = false;
        let mut world = World {
            bench,
            chance,
            clients: Vec::new(),
            zombies: Vec::new(),
            orphans: BTreeMap::new(),
            scan: Scan::default(),
            told: Told::default(),
            next_id: 0,
            counts: Counts::default(),
        };
        for n in 0..2 + world.chance.below(4) {
            let client = world.client(n);
            world.clients.push(client);
        }
        world
    }

    fn client(&mut self, n: usize) -> Client {
        let mut client = Client {
            classic: self.chance.one_in(2),
            cooperative: self.chance.one_in(2),
            instance: self.chance.one_in(3).then(|| format!("instance-{n}")),
            names: Vec::new(),
            pattern: None,
            id: String::new(),
            epoch: 0,
            phase: Phase::Out,
            assigned_at: 0,
            has: Has::new(),
            had: Has::new(),
            given: None,
            tell_all: true,
            asked: None,
            is_up: true,
        };
        self.subscribe(&mut client);
        client
    }

    /// It subscribes to something else, most likely to what everybody does.
    fn subscribe(&mut self, client: &mut Client) {
        client.pattern =
            (!client.classic && self.chance.one_in(4)).then(|| ["a.*", "b|c"][self.chance.below(2)].into());
        client.names = match self.chance.below(4) {
            0 => vec![NAMES[self.chance.below(4)].into()],
            _ => NAMES[..3].iter().map(|name| name.to_string()).collect(),
        };
        client.tell_all = true;
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..45 => {
                let at = self.chance.below(self.clients.len());
                self.act(at);
            }
            45..58 => self.bench.append(),
            58..70 => {
                let hw = self.bench.high_watermark;
                let to = if self.chance.one_in(4) { hw } else { self.bench.log.len() };
                self.bench.commit(to);
                self.hear();
            }
            70..80 => {
                let ms = [5, 50, 400, 1500][self.chance.below(4)];
                self.pass(ms);
            }
            80..81 => {
                let ms = [10_000, 14_000][self.chance.below(2)];
                self.pass(ms);
            }
            81..85 => self.crash(),
            85..87 => self.give_up_waiting(),
            87..90 => self.zombie_commits(),
            90..92 if !self.bench.queue.is_empty() => {
                self.bench.refuse(
                    [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::NOT_LEADER_OR_FOLLOWER][self.chance.below(2)],
                );
                self.counts.refused += 1;
                self.hear();
                self.check();
            }
            92..95 => self.change_topic(),
            95..96 => self.restart(),
            96..98 => self.leave(),
            98..99 => {
                let at = self.chance.below(self.clients.len());
                let mut client = self.clients[at].clone();
                self.subscribe(&mut client);
                self.clients[at] = client;
            }
            _ => self.check(),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.bench.pass(ms);
        self.hear();
    }

    fn change_topic(&mut self) {
        let name = NAMES[self.chance.below(NAMES.len())];
        let partitions = match self.bench.topics.known.get(name) {
            Some(_) if self.chance.one_in(3) => 0,
            Some((_, partitions)) => (partitions + 1).min(7),
            None => 1 + self.chance.below(4) as i32,
        };
        self.bench.topic(name, partitions);
        self.counts.topics += 1;
    }

    /// Another coordinator takes over, from what was committed and perhaps what was appended besides.
    fn restart(&mut self) {
        if self.chance.one_in(2) {
            self.bench.log.truncate(self.bench.high_watermark);
        }
        self.bench.restart();
        self.orphans.clear();
        for client in &mut self.clients {
            client.asked = None;
            client.tell_all = true;
        }
        self.counts.restarts += 1;
        self.check();
    }

    /// Nothing fails any more: everybody who keeps trying has its share, and everything is with one.
    fn converge(&mut self) {
        self.zombies.clear();
        self.bench.prompt = true;
        self.bench.drain();
        self.bench.commit(self.bench.log.len());
        self.hear();
        // So many that patterns are matched again, and sessions of those who are gone end.
        for round in 0.. {
            for at in 0..self.clients.len() {
                self.act(at);
            }
            self.pass(700);
            if round > 60 && self.is_converged() {
                break;
            }
            assert!(round < 400, "no end: {:#?}\n{:#?}", self.clients, self.bench.described());
        }
        self.check();
        assert_eq!((self.bench.runtime.in_flight(), self.bench.runtime.waiting()), (0, 0));
    }

    /// Everybody goes: no member and no deadline is left.
    fn dissolve(&mut self) {
        self.bench.pass(150_000);
        let group = self.bench.machine().group(GROUP);
        assert!(group.is_none_or(|group| group.is_empty()), "somebody is left");
        assert_eq!(self.bench.machine().timers(), 1, "all but the check for expiry");
        self.bench.check_durable();
    }
}

fn run(seed: u64) -> Counts {
    let mut world = World::new(seed);
    for _ in 0..250 {
        world.step();
    }
    world.converge();
    world.replay_everywhere();
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
    let seeds = number("OTTLA_SEEDS").unwrap_or(200);
    let mut sum = Counts::default();
    for seed in 0..seeds {
        let counts = std::panic::catch_unwind(|| run(seed))
            .unwrap_or_else(|_| panic!("seed {seed} failed: OTTLA_SEED={seed} runs it alone"));
        sum.add(&counts);
    }
    println!("{seeds} seeds: {sum:?}");
    sum.check();
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.beats += other.beats;
        self.given += other.given;
        self.commits += other.commits;
        self.stale += other.stale;
        self.fenced += other.fenced;
        self.refused += other.refused;
        self.restarts += other.restarts;
        self.upgrades += other.upgrades;
        self.downgrades += other.downgrades;
        self.topics += other.topics;
        self.replaced += other.replaced;
    }

    /// Each kind of event came about.
    fn check(&self) {
        assert!(self.beats > 0 && self.given > 0 && self.commits > 0 && self.stale > 0, "{self:?}");
        assert!(self.fenced > 0 && self.refused > 0 && self.restarts > 0 && self.replaced > 0, "{self:?}");
        assert!(self.upgrades > 0 && self.downgrades > 0 && self.topics > 0, "{self:?}");
    }
}
