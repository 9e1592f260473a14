//! Broker settings: groups, offsets, transactions, share groups.

use super::rows::*;
use super::{Allowed, Setting};

const JAVA: &str = "a Java class cannot run here";
const CORES: &str = "coordinators run on the core that owns their partition";
const WAITERS: &str = "what waits is taken out when it is done, not swept";

pub(super) const ROWS: &[Setting] = &[
    int("add.partitions.to.txn.retry.backoff.max.ms", "100").min(0).high().later().doc(
        "The longest that a broker goes on trying to add a partition to a transaction before it \
             tells the client to try again.",
    ),
    int("add.partitions.to.txn.retry.backoff.ms", "20")
        .min(1)
        .high()
        .later()
        .doc("How long a broker waits before it tries again to add a partition to a transaction."),
    list("group.consumer.assignors", "uniform,range").doc(
        "The assignors that the broker offers to groups of the new protocol; the first is the \
             default.",
    ),
    int("group.consumer.heartbeat.interval.ms", "5000")
        .min(1)
        .doc("How often the members of a group of the new protocol send heartbeats."),
    int("group.consumer.max.heartbeat.interval.ms", "15000")
        .min(1)
        .later()
        .doc("The longest heartbeat interval that a group of the new protocol may set."),
    int("group.consumer.max.session.timeout.ms", "60000")
        .min(1)
        .later()
        .doc("The longest session timeout that a group of the new protocol may set."),
    int("group.consumer.max.size", "2147483647")
        .min(1)
        .doc("The most members of a group of the new protocol."),
    string("group.consumer.migration.policy", "bidirectional")
        .allow(Allowed::OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]))
        .doc(
            "Whether a group may change between the classic and the new protocol while it has members, \
             and in which direction.",
        ),
    int("group.consumer.min.heartbeat.interval.ms", "5000")
        .min(1)
        .later()
        .doc("The shortest heartbeat interval that a group of the new protocol may set."),
    int("group.consumer.min.session.timeout.ms", "45000")
        .min(1)
        .later()
        .doc("The shortest session timeout that a group of the new protocol may set."),
    int("group.consumer.regex.refresh.interval.ms", "600000")
        .min(10000)
        .internal()
        .doc("How often the topics that match a group's regular expressions are looked up again."),
    int("group.consumer.session.timeout.ms", "45000").min(1).doc(
        "After how long without a heartbeat a member of a group of the new protocol is taken for \
             dead.",
    ),
    int("group.coordinator.append.linger.ms", "-1")
        .min(-1)
        .later()
        .doc("How long a group coordinator gathers records before it writes them; -1 adapts to the load."),
    list("group.coordinator.rebalance.protocols", "classic,consumer,streams")
        .allow(Allowed::EachOf(&["consumer", "classic", "share", "streams"]))
        .later()
        .doc("The group protocols that the broker offers."),
    int("group.coordinator.threads", "4")
        .min(1)
        .high()
        .ignored(CORES)
        .doc("Threads of the group coordinator."),
    int("group.initial.rebalance.delay.ms", "3000").doc(
        "How long a new group of the classic protocol waits for more members before its first \
             rebalance.",
    ),
    int("group.max.session.timeout.ms", "1800000")
        .doc("The longest session timeout that a member of a classic group may ask for."),
    int("group.max.size", "2147483647").min(1).doc("The most members of a classic group."),
    int("group.min.session.timeout.ms", "6000")
        .doc("The shortest session timeout that a member of a classic group may ask for."),
    list("group.share.assignors", "simple").later().doc("The assignor of share groups."),
    int("group.share.delivery.count.limit", "5")
        .range(2, 10)
        .later()
        .doc("How often a record is delivered to a share group before it is given up."),
    boolean("group.share.enable", "false").internal().later().doc("Whether share groups are offered."),
    int("group.share.heartbeat.interval.ms", "5000")
        .min(1)
        .later()
        .doc("How often the members of a share group send heartbeats."),
    int("group.share.initialize.retry.interval.ms", "30000")
        .min(1)
        .low()
        .internal()
        .later()
        .doc("How long it takes before the setting up of a share group's state is tried again."),
    int("group.share.max.heartbeat.interval.ms", "15000")
        .min(1)
        .later()
        .doc("The longest heartbeat interval that a share group may set."),
    int("group.share.max.record.lock.duration.ms", "60000")
        .range(30000, 3600000)
        .later()
        .doc("The longest time that a share group may set for holding a record."),
    int("group.share.max.session.timeout.ms", "60000")
        .min(1)
        .later()
        .doc("The longest session timeout that a share group may set."),
    int("group.share.max.share.sessions", "2000")
        .min(1)
        .later()
        .doc("The most share sessions that the broker keeps."),
    int("group.share.max.size", "200").range(1, 1000).later().doc("The most members of a share group."),
    int("group.share.min.heartbeat.interval.ms", "5000")
        .min(1)
        .later()
        .doc("The shortest heartbeat interval that a share group may set."),
    int("group.share.min.record.lock.duration.ms", "15000")
        .range(1000, 30000)
        .later()
        .doc("The shortest time that a share group may set for holding a record."),
    int("group.share.min.session.timeout.ms", "45000")
        .min(1)
        .later()
        .doc("The shortest session timeout that a share group may set."),
    int("group.share.partition.max.record.locks", "2000")
        .range(100, 10000)
        .later()
        .doc("The most records of one partition that a share group holds at once."),
    string(
        "group.share.persister.class.name",
        "org.apache.kafka.server.share.persister.DefaultStatePersister",
    )
    .internal()
    .ignored(JAVA)
    .doc("The Java class that keeps the state of share groups."),
    int("group.share.record.lock.duration.ms", "30000")
        .range(1000, 3600000)
        .later()
        .doc("How long a member of a share group may hold a record."),
    int("group.share.session.timeout.ms", "45000")
        .min(1)
        .later()
        .doc("After how long without a heartbeat a member of a share group is taken for dead."),
    int("group.streams.heartbeat.interval.ms", "5000")
        .min(1)
        .later()
        .doc("How often the members of a streams group send heartbeats."),
    int("group.streams.initial.rebalance.delay.ms", "3000")
        .min(0)
        .later()
        .doc("How long a new streams group waits for more members before its first assignment."),
    int("group.streams.max.heartbeat.interval.ms", "15000")
        .min(1)
        .later()
        .doc("The longest heartbeat interval that a streams group may set."),
    int("group.streams.max.session.timeout.ms", "60000")
        .min(1)
        .later()
        .doc("The longest session timeout that a streams group may set."),
    int("group.streams.max.size", "2147483647").min(1).later().doc("The most members of a streams group."),
    int("group.streams.max.standby.replicas", "2")
        .min(0)
        .later()
        .doc("The most standby copies of a task that a streams group may set."),
    int("group.streams.min.heartbeat.interval.ms", "5000")
        .min(1)
        .later()
        .doc("The shortest heartbeat interval that a streams group may set."),
    int("group.streams.min.session.timeout.ms", "45000")
        .min(1)
        .later()
        .doc("The shortest session timeout that a streams group may set."),
    int("group.streams.num.standby.replicas", "0")
        .min(0)
        .later()
        .doc("Standby copies of each task of a streams group."),
    int("group.streams.session.timeout.ms", "45000")
        .min(1)
        .later()
        .doc("After how long without a heartbeat a member of a streams group is taken for dead."),
    int("offset.metadata.max.bytes", "4096")
        .high()
        .doc("The longest text that may go with a committed offset."),
    int("offsets.commit.timeout.ms", "5000")
        .min(1)
        .high()
        .doc("How long a commit of offsets waits until it is on enough replicas."),
    int("offsets.load.buffer.size", "5242880")
        .min(1)
        .high()
        .later()
        .doc("Bytes that are read at a time when a group coordinator loads its partition."),
    long("offsets.retention.check.interval.ms", "600000")
        .min(1)
        .high()
        .doc("How often it is looked for committed offsets that are too old."),
    int("offsets.retention.minutes", "10080")
        .min(1)
        .high()
        .doc("How many minutes committed offsets are kept once nobody in the group uses them."),
    int("offsets.topic.compression.codec", "0")
        .high()
        .later()
        .doc("The codec of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    int("offsets.topic.num.partitions", "50")
        .min(1)
        .high()
        .doc("Partitions of the offsets topic; not to be changed once it exists."),
    short("offsets.topic.replication.factor", "3")
        .min(1)
        .high()
        .doc("Replicas of the offsets topic; it is not created before there are as many brokers."),
    int("offsets.topic.segment.bytes", "104857600")
        .min(1)
        .high()
        .doc("How large a segment of the offsets topic may grow; small ones are loaded faster."),
    int("share.coordinator.append.linger.ms", "-1")
        .min(-1)
        .later()
        .doc("How long a share coordinator gathers records before it writes them; -1 adapts to the load."),
    int("share.coordinator.cold.partition.snapshot.interval.ms", "300000")
        .min(1)
        .low()
        .internal()
        .later()
        .doc("After how long the state of a quiet share partition is written anew in full."),
    int("share.coordinator.load.buffer.size", "5242880")
        .min(1)
        .high()
        .later()
        .doc("Bytes that are read at a time when a share coordinator loads its partition."),
    int("share.coordinator.snapshot.update.records.per.snapshot", "500")
        .min(0)
        .later()
        .doc("How many updates of a share partition's state are written between two full ones."),
    int("share.coordinator.state.topic.compression.codec", "0")
        .high()
        .later()
        .doc("The codec of the share state topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    short("share.coordinator.state.topic.min.isr", "2")
        .min(1)
        .high()
        .later()
        .doc("min.insync.replicas of the share state topic."),
    int("share.coordinator.state.topic.num.partitions", "50")
        .min(1)
        .high()
        .later()
        .doc("Partitions of the share state topic; not to be changed once it exists."),
    int("share.coordinator.state.topic.prune.interval.ms", "300000")
        .min(1)
        .low()
        .internal()
        .later()
        .doc("How often the share state topic is cut short where nothing needs its start any more."),
    short("share.coordinator.state.topic.replication.factor", "3")
        .min(1)
        .high()
        .later()
        .doc("Replicas of the share state topic."),
    int("share.coordinator.state.topic.segment.bytes", "104857600")
        .min(1)
        .high()
        .later()
        .doc("How large a segment of the share state topic may grow."),
    int("share.coordinator.threads", "1").min(1).ignored(CORES).doc("Threads of the share coordinator."),
    int("share.coordinator.write.timeout.ms", "5000")
        .min(1)
        .high()
        .later()
        .doc("How long a write of a share coordinator waits until it is on enough replicas."),
    int("share.fetch.purgatory.purge.interval.requests", "1000")
        .ignored(WAITERS)
        .doc("After how many requests finished waits for share fetches are swept out."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000")
        .min(1)
        .low()
        .doc("How often it is looked for transactions that have run out of time."),
    int("transaction.max.timeout.ms", "900000")
        .min(1)
        .high()
        .doc("The longest timeout that a transactional producer may ask for."),
    boolean("transaction.partition.verification.enable", "true").low().cluster_wide().later().doc(
        "Whether a partition asks the transaction coordinator before it takes a transactional \
             batch.",
    ),
    int("transaction.remove.expired.transaction.cleanup.interval.ms", "3600000")
        .min(1)
        .low()
        .doc("How often it is looked for transactional ids that nobody uses."),
    int("transaction.state.log.load.buffer.size", "5242880")
        .min(1)
        .high()
        .later()
        .doc("Bytes that are read at a time when a transaction coordinator loads its partition."),
    int("transaction.state.log.min.isr", "2")
        .min(1)
        .high()
        .doc("min.insync.replicas of the transaction topic."),
    int("transaction.state.log.num.partitions", "50")
        .min(1)
        .high()
        .doc("Partitions of the transaction topic; not to be changed once it exists."),
    short("transaction.state.log.replication.factor", "3")
        .min(1)
        .high()
        .doc("Replicas of the transaction topic; it is not created before there are as many brokers."),
    int("transaction.state.log.segment.bytes", "104857600")
        .min(1)
        .high()
        .doc("How large a segment of the transaction topic may grow."),
    boolean("transaction.two.phase.commit.enable", "false").low().later().doc(
        "Whether producers may take part in two-phase commits, whose transactions never run out of \
             time.",
    ),
    int("transactional.id.expiration.ms", "604800000")
        .min(1)
        .high()
        .doc("After how long a transactional id that nobody uses is forgotten."),
];
