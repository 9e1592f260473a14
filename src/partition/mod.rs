//! One partition: a log with a role. Pure: batches and the time in, verdicts and plans out.
//!
//! [`Partition::admit`] looks at a batch without changing anything; [`Partition::append`] puts an admitted one
//! behind the log's end; [`Partition::advance`] moves the stable offset and with it the high watermark, which is
//! what consumers may see. [`producers`] is what is known of idempotent producers, [`transactions`] which of their
//! transactions hold readers back.

pub mod producers;
pub mod transactions;

use producers::{Producers, Sequence};
use transactions::Transactions;

use crate::log::{Log, ReadPlan, Target};
use crate::reactor::Chunk;
use crate::wire::batch::front::{self, Front};
use crate::wire::batch::{Batch, BatchHeader, HEADER, attributes};
use crate::wire::error::ErrorCode;

/// What of a topic's configuration the append rules go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRules {
    /// `max.message.bytes`
    pub max_message_bytes: usize,
    /// Whether `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
}

impl Default for AppendRules {
    fn default() -> Self {
        AppendRules {
            max_message_bytes: 1_048_588,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
        }
    }
}

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// What the client is told.
    pub error: ErrorCode,
    /// What a person is told.
    pub message: String,
}

impl Reject {
    fn new(error: ErrorCode, message: String) -> Reject {
        Reject { error, message }
    }
}

/// What is to be done with a batch that is not refused.
#[derive(Debug)]
pub enum Admission {
    /// It may be appended.
    Append(Admitted),
    /// It was appended before, and the producer has not heard of it: he is told now.
    Duplicate(Appended),
}

/// A batch as it is to be appended.
#[derive(Debug)]
pub struct Admitted {
    header: BatchHeader,
    front: Front,
    log_append_time: i64,
    now_ms: i64,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub base_offset: i64,
    /// The offset behind the last record: acknowledged when the high watermark reaches it.
    pub end_offset: i64,
    /// The time that was set, -1 where the client's timestamps stay; of a duplicate, its largest timestamp.
    pub log_append_time: i64,
}

/// One partition, led by this broker.
pub struct Partition {
    /// Its log.
    pub log: Log,
    /// Its idempotent producers.
    pub producers: Producers,
    transactions: Transactions,
    rules: AppendRules,
    leader_epoch: i32,
    high_watermark: i64,
}

impl Partition {
    /// A partition over a recovered log, led under this epoch.
    pub fn new(log: Log, producers: Producers, rules: AppendRules, leader_epoch: i32) -> Partition {
        let high_watermark = log.stable_offset();
        let mut transactions = Transactions::default();
        let open =
            producers.active(0, producers.len()).filter(|producer| producer.transaction_first_offset >= 0);
        open.for_each(|producer| transactions.begin(producer.producer_id, producer.transaction_first_offset));
        Partition { log, producers, transactions, rules, leader_epoch, high_watermark }
    }

    /// The epoch under which this broker leads it.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Leads under a new epoch from now on.
    pub fn set_leader_epoch(&mut self, epoch: i32) {
        assert!(epoch >= self.leader_epoch, "leader epochs only grow");
        self.leader_epoch = epoch;
    }

    /// Goes by other rules from now on.
    pub fn set_rules(&mut self, rules: AppendRules) {
        self.rules = rules;
    }

    /// Below this offset every record is durable on every in-sync replica, and may be read.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Below this offset no transaction is open.
    pub fn last_stable_offset(&self) -> i64 {
        self.transactions.last_stable_offset(self.high_watermark).max(self.log.start_offset())
    }

    /// Whether the leader epoch that a client goes by is this one; -1 is any.
    pub fn check_epoch(&self, client: i32) -> Result<(), ErrorCode> {
        match client {
            -1 => Ok(()),
            epoch if epoch < self.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            epoch if epoch > self.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// Whether a batch may be appended, and how. Its length, magic and checksum were found right before.
    pub fn admit(&self, batch: &[u8], now_ms: i64) -> Result<Admission, Reject> {
        let view = Batch::first(batch).map_err(|e| Reject::new(e.error_code(), e.to_string()))?;
        if batch.len() > self.rules.max_message_bytes {
            let (size, max) = (batch.len(), self.rules.max_message_bytes);
            return Err(Reject::new(
                ErrorCode::MESSAGE_TOO_LARGE,
                format!("the batch has {size} bytes; max.message.bytes allows {max}"),
            ));
        }
        if batch.len() as u64 > self.log.config().segment_bytes {
            let (size, max) = (batch.len(), self.log.config().segment_bytes);
            return Err(Reject::new(
                ErrorCode::RECORD_LIST_TOO_LARGE,
                format!("the batch has {size} bytes; segment.bytes allows {max}"),
            ));
        }
        if view.is_control() {
            let message = "control batches are not taken from clients".to_string();
            return Err(Reject::new(ErrorCode::INVALID_RECORD, message));
        }
        if view.is_transactional() {
            let message = "the producer has no open transaction on this partition".to_string();
            return Err(Reject::new(ErrorCode::INVALID_TXN_STATE, message));
        }
        let header = view.header();
        if !self.rules.log_append_time {
            self.check_timestamps(&header, now_ms)?;
        } else if view.is_log_append_time() {
            let message =
                "the producer has set the timestamp type to LogAppendTime, which is the broker's to set";
            return Err(Reject::new(ErrorCode::INVALID_TIMESTAMP, message.to_string()));
        }
        if view.is_idempotent()
            && let Sequence::Duplicate(before) = self.producers.check(&header)?
        {
            return Ok(Admission::Duplicate(Appended {
                base_offset: before.base_offset(),
                end_offset: before.last_offset + 1,
                log_append_time: before.timestamp,
            }));
        }
        Ok(Admission::Append(match self.rules.log_append_time {
            false if view.is_log_append_time() => {
                let attributes = header.attributes & !attributes::LOG_APPEND_TIME;
                let header = BatchHeader { attributes, ..header };
                Admitted { header, front: front::with_create_time(batch), log_append_time: -1, now_ms }
            }
            false => Admitted { header, front: front::front(batch), log_append_time: -1, now_ms },
            true => Admitted {
                header: BatchHeader { max_timestamp: now_ms, ..header },
                front: front::with_log_append_time(batch, now_ms),
                log_append_time: now_ms,
                now_ms,
            },
        }))
    }

    fn check_timestamps(&self, header: &BatchHeader, now_ms: i64) -> Result<(), Reject> {
        let rules = &self.rules;
        let too_late = header.max_timestamp.saturating_sub(now_ms) > rules.timestamp_after_max_ms;
        let known = header.base_timestamp >= 0;
        let too_early = known && now_ms.saturating_sub(header.base_timestamp) > rules.timestamp_before_max_ms;
        if !too_late && !too_early {
            return Ok(());
        }
        let (stamp, bound) = if too_late {
            (header.max_timestamp, "message.timestamp.after.max.ms")
        } else {
            (header.base_timestamp, "message.timestamp.before.max.ms")
        };
        let message =
            format!("the timestamp {stamp} is further from the broker's time {now_ms} than {bound} allows");
        Err(Reject::new(ErrorCode::INVALID_TIMESTAMP, message))
    }

    /// Whether a new segment must begin before this batch is appended.
    pub fn must_roll(&self, admitted: &Admitted, len: usize, now_ms: i64) -> bool {
        self.log.must_roll(&admitted.header, len as u64, now_ms)
    }

    /// Begins a new segment at the log's end, and a snapshot of the producers with it.
    pub fn roll(&mut self, now_ms: i64) {
        let base = self.log.roll(now_ms);
        self.producers.begin_snapshot(base);
    }

    /// Appends an admitted batch. `chunk` is what [`Log::needs_chunk`] asked for.
    pub fn append(&mut self, admitted: &Admitted, batch: &[u8], chunk: Option<Chunk>) -> Appended {
        let parts = (admitted.front, &batch[HEADER..]);
        // A log that another broker wrote may have seen more epochs than this partition; in a log they never fall.
        let epoch =
            self.log.epochs().latest().map_or(self.leader_epoch, |latest| latest.max(self.leader_epoch));
        let place = self.log.append(&admitted.header, parts, epoch, chunk);
        let header = BatchHeader { base_offset: place.base_offset, ..admitted.header };
        self.producers.append(&header, admitted.now_ms);
        Appended {
            base_offset: place.base_offset,
            end_offset: place.last_offset + 1,
            log_append_time: admitted.log_append_time,
        }
    }

    /// Everything up to `target` is durable here. Says how many bytes more consumers may read.
    pub fn advance(&mut self, target: Target) -> u64 {
        let grown = self.log.advance_stable(target);
        // With one replica, what is durable here is durable everywhere.
        assert!(target.offset >= self.high_watermark, "the high watermark only grows");
        self.high_watermark = target.offset;
        grown
    }

    /// Where the log is to start when the records before `offset` are deleted; -1 stands for the high watermark.
    /// Nothing is changed yet: see [`Log::start_at`].
    pub fn deletion(&self, offset: i64) -> Result<i64, ErrorCode> {
        let config = self.log.config();
        if !config.delete && config.compaction.is_some() {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        match offset {
            -1 => Ok(self.high_watermark),
            offset if (0..=self.high_watermark).contains(&offset) => Ok(offset),
            _ => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        }
    }

    /// Where to read from `offset` on.
    pub fn read_plan(&self, offset: i64, read_committed: bool, max_bytes: u64) -> ReadPlan {
        let limit = if read_committed { self.last_stable_offset() } else { self.high_watermark };
        self.log.read_plan(offset, limit, max_bytes)
    }

    /// The largest epoch not after `epoch`, and where it ends; (-1, -1) where that is not known. The epoch of now counts
    /// too, under which nothing may have been written yet.
    pub fn epoch_end(&self, epoch: i32) -> (i32, i64) {
        let end = self.log.next_offset();
        if epoch == -1 || epoch > self.leader_epoch {
            return (-1, -1);
        }
        let entries = self.log.epochs().entries();
        let now = (self.leader_epoch, end);
        let all =
            entries.iter().copied().chain((entries.last().map(|last| last.0) != Some(now.0)).then_some(now));
        let (before, after): (Vec<_>, Vec<_>) = all.partition(|(known, _)| *known <= epoch);
        // An epoch before all that are known ends where the first of them begins.
        let found = before.last().map_or(epoch, |(known, _)| *known);
        (found, after.first().map_or(end, |(_, start)| *start))
    }

    /// Where a client's log, whose last record has `epoch` and whose end is `offset`, parts from this one. An error
    /// where this log knows nothing of the epoch.
    pub fn diverges(&self, epoch: i32, offset: i64) -> Result<Option<(i32, i64)>, ErrorCode> {
        if epoch < 0 {
            return Ok(None);
        }
        match self.epoch_end(epoch) {
            (-1, _) => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
            (found, end) => Ok((found < epoch || end < offset).then_some((found, end))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::SegmentIndex;
    use crate::log::snapshot::{ProducerBatch, Snapshot, SnapshotEntry, SnapshotWriter};
    use crate::log::tail::Tail;
    use crate::log::{LogConfig, Segment};

    /// A log of offsets 0 to 49, in which a producer has left transactions open that began at these.
    fn with_open(first_offsets: &[i64]) -> Partition {
        let mut writer = SnapshotWriter::with_capacity(first_offsets.len());
        for (producer_id, first) in first_offsets.iter().enumerate() {
            let entry = SnapshotEntry {
                producer_id: producer_id as i64,
                epoch: 0,
                last: ProducerBatch { last_offset: -1, timestamp: -1, last_sequence: -1, offset_delta: 0 },
                coordinator_epoch: -1,
                transaction_first_offset: *first,
            };
            writer.add(&entry, []);
        }
        let bytes = writer.finish();
        let mut producers = Producers::new(Default::default());
        producers.load(&Snapshot::decode(&bytes).unwrap(), 0);
        let active = Segment::active(50, Tail::new(0, None), SegmentIndex::default(), 0);
        let segments = vec![Segment::finished(0, 1000), active];
        let log = Log::new(segments, 0, 50, Default::default(), LogConfig::default());
        Partition::new(log, producers, AppendRules::default(), 0)
    }

    #[test]
    fn readers_of_committed_records_stop_where_a_transaction_was_left_open() {
        assert_eq!(with_open(&[-1]).last_stable_offset(), 50);
        let mut partition = with_open(&[-1, 30, 20]);
        assert_eq!((partition.last_stable_offset(), partition.high_watermark()), (20, 50));
        for (offset, may_read) in [(19, true), (20, false), (25, false), (50, false)] {
            let plan = partition.read_plan(offset, true, 100);
            assert_eq!(matches!(plan, ReadPlan::File(_)), may_read, "{offset}: {plan:?}");
            assert!(!matches!(plan, ReadPlan::OutOfRange), "{offset}: there will be more");
            assert_eq!(matches!(partition.read_plan(offset, false, 100), ReadPlan::File(_)), offset < 50);
        }
        assert!(matches!(partition.read_plan(51, true, 100), ReadPlan::OutOfRange));
        partition.log.start_at(40);
        assert_eq!(partition.last_stable_offset(), 40, "never before the log's start");
    }
}
