//! What a broker that was started after a power cut has to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::work::{Rule, Topic};
use crate::load::churn::{Known, until_done};
use crate::load::ledger::{Ledger, Noted, Place, Record};
use crate::load::writers::{config, key, producer, send_with};
use crate::load::{PATIENCE, earliest, wait_on};

/// A producer and the number of its record.
pub type Who = (usize, usize);

/// What was read back: the record at each offset. `None` is one that nobody can have written.
pub type Found = BTreeMap<Place, BTreeMap<i64, Option<Who>>>;

/// What was known in the moment of a cut.
pub struct Moment {
    /// What was acknowledged before the cut.
    pub before: Noted,
    /// How many records each producer had sent after it.
    pub sent: Vec<usize>,
    /// Topics that come and go.
    pub churn: Known,
    /// Where the logs of some partitions began after it.
    pub starts: BTreeMap<Place, i64>,
}

/// All topics whose content is known.
pub fn all_topics(topics: &[Topic], churn: &Known) -> Vec<(String, usize, i32, Rule)> {
    let lasting =
        topics.iter().map(|topic| (topic.name.to_owned(), topic.number, topic.partitions, topic.rule));
    let passing = churn.iter().filter_map(|(name, known)| {
        known.map(|(number, partitions)| (name.clone(), number, partitions, Rule::All))
    });
    lasting.chain(passing).collect()
}

/// A client that reads.
pub fn reader(address: &str) -> BaseConsumer {
    let mut config = config(address);
    config.set("group.id", "none").set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.set("fetch.wait.max.ms", "10").set("fetch.error.backoff.ms", "20").set("check.crcs", "true");
    config.set("enable.partition.eof", "true");
    config.create().unwrap()
}

/// Reads everything.
pub fn read(consumer: &BaseConsumer, ledger: &Ledger, topics: &[(String, usize, i32, Rule)]) -> Found {
    let (mut list, mut numbers, mut found) = (TopicPartitionList::new(), BTreeMap::new(), Found::new());
    for (name, topic, partitions, _) in topics {
        list.add_partition_range(name, 0, partitions - 1);
        numbers.insert(name.as_str(), *topic);
        found.extend((0..*partitions).map(|partition| (Place { topic: *topic, partition }, BTreeMap::new())));
    }
    // (librdkafka would wait half a second before it asks where the beginning is.)
    list.set_all_offsets(Offset::Offset(0)).unwrap();
    consumer.assign(&list).unwrap();
    let (mut open, deadline) = (found.len(), Instant::now() + PATIENCE);
    while open > 0 {
        wait_on(deadline, || format!("{open} partitions were not read to their end"));
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                let place = Place { topic: numbers[message.topic()], partition: message.partition() };
                let value = message.payload().and_then(|value| std::str::from_utf8(value).ok());
                let who = value.and_then(|value| ledger.identify(value));
                let before = found.get_mut(&place).expect("it is assigned").insert(message.offset(), who);
                assert!(before.is_none(), "{}-{place:?}@{} comes twice", message.topic(), message.offset());
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => panic!("reading everything: {error}"),
            None => {}
        }
    }
    found
}

/// Whether topics are there that must be, and none that must not be.
pub fn topics(looker: &BaseConsumer, known: &Moment, topics: &[Topic]) {
    let metadata = until_done(|| looker.fetch_metadata(None, Duration::from_secs(5)));
    let there: BTreeMap<&str, i32> =
        metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len() as i32)).collect();
    let lasting = topics.iter().map(|topic| (topic.name, Some(topic.partitions)));
    let passing =
        known.churn.iter().map(|(name, known)| (name.as_str(), known.map(|(_, partitions)| partitions)));
    for (name, wanted) in lasting.chain(passing) {
        assert_eq!(there.get(name).copied(), wanted, "partitions of {name}");
    }
}

/// Holds what was read back against what was known in the moment of the cut.
pub fn content(
    found: &Found,
    known: &Moment,
    records: &[Vec<Record>],
    topics: &[(String, usize, i32, Rule)],
) {
    let rules: BTreeMap<usize, (&str, Rule)> =
        topics.iter().map(|(name, topic, _, rule)| (*topic, (name.as_str(), *rule))).collect();
    for (place, log) in found {
        let (name, rule) = rules[&place.topic];
        sound(&format!("{name}-{}", place.partition), *place, rule, log, known, records);
    }
    for (journal, before) in known.before.iter().enumerate() {
        for (number, offset) in before.iter().enumerate() {
            let (Some(offset), place) = (*offset, records[journal][number].place) else { continue };
            let Some(log) = found.get(&place) else { continue };
            let (name, rule) = rules[&place.topic];
            if log.contains_key(&offset) {
                continue;
            }
            let is_settled = match rule {
                Rule::All => false,
                Rule::Newest => offset < known.starts.get(&place).copied().unwrap_or(0),
                Rule::LastOfKeys(keys) => {
                    let same = |who: &Option<Who>| {
                        who.is_some_and(|(j, n)| j == journal && n % keys == number % keys)
                    };
                    log.range(offset..).any(|(_, who)| same(who))
                }
            };
            let end = log.last_key_value().map_or(0, |(last, _)| last + 1);
            assert!(
                is_settled,
                "LOST: {name}-{}@{offset}, record {number} of producer {journal}, was acknowledged before the cut; the \
                 log ends at {end}",
                place.partition
            );
        }
    }
}

/// Whether a log holds nothing but what was sent, where it was acknowledged, and without gaps.
fn sound(
    name: &str,
    place: Place,
    rule: Rule,
    log: &BTreeMap<i64, Option<Who>>,
    known: &Moment,
    records: &[Vec<Record>],
) {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    let mut next = match rule {
        Rule::All => Some(0),
        _ => None,
    };
    for (offset, who) in log {
        let Some(who @ (journal, number)) = *who else {
            panic!("ALIEN: {name}@{offset} is a record that nobody has sent like this")
        };
        let record = records[journal][number];
        assert_eq!(record.place, place, "ALIEN: {name}@{offset}: {who:?}");
        let sent = known.sent.get(journal).is_some_and(|sent| number < *sent);
        assert!(sent, "ALIEN: {name}@{offset}: {who:?} was sent after the cut");
        let acknowledged = record.acknowledged;
        assert!(
            acknowledged.is_none_or(|at| at == *offset),
            "MOVED: {name}@{offset}: {who:?} is at {acknowledged:?}"
        );
        assert!(!record.lost || rule != Rule::All, "RISEN: {name}@{offset}: {who:?} was gone before");
        assert!(seen.insert(who), "TWICE: {name}@{offset}: {who:?}");
        let before = last.insert(journal, number);
        assert!(
            before.is_none_or(|before| before < number),
            "ORDER: {name}@{offset}: {who:?} after {before:?}"
        );
        assert!(next.is_none_or(|next| next == *offset), "GAP: {name}@{offset}, where {next:?} comes next");
        if !matches!(rule, Rule::LastOfKeys(_)) {
            next = Some(offset + 1);
        }
    }
}

/// Whether what was served before the second cut is served after it.
pub fn same(first: &Found, second: &Found, topics: &[(String, usize, i32, Rule)]) {
    for (name, topic, partitions, rule) in topics {
        for partition in 0..*partitions {
            let place = Place { topic: *topic, partition };
            let (before, after) = (&first[&place], &second[&place]);
            let name = format!("{name}-{partition}");
            let (last, now_last) = (before.last_key_value(), after.last_key_value());
            assert_eq!(last, now_last, "SERVED: the last record of {name} is another one after the next cut");
            if *rule == Rule::All {
                let differs = before.iter().zip(after).find(|(before, after)| before != after);
                assert_eq!(differs, None, "SERVED: {name} has changed");
                assert_eq!(before.len(), after.len(), "SERVED: {name} is shorter");
            }
            let changed = after.iter().find(|(offset, who)| before.get(offset).is_some_and(|b| b != *who));
            assert_eq!(changed, None, "SERVED: {name} has changed");
        }
    }
}

/// Writes a record to each partition, behind everything that is there, and adds it to what was found.
pub fn probe(address: &str, ledger: &Ledger, topics: &[(String, usize, i32, Rule)], found: &mut Found) {
    let journal = ledger.journal(200);
    let producer = producer(address, journal.clone(), &[("linger.ms", "0")]);
    for (name, topic, partitions, _) in topics {
        for partition in 0..*partitions {
            let place = Place { topic: *topic, partition };
            send_with(&producer, name, place, |number| Some(key(journal.number, number, usize::MAX)));
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while journal.open() > 0 {
        wait_on(deadline, || "a partition does not take a record".to_owned());
        producer.poll(Duration::from_millis(5));
    }
    for (number, record) in ledger.records()[journal.number].iter().enumerate() {
        let log = found.get_mut(&record.place).expect("it was read");
        let end = log.last_key_value().map_or(0, |(last, _)| last + 1);
        let at = record.acknowledged.expect("it was waited for");
        assert!(at >= end, "REUSED: {:?} took a record at {at}, and ended at {end}", record.place);
        log.insert(at, Some((journal.number, number)));
    }
}

/// Where the logs begin that retention shortens.
pub fn starts(address: &str, topics: &[Topic]) -> BTreeMap<Place, i64> {
    let mut starts = BTreeMap::new();
    for topic in topics.iter().filter(|topic| topic.rule == Rule::Newest) {
        for partition in 0..topic.partitions {
            let start = until_done(|| earliest(address, topic.name, partition).ok_or("it does not tell"));
            starts.insert(Place { topic: topic.number, partition }, start);
        }
    }
    starts
}
