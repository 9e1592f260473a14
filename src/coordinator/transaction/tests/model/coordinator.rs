//! The coordinator, with a log that takes its batches one by one.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::Chance;
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::{BatchOf, Now, Runtime, Token};
use crate::coordinator::transaction::tests::desk::{allocator, durable};
use crate::coordinator::transaction::*;
use crate::wire::error::ErrorCode;

/// Replies wait for their commit no longer than this.
const COMMIT_TIMEOUT_MS: u64 = 5000;

pub struct Coordinator {
    pub markers: Vec<Markers>,
    runtime: Runtime<Transactions>,
    settings: Settings,
    now: Now,
    epoch: i32,
    ids: Rc<Cell<i64>>,
    log: Vec<Record>,
    committed: usize,
    queue: VecDeque<BatchOf<Transactions>>,
    tokens: u64,
    replies: BTreeMap<Token, Reply>,
    /// Requests whose answer died with the process.
    lost: Token,
    /// The newest that was committed of each id.
    newest: BTreeMap<Name, Producer>,
    checked: usize,
}

impl Coordinator {
    pub fn new(settings: Settings) -> Coordinator {
        let ids = Rc::new(Cell::new(1000));
        let mut coordinator = Coordinator {
            markers: Vec::new(),
            runtime: Runtime::new(Transactions::new(settings.clone(), 0, allocator(&ids)), COMMIT_TIMEOUT_MS),
            settings,
            now: Now { tick: 0, wall: 1_000_000 },
            epoch: 0,
            ids,
            log: Vec::new(),
            committed: 0,
            queue: VecDeque::new(),
            tokens: 0,
            replies: BTreeMap::new(),
            lost: Token(0),
            newest: BTreeMap::new(),
            checked: 0,
        };
        coordinator.begin();
        coordinator
    }

    fn begin(&mut self) {
        while !self.runtime.loaded(self.now) {}
    }

    pub fn ask(&mut self, version: i16, request: Request) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.runtime.event(self.now, Event::Request(Caller { token, version }, request));
        token
    }

    pub fn tell(&mut self, marked: Marked) {
        self.runtime.event(self.now, Event::Marked(marked));
    }

    /// The answer, if there is one; an error where it was lost.
    pub fn answer(&mut self, token: Token) -> Option<Result<Reply, ()>> {
        match self.replies.remove(&token) {
            Some(reply) => Some(Ok(reply)),
            None => (token <= self.lost).then_some(Err(())),
        }
    }

    pub fn collect(&mut self) {
        loop {
            let replies = self.runtime.replies();
            if replies.is_empty() {
                return;
            }
            for (token, reply) in replies {
                match reply {
                    Reply::Markers(markers) => self.markers.push(markers),
                    Reply::Withheld(marked) => self.tell(marked),
                    reply => drop(self.replies.insert(token, reply)),
                }
            }
        }
    }

    /// The log does something.
    pub fn work(&mut self, chance: &mut Chance) {
        self.queue.extend(self.runtime.batches());
        match chance.below(30) {
            0 if !self.queue.is_empty() => {
                let from = self.queue[0].from;
                self.queue.clear();
                self.runtime.failed(self.now, from, ErrorCode::NOT_ENOUGH_REPLICAS);
            }
            1..=15 => self.append(),
            _ => self.commit(),
        }
        self.collect();
    }

    fn append(&mut self) {
        let Some(batch) = self.queue.pop_front() else { return };
        self.runtime.appended(batch.from, self.log.len() as i64);
        for record in &batch.records {
            let (key, value) = record.encode().unwrap();
            self.log.push(Record::decode(key, value).unwrap().unwrap());
        }
    }

    fn commit(&mut self) {
        self.committed = self.log.len();
        self.runtime.committed(self.committed as i64);
    }

    pub fn settle(&mut self) {
        loop {
            self.collect();
            self.queue.extend(self.runtime.batches());
            if self.queue.is_empty() {
                break;
            }
            while !self.queue.is_empty() {
                self.append();
            }
            self.commit();
        }
        self.commit();
        self.collect();
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = Now { tick: self.now.tick + ms, wall: self.now.wall + ms as i64 };
        while self.runtime.next_deadline().is_some_and(|at| at <= self.now.tick) {
            self.runtime.tick(self.now);
        }
        self.collect();
    }

    /// The process ends, and another reads the log. Of what was not committed, some may be there.
    pub fn restart(&mut self, chance: &mut Chance) {
        let uncommitted = self.log.len() - self.committed;
        self.log.truncate(self.committed + chance.below(uncommitted + 1));
        self.committed = self.log.len();
        self.queue.clear();
        self.replies.clear();
        self.lost = Token(self.tokens);
        self.epoch += 1;
        let machine = Transactions::new(self.settings.clone(), self.epoch, allocator(&self.ids));
        self.runtime = Runtime::new(machine, COMMIT_TIMEOUT_MS);
        self.log.iter().for_each(|record| self.runtime.load(&(), record));
        self.begin();
        self.collect();
    }

    /// Whether nothing is left to be done.
    pub fn is_idle(&self) -> bool {
        let is_over =
            |known: &Arc<Transaction>| !known.status.is_prepared() && known.status != Status::Ongoing;
        self.runtime.machine().all().all(|(_, known)| is_over(known))
    }

    pub fn durable(&self) -> Vec<(String, Transaction)> {
        durable(self.runtime.machine())
    }

    pub fn check(&mut self, reads_back: bool) {
        for record in &self.log[self.checked..self.committed] {
            let Some(value) = &record.value else { continue };
            if let Some(before) = self.newest.insert(record.id.clone(), value.producer) {
                let grows = (before.id, before.epoch) <= (value.producer.id, value.producer.epoch);
                assert!(grows, "{}: {before:?} becomes {:?}", record.id, value.producer);
            }
        }
        self.checked = self.committed;
        if reads_back && self.runtime.in_flight() == 0 {
            let machine = Transactions::new(self.settings.clone(), 0, allocator(&self.ids));
            let mut again = Runtime::new(machine, COMMIT_TIMEOUT_MS);
            self.log.iter().for_each(|record| again.load(&(), record));
            assert_eq!(durable(again.machine()), self.durable(), "what is read back is something else");
        }
    }
}
