//! Produce with batches that are not what they say.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ottla::command::client::Connection;
use ottla::wire::api::read_response;
use ottla::wire::batch::{Batch, BatchBuilder, BatchHeader, Compression, attributes, batches};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    FetchPartition, FetchRequest, FetchTopic, PartitionProduceData, ProduceRequest, ProduceResponse,
    TopicProduceData,
};

use crate::bystander::Bystander;
use crate::generate::Chance;
use crate::raw::{Raw, frame, request};
use crate::target::{PATIENCE, Target, Topic};

/// What a batch is answered.
#[derive(Clone, Copy)]
enum Answer {
    /// By Ottla and by Kafka.
    Both(ErrorCode),
    /// By Ottla, and by Kafka.
    Apart(ErrorCode, ErrorCode),
}

use Answer::{Apart, Both};

impl Answer {
    fn of(self, target: &Target) -> ErrorCode {
        match self {
            Both(code) => code,
            Apart(ours, kafka) => {
                if target.is_own() {
                    ours
                } else {
                    kafka
                }
            }
        }
    }
}

fn good_header() -> BatchHeader {
    BatchHeader { attributes: 0, ..Batch::first(&good()).unwrap().header() }
}

/// A batch of three records.
fn good() -> Vec<u8> {
    good_with(Compression::None)
}

fn good_with(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(compression);
    (0..3).for_each(|i| builder.append(1_700_000_000_000 + i, Some(b"k"), Some(b"value"), &[]));
    builder.build().unwrap()
}

/// The good batch's records under another header, with the checksum that goes with it.
fn with(change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = good_header();
    change(&mut header);
    header.write(Batch::first(&good()).unwrap().payload())
}

/// The good batch with other bytes somewhere, and its old checksum.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = good();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    batch
}

/// A message set of the time before batches.
fn message_set(magic: u8) -> Vec<u8> {
    let timestamp: &[u8] = if magic == 1 { &[0; 8] } else { &[] };
    let body = [&[magic, 0][..], timestamp, &[0xff; 4], b"\0\0\0\x05value"].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let message = [&crc.sum().to_be_bytes()[..], &body].concat();
    [&[0; 8][..], &(message.len() as i32).to_be_bytes(), &message].concat()
}

/// Batches, and what they are answered.
fn table() -> Vec<(&'static str, Vec<u8>, Answer)> {
    use ErrorCode as E;
    let last = good().len() as i32 - 12;
    vec![
        ("good", good(), Both(E::NONE)),
        ("nothing", Vec::new(), Both(E::INVALID_RECORD)),
        ("a wrong checksum", patched(17, &[1, 2, 3, 4]), Both(E::CORRUPT_MESSAGE)),
        ("a changed byte", patched(70, b"X"), Both(E::CORRUPT_MESSAGE)),
        ("messages of layout 0", message_set(0), Both(E::INVALID_RECORD)),
        ("messages of layout 1", message_set(1), Both(E::INVALID_RECORD)),
        ("layout 3", patched(16, &[3]), Both(E::CORRUPT_MESSAGE)),
        ("layout -1", patched(16, &[0xff]), Both(E::CORRUPT_MESSAGE)),
        ("a length of nothing", patched(8, &0i32.to_be_bytes()), Both(E::CORRUPT_MESSAGE)),
        ("a negative length", patched(8, &(-5i32).to_be_bytes()), Both(E::CORRUPT_MESSAGE)),
        ("a length within the header", patched(8, &20i32.to_be_bytes()), Both(E::CORRUPT_MESSAGE)),
        ("a length that ends early", patched(8, &(last - 3).to_be_bytes()), Both(E::CORRUPT_MESSAGE)),
        ("a length past the end", patched(8, &(last + 1).to_be_bytes()), Both(E::INVALID_RECORD)),
        (
            "a length of gigabytes",
            patched(8, &i32::MAX.to_be_bytes()),
            Apart(E::INVALID_RECORD, E::UNKNOWN_SERVER_ERROR),
        ),
        ("half a header", good()[..30].to_vec(), Both(E::INVALID_RECORD)),
        ("half a length", good()[..10].to_vec(), Both(E::INVALID_RECORD)),
        ("two batches", [good(), good()].concat(), Both(E::INVALID_RECORD)),
        // Kafka takes the batch, and drops the byte without a word.
        ("a batch and a byte", [good(), vec![0]].concat(), Apart(E::INVALID_RECORD, E::NONE)),
        ("no records", with(|h| h.count = 0), Both(E::INVALID_RECORD)),
        ("a negative count", with(|h| h.count = -1), Both(E::INVALID_RECORD)),
        ("a count of billions", with(|h| h.count = i32::MAX), Both(E::INVALID_RECORD)),
        ("a record too few", with(|h| h.count = 2), Both(E::INVALID_RECORD)),
        ("a record too many", with(|h| h.count = 4), Both(E::INVALID_RECORD)),
        ("a negative offset delta", with(|h| h.last_offset_delta = -1), Both(E::INVALID_RECORD)),
        ("an offset delta too far", with(|h| h.last_offset_delta = 1000), Both(E::INVALID_RECORD)),
        ("an offset delta of billions", with(|h| h.last_offset_delta = i32::MAX), Both(E::INVALID_RECORD)),
        ("a base offset", with(|h| h.base_offset = 5), Both(E::INVALID_RECORD)),
        ("a negative base offset", with(|h| h.base_offset = -5), Both(E::INVALID_RECORD)),
        ("a control batch", with(|h| h.attributes = attributes::CONTROL), Both(E::INVALID_RECORD)),
        ("the broker's timestamps", with(|h| h.attributes = attributes::LOG_APPEND_TIME), Both(E::NONE)),
        (
            "compression 5",
            with(|h| h.attributes = 5),
            Apart(E::UNSUPPORTED_COMPRESSION_TYPE, E::UNKNOWN_SERVER_ERROR),
        ),
        (
            "compression 7",
            with(|h| h.attributes = 7),
            Apart(E::UNSUPPORTED_COMPRESSION_TYPE, E::UNKNOWN_SERVER_ERROR),
        ),
        ("a transaction without a name", transactional(), Both(E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)),
        (
            "a producer without a sequence",
            with(|h| (h.producer_id, h.producer_epoch) = (5, 0)),
            Both(E::INVALID_RECORD),
        ),
        ("unknown attributes", with(|h| h.attributes = 0x7f80), Both(E::NONE)),
        ("timestamps of the far future", future(), Both(E::INVALID_TIMESTAMP)),
        // The records say when they are of.
        ("a header of the far future", with(|h| h.max_timestamp = FUTURE), Both(E::NONE)),
        // What follows shows in the records alone, which Kafka reads and Ottla does not.
        ("records that are none", garbage(0), Apart(E::NONE, E::INVALID_RECORD)),
        ("gzip that is none", garbage(1), Apart(E::NONE, E::UNKNOWN_SERVER_ERROR)),
        ("billions of records", billions(), Apart(E::NONE, E::INVALID_RECORD)),
    ]
}

/// Milliseconds, in the year 2096.
const FUTURE: i64 = 4_000_000_000_000;

fn future() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.append(FUTURE, None, Some(b"value"), &[]);
    builder.build().unwrap()
}

/// Bytes that are no records, in this compression.
fn garbage(attributes: i16) -> Vec<u8> {
    BatchHeader { attributes, ..good_header() }.write(&Chance(6).bytes(100))
}

fn billions() -> Vec<u8> {
    with(|h| (h.count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1))
}

fn transactional() -> Vec<u8> {
    with(|h| {
        h.attributes = attributes::TRANSACTIONAL;
        (h.producer_id, h.producer_epoch, h.base_sequence) = (5, 0, 0);
    })
}

fn produce(topic: &Topic, records: Option<Bytes>, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records };
    let topic = TopicProduceData { name: topic.name.clone(), topic_id: topic.id, partition_data: vec![data] };
    ProduceRequest { transactional_id: None, acks, timeout_ms: 10_000, topic_data: vec![topic] }
}

fn error(
    connection: &mut Connection,
    topic: &Topic,
    records: Option<Bytes>,
    version: i16,
) -> (ErrorCode, String) {
    let sent = connection.send(&produce(topic, records, -1), version).unwrap();
    let answer = connection.receive(sent, PATIENCE).unwrap();
    let part = answer.responses[0].partition_responses[0].clone();
    (part.error_code, part.error_message.unwrap_or_default())
}

/// All batches of partition 0, each with a right checksum.
fn read_all(connection: &mut Connection, topic: &Topic) -> Vec<Vec<u8>> {
    let (mut found, mut fetch_offset) = (Vec::new(), 0);
    loop {
        let partition = FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
        let wanted =
            FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions: vec![partition] };
        let request = FetchRequest { max_bytes: 1 << 20, topics: vec![wanted], ..Default::default() };
        let answer = connection.call(&request).unwrap();
        let part = &answer.responses[0].partitions[0];
        assert_eq!(part.error_code, ErrorCode::NONE);
        let records = part.records.as_ref().map(|records| records.to_bytes()).unwrap_or_default();
        if records.is_empty() {
            assert_eq!(fetch_offset, part.high_watermark);
            return found;
        }
        for batch in batches(&records).map_while(Result::ok) {
            batch.check().unwrap();
            found.push(batch.bytes().to_vec());
            fetch_offset = batch.last_offset() + 1;
        }
    }
}

#[test]
fn each_lie_gets_its_error_and_nothing_of_it_is_kept() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let topic = target.topic("lies", 1);
    let mut client = target.client();
    let (mut wrong, mut accepted) = (BTreeMap::new(), 0);
    for (what, batch, expected) in table() {
        for version in [3, 8, 12, 13] {
            let (code, why) = error(&mut client, &topic, Some(batch.clone().into()), version);
            accepted += usize::from(code.is_none());
            if code != expected.of(&target) {
                wrong.insert((what, version), (code, why, expected.of(&target)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(error(&mut client, &topic, None, 13).0, ErrorCode::INVALID_RECORD, "null");
    assert_eq!(read_all(&mut client, &topic).len(), accepted);
    bystander.end();
}

#[test]
fn zstd_needs_a_version_that_knows_it() {
    let target = Target::start();
    let topic = target.topic("zstd", 1);
    let mut client = target.client();
    let zstd = Bytes::from(good_with(Compression::Zstd));
    for version in 3..=12 {
        let expected = if version < 7 { ErrorCode::UNSUPPORTED_COMPRESSION_TYPE } else { ErrorCode::NONE };
        assert_eq!(error(&mut client, &topic, Some(zstd.clone()), version).0, expected, "version {version}");
    }
}

/// A producer that wants no answer learns of an error by losing its connection.
#[test]
fn without_acknowledgement_an_error_ends_the_connection() {
    let target = Target::start();
    let topic = target.topic("silent", 1);
    let silent = |records: Vec<u8>| frame(&request(&produce(&topic, Some(records.into()), 0), 12));
    let mut raw = Raw::connect(&target.address);
    raw.send(&silent(good()));
    assert!(raw.is_served(), "a good batch has no answer");
    raw.send(&silent(patched(17, &[1, 2, 3, 4])));
    assert!(raw.is_closed());
    let mut client = target.client();
    // Nobody said when it would be there.
    let deadline = Instant::now() + PATIENCE;
    while read_all(&mut client, &topic).len() != 1 {
        assert!(Instant::now() < deadline, "it is never there");
    }
    let mut raw = Raw::connect(&target.address);
    let answer = raw.ask(&frame(&request(&produce(&topic, Some(good().into()), 5), 12))).unwrap();
    let (_, answer) = read_response::<ProduceResponse>(answer, 12).unwrap();
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::INVALID_REQUIRED_ACKS);
}

/// Batches with bytes changed by chance: what is accepted has its checksum, and is there to be read.
#[test]
fn batches_by_chance() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let topic = target.topic("chance", 1);
    let mut client = target.client();
    let mut chance = Chance(3);
    let mut accepted = 0;
    for _ in 0..2000 {
        let compression = Compression::ALL[chance.below(Compression::ALL.len() as u64) as usize];
        let mut batch = good_with(compression);
        for _ in 0..chance.below(4) {
            let at = chance.below(batch.len() as u64) as usize;
            batch[at] = chance.next() as u8;
        }
        if chance.one_in(4) {
            batch.truncate(chance.below(batch.len() as u64) as usize);
        }
        let (code, _) = error(&mut client, &topic, Some(batch.clone().into()), 12);
        let whole = Batch::first(&batch)
            .is_ok_and(|whole| whole.bytes().len() == batch.len() && whole.check().is_ok());
        assert!(whole || code.is_error(), "{batch:02x?}");
        accepted += usize::from(code.is_none());
    }
    assert!(accepted > 100, "{accepted}");
    assert_eq!(read_all(&mut client, &topic).len(), accepted);
    bystander.end();
}
