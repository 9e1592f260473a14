//! A log directory at work, on one core: what is written to it and flushed, and the stable ends in it.
//!
//! Each log directory is for itself. When one fails, its partitions go out of service and those of the others
//! stay: nothing that waits for one disk holds up another's.

use std::rc::Rc;

use super::flush::Rounds;
use super::log_dir::LogDir;
use super::marks::MarkFiles;
use crate::reactor::sync::Semaphore;

/// How many files of a log directory a core lets grow, finishes or deletes at once.
pub(super) const UPKEEP_AT_ONCE: usize = 8;

/// A log directory at work, on one core.
pub struct Volume {
    /// Its place among the node's log directories.
    pub index: usize,
    /// Where it is, and whether it can be trusted.
    pub log_dir: LogDir,
    /// The stable ends.
    pub(super) marks: MarkFiles,
    /// Rounds of writes and flushes.
    pub(super) rounds: Rounds,
    /// For what goes on behind the requests.
    pub(super) upkeep: Semaphore,
}

/// Shared by all of a core's replicas in the directory.
pub type SharedVolume = Rc<Volume>;

impl Volume {
    /// A log directory that is ready, as the node's one of this place.
    pub fn new(index: usize, log_dir: LogDir, marks: MarkFiles) -> SharedVolume {
        let (rounds, upkeep) = (Rounds::default(), Semaphore::new(UPKEEP_AT_ONCE));
        Rc::new(Volume { index, log_dir, marks, rounds, upkeep })
    }
}
