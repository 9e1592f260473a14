//! Several producers and consumers at the same time, on partitions of both cores.

use std::collections::BTreeMap;
use std::thread;

use rdkafka::Offset;

use crate::support::{Record, Target, broker, send};

/// Settings of librdkafka.
type Settings = &'static [(&'static str, &'static str)];

const PARTITIONS: i32 = 6;
/// Records of one producer for one partition.
const EACH: usize = 1500;

/// What a record says of itself: its producer and its number there.
fn origin(record: &Record) -> (usize, usize) {
    let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
    let mut words = value.split(' ').map(|word| word.parse::<usize>());
    let mut next = || words.next().unwrap().ok();
    (next().unwrap(), next().unwrap())
}

/// Writes to every partition in turn, and gives the offset of each record by partition.
fn write(broker: &Target, topic: &str, producer: usize, settings: Settings) -> Vec<Vec<i64>> {
    let writer = broker.writer(settings);
    let padding = "x".repeat(producer * 50);
    for n in 0..EACH {
        for partition in 0..PARTITIONS {
            writer.send(send(topic, partition, format!("{producer} {n} {padding}").as_bytes()));
        }
    }
    let offsets = writer.offsets();
    (0..PARTITIONS as usize)
        .map(|partition| offsets.iter().skip(partition).step_by(PARTITIONS as usize).copied().collect())
        .collect()
}

/// Checks what one consumer got of a partition against what the producers were told.
fn check(read: &[Record], told: &[Vec<Vec<i64>>], partition: i32) {
    let offsets: Vec<i64> = read.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..(told.len() * EACH) as i64).collect::<Vec<_>>(), "each record once, in order");
    let mut next = vec![0; told.len()];
    for record in read {
        let (producer, number) = origin(record);
        assert_eq!(number, next[producer], "in the producer's order");
        assert_eq!(record.offset, told[producer][partition as usize][number], "where its producer was told");
        next[producer] += 1;
    }
}

#[test]
fn every_record_is_read_once_and_in_order() {
    let broker = broker();
    let topic = broker.topic("parallel", PARTITIONS, &[]);
    let producers: [Settings; 4] = [
        &[("acks", "all"), ("linger.ms", "0"), ("batch.num.messages", "10")],
        &[("acks", "1"), ("compression.codec", "lz4")],
        &[("enable.idempotence", "true"), ("linger.ms", "20")],
        &[("acks", "all"), ("compression.codec", "zstd"), ("batch.num.messages", "100")],
    ];
    // The first reads all, the others share the partitions; the last has little room in each reply.
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let consumers: [(&[i32], Settings); 4] = [
        (&all, &[]),
        (&all[..2], &[("fetch.min.bytes", "10000")]),
        (&all[2..4], &[("fetch.wait.max.ms", "500")]),
        (
            &all[4..],
            &[
                ("fetch.message.max.bytes", "2000"),
                ("fetch.max.bytes", "4000"),
                ("message.max.bytes", "4000"),
            ],
        ),
    ];
    thread::scope(|scope| {
        let (broker, topic) = (&*broker, topic.as_str());
        let consumers: Vec<_> = consumers
            .into_iter()
            .map(|(parts, settings)| {
                scope.spawn(move || {
                    let reader = broker.reader(settings);
                    let from: Vec<_> = parts.iter().map(|part| (*part, Offset::Beginning)).collect();
                    reader.assign(topic, &from);
                    reader.take(parts.len() * producers.len() * EACH)
                })
            })
            .collect();
        let producers = producers.iter().enumerate();
        let producers: Vec<_> =
            producers.map(|(n, settings)| scope.spawn(move || write(broker, topic, n, settings))).collect();
        let told: Vec<_> = producers.into_iter().map(|producer| producer.join().unwrap()).collect();
        let mut seen = 0;
        for consumer in consumers {
            let mut parts: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
            for record in consumer.join().unwrap() {
                parts.entry(record.partition).or_default().push(record);
            }
            parts.iter().for_each(|(partition, read)| check(read, &told, *partition));
            seen += parts.len();
        }
        assert_eq!(seen, 2 * PARTITIONS as usize);
    });
}

#[test]
fn many_topics_are_written_and_read_through_one_client() {
    let broker = broker();
    let topics: Vec<String> = (0..20).map(|n| broker.topic(&format!("many{n}"), 3, &[])).collect();
    let writer = broker.writer(&[]);
    for n in 0..50 {
        for topic in &topics {
            (0..3).for_each(|partition| writer.send(send(topic, partition, format!("{n}").as_bytes())));
        }
    }
    let wanted: Vec<i64> = (0..50).flat_map(|n| [n; 60]).collect();
    assert_eq!(writer.offsets(), wanted);
    let reader = broker.reader(&[]);
    let mut list = rdkafka::TopicPartitionList::new();
    for topic in &topics {
        list.add_partition_range(topic, 0, 2);
    }
    list.set_all_offsets(Offset::Beginning).unwrap();
    rdkafka::consumer::Consumer::assign(&reader.0, &list).unwrap();
    let read = reader.take(50 * 60);
    assert!((0..50).all(|n| read.iter().filter(|record| record.offset == n).count() == 60));
}
