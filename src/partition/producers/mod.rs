//! What a partition knows of its idempotent producers: who may append what next, and what was appended before.
//!
//! [`Producers::check`] looks at a batch without changing anything: its sequence number follows the producer's last,
//! or it is one of the producer's last five batches sent again, or it is refused. [`Producers::append`] notes a
//! batch that was appended, or that a scan of the log met. All of it is Kafka's rules:
//!
//! - An epoch below the producer's is refused. A new epoch begins with sequence number 0.
//! - Within an epoch, numbers follow one another; after the largest comes 0.
//! - The first batch of a producer that is not known may have any number: what is known of a producer is forgotten
//!   some time, and he who goes on after that is not to blame.
//! - Producers stay known when retention deletes their batches, until they have been silent for
//!   `producer.id.expiration.ms`. Where Kafka counts from the timestamp of the last batch alone, here the time of
//!   the append counts as well: who copies old records keeps his timestamps, and is not silent.
//!
//! What is known is bounded ([`ProducerRoom`]): where there is no more room, the producer that was silent longest
//! among some of the same partition makes way for a new one.
//!
//! A producer takes 48 bytes and its place in the table, and 112 more once it has sent a second batch. Noting a
//! batch of a known producer allocates nothing, but once with the second.

mod cut;
mod room;

use cut::Cut;
pub use room::ProducerRoom;

use super::Reject;
use super::markers::{self, Known, Marker};
use crate::collections::Map;
use crate::log::snapshot::{ProducerBatch, Snapshot, SnapshotEntry};
use crate::wire::batch::{BatchHeader, attributes};
use crate::wire::error::ErrorCode;

/// Batches of a producer before its last that are known: Kafka allows five in flight.
const OLDER: usize = 4;
/// The epoch of a producer that has none.
const NO_EPOCH: i16 = -1;
/// The sequence number of a producer that has sent nothing in its epoch.
const NO_SEQUENCE: i32 = -1;
const NO_BATCH: ProducerBatch =
    ProducerBatch { last_offset: -1, timestamp: -1, last_sequence: NO_SEQUENCE, offset_delta: 0 };
/// How many producers are compared to find one that makes way.
const COMPARED: usize = 16;

/// One producer.
#[derive(Debug)]
struct Entry {
    id: i64,
    last: ProducerBatch,
    more: Option<Box<More>>,
    /// When it last appended, in seconds; when it was read from a snapshot, where that is all there is.
    seen: u32,
    epoch: i16,
    /// How many of the older batches there are.
    older: u8,
    /// Which side of the last snapshot it is on; see [`Cut`].
    side: bool,
}

/// What is known of those who have sent more than one batch, or a transaction.
#[derive(Debug)]
struct More {
    /// The batches before the last, oldest first.
    older: [ProducerBatch; OLDER],
    /// Where the open transaction begins, -1 for none.
    transaction_first_offset: i64,
    /// The epoch of the coordinator that last ended a transaction, -1 for none.
    coordinator_epoch: i32,
}

impl Default for More {
    fn default() -> Self {
        More { older: [NO_BATCH; OLDER], transaction_first_offset: -1, coordinator_epoch: -1 }
    }
}

impl Entry {
    fn new(id: i64, epoch: i16, side: bool) -> Entry {
        Entry { id, last: NO_BATCH, more: None, seen: 0, epoch, older: 0, side }
    }

    fn older(&self) -> &[ProducerBatch] {
        self.more.as_ref().map_or(&[], |more| &more.older[..usize::from(self.older)])
    }

    /// The batch of exactly these sequence numbers, if it is among the last five.
    fn find(&self, first_sequence: i32, last_sequence: i32) -> Option<&ProducerBatch> {
        let wanted = |batch: &&ProducerBatch| {
            batch.last_sequence == last_sequence
                && batch.first_sequence() == first_sequence
                && batch.last_offset >= 0
        };
        Some(&self.last).filter(wanted).or_else(|| self.older().iter().find(wanted))
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn push(&mut self, batch: ProducerBatch) {
        if self.last.last_offset >= 0 {
            let (last, older) = (self.last, usize::from(self.older));
            let batches = &mut self.more().older;
            if older < OLDER {
                batches[older] = last;
                self.older += 1;
            } else {
                batches.copy_within(1.., 0);
                batches[OLDER - 1] = last;
            }
        }
        self.last = batch;
    }

    fn begin_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.older = 0;
            self.last = ProducerBatch { timestamp: self.last.timestamp, ..NO_BATCH };
        }
    }

    fn transaction_first_offset(&self) -> i64 {
        self.more.as_ref().map_or(-1, |more| more.transaction_first_offset)
    }

    fn as_snapshot(&self) -> SnapshotEntry {
        SnapshotEntry {
            producer_id: self.id,
            epoch: self.epoch,
            last: self.last,
            coordinator_epoch: self.more.as_ref().map_or(-1, |more| more.coordinator_epoch),
            transaction_first_offset: self.transaction_first_offset(),
        }
    }

    fn is_expired(&self, now_ms: i64, after_ms: i64) -> bool {
        let heard = self.last.timestamp.max(i64::from(self.seen) * 1000);
        self.transaction_first_offset() < 0 && now_ms.saturating_sub(heard) >= after_ms
    }
}

/// What a batch with a producer id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// The next of its producer.
    Next,
    /// One that was appended before.
    Duplicate(ProducerBatch),
}

/// A producer, for those who ask.
pub type ActiveProducer = SnapshotEntry;

/// The producers of one partition.
#[derive(Debug)]
pub struct Producers {
    places: Map<i64, u32>,
    entries: Vec<Entry>,
    room: ProducerRoom,
    /// Where it is looked next for one that makes way.
    hand: usize,
    cut: Cut,
}

impl Producers {
    /// None yet, to be counted in `room`.
    pub fn new(room: ProducerRoom) -> Producers {
        Producers { places: Map::default(), entries: Vec::new(), room, hand: 0, cut: Cut::default() }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a batch from a client is the next of its producer.
    pub fn check(&self, header: &BatchHeader) -> Result<Sequence, Reject> {
        let Some(place) = self.places.get(&header.producer_id) else {
            let (id, epoch) = (header.producer_id, header.producer_epoch);
            return match epoch < NO_EPOCH {
                true => Err(Reject::new(
                    ErrorCode::INVALID_PRODUCER_EPOCH,
                    format!("the epoch of producer {id} is {epoch} in the batch"),
                )),
                false => Ok(Sequence::Next),
            };
        };
        let known = &self.entries[*place as usize];
        let (epoch, first) = (header.producer_epoch, header.base_sequence);
        if epoch == known.epoch
            && let Some(batch) = known.find(first, last_sequence(header))
        {
            return Ok(Sequence::Duplicate(*batch));
        }
        if epoch < known.epoch {
            return Err(Reject::new(
                ErrorCode::INVALID_PRODUCER_EPOCH,
                format!("producer {} has the epoch {}; the batch has {epoch}", known.id, known.epoch),
            ));
        }
        let expected = if epoch == known.epoch { next_sequence(known.last.last_sequence) } else { 0 };
        if first != expected && known.epoch != NO_EPOCH {
            return Err(Reject::new(
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                format!(
                    "producer {} is to go on with sequence number {expected} in epoch {epoch}; the batch has {first}",
                    known.id
                ),
            ));
        }
        Ok(Sequence::Next)
    }

    /// A batch that was appended before: one of the producer's last five with exactly these numbers.
    pub fn find(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        let known = &self.entries[*self.places.get(&header.producer_id)? as usize];
        let wanted = || known.find(header.base_sequence, last_sequence(header)).copied();
        if header.producer_epoch == known.epoch { wanted() } else { None }
    }

    /// Whether a batch's epoch is not older than its producer's.
    pub fn check_epoch(&self, header: &BatchHeader) -> Result<(), Reject> {
        let Some(place) = self.places.get(&header.producer_id) else { return Ok(()) };
        let (id, epoch, known) =
            (header.producer_id, header.producer_epoch, self.entries[*place as usize].epoch);
        if epoch >= known {
            return Ok(());
        }
        let message = format!("producer {id} has the epoch {known}; the batch has {epoch}");
        Err(Reject::new(ErrorCode::INVALID_PRODUCER_EPOCH, message))
    }

    /// Whether a marker may be appended, that goes by this version of the protocol of transactions.
    pub fn check_marker(&self, marker: &Marker, transaction_version: i16) -> Result<(), Reject> {
        let known = self.places.get(&marker.producer_id).map(|place| {
            let entry = self.entries[*place as usize].as_snapshot();
            Known {
                epoch: entry.epoch,
                coordinator_epoch: entry.coordinator_epoch,
                in_transaction: entry.transaction_first_offset >= 0,
            }
        });
        markers::check(
            (marker.producer_id, marker.producer_epoch),
            marker.coordinator_epoch,
            transaction_version,
            known,
        )
    }

    /// Where a producer's open transaction begins, -1 where none is.
    pub fn transaction_first_offset(&self, id: i64) -> i64 {
        self.places.get(&id).map_or(-1, |place| self.entries[*place as usize].transaction_first_offset())
    }

    /// Whether a producer has a transaction open, in this epoch.
    pub fn is_in_transaction(&self, id: i64, epoch: i16) -> bool {
        self.places.get(&id).is_some_and(|place| {
            let known = &self.entries[*place as usize];
            known.epoch == epoch && known.transaction_first_offset() >= 0
        })
    }

    /// Whether a batch of the producer is known, of its present epoch.
    pub fn has_batches(&self, id: i64) -> bool {
        self.places.get(&id).is_some_and(|place| self.entries[*place as usize].last.last_offset >= 0)
    }

    /// Whether this is the last batch of its producer: by it the next one is judged after a restart. Of one who has
    /// sent nothing since his transaction ended, it is the marker, which has his epoch.
    pub fn is_last(&self, header: &BatchHeader) -> bool {
        let last_offset = header.base_offset + i64::from(header.last_offset_delta);
        let is_control = header.attributes & attributes::CONTROL != 0;
        self.places.get(&header.producer_id).is_some_and(|place| {
            let known = &self.entries[*place as usize];
            match known.last.last_offset {
                ..0 => is_control && known.epoch == header.producer_epoch,
                last => last == last_offset,
            }
        })
    }

    /// Notes a marker that was appended at the header's base offset.
    pub fn append_marker(&mut self, header: &BatchHeader, marker: &Marker, now_ms: i64) {
        self.append(header, now_ms);
        if let Some(place) = self.places.get(&header.producer_id) {
            let more = self.entries[*place as usize].more();
            more.coordinator_epoch = marker.coordinator_epoch;
        }
    }

    /// Notes a batch that was appended at the header's base offset, now or, where the log is scanned, some time.
    pub fn append(&mut self, header: &BatchHeader, now_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        let place = match self.places.get(&header.producer_id) {
            Some(place) => *place as usize,
            None => self.insert(header.producer_id, header.producer_epoch),
        };
        self.cut.save(&mut self.entries[place]);
        let known = &mut self.entries[place];
        known.seen = seconds(now_ms);
        known.begin_epoch(header.producer_epoch);
        if header.attributes & attributes::CONTROL != 0 {
            known.last.timestamp = header.max_timestamp;
            if let Some(more) = &mut known.more {
                more.transaction_first_offset = -1;
            }
            return;
        }
        known.push(ProducerBatch {
            last_offset: header.base_offset + i64::from(header.last_offset_delta),
            timestamp: header.max_timestamp,
            last_sequence: last_sequence(header),
            offset_delta: header.last_offset_delta,
        });
        let is_transactional = header.attributes & attributes::TRANSACTIONAL != 0;
        if is_transactional && known.transaction_first_offset() < 0 {
            known.more().transaction_first_offset = header.base_offset;
        }
    }

    fn insert(&mut self, id: i64, epoch: i16) -> usize {
        if self.room.is_full() {
            self.make_way();
        }
        let place = self.entries.len();
        self.entries.push(Entry::new(id, epoch, self.cut.side()));
        self.places.insert(id, place as u32);
        self.room.take(1);
        place
    }

    fn remove(&mut self, place: usize) {
        // What is moved, and what goes, may still be wanted by the snapshot under way.
        self.cut.save(&mut self.entries[place]);
        if let Some(last) = self.entries.last_mut() {
            self.cut.save(last);
        }
        let gone = self.entries.swap_remove(place);
        self.places.remove(&gone.id);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.id, place as u32);
        }
        self.room.give(1);
    }

    /// Forgets the one that was silent longest of the next few; none that has a transaction open.
    fn make_way(&mut self) {
        let count = self.entries.len();
        let next: Vec<usize> = (0..COMPARED.min(count)).map(|i| (self.hand + i) % count).collect();
        self.hand = next.last().map_or(0, |last| last + 1);
        let may_go = next.into_iter().filter(|place| self.entries[*place].transaction_first_offset() < 0);
        if let Some(place) = may_go.min_by_key(|place| self.entries[*place].seen) {
            self.remove(place);
        }
    }

    /// Forgets as many as `count` to make room for those of other partitions.
    pub fn shed(&mut self, count: usize) {
        for _ in 0..count.min(self.entries.len()) {
            self.make_way();
        }
    }

    /// Looks at `count` producers before `from` (none: from the end) and forgets those that have been silent for
    /// `after_ms`. Gives where to go on, none when all were looked at.
    pub fn expire(&mut self, from: Option<usize>, count: usize, now_ms: i64, after_ms: i64) -> Option<usize> {
        // Backwards: what takes the place of one that goes was looked at before.
        let end = from.unwrap_or(usize::MAX).min(self.entries.len());
        let begin = end.saturating_sub(count);
        for place in (begin..end).rev() {
            if self.entries[place].is_expired(now_ms, after_ms) {
                self.remove(place);
            }
        }
        if self.entries.is_empty() {
            (self.places, self.entries) = (Map::default(), Vec::new());
        }
        (begin > 0).then_some(begin)
    }

    /// So many producers, for those who ask.
    pub fn active(&self, from: usize, count: usize) -> impl Iterator<Item = ActiveProducer> {
        self.entries.iter().skip(from).take(count).map(Entry::as_snapshot)
    }

    /// Takes in what a snapshot tells. It takes the place of all that was known.
    pub fn load(&mut self, snapshot: &Snapshot<'_>, now_ms: i64) {
        self.clear();
        for entry in snapshot.entries() {
            let place = match self.places.get(&entry.producer_id) {
                Some(place) => *place as usize,
                None => self.insert(entry.producer_id, entry.epoch),
            };
            let known = &mut self.entries[place];
            (known.last, known.seen) = (entry.last, seconds(now_ms));
            if entry.coordinator_epoch >= 0 || entry.transaction_first_offset >= 0 {
                let more = known.more();
                more.coordinator_epoch = entry.coordinator_epoch;
                more.transaction_first_offset = entry.transaction_first_offset;
            }
        }
        for (id, batch) in snapshot.older() {
            let Some(place) = self.places.get(&id) else { continue };
            let known = &mut self.entries[*place as usize];
            let older = usize::from(known.older);
            if older < OLDER {
                known.more().older[older] = batch;
                known.older += 1;
            }
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.room.give(self.entries.len());
        (self.places, self.entries) = (Map::default(), Vec::new());
        self.cut = Cut::default();
    }

    /// The snapshot of what is known now, at once.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut writer = crate::log::snapshot::SnapshotWriter::with_capacity(self.entries.len());
        for entry in &self.entries {
            writer.add(&entry.as_snapshot(), entry.older());
        }
        writer.finish()
    }

    /// Begins a snapshot of what is known now, which is where the log has reached `offset`. Where many are known, it
    /// is not made at once: [`Producers::go_on`] does it while others append.
    pub fn begin_snapshot(&mut self, offset: i64) {
        self.cut.begin(offset, &mut self.entries);
    }

    /// Goes on with the snapshot under way, by so many producers; says whether there is more to do.
    pub fn go_on(&mut self, count: usize) -> bool {
        self.cut.go_on(count, &mut self.entries)
    }

    /// Takes the newest snapshot up to an offset that was begun and is made, and forgets those before.
    pub fn take_snapshot(&mut self, offset: i64) -> Option<(i64, Vec<u8>)> {
        self.cut.take(offset)
    }

    /// Gives a snapshot back that could not be written.
    pub fn put_back(&mut self, offset: i64, snapshot: Vec<u8>) {
        self.cut.put_back(offset, snapshot);
    }

    /// The bytes of memory that all of it takes, as far as can be told.
    pub fn memory(&self) -> usize {
        // The table has a byte for each place besides its pairs, and is kept at most seven eighths full.
        let places = (self.places.capacity() * 8 / 7).next_power_of_two();
        let table = if self.places.capacity() == 0 { 0 } else { places * (size_of::<(i64, u32)>() + 1) };
        let more = self.entries.iter().filter(|entry| entry.more.is_some()).count();
        table + self.entries.capacity() * size_of::<Entry>() + more * size_of::<More>()
    }
}

impl Drop for Producers {
    fn drop(&mut self) {
        self.room.give(self.entries.len());
    }
}

/// A coordinator's batches have no numbers.
fn last_sequence(header: &BatchHeader) -> i32 {
    if header.base_sequence < 0 {
        return NO_SEQUENCE;
    }
    header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX
}

/// The number after this one; after none, 0.
fn next_sequence(last: i32) -> i32 {
    last.wrapping_add(1) & i32::MAX
}

/// Rounded up: nobody is forgotten too early.
fn seconds(now_ms: i64) -> u32 {
    u32::try_from((now_ms + 999) / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
