//! What a file holds, and how much of that would survive the loss of power.
//!
//! Three things are durable or not each for itself, as on ext4 and XFS: the data in a block of the device, the
//! map from the file's blocks to the device's (with *unwritten* extents, which read as zeros whatever the
//! device holds), and the size. Map and size change through a journal: a loss of power keeps some first part
//! of a file's changes. Data waits in the device's volatile cache, each write for itself, until a flush.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use super::mood::{Fate, Mood};

pub(super) const BLOCK: u64 = crate::limits::BLOCK as u64;
/// What a device writes whole or not at all.
pub(super) const SECTOR: usize = 512;
/// Versions of one block that are told apart between two flushes.
const VERSIONS: usize = 8;

type Image = Rc<[u8]>;

/// Where a block of the file lies: a block of the device, counted within the file; 0 for a hole.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Slot {
    block: u32,
    written: bool,
}

/// A write to one block of the device that no flush has covered.
struct Version {
    /// The device's count of finished writes; one number for all blocks of one write.
    sequence: u64,
    /// The blocks of the file that the write covered, to tear it as a whole.
    extent: (u64, u64),
    image: Image,
    /// Waits in the page cache, so only a flush of this very file reaches it.
    buffered: bool,
    /// A flush that should have covered it failed: no later flush will.
    doomed: bool,
}

struct Block {
    logical: u64,
    durable: Option<Image>,
    versions: Vec<Version>,
}

/// A run of blocks that were mapped or became written.
struct Run {
    first: u64,
    slot: Slot,
    len: u64,
}

/// A change of map and size that the journal has not made durable.
enum Change {
    Map { runs: Vec<Run>, size: u64 },
    Cut { len: u64 },
    Grow { len: u64 },
}

/// A file's current and durable state.
#[derive(Default)]
pub(super) struct Content {
    size: u64,
    slots: Vec<Slot>,
    durable_size: u64,
    durable_slots: Vec<Slot>,
    /// By number; a number is used once, and most of those that were only reserved hold nothing.
    blocks: Vec<Option<Box<Block>>>,
    last_block: u32,
    changes: VecDeque<Change>,
    /// How many changes are durable and gone from `changes`.
    changes_done: u64,
    /// Blocks with versions, whose map and size are durable: a flush of another file may reach them.
    dirty: BTreeSet<u32>,
    /// Blocks with versions, whose map or size is not.
    loose: BTreeSet<u32>,
    mapped: u64,
    pub in_flight: Vec<InFlight>,
    /// Ranges that give an error when read.
    pub unreadable: Vec<Range<u64>>,
    pub opens: u32,
    pub linked: bool,
}

/// A write in flight.
pub(super) struct InFlight {
    pub operation: u64,
    pub range: Range<u64>,
    /// What other writes that were in flight with this one have put there meanwhile: sectors of it may stay.
    pub mixes: Vec<Range<u64>>,
}

impl InFlight {
    pub fn common(&self, other: &Range<u64>) -> Option<Range<u64>> {
        let common = self.range.start.max(other.start)..self.range.end.min(other.end);
        (!common.is_empty()).then_some(common)
    }
}

/// How data is written.
pub(super) struct Manner {
    pub sequence: u64,
    pub buffered: bool,
    /// Durable when finished: the device has no volatile cache.
    pub through: bool,
    /// No flush is in flight, so of many versions one may be forgotten: none is about to be made durable.
    pub may_forget: bool,
}

impl Content {
    /// An empty file that has a name.
    pub fn new() -> Content {
        Content { linked: true, ..Content::default() }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn durable_size(&self) -> u64 {
        self.durable_size
    }

    /// Blocks of the device that it holds.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }

    /// The number of the newest change of map or size.
    pub fn last_change(&self) -> u64 {
        self.changes_done + self.changes.len() as u64
    }

    /// The blocks that a flush of this file reaches.
    pub fn dirty(&self) -> impl Iterator<Item = u32> + '_ {
        self.dirty.iter().chain(&self.loose).copied()
    }

    /// The blocks that a flush of another file reaches.
    pub fn dirty_in_place(&self) -> impl Iterator<Item = u32> + '_ {
        self.dirty.iter().copied()
    }

    /// Whether a loss of power could change it.
    pub fn is_unsettled(&self) -> bool {
        self.dirty().next().is_some() || !self.changes.is_empty()
    }

    /// Blocks of the device that must be found to write there.
    pub fn holes(&self, range: Range<u64>) -> u64 {
        (range.start / BLOCK..range.end.div_ceil(BLOCK)).filter(|b| self.slot(*b).block == 0).count() as u64
    }

    fn slot(&self, block: u64) -> Slot {
        self.slots.get(block as usize).copied().unwrap_or_default()
    }

    fn block(&self, block: u32) -> Option<&Block> {
        self.blocks.get(block as usize)?.as_deref()
    }

    fn block_mut(&mut self, block: u32) -> Option<&mut Block> {
        self.blocks.get_mut(block as usize)?.as_deref_mut()
    }

    /// Whether map and size of a block of the device are durable, so that data in it is found again.
    fn is_settled(&self, block: u32, logical: u64) -> bool {
        let slot = self.durable_slot(logical);
        slot.block == block && slot.written && logical * BLOCK < self.durable_size
    }

    fn forget_block(&mut self, block: u32) {
        if let Some(content) = self.blocks.get_mut(block as usize) {
            *content = None;
        }
        self.settle_block(block);
    }

    fn settle_block(&mut self, block: u32) {
        if !self.dirty.remove(&block) {
            self.loose.remove(&block);
        }
    }

    /// Puts data in place. `position` lies on a block's edge.
    pub fn write(&mut self, position: u64, data: &[u8], manner: &Manner) {
        let end = position + data.len() as u64;
        self.zero_tail_before(end, manner.sequence);
        let first = position / BLOCK;
        let count = (data.len() as u64).div_ceil(BLOCK);
        let mut runs: Vec<Run> = Vec::new();
        for (logical, part) in (first..).zip(data.chunks(BLOCK as usize)) {
            let mut slot = self.slot(logical);
            if !slot.written {
                if slot.block == 0 {
                    self.last_block += 1;
                    self.mapped += 1;
                    slot.block = self.last_block;
                }
                slot.written = true;
                self.set_slot(logical, slot);
                push_run(&mut runs, logical, slot);
            }
            let image: Image = if part.len() == BLOCK as usize {
                part.into()
            } else {
                let mut padded = part.to_vec();
                padded.resize(BLOCK as usize, 0);
                padded.into()
            };
            self.put(slot.block, logical, image, (first, count), manner);
        }
        if !runs.is_empty() || end > self.size {
            self.size = self.size.max(end);
            self.changes.push_back(Change::Map { runs, size: self.size });
        }
    }

    /// Takes a write out of those in flight; gives the ranges where it mixes with others that were in flight
    /// with it.
    pub fn land(&mut self, operation: u64) -> Vec<Range<u64>> {
        let Some(at) = self.in_flight.iter().position(|write| write.operation == operation) else {
            return Vec::new();
        };
        let landed = self.in_flight.swap_remove(at);
        for write in &mut self.in_flight {
            let common = write.common(&landed.range);
            write.mixes.extend(common);
        }
        landed.mixes
    }

    /// Data of a write that was in flight when the power went, in blocks that need no change of the map.
    pub fn write_in_flight(&mut self, position: u64, data: &[u8], sequence: u64) {
        let first = position / BLOCK;
        let extent = (first, data.len() as u64 / BLOCK);
        for (logical, part) in (first..).zip(data.chunks(BLOCK as usize)) {
            let slot = self.slot(logical);
            if slot.written {
                let manner = Manner { sequence, buffered: false, through: false, may_forget: false };
                self.put(slot.block, logical, part.into(), extent, &manner);
            }
        }
    }

    fn put(&mut self, block: u32, logical: u64, image: Image, extent: (u64, u64), manner: &Manner) {
        let settled = self.is_settled(block, logical);
        let index = block as usize;
        if self.blocks.len() <= index {
            self.blocks.resize_with(index + 1, || None);
        }
        let content = self.blocks[index]
            .get_or_insert_with(|| Box::new(Block { logical, durable: None, versions: Vec::new() }));
        if manner.through {
            content.durable = Some(image);
            content.versions.clear();
            return self.settle_block(block);
        }
        if content.versions.len() >= VERSIONS && manner.may_forget {
            content.versions.remove((manner.sequence % (VERSIONS as u64 - 1)) as usize);
        }
        let Manner { sequence, buffered, .. } = *manner;
        content.versions.push(Version { sequence, extent, image, buffered, doomed: false });
        if settled {
            self.dirty.insert(block);
        } else {
            self.loose.insert(block);
        }
    }

    fn set_slot(&mut self, logical: u64, slot: Slot) {
        let index = logical as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        self.slots[index] = slot;
    }

    /// The kernel zeroes what lies behind the end of a file in its last block before the file grows over it.
    fn zero_tail_before(&mut self, end: u64, sequence: u64) {
        if end > self.size {
            self.zero_behind(self.size, sequence);
        }
    }

    fn zero_behind(&mut self, len: u64, sequence: u64) {
        let slot = self.slot(len / BLOCK);
        let kept = (len % BLOCK) as usize;
        if kept == 0 || !slot.written {
            return;
        }
        let mut image = self.image(slot, false).map_or_else(|| vec![0; BLOCK as usize], |i| i.to_vec());
        image[kept..].fill(0);
        let manner = Manner { sequence, buffered: true, through: false, may_forget: false };
        self.put(slot.block, len / BLOCK, image.into(), (len / BLOCK, 1), &manner);
    }

    /// Cuts the file; what it held behind `len` comes back if power goes before the next flush.
    pub fn cut(&mut self, len: u64, sequence: u64) {
        let keep = len.div_ceil(BLOCK) as usize;
        if keep < self.slots.len() {
            self.mapped -= self.slots[keep..].iter().filter(|slot| slot.block != 0).count() as u64;
            self.slots.truncate(keep);
        }
        self.zero_behind(len, sequence);
        self.size = len;
        self.changes.push_back(Change::Cut { len });
    }

    /// Grows the file without any blocks.
    pub fn grow(&mut self, len: u64, sequence: u64) {
        self.zero_tail_before(len, sequence);
        self.size = self.size.max(len);
        self.changes.push_back(Change::Grow { len: self.size });
    }

    /// Maps unwritten blocks where there are none.
    pub fn reserve(&mut self, range: Range<u64>, sequence: u64) {
        self.zero_tail_before(range.end, sequence);
        let mut runs = Vec::new();
        for logical in range.start / BLOCK..range.end.div_ceil(BLOCK) {
            if self.slot(logical).block == 0 {
                self.last_block += 1;
                self.mapped += 1;
                let slot = Slot { block: self.last_block, written: false };
                self.set_slot(logical, slot);
                push_run(&mut runs, logical, slot);
            }
        }
        self.size = self.size.max(range.end);
        self.changes.push_back(Change::Map { runs, size: self.size });
    }

    fn image(&self, slot: Slot, durable: bool) -> Option<&Image> {
        if !slot.written {
            return None;
        }
        let block = self.block(slot.block)?;
        match block.versions.last() {
            Some(version) if !durable => Some(&version.image),
            _ => block.durable.as_ref(),
        }
    }

    /// Fills `into` with what the file holds from `position`, which lies on a block's edge. Bytes behind the
    /// end come as whatever the last block holds.
    pub fn read(&self, position: u64, into: &mut [u8], durable: bool) {
        let slots = if durable { &self.durable_slots } else { &self.slots };
        for (logical, part) in (position / BLOCK..).zip(into.chunks_mut(BLOCK as usize)) {
            let slot = slots.get(logical as usize).copied().unwrap_or_default();
            match self.image(slot, durable) {
                Some(image) => part.copy_from_slice(&image[..part.len()]),
                None => part.fill(0),
            }
        }
    }

    /// Makes the changes of map and size up to number `upto` durable.
    pub fn settle_changes(&mut self, upto: u64) {
        while self.changes_done < upto {
            self.settle_first_change();
        }
        if !self.loose.is_empty() {
            let settled = |block: &u32| {
                self.block(*block).is_some_and(|content| self.is_settled(*block, content.logical))
            };
            let mut settled: BTreeSet<u32> = self.loose.iter().copied().filter(settled).collect();
            self.loose.retain(|block| !settled.contains(block));
            self.dirty.append(&mut settled);
        }
    }

    fn settle_first_change(&mut self) {
        let Some(change) = self.changes.pop_front() else { return };
        self.changes_done += 1;
        match change {
            Change::Map { runs, size } => {
                for run in runs {
                    let end = (run.first + run.len) as usize;
                    if self.durable_slots.len() < end {
                        self.durable_slots.resize(end, Slot::default());
                    }
                    for (slot, offset) in self.durable_slots[run.first as usize..end].iter_mut().zip(0..) {
                        *slot = Slot { block: run.slot.block + offset, written: run.slot.written };
                    }
                }
                self.durable_size = size;
            }
            Change::Cut { len } => {
                let keep = len.div_ceil(BLOCK) as usize;
                if keep < self.durable_slots.len() {
                    for slot in self.durable_slots.split_off(keep) {
                        self.forget_block(slot.block);
                    }
                }
                self.durable_size = len;
            }
            Change::Grow { len } => self.durable_size = len,
        }
    }

    /// Makes the data of a block durable as it was after write number `upto`.
    pub fn settle_data(&mut self, block: u32, upto: u64, own_flush: bool) {
        let Some(content) = self.block_mut(block) else { return };
        let covered = |v: &Version| v.sequence <= upto && !v.doomed && (own_flush || !v.buffered);
        if let Some(last) = content.versions.iter().rposition(covered) {
            content.durable = content.versions.drain(..=last).next_back().map(|version| version.image);
        }
        if content.versions.is_empty() {
            self.settle_block(block);
        }
    }

    /// A flush of these failed.
    pub fn doom_data(&mut self, block: u32, upto: u64) {
        let Some(content) = self.block_mut(block) else { return };
        for version in content.versions.iter_mut().filter(|version| version.sequence <= upto) {
            version.doomed = true;
        }
    }

    /// Whether changes of map and size up to number `upto` wait for the journal.
    pub fn has_changes(&self, upto: u64) -> bool {
        self.changes_done < upto
    }

    /// The power goes: `mood` says what of the unsettled is kept.
    pub fn power_loss(&mut self, mood: &mut Mood) {
        for _ in 0..mood.first_part(self.changes.len()) {
            self.settle_first_change();
        }
        self.changes_done += self.changes.len() as u64;
        self.changes.clear();
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.append(&mut self.loose);
        for block in dirty {
            let Some(content) = self.block_mut(block) else { continue };
            let logical = content.logical;
            for version in std::mem::take(&mut content.versions) {
                match mood.fate(version.sequence) {
                    Fate::Kept => content.durable = Some(version.image),
                    Fate::Lost => {}
                    Fate::Torn => {
                        let mut image =
                            content.durable.take().map_or_else(|| vec![0; BLOCK as usize], |i| i.to_vec());
                        let sectors = version.image.chunks(SECTOR).zip(image.chunks_mut(SECTOR));
                        for (index, (new, old)) in sectors.enumerate() {
                            if mood.keeps_sector(version.sequence, version.extent, logical, index) {
                                old.copy_from_slice(new);
                            }
                        }
                        content.durable = Some(image.into());
                    }
                }
            }
        }
        self.slots.clone_from(&self.durable_slots);
        self.size = self.durable_size;
        let mut live: Vec<u32> =
            self.slots.iter().filter(|slot| slot.written).map(|slot| slot.block).collect();
        live.sort_unstable();
        for (block, content) in (0..).zip(&mut self.blocks) {
            if content.is_some() && live.binary_search(&block).is_err() {
                *content = None;
            }
        }
        self.mapped = self.slots.iter().filter(|slot| slot.block != 0).count() as u64;
    }

    /// Flips bits of a byte that the file holds, in all states; false if the block was never written.
    pub fn corrupt(&mut self, position: u64, mask: u8) -> bool {
        let mut hit = false;
        for slot in [self.slot(position / BLOCK), self.durable_slot(position / BLOCK)] {
            if !slot.written || (hit && self.slot(position / BLOCK) == slot) {
                continue;
            }
            let Some(block) = self.block_mut(slot.block) else { continue };
            hit = true;
            let images = block.versions.iter_mut().map(|version| &mut version.image);
            for image in images.chain(&mut block.durable) {
                let mut bytes = image.to_vec();
                bytes[(position % BLOCK) as usize] ^= mask;
                *image = bytes.into();
            }
        }
        hit
    }

    fn durable_slot(&self, logical: u64) -> Slot {
        self.durable_slots.get(logical as usize).copied().unwrap_or_default()
    }

    /// The file's blocks that hold durable data.
    pub fn durable_blocks(&self) -> Vec<u64> {
        let slots = self.durable_slots.iter().zip(0..);
        let written = slots.filter(|(slot, _)| {
            slot.written && self.block(slot.block).is_some_and(|block| block.durable.is_some())
        });
        written.map(|(_, logical)| logical).collect()
    }
}

fn push_run(runs: &mut Vec<Run>, logical: u64, slot: Slot) {
    if let Some(run) = runs.last_mut() {
        let follows =
            run.first + run.len == logical && u64::from(run.slot.block) + run.len == u64::from(slot.block);
        if follows && run.slot.written == slot.written {
            run.len += 1;
            return;
        }
    }
    runs.push(Run { first: logical, slot, len: 1 });
}
