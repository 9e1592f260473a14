//! The four compressions of record batches, each within a bound.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use super::BatchError;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip.
    Gzip,
    /// Snappy, in the frames of snappy-java or in none: both are read, the former is written.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// How snappy-java begins: its magic, its version and the lowest version that can read it.
const XERIAL: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER: usize = 16;
pub(super) const XERIAL_BLOCK: usize = 32 << 10;
/// No element of the raw form makes more of its bytes than this many times as many (a copy of 64 bytes takes three).
const SNAPPY_EXPANSION: usize = 22;

/// The most that one block of snappy may hold where it is read piece by piece.
const SNAPPY_BLOCK_MAX: usize = 32 << 20;

impl Compression {
    /// All of them, by number.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The compression of this number.
    pub fn from_id(id: u8) -> Result<Compression, BatchError> {
        Compression::ALL.get(usize::from(id)).copied().ok_or(BatchError::Compression(id))
    }

    /// Its number in a batch's attributes.
    pub fn id(self) -> i16 {
        self as i16
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Compresses the records of one batch.
    pub fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Compression::Snappy => {
                let mut out = xerial_header();
                for block in bytes.chunks(XERIAL_BLOCK) {
                    xerial_block(block, &mut out)?;
                }
                Ok(out)
            }
            Compression::Lz4 => {
                let mut encoder = lz4_encoder();
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?)
            }
            Compression::Zstd => zstd::encode_all(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    /// Decompresses the records of one batch, which may take at most `limit` bytes then.
    pub fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
        match self {
            Compression::None if bytes.len() > limit => Err(BatchError::TooLarge { limit }),
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(bytes), limit),
            Compression::Snappy => snappy(bytes, limit),
            Compression::Lz4 => read_bounded(lz4_decoder(bytes)?, limit),
            Compression::Zstd => {
                read_bounded(zstd::Decoder::with_buffer(bytes).map_err(|e| damaged(&e))?, limit)
            }
        }
    }
}

/// How snappy-java's frames begin.
pub(super) fn xerial_header() -> Vec<u8> {
    [&XERIAL[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat()
}

/// Writes one of snappy-java's blocks.
pub(super) fn xerial_block(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let block = snap::raw::Encoder::new().compress_vec(bytes)?;
    out.extend_from_slice(&(block.len() as u32).to_be_bytes());
    out.extend_from_slice(&block);
    Ok(())
}

/// The block size and the independent blocks are what Kafka's own clients write.
pub(super) fn lz4_encoder() -> lz4_flex::frame::FrameEncoder<Vec<u8>> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new())
}

/// Reads a frame of today's form, as Kafka does. The form before it has blocks of 8 MiB, for which memory would be taken
/// whatever they hold.
fn lz4_decoder(bytes: &[u8]) -> Result<lz4_flex::frame::FrameDecoder<&[u8]>, BatchError> {
    if !bytes.is_empty() && !bytes.starts_with(&LZ4_HEADER[..4]) {
        return Err(BatchError::Compressed("this is no frame of LZ4".to_owned()));
    }
    Ok(lz4_flex::frame::FrameDecoder::new(bytes))
}

/// How Kafka's LZ4 frames begin: the magic, independent blocks of at most 64 KiB, and the checksum of these two bytes.
const LZ4_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const LZ4_BLOCK: usize = 64 << 10;
/// Set in the length of a block that is not compressed.
const LZ4_PLAIN: u32 = 1 << 31;

/// An LZ4 frame of blocks that are compressed well rather than fast.
pub(super) struct Lz4High {
    level: i32,
    pub(super) out: Vec<u8>,
    block: Vec<u8>,
}

impl Lz4High {
    /// At this level of LZ4's slow compressor, 1 to 17.
    pub(super) fn new(level: i32) -> Lz4High {
        Lz4High { level, out: LZ4_HEADER.to_vec(), block: Vec::new() }
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(LZ4_BLOCK - self.block.len());
            self.block.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.block.len() == LZ4_BLOCK {
                self.end_block()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.out.extend_from_slice(&[0; 4]);
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        let mode = lz4::block::CompressionMode::HIGHCOMPRESSION(self.level);
        let small = lz4::block::compress(&self.block, Some(mode), false)?;
        let (len, bytes) = match small.len() < self.block.len() {
            true => (small.len() as u32, &small),
            false => (self.block.len() as u32 | LZ4_PLAIN, &self.block),
        };
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(bytes);
        self.block.clear();
        Ok(())
    }
}

/// Reads the records of one batch piece by piece.
pub(super) fn reader<'a>(from: Compression, bytes: &'a [u8]) -> Result<Box<dyn Read + 'a>, BatchError> {
    Ok(match from {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        Compression::Snappy => Box::new(SnappyReader::new(bytes)?),
        Compression::Lz4 => Box::new(lz4_decoder(bytes)?),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(bytes).map_err(|e| damaged(&e))?),
    })
}

/// Snappy's blocks, one after the other.
struct SnappyReader<'a> {
    /// What follows: blocks with their lengths, or one block without.
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    at: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(bytes: &'a [u8]) -> Result<SnappyReader<'a>, BatchError> {
        let framed = bytes.starts_with(&XERIAL);
        let rest = match framed {
            true => bytes.get(XERIAL_HEADER..).ok_or_else(|| damaged(&"the snappy header is cut"))?,
            false => bytes,
        };
        Ok(SnappyReader { rest, framed, block: Vec::new(), at: 0 })
    }

    fn next_block(&mut self) -> Result<(), BatchError> {
        let (block, after) = if self.framed { xerial_split(self.rest)? } else { (self.rest, &[][..]) };
        self.rest = after;
        self.block.clear();
        self.at = 0;
        snappy_block(block, SNAPPY_BLOCK_MAX, &mut self.block)
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if self.rest.is_empty() {
                return Ok(0);
            }
            self.next_block().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        }
        let count = into.len().min(self.block.len() - self.at);
        into[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(name: &str) -> Result<Compression, String> {
        let named = Compression::ALL.into_iter().find(|c| c.name() == name);
        named.ok_or_else(|| format!("no compression is called '{name}': none, gzip, snappy, lz4, zstd"))
    }
}

fn damaged(error: &dyn fmt::Display) -> BatchError {
    BatchError::Compressed(error.to_string())
}

fn read_bounded(decoder: impl Read, limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(|e| damaged(&e))?;
    if out.len() > limit { Err(BatchError::TooLarge { limit }) } else { Ok(out) }
}

fn snappy(bytes: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL) {
        snappy_block(bytes, limit, &mut out)?;
        return Ok(out);
    }
    let mut rest = bytes.get(XERIAL_HEADER..).ok_or_else(|| damaged(&"the snappy header is cut"))?;
    while !rest.is_empty() {
        let (block, after) = xerial_split(rest)?;
        snappy_block(block, limit, &mut out)?;
        rest = after;
    }
    Ok(out)
}

/// The next of snappy-java's blocks, and what follows.
fn xerial_split(rest: &[u8]) -> Result<(&[u8], &[u8]), BatchError> {
    let cut = || damaged(&"a snappy block is cut");
    let (len, after) = rest.split_at_checked(4).ok_or_else(cut)?;
    let len = u32::from_be_bytes(len.try_into().expect("four bytes")) as usize;
    after.split_at_checked(len).ok_or_else(cut)
}

fn snappy_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let len = snap::raw::decompress_len(block).map_err(|e| damaged(&e))?;
    if len > limit - out.len() {
        return Err(BatchError::TooLarge { limit });
    }
    if len > block.len().saturating_mul(SNAPPY_EXPANSION) {
        return Err(damaged(&"a snappy block says that it is larger than it can be"));
    }
    let start = out.len();
    out.resize(start + len, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|e| damaged(&e))?;
    debug_assert_eq!(written, len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_the_old_form_of_lz4_are_refused() {
        let old = [0x02, 0x21, 0x4c, 0x18, 1, 0, 0, 0, 0];
        let refused = BatchError::Compressed("this is no frame of LZ4".to_owned());
        assert_eq!(Compression::Lz4.decompress(&old, 1 << 20), Err(refused));
        assert!(reader(Compression::Lz4, &old).is_err());
        let new = Compression::Lz4.compress(b"records").unwrap();
        assert_eq!(Compression::Lz4.decompress(&new, 1 << 20).as_deref(), Ok(&b"records"[..]));
    }
}
