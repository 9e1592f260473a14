//! Replies in the order of their requests.
//!
//! Produce is ordered on its shards before it comes here, so that a connection's next request may follow at
//! once; its answer gathers what the shards say. Every other request is run when all before it are answered, as
//! Kafka does it: so a client that pipelines sees what it wrote, and a client that does not read has at most one
//! reply made for it, besides the few that leave together.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Connection, Ended};
use crate::limits::{
    FRAME_SMALL, QUEUED_BYTES, QUEUED_REQUEST, REQUEST_BYTES_IN_FLIGHT, REQUESTS_IN_FLIGHT, SEND_TOGETHER,
};
use crate::reactor::Sender;
use crate::reactor::sync::{Bell, Permit};

/// A request's answer, under way. What it does first when it is polled may count on all requests before it
/// being answered.
pub type Answer = Pin<Box<dyn Future<Output = Result<Outcome, Ended>>>>;

/// What becomes of a request.
pub enum Outcome {
    /// It is answered.
    Reply(Reply),
    /// It has no answer: Produce with acks=0.
    Silence,
}

/// A whole response frame, with its length.
#[derive(Default)]
pub struct Reply {
    /// In the order in which they are sent.
    pub slices: Vec<Bytes>,
    /// The shares of the core's memory for requests and replies that it holds.
    pub held: Vec<Permit>,
}

impl Reply {
    /// How many bytes are sent.
    pub fn len(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(Bytes::is_empty)
    }
}

impl From<Vec<Bytes>> for Reply {
    fn from(slices: Vec<Bytes>) -> Reply {
        Reply { slices, held: Vec::new() }
    }
}

/// The requests of a connection that are ordered and not answered.
#[derive(Default)]
pub struct Replies {
    queue: RefCell<VecDeque<Waiting>>,
    count: Cell<usize>,
    bytes: Cell<usize>,
    /// Rung when a request was answered.
    answered: Bell,
    /// The writer, while it waits for a request.
    writer: Cell<Option<Waker>>,
}

struct Waiting {
    answer: Answer,
    request_bytes: usize,
    /// What of the core's bound on small requests it takes.
    queued: usize,
}

impl Replies {
    /// Adds a request of this many bytes. `all` counts what waits on the core, but for the first request of each
    /// connection.
    pub fn push(&self, answer: Answer, request_bytes: usize, all: &Cell<usize>) {
        let queued = if self.is_empty() { 0 } else { queued_bytes(request_bytes) };
        all.set(all.get() + queued);
        self.count.set(self.count.get() + 1);
        self.bytes.set(self.bytes.get() + request_bytes);
        self.queue.borrow_mut().push_back(Waiting { answer, request_bytes, queued });
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Resolves when one more request of this many bytes may be read.
    pub async fn has_room(&self, request_bytes: usize, all: &Cell<usize>) {
        loop {
            let answered = self.answered.notified();
            let (count, bytes) = (self.count.get(), self.bytes.get());
            let fits = bytes + request_bytes <= REQUEST_BYTES_IN_FLIGHT
                && all.get() + queued_bytes(request_bytes) <= QUEUED_BYTES;
            if count == 0 || (count < REQUESTS_IN_FLIGHT && fits) {
                return;
            }
            answered.await;
        }
    }

    /// Resolves when all requests are answered.
    pub async fn all_answered(&self) {
        loop {
            let answered = self.answered.notified();
            if self.is_empty() {
                return;
            }
            answered.await;
        }
    }

    /// Lets go of all that waits.
    pub fn clear(&self, all: &Cell<usize>) {
        let waiting = take(&mut *self.queue.borrow_mut());
        all.set(all.get() - waiting.iter().map(|waiting| waiting.queued).sum::<usize>());
        drop(waiting);
    }

    /// Whether no request waits for its answer.
    pub fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    fn next(&self, cx: &Context<'_>) -> Poll<Waiting> {
        match self.queue.borrow_mut().pop_front() {
            Some(waiting) => Poll::Ready(waiting),
            None => {
                self.writer.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    fn answered(&self, request_bytes: usize) {
        self.count.set(self.count.get() - 1);
        self.bytes.set(self.bytes.get() - request_bytes);
        self.answered.ring();
    }
}

/// What a request that waits takes besides memory of the pool, where larger ones lie.
fn queued_bytes(request_bytes: usize) -> usize {
    QUEUED_REQUEST + if request_bytes <= FRAME_SMALL { request_bytes } else { 0 }
}

/// The sending half of a connection, and the request whose turn it is.
pub struct Writer {
    sender: Sender,
    current: Option<Waiting>,
}

impl Writer {
    /// Begins to write.
    pub fn new(sender: Sender) -> Writer {
        Writer { sender, current: None }
    }

    fn poll_outcome(&mut self, of: &Connection, cx: &mut Context<'_>) -> Poll<Result<Outcome, Ended>> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => std::task::ready!(of.replies.next(cx)),
        };
        // It does not wait in line any more.
        let all = &of.client.core.queued;
        all.set(all.get() - take(&mut current.queued));
        match current.answer.as_mut().poll(cx) {
            Poll::Ready(outcome) => {
                of.replies.answered(current.request_bytes);
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                self.current = Some(current);
                Poll::Pending
            }
        }
    }

    /// The next outcome, if it is there.
    async fn try_outcome(&mut self, of: &Connection) -> Option<Result<Outcome, Ended>> {
        poll_fn(|cx| match self.poll_outcome(of, cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Sends slices in pieces, so that a client that takes nothing is told from one that is slow, and memory is
    /// let go as it is taken.
    async fn send(&mut self, of: &Connection, slices: Vec<Bytes>, held: &mut [Permit]) -> Result<(), Ended> {
        let _sending = of.sending();
        let mut left: usize = slices.iter().map(Bytes::len).sum();
        let (mut piece, mut bytes) = (Vec::new(), 0);
        for slice in slices {
            bytes += slice.len();
            piece.push(slice);
            if bytes >= SEND_TOGETHER {
                self.sender.send(take(&mut piece)).await?;
                of.sent();
                left -= take(&mut bytes);
                hold(held, left);
            }
        }
        if !piece.is_empty() {
            self.sender.send(piece).await?;
            of.sent();
        }
        Ok(())
    }
}

/// Gives back what is held beyond `bytes`, of the earliest replies first.
fn hold(held: &mut [Permit], mut bytes: usize) {
    for permit in held.iter_mut().rev() {
        permit.shrink_to(bytes);
        bytes -= permit.units();
    }
}

/// Replies to one connection's requests, in their order; those that are ready leave together. Returns when the
/// connection is to end.
pub async fn reply(writer: &mut Writer, of: &Connection) -> Ended {
    loop {
        let mut next = Some(poll_fn(|cx| writer.poll_outcome(of, cx)).await);
        let (mut slices, mut held, mut bytes, mut end) = (Vec::new(), Vec::new(), 0, None);
        while let Some(outcome) = next {
            match outcome {
                Ok(Outcome::Reply(reply)) => {
                    bytes += reply.len();
                    slices.extend(reply.slices);
                    held.extend(reply.held);
                }
                Ok(Outcome::Silence) => {}
                Err(ended) => {
                    end = Some(ended);
                    break;
                }
            }
            next = if bytes < SEND_TOGETHER { writer.try_outcome(of).await } else { None };
        }
        if let Err(ended) = writer.send(of, slices, &mut held).await {
            return ended;
        }
        drop(held);
        if let Some(ended) = end {
            return ended;
        }
    }
}
