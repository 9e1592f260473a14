//! What was sent, what was acknowledged, and whether a log holds it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How many acknowledgements there have been.
static ACKNOWLEDGED: AtomicU64 = AtomicU64::new(0);

/// A partition of a topic that was written to. A topic made again under the same name is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: usize,
    pub partition: i32,
}

/// A record that was handed to a producer.
#[derive(Clone, Debug)]
struct Sent {
    place: Place,
    acknowledged: Option<i64>,
    acknowledged_at: Option<Instant>,
    /// How often the broker ended while no answer had come.
    unanswered: u32,
    /// Whether a log was read that did not hold it, so that it must not come back.
    lost: bool,
}

/// A record that was sent, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub place: Place,
    pub acknowledged: Option<i64>,
    pub lost: bool,
}

/// All records of one producer, in the order in which they were sent.
pub struct Journal {
    pub number: usize,
    size: Size,
    sent: Mutex<Records>,
}

/// How long values are.
#[derive(Clone, Copy, Debug)]
enum Size {
    Below(u64),
    Exactly(usize),
}

#[derive(Default)]
struct Records {
    all: Vec<Sent>,
    /// All before this one are acknowledged.
    open: usize,
}

impl Journal {
    /// Notes a record, and gives its number and value.
    pub fn send(&self, place: Place) -> (usize, String) {
        let mut records = self.sent.lock().unwrap();
        records.all.push(Sent {
            place,
            acknowledged: None,
            acknowledged_at: None,
            unanswered: 0,
            lost: false,
        });
        let number = records.all.len() - 1;
        (number, value(self.number, number, self.size))
    }

    /// Notes an acknowledgement.
    pub fn acknowledge(&self, number: usize, partition: i32, offset: i64) {
        let now = Instant::now();
        let mut records = self.sent.lock().unwrap();
        let sent = &mut records.all[number];
        assert_eq!(sent.place.partition, partition);
        assert_eq!(sent.acknowledged.replace(offset), None, "a record is acknowledged once");
        sent.acknowledged_at = Some(now);
        ACKNOWLEDGED.fetch_add(1, Relaxed);
        while records.all.get(records.open).is_some_and(|sent| sent.acknowledged.is_some()) {
            records.open += 1;
        }
    }

    /// How many records have no answer yet.
    pub fn open(&self) -> usize {
        let records = self.sent.lock().unwrap();
        records.all[records.open..].iter().filter(|sent| sent.acknowledged.is_none()).count()
    }

    fn killed(&self) {
        let mut records = self.sent.lock().unwrap();
        let open = records.open;
        let unanswered = records.all[open..].iter_mut().filter(|sent| sent.acknowledged.is_none());
        unanswered.for_each(|sent| sent.unanswered += 1);
    }
}

/// The value of a producer's record: its numbers, and as much more as follows from them.
fn value(journal: usize, number: usize, size: Size) -> String {
    let mut chance = super::Chance::new((journal as u64) << 40 | number as u64);
    let largest = match size {
        Size::Below(largest) => chance.below(largest),
        Size::Exactly(length) => length as u64 + 11,
    };
    let mut value = format!("{journal} {number}");
    (0..largest / 11).for_each(|_| value += &format!(" {:010}", chance.below(10_000_000_000)));
    if let Size::Exactly(length) = size {
        value.truncate(length);
    }
    value
}

/// Every journal, and the names of the topics.
#[derive(Default)]
pub struct Ledger {
    journals: Mutex<Vec<Arc<Journal>>>,
    topics: Mutex<Vec<Topic>>,
}

/// A topic that was written to.
#[derive(Clone)]
pub struct Topic {
    pub number: usize,
    pub name: String,
    pub partitions: i32,
    pub is_deleted: bool,
}

/// What was read back: the producer and number of each record by its offset. `None` is one that nobody can have
/// written.
pub type Logs = BTreeMap<Place, Vec<Option<(usize, usize)>>>;

/// By producer and number: where each record was acknowledged at some moment.
pub type Noted = Vec<Vec<Option<i64>>>;

impl Ledger {
    /// A journal of records whose values are shorter than this.
    pub fn journal(&self, largest: u64) -> Arc<Journal> {
        self.journal_of(Size::Below(largest))
    }

    /// A journal of records whose values all have this length.
    pub fn even_journal(&self, length: usize) -> Arc<Journal> {
        self.journal_of(Size::Exactly(length))
    }

    fn journal_of(&self, size: Size) -> Arc<Journal> {
        let mut journals = self.journals.lock().unwrap();
        let journal = Journal { number: journals.len(), size, sent: Mutex::default() };
        journals.push(Arc::new(journal));
        journals.last().unwrap().clone()
    }

    /// Notes a topic, and gives its number.
    pub fn topic(&self, name: &str, partitions: i32) -> usize {
        let mut topics = self.topics.lock().unwrap();
        let number = topics.len();
        topics.push(Topic { number, name: name.to_string(), partitions, is_deleted: false });
        number
    }

    pub fn delete(&self, topic: usize) {
        self.topics.lock().unwrap()[topic].is_deleted = true;
    }

    /// The topics that are there.
    pub fn topics(&self) -> Vec<Topic> {
        self.topics.lock().unwrap().iter().filter(|topic| !topic.is_deleted).cloned().collect()
    }

    /// The broker has ended: what has no answer now may be sent again, whether it was taken or not.
    pub fn killed(&self) {
        self.journals.lock().unwrap().iter().for_each(|journal| journal.killed());
    }

    /// What was acknowledged before a moment.
    pub fn noted_before(&self, moment: Instant) -> Noted {
        let at =
            |sent: &Sent| sent.acknowledged.filter(|_| sent.acknowledged_at.is_none_or(|at| at < moment));
        let noted =
            |journal: &Arc<Journal>| journal.sent.lock().unwrap().all.iter().map(at).collect::<Vec<_>>();
        self.journals.lock().unwrap().iter().map(noted).collect()
    }

    /// How many acknowledgements there have been, of all ledgers.
    pub fn acknowledgements() -> u64 {
        ACKNOWLEDGED.load(Relaxed)
    }

    /// How many records of a topic were acknowledged.
    pub fn acknowledged_in(&self, topic: usize) -> usize {
        let is_it = |sent: &&Sent| sent.place.topic == topic && sent.acknowledged.is_some();
        let journals = self.journals.lock().unwrap();
        journals.iter().map(|journal| journal.sent.lock().unwrap().all.iter().filter(is_it).count()).sum()
    }

    /// How many records each producer has sent.
    pub fn counts(&self) -> Vec<usize> {
        self.journals.lock().unwrap().iter().map(|journal| journal.sent.lock().unwrap().all.len()).collect()
    }

    /// All records of all producers, as they are known now.
    pub fn records(&self) -> Vec<Vec<Record>> {
        let record =
            |sent: &Sent| Record { place: sent.place, acknowledged: sent.acknowledged, lost: sent.lost };
        let records = |journal: &Arc<Journal>| journal.sent.lock().unwrap().all.iter().map(record).collect();
        self.journals.lock().unwrap().iter().map(records).collect()
    }

    /// What is acknowledged now of these journals, beside what was noted of others.
    pub fn noted_with(&self, noted: &Noted, journals: &[usize]) -> Noted {
        let mut noted = noted.clone();
        noted.resize(self.counts().len(), Vec::new());
        let records = self.records();
        for journal in journals {
            noted[*journal] = records[*journal].iter().map(|record| record.acknowledged).collect();
        }
        noted
    }

    /// From here on the logs hold this, and what they do not hold is gone for good.
    pub fn go_on_from(&self, found: &BTreeMap<(usize, usize), i64>) {
        for journal in self.journals.lock().unwrap().iter() {
            for (number, sent) in journal.sent.lock().unwrap().all.iter_mut().enumerate() {
                sent.acknowledged = found.get(&(journal.number, number)).copied();
                sent.acknowledged_at = None;
                sent.lost = sent.acknowledged.is_none();
            }
        }
    }

    /// What was acknowledged at these offsets of a partition and later ones.
    pub fn acknowledged(&self, place: Place, from: i64) -> BTreeMap<i64, (usize, usize)> {
        let mut found = BTreeMap::new();
        for journal in self.journals.lock().unwrap().iter() {
            let records = journal.sent.lock().unwrap();
            // The last offsets are among the last records.
            for (number, sent) in records.all.iter().enumerate().rev().take(5_000) {
                if let Some(offset) = sent.acknowledged.filter(|at| sent.place == place && *at >= from) {
                    found.insert(offset, (journal.number, number));
                }
            }
        }
        found
    }

    /// By partition: the offset behind the last that was acknowledged.
    pub fn ends(&self) -> BTreeMap<Place, i64> {
        let mut ends = BTreeMap::new();
        for journal in self.journals.lock().unwrap().iter() {
            for sent in &journal.sent.lock().unwrap().all {
                let end: &mut i64 = ends.entry(sent.place).or_default();
                *end = (*end).max(sent.acknowledged.map_or(0, |offset| offset + 1));
            }
        }
        ends
    }

    /// Reads a value: the record that it belongs to, if it is unchanged.
    pub fn identify(&self, value: &str) -> Option<(usize, usize)> {
        let mut words = value.split(' ').map(|word| word.parse::<usize>());
        let (number_of_journal, number) = (words.next()?.ok()?, words.next()?.ok()?);
        let journal = self.journals.lock().unwrap().get(number_of_journal)?.clone();
        let is_unchanged = value == self::value(journal.number, number, journal.size);
        (is_unchanged && number < journal.sent.lock().unwrap().all.len()).then_some((journal.number, number))
    }

    /// Holds what was read back against what was acknowledged.
    pub fn check(&self, logs: &Logs) {
        for (place, log) in logs {
            let broken = log.iter().position(Option::is_none);
            assert_eq!(broken, None, "{place:?}: a record that nobody has sent like this");
        }
        let topics = self.topics.lock().unwrap().clone();
        for journal in self.journals.lock().unwrap().iter() {
            let offsets = offsets(logs, journal.number);
            let mut last: BTreeMap<Place, (i64, i64)> = BTreeMap::new();
            for (number, sent) in journal.sent.lock().unwrap().all.iter().enumerate() {
                if topics[sent.place.topic].is_deleted {
                    continue;
                }
                let who = format!("record {number} of producer {}, {:?}", journal.number, sent.place);
                let at = offsets.get(&number).map_or(&[][..], |found| found);
                check(sent, at, &who);
                let first = at[0].1;
                let acknowledged = sent.acknowledged.expect("it was looked at");
                if let Some((before, first_before)) = last.insert(sent.place, (acknowledged, first)) {
                    assert!(
                        before < acknowledged,
                        "{who} was acknowledged at {acknowledged}, after {before}"
                    );
                    assert!(
                        first_before < first,
                        "{who} is at {first}, and the one before it at {first_before}"
                    );
                }
            }
        }
    }

    /// What the run was like.
    pub fn summary(&self, logs: &Logs) -> String {
        let (mut all, mut unanswered) = (0, 0);
        for journal in self.journals.lock().unwrap().iter() {
            let records = journal.sent.lock().unwrap();
            all += records.all.len();
            unanswered += records.all.iter().filter(|sent| sent.unanswered > 0).count();
        }
        let read: usize = logs.values().map(Vec::len).sum();
        let topics = self.topics.lock().unwrap().len();
        let partitions = logs.len();
        format!(
            "{all} records sent to {topics} topics, {unanswered} of them unanswered at a kill; \
             {read} read back from {partitions} partitions"
        )
    }
}

/// Where each record of a producer lies.
fn offsets(logs: &Logs, journal: usize) -> BTreeMap<usize, Vec<(Place, i64)>> {
    let mut found: BTreeMap<usize, Vec<(Place, i64)>> = BTreeMap::new();
    for (place, log) in logs {
        for (offset, record) in log.iter().enumerate() {
            if let Some((_, number)) = record.filter(|(number, _)| *number == journal) {
                found.entry(number).or_default().push((*place, offset as i64));
            }
        }
    }
    found
}

/// Whether a record lies where it was acknowledged, and nowhere else but where an unanswered request put it.
fn check(sent: &Sent, at: &[(Place, i64)], who: &str) {
    let Some(acknowledged) = sent.acknowledged else { panic!("{who} was never acknowledged") };
    assert!(at.iter().all(|(place, _)| *place == sent.place), "{who} lies elsewhere: {at:?}");
    let offsets: Vec<i64> = at.iter().map(|(_, offset)| *offset).collect();
    assert!(
        offsets.contains(&acknowledged),
        "{who} was acknowledged at {acknowledged}, and lies at {offsets:?}"
    );
    assert!(
        offsets.len() <= 1 + sent.unanswered as usize,
        "{who} lies at {offsets:?}, although only {} kills left it without an answer",
        sent.unanswered
    );
}
