//! The small files of a log directory, and whatever else is written by hand.

use std::path::Path;

use bytes::Bytes;
use ottla::broker::metadata_log;
use ottla::limits::BLOCK;
use ottla::log::checkpoint::{self, MetaProperties};
use ottla::log::compact::checkpoint::Checkpoint;
use ottla::log::epochs::Epochs;
use ottla::log::index::{self, SegmentIndex};
use ottla::log::marks::{MarkBlock, MarkWriter, read_file};
use ottla::log::segment;
use ottla::log::snapshot::{Snapshot, SnapshotWriter};
use ottla::partition::producers::{ProducerRoom, Producers};
use ottla::wire::batch::Batch;
use ottla::wire::codec::{Reader, Writer};
use ottla::wire::uuid::Uuid;

use super::input::Input;
use super::memory;

/// The first byte chooses the file.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let which = input.u8();
    let limit = bytes.len() * 16 + (64 << 10);
    memory::within(limit, || match which % 13 {
        0 => numbers(input),
        1 => indexes(input),
        2 => snapshot(input.rest()),
        3 => sealed_snapshot(input.rest()),
        4 => offsets(input.rest()),
        5 => epochs(input.rest()),
        6 => small(input.rest()),
        7 => marks(input),
        8 => properties(input.rest()),
        9 => names(input.rest()),
        10 => cleaner(input.rest()),
        11 => metadata(input.rest()),
        _ => id(input.rest()),
    });
}

fn numbers(mut input: Input<'_>) {
    let bytes = Bytes::copy_from_slice(input.rest());
    let written = |write: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        write(&mut writer);
        Reader::new(writer.into_bytes())
    };
    if let Ok(n) = Reader::new(bytes.clone()).uvarint() {
        assert_eq!(written(&|w| w.put_uvarint(n)).uvarint(), Ok(n));
        assert_eq!(written(&|w| w.put_uvarint(n)).left(), ottla::wire::codec::uvarint_len(n));
    }
    if let Ok(n) = Reader::new(bytes.clone()).varint() {
        assert_eq!(written(&|w| w.put_varint(n)).varint(), Ok(n));
    }
    if let Ok(n) = Reader::new(bytes.clone()).varlong() {
        assert_eq!(written(&|w| w.put_varlong(n)).varlong(), Ok(n));
        assert_eq!(written(&|w| w.put_varlong(n)).left(), ottla::wire::codec::varlong_len(n));
    }
    for compact in [false, true] {
        if let Ok(text) = Reader::new(bytes.clone()).nullable_string(compact) {
            let again = written(&|w| drop(w.put_nullable_string(text.as_deref(), compact)));
            assert!(
                text.as_ref().is_some_and(|t| t.len() > 32_000) || {
                    let mut again = again;
                    again.nullable_string(compact) == Ok(text)
                }
            );
        }
        if let Ok(raw) = Reader::new(bytes.clone()).nullable_bytes(compact) {
            let mut again = written(&|w| w.put_nullable_bytes(raw.as_ref(), compact).expect("it fits"));
            assert_eq!(again.nullable_bytes(compact), Ok(raw));
        }
    }
    // Checksums of pieces make that of the whole.
    let cut = bytes.first().map_or(0, |b| usize::from(*b)).min(bytes.len());
    let (one, other) = bytes.split_at(cut);
    assert_eq!(crc32c::crc32c_append(crc32c::crc32c(one), other), crc32c::crc32c(&bytes));
}

fn indexes(mut input: Input<'_>) {
    let base = (input.u64() as i64 & i64::MAX).min(segment::OFFSET_MAX);
    let wanted = input.u64() as i64 & i64::MAX;
    let length = usize::from(input.u8());
    let (offsets, times) = (input.take(length), input.rest());
    if let Some(entries) = index::decode_offsets(offsets) {
        let landing = index::landing(&entries, base, wanted);
        let is_entry = |position| entries.iter().any(|entry| u64::from(entry.position) == position);
        assert!(landing.position == 0 || is_entry(landing.position));
        assert!(landing.next.is_none_or(|next| is_entry(next) && next >= landing.position));
        assert!(landing.from_offset >= base && landing.ends_at.is_none_or(|end| end >= landing.from_offset));
    }
    if let Some(entries) = index::decode_times(times) {
        index::offset_before(&entries, wanted);
    }
    let Some(mut both) = SegmentIndex::from_files(offsets, times) else { return };
    assert_eq!(both.offset_file(), offsets);
    assert_eq!(both.time_file(), times);
    both.landing(base, wanted);
    both.landing_for_time(base, wanted);
    both.last_offset(base);
    both.max_timestamp();
    both.is_full(1000);
}

fn sealed_snapshot(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 6 {
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[..2].copy_from_slice(&[0, 1]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    }
    snapshot(&bytes);
}

fn snapshot(bytes: &[u8]) {
    let Ok(read) = Snapshot::decode(bytes) else { return };
    let mut writer = SnapshotWriter::with_capacity(read.entries().len());
    for entry in read.entries() {
        writer.add(&entry, []);
    }
    if read.older().len() == 0 && bytes.len() == 10 + 46 * read.entries().len() {
        assert_eq!(writer.finish(), bytes);
    }
    let mut producers = Producers::new(ProducerRoom::new(100));
    producers.load(&read, 1000);
    for producer in producers.active(0, 100) {
        producer.last.base_offset();
        producer.last.first_sequence();
    }
    // What was taken in once is told, and taken in, the same again.
    let first = producers.snapshot();
    let mut again = Producers::new(ProducerRoom::new(100));
    again.load(&Snapshot::decode(&first).expect("what is written reads back"), 1000);
    assert_eq!(again.snapshot(), first);
    // What was expired is gone.
    let mut from = Some(0);
    while let Some(at) = from {
        from = producers.expire(Some(at), 10, i64::MAX, 1);
    }
}

fn offsets(bytes: &[u8]) {
    if let Ok(entries) = checkpoint::decode_offsets(bytes) {
        let again = checkpoint::decode_offsets(&checkpoint::encode_offsets(&entries));
        // A name may end its line where it was read in another way.
        assert_eq!(again, Ok(entries));
    }
}

fn epochs(bytes: &[u8]) {
    let Ok(entries) = checkpoint::decode_epochs(bytes) else { return };
    assert_eq!(checkpoint::decode_epochs(&checkpoint::encode_epochs(&entries)).as_ref(), Ok(&entries));
    let mut epochs = Epochs::new(entries.iter().copied());
    let sorted = epochs.entries().windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
    assert!(sorted, "{epochs:?}");
    for (epoch, offset) in &entries {
        epochs.end_of(*epoch, i64::MAX);
        epochs.at(*offset);
    }
    if let Some((_, offset)) = entries.first() {
        epochs.forget_before(*offset);
        epochs.cut(offset.saturating_add(5));
    }
}

fn small(bytes: &[u8]) {
    if let Ok(start) = checkpoint::decode_start(bytes) {
        assert_eq!(checkpoint::decode_start(&checkpoint::encode_start(start)), Ok(start));
    }
    if let Ok(id) = checkpoint::decode_partition_metadata(bytes) {
        assert_eq!(checkpoint::decode_partition_metadata(&checkpoint::encode_partition_metadata(id)), Ok(id));
    }
}

/// Blocks of marks: each is 64 bytes of an input, with zeros behind them and a checksum that fits.
fn marks(mut input: Input<'_>) {
    let mut file = Vec::new();
    while !input.is_empty() && file.len() < 8 * BLOCK {
        let flags = input.u8();
        let mut block = input.take(64).to_vec();
        block.resize(BLOCK, 0);
        if flags & 1 == 0 {
            block[4..8].copy_from_slice(b"OtSE");
            let crc = crc32c::crc32c(&block[4..]);
            block[..4].copy_from_slice(&crc.to_be_bytes());
        }
        if let Some(read) = MarkBlock::decode(&block) {
            let again = MarkBlock::decode(&read.encode());
            assert_eq!(again, Some(read));
        }
        file.extend_from_slice(&block);
    }
    let Some(found) = read_file(&file) else { return };
    let (mut writer, snapshot) = MarkWriter::new(found.generation, found.marks.clone());
    let read = read_file(&snapshot.blocks.concat()).expect("what is written reads back");
    assert_eq!(read, found);
    for id in found.marks.keys() {
        writer.set(*id, 5);
    }
    assert!(!writer.is_full());
    writer.take_blocks();
}

fn properties(bytes: &[u8]) {
    if let Ok(read) = MetaProperties::decode(bytes) {
        assert_eq!(MetaProperties::decode(&read.encode()), Ok(read));
    }
}

fn names(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    if let Some((base, kind)) = segment::parse_name(&name) {
        assert_eq!(segment::file(Path::new(""), base, kind), Path::new(&*name));
    }
    if let Some((topic, partition)) = segment::parse_partition_dir(&name) {
        assert_eq!(segment::partition_dir(Path::new(""), topic, partition), Path::new(&*name));
    }
    let renamed = segment::renamed_dir(&name, Uuid::ONE, "stray");
    assert!(renamed.len() <= 255 && renamed.ends_with("-stray"));
    assert_eq!(segment::parse_partition_dir(&renamed), None);
}

fn cleaner(bytes: &[u8]) {
    if let Ok(read) = Checkpoint::decode(bytes) {
        assert_eq!(Checkpoint::decode(&read.encode()), Ok(read));
    }
}

fn metadata(bytes: &[u8]) {
    let Ok(batch) = Batch::first(bytes) else { return };
    if let Ok(records) = metadata_log::decode(&batch) {
        assert!(batch.is_control() || records.len() == batch.count().max(0) as usize);
    }
}

fn id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<Uuid>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Some(bytes) = bytes.first_chunk::<16>() {
        assert_eq!(Uuid(*bytes).to_string().parse(), Ok(Uuid(*bytes)));
    }
}
