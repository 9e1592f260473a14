//! Segments (`.log`): every batch, whether its CRC is right, and where damage begins.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::Serialize;

use super::{Sink, Verdict, base_offset, plural};
use crate::command::failure::{At, Result};
use crate::command::format::text_or_base64;
use crate::command::output::{Progress, Unit, human_time};
use crate::wire::batch::{Batch, BatchError, HEADER, Record};

/// Files from this size on get a progress line.
const LARGE: u64 = 64 << 20;
/// The most bytes that the records of one batch may take when decompressed.
const OPENED_MAX: usize = 1 << 30;
/// How much is read at once.
const BUFFER: usize = 1 << 20;

#[derive(Serialize)]
struct JsonBatch {
    base_offset: i64,
    last_offset: i64,
    position: u64,
    size: usize,
    leader_epoch: i32,
    crc: u32,
    crc_right: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    compression: String,
    timestamp_type: &'static str,
    base_timestamp: i64,
    max_timestamp: i64,
    records: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
}

#[derive(Serialize)]
struct JsonRecord<'a> {
    offset: i64,
    timestamp: i64,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

/// What the batches so far add up to.
struct Walk {
    position: u64,
    batches: u64,
    records: u64,
    next_offset: i64,
    epoch: i32,
    /// The first thing that was wrong.
    fault: Option<String>,
}

/// How the walk over a segment ended.
enum End {
    /// Exactly with a batch.
    File,
    /// With nothing but zeros: room that was made ahead of need.
    Zeros(u64),
    /// With bytes that are no whole batch.
    Garbage(String),
}

/// A segment.
pub fn dump<W: Write>(path: &Path, records: bool, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let base = base_offset(path)?;
    let (file, len) = super::open(path)?;
    let mut progress = (len >= LARGE).then(|| Progress::new(sink.style, Unit::Bytes, Some(len)));
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut walk = Walk { position: 0, batches: 0, records: 0, next_offset: base, epoch: -1, fault: None };
    let mut bytes = Vec::new();
    let end = loop {
        match next_batch(&mut reader, len - walk.position, &mut bytes).at(path.display())? {
            Next::Batch => {}
            Next::End(end) => break end,
        }
        let batch = Batch::first(&bytes).expect("a whole batch was read");
        walk.take(&batch, records, sink)?;
        walk.position += bytes.len() as u64;
        if let Some(progress) = &mut progress {
            progress.at(walk.position);
        }
    };
    if let Some(progress) = &mut progress {
        progress.finish();
    }
    let behind = match &end {
        End::Garbage(_) => valid_batches_behind(path, walk.position, walk.next_offset)?,
        _ => None,
    };
    Ok(walk.verdict(end, behind))
}

enum Next {
    Batch,
    End(End),
}

/// Reads one batch into `bytes`, of at most `left` bytes.
fn next_batch(reader: &mut BufReader<File>, left: u64, bytes: &mut Vec<u8>) -> io::Result<Next> {
    bytes.clear();
    if left == 0 {
        return Ok(Next::End(End::File));
    }
    reader.by_ref().take(HEADER as u64).read_to_end(bytes)?;
    if bytes.iter().all(|b| *b == 0) {
        return Ok(Next::End(zeros_from_here(reader, left)?));
    }
    let garbage = |text: String| Ok(Next::End(End::Garbage(text)));
    if bytes.len() < HEADER {
        return garbage(format!("the last {} bytes are less than a batch's header", bytes.len()));
    }
    let needed = match Batch::peek_len(bytes) {
        Ok(needed) => needed,
        Err(e) => return garbage(e.to_string()),
    };
    if needed as u64 > left {
        return garbage(BatchError::Cut { needed, left: left as usize }.to_string());
    }
    reader.by_ref().take((needed - HEADER) as u64).read_to_end(bytes)?;
    match bytes.len() == needed {
        true => Ok(Next::Batch),
        false => garbage(format!("the file ended while it was read, {} bytes early", needed - bytes.len())),
    }
}

/// Whether the file holds zeros only from here on.
fn zeros_from_here(reader: &mut impl Read, left: u64) -> io::Result<End> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            return Ok(End::Zeros(left));
        }
        if buffer[..n].iter().any(|b| *b != 0) {
            return Ok(End::Garbage("zeros, and then other bytes".into()));
        }
    }
}

/// Looks behind damage for a batch with a right CRC and an offset that could follow: then it is no torn tail.
fn valid_batches_behind(path: &Path, from: u64, next_offset: i64) -> Result<Option<(u64, i64)>> {
    let (file, len) = super::open(path)?;
    // A window always holds the largest batch that topics allow by default, with room to spare.
    const WINDOW: u64 = 8 << 20;
    let mut start = from + 1;
    while start + HEADER as u64 <= len {
        let mut window = vec![0; WINDOW.min(len - start) as usize];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut window, start).at(path.display())?;
        let last_window = start + window.len() as u64 == len;
        // Batches that begin in the window's second half are seen whole in the next one.
        let stop = if last_window { window.len() } else { window.len() / 2 };
        for at in 0..stop.min(window.len().saturating_sub(HEADER - 1)) {
            let bytes = &window[at..];
            if bytes[16] != 2 || bytes[0] != 0 {
                continue;
            }
            if let Ok(batch) = Batch::first(bytes)
                && batch.base_offset() >= next_offset
                && batch.check().is_ok()
            {
                return Ok(Some((start + at as u64, batch.base_offset())));
            }
        }
        if last_window {
            break;
        }
        start += stop as u64;
    }
    Ok(None)
}

impl Walk {
    fn take<W: Write>(&mut self, batch: &Batch<'_>, records: bool, sink: &mut Sink<'_, W>) -> Result<()> {
        let checked = batch.check();
        let crc_right = !matches!(checked, Err(BatchError::Crc { .. }));
        let problem = match checked {
            Err(e) => Some(e.to_string()),
            Ok(()) => self.out_of_order(batch),
        };
        show_batch(batch, self.position, crc_right, problem.as_deref(), sink)?;
        let mut readable = problem.is_none();
        if readable {
            readable = self.records_of(batch, records, sink)?;
        }
        if let Some(problem) = problem {
            self.note_fault(problem);
        }
        self.batches += 1;
        if readable {
            self.records += batch.count() as u64;
        }
        self.next_offset = self.next_offset.max(batch.last_offset().saturating_add(1));
        self.epoch = self.epoch.max(batch.leader_epoch());
        Ok(())
    }

    fn note_fault(&mut self, problem: String) {
        let place = format!("at position {} (batch {}): {problem}", self.position, self.batches);
        self.fault.get_or_insert(place);
    }

    fn out_of_order(&self, batch: &Batch<'_>) -> Option<String> {
        if batch.base_offset() < self.next_offset {
            return Some(format!(
                "its base offset is {}, the next one possible is {}",
                batch.base_offset(),
                self.next_offset
            ));
        }
        if batch.leader_epoch() < self.epoch {
            return Some(format!("its leader epoch is {}, after {}", batch.leader_epoch(), self.epoch));
        }
        None
    }

    /// Reads the records of a batch and shows them if that is asked for; says whether all could be read.
    fn records_of<W: Write>(
        &mut self,
        batch: &Batch<'_>,
        show: bool,
        sink: &mut Sink<'_, W>,
    ) -> Result<bool> {
        let set = match batch.open(OPENED_MAX) {
            Ok(set) => set,
            Err(e) => {
                self.note_fault(e.to_string());
                return Ok(false);
            }
        };
        for record in set.iter() {
            match record {
                Ok(record) if show => show_record(&record, sink)?,
                Ok(_) => {}
                Err(e) => {
                    self.note_fault(e.to_string());
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn verdict(self, end: End, behind: Option<(u64, i64)>) -> Verdict {
        let seen = format!(
            "{}, {}, next offset {}",
            plural(self.batches, "batch"),
            plural(self.records, "record"),
            self.next_offset
        );
        if let Some(fault) = self.fault {
            return Verdict::damaged(format!("{fault}; {seen}"));
        }
        match (end, behind) {
            (End::File, _) => Verdict::whole(seen),
            (End::Zeros(count), _) => {
                Verdict::whole(format!("{seen}, then {count} zero bytes: room made ahead of need"))
            }
            (End::Garbage(text), Some((position, offset))) => Verdict::damaged(format!(
                "at position {}: {text}; a whole batch with offset {offset} follows at position {position}, so this \
                 is no torn tail; {seen} before it",
                self.position
            )),
            (End::Garbage(text), None) => Verdict::damaged(format!(
                "at position {}: {text}; no whole batch follows, as after a write that was cut off; {seen} before it",
                self.position
            )),
        }
    }
}

fn show_batch<W: Write>(
    batch: &Batch<'_>,
    position: u64,
    crc_right: bool,
    problem: Option<&str>,
    sink: &mut Sink<'_, W>,
) -> io::Result<()> {
    let compression = batch.compression().map_or_else(|e| e.to_string(), |c| c.to_string());
    let timestamp_type = if batch.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
    let entry = JsonBatch {
        base_offset: batch.base_offset(),
        last_offset: batch.last_offset(),
        position,
        size: batch.bytes().len(),
        leader_epoch: batch.leader_epoch(),
        crc: batch.crc(),
        crc_right,
        problem: problem.map(str::to_string),
        compression,
        timestamp_type,
        base_timestamp: batch.base_timestamp(),
        max_timestamp: batch.max_timestamp(),
        records: batch.count(),
        producer_id: batch.producer_id(),
        producer_epoch: batch.producer_epoch(),
        base_sequence: batch.base_sequence(),
        transactional: batch.is_transactional(),
        control: batch.is_control(),
    };
    sink.entry("batch", &entry, |out| {
        write!(
            out,
            "offsets {}..{}  position {position}  size {}  epoch {}  crc {:#010x} {}  {}  {timestamp_type} {}  {}",
            entry.base_offset,
            entry.last_offset,
            entry.size,
            entry.leader_epoch,
            entry.crc,
            if crc_right { "right" } else { "WRONG" },
            entry.compression,
            human_time(entry.max_timestamp),
            plural(entry.records.max(0) as u64, "record"),
        )?;
        if batch.is_idempotent() {
            write!(
                out,
                "  producer {} epoch {} sequence {}",
                entry.producer_id, entry.producer_epoch, entry.base_sequence
            )?;
        }
        for (flag, name) in [(entry.transactional, "transactional"), (entry.control, "control")] {
            if flag {
                write!(out, "  {name}")?;
            }
        }
        match problem {
            Some(problem) if crc_right => writeln!(out, "  WRONG: {problem}"),
            _ => writeln!(out),
        }
    })
}

fn show_record<W: Write>(record: &Record<'_>, sink: &mut Sink<'_, W>) -> io::Result<()> {
    let headers: Vec<(String, Option<String>)> =
        record.headers.filter_map(Result::ok).map(|h| (lossy(h.key), h.value.map(lossy))).collect();
    let (key, key_base64) = text_or_base64(record.key);
    let (value, value_base64) = text_or_base64(record.value);
    let entry = JsonRecord {
        offset: record.offset,
        timestamp: record.timestamp,
        key,
        key_base64,
        value,
        value_base64,
        headers,
    };
    sink.entry("record", &entry, |out| {
        write!(out, "  offset {}  {}", record.offset, human_time(record.timestamp))?;
        for (name, bytes) in [("key", record.key), ("value", record.value)] {
            match bytes {
                None => write!(out, "  {name} null")?,
                Some(bytes) => write!(out, "  {name} \"{}\"", bytes.escape_ascii())?,
            }
        }
        for (name, value) in &entry.headers {
            write!(out, "  header {name}={}", value.as_deref().unwrap_or("null"))?;
        }
        writeln!(out)
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
