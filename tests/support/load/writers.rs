//! Producers that write as long as they may, and note each acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::churn::create;
use super::ledger::{Journal, Ledger, Place};
use super::{Chance, PATIENCE, wait_on};

/// What every client here is like: it comes back soon after the broker does.
pub fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "50");
    config
}

/// Notes acknowledgements in a journal.
pub struct Acknowledge(pub Arc<Journal>);

impl ClientContext for Acknowledge {
    /// Says why a producer gives up: the error of a record alone tells little.
    fn error(&self, error: KafkaError, reason: &str) {
        if reason.contains("sequence") || reason.contains("atal") {
            println!("producer {}: {error}: {reason}", self.0.number);
        }
    }
}

impl ProducerContext for Acknowledge {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => self.0.acknowledge(number, message.partition(), message.offset()),
            // What the producer of a test that has failed lets go of.
            Err((error, _)) if is_purged(error) || std::thread::panicking() => {}
            Err((error, message)) => {
                let (topic, partition) = (message.topic(), message.partition());
                panic!("record {number} of producer {} for {topic}-{partition}: {error}", self.0.number)
            }
        }
    }
}

fn is_purged(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// A producer with acks=all that tries until each record is acknowledged.
pub fn producer(
    address: &str,
    journal: Arc<Journal>,
    settings: &[(&str, &str)],
) -> BaseProducer<Acknowledge> {
    let mut config = config(address);
    config
        // Else it brings topics back that were deleted, by asking for them.
        .set("allow.auto.create.topics", "false")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("retry.backoff.ms", "10")
        .set("retry.backoff.max.ms", "50");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create_with_context(Acknowledge(journal)).unwrap()
}

/// Sends a record; each third has a key.
pub fn send(producer: &BaseProducer<Acknowledge>, topic: &str, place: Place) {
    send_with(producer, topic, place, |number| (number % 3 == 0).then(|| "key".to_owned()));
}

/// Sends a record with the key that its number gets.
pub fn send_with(
    producer: &BaseProducer<Acknowledge>,
    topic: &str,
    place: Place,
    key: impl FnOnce(usize) -> Option<String>,
) {
    let (number, value) = producer.context().0.send(place);
    let key = key(number);
    let mut record =
        BaseRecord::with_opaque_to(topic, number).partition(place.partition).payload(value.as_str());
    if let Some(key) = &key {
        record = record.key(key.as_str());
    }
    while let Err((error, again)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
        producer.poll(Duration::from_millis(10));
        record = again;
    }
}

/// A producer and what it does.
pub struct Writer {
    pub journal: Arc<Journal>,
    pub producer: BaseProducer<Acknowledge>,
    /// Where it writes to.
    pub topics: Vec<(usize, String, i32)>,
    /// How many records may wait for their answer.
    pub open: usize,
    /// How many records it hands over before it pauses.
    pub burst: u64,
    pub pause: Duration,
    pub keys: Keys,
}

/// Which keys a writer's records have.
#[derive(Clone, Copy)]
pub enum Keys {
    None,
    /// A third of them has one and the same.
    OfAThird,
    /// So many, each in turn.
    Many(usize),
}

impl Writer {
    /// Writes until it is to stop, and then waits for the last acknowledgement.
    pub fn run(&self, stop: &AtomicBool) {
        let mut chance = Chance::new(self.journal.number as u64);
        while !stop.load(Relaxed) {
            wait_on(Instant::now() + PATIENCE, String::new);
            for _ in 0..1 + chance.below(self.burst) {
                while self.journal.open() >= self.open && !stop.load(Relaxed) {
                    wait_on(Instant::now() + PATIENCE, String::new);
                    self.producer.poll(Duration::from_millis(5));
                }
                let (topic, name, partitions) = &self.topics[chance.below(self.topics.len() as u64) as usize];
                let partition = chance.below(*partitions as u64) as i32;
                let place = Place { topic: *topic, partition };
                match self.keys {
                    Keys::None => send_with(&self.producer, name, place, |_| None),
                    Keys::OfAThird => send(&self.producer, name, place),
                    Keys::Many(keys) => send_with(&self.producer, name, place, |number| {
                        Some(key(self.journal.number, number, keys))
                    }),
                }
            }
            self.producer.poll(self.pause);
        }
        let deadline = Instant::now() + PATIENCE;
        while self.journal.open() > 0 {
            wait_on(deadline, || format!("producer {} still waits", self.journal.number));
            self.producer.poll(Duration::from_millis(5));
        }
    }
}

/// The key of a producer's record.
pub fn key(journal: usize, number: usize, keys: usize) -> String {
    format!("{journal} {}", number % keys)
}

/// The topics that are written to, and who writes to them.
pub fn all(address: &str, ledger: &Ledger) -> Vec<Writer> {
    let forever = [("retention.ms", "-1"), ("retention.bytes", "-1")];
    let topic = |name: &str, partitions, settings: &[(&str, &str)]| {
        create(address, name, partitions, &[&forever, settings].concat());
        (ledger.topic(name, partitions), name.to_string(), partitions)
    };
    // The smallest segments there can be, so that many are finished.
    let rolls = topic("rolls", 3, &[("segment.bytes", "1048576"), ("index.interval.bytes", "1000")]);
    let large = topic("large", 4, &[]);
    let quiet = topic("quiet", 2, &[("message.timestamp.type", "LogAppendTime")]);
    let writer =
        |topics: &[&(usize, String, i32)], largest, settings: &[(&str, &str)], open, burst, pause| {
            let journal = ledger.journal(largest);
            Writer {
                producer: producer(address, journal.clone(), settings),
                journal,
                topics: topics.iter().map(|topic| (*topic).clone()).collect(),
                open,
                burst,
                pause: Duration::from_millis(pause),
                keys: Keys::OfAThird,
            }
        };
    let batches = [("linger.ms", "20"), ("compression.codec", "lz4")];
    vec![
        writer(&[&rolls, &large], 6_000, &batches, 300, 50, 15),
        writer(&[&rolls], 20_000, &[("linger.ms", "5")], 60, 20, 20),
        writer(&[&rolls, &large, &quiet], 200, &[("linger.ms", "0")], 200, 10, 4),
        // One at a time.
        writer(&[&quiet], 30, &[("linger.ms", "0")], 1, 1, 1),
        // A request for each record, several under way.
        writer(&[&large, &quiet], 100, &[("linger.ms", "0"), ("batch.num.messages", "1")], 20, 5, 3),
    ]
}
