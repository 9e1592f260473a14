//! The two brokers, and a sequence of requests to both.

use std::time::{Duration, Instant};

use ottla::wire::api::ApiKey;
use ottla::wire::uuid::Uuid;

use crate::PREFIX;
use crate::broker::{Broker, Folder, free_address};
use crate::draw::Draw;
use crate::generate::Chance;
use crate::link::{Asked, Harm, Link};
use crate::stock::Stock;
use crate::value::{Difference, Value, compare};

const SETTINGS: [&str; 6] = [
    // The records' times are of another year.
    "log.retention.ms=-1",
    // Ottla's default (README).
    "log.flush.interval.messages=1",
    "auto.create.topics.enable=false",
    "max.incremental.fetch.session.cache.slots=100000",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.num.partitions=1",
];
/// How long stock Kafka may take to learn of a change.
const LEARNS: Duration = Duration::from_secs(60);

/// Ottla and stock Kafka, side by side.
pub struct Pair {
    ours: Link,
    stock: Link,
    _run: (Option<Broker>, Option<Stock>),
}

/// The first answer of a sequence that differs.
pub struct Found {
    pub asked: Asked,
    pub differences: Vec<Difference>,
    ours: Value,
    stock: Value,
    before: Vec<String>,
}

impl Found {
    /// What all differences of the same cause have in common.
    pub fn kind(&self) -> String {
        let d = &self.differences[0];
        let short = |text: &str| text.chars().take(40).collect::<String>();
        format!("{} {} {} {} {:?}", self.asked.api, d.path, short(&d.ours), short(&d.stock), self.asked.why)
    }

    pub fn tell(&self, seed: u64, number: u64) -> String {
        let clip = |text: String| text.chars().take(1500).collect::<String>();
        format!(
            "OTTLA_SEED={seed} OTTLA_SEQUENCES={number}..{}: {}\nbefore: {}\nasked: {}\nours: {}\nstock: {}\n{:?}",
            number + 1,
            self.asked.api,
            self.before.join("\n        "),
            told(&self.asked),
            clip(format!("{:?}", self.ours)),
            clip(format!("{:?}", self.stock)),
            self.differences.iter().take(4).collect::<Vec<_>>(),
        )
    }
}

fn told(asked: &Asked) -> String {
    let harm = if asked.harm == Harm::None { String::new() } else { format!("{:?}", asked.harm) };
    format!("{} {} {:?} {harm} {:?}", asked.api, asked.version, asked.why, asked.body)
}

impl Pair {
    pub fn start() -> Pair {
        let stock = std::env::var("OTTLA_TEST_STOCK").is_err().then(|| Stock::start(&SETTINGS));
        let ours = std::env::var("OTTLA_TEST_BOOTSTRAP").is_err().then(broker);
        let address =
            |name: &str, own: Option<&String>| own.cloned().unwrap_or_else(|| std::env::var(name).unwrap());
        let mut pair = Pair {
            ours: Link::open(&address("OTTLA_TEST_BOOTSTRAP", ours.as_ref().map(|b| &b.address))),
            stock: Link::open(&address("OTTLA_TEST_STOCK", stock.as_ref().map(|b| &b.address))),
            _run: (ours, stock),
        };
        // Stock Kafka writes this down when its folder is formatted.
        let config = vec![
            ("name", Value::Text("min.insync.replicas".into())),
            ("config_operation", Value::Int(0)),
            ("value", Value::Text("1".into())),
        ];
        let cluster = vec![
            ("resource_type", Value::Int(4)),
            ("resource_name", Value::Text(String::new())),
            ("configs", Value::List(vec![Value::Struct(config)])),
        ];
        let fields = vec![
            ("resources", Value::List(vec![Value::Struct(cluster)])),
            ("validate_only", Value::Bool(false)),
        ];
        pair.ask(&request(ApiKey::IncrementalAlterConfigs, 1, fields), &[]);
        let dirs = request(ApiKey::DescribeLogDirs, 4, vec![("topics", Value::Null)]);
        for link in [&mut pair.ours, &mut pair.stock] {
            link.learn_dir(&dirs);
        }
        pair.wait_for_producer_ids();
        pair.wait_for_coordinators();
        pair
    }

    /// Stock Kafka has none at first.
    fn wait_for_producer_ids(&mut self) {
        let fields = vec![
            ("transactional_id", Value::Null),
            ("transaction_timeout_ms", Value::Int(1000)),
            ("producer_id", Value::Int(-1)),
            ("producer_epoch", Value::Int(-1)),
        ];
        let asked = request(ApiKey::InitProducerId, 4, fields);
        while self.ask(&asked, &[]).1.get("error_code") != Some(&Value::Error(0)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stock Kafka makes the topics of groups and of transactions when it is first asked who coordinates one.
    fn wait_for_coordinators(&mut self) {
        for key_type in [0, 1] {
            let fields = vec![("key", Value::Text("g".into())), ("key_type", Value::Int(key_type))];
            let asked = request(ApiKey::FindCoordinator, 2, fields);
            while self.ask(&asked, &[]).1.get("error_code") != Some(&Value::Error(0)) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Both answers.
    fn ask(&mut self, asked: &Asked, topics: &[String]) -> (Value, Value) {
        self.ours.send(asked);
        self.stock.send(asked);
        (self.ours.meaning(asked, topics), self.stock.meaning(asked, topics))
    }

    /// Makes the topics of many sequences at once.
    pub fn prepare(&mut self, sequences: &mut [Sequence]) {
        for link in [&mut self.ours, &mut self.stock] {
            link.own.ids.clear();
        }
        let topics: Vec<Value> = sequences.iter_mut().flat_map(Sequence::first_topics).collect();
        let asked = request(
            ApiKey::CreateTopics,
            7,
            vec![
                ("topics", Value::List(topics)),
                ("timeout_ms", Value::Int(60_000)),
                ("validate_only", Value::Bool(false)),
            ],
        );
        let names: Vec<String> = sequences.iter().flat_map(|s| s.topics[..2].to_vec()).collect();
        let (ours, stock) = self.ask(&asked, &names);
        for answer in [&ours, &stock] {
            let errors =
                answer.list("topics").iter().filter(|t| t.get("error_code") != Some(&Value::Error(0)));
            assert_eq!(errors.count(), 0, "{answer:?}");
        }
        let differs = self.settle(&names);
        assert!(differs.is_none(), "{}", differs.map(|found| found.tell(0, 0)).unwrap_or_default());
        let asked = offsets(&names, -1);
        let deadline = Instant::now() + LEARNS;
        loop {
            let (_, stock) = self.ask(&asked, &names);
            let text = format!("{stock:?}");
            if text.matches("error_code: NONE").count() >= 2 * names.len() - names.len() / 2
                || Instant::now() > deadline
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Deletes them.
    pub fn clear(&mut self, sequences: &[Sequence]) {
        let names: Vec<String> = sequences.iter().flat_map(|s| s.topics.clone()).collect();
        let asked = request(
            ApiKey::DeleteTopics,
            5,
            vec![
                ("topic_names", Value::List(names.iter().cloned().map(Value::Text).collect())),
                ("timeout_ms", Value::Int(60_000)),
            ],
        );
        self.ask(&asked, &names);
    }

    /// Waits until stock Kafka's broker knows of all changes; what differs after a long time is given back.
    fn settle(&mut self, names: &[String]) -> Option<Found> {
        let deadline = Instant::now() + LEARNS;
        loop {
            let mut all = state(names).into_iter().chain([offsets(names, -1)]);
            let differs = all.find_map(|asked| {
                let (ours, stock) = self.ask(&asked, names);
                found(asked, ours, stock, &[])
            });
            if differs.is_none() {
                // The broker's metadata changes a moment before its logs' settings do.
                std::thread::sleep(Duration::from_millis(8));
                return None;
            }
            if Instant::now() > deadline {
                return differs;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn broker() -> Broker {
    let folder = Folder::new();
    let config = folder.0.join("server.properties");
    std::fs::write(&config, SETTINGS.join("\n")).unwrap();
    let address = free_address();
    let arguments = ["--config", config.to_str().unwrap(), "--listen", &address].map(str::to_owned).to_vec();
    let mut broker = Broker::with(folder, address, arguments);
    broker.begin();
    broker.wait();
    broker
}

fn request(api: ApiKey, version: i16, fields: Vec<(&'static str, Value)>) -> Asked {
    Asked { api, version, body: Value::Struct(fields), harm: Harm::None, why: Vec::new() }
}

/// Asks for what the controller knows of topics.
fn state(names: &[String]) -> Vec<Asked> {
    let topics = names.iter().map(|name| {
        Value::Struct(vec![("topic_id", Value::Id(Uuid([0; 16]))), ("name", Value::Text(name.clone()))])
    });
    let resources = names.iter().map(|name| {
        let name = Value::Text(name.clone());
        Value::Struct(vec![
            ("resource_type", Value::Int(2)),
            ("resource_name", name),
            ("configuration_keys", Value::List(keys())),
        ])
    });
    vec![
        request(
            ApiKey::Metadata,
            12,
            vec![
                ("topics", Value::List(topics.collect())),
                ("allow_auto_topic_creation", Value::Bool(false)),
                ("include_topic_authorized_operations", Value::Bool(false)),
            ],
        ),
        request(
            ApiKey::DescribeConfigs,
            4,
            vec![
                ("resources", Value::List(resources.collect())),
                ("include_synonyms", Value::Bool(false)),
                ("include_documentation", Value::Bool(false)),
            ],
        ),
    ]
}

fn keys() -> Vec<Value> {
    crate::draw::SETTINGS.iter().map(|(name, _)| Value::Text((*name).to_owned())).collect()
}

fn partitions(of: &[i64], fields: &[(&'static str, Value)]) -> Value {
    let each = |at: &i64, name| [vec![(name, Value::Int(*at))], fields.to_vec()].concat();
    let name =
        if fields.iter().any(|(name, _)| *name == "fetch_offset") { "partition" } else { "partition_index" };
    Value::List(of.iter().map(|at| Value::Struct(each(at, name))).collect())
}

fn offsets(names: &[String], timestamp: i64) -> Asked {
    let fields = [("current_leader_epoch", Value::Int(-1)), ("timestamp", Value::Int(timestamp))];
    let topic = |name: &String| {
        Value::Struct(vec![("name", Value::Text(name.clone())), ("partitions", partitions(&[0, 1], &fields))])
    };
    request(
        ApiKey::ListOffsets,
        10,
        vec![
            ("replica_id", Value::Int(-1)),
            ("isolation_level", Value::Int(0)),
            ("topics", Value::List(names.iter().map(topic).collect())),
            ("timeout_ms", Value::Int(30_000)),
        ],
    )
}

/// Everything from an offset on.
fn fetch(names: &[String], offset: i64) -> Asked {
    let fields = [
        ("current_leader_epoch", Value::Int(-1)),
        ("fetch_offset", Value::Int(offset)),
        ("last_fetched_epoch", Value::Int(-1)),
        ("log_start_offset", Value::Int(-1)),
        ("partition_max_bytes", Value::Int(1 << 20)),
    ];
    let topic = |name: &String| {
        Value::Struct(vec![
            ("topic", Value::Text(name.clone())),
            ("partitions", partitions(&[0, 1], &fields)),
        ])
    };
    request(
        ApiKey::Fetch,
        12,
        vec![
            ("replica_id", Value::Int(-1)),
            ("max_wait_ms", Value::Int(0)),
            ("min_bytes", Value::Int(0)),
            ("max_bytes", Value::Int(1 << 20)),
            ("isolation_level", Value::Int(0)),
            ("session_id", Value::Int(0)),
            ("session_epoch", Value::Int(-1)),
            ("topics", Value::List(names.iter().map(topic).collect())),
            ("forgotten_topics_data", Value::List(Vec::new())),
            ("rack_id", Value::Text(String::new())),
        ],
    )
}

fn producers(names: &[String]) -> Asked {
    let topic = |name: &String| {
        let all = Value::List(vec![Value::Int(0), Value::Int(1)]);
        Value::Struct(vec![("name", Value::Text(name.clone())), ("partition_indexes", all)])
    };
    request(ApiKey::DescribeProducers, 0, vec![("topics", Value::List(names.iter().map(topic).collect()))])
}

fn found(asked: Asked, ours: Value, stock: Value, before: &[String]) -> Option<Found> {
    let mut differences = Vec::new();
    compare("", &ours, &stock, &mut differences);
    (!differences.is_empty()).then(|| Found { asked, differences, ours, stock, before: before.to_vec() })
}

/// A handful of requests, and the topics that they are about.
pub struct Sequence {
    pub number: u64,
    /// How many requests it has sent.
    pub asked: u64,
    chance: Chance,
    topics: Vec<String>,
}

impl Sequence {
    pub fn new(seed: u64, number: u64) -> Sequence {
        // A broker that runs already may know the names of an earlier run.
        let run = std::process::id();
        let topics = ["a", "b", "c", "d"].map(|of| format!("{PREFIX}{run}-{number}-{of}"));
        let chance =
            Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Sequence { number, asked: 0, chance, topics: topics.to_vec() }
    }

    /// One topic of two partitions, and one of one that has a setting of its own.
    fn first_topics(&mut self) -> Vec<Value> {
        const OWN: [(&str, &str); 12] = [
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "gzip"),
            ("compression.type", "uncompressed"),
            ("compression.type", "zstd"),
            ("compression.type", "lz4"),
            ("compression.type", "snappy"),
            ("max.message.bytes", "200"),
            ("message.timestamp.before.max.ms", "1000"),
            ("message.timestamp.after.max.ms", "9223372036854775807"),
            ("retention.ms", "-1"),
        ];
        let (name, value) = OWN[self.chance.below(12) as usize];
        let config = vec![("name", Value::Text(name.into())), ("value", Value::Text(value.into()))];
        let topic = |name: &String, partitions, configs| {
            Value::Struct(vec![
                ("name", Value::Text(name.clone())),
                ("num_partitions", Value::Int(partitions)),
                ("replication_factor", Value::Int(1)),
                ("assignments", Value::List(Vec::new())),
                ("configs", Value::List(configs)),
            ])
        };
        // Old records stay where retention does not look for them: theirs is a week.
        let keep = || {
            Value::Struct(vec![
                ("name", Value::Text("retention.ms".into())),
                ("value", Value::Text("-1".into())),
            ])
        };
        let configs = if name == "retention.ms" { vec![keep()] } else { vec![keep(), Value::Struct(config)] };
        vec![topic(&self.topics[0], 2, vec![keep()]), topic(&self.topics[1], 1, configs)]
    }

    /// Sends its requests until an answer differs.
    pub fn run(&mut self, pair: &mut Pair) -> Option<Found> {
        let (mut before, mut why) = (Vec::new(), Vec::new());
        let mut epoch = 0;
        for link in [&mut pair.ours, &mut pair.stock] {
            link.own.session = 0;
        }
        for _ in 0..3 + self.chance.below(8) {
            let mut draw = Draw::new(&mut self.chance, &self.topics);
            draw.session_epoch = epoch;
            let asked = draw.request();
            let (ours, stock) = pair.ask(&asked, &self.topics);
            self.asked += 1;
            let changes = matches!(
                asked.api,
                ApiKey::CreateTopics
                    | ApiKey::DeleteTopics
                    | ApiKey::CreatePartitions
                    | ApiKey::AlterConfigs
                    | ApiKey::IncrementalAlterConfigs
            );
            epoch = if asked.api == ApiKey::Fetch { epoch + 1 } else { epoch };
            let is_unsure = asked.api == ApiKey::Produce && asked.why.contains(&"records")
                || asked.is_silent() && stock == Value::Text("closed".to_owned());
            before.push(told(&asked));
            why.extend(asked.why.iter().copied());
            if let Some(found) = found(asked, ours, stock, &before[..before.len() - 1]) {
                return Some(found);
            }
            // From here on the logs may differ: Ottla does not read the records, and what was sent beside a batch
            // that closed the connection may or may not be there.
            if is_unsure {
                return None;
            }
            if changes && let Some(mut found) = pair.settle(&self.topics) {
                found.before = before;
                return Some(found);
            }
        }
        let last = [
            offsets(&self.topics, -2),
            offsets(&self.topics, -1),
            offsets(&self.topics, -3),
            producers(&self.topics),
        ];
        let all = [0, 2, 5].map(|offset| fetch(&self.topics, offset));
        for mut asked in last.into_iter().chain(all) {
            asked.why.clone_from(&why);
            let (ours, stock) = pair.ask(&asked, &self.topics);
            self.asked += 1;
            if let Some(found) = found(asked, ours, stock, &before) {
                return Some(found);
            }
        }
        None
    }
}
