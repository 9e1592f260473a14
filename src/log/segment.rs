//! Names and places: a partition's folder, its segments' files, and where a batch lies in one.

use std::path::{Path, PathBuf};

use crate::wire::batch::BatchHeader;
use crate::wire::uuid::Uuid;

/// Where a batch lies and what an index must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// Its first offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
    /// Where it begins in the segment's file.
    pub position: u64,
    /// Its bytes, header and all.
    pub size: u64,
    /// The largest timestamp in it.
    pub max_timestamp: i64,
    /// The leader epoch under which it was appended.
    pub leader_epoch: i32,
}

impl BatchPlace {
    /// The place of a batch of `size` bytes whose header was read at `position`.
    pub fn new(header: &BatchHeader, position: u64, size: u64) -> BatchPlace {
        BatchPlace {
            base_offset: header.base_offset,
            last_offset: header.base_offset + i64::from(header.last_offset_delta),
            position,
            size,
            max_timestamp: header.max_timestamp,
            leader_epoch: header.leader_epoch,
        }
    }
}

/// The files of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The record batches.
    Log,
    /// Offset to position.
    Index,
    /// Timestamp to offset.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// The producers' state at the segment's base offset.
    Snapshot,
}

impl Kind {
    /// All kinds of files of a segment.
    pub const ALL: [Kind; 5] = [Kind::Log, Kind::Index, Kind::TimeIndex, Kind::TxnIndex, Kind::Snapshot];

    fn suffix(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Index => "index",
            Kind::TimeIndex => "timeindex",
            Kind::TxnIndex => "txnindex",
            Kind::Snapshot => "snapshot",
        }
    }
}

/// The path of a segment's file.
pub fn file(dir: &Path, base_offset: i64, kind: Kind) -> PathBuf {
    dir.join(format!("{base_offset:020}.{}", kind.suffix()))
}

/// No log comes to offsets behind this one: with it, any offset of a segment can be told from its base offset, and one
/// behind that.
pub const OFFSET_MAX: i64 = i64::MAX - (1 << 33);

/// Reads a segment file's name.
pub fn parse_name(name: &str) -> Option<(i64, Kind)> {
    let (base, suffix) = name.split_once('.')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
    let digits = base.len() == 20 && base.bytes().all(|b| b.is_ascii_digit());
    let base = digits.then(|| base.parse().ok()).flatten();
    base.filter(|base| *base <= OFFSET_MAX).map(|base| (base, kind))
}

/// The folder of a partition within a log directory.
pub fn partition_dir(log_dir: &Path, topic: &str, partition: i32) -> PathBuf {
    log_dir.join(format!("{topic}-{partition}"))
}

/// The topic and partition of a folder of this name; none where no partition's folder is called so.
pub fn parse_partition_dir(name: &str) -> Option<(&str, i32)> {
    let (topic, number) = name.rsplit_once('-')?;
    let partition: i32 = number.parse().ok()?;
    (!topic.is_empty() && partition.to_string() == number).then_some((topic, partition))
}

/// What a partition's folder is renamed to when it is deleted or put aside: `<name>.<topic id>-<why>`, cut to what a
/// file system takes.
pub fn renamed_dir(name: &str, topic_id: Uuid, why: &str) -> String {
    let suffix = format!(".{topic_id}-{why}");
    let mut kept = name.len().min(NAME_MAX - suffix.len());
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{suffix}", &name[..kept])
}

/// The longest name that file systems take.
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_read_back() {
        assert_eq!(parse_partition_dir("a-b-12"), Some(("a-b", 12)));
        for other in ["a", "-1", "a-", "a-01", "a-1.AAAAAAAAAAAAAAAAAAAAAA-delete", "a-x-stray"] {
            assert_eq!(parse_partition_dir(other), None, "{other}");
        }
        let longest = format!("{}-10000", "t".repeat(249));
        let renamed = renamed_dir(&longest, Uuid::ONE, "delete");
        assert!(renamed.len() == NAME_MAX && renamed.ends_with(&format!(".{}-delete", Uuid::ONE)));
        for long in ["é".repeat(120), format!("e{}", "é".repeat(120))] {
            let renamed = renamed_dir(&long, Uuid::ONE, "stray");
            assert!(renamed.len() >= NAME_MAX - 1 && renamed.len() <= NAME_MAX, "{renamed}");
        }
        assert_eq!(renamed_dir("a-1", Uuid::ONE, "stray"), format!("a-1.{}-stray", Uuid::ONE));
    }

    #[test]
    fn names_read_back() {
        let path = file(Path::new("/d/t-0"), 42, Kind::TimeIndex);
        assert_eq!(path, Path::new("/d/t-0/00000000000000000042.timeindex"));
        assert_eq!(parse_name("00000000000000000042.timeindex"), Some((42, Kind::TimeIndex)));
        assert_eq!(parse_name("42.log"), None);
        assert_eq!(parse_name("00000000000000000042.log.deleted"), None);
    }
}
