//! One partition: a log with a role. Pure: batches and the time in, verdicts and plans out.
//!
//! [`Partition::admit`] looks at a batch without changing anything; [`Partition::append`] puts an admitted one
//! behind the log's end; [`Partition::advance`] moves the stable offset and with it the high watermark, which is
//! what consumers may see. [`producers`] is what is known of idempotent producers, [`transactions`] which of their
//! transactions hold readers back.
//!
//! A transactional batch is admitted where its transaction is open in the partition, or where the coordinator agrees
//! ([`verification`]). [`Partition::admit_marker`] admits the [marker](markers) that ends a transaction; what was
//! [`aborted`] is told to readers of committed records.

pub mod aborted;
pub mod markers;
pub mod producers;
#[cfg(test)]
mod tests;
pub mod transactions;
pub mod verification;

use aborted::AbortedTransactions;
use markers::Marker;
use producers::{Producers, Sequence};
use transactions::Transactions;
use verification::{Guard, Verifications, Verified};

use crate::log::aborted::Aborted;
use crate::log::compact::Plan;
use crate::log::{Log, ReadPlan, Target, Unknown};
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
    marker: Option<Marker>,
}

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer.
    Client,
    /// A coordinator, on behalf of a producer: its batches have no sequence numbers.
    Coordinator,
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
    /// The transactions that were aborted.
    pub aborted: AbortedTransactions,
    transactions: Transactions,
    verifications: Verifications,
    rules: AppendRules,
    leader_epoch: i32,
    high_watermark: i64,
}

impl Partition {
    /// A partition over a recovered log, led under this epoch.
    pub fn new(log: Log, producers: Producers, rules: AppendRules, leader_epoch: i32) -> Partition {
        let high_watermark = log.stable_offset();
        let transactions = Transactions::of(&producers);
        let (aborted, verifications) = Default::default();
        Partition {
            log,
            producers,
            aborted,
            transactions,
            verifications,
            rules,
            leader_epoch,
            high_watermark,
        }
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

    /// Whether the coordinator is to be asked before this batch is appended: none if not, because it is not of a
    /// transaction, or its transaction is open here. `second_protocol` says that the producer has an epoch for each
    /// transaction, so that the coordinator is told to add the partition (Produce from version 12 on).
    pub fn verification(&mut self, batch: &BatchHeader, second_protocol: bool, now_ms: i64) -> Option<Guard> {
        let is_transactional = batch.attributes & attributes::TRANSACTIONAL != 0;
        let (id, epoch) = (batch.producer_id, batch.producer_epoch);
        if !is_transactional || id < 0 || self.producers.is_in_transaction(id, epoch) {
            return None;
        }
        Some(self.verifications.begin(batch, second_protocol, self.leader_epoch, now_ms))
    }

    /// Forgets which producers the coordinator was asked about so long ago.
    pub fn expire_verifications(&mut self, now_ms: i64, after_ms: i64) {
        self.verifications.expire(now_ms, after_ms);
    }

    /// Whether a batch from a client may be appended, for which no coordinator was asked.
    pub fn admit(&self, batch: &[u8], now_ms: i64) -> Result<Admission, Reject> {
        self.admit_from(batch, now_ms, Origin::Client, Verified::No)
    }

    /// Whether a batch may be appended, and how. Its length, magic and checksum were found right before.
    pub fn admit_from(
        &self,
        batch: &[u8],
        now_ms: i64,
        origin: Origin,
        verified: Verified,
    ) -> Result<Admission, Reject> {
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
        if view.is_transactional() && !view.is_idempotent() {
            let message = "a batch without a producer has no open transaction on this partition".to_string();
            return Err(Reject::new(ErrorCode::INVALID_TXN_STATE, message));
        }
        let claimed = view.header();
        let is_brokers = self.rules.log_append_time || view.is_log_append_time();
        // Indexes, retention and searches go by it, so it is not the producer's word that counts.
        let latest = if is_brokers { None } else { view.latest_timestamp() };
        let header = BatchHeader { max_timestamp: latest.unwrap_or(claimed.max_timestamp), ..claimed };
        if !self.rules.log_append_time {
            self.check_timestamps(&header, now_ms)?;
        } else if view.is_log_append_time() {
            let message =
                "the producer has set the timestamp type to LogAppendTime, which is the broker's to set";
            return Err(Reject::new(ErrorCode::INVALID_TIMESTAMP, message.to_string()));
        }
        if view.is_idempotent()
            && let Sequence::Duplicate(before) = self.check_producer(&header, origin, verified)?
        {
            return Ok(Admission::Duplicate(Appended {
                base_offset: before.base_offset(),
                end_offset: before.last_offset + 1,
                log_append_time: before.timestamp,
            }));
        }
        let marker = None;
        Ok(Admission::Append(match self.rules.log_append_time {
            false if view.is_log_append_time() => {
                let attributes = header.attributes & !attributes::LOG_APPEND_TIME;
                let header = BatchHeader { attributes, ..header };
                Admitted {
                    header,
                    front: front::with_create_time(batch),
                    log_append_time: -1,
                    now_ms,
                    marker,
                }
            }
            false => {
                let front = match header.max_timestamp == claimed.max_timestamp {
                    true => front::front(batch),
                    false => front::with_max_timestamp(batch, header.max_timestamp),
                };
                Admitted { header, front, log_append_time: -1, now_ms, marker }
            }
            true => Admitted {
                header: BatchHeader { max_timestamp: now_ms, ..header },
                front: front::with_log_append_time(batch, now_ms),
                log_append_time: now_ms,
                now_ms,
                marker,
            },
        }))
    }

    fn check_producer(
        &self,
        header: &BatchHeader,
        origin: Origin,
        verified: Verified,
    ) -> Result<Sequence, Reject> {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        if origin == Origin::Client
            && let Some(before) = self.producers.find(header)
        {
            return Ok(Sequence::Duplicate(before));
        }
        let is_transactional = header.attributes & attributes::TRANSACTIONAL != 0;
        let is_open = self.producers.is_in_transaction(id, epoch);
        let agreed = match verified {
            Verified::No => false,
            Verified::By(guard) => self.verifications.holds(id, guard),
            Verified::NeedNot => true,
        };
        if is_transactional && !is_open && !agreed {
            let message =
                format!("producer {id} has no open transaction with epoch {epoch} on this partition");
            return Err(Reject::new(ErrorCode::INVALID_TXN_STATE, message));
        }
        self.producers.check_epoch(header)?;
        if origin == Origin::Client {
            self.check_first_sequence(header)?;
            self.producers.check(header)?;
        }
        // The other way round: a batch of no transaction while one is open would be taken for part of it.
        if !is_transactional && self.producers.transaction_first_offset(id) >= 0 {
            let message = format!("producer {id} has a transaction open, and the batch is not part of it");
            return Err(Reject::new(ErrorCode::INVALID_TXN_STATE, message));
        }
        Ok(Sequence::Next)
    }

    /// While the coordinator is asked, the producer's batches come as they like: the first has to be the first.
    fn check_first_sequence(&self, header: &BatchHeader) -> Result<(), Reject> {
        let Some(asked) = self.verifications.get(header.producer_id) else { return Ok(()) };
        let first = header.base_sequence;
        let begins = !asked.second_protocol || first == 0 || self.producers.has_batches(header.producer_id);
        if begins && first <= asked.lowest_sequence {
            return Ok(());
        }
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        Err(Reject::new(
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            format!(
                "producer {id} is to begin its transaction with an earlier batch in epoch {epoch}; this one has {first}"
            ),
        ))
    }

    /// Whether the marker that ends a producer's transaction may be appended, and the batch that it is. The version
    /// is that of the protocol of transactions; 0 where nobody says (WriteTxnMarkers before version 2).
    pub fn admit_marker(
        &self,
        marker: Marker,
        transaction_version: i16,
        now_ms: i64,
    ) -> Result<(Admitted, Vec<u8>), Reject> {
        self.producers.check_marker(&marker, transaction_version)?;
        let batch = marker.to_batch(now_ms);
        let view = Batch::first(&batch).expect("it was just made");
        let header = view.header();
        let front = front::front(&batch);
        Ok((Admitted { header, front, log_append_time: -1, now_ms, marker: Some(marker) }, batch))
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
        self.note(&header, admitted.marker.as_ref(), admitted.now_ms);
        Appended {
            base_offset: place.base_offset,
            end_offset: place.last_offset + 1,
            log_append_time: admitted.log_append_time,
        }
    }

    /// Notes a batch that was appended: what its producer has sent, and what it begins or ends.
    fn note(&mut self, header: &BatchHeader, marker: Option<&Marker>, now_ms: i64) {
        let noted = transactions::note(&mut self.producers, &mut self.transactions, header, marker, now_ms);
        if let Some(aborted) = noted {
            self.aborted.push(self.log.active().base_offset, aborted);
        }
        if header.attributes & attributes::TRANSACTIONAL != 0 {
            match marker {
                Some(marker) => self.verifications.marked(header.producer_id, marker.producer_epoch),
                None => self.verifications.end(header.producer_id),
            }
        }
    }

    /// Everything up to `target` is durable here. Says how many bytes more consumers may read.
    pub fn advance(&mut self, target: Target) -> u64 {
        let grown = self.log.advance_stable(target);
        // With one replica, what is durable here is durable everywhere.
        assert!(target.offset >= self.high_watermark, "the high watermark only grows");
        self.high_watermark = target.offset;
        self.transactions.advance(target.offset);
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

    /// The aborted transactions that a reader of committed records from `from` up to `limit` is to leave out. The error
    /// is the segment whose `.txnindex` is to be read first, and [learnt](AbortedTransactions::learn).
    pub fn aborted_between(&self, from: i64, limit: i64) -> Result<Vec<Aborted>, i64> {
        let segment = self.log.segments().rfind(|segment| segment.base_offset <= from);
        self.aborted.between(segment.map_or(0, |segment| segment.base_offset), from, limit)
    }

    /// Whether and how the log is to be compacted: only what no open transaction may change.
    pub fn cleaning_plan(&self, now_ms: i64) -> Result<Option<Plan>, Unknown> {
        self.log.cleaning_plan(now_ms, self.last_stable_offset())
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
