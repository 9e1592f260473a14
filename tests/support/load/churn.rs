//! Topics that come and go while the broker is killed.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::ledger::{Journal, Ledger, Place};
use super::writers::{config, producer, send};
use super::{Chance, PATIENCE, wait_on};

/// How many topics there are at most.
const TOPICS: usize = 6;

/// Number and partitions of each topic that was acknowledged to be there, none for one that was acknowledged to be gone.
/// What is under way is not in it.
pub type Known = BTreeMap<String, Option<(usize, i32)>>;

/// Creates and deletes topics, and knows which have to be there.
pub struct Churn<'a> {
    address: String,
    ledger: &'a Ledger,
    journal: Arc<Journal>,
    chance: Mutex<Chance>,
    known: Mutex<Known>,
    looker: BaseConsumer,
}

impl<'a> Churn<'a> {
    pub fn new(address: &str, ledger: &'a Ledger, seed: u64) -> Churn<'a> {
        let (address, journal) = (address.to_string(), ledger.journal(500));
        let looker = config(&address).create().unwrap();
        let chance = Mutex::new(Chance::new(!seed));
        Churn { address, ledger, journal, chance, known: Mutex::default(), looker }
    }

    /// Creates, writes to and deletes topics until it is to stop.
    pub fn run(&self, stop: &AtomicBool) {
        let mut there: Vec<(usize, String)> = Vec::new();
        let roll = |bound| self.chance.lock().unwrap().below(bound);
        let mut next = 0;
        while !stop.load(Relaxed) {
            thread::sleep(Duration::from_millis(roll(300)));
            let mut name = None;
            if there.len() == TOPICS || (!there.is_empty() && roll(3) == 0) {
                let (number, old) = there.swap_remove(roll(there.len() as u64) as usize);
                self.delete(number, &old);
                name = Some(old).filter(|_| roll(2) == 0);
            }
            let name = name.unwrap_or_else(|| {
                next += 1;
                format!("extra-{}-{next}", self.journal.number)
            });
            let number = self.create(&name, 1 + roll(4) as i32);
            let (_, partitions) = self.known.lock().unwrap()[&name].expect("it was created");
            // Another one for each topic: librdkafka goes on with what it knows of one of the same name.
            let producer = producer(&self.address, self.journal.clone(), &[("linger.ms", "2")]);
            for n in 0..roll(30) {
                send(&producer, &name, Place { topic: number, partition: n as i32 % partitions });
            }
            let deadline = Instant::now() + PATIENCE;
            while self.journal.open() > 0 {
                wait_on(deadline, || format!("nothing is acknowledged in {name}"));
                producer.poll(Duration::from_millis(5));
            }
            there.push((number, name));
        }
    }

    fn create(&self, name: &str, partitions: i32) -> usize {
        self.known.lock().unwrap().remove(name);
        create(&self.address, name, partitions, &[]);
        let number = self.ledger.topic(name, partitions);
        self.known.lock().unwrap().insert(name.to_string(), Some((number, partitions)));
        number
    }

    fn delete(&self, number: usize, name: &str) {
        self.known.lock().unwrap().remove(name);
        self.ledger.delete(number);
        until_done(|| {
            let deleted = wait(admin(&self.address).delete_topics(&[name], &options()));
            // Deleted by a request that was not answered.
            settled(deleted, RDKafkaErrorCode::UnknownTopicOrPartition)
        });
        self.known.lock().unwrap().insert(name.to_string(), None);
    }

    /// What is known, and something else of the same moment.
    pub fn moment<T>(&self, of: impl FnOnce() -> T) -> (Known, T) {
        // While this is held, nothing that is known can begin to change.
        let known = self.known.lock().unwrap();
        let other = of();
        (known.clone(), other)
    }

    /// Whether the topics that were acknowledged are there, and no others that were acknowledged to be gone.
    pub fn check(&self) {
        // While this is held, nothing that is known can begin to change.
        let known = self.known.lock().unwrap();
        let metadata = until_done(|| self.looker.fetch_metadata(None, Duration::from_secs(1)));
        let partitions =
            metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len() as i32));
        let there: BTreeMap<&str, i32> = partitions.collect();
        for (name, wanted) in known.iter() {
            let wanted = wanted.as_ref().map(|(_, partitions)| partitions);
            assert_eq!(there.get(name.as_str()), wanted, "partitions of {name}");
        }
    }
}

fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    config(address).create().unwrap()
}

fn options() -> AdminOptions {
    let second = Some(Duration::from_secs(1));
    AdminOptions::new().request_timeout(second).operation_timeout(second)
}

/// Creates a topic, however often it takes.
pub fn create(address: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    until_done(|| {
        let created = wait(admin(address).create_topics([&topic], &options()));
        // Created by a request that was not answered.
        settled(created, RDKafkaErrorCode::TopicAlreadyExists)
    });
}

type Answer = Result<Vec<Result<String, (String, RDKafkaErrorCode)>>, KafkaError>;

/// Whether the broker has done what it was asked, now or before.
fn settled(answer: Answer, before: RDKafkaErrorCode) -> Result<(), KafkaError> {
    match answer?.remove(0) {
        Ok(_) => Ok(()),
        Err((_, error)) if error == before => Ok(()),
        Err((name, error)) => {
            let is_passing = matches!(
                error,
                RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::NotController
            );
            assert!(is_passing, "{name}: {error}");
            Err(KafkaError::AdminOp(error))
        }
    }
}

/// Tries again until it succeeds.
pub fn until_done<T, E: Debug>(mut once: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match once() {
            Ok(done) => return done,
            Err(error) => wait_on(deadline, || format!("it failed for too long: {error:?}")),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
