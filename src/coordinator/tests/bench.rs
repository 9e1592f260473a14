//! A shell for tests: a log that takes, commits and refuses batches when it is told to.

use std::collections::{BTreeMap, VecDeque};

use super::durable::Durable;
use super::topics::TestTopics;
use crate::coordinator::records::{Form, Record};
use crate::coordinator::runtime::BatchOf;
use crate::coordinator::topics::Changed;
use crate::coordinator::{Caller, Event, Groups, Now, Reply, Request, Runtime, Settings, Token};
use crate::wire::error::ErrorCode;

/// Replies wait for their commit no longer than this.
pub const COMMIT_TIMEOUT_MS: u64 = 5000;
/// When the clock on the wall starts.
const WALL: i64 = 1_700_000_000_000;

/// A coordinator with its log.
pub struct Bench {
    pub settings: Settings,
    pub runtime: Runtime<Groups>,
    pub tick: u64,
    /// What is in the log, record by record.
    pub log: Vec<(Form, Record)>,
    /// Everything before is committed.
    pub high_watermark: usize,
    /// Batches that were handed out and are not appended.
    pub queue: VecDeque<BatchOf<Groups>>,
    /// The replies that nobody has looked at.
    pub replies: BTreeMap<Token, Reply>,
    /// Appends and commits at once.
    pub prompt: bool,
    /// What topics there are, for groups of KIP-848.
    pub topics: TestTopics,
    tokens: u64,
}

/// The bytes of a record, and the record again.
pub fn through_bytes(form: &Form, record: &Record) -> Record {
    match form {
        Form::Marker(_) => record.clone(),
        _ => {
            let (key, value) = record.encode().expect("it can be written");
            Record::decode(key, value).expect("it can be read").expect("its kind is known")
        }
    }
}

impl Bench {
    pub fn new(settings: Settings) -> Bench {
        let mut bench = Bench {
            runtime: Runtime::new(Groups::new(settings.clone()), COMMIT_TIMEOUT_MS),
            settings,
            tick: 0,
            log: Vec::new(),
            high_watermark: 0,
            queue: VecDeque::new(),
            replies: BTreeMap::new(),
            prompt: true,
            topics: TestTopics::default(),
            tokens: 0,
        };
        while !bench.runtime.loaded(bench.now()) {}
        bench
    }

    pub fn now(&self) -> Now {
        Now { tick: self.tick, wall: WALL + self.tick as i64 }
    }

    pub fn machine(&self) -> &Groups {
        self.runtime.machine()
    }

    /// Bytes that were never given before.
    pub fn chance(&mut self) -> [u8; 16] {
        self.tokens += 1;
        u128::from(self.tokens).to_be_bytes()
    }

    /// Asks, and gives the token of the reply.
    pub fn ask(&mut self, version: i16, request: Request) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let caller = Caller { token, version, client_id: "client".into(), client_host: "/127.0.0.1".into() };
        self.runtime.event(self.now(), Event::Request(caller, request));
        self.drain();
        token
    }

    pub fn tell(&mut self, event: Event) {
        self.runtime.event(self.now(), event);
        self.drain();
    }

    /// Takes what the coordinator hands out.
    pub fn drain(&mut self) {
        self.queue.extend(self.runtime.batches());
        if self.prompt {
            while !self.queue.is_empty() {
                self.append();
                self.commit(self.log.len());
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        for (token, reply) in self.runtime.replies() {
            let twice = self.replies.insert(token, reply);
            assert!(twice.is_none(), "{token:?} is answered twice");
        }
    }

    /// Appends the oldest batch.
    pub fn append(&mut self) {
        let Some(batch) = self.queue.pop_front() else { return };
        self.runtime.appended(batch.from, self.log.len() as i64);
        let records = batch.records.iter().map(|record| (batch.form, through_bytes(&batch.form, record)));
        self.log.extend(records);
    }

    /// Commits the log up to here.
    pub fn commit(&mut self, high_watermark: usize) {
        self.high_watermark = high_watermark;
        self.runtime.committed(high_watermark as i64);
        self.collect();
    }

    /// Refuses the oldest batch, and with it all behind it.
    pub fn refuse(&mut self, error: ErrorCode) {
        let queue = std::mem::take(&mut self.queue);
        for batch in queue {
            // News of the others comes too, and says nothing new.
            self.runtime.failed(self.now(), batch.from, error);
        }
        self.drain();
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, ms: u64) {
        let until = self.tick + ms;
        while let Some(next) = self.runtime.next_deadline().filter(|next| *next <= until) {
            self.tick = self.tick.max(next);
            self.runtime.tick(self.now());
            self.drain();
        }
        self.tick = until;
    }

    /// A new coordinator reads the log.
    pub fn restart(&mut self) {
        self.runtime = Runtime::new(Groups::new(self.settings.clone()), COMMIT_TIMEOUT_MS);
        self.queue.clear();
        self.replies.clear();
        self.high_watermark = self.log.len();
        for (form, record) in &self.log {
            self.runtime.load(form, record);
        }
        while !self.runtime.loaded(self.now()) {}
        if self.topics.version > 0 {
            let event = self.topics.event(Changed::Unknown);
            self.runtime.event(self.now(), event);
        }
        self.drain();
    }

    /// Makes, changes or deletes a topic.
    pub fn topic(&mut self, name: &str, partitions: i32) {
        let event = self.topics.set(name, partitions);
        self.tell(event);
    }

    /// What the log and what is still to be appended to it say.
    pub fn replayed(&self) -> Durable {
        let queued = self
            .queue
            .iter()
            .flat_map(|batch| batch.records.iter().map(|record| (batch.form, record.clone())));
        let all: Vec<_> = self.log.iter().cloned().chain(queued).collect();
        Durable::replayed(&all)
    }

    /// Running has come to what a replay comes to.
    pub fn check_durable(&self) {
        assert_eq!(Durable::of(self.machine()), self.replayed());
    }

    /// The reply to a token that must be there.
    pub fn reply(&mut self, token: Token) -> Reply {
        self.replies.remove(&token).unwrap_or_else(|| panic!("{token:?} is not answered"))
    }

    pub fn is_answered(&self, token: Token) -> bool {
        self.replies.contains_key(&token)
    }
}

/// Takes the response out of a reply of this kind.
macro_rules! response {
    ($reply:expr, $kind:ident) => {
        match $reply {
            crate::coordinator::Reply::$kind(response) => response,
            other => panic!("{other:?}"),
        }
    };
}
pub(crate) use response;
