//! Records as they went in: codecs, keys, headers, nulls, timestamps, acknowledgements, sizes.

use ottla::wire::batch::{Compression, batches};
use rdkafka::Offset;
use rdkafka::Timestamp;
use rdkafka::error::RDKafkaErrorCode;

use crate::support::{Target, broker, headers, noise, send, together, values};

fn wall_clock() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// The codec and the number of records of each batch in a partition's first segment on disk.
fn on_disk(broker: &Target, topic: &str) -> Option<Vec<(Compression, i32)>> {
    let bytes = std::fs::read(broker.segment(topic, 0)?).unwrap();
    let found = batches(&bytes).map_while(Result::ok).map(|batch| {
        batch.check().unwrap();
        (batch.compression().unwrap(), batch.header().last_offset_delta + 1)
    });
    Some(found.collect())
}

#[test]
fn every_codec_is_kept_and_read_back() {
    let broker = broker();
    let codecs = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    let all = broker.topic("codecs", 1, &[]);
    let mut expected = Vec::new();
    for (name, codec) in codecs {
        let one = broker.topic(name, 1, &[]);
        let writer = broker.writer(&[together("300"), vec![("compression.codec", name)]].concat());
        let values = values(name, 300);
        for topic in [&one, &all] {
            values.iter().for_each(|value| writer.send(send(topic, 0, value)));
            writer.offsets();
        }
        if let Some(batches) = on_disk(&broker, &one) {
            assert_eq!(batches, [(codec, 300)], "{name}");
        }
        // From each offset, so also from within the batch.
        for from in [0, 1, 150, 299] {
            let read = broker.read(&one, 0, Offset::Offset(from as i64));
            let found: Vec<_> = read.iter().map(|record| (record.offset, record.value.clone())).collect();
            let wanted: Vec<_> = (from..300).map(|n| (n as i64, Some(values[n].clone()))).collect();
            assert_eq!(found, wanted, "{name} from {from}");
        }
        expected.extend(values.into_iter().map(Some));
    }
    let read: Vec<_> = broker.read(&all, 0, Offset::Offset(0)).into_iter().map(|r| r.value).collect();
    assert_eq!(read, expected);
}

#[test]
fn keys_values_headers_and_nulls_are_kept() {
    let broker = broker();
    let topic = broker.topic("fields", 1, &[]);
    let writer = broker.writer(&[]);
    let some_headers = [("a", Some("1")), ("empty", Some("")), ("null", None), ("a", Some("again"))];
    let plain = || rdkafka::producer::BaseRecord::with_opaque_to(&topic, 0).partition(0);
    writer.send(plain().key(&b"key"[..]).payload(&b"value"[..]).headers(headers(&some_headers)));
    writer.send(plain().key(&b"key"[..]));
    writer.send(plain().payload(&b"value"[..]));
    writer.send(plain());
    writer.send(plain().key(&[0, 255, 10][..]).payload(&[0; 1000][..]));
    assert_eq!(writer.offsets(), [0, 1, 2, 3, 4]);
    let read = broker.read(&topic, 0, Offset::Offset(0));
    let fields: Vec<_> = read.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    assert_eq!(
        fields,
        [
            (Some(&b"key"[..]), Some(&b"value"[..])),
            (Some(b"key"), None),
            (None, Some(b"value")),
            (None, None),
            (Some(&[0, 255, 10]), Some(&[0; 1000])),
        ]
    );
    let wanted: Vec<_> = some_headers
        .iter()
        .map(|(key, value)| (key.to_string(), value.map(|value| value.as_bytes().to_vec())))
        .collect();
    assert_eq!(read[0].headers, wanted);
    assert!(read[1..].iter().all(|record| record.headers.is_empty()));
}

#[test]
fn a_producers_timestamps_are_kept() {
    let broker = broker();
    let topic = broker.topic("create-time", 1, &[]);
    let writer = broker.writer(&together("4"));
    let before = wall_clock();
    // Not in order, and a year before the first.
    let times = [1_700_000_000_000, 1_600_000_000_000, 1_700_000_000_001];
    times.iter().for_each(|time| writer.send(send(&topic, 0, b"x").timestamp(*time)));
    writer.send(send(&topic, 0, b"now"));
    let told: Vec<_> = writer.reports().into_iter().map(|report| report.timestamp).collect();
    assert_eq!(told[..3], times.map(Timestamp::CreateTime));
    let read: Vec<_> = broker.read(&topic, 0, Offset::Offset(0)).into_iter().map(|r| r.timestamp).collect();
    assert_eq!(read[..3], times.map(|time| (time, false)));
    assert!((before..=wall_clock()).contains(&read[3].0) && !read[3].1, "{:?}", read[3]);
}

#[test]
fn the_brokers_clock_stamps_where_the_topic_says_so() {
    let broker = broker();
    let topic = broker.topic("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let before = wall_clock();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let writer = broker.writer(&[together("100"), vec![("compression.codec", codec)]].concat());
        values(codec, 100).iter().for_each(|value| writer.send(send(&topic, 0, value).timestamp(17)));
        for report in writer.reports() {
            let Timestamp::LogAppendTime(time) = report.timestamp else { panic!("{report:?}") };
            assert!((before..=wall_clock()).contains(&time), "{report:?}");
        }
    }
    let read = broker.read(&topic, 0, Offset::Offset(0));
    assert_eq!(read.len(), 500);
    assert!(read.is_sorted_by_key(|record| record.timestamp.0));
    assert!(read.iter().all(|r| r.timestamp.1 && (before..=wall_clock()).contains(&r.timestamp.0)));
}

#[test]
fn every_kind_of_acknowledgement_is_given() {
    let broker = broker();
    for (acks, has_offsets) in [("0", false), ("1", true), ("all", true)] {
        let topic = broker.topic("acks", 2, &[]);
        let writer = broker.writer(&[("acks", acks), ("linger.ms", "0")]);
        let values = values(acks, 400);
        for (n, value) in values.iter().enumerate() {
            writer.send(send(&topic, n as i32 % 2, value));
        }
        let told = writer.offsets();
        if has_offsets {
            assert_eq!(told, (0..400).map(|n| n / 2).collect::<Vec<_>>(), "acks={acks}");
        }
        for partition in [0, 1] {
            let reader = broker.reader(&[]);
            // Nobody said when the records without acknowledgement have arrived.
            reader.assign(&topic, &[(partition, Offset::Offset(0))]);
            let read: Vec<_> = reader.take(200).into_iter().map(|r| r.value.unwrap()).collect();
            let wanted: Vec<_> = values.iter().skip(partition as usize).step_by(2).cloned().collect();
            assert_eq!(read, wanted, "acks={acks}");
        }
    }
}

#[test]
fn idempotent_producers_write_each_record_once() {
    let broker = broker();
    let topic = broker.topic("idempotent", 4, &[]);
    let writers: Vec<_> =
        (0..3).map(|_| broker.writer(&[("enable.idempotence", "true"), ("linger.ms", "1")])).collect();
    let values = values("once", 1000);
    for (n, value) in values.iter().enumerate() {
        writers.iter().for_each(|writer| writer.send(send(&topic, n as i32 % 4, value)));
    }
    for writer in &writers {
        assert!(writer.reports().iter().all(|report| report.error.is_none()));
    }
    for partition in 0..4 {
        let mut read = broker.read(&topic, partition, Offset::Offset(0));
        assert_eq!(read.len(), 750);
        read.sort_by(|a, b| a.value.cmp(&b.value));
        let times = read.chunk_by(|a, b| a.value == b.value).all(|same| same.len() == 3);
        assert!(times, "each value was sent by three producers");
    }
}

/// The bytes of a batch of one record without key and headers, beside its value, for values of 8 KiB to 1 MiB.
const AROUND: usize = 61 + 3 + 8;

#[test]
fn a_record_may_be_as_large_as_allowed_and_not_a_byte_larger() {
    let broker = broker();
    let default = 1_048_588;
    for (name, setting, limit) in [
        ("default-limit", None, default),
        ("low-limit", Some("100000"), 100_000),
        ("twice", Some("1048576"), 1 << 20),
    ] {
        let settings: Vec<_> = setting.iter().map(|value| ("max.message.bytes", *value)).collect();
        let topic = broker.topic(name, 2, &settings);
        for acks in ["1", "all"] {
            let writer = broker.writer(&[("message.max.bytes", "20000000"), ("acks", acks)]);
            for partition in [0, 1] {
                writer.send(send(&topic, partition, &noise(limit - AROUND)));
                assert!(writer.reports()[0].error.is_none(), "{name}");
                writer.send(send(&topic, partition, &noise(limit - AROUND + 1)));
                let report = &writer.reports()[0];
                assert_eq!(report.error, Some(RDKafkaErrorCode::MessageSizeTooLarge), "{name}");
                // What comes behind a refused record is taken.
                writer.send(send(&topic, partition, b"small"));
                writer.offsets();
            }
        }
        for partition in [0, 1] {
            let read = broker.read(&topic, partition, Offset::Offset(0));
            let sizes: Vec<_> = read.iter().map(|r| r.value.as_ref().unwrap().len()).collect();
            assert_eq!(sizes, [limit - AROUND, 5, limit - AROUND, 5], "{name}");
        }
    }
}

#[test]
fn records_larger_than_any_buffer_come_through_whole() {
    let broker = broker();
    let topic = broker.topic("huge", 2, &[("max.message.bytes", "60000000")]);
    let large = [("message.max.bytes", "100000000"), ("message.copy.max.bytes", "1000")];
    let sizes = [3, 2_000_000, 9_000_000, 50_000_000, 70_000, 600_000];
    let mut sent = vec![Vec::new(); 2];
    for codec in ["none", "lz4"] {
        let writer = broker.writer(&[&large[..], &[("compression.codec", codec)]].concat());
        for partition in [0, 1] {
            for size in sizes {
                let value = noise(size);
                writer.send(send(&topic, partition, &value));
                sent[partition as usize].push(value);
            }
            writer.offsets();
        }
    }
    // Less than one of the records per request: each comes for all that.
    let limits = [("fetch.message.max.bytes", "100000"), ("receive.message.max.bytes", "200000000")];
    for partition in [0, 1] {
        let reader = broker.reader(&limits);
        reader.assign(&topic, &[(partition, Offset::Offset(0))]);
        let read = reader.to_end();
        let sizes: Vec<_> = read.iter().map(|r| r.value.as_ref().map(Vec::len)).collect();
        let wanted: Vec<_> = sent[partition as usize].iter().map(|value| Some(value.len())).collect();
        assert_eq!(sizes, wanted);
        assert!(read.iter().zip(&sent[partition as usize]).all(|(r, s)| r.value.as_ref() == Some(s)));
    }
}
