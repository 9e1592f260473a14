//! Where a consumer begins: any offset, a time, the ends, past the end, and what is not there.

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{PATIENCE, Reader, Record, Target, broker, send, together, values};

/// A topic of two partitions with five batches of 40 records in each, of several codecs.
fn batches(broker: &Target, name: &str) -> String {
    let topic = broker.topic(name, 2, &[]);
    for (n, codec) in ["none", "zstd", "none", "lz4", "gzip"].iter().enumerate() {
        for partition in [0, 1] {
            let writer = broker.writer(&[together("40"), vec![("compression.codec", codec)]].concat());
            for value in &values("record", 200)[n * 40..][..40] {
                writer.send(send(&topic, partition, value));
            }
            writer.offsets();
        }
    }
    topic
}

fn number(record: &Record) -> usize {
    let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
    value.strip_prefix("record ").unwrap().parse().unwrap()
}

#[test]
fn any_offset_can_be_read_from_also_within_a_batch() {
    let broker = broker();
    let topic = batches(&broker, "any-offset");
    let reader = broker.reader(&[]);
    for from in [0, 1, 39, 40, 41, 79, 80, 119, 121, 159, 160, 199] {
        for partition in [0, 1] {
            reader.assign(&topic, &[(partition, Offset::Offset(from))]);
            let read = reader.to_end();
            let found: Vec<_> = read.iter().map(|record| (record.offset, number(record))).collect();
            let wanted: Vec<_> = (from..200).map(|n| (n, n as usize)).collect();
            assert_eq!(found, wanted, "from {from} of partition {partition}");
        }
    }
    for last in [1, 3, 77] {
        reader.assign(&topic, &[(1, Offset::OffsetTail(last))]);
        assert_eq!(reader.to_end().len() as i64, last);
    }
}

#[test]
fn a_consumer_can_jump_within_a_partition() {
    let broker = broker();
    let topic = batches(&broker, "jump");
    let reader = broker.reader(&[]);
    reader.assign(&topic, &[(0, Offset::Beginning)]);
    assert_eq!(number(&reader.take(1)[0]), 0);
    for to in [150, 3, 199, 81, 0] {
        reader.0.seek(&topic, 0, Offset::Offset(to), PATIENCE).unwrap();
        let read = reader.take(1);
        assert_eq!((read[0].offset, number(&read[0])), (to, to as usize));
    }
}

#[test]
fn a_time_is_found() {
    let broker = broker();
    let topic = broker.topic("times", 2, &[]);
    // Batches of ten records; one every second, with a gap of an hour before each batch.
    let start = 1_700_000_000_000;
    let times: Vec<i64> = (0..50).map(|n| start + n / 10 * 3_600_000 + n % 10 * 1000).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"].iter().zip(times.chunks(10)) {
        let writer = broker.writer(&[together("10"), vec![("compression.codec", codec.0)]].concat());
        codec.1.iter().for_each(|time| writer.send(send(&topic, 0, b"x").timestamp(*time)));
        writer.offsets();
    }
    let reader = broker.reader(&[]);
    let find = |partition, time| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Offset(time)).unwrap();
        let found = reader.0.offsets_for_times(list, PATIENCE).unwrap();
        found.elements()[0].offset()
    };
    for (n, time) in times.iter().enumerate() {
        assert_eq!(find(0, *time), Offset::Offset(n as i64));
        assert_eq!(find(0, time - 999), Offset::Offset(n as i64), "between two records");
    }
    assert_eq!(find(0, 0), Offset::Offset(0), "before all");
    assert_eq!(find(0, times[29] + 1), Offset::Offset(30), "in the gap between two batches");
    assert_eq!(find(0, times[49] + 1), Offset::End, "after all");
    assert_eq!(find(1, start), Offset::End, "in an empty partition");
}

#[test]
fn the_ends_are_told() {
    let broker = broker();
    let topic = batches(&broker, "ends");
    let reader = broker.reader(&[]);
    assert_eq!(reader.0.fetch_watermarks(&topic, 1, PATIENCE).unwrap(), (0, 200));
    let empty = broker.topic("empty", 1, &[]);
    assert_eq!(reader.0.fetch_watermarks(&empty, 0, PATIENCE).unwrap(), (0, 0));
    for from in [Offset::Beginning, Offset::End, Offset::Offset(0)] {
        assert_eq!(broker.read(&empty, 0, from), []);
    }
    assert_eq!(broker.read(&topic, 0, Offset::End), []);
    assert_eq!(broker.read(&topic, 0, Offset::Offset(200)), []);
}

/// The next event that is no end of a partition.
fn event(reader: &Reader) -> Result<Record, KafkaError> {
    loop {
        match reader.next() {
            Err(KafkaError::PartitionEOF(_)) => {}
            other => return other,
        }
    }
}

#[test]
fn an_offset_past_the_end_is_refused_and_the_reset_holds() {
    let broker = broker();
    let topic = batches(&broker, "past-the-end");
    for past in [201, 1_000_000] {
        let reader = broker.reader(&[("auto.offset.reset", "error")]);
        reader.assign(&topic, &[(0, Offset::Offset(past))]);
        let error = event(&reader).unwrap_err().rdkafka_error_code();
        assert_eq!(error, Some(RDKafkaErrorCode::AutoOffsetReset), "{past}");

        let reader = broker.reader(&[("auto.offset.reset", "earliest")]);
        reader.assign(&topic, &[(0, Offset::Offset(past))]);
        assert_eq!(event(&reader).unwrap().offset, 0);
    }
    let reader = broker.reader(&[("auto.offset.reset", "latest")]);
    reader.assign(&topic, &[(1, Offset::Offset(5_000))]);
    assert!(matches!(reader.next(), Err(KafkaError::PartitionEOF(1))));
    let writer = broker.writer(&[]);
    writer.send(send(&topic, 1, b"record 200"));
    assert_eq!(writer.offsets(), [200]);
    assert_eq!(event(&reader).unwrap().offset, 200);
}

#[test]
fn what_is_not_there_is_told() {
    let broker = broker();
    let topic = broker.topic("two", 2, &[]);
    let told = |name: &str, partition| {
        let reader = broker.reader(&[("topic.metadata.propagation.max.ms", "0")]);
        reader.assign(name, &[(partition, Offset::Beginning)]);
        event(&reader).unwrap_err().rdkafka_error_code().unwrap()
    };
    assert_eq!(told(&topic, 7), RDKafkaErrorCode::UnknownPartition);
    assert_eq!(told(&broker.name("nobody"), 0), RDKafkaErrorCode::UnknownTopicOrPartition);
    assert_eq!(told("no/topic", 0), RDKafkaErrorCode::InvalidTopic);

    let reader = broker.reader(&[]);
    let error = reader.0.fetch_watermarks(&topic, 7, PATIENCE).unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::UnknownPartition));
    let writer = broker.writer(&[]);
    writer.send(send(&topic, 7, b"x"));
    assert_eq!(writer.reports()[0].error, Some(RDKafkaErrorCode::UnknownPartition));
}

#[test]
fn a_topic_comes_to_be_when_it_is_written_to() {
    let broker = broker();
    let topic = broker.name("on-demand");
    let writer = broker.writer(&[]);
    values("record", 10).iter().for_each(|value| writer.send(send(&topic, 0, value)));
    assert_eq!(writer.offsets(), (0..10).collect::<Vec<_>>());
    assert_eq!(broker.read(&topic, 0, Offset::Beginning).len(), 10);
    // A consumer brings one about only if it is told to.
    let other = broker.name("read-on-demand");
    let reader = broker.reader(&[("allow.auto.create.topics", "true")]);
    reader.assign(&other, &[(0, Offset::Beginning)]);
    assert!(matches!(reader.next(), Err(KafkaError::PartitionEOF(0))));
}

#[test]
fn who_waits_gets_a_record_when_it_comes() {
    let broker = broker();
    let topic = broker.topic("waits", 4, &[]);
    // Patience for far longer than the test has: without being woken, the consumer would get nothing.
    let patient =
        [("fetch.wait.max.ms", "300000"), ("socket.timeout.ms", "300000"), ("fetch.min.bytes", "1")];
    // One partition each: librdkafka waits for the first that it knows where to begin in, and not for the others.
    let readers = [0, 1, 2, 3].map(|partition| {
        let reader = broker.reader(&[&patient[..], &[("enable.partition.eof", "false")]].concat());
        reader.assign(&topic, &[(partition, Offset::Beginning)]);
        reader
    });
    let writer = broker.writer(&[("linger.ms", "0")]);
    for n in 0..40 {
        let partition = n * 7 % 4;
        writer.send(send(&topic, partition, b"x"));
        assert_eq!(writer.offsets(), [i64::from(n / 4)]);
        let record = readers[partition as usize].next().unwrap();
        assert_eq!((record.partition, record.offset), (partition, i64::from(n / 4)));
    }
    // Who wants more than there is waits for that much.
    let hungry = [("fetch.min.bytes", "4000"), ("enable.partition.eof", "false")];
    let reader = broker.reader(&[&patient[..1], &patient[1..2], &hungry[..]].concat());
    reader.assign(&topic, &[(1, Offset::Offset(10))]);
    writer.send(send(&topic, 1, &[1; 3000]));
    writer.offsets();
    writer.send(send(&topic, 1, &[2; 3000]));
    writer.offsets();
    assert_eq!(reader.take(2).iter().map(|r| r.offset).collect::<Vec<_>>(), [10, 11]);
}
