//! Calls from core to core: a request to a shard, and one answer.
//!
//! A [`Caller`] lives on its core as long as the node runs. A call of the core's own shard is a plain function
//! call; one of another core's goes over the bus under a token, and the answer comes back under it. Calls made
//! in order are ordered in order, on each shard. Nothing here waits: what the bus has no credits for stands in
//! a lane of its own, and it is the connections that wait, before they make further calls
//! ([`Caller::has_room`]). So lanes stay as short as the connections' bounds make them, and answers, which
//! are at most as many as the calls, always find room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::messages::{ShardReply, ShardRequest, ToCore};
use crate::limits::BUS_LANE;
use crate::reactor::bus::BusEnd;
use crate::reactor::sync::{Bell, Completer, Completion, completion};
use crate::reactor::{Class, Reactor};

/// Orders a request on this core's shard the moment it is called, and answers later.
pub type Handler = Rc<dyn Fn(ShardRequest, Responder)>;

/// Where a shard's answer goes.
pub enum Responder {
    /// To a caller on the same core.
    Local(Completer<ShardReply>),
    /// Over the bus.
    Remote {
        /// The calling core.
        core: usize,
        /// What the caller named the call.
        token: u64,
        /// This core's way to the other.
        bus: Caller,
    },
}

impl Responder {
    /// Answers. Never waits.
    pub fn answer(self, reply: ShardReply) {
        match self {
            Responder::Local(completer) => completer.complete(reply),
            Responder::Remote { core, token, bus } => bus.send(core, ToCore::Reply { token, reply }),
        }
    }
}

/// One core's way to every shard. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Caller {
    inner: Rc<Inner>,
}

struct Inner {
    end: BusEnd<ToCore>,
    handler: Handler,
    lanes: Vec<Lane>,
    calls: RefCell<Calls>,
    /// Rung when a lane got shorter.
    shorter: Bell,
}

/// What waits for credits to one core, in order.
#[derive(Default)]
struct Lane {
    waiting: RefCell<VecDeque<ToCore>>,
    /// Whether a message was taken out of `waiting` and has not gone yet: nothing may overtake it.
    sending: Cell<bool>,
    /// Rung when a message was added.
    added: Bell,
}

impl Lane {
    fn len(&self) -> usize {
        self.waiting.borrow().len() + usize::from(self.sending.get())
    }
}

impl Caller {
    /// The way to every shard from the core of this end of the bus, whose own shard is asked by `handler`.
    pub fn new(end: BusEnd<ToCore>, handler: Handler) -> Caller {
        let lanes = (0..end.cores()).map(|_| Lane::default()).collect();
        let (calls, shorter) = (RefCell::default(), Bell::default());
        Caller { inner: Rc::new(Inner { end, handler, lanes, calls, shorter }) }
    }

    /// Spawns what sends on once there are credits again.
    pub fn start(&self, reactor: &Reactor) {
        for to in (0..self.inner.end.cores()).filter(|to| *to != self.core()) {
            reactor.spawn(Class::Request, self.clone().send_waiting(to));
        }
    }

    /// This core's number.
    pub fn core(&self) -> usize {
        self.inner.end.core()
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.inner.end.cores()
    }

    /// Asks the shard of a core. The request is on its way, behind all that were made before, when this
    /// returns. Dropping the completion loses the answer, nothing else.
    pub fn call(&self, core: usize, request: ShardRequest) -> Completion<ShardReply> {
        let (completer, answer) = completion();
        if core == self.core() {
            (self.inner.handler)(request, Responder::Local(completer));
        } else {
            let token = self.inner.calls.borrow_mut().begin(completer);
            self.send(core, ToCore::Call { token, request });
        }
        answer
    }

    /// Sends a message to another core, behind all that were sent there before. Never waits.
    pub fn send(&self, to: usize, message: ToCore) {
        let lane = &self.inner.lanes[to];
        let unsent = if lane.len() > 0 { Err(message) } else { self.inner.end.try_send(to, message) };
        if let Err(message) = unsent {
            lane.waiting.borrow_mut().push_back(message);
            lane.added.ring();
        }
    }

    /// Resolves once no lane is long. Who makes many calls waits for this before each.
    pub async fn has_room(&self) {
        loop {
            let shorter = self.inner.shorter.notified();
            if self.inner.lanes.iter().all(|lane| lane.len() < BUS_LANE) {
                return;
            }
            shorter.await;
        }
    }

    /// Resolves once everything that was sent is on the bus.
    pub async fn all_sent(&self) {
        loop {
            let shorter = self.inner.shorter.notified();
            if self.inner.lanes.iter().all(|lane| lane.len() == 0) {
                return;
            }
            shorter.await;
        }
    }

    /// The next message from any core.
    pub async fn receive(&self) -> (usize, ToCore) {
        self.inner.end.receive().await
    }

    /// Deals with what the bus brings for shards and callers; hands back all else.
    pub fn dispatch(&self, from: usize, message: ToCore) -> Option<ToCore> {
        match message {
            ToCore::Call { token, request } => {
                let responder = Responder::Remote { core: from, token, bus: self.clone() };
                (self.inner.handler)(request, responder);
                None
            }
            ToCore::Reply { token, reply } => {
                let completer = self.inner.calls.borrow_mut().end(token);
                if let Some(completer) = completer {
                    completer.complete(reply);
                }
                None
            }
            other => Some(other),
        }
    }

    async fn send_waiting(self, to: usize) {
        let lane = &self.inner.lanes[to];
        loop {
            let added = lane.added.notified();
            let Some(message) = lane.waiting.borrow_mut().pop_front() else {
                added.await;
                continue;
            };
            lane.sending.set(true);
            self.inner.end.send(to, message).await;
            lane.sending.set(false);
            self.inner.shorter.ring();
        }
    }
}

/// Calls under way to other cores, by token. A token says its place and how often the place was used before,
/// so that a late answer never reaches another call.
#[derive(Default)]
struct Calls {
    places: Vec<Place>,
    free: Vec<u32>,
    /// How many places there may be before the abandoned ones are looked for.
    sweep_at: usize,
}

#[derive(Default)]
struct Place {
    used: u32,
    completer: Option<Completer<ShardReply>>,
}

impl Calls {
    fn begin(&mut self, completer: Completer<ShardReply>) -> u64 {
        if self.free.is_empty() && self.places.len() >= self.sweep_at {
            self.sweep();
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).expect("calls under way are bounded")
        });
        let place = &mut self.places[index as usize];
        place.completer = Some(completer);
        u64::from(place.used) << 32 | u64::from(index)
    }

    fn end(&mut self, token: u64) -> Option<Completer<ShardReply>> {
        let (used, index) = ((token >> 32) as u32, token as u32);
        let place = self.places.get_mut(index as usize).filter(|place| place.used == used)?;
        let completer = place.completer.take()?;
        place.used = place.used.wrapping_add(1);
        self.free.push(index);
        Some(completer)
    }

    /// Takes back the places of calls for which nobody waits any more: their answers may never come.
    fn sweep(&mut self) {
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.completer.as_ref().is_some_and(Completer::is_abandoned) {
                place.completer = None;
                place.used = place.used.wrapping_add(1);
                self.free.push(index as u32);
            }
        }
        let live = self.places.len() - self.free.len();
        self.sweep_at = (2 * live).max(64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::broker::messages::{ListOffsetsPart, ListOffsetsReply, PartitionId};
    use crate::reactor::bus::mesh;
    use crate::reactor::sim::{Options, World};
    use crate::reactor::{CoreMain, CoreSpec};
    use crate::wire::error::ErrorCode;
    use crate::wire::uuid::Uuid;

    fn question(number: i64) -> ShardRequest {
        let id = PartitionId { topic: Uuid::ZERO, partition: 0 };
        let (current_leader_epoch, read_committed) = (-1, false);
        ShardRequest::ListOffsets(vec![ListOffsetsPart {
            id,
            timestamp: number,
            current_leader_epoch,
            read_committed,
        }])
    }

    fn number(request: &ShardRequest) -> i64 {
        let ShardRequest::ListOffsets(parts) = request else { unreachable!() };
        parts[0].timestamp
    }

    fn reply(number: i64) -> ShardReply {
        let answer = ListOffsetsReply { offset: number, ..ListOffsetsReply::failed(ErrorCode::NONE) };
        ShardReply::ListOffsets(vec![answer])
    }

    /// Runs `ask` on core 0, while core 1 hands the questions in the order in which they come to `answer`.
    fn two_cores(
        seed: u64,
        ask: impl AsyncFnOnce(Reactor, Caller) + Send + 'static,
        answer: impl Fn(&Reactor, i64, Responder) + Send + 'static,
    ) {
        let world = World::new(seed, Options::drawn(seed));
        let node = world.add_node();
        let done = Arc::new(Mutex::new(false));
        let mut ends = mesh::<ToCore>(2).into_iter();
        let (end, finished) = (ends.next().unwrap(), done.clone());
        let asks: CoreMain = Box::new(move |reactor| {
            Box::pin(async move {
                let caller = Caller::new(end, Rc::new(|_, _| unreachable!("nobody asks this core")));
                caller.start(&reactor);
                let receiver = caller.clone();
                reactor.spawn(Class::Request, async move {
                    loop {
                        let (from, message) = receiver.receive().await;
                        assert!(receiver.dispatch(from, message).is_none());
                    }
                });
                ask(reactor, caller).await;
                *finished.lock().unwrap() = true;
            })
        });
        let end = ends.next().unwrap();
        let answers: CoreMain = Box::new(move |reactor| {
            Box::pin(async move {
                let on = reactor.clone();
                let handler: Handler =
                    Rc::new(move |request, responder| answer(&on, number(&request), responder));
                let caller = Caller::new(end, handler);
                caller.start(&reactor);
                loop {
                    let (from, message) = caller.receive().await;
                    assert!(caller.dispatch(from, message).is_none());
                }
            })
        });
        world.start(node, vec![(CoreSpec::default(), asks), (CoreSpec::default(), answers)]);
        let limit = Duration::from_secs(600);
        assert!(world.run_until(limit, || *done.lock().unwrap()), "seed {seed}");
    }

    #[test]
    fn calls_are_ordered_and_answers_find_their_calls() {
        for seed in 0..20 {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let came = seen.clone();
            // Many times what the bus has credits for, at once.
            let ask = async |_, caller: Caller| {
                let calls: Vec<_> = (0..5_000).map(|n| (n, caller.call(1, question(n)))).collect();
                for (n, answer) in calls.into_iter().rev() {
                    let ShardReply::ListOffsets(replies) = answer.await else { unreachable!() };
                    assert_eq!(replies[0].offset, n);
                }
            };
            two_cores(seed, ask, move |reactor, n, responder| {
                came.lock().unwrap().push(n);
                let on = reactor.clone();
                reactor.spawn(Class::Request, async move {
                    on.sleep(Duration::from_micros(n as u64 * 7_919 % 5_000)).await;
                    responder.answer(reply(n));
                });
            });
            assert_eq!(*seen.lock().unwrap(), (0..5_000).collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn who_makes_many_calls_waits_for_room() {
        let ask = async |_, caller: Caller| {
            let mut calls = Vec::new();
            let mut longest = 0;
            for n in 0..20_000 {
                caller.has_room().await;
                calls.push(caller.call(1, question(n)));
                longest = longest.max(caller.inner.lanes[1].len());
            }
            assert_eq!(longest, BUS_LANE, "the bus was full, and the lane no longer than it may be");
            for call in calls {
                call.await;
            }
        };
        two_cores(3, ask, |_, n, responder| responder.answer(reply(n)));
    }

    #[test]
    fn abandoned_calls_leave_nothing_behind() {
        let mut calls = Calls::default();
        let (completer, kept) = completion();
        let first = calls.begin(completer);
        for _ in 0..10_000 {
            drop(completion::<ShardReply>().1);
            let (completer, _abandoned) = completion();
            calls.begin(completer);
        }
        assert!(calls.places.len() <= 128, "{} places", calls.places.len());
        assert!(calls.end(first).is_some(), "what somebody waits for is kept");
        drop(kept);
    }

    #[test]
    fn a_late_answer_reaches_nobody() {
        let mut calls = Calls::default();
        let (completer, _one) = completion();
        let old = calls.begin(completer);
        assert!(calls.end(old).is_some());
        let (completer, _two) = completion();
        let new = calls.begin(completer);
        assert_eq!(old as u32, new as u32, "it has the place of the first");
        assert!(calls.end(old).is_none());
        assert!(calls.end(u64::MAX).is_none());
        assert!(calls.end(new).is_some());
        assert!(calls.end(new).is_none());
    }
}
