//! The settings of single groups, and of subscriptions to clients' metrics.

use super::rows::*;
use super::{Allowed, Setting};

/// Settings of a group go over what the broker's file says for all groups.
pub(super) const GROUP: &[Setting] = &[
    int("consumer.heartbeat.interval.ms", "5000")
        .min(1)
        .from(&[same("group.consumer.heartbeat.interval.ms")])
        .later()
        .doc("How often the members of a consumer group send heartbeats."),
    int("consumer.session.timeout.ms", "45000")
        .min(1)
        .from(&[same("group.consumer.session.timeout.ms")])
        .later()
        .doc("After how long without a heartbeat a member of a consumer group is taken for gone."),
    string("share.auto.offset.reset", "latest")
        .from(&[])
        .later()
        .doc("Where a share group begins in a partition: earliest, latest, or by_duration:PnDTnHnMn.nS ago."),
    int("share.heartbeat.interval.ms", "5000")
        .min(1)
        .from(&[same("group.share.heartbeat.interval.ms")])
        .later()
        .doc("How often the members of a share group send heartbeats."),
    string("share.isolation.level", "read_uncommitted")
        .allow(Allowed::OneOf(&["read_committed", "read_uncommitted"]))
        .from(&[])
        .later()
        .doc("Whether a share group is given records of transactions that are not committed."),
    int("share.record.lock.duration.ms", "30000")
        .min(1000)
        .from(&[same("group.share.record.lock.duration.ms")])
        .later()
        .doc("How long a member of a share group has a record for itself."),
    int("share.session.timeout.ms", "45000")
        .min(1)
        .from(&[same("group.share.session.timeout.ms")])
        .later()
        .doc("After how long without a heartbeat a member of a share group is taken for gone."),
    int("streams.heartbeat.interval.ms", "5000")
        .min(1)
        .from(&[same("group.streams.heartbeat.interval.ms")])
        .later()
        .doc("How often the members of a streams group send heartbeats."),
    int("streams.initial.rebalance.delay.ms", "3000")
        .min(0)
        .from(&[same("group.streams.initial.rebalance.delay.ms")])
        .later()
        .doc("How long an empty streams group waits for further members before its first assignment."),
    int("streams.num.standby.replicas", "0")
        .min(0)
        .from(&[same("group.streams.num.standby.replicas")])
        .later()
        .doc("How many standby copies a streams group keeps of each task's state."),
    int("streams.session.timeout.ms", "45000")
        .min(1)
        .from(&[same("group.streams.session.timeout.ms")])
        .later()
        .doc("After how long without a heartbeat a member of a streams group is taken for gone."),
];

const NO_TELEMETRY: &str = "clients are not asked for their metrics; subscriptions are only kept";

pub(super) const CLIENT_METRICS: &[Setting] = &[
    int("interval.ms", "300000")
        .from(&[])
        .ignored(NO_TELEMETRY)
        .doc("How often a client is to send its metrics, from 100 ms to an hour."),
    list("match", "")
        .from(&[])
        .ignored(NO_TELEMETRY)
        .doc("Which clients are meant: a list of name=pattern, for example client_id=app.*."),
    list("metrics", "")
        .from(&[])
        .ignored(NO_TELEMETRY)
        .doc("Which metrics they are to send, by the beginnings of their names; * for all."),
];
