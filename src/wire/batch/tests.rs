use super::*;

fn sample(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(compression).producer(9, 1, 40).leader_epoch(3);
    builder.append(1000, Some(b"k0"), Some(b"v0"), &[]);
    builder.append(990, None, Some(b"v1"), &[("a", Some(b"1")), ("b", None), ("", Some(b""))]);
    builder.append(1020, Some(b""), None, &[]);
    builder.build().unwrap()
}

/// Offset, timestamp, key, value and number of headers.
type Plain = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

fn all(bytes: &[u8]) -> Result<Vec<Plain>, BatchError> {
    let set = Batch::first(bytes)?.open(1 << 20)?;
    set.iter()
        .map(|r| {
            r.map(|r| {
                (r.offset, r.timestamp, r.key.map(Vec::from), r.value.map(Vec::from), r.headers.count())
            })
        })
        .collect()
}

#[test]
fn records_go_round_in_every_compression() {
    for compression in Compression::ALL {
        let mut bytes = sample(compression);
        let mut batch = BatchMut::first(&mut bytes).unwrap();
        batch.view().check_from_client().unwrap();
        batch.set_base_offset(500);
        batch.set_leader_epoch(7);
        let view = batch.view();
        view.check().unwrap();
        assert_eq!(
            (view.base_offset(), view.last_offset(), view.leader_epoch(), view.count()),
            (500, 502, 7, 3)
        );
        assert_eq!((view.base_timestamp(), view.max_timestamp(), view.last_sequence()), (1000, 1020, 42));
        assert_eq!(view.compression(), Ok(compression));
        let some = |s: &str| Some(s.as_bytes().to_vec());
        assert_eq!(
            all(&bytes).unwrap(),
            [
                (500, 1000, some("k0"), some("v0"), 0),
                (501, 990, None, some("v1"), 3),
                (502, 1020, some(""), None, 0)
            ]
        );
    }
}

#[test]
fn headers_are_read_in_order() {
    let bytes = sample(Compression::None);
    let set = Batch::first(&bytes).unwrap().open(1 << 20).unwrap();
    let record = set.iter().nth(1).unwrap().unwrap();
    assert_eq!((record.headers.len(), record.headers.is_empty()), (3, false));
    let headers: Vec<Header> = record.headers.map(Result::unwrap).collect();
    assert_eq!(
        headers,
        [
            Header { key: b"a", value: Some(b"1") },
            Header { key: b"b", value: None },
            Header { key: b"", value: Some(b"") }
        ]
    );
}

#[test]
fn the_broker_may_set_the_time() {
    let mut bytes = sample(Compression::None);
    BatchMut::first(&mut bytes).unwrap().set_log_append_time(5000);
    let batch = Batch::first(&bytes).unwrap();
    batch.check().unwrap();
    assert!(batch.is_log_append_time());
    assert!(all(&bytes).unwrap().iter().all(|r| r.1 == 5000));
}

#[test]
fn every_flipped_bit_behind_the_leader_epoch_is_found() {
    let bytes = sample(Compression::None);
    for at in MAGIC_AT * 8..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[at / 8] ^= 1 << (at % 8);
        let found = Batch::first(&bad).and_then(|b| b.check());
        assert!(found.is_err(), "bit {at}");
    }
}

#[test]
fn lengths_and_layouts_are_checked_first() {
    let bytes = sample(Compression::None);
    for cut in 1..bytes.len() {
        let refused = Batch::first(&bytes[..cut]).unwrap_err();
        assert!(matches!(refused, BatchError::Cut { left, .. } if left == cut), "{cut}: {refused}");
    }
    let mut bad = bytes.clone();
    bad[LENGTH..PREFIX].copy_from_slice(&48i32.to_be_bytes());
    assert_eq!(Batch::first(&bad), Err(BatchError::Length(48)));
    bad[LENGTH..PREFIX].copy_from_slice(&(-1i32).to_be_bytes());
    assert_eq!(Batch::first(&bad), Err(BatchError::Length(-1)));
    bad[MAGIC_AT] = 1;
    assert_eq!(Batch::first(&bad), Err(BatchError::Magic(1)));
    assert_eq!(Batch::peek_len(&bytes[..PREFIX]), Ok(bytes.len()));
}

#[test]
fn several_batches_are_walked_over_and_a_cut_one_ends_the_walk() {
    let one = sample(Compression::None);
    let mut bytes = [one.clone(), sample(Compression::Gzip), one.clone()].concat();
    assert_eq!(batches(&bytes).filter(Result::is_ok).count(), 3);
    bytes.truncate(bytes.len() - 1);
    let walked: Vec<_> = batches(&bytes).collect();
    assert_eq!(walked.len(), 3);
    assert_eq!(walked[2], Err(BatchError::Cut { needed: one.len(), left: one.len() - 1 }));
    assert_eq!(batches(&[]).next(), None);
}

/// A batch with good checksum whose header was changed first.
fn with(change: impl Fn(&mut BatchHeader)) -> Vec<u8> {
    let bytes = sample(Compression::None);
    let batch = Batch::first(&bytes).unwrap();
    let mut header = batch.header();
    change(&mut header);
    header.write(batch.payload())
}

#[test]
fn a_header_is_written_as_it_was_read() {
    assert_eq!(with(|_| ()), sample(Compression::None));
}

#[test]
fn what_a_log_may_hold_and_what_a_client_may_send() {
    type Change = fn(&mut BatchHeader);
    let log_too: [(&str, Change); 5] = [
        ("negative count", |h| h.count = -1),
        ("more records than offsets", |h| h.count = 4),
        ("negative delta", |h| (h.count, h.last_offset_delta) = (0, -1)),
        ("overflow", |h| (h.count, h.last_offset_delta) = (i32::MIN, i32::MAX)),
        ("no such compression", |h| h.attributes |= 5),
    ];
    for (what, change) in log_too {
        assert!(Batch::first(&with(change)).unwrap().check().is_err(), "{what}");
    }
    let client_only: [(&str, Change, ErrorCode); 5] = [
        ("fewer records", |h| h.count = 2, ErrorCode::INVALID_RECORD),
        ("none", |h| h.count = 0, ErrorCode::INVALID_RECORD),
        ("delta too high", |h| h.last_offset_delta = i32::MAX, ErrorCode::INVALID_RECORD),
        ("control", |h| h.attributes |= attributes::CONTROL, ErrorCode::INVALID_RECORD),
        ("no sequence", |h| h.base_sequence = -1, ErrorCode::INVALID_RECORD),
    ];
    for (what, change, code) in client_only {
        let bytes = with(change);
        let batch = Batch::first(&bytes).unwrap();
        batch.check().unwrap();
        assert_eq!(batch.check_from_client().unwrap_err().error_code(), code, "{what}");
    }
}

#[test]
fn sequence_numbers_wrap_to_zero() {
    let bytes = with(|h| h.base_sequence = i32::MAX - 1);
    assert_eq!(Batch::first(&bytes).unwrap().last_sequence(), 0);
    let bytes = with(|h| (h.producer_id, h.base_sequence) = (-1, -1));
    assert_eq!(Batch::first(&bytes).unwrap().last_sequence(), -1);
}

#[test]
fn more_or_fewer_records_than_promised_are_an_error() {
    assert!(all(&with(|h| h.count = 2)).is_err());
    assert!(all(&with(|h| (h.count, h.last_offset_delta) = (4, 3))).is_err());
    assert!(all(&with(|h| h.count = 0)).is_err());
    assert_eq!(all(&with(|_| ())).unwrap().len(), 3);
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 4 << 20];
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new().compression(compression);
        builder.append(0, None, Some(&zeros), &[]);
        let bytes = builder.build().unwrap();
        let batch = Batch::first(&bytes).unwrap();
        match (compression, batch.open(1 << 20)) {
            (Compression::None, opened) => assert!(opened.is_ok(), "nothing is copied"),
            (_, opened) => assert_eq!(opened.err(), Some(BatchError::TooLarge { limit: 1 << 20 })),
        }
        assert_eq!(batch.open(5 << 20).unwrap().iter().filter(Result::is_ok).count(), 1, "{compression}");
        // The limit is exact.
        let exact = batch.open(5 << 20).unwrap().bytes().len();
        assert!(batch.open(exact).is_ok(), "{compression}");
        if compression != Compression::None {
            assert!(batch.open(exact - 1).is_err(), "{compression}");
        }
    }
}

#[test]
fn snappy_is_read_with_and_without_frames() {
    let plain = vec![b'x'; 100_000];
    let framed = Compression::Snappy.compress(&plain).unwrap();
    assert_eq!(framed[..8], [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0]);
    let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    for form in [framed.clone(), raw.clone()] {
        assert_eq!(Compression::Snappy.decompress(&form, plain.len()).unwrap(), plain);
        for cut in [1, 7, 12, 18, form.len() - 1] {
            assert!(Compression::Snappy.decompress(&form[..cut], plain.len()).is_err(), "{cut}");
        }
    }
    // Says four gigabytes, is five bytes.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(Compression::Snappy.decompress(&claim, usize::MAX).is_err());
}

#[test]
fn concatenated_gzip_members_are_read() {
    let one = Compression::Gzip.compress(b"hello ").unwrap();
    let two = Compression::Gzip.compress(b"world").unwrap();
    assert_eq!(Compression::Gzip.decompress(&[one, two].concat(), 100).unwrap(), b"hello world");
}

#[test]
fn a_batch_can_be_replaced_by_one_with_fewer_records() {
    let mut bytes = sample(Compression::Lz4);
    BatchMut::first(&mut bytes).unwrap().set_base_offset(100);
    let old = Batch::first(&bytes).unwrap();
    let mut builder = BatchBuilder::replacing(old.header());
    let records = old.open(1 << 20).unwrap();
    let kept = records.iter().nth(1).unwrap().unwrap();
    let headers: Vec<_> = kept.headers.map(|h| h.map(|h| (h.key, h.value)).unwrap()).collect();
    let delta = (kept.offset - old.base_offset()) as i32;
    builder.append_at(delta, kept.timestamp, kept.key, kept.value, headers.into_iter());
    let new = builder.build().unwrap();
    let new = Batch::first(&new).unwrap();
    new.check().unwrap();
    assert_eq!(new.header(), BatchHeader { count: 1, max_timestamp: 990, ..old.header() });
    assert_eq!(all(new.bytes()).unwrap(), [(101, 990, None, Some(b"v1".to_vec()), 3)]);
    let empty = BatchBuilder::replacing(old.header()).build().unwrap();
    Batch::first(&empty).unwrap().check().unwrap();
    assert_eq!(all(&empty).unwrap(), []);
}

#[test]
fn damaged_records_never_panic() {
    let good = sample(Compression::None);
    let batch = Batch::first(&good).unwrap();
    let payload = batch.payload();
    for at in 0..payload.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = payload.to_vec();
            bad[at] = value;
            let bytes = batch.header().write(&bad);
            let _ = all(&bytes);
        }
        let bytes = batch.header().write(&payload[..at]);
        assert!(all(&bytes).is_err(), "cut at {at}");
    }
}
