//! A producer and a consumer that behave, and whose requests must all succeed whatever others do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla::command::client::Connection;
use ottla::wire::batch::{BatchBuilder, batches};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    FetchPartition, FetchRequest, FetchTopic, MetadataRequest, MetadataRequestTopic, PartitionProduceData,
    ProduceRequest, TopicProduceData,
};

use crate::target::{PATIENCE, Target, Topic};

/// Partitions, so that both cores are used.
const PARTITIONS: i32 = 4;
/// Every so many batches one is large, and needs memory of the pool for its frame.
const LARGE: u64 = 8;

/// A producer and a consumer at work.
pub struct Bystander {
    target_log: String,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    produced: AtomicU64,
    consumed: AtomicU64,
}

impl Bystander {
    /// Begins to produce to a topic of its own, and to consume from it.
    pub fn begin(target: &Target) -> Bystander {
        let topic = target.topic("good", PARTITIONS);
        let shared = Arc::new(Shared::default());
        let (one, other) = (shared.clone(), shared.clone());
        let (to_produce, to_consume) = (target.client(), target.client());
        let (topic, same) = (topic.clone(), topic);
        let produces = std::thread::spawn(move || produce(to_produce, &same, &one));
        let consumes = std::thread::spawn(move || consume(to_consume, &topic, &other));
        let bystander = Bystander { target_log: target.log(), shared, threads: vec![produces, consumes] };
        bystander.goes_on();
        bystander
    }

    /// Waits until both have got a good deal further.
    #[track_caller]
    pub fn goes_on(&self) {
        const STEPS: u64 = 3 * LARGE;
        let counts = [&self.shared.produced, &self.shared.consumed];
        let wanted = counts.map(|count| count.load(SeqCst) + STEPS);
        let deadline = Instant::now() + PATIENCE;
        while counts.iter().zip(wanted).any(|(count, wanted)| count.load(SeqCst) < wanted) {
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a request of a good client failed");
            assert!(
                Instant::now() < deadline,
                "good clients get no further; the broker said: {}",
                self.target_log
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops; all that was asked for has succeeded.
    #[track_caller]
    pub fn end(mut self) {
        self.goes_on();
        self.shared.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok(), "a request of a good client failed");
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
    }
}

fn produce(mut connection: Connection, topic: &Topic, shared: &Shared) {
    for number in 0u64.. {
        if shared.stop.load(SeqCst) {
            return;
        }
        let size = if number % LARGE == LARGE - 1 { 100_000 } else { 200 };
        let mut value = vec![b'v'; size];
        value[..8].copy_from_slice(&number.to_be_bytes());
        let mut builder = BatchBuilder::new();
        builder.append(0, None, Some(&value), &[]);
        let records = Some(builder.build().unwrap().into());
        let data = PartitionProduceData { index: (number % PARTITIONS as u64) as i32, records };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: PATIENCE.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: topic.name.clone(),
                topic_id: topic.id,
                partition_data: vec![data],
            }],
        };
        let answer = connection.call(&request).unwrap();
        let part = &answer.responses[0].partition_responses[0];
        assert_eq!(part.error_code, ErrorCode::NONE, "{:?}", part.error_message);
        shared.produced.fetch_add(1, SeqCst);
        if number % 32 == 0 {
            look_up(&mut connection, topic);
        }
    }
}

/// A good client asks for metadata too.
fn look_up(connection: &mut Connection, topic: &Topic) {
    let asked = MetadataRequestTopic { name: Some(topic.name.clone()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let answer = connection.call(&request).unwrap();
    assert_eq!(answer.topics[0].partitions.len(), PARTITIONS as usize);
}

fn consume(mut connection: Connection, topic: &Topic, shared: &Shared) {
    let mut offsets = [0i64; PARTITIONS as usize];
    let mut next: Vec<u64> = (0..PARTITIONS as u64).collect();
    while !shared.stop.load(SeqCst) {
        let partitions = offsets.iter().zip(0..).map(|(offset, partition)| FetchPartition {
            partition,
            fetch_offset: *offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        });
        let partitions = partitions.collect();
        let wanted = FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions };
        let request = FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics: vec![wanted],
            ..Default::default()
        };
        let answer = connection.call(&request).unwrap();
        assert_eq!(answer.error_code, ErrorCode::NONE);
        for part in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            assert_eq!(part.error_code, ErrorCode::NONE);
            let records = part.records.as_ref().map(|records| records.to_bytes()).unwrap_or_default();
            let place = part.partition_index as usize;
            for batch in batches(&records).map_while(Result::ok) {
                batch.check().unwrap();
                let set = batch.open(1 << 20).unwrap();
                let value = set.iter().next().unwrap().unwrap().value.unwrap();
                let number = u64::from_be_bytes(value[..8].try_into().unwrap());
                assert_eq!(
                    (number, batch.base_offset()),
                    (next[place], offsets[place]),
                    "in order, and once"
                );
                next[place] += PARTITIONS as u64;
                offsets[place] = batch.last_offset() + 1;
                shared.consumed.fetch_add(1, SeqCst);
            }
        }
    }
}
