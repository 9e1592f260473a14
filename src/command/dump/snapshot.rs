//! Producer snapshots (`.snapshot`): what the log knew of each idempotent producer at an offset.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::{Sink, Verdict, plural};
use crate::command::failure::{At, Failure, Result};
use crate::command::output::human_time;

/// No snapshot is larger: a million producers take 46 MB.
const SNAPSHOT_MAX: u64 = 1 << 30;
/// Version, CRC and the number of entries.
const HEAD: usize = 10;
/// One producer.
const ENTRY: usize = 46;

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
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a field lies within its entry")
}

/// A producer snapshot.
pub fn dump<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let (_, len) = super::open(path)?;
    if len > SNAPSHOT_MAX {
        return Err(Failure::new(format!("{}: {len} bytes, far too large for a snapshot", path.display())));
    }
    let bytes = std::fs::read(path).at(path.display())?;
    if bytes.len() < HEAD {
        return Ok(Verdict::damaged(format!("{} bytes, less than a snapshot's head", bytes.len())));
    }
    let version = i16::from_be_bytes(field(&bytes, 0));
    if version != 1 {
        return Ok(Verdict::damaged(format!("version {version} is not known (1 is)")));
    }
    let stored = u32::from_be_bytes(field(&bytes, 2));
    let computed = crc32c::crc32c(&bytes[6..]);
    if stored != computed {
        return Ok(Verdict::damaged(format!("its CRC is {stored:#010x}, its bytes give {computed:#010x}")));
    }
    let count = u32::from_be_bytes(field(&bytes, 6)) as usize;
    if bytes.len() != HEAD + count.saturating_mul(ENTRY) {
        return Ok(Verdict::damaged(format!("{count} producers do not fill {} bytes", bytes.len())));
    }
    for raw in bytes[HEAD..].as_chunks::<ENTRY>().0 {
        let entry = Producer {
            producer_id: i64::from_be_bytes(field(raw, 0)),
            producer_epoch: i16::from_be_bytes(field(raw, 8)),
            last_sequence: i32::from_be_bytes(field(raw, 10)),
            last_offset: i64::from_be_bytes(field(raw, 14)),
            offset_delta: i32::from_be_bytes(field(raw, 22)),
            timestamp: i64::from_be_bytes(field(raw, 26)),
            coordinator_epoch: i32::from_be_bytes(field(raw, 34)),
            current_transaction_first_offset: i64::from_be_bytes(field(raw, 38)),
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
            )
        })?;
    }
    Ok(Verdict::whole(format!("its CRC is right, {}", plural(count as u64, "producer"))))
}
