//! The markers that tell each partition of a transaction how it has ended.
//!
//! The coordinator names what is to be written, and the shell writes it, here or at another broker; what it must keep
//! to:
//!
//! - Each [`Markers`] is answered once, by [`Event::Marked`](super::Event::Marked), and when it is, nothing of it is
//!   under way any more. By the first protocol, a marker that came late would end the transaction after.
//! - A partition counts as written when its marker is committed there.
//! - A partition that is named nowhere in the metadata is [`Written::Gone`].

use std::sync::Arc;

use super::state::{Partitions, Status, Transaction};
use super::{MARKERS, Reply, Timer, Transactions};
use crate::coordinator::names::Name;
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::{Effects, Now};
use crate::limits;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{WritableTxnMarker, WritableTxnMarkerTopic};

/// Markers to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Markers {
    /// The transactional id.
    pub id: Name,
    /// The number of these markers, to be given back.
    pub number: u64,
    /// Whose transaction ends, under which epoch.
    pub producer: Producer,
    /// Whether it is committed.
    pub commit: bool,
    /// The epoch of the coordinator.
    pub coordinator_epoch: i32,
    /// The version of the protocol of transactions: from 2 on, the epoch is newer than the transaction's own.
    pub transaction_version: i16,
    /// Where they are to be written.
    pub partitions: Partitions,
}

impl Markers {
    /// As they are asked of another broker, for those of its partitions that it leads.
    pub fn to_request(&self, partitions: &Partitions) -> WritableTxnMarker {
        let topic = |(name, numbers): (&Name, &std::collections::BTreeSet<i32>)| WritableTxnMarkerTopic {
            name: name.to_string(),
            partition_indexes: numbers.iter().copied().collect(),
        };
        WritableTxnMarker {
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            transaction_result: self.commit,
            topics: partitions.topics().map(topic).collect(),
            coordinator_epoch: self.coordinator_epoch,
            transaction_version: self.transaction_version as i8,
        }
    }

    /// What the coordinator is told of them.
    pub fn told(&self, outcome: Outcome) -> Marked {
        Marked {
            id: self.id.clone(),
            coordinator_epoch: self.coordinator_epoch,
            number: self.number,
            outcome,
        }
    }
}

/// What became of markers.
#[derive(Clone, Debug, PartialEq)]
pub struct Marked {
    /// The transactional id.
    pub id: Name,
    /// The epoch of the coordinator that wanted them.
    pub coordinator_epoch: i32,
    /// Their number.
    pub number: u64,
    /// What became of them.
    pub outcome: Outcome,
}

/// What became of markers.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// They were not to be written: a record that they waited for was refused, or took too long.
    Withheld,
    /// Of each partition. Those that are left out are tried again.
    Partitions(Vec<(Name, i32, Written)>),
}

/// What became of the marker of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The error, or none.
    Answer(ErrorCode),
    /// There is no such partition any more.
    Gone,
}

/// A prepared transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Marking {
    /// The markers that are under way.
    under_way: Option<u64>,
    /// The partitions that have none yet.
    pub(super) remaining: Partitions,
}

/// What follows from one partition's answer.
enum Verdict {
    Done,
    Again,
    /// Somebody else has taken over: the transaction is not this coordinator's to complete.
    GiveUp,
}

fn verdict(written: Written) -> Verdict {
    match written {
        Written::Gone
        | Written::Answer(
            ErrorCode::NONE | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT | ErrorCode::UNSUPPORTED_VERSION,
        ) => Verdict::Done,
        Written::Answer(ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::TRANSACTION_COORDINATOR_FENCED) => {
            Verdict::GiveUp
        }
        Written::Answer(_) => Verdict::Again,
    }
}

impl Transactions {
    /// Goes on with a prepared transaction: markers, or completion where there is nothing to mark.
    pub(super) fn finish(
        &mut self,
        now: Now,
        id: &Name,
        prepared: &Transaction,
        effects: &mut Effects<Transactions>,
    ) {
        if prepared.partitions.is_empty() {
            return self.put(id, prepared.completed(now.wall), effects);
        }
        self.marking.insert(id.clone(), Marking { under_way: None, remaining: prepared.partitions.clone() });
        self.send_markers(id, prepared, effects);
    }

    fn send_markers(&mut self, id: &Name, prepared: &Transaction, effects: &mut Effects<Transactions>) {
        let Some(marking) = self.marking.get_mut(id) else { return };
        let number = self.next_markers;
        self.next_markers += 1;
        marking.under_way = Some(number);
        let markers = Markers {
            id: id.clone(),
            number,
            producer: prepared.producer,
            commit: prepared.status == Status::PrepareCommit,
            coordinator_epoch: self.coordinator_epoch,
            transaction_version: prepared.client_version,
            partitions: marking.remaining.clone(),
        };
        effects.reply(MARKERS, Reply::Markers(markers));
    }

    /// What became of markers; those of an earlier round, or of an earlier coordinator, count no more.
    pub(super) fn marked(&mut self, now: Now, marked: Marked, effects: &mut Effects<Transactions>) {
        let Marked { id, coordinator_epoch, number, outcome } = marked;
        let Some((id, known)) = self.find(&id) else { return };
        let Some(marking) = self.marking.get_mut(&id) else { return };
        if marking.under_way != Some(number) || coordinator_epoch != self.coordinator_epoch {
            return;
        }
        assert!(known.status.is_prepared(), "what is marked is prepared");
        marking.under_way = None;
        let answers = match outcome {
            Outcome::Withheld => Vec::new(),
            Outcome::Partitions(answers) => answers,
        };
        let mut gives_up = false;
        for (topic, partition, written) in answers {
            match verdict(written) {
                Verdict::Done => marking.remaining.remove(&topic, partition),
                Verdict::Again => {}
                Verdict::GiveUp => gives_up = true,
            }
        }
        if gives_up {
            // As in Kafka: until this partition is led anew, the transactional id stays as it is.
            self.forget_marking(&id);
        } else if marking.remaining.is_empty() {
            self.complete(now, &id, &known, effects);
        } else {
            self.try_again(now, id);
        }
    }

    fn complete(
        &mut self,
        now: Now,
        id: &Name,
        known: &Arc<Transaction>,
        effects: &mut Effects<Transactions>,
    ) {
        self.forget_marking(id);
        self.put(id, known.completed(now.wall), effects);
    }

    pub(super) fn try_again(&mut self, now: Now, id: Name) {
        self.timers.schedule(Timer::Markers(id), now.tick + limits::MARKERS_RETRY_MS);
    }

    pub(super) fn go_on_marking(&mut self, now: Now, id: Name, effects: &mut Effects<Transactions>) {
        let (Some((id, known)), Some(marking)) = (self.find(&id), self.marking.get(&id)) else { return };
        if marking.remaining.is_empty() {
            self.complete(now, &id, &known, effects);
        } else if marking.under_way.is_none() {
            self.send_markers(&id, &known, effects);
        }
    }

    pub(super) fn forget_marking(&mut self, id: &Name) {
        self.marking.remove(id);
        self.timers.cancel(&Timer::Markers(id.clone()));
    }

    /// The partitions of a transaction, but for those of a prepared one that are marked already.
    pub(super) fn unmarked<'a>(&'a self, id: &Name, known: &'a Transaction) -> &'a Partitions {
        self.marking.get(id).map_or(&known.partitions, |marking| &marking.remaining)
    }
}
