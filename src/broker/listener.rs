//! Accepting connections and spreading them over the cores.
//!
//! Listeners are bound once, on one core. Each connection goes to the core that serves the fewest, among those
//! that take connections. At `max.connections` the next ones wait until one ends; past `max.connections.per.ip`
//! they are closed.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::connection;
use super::core::Core;
use super::messages::ToCore;
use crate::collections::Map;
use crate::config::value::counts_by_address;
use crate::reactor::sync::{Bell, either};
use crate::reactor::{Accepted, Listener, Nanos};

/// How long to wait after a failure that is likely to come again at once, such as a want of descriptors.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// How often it is looked whether a limit was raised while connections wait at it.
const LIMITS_LOOK: Duration = Duration::from_secs(1);
/// At most once in so long, one kind of refusal is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Who serves how many connections. Lives on the core that accepts them.
pub struct Board {
    /// Per core: whether it takes connections, and how many it serves.
    cores: RefCell<Vec<(bool, usize)>>,
    per_ip: RefCell<Map<IpAddr, usize>>,
    total: Cell<usize>,
    ended: Bell,
}

impl Board {
    /// For a node whose cores take connections or not.
    pub fn new(takes_connections: &[bool]) -> Board {
        assert!(takes_connections.contains(&true), "some core takes connections");
        Board {
            cores: RefCell::new(takes_connections.iter().map(|takes| (*takes, 0)).collect()),
            per_ip: RefCell::default(),
            total: Cell::new(0),
            ended: Bell::default(),
        }
    }

    /// How many connections there are.
    pub fn total(&self) -> usize {
        self.total.get()
    }

    /// How many come from an address.
    pub fn of(&self, ip: IpAddr) -> usize {
        let ip = ip.to_canonical();
        self.per_ip.borrow().get(&ip).copied().unwrap_or(0)
    }

    /// Counts a connection, and says which core is to serve it.
    pub fn place(&self, ip: IpAddr) -> usize {
        let ip = ip.to_canonical();
        let mut cores = self.cores.borrow_mut();
        let takers = cores.iter_mut().enumerate().filter(|(_, (takes, _))| *takes);
        let (core, (_, serves)) =
            takers.min_by_key(|(_, (_, serves))| *serves).expect("some core takes them");
        *serves += 1;
        *self.per_ip.borrow_mut().entry(ip).or_default() += 1;
        self.total.set(self.total.get() + 1);
        core
    }

    /// A connection that a core served is over.
    pub fn ended(&self, core: usize, ip: IpAddr) {
        let ip = ip.to_canonical();
        self.cores.borrow_mut()[core].1 -= 1;
        self.total.set(self.total.get() - 1);
        let mut per_ip = self.per_ip.borrow_mut();
        let count = per_ip.get_mut(&ip).expect("it was counted when it was placed");
        *count -= 1;
        if *count == 0 {
            per_ip.remove(&ip);
        }
        drop(per_ip);
        self.ended.ring();
    }
}

/// How many connections there may be; changes at run time.
struct Limits {
    /// `max.connections`
    all: usize,
    /// `max.connections.per.ip`
    per_ip: usize,
    /// `max.connections.per.ip.overrides`
    overrides: Vec<(IpAddr, usize)>,
    /// The image that they were taken from.
    version: i64,
}

impl Limits {
    fn of(core: &Core) -> Limits {
        const OVERRIDES: &str = "max.connections.per.ip.overrides";
        let image = core.image();
        let layers = image.broker_layers(core.settings.node_id, &core.config.layers);
        // What the file says was taken up by the settings; what is set at run time goes before it.
        let set = |name: &str| {
            let text = layers.dynamic.get(name).or_else(|| layers.dynamic_default.get(name))?;
            text.trim().parse::<usize>().ok()
        };
        let overrides = layers.value(OVERRIDES).unwrap_or_default();
        Limits {
            all: set("max.connections")
                .unwrap_or(core.settings.max_connections)
                .min(core.config.max_connections_most),
            per_ip: set("max.connections.per.ip").unwrap_or(core.settings.max_connections_per_ip),
            overrides: counts_by_address(OVERRIDES, overrides).unwrap_or_default(),
            version: image.version(),
        }
    }

    fn follow(&mut self, core: &Core) {
        if core.image().version() != self.version {
            *self = Limits::of(core);
        }
    }

    fn of_ip(&self, ip: IpAddr) -> usize {
        let own = self.overrides.iter().find(|(address, _)| *address == ip);
        own.map_or(self.per_ip, |(_, count)| *count)
    }
}

/// Accepts the connections of one listener, by its place in `listeners`, until the node stops.
pub async fn accept(core: Rc<Core>, board: Rc<Board>, listener: Listener, index: usize) {
    let stop = core.reactor.stop_requested();
    either(accept_all(core, board, listener, index), stop).await;
}

async fn accept_all(core: Rc<Core>, board: Rc<Board>, listener: Listener, index: usize) {
    let name = &core.settings.listeners[index];
    let (mut full, mut refused) = (Teller::default(), Teller::default());
    let mut limits = Limits::of(&core);
    loop {
        let accepted = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!("listener {name}: a connection could not be accepted: {e}");
                core.reactor.sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        limits.follow(&core);
        // Over a listener for both families an old address comes in the form of a new one.
        let ip = accepted.peer().ip().to_canonical();
        let max_per_ip = limits.of_ip(ip);
        if board.of(ip) >= max_per_ip {
            refused.tell(core.reactor.now(), |times| {
                tracing::warn!(
                    "listener {name}: {ip} has {max_per_ip} connections, which is max.connections.per.ip; \
                     {times} more of it closed"
                );
            });
            continue;
        }
        wait_for_place(&core, &board, &mut limits, &mut full).await;
        hand_over(&core, &board, accepted, index).await;
    }
}

async fn wait_for_place(core: &Rc<Core>, board: &Board, limits: &mut Limits, full: &mut Teller) {
    loop {
        let ended = board.ended.notified();
        limits.follow(core);
        let max = limits.all;
        if board.total() < max {
            return;
        }
        full.tell(core.reactor.now(), |_| {
            tracing::warn!("{max} connections are open, which is max.connections; further ones wait");
        });
        either(ended, core.reactor.sleep(LIMITS_LOOK)).await;
    }
}

async fn hand_over(core: &Rc<Core>, board: &Board, accepted: Accepted, index: usize) {
    let to = board.place(accepted.peer().ip());
    if to == core.reactor.core() {
        connection::serve(core, accepted, index);
    } else {
        core.caller.has_room().await;
        core.caller.send(to, ToCore::Connection(accepted, index));
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
    fn the_core_with_the_fewest_serves_next() {
        let board = Board::new(&[true, false, true]);
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert_eq!([a, a, b, b].map(|ip| board.place(ip)), [0, 2, 0, 2]);
        board.ended(2, a);
        assert_eq!((board.total(), board.of(a), board.of(b)), (3, 1, 2));
        assert_eq!([a, a].map(|ip| board.place(ip)), [2, 0]);
        [(0, a), (0, a), (2, a)].iter().for_each(|(core, ip)| board.ended(*core, *ip));
        assert_eq!((board.total(), board.of(a)), (2, 0));
        assert!(!board.per_ip.borrow().contains_key(&a), "nothing is kept of those who left");
    }

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
