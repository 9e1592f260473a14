//! A broker that is asked, and what its answers mean.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use ottla::wire::api::{ApiKey, RequestHeader, ResponseHeader};
use ottla::wire::batch::batches;
use ottla::wire::codec::{Reader, Writer};
use ottla::wire::schema::{Entry, Role};

use crate::value::{Form, Own, Value, read, write};

const PATIENCE: Duration = Duration::from_secs(5);
/// Times this near to the present are the present, in milliseconds.
const NEAR: i64 = 600_000;

/// Whose answers are in the request's order; others come by stock Kafka as its hash tables have them.
const ORDERED: [ApiKey; 1] = [ApiKey::DescribeTopicPartitions];

/// A request for both brokers.
#[derive(Clone)]
pub struct Asked {
    pub api: ApiKey,
    /// What stands in the header; may be none that there is.
    pub version: i16,
    pub body: Value,
    /// What is done to the bytes behind the header.
    pub harm: Harm,
    /// What is wrong with it.
    pub why: Vec<&'static str>,
}

/// What is done to a body's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    None,
    /// So many bytes are missing at the end.
    Cut(usize),
    /// There are so many more.
    Longer(usize),
}

impl Asked {
    /// Whether it is a Produce of the time before batches.
    fn is_old(&self) -> bool {
        self.api == ApiKey::Produce && self.version < *self.api.versions().start()
    }

    /// The version in which the body is written.
    fn form(&self) -> Form {
        let range = self.api.versions();
        let version = self.version.clamp(*range.start(), *range.end());
        Form { version, flexible: self.api.is_flexible(version) }
    }

    pub fn is_silent(&self) -> bool {
        self.api == ApiKey::Produce && self.body.int("acks") == Some(0)
    }
}

/// The messages of an API in the table.
pub fn entry(role: Role) -> Entry {
    ottla::wire::schema::all().find(|entry| entry.role == role).expect("it is in the table")
}

/// A connection to one of the two brokers.
pub struct Link {
    address: String,
    stream: TcpStream,
    pub own: Own,
}

impl Link {
    pub fn open(address: &str) -> Link {
        Link { address: address.to_owned(), stream: connect(address), own: Own::default() }
    }

    /// Sends a request.
    pub fn send(&mut self, asked: &Asked) {
        let form = asked.form();
        let mut w = Writer::new();
        write(entry(Role::Request(asked.api)).fields, &asked.body, form, &self.own, &mut w);
        let mut body = w.into_bytes().to_vec();
        if asked.is_old() {
            // The transactional id came later.
            let id = asked.body.text("transactional_id").map_or(0, str::len);
            body.drain(..2 + id);
        }
        match asked.harm {
            Harm::None => {}
            Harm::Cut(bytes) => body.truncate(body.len().saturating_sub(bytes)),
            Harm::Longer(bytes) => body.resize(body.len() + bytes, 0),
        }
        self.send_frame(asked.api, asked.version, &body);
        if asked.is_silent() {
            self.send_frame(ApiKey::ApiVersions, 0, &[]);
        }
    }

    fn send_frame(&mut self, api: ApiKey, version: i16, body: &[u8]) {
        let mut w = Writer::new();
        let header = RequestHeader { api, version, correlation_id: 7, client_id: Some("differ".to_owned()) };
        header.encode(&mut w).unwrap();
        let header = w.into_bytes();
        let length = ((header.len() + body.len()) as i32).to_be_bytes();
        let _ = self.stream.write_all(&[&length, &header[..], body].concat());
    }

    /// The answer; or what came instead, and then there is another connection.
    fn receive(&mut self, asked: &Asked) -> Value {
        let frame = match self.frame() {
            Ok(frame) => frame,
            Err(why) => {
                self.stream = connect(&self.address);
                self.own.session = 0;
                return Value::Text(why.to_owned());
            }
        };
        if asked.is_silent() {
            return Value::Text("silence".to_owned());
        }
        if asked.is_old() {
            return old_answer(frame, asked.version).unwrap();
        }
        let known = asked.api.versions().contains(&asked.version) || asked.api != ApiKey::ApiVersions;
        let form = if known { asked.form() } else { Form { version: 0, flexible: false } };
        let mut r = Reader::new(frame);
        ResponseHeader::decode(&mut r, asked.api, form.version).unwrap();
        let fields = entry(Role::Response(asked.api)).fields;
        let value =
            read(fields, form, &mut r).unwrap_or_else(|e| panic!("{}: {}: {e}", self.address, asked.api));
        r.finish().unwrap();
        value
    }

    fn frame(&mut self) -> Result<Bytes, &'static str> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.fill(&mut frame)?;
        Ok(frame.into())
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), &'static str> {
        use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
        match self.stream.read_exact(into) {
            Ok(()) => Ok(()),
            Err(e) if [ConnectionReset, UnexpectedEof].contains(&e.kind()) => Err("closed"),
            Err(_) => Err("no answer"),
        }
    }

    /// The answer, and what of it means the same at both brokers.
    pub fn meaning(&mut self, asked: &Asked, topics: &[String]) -> Value {
        let answer = self.receive(asked);
        if asked.api == ApiKey::Fetch
            && let Some(session) = answer.int("session_id")
        {
            self.own.session = session;
        }
        self.learn(&answer);
        self.plain(asked.api, "", answer, topics)
    }

    /// Remembers which log directory the broker has.
    pub fn learn_dir(&mut self, asked: &Asked) {
        self.send(asked);
        let answer = self.receive(asked);
        self.own.log_dir = answer.list("results")[0].text("log_dir").unwrap().to_owned();
    }

    /// Remembers the ids of topics.
    fn learn(&mut self, answer: &Value) {
        for topic in answer.list("topics") {
            if let (Some(name), Some(Value::Id(id))) = (topic.text("name"), topic.get("topic_id"))
                && id.0 != [0; 16]
            {
                self.own.ids.insert(name.to_owned(), *id);
            }
        }
    }

    fn plain(&self, api: ApiKey, name: &str, value: Value, topics: &[String]) -> Value {
        match value {
            Value::Text(_) if name.ends_with("message") => Value::Text("words".to_owned()),
            _ if ["host", "port", "cluster_id", "throttle_time_ms", "documentation"].contains(&name) => {
                Value::Null
            }
            Value::Text(path) if name == "log_dir" && path == self.own.log_dir => Value::OwnDir,
            Value::Int(bytes) if name == "total_bytes" || name == "usable_bytes" => {
                Value::Int(bytes.signum())
            }
            // Batches that are compressed anew need not have the same size.
            Value::Int(bytes) if name == "partition_size" => Value::Int(bytes.signum()),
            // The end of the metadata log.
            Value::Int(epoch) if name == "finalized_features_epoch" => Value::Int(epoch.signum()),
            Value::Int(session) if name == "session_id" => Value::Int(i64::from(session != 0)),
            Value::Int(id) if name == "producer_id" && api == ApiKey::InitProducerId => Value::Int(id.min(0)),
            Value::Int(time) if name.contains("time") && (time - now()).abs() < NEAR => {
                Value::Text("now".into())
            }
            Value::Id(id) => match self.own.ids.iter().find(|(_, known)| **known == id) {
                Some((name, _)) => Value::IdOf(name.clone()),
                None => Value::Id(id),
            },
            // Clients take both for none.
            Value::List(none) if name == "aborted_transactions" && none.is_empty() => Value::Null,
            Value::Bytes(bytes) if name == "records" => Value::List(records(&bytes)),
            Value::List(values) => {
                let mine = |value: &Value| is_mine(value, topics);
                let plain = values.into_iter().filter(mine).map(|v| self.plain(api, name, v, topics));
                let mut plain: Vec<Value> = plain.collect();
                if !ORDERED.contains(&api) {
                    plain.sort_by_cached_key(key);
                }
                Value::List(if api == ApiKey::Fetch && name == "responses" { joined(plain) } else { plain })
            }
            Value::Struct(fields) => {
                let plain = |(name, value)| (name, self.plain(api, name, value, topics));
                Value::Struct(fields.into_iter().map(plain).collect())
            }
            value => value,
        }
    }
}

/// What is answered to a Produce of the time before batches: topics with partitions and their errors.
fn old_answer(frame: Bytes, version: i16) -> Result<Value, ottla::wire::codec::DecodeError> {
    let mut r = Reader::new(frame);
    r.skip(4)?;
    let mut topics = Vec::new();
    for _ in 0..r.elements(false, 1)?.unwrap_or(0) {
        let (name, mut parts) = (Value::Text(r.string(false)?), Vec::new());
        for _ in 0..r.elements(false, 1)?.unwrap_or(0) {
            let index = ("index", Value::Int(r.i32()?.into()));
            parts.push(Value::Struct(vec![index, ("error_code", Value::Error(r.i16()?))]));
            r.skip(if version < 2 { 8 } else { 16 })?;
        }
        topics.push(Value::Struct(vec![("name", name), ("partition_responses", Value::List(parts))]));
    }
    r.skip(if version < 1 { 0 } else { 4 })?;
    r.finish()?;
    Ok(Value::Struct(vec![("responses", Value::List(topics))]))
}

/// Stock Kafka may tell of the partitions of a topic in two places.
fn joined(topics: Vec<Value>) -> Vec<Value> {
    let mut all = Vec::new();
    for topic in &topics {
        let name = topic.get("topic").or(topic.get("topic_id")).unwrap().clone();
        let each = topic.list("partitions").iter();
        all.extend(
            each.map(|part| Value::Struct(vec![("topic", name.clone()), ("partition", part.clone())])),
        );
    }
    all.sort_by_cached_key(|part| (key(part), part.get("partition").and_then(|p| p.int("partition_index"))));
    all
}

/// By what an element of a list is known.
pub fn key(value: &Value) -> String {
    const NAMES: [&str; 12] = [
        "name",
        "topic",
        "topic_id",
        "topic_name",
        "resource_name",
        "resource_type",
        "partition",
        "partition_index",
        "index",
        "producer_id",
        "node_id",
        "user",
    ];
    let Value::Struct(_) = value else { return format!("{value:?}") };
    NAMES.iter().filter_map(|name| value.get(name)).map(|value| format!("{value:?} ")).collect()
}

/// Answers about everything tell of other sequences' topics too.
fn is_mine(value: &Value, topics: &[String]) -> bool {
    let name = value.text("name").or(value.text("resource_name")).or(value.text("topic"));
    let of = |name: &str| name.starts_with(crate::PREFIX) || name.starts_with("__");
    name.is_none_or(|name| !of(name) || topics.iter().any(|topic| topic == name))
}

/// Batches as they are read, without what differs in every run.
fn records(bytes: &[u8]) -> Vec<Value> {
    let now = now();
    let time = |time: i64| match (time - now).abs() < NEAR {
        true => Value::Text("now".into()),
        false => Value::Int(time),
    };
    let each = |batch: Result<ottla::wire::batch::Batch<'_>, _>| match batch {
        Err(e) => Value::Text(format!("{e:?}").split(' ').next().unwrap_or_default().to_owned()),
        Ok(batch) => Value::Struct(vec![
            ("base_offset", Value::Int(batch.base_offset())),
            ("leader_epoch", Value::Int(batch.leader_epoch().into())),
            ("crc_is_right", Value::Bool(batch.check().is_ok())),
            ("attributes", Value::Int(batch.attributes().into())),
            ("last_offset_delta", Value::Int(batch.last_offset_delta().into())),
            ("max_timestamp", time(batch.max_timestamp())),
            ("producer_id", Value::Int(batch.producer_id())),
            ("producer_epoch", Value::Int(batch.producer_epoch().into())),
            ("base_sequence", Value::Int(batch.base_sequence().into())),
            ("count", Value::Int(batch.count().into())),
            ("content", content(&batch)),
        ]),
    };
    batches(bytes).map(each).collect()
}

/// The records, whatever the compression and the base of their times.
fn content(batch: &ottla::wire::batch::Batch<'_>) -> Value {
    let set = batch.open(16 << 20);
    let each = |record: Result<ottla::wire::batch::Record<'_>, _>| match record {
        Err(_) => Value::Text("damaged".into()),
        Ok(record) => {
            let near = (record.timestamp - now()).abs() < NEAR;
            let time = if near { "now".to_owned() } else { record.timestamp.to_string() };
            let headers: Vec<_> = record.headers.collect();
            Value::Text(format!("{} {time} {:?} {:?} {headers:?}", record.offset, record.key, record.value))
        }
    };
    set.map_or_else(|_| Value::Text("damaged".into()), |set| Value::List(set.iter().map(each).collect()))
}

pub fn now() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
