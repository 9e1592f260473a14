//! The broker that the tests share, and librdkafka with its answers gathered.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, Timestamp, TopicPartitionList};

pub use crate::broker::{Broker, Folder, free_address, succeeded};

/// How long anything may take before the test counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker to test: one that the tests share, or the one of OTTLA_TEST_BOOTSTRAP.
pub struct Target {
    pub address: String,
    own: Option<Broker>,
}

/// The shared broker. It ends when the last test that uses it does.
pub fn broker() -> Arc<Target> {
    static SHARED: Mutex<Weak<Target>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(target) = shared.upgrade() {
        return target;
    }
    let target = match std::env::var("OTTLA_TEST_BOOTSTRAP") {
        Ok(address) => Target { address, own: None },
        Err(_) => Target::of(Broker::start()),
    };
    let target = Arc::new(target);
    *shared = Arc::downgrade(&target);
    target
}

impl Target {
    pub fn of(broker: Broker) -> Target {
        Target { address: broker.address.clone(), own: Some(broker) }
    }

    /// The broker at an address, whose process is somebody else's.
    pub fn at(address: &str) -> Target {
        Target { address: address.to_owned(), own: None }
    }

    /// A name for a topic that nobody else has.
    pub fn name(&self, name: &str) -> String {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        format!("{name}-{}-{since}", std::process::id())
    }

    /// A new topic.
    pub fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = self.name(name);
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let created = wait(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        assert_eq!(created, [Ok(name.clone())]);
        name
    }

    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    pub fn writer(&self, settings: &[(&str, &str)]) -> Writer {
        let mut config = self.config();
        for (key, value) in settings {
            config.set(*key, *value);
        }
        Writer(config.create_with_context(Reports::default()).unwrap())
    }

    pub fn reader(&self, settings: &[(&str, &str)]) -> Reader {
        let mut config = self.config();
        // A fetch at the end is not to wait long before the end is told.
        config.set("fetch.wait.max.ms", "50");
        // Librdkafka wants a name of a group, although partitions are assigned by hand.
        config.set("group.id", "none").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        Reader(config.create().unwrap())
    }

    /// Reads a partition from an offset to its end.
    pub fn read(&self, topic: &str, partition: i32, from: Offset) -> Vec<Record> {
        let reader = self.reader(&[("auto.offset.reset", "error")]);
        reader.assign(topic, &[(partition, from)]);
        reader.to_end()
    }

    /// The first segment of a partition on disk, where the broker is the tests' own.
    pub fn segment(&self, topic: &str, partition: i32) -> Option<PathBuf> {
        let data = self.own.as_ref()?.data();
        Some(data.join(format!("{topic}-{partition}")).join("00000000000000000000.log"))
    }

    /// Runs kcat with something on standard input and gives its output.
    #[track_caller]
    pub fn kcat(&self, arguments: &[&str], input: &str) -> String {
        let output = kcat(&self.address, arguments, input);
        String::from_utf8(succeeded(arguments, output)).unwrap()
    }
}

/// Runs kcat against an address.
pub fn kcat(address: &str, arguments: &[&str], input: &str) -> std::process::Output {
    let folder = Folder::new();
    let file = folder.0.join("input");
    std::fs::write(&file, input).unwrap();
    Command::new("kcat")
        .args(["-b", address])
        .args(arguments)
        .stdin(std::fs::File::open(&file).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("kcat is there (tests/setup.sh installs it)")
}

/// What became of a record that was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Timestamp,
    pub error: Option<RDKafkaErrorCode>,
}

/// Gathers delivery reports, by the number of the record.
#[derive(Default)]
pub struct Reports(Mutex<Vec<Option<Report>>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let (message, error) = match result {
            Ok(message) => (message, None),
            Err((error, message)) => (message, error.rdkafka_error_code()),
        };
        let (partition, offset) = (message.partition(), message.offset());
        let report = Report { partition, offset, timestamp: message.timestamp(), error };
        let known = self.0.lock().unwrap()[number].replace(report);
        assert_eq!(known, None, "a record is reported once");
    }
}

/// A producer that remembers what became of each record.
pub struct Writer(BaseProducer<Reports>);

/// A record to send.
pub type Send<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// A record for a partition.
pub fn send<'a>(topic: &'a str, partition: i32, value: &'a [u8]) -> Send<'a> {
    BaseRecord::with_opaque_to(topic, 0).partition(partition).payload(value)
}

impl Writer {
    /// Hands a record over.
    pub fn send(&self, mut record: Send<'_>) {
        let mut reports = self.0.context().0.lock().unwrap();
        record.delivery_opaque = reports.len();
        reports.push(None);
        drop(reports);
        let deadline = Instant::now() + PATIENCE;
        while let Err((error, again)) = self.0.send(record) {
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(is_full && Instant::now() < deadline, "{error}");
            self.0.poll(Duration::from_millis(10));
            record = again;
        }
        self.0.poll(Duration::ZERO);
    }

    /// Waits for all records, and says what became of each, in the order in which they were sent.
    pub fn reports(&self) -> Vec<Report> {
        self.0.flush(PATIENCE).unwrap();
        let reports = std::mem::take(&mut *self.0.context().0.lock().unwrap());
        reports.into_iter().map(|report| report.expect("each record is reported")).collect()
    }

    /// The same, when all were taken.
    #[track_caller]
    pub fn offsets(&self) -> Vec<i64> {
        let reports = self.reports();
        let refused = reports.iter().find(|report| report.error.is_some());
        assert_eq!(refused, None);
        reports.into_iter().map(|report| report.offset).collect()
    }
}

/// A record that was read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: (i64, bool),
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.value.as_ref().map(|value| String::from_utf8_lossy(&value[..value.len().min(50)]));
        write!(f, "{}@{} {:?}", self.partition, self.offset, value)
    }
}

/// A consumer of partitions that are assigned by hand.
pub struct Reader(pub BaseConsumer);

impl Reader {
    pub fn assign(&self, topic: &str, parts: &[(i32, Offset)]) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in parts {
            list.add_partition_offset(topic, *partition, *offset).unwrap();
        }
        self.0.assign(&list).unwrap();
    }

    /// The next record, or what else the consumer has to say.
    pub fn next(&self) -> Result<Record, KafkaError> {
        let message = self.0.poll(PATIENCE).expect("the consumer does not hang")?;
        let timestamp = match message.timestamp() {
            Timestamp::CreateTime(time) => (time, false),
            Timestamp::LogAppendTime(time) => (time, true),
            Timestamp::NotAvailable => panic!("each record has a timestamp"),
        };
        Ok(Record {
            partition: message.partition(),
            offset: message.offset(),
            timestamp,
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(headers_of).unwrap_or_default(),
        })
    }

    /// The next so many records, past any ends of partitions.
    #[track_caller]
    pub fn take(&self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            match self.next() {
                Ok(record) => records.push(record),
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => panic!("after {} of {count} records: {error}", records.len()),
            }
        }
        records
    }

    /// All records up to the end of one partition.
    #[track_caller]
    pub fn to_end(&self) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            match self.next() {
                Ok(record) => records.push(record),
                Err(KafkaError::PartitionEOF(_)) => return records,
                Err(error) => panic!("after {} records: {error}", records.len()),
            }
        }
    }
}

fn headers_of(headers: &BorrowedHeaders) -> Vec<(String, Option<Vec<u8>>)> {
    headers.iter().map(|header| (header.key.to_string(), header.value.map(<[u8]>::to_vec))).collect()
}

/// Headers to send.
pub fn headers(of: &[(&str, Option<&str>)]) -> OwnedHeaders {
    of.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: value.as_ref().map(|value| value.as_bytes()) })
    })
}

/// Waits for an answer to an admin client.
pub fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Makes librdkafka send so many records as one batch, and not before it has them.
pub fn together(count: &str) -> Vec<(&str, &str)> {
    vec![("batch.num.messages", count), ("linger.ms", "60000"), ("batch.size", "10000000")]
}

/// Values that tell records apart.
pub fn values(name: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{name} {n}").into_bytes()).collect()
}

thread_local! {
    static CHANCE: RefCell<u64> = const { RefCell::new(0x9e37_79b9_7f4a_7c15) };
}

/// Bytes that no codec makes smaller.
pub fn noise(len: usize) -> Vec<u8> {
    CHANCE.with_borrow_mut(|state| {
        let next = || {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            (*state >> 24) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    })
}
