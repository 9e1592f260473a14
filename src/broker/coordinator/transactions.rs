//! The coordinators of transactions on a core.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::seat::{Seat, Seats, now};
use super::{TRANSACTIONS_TOPIC, partition_for};
use crate::broker::api::places::{Place, place};
use crate::broker::call::Responder;
use crate::broker::core::Core;
use crate::broker::markers::write;
use crate::broker::messages::{PartitionId, ShardReply, ShardRequest};
use crate::broker::producer_ids::{id_at_hand, stock_up};
use crate::broker::replica::Replica;
use crate::broker::shard::Shard;
use crate::config::Layers;
use crate::controller::Image;
use crate::coordinator::Runtime;
use crate::coordinator::transaction::{
    Caller, Event, Outcome, Reply, Request, Settings, Transactions, refuse,
};
use crate::reactor::Class;
use crate::wire::error::ErrorCode;

/// How long an answer may wait until its record is durable: Kafka's default of `request.timeout.ms`.
const COMMIT_TIMEOUT_MS: u64 = 30_000;
/// The feature whose level says how transactions go.
const FEATURE: &str = "transaction.version";

/// A request to the coordinator of transactions of one partition.
#[derive(Debug)]
pub struct TransactionCall {
    /// The partition.
    pub id: PartitionId,
    /// The version of the request.
    pub version: i16,
    /// What.
    pub request: Request,
}

/// The coordinators of transactions on a core.
#[derive(Default)]
pub struct TransactionSeats {
    pub(super) seats: Seats<Transactions>,
    settings: RefCell<Settings>,
    /// The level of [`FEATURE`].
    level: Cell<i16>,
    /// The core that they are on; it holds them.
    core: RefCell<Weak<Core>>,
}

impl TransactionSeats {
    /// Goes by these settings, where coordinators begin from now on.
    pub fn tune(&self, layers: &Layers) {
        *self.settings.borrow_mut() = settings(layers);
    }

    /// Tells the core that they are on: through it markers are written, and producer ids are given.
    pub fn set_core(&self, core: Weak<Core>) {
        *self.core.borrow_mut() = core;
    }

    /// The core that they are on.
    pub fn core(&self) -> Weak<Core> {
        self.core.borrow().clone()
    }
}

impl Shard {
    /// Asks a coordinator of transactions.
    pub(in crate::broker) fn ask_transactions(&self, call: TransactionCall, responder: Responder) {
        let TransactionCall { id, version, request } = call;
        match self.transactions.seats.get(id) {
            Some(seat) => {
                let event = |token| Event::Request(Caller { token, version }, request);
                seat.ask(now(&self.reactor), responder, event);
            }
            None => {
                let error = self.no_coordinator(id);
                responder.answer(ShardReply::Transaction(Box::new(refuse(request, error))));
            }
        }
    }

    /// Begins to coordinate transactions on their partition.
    pub(super) fn seat_transactions(self: &Rc<Shard>, replica: &Replica) {
        let seats = &self.transactions;
        let core = seats.core();
        let settings = Settings { transaction_version: seats.level.get(), ..seats.settings.borrow().clone() };
        let coordinator_epoch = replica.spec.borrow().leader_epoch;
        let giving = core.clone();
        let ids = move || {
            let id = giving.upgrade().and_then(|core| id_at_hand(&core));
            id.ok_or(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
        };
        let machine = Transactions::new(settings, coordinator_epoch, Box::new(ids));
        let seat = Seat::new(replica, Runtime::new(machine, COMMIT_TIMEOUT_MS), |seat| {
            let (seat, core) = (seat.clone(), core.clone());
            Box::new(move |order| carry_out(&seat, &core, order))
        });
        let begun = move |shard: &Rc<Shard>, seat: &Rc<Seat<Transactions>>| {
            if let Some(core) = core.upgrade() {
                stock_up(&core);
            }
            seat.tell(now(&shard.reactor), Event::TransactionVersion(shard.transactions.level.get()));
        };
        seats.seats.start(self, seat, begun);
    }

    /// Has the coordinators of transactions go by this image from now on.
    pub(super) fn coordinate_transactions_by(&self, image: &Arc<Image>) {
        let level = image.features().get(FEATURE).copied().unwrap_or(0);
        if self.transactions.level.replace(level) == level {
            return;
        }
        for seat in self.transactions.seats.active() {
            seat.tell(now(&self.reactor), Event::TransactionVersion(level));
        }
    }
}

/// Does what a coordinator orders.
fn carry_out(seat: &Weak<Seat<Transactions>>, core: &Weak<Core>, order: Reply) {
    let (Some(seat), Some(core)) = (seat.upgrade(), core.upgrade()) else { return };
    let on = core.clone();
    core.reactor.spawn(Class::Coordination, async move {
        let marked = match order {
            Reply::Markers(markers) => {
                let written = write(&on, &markers).await;
                markers.told(Outcome::Partitions(written))
            }
            Reply::Withheld(marked) => marked,
            other => unreachable!("nobody has asked for {other:?}"),
        };
        seat.tell(now(&on.reactor), Event::Marked(marked));
    });
}

/// Where the coordinator of a transactional id is, if it is on this broker.
pub fn place_of_transaction(core: &Core, image: &Image, id: &str) -> Result<Place, ErrorCode> {
    let topic = image.topic_named(TRANSACTIONS_TOPIC).ok_or(ErrorCode::NOT_COORDINATOR)?;
    let partition = partition_for(id, topic.partitions.len());
    place(core, topic, partition).map_err(|_| ErrorCode::NOT_COORDINATOR)
}

/// Asks the coordinator of a transactional id, in words of this version of the request.
pub async fn ask(core: &Core, id: &str, version: i16, request: Request) -> Reply {
    match place_of_transaction(core, &core.image(), id) {
        Ok(place) => ask_at(core, place, version, request).await,
        // What is wrong in itself is told by whoever is asked.
        Err(_) if id.is_empty() => refuse(request, ErrorCode::INVALID_REQUEST),
        Err(error) => refuse(request, error),
    }
}

/// Asks the coordinator at this place. The request is on its way when the future is first polled.
pub async fn ask_at(core: &Core, place: Place, version: i16, request: Request) -> Reply {
    let call = TransactionCall { id: place.id, version, request };
    match core.caller.call(place.core, ShardRequest::Transaction(Box::new(call))).await {
        ShardReply::Transaction(reply) => *reply,
        _ => unreachable!("a shard answers what it was asked"),
    }
}

/// What coordinators of transactions go by, but for the level of the feature.
fn settings(layers: &Layers) -> Settings {
    let number = |name: &str| layers.value(name).and_then(|text| text.trim().parse::<i64>().ok());
    let default = Settings::default();
    let cleanup = |name: &str| number(&format!("transaction.{name}.transaction.cleanup.interval.ms"));
    let max_timeout = number("transaction.max.timeout.ms").and_then(|number| i32::try_from(number).ok());
    Settings {
        id_expiration_ms: number("transactional.id.expiration.ms").unwrap_or(default.id_expiration_ms),
        max_timeout_ms: max_timeout.unwrap_or(default.max_timeout_ms),
        abort_interval_ms: cleanup("abort.timed.out").unwrap_or(default.abort_interval_ms),
        expiry_interval_ms: cleanup("remove.expired").unwrap_or(default.expiry_interval_ms),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    #[test]
    fn defaults_are_the_tables() {
        assert_eq!(settings(&BrokerConfig::defaults().layers), Settings::default());
    }
}
