//! What the corpus begins with: real encodings.

use bytes::Bytes;
use ottla::log::checkpoint;
use ottla::log::compact::checkpoint::Checkpoint;
use ottla::log::snapshot::{ProducerBatch, SnapshotEntry, SnapshotWriter};
use ottla::wire::batch::{BatchBuilder, Compression};
use ottla::wire::codec::Writer;
use ottla::wire::schema::{self, Entry, Field, Kind, Role};
use ottla::wire::uuid::Uuid;

type Seeds = Vec<(String, Vec<u8>)>;

/// The seeds of a target, with their names.
pub fn of(target: &str) -> Seeds {
    match target {
        "answers" => answers(),
        "batches" => batches(),
        "compression" => compression(),
        "config" => config(),
        "connection" => connection(),
        "files" => files(),
        "frames" => frames(),
        "recovery" => recovery(),
        other => unreachable!("{other} has no seeds"),
    }
}

/// A message with something in each of its fields.
fn message(entry: &Entry, version: i16, count: usize) -> Bytes {
    let mut writer = Writer::new();
    structure(&mut writer, entry.fields, version, version >= entry.flexible, count);
    writer.into_bytes()
}

fn structure(w: &mut Writer, fields: &[Field], version: i16, flexible: bool, count: usize) {
    let present = || fields.iter().filter(|field| (field.present)(version));
    for field in present().filter(|field| field.tag.is_none()) {
        value(w, &field.kind, version, flexible, count, (field.nullable)(version));
    }
    if !flexible {
        return;
    }
    let mut tagged: Vec<_> = present().filter(|field| field.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    w.put_uvarint(tagged.len() as u32);
    for field in tagged {
        let tag = field.tag.expect("it has one");
        let written = w.put_tagged(tag, |w| {
            value(w, &field.kind, version, flexible, count, (field.nullable)(version));
            Ok(())
        });
        written.expect("it is short");
    }
}

fn value(w: &mut Writer, kind: &Kind, version: i16, flexible: bool, count: usize, nullable: bool) {
    match kind {
        Kind::Bool | Kind::I8 => w.put_i8(1),
        Kind::I16 => w.put_i16(count as i16),
        Kind::U16 => w.put_u16(9092),
        Kind::I32 => w.put_i32(count as i32),
        Kind::U32 => w.put_u32(7),
        Kind::I64 => w.put_i64(1000),
        Kind::F64 => w.put_f64(0.5),
        Kind::Uuid => w.put_uuid(Uuid::ONE),
        Kind::String => w.put_nullable_string(Some("t"), flexible).expect("it is short"),
        Kind::Bytes | Kind::Records => {
            let bytes = batch(Compression::None, 1).into();
            w.put_nullable_bytes(Some(&bytes), flexible).expect("it is short");
        }
        Kind::List(of) => {
            w.put_length(Some(count), flexible).expect("it is short");
            (0..count).for_each(|_| value(w, of, version, flexible, count, false));
        }
        Kind::Struct(fields) => {
            if nullable {
                w.put_i8(1);
            }
            structure(w, fields, version, flexible, count);
        }
    }
}

fn batch(compression: Compression, records: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(compression).producer(5, 0, 0);
    for n in 0..records {
        builder.append(1_700_000_000_000 + n, Some(b"key"), Some(b"a value of some length"), &[("h", None)]);
    }
    builder.build().expect("it can be built")
}

fn frames() -> Seeds {
    let mut seeds = Seeds::new();
    for entry in schema::all() {
        let Role::Request(api) = entry.role else { continue };
        for version in [entry.versions.0, entry.flexible.min(entry.versions.1), entry.versions.1] {
            let mut writer = Writer::new();
            writer.put_i16(api.number());
            writer.put_i16(version);
            writer.put_i32(7);
            writer.put_nullable_string(Some("seed"), false).expect("it is short");
            if api.request_header_version(version) >= 2 {
                writer.put_uvarint(0);
            }
            writer.put_slice(&message(&entry, version, 1));
            let frame = writer.into_bytes();
            let bytes = [&(frame.len() as i32).to_be_bytes()[..], &frame].concat();
            seeds.push((format!("{}-{version}", entry.name), bytes));
        }
    }
    seeds
}

fn answers() -> Seeds {
    let mut seeds = Seeds::new();
    for (which, entry) in schema::all().enumerate() {
        if matches!(entry.role, Role::Request(_)) {
            continue;
        }
        for version in [entry.versions.0, entry.versions.1] {
            let mut bytes = (which as u16).to_be_bytes().to_vec();
            bytes.push((version - entry.versions.0 + 1) as u8);
            if let Role::Response(api) = entry.role {
                bytes.extend_from_slice(&[0, 0, 0, 7]);
                bytes.extend((api.response_header_version(version) >= 1).then_some(0));
            }
            bytes.extend_from_slice(&message(&entry, version, 1));
            seeds.push((format!("{}-{version}", entry.name), bytes));
        }
        if let Role::Record(key) = entry.role {
            let version = entry.versions.1;
            let mut bytes = vec![0xff, 0xff, 1, key as u8, version as u8];
            bytes.extend_from_slice(&message(&entry, version, 1));
            seeds.push((format!("{}-framed", entry.name), bytes));
        }
    }
    seeds
}

fn batches() -> Seeds {
    let mut seeds = Seeds::new();
    for compression in Compression::ALL {
        for records in [1, 20] {
            for how in [1u8, 3, 5, 7, 9, 17, 33, 65, 97] {
                let bytes = [vec![how], batch(compression, records)].concat();
                seeds.push((format!("{compression}-{records}-{how}"), bytes));
            }
        }
    }
    let mut builder = BatchBuilder::new().delete_horizon(5).transactional();
    builder.append(1, Some(b"k"), None, &[]);
    seeds.push(("tombstone".into(), [vec![33], builder.build().expect("it can be built")].concat()));
    let builder = BatchBuilder::new().control().log_append_time();
    seeds.push(("empty-control".into(), [vec![1], builder.build().expect("it can be built")].concat()));
    seeds
}

fn compression() -> Seeds {
    let mut seeds = Seeds::new();
    let plain: Vec<u8> = (0..400u32).map(|n| (n * n / 50) as u8).collect();
    for (id, compression) in Compression::ALL.into_iter().enumerate() {
        for bound in [0u8, 1, 2, 3] {
            let made = compression.compress(&plain).expect("it can be compressed");
            seeds.push((format!("{compression}-{bound}"), [vec![8 | bound << 4 | id as u8], made].concat()));
        }
        seeds.push((format!("{compression}-plain"), [vec![id as u8], plain.clone()].concat()));
    }
    let raw = snap::raw::Encoder::new().compress_vec(&plain).expect("it can be compressed");
    seeds.push(("snappy-raw".into(), [vec![0x3a], raw].concat()));
    seeds
}

fn files() -> Seeds {
    let last = ProducerBatch { last_offset: 99, timestamp: 5, last_sequence: 7, offset_delta: 2 };
    let entry = |producer_id| SnapshotEntry {
        producer_id,
        epoch: 3,
        last,
        coordinator_epoch: -1,
        transaction_first_offset: -1,
    };
    let mut snapshot = SnapshotWriter::with_capacity(2);
    snapshot.add(&entry(5), &[last, last]);
    snapshot.add(&entry(6), []);
    let snapshot = snapshot.finish();
    let indexes = |entries: &[(u32, u32)], times: &[(i64, u32)]| {
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 4, 0, 8 * entries.len() as u8];
        entries.iter().for_each(|(a, b)| bytes.extend([a.to_be_bytes(), b.to_be_bytes()].concat()));
        times.iter().for_each(|(a, b)| bytes.extend([&a.to_be_bytes()[..], &b.to_be_bytes()].concat()));
        bytes
    };
    let mut marks = Vec::new();
    for (sequence, count) in [(0u32, 1u32), (1, 1)] {
        marks.extend_from_slice(&[0, 0, 0, 0, 0]);
        marks.extend_from_slice(b"OtSE");
        marks.extend_from_slice(&1u64.to_be_bytes());
        marks.extend([sequence, 1, count, 0].map(u32::to_be_bytes).concat());
        marks.extend_from_slice(&[7; 16]);
        marks.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0]);
    }
    let offsets = checkpoint::encode_offsets(&[("a".into(), 0, 5), ("b.c".into(), 12, 99)]);
    let meta = checkpoint::MetaProperties {
        cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".into(),
        node_id: 1,
        directory_id: Uuid([9; 16]),
    };
    let level = ottla::wire::schema::FeatureLevelRecord { name: "f".into(), feature_level: 3 };
    let topic = ottla::wire::schema::TopicRecord { name: "t".into(), topic_id: Uuid::ONE };
    let metadata = ottla::broker::metadata_log::encode(&[level.into(), topic.into()], 5);
    [
        ("numbers", 0, vec![0x80, 0x80, 0x01, b'a', 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("indexes", 1, indexes(&[(9, 0), (19, 500), (29, 1000)], &[(5, 9), (6, 19)])),
        ("snapshot", 2, snapshot.clone()),
        ("snapshot-sealed", 3, snapshot),
        ("offsets", 4, offsets),
        ("epochs", 5, checkpoint::encode_epochs(&[(0, 0), (3, 17), (4, 20)])),
        ("start", 6, checkpoint::encode_start(77)),
        ("partition-metadata", 6, checkpoint::encode_partition_metadata(Uuid::ONE)),
        ("marks", 7, marks),
        ("meta-properties", 8, meta.encode()),
        ("segment-name", 9, b"00000000000000000123.timeindex".to_vec()),
        ("partition-name", 9, b"a-topic-12".to_vec()),
        ("long-name", 9, "é".repeat(140).into_bytes()),
        ("cleaner", 10, Checkpoint { first_dirty: 42, exchange: vec![0, 17] }.encode()),
        ("metadata-log", 11, metadata.to_vec()),
        ("id", 12, Uuid([9; 16]).to_string().into_bytes()),
    ]
    .map(|(name, which, bytes)| (name.to_owned(), [vec![which], bytes].concat()))
    .into()
}

fn config() -> Seeds {
    let server = "# a file\nnode.id=1\nprocess.roles=broker,controller\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                  controller.listener.names=CONTROLLER\nadvertised.listeners=PLAINTEXT://localhost:9092\n\
                  listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
                  log.dirs=/tmp/a, /tmp/b\nnum.partitions=3\nlog.retention.hours=168\nlog.segment.bytes=\\\n  1073741824\n\
                  smile=\\uD83D\\uDE00!\nlog.cleanup.policy=compact,delete\nzookeeper.connect=x\n";
    let mut seeds: Seeds = [
        ("server-properties", 0, server.to_owned()),
        ("escapes", 0, "a\\ b : c\\td\\\\\n!x\n=v\nlog.retention.ms=-1\nnode.id=2\nbroker.id=3".to_owned()),
        (
            "overrides",
            4,
            "\0retention.ms=1000\ncleanup.policy=compact\nmin.insync.replicas=2\n5\nx=y".to_owned(),
        ),
        ("endpoints", 5, "A:PLAINTEXT,B:SSL\nA://[::1]:9092,B://host:0,CONTROLLER://:1".to_owned()),
        (
            "layers",
            7,
            "\u{20}\0log.retention.ms=5\nmessage.max.bytes=9\n\0log.flush.interval.ms=5".to_owned(),
        ),
    ]
    .map(|(name, which, text)| (name.to_owned(), [vec![which], text.into_bytes()].concat()))
    .into();
    for (i, text) in ["64KiB", "1.5mb", "600MB/s", "2.5s", "a+=b", "k=v", "-10", "@17", "e@18", "latest"]
        .into_iter()
        .enumerate()
    {
        seeds.push((format!("command-line-{i}"), [&[6], text.as_bytes()].concat()));
    }
    for (name, text) in ottla::config::profile::READY_MADE {
        seeds.push((format!("profile-{name}"), [&[1], text.as_bytes()].concat()));
    }
    let own =
        "cores = 2\nmemory = \"1GiB\"\n[core]\nring_depth = 256\nshares = { fetch = 5 }\n[core.1]\ncpu = 3\n";
    seeds.push(("profile-own".into(), [&[1], own.as_bytes()].concat()));
    for (row, text) in
        [(0u8, "compact,delete"), (3, "100"), (9, "0.5"), (12, "true"), (20, "0:1,2:3"), (33, "x")]
    {
        for which in [2, 3] {
            seeds.push((format!("setting-{which}-{row}"), [&[which, 0, row], text.as_bytes()].concat()));
        }
    }
    seeds
}

fn connection() -> Seeds {
    let mut seeds = Seeds::new();
    let mut all = vec![0];
    for entry in schema::all() {
        let Role::Request(api) = entry.role else { continue };
        if !api.on_broker() {
            continue;
        }
        let version = entry.versions.1;
        for count in [0, 1] {
            let body = message(&entry, version, count);
            let mut bytes = vec![0, api.number() as u8, version as u8];
            bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&body);
            if all.len() < 1500 {
                all.extend_from_slice(&bytes[1..]);
            }
            seeds.push((format!("{}-{count}", entry.name), bytes));
        }
    }
    seeds.push(("several".into(), all.clone()));
    all[0] = 2;
    seeds.push(("several-in-pieces".into(), all));
    for (name, bytes) in frames().into_iter().step_by(9) {
        seeds.push((format!("raw-{name}"), [vec![1], bytes].concat()));
    }
    seeds
}

fn recovery() -> Seeds {
    let mut seeds = Seeds::new();
    for kind in 0..crate::targets::recovery::KINDS as u8 {
        for (name, rest) in [
            ("whole", &[2][..]),
            ("flipped", &[2, 9, 0, 60, 4]),
            ("cut", &[2, 6, 3, 90]),
            ("zeroed", &[2, 6, 4, 30, 200, 0]),
            ("copied", &[2, 6, 5, 10, 4, 0, 200]),
            ("grown", &[2, 6, 6, 0, 16, 0]),
            ("gone", &[2, 7, 8, 0]),
            ("renamed", &[2, 6, 9, 0, 1, 2, 0]),
            ("written", &[2, 3, 7, 0, 4, b'0', b'\n', b'9', b'\n']),
            ("accepted", &[3, 6, 3, 9]),
        ] {
            seeds.push((format!("{kind}-{name}"), [&[kind], rest].concat()));
        }
    }
    seeds
}
