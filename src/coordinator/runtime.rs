//! What every coordinator is made of.
//!
//! The runtime stands between a [`Machine`], which decides, and the log, which makes durable. An event goes in, and
//! records and replies come out of the machine. The records are replayed at once, so that the next event sees them,
//! and are handed out as part of a batch to append; *every* reply waits until the log is committed up to where it
//! was when the reply was made, those of reads too, since what they tell of could vanish. If the log refuses a batch,
//! that batch and all behind it are undone, newest first, and those who waited for them get an error.
//!
//! # How the shell drives it
//!
//! - It reads the log and calls [`load`](Runtime::load) for each record, then [`loaded`](Runtime::loaded) until that
//!   says true.
//! - It gives events with [`event`](Runtime::event), and calls [`tick`](Runtime::tick) at
//!   [`next_deadline`](Runtime::next_deadline): one timer, whatever the number of members.
//! - After one or more of these it takes [`batches`](Runtime::batches) and appends them in that order, and
//!   [`replies`](Runtime::replies) and sends them. Events between two takes share a batch.
//! - For each batch it calls [`appended`](Runtime::appended) or [`failed`](Runtime::failed), and
//!   [`committed`](Runtime::committed) as the log's high watermark moves. Several batches may be under way.
//! - When the partition is led elsewhere it calls [`close`](Runtime::close).
//!
//! Batches are named by the number of their first record. Numbers only grow, also past what was undone, so that news
//! of a batch that is undone already is recognised and ignored.

use std::collections::VecDeque;

use crate::limits;
use crate::wire::error::ErrorCode;

/// The two clocks, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The one that never goes back, for deadlines.
    pub tick: u64,
    /// The time since 1970, for records.
    pub wall: i64,
}

/// To whom a reply goes: the shell's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a runtime drives.
pub trait Machine: Sized {
    /// A record of its log.
    type Record: Clone;
    /// What a batch is besides its records.
    type Form: Clone + Default + PartialEq;
    /// What it is told.
    type Event;
    /// What it answers.
    type Reply;
    /// What a record overwrote.
    type Undo;

    /// The only way in which durable state changes.
    fn replay(&mut self, form: &Self::Form, record: &Self::Record) -> Self::Undo;
    /// Takes a record back. It is called for the newest first.
    fn undo(&mut self, undo: Self::Undo);
    /// After all [`undo`](Machine::undo)s: brings soft state in line with what is durable now.
    fn undone(&mut self, now: Now, error: ErrorCode, effects: &mut Effects<Self>);

    /// The log has been replayed: soft state begins. Does a part of the work; whether all of it is done.
    fn begin(&mut self, now: Now, effects: &mut Effects<Self>) -> bool;
    /// Answers an event.
    fn handle(&mut self, now: Now, event: Self::Event, effects: &mut Effects<Self>);
    /// No timer is due earlier.
    fn next_deadline(&self) -> Option<u64>;
    /// Lets one timer fire that is due; whether there was one.
    fn fire(&mut self, now: Now, effects: &mut Effects<Self>) -> bool;
    /// The coordinator ends here: answers who waits.
    fn close(&mut self, error: ErrorCode, effects: &mut Effects<Self>);

    /// The answer to an event that is not handled because of this error, which is a coordinator's own.
    fn refuse(event: Self::Event, error: ErrorCode) -> Option<(Token, Self::Reply)>;
    /// The answer instead of one whose records, or those it saw, were not appended because of this error of the log.
    fn fail(reply: Self::Reply, error: ErrorCode) -> Self::Reply;
    /// About how many bytes a record takes in a batch.
    fn size(record: &Self::Record) -> usize;
    /// Whether records of several events may stand in one batch of this form.
    fn may_share(form: &Self::Form) -> bool;
}

/// What an event leads to.
pub struct Effects<M: Machine> {
    /// Of the batch that the records are to stand in.
    pub form: M::Form,
    /// They enter the log together or not at all.
    pub records: Vec<M::Record>,
    /// They wait until the records are committed.
    pub replies: Vec<(Token, M::Reply)>,
}

impl<M: Machine> Effects<M> {
    /// Nothing yet.
    pub fn new() -> Effects<M> {
        Effects { form: M::Form::default(), records: Vec::new(), replies: Vec::new() }
    }

    /// Answers somebody.
    pub fn reply(&mut self, to: Token, reply: M::Reply) {
        self.replies.push((to, reply));
    }
}

/// Records to append as one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<R, F> {
    /// The number of the first record.
    pub from: i64,
    /// What it is besides its records.
    pub form: F,
    /// At least one.
    pub records: Vec<R>,
}

/// The batches of a machine.
pub type BatchOf<M> = Batch<<M as Machine>::Record, <M as Machine>::Form>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Closed(ErrorCode),
}

/// A batch that was handed out.
struct Handed {
    from: i64,
    until: i64,
    /// Where it lies in the log, once it is appended.
    offset: Option<i64>,
}

struct Held<R> {
    /// It may leave when everything before this number is committed.
    until: i64,
    since: u64,
    to: Token,
    reply: R,
}

/// A coordinator: a machine, what of it is not committed, and who waits for that.
pub struct Runtime<M: Machine> {
    machine: M,
    phase: Phase,
    /// The number of the next record.
    next: i64,
    /// What undoes the records that are not committed, oldest first, with their numbers.
    undo: VecDeque<(i64, M::Undo)>,
    handed: VecDeque<Handed>,
    /// The batches that the shell has not taken.
    ready: Vec<BatchOf<M>>,
    /// Bytes of the last of them.
    bytes: usize,
    /// Oldest first.
    held: VecDeque<Held<M::Reply>>,
    replies: Vec<(Token, M::Reply)>,
    /// How long a reply may wait for its commit (`offsets.commit.timeout.ms`).
    commit_timeout_ms: u64,
}

impl<M: Machine> Runtime<M> {
    /// A coordinator that has read nothing yet.
    pub fn new(machine: M, commit_timeout_ms: u64) -> Runtime<M> {
        Runtime {
            machine,
            phase: Phase::Loading,
            next: 0,
            undo: VecDeque::new(),
            handed: VecDeque::new(),
            ready: Vec::new(),
            bytes: 0,
            held: VecDeque::new(),
            replies: Vec::new(),
            commit_timeout_ms,
        }
    }

    /// What it drives, to look at.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Whether events are handled.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// A committed record of the log, while loading.
    pub fn load(&mut self, form: &M::Form, record: &M::Record) {
        assert_eq!(self.phase, Phase::Loading, "records are read before the coordinator is active");
        self.machine.replay(form, record);
    }

    /// All of the log has been read. False: call again, after others have had their turn.
    pub fn loaded(&mut self, now: Now) -> bool {
        assert_eq!(self.phase, Phase::Loading, "loading ends once");
        let mut effects = Effects::new();
        let done = self.machine.begin(now, &mut effects);
        if done {
            self.phase = Phase::Active;
        }
        self.absorb(now, effects);
        done
    }

    /// Handles an event.
    pub fn event(&mut self, now: Now, event: M::Event) {
        let error = match self.phase {
            Phase::Active => {
                let mut effects = Effects::new();
                self.machine.handle(now, event, &mut effects);
                return self.absorb(now, effects);
            }
            Phase::Loading => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            Phase::Closed(error) => error,
        };
        self.replies.extend(M::refuse(event, error));
    }

    /// When [`tick`](Runtime::tick) is to be called at the latest.
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.is_active() {
            return None;
        }
        let held = self.held.front().map(|held| held.since + self.commit_timeout_ms);
        self.machine.next_deadline().into_iter().chain(held).min()
    }

    /// Lets due timers fire. If many are due, not all at once: the next deadline has come already then.
    pub fn tick(&mut self, now: Now) {
        if !self.is_active() {
            return;
        }
        for _ in 0..limits::COORDINATOR_TIMERS_TURN {
            let mut effects = Effects::new();
            if !self.machine.fire(now, &mut effects) {
                break;
            }
            self.absorb(now, effects);
        }
        let late = now.tick.saturating_sub(self.commit_timeout_ms);
        while let Some(held) =
            pop_front_if(&mut self.held, |held| held.since <= late && now.tick >= self.commit_timeout_ms)
        {
            // The records stay: they may yet be committed, as those of a produce request that times out.
            self.replies.push((held.to, M::fail(held.reply, ErrorCode::REQUEST_TIMED_OUT)));
        }
    }

    fn absorb(&mut self, now: Now, effects: Effects<M>) {
        let Effects { form, records, replies } = effects;
        if !records.is_empty() {
            self.append(form, records);
        }
        for (to, reply) in replies {
            if self.undo.is_empty() {
                self.replies.push((to, reply));
            } else {
                self.held.push_back(Held { until: self.next, since: now.tick, to, reply });
            }
        }
    }

    fn append(&mut self, form: M::Form, records: Vec<M::Record>) {
        let bytes = records.iter().map(M::size).sum::<usize>();
        let shares = self.ready.last().is_some_and(|last| {
            last.form == form
                && M::may_share(&form)
                && self.bytes + bytes <= limits::COORDINATOR_BATCH_BYTES
                && last.records.len() + records.len() <= limits::COORDINATOR_BATCH_RECORDS
        });
        let from = self.next;
        for record in &records {
            let undo = self.machine.replay(&form, record);
            self.undo.push_back((self.next, undo));
            self.next += 1;
        }
        match self.ready.last_mut() {
            Some(last) if shares => {
                last.records.extend(records);
                self.bytes += bytes;
            }
            _ => {
                self.ready.push(Batch { from, form, records });
                self.bytes = bytes;
            }
        }
    }

    /// The batches that are to be appended now, in this order.
    pub fn batches(&mut self) -> Vec<BatchOf<M>> {
        let batches = std::mem::take(&mut self.ready);
        for batch in &batches {
            let until = batch.from + batch.records.len() as i64;
            self.handed.push_back(Handed { from: batch.from, until, offset: None });
        }
        batches
    }

    /// The replies that may leave now.
    pub fn replies(&mut self) -> Vec<(Token, M::Reply)> {
        std::mem::take(&mut self.replies)
    }

    /// A batch lies in the log, its first record at this offset. Batches are appended in the order they were given in.
    pub fn appended(&mut self, from: i64, offset: i64) {
        let Some(at) = self.handed.iter().position(|handed| handed.from == from) else { return };
        assert!(at == 0 || self.handed[at - 1].offset.is_some_and(|before| before < offset));
        assert_eq!(self.handed[at].offset, None, "a batch is appended once");
        self.handed[at].offset = Some(offset);
    }

    /// The log is committed up to this offset, which itself is not.
    pub fn committed(&mut self, high_watermark: i64) {
        while let Some(handed) = pop_front_if(&mut self.handed, |handed| {
            handed.offset.is_some_and(|offset| offset + (handed.until - handed.from) <= high_watermark)
        }) {
            while pop_front_if(&mut self.undo, |(number, _)| *number < handed.until).is_some() {}
        }
        self.release();
    }

    /// The log has refused a batch, and with it all behind it: they are undone.
    pub fn failed(&mut self, now: Now, from: i64, error: ErrorCode) {
        if !self.handed.iter().any(|handed| handed.from == from) {
            return;
        }
        self.undo_from(now, from, error);
        self.release();
    }

    fn undo_from(&mut self, now: Now, from: i64, error: ErrorCode) {
        while self.undo.back().is_some_and(|(number, _)| *number >= from)
            && let Some((_, undo)) = self.undo.pop_back()
        {
            self.machine.undo(undo);
        }
        self.handed.retain(|handed| handed.from < from);
        self.ready.retain(|batch| batch.from < from);
        let mut effects = Effects::new();
        self.machine.undone(now, error, &mut effects);
        // A reply that saw a record with this number, or a later one, tells of what did not happen.
        let saw = self.held.partition_point(|held| held.until <= from);
        for held in self.held.split_off(saw) {
            self.replies.push((held.to, M::fail(held.reply, error)));
        }
        self.absorb(now, effects);
    }

    /// Lets go of the replies that waited for what is committed now.
    fn release(&mut self) {
        let settled = self.undo.front().map_or(self.next, |(number, _)| *number);
        while let Some(held) = pop_front_if(&mut self.held, |held| held.until <= settled) {
            self.replies.push((held.to, held.reply));
        }
    }

    /// The partition is led elsewhere, or its log has failed: everybody who waits is answered with this error, and
    /// so is every later event. What is in memory counts no more.
    pub fn close(&mut self, error: ErrorCode) {
        self.phase = Phase::Closed(error);
        let mut effects = Effects::new();
        self.machine.close(error, &mut effects);
        for held in std::mem::take(&mut self.held) {
            self.replies.push((held.to, M::fail(held.reply, error)));
        }
        self.replies.extend(effects.replies);
        self.ready.clear();
        self.handed.clear();
        self.undo.clear();
    }

    /// Records that are not committed.
    pub fn in_flight(&self) -> usize {
        self.undo.len()
    }

    /// Replies that wait for a commit.
    pub fn waiting(&self) -> usize {
        self.held.len()
    }
}

fn pop_front_if<T>(queue: &mut VecDeque<T>, test: impl FnOnce(&T) -> bool) -> Option<T> {
    if queue.front().is_some_and(test) { queue.pop_front() } else { None }
}

/// What a client is told of an error of the log, as Kafka's coordinators translate it.
pub fn error_of_log(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE | ErrorCode::INVALID_FETCH_SIZE => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        ErrorCode::NETWORK_EXCEPTION => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        error => error,
    }
}
