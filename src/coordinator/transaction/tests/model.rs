//! Random histories from seeds: producers of both protocols that share transactional ids, late and doubled requests, a
//! log that refuses batches, coordinators and partitions that start again, markers whose answers are lost.
//!
//! What must hold: a transaction has one outcome, the same in every partition and the one that its producer was told;
//! no record of one transaction gets into another; what a reader of committed records was once given stays as it was;
//! epochs only grow; what is read back from the log is what was known; in the end nothing is left open.
//!
//! `OTTLA_SEEDS=10000 cargo test --lib transaction::tests::model` runs that many; `OTTLA_SEED=17` replays one.

mod clients;
mod coordinator;
mod flights;
mod shelf;

use clients::Client;
use coordinator::Coordinator;
use flights::Flight;
use shelf::Shelf;

use super::desk::*;
use crate::coordinator::transaction::*;

/// Partitions of the one topic.
const SHELVES: usize = 3;
const TOPIC: &str = "t";
/// Transactional ids, and how many producers use each.
const IDS: [&str; 2] = ["x", "y"];
const RIVALS: usize = 2;

/// A small generator: the same numbers for the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a client has meant by one transaction.
#[derive(Clone, Debug, Default)]
struct Meant {
    /// The outcome that the client was told.
    told: Option<bool>,
    /// Where its acknowledged records lie.
    acknowledged: Vec<(usize, i64)>,
}

struct World {
    chance: Chance,
    coordinator: Coordinator,
    shelves: Vec<Shelf>,
    clients: Vec<Client>,
    flights: Vec<Flight>,
    meant: Vec<Meant>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let settings = if chance.one_in(3) { first_protocol() } else { Settings::default() };
        let knows_second = settings.transaction_version >= 2;
        let clients = (0..IDS.len() * RIVALS)
            .map(|n| Client::new(n, IDS[n / RIVALS], knows_second && !chance.one_in(3)))
            .collect();
        World {
            coordinator: Coordinator::new(settings),
            shelves: (0..SHELVES).map(|_| Shelf::new()).collect(),
            clients,
            flights: Vec::new(),
            meant: Vec::new(),
            chance,
        }
    }

    fn step(&mut self) {
        match self.chance.below(30) {
            0..=6 => {
                let client = self.chance.below(self.clients.len());
                self.act(client);
            }
            7..=17 => (0..2).for_each(|_| self.fly()),
            18..=22 => {
                let count = self.chance.below(4) + 1;
                (0..count).for_each(|_| self.coordinator.work(&mut self.chance));
            }
            23..=27 => {
                let shelf = self.chance.below(SHELVES);
                self.shelves[shelf].commit();
                self.shelves[shelf].check(&self.meant);
            }
            28 => {
                let ms = if self.chance.one_in(60) { 70_000 } else { self.chance.below(300) as u64 };
                self.coordinator.pass(ms);
            }
            _ if self.chance.one_in(12) => self.coordinator.restart(&mut self.chance),
            _ if self.chance.one_in(6) => {
                let shelf = self.chance.below(SHELVES);
                self.shelves[shelf].restart(self.chance.one_in(2));
                self.shelves[shelf].check(&self.meant);
            }
            _ => {}
        }
        self.hear();
        let reads_back = self.chance.one_in(20);
        self.coordinator.check(reads_back);
    }

    /// Everybody hears what has come for him.
    fn hear(&mut self) {
        self.coordinator.collect();
        for markers in std::mem::take(&mut self.coordinator.markers) {
            self.flights.push(Flight::of_markers(markers));
        }
        for client in 0..self.clients.len() {
            self.listen(client);
        }
    }

    /// Nobody begins anything, and everything that is under way comes to its end.
    fn finish(&mut self) {
        self.clients.iter_mut().for_each(Client::stop);
        for _ in 0..2000 {
            while !self.flights.is_empty() {
                self.fly();
                self.coordinator.pass(20);
                self.settle();
            }
            self.settle();
            if self.flights.is_empty() && self.coordinator.is_idle() {
                break;
            }
            self.coordinator.pass(1000);
            self.settle();
        }
        self.coordinator.check(true);
        assert!(self.coordinator.is_idle(), "a transaction does not end: {:?}", self.coordinator.durable());
        for (n, shelf) in self.shelves.iter_mut().enumerate() {
            shelf.check(&self.meant);
            assert!(!shelf.is_open(), "a transaction hangs in partition {n}");
        }
        self.check_outcomes();
    }

    fn settle(&mut self) {
        self.coordinator.settle();
        self.shelves.iter_mut().for_each(Shelf::commit);
        self.hear();
    }

    fn check_outcomes(&self) {
        for (n, meant) in self.meant.iter().enumerate() {
            let found: Vec<(usize, i64, bool)> = self
                .shelves
                .iter()
                .enumerate()
                .flat_map(|(shelf, it)| it.outcomes(n).map(move |(offset, commit)| (shelf, offset, commit)))
                .collect();
            let first = found.first().map(|(.., commit)| *commit);
            assert!(found.iter().all(|(.., commit)| Some(*commit) == first), "transaction {n}: {found:?}");
            if let (Some(told), Some(first)) = (meant.told, first) {
                assert_eq!(told, first, "transaction {n} has another outcome than its producer was told");
            }
            for place in &meant.acknowledged {
                let is_there = found.iter().any(|(shelf, offset, _)| (*shelf, *offset) == *place);
                assert!(is_there, "transaction {n}: {place:?} was acknowledged");
            }
        }
    }
}

fn run(seed: u64) -> usize {
    let mut world = World::new(seed);
    let steps = 400 + world.chance.below(800);
    (0..steps).for_each(|_| world.step());
    world.finish();
    world.meant.iter().filter(|meant| meant.told == Some(true)).count()
}

#[test]
fn random_histories_keep_every_promise() {
    if let Ok(seed) = std::env::var("OTTLA_SEED") {
        println!("{} committed", run(seed.parse().expect("a number")));
        return;
    }
    let seeds = std::env::var("OTTLA_SEEDS").map_or(200, |seeds| seeds.parse().expect("a number"));
    let mut committed = 0;
    for seed in 0..seeds {
        let run = std::panic::catch_unwind(|| run(seed));
        committed += run.unwrap_or_else(|_| panic!("OTTLA_SEED={seed} fails"));
    }
    assert!(committed > seeds as usize, "hardly anything was committed: {committed}");
}
