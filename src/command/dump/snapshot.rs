//! Producer snapshots (`.snapshot`): what the log knew of each idempotent producer at an offset.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::{Sink, Verdict, plural};
use crate::command::failure::{At, Failure, Result};
use crate::command::output::human_time;
use crate::log::snapshot::{ProducerBatch, SNAPSHOT_MAX, Snapshot};

#[derive(Serialize)]
struct Producer {
    producer_id: i64,
    producer_epoch: i16,
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
    coordinator_epoch: i32,
    current_transaction_first_offset: i64,
    /// The batches before the last, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    older_batches: Vec<Older>,
}

#[derive(Serialize)]
struct Older {
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
}

/// A producer snapshot.
pub fn dump<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let (_, len) = super::open(path)?;
    if len > SNAPSHOT_MAX {
        return Err(Failure::new(format!("{}: {len} bytes, far too large for a snapshot", path.display())));
    }
    let bytes = std::fs::read(path).at(path.display())?;
    let snapshot = match Snapshot::decode(&bytes) {
        Ok(snapshot) => snapshot,
        Err(why) => return Ok(Verdict::damaged(why)),
    };
    let mut older: BTreeMap<i64, Vec<Older>> = BTreeMap::new();
    for (producer, batch) in snapshot.older() {
        let ProducerBatch { last_sequence, last_offset, offset_delta, timestamp } = batch;
        older.entry(producer).or_default().push(Older {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp,
        });
    }
    let count = snapshot.entries().len();
    for entry in snapshot.entries() {
        let entry = Producer {
            producer_id: entry.producer_id,
            producer_epoch: entry.epoch,
            last_sequence: entry.last.last_sequence,
            last_offset: entry.last.last_offset,
            offset_delta: entry.last.offset_delta,
            timestamp: entry.last.timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_transaction_first_offset: entry.transaction_first_offset,
            older_batches: older.remove(&entry.producer_id).unwrap_or_default(),
        };
        sink.entry("producer", &entry, |out| {
            writeln!(
                out,
                "producer {}  epoch {}  last sequence {}  last offset {} (batch of {})  {}",
                entry.producer_id,
                entry.producer_epoch,
                entry.last_sequence,
                entry.last_offset,
                entry.offset_delta + 1,
                human_time(entry.timestamp)
            )?;
            for batch in &entry.older_batches {
                let (last, offset) = (batch.last_sequence, batch.last_offset);
                writeln!(out, "  before that: last sequence {last}  last offset {offset}")?;
            }
            Ok(())
        })?;
    }
    Ok(Verdict::whole(format!("its CRC is right, {}", plural(count as u64, "producer"))))
}
