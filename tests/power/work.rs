//! What is written to, and how.

use std::sync::Arc;
use std::time::Duration;

use crate::load::churn::create;
use crate::load::ledger::{Journal, Ledger, Place};
use crate::load::writers::{Keys, Writer, producer};

/// What a topic keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Everything.
    All,
    /// What is not too old.
    Newest,
    /// The last record of each of so many keys of each producer.
    LastOfKeys(usize),
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    pub number: usize,
    pub name: String,
    pub partitions: i32,
    pub rule: Rule,
}

impl Topic {
    /// Its partitions.
    pub fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let topic = self.number;
        (0..self.partitions).map(move |partition| Place { topic, partition })
    }
}

/// What the broker is told beside its defaults.
pub const PROPERTIES: &str = "log.cleaner.backoff.ms=100\nlog.retention.check.interval.ms=300\n";

const KEYS: usize = 60;
/// A record with a value of this length and no key is a batch of 4096 bytes.
pub const EVEN: usize = 4096 - 70;
/// The smallest segments there can be.
const SMALL: (&str, &str) = ("segment.bytes", "1048576");
const FOREVER: &[(&str, &str)] = &[("retention.ms", "-1")];

/// Makes the topics.
pub fn topics(address: &str, ledger: &Ledger) -> Vec<Topic> {
    let make = |name: &str, partitions, rule, settings: &[(&str, &str)]| {
        create(address, name, partitions, &[FOREVER, settings].concat());
        Topic { number: ledger.topic(name, partitions), name: name.to_owned(), partitions, rule }
    };
    let newest = [SMALL, ("retention.bytes", "1500000"), ("file.delete.delay.ms", "200")];
    let compact = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01")];
    let keyed = [&[SMALL, ("file.delete.delay.ms", "0")], &compact[..]].concat();
    vec![
        make("rolls", 3, Rule::All, &[SMALL, ("index.interval.bytes", "1000")]),
        make("large", 4, Rule::All, &[]),
        make("quiet", 2, Rule::All, &[("message.timestamp.type", "LogAppendTime")]),
        make("newest", 2, Rule::Newest, &newest),
        make("streams", 1, Rule::Newest, &[("segment.bytes", "6000000"), ("retention.bytes", "6000000")]),
        make("even", 2, Rule::All, &[]),
        make("keyed", 2, Rule::LastOfKeys(KEYS), &keyed),
    ]
}

/// How much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Everywhere, files grow and roll, topics come and go.
    Busy,
    /// Into files that hardly grow, so that there is hardly a flush but those that acknowledge.
    Quiet,
    /// By one who waits for each answer.
    Lonely,
    /// So much to one partition that its file grows as a stream's does.
    Streams,
    /// Batches that fill a block each, so that what is left of one log's end could follow another's.
    Even,
}

impl Pace {
    /// Each as often as it is to be.
    pub const ALL: [Pace; 7] =
        [Pace::Busy, Pace::Quiet, Pace::Busy, Pace::Lonely, Pace::Streams, Pace::Quiet, Pace::Even];
}

/// Who writes.
pub fn writers(address: &str, ledger: &Ledger, topics: &[Topic], pace: Pace) -> Vec<Writer> {
    let named = |name: &str| {
        let topic = topics.iter().find(|topic| topic.name == name).expect("it was made");
        (topic.number, topic.name.clone(), topic.partitions)
    };
    let of = |journal: Arc<Journal>, names: &[&str], settings: &[(&str, &str)], open, burst, pause| {
        let idempotent = [&[("enable.idempotence", "true")], settings].concat();
        Writer {
            producer: producer(address, journal.clone(), &idempotent),
            journal,
            topics: names.iter().map(|name| named(name)).collect(),
            open,
            burst,
            pause: Duration::from_millis(pause),
            keys: Keys::OfAThird,
        }
    };
    let writer = |names: &[&str], largest, settings: &[(&str, &str)], open, burst, pause| {
        of(ledger.journal(largest), names, settings, open, burst, pause)
    };
    let single = [("linger.ms", "0"), ("batch.num.messages", "1")];
    match pace {
        Pace::Busy => vec![
            writer(
                &["rolls", "large"],
                6_000,
                &[("linger.ms", "20"), ("compression.codec", "lz4")],
                300,
                50,
                15,
            ),
            writer(&["rolls"], 20_000, &[("linger.ms", "5")], 60, 20, 20),
            writer(&["newest"], 15_000, &[("linger.ms", "5")], 40, 20, 10),
            Writer {
                keys: Keys::Many(KEYS),
                ..writer(&["keyed"], 12_000, &[("linger.ms", "2")], 30, 20, 10)
            },
            writer(&["large", "quiet"], 200, &[("linger.ms", "0")], 100, 10, 4),
            writer(&["quiet"], 30, &single, 1, 1, 1),
        ],
        Pace::Quiet => vec![
            writer(&["large"], 100, &single, 5, 5, 3),
            writer(&["quiet", "rolls"], 300, &[("linger.ms", "1")], 20, 5, 3),
            writer(&["quiet"], 30, &single, 1, 1, 1),
        ],
        Pace::Streams => vec![
            writer(&["streams"], 100_000, &[("linger.ms", "5")], 20, 10, 1),
            writer(&["quiet"], 30, &single, 1, 1, 1),
        ],
        Pace::Even => {
            // So many that several batches of a partition are written at once.
            let even = || Writer {
                keys: Keys::None,
                ..of(ledger.even_journal(EVEN), &["even"], &single, 20, 20, 1)
            };
            (0..4).map(|_| even()).chain([writer(&["quiet"], 30, &single, 1, 1, 1)]).collect()
        }
        Pace::Lonely => vec![writer(&["large"], 2_000, &single, 1, 1, 1)],
    }
}
