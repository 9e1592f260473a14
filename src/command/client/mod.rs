//! A small Kafka client for the commands: one connection per broker, requests routed to leaders, bounded retries.

mod connection;
#[cfg(test)]
pub mod fake;
mod fault;
mod groups;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use connection::{CLIENT_ID, Connection, InFlight};
pub use fault::Fault;
pub use groups::{Answered, Said};

use super::Global;
use super::failure::{Failure, Result};
use crate::wire::error::ErrorCode;
use crate::wire::schema::Request;
use crate::wire::schema::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::wire::schema::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic};
use crate::wire::uuid::Uuid;

/// The first pause before something is tried again; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What ListOffsets takes for a timestamp to ask for the first offset of a partition.
pub const EARLIEST: i64 = -2;
/// What ListOffsets takes for a timestamp to ask for the offset that the next record will get.
pub const LATEST: i64 = -1;

/// A topic as the cluster's metadata tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero where the broker does not tell ids.
    pub id: Uuid,
    /// Whether it belongs to the brokers themselves.
    pub internal: bool,
    /// Its partitions by number.
    pub partitions: Vec<Partition>,
}

/// A partition as the cluster's metadata tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The broker that leads it; none while it has no leader.
    pub leader: Option<i32>,
    /// Its leader epoch.
    pub leader_epoch: i32,
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync with the leader.
    pub isr: Vec<i32>,
    /// Those that are away.
    pub offline: Vec<i32>,
}

/// An offset that was looked up by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; -1 where nothing is that late.
    pub offset: i64,
    /// The record's timestamp, where the question was for one.
    pub timestamp: i64,
}

/// A client of one cluster.
#[derive(Debug)]
pub struct Client {
    bootstrap: Vec<String>,
    timeout: Duration,
    brokers: BTreeMap<i32, String>,
    controller: i32,
    open: BTreeMap<i32, Connection>,
    first: Option<Connection>,
}

impl Client {
    /// Connects to the first bootstrap server that answers.
    pub fn connect(global: &Global) -> Result<Client> {
        let bootstrap: Vec<String> =
            global.bootstrap_server.split(',').map(|s| with_port(s.trim())).collect::<Result<_>>()?;
        let mut client = Client {
            bootstrap,
            timeout: global.request_timeout(),
            brokers: BTreeMap::new(),
            controller: -1,
            open: BTreeMap::new(),
            first: None,
        };
        client.any()?;
        Ok(client)
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The connection to whichever bootstrap server answered first.
    pub fn any(&mut self) -> Result<&mut Connection, Fault> {
        if self.first.as_ref().is_none_or(Connection::is_broken) {
            let mut last = None;
            self.first = None;
            // The brokers learned of may be alive where the bootstrap servers are not.
            for address in self.bootstrap.iter().chain(self.brokers.values()) {
                match Connection::open(address, self.timeout) {
                    Ok(connection) => {
                        self.first = Some(connection);
                        break;
                    }
                    Err(fault) => last = last.or(Some(fault)),
                }
            }
            if self.first.is_none() {
                return Err(last.expect("there is at least one bootstrap server"));
            }
        }
        Ok(self.first.as_mut().expect("set just above"))
    }

    /// The connection to a broker by its node id.
    pub fn broker(&mut self, id: i32) -> Result<&mut Connection, Fault> {
        let address = self.brokers.get(&id).ok_or(Fault::NoSuchBroker(id))?;
        if self.open.get(&id).is_none_or(Connection::is_broken) {
            self.open.insert(id, Connection::open(address, self.timeout)?);
        }
        Ok(self.open.get_mut(&id).expect("inserted just above"))
    }

    /// Opens one more connection to a broker, for a caller that keeps it to itself.
    pub fn extra_connection(&self, id: i32) -> Result<Connection, Fault> {
        let address = self.brokers.get(&id).ok_or(Fault::NoSuchBroker(id))?;
        Connection::open(address, self.timeout)
    }

    /// Sends a request to the controller, where it is known, and waits for its answer.
    pub fn call_controller<R: Request>(&mut self, request: &R) -> Result<R::Response, Fault> {
        if self.brokers.is_empty() {
            self.metadata(Some(&[]), false)?;
        }
        match self.brokers.contains_key(&self.controller) {
            true => self.broker(self.controller)?.call(request),
            false => self.any()?.call(request),
        }
    }

    /// Asks for topics, all of them where no names are given, and learns of the brokers on the way.
    pub fn metadata(
        &mut self,
        names: Option<&[&str]>,
        create: bool,
    ) -> Result<Vec<MetadataResponseTopic>, Fault> {
        let topic = |name: &&str| MetadataRequestTopic { name: Some(name.to_string()), ..Default::default() };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let answer = self.any()?.call(&request)?;
        if answer.error_code.is_error() {
            return Err(Fault::refused("asking for the cluster's metadata", answer.error_code, None));
        }
        self.controller = answer.controller_id;
        self.brokers =
            answer.brokers.into_iter().map(|b| (b.node_id, join_host_port(&b.host, b.port))).collect();
        let brokers = &self.brokers;
        self.open.retain(|id, connection| brokers.get(id).is_some_and(|a| a == connection.address()));
        Ok(answer.topics)
    }

    /// One topic. Waits, within the request timeout, while a topic that is being made has no leaders yet.
    pub fn topic(&mut self, name: &str, create: bool) -> Result<Topic> {
        self.find_topic(name, create, true)
    }

    /// A topic as it is, with partitions that have no leader too.
    pub fn topic_as_it_is(&mut self, name: &str) -> Result<Topic> {
        self.find_topic(name, false, false)
    }

    fn find_topic(&mut self, name: &str, create: bool, with_leaders: bool) -> Result<Topic> {
        self.retry(|client| {
            let found = client.metadata(Some(&[name]), create)?;
            let Some(topic) = found.into_iter().next() else {
                return Err(Fault::refused(
                    format!("asking for topic {name}"),
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    None,
                ));
            };
            let unknown = topic.error_code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            if topic.error_code.is_error() {
                let fault = Fault::refused(format!("asking for topic {name}"), topic.error_code, None);
                return Err(if unknown && !create { fault.for_good() } else { fault });
            }
            let topic = Topic::from(topic);
            match topic.partitions.iter().find(|p| with_leaders && p.leader.is_none()) {
                Some(p) => Err(Fault::refused(
                    format!("looking for the leader of {name}-{}", p.index),
                    ErrorCode::LEADER_NOT_AVAILABLE,
                    None,
                )),
                None => Ok(topic),
            }
        })
        .map_err(|fault| {
            let missing = fault.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            let failure = Failure::from(fault);
            match missing {
                true => failure.advice(format!(
                    "'ottla topic list' shows the topics there are, 'ottla topic create {name}' makes this one."
                )),
                false => failure,
            }
        })
    }

    /// Looks up offsets in some partitions of a topic; `question` gives a partition's timestamp, [`EARLIEST`] or
    /// [`LATEST`].
    pub fn list_offsets(
        &mut self,
        name: &str,
        partitions: &[i32],
        question: impl Fn(i32) -> i64,
    ) -> Result<BTreeMap<i32, FoundOffset>> {
        let mut found = BTreeMap::new();
        self.retry(|client| {
            let topic = client.metadata(Some(&[name]), false)?.into_iter().next();
            let topic = Topic::from(topic.ok_or_else(|| {
                Fault::refused(
                    format!("asking for topic {name}"),
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    None,
                )
            })?);
            let open: Vec<i32> = partitions.iter().copied().filter(|p| !found.contains_key(p)).collect();
            for (leader, partitions) in topic.by_leader(&open)? {
                let asked = partitions.iter().map(|p| ListOffsetsPartition {
                    partition_index: *p,
                    current_leader_epoch: -1,
                    timestamp: question(*p),
                });
                let topics = vec![ListOffsetsTopic { name: name.to_string(), partitions: asked.collect() }];
                let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
                let answer = client.broker(leader)?.call(&request)?;
                for p in answer.topics.into_iter().flat_map(|t| t.partitions) {
                    if p.error_code.is_error() {
                        let place = format!("looking up an offset of {name}-{}", p.partition_index);
                        return Err(Fault::refused(place, p.error_code, None));
                    }
                    found.insert(p.partition_index, FoundOffset { offset: p.offset, timestamp: p.timestamp });
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Does `attempt` until it succeeds, fails for good, or the request timeout has passed.
    pub fn retry<T>(&mut self, mut attempt: impl FnMut(&mut Client) -> Result<T, Fault>) -> Result<T, Fault> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE;
        loop {
            match attempt(self) {
                Err(fault) if fault.is_retriable() && Instant::now() + pause < deadline => {}
                done => return done,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Topic {
    /// Groups partitions by the broker that leads them.
    pub fn by_leader(&self, partitions: &[i32]) -> Result<BTreeMap<i32, Vec<i32>>, Fault> {
        let mut groups: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for wanted in partitions {
            let found = self.partitions.iter().find(|p| p.index == *wanted);
            let place = || format!("looking for the leader of {}-{wanted}", self.name);
            let partition =
                found.ok_or_else(|| Fault::refused(place(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None))?;
            let leader = partition
                .leader
                .ok_or_else(|| Fault::refused(place(), ErrorCode::LEADER_NOT_AVAILABLE, None))?;
            groups.entry(leader).or_default().push(*wanted);
        }
        Ok(groups)
    }
}

impl From<MetadataResponseTopic> for Topic {
    fn from(topic: MetadataResponseTopic) -> Topic {
        let mut partitions: Vec<Partition> = topic
            .partitions
            .into_iter()
            .map(|p| Partition {
                index: p.partition_index,
                leader: (p.leader_id >= 0).then_some(p.leader_id),
                leader_epoch: p.leader_epoch,
                replicas: p.replica_nodes,
                isr: p.isr_nodes,
                offline: p.offline_replicas,
            })
            .collect();
        partitions.sort_by_key(|p| p.index);
        Topic {
            name: topic.name.unwrap_or_default(),
            id: topic.topic_id,
            internal: topic.is_internal,
            partitions,
        }
    }
}

/// A bootstrap server with its port, 9092 where none is given.
fn with_port(server: &str) -> Result<String> {
    let (host, port) = match server.rsplit_once(':') {
        // An IPv6 address without a port has colons too, or ends in its bracket.
        Some((host, port)) if !port.ends_with(']') && (host.ends_with(']') || !host.contains(':')) => {
            (host, port)
        }
        _ => (server, "9092"),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bad_v6 = bare.contains(':') && bare.parse::<std::net::Ipv6Addr>().is_err();
    if host.is_empty() || bad_v6 || port.parse::<u16>().is_err() {
        return Err(Failure::usage(format!("--bootstrap-server: '{server}' is not HOST:PORT"))
            .advice("For example 127.0.0.1:9092, or broker1:9092,broker2:9092."));
    }
    Ok(join_host_port(host, port))
}

fn join_host_port(host: &str, port: impl std::fmt::Display) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_port() {
        for (given, read) in [
            ("localhost", "localhost:9092"),
            ("localhost:1", "localhost:1"),
            ("::1", "[::1]:9092"),
            ("[::1]", "[::1]:9092"),
            ("[::1]:77", "[::1]:77"),
        ] {
            assert_eq!(with_port(given).unwrap(), read);
        }
        for bad in ["", ":9092", "host:x", "host:99999", "host:1:2"] {
            assert!(with_port(bad).is_err(), "{bad}");
        }
    }
}
