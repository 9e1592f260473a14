//! Produce on its shard: admit, append, and wait for the high watermark.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::call::Responder;
use super::messages::{By, ProduceCall, ProducePart, ProducePartReply, ShardReply};
use super::metadata_log::METADATA_LOG;
use super::replica::{Online, Queued, Replica, State};
use super::shard::Shard;
use crate::partition::markers::Marker;
use crate::partition::{Admission, Appended, Origin, Partition, Reject};
use crate::reactor::sync::either;
use crate::reactor::{Chunk, Share};
use crate::wire::batch::Batch;
use crate::wire::error::ErrorCode;

/// A produce call that has begun: answered when none of its parts waits any more.
pub struct Pending {
    acks: i16,
    replies: RefCell<Vec<ProducePartReply>>,
    open: Cell<usize>,
    responder: RefCell<Option<Responder>>,
}

impl Pending {
    fn new(parts: usize, acks: i16, responder: Responder) -> Rc<Pending> {
        let unanswered = ProducePartReply::failed(ErrorCode::UNKNOWN_SERVER_ERROR, None);
        Rc::new(Pending {
            acks,
            replies: RefCell::new(vec![unanswered; parts]),
            open: Cell::new(parts),
            responder: RefCell::new(Some(responder)),
        })
    }

    /// The part of this index is answered with this.
    pub(super) fn settle(&self, index: usize, reply: ProducePartReply) {
        self.replies.borrow_mut()[index] = reply;
        self.done();
    }

    /// One part more has its final answer.
    fn done(&self) {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0
            && let Some(responder) = self.responder.borrow_mut().take()
        {
            responder.answer(ShardReply::Produce(self.replies.take()));
        }
    }

    /// The part's records are as durable as was asked for.
    pub fn acknowledge(&self) {
        self.done();
    }

    /// The part of this index comes to nothing.
    pub fn fail(&self, index: usize, error: ErrorCode, why: &str) {
        self.settle(index, ProducePartReply::failed(error, Some(why.to_string())));
    }
}

/// A produce call that waits for memory, from the part on that found none.
pub struct Parked {
    parts: std::vec::IntoIter<ProducePart>,
    next: Option<ProducePart>,
    index: usize,
    wants: usize,
    chunk: Option<Chunk>,
    pending: Rc<Pending>,
}

impl Parked {
    fn new(parts: Vec<ProducePart>, index: usize, pending: Rc<Pending>) -> Parked {
        Parked { parts: parts.into_iter(), next: None, index, wants: 0, chunk: None, pending }
    }
}

/// What became of an attempt to append.
enum Attempt {
    Settled,
    /// A chunk of this size is needed first.
    NeedsChunk(usize, ProducePart),
}

impl Shard {
    /// Appends the call's batches in order; behind those that wait for memory, if any do.
    pub(super) fn produce(self: &Rc<Shard>, call: ProduceCall, responder: Responder) {
        if call.parts.is_empty() {
            return responder.answer(ShardReply::Produce(Vec::new()));
        }
        let pending = Pending::new(call.parts.len(), call.acks, responder);
        self.run_or_park(Parked::new(call.parts, 0, pending));
    }

    /// Appends what was asked for while the partition's log was being opened.
    pub(super) fn produce_queued(self: &Rc<Shard>, queued: Vec<Queued>) {
        let calls = queued.into_iter().map(|(part, pending, index)| Parked::new(vec![part], index, pending));
        if self.parked.borrow().is_empty() {
            return calls.for_each(|call| self.run_or_park(call));
        }
        // What waits for memory may come after them.
        let mut parked = self.parked.borrow_mut();
        calls.rev().for_each(|call| parked.push_front(call));
        drop(parked);
        self.parked_one.ring();
    }

    fn run_or_park(self: &Rc<Shard>, parked: Parked) {
        if !self.parked.borrow().is_empty() {
            self.park(parked);
        } else if let Some(parked) = self.run_produce(parked) {
            self.park(parked);
        }
    }

    fn park(&self, parked: Parked) {
        self.parked.borrow_mut().push_back(parked);
        self.parked_one.ring();
    }

    /// Goes on with a call; gives it back where memory is wanting.
    fn run_produce(self: &Rc<Shard>, mut call: Parked) -> Option<Parked> {
        while let Some(part) = call.next.take().or_else(|| call.parts.next()) {
            let chunk = call.chunk.take();
            match self.append_part(part, call.index, &call.pending, chunk) {
                Attempt::Settled => call.index += 1,
                Attempt::NeedsChunk(size, part) => {
                    call.next = Some(part);
                    call.wants = size;
                    return Some(call);
                }
            }
        }
        None
    }

    fn append_part(
        self: &Rc<Shard>,
        part: ProducePart,
        index: usize,
        pending: &Rc<Pending>,
        chunk: Option<Chunk>,
    ) -> Attempt {
        let Some(replica) = self.replica(part.id) else {
            pending.fail(index, self.absence(part.id), "the partition is not here");
            return Attempt::Settled;
        };
        if self.is_stopping() {
            pending.fail(index, ErrorCode::NOT_LEADER_OR_FOLLOWER, "the broker is stopping");
            return Attempt::Settled;
        }
        // The reserve is for the controller's records: by them topics are deleted and room is made.
        if replica.log_dir().is_full() && part.id != METADATA_LOG {
            pending.fail(index, ErrorCode::KAFKA_STORAGE_ERROR, "the disk is full");
            return Attempt::Settled;
        }
        let mut state = replica.state.borrow_mut();
        match &mut *state {
            State::Opening(queued) => queued.push((part.unverified(), pending.clone(), index)),
            State::Offline(error, why) => pending.fail(index, *error, why),
            State::Online(online) => {
                if let Some(held) = &mut online.held {
                    held.push((part.unverified(), pending.clone(), index));
                    return Attempt::Settled;
                }
                return self.append_online(&replica, online, part, index, pending, chunk);
            }
        }
        Attempt::Settled
    }

    fn append_online(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        online: &mut Online,
        part: ProducePart,
        index: usize,
        pending: &Rc<Pending>,
        chunk: Option<Chunk>,
    ) -> Attempt {
        let now_ms = self.reactor.wall_clock_ms();
        let Some(mut part) = self.verify_first(replica, online, part, index, pending) else {
            return Attempt::Settled;
        };
        let partition = &mut online.partition;
        let admitted = match admit(partition, &mut part, now_ms) {
            Ok(Admission::Append(admitted)) => admitted,
            Ok(Admission::Duplicate(before)) => {
                online.answer_when_durable(&before, index, pending);
                return Attempt::Settled;
            }
            Err(reject) => {
                pending.settle(index, ProducePartReply::failed(reject.error, Some(reject.message)));
                return Attempt::Settled;
            }
        };
        if partition.must_roll(&admitted, part.batch.len(), now_ms) {
            partition.roll(now_ms);
        }
        let rate = online.rate.rate(self.reactor.now());
        let chunk = match partition.log.needs_chunk(part.batch.len(), rate) {
            None => None,
            Some(size) => match chunk
                .filter(|c| c.capacity() >= size)
                .or_else(|| self.find_chunk(size, Some((replica, online))))
            {
                Some(chunk) => {
                    self.chunks.borrow_mut().push_back(replica.clone());
                    Some(chunk)
                }
                None => return Attempt::NeedsChunk(size, part),
            },
        };
        let appended = online.partition.append(&admitted, &part.batch, chunk);
        online.rate.add(part.batch.len() as u64, self.reactor.now());
        online.answer_when_durable(&appended, index, pending);
        replica.volume.rounds.want(replica, online, part.batch.len());
        Attempt::Settled
    }

    /// A chunk for the tail, making room by forgetting the oldest cached bytes. What is borrowed (`own`) is asked
    /// itself where its turn comes.
    fn find_chunk(&self, size: usize, mut own: Option<(&Rc<Replica>, &mut Online)>) -> Option<Chunk> {
        let pool = self.reactor.pool();
        if pool.used(Share::Tail) + size > self.tail_memory.wanted() {
            self.forget_oldest(&mut own);
        }
        let turns = self.chunks.borrow().len();
        for _ in 0..=turns {
            if let Some(chunk) = pool.try_chunk(Share::Tail, size) {
                return Some(chunk);
            }
            self.forget_oldest(&mut own);
        }
        None
    }

    /// Forgets the oldest cached bytes, or sends them to the back of the line where they are not stable yet.
    fn forget_oldest(&self, own: &mut Option<(&Rc<Replica>, &mut Online)>) {
        let Some(oldest) = self.chunks.borrow_mut().pop_front() else { return };
        let forgot = match own {
            Some((replica, online)) if Rc::ptr_eq(&oldest, replica) => forget_chunk(online),
            _ => oldest.online(forget_chunk).unwrap_or(true),
        };
        if !forgot {
            self.chunks.borrow_mut().push_back(oldest);
        }
    }

    /// Goes on with the produces that wait for memory, in order.
    pub(super) async fn pump_parked(self: Rc<Shard>) {
        loop {
            let parked_one = self.parked_one.notified();
            let Some(wants) = self.parked.borrow().front().map(|call| call.wants.max(1)) else {
                parked_one.await;
                continue;
            };
            let stable_moved = self.stable_moved.notified();
            if let Some(chunk) = self.find_chunk(wants, None) {
                let call = self.parked.borrow_mut().pop_front();
                let Some(mut call) = call else { continue };
                call.chunk = Some(chunk);
                if let Some(call) = self.run_produce(call) {
                    self.parked.borrow_mut().push_front(call);
                }
                continue;
            }
            let returned = async { drop(self.reactor.pool().chunk(Share::Tail, wants).await) };
            either(stable_moved, returned).await;
        }
    }
}

impl Online {
    /// Answers a part whose batch is in the log, once it is as durable as was asked for.
    fn answer_when_durable(&mut self, appended: &Appended, index: usize, pending: &Rc<Pending>) {
        pending.replies.borrow_mut()[index] = ProducePartReply {
            error: ErrorCode::NONE,
            message: None,
            base_offset: appended.base_offset,
            log_append_time: appended.log_append_time,
            log_start_offset: self.partition.log.start_offset(),
        };
        let end = appended.end_offset;
        if pending.acks == 0 || end <= self.partition.high_watermark() {
            return pending.done();
        }
        // A duplicate may have to wait for less than those who came before it.
        let at = match self.waiting.back() {
            Some((last, ..)) if *last > end => self.waiting.partition_point(|(offset, ..)| *offset <= end),
            _ => self.waiting.len(),
        };
        self.waiting.insert(at, (end, pending.clone(), index));
    }
}

/// Whether a batch may be appended. A marker is made here.
fn admit(partition: &Partition, part: &mut ProducePart, now_ms: i64) -> Result<Admission, Reject> {
    let (marker, version) = match &part.by {
        By::Client(_) => (None, 0),
        By::Coordinator => (marker_of(&part.batch)?, 0),
        By::Marker(marker, version) => (Some(*marker), *version),
    };
    if let Some(marker) = marker {
        let (admitted, batch) = partition.admit_marker(marker, version, now_ms)?;
        part.batch = batch.into();
        return Ok(Admission::Append(admitted));
    }
    let origin = match part.by {
        By::Client(_) => Origin::Client,
        _ => Origin::Coordinator,
    };
    partition.admit_from(&part.batch, now_ms, origin, part.verified)
}

fn marker_of(batch: &[u8]) -> Result<Option<Marker>, Reject> {
    let read = Batch::first(batch).and_then(|batch| Marker::of(&batch));
    read.map_err(|why| Reject { error: why.error_code(), message: why.to_string() })
}

/// Forgets about a chunk's worth of cached bytes; says whether anything could be forgotten.
fn forget_chunk(online: &mut Online) -> bool {
    let mut forgot = 0;
    while forgot < crate::limits::CHUNK_BUSY {
        match online.partition.log.forget_oldest() {
            Some(len) => forgot += len.max(1),
            None => break,
        }
    }
    forgot > 0
}
