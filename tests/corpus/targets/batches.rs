//! Batches as producers send them: what is accepted reads back, in any compression, after compaction too.

use ottla::log::compact::filter::{Kept, Rules};
use ottla::log::compact::offset_map::OffsetMap;
use ottla::log::epochs::Epochs;
use ottla::log::index::SegmentIndex;
use ottla::log::recovery::{End, Progress, Scan};
use ottla::log::tail::Tail;
use ottla::log::{Log, LogConfig, Segment};
use ottla::partition::producers::{ProducerRoom, Producers};
use ottla::partition::{Admission, AppendRules, Partition};
use ottla::wire::batch::{Batch, BatchError, BatchMut, Compression, HEADER, PREFIX, Recompressor, Record};
use ottla::wire::batch::{attributes, batches, front};

use super::input::Input;
use super::memory;

/// What a batch may have when decompressed.
const LIMIT: usize = 1 << 20;
/// What codecs may take.
const CODEC: usize = 24 << 20;
const NOW: i64 = 1_700_000_000_000;

/// The first byte says whether length, layout and checksum are set right, and what the batch is held against.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.u8();
    let mut bytes = input.rest().to_vec();
    if how & 1 != 0 && bytes.len() >= HEADER {
        seal(&mut bytes);
    }
    for batch in batches(&bytes) {
        let Ok(batch) = batch else { break };
        if let Err(why) = batch.check_from_client() {
            assert!(why.error_code().is_error() && !why.to_string().is_empty());
        }
    }
    let Ok(batch) = Batch::first(&bytes) else { return scan(&bytes) };
    let checked = batch.check();
    let records = memory::within(LIMIT * 4 + CODEC, || batch.open(LIMIT).map(|set| set.bytes().len()));
    assert!(records.is_err() || records.is_ok_and(|len| len <= LIMIT.max(bytes.len())));
    scan(batch.bytes());
    if checked.is_err() {
        return;
    }
    compact(&batch, how);
    if batch.check_from_client().is_err() {
        return;
    }
    admit(&batch, how);
    let to = Compression::ALL[usize::from(how >> 1 & 7) % Compression::ALL.len()];
    recompress(&batch, to, how & 16 != 0);
}

/// Makes the first batch one that stands.
fn seal(bytes: &mut [u8]) {
    let length = (bytes.len() - PREFIX) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// All records, or the first thing that is wrong.
fn records<'a>(set: &'a ottla::wire::batch::RecordSet<'_>) -> Result<Vec<Record<'a>>, BatchError> {
    let all: Result<Vec<_>, _> = set.iter().collect();
    for record in all.iter().flatten() {
        let count = record.headers.len();
        let headers: Result<Vec<_>, _> = record.headers.collect();
        assert_eq!(headers.map(|headers| headers.len()), Ok(count), "they were walked over before");
    }
    all
}

/// Recovery finds no more than stands there.
fn scan(bytes: &[u8]) {
    for mark in [None, Some(0), Some(i64::MAX)] {
        let mut scan = Scan::new(0, -1, mark, 100);
        let progress = scan.feed(bytes, bytes.len() as u64);
        assert!(scan.position() <= bytes.len() as u64);
        let whole: usize = batches(bytes)
            .map_while(|batch| batch.ok().filter(|b| b.check().is_ok()))
            .map(|b| b.bytes().len())
            .sum();
        assert!(scan.position() <= whole as u64, "{progress:?}");
        if progress == Progress::Ended(End::Clean) && scan.position() == 0 {
            assert!(bytes.iter().take(HEADER).all(|byte| *byte == 0));
        }
    }
}

/// What stays of a batch was there before, as it was.
fn compact(batch: &Batch<'_>, how: u8) {
    let mut last = OffsetMap::new((1, 2), 100, 1 << 16);
    let Ok(set) = batch.open(LIMIT) else { return };
    let Ok(before) = records(&set) else { return };
    for record in before.iter().filter(|record| record.offset >= 0 && how & 32 != 0) {
        last.put(record.key.unwrap_or_default(), record.offset.saturating_add(i64::from(how & 64 != 0)));
    }
    for (end, as_empty) in
        [(i64::MAX, false), (i64::MAX, true), (batch.base_offset().saturating_add(1), false)]
    {
        let rules = Rules { last: &last, end, now_ms: NOW, delete_retention_ms: 1000 };
        let Ok(Kept::Part(kept)) = rules.apply(batch, as_empty) else { continue };
        let kept = Batch::first(&kept).expect("what is kept is a batch");
        assert_eq!(kept.bytes().len(), Batch::peek_len(kept.bytes()).expect("it has a length"));
        kept.check().expect("what is kept stands");
        assert_eq!(kept.base_offset(), batch.base_offset());
        assert_eq!(kept.last_offset(), batch.last_offset());
        assert_eq!(kept.producer_id(), batch.producer_id());
        assert_eq!(kept.base_sequence(), batch.base_sequence());
        let set = kept.open(LIMIT * 2).expect("what is kept opens");
        let after = records(&set).expect("what is kept reads");
        let mut all = before.iter();
        for record in &after {
            assert!(all.any(|known| same(known, record)), "{record:?} was not there");
        }
    }
}

fn same(one: &Record<'_>, other: &Record<'_>) -> bool {
    let plain =
        |r: &Record<'_>| (r.offset, r.timestamp, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec));
    plain(one) == plain(other) && one.headers.eq(other.headers)
}

/// What a partition takes stands in its log.
fn admit(batch: &Batch<'_>, how: u8) {
    let active = Segment::active(0, Tail::new(0, None), SegmentIndex::default(), NOW);
    let log = Log::new(vec![active], 0, 0, Epochs::default(), LogConfig::default());
    let mut producers = Producers::new(ProducerRoom::new(16));
    if how & 32 != 0 {
        // It was sent before.
        let header = batch.header();
        if header.base_offset == 0 && batch.is_idempotent() {
            producers.append(&header, NOW);
        }
    }
    let rules = AppendRules { log_append_time: how & 64 != 0, ..AppendRules::default() };
    let partition = Partition::new(log, producers, rules, 5);
    match partition.admit(batch.bytes(), NOW) {
        Ok(Admission::Append(_)) => {
            let fronts = [
                front::front(batch.bytes()),
                front::with_create_time(batch.bytes()),
                front::with_log_append_time(batch.bytes(), NOW),
            ];
            for mut front in fronts {
                front::place(&mut front, 77, 5);
                let mut bytes = batch.bytes().to_vec();
                bytes[..HEADER].copy_from_slice(&front);
                let stands = Batch::first(&bytes).expect("it was one before");
                stands.check().expect("what is admitted stands");
                assert_eq!((stands.base_offset(), stands.leader_epoch()), (77, 5));
                let kept = !attributes::LOG_APPEND_TIME;
                assert_eq!(stands.attributes() & kept, batch.attributes() & kept);
            }
        }
        Ok(Admission::Duplicate(before)) => assert!(before.end_offset > before.base_offset),
        Err(why) => assert!(why.error.is_error() && !why.message.is_empty()),
    }
}

fn recompress(batch: &Batch<'_>, to: Compression, keys: bool) {
    let work = Recompressor::new(batch, to, if to == Compression::Zstd { 3 } else { -1 }, LIMIT);
    let Ok(work) = work else { return };
    let mut work = if keys { work.with_keys() } else { work };
    let made = memory::within(LIMIT * 4 + CODEC, || {
        loop {
            match work.step() {
                Ok(None) => {}
                Ok(Some(made)) => break Some(made),
                Err(why) => {
                    assert!(why.error_code().is_error());
                    break None;
                }
            }
        }
    });
    let Some(made) = made else { return };
    assert!(made.len() <= LIMIT);
    let mut placed = made.clone();
    let mut placed = BatchMut::first(&mut placed).expect("what is made is a batch");
    placed.set_base_offset(9);
    placed.view().check().expect("offsets lie outside of the checksum");
    let made = Batch::first(&made).expect("what is made is a batch");
    made.check_from_client().expect("what is made stands");
    assert_eq!(made.compression(), Ok(to));
    assert_eq!(made.count(), batch.count());
    // It was looked at while it passed: how the records follow one another, and no further.
    let (before, after) = (batch.open(64 * LIMIT), made.open(64 * LIMIT));
    let (Ok(before), Ok(after)) = (before, after) else { panic!("what was made anew opens") };
    assert_eq!(before.bytes(), after.bytes());
    if let Ok(before) = records(&before) {
        let after = records(&after).expect("the same bytes are the same records");
        let no_key = before.iter().any(|record| record.key.is_none());
        assert!(!keys || !no_key, "a record without a key passes");
        assert_eq!(before.len(), after.len());
    }
}
