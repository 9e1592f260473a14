//! The producers that commit offsets within transactions: whose requests are late.
//!
//! A partition of `__consumer_offsets` fences producers as every partition does. Its coordinator says the same before it
//! decides anything, as what it has decided cannot be refused by the log any more without the rest being undone.

use std::collections::BTreeMap;

use super::records::{Form, Producer};
use crate::limits::COMMITTERS;
use crate::partition::markers::{Known, check};
use crate::wire::error::ErrorCode;

/// What is known of a producer.
#[derive(Clone, Copy, Debug)]
struct Committer {
    epoch: i16,
    coordinator_epoch: i32,
    /// Whether it has committed offsets since its last transaction ended.
    is_open: bool,
    /// How many of its transactions have ended.
    ended: u64,
    /// When it was last seen, by the order of what was.
    seen: u64,
}

/// The producers that have committed offsets within transactions.
#[derive(Debug, Default)]
pub struct Committers {
    known: BTreeMap<i64, Committer>,
    seen: u64,
}

impl Committers {
    /// How many transactions of a producer have ended here. What was verified of one of them is worth nothing when there
    /// are more.
    pub fn ended(&self, producer_id: i64) -> u64 {
        self.known.get(&producer_id).map_or(0, |known| known.ended)
    }

    /// Whether this producer's transaction has offsets here already, so that its coordinator need not be asked again.
    pub fn is_open(&self, producer: Producer) -> bool {
        self.known.get(&producer.id).is_some_and(|known| known.is_open && known.epoch == producer.epoch)
    }

    /// Whether a producer may commit offsets.
    pub fn check(&self, producer: Producer) -> Result<(), ErrorCode> {
        match self.known.get(&producer.id) {
            Some(known) if producer.epoch < known.epoch => Err(ErrorCode::INVALID_PRODUCER_EPOCH),
            _ => Ok(()),
        }
    }

    /// Whether a marker of this version of the protocol may end its producer's transaction.
    pub fn check_marker(
        &self,
        producer: Producer,
        coordinator_epoch: i32,
        transaction_version: i16,
    ) -> Result<(), ErrorCode> {
        let known = self.known.get(&producer.id).map(|known| Known {
            epoch: known.epoch,
            coordinator_epoch: known.coordinator_epoch,
            in_transaction: known.is_open,
        });
        check((producer.id, producer.epoch), coordinator_epoch, transaction_version, known)
            .map_err(|reject| reject.error)
    }

    /// Takes note of a record of a batch of this form. It is never taken back: that a producer has had an epoch stays
    /// true where the record came to nothing, and so does what was verified of it.
    pub fn note(&mut self, form: &Form, coordinator_epoch: Option<i32>) {
        let (producer, is_marker) = match form {
            Form::Plain => return,
            Form::Transactional(producer) => (*producer, false),
            Form::Marker(producer) => (*producer, true),
        };
        self.seen += 1;
        let before = self.known.get(&producer.id);
        let committer = Committer {
            epoch: producer.epoch,
            coordinator_epoch: coordinator_epoch.or(before.map(|b| b.coordinator_epoch)).unwrap_or(-1),
            is_open: !is_marker,
            ended: before.map_or(0, |before| before.ended) + u64::from(is_marker),
            seen: self.seen,
        };
        self.known.insert(producer.id, committer);
        if self.known.len() > COMMITTERS {
            self.forget_oldest();
        }
    }

    /// Forgets those that were silent longest, half of all, but for those in a transaction.
    fn forget_oldest(&mut self) {
        let mut seen: Vec<u64> = self.known.values().map(|known| known.seen).collect();
        seen.sort_unstable();
        let newer = seen[seen.len() / 2];
        self.known.retain(|_, known| known.seen >= newer || known.is_open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(epoch: i16) -> Producer {
        Producer { id: 7, epoch }
    }

    #[test]
    fn who_was_fenced_commits_no_more() {
        let mut committers = Committers::default();
        assert_eq!(committers.check(producer(0)), Ok(()));
        committers.note(&Form::Transactional(producer(4)), None);
        assert!(committers.is_open(producer(4)) && !committers.is_open(producer(5)));
        assert_eq!(committers.check(producer(3)), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(committers.check_marker(producer(4), 0, 2), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(committers.check_marker(producer(5), 0, 2), Ok(()));
        committers.note(&Form::Marker(producer(5)), Some(3));
        assert_eq!((committers.ended(7), committers.is_open(producer(5))), (1, false));
        assert_eq!(committers.check(producer(4)), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(committers.check_marker(producer(5), 3, 2), Ok(()), "once more");
        let told = committers.check_marker(producer(5), 2, 2);
        assert_eq!(told, Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED));
    }

    #[test]
    fn who_is_silent_longest_is_forgotten_and_no_open_one() {
        let mut committers = Committers::default();
        for id in 0..=COMMITTERS as i64 {
            let producer = Producer { id, epoch: 1 };
            committers.note(&Form::Transactional(producer), None);
            if id != 0 {
                committers.note(&Form::Marker(producer), Some(0));
            }
        }
        assert!(committers.known.len() <= COMMITTERS / 2 + 2);
        assert!(committers.is_open(Producer { id: 0, epoch: 1 }));
        assert_eq!((committers.ended(1), committers.ended(COMMITTERS as i64)), (0, 1));
    }
}
