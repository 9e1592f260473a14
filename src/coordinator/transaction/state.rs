//! What is known of a transactional id, and the steps that lead from one state to the next.
//!
//! A step is a function from what is known now to what will be; it checks nothing. Who may take which step when is
//! said where requests are handled.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::names::Name;
use crate::coordinator::records::Producer;

/// The producer id of nobody.
pub const NO_ID: i64 = -1;
/// The epoch of a producer that has none.
pub const NO_EPOCH: i16 = -1;
/// The last epoch that a producer is given: one more is kept for fencing it.
pub const LAST_EPOCH: i16 = i16::MAX - 1;

/// The states of a transactional id, with Kafka's numbers and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Status {
    /// Nothing was added to a transaction yet.
    Empty = 0,
    /// A transaction is open.
    Ongoing = 1,
    /// It is decided that it is committed; the markers are being written.
    PrepareCommit = 2,
    /// It is decided that it is aborted; the markers are being written.
    PrepareAbort = 3,
    /// It is committed, everywhere.
    CompleteCommit = 4,
    /// It is aborted, everywhere.
    CompleteAbort = 5,
    /// The transactional id is being forgotten. Not stored: a tombstone is.
    Dead = 6,
    /// The producer is being fenced. Not stored: what follows at once is.
    PrepareEpochFence = 7,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 8] = [
        Status::Empty,
        Status::Ongoing,
        Status::PrepareCommit,
        Status::PrepareAbort,
        Status::CompleteCommit,
        Status::CompleteAbort,
        Status::Dead,
        Status::PrepareEpochFence,
    ];

    /// Its name in Kafka's tools.
    pub fn name(self) -> &'static str {
        match self {
            Status::Empty => "Empty",
            Status::Ongoing => "Ongoing",
            Status::PrepareCommit => "PrepareCommit",
            Status::PrepareAbort => "PrepareAbort",
            Status::CompleteCommit => "CompleteCommit",
            Status::CompleteAbort => "CompleteAbort",
            Status::Dead => "Dead",
            Status::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state of this name.
    pub fn of_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The state that a record says.
    pub fn of_number(number: i8) -> Option<Status> {
        Status::ALL.into_iter().find(|status| *status as i8 == number)
    }

    /// Whether the outcome is decided, and markers are being written.
    pub fn is_prepared(self) -> bool {
        matches!(self, Status::PrepareCommit | Status::PrepareAbort)
    }

    /// Whether the transactional id may be forgotten.
    pub fn may_expire(self) -> bool {
        matches!(self, Status::Empty | Status::CompleteCommit | Status::CompleteAbort)
    }
}

/// Partitions by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<Name, BTreeSet<i32>>);

impl Partitions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether this one is among them.
    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.0.get(topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    /// Whether all of the others are among them.
    pub fn contains_all(&self, others: &Partitions) -> bool {
        others.iter().all(|(topic, partition)| self.contains(topic, partition))
    }

    /// One more.
    pub fn insert(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.0.get_mut(topic) {
            partitions.insert(partition);
        } else {
            self.0.insert(topic.into(), BTreeSet::from([partition]));
        }
    }

    /// One less.
    pub fn remove(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.0.get_mut(topic) else { return };
        partitions.remove(&partition);
        if partitions.is_empty() {
            self.0.remove(topic);
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, i32)> {
        self.0
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| (topic, *partition)))
    }

    /// Those of each topic.
    pub fn topics(&self) -> impl Iterator<Item = (&Name, &BTreeSet<i32>)> {
        self.0.iter()
    }
}

/// A transactional id: its producer, and the transaction that it is in or was in last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Who may go on with it.
    pub producer: Producer,
    /// The producer id before the last step.
    pub previous_id: i64,
    /// The producer id that follows when the transaction is complete, where the epochs of this one are used up.
    pub next_id: i64,
    /// The epoch before this one, as far as its producer may repeat a request with it. Not stored.
    pub last_epoch: i16,
    /// After how long an open transaction is aborted.
    pub timeout_ms: i32,
    /// What it is at.
    pub status: Status,
    /// What was added to the transaction.
    pub partitions: Partitions,
    /// When the transaction began, -1 where none did.
    pub started: i64,
    /// When it last changed.
    pub updated: i64,
    /// The version of the protocol of transactions that the producer goes by.
    pub client_version: i16,
}

impl Transaction {
    /// One whose producer has no epoch yet: it is never stored like this.
    pub fn new(producer_id: i64, now: i64) -> Transaction {
        Transaction {
            producer: Producer { id: producer_id, epoch: NO_EPOCH },
            previous_id: NO_ID,
            next_id: NO_ID,
            last_epoch: NO_EPOCH,
            timeout_ms: 0,
            status: Status::Empty,
            partitions: Partitions::default(),
            started: -1,
            updated: now,
            client_version: 0,
        }
    }

    /// Whether its producer can be given no epoch more.
    pub fn is_exhausted(&self) -> bool {
        self.producer.epoch >= LAST_EPOCH
    }

    /// When an open transaction has run out of time; never for one that another coordinator decides.
    pub fn deadline(&self) -> Option<i64> {
        let has_one = self.status == Status::Ongoing && self.timeout_ms != i32::MAX;
        has_one.then(|| self.started.saturating_add(self.timeout_ms.into()))
    }

    fn step(&self, status: Status, now: i64) -> Transaction {
        Transaction { status, previous_id: self.producer.id, updated: now, ..self.clone() }
    }

    /// A producer begins anew with this epoch, and may repeat its request with `last_epoch`.
    pub fn initialized(&self, producer: Producer, last_epoch: i16, timeout_ms: i32, now: i64) -> Transaction {
        Transaction {
            producer,
            last_epoch,
            timeout_ms,
            partitions: Partitions::default(),
            started: -1,
            ..self.step(Status::Empty, now)
        }
    }

    /// Partitions are added, and a transaction begun where none is open.
    pub fn added(&self, partitions: &Partitions, client_version: i16, now: i64) -> Transaction {
        let mut next = self.step(Status::Ongoing, now);
        if self.status != Status::Ongoing {
            next.started = now;
        }
        partitions.iter().for_each(|(topic, partition)| next.partitions.insert(topic, partition));
        next.client_version = client_version;
        next
    }

    /// The outcome is decided, under the first protocol: the epoch stays.
    pub fn prepared(&self, commit: bool, now: i64) -> Transaction {
        Transaction { client_version: 0, next_id: NO_ID, ..self.step(prepare(commit), now) }
    }

    /// The transaction is aborted and its producer fenced, under the first protocol.
    pub fn fenced(&self, now: i64) -> Transaction {
        let producer = Producer { epoch: self.producer.epoch.saturating_add(1), ..self.producer };
        Transaction { producer, last_epoch: NO_EPOCH, ..self.prepared(false, now) }
    }

    /// The outcome is decided, under the second protocol: the epoch is the next one from now on. Where that is the
    /// last of all, `next_id` goes on. A transaction to which nothing was added begins now.
    pub fn prepared_with_bump(
        &self,
        commit: bool,
        next_id: i64,
        nothing_added: bool,
        now: i64,
    ) -> Transaction {
        let mut next = self.step(prepare(commit), now);
        next.producer.epoch = self.producer.epoch.saturating_add(1);
        next.last_epoch = self.producer.epoch;
        if nothing_added {
            next.started = now;
        }
        Transaction { client_version: 2, next_id, ..next }
    }

    /// All markers are written.
    pub fn completed(&self, now: i64) -> Transaction {
        let status = match self.status {
            Status::PrepareCommit => Status::CompleteCommit,
            _ => Status::CompleteAbort,
        };
        let producer = self.producer_when_complete();
        Transaction { producer, next_id: NO_ID, partitions: Partitions::default(), ..self.step(status, now) }
    }

    /// With which id and epoch the producer goes on when a prepared transaction is complete.
    pub fn producer_when_complete(&self) -> Producer {
        match self.next_id {
            next_id if next_id != NO_ID && self.client_version >= 2 => Producer { id: next_id, epoch: 0 },
            _ => self.producer,
        }
    }
}

fn prepare(commit: bool) -> Status {
    if commit { Status::PrepareCommit } else { Status::PrepareAbort }
}
