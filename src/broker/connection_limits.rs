//! How many connections there may be, and how fast they may come: Kafka's rules, without sockets.
//!
//! At its own limit, and at that of the broker, a listener's next connections wait. The listener through which brokers
//! talk with one another waits for the broker's limit only where it is the one listener there is: else the connections
//! of other listeners that were idle longest are closed for it. They are also closed when a limit is lowered.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::core::Settings;
use crate::collections::Map;
use crate::config::Layers;
use crate::config::value::counts_by_address;
use crate::reactor::Nanos;
use crate::reactor::sync::Bell;

const MAX: &str = "max.connections";
const MAX_PER_IP: &str = "max.connections.per.ip";
const OVERRIDES: &str = "max.connections.per.ip.overrides";
const RATE: &str = "max.connection.creation.rate";

/// The limits of a broker's connections; they change at run time.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `max.connections`
    pub all: usize,
    /// What there are open files for.
    most: usize,
    per_ip: usize,
    overrides: Vec<(IpAddr, usize)>,
    /// `max.connection.creation.rate`
    rate: u32,
    listeners: Vec<OfListener>,
    samples: usize,
    window: Duration,
}

/// The limits of one listener: `listener.name.<listener>.max.connections`, or the broker's.
#[derive(Clone, Debug, PartialEq)]
struct OfListener {
    max: usize,
    rate: u32,
}

impl Limits {
    /// The limits that are set in these layers; `most` is what there are open files for.
    pub fn of(layers: &Layers, settings: &Settings, most: usize) -> Limits {
        fn number<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
            text?.trim().parse().ok()
        }
        // What the file says was taken up by the settings; what is set at run time goes before it.
        let set = |name: &str| {
            let text = layers.dynamic.get(name).or_else(|| layers.dynamic_default.get(name))?;
            number::<usize>(Some(text))
        };
        let all = set(MAX).unwrap_or(settings.max_connections).min(most);
        let rate = number(layers.value(RATE)).unwrap_or(u32::MAX);
        let of_listener = |name: &String| {
            let own = |setting: &str| {
                let name = format!("listener.name.{}.{setting}", name.to_lowercase());
                layers.given(&name).map(|(text, _)| text.to_owned())
            };
            OfListener {
                max: number(own(MAX).as_deref()).unwrap_or(all),
                rate: number(own(RATE).as_deref()).unwrap_or(rate),
            }
        };
        Limits {
            all,
            most,
            per_ip: set(MAX_PER_IP).unwrap_or(settings.max_connections_per_ip),
            overrides: counts_by_address(OVERRIDES, layers.value(OVERRIDES).unwrap_or_default())
                .unwrap_or_default(),
            rate,
            listeners: settings.listeners.iter().map(of_listener).collect(),
            samples: number(layers.value("quota.window.num")).unwrap_or(11).max(1),
            window: Duration::from_secs(number(layers.value("quota.window.size.seconds")).unwrap_or(1)),
        }
    }

    /// How many connections may come from an address.
    pub fn of_ip(&self, ip: IpAddr) -> usize {
        let own = self.overrides.iter().find(|(address, _)| *address == ip);
        own.map_or(self.per_ip, |(_, count)| *count)
    }
}

/// Why a connection waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are so many, which is `max.connections`.
    Broker(usize),
    /// The listener has so many, which is its `max.connections`.
    Listener(usize),
}

/// How often something happens, as Kafka's quotas measure it: over the last few samples of a window each.
#[derive(Debug, Default)]
struct Rate {
    /// When each began, and how much it counts.
    samples: VecDeque<(Nanos, f64)>,
}

impl Rate {
    /// Counts one more, and says how long to wait until it is no more often than so many times a second.
    fn count(&mut self, now: Nanos, limit: u32, limits: &Limits) -> Duration {
        let (samples, window) = (limits.samples, limits.window);
        let span = window * u32::try_from(samples).unwrap_or(u32::MAX);
        while self.samples.front().is_some_and(|(begun, _)| now.since(*begun) >= span) {
            self.samples.pop_front();
        }
        if self.samples.back().is_none_or(|(begun, _)| now.since(*begun) >= window) {
            self.samples.push_back((now, 0.0));
            if self.samples.len() > samples {
                self.samples.pop_front();
            }
        }
        self.samples.back_mut().expect("one was just begun").1 += 1.0;
        let total: f64 = self.samples.iter().map(|(_, count)| count).sum();
        let oldest = self.samples.front().expect("one was just begun").0;
        let mut size = now.since(oldest).as_secs_f64();
        // What was before the first sample counts as quiet.
        let (whole, least) = ((size / window.as_secs_f64()).floor(), (samples - 1) as f64);
        size += (least - whole).max(0.0) * window.as_secs_f64();
        let size = size.max(0.001);
        let over = total - f64::from(limit) * size;
        match over > 0.0 {
            true => Duration::try_from_secs_f64(over / f64::from(limit)).unwrap_or(window).min(window),
            false => Duration::ZERO,
        }
    }
}

/// A connection that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Where it came from.
    pub ip: IpAddr,
    /// The listener that it came through, by its place in `listeners`.
    pub listener: usize,
    /// Whether it was ended because there were too many.
    pub told_to: bool,
}

/// Who serves how many connections. Lives on the core that accepts them.
pub struct Board {
    cores: RefCell<Vec<Seats>>,
    listeners: RefCell<Vec<(usize, Rate)>>,
    rate: RefCell<Rate>,
    /// The listener through which brokers talk with one another, where there are others.
    inter_broker: Option<usize>,
    per_ip: RefCell<Map<IpAddr, usize>>,
    total: Cell<usize>,
    /// Rung when a connection is over.
    pub ended: Bell,
}

/// The connections of one core.
#[derive(Clone, Debug, Default)]
struct Seats {
    /// Whether it takes any.
    takes: bool,
    /// How many it serves.
    serves: usize,
    /// How many of these are other brokers'.
    brokers: usize,
    /// How many it was told to end, and has not.
    ending: usize,
}

impl Board {
    /// For a node whose cores take connections or not, with so many listeners.
    pub fn new(takes_connections: &[bool], settings: &Settings) -> Board {
        assert!(takes_connections.contains(&true), "some core takes connections");
        let seats = |takes: &bool| Seats { takes: *takes, ..Seats::default() };
        Board {
            cores: RefCell::new(takes_connections.iter().map(seats).collect()),
            listeners: RefCell::new(settings.listeners.iter().map(|_| Default::default()).collect()),
            rate: RefCell::default(),
            inter_broker: settings.inter_broker_listener,
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

    /// Counts a connection that comes through a listener, and says how long it waits because they come too fast.
    pub fn arrived(&self, listener: usize, now: Nanos, limits: &Limits) -> Duration {
        let of_all = match self.inter_broker == Some(listener) {
            true => Duration::ZERO,
            false => self.rate.borrow_mut().count(now, limits.rate, limits),
        };
        let rate = &mut self.listeners.borrow_mut()[listener].1;
        of_all.max(rate.count(now, limits.listeners[listener].rate, limits))
    }

    /// Whether a listener has no place for one more.
    pub fn full(&self, listener: usize, limits: &Limits) -> Option<Full> {
        let (all, own) = (self.total.get(), self.listeners.borrow()[listener].0);
        let most = if self.inter_broker == Some(listener) { limits.most } else { limits.all };
        match limits.listeners[listener].max {
            _ if all >= most => Some(Full::Broker(most)),
            max if own >= max => Some(Full::Listener(max)),
            _ => None,
        }
    }

    /// Gives a connection its place, and says which core is to serve it.
    pub fn place(&self, ip: IpAddr, listener: usize) -> usize {
        let ip = ip.to_canonical();
        let mut cores = self.cores.borrow_mut();
        let takers = cores.iter_mut().enumerate().filter(|(_, seats)| seats.takes);
        let (core, seats) = takers.min_by_key(|(_, seats)| seats.serves).expect("some core takes them");
        seats.serves += 1;
        seats.brokers += usize::from(self.inter_broker == Some(listener));
        self.listeners.borrow_mut()[listener].0 += 1;
        *self.per_ip.borrow_mut().entry(ip).or_default() += 1;
        self.total.set(self.total.get() + 1);
        core
    }

    /// A connection that a core served is over.
    pub fn ended(&self, core: usize, gone: Gone) {
        let ip = gone.ip.to_canonical();
        let mut cores = self.cores.borrow_mut();
        let seats = &mut cores[core];
        seats.serves -= 1;
        seats.brokers -= usize::from(self.inter_broker == Some(gone.listener));
        seats.ending -= usize::from(gone.told_to);
        drop(cores);
        self.listeners.borrow_mut()[gone.listener].0 -= 1;
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

    /// How many connections each core is to end, so that there are no more than may be: those of other brokers stay.
    pub fn to_end(&self, limits: &Limits) -> Vec<(usize, usize)> {
        let mut cores = self.cores.borrow_mut();
        let ending: usize = cores.iter().map(|seats| seats.ending).sum();
        let mut over = self.total.get().saturating_sub(limits.all).saturating_sub(ending);
        let mut told = vec![0; cores.len()];
        while over > 0 {
            let free = |seats: &Seats| (seats.serves - seats.brokers).saturating_sub(seats.ending);
            let (core, seats) =
                cores.iter_mut().enumerate().max_by_key(|(_, seats)| free(seats)).expect("there are cores");
            if free(seats) == 0 {
                break;
            }
            seats.ending += 1;
            told[core] += 1;
            over -= 1;
        }
        told.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// A core had fewer connections to end than it was told to.
    pub fn not_ended(&self, core: usize, count: usize) {
        self.cores.borrow_mut()[core].ending -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn gone(ip: IpAddr, listener: usize) -> Gone {
        Gone { ip, listener, told_to: false }
    }

    fn layers(file: &[(&str, &str)], dynamic: &[(&str, &str)]) -> Layers {
        let map = |given: &[(&str, &str)]| {
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Layers { dynamic_default: std::sync::Arc::new(map(dynamic)), ..Layers::of_file(map(file)) }
    }

    /// Two listeners, of which the first is for brokers.
    fn two() -> Settings {
        Settings {
            listeners: vec!["BROKERS".to_owned(), "CLIENTS".to_owned()],
            inter_broker_listener: Some(0),
            ..Settings::default()
        }
    }

    fn limits(given: &[(&str, &str)]) -> Limits {
        Limits::of(&layers(&[], given), &two(), 1_000)
    }

    #[test]
    fn the_core_with_the_fewest_serves_next() {
        let board = Board::new(&[true, false, true], &Settings::default());
        let (a, b) = (ip(1), ip(2));
        assert_eq!([a, a, b, b].map(|ip| board.place(ip, 0)), [0, 2, 0, 2]);
        board.ended(2, gone(a, 0));
        assert_eq!((board.total(), board.of(a), board.of(b)), (3, 1, 2));
        assert_eq!([a, a].map(|ip| board.place(ip, 0)), [2, 0]);
        [(0, a), (0, a), (2, a)].iter().for_each(|(core, ip)| board.ended(*core, gone(*ip, 0)));
        assert_eq!((board.total(), board.of(a)), (2, 0));
        assert!(!board.per_ip.borrow().contains_key(&a), "nothing is kept of those who left");
    }

    #[test]
    fn a_listener_goes_by_its_own_limit_or_by_the_brokers() {
        let file = [("listener.name.clients.max.connections", "3"), (RATE, "20")];
        let own = Limits::of(&layers(&file, &[(MAX, "5"), (MAX_PER_IP, "4")]), &two(), 1_000);
        assert_eq!(own.listeners, [OfListener { max: 5, rate: 20 }, OfListener { max: 3, rate: 20 }]);
        assert_eq!((own.all, own.of_ip(ip(1))), (5, 4));
        let few = Limits::of(&layers(&file, &[(OVERRIDES, "10.0.0.1:7")]), &two(), 2);
        assert_eq!((few.all, few.of_ip(ip(1)), few.of_ip(ip(2))), (2, 7, i32::MAX as usize));

        let board = Board::new(&[true], &two());
        (0..3).for_each(|_| {
            let _ = board.place(ip(1), 1);
        });
        assert_eq!((board.full(1, &own), board.full(0, &own)), (Some(Full::Listener(3)), None));
        (0..2).for_each(|_| {
            let _ = board.place(ip(1), 0);
        });
        assert_eq!(board.full(1, &own), Some(Full::Broker(5)));
        assert_eq!(board.full(0, &own), None, "brokers come in all the same");
        assert_eq!(board.full(0, &few), Some(Full::Broker(2)), "as long as there are open files");
        board.ended(0, gone(ip(1), 1));
        assert_eq!(board.full(1, &own), None);
    }

    #[test]
    fn one_listener_waits_for_the_brokers_limit_whoever_it_is_for() {
        let settings = Settings { max_connections: 1, ..Settings::default() };
        let limits = Limits::of(&Layers::default(), &settings, 1_000);
        let board = Board::new(&[true], &settings);
        board.place(ip(1), 0);
        assert_eq!(board.full(0, &limits), Some(Full::Broker(1)));
    }

    #[test]
    fn those_of_clients_are_ended_for_brokers() {
        let board = Board::new(&[true, true], &two());
        (0..4).for_each(|_| {
            let _ = board.place(ip(1), 1);
        });
        let limits = limits(&[(MAX, "4")]);
        assert!(board.to_end(&limits).is_empty());
        (0..3).for_each(|_| {
            let _ = board.place(ip(2), 0);
        });
        assert_eq!(board.to_end(&limits).iter().map(|(_, count)| count).sum::<usize>(), 3);
        assert!(board.to_end(&limits).is_empty(), "they were told already");
        board.ended(0, Gone { told_to: true, ..gone(ip(1), 1) });
        assert!(board.to_end(&limits).is_empty(), "nor again when the first of them is gone");
        board.not_ended(1, 1);
        assert_eq!(board.to_end(&limits).iter().map(|(_, count)| count).sum::<usize>(), 1);
        (0..5).for_each(|_| {
            let _ = board.place(ip(2), 0);
        });
        let told: usize = board.to_end(&limits).iter().map(|(_, count)| count).sum();
        assert!(told <= 2, "brokers' own stay: {told}");
    }

    #[test]
    fn the_rate_is_kafkas() {
        let limits = limits(&[(RATE, "10")]);
        let board = Board::new(&[true], &two());
        let at = |ms: u64| Nanos(ms * 1_000_000);
        // Ten seconds' worth may come at once; from there on each waits a tenth of a second more.
        let waits: Vec<_> = (0..103).map(|_| board.arrived(1, at(0), &limits).as_millis()).collect();
        assert!(waits[..100].iter().all(|wait| *wait == 0), "{waits:?}");
        assert_eq!(waits[100..], [100, 200, 300]);
        assert_eq!(board.arrived(0, at(0), &limits), Duration::ZERO, "brokers are counted by themselves");
        // Never longer than a window, and those before it are forgotten.
        (0..50).for_each(|_| {
            let _ = board.arrived(1, at(0), &limits);
        });
        assert_eq!(board.arrived(1, at(0), &limits), Duration::from_secs(1));
        assert_eq!(board.arrived(1, at(11_000), &limits), Duration::ZERO);
        assert_eq!(super::Rate::default().count(at(0), 0, &limits), Duration::from_secs(1), "none at all");
    }

    #[test]
    fn samples_are_let_go_one_by_one() {
        let limits = limits(&[("quota.window.num", "3"), ("quota.window.size.seconds", "2")]);
        let mut rate = Rate::default();
        // Over two windows, and what has passed of the third: 4 s at first.
        let waits = |rate: &mut Rate, ms: u64, times: usize| {
            (0..times).map(|_| rate.count(Nanos(ms * 1_000_000), 2, &limits)).max().unwrap().as_millis()
        };
        assert_eq!(waits(&mut rate, 0, 8), 0);
        assert_eq!(waits(&mut rate, 0, 1), 500);
        assert_eq!(waits(&mut rate, 1_000, 1), 0, "over 5 s");
        assert_eq!(waits(&mut rate, 5_000, 1), 500, "the oldest counts for three windows");
        assert_eq!(waits(&mut rate, 6_000, 3), 0);
    }
}
