//! Requests by chance: the table says which fields there are, and here is what may stand in them.

use ottla::wire::api::ApiKey;
use ottla::wire::schema::{Field, Kind, Role};
use ottla::wire::uuid::Uuid;

use crate::batch::{self, PRODUCER, TIME};
use crate::generate::Chance;
use crate::link::{Asked, Harm, entry};
use crate::value::{Form, Value};

/// How often each API is asked.
const APIS: &[(ApiKey, u64)] = &[
    (ApiKey::Produce, 40),
    (ApiKey::Fetch, 24),
    (ApiKey::ListOffsets, 12),
    (ApiKey::Metadata, 6),
    (ApiKey::FindCoordinator, 2),
    (ApiKey::ListGroups, 1),
    (ApiKey::ApiVersions, 1),
    (ApiKey::CreateTopics, 3),
    (ApiKey::DeleteTopics, 2),
    (ApiKey::DeleteRecords, 6),
    (ApiKey::InitProducerId, 3),
    (ApiKey::OffsetForLeaderEpoch, 4),
    (ApiKey::DescribeAcls, 1),
    (ApiKey::CreateAcls, 1),
    (ApiKey::DeleteAcls, 1),
    (ApiKey::DescribeConfigs, 5),
    (ApiKey::AlterConfigs, 2),
    (ApiKey::AlterReplicaLogDirs, 3),
    (ApiKey::DescribeLogDirs, 3),
    (ApiKey::CreatePartitions, 2),
    (ApiKey::CreateDelegationToken, 1),
    (ApiKey::RenewDelegationToken, 1),
    (ApiKey::ExpireDelegationToken, 1),
    (ApiKey::DescribeDelegationToken, 1),
    (ApiKey::ElectLeaders, 2),
    (ApiKey::IncrementalAlterConfigs, 4),
    (ApiKey::AlterPartitionReassignments, 2),
    (ApiKey::ListPartitionReassignments, 1),
    (ApiKey::DescribeClientQuotas, 1),
    (ApiKey::DescribeUserScramCredentials, 1),
    (ApiKey::DescribeQuorum, 1),
    (ApiKey::UpdateFeatures, 1),
    (ApiKey::DescribeCluster, 1),
    (ApiKey::DescribeProducers, 5),
    (ApiKey::UnregisterBroker, 1),
    (ApiKey::ListConfigResources, 1),
    (ApiKey::DescribeTopicPartitions, 4),
];

/// Settings of topics, and values for them.
pub const SETTINGS: &[(&str, &[&str])] = &[
    ("cleanup.policy", &["compact", "delete", "compact,delete", "", "never", "delete,delete"]),
    ("message.timestamp.type", &["LogAppendTime", "CreateTime", "logappendtime"]),
    ("compression.type", &["gzip", "snappy", "lz4", "zstd", "uncompressed", "producer", "brotli"]),
    ("max.message.bytes", &["200", "0", "-1", "1048588", "many", "2147483648", " 300 "]),
    ("message.timestamp.before.max.ms", &["1000", "9223372036854775807", "-1"]),
    ("message.timestamp.after.max.ms", &["1000", "9223372036854775807", "3600000"]),
    ("retention.ms", &["-1", "-2", "9223372036854775807", "9223372036854775808"]),
    ("retention.bytes", &["-1", "1000000000", "1.5"]),
    ("segment.bytes", &["1048576", "1048575", "14", "1073741824"]),
    ("min.insync.replicas", &["1", "0", "2"]),
    ("min.cleanable.dirty.ratio", &["0.5", "1.5", "-0.1", "0", "half"]),
    ("unclean.leader.election.enable", &["true", "false", "TRUE", "yes"]),
    ("segment.ms", &["604800000", "0", "1"]),
    ("index.interval.bytes", &["4096", "-1"]),
    ("compression.gzip.level", &["-1", "1", "9", "10", "0"]),
    ("compression.zstd.level", &["3", "22", "23", "-131073"]),
    ("preallocate", &["true", "false", ""]),
    ("local.retention.ms", &["-2", "-3", "1000"]),
    ("follower.replication.throttled.replicas", &["*", "0:1", "0:1,1:1", "wrong", ""]),
];

/// What a sequence knows.
pub struct Draw<'a> {
    pub chance: &'a mut Chance,
    /// Names of topics: those that there are at first, then those that may come.
    pub topics: &'a [String],
    pub session_epoch: i64,
    api: ApiKey,
    why: Vec<&'static str>,
    /// Whether topics are named by their ids in this request.
    by_id: bool,
    /// The setting whose value comes next.
    setting: usize,
}

impl Draw<'_> {
    pub fn new<'a>(chance: &'a mut Chance, topics: &'a [String]) -> Draw<'a> {
        Draw {
            chance,
            topics,
            session_epoch: 0,
            api: ApiKey::Produce,
            why: Vec::new(),
            by_id: false,
            setting: 0,
        }
    }

    /// Any request.
    pub fn request(&mut self) -> Asked {
        let all: u64 = APIS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.chance.below(all);
        let (api, _) =
            APIS.iter().find(|(_, weight)| at.checked_sub(*weight).map(|left| at = left).is_none()).unwrap();
        self.of(*api)
    }

    /// A request of one API.
    pub fn of(&mut self, api: ApiKey) -> Asked {
        self.api = api;
        self.why.clear();
        self.by_id = self.chance.one_in(2);
        let versions = api.versions();
        let unknown = self.chance.one_in(100);
        let count = (versions.end() - versions.start() + 1) as u64;
        let version =
            if unknown { *versions.end() } else { versions.start() + self.chance.below(count) as i16 };
        let old = (api == ApiKey::Produce && self.chance.one_in(40)).then(|| self.chance.below(3) as i16);
        let version = if old.is_some() { *versions.start() } else { version };
        let form = Form { version, flexible: api.is_flexible(version) };
        let body = self.structure(entry(Role::Request(api)).fields, form);
        let harm = match self.chance.below(80) {
            0 => Harm::Cut(1 + self.chance.below(9) as usize),
            1 => Harm::Longer(1 + self.chance.below(9) as usize),
            _ => Harm::None,
        };
        if old.is_some() {
            self.why.push("old version");
        }
        let version = old.unwrap_or(version + i16::from(unknown));
        Asked { api, version, body, harm, why: self.why.clone() }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.chance.below(of.len() as u64) as usize]
    }

    fn structure(&mut self, fields: &'static [Field], form: Form) -> Value {
        let present = fields.iter().filter(|f| (f.present)(form.version));
        let sent: Vec<&Field> = present.filter(|f| f.tag.is_none() || self.chance.one_in(6)).collect();
        let mut values: Vec<(&'static str, Value)> =
            sent.iter().map(|f| (f.name, self.field(f, form))).collect();
        // A topic is named by its name or by its id.
        let is_named = |values: &[(_, Value)], of| values.iter().any(|(name, _)| *name == of);
        if is_named(&values, "name")
            && is_named(&values, "topic_id")
            && (self.api == ApiKey::Metadata || !self.chance.one_in(8))
        {
            let by_id = self.by_id;
            for (name, value) in &mut values {
                match *name {
                    // Which of the two it is must be clear.
                    "topic_id" if by_id && *value == Value::Id(Uuid([0; 16])) => {
                        *value = Value::Id(Uuid([9; 16]))
                    }
                    "name" if by_id && (self.api != ApiKey::Produce) => *value = Value::Null,
                    "name" if !by_id && *value == Value::Null => *value = Value::Text("no-such".into()),
                    "topic_id" if !by_id => *value = Value::Id(Uuid([0; 16])),
                    _ => {}
                }
            }
        }
        // What is of all sequences stays as it is.
        let broker = values.iter().any(|(name, v)| *name == "resource_type" && *v != Value::Int(2));
        if broker && matches!(self.api, ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs) {
            values
                .iter_mut()
                .filter(|(name, _)| *name == "resource_type")
                .for_each(|(_, v)| *v = Value::Int(3));
        }
        Value::Struct(values)
    }

    fn field(&mut self, field: &Field, form: Form) -> Value {
        let nullable = (field.nullable)(form.version);
        if field.name == "records" {
            let batch = batch::draw(self.chance, &mut self.why);
            return batch.map_or(Value::Null, Value::Bytes);
        }
        // Stock Kafka does not answer at all to a setting that is null.
        let nullable = nullable && !(self.api == ApiKey::AlterConfigs && field.name == "value");
        if nullable && self.chance.one_in(6) || field.name == "transactional_id" && !self.chance.one_in(12) {
            return Value::Null;
        }
        self.value(field.name, &field.kind, form)
    }

    fn value(&mut self, name: &'static str, kind: &Kind, form: Form) -> Value {
        match kind {
            Kind::String if name == "path" && !self.chance.one_in(4) => Value::OwnDir,
            Kind::Bool => Value::Bool(match (self.api, name) {
                (ApiKey::UpdateFeatures, "validate_only") | (_, "allow_replication_factor_change") => true,
                (_, "validate_only") => self.chance.one_in(4),
                _ => self.chance.one_in(2),
            }),
            Kind::F64 => Value::Float(0.0),
            Kind::Uuid => match self.chance.below(12) {
                0 => Value::Id(Uuid([0; 16])),
                1 => Value::Id(Uuid([9; 16])),
                _ => Value::IdOf(self.topic()),
            },
            Kind::String => Value::Text(self.text(name)),
            Kind::Bytes | Kind::Records => Value::Bytes(self.chance.bytes(5).into()),
            Kind::List(of) => {
                let some = name.starts_with("partition")
                    || name == "configs"
                    || self.api == ApiKey::DescribeTopicPartitions;
                let count = self.pick(&[1, 1, 1, 1, 1, 2, 2, 3, u8::from(some)]);
                let values: Vec<Value> = (0..count).map(|_| self.value(name, of, form)).collect();
                Value::List(self.without_doubles(values))
            }
            Kind::Struct(fields) => self.structure(fields, form),
            _ => self.number(name),
        }
    }

    /// No client asks for the same partition twice in one request; what changes topics has rules for it.
    fn without_doubles(&self, values: Vec<Value>) -> Vec<Value> {
        use ApiKey::{CreatePartitions, CreateTopics, DeleteTopics, IncrementalAlterConfigs};
        if [CreatePartitions, CreateTopics, DeleteTopics, IncrementalAlterConfigs].contains(&self.api) {
            return values;
        }
        let mut seen = std::collections::BTreeSet::new();
        values.into_iter().filter(|value| seen.insert(crate::link::key(value))).collect()
    }

    fn topic(&mut self) -> String {
        let at = self.pick(&[0, 0, 0, 0, 1, 1, 1, 2, 3]);
        self.topics[at].clone()
    }

    fn text(&mut self, name: &str) -> String {
        use ApiKey::{AlterConfigs, CreateTopics, DescribeConfigs, IncrementalAlterConfigs};
        let of_configs =
            matches!(self.api, AlterConfigs | CreateTopics | DescribeConfigs | IncrementalAlterConfigs);
        match name {
            "name" | "value" if of_configs && self.setting > 0 && name == "value" => {
                let (_, values) = SETTINGS[self.setting - 1];
                self.pick(values).to_owned()
            }
            "configuration_keys" => self.setting_name(),
            "name" if matches!(self.api, AlterConfigs | IncrementalAlterConfigs) => self.setting_name(),
            "name"
            | "topic"
            | "topic_name"
            | "resource_name"
            | "resource_name_filter"
            | "topic_names"
            | "principal" => match self.chance.below(24) {
                0 => self.pick(&["", "bad/name", "..", "with space", "."]).to_owned(),
                1 => "x".repeat(self.pick(&[249, 250])),
                _ => self.topic(),
            },
            "client_software_name" | "client_software_version" => {
                self.pick(&["a", "1.0", "", "-a", "a b"]).to_owned()
            }
            "feature" => self.pick(&["metadata.version", "no.such"]).to_owned(),
            "path" => self.pick(&["/no/such", "relative", ""]).to_owned(),
            "key" | "coordinator_keys" => self.pick(&["g", "h", ""]).to_owned(),
            "entity_type" => self.pick(&["user", "client-id", "ip", "none", ""]).to_owned(),
            "states_filter" => self.pick(&["Stable", "Empty", "none"]).to_owned(),
            "types_filter" => self.pick(&["classic", "consumer", "none"]).to_owned(),
            _ => self.pick(&["a", "User:a", "", "*"]).to_owned(),
        }
    }

    fn setting_name(&mut self) -> String {
        if self.chance.one_in(16) {
            self.setting = 0;
            return self.pick(&["no.such.setting", "", "Cleanup.Policy"]).to_owned();
        }
        self.setting = 1 + self.chance.below(SETTINGS.len() as u64) as usize;
        SETTINGS[self.setting - 1].0.to_owned()
    }

    fn number(&mut self, name: &str) -> Value {
        use ApiKey as A;
        let any = |draw: &mut Self, of: &[i64]| Value::Int(draw.pick(of));
        match (self.api, name) {
            (_, "acks") => any(self, &[-1, -1, -1, -1, -1, -1, 1, 1, 0, 2, -2]),
            (A::InitProducerId, "transaction_timeout_ms") => {
                any(self, &[1000, 0, -1, 60_000, i64::from(i32::MAX)])
            }
            (_, "timeout_ms") => Value::Int(30_000),
            (_, "max_wait_ms") => any(self, &[0, 0, 0, 1, -1]),
            (_, "min_bytes") => any(self, &[0, 0, 1, 1, 1 << 20, -1]),
            (A::Fetch, "max_bytes") => any(self, &[1 << 20, 1 << 20, i64::from(i32::MAX), 100, 1, 0, -1]),
            (_, "partition_max_bytes") => any(self, &[1 << 20, 1 << 20, 1 << 20, 300, 100, 1, 0, -1]),
            (_, "isolation_level") => {
                let level = self.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, -1]);
                if !(0..=1).contains(&level) {
                    self.why.push("isolation level");
                }
                Value::Int(level)
            }
            (_, "session_id") => match self.chance.below(4) {
                0 => Value::Int(self.pick(&[12_345, -1])),
                1 => Value::Session,
                _ => Value::Int(0),
            },
            (_, "session_epoch") => match self.chance.below(4) {
                0 => Value::Int(self.session_epoch),
                _ => any(self, &[-1, -1, 0, 0, 1, 2]),
            },
            (_, "replica_id") => any(self, &[-1, -1, -1, -1, -1, -1, -1, -1, -2]),
            (_, "replica_epoch") => any(self, &[-1, 0]),
            // Stock Kafka counts on from the highest.
            (A::DescribeTopicPartitions, "partition_index") => any(self, &[0, 0, 1, 2, 7]),
            (_, "partition" | "partition_index" | "partition_indexes" | "partitions" | "index") => {
                any(self, &[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 7, -1, i64::from(i32::MAX)])
            }
            (_, "current_leader_epoch") => any(self, &[-1, -1, -1, -1, 0, 0, 1, 5]),
            (_, "leader_epoch") => any(self, &[-1, 0, 0, 1, 5, -2]),
            (_, "last_fetched_epoch") => any(self, &[-1, -1, -1, -1, -1, 0, 1]),
            (_, "fetch_offset") => any(self, &[0, 0, 0, 0, 1, 2, 3, 5, 8, -1, 1000, i64::MAX]),
            (_, "log_start_offset") => any(self, &[-1, 0, 2]),
            (A::DeleteRecords, "offset") => any(self, &[-1, 0, 1, 2, 3, 5, -2, 1000]),
            (A::ListOffsets, "timestamp") => any(
                self,
                &[-1, -2, -3, -4, -5, -6, -7, 0, TIME, TIME + 1, TIME + 4, TIME + 20, i64::MAX, i64::MIN],
            ),
            (_, "num_partitions" | "count") => any(self, &[1, 1, 2, 2, 3, -1, 0, -2]),
            (_, "replication_factor") => any(self, &[1, 1, 1, 1, -1, 2, 0]),
            (_, "broker_ids" | "replicas") => any(self, &[1, 1, 1, 1, 2, -1]),
            (_, "resource_type" | "resource_types") => {
                let kind = self.pick(&[2, 2, 2, 2, 2, 2, 2, 2, 2, 16, 32, 0, 3, 77]);
                if [0, 3, 77].contains(&kind) {
                    self.why.push("resource type");
                }
                Value::Int(kind)
            }
            (_, "config_operation") => any(self, &[0, 0, 0, 0, 1, 2, 3]),
            (_, "response_partition_limit") => any(self, &[2000, 2000, 1, 2, 0, -1]),
            (_, "producer_id") => any(self, &[-1, -1, -1, PRODUCER, -2]),
            (_, "producer_epoch") => any(self, &[-1, -1, -1, 0, 5, -2]),
            (_, "key_type") => any(self, &[0, 1, 2, 3, -1]),
            (_, "endpoint_type") => any(self, &[1, 1, 1, 2, 0, 3]),
            (_, "broker_id") => any(self, &[77, -1]),
            (_, "max_version_level") => any(self, &[0, 1, 7, 25, 29, 1000, -1]),
            (_, "upgrade_type") => any(self, &[0, 1, 2, 3, 4]),
            (_, "election_type") => any(self, &[0, 1]),
            _ => any(self, &[0, 1, 2, 3, -1, 5]),
        }
    }
}
