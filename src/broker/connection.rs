//! One client's connection: a task that reads its requests and one that writes its replies.
//!
//! [`read_frame`] cuts the bytes into frames, [`api::order`] orders each request, and
//! [`reply`] writes the replies in the order of the requests. The next request is read when the last one is
//! ordered, not when it is answered; how many, and how many bytes of them, is bounded. A connection lives on one
//! core. It ends when either task does, and both halves of the socket go with it.

mod frame;
mod replies;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

pub use frame::{Frames, read_frame};
pub use replies::{Answer, Outcome, Replies, Reply, Writer, reply};

use super::api;
use super::connection_limits::Gone;
use super::core::Core;
use crate::limits::{
    CONNECTIONS_LOOK, ENDINGS_SPAN, ENDINGS_TOLD, FRAME_RATE, FRAME_STALL, FRAME_TIME, SEND_STALL,
};
use crate::reactor::sync::{Bell, either};
use crate::reactor::{Accepted, Class, Nanos, Receiver, Sender, Share};

/// How many requests a connection may order, and how many connections are looked at, without letting other
/// tasks run.
const TURN: usize = 32;

/// Who asks.
pub struct Client {
    /// The core that serves the connection.
    pub core: Rc<Core>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The listener that it came through, by its place in `listeners`.
    pub listener: usize,
}

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer has closed or reset it.
    Peer,
    /// The broker ends it, for a reason that the operator should hear.
    Because(String),
    /// The broker ends it in the ordinary course of things.
    Quietly(&'static str),
}

impl Ended {
    /// For a reason that the operator should hear.
    pub fn because(why: impl Into<String>) -> Ended {
        Ended::Because(why.into())
    }
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Ended {
        Ended::Peer
    }
}

/// A connection on its core.
pub struct Connection {
    /// Who asks.
    pub client: Rc<Client>,
    /// Requests that are not answered.
    pub replies: Replies,
    /// Rung when it is to end.
    end: Bell,
    /// Whether it is ended because there are too many.
    told_to_end: Cell<bool>,
    number: Cell<u64>,
    tasks: Cell<usize>,
    /// When bytes last went in or out.
    progress: Cell<Nanos>,
    /// While a frame is received that holds memory of the pool: when that began, and how much has come.
    frame: Cell<Option<(Nanos, usize)>>,
    /// While a send is under way: when the peer last took some of it.
    taken: Cell<Option<Nanos>>,
}

/// Serves a connection on this core until it ends.
pub fn serve(core: &Rc<Core>, accepted: Accepted, listener: usize) {
    let peer = accepted.peer();
    let (receiver, sender) = match core.reactor.adopt(accepted) {
        Ok(halves) => halves,
        Err(e) => {
            tracing::warn!("the connection of {peer} cannot be served: {e}");
            core.connection_ended(Gone { ip: peer.ip(), listener, told_to: false });
            return;
        }
    };
    let connection = Rc::new(Connection {
        client: Rc::new(Client { core: core.clone(), peer, listener }),
        replies: Replies::default(),
        end: Bell::default(),
        told_to_end: Cell::new(false),
        number: Cell::new(0),
        tasks: Cell::new(2),
        progress: Cell::new(core.reactor.now()),
        frame: Cell::new(None),
        taken: Cell::new(None),
    });
    core.connections.add(&connection);
    core.reactor.spawn(Class::Request, connection.clone().read(receiver));
    core.reactor.spawn(Class::Request, connection.write(sender));
}

impl Connection {
    async fn read(self: Rc<Connection>, receiver: Receiver) {
        either(self.read_requests(receiver), self.end.rung()).await;
        self.task_ended();
    }

    async fn read_requests(&self, receiver: Receiver) {
        let mut frames = Frames::new(receiver);
        let mut turn = 0;
        loop {
            match self.next_request(&mut frames).await {
                Ok(()) => {}
                Err(Ended::Peer) => return self.end(Ended::Peer),
                // In its turn: what was asked before is answered before the connection ends.
                Err(ended) => {
                    self.replies.push(Box::pin(async { Err(ended) }), 0, &self.client.core.queued);
                    return self.end.rung().await;
                }
            }
            turn += 1;
            if turn % TURN == 0 {
                self.client.core.reactor.yield_now().await;
            }
        }
    }

    async fn next_request(&self, frames: &mut Frames) -> Result<(), Ended> {
        let frame = read_frame(frames, self).await?.ok_or(Ended::Peer)?;
        let len = frame.len();
        self.client.core.caller.has_room().await;
        let answer = api::order(&self.client, frame, &self.replies).await?;
        self.replies.push(answer, len, &self.client.core.queued);
        Ok(())
    }

    async fn write(self: Rc<Connection>, sender: Sender) {
        let mut writer = Writer::new(sender);
        let replies = async { self.end(reply(&mut writer, &self).await) };
        either(replies, self.end.rung()).await;
        drop(writer);
        self.task_ended();
    }

    /// Ends the connection; the first reason counts.
    fn end(&self, why: Ended) {
        if self.end.has_rung() {
            return;
        }
        let peer = self.client.peer;
        match why {
            Ended::Peer => tracing::debug!("{peer} has ended its connection"),
            Ended::Quietly(why) => tracing::debug!("ending the connection of {peer}: {why}"),
            Ended::Because(why) => {
                let core = &self.client.core;
                core.connections.endings.tell(core.reactor.now(), |untold| {
                    let more = if untold > 0 {
                        format!(" ({untold} more were ended and not told of)")
                    } else {
                        "".into()
                    };
                    tracing::warn!("ending the connection of {peer}: {why}{more}");
                });
            }
        }
        self.end.ring();
    }

    fn task_ended(&self) {
        self.tasks.set(self.tasks.get() - 1);
        if self.tasks.get() > 0 {
            return;
        }
        self.replies.clear(&self.client.core.queued);
        let core = &self.client.core;
        core.connections.remove(self.number.get());
        core.connection_ended(Gone {
            ip: self.client.peer.ip(),
            listener: self.client.listener,
            told_to: self.told_to_end.get(),
        });
    }

    fn received(&self) {
        self.progress.set(self.client.core.reactor.now());
    }

    fn sent(&self) {
        let now = self.client.core.reactor.now();
        self.progress.set(now);
        self.taken.set(Some(now));
    }

    /// Notes that a frame is received that holds memory of the pool, until the mark is dropped.
    fn receiving_frame(&self) -> impl Drop + '_ {
        self.frame.set(Some((self.client.core.reactor.now(), 0)));
        OnDrop(|| self.frame.set(None))
    }

    /// Notes that so much of it has come.
    fn frame_has(&self, bytes: usize) {
        self.frame.set(self.frame.get().map(|(begun, _)| (begun, bytes)));
    }

    /// How long ago the frame ought to have been further, at the slowest rate that is allowed.
    fn frame_lags(&self, now: Nanos) -> Duration {
        let lags = |(begun, bytes): (Nanos, usize)| {
            now.since(begun).saturating_sub(Duration::from_secs((bytes / FRAME_RATE) as u64))
        };
        self.frame.get().map_or(Duration::ZERO, lags)
    }

    fn sending(&self) -> impl Drop + '_ {
        self.taken.set(Some(self.client.core.reactor.now()));
        OnDrop(|| self.taken.set(None))
    }

    fn frame_patience(&self) -> Duration {
        let is_wanted = self.client.core.reactor.pool().is_wanted(Share::Frames);
        if is_wanted { FRAME_STALL } else { FRAME_TIME }
    }

    /// Ends a connection that is idle, or holds memory for longer than is fair.
    fn look(&self, now: Nanos) {
        let core = &self.client.core;
        let stalled = self.taken.get().map_or(Duration::ZERO, |taken| now.since(taken));
        if now.since(self.progress.get()) >= core.settings.connections_max_idle {
            self.end(Ended::Quietly("idle for connections.max.idle.ms"));
        } else if self.frame_lags(now) > self.frame_patience() {
            self.end(Ended::because("its request holds memory and does not arrive in time"));
        } else if stalled >= SEND_STALL && core.wants_memory() {
            self.end(Ended::because(format!(
                "for {} s it has taken nothing of what it asked for, and others wait for the memory",
                stalled.as_secs()
            )));
        }
    }
}

/// Calls back when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)()
    }
}

/// The connections of a core. Their tasks hold them; they hold the core, which must not hold them when the node is gone.
#[derive(Default)]
pub struct Connections {
    open: RefCell<BTreeMap<u64, Weak<Connection>>>,
    last: Cell<u64>,
    endings: Endings,
}

/// Tells of connections that were ended, but not of all where they are many: who sends nonsense must not fill the
/// log.
#[derive(Default)]
struct Endings {
    since: Cell<Nanos>,
    told: Cell<usize>,
    untold: Cell<usize>,
}

impl Endings {
    /// Calls `say` with how many were not told of, unless this is one of them.
    fn tell(&self, now: Nanos, say: impl FnOnce(usize)) {
        if now.since(self.since.get()) >= ENDINGS_SPAN {
            self.since.set(now);
            self.told.set(0);
        }
        if self.told.get() < ENDINGS_TOLD {
            self.told.set(self.told.get() + 1);
            say(self.untold.replace(0));
        } else {
            self.untold.set(self.untold.get() + 1);
        }
    }
}

impl Connections {
    fn add(&self, connection: &Rc<Connection>) {
        self.last.set(self.last.get() + 1);
        connection.number.set(self.last.get());
        self.open.borrow_mut().insert(self.last.get(), Rc::downgrade(connection));
    }

    fn remove(&self, number: u64) {
        let gone = self.open.borrow_mut().remove(&number);
        drop(gone);
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all of them, as when the broker stops.
    pub fn end_all(&self) {
        let all: Vec<_> = self.open.borrow().values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|connection| connection.end(Ended::Quietly("the broker stops")));
    }

    /// Ends so many, those that were idle longest, but none that came through the listener `spared`. Says how many.
    pub fn end_idlest(&self, count: usize, spared: Option<usize>) -> usize {
        let open = self.open.borrow();
        let ends = |c: &Rc<Connection>| Some(c.client.listener) != spared && !c.end.has_rung();
        let mut idlest: Vec<_> = open.values().filter_map(Weak::upgrade).filter(ends).collect();
        drop(open);
        idlest.sort_unstable_by_key(|connection| (connection.progress.get(), connection.number.get()));
        idlest.truncate(count);
        for connection in &idlest {
            connection.told_to_end.set(true);
            connection.end(Ended::Quietly("more than max.connections, and idle longest"));
        }
        idlest.len()
    }

    /// Up to [`TURN`] of those behind `number`.
    fn behind(&self, number: u64) -> Vec<Rc<Connection>> {
        self.open.borrow().range(number + 1..).filter_map(|(_, c)| c.upgrade()).take(TURN).collect()
    }
}

/// Looks at a core's connections for ever, for idle and stalled ones.
pub async fn look_after(core: Rc<Core>) {
    loop {
        core.reactor.sleep(CONNECTIONS_LOOK).await;
        core.wants_memory();
        let mut last = 0;
        loop {
            let some = core.connections.behind(last);
            let Some(end) = some.last() else { break };
            last = end.number.get();
            let now = core.reactor.now();
            some.iter().for_each(|connection| connection.look(now));
            core.reactor.yield_now().await;
        }
    }
}
