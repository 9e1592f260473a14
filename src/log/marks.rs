//! The stable ends: one small file per core that tells, after a crash, a torn tail from rot.
//!
//! With each round of writes goes a block that holds the stable ends of the round before: up to there the log
//! was durable, and perhaps acknowledged. After a crash, a log that ends below its mark has lost acknowledged
//! records to damage, and is refused; past the mark, a bad batch is the torn tail of a write that nobody was
//! told of.
//!
//! A file is a run of blocks under one *generation*. It begins with a snapshot of all of the core's marks, and
//! goes on with the marks that changed. When it is full, the next generation begins in the other of two files,
//! so there is always one whole file. A block that was torn ends what is read of its file: the marks in it were
//! of the round before, and a mark may always lag; it may never lead.

use crate::collections::Map;
use crate::limits::BLOCK;
use crate::wire::uuid::Uuid;

/// A partition of a topic, by the topic's id: a topic that was deleted and made again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic's id.
    pub topic: Uuid,
    /// The partition's number.
    pub partition: i32,
}

const MAGIC: u32 = u32::from_be_bytes(*b"OtSE");
const HEADER: usize = 32;
const ENTRY: usize = 28;
/// How many marks a block holds.
pub const MARKS_PER_BLOCK: usize = (BLOCK - HEADER) / ENTRY;

/// One block of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkBlock {
    /// Which filling of the two files this is of; grows.
    pub generation: u64,
    /// The block's number within its generation.
    pub sequence: u32,
    /// How many blocks at the file's beginning are the snapshot.
    pub snapshot_blocks: u32,
    /// Partitions and the offsets below which they are durable.
    pub marks: Vec<(PartitionId, i64)>,
}

impl MarkBlock {
    /// The block's bytes: exactly one [`BLOCK`].
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.marks.len() <= MARKS_PER_BLOCK, "a block holds {MARKS_PER_BLOCK} marks");
        let mut bytes = Vec::with_capacity(BLOCK);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.snapshot_blocks.to_be_bytes());
        bytes.extend_from_slice(&(self.marks.len() as u32).to_be_bytes());
        bytes.resize(HEADER, 0);
        for (id, offset) in &self.marks {
            bytes.extend_from_slice(&id.topic.0);
            bytes.extend_from_slice(&id.partition.to_be_bytes());
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        bytes.resize(BLOCK, 0);
        let crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a block; none if it is torn, damaged or was never written.
    pub fn decode(bytes: &[u8]) -> Option<MarkBlock> {
        let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes.len() != BLOCK || u32_at(4) != MAGIC || u32_at(0) != crc32c::crc32c(&bytes[4..]) {
            return None;
        }
        let count = u32_at(24) as usize;
        if count > MARKS_PER_BLOCK {
            return None;
        }
        let marks = (0..count)
            .map(|i| HEADER + i * ENTRY)
            .map(|at| {
                let topic = Uuid(bytes[at..at + 16].try_into().expect("sixteen bytes"));
                let partition = u32_at(at + 16) as i32;
                (PartitionId { topic, partition }, u64_at(at + 20) as i64)
            })
            .collect();
        Some(MarkBlock { generation: u64_at(8), sequence: u32_at(16), snapshot_blocks: u32_at(20), marks })
    }
}

/// What one file of marks says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkFile {
    /// Its generation.
    pub generation: u64,
    /// The marks, the latest of each partition.
    pub marks: Map<PartitionId, i64>,
}

/// Reads a file of marks; none if its snapshot is not whole.
pub fn read_file(bytes: &[u8]) -> Option<MarkFile> {
    let mut blocks = bytes.chunks_exact(BLOCK).map_while(MarkBlock::decode).enumerate();
    let (_, first) = blocks.next().filter(|(_, block)| block.sequence == 0)?;
    let mut file = MarkFile { generation: first.generation, marks: first.marks.into_iter().collect() };
    let mut read = 1;
    for (i, block) in blocks {
        if block.generation != file.generation || block.sequence as usize != i {
            break;
        }
        file.marks.extend(block.marks);
        read += 1;
    }
    (read >= first.snapshot_blocks).then_some(file)
}

/// Writes the marks of one core: says which block to write where.
#[derive(Debug)]
pub struct MarkWriter {
    generation: u64,
    marks: Map<PartitionId, i64>,
    changed: Vec<PartitionId>,
    next: u32,
    blocks: u32,
}

/// The first generation's snapshot, for a new file.
#[derive(Debug)]
pub struct Snapshot {
    /// The generation; its parity says which of the two files it goes to.
    pub generation: u64,
    /// The blocks to write from the beginning.
    pub blocks: Vec<Vec<u8>>,
    /// How many blocks the file is to have.
    pub file_blocks: u32,
}

impl MarkWriter {
    /// A writer of marks that begins the generation `generation` with these marks.
    pub fn new(generation: u64, marks: Map<PartitionId, i64>) -> (MarkWriter, Snapshot) {
        let mut writer = MarkWriter { generation, marks, changed: Vec::new(), next: 0, blocks: 0 };
        let snapshot = writer.snapshot();
        (writer, snapshot)
    }

    /// Begins the next generation: to be written and flushed whole before a block of it is.
    pub fn next_generation(&mut self) -> Snapshot {
        self.generation += 1;
        self.snapshot()
    }

    /// The generation that was begun could not be written. The next one goes to the same file, before any block
    /// is written to the other, which is the only one that is whole.
    pub fn give_generation_up(&mut self) {
        self.generation -= 1;
        self.changed = self.marks.keys().copied().collect();
        self.next = self.blocks;
    }

    fn snapshot(&mut self) -> Snapshot {
        self.changed.clear();
        let mut all: Vec<_> = self.marks.iter().map(|(id, offset)| (*id, *offset)).collect();
        all.sort_unstable();
        let snapshot_blocks = all.len().div_ceil(MARKS_PER_BLOCK).max(1) as u32;
        let mut groups: Vec<&[_]> = all.chunks(MARKS_PER_BLOCK).collect();
        if groups.is_empty() {
            groups.push(&[]);
        }
        let block = |(sequence, marks): (usize, &[(PartitionId, i64)])| {
            let (generation, marks) = (self.generation, marks.to_vec());
            MarkBlock { generation, sequence: sequence as u32, snapshot_blocks, marks }.encode()
        };
        let blocks = groups.into_iter().enumerate().map(block).collect();
        self.next = snapshot_blocks;
        self.blocks = (snapshot_blocks * 4).max(256);
        Snapshot { generation: self.generation, blocks, file_blocks: self.blocks }
    }

    /// Notes that a partition is durable below `offset`.
    pub fn set(&mut self, id: PartitionId, offset: i64) {
        if self.marks.insert(id, offset) != Some(offset) {
            self.changed.push(id);
        }
    }

    /// Forgets a partition that was deleted or moved away.
    pub fn remove(&mut self, id: PartitionId) {
        self.marks.remove(&id);
    }

    /// Whether a mark has changed that no block holds yet.
    pub fn is_dirty(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether the file has no room for what has changed, so that a new generation must begin.
    pub fn is_full(&self) -> bool {
        self.next + self.changed_blocks() as u32 > self.blocks
    }

    /// How many blocks what has changed takes.
    pub fn changed_blocks(&self) -> usize {
        self.changed.len().div_ceil(MARKS_PER_BLOCK)
    }

    /// The blocks for what has changed since the last call, and the position of the first in the file.
    pub fn take_blocks(&mut self) -> (u64, Vec<Vec<u8>>) {
        assert!(!self.is_full(), "a new generation begins first");
        let position = u64::from(self.next) * BLOCK as u64;
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let marks: Vec<_> = changed.iter().filter_map(|id| self.marks.get(id).map(|at| (*id, *at))).collect();
        let mut blocks = Vec::new();
        for group in marks.chunks(MARKS_PER_BLOCK) {
            let block = MarkBlock {
                generation: self.generation,
                sequence: self.next,
                snapshot_blocks: 0,
                marks: group.to_vec(),
            };
            blocks.push(block.encode());
            self.next += 1;
        }
        (position, blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: i32) -> PartitionId {
        PartitionId { topic: Uuid([7; 16]), partition: n }
    }

    fn file_of(snapshot: Snapshot) -> Vec<u8> {
        let mut file = snapshot.blocks.concat();
        file.resize(snapshot.file_blocks as usize * BLOCK, 0);
        file
    }

    #[test]
    fn the_latest_mark_of_each_partition_reads_back() {
        let initial = (0..500).map(|n| (id(n), 10)).collect();
        let (mut writer, snapshot) = MarkWriter::new(3, initial);
        let mut file = file_of(snapshot);
        for round in 0..20 {
            for n in 0..200 {
                writer.set(id(n), 100 + round);
            }
            let (at, blocks) = writer.take_blocks();
            let bytes = blocks.concat();
            file[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        let read = read_file(&file).unwrap();
        assert_eq!(read.generation, 3);
        assert_eq!(read.marks, writer.marks);
        assert_eq!(read.marks[&id(0)], 119);
        assert_eq!(read.marks[&id(499)], 10);
    }

    #[test]
    fn a_torn_block_ends_the_file_and_a_torn_snapshot_voids_it() {
        let initial = (0..500).map(|n| (id(n), 10)).collect();
        let (mut writer, snapshot) = MarkWriter::new(1, initial);
        let whole = file_of(snapshot);
        let mut file = whole.clone();
        for offset in [20, 30] {
            writer.set(id(0), offset);
            let (at, blocks) = writer.take_blocks();
            file[at as usize..at as usize + BLOCK].copy_from_slice(&blocks[0]);
        }
        let last = 5 * BLOCK;
        assert_eq!(read_file(&file).unwrap().marks[&id(0)], 30);
        file[last + 1000] ^= 1;
        assert_eq!(read_file(&file).unwrap().marks[&id(0)], 20);
        let mut torn = whole;
        torn[BLOCK * 2 + 50] ^= 1;
        assert_eq!(read_file(&torn), None);
    }

    #[test]
    fn blocks_of_an_older_generation_are_not_read() {
        let (mut writer, _) = MarkWriter::new(1, Map::default());
        writer.set(id(0), 50);
        let (_, old) = writer.take_blocks();
        let (mut writer, snapshot) = MarkWriter::new(2, [(id(0), 5)].into_iter().collect());
        let mut file = file_of(snapshot);
        file[BLOCK..2 * BLOCK].copy_from_slice(&old[0]);
        assert_eq!(read_file(&file).unwrap().marks[&id(0)], 5);
        while !writer.is_full() {
            writer.set(id(0), i64::from(writer.next));
            if !writer.is_full() {
                writer.take_blocks();
            }
        }
        assert_eq!(writer.next_generation().generation, 3);
        writer.give_generation_up();
        assert!(writer.is_dirty() && writer.is_full(), "nothing goes to the file of generation 2 any more");
        assert_eq!(writer.next_generation().generation, 3);
    }
}
