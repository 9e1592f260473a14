//! What a node goes by: a Kafka `server.properties`, accepted as it stands, with the command line over it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::layers::{Layers, Overrides};
use super::listeners::{self, Endpoint, ProtocolMap, SecurityProtocol};
use super::nearest::did_you_mean;
use super::properties;
use super::settings::{self, Effect, listener_base};
use super::value::{Value, parse};

/// A node's settings.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// What was given, for topics' defaults and DescribeConfigs.
    pub layers: Layers,
    /// `node.id`
    pub node_id: i32,
    /// `broker.rack`
    pub rack: Option<String>,
    /// `listeners`, without those of the controller, which are not opened.
    pub listeners: Vec<Endpoint>,
    /// `advertised.listeners`: one for each of `listeners`, in their order. An empty host is the machine's name.
    pub advertised: Vec<Endpoint>,
    /// The listener through which brokers talk with one another.
    pub inter_broker_listener: String,
    /// `log.dirs`, or `log.dir`.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, or the first log directory.
    pub metadata_log_dir: PathBuf,
    /// `metadata.log.segment.bytes`
    pub metadata_log_segment_bytes: u32,
    /// `metadata.log.segment.ms`
    pub metadata_log_segment_ms: u64,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `delete.topic.enable`
    pub delete_topics: bool,
    /// `socket.request.max.bytes`
    pub socket_request_max_bytes: usize,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// `max.connections`
    pub max_connections: usize,
    /// What `max.connections` may be at most, whoever sets it: the logs need open files too.
    pub max_connections_most: usize,
    /// `connections.max.idle.ms`; none for ever.
    pub connections_max_idle_ms: Option<u64>,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval_ms: u64,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_id_expiration_check_ms: u64,
    /// `log.cleaner.enable`
    pub cleaner: bool,
    /// `replica.high.watermark.checkpoint.interval.ms`
    pub high_watermark_checkpoint_interval_ms: u64,
    /// What the operator should know of the file.
    pub notes: Vec<Note>,
}

/// Something about a given setting that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it was given.
    pub at: Place,
    /// The setting.
    pub setting: String,
    /// What is about it.
    pub kind: NoteKind,
}

/// What is about a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// It does nothing here, for this reason.
    Ignored(&'static str),
    /// What it governs is not built yet.
    Later,
    /// Kafka 4 does not have it any more.
    Gone,
    /// Neither Kafka nor Ottla has it; perhaps this one was meant.
    Unknown(Option<&'static str>),
    /// It is given again further down, which counts.
    GivenAgain(usize),
    /// Something else.
    Other(&'static str),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.at, self.setting)?;
        match &self.kind {
            NoteKind::Ignored(why) => write!(f, "ignored: {why}"),
            NoteKind::Later => write!(f, "understood, but what it governs is not built yet"),
            NoteKind::Gone => write!(f, "ignored: Kafka 4 does not have it any more"),
            NoteKind::Unknown(None) => write!(f, "ignored: there is no such setting"),
            NoteKind::Unknown(Some(meant)) => {
                write!(f, "ignored: there is no such setting. Did you mean '{meant}'?")
            }
            NoteKind::GivenAgain(line) => write!(f, "given again on line {line}, which counts"),
            NoteKind::Other(what) => f.write_str(what),
        }
    }
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a line of the file, from 1.
    Line(String, usize),
    /// On the command line.
    CommandLine,
    /// Nowhere: it is the default, or it is missing.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(file, line) => write!(f, "{file}, line {line}"),
            Place::CommandLine => write!(f, "on the command line"),
            Place::Nowhere => write!(f, "by default"),
        }
    }
}

/// A setting with which the node cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was given.
    pub at: Place,
    /// The setting.
    pub setting: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.at, self.setting, self.what)
    }
}

/// Everything with which the node cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Settings of Kafka before 4.0 that are still found in files.
const GONE: &[&str] = &[
    "advertised.host.name",
    "advertised.port",
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "group.coordinator.new.enable",
    "host.name",
    "inter.broker.protocol.version",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "offsets.commit.required.acks",
    "port",
    "reserved.broker.max.id",
    "zookeeper.",
    "password.encoder.",
];

impl BrokerConfig {
    /// A node that was told nothing.
    pub fn defaults() -> BrokerConfig {
        BrokerConfig::read("", "", &[]).expect("the table's defaults are valid")
    }

    /// Reads the text of a properties file, called `file` in messages, and lays `command_line` over it.
    pub fn read(text: &str, file: &str, command_line: &[(String, String)]) -> Result<BrokerConfig, Problems> {
        let mut reading = Reading::default();
        match properties::parse(text) {
            Ok(entries) => reading.take_file(file, entries),
            Err(bad) => {
                let at = Place::Line(file.to_owned(), bad.line);
                return Err(Problems(vec![Problem {
                    at,
                    setting: "the file".into(),
                    what: bad.to_string(),
                }]));
            }
        }
        for (name, value) in command_line {
            reading.given.insert(name.clone(), value.clone());
            reading.places.insert(name.clone(), Place::CommandLine);
        }
        reading.check_each();
        reading.resolve()
    }

    /// Tells the machine's name to the advertised endpoints that have no host.
    pub fn advertise_as(&mut self, host: &str) {
        for endpoint in self.advertised.iter_mut().filter(|endpoint| endpoint.host.is_empty()) {
            endpoint.host = host.to_owned();
        }
    }
}

#[derive(Default)]
struct Reading {
    given: Overrides,
    places: BTreeMap<String, Place>,
    notes: Vec<Note>,
    problems: Vec<Problem>,
}

impl Reading {
    fn take_file(&mut self, file: &str, entries: Vec<properties::Entry>) {
        for entry in entries {
            let place = Place::Line(file.to_owned(), entry.line);
            if let Some(at) = self.places.insert(entry.key.clone(), place) {
                let kind = NoteKind::GivenAgain(entry.line);
                self.notes.push(Note { at, setting: entry.key.clone(), kind });
            }
            self.given.insert(entry.key, entry.value);
        }
    }

    fn place(&self, name: &str) -> Place {
        self.places.get(name).cloned().unwrap_or(Place::Nowhere)
    }

    fn problem(&mut self, setting: &str, what: impl Into<String>) {
        self.problems.push(Problem {
            at: self.place(setting),
            setting: setting.to_owned(),
            what: what.into(),
        });
    }

    fn note(&mut self, setting: &str, kind: NoteKind) {
        self.notes.push(Note { at: self.place(setting), setting: setting.to_owned(), kind });
    }

    /// Each given setting against its row of the table.
    fn check_each(&mut self) {
        for (name, text) in self.given.clone() {
            let row = settings::broker().get(&name).or_else(|| settings::broker().get(listener_base(&name)?));
            let Some(row) = row else {
                let gone = GONE.iter().any(|old| match old.ends_with('.') {
                    true => name.starts_with(old),
                    false => name == *old,
                });
                let kind = match gone {
                    true => NoteKind::Gone,
                    false => NoteKind::Unknown(settings::broker().nearest(&name)),
                };
                // A word of ours on the command line cannot be meant for a Java plugin.
                if self.place(&name) == Place::CommandLine {
                    let names = settings::broker().rows().iter().map(|row| row.name);
                    self.problem(&name, format!("there is no such setting.{}", did_you_mean(&name, names)));
                } else {
                    self.note(&name, kind);
                }
                continue;
            };
            if let Err(bad) = parse(row, &text) {
                self.problem(&name, bad.to_string());
            }
            match row.effect {
                Effect::Acts => {}
                Effect::Later => self.note(&name, NoteKind::Later),
                Effect::Ignored(why) => self.note(&name, NoteKind::Ignored(why)),
                Effect::Refused(why) if !text.trim().is_empty() => self.problem(
                    &name,
                    format!("cannot be honoured: {why}. Remove the line to start without it"),
                ),
                Effect::Refused(_) => {}
            }
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        let row = settings::broker().get(name)?;
        let given = self.given.get(name).and_then(|text| parse(row, text).ok());
        given.map(|value| value.to_string()).or_else(|| row.default.map(str::to_owned))
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn unsigned(&self, name: &str) -> u64 {
        u64::try_from(self.number(name)).unwrap_or(0)
    }

    fn yes(&self, name: &str) -> bool {
        self.text(name).as_deref() == Some("true")
    }

    fn list(&self, name: &str) -> Vec<String> {
        let row = settings::broker().get(name).expect("a broker setting of the table");
        match self.text(name).map(|text| parse(row, &text)) {
            Some(Ok(Value::List(list))) => list.into_iter().filter(|item| !item.is_empty()).collect(),
            _ => Vec::new(),
        }
    }

    fn resolve(mut self) -> Result<BrokerConfig, Problems> {
        let told_nothing = self.given.is_empty();
        let node_id = self.node_id();
        let (listeners, advertised) = self.endpoints(told_nothing);
        let inter_broker_listener = self.inter_broker_listener(&listeners);
        let log_dirs = self.log_dirs();
        self.check_retention();
        if self.given.contains_key("process.roles")
            && !self.list("process.roles").contains(&"broker".to_owned())
        {
            self.problem(
                "process.roles",
                "a node is always a broker here: write process.roles=broker,controller",
            );
        }
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        let metadata_log_dir =
            self.text("metadata.log.dir").map_or_else(|| log_dirs[0].clone(), PathBuf::from);
        let metadata_segment = match self.number("internal.metadata.log.segment.bytes") {
            0 => self.number("metadata.log.segment.bytes"),
            bytes => bytes,
        };
        Ok(BrokerConfig {
            node_id,
            rack: self.text("broker.rack"),
            listeners,
            advertised,
            inter_broker_listener,
            metadata_log_dir,
            log_dirs,
            metadata_log_segment_bytes: metadata_segment as u32,
            metadata_log_segment_ms: self.unsigned("metadata.log.segment.ms"),
            num_partitions: self.number("num.partitions") as i32,
            default_replication_factor: self.number("default.replication.factor").clamp(1, i16::MAX.into())
                as i16,
            auto_create_topics: self.yes("auto.create.topics.enable"),
            delete_topics: self.yes("delete.topic.enable"),
            socket_request_max_bytes: self.unsigned("socket.request.max.bytes") as usize,
            fetch_max_bytes: self.unsigned("fetch.max.bytes") as usize,
            fetch_session_slots: self.unsigned("max.incremental.fetch.session.cache.slots") as usize,
            max_connections: self.unsigned("max.connections") as usize,
            max_connections_most: usize::MAX,
            connections_max_idle_ms: u64::try_from(self.number("connections.max.idle.ms")).ok(),
            retention_check_interval_ms: self.unsigned("log.retention.check.interval.ms"),
            producer_id_expiration_ms: self.number("producer.id.expiration.ms"),
            producer_id_expiration_check_ms: self.unsigned("producer.id.expiration.check.interval.ms"),
            cleaner: self.yes("log.cleaner.enable"),
            high_watermark_checkpoint_interval_ms: self
                .unsigned("replica.high.watermark.checkpoint.interval.ms"),
            layers: Layers::of_file(self.given),
            notes: self.notes,
        })
    }

    fn node_id(&mut self) -> i32 {
        let node = self.given.contains_key("node.id").then(|| self.number("node.id"));
        let broker = Some(self.number("broker.id")).filter(|id| *id >= 0);
        if let (Some(node), Some(broker)) = (node, broker)
            && node != broker
        {
            self.problem("broker.id", format!("it is {broker}, but node.id is {node}: remove broker.id"));
        }
        let id = node.or(broker).unwrap_or(1) as i32;
        for name in ["node.id", "broker.id"] {
            self.given.insert(name.to_owned(), id.to_string());
        }
        id
    }

    fn endpoints(&mut self, told_nothing: bool) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let map = self.text("listener.security.protocol.map").unwrap_or_default();
        let map = ProtocolMap::parse(&map).unwrap_or_else(|what| {
            self.problem("listener.security.protocol.map", what);
            ProtocolMap::default()
        });
        let controllers: Vec<String> =
            self.list("controller.listener.names").iter().map(|name| name.to_uppercase()).collect();
        let mut listeners = self.endpoint_list("listeners", &map, &controllers);
        let mut advertised = self.endpoint_list("advertised.listeners", &map, &controllers);
        if let Some((a, b)) = listeners::same_port(&listeners) {
            let what = format!("{a} and {b} cannot share a port: give each its own");
            self.problem("listeners", what);
        }
        listeners.retain(|endpoint| !controllers.contains(&endpoint.name));
        advertised.retain(|endpoint| !controllers.contains(&endpoint.name));
        if !self.given.contains_key("listeners") && !told_nothing {
            self.note("listeners", NoteKind::Other(
                "not given, so only this machine can connect; write listeners=PLAINTEXT://:9092 to let others in",
            ));
        }
        if listeners.is_empty() && self.problems.is_empty() {
            self.problem("listeners", "no listener for clients is left: write listeners=PLAINTEXT://:9092");
        }
        if let Some(secured) =
            listeners.iter().find(|endpoint| endpoint.protocol != SecurityProtocol::Plaintext)
        {
            let what = format!(
                "{secured} speaks {}, which is not built yet: only PLAINTEXT listeners can be opened",
                secured.protocol
            );
            self.problem("listeners", what);
        }
        let advertised = self.match_advertised(&listeners, advertised);
        (listeners, advertised)
    }

    fn endpoint_list(&mut self, name: &str, map: &ProtocolMap, controllers: &[String]) -> Vec<Endpoint> {
        let text = self.text(name).unwrap_or_default();
        listeners::parse(&text, map, controllers).unwrap_or_else(|what| {
            self.problem(name, what);
            Vec::new()
        })
    }

    /// One advertised endpoint for each listener.
    fn match_advertised(&mut self, listeners: &[Endpoint], given: Vec<Endpoint>) -> Vec<Endpoint> {
        const SETTING: &str = "advertised.listeners";
        for endpoint in &given {
            if !listeners.iter().any(|listener| listener.name == endpoint.name) && !listeners.is_empty() {
                let what = format!("{endpoint}: there is no listener {} to advertise", endpoint.name);
                self.problem(SETTING, what);
            }
            if endpoint.is_everywhere() && !endpoint.host.is_empty() {
                let what = format!("{endpoint}: no client can connect to {}: name a host", endpoint.host);
                self.problem(SETTING, what);
            }
        }
        let named =
            |listener: &Endpoint| given.iter().find(|endpoint| endpoint.name == listener.name).cloned();
        let itself = |listener: &Endpoint| match listener.is_everywhere() {
            true => Endpoint { host: String::new(), ..listener.clone() },
            false => listener.clone(),
        };
        if !given.is_empty()
            && let Some(missing) = listeners.iter().find(|listener| named(listener).is_none())
        {
            let what = format!("the listener {} is missing: advertise each of the listeners", missing.name);
            self.problem(SETTING, what);
        }
        listeners.iter().map(|listener| named(listener).unwrap_or_else(|| itself(listener))).collect()
    }

    fn inter_broker_listener(&mut self, listeners: &[Endpoint]) -> String {
        let name = self.text("inter.broker.listener.name").map(|name| name.to_uppercase());
        let protocol = self.text("security.inter.broker.protocol").unwrap_or_default();
        if name.is_some() && self.given.contains_key("security.inter.broker.protocol") {
            self.problem(
                "inter.broker.listener.name",
                "give this or security.inter.broker.protocol, not both",
            );
        }
        let given = name.is_some();
        let name = name.unwrap_or(protocol);
        if listeners.is_empty() || listeners.iter().any(|listener| listener.name == name) {
            return name;
        }
        if given {
            self.problem("inter.broker.listener.name", format!("there is no listener {name}"));
        }
        listeners[0].name.clone()
    }

    fn log_dirs(&mut self) -> Vec<PathBuf> {
        let name = if self.given.contains_key("log.dirs") { "log.dirs" } else { "log.dir" };
        let dirs = self.list(name);
        if dirs.is_empty() {
            self.problem(name, "name at least one folder");
        }
        if let Some(twice) = dirs.iter().enumerate().find(|(i, dir)| dirs[..*i].contains(dir)) {
            self.problem(name, format!("the folder {} stands there twice", twice.1));
        }
        dirs.into_iter().map(PathBuf::from).collect()
    }

    /// A broker-wide retention of nothing is a slip; -1 is for ever.
    fn check_retention(&mut self) {
        for name in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
            if self.given.contains_key(name) && self.text(name).as_deref() == Some("0") {
                self.problem(name, "must be unlimited (-1), or equal or greater than 1");
            }
        }
    }
}

#[cfg(test)]
mod tests;
