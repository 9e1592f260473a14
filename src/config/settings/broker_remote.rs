//! Broker settings: tiered storage.

use super::rows::*;
use super::{Allowed, Setting};

const TIERED: &str = "no tiered storage yet";

pub(super) const ROWS: &[Setting] = &[
    int("remote.fetch.max.wait.ms", "500")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("How long a fetch waits for data from remote storage."),
    long("remote.list.offsets.request.timeout.ms", "30000")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("How long a look-up of offsets in remote storage may take."),
    long("remote.log.index.file.cache.total.size.bytes", "1073741824")
        .min(1)
        .low()
        .cluster_wide()
        .ignored(TIERED)
        .doc("Bytes of local disk that indexes from remote storage may take."),
    int("remote.log.manager.copier.thread.pool.size", "10")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("Threads that copy segments to remote storage."),
    long("remote.log.manager.copy.max.bytes.per.second", "9223372036854775807")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("How many bytes a second are copied to remote storage at most."),
    int("remote.log.manager.copy.quota.window.num", "11")
        .min(1)
        .ignored(TIERED)
        .doc("Samples kept for that limit."),
    int("remote.log.manager.copy.quota.window.size.seconds", "1")
        .min(1)
        .ignored(TIERED)
        .doc("The time that one such sample covers."),
    int("remote.log.manager.expiration.thread.pool.size", "10")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("Threads that delete old segments from remote storage."),
    long("remote.log.manager.fetch.max.bytes.per.second", "9223372036854775807")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("How many bytes a second are fetched from remote storage at most."),
    int("remote.log.manager.fetch.quota.window.num", "11")
        .min(1)
        .ignored(TIERED)
        .doc("Samples kept for that limit."),
    int("remote.log.manager.fetch.quota.window.size.seconds", "1")
        .min(1)
        .ignored(TIERED)
        .doc("The time that one such sample covers."),
    int("remote.log.manager.follower.thread.pool.size", "2")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("Threads that learn for followers what lies in remote storage."),
    long("remote.log.manager.task.interval.ms", "30000")
        .min(1)
        .low()
        .ignored(TIERED)
        .doc("How often copying to and deleting from remote storage is looked after."),
    long("remote.log.manager.task.retry.backoff.max.ms", "30000")
        .min(1)
        .low()
        .internal()
        .ignored(TIERED)
        .doc("The longest wait before a failed task is tried again."),
    long("remote.log.manager.task.retry.backoff.ms", "500")
        .min(1)
        .low()
        .internal()
        .ignored(TIERED)
        .doc("The first wait before a failed task is tried again."),
    double("remote.log.manager.task.retry.jitter", "0.2")
        .allow(Allowed::Fraction(0.0, 0.5))
        .low()
        .internal()
        .ignored(TIERED)
        .doc("The share of that wait that is left to chance."),
    int("remote.log.manager.thread.pool.size", "2")
        .min(1)
        .ignored(TIERED)
        .doc("The old name of remote.log.manager.follower.thread.pool.size."),
    int("remote.log.metadata.custom.metadata.max.bytes", "128")
        .min(0)
        .low()
        .ignored(TIERED)
        .doc("The most bytes that a remote storage may add to a segment's metadata."),
    string(
        "remote.log.metadata.manager.class.name",
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
    )
    .allow(Allowed::NotEmpty)
    .ignored(TIERED)
    .doc("The Java class that keeps the metadata of remote segments."),
    string_("remote.log.metadata.manager.class.path").ignored(TIERED).doc("Where that class is found."),
    string("remote.log.metadata.manager.impl.prefix", "rlmm.config.")
        .allow(Allowed::NotEmpty)
        .ignored(TIERED)
        .doc("The prefix of the settings for that class."),
    string_("remote.log.metadata.manager.listener.name")
        .allow(Allowed::NotEmpty)
        .ignored(TIERED)
        .doc("The listener that that class connects to."),
    int("remote.log.reader.max.pending.tasks", "100")
        .min(1)
        .ignored(TIERED)
        .doc("How many reads from remote storage may wait."),
    int("remote.log.reader.threads", "10")
        .min(1)
        .cluster_wide()
        .ignored(TIERED)
        .doc("Threads that read from remote storage."),
    string_("remote.log.storage.manager.class.name")
        .allow(Allowed::NotEmpty)
        .ignored(TIERED)
        .doc("The Java class that talks to remote storage."),
    string_("remote.log.storage.manager.class.path").ignored(TIERED).doc("Where that class is found."),
    string("remote.log.storage.manager.impl.prefix", "rsm.config.")
        .allow(Allowed::NotEmpty)
        .ignored(TIERED)
        .doc("The prefix of the settings for that class."),
    boolean("remote.log.storage.system.enable", "false")
        .ignored(TIERED)
        .doc("Whether segments can be kept in remote storage."),
];
