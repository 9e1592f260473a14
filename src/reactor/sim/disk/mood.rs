//! What a loss of power does: a mood for the whole of it, and from that the fate of each write.

use super::content::{BLOCK, SECTOR};
use crate::reactor::sim::rng::{Rng, spread};

/// What becomes of a write that no flush covered.
pub(super) enum Fate {
    Kept,
    Lost,
    /// Some of its sectors are kept.
    Torn,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The cache is gone with all that was in it.
    Forgetful,
    /// Everything happened to be written back.
    Benign,
    /// Each write for itself.
    Mixed,
    /// Most writes come in pieces.
    Torn,
}

/// How hard a loss of power is. One mood for a whole loss finds more than drawing for each write: programs
/// break where *everything* of one sort is lost and everything of another is kept.
pub(super) struct Mood {
    data: Kind,
    metadata: Kind,
    salt: u64,
    rng: Rng,
}

impl Mood {
    pub fn new(rng: &mut Rng) -> Mood {
        let kinds = [Kind::Forgetful, Kind::Forgetful, Kind::Benign, Kind::Mixed, Kind::Torn, Kind::Torn];
        let data = *rng.pick(&kinds);
        let metadata = *rng.pick(&kinds);
        Mood { data, metadata, salt: rng.next_u64(), rng: rng.fork(0) }
    }

    pub fn name(&self) -> String {
        format!("data {:?}, metadata {:?}", self.data, self.metadata)
    }

    fn word(&self, a: u64, b: u64) -> u64 {
        spread(spread(self.salt ^ a).wrapping_add(b))
    }

    /// How many of so many changes in a row are kept: those before any that is.
    pub fn first_part(&mut self, len: usize) -> usize {
        match self.metadata {
            Kind::Forgetful => 0,
            Kind::Benign => len,
            _ => self.rng.index(len + 1),
        }
    }

    /// Whether a change of a directory is kept.
    pub fn keeps_entry(&mut self) -> bool {
        match self.metadata {
            Kind::Forgetful => false,
            Kind::Benign => true,
            _ => self.rng.coin(),
        }
    }

    pub fn fate(&self, write: u64) -> Fate {
        match (self.data, self.word(write, 1) % 8) {
            (Kind::Forgetful, _) | (Kind::Mixed, 0..=3) | (Kind::Torn, 0) => Fate::Lost,
            (Kind::Benign, _) | (Kind::Mixed, 4..=6) | (Kind::Torn, 1) => Fate::Kept,
            _ => Fate::Torn,
        }
    }

    /// Whether a sector of a torn write is kept: each for itself, or each block as a whole, or all before or behind
    /// some point of it.
    pub fn keeps_sector(&self, write: u64, extent: (u64, u64), logical: u64, index: usize) -> bool {
        let per_block = BLOCK / SECTOR as u64;
        let sector = (logical - extent.0) * per_block + index as u64;
        let point = self.word(write, 3) % (extent.1 * per_block + 1);
        match self.word(write, 2) % 4 {
            0 => sector < point,
            1 => sector >= point,
            2 => self.word(write, 4 + sector / per_block * per_block) & 1 == 0,
            _ => self.word(write, 4 + sector) & 1 == 0,
        }
    }
}
