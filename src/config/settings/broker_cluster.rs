//! Broker settings: the node, the controller quorum, topics, replication.

use super::rows::*;
use super::{Allowed, Setting};

const QUORUM: &str = "the metadata quorum runs inside the brokers and times itself";
const FETCHERS: &str = "each core fetches for its own partitions";

pub(super) const ROWS: &[Setting] = &[
    class_("alter.config.policy.class.name")
        .low()
        .refused("a policy in Java cannot run here, and without it changes would go through that it forbids")
        .doc("A Java class that may forbid changes of settings."),
    int("alter.log.dirs.replication.quota.window.num", "11")
        .min(1)
        .low()
        .later()
        .doc("Samples kept for the quota on moves between log directories."),
    int("alter.log.dirs.replication.quota.window.size.seconds", "1")
        .min(1)
        .low()
        .later()
        .doc("The time that one such sample covers."),
    boolean("auto.create.topics.enable", "true")
        .high()
        .doc("Whether a topic is created when a client asks for the metadata of one that does not exist."),
    boolean("auto.leader.rebalance.enable", "true")
        .high()
        .later()
        .doc("Whether leadership goes back to the preferred replicas by itself."),
    int("broker.heartbeat.interval.ms", "2000")
        .later()
        .doc("How often a broker tells the controller that it lives."),
    int("broker.id", "-1").high().doc("The old name of node.id."),
    string_("broker.rack").doc("The rack that the broker stands in; replicas are spread over racks."),
    int("broker.session.timeout.ms", "9000")
        .later()
        .doc("After how long without a heartbeat a broker is fenced."),
    list("config.providers", "")
        .low()
        .cluster_wide()
        .refused("values are not looked up elsewhere here, and a reference taken for a value would be wrong")
        .doc("Names of Java classes that supply values from elsewhere."),
    boolean("controlled.shutdown.enable", "true")
        .ignored("a clean stop is always an orderly one")
        .doc("Whether leadership is moved away before a broker stops."),
    list_("controller.listener.names")
        .high()
        .ignored("the metadata quorum runs inside the brokers, on their own listener")
        .doc("The listeners of the controller; they are not opened."),
    long("controller.performance.always.log.threshold.ms", "2000")
        .min(0)
        .internal()
        .ignored(QUORUM)
        .doc("Controller events slower than this are always logged."),
    long("controller.performance.sample.period.ms", "60000")
        .min(100)
        .internal()
        .ignored(QUORUM)
        .doc("How often the controller's slowest events are logged."),
    int("controller.quorum.append.linger.ms", "25")
        .min(0)
        .ignored(QUORUM)
        .doc("How long the metadata leader gathers records before it flushes them."),
    boolean("controller.quorum.auto.join.enable", "false")
        .low()
        .later()
        .doc("Whether a new controller joins the quorum by itself."),
    list("controller.quorum.bootstrap.servers", "")
        .high()
        .later()
        .doc("Addresses at which the metadata quorum can be found."),
    int("controller.quorum.election.backoff.max.ms", "1000")
        .min(0)
        .high()
        .ignored(QUORUM)
        .doc("The longest wait before a next election."),
    int("controller.quorum.election.timeout.ms", "1000")
        .min(0)
        .high()
        .later()
        .doc("How long a voter waits without word from a leader before it calls an election."),
    int("controller.quorum.fetch.timeout.ms", "2000")
        .min(0)
        .high()
        .later()
        .doc("How long the metadata leader goes without fetches from a majority before it steps down."),
    int("controller.quorum.request.timeout.ms", "2000")
        .min(0)
        .ignored(QUORUM)
        .doc("How long a voter waits for a response."),
    int("controller.quorum.retry.backoff.ms", "20")
        .min(0)
        .low()
        .ignored(QUORUM)
        .doc("How long a voter waits before it asks again."),
    list("controller.quorum.voters", "")
        .high()
        .later()
        .doc("The voters of the metadata quorum, as id@host:port between commas."),
    int("controller.quota.window.num", "11")
        .min(1)
        .low()
        .later()
        .doc("Samples kept for quotas on creating and deleting topics."),
    int("controller.quota.window.size.seconds", "1")
        .min(1)
        .low()
        .later()
        .doc("The time that one such sample covers."),
    int("controller.socket.timeout.ms", "30000")
        .later()
        .doc("How long a broker waits for the controller's response."),
    class_("create.topic.policy.class.name")
        .low()
        .refused("a policy in Java cannot run here, and without it topics would be created that it forbids")
        .doc("A Java class that may forbid the creation of topics."),
    int("default.replication.factor", "1")
        .doc("Replicas of a topic that is created by itself or without a number."),
    boolean("delete.topic.enable", "true").high().doc("Whether topics may be deleted."),
    int("initial.broker.registration.timeout.ms", "60000")
        .later()
        .doc("How long a starting broker tries to register with the controller."),
    long("internal.metadata.delete.delay.millis", "60000")
        .low()
        .internal()
        .later()
        .doc("How long replaced files of the metadata log stay on disk."),
    int_("internal.metadata.log.segment.bytes")
        .low()
        .internal()
        .doc("Overrides metadata.log.segment.bytes without its lower bound. For tests."),
    int("internal.metadata.max.batch.size.in.bytes", "8388608")
        .low()
        .internal()
        .doc("The largest batch of metadata records."),
    int("internal.metadata.max.fetch.size.in.bytes", "8388608")
        .low()
        .internal()
        .later()
        .doc("The most metadata that one fetch holds."),
    long("leader.imbalance.check.interval.seconds", "300")
        .min(1)
        .high()
        .later()
        .doc("How often it is looked whether leadership should go back to preferred replicas."),
    string_("metadata.log.dir")
        .high()
        .doc("The folder of the metadata log; the first log directory where not set."),
    long("metadata.log.max.record.bytes.between.snapshots", "20971520")
        .min(1)
        .high()
        .later()
        .doc("After how many bytes of metadata records a snapshot is taken."),
    long("metadata.log.max.snapshot.interval.ms", "3600000")
        .min(0)
        .high()
        .later()
        .doc("After how long at most a snapshot is taken if anything changed."),
    int("metadata.log.segment.bytes", "1073741824")
        .min(8 << 20)
        .high()
        .doc("How large a segment of the metadata log may grow."),
    long("metadata.log.segment.ms", "604800000")
        .high()
        .doc("After how long a segment of the metadata log is closed."),
    int("metadata.max.idle.interval.ms", "500")
        .min(0)
        .low()
        .ignored("an idle metadata log stays as it is")
        .doc("How often an idle metadata leader writes a record that says nothing."),
    long("metadata.max.retention.bytes", "104857600")
        .high()
        .later()
        .doc("How large the metadata log and its snapshots may grow before old ones are deleted."),
    long("metadata.max.retention.ms", "604800000")
        .high()
        .later()
        .doc("How old metadata that a snapshot covers may grow before it is deleted."),
    int("min.insync.replicas", "1")
        .min(1)
        .high()
        .cluster_wide()
        .kafka_has("1", "where it is not set, topics of three replicas or more take 2")
        .doc("How many replicas must be in sync for an acks=all write, in topics that do not say."),
    int_("node.id")
        .min(0)
        .high()
        .kafka_has("none: it must be set", "1 where neither node.id nor broker.id is set")
        .doc("This node's number in the cluster."),
    int("num.partitions", "1")
        .min(1)
        .doc("Partitions of a topic that is created by itself or without a number."),
    int_("num.replica.alter.log.dirs.threads")
        .high()
        .ignored("each core moves its own partitions")
        .doc("Threads that move replicas between log directories."),
    int("num.replica.fetchers", "1")
        .min(1)
        .high()
        .cluster_wide()
        .ignored(FETCHERS)
        .doc("Fetching threads per broker to follow."),
    list_("process.roles")
        .allow(Allowed::EachOf(&["broker", "controller"]))
        .high()
        .kafka_has("none: it must be set", "every node is both where it is not set")
        .doc("What this node is: broker, controller or both."),
    int("replica.fetch.backoff.ms", "1000")
        .min(0)
        .later()
        .doc("How long a follower waits after a failed fetch."),
    int("replica.fetch.max.bytes", "1048576")
        .min(0)
        .later()
        .doc("How many bytes a follower asks for per partition; one batch always fits."),
    int("replica.fetch.min.bytes", "1")
        .high()
        .later()
        .doc("How many bytes there must be before a follower's fetch is answered."),
    int("replica.fetch.response.max.bytes", "10485760")
        .min(0)
        .later()
        .doc("The most bytes of one response to a follower, beyond its first batch."),
    int("replica.fetch.wait.max.ms", "500")
        .high()
        .later()
        .doc("How long a follower's fetch waits for replica.fetch.min.bytes."),
    long("replica.high.watermark.checkpoint.interval.ms", "5000")
        .high()
        .doc("How often high watermarks are written to disk."),
    long("replica.lag.time.max.ms", "30000")
        .high()
        .later()
        .doc("After how long without having caught up a follower leaves the ISR."),
    string_("replica.selector.class")
        .later()
        .doc("How the replica that a consumer reads from is chosen; a rack-aware one lets it read nearby."),
    int("replica.socket.receive.buffer.bytes", "65536")
        .high()
        .ignored("the kernel sizes socket buffers (net.ipv4.tcp_rmem)")
        .doc("The receive buffer of a follower's connection."),
    int("replica.socket.timeout.ms", "30000")
        .high()
        .later()
        .doc("How long a follower waits for a response, at least replica.fetch.wait.max.ms."),
    int("replication.quota.window.num", "11")
        .min(1)
        .low()
        .later()
        .doc("Samples kept for the quotas of replication."),
    int("replication.quota.window.size.seconds", "1")
        .min(1)
        .low()
        .later()
        .doc("The time that one such sample covers."),
    long("leader.replication.throttled.rate", "9223372036854775807")
        .min(0)
        .cluster_wide()
        .internal()
        .later()
        .doc(
            "How many bytes a second followers may read of this broker's throttled partitions. Set at run time \
             only.",
        ),
    long("follower.replication.throttled.rate", "9223372036854775807")
        .min(0)
        .cluster_wide()
        .internal()
        .later()
        .doc(
            "How many bytes a second this broker fetches for its throttled partitions. Set at run time only.",
        ),
    long("replica.alter.log.dirs.io.max.bytes.per.second", "9223372036854775807")
        .min(0)
        .cluster_wide()
        .internal()
        .doc("How many bytes a second are moved between log directories. Set at run time only."),
    long("server.max.startup.time.ms", "9223372036854775807")
        .min(0)
        .internal()
        .ignored("the start tells of its progress and is not cut off")
        .doc("How long a start may take."),
    boolean("unclean.leader.election.enable", "false")
        .high()
        .cluster_wide()
        .later()
        .doc("Whether a replica that is not in sync may become leader, losing what it lacks."),
    long("unclean.leader.election.interval.ms", "300000")
        .min(1)
        .internal()
        .later()
        .doc("How often it is looked for partitions that need an unclean election."),
    boolean("unstable.api.versions.enable", "false")
        .high()
        .internal()
        .ignored("only what Kafka calls stable is offered")
        .doc("Whether unfinished versions of APIs are offered."),
    boolean("unstable.feature.versions.enable", "false")
        .high()
        .internal()
        .ignored("only what Kafka calls stable is offered")
        .doc("Whether unfinished levels of features are offered."),
];
