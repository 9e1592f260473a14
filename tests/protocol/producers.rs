//! Idempotent producers: what each batch is answered, after whatever came before.

use std::collections::BTreeMap;

use ottla::command::client::Connection;
use ottla::wire::batch::BatchBuilder;
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    DescribeProducersPartitionResponse, DescribeProducersRequest, DescribeProducersTopicRequest,
    InitProducerIdRequest, PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};

use crate::generate::Chance;
use crate::target::{PATIENCE, Target, Topic};

const TIME: i64 = 1_900_000_000_000;

/// A batch of an idempotent producer.
#[derive(Clone, Copy, Debug)]
struct Sent {
    id: i64,
    epoch: i16,
    sequence: i32,
    records: i32,
}

impl Sent {
    fn last_sequence(&self) -> i32 {
        let last = i64::from(self.sequence) + i64::from(self.records) - 1;
        (last % (1 << 31)) as i32
    }

    fn bytes(&self, timestamp: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new().producer(self.id, self.epoch, self.sequence);
        (0..self.records).for_each(|_| builder.append(timestamp, None, Some(b"v"), &[]));
        builder.build().unwrap()
    }
}

fn produce(client: &mut Connection, topic: &Topic, records: Vec<u8>) -> PartitionProduceResponse {
    let data = PartitionProduceData { index: 0, records: Some(records.into()) };
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
    let mut answer = client.call(&request).unwrap();
    answer.responses.remove(0).partition_responses.remove(0)
}

fn describe(client: &mut Connection, name: &str, partition: i32) -> DescribeProducersPartitionResponse {
    let topic = DescribeProducersTopicRequest { name: name.into(), partition_indexes: vec![partition] };
    let mut answer = client.call(&DescribeProducersRequest { topics: vec![topic] }).unwrap();
    answer.topics.remove(0).partitions.remove(0)
}

/// The rules, once more and plainly: what a broker is to know of a producer.
#[derive(Debug)]
struct Known {
    epoch: i16,
    /// Sequence numbers of the first and the last record, offset, timestamp.
    batches: Vec<(i32, i32, i64, i64)>,
}

#[derive(Default)]
struct Rules {
    producers: BTreeMap<i64, Known>,
    end: i64,
}

impl Rules {
    /// The error, the offset and the time that are answered.
    fn answer(&mut self, sent: Sent, timestamp: i64) -> (ErrorCode, i64, i64) {
        let (first, last) = (sent.sequence, sent.last_sequence());
        if let Some(known) = self.producers.get(&sent.id) {
            let same = known.epoch == sent.epoch;
            let again = known.batches.iter().rev().take(5).find(|batch| (batch.0, batch.1) == (first, last));
            if let Some((.., offset, time)) = again.filter(|_| same) {
                return (ErrorCode::NONE, *offset, *time);
            }
            if sent.epoch < known.epoch {
                return (ErrorCode::INVALID_PRODUCER_EPOCH, -1, -1);
            }
            let before = known.batches.last().filter(|_| same).map_or(-1, |batch| i64::from(batch.1));
            let follows = i64::from(first) == (before + 1) % (1 << 31);
            if !follows && known.epoch != -1 {
                return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1, -1);
            }
        }
        let known = self.producers.entry(sent.id).or_insert(Known { epoch: sent.epoch, batches: vec![] });
        if known.epoch != sent.epoch {
            *known = Known { epoch: sent.epoch, batches: vec![] };
        }
        let offset = self.end;
        known.batches.push((first, last, offset, timestamp));
        self.end += i64::from(sent.records);
        (ErrorCode::NONE, offset, -1)
    }

    /// What producers there are, as they are described.
    fn described(&self) -> Vec<(i64, i32, i32, i64, i32, i64)> {
        let all = self.producers.iter().map(|(id, known)| {
            let (_, last, _, time) = *known.batches.last().unwrap();
            (*id, i32::from(known.epoch), last, time, -1, -1)
        });
        all.collect()
    }
}

fn draw(chance: &mut Chance, rules: &Rules) -> Sent {
    let id = 9_000_000 + chance.below(3) as i64;
    let records = 1 + chance.below(4) as i32;
    let epoch = chance.below(3) as i16 - 1;
    let Some(known) = rules.producers.get(&id) else {
        let sequence = *[0, 0, 7, i32::MAX, i32::MAX - 2].get(chance.below(5) as usize).unwrap();
        return Sent { id, epoch, sequence, records };
    };
    let next = known.batches.last().map_or(0, |batch| batch.1.wrapping_add(1) & i32::MAX);
    match chance.below(10) {
        // One of the last batches again, or nearly.
        0..3 => {
            let back = chance.below(7) as usize;
            let batch = known.batches.iter().rev().nth(back).unwrap_or(&known.batches[0]);
            let (first, last) = (batch.0, batch.1);
            let records = (i64::from(last) - i64::from(first)).rem_euclid(1 << 31) as i32 + 1;
            let shorter = i32::from(chance.below(6) == 0 && records > 1);
            Sent { id, epoch: known.epoch, sequence: first, records: records - shorter }
        }
        3 => Sent { id, epoch: known.epoch + 1, sequence: chance.below(2) as i32, records },
        4 => Sent { id, epoch: known.epoch.max(0) - chance.below(2) as i16, sequence: 0, records },
        5 => Sent { id, epoch: known.epoch, sequence: chance.below(12) as i32, records },
        6 => Sent { id, epoch, sequence: next, records },
        _ => Sent { id, epoch: known.epoch, sequence: next, records },
    }
}

#[test]
fn each_batch_is_answered_as_the_rules_say() {
    let target = Target::start();
    let mut client = target.client();
    for seed in 0..12 {
        let topic = target.topic("producers", 1);
        let (mut chance, mut rules) = (Chance(seed + 1), Rules::default());
        let mut seen = BTreeMap::<String, u32>::new();
        for step in 0..80 {
            let (sent, timestamp) = (draw(&mut chance, &rules), TIME + step);
            // Far in the future is refused; this is some time ago.
            let timestamp = timestamp - 300_000_000_000;
            let answer = produce(&mut client, &topic, sent.bytes(timestamp));
            let wanted = rules.answer(sent, timestamp);
            let given = (answer.error_code, answer.base_offset, answer.log_append_time_ms);
            assert_eq!(
                given,
                wanted,
                "seed {seed}, step {step}: {sent:?}, {:?}",
                rules.producers.get(&sent.id)
            );
            let again = wanted.0.is_none() && wanted.2 >= 0;
            *seen.entry(if again { "again".into() } else { wanted.0.name().to_owned() }).or_default() += 1;
        }
        assert!(seen.len() == 4 && seen.values().all(|count| *count > 1), "seed {seed}: {seen:?}");
        let told = describe(&mut client, &topic.name, 0);
        assert_eq!((told.error_code, told.error_message), (ErrorCode::NONE, None));
        let mut found: Vec<_> = told
            .active_producers
            .iter()
            .map(|producer| {
                (
                    producer.producer_id,
                    producer.producer_epoch,
                    producer.last_sequence,
                    producer.last_timestamp,
                    producer.coordinator_epoch,
                    producer.current_txn_start_offset,
                )
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, rules.described(), "seed {seed}");
    }
}

#[test]
fn a_producer_sends_one_batch_for_a_partition() {
    let target = Target::start();
    let (mut client, topic) = (target.client(), target.topic("two-batches", 1));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let batch = |sequence| Sent { id: 5, epoch: 0, sequence, records: 1 }.bytes(now);
    let answer = produce(&mut client, &topic, [batch(0), batch(1)].concat());
    assert_eq!(answer.error_code, ErrorCode::INVALID_RECORD, "{answer:?}");
    // A sequence number there must be.
    let answer = produce(&mut client, &topic, batch(-1));
    assert_eq!(answer.error_code, ErrorCode::INVALID_RECORD, "{answer:?}");
    assert_eq!(produce(&mut client, &topic, batch(0)).base_offset, 0);
}

#[test]
fn producer_ids_are_given_to_who_asks_in_the_right_way() {
    let target = Target::start();
    let mut client = target.client();
    let mut ask = |transactional_id: Option<&str>, producer_id, producer_epoch| {
        let request = InitProducerIdRequest {
            transactional_id: transactional_id.map(str::to_owned),
            transaction_timeout_ms: 60_000,
            producer_id,
            producer_epoch,
        };
        loop {
            let answer = client.call(&request).unwrap();
            // Kafka's first block of ids takes a moment.
            if answer.error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
                return (answer.error_code, answer.producer_id, answer.producer_epoch);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let (error, first, epoch) = ask(None, -1, -1);
    assert_eq!((error, epoch), (ErrorCode::NONE, 0));
    assert!(first >= 0);
    // Whoever asks for a new epoch without a transactional id gets a new id.
    let (error, second, epoch) = ask(None, first, 0);
    assert_eq!((error, epoch), (ErrorCode::NONE, 0));
    assert!(second > first);
    let (error, third, epoch) = ask(None, 77, 12);
    assert_eq!((error, epoch), (ErrorCode::NONE, 0));
    assert!(third > second);
    for (id, epoch) in [(5, -1), (-1, 5)] {
        assert_eq!(ask(None, id, epoch), (ErrorCode::INVALID_REQUEST, -1, -1), "{id} {epoch}");
    }
    assert_eq!(ask(Some(""), -1, -1), (ErrorCode::INVALID_REQUEST, -1, -1));
}

#[test]
fn who_asks_for_producers_of_nothing_is_told_so() {
    let target = Target::start();
    let (mut client, topic) = (target.client(), target.topic("described", 1));
    let mut ask = |name: &str, partition| {
        let told = describe(&mut client, name, partition);
        assert!(told.active_producers.is_empty() && told.partition_index == partition);
        (told.error_code, told.error_message.is_some())
    };
    assert_eq!(ask(&topic.name, 0), (ErrorCode::NONE, false));
    assert_eq!(ask(&topic.name, 1), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false));
    assert_eq!(ask(&topic.name, -1), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false));
    assert_eq!(ask("no-such-topic", 0), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, true));
    assert_eq!(ask("no topic's name", 0), (ErrorCode::INVALID_TOPIC_EXCEPTION, true));
    assert_eq!(ask("", 0), (ErrorCode::INVALID_TOPIC_EXCEPTION, true));
}
