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
