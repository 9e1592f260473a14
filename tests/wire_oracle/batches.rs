//! Record batches held against Kafka's own, and against the `kafka-protocol` crate.

use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;
use ottla::wire::batch::{Batch, BatchBuilder, Compression, Record};

use crate::generate::Chance;
use crate::jars::{Asker, hex};

/// Batches by chance, in every compression and with every flag that a log can have.
fn samples() -> Vec<Vec<u8>> {
    let mut chance = Chance(11);
    let mut samples = Vec::new();
    for round in 0..60 {
        let compression = Compression::ALL[round % 5];
        let offset = chance.below(1 << 40) as i64;
        let mut builder = BatchBuilder::new().compression(compression).base_offset(offset).leader_epoch(7);
        if chance.one_in(2) {
            builder = builder.producer(chance.below(1 << 40) as i64, 3, chance.below(1 << 30) as i32);
            if chance.one_in(2) {
                builder = builder.transactional();
            }
        }
        if chance.one_in(4) {
            builder = builder.log_append_time();
        }
        let mut delta = 0;
        for _ in 0..=chance.below(30) {
            let len = if chance.one_in(5) { chance.below(40_000) } else { chance.below(300) };
            let value = if chance.one_in(2) { vec![b'v'; len as usize] } else { chance.bytes(len as usize) };
            let len = chance.below(20);
            let key = chance.bytes(len as usize);
            let headers: [(&[u8], Option<&[u8]>); 3] =
                [(b"one", Some(b"1")), (b"two", None), ("\u{fc}".as_bytes(), Some(b""))];
            builder.append_at(
                delta,
                1_700_000_000_000 + chance.below(100_000) as i64 - 50_000,
                (!chance.one_in(5)).then_some(&key[..]),
                (!chance.one_in(5)).then_some(&value[..]),
                headers[..chance.below(4) as usize].iter().copied(),
            );
            // Some offsets were compacted away.
            delta += if chance.one_in(6) { 1 + chance.below(300) as i32 } else { 1 };
        }
        samples.push(builder.build().unwrap());
    }
    samples
}

fn show(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-".into(), hex)
}

/// What a batch holds, in the words of the Java program.
fn describe(bytes: &[u8]) -> String {
    let b = Batch::first(bytes).unwrap();
    b.check().unwrap();
    let mut text = format!(
        "{} {} {} {} {} {} {} {} {} {} {} {} {};",
        b.base_offset(),
        b.last_offset(),
        b.leader_epoch(),
        b.compression().unwrap().id(),
        b.is_log_append_time(),
        b.is_transactional(),
        b.is_control(),
        b.max_timestamp(),
        b.producer_id(),
        b.producer_epoch(),
        b.base_sequence(),
        b.last_sequence(),
        b.count()
    );
    for record in b.open(16 << 20).unwrap().iter() {
        let Record { offset, timestamp, key, value, headers } = record.unwrap();
        text += &format!("{offset} {timestamp} {} {}", show(key), show(value));
        for header in headers.map(Result::unwrap) {
            text += &format!(" {}={}", hex(header.key), show(header.value));
        }
        text += ";";
    }
    text
}

/// Kafka reads what we write.
pub fn ours(ask: &mut Asker) -> Vec<String> {
    let mut wrong = Vec::new();
    for (i, bytes) in samples().iter().enumerate() {
        let Some(answer) = ask.ask(format!("records {}", hex(bytes))) else { continue };
        let ours = describe(bytes);
        if ours != answer {
            wrong.push(format!("sample {i}\n  ours    {ours:.2000}\n  Kafka's {answer:.2000}"));
        }
    }
    wrong
}

/// We read what Kafka writes.
pub fn kafkas(ask: &mut Asker) -> Vec<String> {
    let mut wrong = Vec::new();
    for compression in Compression::ALL {
        for count in [1, 2, 10, 100] {
            let Some(answer) = ask.ask(format!("build {} {count}", compression.id())) else { continue };
            let bytes: Vec<u8> = (0..answer.len() / 2)
                .map(|i| u8::from_str_radix(&answer[2 * i..2 * i + 2], 16).expect(&answer))
                .collect();
            let batch = Batch::first(&bytes).unwrap();
            batch.check_from_client().unwrap();
            assert_eq!(batch.compression(), Ok(compression));
            let records = batch.open(1 << 20).unwrap();
            let found: Vec<Record> = records.iter().map(Result::unwrap).collect();
            assert_eq!(found.len(), count);
            for (i, record) in found.iter().enumerate() {
                let (key, value) = (format!("key-{i}"), "value".repeat(10 * i));
                let same = record.key == Some(key.as_bytes())
                    && record.value == Some(value.as_bytes())
                    && (record.offset, record.timestamp) == (5 + i as i64, 1000 + i as i64);
                if !same {
                    wrong.push(format!("{compression}, record {i}: {record:?}"));
                }
            }
        }
    }
    wrong
}

#[test]
fn the_kafka_protocol_crate_reads_the_same_records() {
    for bytes in samples() {
        let batch = Batch::first(&bytes).unwrap();
        let set = batch.open(16 << 20).unwrap();
        let theirs = RecordBatchDecoder::decode(&mut Bytes::from(bytes.clone())).unwrap().records;
        assert_eq!(theirs.len(), set.iter().count());
        for (ours, theirs) in set.iter().map(Result::unwrap).zip(theirs) {
            assert_eq!(ours.offset, theirs.offset);
            // The crate does not know that the broker's time is that of all records.
            assert!(batch.is_log_append_time() || ours.timestamp == theirs.timestamp);
            assert_eq!(ours.key, theirs.key.as_deref());
            assert_eq!(ours.value, theirs.value.as_deref());
            assert_eq!(ours.headers.len(), theirs.headers.len());
        }
    }
}
