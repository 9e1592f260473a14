use super::*;
use crate::log::index::SegmentIndex;
use crate::log::snapshot::{ProducerBatch, Snapshot, SnapshotEntry, SnapshotWriter};
use crate::log::tail::Tail;
use crate::log::{LogConfig, Segment};
use crate::wire::batch::BatchBuilder;

/// A log of offsets 0 to 49, in which a producer has left transactions open that began at these.
fn with_open(first_offsets: &[i64]) -> Partition {
    let mut writer = SnapshotWriter::with_capacity(first_offsets.len());
    for (producer_id, first) in first_offsets.iter().enumerate() {
        let entry = SnapshotEntry {
            producer_id: producer_id as i64,
            epoch: 0,
            last: ProducerBatch { last_offset: -1, timestamp: -1, last_sequence: -1, offset_delta: 0 },
            coordinator_epoch: -1,
            transaction_first_offset: *first,
        };
        writer.add(&entry, []);
    }
    let bytes = writer.finish();
    let mut producers = Producers::new(Default::default());
    producers.load(&Snapshot::decode(&bytes).unwrap(), 0);
    let active = Segment::active(50, Tail::new(0, None), SegmentIndex::default(), 0);
    let segments = vec![Segment::finished(0, 1000), active];
    let log = Log::new(segments, 0, 50, Default::default(), LogConfig::default());
    Partition::new(log, producers, AppendRules::default(), 0)
}

#[test]
fn readers_of_committed_records_stop_where_a_transaction_was_left_open() {
    assert_eq!(with_open(&[-1]).last_stable_offset(), 50);
    let mut partition = with_open(&[-1, 30, 20]);
    assert_eq!((partition.last_stable_offset(), partition.high_watermark()), (20, 50));
    for (offset, may_read) in [(19, true), (20, false), (25, false), (50, false)] {
        let plan = partition.read_plan(offset, true, 100);
        assert_eq!(matches!(plan, ReadPlan::File(_)), may_read, "{offset}: {plan:?}");
        assert!(!matches!(plan, ReadPlan::OutOfRange), "{offset}: there will be more");
        assert_eq!(matches!(partition.read_plan(offset, false, 100), ReadPlan::File(_)), offset < 50);
    }
    assert!(matches!(partition.read_plan(51, true, 100), ReadPlan::OutOfRange));
    partition.log.start_at(40);
    assert_eq!(partition.last_stable_offset(), 40, "never before the log's start");
}

#[test]
fn the_latest_timestamp_is_what_the_records_say() {
    let mut builder = BatchBuilder::new();
    for timestamp in [1_000, 1_007, 1_003] {
        builder.append(timestamp, None, Some(b"v"), &[]);
    }
    let honest = builder.build().unwrap();
    let partition = with_open(&[-1]);
    for claimed in [1_007, 1_006, 0, -1, 2_000, i64::MAX, i64::MIN] {
        let batch = [&front::with_max_timestamp(&honest, claimed)[..], &honest[HEADER..]].concat();
        assert_eq!(Batch::first(&batch).unwrap().max_timestamp(), claimed);
        let Ok(Admission::Append(admitted)) = partition.admit(&batch, 1_010) else { panic!("{claimed}") };
        assert_eq!(admitted.header.max_timestamp, 1_007, "{claimed}");
        let stored = [&admitted.front[..], &batch[HEADER..]].concat();
        Batch::first(&stored).unwrap().check().unwrap();
        assert_eq!(stored, &honest[..], "{claimed}");
    }
}

mod transactional {
    use super::super::markers::Marker;
    use super::super::transactions::{Transactions, note};
    use super::super::verification::{Verified, told_of_refusal};
    use super::super::*;
    use crate::log::aborted::Aborted;
    use crate::log::index::SegmentIndex;
    use crate::log::snapshot::Snapshot;
    use crate::log::tail::Tail;
    use crate::log::{LogConfig, Segment};
    use crate::reactor::{Pool, Share};
    use crate::wire::batch::BatchBuilder;

    const NOW: i64 = 1_700_000_000_000;

    struct Desk {
        partition: Partition,
        pool: Pool,
        headers: Vec<(BatchHeader, Option<Marker>)>,
    }

    fn batch(id: i64, epoch: i16, sequence: i32, is_transactional: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new().producer(id, epoch, sequence);
        if is_transactional {
            builder = builder.transactional();
        }
        builder.append(NOW, Some(b"k"), Some(b"v"), &[]);
        builder.build().unwrap()
    }

    fn header(bytes: &[u8]) -> BatchHeader {
        Batch::first(bytes).unwrap().header()
    }

    fn end(id: i64, epoch: i16, commit: bool, coordinator_epoch: i32) -> Marker {
        Marker { producer_id: id, producer_epoch: epoch, commit, coordinator_epoch }
    }

    impl Desk {
        fn new() -> Desk {
            let active = Segment::active(0, Tail::new(0, None), SegmentIndex::default(), 0);
            let log = Log::new(vec![active], 0, 0, Default::default(), LogConfig::default());
            let partition =
                Partition::new(log, Producers::new(Default::default()), AppendRules::default(), 3);
            Desk { partition, pool: Pool::new(64 << 20), headers: Vec::new() }
        }

        fn put(&mut self, admitted: &Admitted, bytes: &[u8]) -> i64 {
            let size = self.partition.log.needs_chunk(bytes.len(), 0);
            let chunk = size.map(|size| self.pool.try_chunk(Share::Tail, size).unwrap());
            let appended = self.partition.append(admitted, bytes, chunk);
            let header = BatchHeader { base_offset: appended.base_offset, ..header(bytes) };
            self.headers.push((header, admitted.marker));
            appended.base_offset
        }

        fn send_as(&mut self, bytes: &[u8], origin: Origin, verified: Verified) -> Result<i64, ErrorCode> {
            match self.partition.admit_from(bytes, NOW, origin, verified).map_err(|reject| reject.error)? {
                Admission::Append(admitted) => Ok(self.put(&admitted, bytes)),
                Admission::Duplicate(before) => Ok(before.base_offset),
            }
        }

        fn send(&mut self, bytes: &[u8], verified: Verified) -> Result<i64, ErrorCode> {
            self.send_as(bytes, Origin::Client, verified)
        }

        /// As a shell does it whose coordinator agrees.
        fn verify(&mut self, bytes: &[u8], second: bool) -> Verified {
            self.partition.verification(&header(bytes), second, NOW).map_or(Verified::No, Verified::By)
        }

        fn mark(&mut self, marker: Marker, version: i16) -> Result<i64, ErrorCode> {
            let (admitted, bytes) =
                self.partition.admit_marker(marker, version, NOW).map_err(|reject| reject.error)?;
            Ok(self.put(&admitted, &bytes))
        }

        fn commit(&mut self) {
            if let Some(round) = self.partition.log.begin_round() {
                self.partition.advance(round.target);
            }
        }

        fn aborted(&self, from: i64, limit: i64) -> Vec<(i64, i64, i64)> {
            let found = self.partition.aborted_between(from, limit).unwrap();
            found.iter().map(|one| (one.producer_id, one.first_offset, one.last_offset)).collect()
        }
    }

    #[test]
    fn a_transaction_begins_only_where_the_coordinator_agrees() {
        let mut desk = Desk::new();
        let first = batch(7, 0, 0, true);
        let refused = Err(ErrorCode::INVALID_TXN_STATE);
        assert_eq!(desk.send(&first, Verified::No), refused);
        let verified = desk.verify(&first, false);
        assert!(matches!(verified, Verified::By(_)));
        assert_eq!(desk.verify(&first, false), verified, "asked once");
        assert_eq!(desk.send(&batch(8, 0, 0, true), verified), refused, "the guard of another");
        assert_eq!(desk.send(&first, verified), Ok(0));
        assert_eq!(desk.verify(&batch(7, 0, 1, true), false), Verified::No, "it is open");
        assert_eq!(desk.send(&batch(7, 0, 1, true), Verified::No), Ok(1));
        assert_eq!(desk.send(&first, Verified::No), Ok(0), "once more");
        assert_eq!(desk.send(&batch(7, 1, 0, true), Verified::No), refused, "another epoch");
        assert_eq!(desk.send(&batch(7, 0, 2, false), Verified::No), refused, "of no transaction");
        assert_eq!(desk.send(&batch(9, 0, 0, true), Verified::NeedNot), Ok(2));
    }

    #[test]
    fn a_marker_makes_the_guard_of_its_transaction_worthless() {
        let mut desk = Desk::new();
        let first = batch(7, 0, 0, true);
        let verified = desk.verify(&first, false);
        // The transaction was aborted while the batch was on its way; it is not part of the one after.
        assert_eq!(desk.mark(end(7, 0, false, 1), 0), Ok(0));
        assert_eq!(desk.send(&first, verified), Err(ErrorCode::INVALID_TXN_STATE));
        assert_ne!(desk.verify(&first, false), verified);
    }

    #[test]
    fn by_the_second_protocol_a_late_batch_has_an_old_epoch() {
        let mut desk = Desk::new();
        let first = batch(7, 0, 0, true);
        let verified = desk.verify(&first, true);
        assert_eq!(desk.send(&first, verified), Ok(0));
        assert_eq!(desk.mark(end(7, 1, true, 1), 2), Ok(1));
        assert_eq!(desk.mark(end(7, 1, true, 1), 2), Ok(2), "once more");
        let fenced = Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        let late = batch(7, 0, 1, true);
        let verified = desk.verify(&late, true);
        assert_eq!(desk.send(&late, verified), fenced);
        let next = batch(7, 1, 0, true);
        let verified = desk.verify(&next, true);
        assert_eq!(desk.send(&next, verified), Ok(3));
        assert_eq!(desk.mark(end(7, 1, true, 1), 2), fenced, "a marker of the transaction before");
        assert_eq!(desk.mark(end(7, 2, false, 0), 2), Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED));
        assert_eq!(desk.mark(end(7, 2, false, 1), 2), Ok(4));
        desk.commit();
        assert_eq!(desk.aborted(0, 5), [(7, 3, 4)]);
    }

    #[test]
    fn the_first_batch_of_a_transaction_comes_first() {
        let mut desk = Desk::new();
        let (second, first) = (batch(7, 0, 1, true), batch(7, 0, 0, true));
        let early = Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        // The second protocol: whoever begins, begins with 0.
        let verified = desk.verify(&second, true);
        assert_eq!(desk.send(&second, verified), early);
        let verified = desk.verify(&first, true);
        assert_eq!(desk.send(&first, verified), Ok(0));
        assert_eq!(desk.send(&second, Verified::No), Ok(1));
        // The first: a producer that is not known may begin anywhere, but not before what came before.
        let (second, first) = (batch(8, 0, 6, true), batch(8, 0, 5, true));
        desk.verify(&second, false);
        let verified = desk.verify(&first, false);
        assert_eq!(desk.send(&second, verified), early);
        assert_eq!(desk.send(&first, verified), Ok(2));
    }

    #[test]
    fn the_end_of_the_transaction_before_leaves_what_was_asked_of_the_next() {
        let mut desk = Desk::new();
        let first = batch(7, 0, 0, true);
        let verified = desk.verify(&first, true);
        desk.send(&first, verified).unwrap();
        // By the second protocol the producer goes on before the marker is here.
        let next = batch(7, 1, 0, true);
        let verified = desk.verify(&next, true);
        desk.mark(end(7, 1, true, 1), 2).unwrap();
        assert_eq!(desk.send(&next, verified), Ok(2));
        desk.mark(end(7, 2, true, 1), 2).unwrap();
        // One that is aborted before its first batch comes takes the guard with it.
        let late = batch(7, 2, 0, true);
        let verified = desk.verify(&late, true);
        desk.mark(end(7, 3, false, 1), 2).unwrap();
        assert_eq!(desk.send(&late, verified), Err(ErrorCode::INVALID_TXN_STATE));
    }

    #[test]
    fn readers_go_on_when_the_marker_is_durable_and_not_before() {
        let mut desk = Desk::new();
        for id in [7, 8] {
            let first = batch(id, 0, 0, true);
            let verified = desk.verify(&first, false);
            desk.send(&first, verified).unwrap();
        }
        desk.send(&batch(9, 0, 0, false), Verified::No).unwrap();
        desk.commit();
        assert_eq!((desk.partition.last_stable_offset(), desk.partition.high_watermark()), (0, 3));
        desk.mark(end(7, 0, true, 1), 0).unwrap();
        assert_eq!(desk.partition.last_stable_offset(), 0);
        desk.commit();
        assert_eq!(desk.partition.last_stable_offset(), 1, "the other is open");
        desk.mark(end(8, 0, false, 1), 0).unwrap();
        assert_eq!((desk.partition.last_stable_offset(), desk.aborted(0, 1)), (1, vec![]));
        desk.commit();
        assert_eq!((desk.partition.last_stable_offset(), desk.aborted(0, 5)), (5, vec![(8, 1, 4)]));
        assert_eq!(desk.mark(end(50, 0, true, 1), 0), Ok(5), "of a producer that left nothing here");
    }

    #[test]
    fn a_coordinators_batches_have_no_numbers() {
        let mut desk = Desk::new();
        for n in 0..3 {
            let bytes = batch(7, 0, -1, true);
            let verified = desk.verify(&bytes, false);
            assert_eq!(desk.send_as(&bytes, Origin::Coordinator, verified), Ok(n));
        }
        desk.mark(end(7, 1, true, 1), 2).unwrap();
        let late = batch(7, 0, -1, true);
        let verified = desk.verify(&late, false);
        let told = desk.send_as(&late, Origin::Coordinator, verified);
        assert_eq!(told, Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    }

    #[test]
    fn a_scan_and_a_snapshot_tell_what_was_known() {
        let mut desk = Desk::new();
        for (id, commit) in [(7, Some(true)), (8, Some(false)), (9, None)] {
            let first = batch(id, 0, 0, true);
            let verified = desk.verify(&first, false);
            desk.send(&first, verified).unwrap();
            if let Some(commit) = commit {
                desk.mark(end(id, 0, commit, 4), 0).unwrap();
            }
        }
        let (mut producers, mut transactions) = (Producers::new(Default::default()), Transactions::default());
        let mut aborted = Vec::new();
        for (header, marker) in &desk.headers {
            aborted.extend(note(&mut producers, &mut transactions, header, marker.as_ref(), NOW));
        }
        assert_eq!(producers.snapshot(), desk.partition.producers.snapshot());
        let expected = Aborted { producer_id: 8, first_offset: 2, last_offset: 3, last_stable_offset: 4 };
        assert_eq!((aborted, transactions.open().collect::<Vec<_>>()), (vec![expected], vec![(4, 9)]));
        let bytes = producers.snapshot();
        let entries: Vec<_> = Snapshot::decode(&bytes).unwrap().entries().collect();
        assert_eq!(entries.iter().map(|one| one.coordinator_epoch).collect::<Vec<_>>(), [4, 4, -1]);
        assert_eq!(entries.iter().map(|one| one.transaction_first_offset).collect::<Vec<_>>(), [-1, -1, 4]);
        // Who has a transaction open is never forgotten.
        let mut from = None;
        loop {
            from = producers.expire(from, 10, NOW + 1_000_000_000, 1000);
            if from.is_none() {
                break;
            }
        }
        assert_eq!(producers.active(0, 9).map(|known| known.producer_id).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn producers_are_told_in_words_that_their_version_knows() {
        let told = |error| [10, 11, 12].map(|version| told_of_refusal(error, version));
        let (abortable, again) = (ErrorCode::TRANSACTION_ABORTABLE, ErrorCode::NOT_ENOUGH_REPLICAS);
        assert_eq!(told(abortable), [ErrorCode::INVALID_TXN_STATE, abortable, abortable]);
        assert_eq!(told(ErrorCode::PRODUCER_FENCED), [ErrorCode::INVALID_PRODUCER_EPOCH; 3]);
        assert_eq!(told(ErrorCode::NOT_COORDINATOR), [again; 3]);
        let concurrent = ErrorCode::CONCURRENT_TRANSACTIONS;
        assert_eq!(told(concurrent), [again, again, concurrent]);
    }
}
