//! Records as they are read: lines and files, with keys, headers and nulls.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;

use super::super::failure::{At, Failure, Result};
use super::super::units::now_ms;

/// No record can be larger: a Produce request has to hold it.
const RECORD_MAX: u64 = 1 << 30;

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; none is null.
    pub value: Option<Bytes>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its key; none is null.
    pub key: Option<Bytes>,
    /// Its value; none is null.
    pub value: Option<Bytes>,
    /// Its headers, the same for all.
    pub headers: Arc<[Header]>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// Where records come from, and what is made of the bytes.
#[derive(Clone, Debug)]
pub struct Source {
    /// Files; standard input where there are none.
    pub files: Vec<PathBuf>,
    /// Whether the input is cut at delimiters; else each file is one record.
    pub by_line: bool,
    /// What ends a record.
    pub delimiter: Vec<u8>,
    /// What ends a key.
    pub key_delimiter: Option<Vec<u8>>,
    /// The key of records that bring none.
    pub key: Option<Bytes>,
    /// The headers of every record.
    pub headers: Arc<[Header]>,
    /// Whether empty keys and values are null.
    pub nulls: bool,
    /// The timestamp of every record; none is the time at which it is read.
    pub timestamp: Option<i64>,
}

impl Source {
    /// Whether a person types the records.
    pub fn is_typed(&self) -> bool {
        self.files.is_empty() && io::stdin().is_terminal()
    }

    /// Reads up to `limit` records and hands each over, then the first failure if there is one.
    pub fn read_all(&self, limit: u64, records: &SyncSender<Result<Input>>) {
        let mut left = limit;
        let mut hand_over = |bytes: Vec<u8>| {
            left -= 1;
            // A receiver that is gone has failed, and told why.
            records.send(Ok(self.record(bytes))).is_ok() && left > 0
        };
        let result = match limit {
            0 => Ok(()),
            _ => self.each(&mut hand_over),
        };
        if let Err(failure) = result {
            let _ = records.send(Err(failure));
        }
    }

    fn each(&self, hand_over: &mut impl FnMut(Vec<u8>) -> bool) -> Result<()> {
        if self.files.is_empty() {
            return cut(&mut io::stdin().lock(), &self.delimiter, hand_over).map(|_| ()).at("standard input");
        }
        for path in &self.files {
            let file = File::open(path).at(path.display())?;
            let go_on = if self.by_line {
                cut(&mut BufReader::with_capacity(256 << 10, file), &self.delimiter, hand_over)
                    .at(path.display())?
            } else {
                let mut whole = Vec::new();
                file.take(RECORD_MAX + 1).read_to_end(&mut whole).at(path.display())?;
                if whole.len() as u64 > RECORD_MAX {
                    return Err(Failure::new(format!("{}: too large for one record", path.display()))
                        .advice("With -l each line of a file is a record."));
                }
                hand_over(whole)
            };
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// Makes a record of its bytes.
    fn record(&self, bytes: Vec<u8>) -> Input {
        let bytes = Bytes::from(bytes);
        let at = self.key_delimiter.as_ref().and_then(|d| find(&bytes, d).map(|at| (at, at + d.len())));
        let (key, value) = match at {
            Some((end, start)) => (Some(bytes.slice(..end)), bytes.slice(start..)),
            None => (self.key.clone(), bytes),
        };
        let present = |b: &Bytes| !(self.nulls && b.is_empty());
        Input {
            key: key.filter(present),
            value: Some(value).filter(present),
            headers: self.headers.clone(),
            timestamp: self.timestamp.unwrap_or_else(now_ms),
        }
    }
}

/// Hands over each piece of the input that is not empty; says whether more is wanted.
fn cut(
    input: &mut impl BufRead,
    delimiter: &[u8],
    hand_over: &mut impl FnMut(Vec<u8>) -> bool,
) -> io::Result<bool> {
    let last = *delimiter.last().expect("a delimiter is not empty");
    let mut piece = Vec::new();
    loop {
        let before = piece.len();
        input.by_ref().take(RECORD_MAX).read_until(last, &mut piece)?;
        let ended = piece.len() == before;
        if piece.len() as u64 >= RECORD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too large for one record"));
        }
        let cut_off = piece.ends_with(delimiter);
        if cut_off {
            piece.truncate(piece.len() - delimiter.len());
        } else if !ended {
            continue;
        }
        if !piece.is_empty() && !hand_over(std::mem::take(&mut piece)) {
            return Ok(false);
        }
        if ended {
            return Ok(true);
        }
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            files: Vec::new(),
            by_line: true,
            delimiter: b"\n".to_vec(),
            key_delimiter: Some(b":".to_vec()),
            key: None,
            headers: Vec::new().into(),
            nulls: false,
            timestamp: Some(7),
        }
    }

    fn pieces(text: &str, delimiter: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut keep = |piece: Vec<u8>| {
            all.push(String::from_utf8(piece).unwrap());
            true
        };
        cut(&mut text.as_bytes(), delimiter.as_bytes(), &mut keep).unwrap();
        all
    }

    #[test]
    fn input_is_cut_at_delimiters() {
        assert_eq!(pieces("a\n\nb\nc", "\n"), ["a", "b", "c"]);
        assert_eq!(pieces("a;b--;c--", "--"), ["a;b", ";c"]);
        assert_eq!(pieces("a-b--c---", "--"), ["a-b", "c", "-"]);
        assert_eq!(pieces("", "\n"), [""; 0]);
    }

    #[test]
    fn keys_stand_before_the_first_delimiter() {
        let record = |text: &str| {
            let r = source().record(text.as_bytes().to_vec());
            (r.key, r.value)
        };
        assert_eq!(record("k:v:x"), (Some("k".into()), Some("v:x".into())));
        assert_eq!(record("v"), (None, Some("v".into())));
        assert_eq!(record(":v"), (Some("".into()), Some("v".into())));
        assert_eq!(record("k:"), (Some("k".into()), Some("".into())));
    }

    #[test]
    fn empty_becomes_null_on_request() {
        let nulls = Source { nulls: true, ..source() };
        let tombstone = nulls.record(b"k:".to_vec());
        assert_eq!((tombstone.key, tombstone.value), (Some("k".into()), None));
        assert_eq!(nulls.record(b":v".to_vec()).key, None);
    }

    #[test]
    fn a_limit_ends_the_reading() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(10);
        let path = std::env::temp_dir().join(format!("ottla-input-{}", std::process::id()));
        std::fs::write(&path, "a\nb\nc\n").unwrap();
        let source = Source { files: vec![path.clone(), path.clone()], ..source() };
        source.read_all(4, &sender);
        source.read_all(0, &sender);
        drop(sender);
        std::fs::remove_file(path).unwrap();
        let values: Vec<_> = receiver.iter().map(|r| r.unwrap().value.unwrap()).collect();
        assert_eq!(values, ["a", "b", "c", "a"]);
    }
}
