use super::*;
use crate::wire::batch::BatchBuilder;
use crate::wire::schema::PartitionProduceData;

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.append(1_000, None, Some(b"value"), &[]);
    builder.build().unwrap()
}

fn verdict(records: Vec<u8>, version: i16) -> ErrorCode {
    check(records.into(), version, -1).map_or_else(|refused| refused.0, |_| ErrorCode::NONE)
}

#[test]
fn one_good_batch_and_nothing_else() {
    assert_eq!(verdict(batch(), 3), ErrorCode::NONE);
    assert_eq!(verdict(Vec::new(), 3), ErrorCode::INVALID_RECORD);
    assert_eq!(verdict([batch(), batch()].concat(), 3), ErrorCode::INVALID_RECORD);
    assert_eq!(verdict([batch(), vec![0; 5]].concat(), 3), ErrorCode::INVALID_RECORD);
    let whole = batch();
    for end in 0..whole.len() {
        assert_eq!(verdict(whole[..end].to_vec(), 3), ErrorCode::INVALID_RECORD, "cut at {end}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let good = batch();
    // The leader epoch is the broker's to set, and is not covered by the checksum.
    for byte in (0..good.len()).filter(|byte| !(12..16).contains(byte)) {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[byte] ^= 1 << bit;
            assert_ne!(verdict(bad, 13), ErrorCode::NONE, "bit {bit} of byte {byte}");
        }
    }
}

#[test]
fn errors_are_kafkas() {
    let with = |at: usize, bytes: &[u8]| {
        let mut batch = batch();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        // The checksum of what was changed, so that another rule is what refuses it.
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    };
    assert_eq!(verdict(with(8, &(-5i32).to_be_bytes()), 3), ErrorCode::CORRUPT_MESSAGE, "length");
    assert_eq!(verdict(with(16, &[1]), 3), ErrorCode::INVALID_RECORD, "an old layout");
    assert_eq!(verdict(with(16, &[3]), 3), ErrorCode::CORRUPT_MESSAGE, "no layout at all");
    assert_eq!(verdict(with(0, &5i64.to_be_bytes()), 3), ErrorCode::INVALID_RECORD, "base offset");
    assert_eq!(verdict(with(21, &[0, 0x20]), 3), ErrorCode::INVALID_RECORD, "control");
    assert_eq!(verdict(with(57, &2i32.to_be_bytes()), 3), ErrorCode::INVALID_RECORD, "count");
    assert_eq!(verdict(with(21, &[0, 7]), 13), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "no such codec");
    assert_eq!(verdict(with(21, &[0, 4]), 6), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "zstd too early");
    assert_eq!(verdict(with(21, &[0, 4]), 7), ErrorCode::NONE, "zstd, not opened here");
    let mut shorter = batch();
    shorter[11] -= 1;
    assert_eq!(verdict(shorter, 3), ErrorCode::CORRUPT_MESSAGE, "a length that ends early");
    let transactional = with(21, &[0, 0x10]);
    let sent = |records: Vec<u8>, name: Option<&str>| {
        let part = |records: Vec<u8>| PartitionProduceData { index: 0, records: Some(records.into()) };
        // One such batch is enough.
        let data =
            TopicProduceData { partition_data: vec![part(batch()), part(records)], ..Default::default() };
        let transactional_id = name.map(str::to_owned);
        check_transaction(&ProduceRequest { transactional_id, topic_data: vec![data], ..Default::default() })
    };
    assert_eq!(sent(transactional.clone(), Some("t")), Ok(()));
    assert_eq!(sent(transactional, None), Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
    assert_eq!(sent(batch(), None), Ok(()));
    // The number of acknowledgements is looked at before the checksum.
    let mut bad = batch();
    bad[17] ^= 1;
    let refused = check(bad.into(), 3, 2).unwrap_err();
    assert_eq!(refused.0, ErrorCode::INVALID_REQUIRED_ACKS);
    let mut bad = batch();
    bad[17] ^= 1;
    assert_eq!(verdict(bad, 3), ErrorCode::CORRUPT_MESSAGE, "checksum");
}

#[test]
fn acks() {
    for good in [-1, 0, 1] {
        assert_eq!(check_acks(good), Ok(()));
    }
    for bad in [-2, 2, i16::MAX] {
        assert_eq!(check_acks(bad), Err(Refused(ErrorCode::INVALID_REQUIRED_ACKS, None)));
    }
}
