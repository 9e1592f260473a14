//! What a broker that was started after a power cut has to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::work::{EVEN, Rule, Topic};
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

impl Moment {
    /// A later moment: what was written since the cut is in these journals.
    pub fn with(&self, ledger: &Ledger, journals: &[usize]) -> Moment {
        let counts = ledger.counts();
        let mut sent = self.sent.clone();
        sent.resize(counts.len(), 0);
        journals.iter().for_each(|journal| sent[*journal] = counts[*journal]);
        // Retention may have gone on.
        let starts = self.starts.keys().map(|place| (*place, i64::MAX)).collect();
        Moment { before: ledger.noted_with(&self.before, journals), sent, churn: self.churn.clone(), starts }
    }
}

/// All topics whose content is known: those that are there from the beginning to the end, and those that come and go.
pub fn all_topics(topics: &[Topic], churn: &Known) -> Vec<Topic> {
    let passing = churn.iter().filter_map(|(name, known)| {
        known.map(|(number, partitions)| Topic { number, name: name.clone(), partitions, rule: Rule::All })
    });
    topics.iter().cloned().chain(passing).collect()
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
pub fn read(consumer: &BaseConsumer, ledger: &Ledger, topics: &[Topic]) -> Found {
    let (mut list, mut numbers, mut found) = (TopicPartitionList::new(), BTreeMap::new(), Found::new());
    for topic in topics {
        list.add_partition_range(&topic.name, 0, topic.partitions - 1);
        numbers.insert(topic.name.as_str(), topic.number);
        found.extend(topic.places().map(|place| (place, BTreeMap::new())));
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
    let lasting = topics.iter().map(|topic| (topic.name.as_str(), Some(topic.partitions)));
    let passing =
        known.churn.iter().map(|(name, known)| (name.as_str(), known.map(|(_, partitions)| partitions)));
    for (name, wanted) in lasting.chain(passing) {
        assert_eq!(there.get(name).copied(), wanted, "partitions of {name}");
    }
}

/// Holds what was read back against what was known in the moment of the cut.
pub fn content(found: &Found, known: &Moment, records: &[Vec<Record>], topics: &[Topic]) {
    let rules: BTreeMap<usize, (&str, Rule)> =
        topics.iter().map(|topic| (topic.number, (topic.name.as_str(), topic.rule))).collect();
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
pub fn same(first: &Found, second: &Found, topics: &[Topic]) {
    for topic in topics {
        for place in topic.places() {
            let (before, after) = (&first[&place], &second[&place]);
            let name = format!("{}-{}", topic.name, place.partition);
            let (last, now_last) = (before.last_key_value(), after.last_key_value());
            assert_eq!(last, now_last, "SERVED: the last record of {name} is another one after the next cut");
            if topic.rule == Rule::All {
                let differs = before.iter().zip(after).find(|(before, after)| before != after);
                assert_eq!(differs, None, "SERVED: {name} has changed");
                assert_eq!(before.len(), after.len(), "SERVED: {name} is shorter");
            }
            let changed = after.iter().find(|(offset, who)| before.get(offset).is_some_and(|b| b != *who));
            assert_eq!(changed, None, "SERVED: {name} has changed");
        }
    }
}

/// A partition, its topic's name, and whether its records need keys.
pub type Target = (String, Place, bool);

/// All partitions of these topics.
pub fn places(topics: &[Topic]) -> Vec<Target> {
    let all = |topic: &Topic| {
        let (name, keyed) = (topic.name.clone(), matches!(topic.rule, Rule::LastOfKeys(_)));
        topic.places().map(move |place| (name.clone(), place, keyed)).collect::<Vec<_>>()
    };
    topics.iter().flat_map(all).collect()
}

/// Those partitions whose tail the broker found torn, by its own word.
pub fn torn(topics: &[Topic], log: &str) -> Vec<Target> {
    let is_torn = |(name, place, _): &Target| {
        let folder = format!("/{name}-{}/", place.partition);
        log.lines().any(|line| line.contains(&folder) && line.contains("torn tail"))
    };
    places(topics).into_iter().filter(is_torn).collect()
}

/// Writes so many records to each of these partitions and waits until the last is acknowledged, but no longer than this.
/// Gives the number of the journal.
pub fn probe(address: &str, ledger: &Ledger, places: &[Target], count: u64, patience: Duration) -> usize {
    let journal = ledger.even_journal(EVEN);
    let single = [("linger.ms", "0"), ("batch.num.messages", "1")];
    let producer = producer(address, journal.clone(), &single);
    for _ in 0..count {
        for (name, place, keyed) in places {
            let key = |number| keyed.then(|| key(journal.number, number, usize::MAX));
            send_with(&producer, name, *place, key);
        }
    }
    let deadline = Instant::now() + patience;
    while journal.open() > 0 && Instant::now() < deadline {
        wait_on(deadline + PATIENCE, String::new);
        producer.poll(Duration::from_millis(1));
    }
    assert!(journal.open() == 0 || patience < PATIENCE, "a partition does not take a record");
    // Dropped beside: it takes a while, and a moment is waited for.
    std::thread::spawn(move || drop(producer));
    journal.number
}

/// Whether these records went behind everything that was found; adds them to it.
pub fn probed(ledger: &Ledger, journal: usize, found: &mut Found) {
    for (number, record) in ledger.records()[journal].iter().enumerate() {
        let log = found.get_mut(&record.place).expect("it was read");
        let end = log.last_key_value().map_or(0, |(last, _)| last + 1);
        let at = record.acknowledged.expect("it was waited for");
        assert!(at >= end, "REUSED: {:?} took a record at {at}, and ended at {end}", record.place);
        log.insert(at, Some((journal, number)));
    }
}

/// Whether the broker serves all that it has.
pub fn nothing_refused(log: &str) {
    let refused = log.lines().find(|line| line.contains(" is offline"));
    assert_eq!(refused, None, "REFUSED: the broker does not serve what it has");
}

/// Where the logs begin that retention shortens.
pub fn starts(address: &str, topics: &[Topic]) -> BTreeMap<Place, i64> {
    let mut starts = BTreeMap::new();
    for topic in topics.iter().filter(|topic| topic.rule == Rule::Newest) {
        for place in topic.places() {
            let ask = || earliest(address, &topic.name, place.partition).ok_or("it does not tell");
            starts.insert(place, until_done(ask));
        }
    }
    starts
}
