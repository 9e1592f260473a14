//! Transactions in a log that is compacted: what was aborted goes, and a marker stays as long as anything is left
//! of its transaction, and for `delete.retention.ms` after that.
//!
//! Both passes of a cleaning go through the batches in order, each with [`CleanedTransactions`] of its own, which is
//! told first what the segments' `.txnindex` know ([`CleanedTransactions::learn`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::DECOMPRESSED_MAX;
use crate::log::aborted::{Aborted, AbortedIndex};
use crate::wire::batch::{Batch, BatchError};

/// What a batch is, with respect to transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its records count: they are of no transaction, or of one that was committed.
    Counts,
    /// Its records are of a transaction that was aborted.
    Aborted,
    /// It ends a transaction.
    Marker {
        /// Whether records, or a batch without any, are left of the transaction.
        is_needed: bool,
    },
}

/// A transaction that was aborted, and whether a batch of it was met.
#[derive(Clone, Copy, Debug)]
struct Met {
    aborted: Aborted,
    a_batch: bool,
}

/// The transactions of the log, as far as the pass has come.
#[derive(Debug, Default)]
pub struct CleanedTransactions {
    /// Those that were aborted and begin further on, by their first offset and that of their marker.
    coming: BTreeMap<(i64, i64), Aborted>,
    /// By producer.
    aborted: BTreeMap<i64, Met>,
    /// Producers with a transaction open that was not aborted.
    committed: BTreeSet<i64>,
    /// What the cleaned segment has to know of those that were aborted.
    kept: AbortedIndex,
}

impl CleanedTransactions {
    /// What the index of a segment says, before its first batch is read. A transaction may end in a later segment
    /// than it begins in: all that a reader of the segment would be told is to be given, more than once if need be.
    pub fn learn(&mut self, aborted: impl IntoIterator<Item = Aborted>) {
        for one in aborted {
            let met = self.aborted.get(&one.producer_id);
            if met.is_none_or(|met| met.aborted.last_offset != one.last_offset) {
                self.coming.insert((one.first_offset, one.last_offset), one);
            }
        }
    }

    /// What the next batch of the log is. The error says why the log must not be compacted.
    pub fn read(&mut self, batch: &Batch<'_>) -> Result<Fate, BatchError> {
        let last_offset = batch.last_offset();
        while let Some(next) = self.coming.first_entry().filter(|next| next.key().0 <= last_offset) {
            let aborted = next.remove();
            self.aborted.entry(aborted.producer_id).or_insert(Met { aborted, a_batch: false });
        }
        if !batch.is_transactional() {
            return Ok(Fate::Counts);
        }
        let id = batch.header().producer_id;
        if batch.is_control() {
            return self.marker(batch, id);
        }
        if let Some(met) = self.aborted.get_mut(&id) {
            met.a_batch = true;
            return Ok(Fate::Aborted);
        }
        self.committed.insert(id);
        Ok(Fate::Counts)
    }

    fn marker(&mut self, batch: &Batch<'_>, id: i64) -> Result<Fate, BatchError> {
        let is_needed = match commits(batch)? {
            // It was emptied by an earlier cleaning, which had found no need for it.
            None => false,
            Some(true) => self.committed.remove(&id),
            Some(false) if self.committed.contains(&id) => {
                return Err(BatchError::Record(
                    "it aborts a transaction of which the .txnindex does not tell",
                ));
            }
            Some(false) => match self.aborted.remove(&id) {
                Some(Met { aborted, a_batch: true }) => {
                    self.kept.push(aborted);
                    true
                }
                _ => false,
            },
        };
        Ok(Fate::Marker { is_needed })
    }

    /// What the `.txnindex` of the segment has to hold that was written since this was last called.
    pub fn take_index(&mut self) -> AbortedIndex {
        std::mem::take(&mut self.kept)
    }
}

/// Whether a marker commits; none if it is empty, or says something else.
fn commits(batch: &Batch<'_>) -> Result<Option<bool>, BatchError> {
    let records = batch.open(DECOMPRESSED_MAX)?;
    let Some(record) = records.iter().next().transpose()? else { return Ok(None) };
    match record.key.and_then(|key| key.get(2..4)) {
        Some([0, 0]) => Ok(Some(false)),
        Some([0, 1]) => Ok(Some(true)),
        _ => Err(BatchError::Record("a control record of a transaction is no marker")),
    }
}

#[cfg(test)]
mod tests;
