//! Accepting connections and spreading them over the cores.
//!
//! Listeners are bound once, on one core. Each connection goes to the core that serves the fewest, among those
//! that take connections. How many there may be, and how fast they come, is in [`super::connection_limits`]: at a
//! limit the next ones wait until one ends; past `max.connections.per.ip` they are closed.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::connection;
use super::connection_limits::{Board, Full, Limits};
use super::core::Core;
use super::messages::ToCore;
use crate::reactor::sync::either;
use crate::reactor::{Accepted, Listener, Nanos};

/// How long to wait after a failure that is likely to come again at once, such as a want of descriptors.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// How often it is looked whether a limit was changed.
const LIMITS_LOOK: Duration = Duration::from_secs(1);
/// At most once in so long, one kind of refusal is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The limits, and the image that they were taken from.
struct Followed {
    limits: Limits,
    version: i64,
}

impl Followed {
    fn of(core: &Core) -> Followed {
        let image = core.image();
        let layers = image.broker_layers(core.settings.node_id, &core.config.layers);
        let limits = Limits::of(&layers, &core.settings, core.config.max_connections_most);
        Followed { limits, version: image.version() }
    }

    fn follow(&mut self, core: &Core) -> &Limits {
        if core.image().version() != self.version {
            *self = Followed::of(core);
        }
        &self.limits
    }
}

/// Sees to it, until the node stops, that there are no more connections than may be when a limit is lowered.
pub async fn keep_within_limits(core: Rc<Core>, board: Rc<Board>) {
    let stop = core.reactor.stop_requested();
    let (mut followed, mut ending) = (Followed::of(&core), Teller::default());
    while !stop.is_done() {
        core.reactor.sleep(LIMITS_LOOK).await;
        end_excess(&core, &board, followed.follow(&core), &mut ending).await;
    }
}

/// Has the cores end the connections that are too many, those that were idle longest.
async fn end_excess(core: &Core, board: &Board, limits: &Limits, ending: &mut Teller) {
    for (on, count) in board.to_end(limits) {
        ending.tell(core.reactor.now(), |_| {
            let (total, all) = (board.total(), limits.all);
            tracing::warn!(
                "{total} connections are open, and max.connections is {all}: those that were idle longest are ended"
            );
        });
        if on == core.reactor.core() {
            board.not_ended(on, count - core.end_idlest(count));
        } else {
            core.caller.has_room().await;
            core.caller.send(on, ToCore::EndIdlest(count));
        }
    }
}

/// Accepts the connections of one listener, by its place in `listeners`, until the node stops.
pub async fn accept(core: Rc<Core>, board: Rc<Board>, listener: Listener, index: usize) {
    let stop = core.reactor.stop_requested();
    let [full, refused, ending] = Default::default();
    let acceptor = Acceptor { core, board, index, full, refused, ending };
    either(acceptor.accept_all(listener), stop).await;
}

struct Acceptor {
    core: Rc<Core>,
    board: Rc<Board>,
    /// The listener's place in `listeners`.
    index: usize,
    /// What is told of connections that wait, are closed at once, or are ended for others.
    full: Teller,
    refused: Teller,
    ending: Teller,
}

impl Acceptor {
    fn name(&self) -> &str {
        &self.core.settings.listeners[self.index]
    }

    async fn accept_all(mut self, listener: Listener) {
        let mut followed = Followed::of(&self.core);
        loop {
            let accepted = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!("listener {}: a connection could not be accepted: {e}", self.name());
                    self.core.reactor.sleep(AFTER_FAILURE).await;
                    continue;
                }
            };
            // Over a listener for both families an old address comes in the form of a new one.
            let ip = accepted.peer().ip().to_canonical();
            if self.is_too_many(ip, followed.follow(&self.core)) {
                continue;
            }
            self.wait_for_place(&mut followed).await;
            // Others from there may have got theirs while this one waited.
            if self.is_too_many(ip, followed.follow(&self.core)) {
                continue;
            }
            self.hand_over(accepted).await;
            end_excess(&self.core, &self.board, followed.follow(&self.core), &mut self.ending).await;
        }
    }

    /// Whether an address has as many connections as it may have.
    fn is_too_many(&mut self, ip: IpAddr, limits: &Limits) -> bool {
        let max = limits.of_ip(ip);
        if self.board.of(ip) < max {
            return false;
        }
        let name = self.core.settings.listeners[self.index].clone();
        self.refused.tell(self.core.reactor.now(), |times| {
            tracing::warn!(
                "listener {name}: {ip} has {max} connections, which is max.connections.per.ip; {times} more of it \
                 closed"
            );
        });
        true
    }

    async fn wait_for_place(&mut self, followed: &mut Followed) {
        let now = self.core.reactor.now();
        let until = now + self.board.arrived(self.index, now, followed.follow(&self.core));
        loop {
            let ended = self.board.ended.notified();
            let now = self.core.reactor.now();
            let throttled = until.since(now);
            let full = self.board.full(self.index, followed.follow(&self.core));
            if throttled.is_zero() && full.is_none() {
                return;
            }
            let name = self.core.settings.listeners[self.index].clone();
            self.full.tell(now, |times| match full {
                Some(Full::Broker(max)) => tracing::warn!(
                    "{max} connections are open, which is max.connections; further ones wait"
                ),
                Some(Full::Listener(max)) => tracing::warn!(
                    "listener {name}: {max} connections are open, which is its max.connections; further ones wait"
                ),
                None => tracing::warn!(
                    "listener {name}: connections come faster than max.connection.creation.rate; {times} of them waited"
                ),
            });
            match throttled {
                Duration::ZERO => either(ended, self.core.reactor.sleep(LIMITS_LOOK)).await,
                throttled => self.core.reactor.sleep(throttled).await,
            }
        }
    }

    async fn hand_over(&self, accepted: Accepted) {
        let core = &self.core;
        let to = self.board.place(accepted.peer().ip(), self.index);
        if to == core.reactor.core() {
            connection::serve(core, accepted, self.index);
        } else {
            core.caller.has_room().await;
            core.caller.send(to, ToCore::Connection(accepted, self.index));
        }
    }
}

/// Tells of something that may happen often, not each time.
#[derive(Default)]
struct Teller {
    last: Option<Nanos>,
    times: usize,
}

impl Teller {
    fn tell(&mut self, now: Nanos, say: impl FnOnce(usize)) {
        self.times += 1;
        if self.last.is_none_or(|last| now.since(last) >= TELL_EVERY) {
            say(self.times);
            (self.last, self.times) = (Some(now), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_seldom() {
        let mut teller = Teller::default();
        let mut told = Vec::new();
        for ms in [0, 1, 9_999, 10_001, 10_002] {
            teller.tell(Nanos(ms * 1_000_000), |times| told.push((ms, times)));
        }
        assert_eq!(told, [(0, 1), (10_001, 3)]);
    }
}
