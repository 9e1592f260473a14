//! Which producers the transaction coordinator is being asked about.
//!
//! A batch of a transaction is taken only if the coordinator knows that the partition is part of the transaction.
//! Before the first one is appended, the shell asks it: [`Partition::verification`](super::Partition::verification)
//! gives a [`Guard`], the coordinator is asked, and if it agrees, the batch comes with the guard. The end of
//! the transaction that was asked about makes the guard worthless, and so does another batch: what was verified is one
//! transaction.

use crate::collections::Map;
use crate::limits::VERIFICATIONS;
use crate::wire::batch::BatchHeader;
use crate::wire::error::ErrorCode;

/// Says that the coordinator was asked since the producer's last transaction in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    leader_epoch: i32,
    number: u64,
}

/// By what a transactional batch may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The coordinator was not asked.
    No,
    /// It was asked, and agrees.
    By(Guard),
    /// It need not be asked: `transaction.partition.verification.enable` is off.
    NeedNot,
}

/// One producer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    guard: Guard,
    epoch: i16,
    /// The lowest sequence number that came in this epoch: those behind it have to wait for it.
    pub lowest_sequence: i32,
    /// Whether the producer has an epoch for each transaction.
    pub second_protocol: bool,
    since_ms: i64,
}

/// The producers of a partition that are being asked about.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    entries: Map<i64, Entry>,
    next: u64,
}

impl Verifications {
    /// The guard of a producer, an older one if there is one.
    pub fn begin(
        &mut self,
        batch: &BatchHeader,
        second_protocol: bool,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Guard {
        let (epoch, sequence) = (batch.producer_epoch, batch.base_sequence);
        if let Some(entry) = self.entries.get_mut(&batch.producer_id) {
            if epoch > entry.epoch {
                (entry.epoch, entry.lowest_sequence) = (epoch, sequence);
            } else if epoch == entry.epoch {
                entry.lowest_sequence = entry.lowest_sequence.min(sequence);
            }
            return entry.guard;
        }
        if self.entries.len() >= VERIFICATIONS {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.guard.number).map(|(id, _)| *id);
            oldest.map(|id| self.entries.remove(&id));
        }
        let guard = Guard { leader_epoch, number: self.next };
        self.next += 1;
        let entry = Entry { guard, epoch, lowest_sequence: sequence, second_protocol, since_ms: now_ms };
        self.entries.insert(batch.producer_id, entry);
        guard
    }

    /// A producer that is being asked about.
    pub fn get(&self, producer_id: i64) -> Option<&Entry> {
        self.entries.get(&producer_id)
    }

    /// Whether this is the guard of the producer.
    pub fn holds(&self, producer_id: i64, guard: Guard) -> bool {
        self.get(producer_id).is_some_and(|entry| entry.guard == guard)
    }

    /// A transaction of the producer has ended under this epoch: what was asked of it counts no more. By the second
    /// protocol a transaction ends under the epoch of the one after it, to which the coordinator agrees only when the one
    /// before has ended everywhere: what it is being asked of that one still counts.
    pub fn marked(&mut self, producer_id: i64, epoch: i16) {
        let is_of_next =
            self.get(producer_id).is_some_and(|entry| entry.second_protocol && epoch <= entry.epoch);
        if !is_of_next {
            self.end(producer_id);
        }
    }

    /// A batch of its transaction is in the log.
    pub fn end(&mut self, producer_id: i64) {
        self.entries.remove(&producer_id);
    }

    /// Forgets those that were asked about so long ago.
    pub fn expire(&mut self, now_ms: i64, after_ms: i64) {
        self.entries.retain(|_, entry| now_ms.saturating_sub(entry.since_ms) < after_ms);
    }
}

/// What a producer is told whose batch the coordinator does not agree to, by the version of his Produce request.
/// Versions up to 10 know no TRANSACTION_ABORTABLE; from 12 on, the broker adds the partition itself.
pub fn told_of_refusal(error: ErrorCode, produce_version: i16) -> ErrorCode {
    const KNOWS_ABORTABLE: i16 = 11;
    const IS_ADDED: i16 = 12;
    match error {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::TRANSACTION_ABORTABLE if produce_version < KNOWS_ABORTABLE => ErrorCode::INVALID_TXN_STATE,
        ErrorCode::CONCURRENT_TRANSACTIONS if produce_version < IS_ADDED => ErrorCode::NOT_ENOUGH_REPLICAS,
        // They are to be tried again, in words that producers know.
        ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_ENOUGH_REPLICAS,
        error => error,
    }
}
