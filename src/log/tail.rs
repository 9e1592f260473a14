//! The end of one segment in memory: what is not yet on disk, and what is kept of the rest for consumers.
//!
//! Appends are copied once, into aligned chunks that the disk writes from and that consumers are served from.
//!
//! The contract:
//! - The shard appends; [`Tail::take_writes`] hands out all that has been appended since the last time, as block
//!   aligned writes. The next writes are taken only when those have finished, so no two that are under way touch
//!   the same block.
//! - A block that was handed out is never changed again. If it was the last, unfinished one, the next append goes
//!   on in a fresh copy of it, which is written over it later.
//! - Bytes that are not stable yet are never forgotten; [`Tail::forget_oldest`] drops only what the caller says
//!   is stable.
//! - A failed write is not repaired here: the log directory stops.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::limits::{BLOCK, CHUNK_BUSY, CHUNK_MIN, CHUNK_SPAN_MS};
use crate::reactor::{Chunk, ChunkSlice};

const BLOCK64: u64 = BLOCK as u64;

/// One direct write: block aligned in memory and in the file.
#[derive(Debug)]
pub struct Write {
    /// The bytes, padded with zeros behind the log's end.
    pub data: ChunkSlice,
    /// Where they go in the segment's file.
    pub position: u64,
}

/// Bytes of the file that lie in memory.
struct Piece {
    /// Where the first byte of `data` lies in the file.
    position: u64,
    data: ChunkSlice,
}

impl Piece {
    fn end(&self) -> u64 {
        self.position + self.data.len() as u64
    }
}

/// The chunk that is being filled.
struct Open {
    chunk: Chunk,
    /// Where the bytes that go on in the file without a gap begin in the chunk; block aligned.
    origin: usize,
    /// The file position of `origin`; block aligned.
    position: u64,
    /// The file position from which bytes of this chunk belong to it alone: what lies before it in the run is a
    /// copy of a block's beginning that an older piece holds too.
    own_from: u64,
}

impl Open {
    fn end(&self) -> u64 {
        self.position + (self.chunk.len() - self.origin) as u64
    }

    fn at(&self, position: u64) -> usize {
        self.origin + usize::try_from(position - self.position).expect("a chunk fits in memory")
    }
}

/// The end of one segment in memory.
pub struct Tail {
    /// Older bytes, in order, each piece beginning where the one before ends.
    pieces: VecDeque<Piece>,
    open: Option<Open>,
    /// Where the log ends in the file.
    end: u64,
    /// Everything before this block was handed out as a write in its final form.
    write_from: u64,
    /// Whether the block at `write_from` was handed out with its end open.
    sealed: bool,
    /// Writes of chunks that were filled since the last [`Tail::take_writes`].
    filled: Vec<Write>,
}

impl Tail {
    /// The tail of a segment whose file ends at `end`. `last_block` is what the file holds of the unfinished
    /// block before `end`: empty when `end` is block aligned.
    pub fn new(end: u64, last_block: Option<ChunkSlice>) -> Tail {
        let write_from = end - end % BLOCK64;
        let mut pieces = VecDeque::new();
        if let Some(data) = last_block.filter(|data| !data.is_empty()) {
            assert_eq!(data.len() as u64, end % BLOCK64, "the unfinished block reaches to the end");
            pieces.push_back(Piece { position: write_from, data });
        }
        assert!(end == write_from || !pieces.is_empty(), "an unfinished block is needed to go on");
        Tail { pieces, open: None, end, write_from, sealed: true, filled: Vec::new() }
    }

    /// Where the log ends in the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the bytes in memory begin.
    pub fn start(&self) -> u64 {
        match (self.pieces.front(), &self.open) {
            (Some(piece), _) => piece.position,
            (None, Some(open)) => open.own_from,
            (None, None) => self.end,
        }
    }

    /// The block from which on the next writes go.
    pub fn write_from(&self) -> u64 {
        self.filled.first().map_or(self.write_from, |write| write.position)
    }

    /// Whether something was appended that no write has been taken for.
    pub fn is_dirty(&self) -> bool {
        !self.filled.is_empty() || self.open.is_some() && !self.sealed
    }

    /// The size of a chunk to hand to [`Tail::push`] for `len` more bytes, or none if what is there has room. `rate` is
    /// how many bytes a second are appended.
    pub fn needs_chunk(&self, len: usize, rate: u64) -> Option<usize> {
        let carried = self.unfinished();
        if let Some(open) = &self.open {
            let restart = if self.sealed { open.chunk.len().next_multiple_of(BLOCK) + carried } else { 0 };
            let room = open.chunk.capacity().saturating_sub(restart.max(open.chunk.len()));
            if room >= len {
                return None;
            }
        }
        // A partition that is busy gets large chunks, a quiet one small ones.
        let step = usize::try_from(rate / 1000 * CHUNK_SPAN_MS).unwrap_or(CHUNK_BUSY);
        let step = step.clamp(CHUNK_MIN, CHUNK_BUSY);
        Some((carried + len).max(step))
    }

    /// Appends the parts of one batch, as one run. `fresh` is a chunk of the size that [`Tail::needs_chunk`]
    /// asked for.
    pub fn push(&mut self, parts: &[&[u8]], fresh: Option<Chunk>) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        match fresh {
            Some(chunk) => self.switch_to(chunk),
            None => self.reopen(),
        }
        let open = self.open.as_mut().expect("a chunk was asked for when there was none");
        for part in parts {
            open.chunk.append(part);
        }
        self.sealed = false;
        self.end += len as u64;
        debug_assert_eq!(self.open.as_ref().map(Open::end), Some(self.end));
    }

    /// How many bytes of the last block are filled.
    fn unfinished(&self) -> usize {
        (self.end % BLOCK64) as usize
    }

    /// The filled part of the last, unfinished block.
    fn last_block(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK);
        for slice in self.read(self.end - self.end % BLOCK64..self.end) {
            block.extend_from_slice(&slice);
        }
        block
    }

    /// Goes on in a new chunk, which begins with a copy of the last, unfinished block.
    fn switch_to(&mut self, mut chunk: Chunk) {
        debug_assert!(chunk.is_empty());
        chunk.append(&self.last_block());
        let from = self.end - self.end % BLOCK64;
        if let Some(open) = self.open.take() {
            // The new chunk's write will cover the unfinished block; the old one's ends before it.
            if !self.sealed && self.write_from < from {
                let data = open.chunk.slice(open.at(self.write_from)..open.at(from));
                self.filled.push(Write { data, position: self.write_from });
            }
            self.keep(&open);
        }
        self.write_from = from;
        self.open = Some(Open { chunk, origin: 0, position: from, own_from: self.end });
    }

    /// Makes the open chunk ready for the next bytes: when its last block was handed out unfinished, goes on
    /// behind it with a copy.
    fn reopen(&mut self) {
        if !self.sealed {
            return;
        }
        let block = self.last_block();
        let mut open = self.open.take().expect("a chunk was asked for when there was none");
        if block.is_empty() {
            self.open = Some(open);
            return;
        }
        self.keep(&open);
        open.chunk.pad_to(BLOCK);
        open.origin = open.chunk.len();
        open.position = self.end - block.len() as u64;
        open.own_from = self.end;
        open.chunk.append(&block);
        self.write_from = open.position;
        self.open = Some(open);
    }

    /// Keeps what the open run holds as a piece.
    fn keep(&mut self, open: &Open) {
        if open.own_from < self.end {
            let data = open.chunk.slice(open.at(open.own_from)..open.at(self.end));
            self.pieces.push_back(Piece { position: open.own_from, data });
        }
    }

    /// All that was appended since the last call, as writes in file order that do not overlap.
    pub fn take_writes(&mut self) -> Vec<Write> {
        let mut writes = std::mem::take(&mut self.filled);
        if let Some(open) = self.open.as_mut().filter(|_| !self.sealed) {
            let from = open.at(self.write_from);
            if open.chunk.len() > from {
                let run_end = open.chunk.len();
                open.chunk.pad_to(BLOCK);
                let data = open.chunk.slice(from..open.chunk.len());
                writes.push(Write { data, position: self.write_from });
                self.settle_after_padding(run_end);
            }
            self.sealed = true;
        }
        self.write_from = self.end - self.end % BLOCK64;
        writes
    }

    /// After the last block was padded, the run's bytes become a piece, and the next append starts a new run
    /// behind the padding.
    fn settle_after_padding(&mut self, run_end: usize) {
        let Some(open) = self.open.as_mut().filter(|open| open.chunk.len() > run_end) else { return };
        if open.own_from < self.end {
            let data = open.chunk.slice(open.at(open.own_from)..run_end);
            self.pieces.push_back(Piece { position: open.own_from, data });
        }
        open.own_from = self.end;
        // No byte of the file belongs to the run from here on; `reopen` sets it up anew.
        open.origin = open.chunk.len();
        open.position = self.end;
    }

    /// The bytes of a range of the file that lies in memory, as slices in order.
    pub fn read(&self, range: Range<u64>) -> Vec<ChunkSlice> {
        assert!(
            range.start >= self.start() && range.end <= self.end,
            "only what is in memory is read from it"
        );
        let mut slices = Vec::new();
        let first = self.pieces.partition_point(|piece| piece.end() <= range.start);
        for piece in self.pieces.iter().skip(first).take_while(|piece| piece.position < range.end) {
            let from = range.start.max(piece.position) - piece.position;
            let to = range.end.min(piece.end()) - piece.position;
            slices.push(piece.data.slice(from as usize..to as usize));
        }
        if let Some(open) = self.open.as_ref().filter(|open| open.own_from < range.end) {
            let from = range.start.max(open.own_from);
            slices.push(open.chunk.slice(open.at(from)..open.at(range.end)));
        }
        slices
    }

    /// The same as [`Tail::read`], as bytes that may cross cores.
    pub fn read_bytes(&self, range: Range<u64>) -> Vec<Bytes> {
        self.read(range).into_iter().map(ChunkSlice::into_bytes).collect()
    }

    /// Lets go of the oldest piece if it lies before `stable` and is not part of the last block. Says how many
    /// bytes were let go.
    pub fn forget_oldest(&mut self, stable: u64) -> Option<usize> {
        let keep_from = stable.min(self.end - self.end % BLOCK64);
        let piece = self.pieces.front().filter(|piece| piece.end() <= keep_from)?;
        let len = piece.data.len();
        self.pieces.pop_front();
        Some(len)
    }

    /// Ends the tail: a full segment gets no more bytes, and its chunks are let go as soon as they may be.
    pub fn finish(&mut self) -> Vec<Write> {
        let writes = self.take_writes();
        if let Some(open) = self.open.take() {
            self.keep(&open);
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::{Pool, Share};

    /// A file that the tail's writes go to, and all that was appended.
    struct Model {
        pool: Pool,
        tail: Tail,
        file: Vec<u8>,
        log: Vec<u8>,
        chance: u64,
    }

    impl Model {
        fn new(seed: u64) -> Model {
            let tail = Tail::new(0, None);
            Model { pool: Pool::new(256 << 20), tail, file: Vec::new(), log: Vec::new(), chance: seed }
        }

        fn roll(&mut self, below: u64) -> u64 {
            self.chance = self.chance.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.chance >> 33) % below
        }

        fn push(&mut self, len: usize) {
            let byte = self.roll(255) as u8 + 1;
            let bytes: Vec<u8> = (0..len).map(|i| byte ^ i as u8 | 1).collect();
            let rate = self.roll(20) << 20;
            let chunk =
                self.tail.needs_chunk(len, rate).map(|size| self.pool.try_chunk(Share::Tail, size).unwrap());
            let middle = len / 3;
            self.tail.push(&[&bytes[..middle], &bytes[middle..]], chunk);
            self.log.extend_from_slice(&bytes);
        }

        fn apply(&mut self, writes: &[Write]) {
            let mut end = 0;
            for write in writes {
                assert!(write.position >= end, "writes of one round do not overlap");
                assert!(write.data.len().is_multiple_of(BLOCK) && write.position.is_multiple_of(BLOCK64));
                end = write.position + write.data.len() as u64;
                self.file.resize(self.file.len().max(end as usize), 0);
                self.file[write.position as usize..end as usize].copy_from_slice(&write.data);
            }
        }

        fn check(&self) {
            let end = self.log.len();
            assert_eq!(self.tail.end(), end as u64);
            assert!(self.file[..end] == self.log[..], "the file holds the log");
            assert!(self.file[end..].iter().all(|b| *b == 0), "nothing but zeros lies past the end");
        }

        fn check_read(&mut self) {
            let start = self.tail.start();
            let from = start + self.roll(self.log.len() as u64 - start + 1);
            let to = from + self.roll(self.log.len() as u64 - from + 1);
            let read: Vec<u8> = self.tail.read(from..to).iter().flat_map(|s| s.to_vec()).collect();
            assert!(read == self.log[from as usize..to as usize], "{from}..{to} reads back");
        }
    }

    #[test]
    fn whatever_is_appended_reaches_the_file_and_reads_back() {
        for seed in 0..200 {
            let mut model = Model::new(seed);
            for _ in 0..100 {
                let len = match model.roll(4) {
                    0 => 1 + model.roll(300),
                    1 => 1 + model.roll(10_000),
                    2 => 4096 * (1 + model.roll(3)) - model.tail.end() % 4096,
                    _ => 61 + model.roll(200_000) / 50,
                };
                model.push(len as usize);
                if model.roll(3) == 0 {
                    let writes = model.tail.take_writes();
                    model.apply(&writes);
                    model.check();
                    assert!(!model.tail.is_dirty() && model.tail.take_writes().is_empty());
                }
                if model.roll(4) == 0 {
                    let stable = if model.tail.is_dirty() { 0 } else { model.tail.end() };
                    while model.tail.forget_oldest(stable).is_some() {}
                }
                model.check_read();
            }
            let writes = model.tail.take_writes();
            model.apply(&writes);
            model.check();
        }
    }

    #[test]
    fn a_block_that_was_handed_out_is_not_changed_by_later_appends() {
        let mut model = Model::new(1);
        let mut held: Vec<(Vec<u8>, ChunkSlice)> = Vec::new();
        for i in 0..2000 {
            model.push(1 + i % 700);
            if i % 3 == 0 {
                held.extend(model.tail.take_writes().into_iter().map(|w| (w.data.to_vec(), w.data)));
            }
            if i % 100 == 0 {
                assert!(held.iter().all(|(copy, slice)| copy[..] == slice[..]));
                held.clear();
                while model.tail.forget_oldest(model.tail.write_from()).is_some() {}
            }
        }
    }

    #[test]
    fn goes_on_behind_what_recovery_found() {
        let mut model = Model::new(3);
        model.push(5000);
        let writes = model.tail.take_writes();
        model.apply(&writes);
        let mut block = model.pool.try_chunk(Share::Tail, BLOCK).unwrap();
        block.append(&model.file[4096..5000]);
        model.tail = Tail::new(5000, Some(block.freeze()));
        model.push(100);
        let writes = model.tail.take_writes();
        assert_eq!(writes[0].position, 4096);
        model.apply(&writes);
        model.check();
    }
}
