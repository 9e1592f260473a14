//! What a run needs before it begins: the topic, connections, batches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::client::{Client, Connection, Fault, Topic};
use super::super::failure::{Failure, Result};
use super::super::topic::create_topic;
use super::super::units::now_ms;
use super::drain::FetchForm;
use super::pump::Link;
use super::template::{PRODUCE_VERSIONS, STAMP, Template};
use super::{Acks, Fetching, LatencyArgs, ProduceArgs, Target, at_least_one};
use crate::wire::api::ApiKey;
use crate::wire::batch::BatchBuilder;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    CreatableTopic, CreatableTopicConfig, InitProducerIdRequest, InitProducerIdResponse,
};

/// The bytes of a request that stays within Kafka's default `max.request.size`.
const REQUEST_BYTES: usize = 1 << 20;

/// A run of producers, with or without consumers.
#[derive(Clone, Debug)]
pub struct Load {
    /// The topic, and whom to watch.
    pub target: Target,
    /// How consumers fetch.
    pub fetching: Fetching,
    /// The length of a value.
    pub record_size: usize,
    /// The length of a key.
    pub key_size: usize,
    /// The most bytes of a batch.
    pub batch_bytes: usize,
    /// Batches in a request.
    pub per_request: Option<usize>,
    /// Producing connections.
    pub connections: usize,
    /// Threads that drive them.
    pub threads: usize,
    /// Requests open per connection.
    pub in_flight: usize,
    /// What to send before the figures count.
    pub warmup: Extent,
    /// What to send while they count.
    pub measured: Extent,
    /// How fast.
    pub pace: Pace,
    /// Who must have a batch.
    pub acks: Acks,
    /// Whether sequences are sent.
    pub idempotent: bool,
    /// Consumers.
    pub consumers: usize,
    /// Whether each record carries the time it was due, and consumers measure by it.
    pub stamped: bool,
}

/// How much, or how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So many batch bytes.
    Bytes(u64),
    /// So long.
    Time(Duration),
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as answers allow.
    Full,
    /// So many batch bytes per second.
    Bytes(u64),
    /// So many records per second.
    Records(f64),
}

impl Load {
    /// The run that `ottla bench produce` asks for.
    pub fn from_produce(args: &ProduceArgs) -> Result<Load> {
        let measured = match (args.bytes, args.seconds) {
            (Some(bytes), _) => Extent::Bytes(bytes),
            (None, seconds) => Extent::Time(seconds.unwrap_or(Duration::from_secs(10))),
        };
        let load = Load {
            target: args.target.clone(),
            fetching: args.fetching.clone(),
            record_size: args.record_size as usize,
            key_size: args.key_size as usize,
            batch_bytes: args.batch_bytes as usize,
            per_request: args
                .partitions_per_request
                .map(|n| at_least_one(n, "partitions-per-request"))
                .transpose()?,
            connections: args.connections,
            threads: args.threads,
            in_flight: args.in_flight,
            warmup: Extent::Bytes(args.warmup),
            measured,
            pace: args.rate.map_or(Pace::Full, Pace::Bytes),
            acks: args.acks,
            idempotent: args.idempotent,
            consumers: args.consumers,
            stamped: false,
        };
        load.check()
    }

    /// The run that `ottla bench latency` asks for.
    pub fn from_latency(args: &LatencyArgs) -> Result<Load> {
        if !(args.rate > 0.0 && args.rate <= 1e7) {
            return Err(Failure::usage(
                "--rate must be more than nothing and at most ten million records per second",
            ));
        }
        let load = Load {
            target: args.target.clone(),
            fetching: args.fetching.clone(),
            record_size: args.record_size as usize,
            key_size: 0,
            batch_bytes: 0,
            per_request: Some(1),
            connections: args.connections,
            threads: 1,
            in_flight: args.in_flight,
            warmup: Extent::Time(args.warmup),
            measured: Extent::Time(args.seconds),
            pace: Pace::Records(args.rate),
            acks: args.acks,
            idempotent: false,
            consumers: args.consumers,
            stamped: true,
        };
        load.check()
    }

    fn check(self) -> Result<Load> {
        at_least_one(self.connections, "connections")?;
        at_least_one(self.threads, "threads")?;
        at_least_one(self.in_flight, "in-flight")?;
        if self.stamped && self.record_size < STAMP {
            return Err(Failure::usage(format!("--record-size must be at least {STAMP} here")));
        }
        if self.record_size.max(self.key_size).max(self.batch_bytes) > 64 << 20 {
            return Err(Failure::usage("records and batches of more than 64 MiB are not possible"));
        }
        if self.idempotent && (self.acks != Acks::All || self.in_flight > 5) {
            return Err(Failure::usage("--idempotent needs --acks all and --in-flight of at most 5"));
        }
        Ok(self)
    }
}

/// The topic of a run, made if that is asked for.
pub fn topic(client: &mut Client, target: &Target) -> Result<Topic> {
    if target.create {
        let config = |(name, value): &(String, String)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
        };
        let wanted = CreatableTopic {
            name: target.topic.clone(),
            num_partitions: target.partitions,
            replication_factor: target.replication_factor.unwrap_or(-1),
            assignments: Vec::new(),
            configs: target.topic_config.iter().map(config).collect(),
        };
        match create_topic(client, wanted) {
            Ok(_) => {
                return client.retry(|c| whole(c, &target.topic, target.partitions)).map_err(Failure::from);
            }
            Err(fault) if fault.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    let topic = client.topic(&target.topic, false).map_err(|f| match target.create {
        true => f,
        false => f.advice("--create makes the topic."),
    })?;
    if target.create && topic.partitions.len() as i32 != target.partitions {
        return Err(Failure::new(format!(
            "topic {} exists and has {} partitions, not {}",
            topic.name,
            topic.partitions.len(),
            target.partitions
        ))
        .advice("Give --partitions as it is, name another --topic, or delete this one."));
    }
    Ok(topic)
}

/// A topic that was just made, once all its partitions are there and led.
fn whole(client: &mut Client, name: &str, partitions: i32) -> Result<Topic, Fault> {
    let found = client.metadata(Some(&[name]), false)?.into_iter().next().map(Topic::from);
    let ready = |t: &Topic| {
        t.partitions.len() as i32 == partitions && t.partitions.iter().all(|p| p.leader.is_some())
    };
    found.filter(ready).ok_or_else(|| {
        Fault::refused(format!("waiting for topic {name}"), ErrorCode::LEADER_NOT_AVAILABLE, None)
    })
}

/// The brokers that lead partitions, each with the places of its partitions in the topic's list.
fn leaders(topic: &Topic) -> BTreeMap<i32, Vec<usize>> {
    let mut leaders: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (place, partition) in topic.partitions.iter().enumerate() {
        let leader = partition.leader.expect("a topic is used once all its partitions are led");
        leaders.entry(leader).or_default().push(place);
    }
    leaders
}

/// The producing connections, spread over the brokers, and the version of Produce that all of them speak.
pub fn links(client: &mut Client, topic: &Topic, load: &Load) -> Result<(Vec<LinkSeed>, i16)> {
    let leaders = leaders(topic);
    if load.connections < leaders.len() {
        return Err(Failure::usage(format!("{} brokers lead partitions of {}", leaders.len(), topic.name))
            .advice("Give at least as many --connections."));
    }
    let mut seeds = Vec::with_capacity(load.connections);
    let mut version = PRODUCE_VERSIONS.1;
    for (number, (broker, slots)) in leaders.iter().cycle().take(load.connections).enumerate() {
        let mut connection = client.extra_connection(*broker)?;
        let highest = connection.version_up_to(ApiKey::Produce, PRODUCE_VERSIONS.1)?;
        if highest < PRODUCE_VERSIONS.0 {
            return Err(Failure::new(format!(
                "{} speaks Produce up to version {highest} only",
                connection.address()
            ))
            .advice(format!("The bench needs version {} (Kafka 2.8).", PRODUCE_VERSIONS.0)));
        }
        version = version.min(highest);
        let producer = match load.idempotent {
            false => None,
            true => {
                let answer = client.retry(|_| init_producer(&mut connection))?;
                Some((answer.producer_id, answer.producer_epoch))
            }
        };
        let (slots, start) = (slots.clone(), number * slots.len() / load.connections);
        seeds.push(LinkSeed { connection: connection.into_stream(), slots, start, producer });
    }
    Ok((seeds, version))
}

/// Asks for a producer id. A broker that has just started may still be reading the log it takes them from.
fn init_producer(connection: &mut Connection) -> Result<InitProducerIdResponse, Fault> {
    let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
    let answer = connection.call(&request)?;
    match answer.error_code {
        ErrorCode::NONE => Ok(answer),
        code => Err(Fault::refused("asking for a producer id", code, None)),
    }
}

/// A connection that is not in a pump yet.
#[derive(Debug)]
pub struct LinkSeed {
    connection: std::net::TcpStream,
    slots: Vec<usize>,
    start: usize,
    producer: Option<(i64, i16)>,
}

impl LinkSeed {
    /// The link, with its first request due at that time.
    pub fn link(self, first_due: Instant) -> Result<Link> {
        Link::new(self.connection, self.slots, self.start, self.producer, first_due)
    }
}

/// A batch for each partition, all of them different and none compressible.
pub fn templates(topic: &Topic, load: &Load) -> Vec<(i32, Template)> {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    topic
        .partitions
        .iter()
        .map(|p| {
            let batch = batch(load, &mut chance);
            (p.index, Template::new(&batch, load.stamped.then_some(load.record_size)))
        })
        .collect()
}

/// How many batches go into a request where nobody said.
pub fn per_request(load: &Load, slots: &[(i32, Template)]) -> usize {
    let longest = slots.iter().map(|(_, t)| t.len()).max().unwrap_or(1);
    let fitting = (REQUEST_BYTES / (longest + 16)).max(1);
    load.per_request.unwrap_or(fitting).min(slots.len())
}

/// What a consumer's connection speaks.
pub fn fetch_form(fetching: &Fetching, version: i16, stamped: Option<usize>) -> FetchForm {
    let size = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
    FetchForm {
        version,
        min_bytes: size(fetching.fetch_min_bytes),
        max_bytes: size(fetching.fetch_max_bytes),
        partition_max_bytes: size(fetching.partition_fetch_bytes),
        check_crc: fetching.check_crc,
        stamped,
    }
}

/// The partitions of each consumer and its connection.
pub fn consumers(
    client: &mut Client,
    topic: &Topic,
    count: usize,
) -> Result<Vec<(std::net::TcpStream, i16, Vec<i32>)>> {
    let leaders = leaders(topic);
    if count < leaders.len() {
        return Err(Failure::usage(format!("{} brokers lead partitions of {}", leaders.len(), topic.name))
            .advice("Give at least as many --consumers."));
    }
    let mut consumers = Vec::new();
    for (place, (broker, slots)) in leaders.iter().enumerate() {
        // This broker's part of the consumers, as even as may be.
        let share = count / leaders.len() + usize::from(place < count % leaders.len());
        for number in 0..share.min(slots.len()) {
            let connection = client.extra_connection(*broker)?;
            let version = connection.version(ApiKey::Fetch)?;
            let mine = slots.iter().skip(number).step_by(share.min(slots.len()));
            let partitions = mine.map(|slot| topic.partitions[*slot].index).collect();
            consumers.push((connection.into_stream(), version, partitions));
        }
    }
    Ok(consumers)
}

/// Cheap numbers that look random (xorshift); the same in every run.
struct Chance(u64);

impl Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A batch as full as it may be, of at least one record.
fn batch(load: &Load, chance: &mut Chance) -> Bytes {
    let now = now_ms();
    let mut builder = BatchBuilder::new();
    // A record's other fields take less than this.
    let longest = load.record_size + load.key_size + 40;
    let (mut key, mut value) = (vec![0; load.key_size], vec![0; load.record_size]);
    while builder.is_empty() || (!load.stamped && builder.len() + longest <= load.batch_bytes) {
        chance.fill(&mut key);
        chance.fill(&mut value);
        builder.append(now, (load.key_size > 0).then_some(&key[..]), Some(&value), &[]);
    }
    builder.build().expect("nothing is compressed, so nothing can fail").into()
}
