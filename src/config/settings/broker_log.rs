//! Broker settings: logs, retention, compaction, flushing.

use super::rows::*;
use super::topic::{CODECS, FLUSHED};
use super::{Allowed, Setting};

const CHECKPOINTS: &str = "checkpoints are written as what they hold changes";
const OWN_CLEANER: &str = "compaction runs on the core that owns the partition, in its background class";

pub(super) const ROWS: &[Setting] = &[
    int("compression.gzip.level", "-1")
        .allow(Allowed::BetweenOr(1, 9, -1))
        .cluster_wide()
        .doc("The level used where compression.type is gzip; -1 is the codec's own default."),
    int("compression.lz4.level", "9")
        .range(1, 17)
        .cluster_wide()
        .doc("The level used where compression.type is lz4."),
    string("compression.type", "producer")
        .allow(Allowed::OneOf(CODECS))
        .high()
        .cluster_wide()
        .doc("How batches are compressed on disk; 'producer' keeps what the producer chose."),
    int("compression.zstd.level", "3")
        .range(-131072, 22)
        .cluster_wide()
        .doc("The level used where compression.type is zstd."),
    long("log.cleaner.backoff.ms", "15000")
        .min(0)
        .cluster_wide()
        .doc("How long compaction sleeps when no log needs it."),
    long("log.cleaner.dedupe.buffer.size", "134217728")
        .cluster_wide()
        .doc("Bytes of memory in which compaction remembers keys."),
    long("log.cleaner.delete.retention.ms", "86400000")
        .min(0)
        .cluster_wide()
        .doc("How long the markers of deleted keys stay in compacted topics."),
    boolean("log.cleaner.enable", "true").doc("Whether compaction runs at all."),
    double("log.cleaner.io.buffer.load.factor", "0.9")
        .cluster_wide()
        .doc("How full compaction's table of keys may become."),
    int("log.cleaner.io.buffer.size", "524288")
        .min(0)
        .cluster_wide()
        .doc("Bytes of compaction's read and write buffers."),
    double("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308")
        .cluster_wide()
        .doc("How many bytes a second compaction reads and writes at most, on average."),
    long("log.cleaner.max.compaction.lag.ms", "9223372036854775807")
        .min(1)
        .cluster_wide()
        .doc("The longest that a record may wait for compaction."),
    double("log.cleaner.min.cleanable.ratio", "0.5")
        .allow(Allowed::Fraction(0.0, 1.0))
        .cluster_wide()
        .doc("The share of a compacted log that must be new before it is compacted again."),
    long("log.cleaner.min.compaction.lag.ms", "0")
        .min(0)
        .cluster_wide()
        .doc("The shortest time that a record stays as it was written."),
    int("log.cleaner.threads", "1").min(0).cluster_wide().ignored(OWN_CLEANER).doc("Threads for compaction."),
    list("log.cleanup.policy", "delete")
        .allow(Allowed::EachOf(&["compact", "delete"]))
        .cluster_wide()
        .doc("What becomes of old records in topics that do not say: deleted, compacted, or both."),
    list("log.dir", "ottla-data")
        .high()
        .kafka_has("/tmp/kafka-logs", "what lies under /tmp is gone after a restart of the machine")
        .doc("The folder for data, where log.dirs is not set."),
    long("log.dir.failure.timeout.ms", "30000").min(1).low().later().doc(
        "How long a broker waits for the controller to learn of a failed log directory before it stops.",
    ),
    list_("log.dirs").high().doc("The folders for data, between commas. Partitions are spread over them."),
    long("log.flush.interval.messages", "1")
        .min(1)
        .high()
        .cluster_wide()
        .kafka_has("9223372036854775807", "an acknowledged record is on disk, not only in memory")
        .ignored(FLUSHED)
        .doc("After how many records a log is flushed to disk; 1 flushes before each acknowledgement."),
    long_("log.flush.interval.ms").high().cluster_wide().ignored(FLUSHED).doc(
        "After how long at most a log is flushed, where log.flush.interval.messages is above 1. Unset: \
         log.flush.scheduler.interval.ms.",
    ),
    int("log.flush.offset.checkpoint.interval.ms", "60000")
        .min(0)
        .high()
        .ignored(CHECKPOINTS)
        .doc("How often the point up to which logs are flushed is written down."),
    long("log.flush.scheduler.interval.ms", "9223372036854775807")
        .high()
        .ignored(FLUSHED)
        .doc("How often it is looked whether a log must be flushed; the default of log.flush.interval.ms."),
    int("log.flush.start.offset.checkpoint.interval.ms", "60000")
        .min(0)
        .high()
        .ignored(CHECKPOINTS)
        .doc("How often the start offsets of logs are written down."),
    int("log.index.interval.bytes", "4096")
        .min(0)
        .cluster_wide()
        .doc("About how many bytes of log lie between two entries of an offset index."),
    int("log.index.size.max.bytes", "10485760")
        .min(4)
        .cluster_wide()
        .doc("How large an offset index may grow before the next segment is begun."),
    long("log.initial.task.delay.ms", "30000")
        .min(0)
        .low()
        .internal()
        .ignored("background work starts at once, after recovery")
        .doc("How long background work on logs waits after the start."),
    long("log.local.retention.bytes", "-2")
        .min(-2)
        .cluster_wide()
        .ignored("no tiered storage yet")
        .doc("How many bytes of a tiered partition stay on local disk; -2 takes log.retention.bytes."),
    long("log.local.retention.ms", "-2")
        .min(-2)
        .cluster_wide()
        .ignored("no tiered storage yet")
        .doc("How long records of a tiered partition stay on local disk; -2 takes log.retention.ms."),
    long("log.message.timestamp.after.max.ms", "3600000")
        .min(0)
        .cluster_wide()
        .doc("How far a record's timestamp may lie ahead of the broker's clock."),
    long("log.message.timestamp.before.max.ms", "9223372036854775807")
        .min(0)
        .cluster_wide()
        .doc("How far a record's timestamp may lie behind the broker's clock."),
    string("log.message.timestamp.type", "CreateTime")
        .allow(Allowed::OneOf(&["CreateTime", "LogAppendTime"]))
        .cluster_wide()
        .doc("Whose clock stamps records: the producer's (CreateTime) or the broker's (LogAppendTime)."),
    boolean("log.preallocate", "false")
        .cluster_wide()
        .ignored("files always grow ahead of need, in small steps")
        .doc("Whether a new segment's file is given its full size at once."),
    long("log.retention.bytes", "-1")
        .high()
        .cluster_wide()
        .doc("How large a partition may grow before its oldest segments are deleted; -1 is without limit."),
    long("log.retention.check.interval.ms", "300000")
        .min(1)
        .doc("How often it is looked whether segments are due for deletion."),
    int("log.retention.hours", "168").high().doc(
        "How many hours records are kept, where neither log.retention.ms nor log.retention.minutes is set.",
    ),
    int_("log.retention.minutes")
        .high()
        .doc("How many minutes records are kept, where log.retention.ms is not set."),
    long_("log.retention.ms")
        .high()
        .cluster_wide()
        .doc("How many milliseconds records are kept; -1 is forever. It goes before minutes and hours."),
    int("log.roll.hours", "168")
        .min(1)
        .high()
        .doc("After how many hours a segment is closed, where log.roll.ms is not set."),
    int("log.roll.jitter.hours", "0")
        .min(0)
        .high()
        .doc("Up to how many hours the life of a segment is shortened by chance."),
    long_("log.roll.jitter.ms")
        .high()
        .cluster_wide()
        .doc("Up to how many milliseconds the life of a segment is shortened by chance."),
    long_("log.roll.ms").high().cluster_wide().doc(
        "After how many milliseconds a segment is closed and the next begun; it goes before log.roll.hours.",
    ),
    int("log.segment.bytes", "1073741824")
        .min(1 << 20)
        .high()
        .cluster_wide()
        .doc("How large a segment file may grow before the next one is begun."),
    long("log.segment.delete.delay.ms", "60000")
        .min(0)
        .high()
        .cluster_wide()
        .doc("How long a segment's files stay on disk after the segment was taken out of the log."),
    int("message.max.bytes", "1048588")
        .min(0)
        .high()
        .cluster_wide()
        .doc("The largest batch of records that is accepted, after compression."),
    int("num.recovery.threads.per.data.dir", "2")
        .min(1)
        .high()
        .cluster_wide()
        .ignored("each core recovers its own partitions")
        .doc("Threads per log directory that recover logs at start and flush them at the end."),
    int("producer.id.expiration.check.interval.ms", "600000")
        .min(1)
        .low()
        .internal()
        .doc("How often it is looked for producers that have been silent for too long."),
    int("producer.id.expiration.ms", "86400000")
        .min(1)
        .low()
        .cluster_wide()
        .doc("How long a partition remembers a producer that sends nothing. Open transactions keep theirs."),
];
