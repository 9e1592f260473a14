//! Broker settings: listeners, connections, requests, fetch sessions, metrics.

use super::rows::*;
use super::{Allowed, Setting};

const CORES: &str = "each core serves its own connections: see the profile's [core] keys";
const JAVA_METRICS: &str = "there are no Java metric reporters here";
const WAITERS: &str = "what waits is taken out when it is done, not swept";

pub(super) const ROWS: &[Setting] = &[
    list_("advertised.listeners").high().doc(
        "The addresses that clients are told to connect to, as NAME://host:port; the listeners' own where not \
         set.",
    ),
    int("background.threads", "10")
        .min(1)
        .high()
        .cluster_wide()
        .ignored("background work is a class of tasks on every core, with shares of its own")
        .doc("Threads for background work."),
    long("connections.max.idle.ms", "600000").doc("After how long an idle connection is closed."),
    int("delete.records.purgatory.purge.interval.requests", "1")
        .ignored(WAITERS)
        .doc("After how many requests finished waits for deletions are swept out."),
    list_("early.start.listeners")
        .high()
        .ignored("all listeners open once recovery is done")
        .doc("Listeners that open before the broker is ready."),
    int("fetch.max.bytes", "57671680")
        .min(1024)
        .doc("The most bytes that one fetch response holds, beyond its first batch."),
    int("fetch.purgatory.purge.interval.requests", "1000")
        .ignored(WAITERS)
        .doc("After how many requests finished waits for fetches are swept out."),
    string_("inter.broker.listener.name").doc(
        "The listener through which brokers talk with one another; instead of security.inter.broker.protocol.",
    ),
    int("kafka.metrics.polling.interval.secs", "10")
        .min(1)
        .low()
        .ignored(JAVA_METRICS)
        .doc("How often the reporters of kafka.metrics.reporters are asked."),
    list("kafka.metrics.reporters", "")
        .low()
        .ignored(JAVA_METRICS)
        .doc("Java classes that report the old metrics."),
    string(
        "listener.security.protocol.map",
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
    )
        .low()
        .per_broker()
        .doc("Which security protocol each listener speaks, as NAME:PROTOCOL."),
    list("listeners", "PLAINTEXT://127.0.0.1:9092")
        .high()
        .per_broker()
        .kafka_has("PLAINTEXT://:9092", "a broker without passwords is not opened to the network unasked")
        .doc(
            "The addresses to listen on, as NAME://host:port between commas. No host, or 0.0.0.0, is every \
             interface.",
        ),
    int("max.connection.creation.rate", "2147483647")
        .min(0)
        .cluster_wide()
        .doc("How many new connections a second are accepted."),
    int("max.connections", "2147483647")
        .min(0)
        .cluster_wide()
        .doc("How many connections may be open at once."),
    int("max.connections.per.ip", "2147483647")
        .min(0)
        .cluster_wide()
        .doc("How many connections may be open at once from one address."),
    string("max.connections.per.ip.overrides", "")
        .allow(Allowed::CountsByAddress)
        .cluster_wide()
        .doc("Other limits than max.connections.per.ip for some addresses, as address:count between commas."),
    int("max.incremental.fetch.session.cache.slots", "1000")
        .min(0)
        .doc("How many incremental fetch sessions are kept."),
    int("max.request.partition.size.limit", "2000")
        .min(1)
        .later()
        .doc("The most partitions that one DescribeTopicPartitions response lists."),
    list("metric.reporters", "org.apache.kafka.common.metrics.JmxReporter")
        .low()
        .cluster_wide()
        .ignored(JAVA_METRICS)
        .doc("Java classes that report metrics."),
    int("metrics.num.samples", "2").min(1).low().ignored(JAVA_METRICS).doc("Samples that a metric keeps."),
    string("metrics.recording.level", "INFO").low().ignored(JAVA_METRICS).doc("Which metrics are recorded."),
    long("metrics.sample.window.ms", "30000")
        .min(1)
        .low()
        .ignored(JAVA_METRICS)
        .doc("The time that one sample of a metric covers."),
    int("num.io.threads", "8").min(1).high().cluster_wide().ignored(CORES).doc("Threads that work on requests."),
    int("num.network.threads", "3")
        .min(1)
        .high()
        .cluster_wide()
        .ignored(CORES)
        .doc("Threads that read requests and write responses, per listener."),
    int("producer.purgatory.purge.interval.requests", "1000")
        .ignored(WAITERS)
        .doc("After how many requests finished waits for replicas are swept out."),
    long("queued.max.request.bytes", "-1")
        .ignored("bytes in flight are bounded per connection and by each core's memory")
        .doc("How many bytes of requests may wait; -1 is without limit."),
    int("queued.max.requests", "500")
        .min(1)
        .high()
        .ignored("requests in flight are bounded per connection")
        .doc("How many requests may wait before no more are read."),
    int("request.timeout.ms", "30000").high().later().doc("How long a broker waits for another one's response."),
    long("socket.connection.setup.timeout.max.ms", "30000")
        .later()
        .doc("The longest wait for a connection to another broker, after repeated failures."),
    long("socket.connection.setup.timeout.ms", "10000")
        .later()
        .doc("How long a broker waits for a connection to another one."),
    int("socket.listen.backlog.size", "50")
        .min(1)
        .ignored("the listener asks for as many as the system allows (net.core.somaxconn)")
        .doc("How many connections may wait to be accepted."),
    int("socket.receive.buffer.bytes", "102400")
        .high()
        .ignored("the kernel sizes socket buffers (net.ipv4.tcp_rmem)")
        .doc("The receive buffer of a connection; -1 leaves it to the system."),
    int("socket.request.max.bytes", "104857600").min(1).high().doc("The largest request that is read."),
    int("socket.send.buffer.bytes", "102400")
        .high()
        .ignored("the kernel sizes socket buffers (net.ipv4.tcp_wmem)")
        .doc("The send buffer of a connection; -1 leaves it to the system."),
    int("telemetry.max.bytes", "1048576").min(1).low().later().doc("The largest push of client metrics."),
];
