//! A coordinator of transactions with a log beside it, and requests in short words.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::coordinator::records::Producer;
use crate::coordinator::runtime::{Now, Runtime, Token};
use crate::coordinator::transaction::*;
use crate::wire::error::ErrorCode;

pub const TIMEOUT_MS: i32 = 60_000;
/// The first producer id that the desk's allocator gives.
pub const FIRST_ID: i64 = 1000;

pub fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id, epoch }
}

/// A coordinator whose log takes everything, at once where nothing else is said.
pub struct Desk {
    pub runtime: Runtime<Transactions>,
    pub now: Now,
    /// What the log holds, as it is read back.
    pub log: Vec<Record>,
    /// Markers that have left and are not answered.
    pub markers: Vec<Markers>,
    pub withheld: Vec<Marked>,
    pub ids: Rc<Cell<i64>>,
    settings: Settings,
    replies: Vec<(Token, Reply)>,
    token: u64,
}

impl Desk {
    pub fn new(settings: Settings) -> Desk {
        Desk::over(Vec::new(), settings, Now { tick: 0, wall: 1_000_000 }, FIRST_ID, 0)
    }

    /// A coordinator that begins with what a log says.
    pub fn over(
        log: Vec<Record>,
        settings: Settings,
        now: Now,
        next_id: i64,
        coordinator_epoch: i32,
    ) -> Desk {
        let ids = Rc::new(Cell::new(next_id));
        let machine = Transactions::new(settings.clone(), coordinator_epoch, allocator(&ids));
        let mut runtime = Runtime::new(machine, 5000);
        log.iter().for_each(|record| runtime.load(&(), record));
        while !runtime.loaded(now) {}
        let mut desk = Desk {
            runtime,
            now,
            log,
            markers: Vec::new(),
            withheld: Vec::new(),
            ids,
            settings,
            replies: Vec::new(),
            token: 0,
        };
        desk.settle();
        desk
    }

    /// The process ends, and another begins with what the log says, under the next epoch.
    pub fn restart(&mut self, coordinator_epoch: i32) {
        let log = std::mem::take(&mut self.log);
        *self = Desk::over(log, self.settings.clone(), self.now, self.ids.get(), coordinator_epoch);
    }

    /// Asks, and leaves all that follows to [`Desk::settle`].
    pub fn put(&mut self, version: i16, request: Request) -> Token {
        self.token += 1;
        let token = Token(self.token);
        self.runtime.event(self.now, Event::Request(Caller { token, version }, request));
        token
    }

    /// Everything that waits for the log is taken by it.
    pub fn settle(&mut self) {
        loop {
            let batches = self.runtime.batches();
            for batch in &batches {
                self.runtime.appended(batch.from, self.log.len() as i64);
                for record in &batch.records {
                    let (key, value) = record.encode().unwrap();
                    self.log.push(Record::decode(key, value).unwrap().unwrap());
                }
            }
            self.runtime.committed(self.log.len() as i64);
            self.collect();
            if batches.is_empty() {
                return;
            }
        }
    }

    /// The log refuses everything that waits for it.
    pub fn refuse(&mut self, error: ErrorCode) {
        if let Some(first) = self.runtime.batches().first() {
            self.runtime.failed(self.now, first.from, error);
        }
        self.collect();
    }

    pub fn collect(&mut self) {
        for (token, reply) in self.runtime.replies() {
            match reply {
                Reply::Markers(markers) => self.markers.push(markers),
                Reply::Withheld(marked) => self.withheld.push(marked),
                reply => self.replies.push((token, reply)),
            }
        }
    }

    pub fn reply(&mut self, token: Token) -> Option<Reply> {
        let at = self.replies.iter().position(|(to, _)| *to == token)?;
        Some(self.replies.swap_remove(at).1)
    }

    pub fn ask(&mut self, version: i16, request: Request) -> Reply {
        let token = self.put(version, request);
        self.settle();
        self.reply(token).expect("everything is answered once the log has it")
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = Now { tick: self.now.tick + ms, wall: self.now.wall + ms as i64 };
        while self.runtime.next_deadline().is_some_and(|at| at <= self.now.tick) {
            self.runtime.tick(self.now);
            self.settle();
        }
    }

    /// All partitions of the markers that have left are marked.
    pub fn mark(&mut self) {
        self.mark_with(|_, _| Written::Answer(ErrorCode::NONE));
    }

    pub fn mark_with(&mut self, written: impl Fn(&str, i32) -> Written) {
        for markers in std::mem::take(&mut self.markers) {
            let partitions = markers.partitions.iter();
            let answers = partitions.map(|(topic, n)| (topic.clone(), n, written(topic, n))).collect();
            self.runtime.event(self.now, Event::Marked(markers.told(Outcome::Partitions(answers))));
        }
        self.settle();
    }

    pub fn init(&mut self, id: &str) -> Result<Producer, ErrorCode> {
        self.init_as(id, producer(-1, -1), TIMEOUT_MS)
    }

    pub fn init_as(&mut self, id: &str, expected: Producer, timeout_ms: i32) -> Result<Producer, ErrorCode> {
        let reply = self.ask(5, init_request(id, expected, timeout_ms));
        let Reply::InitProducerId(reply) = reply else { panic!("{reply:?}") };
        reply.error_code.ok()?;
        Ok(producer(reply.producer_id, reply.producer_epoch))
    }

    pub fn add(&mut self, id: &str, producer: Producer, topics: &[(&str, &[i32])]) -> ErrorCode {
        self.add_as(3, id, producer, topics)
    }

    /// By the second protocol, a broker adds.
    pub fn add2(&mut self, id: &str, producer: Producer, topics: &[(&str, &[i32])]) -> ErrorCode {
        self.add_as(4, id, producer, topics)
    }

    fn add_as(&mut self, version: i16, id: &str, producer: Producer, topics: &[(&str, &[i32])]) -> ErrorCode {
        let errors = self.add_result(version, id, producer, false, topics);
        assert!(errors.windows(2).all(|pair| pair[0] == pair[1]), "all or nothing: {errors:?}");
        errors[0]
    }

    pub fn verify(&mut self, id: &str, producer: Producer, topics: &[(&str, &[i32])]) -> Vec<ErrorCode> {
        self.add_result(4, id, producer, true, topics)
    }

    fn add_result(
        &mut self,
        version: i16,
        id: &str,
        producer: Producer,
        verify_only: bool,
        topics: &[(&str, &[i32])],
    ) -> Vec<ErrorCode> {
        let reply = self.ask(version, add_request(id, producer, verify_only, topics));
        let Reply::AddPartitions(reply) = reply else { panic!("{reply:?}") };
        assert_eq!(reply.transactional_id, id);
        let partitions = reply.topic_results.iter().flat_map(|topic| &topic.results_by_partition);
        partitions.map(|partition| partition.partition_error_code).collect()
    }

    pub fn end(&mut self, id: &str, producer: Producer, commit: bool) -> ErrorCode {
        self.end_as(4, id, producer, commit).map_or_else(|error| error, |_| ErrorCode::NONE)
    }

    pub fn end2(&mut self, id: &str, producer: Producer, commit: bool) -> Result<Producer, ErrorCode> {
        self.end_as(5, id, producer, commit)
    }

    fn end_as(
        &mut self,
        version: i16,
        id: &str,
        producer: Producer,
        commit: bool,
    ) -> Result<Producer, ErrorCode> {
        let reply = self.ask(version, end_request(id, producer, commit));
        let Reply::End(reply) = reply else { panic!("{reply:?}") };
        reply.error_code.ok()?;
        Ok(Producer { id: reply.producer_id, epoch: reply.producer_epoch })
    }

    pub fn transaction(&self, id: &str) -> &Transaction {
        self.runtime.machine().transaction(id).unwrap()
    }

    pub fn status(&self, id: &str) -> Status {
        self.transaction(id).status
    }

    /// What of all this would be known again.
    pub fn durable(&self) -> Vec<(String, Transaction)> {
        durable(self.runtime.machine())
    }

    /// What a coordinator knows that has read the log.
    pub fn replayed(&self) -> Vec<(String, Transaction)> {
        let machine = Transactions::new(self.settings.clone(), 0, allocator(&self.ids));
        let mut runtime = Runtime::new(machine, 5000);
        self.log.iter().for_each(|record| runtime.load(&(), record));
        durable(runtime.machine())
    }
}

pub fn allocator(ids: &Rc<Cell<i64>>) -> Box<dyn ProducerIds> {
    let ids = ids.clone();
    Box::new(move || Ok(ids.replace(ids.get() + 1)))
}

pub fn durable(machine: &Transactions) -> Vec<(String, Transaction)> {
    let version = i16::from(machine.settings().transaction_version >= 1);
    let stored = |known: &Arc<Transaction>| records::as_stored(known, version);
    machine.all().map(|(id, known)| (id.to_string(), stored(known))).collect()
}

pub fn init_request(id: &str, expected: Producer, timeout_ms: i32) -> Request {
    Request::InitProducerId(InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: timeout_ms,
        producer_id: expected.id,
        producer_epoch: expected.epoch,
    })
}

pub fn add_request(id: &str, producer: Producer, verify_only: bool, topics: &[(&str, &[i32])]) -> Request {
    let topics = topics
        .iter()
        .map(|(name, numbers)| AddPartitionsToTxnTopic { name: (*name).into(), partitions: numbers.to_vec() })
        .collect();
    Request::AddPartitions(AddPartitions { transactional_id: id.into(), producer, verify_only, topics })
}

pub fn end_request(id: &str, producer: Producer, committed: bool) -> Request {
    Request::End(EndTxnRequest {
        transactional_id: id.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    })
}

/// With the first protocol only.
pub fn first_protocol() -> Settings {
    Settings { transaction_version: 1, ..Settings::default() }
}
