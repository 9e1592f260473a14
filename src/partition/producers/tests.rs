use std::collections::BTreeMap;

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn producers() -> Producers {
    Producers::new(ProducerRoom::default())
}

fn batch(id: i64, epoch: i16, sequence: i32, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        leader_epoch: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        count: records,
    }
}

/// A log that takes what the rules allow.
struct Taker {
    producers: Producers,
    next: i64,
}

impl Taker {
    fn new() -> Taker {
        Taker { producers: producers(), next: 100 }
    }

    fn send(&mut self, header: BatchHeader) -> Result<i64, ErrorCode> {
        match self.producers.check(&header).map_err(|reject| reject.error)? {
            Sequence::Duplicate(batch) => Ok(batch.base_offset()),
            Sequence::Next => {
                let base_offset = self.next;
                self.producers.append(&BatchHeader { base_offset, ..header }, NOW);
                self.next += i64::from(header.last_offset_delta) + 1;
                Ok(base_offset)
            }
        }
    }
}

const OUT_OF_ORDER: Result<i64, ErrorCode> = Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);

#[test]
fn the_last_five_batches_are_answered_with_their_first_offsets() {
    let mut log = Taker::new();
    for n in 0..7 {
        assert_eq!(log.send(batch(1, 0, n * 3, 3)), Ok(100 + i64::from(n) * 3));
    }
    for n in 2..7 {
        assert_eq!(log.send(batch(1, 0, n * 3, 3)), Ok(100 + i64::from(n) * 3), "{n}");
    }
    for n in 0..2 {
        assert_eq!(log.send(batch(1, 0, n * 3, 3)), OUT_OF_ORDER, "{n}");
    }
    // Only the very batch is one that was appended before.
    assert_eq!(log.send(batch(1, 0, 18, 2)), OUT_OF_ORDER);
    assert_eq!(log.send(batch(1, 0, 19, 2)), OUT_OF_ORDER);
    assert_eq!(log.send(batch(1, 0, 22, 1)), OUT_OF_ORDER);
    assert_eq!(log.send(batch(1, 0, 21, 1)), Ok(121));
}

#[test]
fn the_first_batch_of_an_unknown_producer_may_have_any_number() {
    let mut log = Taker::new();
    assert_eq!(log.send(batch(1, 0, 17, 1)), Ok(100));
    assert_eq!(log.send(batch(1, 0, 16, 1)), OUT_OF_ORDER);
    assert_eq!(log.send(batch(1, 0, 18, 1)), Ok(101));
}

#[test]
fn numbers_go_on_with_0_after_the_largest() {
    let mut log = Taker::new();
    assert_eq!(log.send(batch(1, 0, i32::MAX - 3, 2)), Ok(100));
    assert_eq!(log.send(batch(1, 0, i32::MAX - 1, 4)), Ok(102), "over the end within a batch");
    assert_eq!(log.send(batch(1, 0, i32::MAX - 1, 4)), Ok(102));
    assert_eq!(log.send(batch(1, 0, 2, 1)), Ok(106));
    let mut log = Taker::new();
    assert_eq!(log.send(batch(1, 0, i32::MAX, 1)), Ok(100));
    assert_eq!(log.send(batch(1, 0, 1, 1)), OUT_OF_ORDER);
    assert_eq!(log.send(batch(1, 0, 0, 1)), Ok(101), "over the end between batches");
    assert_eq!(log.send(batch(1, 0, i32::MAX, 1)), Ok(100));
}

#[test]
fn epochs_fence() {
    let mut log = Taker::new();
    assert_eq!(log.send(batch(1, 3, 0, 1)), Ok(100));
    assert_eq!(log.send(batch(1, 2, 0, 1)), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(log.send(batch(1, 4, 1, 1)), OUT_OF_ORDER, "a new epoch begins with 0");
    assert_eq!(log.send(batch(1, 4, 0, 1)), Ok(101));
    assert_eq!(log.send(batch(1, 3, 0, 1)), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(log.send(batch(1, 4, 0, 1)), Ok(101));
    assert_eq!(log.send(batch(1, 4, 1, 1)), Ok(102));
    // Without an epoch there are no rules.
    assert_eq!(log.send(batch(2, -1, 9, 1)), Ok(103));
    assert_eq!(log.send(batch(2, -1, 5, 1)), Ok(104));
    assert_eq!(log.send(batch(2, -1, 9, 1)), Ok(103));
}

#[test]
fn producers_do_not_mix() {
    let mut log = Taker::new();
    for id in 0..50 {
        assert_eq!(log.send(batch(id, 0, 0, 1)), Ok(100 + id));
    }
    for id in 0..50 {
        assert_eq!(log.send(batch(id, 0, 0, 1)), Ok(100 + id));
        assert_eq!(log.send(batch(id, 0, 1, 1)), Ok(150 + id));
    }
}

#[test]
fn the_silent_are_forgotten_in_time_and_not_before() {
    let mut producers = producers();
    for id in 0..100 {
        let seen = NOW + id * 1000;
        producers.append(&BatchHeader { max_timestamp: seen - 999, ..batch(id, 0, 0, 1) }, seen);
    }
    // One whose timestamps are old, and one whose are to come.
    producers.append(&BatchHeader { max_timestamp: 0, ..batch(200, 0, 0, 1) }, NOW + 99_000);
    producers.append(&BatchHeader { max_timestamp: NOW + 99_000, ..batch(201, 0, 0, 1) }, NOW);
    let mut from = None;
    loop {
        from = producers.expire(from, 7, NOW + 60_000, 10_000);
        if from.is_none() {
            break;
        }
    }
    let kept: Vec<i64> = producers.active(0, 1000).map(|entry| entry.producer_id).collect();
    let wanted = |id: &i64| *id > 50 || *id >= 200;
    assert_eq!(kept.len(), 51, "{kept:?}");
    assert!(kept.iter().all(wanted), "{kept:?}");
    assert_eq!(producers.room.used(), 51);
    for id in 0..100 {
        let known = producers.check(&batch(id, 0, 5, 1)).is_err();
        assert_eq!(known, id > 50, "{id}");
    }
}

#[test]
fn a_snapshot_brings_all_back() {
    let mut log = Taker::new();
    for n in 0..9 {
        for id in 0..1 + n {
            log.send(batch(id.into(), 2, (n - id) * 2, 2)).unwrap();
        }
    }
    let file = log.producers.snapshot();
    let mut loaded = producers();
    loaded.load(&Snapshot::decode(&file).unwrap(), NOW);
    for n in 0..10 {
        for id in 0..12 {
            let header = batch(id, 2, n * 2, 2);
            let (one, other) = (log.producers.check(&header), loaded.check(&header));
            assert_eq!(one, other, "producer {id} sends {}", n * 2);
        }
    }
    assert_eq!(loaded.snapshot(), file);
}

fn content(file: &[u8]) -> BTreeMap<i64, (SnapshotEntry, Vec<ProducerBatch>)> {
    let snapshot = Snapshot::decode(file).unwrap();
    let mut all: BTreeMap<_, _> =
        snapshot.entries().map(|entry| (entry.producer_id, (entry, Vec::new()))).collect();
    assert_eq!(all.len(), snapshot.entries().len(), "each is there once");
    snapshot.older().for_each(|(id, batch)| all.get_mut(&id).unwrap().1.push(batch));
    all
}

#[test]
fn a_snapshot_that_takes_its_time_is_of_the_moment_at_which_it_began() {
    let mut log = Taker::new();
    for id in 0..5000 {
        log.send(batch(id, 0, 0, 1)).unwrap();
    }
    for round in 1..5 {
        let wanted = log.producers.snapshot();
        let offset = log.next;
        log.producers.begin_snapshot(offset);
        assert_eq!(log.producers.take_snapshot(offset), None, "it takes its time");
        // Meanwhile producers go on, come, and go.
        for step in 0.. {
            for id in (0..5000 + round).filter(|id| id % 97 == step % 97) {
                if let Ok(Sequence::Next) = log.producers.check(&batch(id, 0, round as i32, 1)) {
                    log.send(batch(id, 0, round as i32, 1)).unwrap();
                }
            }
            log.send(batch(100_000 * round + step, 0, 0, 1)).unwrap();
            log.producers.remove((step as usize * 31) % log.producers.len());
            if !log.producers.go_on(100) {
                break;
            }
        }
        let (at, made) = log.producers.take_snapshot(offset).expect("it is made");
        assert!(at == offset && content(&made) == content(&wanted), "round {round}");
    }
}

#[test]
fn a_second_snapshot_finishes_the_first() {
    let mut log = Taker::new();
    (0..3000).for_each(|id| assert!(log.send(batch(id, 0, 0, 1)).is_ok()));
    let first = log.producers.snapshot();
    log.producers.begin_snapshot(1);
    (0..3000).for_each(|id| assert!(log.send(batch(id, 0, 1, 1)).is_ok()));
    let second = log.producers.snapshot();
    log.producers.begin_snapshot(2);
    (0..3000).for_each(|id| assert!(log.send(batch(id, 0, 2, 1)).is_ok()));
    while log.producers.go_on(100) {}
    for (offset, wanted) in [(1, first), (2, second)] {
        let (at, made) = log.producers.take_snapshot(offset).expect("it is made");
        assert!(at == offset && content(&made) == content(&wanted), "{offset}");
    }
}

#[test]
fn where_there_is_no_more_room_the_silent_make_way() {
    let room = ProducerRoom::new(100);
    let (mut one, mut other) = (Producers::new(room.clone()), Producers::new(room.clone()));
    other.append(&batch(0, 0, 0, 1), NOW);
    for id in 0..10_000 {
        one.append(&batch(id, 0, 0, 1), NOW + id * 1000);
    }
    assert_eq!((one.len(), other.len(), room.used()), (99, 1, 100));
    // It is the oldest of some, not of all: but nobody who just came, and most of the others came late.
    let late = one.active(0, 100).filter(|entry| entry.producer_id >= 9_000).count();
    assert!(late > 80, "{late}");
    assert!(one.active(0, 100).any(|entry| entry.producer_id == 9_999));
    assert_eq!(room.excess(), 12);
    one.shed(room.excess());
    assert_eq!((one.len(), room.excess(), room.is_full()), (87, 0, false));
    drop(one);
    assert_eq!(room.used(), 1);
}

#[test]
fn open_transactions_and_coordinators_are_kept_for_later() {
    let mut producers = producers();
    let header = batch(1, 0, 0, 1);
    let transactional = BatchHeader { attributes: attributes::TRANSACTIONAL, base_offset: 55, ..header };
    producers.append(&transactional, NOW);
    producers.append(&BatchHeader { base_sequence: 1, base_offset: 56, ..transactional }, NOW);
    assert_eq!(producers.expire(None, 10, NOW * 2, 1), None);
    assert_eq!(producers.active(0, 9).next().unwrap().transaction_first_offset, 55);
    let control = BatchHeader { attributes: attributes::CONTROL, base_sequence: -1, ..header };
    producers.append(&control, NOW);
    assert_eq!(producers.active(0, 9).next().unwrap().transaction_first_offset, -1);
    producers.expire(None, 10, NOW * 2, 1);
    assert!(producers.is_empty());
}

#[test]
fn a_million_producers_take_this_much() {
    for (batches, most) in [(1, 100), (5, 220)] {
        let mut producers = producers();
        for id in 0..1_000_000 {
            for n in 0..batches {
                producers.append(&batch(id, 0, n, 1), NOW);
            }
        }
        let each = producers.memory() / producers.len();
        println!("{} producers of {batches} batches: {each} bytes each", producers.len());
        assert!(each <= most, "{each} bytes for {batches} batches");
    }
}
