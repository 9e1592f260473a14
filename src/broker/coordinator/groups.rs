//! The coordinators of consumer groups on a core.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::seat::{Seat, Seats, now};
use super::topics::{News, group_settings, view};
use super::{GROUPS_TOPIC, partition_for};
use crate::broker::call::Responder;
use crate::broker::messages::{PartitionId, ShardReply};
use crate::broker::replica::Replica;
use crate::broker::shard::Shard;
use crate::config::Layers;
use crate::controller::Image;
use crate::coordinator::assign::Assignor;
use crate::coordinator::settings::Migration;
use crate::coordinator::{Caller, Event, Groups, Request, Runtime, Settings, refuse};
use crate::wire::error::ErrorCode;

/// Kafka's default of `offsets.commit.timeout.ms`.
const COMMIT_TIMEOUT_MS: u64 = 5000;

/// A request to the coordinator of groups of one partition.
#[derive(Debug)]
pub struct GroupCall {
    /// The partition.
    pub id: PartitionId,
    /// Who asks. The token is set by the shard.
    pub caller: Caller,
    /// What.
    pub request: Request,
}

/// The coordinators of groups on a core.
pub struct GroupSeats {
    pub(super) seats: Seats<Groups>,
    settings: RefCell<(Settings, u64)>,
    /// The metadata that they go by; none before there is some.
    image: RefCell<Option<Arc<Image>>>,
}

impl Default for GroupSeats {
    fn default() -> GroupSeats {
        let settings = RefCell::new((Settings::default(), COMMIT_TIMEOUT_MS));
        GroupSeats { seats: Seats::default(), settings, image: RefCell::default() }
    }
}

impl GroupSeats {
    /// Goes by these settings, where coordinators begin from now on.
    pub fn tune(&self, layers: &Layers) {
        *self.settings.borrow_mut() = settings(layers);
    }
}

impl Shard {
    /// Asks a coordinator of groups.
    pub(in crate::broker) fn ask_groups(&self, call: GroupCall, responder: Responder) {
        let GroupCall { id, caller, request } = call;
        match (self.groups.seats.get(id), request) {
            (Some(seat), Request::TxnOffsetCommit(request)) => {
                self.commit_in_transaction(seat, caller, request, responder);
            }
            (Some(seat), request) => {
                let event = |token| Event::Request(Caller { token, ..caller }, request);
                seat.ask(now(&self.reactor), responder, event);
            }
            (None, request) => responder.answer(refused(request, self.no_coordinator(id))),
        }
    }

    /// Begins to coordinate groups on their partition.
    pub(super) fn seat_groups(self: &Rc<Shard>, replica: &Replica) {
        let (settings, commit_timeout_ms) = self.groups.settings.borrow().clone();
        let runtime = Runtime::new(Groups::new(settings), commit_timeout_ms);
        let seat = Seat::new(replica, runtime, |_| Box::new(|_| unreachable!("groups order nothing")));
        let begun = |shard: &Rc<Shard>, seat: &Rc<Seat<Groups>>| {
            let image = shard.groups.image.borrow().clone();
            if let Some(image) = image {
                tell_news(shard, seat, &image, &News::unknown(&image));
            }
        };
        self.groups.seats.start(self, seat, begun);
    }

    /// Has the coordinators of groups go by this image from now on.
    pub(super) fn coordinate_groups_by(&self, image: &Arc<Image>, news: &News) {
        *self.groups.image.borrow_mut() = Some(image.clone());
        for seat in self.groups.seats.active() {
            tell_news(self, &seat, image, news);
        }
    }

    /// Topics of these names are no more: what is committed for them goes.
    pub(in crate::broker) fn topics_deleted(&self, topics: &BTreeSet<String>) {
        for seat in self.groups.seats.active() {
            seat.tell(now(&self.reactor), Event::TopicsDeleted(topics.clone()));
        }
    }
}

/// The answer to a request that is not handled.
pub(super) fn refused(request: Request, error: ErrorCode) -> ShardReply {
    ShardReply::Group(Box::new(refuse(request, error)))
}

fn tell_news(shard: &Shard, seat: &Seat<Groups>, image: &Arc<Image>, news: &News) {
    let now = now(&shard.reactor);
    if let Some(changed) = &news.topics {
        seat.tell(now, Event::Topics(view(image), changed.clone()));
    }
    let partitions = image.topic_named(GROUPS_TOPIC).map_or(1, |topic| topic.partitions.len());
    for group in news.groups.iter().filter(|group| partition_for(group, partitions) == seat.id().partition) {
        seat.tell(now, Event::GroupSettings(group.clone(), group_settings(image, group)));
    }
}

/// What coordinators of groups go by, and `offsets.commit.timeout.ms`.
fn settings(layers: &Layers) -> (Settings, u64) {
    let number = |name: &str| layers.value(name).and_then(|text| text.trim().parse::<i64>().ok());
    let default = Settings::default();
    let millis = |name: &str, default: i32| {
        number(name).and_then(|number| i32::try_from(number).ok()).unwrap_or(default)
    };
    let count = |name: &str, default: usize| {
        number(name).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    };
    let settings = Settings {
        initial_rebalance_delay_ms: millis(
            "group.initial.rebalance.delay.ms",
            default.initial_rebalance_delay_ms,
        ),
        min_session_timeout_ms: millis("group.min.session.timeout.ms", default.min_session_timeout_ms),
        max_session_timeout_ms: millis("group.max.session.timeout.ms", default.max_session_timeout_ms),
        max_size: count("group.max.size", default.max_size),
        consumer_session_timeout_ms: millis(
            "group.consumer.session.timeout.ms",
            default.consumer_session_timeout_ms,
        ),
        consumer_heartbeat_interval_ms: millis(
            "group.consumer.heartbeat.interval.ms",
            default.consumer_heartbeat_interval_ms,
        ),
        consumer_max_size: count("group.consumer.max.size", default.consumer_max_size),
        consumer_assignors: assignors(layers.value("group.consumer.assignors").unwrap_or_default()),
        consumer_migration: migration(layers.value("group.consumer.migration.policy").unwrap_or_default()),
        consumer_regex_refresh_interval_ms: number("group.consumer.regex.refresh.interval.ms")
            .unwrap_or(default.consumer_regex_refresh_interval_ms),
        offset_metadata_max: count("offset.metadata.max.bytes", default.offset_metadata_max),
        offsets_retention_ms: number("offsets.retention.minutes")
            .map_or(default.offsets_retention_ms, |minutes| minutes.saturating_mul(60_000)),
        retention_check_interval_ms: number("offsets.retention.check.interval.ms")
            .unwrap_or(default.retention_check_interval_ms),
        ..default
    };
    let commit_timeout = number("offsets.commit.timeout.ms").and_then(|number| u64::try_from(number).ok());
    (settings, commit_timeout.unwrap_or(COMMIT_TIMEOUT_MS))
}

/// The assignors that are offered. Kafka's own may also be named by their classes; others are passed over.
fn assignors(text: &str) -> Vec<Assignor> {
    let named = text.split(',').map(str::trim).filter_map(|name| match name.rsplit('.').next() {
        Some("UniformAssignor") => Some(Assignor::Uniform),
        Some("RangeAssignor") => Some(Assignor::Range),
        _ => Assignor::named(name),
    });
    let named: Vec<Assignor> = named.collect();
    if named.is_empty() { Settings::default().consumer_assignors } else { named }
}

fn migration(text: &str) -> Migration {
    match text.trim().to_ascii_lowercase().as_str() {
        "disabled" => Migration::Disabled,
        "upgrade" => Migration::Upgrade,
        "downgrade" => Migration::Downgrade,
        _ => Migration::Bidirectional,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    #[test]
    fn defaults_are_the_tables() {
        let (of_table, timeout) = settings(&BrokerConfig::defaults().layers);
        assert_eq!((of_table, timeout), (Settings::default(), COMMIT_TIMEOUT_MS));
    }

    #[test]
    fn assignors_are_named_in_either_way() {
        let class = "org.apache.kafka.coordinator.group.assignor.RangeAssignor";
        assert_eq!(assignors(&format!("{class}, uniform")), [Assignor::Range, Assignor::Uniform]);
        assert_eq!(assignors("com.example.Mine"), Settings::default().consumer_assignors);
        assert_eq!(migration("UPGRADE"), Migration::Upgrade);
    }
}
