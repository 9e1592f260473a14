//! The text files of a log directory: checkpoints, `partition.metadata` and `meta.properties`.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use super::{Sink, Verdict, plural};
use crate::command::failure::{At, Failure, Result};
use crate::log::{checkpoint, compact};

/// A checkpoint is small text; a file beyond this is something else.
const TEXT_MAX: u64 = 256 << 20;

fn read_text(path: &Path) -> Result<Result<String, Verdict>> {
    let (_, len) = super::open(path)?;
    if len > TEXT_MAX {
        return Err(Failure::new(format!("{}: {len} bytes, far too large for a checkpoint", path.display())));
    }
    let bytes = std::fs::read(path).at(path.display())?;
    Ok(String::from_utf8(bytes).map_err(|e| {
        Verdict::damaged(format!("byte {} is no text; a checkpoint is text", e.utf8_error().valid_up_to()))
    }))
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Epoch {
    leader_epoch: i32,
    start_offset: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Offset {
    topic: String,
    partition: i32,
    offset: i64,
}

/// A `leader-epoch-checkpoint`: at which offset each leader epoch began.
pub fn dump_epochs<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let text = read_text(path)?;
    let lines = match text.as_deref().map_err(Verdict::clone).and_then(checkpoint_lines) {
        Ok(lines) => lines,
        Err(verdict) => return Ok(verdict),
    };
    let mut last: Option<Epoch> = None;
    for (number, line) in &lines {
        let Some([epoch, offset]) = words::<2>(line) else {
            return Ok(bad_line(*number, line, "EPOCH OFFSET"));
        };
        let (Some(leader_epoch), Some(start_offset)) = (parse(epoch), parse(offset)) else {
            return Ok(bad_line(*number, line, "EPOCH OFFSET"));
        };
        let entry = Epoch { leader_epoch, start_offset };
        sink.entry("leader epoch", &entry, |out| {
            writeln!(out, "leader epoch {leader_epoch} starts at offset {start_offset}")
        })?;
        if last.as_ref().is_some_and(|l| l.leader_epoch >= leader_epoch || l.start_offset > start_offset) {
            return Ok(Verdict::damaged(format!("line {number}: epochs and their offsets must grow")));
        }
        last = Some(entry);
    }
    Ok(Verdict::whole(plural(lines.len() as u64, "leader epoch")))
}

/// A checkpoint of an offset for each partition.
pub fn dump_offsets<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let text = read_text(path)?;
    let lines = match text.as_deref().map_err(Verdict::clone).and_then(checkpoint_lines) {
        Ok(lines) => lines,
        Err(verdict) => return Ok(verdict),
    };
    const SHAPE: &str = "TOPIC PARTITION OFFSET";
    for (number, line) in &lines {
        let Some([topic, partition, offset]) = words::<3>(line) else {
            return Ok(bad_line(*number, line, SHAPE));
        };
        let (Some(partition), Some(offset)) = (parse(partition), parse(offset)) else {
            return Ok(bad_line(*number, line, SHAPE));
        };
        let entry = Offset { topic: topic.to_string(), partition, offset };
        sink.entry("offset", &entry, |out| writeln!(out, "{topic}-{partition} offset {offset}"))?;
    }
    Ok(Verdict::whole(plural(lines.len() as u64, "partition")))
}

#[derive(Debug, Serialize)]
struct Start {
    log_start_offset: i64,
}

/// A partition's own `log-start-offset-checkpoint`: the first offset that is served.
pub fn dump_start<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let text = match read_text(path)? {
        Ok(text) => text,
        Err(verdict) => return Ok(verdict),
    };
    match checkpoint::decode_start(text.as_bytes()) {
        Ok(offset) => {
            let entry = Start { log_start_offset: offset };
            sink.entry("start", &entry, |out| writeln!(out, "the log starts at offset {offset}"))?;
            Ok(Verdict::whole("1 offset"))
        }
        Err(why) => Ok(Verdict::damaged(why)),
    }
}

#[derive(Debug, Serialize)]
struct Cleaned {
    first_dirty_offset: i64,
    exchange: Vec<i64>,
}

/// A partition's own `cleaner-offset-checkpoint`: how far it was compacted, and which files are being exchanged.
pub fn dump_cleaned<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let text = match read_text(path)? {
        Ok(text) => text,
        Err(verdict) => return Ok(verdict),
    };
    match compact::checkpoint::Checkpoint::decode(text.as_bytes()) {
        Ok(found) => {
            let entry = Cleaned { first_dirty_offset: found.first_dirty, exchange: found.exchange };
            sink.entry("cleaned", &entry, |out| {
                writeln!(out, "compacted below offset {}", entry.first_dirty_offset)?;
                match entry.exchange.is_empty() {
                    true => Ok(()),
                    false => writeln!(out, "segments being exchanged: {:?}", entry.exchange),
                }
            })?;
            Ok(Verdict::whole("1 offset"))
        }
        Err(why) => Ok(Verdict::damaged(why)),
    }
}

/// The lines after a checkpoint's head (its version, 0, and the number of lines), with their numbers.
fn checkpoint_lines(text: &str) -> Result<Vec<(usize, &str)>, Verdict> {
    let mut lines = text.lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim().is_empty());
    match lines.next() {
        None => return Err(Verdict::damaged("the file is empty; a checkpoint starts with its version")),
        Some((_, version)) if version.trim() == "0" => {}
        Some((_, version)) => {
            return Err(Verdict::damaged(format!("the first line is {version:?}, not a known version (0)")));
        }
    }
    let Some(expected) = lines.next().and_then(|(_, l)| parse::<usize>(l.trim())) else {
        return Err(Verdict::damaged("the second line is not the number of entries"));
    };
    let lines: Vec<_> = lines.collect();
    if lines.len() != expected {
        return Err(Verdict::damaged(format!("{expected} entries are announced, {} are there", lines.len())));
    }
    Ok(lines)
}

fn words<const N: usize>(line: &str) -> Option<[&str; N]> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.try_into().ok()
}

fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn bad_line(number: usize, line: &str, shape: &str) -> Verdict {
    Verdict::damaged(format!("line {number} is {line:?}, not {shape}"))
}

#[derive(Debug, Serialize)]
struct Property<'a> {
    key: &'a str,
    value: &'a str,
}

/// `partition.metadata` (`key: value`) and `meta.properties` (`key=value`).
pub fn dump_properties<W: Write>(path: &Path, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let text = match read_text(path)? {
        Ok(text) => text,
        Err(verdict) => return Ok(verdict),
    };
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return Ok(bad_line(number + 1, line, "KEY=VALUE"));
        };
        let (key, value) = (key.trim(), value.trim());
        sink.entry("property", &Property { key, value }, |out| writeln!(out, "{key} = {value}"))?;
        keys.push(key.to_string());
    }
    let needed: &[&str] = match path.file_name().and_then(|n| n.to_str()) {
        Some("partition.metadata") => &["version", "topic_id"],
        _ => &["version", "cluster.id", "node.id"],
    };
    match needed.iter().find(|n| !keys.iter().any(|k| k == *n)) {
        Some(missing) => Ok(Verdict::damaged(format!("{missing} is missing"))),
        None => Ok(Verdict::whole(plural(keys.len() as u64, "property"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_held_to_its_head() {
        assert_eq!(checkpoint_lines("0\n2\n0 0\n3 17\n").unwrap(), [(3, "0 0"), (4, "3 17")]);
        for bad in ["", "1\n0\n", "0\n", "0\n2\n0 0\n", "0\n0\n0 0\n", "0\nx\n"] {
            assert!(checkpoint_lines(bad).is_err(), "{bad:?}");
        }
    }
}
