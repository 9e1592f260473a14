//! `.index`, `.timeindex` and `.txnindex`: their entries, and whether they agree with the segment beside them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Serialize;

use super::{Sink, Verdict, base_offset, plural};
use crate::command::failure::{At, Failure, Result};
use crate::command::output::human_time;

/// `segment.index.bytes` has no upper bound of its own, but no index is larger than this.
const INDEX_MAX: u64 = 1 << 30;
/// The bytes of a batch's header up to the last offset's distance from the base offset.
const HEAD: usize = 27;

/// The entries of an index file of `N` bytes each. Zeros at the end are room that was reserved and not used.
fn entries<const N: usize>(path: &Path) -> Result<Entries<N>> {
    let (_, len) = super::open(path)?;
    if len > INDEX_MAX {
        return Err(Failure::new(format!("{}: {len} bytes, far too large for an index", path.display())));
    }
    let bytes = std::fs::read(path).at(path.display())?;
    let (whole, rest) = bytes.as_chunks::<N>();
    let used = whole.iter().rposition(|e| e != &[0; N]).map_or(0, |last| last + 1);
    Ok(Entries {
        entries: whole[..used].to_vec(),
        reserved: (whole.len() - used) as u64,
        trailing: rest.len(),
    })
}

struct Entries<const N: usize> {
    entries: Vec<[u8; N]>,
    reserved: u64,
    trailing: usize,
}

impl<const N: usize> Entries<N> {
    fn verdict(&self, checked: &str) -> Verdict {
        if self.trailing > 0 {
            return Verdict::damaged(format!("{} bytes at the end are no whole entry", self.trailing));
        }
        let mut text = plural(self.entries.len() as u64, "entry");
        if self.reserved > 0 {
            text += &format!(", room for {} more", self.reserved);
        }
        Verdict::whole(text + checked)
    }
}

fn field<const N: usize>(entry: &[u8], at: usize) -> [u8; N] {
    entry[at..at + N].try_into().expect("a field lies within its entry")
}

/// The segment beside an index.
struct Segment {
    file: File,
    len: u64,
}

/// The first batch at a position of a segment.
struct Batch {
    base: i64,
    last: i64,
}

impl Segment {
    fn beside(index: &Path) -> Result<Option<Segment>> {
        let name = index.file_name().and_then(|n| n.to_str()).unwrap_or("");
        let path = index.with_file_name(match name.split_once('.') {
            Some((stem, _)) => format!("{stem}.log"),
            None => return Ok(None),
        });
        if !path.exists() {
            return Ok(None);
        }
        let (file, len) = super::open(&path)?;
        Ok(Some(Segment { file, len }))
    }

    fn batch_at(&self, position: u64) -> Option<Batch> {
        if position.checked_add(HEAD as u64)? > self.len {
            return None;
        }
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, position).ok()?;
        let base = i64::from_be_bytes(field(&head, 0));
        let length = i32::from_be_bytes(field(&head, 8));
        let last = base.checked_add(i32::from_be_bytes(field(&head, 23)).into())?;
        (length > 0 && head[16] == 2).then_some(Batch { base, last })
    }
}

#[derive(Serialize)]
struct OffsetEntry {
    offset: i64,
    position: u32,
}

/// An `.index`: for some offsets, where in the segment their batch begins.
pub fn dump_offsets<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let base = base_offset(path)?;
    let index = entries::<8>(path)?;
    let segment = Segment::beside(path)?;
    let mut last: Option<OffsetEntry> = None;
    let mut fault: Option<String> = None;
    for (number, raw) in index.entries.iter().enumerate() {
        let offset = base + i64::from(u32::from_be_bytes(field(raw, 0)));
        let position = u32::from_be_bytes(field(raw, 4));
        let entry = OffsetEntry { offset, position };
        sink.entry("index entry", &entry, |out| writeln!(out, "offset {offset}  position {position}"))?;
        let falls = last.as_ref().is_some_and(|l| l.offset >= offset || l.position >= position);
        if fault.is_none() && falls {
            fault = Some(format!("entry {number}: offsets and positions must grow"));
        }
        if let (None, Some(segment)) = (&fault, &segment) {
            fault = match segment.batch_at(position.into()) {
                None => Some(format!("entry {number} points at position {position}, where no batch begins")),
                Some(b) if offset < b.base || offset > b.last => Some(format!(
                    "entry {number} points offset {offset} at position {position}, which holds {} to {}",
                    b.base, b.last
                )),
                Some(_) => None,
            };
        }
        last = Some(entry);
    }
    Ok(match fault {
        Some(fault) => Verdict::damaged(fault),
        None if segment.is_some() => index.verdict(", each of them points at its batch in the segment"),
        None => index.verdict(", not held against a segment: there is none beside it"),
    })
}

#[derive(Serialize)]
struct TimeEntry {
    timestamp: i64,
    offset: i64,
}

/// A `.timeindex`: the largest timestamp up to some offsets.
pub fn dump_times<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let base = base_offset(path)?;
    let index = entries::<12>(path)?;
    let mut last: Option<TimeEntry> = None;
    let mut fault = None;
    for (number, raw) in index.entries.iter().enumerate() {
        let timestamp = i64::from_be_bytes(field(raw, 0));
        let offset = base + i64::from(u32::from_be_bytes(field(raw, 8)));
        let entry = TimeEntry { timestamp, offset };
        sink.entry("time index entry", &entry, |out| {
            writeln!(out, "timestamp {timestamp} ({})  offset {offset}", human_time(timestamp))
        })?;
        if fault.is_none() && last.as_ref().is_some_and(|l| l.timestamp > timestamp || l.offset > offset) {
            fault = Some(format!("entry {number}: timestamps and offsets must not fall"));
        }
        last = Some(entry);
    }
    Ok(fault.map_or_else(|| index.verdict(""), Verdict::damaged))
}

#[derive(Serialize)]
struct Aborted {
    producer_id: i64,
    first_offset: i64,
    last_offset: i64,
    last_stable_offset: i64,
}

/// A `.txnindex`: the transactions that were aborted in this segment.
pub fn dump_transactions<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let index = entries::<34>(path)?;
    for (number, raw) in index.entries.iter().enumerate() {
        let version = i16::from_be_bytes(field(raw, 0));
        if version != 0 {
            return Ok(Verdict::damaged(format!("entry {number} has version {version}, which is not known")));
        }
        let entry = Aborted {
            producer_id: i64::from_be_bytes(field(raw, 2)),
            first_offset: i64::from_be_bytes(field(raw, 10)),
            last_offset: i64::from_be_bytes(field(raw, 18)),
            last_stable_offset: i64::from_be_bytes(field(raw, 26)),
        };
        sink.entry("aborted transaction", &entry, |out| {
            writeln!(
                out,
                "aborted: producer {}  offsets {}..{}  last stable offset {}",
                entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset
            )
        })?;
        if entry.first_offset > entry.last_offset {
            return Ok(Verdict::damaged(format!("entry {number}: its first offset lies behind its last")));
        }
    }
    Ok(index.verdict(""))
}
