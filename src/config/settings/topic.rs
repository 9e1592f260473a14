//! The settings of topics.

use super::rows::*;
use super::{Allowed, Setting};

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

pub(super) const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const TIERED: &str = "no tiered storage yet";

pub(super) const FLUSHED: &str =
    "every record is on disk before it is acknowledged; nothing flushes later than that";

pub(super) const ROWS: &[Setting] = &[
    list("cleanup.policy", "delete")
        .allow(Allowed::EachOf(&["compact", "delete"]))
        .from(&[same("log.cleanup.policy")])
        .doc(
            "What becomes of old records: 'delete' removes whole segments by age or size, 'compact' keeps the \
             last record of each key, and both together do both.",
        ),
    int("compression.gzip.level", "-1")
        .allow(Allowed::BetweenOr(1, 9, -1))
        .from(&[same("compression.gzip.level")])
        .doc("The level used when the topic's compression.type is gzip; -1 is the codec's own default."),
    int("compression.lz4.level", "9")
        .range(1, 17)
        .from(&[same("compression.lz4.level")])
        .doc("The level used when the topic's compression.type is lz4."),
    string("compression.type", "producer")
        .allow(Allowed::OneOf(CODECS))
        .from(&[same("compression.type")])
        .doc(
            "How batches are compressed on disk. 'producer' keeps what the producer chose; any other value has \
             the broker compress batches anew.",
        ),
    int("compression.zstd.level", "3")
        .range(-131072, 22)
        .from(&[same("compression.zstd.level")])
        .doc("The level used when the topic's compression.type is zstd."),
    long("delete.retention.ms", "86400000")
        .min(0)
        .from(&[same("log.cleaner.delete.retention.ms")])
        .doc(
            "How long the marker of a deleted key stays in a compacted topic. A consumer that reads from the \
             start has this long to reach the end, or it may miss deletions.",
        ),
    long("file.delete.delay.ms", "60000")
        .min(0)
        .from(&[same("log.segment.delete.delay.ms")])
        .doc("How long a segment's files stay on disk after the segment was taken out of the log."),
    long("flush.messages", "1")
        .min(1)
        .from(&[same("log.flush.interval.messages")])
        .kafka_has("9223372036854775807", "an acknowledged record is on disk, not only in memory")
        .ignored(FLUSHED)
        .doc(
            "After how many records the log is flushed to disk. 1 flushes every record before it is \
             acknowledged, many of them in one flush.",
        ),
    long("flush.ms", "9223372036854775807")
        .min(0)
        .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
        .ignored(FLUSHED)
        .doc("After how long at most what was appended is flushed to disk, where flush.messages is above 1."),
    list("follower.replication.throttled.replicas", "")
        .allow(Allowed::ThrottledReplicas)
        .from(&[])
        .later()
        .doc(
            "The replicas whose fetching is held to follower.replication.throttled.rate: a list of \
             partition:broker, or * for all.",
        ),
    int("index.interval.bytes", "4096")
        .min(0)
        .from(&[same("log.index.interval.bytes")])
        .doc(
            "About how many bytes of log lie between two entries of the offset index. Fewer find a record \
             faster and make a larger index.",
        ),
    int_("internal.segment.bytes")
        .from(&[])
        .internal()
        .doc("Overrides segment.bytes without its lower bound. For tests."),
    list("leader.replication.throttled.replicas", "")
        .allow(Allowed::ThrottledReplicas)
        .from(&[])
        .later()
        .doc(
            "The replicas whose reading by followers is held to leader.replication.throttled.rate: a list of \
             partition:broker, or * for all.",
        ),
    long("local.retention.bytes", "-2")
        .min(-2)
        .from(&[same("log.local.retention.bytes")])
        .ignored(TIERED)
        .doc("How many bytes of a tiered partition stay on local disk; -2 takes retention.bytes."),
    long("local.retention.ms", "-2")
        .min(-2)
        .from(&[same("log.local.retention.ms")])
        .ignored(TIERED)
        .doc("How long the records of a tiered partition stay on local disk; -2 takes retention.ms."),
    long("max.compaction.lag.ms", "9223372036854775807")
        .min(1)
        .from(&[same("log.cleaner.max.compaction.lag.ms")])
        .doc("The longest that a record of a compacted topic may wait for compaction."),
    int("max.message.bytes", "1048588")
        .min(0)
        .from(&[same("message.max.bytes")])
        .doc(
            "The largest batch of records that is accepted, after compression. Consumers fetch at least one \
             whole batch whatever its size.",
        ),
    long("message.timestamp.after.max.ms", "3600000")
        .min(0)
        .from(&[same("log.message.timestamp.after.max.ms")])
        .doc("How far a record's timestamp may lie ahead of the broker's clock, where the type is CreateTime."),
    long("message.timestamp.before.max.ms", "9223372036854775807")
        .min(0)
        .from(&[same("log.message.timestamp.before.max.ms")])
        .doc("How far a record's timestamp may lie behind the broker's clock, where the type is CreateTime."),
    string("message.timestamp.type", "CreateTime")
        .allow(Allowed::OneOf(&["CreateTime", "LogAppendTime"]))
        .from(&[same("log.message.timestamp.type")])
        .doc("Whose clock stamps the records: the producer's (CreateTime) or the broker's (LogAppendTime)."),
    double("min.cleanable.dirty.ratio", "0.5")
        .allow(Allowed::Fraction(0.0, 1.0))
        .from(&[same("log.cleaner.min.cleanable.ratio")])
        .doc(
            "The share of a compacted log that must be new since the last compaction before it is compacted \
             again.",
        ),
    long("min.compaction.lag.ms", "0")
        .min(0)
        .from(&[same("log.cleaner.min.compaction.lag.ms")])
        .doc("The shortest time that a record stays as it was written before compaction may remove it."),
    int("min.insync.replicas", "1")
        .min(1)
        .from(&[same("min.insync.replicas")])
        .kafka_has("1", "2 for a topic of three replicas or more that sets no value: no record on one disk only")
        .doc(
            "How many replicas, the leader among them, must be in sync for an acks=all write to be accepted.",
        ),
    boolean("preallocate", "false")
        .from(&[same("log.preallocate")])
        .ignored("files always grow ahead of need, in small steps")
        .doc("Whether a new segment's file is given its full size at once."),
    boolean("remote.log.copy.disable", "false")
        .from(&[])
        .ignored(TIERED)
        .doc("Whether a tiered topic stops copying segments to remote storage."),
    boolean("remote.log.delete.on.disable", "false")
        .from(&[])
        .ignored(TIERED)
        .doc("Whether what lies in remote storage is deleted when tiering is turned off."),
    boolean("remote.storage.enable", "false")
        .from(&[])
        .ignored(TIERED)
        .doc("Whether the topic's segments are copied to remote storage."),
    long("retention.bytes", "-1").from(&[same("log.retention.bytes")]).doc(
        "How large a partition may grow before its oldest segments are deleted, where cleanup.policy holds \
         'delete'; -1 is without limit. It counts per partition.",
    ),
    long("retention.ms", "604800000")
        .min(-1)
        .from(&[
            same("log.retention.ms"),
            times("log.retention.minutes", MINUTE),
            times("log.retention.hours", HOUR),
        ])
        .doc(
            "How old a segment's newest record may grow before the segment is deleted, where cleanup.policy \
             holds 'delete'; -1 keeps it forever.",
        ),
    int("segment.bytes", "1073741824")
        .min(1 << 20)
        .from(&[same("log.segment.bytes")])
        .doc(
            "How large a segment file may grow before the next one is begun. Retention and compaction work on \
             whole segments.",
        ),
    int("segment.index.bytes", "10485760")
        .min(4)
        .from(&[same("log.index.size.max.bytes")])
        .doc("How large a segment's offset index may grow before the next segment is begun."),
    long("segment.jitter.ms", "0")
        .min(0)
        .from(&[same("log.roll.jitter.ms"), times("log.roll.jitter.hours", HOUR)])
        .doc("Up to how much segment.ms is shortened by chance, so that segments do not all roll at once."),
    long("segment.ms", "604800000")
        .min(1)
        .from(&[same("log.roll.ms"), times("log.roll.hours", HOUR)])
        .doc("After how long a segment is closed and the next one begun, even if it is not full."),
    boolean("unclean.leader.election.enable", "false")
        .from(&[same("unclean.leader.election.enable")])
        .later()
        .doc(
            "Whether a replica that is not in sync may become leader when no other is left. What it lacks is \
             then lost, acknowledged or not.",
        ),
];
