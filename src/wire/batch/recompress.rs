//! A batch in another compression, step by step and in little memory.
//!
//! Records pass through as they are, a piece at a time: decompressed, looked at, compressed. Beside the result, which
//! has a bound, no more is in memory than a piece and what the two codecs need.

use std::io::{self, Read, Write};

use super::compression::{self, Compression};
use super::{Batch, BatchError, BatchHeader, HEADER, attributes};
use crate::limits::DECOMPRESSED_MAX;
use crate::wire::error::ErrorCode;

/// How many bytes of records one step takes.
const STEP: usize = 32 << 10;
/// The level at which Kafka compresses fast; at any other it uses LZ4's slow compressor.
pub const LZ4_DEFAULT: i32 = 9;
/// Zstandard's window, as a power of two: it bounds what the higher levels take.
const ZSTD_WINDOW: u32 = 20;
/// The longest start of a record: length, attributes, timestamp, offset and the length of the key.
const START: usize = 5 + 1 + 10 + 5 + 5;

/// Makes a batch anew; see [`Recompressor::step`].
pub struct Recompressor<'a> {
    header: BatchHeader,
    records: Box<dyn Read + 'a>,
    encoder: Encoder,
    scan: Scan,
    limit: usize,
    /// Bytes that the records may still have: a bomb keeps nobody busy for long.
    left: usize,
    piece: Vec<u8>,
}

impl<'a> Recompressor<'a> {
    /// For a batch that was checked; the result may take `limit` bytes. `level` is the codec's own.
    pub fn new(
        batch: &Batch<'a>,
        to: Compression,
        level: i32,
        limit: usize,
    ) -> Result<Recompressor<'a>, BatchError> {
        let header = batch.header();
        let mut changed = header;
        changed.attributes = header.attributes & !attributes::COMPRESSION | to.id();
        Ok(Recompressor {
            scan: Scan::new(&header),
            header: changed,
            records: compression::reader(batch.compression()?, batch.payload())?,
            encoder: Encoder::new(to, level).map_err(|e| BatchError::Compressed(e.to_string()))?,
            limit,
            left: DECOMPRESSED_MAX,
            piece: vec![0; STEP],
        })
    }

    /// For a batch that was checked, whose records are to be looked at only: what is made is not of use.
    pub fn looking(batch: &Batch<'a>) -> Result<Recompressor<'a>, BatchError> {
        let made = Recompressor::new(batch, Compression::None, 0, usize::MAX)?;
        Ok(Recompressor { encoder: Encoder::Nothing, ..made })
    }

    /// Takes no record without a key.
    pub fn with_keys(mut self) -> Recompressor<'a> {
        self.scan.keys = true;
        self
    }

    /// Goes on for a while; gives the batch when it is made.
    pub fn step(&mut self) -> Result<Option<Vec<u8>>, BatchError> {
        let damaged = |error: io::Error| BatchError::Compressed(error.to_string());
        let read = self.records.read(&mut self.piece).map_err(damaged)?;
        if read > 0 {
            let left = self.left.checked_sub(read);
            self.left = left.ok_or(BatchError::TooLarge { limit: DECOMPRESSED_MAX })?;
            self.scan.take(&self.piece[..read])?;
            self.encoder.write_all(&self.piece[..read]).map_err(damaged)?;
            return self.check(self.encoder.len()).map(|()| None);
        }
        self.header.max_timestamp = self.scan.finish()?;
        let encoder = std::mem::replace(&mut self.encoder, Encoder::None(Vec::new()));
        let records = encoder.finish().map_err(damaged)?;
        self.check(records.len())?;
        Ok(Some(self.header.write(&records)))
    }

    /// How many bytes the result has so far.
    pub fn len(&self) -> usize {
        HEADER + self.encoder.len()
    }

    /// Whether there is nothing of the result yet.
    pub fn is_empty(&self) -> bool {
        self.encoder.len() == 0
    }

    fn check(&self, records: usize) -> Result<(), BatchError> {
        match HEADER + records > self.limit {
            true => Err(BatchError::TooLarge { limit: self.limit }),
            false => Ok(()),
        }
    }
}

/// Looks at the records that pass: how they follow one another, and the highest timestamp.
struct Scan {
    count: i32,
    base_timestamp: i64,
    seen: i32,
    max_timestamp: i64,
    /// The first bytes of a record that is not whole enough to be looked at.
    start: Vec<u8>,
    /// Bytes of the record at hand that are still to pass.
    skip: usize,
    /// Whether each record must have a key.
    keys: bool,
}

impl Scan {
    fn new(header: &BatchHeader) -> Scan {
        let (count, base_timestamp) = (header.count, header.base_timestamp);
        Scan { count, base_timestamp, seen: 0, max_timestamp: -1, start: Vec::new(), skip: 0, keys: false }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), BatchError> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip -= skipped;
            if bytes.is_empty() {
                return Ok(());
            }
            let had = self.start.len();
            let more = (START - had).min(bytes.len());
            self.start.extend_from_slice(&bytes[..more]);
            if self.start.len() < START && self.record_len().is_none_or(|len| self.start.len() < len) {
                return Ok(());
            }
            // What was taken beyond this record's start is looked at again as what follows.
            let taken = self.look()?;
            self.start.clear();
            match taken.checked_sub(had) {
                Some(taken) => bytes = &bytes[taken.min(more)..],
                None => return Err(bad("a record is shorter than it says")),
            }
        }
        Ok(())
    }

    /// The length of the record that `start` begins with, its own bytes included; none where it is not known yet.
    fn record_len(&self) -> Option<usize> {
        let mut rest = &self.start[..];
        let len = varint(&mut rest)?;
        Some(self.start.len() - rest.len() + usize::try_from(len).unwrap_or(0))
    }

    /// Looks at the record whose start is there, and says how many of the bytes in `start` are its own.
    fn look(&mut self) -> Result<usize, BatchError> {
        let cut = || bad("a record is cut");
        let mut rest = &self.start[..];
        let len = varint(&mut rest).and_then(|len| usize::try_from(len).ok()).ok_or_else(cut)?;
        let (own, body) = (self.start.len() - rest.len(), rest.len());
        rest = rest.get(1..).ok_or_else(cut)?;
        let timestamp = self.base_timestamp.wrapping_add(varint(&mut rest).ok_or_else(cut)?);
        let offset = varint(&mut rest).ok_or_else(cut)?;
        if body - rest.len() > len {
            return Err(bad("a record is shorter than its fields"));
        }
        if self.keys && varint(&mut rest).is_none_or(|len| len < 0) {
            return Err(bad("a compacted topic takes no record without a key"));
        }
        if offset != i64::from(self.seen) {
            return Err(bad("the records' offsets do not follow one another"));
        }
        self.seen = self.seen.checked_add(1).ok_or_else(|| bad("there are too many records"))?;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let whole = own.saturating_add(len);
        let here = whole.min(self.start.len());
        self.skip = whole - here;
        Ok(here)
    }

    fn finish(&self) -> Result<i64, BatchError> {
        match self.skip == 0 && self.start.is_empty() && self.seen == self.count {
            true => Ok(self.max_timestamp),
            false => Err(bad("there are not as many records as the header says")),
        }
    }
}

/// A number in as few bytes as it needs, signs in the lowest bit.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn bad(what: &'static str) -> BatchError {
    BatchError::NotForClients(ErrorCode::INVALID_RECORD, what)
}

/// A compression under way.
enum Encoder {
    /// What is written is not kept.
    Nothing,
    None(Vec<u8>),
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Snappy {
        out: Vec<u8>,
        block: Vec<u8>,
    },
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Lz4High(compression::Lz4High),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(to: Compression, level: i32) -> io::Result<Encoder> {
        Ok(match to {
            Compression::None => Encoder::None(Vec::new()),
            Compression::Gzip => {
                let level = match u32::try_from(level) {
                    Ok(level) => flate2::Compression::new(level.min(9)),
                    Err(_) => flate2::Compression::default(),
                };
                Encoder::Gzip(Box::new(flate2::write::GzEncoder::new(Vec::new(), level)))
            }
            Compression::Snappy => Encoder::Snappy { out: compression::xerial_header(), block: Vec::new() },
            Compression::Lz4 if level == LZ4_DEFAULT => Encoder::Lz4(Box::new(compression::lz4_encoder())),
            Compression::Lz4 => Encoder::Lz4High(compression::Lz4High::new(level)),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(ZSTD_WINDOW)?;
                Encoder::Zstd(encoder)
            }
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Nothing => {}
            Encoder::None(out) => out.extend_from_slice(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes)?,
            Encoder::Lz4(encoder) => encoder.write_all(bytes)?,
            Encoder::Lz4High(encoder) => encoder.write_all(bytes)?,
            Encoder::Zstd(encoder) => encoder.write_all(bytes)?,
            Encoder::Snappy { out, block } => {
                block.extend_from_slice(bytes);
                while block.len() >= compression::XERIAL_BLOCK {
                    compression::xerial_block(&block[..compression::XERIAL_BLOCK], out)?;
                    block.drain(..compression::XERIAL_BLOCK);
                }
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Encoder::Nothing => 0,
            Encoder::None(out) | Encoder::Snappy { out, .. } => out.len(),
            Encoder::Gzip(encoder) => encoder.get_ref().len(),
            Encoder::Lz4(encoder) => encoder.get_ref().len(),
            Encoder::Lz4High(encoder) => encoder.out.len(),
            Encoder::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        Ok(match self {
            Encoder::Nothing => Vec::new(),
            Encoder::None(out) => out,
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Lz4(encoder) => encoder.finish()?,
            Encoder::Lz4High(encoder) => encoder.finish()?,
            Encoder::Zstd(encoder) => encoder.finish()?,
            Encoder::Snappy { mut out, block } => {
                if !block.is_empty() {
                    compression::xerial_block(&block, &mut out)?;
                }
                out
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::BatchBuilder;
    use super::*;

    fn built(compression: Compression, records: usize, size: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new().compression(compression).producer(7, 1, 40);
        for n in 0..records {
            let value: Vec<u8> = (0..size).map(|i| (i * i / 7 + n) as u8).collect();
            builder.append(1000 - n as i64, Some(b"key"), Some(&value), &[("h", None)]);
        }
        builder.build().unwrap()
    }

    fn recompressed(bytes: &[u8], to: Compression, level: i32, limit: usize) -> Result<Vec<u8>, BatchError> {
        let mut work = Recompressor::new(&Batch::first(bytes).unwrap(), to, level, limit)?;
        loop {
            if let Some(made) = work.step()? {
                return Ok(made);
            }
        }
    }

    #[test]
    fn a_record_without_a_key_is_found_in_every_compression() {
        for compression in Compression::ALL {
            for keyless in [None, Some(0), Some(1), Some(299)] {
                let mut builder = BatchBuilder::new().compression(compression);
                for n in 0..300 {
                    let key: &[u8] =
                        if n % 2 == 0 { b"" } else { b"a key that is longer than what is looked at" };
                    let key = (keyless != Some(n)).then_some(key);
                    builder.append(n, key, None, &[]);
                }
                let bytes = builder.build().unwrap();
                let mut look = Recompressor::looking(&Batch::first(&bytes).unwrap()).unwrap().with_keys();
                let seen = loop {
                    match look.step() {
                        Ok(None) => {}
                        Ok(Some(_)) => break None,
                        Err(why) => break Some(why.error_code()),
                    }
                };
                assert_eq!(seen, keyless.map(|_| ErrorCode::INVALID_RECORD), "{compression:?} {keyless:?}");
            }
        }
    }

    #[test]
    fn records_stay_the_same_in_every_compression() {
        for (records, size) in [(1, 0), (1, 5), (300, 3), (50, 900), (3, 100_000)] {
            for from in Compression::ALL {
                for to in Compression::ALL {
                    let bytes = built(from, records, size);
                    let level = match to {
                        Compression::Zstd => 3,
                        Compression::Lz4 => LZ4_DEFAULT - size as i32 % 5,
                        _ => -1,
                    };
                    let made = recompressed(&bytes, to, level, 1 << 20).unwrap();
                    let (before, after) = (Batch::first(&bytes).unwrap(), Batch::first(&made).unwrap());
                    after.check_from_client().unwrap();
                    assert_eq!(after.compression().unwrap(), to);
                    let header = BatchHeader { attributes: before.header().attributes, ..after.header() };
                    assert_eq!(header, before.header(), "{from} to {to}");
                    let (before, after) = (before.open(1 << 20).unwrap(), after.open(1 << 20).unwrap());
                    assert!(before.iter().map(Result::unwrap).eq(after.iter().map(Result::unwrap)));
                }
            }
        }
    }

    #[test]
    fn levels_count() {
        let bytes = built(Compression::None, 400, 600);
        let levels = [
            (Compression::Gzip, 1, 9),
            (Compression::Zstd, -50, 19),
            // As in Kafka, the default is the fastest.
            (Compression::Lz4, LZ4_DEFAULT, 1),
            (Compression::Lz4, 1, 12),
        ];
        for (to, low, high) in levels {
            let [low, high] =
                [low, high].map(|level| recompressed(&bytes, to, level, 1 << 20).unwrap().len());
            assert!(high < low, "{to}: {low} and {high}");
        }
        assert!(recompressed(&bytes, Compression::Zstd, 22, 1 << 20).is_ok());
    }

    #[test]
    fn every_level_of_lz4_is_read_by_other_readers() {
        for (records, size) in [(1, 0), (1, 70_000), (400, 600), (2, 65_536)] {
            let bytes = built(Compression::Gzip, records, size);
            let before = Batch::first(&bytes).unwrap().open(1 << 20).unwrap();
            for level in 1..=17 {
                let made = recompressed(&bytes, Compression::Lz4, level, 1 << 20).unwrap();
                let after = Batch::first(&made).unwrap();
                let opened = after.open(1 << 20).unwrap();
                assert!(before.iter().map(Result::unwrap).eq(opened.iter().map(Result::unwrap)));
                let mut other = Vec::new();
                lz4::Decoder::new(after.payload()).unwrap().read_to_end(&mut other).unwrap();
                let plain = recompressed(&bytes, Compression::None, 0, 1 << 20).unwrap();
                assert_eq!(other, Batch::first(&plain).unwrap().payload(), "level {level}");
            }
        }
    }

    #[test]
    fn the_result_has_a_bound() {
        for from in Compression::ALL {
            let bytes = built(from, 100, 10_000);
            let error = recompressed(&bytes, Compression::None, 0, 100_000).unwrap_err();
            assert!(matches!(error, BatchError::TooLarge { limit: 100_000 }), "{from}: {error}");
        }
    }

    #[test]
    fn a_bomb_is_given_up() {
        let mut builder = BatchBuilder::new().compression(Compression::Zstd);
        builder.append(1, None, Some(&vec![0; 1 << 20]), &[]);
        let bytes = builder.build().unwrap();
        for (left, passes) in [(900_000, false), (1_100_000, true)] {
            let batch = Batch::first(&bytes).unwrap();
            let mut work = Recompressor::new(&batch, Compression::Gzip, 1, 1 << 20).unwrap();
            work.left = left;
            let ended = loop {
                match work.step() {
                    Ok(None) => {}
                    Ok(Some(made)) => break Ok(made.len()),
                    Err(error) => break Err(error),
                }
            };
            assert_eq!(ended.is_ok(), passes, "{ended:?}");
        }
    }

    #[test]
    fn what_is_no_record_does_not_pass() {
        let good = built(Compression::None, 5, 50);
        let header = Batch::first(&good).unwrap().header();
        let records = good[HEADER..].to_vec();
        let refused = |header: BatchHeader, records: &[u8]| {
            let bytes = header.write(records);
            recompressed(&bytes, Compression::Gzip, 1, 1 << 20).is_err()
        };
        assert!(!refused(header, &records));
        for cut in 1..records.len() {
            assert!(refused(header, &records[..cut]), "cut to {cut}");
        }
        assert!(refused(header, &[&records[..], &[0]].concat()));
        assert!(refused(BatchHeader { count: 4, ..header }, &records));
        assert!(refused(header, &[0x80; 40]));
        let mut offset = records.clone();
        let at = offset.iter().position(|b| *b == 0).unwrap();
        offset[at + 2] = 9;
        assert!(refused(header, &offset), "another offset");
        let mut garbage = built(Compression::Zstd, 5, 5000);
        let middle = garbage.len() / 2;
        garbage[middle..].fill(0x55);
        assert!(recompressed(&garbage, Compression::Gzip, 1, 1 << 20).is_err());
    }
}
