//! Transactions of librdkafka: what readers of committed records see, and who is fenced.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{Broker, PATIENCE, Target, broker, send};

/// A producer whose reports are heard without being asked for.
type Transactional = ThreadedProducer<DefaultProducerContext>;

/// A producer with a transactional id, that has begun with it.
fn producer(broker: &Target, id: &str, settings: &[(&str, &str)]) -> Transactional {
    let mut config = broker.config();
    config.set("transactional.id", id).set("linger.ms", "2");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: Transactional = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn put(producer: &Transactional, topic: &str, partition: i32, values: &[String]) {
    for value in values {
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value.as_bytes());
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
}

/// Values that tell records apart.
fn values(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name} {n}")).collect()
}

/// What readers of committed records, and what all readers see of a partition.
fn seen(broker: &Target, topic: &str, partition: i32) -> (Vec<String>, Vec<String>) {
    let read = |isolation: &str| {
        let reader = broker.reader(&[("auto.offset.reset", "earliest"), ("isolation.level", isolation)]);
        reader.assign(topic, &[(partition, Offset::Beginning)]);
        reader.to_end().into_iter().map(|record| String::from_utf8(record.value.unwrap()).unwrap()).collect()
    };
    (read("read_committed"), read("read_uncommitted"))
}

#[test]
fn what_is_committed_is_read_and_what_is_aborted_is_not() {
    let broker = broker();
    let topic = broker.topic("outcomes", 2, &[]);
    let producer = producer(&broker, &broker.name("outcomes"), &[]);
    let (mut committed, mut all) = (Vec::new(), Vec::new());
    for round in 0..6 {
        producer.begin_transaction().unwrap();
        let values = values(&format!("round {round}"), 50);
        put(&producer, &topic, 0, &values);
        put(&producer, &topic, 1, &values);
        all.extend(values.clone());
        match round % 2 {
            0 => {
                producer.commit_transaction(PATIENCE).unwrap();
                committed.extend(values);
            }
            _ => {
                // All of it lies in the log, and is aborted there.
                producer.flush(PATIENCE).unwrap();
                producer.abort_transaction(PATIENCE).unwrap();
            }
        }
    }
    for partition in 0..2 {
        assert_eq!(seen(&broker, &topic, partition), (committed.clone(), all.clone()));
    }
}

#[test]
fn what_is_open_holds_readers_of_committed_records_back() {
    let broker = broker();
    let topic = broker.topic("open", 1, &[]);
    let (one, two) =
        (producer(&broker, &broker.name("one"), &[]), producer(&broker, &broker.name("two"), &[]));
    let (first, second) = (values("first", 3), values("second", 3));
    one.begin_transaction().unwrap();
    put(&one, &topic, 0, &first);
    one.flush(PATIENCE).unwrap();
    two.begin_transaction().unwrap();
    put(&two, &topic, 0, &second);
    two.commit_transaction(PATIENCE).unwrap();
    // The second is committed, and lies behind what is open.
    let both = [first.clone(), second.clone()].concat();
    assert_eq!(seen(&broker, &topic, 0), (vec![], both.clone()));
    one.commit_transaction(PATIENCE).unwrap();
    assert_eq!(seen(&broker, &topic, 0), (both.clone(), both));
}

fn is_fenced(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
    match error {
        KafkaError::Transaction(error) => {
            matches!(error.code(), Fenced | InvalidProducerEpoch | ProducerFenced)
        }
        error => matches!(error.rdkafka_error_code(), Some(Fenced | InvalidProducerEpoch | ProducerFenced)),
    }
}

#[test]
fn who_begins_with_the_same_id_fences_the_one_before() {
    let broker = broker();
    let topic = broker.topic("fenced", 1, &[]);
    let id = broker.name("fenced");
    let old = producer(&broker, &id, &[]);
    old.begin_transaction().unwrap();
    put(&old, &topic, 0, &values("old", 5));
    old.flush(PATIENCE).unwrap();
    // Its open transaction is aborted.
    let new = producer(&broker, &id, &[]);
    new.begin_transaction().unwrap();
    let committed = values("new", 5);
    put(&new, &topic, 0, &committed);
    new.commit_transaction(PATIENCE).unwrap();
    let told = old.commit_transaction(PATIENCE).unwrap_err();
    assert!(is_fenced(&told), "{told:?}");
    assert_eq!(seen(&broker, &topic, 0).0, committed);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let broker = broker();
    let topic = broker.topic("late", 1, &[]);
    let late = producer(&broker, &broker.name("late"), &[("transaction.timeout.ms", "1000")]);
    late.begin_transaction().unwrap();
    put(&late, &topic, 0, &values("late", 5));
    late.flush(PATIENCE).unwrap();
    let writer = broker.writer(&[]);
    writer.send(send(&topic, 0, b"behind"));
    writer.offsets();
    let deadline = Instant::now() + PATIENCE;
    while seen(&broker, &topic, 0).0 != ["behind"] {
        assert!(Instant::now() < deadline, "it is still open");
    }
    let told = late.commit_transaction(PATIENCE).unwrap_err();
    assert!(matches!(told, KafkaError::Transaction(_)), "{told:?}");
}

#[test]
fn a_longer_timeout_than_is_allowed_is_refused() {
    let broker = broker();
    let mut config = broker.config();
    config.set("transactional.id", broker.name("long")).set("transaction.timeout.ms", "900001");
    let producer: Transactional = config.create().unwrap();
    let told = producer.init_transactions(PATIENCE).unwrap_err();
    let KafkaError::Transaction(told) = told else { panic!("{told:?}") };
    assert_eq!(told.code(), RDKafkaErrorCode::InvalidTransactionTimeout);
}

/// A member of a group that copies what it reads, with its offsets, in transactions.
struct Copier {
    consumer: BaseConsumer,
    producer: Transactional,
    to: String,
}

impl Copier {
    fn new(broker: &Target, group: &str, id: &str, from: &str, to: &str) -> Copier {
        let mut config = broker.config();
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "50");
        config.set("enable.auto.commit", "false").set("isolation.level", "read_committed");
        config.set("session.timeout.ms", "6000");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[from]).unwrap();
        Copier { consumer, producer: producer(broker, id, &[]), to: to.to_owned() }
    }

    fn member(&self) -> ConsumerGroupMetadata {
        self.consumer.group_metadata().unwrap()
    }

    /// Copies up to so many records in one transaction, and says how many.
    fn copy(&self, most: usize, commit: bool) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut next = TopicPartitionList::new();
        let mut count = 0;
        while count < most {
            let Some(message) = self.consumer.poll(Duration::from_millis(200)) else {
                if count > 0 {
                    break;
                }
                assert!(Instant::now() < deadline, "nothing comes");
                continue;
            };
            let message = message.unwrap();
            if count == 0 {
                self.producer.begin_transaction().unwrap();
            }
            put(
                &self.producer,
                &self.to,
                message.partition(),
                &[String::from_utf8(message.payload().unwrap().to_vec()).unwrap()],
            );
            let at = Offset::Offset(message.offset() + 1);
            match next.find_partition(message.topic(), message.partition()) {
                Some(mut known) => known.set_offset(at).unwrap(),
                None => next.add_partition_offset(message.topic(), message.partition(), at).unwrap(),
            }
            count += 1;
        }
        self.producer.send_offsets_to_transaction(&next, &self.member(), PATIENCE).unwrap();
        match commit {
            true => self.producer.commit_transaction(PATIENCE).unwrap(),
            false => self.producer.abort_transaction(PATIENCE).unwrap(),
        }
        count
    }
}

/// Each record is copied once, although copiers abort and go away in the middle.
fn each_record_is_copied_once(broker: &Target, mut between: impl FnMut(usize)) {
    let (from, to) = (broker.topic("from", 3, &[]), broker.topic("to", 3, &[]));
    let (group, id) = (broker.name("copiers"), broker.name("copier"));
    let mut wanted = Vec::new();
    let writer = broker.writer(&[]);
    for partition in 0..3 {
        let values = values(&format!("partition {partition}"), 200);
        values.iter().for_each(|value| writer.send(send(&from, partition, value.as_bytes())));
        wanted.push(values);
    }
    writer.offsets();
    let (mut copied, mut round) = (0, 0);
    while copied < 600 {
        // Who comes after goes on where the committed transactions have come to.
        let copier = Copier::new(broker, &group, &id, &from, &to);
        copied += copier.copy((600 - copied).min(90), true);
        if copied < 600 {
            copier.copy(40, false);
        }
        between(round);
        round += 1;
        copier.consumer.unsubscribe();
    }
    for (partition, wanted) in wanted.into_iter().enumerate() {
        assert_eq!(seen(broker, &to, partition as i32).0, wanted, "partition {partition}");
    }
}

#[test]
fn what_is_consumed_transformed_and_produced_is_there_once() {
    each_record_is_copied_once(&broker(), |_| ());
}

#[test]
fn it_is_there_once_although_the_broker_is_killed() {
    if std::env::var("OTTLA_TEST_BOOTSTRAP").is_ok() {
        return;
    }
    let mut process = Broker::new();
    process.begin();
    process.wait();
    let target = Target::at(&process.address);
    each_record_is_copied_once(&target, |_| {
        process.kill();
        process.begin();
        process.wait();
    });
}
