//! A disk with a write cache that forgets: what it holds, what of it would outlive a power cut, and images of it after
//! one.
//!
//! What is written sits in the cache until a flush, and only what was *finished* before the flush began is covered by
//! it: so a flush that is sent while a write is under way promises nothing for that write. A power cut keeps
//! everything that was flushed, and of the rest whatever a seed chooses: whole writes or sectors, in any order, each
//! sector as any of the versions that were written since the last flush.
//!
//! It fails, too, where it is told to: see [`Fault`].

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::load::Chance;

const BLOCK: usize = 4096;

/// What a disk holds. Blocks of zeros take no memory, and copies share what they have in common.
#[derive(Clone)]
pub struct Image {
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
}

impl Image {
    /// Zeros.
    pub fn new(size: u64) -> Image {
        Image { blocks: vec![None; size as usize / BLOCK] }
    }

    pub fn size(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    pub fn read(&self, from: u64, into: &mut [u8]) {
        for (index, skip, part) in parts(from, into.len()) {
            let into = &mut into[part.clone()];
            match &self.blocks[index] {
                Some(block) => into.copy_from_slice(&block[skip..skip + part.len()]),
                None => into.fill(0),
            }
        }
    }

    fn write(&mut self, to: u64, data: &[u8]) {
        for (index, skip, part) in parts(to, data.len()) {
            let (block, data) = (&mut self.blocks[index], &data[part]);
            if data.len() == BLOCK {
                let zeros = data.iter().all(|byte| *byte == 0);
                *block = (!zeros).then(|| Arc::new(data.try_into().expect("a block")));
            } else {
                let block = block.get_or_insert_with(|| Arc::new([0; BLOCK]));
                Arc::make_mut(block)[skip..skip + data.len()].copy_from_slice(data);
            }
        }
    }
}

/// The blocks that a range of bytes touches: the number of each, where in it the range begins, and which part of the
/// range lies in it.
fn parts(from: u64, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = from as usize + done;
        let count = (BLOCK - at % BLOCK).min(len - done);
        (done < len).then(|| {
            done += count;
            (at / BLOCK, at % BLOCK, done - count..done)
        })
    })
}

/// A write that the disk was given.
#[derive(Clone)]
pub struct Write {
    pub at: u64,
    pub data: Arc<[u8]>,
}

/// What the disk refuses to do, with an I/O error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// All writes but so many first.
    Writes(u64),
    /// One flush, after so many others. What it covered is in the cache no longer, and never reaches the disk.
    OneFlush(u64),
    /// Reads of any of these bytes.
    Reads(Vec<Range<u64>>),
    /// Everything.
    All,
}

/// The disk.
pub struct Disk {
    state: Mutex<State>,
}

struct State {
    /// What a reader sees.
    current: Image,
    /// What was flushed.
    durable: Image,
    /// Finished writes that no finished flush covers, in the order in which they finished.
    cached: VecDeque<Write>,
    /// Writes under way, by number.
    under_way: Vec<(u64, Write)>,
    begun: u64,
    /// How many writes finished and left the cache since the beginning.
    finished: u64,
    flushed: u64,
    counts: Counts,
    fault: Fault,
    /// How often it refused since the fault began.
    refused: u64,
}

/// What a disk was asked to do.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub writes: u64,
    pub flushes: u64,
    /// The most writes that were under way when a flush began.
    pub beside_a_flush: usize,
}

impl Disk {
    pub fn new(image: Image) -> Disk {
        let (current, durable) = (image.clone(), image);
        let state = State {
            current,
            durable,
            cached: VecDeque::new(),
            under_way: Vec::new(),
            begun: 0,
            finished: 0,
            flushed: 0,
            counts: Counts::default(),
            fault: Fault::None,
            refused: 0,
        };
        Disk { state: Mutex::new(state) }
    }

    pub fn size(&self) -> u64 {
        self.state.lock().unwrap().current.size()
    }

    /// From now on this fails.
    pub fn fail(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.refused) = (fault, 0);
    }

    /// How often it refused something since it was last told what fails.
    pub fn refused(&self) -> u64 {
        self.state.lock().unwrap().refused
    }

    /// Reads, or refuses to.
    pub fn read(&self, from: u64, into: &mut [u8]) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap();
        let to = from + into.len() as u64;
        let refuses = match &state.fault {
            Fault::All => true,
            Fault::Reads(ranges) => ranges.iter().any(|range| range.start < to && range.end > from),
            _ => false,
        };
        state.answer(refuses)?;
        state.current.read(from, into);
        Ok(())
    }

    /// What it holds, for a reader.
    pub fn image(&self) -> Image {
        self.state.lock().unwrap().current.clone()
    }

    /// A write arrives; gives its number.
    pub fn begin_write(&self, at: u64, data: &[u8]) -> Result<u64, Refused> {
        let mut state = self.state.lock().unwrap();
        let refuses = match &mut state.fault {
            Fault::All | Fault::Writes(0) => true,
            Fault::Writes(left) => {
                *left -= 1;
                false
            }
            _ => false,
        };
        state.answer(refuses)?;
        state.begun += 1;
        let number = state.begun;
        state.under_way.push((number, Write { at, data: data.into() }));
        state.counts.writes += 1;
        Ok(number)
    }

    /// A write has finished: it can be read, and the next flush covers it.
    pub fn finish_write(&self, number: u64) {
        let state = &mut *self.state.lock().unwrap();
        let position = state.under_way.iter().position(|(n, _)| *n == number).expect("it is under way");
        let (_, write) = state.under_way.remove(position);
        state.current.write(write.at, &write.data);
        state.cached.push_back(write);
        state.finished += 1;
    }

    /// A flush arrives; gives how many finished writes it covers.
    pub fn begin_flush(&self) -> u64 {
        let state = &mut *self.state.lock().unwrap();
        state.counts.flushes += 1;
        state.counts.beside_a_flush = state.counts.beside_a_flush.max(state.under_way.len());
        state.finished
    }

    /// A flush has finished.
    pub fn finish_flush(&self, covers: u64) -> Result<(), Refused> {
        let state = &mut *self.state.lock().unwrap();
        let refuses = match &mut state.fault {
            Fault::All => true,
            Fault::OneFlush(0) => std::mem::take(&mut state.fault) != Fault::None,
            Fault::OneFlush(left) => {
                *left -= 1;
                false
            }
            _ => false,
        };
        while state.flushed < covers {
            let write = state.cached.pop_front().expect("it was finished");
            if !refuses {
                state.durable.write(write.at, &write.data);
            }
            state.flushed += 1;
        }
        state.answer(refuses)
    }

    /// Whether there is something that a power cut may take.
    pub fn is_loose(&self) -> bool {
        let state = self.state.lock().unwrap();
        !state.cached.is_empty() || !state.under_way.is_empty()
    }

    /// What the disk is in this moment, and which moment it is.
    pub fn freeze(&self) -> (Frozen, Instant) {
        let state = self.state.lock().unwrap();
        let now = Instant::now();
        let under_way = state.under_way.iter().map(|(_, write)| write.clone());
        let loose = state.cached.iter().cloned().chain(under_way).collect();
        (Frozen { durable: state.durable.clone(), loose }, now)
    }

    pub fn counts(&self) -> Counts {
        self.state.lock().unwrap().counts
    }
}

/// The disk answers with an I/O error.
#[derive(Debug)]
pub struct Refused;

impl State {
    fn answer(&mut self, refuses: bool) -> Result<(), Refused> {
        self.refused += u64::from(refuses);
        if refuses { Err(Refused) } else { Ok(()) }
    }
}

/// A disk in the moment of a power cut.
pub struct Frozen {
    durable: Image,
    /// What may be lost.
    loose: Vec<Write>,
}

impl Frozen {
    /// Cuts the power: gives what is found afterwards, and a word on it. No sector, of so many bytes, is torn.
    pub fn cut(self, sector: usize, chance: &mut Chance) -> (Image, String) {
        let Frozen { durable: mut image, loose } = self;
        let bytes: usize = loose.iter().map(|write| write.data.len()).sum();
        let unit = if chance.below(2) == 0 { sector } else { BLOCK };
        let way = Way::choose(chance, loose.len());
        let mut kept = 0;
        for (number, write) in loose.iter().enumerate() {
            let whole = way.keeps_write(number, chance);
            for (index, sector) in write.data.chunks(unit).enumerate() {
                if whole.unwrap_or_else(|| way.keeps_sector(chance)) {
                    image.write(write.at + (index * unit) as u64, sector);
                    kept += sector.len();
                }
            }
        }
        let writes = loose.len();
        (image, format!("{kept} of {bytes} bytes of {writes} unflushed writes kept ({way:?}, {unit})"))
    }
}

/// Which of the writes that were not flushed outlive the cut.
#[derive(Clone, Copy, Debug)]
enum Way {
    None,
    All,
    /// So many of 16 sectors.
    Sectors(u64),
    /// So many of 16 writes, each whole.
    Writes(u64),
    /// Those before this one, and a part of it.
    Before(usize),
    /// All but this one.
    AllBut(usize),
    /// This one alone.
    Only(usize),
}

impl Way {
    fn choose(chance: &mut Chance, writes: usize) -> Way {
        let one = chance.below(writes.max(1) as u64) as usize;
        match chance.below(10) {
            0 | 1 => Way::None,
            2 => Way::All,
            3 | 4 => Way::Sectors([1, 8, 15][chance.below(3) as usize]),
            5 | 6 => Way::Writes([1, 8, 15][chance.below(3) as usize]),
            7 => Way::Before(one),
            8 => Way::AllBut(one),
            _ => Way::Only(one),
        }
    }

    /// Whether a write is kept whole or lost whole; none where each sector is for itself.
    fn keeps_write(self, number: usize, chance: &mut Chance) -> Option<bool> {
        match self {
            Way::None => Some(false),
            Way::All => Some(true),
            Way::Sectors(_) => None,
            Way::Writes(share) => Some(chance.below(16) < share),
            Way::Before(one) if number == one => None,
            Way::Before(one) => Some(number < one),
            Way::AllBut(one) => Some(number != one),
            Way::Only(one) => Some(number == one),
        }
    }

    fn keeps_sector(self, chance: &mut Chance) -> bool {
        match self {
            Way::Sectors(share) => chance.below(16) < share,
            _ => chance.below(2) == 0,
        }
    }
}
