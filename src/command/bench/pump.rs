//! The producing side: one thread that drives some connections, and writes as fast or as regularly as asked.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;

use super::super::failure::{At, Failure, Result};
use super::super::units::now_ms;
use super::poll::Poll;
use super::template::{Outgoing, Patch, RequestForm, Template};
use crate::wire::api::read_response;
use crate::wire::schema::ProduceResponse;

/// How long a pump sleeps at most before it looks whether it should stop.
const NAP: Duration = Duration::from_millis(100);
/// The largest answer to a Produce request that is believed.
const ANSWER_MAX: usize = 16 << 20;

/// What is to be sent, the same for all connections.
#[derive(Debug)]
pub struct Plan {
    /// The fixed parts of a request.
    pub form: RequestForm,
    /// A partition and its batch, by slot.
    pub slots: Vec<(i32, Template)>,
    /// Batches, each for another partition, in one request.
    pub per_request: usize,
    /// Requests that a connection may have unanswered.
    pub in_flight: usize,
    /// The time between two requests of one connection; none sends as fast as answers allow.
    pub interval: Option<Duration>,
    /// Whether records are stamped with the time they were due.
    pub stamped: bool,
    /// Batch bytes after which no more is sent.
    pub goal_bytes: u64,
    /// The time after which no more is sent.
    pub goal_time: Option<Instant>,
    /// When the run began: the zero of stamps and schedules.
    pub began: Instant,
}

/// What all the pumps and the one who watches them share.
#[derive(Debug, Default)]
pub struct Tally {
    /// Batch bytes that pumps have claimed to send.
    pub claimed_bytes: AtomicU64,
    /// Batch bytes that were acknowledged (with acks 0: handed to the kernel).
    pub acked_bytes: AtomicU64,
    /// Records of the same batches.
    pub acked_records: AtomicU64,
    /// Requests of the same batches.
    pub acked_requests: AtomicU64,
    /// Whether latencies count: set when the warm-up is over.
    pub measuring: AtomicBool,
    /// Whether everybody should end.
    pub stop: AtomicBool,
}

/// A connection that produces.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    /// The slots whose partitions this connection's broker leads.
    slots: Vec<usize>,
    /// The next of `slots`.
    cursor: usize,
    /// Producer id and epoch, and the next sequence of each of `slots`.
    producer: Option<(i64, i16, Vec<i32>)>,
    correlation: i32,
    writing: Option<(Outgoing, Flight)>,
    waiting: VecDeque<Flight>,
    next_due: Instant,
    can_write: bool,
    inbox: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    correlation: i32,
    /// When it was due, or without a schedule when it was begun.
    due: Instant,
    bytes: u64,
    records: u64,
}

impl Link {
    /// A connection that starts with the slot and at the time given.
    pub fn new(
        stream: TcpStream,
        slots: Vec<usize>,
        start: usize,
        producer: Option<(i64, i16)>,
        first_due: Instant,
    ) -> Result<Link> {
        stream.set_nonblocking(true).at("bench connection")?;
        let producer = producer.map(|(id, epoch)| (id, epoch, vec![0; slots.len()]));
        Ok(Link {
            stream,
            cursor: start % slots.len().max(1),
            slots,
            producer,
            correlation: 0,
            writing: None,
            waiting: VecDeque::new(),
            next_due: first_due,
            can_write: true,
            inbox: Vec::new(),
        })
    }

    fn unanswered(&self) -> usize {
        self.waiting.len() + usize::from(self.writing.is_some())
    }

    fn assemble(&mut self, plan: &Plan, due: Instant) -> (Outgoing, Flight) {
        let count = plan.per_request.min(self.slots.len());
        let since = due.saturating_duration_since(plan.began).as_nanos() as u64;
        let stamp = plan.stamped.then(|| (since, now_ms()));
        let (mut bytes, mut records) = (0, 0);
        let mut chosen = Vec::with_capacity(count);
        for _ in 0..count {
            let place = self.cursor;
            self.cursor = (self.cursor + 1) % self.slots.len();
            let (partition, template) = &plan.slots[self.slots[place]];
            let idempotent = self.producer.as_mut().map(|(id, epoch, sequences)| {
                let sequence = sequences[place];
                // Sequences are 31 bits wide and start again at zero.
                sequences[place] = sequence.wrapping_add(template.count as i32) & i32::MAX;
                (*id, *epoch, sequence)
            });
            bytes += template.len() as u64;
            records += u64::from(template.count);
            chosen.push((*partition, template, Patch { idempotent, stamp }));
        }
        let correlation = self.correlation;
        self.correlation = correlation.wrapping_add(1);
        let outgoing = plan.form.assemble(correlation, chosen.into_iter());
        (outgoing, Flight { correlation, due, bytes, records })
    }
}

/// One thread's connections.
#[derive(Debug)]
pub struct Pump<'a> {
    plan: &'a Plan,
    tally: &'a Tally,
    poll: Poll,
    links: Vec<Link>,
    latencies: Histogram<u64>,
}

impl<'a> Pump<'a> {
    /// A pump over these connections.
    pub fn new(plan: &'a Plan, tally: &'a Tally, links: Vec<Link>) -> Result<Pump<'a>> {
        let poll = Poll::new().at("epoll")?;
        for (token, link) in links.iter().enumerate() {
            poll.add(&link.stream, token).at("epoll")?;
        }
        Ok(Pump { plan, tally, poll, links, latencies: new_histogram() })
    }

    /// Sends until the goal is reached and everything is answered; gives the latencies in microseconds.
    pub fn run(mut self) -> Result<Histogram<u64>> {
        let result = self.drive();
        if result.is_err() {
            self.tally.stop.store(true, Relaxed);
        }
        result.map(|()| self.latencies)
    }

    fn drive(&mut self) -> Result<()> {
        let mut ready = Vec::with_capacity(256);
        for link in 0..self.links.len() {
            self.push(link)?;
        }
        while !self.done() {
            let timeout = self.until_next_due();
            ready.extend(self.poll.wait(timeout).at("epoll")?);
            for event in ready.drain(..) {
                self.links[event.token].can_write |= event.writable;
                if event.readable {
                    self.read(event.token)?;
                }
                self.push(event.token)?;
            }
            if self.plan.interval.is_some() {
                for link in 0..self.links.len() {
                    self.push(link)?;
                }
            }
        }
        Ok(())
    }

    fn finished_sending(&self) -> bool {
        self.tally.stop.load(Relaxed)
            || self.tally.claimed_bytes.load(Relaxed) >= self.plan.goal_bytes
            || self.plan.goal_time.is_some_and(|end| Instant::now() >= end)
    }

    fn done(&self) -> bool {
        self.finished_sending()
            && (self.tally.stop.load(Relaxed) || self.links.iter().all(|l| l.unanswered() == 0))
    }

    fn until_next_due(&self) -> Duration {
        if self.plan.interval.is_none() {
            return NAP;
        }
        let open = self.links.iter().filter(|l| l.writing.is_none() && l.waiting.len() < self.plan.in_flight);
        let next = open.map(|l| l.next_due).min();
        next.map_or(NAP, |due| due.saturating_duration_since(Instant::now()).min(NAP))
    }

    /// Writes what may be written on one connection.
    fn push(&mut self, link: usize) -> Result<()> {
        loop {
            self.write(link)?;
            let l = &self.links[link];
            if l.writing.is_some() || l.unanswered() >= self.plan.in_flight || self.finished_sending() {
                return Ok(());
            }
            let now = Instant::now();
            let due = match self.plan.interval {
                Some(_) if l.next_due > now => return Ok(()),
                Some(_) => l.next_due,
                None => now,
            };
            let l = &mut self.links[link];
            if let Some(interval) = self.plan.interval {
                l.next_due = due + interval;
            }
            let next = l.assemble(self.plan, due);
            self.tally.claimed_bytes.fetch_add(next.1.bytes, Relaxed);
            l.writing = Some(next);
        }
    }

    fn write(&mut self, link: usize) -> Result<()> {
        let l = &mut self.links[link];
        while l.can_write {
            let Some((outgoing, flight)) = &mut l.writing else { return Ok(()) };
            match l.stream.write_vectored(&outgoing.slices()) {
                Ok(0) => {
                    return Err(Failure::new("the broker closed the connection while it was written to"));
                }
                Ok(n) if outgoing.advance(n) => {
                    let flight = *flight;
                    l.writing = None;
                    match self.plan.form.acks {
                        0 => finish(self.tally, &mut self.latencies, &flight),
                        _ => l.waiting.push_back(flight),
                    }
                    return Ok(());
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => l.can_write = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Failure::new(e).context("writing to the broker")),
            }
        }
        Ok(())
    }

    fn read(&mut self, link: usize) -> Result<()> {
        let l = &mut self.links[link];
        let mut buffer = [0; 16 << 10];
        loop {
            match l.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(Failure::new("the broker closed a connection of the bench").advice(
                        "Its log may say why; a request may be larger than socket.request.max.bytes.",
                    ));
                }
                Ok(n) => {
                    l.inbox.extend_from_slice(&buffer[..n]);
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Failure::new(e).context("reading from the broker")),
            }
        }
        let mut at = 0;
        while let Some(size) = l.inbox.get(at..at + 4) {
            let size = u32::from_be_bytes(size.try_into().expect("four bytes")) as usize;
            if size > ANSWER_MAX {
                return Err(Failure::new(format!("an answer of {size} bytes to Produce")));
            }
            let Some(frame) = l.inbox.get(at + 4..at + 4 + size) else { break };
            let frame = Bytes::copy_from_slice(frame);
            at += 4 + size;
            let flight = l.waiting.pop_front().ok_or_else(|| Failure::new("an answer without a request"))?;
            check(frame, self.plan.form.version, &flight)?;
            finish(self.tally, &mut self.latencies, &flight);
        }
        l.inbox.drain(..at);
        Ok(())
    }
}

/// Latencies in microseconds up to ten minutes, to three digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are possible")
}

fn finish(tally: &Tally, latencies: &mut Histogram<u64>, flight: &Flight) {
    tally.acked_bytes.fetch_add(flight.bytes, Relaxed);
    tally.acked_records.fetch_add(flight.records, Relaxed);
    tally.acked_requests.fetch_add(1, Relaxed);
    if tally.measuring.load(Relaxed) {
        latencies.saturating_record(flight.due.elapsed().as_micros() as u64);
    }
}

/// Every batch must have been taken: a figure with errors in it is no figure.
fn check(frame: Bytes, version: i16, flight: &Flight) -> Result<()> {
    let (correlation, answer) = read_response::<ProduceResponse>(frame, version)
        .map_err(|e| Failure::new(format!("the answer to Produce cannot be read: {e}")))?;
    if correlation != flight.correlation {
        return Err(Failure::new(format!("answer {correlation} came for request {}", flight.correlation)));
    }
    for p in answer.responses.iter().flat_map(|t| &t.partition_responses) {
        if p.error_code.is_error() {
            let message = p.error_message.as_deref().unwrap_or("");
            return Err(Failure::new(format!(
                "partition {} refused a batch: {} {message}",
                p.index, p.error_code
            ))
            .advice("The run was ended; its figures would mean nothing."));
        }
    }
    Ok(())
}
