//! A producer as its users start it: librdkafka with its defaults.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::questions::TOPIC;

const RECORD: [u8; 100] = [b'r'; 100];

/// What the producer saw.
pub struct Load {
    /// Records that were acknowledged, by the time from the first one's making to the last one's acknowledgement.
    pub records_per_second: f64,
    /// From a record's making to its acknowledgement.
    pub p50: Duration,
    /// The same.
    pub p99: Duration,
}

struct Context {
    begun: Instant,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    latencies: Mutex<Histogram<u64>>,
}

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, made: Box<Instant>) {
        match result {
            Ok(_) => {
                let micros = made.elapsed().as_micros() as u64;
                self.latencies.lock().expect("nobody panics").saturating_record(micros);
                self.acknowledged.store(self.begun.elapsed().as_nanos() as u64, Relaxed);
            }
            Err(_) => {
                self.failed.fetch_add(1, Relaxed);
            }
        }
    }
}

fn producer(address: &str, settings: &[String]) -> ThreadedProducer<Context> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    for setting in settings {
        let (key, value) = setting.split_once('=').expect("KEY=VALUE");
        config.set(key, value);
    }
    let context = Context {
        begun: Instant::now(),
        acknowledged: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        latencies: Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds")),
    };
    config.create_with_context(context).expect("the producer's settings are good")
}

/// Hands records over as fast as the producer takes them.
fn produce(producer: &ThreadedProducer<Context>, partitions: i32, goes_on: impl Fn() -> bool) {
    let mut partition = 0;
    while goes_on() {
        let record = BaseRecord::with_opaque_to(TOPIC, Box::new(Instant::now())).payload(&RECORD);
        match producer.send(record.partition(partition).key("")) {
            Ok(()) => partition = (partition + 1) % partitions,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

/// Writes for a while, and waits until all is acknowledged.
pub fn run(address: &str, partitions: i32, span: Duration, settings: &[String]) -> Load {
    let producer = producer(address, settings);
    let until = Instant::now() + span;
    produce(&producer, partitions, || Instant::now() < until);
    producer.flush(Duration::from_secs(400)).expect("all is delivered");
    let context = producer.context();
    assert_eq!(context.failed.load(Relaxed), 0, "records were not delivered");
    let latencies = context.latencies.lock().expect("nobody panics");
    let at = |quantile| Duration::from_micros(latencies.value_at_quantile(quantile));
    let taken = Duration::from_nanos(context.acknowledged.load(Relaxed));
    Load { records_per_second: latencies.len() as f64 / taken.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

/// Writes until it is told to stop; what is not acknowledged then is let go.
pub fn begin(address: &str, partitions: i32, settings: &[String]) -> impl FnOnce() + use<> {
    let producer = producer(address, settings);
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = stopped.clone();
    let writer = std::thread::spawn(move || {
        produce(&producer, partitions, || !stopped.load(Relaxed));
        producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
    });
    move || {
        stop.store(true, Relaxed);
        writer.join().expect("the writer ends");
    }
}
