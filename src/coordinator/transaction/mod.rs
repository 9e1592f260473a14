//! Transactions: which producer goes on with a transactional id, what its transaction holds, and how it ends.
//!
//! Pure code, one instance for each partition of `__transaction_state`, on the core that owns the partition: a
//! [`Machine`] that the [runtime](super::runtime) drives.
//!
//! - [`state`]: what is known of a transactional id, and the steps from one state to the next.
//! - [`records`]: the records of `__transaction_state`, in Kafka's bytes.
//! - [`ids`]: where new producer ids come from.
//! - `init`, `add`, `end`, `look`: what each request does. [`markers`]: how the outcome gets into the partitions.
//!   `upkeep`: transactions that run out of time, ids that nobody uses.
//!
//! # How a transaction ends
//!
//! The outcome is decided by one record, PrepareCommit or PrepareAbort. Once it is committed, and not before, the
//! client has his answer and [`Reply::Markers`] leaves for the shell, which writes a marker into each partition of the
//! transaction and tells by [`Event::Marked`] what became of them. When all are written, a record completes the
//! transaction. After a restart, every transaction that is prepared goes on where it was.
//!
//! Where Kafka answers CONCURRENT_TRANSACTIONS because a record is still on its way into the log, this coordinator
//! handles the request: it sees the record already, and its answer waits for it.

mod add;
mod end;
pub mod ids;
mod init;
mod look;
pub mod markers;
pub mod records;
mod refusals;
pub mod settings;
pub mod state;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

pub use add::AddPartitions;
pub use ids::ProducerIds;
pub use markers::{Marked, Markers, Outcome, Written};
pub use records::Record;
pub use refusals::refuse;
pub use settings::Settings;
pub use state::{Partitions, Status, Transaction};

use super::names::Name;
use super::runtime::{Effects, Machine, Now, Token};
use super::timers::Timers;
use crate::limits;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use markers::Marking;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// To whom the reply goes.
    pub token: Token,
    /// The version of the request.
    pub version: i16,
}

/// What is asked of a coordinator of transactions.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Asks for a producer id and epoch, with a transactional id.
    InitProducerId(InitProducerIdRequest),
    /// Adds partitions to one transaction, or asks whether they were added.
    AddPartitions(AddPartitions),
    /// Adds a group's offsets: the number is that of the group's partition of `__consumer_offsets`.
    AddOffsets(AddOffsetsToTxnRequest, i32),
    /// Commits or aborts a transaction.
    End(EndTxnRequest),
    /// Asks which transactions there are.
    List(ListTransactionsRequest),
    /// Asks for the state of transactions.
    Describe(Vec<String>),
}

/// What a coordinator of transactions is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody asks.
    Request(Caller, Request),
    /// What became of [`Markers`].
    Marked(Marked),
    /// The finalized level of the feature `transaction.version` is this one now.
    TransactionVersion(i16),
}

/// What a coordinator of transactions answers, and has done.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Request::InitProducerId`].
    InitProducerId(InitProducerIdResponse),
    /// To [`Request::AddPartitions`].
    AddPartitions(AddPartitionsToTxnResult),
    /// To [`Request::AddOffsets`].
    AddOffsets(AddOffsetsToTxnResponse),
    /// To [`Request::End`].
    End(EndTxnResponse),
    /// To [`Request::List`]: this coordinator's part.
    List(ListTransactionsResponse),
    /// To [`Request::Describe`].
    Describe(Vec<DescribeTransactionsTransactionState>),
    /// To nobody ([`MARKERS`]): these markers are to be written. Each of these is answered by one [`Event::Marked`].
    Markers(Markers),
    /// To nobody ([`MARKERS`]): markers that are not to be written now. It is given back as [`Event::Marked`].
    Withheld(Marked),
}

/// The token of replies that are orders to the shell.
pub const MARKERS: Token = Token(u64::MAX);

/// What a record overwrote.
#[derive(Clone, Debug)]
pub struct Undo {
    id: Name,
    before: Option<Arc<Transaction>>,
}

/// What there are deadlines for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A prepared transaction goes on: markers are tried again, or the record that completes it.
    Markers(Name),
    /// It is time to look for transactions that have run out of time.
    Aborts,
    /// It is time to look for ids that nobody uses.
    Expiry,
    /// Looking for them goes on.
    Sweep,
}

/// The transactional ids of one partition of `__transaction_state`.
pub struct Transactions {
    settings: Settings,
    /// The epoch under which this broker leads the partition: it fences markers of former leaders.
    coordinator_epoch: i32,
    ids: Box<dyn ProducerIds>,
    known: BTreeMap<Name, Arc<Transaction>>,
    /// When open transactions run out of time, by the clock on the wall.
    deadlines: BTreeSet<(i64, Name)>,
    /// The prepared ones.
    marking: BTreeMap<Name, Marking>,
    /// The number of the next markers.
    next_markers: u64,
    timers: Timers<Timer>,
    /// The last id that beginning, or looking for unused ids, has come to.
    begun: Option<Name>,
    swept: Option<Name>,
    /// Ids of which a record has been undone.
    undone: BTreeSet<Name>,
}

impl Transactions {
    /// No ids yet.
    pub fn new(settings: Settings, coordinator_epoch: i32, ids: Box<dyn ProducerIds>) -> Transactions {
        Transactions {
            settings,
            coordinator_epoch,
            ids,
            known: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            marking: BTreeMap::new(),
            next_markers: 0,
            timers: Timers::new(),
            begun: None,
            swept: None,
            undone: BTreeSet::new(),
        }
    }

    /// What it goes by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is known of a transactional id.
    pub fn transaction(&self, id: &str) -> Option<&Transaction> {
        self.known.get(id).map(Arc::as_ref)
    }

    /// All transactional ids, in their order.
    pub fn all(&self) -> impl Iterator<Item = (&Name, &Arc<Transaction>)> {
        self.known.iter()
    }

    /// An id that is known, with what is known of it.
    fn find(&self, id: &str) -> Option<(Name, Arc<Transaction>)> {
        self.known.get_key_value(id).map(|(name, known)| (name.clone(), known.clone()))
    }

    /// Some ids behind this one.
    fn ids_after(&self, last: Option<&Name>) -> Vec<Name> {
        let from = last.map_or(Bound::Unbounded, |last| Bound::Excluded(&**last));
        let ids = self.known.range::<str, _>((from, Bound::Unbounded));
        ids.take(limits::TRANSACTIONS_TURN).map(|(id, _)| id.clone()).collect()
    }

    fn second_protocol(&self) -> bool {
        self.settings.transaction_version >= 2
    }

    fn put(&self, id: &Name, value: Transaction, effects: &mut Effects<Transactions>) {
        let version = i16::from(self.settings.transaction_version >= 1);
        effects.records.push(Record { id: id.clone(), value: Some(Arc::new(value)), version });
    }

    /// Takes what is known of an id, and says what was.
    fn set(&mut self, id: &Name, value: Option<Arc<Transaction>>) -> Option<Arc<Transaction>> {
        let deadline = value.as_ref().and_then(|value| value.deadline());
        let before = match value {
            Some(value) => self.known.insert(id.clone(), value),
            None => self.known.remove(id),
        };
        if let Some(deadline) = before.as_ref().and_then(|before| before.deadline()) {
            self.deadlines.remove(&(deadline, id.clone()));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id.clone()));
        }
        before
    }

    fn request(&mut self, now: Now, caller: Caller, request: Request, effects: &mut Effects<Transactions>) {
        let reply = match request {
            Request::InitProducerId(request) => self.init_producer_id(now, caller, request, effects),
            Request::AddPartitions(request) => self.add_partitions(now, caller, request, effects),
            Request::AddOffsets(request, partition) => {
                self.add_offsets(now, caller, request, partition, effects)
            }
            Request::End(request) => self.end_transaction(now, caller, request, effects),
            Request::List(request) => Reply::List(self.list(now, &request)),
            Request::Describe(ids) => Reply::Describe(ids.iter().map(|id| self.describe(id)).collect()),
        };
        effects.reply(caller.token, reply);
    }
}

impl Machine for Transactions {
    type Record = Record;
    type Form = ();
    type Event = Event;
    type Reply = Reply;
    type Undo = Undo;

    fn replay(&mut self, _: &(), record: &Record) -> Undo {
        let before = self.set(&record.id, record.value.clone());
        Undo { id: record.id.clone(), before }
    }

    fn undo(&mut self, Undo { id, before }: Undo) {
        self.set(&id, before);
        self.undone.insert(id);
    }

    fn undone(&mut self, now: Now, _: ErrorCode, _: &mut Effects<Transactions>) {
        for id in std::mem::take(&mut self.undone) {
            self.forget_marking(&id);
            // Nothing but its completion follows what is prepared: its markers are written, and only the record is
            // wanting.
            if self.known.get(&id).is_some_and(|known| known.status.is_prepared()) {
                self.marking.insert(id.clone(), Marking::default());
                self.try_again(now, id);
            }
        }
    }

    fn begin(&mut self, now: Now, effects: &mut Effects<Transactions>) -> bool {
        let ids = self.ids_after(self.begun.as_ref());
        for id in &ids {
            if let Some((id, known)) = self.find(id)
                && known.status.is_prepared()
            {
                self.finish(now, &id, &known, effects);
            }
        }
        self.begun = ids.last().cloned();
        let done = ids.len() < limits::TRANSACTIONS_TURN;
        if done {
            self.begun = None;
            self.schedule_upkeep(now);
        }
        done
    }

    fn handle(&mut self, now: Now, event: Event, effects: &mut Effects<Transactions>) {
        match event {
            Event::Request(caller, request) => self.request(now, caller, request, effects),
            Event::Marked(marked) => self.marked(now, marked, effects),
            Event::TransactionVersion(level) => self.settings.transaction_version = level,
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    fn fire(&mut self, now: Now, effects: &mut Effects<Transactions>) -> bool {
        let Some(timer) = self.timers.pop(now.tick) else { return false };
        match timer {
            Timer::Markers(id) => self.go_on_marking(now, id, effects),
            Timer::Aborts => self.abort_late(now, effects),
            Timer::Expiry => self.begin_sweep(now),
            Timer::Sweep => self.sweep(now, effects),
        }
        true
    }

    fn close(&mut self, _: ErrorCode, _: &mut Effects<Transactions>) {
        // Nobody waits here but for records. Who leads next reads which transactions are prepared.
        self.marking.clear();
    }

    fn refuse(event: Event, error: ErrorCode) -> Option<(Token, Reply)> {
        match event {
            Event::Request(caller, request) => Some((caller.token, refusals::refuse(request, error))),
            Event::Marked(_) | Event::TransactionVersion(_) => None,
        }
    }

    fn fail(reply: Reply, error: ErrorCode) -> Reply {
        refusals::fail(reply, error)
    }

    fn size(record: &Record) -> usize {
        record.size()
    }

    fn may_share(_: &()) -> bool {
        true
    }
}
