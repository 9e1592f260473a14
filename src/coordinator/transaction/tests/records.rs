//! The records of `__transaction_state`.

use bytes::Bytes;

use super::desk::producer;
use crate::coordinator::transaction::records::as_stored;
use crate::coordinator::transaction::*;

fn value() -> Transaction {
    let mut partitions = Partitions::default();
    partitions.insert("t", 1);
    partitions.insert("t", 0);
    Transaction {
        producer: producer(7, 3),
        previous_id: 6,
        next_id: 8,
        last_epoch: 2,
        timeout_ms: 100,
        status: Status::PrepareCommit,
        partitions,
        started: 11,
        updated: 12,
        client_version: 2,
    }
}

#[test]
fn a_value_has_kafkas_bytes() {
    let record = |version| Record { id: "x".into(), value: Some(value().into()), version };
    let (key, plain) = record(0).encode().unwrap();
    assert_eq!(key[..], [0, 0, 0, 1, b'x']);
    let mut expected = vec![0, 0];
    expected.extend(7i64.to_be_bytes());
    expected.extend(3i16.to_be_bytes());
    expected.extend(100i32.to_be_bytes());
    expected.push(2);
    expected.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend(12i64.to_be_bytes());
    expected.extend(11i64.to_be_bytes());
    assert_eq!(plain.unwrap()[..], expected);
    let (_, flexible) = record(1).encode().unwrap();
    let mut expected = vec![0, 1];
    expected.extend(7i64.to_be_bytes());
    expected.extend(3i16.to_be_bytes());
    expected.extend(100i32.to_be_bytes());
    expected.push(2);
    expected.extend([2, 2, b't', 3, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    expected.extend(12i64.to_be_bytes());
    expected.extend(11i64.to_be_bytes());
    expected.extend([3, 0, 8, 0, 0, 0, 0, 0, 0, 0, 6, 1, 8, 0, 0, 0, 0, 0, 0, 0, 8, 2, 2, 0, 2]);
    assert_eq!(flexible.unwrap()[..], expected);
}

#[test]
fn records_come_back_as_they_went() {
    for version in [0, 1] {
        for status in [Status::Ongoing, Status::PrepareAbort, Status::CompleteCommit] {
            let value = Transaction { status, ..value() };
            let record = Record { id: "x".into(), value: Some(value.clone().into()), version };
            let (key, bytes) = record.encode().unwrap();
            let again = Record::decode(key, bytes).unwrap().unwrap();
            assert_eq!(*again.value.unwrap(), as_stored(&value, version));
        }
    }
    let empty =
        Transaction { status: Status::Empty, partitions: Partitions::default(), started: -1, ..value() };
    let record = Record { id: "x".into(), value: Some(empty.clone().into()), version: 1 };
    let (key, bytes) = record.encode().unwrap();
    assert_eq!(Record::decode(key.clone(), bytes).unwrap().unwrap().value, Some(as_stored(&empty, 1).into()));
    assert_eq!(Record::decode(key, None).unwrap().unwrap().value, None);
}

#[test]
fn unknown_versions_are_skipped_and_damage_is_told() {
    let key = Bytes::from_static(&[0, 0, 0, 1, b'x']);
    assert_eq!(Record::decode(Bytes::from_static(&[0, 9, 0, 1, b'x']), None).unwrap(), None);
    assert_eq!(Record::decode(key.clone(), Some(Bytes::from_static(&[0, 9, 1]))).unwrap(), None);
    assert!(Record::decode(key.clone(), Some(Bytes::from_static(&[0, 1, 1]))).is_err());
    assert!(Record::decode(Bytes::from_static(&[0, 0, 0, 9, b'x']), None).is_err());
}

#[test]
fn names_and_numbers_are_kafkas() {
    let known: Vec<(i8, &str)> = Status::ALL.iter().map(|status| (*status as i8, status.name())).collect();
    let kafkas = [
        "Empty",
        "Ongoing",
        "PrepareCommit",
        "PrepareAbort",
        "CompleteCommit",
        "CompleteAbort",
        "Dead",
        "PrepareEpochFence",
    ];
    assert_eq!(known, kafkas.iter().enumerate().map(|(n, name)| (n as i8, *name)).collect::<Vec<_>>());
    assert_eq!(Status::of_name("Dead"), Some(Status::Dead));
    assert_eq!((Status::of_number(8), Status::of_name("dead")), (None, None));
}
