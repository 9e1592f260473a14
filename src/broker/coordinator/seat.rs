//! A coordinator on its partition: reads its log, then decides, appends and answers.
//!
//! [`Seat::ask`] decides the moment it is called. Two tasks run beside it. One lets timers fire, and appends what was
//! decided: what is decided while two appends are under way is gathered. The other waits for each append, in order,
//! and says what became of it; then the answers leave.
//!
//! If the log refuses an append, those behind it come to nothing too, and the coordinator undoes all of them. If the
//! log did take one of those, memory and log disagree: the coordinator then reads its log anew.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::journal::Journal;
use crate::broker::call::Responder;
use crate::broker::messages::{
    FetchCall, FetchPart, PartitionId, ProduceCall, ProducePart, ProducePartReply, ShardReply, ShardRequest,
};
use crate::broker::replica::Replica;
use crate::broker::shard::Shard;
use crate::collections::Map;
use crate::coordinator::{Now, Runtime, Token};
use crate::reactor::sync::{Bell, Completion, completion, either};
use crate::reactor::{Class, Nanos, Reactor};
use crate::wire::batch::batches;
use crate::wire::error::ErrorCode;

/// Bytes of the log that are read at once.
const READ: usize = 1 << 20;
/// How many appends may be under way before what is decided is gathered.
const APPENDS: usize = 2;
/// What could not be read is read again after so long; after each failure, after twice as long.
const AGAIN: Duration = Duration::from_secs(1);
const NANOS_PER_MS: u64 = 1_000_000;

/// The two clocks of a core, as coordinators go by them.
pub fn now(reactor: &Reactor) -> Now {
    Now { tick: reactor.now().0 / NANOS_PER_MS, wall: reactor.wall_clock_ms() }
}

/// A coordinator on its partition.
pub struct Seat<M: Journal> {
    id: PartitionId,
    name: String,
    runtime: RefCell<Runtime<M>>,
    askers: RefCell<Map<Token, Responder>>,
    last_token: Cell<u64>,
    /// Rung when something was decided, and when an append has ended.
    work: Bell,
    under_way: RefCell<VecDeque<Append>>,
    /// How many are under way, the one that is waited for among them.
    appends: Cell<usize>,
    /// Rung when an append was begun.
    begun: Bell,
    /// Rung when the coordinator ends.
    over: Bell,
    /// Carries out what the coordinator orders: replies that nobody has asked for.
    orders: Box<dyn Fn(M::Reply)>,
}

/// The coordinators of one kind on a core, by their partitions.
pub struct Seats<M: Journal>(RefCell<Map<PartitionId, Rc<Seat<M>>>>);

impl<M: Journal> Default for Seats<M> {
    fn default() -> Seats<M> {
        Seats(RefCell::default())
    }
}

impl<M: Journal> Seats<M> {
    /// The coordinator on this partition.
    pub fn get(&self, id: PartitionId) -> Option<Rc<Seat<M>>> {
        self.0.borrow().get(&id).cloned()
    }

    /// Whether a coordinator serves on this partition.
    pub fn serves(&self, id: PartitionId) -> bool {
        self.get(id).is_some_and(|seat| seat.is_active())
    }

    /// Those that handle requests.
    pub fn active(&self) -> Vec<Rc<Seat<M>>> {
        self.0.borrow().values().filter(|seat| seat.is_active()).cloned().collect()
    }

    /// Begins with a coordinator, in the place of one that serves no more. `begun` is called when it serves.
    pub fn start(
        &self,
        shard: &Rc<Shard>,
        seat: Rc<Seat<M>>,
        begun: impl FnOnce(&Rc<Shard>, &Rc<Seat<M>>) + 'static,
    ) {
        let id = seat.id;
        let before = self.0.borrow_mut().insert(id, seat.clone());
        if let Some(before) = before {
            before.close(ErrorCode::NOT_COORDINATOR);
        }
        seat.start(shard, begun, move |shard| {
            if let Some(replica) = shard.replica(id) {
                shard.seat_coordinator(&replica);
            }
        });
    }

    /// Ends the coordinator on this partition.
    pub fn close(&self, id: PartitionId) {
        let seat = self.0.borrow_mut().remove(&id);
        if let Some(seat) = seat {
            seat.close(ErrorCode::NOT_COORDINATOR);
        }
    }

    /// Ends all.
    pub fn close_all(&self) {
        let seats = self.0.take();
        seats.into_values().for_each(|seat| seat.close(ErrorCode::NOT_COORDINATOR));
    }
}

/// An append under way.
struct Append {
    /// The number of the first record of each batch, and how many there are.
    batches: Vec<(i64, usize)>,
    answer: Completion<ShardReply>,
}

/// What became of an append.
#[derive(Debug, PartialEq)]
enum Outcome {
    Durable,
    /// From this record on nothing was appended, because of this error.
    Refused(i64, ErrorCode),
    /// Something was appended behind what was refused.
    Torn,
}

impl<M: Journal> Seat<M> {
    /// A coordinator of this partition that has read nothing yet. `orders` makes what carries out its orders.
    pub fn new(
        replica: &Replica,
        runtime: Runtime<M>,
        orders: impl FnOnce(&Weak<Seat<M>>) -> Box<dyn Fn(M::Reply)>,
    ) -> Rc<Seat<M>> {
        Rc::new_cyclic(|seat| Seat {
            id: replica.id,
            name: replica.name(),
            runtime: RefCell::new(runtime),
            askers: RefCell::default(),
            last_token: Cell::new(0),
            work: Bell::default(),
            under_way: RefCell::default(),
            appends: Cell::new(0),
            begun: Bell::default(),
            over: Bell::default(),
            orders: orders(seat),
        })
    }

    /// Reads the log, then serves until [`Seat::close`]. `begun` is called when it begins to serve, `again` if the log
    /// has to be read anew: it could not be read, or is not what is in memory.
    pub fn start(
        self: &Rc<Seat<M>>,
        shard: &Rc<Shard>,
        begun: impl FnOnce(&Rc<Shard>, &Rc<Seat<M>>) + 'static,
        again: impl FnOnce(&Rc<Shard>) + 'static,
    ) {
        let (seat, on) = (self.clone(), shard.clone());
        shard.reactor.spawn(Class::Coordination, async move {
            match seat.load(&on).await {
                Ok(()) => {
                    if let Some(replica) = on.replica(seat.id) {
                        replica.unread.set(0);
                    }
                    begun(&on, &seat);
                }
                Err(_) if seat.over.has_rung() => return,
                Err(why) => {
                    let failures = on.replica(seat.id).map_or(0, |replica| replica.unread.replace(replica.unread.get() + 1));
                    let pause = AGAIN.saturating_mul(1 << failures.min(6));
                    let (name, what) = (&seat.name, M::WHAT);
                    tracing::error!(
                        "{name} cannot be read, so the {what} of this partition have no coordinator: {why}. Its clients \
                         get COORDINATOR_LOAD_IN_PROGRESS; it is read again in {} s",
                        pause.as_secs()
                    );
                    either(on.reactor.sleep(pause), seat.over.rung()).await;
                    if !seat.over.has_rung() {
                        seat.close(ErrorCode::NOT_COORDINATOR);
                        again(&on);
                    }
                    return;
                }
            }
            let (serving, with) = (seat.clone(), on.clone());
            on.reactor.spawn(Class::Coordination, async move { serving.serve(&with).await });
            if !seat.follow_appends(&on).await {
                tracing::warn!(
                    "{}: the log has taken records behind others that it refused: it is read anew",
                    seat.name
                );
                seat.close(ErrorCode::NOT_COORDINATOR);
                again(&on);
            }
        });
    }

    /// Tells the coordinator something; who asks is answered through the responder, perhaps much later.
    pub fn ask(&self, now: Now, responder: Responder, event: impl FnOnce(Token) -> M::Event) {
        let token = Token(self.last_token.get() + 1);
        self.last_token.set(token.0);
        self.askers.borrow_mut().insert(token, responder);
        self.tell(now, event(token));
    }

    /// Tells the coordinator something that is not answered.
    pub fn tell(&self, now: Now, event: M::Event) {
        self.runtime.borrow_mut().event(now, event);
        self.send_replies();
        self.work.ring();
    }

    /// Looks at the coordinator.
    pub fn look<T>(&self, at: impl FnOnce(&M) -> T) -> T {
        at(self.runtime.borrow().machine())
    }

    /// The partition.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Whether requests are handled.
    pub fn is_active(&self) -> bool {
        self.runtime.borrow().is_active()
    }

    /// Ends: all who wait are answered with this error, and so are all who ask from now on.
    pub fn close(&self, error: ErrorCode) {
        self.runtime.borrow_mut().close(error);
        self.send_replies();
        self.over.ring();
        self.work.ring();
        self.begun.ring();
    }

    fn send_replies(&self) {
        let replies = self.runtime.borrow_mut().replies();
        for (to, reply) in replies {
            let asker = self.askers.borrow_mut().remove(&to);
            match asker {
                Some(asker) => asker.answer(M::answer(reply)),
                None => (self.orders)(reply),
            }
        }
    }

    /// Replays the log, up to what is committed.
    async fn load(&self, shard: &Rc<Shard>) -> Result<(), String> {
        let began = shard.reactor.now();
        let mut offset = None;
        let (mut bytes, mut records) = (0, 0u64);
        loop {
            let read = read(shard, self.id, offset).await?;
            if self.over.has_rung() {
                return Err("the coordinator ended".to_string());
            }
            let from = offset.unwrap_or(read.start);
            let mut next = from;
            {
                let mut runtime = self.runtime.borrow_mut();
                // The last batch may be cut short.
                for batch in batches(&read.bytes).map_while(Result::ok) {
                    next = batch.last_offset() + 1;
                    M::read(&batch, &mut |form, record| {
                        records += 1;
                        runtime.load(form, record);
                    })?;
                }
            }
            bytes += read.bytes.len();
            offset = Some(next);
            if next >= read.end {
                break;
            }
            if next == from {
                return Err(format!(
                    "nothing can be read at offset {from}, and the log ends at {}",
                    read.end
                ));
            }
            shard.reactor.yield_now().await;
        }
        while !self.runtime.borrow_mut().loaded(now(&shard.reactor)) {
            shard.reactor.yield_now().await;
            if self.over.has_rung() {
                return Err("the coordinator ended".to_string());
            }
        }
        if records > 0 {
            let took = shard.reactor.now().since(began).as_millis();
            tracing::info!("{}: {records} records ({bytes} bytes) read in {took} ms", self.name);
        }
        self.send_replies();
        Ok(())
    }

    /// Lets timers fire, and appends what is decided.
    async fn serve(&self, shard: &Rc<Shard>) {
        let reactor = &shard.reactor;
        while !self.over.has_rung() {
            let work = self.work.notified();
            let now = now(reactor);
            self.runtime.borrow_mut().tick(now);
            self.append(shard);
            self.send_replies();
            let next = self.runtime.borrow().next_deadline();
            match next {
                // Many timers are due: the others of this core have their turn first.
                Some(at) if at <= now.tick => reactor.yield_now().await,
                Some(at) => either(work, reactor.sleep(Duration::from_millis(at - now.tick))).await,
                None => work.await,
            }
        }
    }

    /// Appends what was decided, as long as not too many appends are under way.
    fn append(&self, shard: &Rc<Shard>) {
        while self.appends.get() < APPENDS {
            let decided = self.runtime.borrow_mut().batches();
            let (mut parts, mut numbers, mut unwritten) = (Vec::new(), Vec::new(), None);
            for batch in decided {
                match M::write(&batch.form, &batch.records, shard.reactor.wall_clock_ms()) {
                    Ok(bytes) => {
                        parts.push(ProducePart::by_coordinator(self.id, bytes));
                        numbers.push((batch.from, batch.records.len()));
                    }
                    Err(why) => {
                        tracing::error!("{}: records that cannot be written: {why}", self.name);
                        unwritten = Some(batch.from);
                        break;
                    }
                }
            }
            if !parts.is_empty() {
                let (completer, answer) = completion();
                let call = ProduceCall { acks: -1, deadline: Nanos(u64::MAX), parts };
                shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
                self.appends.set(self.appends.get() + 1);
                self.under_way.borrow_mut().push_back(Append { batches: numbers, answer });
                self.begun.ring();
            } else if unwritten.is_none() {
                return;
            }
            if let Some(from) = unwritten {
                let error = ErrorCode::UNKNOWN_SERVER_ERROR;
                self.runtime.borrow_mut().failed(now(&shard.reactor), from, error);
            }
        }
    }

    /// Waits for each append and says what became of it. False: what is in memory is not what the log holds.
    async fn follow_appends(&self, shard: &Rc<Shard>) -> bool {
        loop {
            let begun = self.begun.notified();
            let next = self.under_way.borrow_mut().pop_front();
            let Some(append) = next else {
                if self.over.has_rung() {
                    return true;
                }
                begun.await;
                continue;
            };
            let mut outcome = self.ended(append).await;
            if let Outcome::Refused(from, error) = outcome {
                // What was ordered behind it must have been refused too.
                while let Some(behind) = { self.under_way.borrow_mut().pop_front() } {
                    let refused = refused_whole(behind.answer.await);
                    self.appends.set(self.appends.get() - 1);
                    if !refused {
                        outcome = Outcome::Torn;
                    }
                }
                if outcome != Outcome::Torn {
                    self.runtime.borrow_mut().failed(now(&shard.reactor), from, error);
                }
            }
            self.send_replies();
            self.work.ring();
            if outcome == Outcome::Torn && !self.over.has_rung() {
                return false;
            }
        }
    }

    /// Waits for an append, and tells the coordinator what is durable.
    async fn ended(&self, append: Append) -> Outcome {
        let replies = produced(append.answer.await);
        self.appends.set(self.appends.get() - 1);
        let mut runtime = self.runtime.borrow_mut();
        let mut outcome = Outcome::Durable;
        for ((from, count), reply) in append.batches.into_iter().zip(replies) {
            match (&outcome, reply.error) {
                (Outcome::Durable, ErrorCode::NONE) => {
                    runtime.appended(from, reply.base_offset);
                    runtime.committed(reply.base_offset + count as i64);
                }
                (Outcome::Durable, error) => outcome = Outcome::Refused(from, error),
                (_, ErrorCode::NONE) => return Outcome::Torn,
                _ => {}
            }
        }
        outcome
    }
}

fn produced(reply: ShardReply) -> Vec<ProducePartReply> {
    let ShardReply::Produce(replies) = reply else { unreachable!("a produce is answered as one") };
    replies
}

fn refused_whole(reply: ShardReply) -> bool {
    produced(reply).iter().all(|part| part.error.is_error())
}

/// A piece of a log.
struct Piece {
    bytes: Vec<u8>,
    /// Where the log starts.
    start: i64,
    /// Up to where it is committed.
    end: i64,
}

/// Reads from an offset on, or from the log's start.
async fn read(shard: &Rc<Shard>, id: PartitionId, offset: Option<i64>) -> Result<Piece, String> {
    let from = match offset {
        Some(offset) => offset,
        None => {
            let replica = shard.serving(id).map_err(|error| error.to_string())?;
            let start = replica.online(|online| online.partition.log.start_offset());
            start.ok_or("its log is not open")?
        }
    };
    let (completer, answer) = completion();
    let part =
        FetchPart { id, offset: from, max_bytes: READ, current_leader_epoch: -1, last_fetched_epoch: -1 };
    let call = FetchCall { read_committed: false, max_bytes: READ, parts: vec![part] };
    shard.handle(ShardRequest::Fetch(call), Responder::Local(completer));
    let ShardReply::Fetch(mut replies) = answer.await else { unreachable!("a fetch is answered as one") };
    let reply = replies.pop().expect("a fetch answers each part");
    match reply.error {
        ErrorCode::NONE => {
            Ok(Piece { bytes: reply.records.concat(), start: from, end: reply.high_watermark })
        }
        error => Err(format!("at offset {from}: {error}")),
    }
}
