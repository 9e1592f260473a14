//! Clients that have not written: one that follows all the time, one that looks after each start, and kcat, which
//! reads everything in the end.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::succeeded;
use crate::load::churn::until_done;
use crate::load::ledger::{Ledger, Logs, Place, Topic};
use crate::load::writers::config;
use crate::load::{Chance, PATIENCE, earliest, wait_on};

/// Topics that are there from the beginning to the end.
fn lasting(ledger: &Ledger) -> Vec<Topic> {
    ledger.topics().into_iter().filter(|topic| !topic.name.starts_with("extra")).collect()
}

fn kcat(address: &str, arguments: &[&str]) -> String {
    let output = Command::new("kcat")
        .args(["-C", "-b", address, "-e", "-q", "-X", "check.crcs=true", "-f", "%p %o %s\n"])
        .args(arguments)
        .output()
        .expect("kcat is there (tests/setup.sh installs it)");
    String::from_utf8(succeeded(arguments, output)).unwrap()
}

/// Partition, offset and value.
fn record(line: &str) -> (i32, i64, &str) {
    let mut parts = line.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_else(|| panic!("'{line}'"));
    (next().parse().unwrap(), next().parse().unwrap(), next())
}

/// Reads everything.
pub fn all(address: &str, ledger: &Ledger) -> Logs {
    let mut logs = Logs::new();
    for topic in ledger.topics() {
        for partition in 0..topic.partitions {
            logs.insert(Place { topic: topic.number, partition }, Vec::new());
        }
        for line in kcat(address, &["-t", &topic.name, "-o", "beginning"]).lines() {
            let (partition, offset, value) = record(line);
            let log = logs.get_mut(&Place { topic: topic.number, partition }).unwrap();
            let name = &topic.name;
            assert_eq!(offset, log.len() as i64, "{name}-{partition}: each offset once, and in order");
            log.push(ledger.identify(value));
        }
    }
    logs
}

/// Looks at what was acknowledged shortly before.
pub struct Looker {
    address: String,
    consumer: BaseConsumer,
}

impl Looker {
    pub fn new(address: &str) -> Looker {
        Looker { address: address.to_string(), consumer: config(address).create().unwrap() }
    }

    /// Whether every log reaches to what was acknowledged, and one of them holds the last of it.
    pub fn check(&self, ledger: &Ledger, chance: &mut Chance) {
        let topics: BTreeMap<usize, String> =
            lasting(ledger).into_iter().map(|t| (t.number, t.name)).collect();
        let ends = ledger.ends();
        let ends: Vec<_> = ends.iter().filter(|(place, _)| topics.contains_key(&place.topic)).collect();
        for (place, end) in &ends {
            let (topic, partition) = (&topics[&place.topic], place.partition);
            // librdkafka asks for start and end in two requests; where the first times out and the second does not, it
            // gives the one answer for both.
            let ask = || match self.consumer.fetch_watermarks(topic, partition, Duration::from_secs(1)) {
                Ok((low, high)) if low == high && **end > 0 => {
                    let start = earliest(&self.address, topic, partition);
                    assert!(start.is_none_or(|start| start == 0), "{topic}-{partition} starts at {start:?}");
                    Err(format!("start and end are {low}"))
                }
                told => told.map_err(|error| error.to_string()),
            };
            let (start, found) = until_done(ask);
            assert!(found >= **end, "{topic}-{partition} ends at {found}, and {end} was acknowledged");
            assert_eq!(start, 0, "{topic}-{partition}, which ends at {found}, at least at {end}");
        }
        if ends.is_empty() {
            return;
        }
        let (place, end) = ends[chance.below(ends.len() as u64) as usize];
        let from = (end - 1 - chance.below(300) as i64).max(0);
        let mut wanted = ledger.acknowledged(*place, from);
        let (topic, partition) = (&topics[&place.topic], place.partition.to_string());
        let count = (end - from).max(1).to_string();
        let read =
            kcat(&self.address, &["-t", topic, "-p", &partition, "-o", &from.to_string(), "-c", &count]);
        for line in read.lines() {
            let (_, offset, value) = record(line);
            if let Some(sent) = wanted.remove(&offset) {
                let found = ledger.identify(value);
                assert_eq!(found, Some(sent), "{topic}-{partition}@{offset}: {value:.40}");
            }
        }
        let left = wanted.range(..*end).next();
        assert_eq!(left, None, "{topic}-{partition}: it was acknowledged");
    }
}

/// Reads on and on, over every kill.
pub struct Follower<'a> {
    ledger: &'a Ledger,
    consumer: BaseConsumer,
    topics: BTreeMap<String, usize>,
}

/// What the follower has seen.
pub struct Seen(Logs);

impl<'a> Follower<'a> {
    pub fn new(address: &str, ledger: &'a Ledger) -> Follower<'a> {
        let mut config = config(address);
        // Librdkafka wants a name of a group, although partitions are assigned by hand.
        config.set("group.id", "none").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
        config.set("fetch.wait.max.ms", "100").set("fetch.error.backoff.ms", "20").set("check.crcs", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for topic in lasting(ledger) {
            list.add_partition_range(&topic.name, 0, topic.partitions - 1);
        }
        list.set_all_offsets(Offset::Offset(0)).unwrap();
        consumer.assign(&list).unwrap();
        let topics = lasting(ledger).into_iter().map(|topic| (topic.name, topic.number)).collect();
        Follower { ledger, consumer, topics }
    }

    /// Reads until it is told that nothing more comes, and it has read all that was acknowledged.
    pub fn run(self, seen_all: &AtomicBool) -> Seen {
        let mut seen = Logs::new();
        let mut deadline = None;
        loop {
            wait_on(Instant::now() + PATIENCE, String::new);
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    let topic = self.topics[message.topic()];
                    let log = seen.entry(Place { topic, partition: message.partition() }).or_default();
                    let (name, partition) = (message.topic(), message.partition());
                    assert_eq!(message.offset(), log.len() as i64, "{name}-{partition}: nothing is left out");
                    let value = message.payload().and_then(|value| std::str::from_utf8(value).ok());
                    log.push(value.and_then(|value| self.ledger.identify(value)));
                }
                Some(Err(error)) => assert!(is_passing(&error), "the follower: {error}"),
                None if seen_all.load(Relaxed) => {
                    let until = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                    if self.has_read_all(&seen) {
                        return Seen(seen);
                    }
                    wait_on(until, || "the follower does not reach the end".to_string());
                }
                None => {}
            }
        }
    }

    fn has_read_all(&self, seen: &Logs) -> bool {
        let ends = self.ledger.ends();
        let mut ends =
            ends.iter().filter(|(place, _)| self.topics.values().any(|topic| *topic == place.topic));
        ends.all(|(place, end)| seen.get(place).map_or(0, Vec::len) as i64 >= *end)
    }
}

/// Whether an error only tells that the broker is away.
fn is_passing(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
        )
    )
}

impl Seen {
    /// What was once served has to stay.
    pub fn check(&self, logs: &Logs) {
        for (place, seen) in &self.0 {
            let log = &logs[place];
            assert!(log.len() >= seen.len(), "{place:?}: {} were seen, {} are there", seen.len(), log.len());
            let changed = seen.iter().zip(log).position(|(seen, there)| seen != there);
            assert_eq!(changed, None, "{place:?}: the record that was seen at this offset has changed");
        }
    }
}
