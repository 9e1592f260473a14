//! The network between the nodes: byte streams over links that are late and can be cut.
//!
//! Each direction of a connection is a pipe that keeps its order. What is sent is copied into it, travels in
//! segments of any size, waits while the link is cut (and fails when that takes too long), and holds the sender
//! back once the pipe is full.

pub(super) mod face;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::core::Core;
use super::events::Event;
use super::options::NetworkOptions;
use super::rng::Rng;
use super::world::{CrashKind, Inner, NodeId, digest};
use crate::reactor::sync::Completer;

/// The first port that is chosen for who asks for none.
const FIRST_FREE_PORT: u16 = 32_768;
/// The first pause before something is sent again, and the longest.
const RETRY_FIRST: u64 = 200_000_000;
const RETRY_MAX: u64 = 5_000_000_000;

enum Segment {
    Data(Bytes),
    /// Nothing follows.
    End,
    /// The connection is void.
    Reset,
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    /// On the way, each with the time of its arrival.
    flying: VecDeque<(u64, Segment)>,
    /// Arrived and not received.
    landed: VecDeque<Bytes>,
    /// Bytes in both.
    bytes: usize,
    /// Whether an arrival event is under way.
    scheduled: bool,
    /// When the front was first held back by a cut link, and the next pause.
    held_since: Option<u64>,
    retry: u64,
    /// Nothing more is put in.
    ended: bool,
    /// The receiver has seen the end.
    end_landed: bool,
}

/// One end of a connection.
struct End {
    node: NodeId,
    incarnation: u64,
    address: SocketAddr,
    /// Halves that are held: an accepted or connecting end counts as one.
    halves: u8,
    /// Whether the process has let go of it.
    closed: bool,
    error: Option<io::ErrorKind>,
    receiver: Option<Waker>,
    sender: Option<Waker>,
    /// What is being sent and has no room yet. Goes out even if whoever sends it stops waiting.
    outbox: Bytes,
}

struct Connection {
    /// Who connected, who accepted.
    ends: [End; 2],
    /// By the end that sends.
    pipes: [Pipe; 2],
    attempt: Option<Attempt>,
}

/// A connection that is not established.
struct Attempt {
    target: NodeId,
    since: u64,
    retry: u64,
    outcome: Option<io::Result<()>>,
    done: Completer<io::Result<()>>,
}

struct Port {
    address: SocketAddr,
    waiting: VecDeque<u64>,
    acceptors: Vec<Waker>,
}

impl Port {
    /// Whether it is bound so that connections to this address reach it.
    fn answers(&self, ip: IpAddr) -> bool {
        let bound = self.address.ip();
        bound.is_unspecified() || bound == ip || (bound.is_loopback() && ip.is_unspecified())
    }
}

pub(super) struct Network {
    connections: BTreeMap<u64, Connection>,
    ports: BTreeMap<(NodeId, u16), Port>,
    /// Links that carry nothing, from and to.
    cuts: BTreeSet<(NodeId, NodeId)>,
    last_connection: u64,
    next_port: u16,
    abandoned: Arc<Mutex<Vec<u64>>>,
    rng: Rng,
    options: NetworkOptions,
}

fn error(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

impl Network {
    pub fn new(rng: Rng, options: NetworkOptions) -> Network {
        Network {
            connections: BTreeMap::new(),
            ports: BTreeMap::new(),
            cuts: BTreeSet::new(),
            last_connection: 0,
            next_port: FIRST_FREE_PORT,
            abandoned: Arc::default(),
            rng,
            options,
        }
    }

    fn free_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == u16::MAX { FIRST_FREE_PORT } else { port + 1 };
        port
    }

    fn listen(&mut self, core: &Core, mut address: SocketAddr) -> io::Result<SocketAddr> {
        let ip = core.world.ip(core.node);
        if !address.ip().is_unspecified() && !address.ip().is_loopback() && address.ip() != ip {
            return Err(error(io::ErrorKind::AddrNotAvailable));
        }
        if address.port() == 0 {
            let taken: BTreeSet<u16> = self.ports.keys().filter(|k| k.0 == core.node).map(|k| k.1).collect();
            let mut ports = (FIRST_FREE_PORT..u16::MAX).map(|_| self.free_port());
            let port = ports.find(|port| !taken.contains(port));
            address.set_port(port.ok_or_else(|| error(io::ErrorKind::AddrInUse))?);
        }
        let key = (core.node, address.port());
        if self.ports.contains_key(&key) {
            return Err(error(io::ErrorKind::AddrInUse));
        }
        self.ports.insert(key, Port { address, waiting: VecDeque::new(), acceptors: Vec::new() });
        Ok(address)
    }

    /// Begins a connection; its outcome goes to `done`.
    fn connect(
        &mut self,
        core: &Core,
        address: SocketAddr,
        done: Completer<io::Result<()>>,
    ) -> io::Result<u64> {
        let inner = &core.world.inner;
        let ip = address.ip();
        let target = if ip.is_loopback() || ip.is_unspecified() {
            core.node
        } else {
            inner.node_of(ip).ok_or_else(|| error(io::ErrorKind::HostUnreachable))?
        };
        let own_ip = if target == core.node { ip } else { core.world.ip(core.node) };
        let own = SocketAddr::new(own_ip, self.free_port());
        self.last_connection += 1;
        let id = self.last_connection;
        let end = |node, incarnation, address| End {
            node,
            incarnation,
            address,
            halves: 0,
            closed: false,
            error: None,
            receiver: None,
            sender: None,
            outbox: Bytes::new(),
        };
        let mut ends = [end(core.node, core.incarnation, own), end(target, u64::MAX, address)];
        ends[0].halves = 2;
        let attempt = Attempt { target, since: inner.now.get(), retry: RETRY_FIRST, outcome: None, done };
        self.connections.insert(id, Connection { ends, pipes: Default::default(), attempt: Some(attempt) });
        let delay = self.options.latency.draw(&mut self.rng);
        inner.at(delay, Event::Attempt { connection: id });
        Ok(id)
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        !self.cuts.is_empty() && self.cuts.contains(&(from, to))
    }

    /// An attempt reaches its target, or does not.
    pub fn attempt(&mut self, inner: &Inner, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(Attempt { target, since, .. }) = connection.attempt else { return };
        let (from, address) = (connection.ends[0].node, connection.ends[1].address);
        let unreachable = self.is_cut(from, target) || !inner.is_powered(target);
        let key = (target, address.port());
        let answers = |port: &&mut Port| port.answers(address.ip());
        let full = self.ports.get(&key).is_some_and(|port| port.waiting.len() >= self.options.backlog);
        let connection = self.connections.get_mut(&id).expect("it was just seen");
        let attempt = connection.attempt.as_mut().expect("it was just seen");
        if unreachable || full {
            if inner.now.get() - since < self.options.give_up.as_nanos() as u64 {
                let pause = attempt.retry;
                attempt.retry = (attempt.retry * 2).min(RETRY_MAX);
                inner.at(pause, Event::Attempt { connection: id });
                return;
            }
            attempt.outcome = Some(Err(error(io::ErrorKind::TimedOut)));
        } else if let Some(port) = self.ports.get_mut(&key).filter(answers) {
            attempt.outcome = Some(Ok(()));
            connection.ends[1].incarnation = inner.incarnation(target);
            connection.ends[1].halves = 1;
            port.waiting.push_back(id);
            port.acceptors.drain(..).for_each(Waker::wake);
        } else {
            attempt.outcome = Some(Err(error(io::ErrorKind::ConnectionRefused)));
        }
        let delay = self.options.latency.draw(&mut self.rng);
        inner.at(delay, Event::Outcome { connection: id });
    }

    /// The outcome of an attempt reaches who made it, if the way back is not cut: who accepted then holds a
    /// connection that nobody is at the other end of.
    pub fn outcome(&mut self, inner: &Inner, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(attempt) = &connection.attempt else { return };
        let cut = self.is_cut(attempt.target, connection.ends[0].node);
        let connection = self.connections.get_mut(&id).expect("it was just seen");
        let Some(mut attempt) = connection.attempt.take() else { return };
        if cut && inner.now.get() - attempt.since < self.options.give_up.as_nanos() as u64 {
            let pause = attempt.retry;
            attempt.retry = (attempt.retry * 2).min(RETRY_MAX);
            connection.attempt = Some(attempt);
            inner.at(pause, Event::Outcome { connection: id });
            return;
        }
        let timed_out = Some(Err(error(io::ErrorKind::TimedOut)));
        let Some(outcome) = (if cut { timed_out } else { attempt.outcome }) else { return };
        inner.note(connection.ends[0].node, "connect", [id, u64::from(outcome.is_ok()), 0]);
        if let Err(failure) = &outcome {
            connection.ends[0].error = Some(failure.kind());
            // Refused and forgotten; but who accepted does not learn that it took too long.
            connection.ends[1].closed |= connection.ends[1].incarnation == u64::MAX;
        }
        attempt.done.complete(outcome);
        self.forget_if_over(id);
    }

    /// Puts something into a pipe.
    fn push(&mut self, inner: &Inner, id: u64, end: usize, segment: Segment) {
        let delay = self.options.latency.draw(&mut self.rng);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[end];
        let last = pipe.flying.back().map_or(0, |(at, _)| *at);
        let at = (inner.now.get() + delay).max(last);
        if let Segment::Data(data) = &segment {
            pipe.bytes += data.len();
        }
        pipe.flying.push_back((at, segment));
        if !pipe.scheduled {
            pipe.scheduled = true;
            inner.events.borrow_mut().push(at, Event::Arrival { connection: id, end });
        }
    }

    /// What is due on a pipe arrives.
    pub fn arrive(&mut self, inner: &Inner, id: u64, end: usize) {
        let now = inner.now.get();
        let Some(connection) = self.connections.get(&id) else { return };
        let [from, to] = [&connection.ends[end], &connection.ends[1 - end]];
        let (from_node, to_node) = (from.node, to.node);
        // A machine without power is as silent as a cut link; back up, it does not know the connection.
        let unreachable = self.is_cut(from_node, to_node) || !inner.is_powered(to_node);
        let stranger = to.incarnation != u64::MAX && !inner.is_incarnation(to_node, to.incarnation);
        if unreachable {
            return self.hold(inner, id, end);
        }
        let reset = self.rng.chance(self.options.reset);
        let connection = self.connections.get_mut(&id).expect("it was just seen");
        let pipe = &mut connection.pipes[end];
        (pipe.held_since, pipe.retry) = (None, 0);
        let mut answer_reset = false;
        while pipe.flying.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, segment)) = pipe.flying.pop_front() else { break };
            let to = &mut connection.ends[1 - end];
            match segment {
                Segment::Data(data) if to.closed || stranger || reset => {
                    inner.note(to_node, "refuse", [id, end as u64, data.len() as u64]);
                    pipe.bytes -= data.len();
                    answer_reset = true;
                    if reset && !to.closed {
                        to.error = Some(io::ErrorKind::ConnectionReset);
                    }
                }
                Segment::Data(data) => {
                    inner.note(to_node, "arrive", [id, end as u64, data.len() as u64]);
                    pipe.landed.push_back(data);
                }
                Segment::End => {
                    inner.note(to_node, "arrive.end", [id, end as u64, 0]);
                    pipe.end_landed = true;
                }
                Segment::Reset => {
                    inner.note(to_node, "arrive.reset", [id, end as u64, 0]);
                    to.error = Some(io::ErrorKind::ConnectionReset);
                    if self.rng.coin() {
                        pipe.bytes -= pipe.landed.drain(..).map(|data| data.len()).sum::<usize>();
                    }
                    pipe.end_landed = true;
                }
            }
        }
        wake(&mut connection.ends[1 - end].receiver);
        if connection.ends[1 - end].error.is_some() {
            wake(&mut connection.ends[1 - end].sender);
        }
        pipe.scheduled = false;
        if let Some((at, _)) = pipe.flying.front() {
            pipe.scheduled = true;
            inner.events.borrow_mut().push(*at, Event::Arrival { connection: id, end });
        }
        if answer_reset {
            self.push(inner, id, 1 - end, Segment::Reset);
        }
        self.forget_if_over(id);
    }

    /// Keeps what cannot arrive for a later try, or gives up.
    fn hold(&mut self, inner: &Inner, id: u64, end: usize) {
        let now = inner.now.get();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[end];
        if pipe.flying.is_empty() {
            pipe.scheduled = false;
            return;
        }
        let since = *pipe.held_since.get_or_insert(now);
        if now - since < self.options.give_up.as_nanos() as u64 {
            pipe.retry = (pipe.retry * 2).clamp(RETRY_FIRST, RETRY_MAX);
            let jitter = self.rng.below(pipe.retry / 4);
            inner.at(pipe.retry + jitter, Event::Arrival { connection: id, end });
            return;
        }
        inner.note(connection.ends[end].node, "give.up", [id, end as u64, 0]);
        pipe.flying.clear();
        pipe.ended = true;
        connection.ends[end].error = Some(io::ErrorKind::TimedOut);
        wake(&mut connection.ends[end].receiver);
        wake(&mut connection.ends[end].sender);
        self.forget_if_over(id);
    }

    /// The process lets go of an end.
    fn close(&mut self, inner: &Inner, id: u64, end: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let own = &mut connection.ends[end];
        if std::mem::replace(&mut own.closed, true) {
            return;
        }
        inner.note(own.node, "close", [id, end as u64, 0]);
        wake(&mut own.receiver);
        wake(&mut own.sender);
        let unread = !connection.pipes[1 - end].landed.is_empty();
        let pipe = &mut connection.pipes[end];
        if !std::mem::replace(&mut pipe.ended, true) && own.error.is_none() {
            // Bytes that nobody will read make the system answer with a reset, which may overtake what was
            // sent before.
            if unread && self.rng.coin() {
                pipe.flying.clear();
            }
            self.push(inner, id, end, if unread { Segment::Reset } else { Segment::End });
        }
        self.forget_if_over(id);
    }

    /// Closes connections that were accepted and then dropped by whoever had them.
    pub fn close_abandoned(&mut self, inner: &Inner) {
        let abandoned = std::mem::take(&mut *self.abandoned.lock().expect("nobody panics with it"));
        for id in abandoned {
            self.close(inner, id, 1);
        }
    }

    fn forget_if_over(&mut self, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        let silent = connection.pipes.iter().all(|pipe| pipe.flying.is_empty());
        if silent && connection.attempt.is_none() && connection.ends.iter().all(|end| end.closed) {
            self.connections.remove(&id);
        }
    }

    /// A node's process, or the whole machine, goes down.
    pub fn crash(&mut self, inner: &Inner, node: NodeId, kind: CrashKind) {
        self.ports.retain(|(owner, _), _| *owner != node);
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            for end in 0..2 {
                let Some(connection) = self.connections.get_mut(&id) else { break };
                let own = &connection.ends[end];
                let is_accepted = end == 0 || own.incarnation != u64::MAX;
                if own.node != node || own.closed || !is_accepted {
                    continue;
                }
                if end == 0
                    && connection.attempt.take().is_some()
                    && connection.ends[1].incarnation == u64::MAX
                {
                    connection.ends[1].closed = true;
                }
                let own = &mut connection.ends[end];
                match kind {
                    CrashKind::Process => self.close(inner, id, end),
                    CrashKind::Power => {
                        own.closed = true;
                        let pipe = &mut connection.pipes[end];
                        pipe.flying.clear();
                        pipe.ended = true;
                        self.forget_if_over(id);
                    }
                }
            }
        }
    }

    fn reset(&mut self, inner: &Inner, id: u64) {
        for end in 0..2 {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            if !connection.ends[end].closed {
                connection.ends[end].error = Some(io::ErrorKind::ConnectionReset);
                wake(&mut connection.ends[end].receiver);
                wake(&mut connection.ends[end].sender);
            }
            connection.pipes[end].ended = true;
            connection.pipes[end].flying.clear();
        }
        inner.note(NodeId(u32::MAX), "reset", [id, 0, 0]);
        self.forget_if_over(id);
    }

    fn poll_accept(&mut self, key: (NodeId, u16), waker: &Waker) -> Poll<io::Result<u64>> {
        let Some(port) = self.ports.get_mut(&key) else {
            return Poll::Ready(Err(error(io::ErrorKind::NotConnected)));
        };
        match port.waiting.pop_front() {
            Some(id) => Poll::Ready(Ok(id)),
            None => {
                port.acceptors.push(waker.clone());
                Poll::Pending
            }
        }
    }

    fn poll_receive(
        &mut self,
        inner: &Inner,
        (id, end): (u64, usize),
        into: &mut [u8],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let Some(connection) = self.connections.get_mut(&id) else { return Poll::Ready(Ok(0)) };
        let own = &mut connection.ends[end];
        let pipe = &mut connection.pipes[1 - end];
        if own.closed {
            return Poll::Ready(Ok(0));
        }
        if let (Some(front), false) = (pipe.landed.front_mut(), into.is_empty()) {
            let mut len = front.len().min(into.len());
            if self.rng.chance(self.options.fragment) {
                len = 1 + self.rng.index(len);
            }
            let part = front.split_to(len);
            if front.is_empty() {
                pipe.landed.pop_front();
            }
            into[..len].copy_from_slice(&part);
            pipe.bytes -= len;
            inner.note(own.node, "receive", [id, len as u64, digest(&part)]);
            self.pump(inner, id, 1 - end);
            return Poll::Ready(Ok(len));
        }
        if let Some(kind) = own.error {
            return Poll::Ready(Err(error(kind)));
        }
        if pipe.end_landed {
            return Poll::Ready(Ok(0));
        }
        own.receiver = Some(waker.clone());
        Poll::Pending
    }

    /// Resolves when all that this end was given to send is in the pipe.
    fn poll_sent(&mut self, inner: &Inner, (id, end): (u64, usize), waker: &Waker) -> Poll<io::Result<()>> {
        self.pump(inner, id, end);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Poll::Ready(Err(error(io::ErrorKind::BrokenPipe)));
        };
        let own = &mut connection.ends[end];
        if let Some(kind) = own.error {
            return Poll::Ready(Err(error(kind)));
        }
        if own.closed || connection.pipes[end].ended {
            return Poll::Ready(Err(error(io::ErrorKind::BrokenPipe)));
        }
        if own.outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        own.sender = Some(waker.clone());
        Poll::Pending
    }

    /// Gives an end bytes to send. They are copied, as the system copies them: chunks go back to their pool
    /// although the peer has not read.
    fn give(&mut self, (id, end): (u64, usize), slices: &[Bytes]) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ends[end].outbox = Bytes::from(slices.concat());
        }
    }

    /// Moves what is to be sent into the pipe, as far as there is room.
    fn pump(&mut self, inner: &Inner, id: u64, end: usize) {
        while let Some(connection) = self.connections.get_mut(&id) {
            let (own, pipe) = (&mut connection.ends[end], &connection.pipes[end]);
            if own.error.is_some() || own.closed || pipe.ended {
                own.outbox = Bytes::new();
            }
            let room = self.options.buffer.saturating_sub(pipe.bytes);
            let mut len = room.min(own.outbox.len());
            if len == 0 {
                return;
            }
            if self.rng.chance(self.options.fragment) {
                len = 1 + self.rng.index(len);
            }
            let part = own.outbox.split_to(len);
            if own.outbox.is_empty() {
                wake(&mut own.sender);
            }
            inner.note(own.node, "send", [id, len as u64, digest(&part)]);
            self.push(inner, id, end, Segment::Data(part));
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
