//! A rate that several share: together they handle so many bytes a second at most.

use std::cell::Cell;
use std::time::Duration;

use crate::reactor::{Nanos, Reactor};

/// How often it is looked whether the rate was changed while somebody waits for it.
const LOOK: Duration = Duration::from_secs(1);

/// No disk writes so many bytes a second.
const UNLIMITED: f64 = 1e15;

/// Lives on one core, as long as the node runs.
pub struct SharedRate {
    /// Bytes a second.
    rate: Cell<f64>,
    /// Bytes that were handled before their time, as of `at`.
    ahead: Cell<f64>,
    at: Cell<Nanos>,
}

impl SharedRate {
    /// Without a limit.
    pub fn new() -> SharedRate {
        SharedRate { rate: Cell::new(f64::MAX), ahead: Cell::new(0.0), at: Cell::new(Nanos(0)) }
    }

    /// Sets how many bytes a second there may be.
    pub fn set(&self, bytes_per_second: f64) {
        self.rate.set(bytes_per_second);
    }

    /// Whether there is a limit worth the name.
    pub fn is_limited(&self) -> bool {
        self.rate.get() < UNLIMITED
    }

    /// Waits until it is time for more, where these bytes are the last. Gives up when they are `wanted` no more.
    pub async fn handled(&self, reactor: &Reactor, bytes: u64, wanted: impl Fn() -> bool) {
        if !self.is_limited() {
            return self.ahead.set(0.0);
        }
        self.pass(reactor.now());
        self.ahead.set(self.ahead.get() + bytes as f64);
        while wanted() {
            self.pass(reactor.now());
            let wait = self.ahead.get() / self.rate.get();
            if wait < 0.001 {
                return;
            }
            reactor.sleep(Duration::try_from_secs_f64(wait).unwrap_or(LOOK).min(LOOK)).await;
        }
    }

    fn pass(&self, now: Nanos) {
        let passed = now.since(self.at.replace(now)).as_secs_f64() * self.rate.get();
        self.ahead.set((self.ahead.get() - passed).max(0.0));
    }
}

impl Default for SharedRate {
    fn default() -> Self {
        SharedRate::new()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::reactor::Class;
    use crate::reactor::sim::{Options, World};
    use crate::reactor::sync::join_all;

    /// How many seconds it takes so many to handle ten pieces of 100 bytes each.
    async fn seconds(reactor: &Reactor, rate: &Rc<SharedRate>, count: usize) -> f64 {
        let begun = reactor.now();
        let one = |_| async {
            for _ in 0..10 {
                rate.handled(reactor, 100, || true).await;
            }
        };
        join_all((0..count).map(one)).await;
        reactor.now().since(begun).as_secs_f64()
    }

    #[test]
    fn all_together_keep_to_the_rate_that_holds_now() {
        let world = World::new(1, Options::calm());
        let client = world.add_client();
        let reactor = client.clone();
        world.run(&client, Duration::from_secs(3600), async move {
            let rate = Rc::new(SharedRate::new());
            assert!(seconds(&reactor, &rate, 3).await < 0.01);
            rate.set(1000.0);
            let one = seconds(&reactor, &rate, 1).await;
            assert!((0.98..1.1).contains(&one), "{one}");
            let three = seconds(&reactor, &rate, 3).await;
            assert!((2.9..3.2).contains(&three), "{three}");
            // Who waits for a rate of nothing goes on when there is one.
            rate.set(0.0);
            let begun = reactor.now();
            let (clock, later) = (reactor.clone(), rate.clone());
            reactor.spawn(Class::Background, async move {
                clock.sleep(Duration::from_secs(60)).await;
                later.set(1e9);
            });
            rate.handled(&reactor, 1, || true).await;
            let waited = reactor.now().since(begun);
            assert!(waited >= Duration::from_secs(60) && waited < Duration::from_secs(62), "{waited:?}");
            rate.set(0.0);
            rate.handled(&reactor, 1, || false).await;
        });
    }
}
