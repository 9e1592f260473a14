//! What is known of the producers when a log is opened: its newest snapshot, and the batches behind it.
//!
//! A snapshot is a shortcut, nothing more: where it is missing or damaged, an older one serves, or none, and the
//! headers of more batches are read. One that lies behind the log's end tells of batches that are gone. It must not
//! be trusted when the log has grown that far again with others, so it is deleted before the first append.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;

use super::log_dir::LogDir;
use super::open::remove_if_there;
use crate::limits::BLOCK;
use crate::log::aborted::{Aborted, AbortedIndex};
use crate::log::segment::{self, Kind};
use crate::log::snapshot::{SNAPSHOT_MAX, Snapshot};
use crate::partition::markers::Marker;
use crate::partition::producers::{ProducerRoom, Producers};
use crate::partition::transactions::{self, Transactions};
use crate::reactor::{File, Reactor, Share};
use crate::wire::batch::{Batch, BatchHeader, HEADER, front};

/// Bytes of batches that are read at once.
const READ: u64 = 1 << 20;

/// The producers of a log that is being opened.
pub struct Rebuild<'a> {
    reactor: &'a Reactor,
    log_dir: &'a LogDir,
    dir: &'a Path,
    now_ms: i64,
    producers: Producers,
    transactions: Transactions,
    /// The transactions that were seen to be aborted, in the order of their markers.
    aborted: Vec<Aborted>,
    /// What lies before this offset is known.
    next: i64,
    /// The snapshots in the folder, by offset, and their length.
    files: BTreeMap<i64, u64>,
    damaged: BTreeSet<i64>,
    /// Snapshots that are wanting, made on the way.
    made: BTreeMap<i64, Vec<u8>>,
    /// Whether batches had to be read again for want of a snapshot.
    read_again: bool,
    /// Whether some of them could not be read.
    incomplete: bool,
}

impl<'a> Rebuild<'a> {
    /// Begins with the newest of these snapshots. The log starts at `start`.
    pub async fn begin(
        (reactor, log_dir, dir): (&'a Reactor, &'a LogDir, &'a Path),
        now_ms: i64,
        room: ProducerRoom,
        files: BTreeMap<i64, u64>,
        start: i64,
    ) -> io::Result<Rebuild<'a>> {
        let mut rebuild = Rebuild {
            reactor,
            log_dir,
            dir,
            now_ms,
            producers: Producers::new(room),
            transactions: Transactions::default(),
            aborted: Vec::new(),
            next: start,
            files,
            damaged: BTreeSet::new(),
            made: BTreeMap::new(),
            read_again: false,
            incomplete: false,
        };
        rebuild.load_newest(i64::MAX, start).await?;
        Ok(rebuild)
    }

    /// Begins anew with the newest snapshot at or before `end`, or with nothing at `start`.
    pub async fn load_newest(&mut self, end: i64, start: i64) -> io::Result<()> {
        self.load_snapshot(end, start).await?;
        self.transactions = Transactions::of(&self.producers);
        let next = self.next;
        self.aborted.retain(|aborted| aborted.last_offset < next);
        Ok(())
    }

    async fn load_snapshot(&mut self, end: i64, start: i64) -> io::Result<()> {
        self.producers.clear();
        self.next = start;
        let newest_first: Vec<_> =
            self.files.range(..=end).rev().map(|(offset, len)| (*offset, *len)).collect();
        for (offset, len) in newest_first {
            if self.damaged.contains(&offset) {
                continue;
            }
            let path = segment::file(self.dir, offset, Kind::Snapshot);
            let bytes = if len > SNAPSHOT_MAX { Vec::new() } else { self.log_dir.disk.read(&path).await? };
            match Snapshot::decode(&bytes) {
                Ok(snapshot) => {
                    self.producers.load(&snapshot, self.now_ms);
                    self.next = offset;
                    return Ok(());
                }
                Err(why) => {
                    tracing::warn!(
                        "{}: {why}. It is passed over and deleted; the log's batches are read in its place",
                        path.display()
                    );
                    self.damaged.insert(offset);
                }
            }
        }
        Ok(())
    }

    /// Whether what lies before this offset is known.
    pub fn knows_before(&self, offset: i64) -> bool {
        self.next >= offset
    }

    /// Takes a batch of the log in, if it is not known. They come in order.
    pub fn take(&mut self, batch: &Batch<'_>) {
        // One that cannot be read ends no transaction that anybody knows of.
        let marker = if batch.is_control() { Marker::of(batch).ok().flatten() } else { None };
        self.note(&batch.header(), marker.as_ref());
    }

    fn note(&mut self, header: &BatchHeader, marker: Option<&Marker>) {
        if header.base_offset >= self.next {
            let noted =
                transactions::note(&mut self.producers, &mut self.transactions, header, marker, self.now_ms);
            self.aborted.extend(noted);
            // Where the log was not scanned, it may have rotted.
            self.next = header.base_offset.saturating_add(i64::from(header.last_offset_delta) + 1);
        }
    }

    /// The transactions that were seen to be aborted by markers in this range.
    pub fn aborted(&self, markers: Range<i64>) -> AbortedIndex {
        let mut index = AbortedIndex::default();
        let within = self.aborted.iter().filter(|aborted| markers.contains(&aborted.last_offset));
        within.for_each(|aborted| index.push(*aborted));
        index
    }

    /// Reads the headers of a segment's batches up to `end`, for want of a snapshot.
    pub async fn read_again(&mut self, file: &File, base: i64, end: u64) -> io::Result<()> {
        self.read_again = true;
        let mut position = 0;
        while position < end {
            let from = position - position % BLOCK as u64;
            let len = READ.min(end - from) as usize;
            let chunk = file.read_at(self.reactor.pool().chunk(Share::Background, len).await, from).await?;
            let bytes = chunk.get((position - from) as usize..len.min(chunk.len())).unwrap_or_default();
            let mut at = 0;
            while let Some(rest) = bytes.get(at..)
                && rest.len() >= HEADER
            {
                let Ok((header, len)) = front::peek(rest) else { break };
                match rest.get(..len) {
                    Some(whole) => {
                        match Batch::first(whole).and_then(|batch| batch.check().map(|()| batch)) {
                            Ok(batch) => self.take(&batch),
                            Err(_) => break,
                        }
                    }
                    // From its beginning on it may fit.
                    None if len as u64 <= READ / 2 && end - position - at as u64 >= len as u64 && at > 0 => {
                        break;
                    }
                    None => self.note(&header, None),
                }
                at += len;
            }
            if at == 0 {
                self.incomplete = true;
                let path = segment::file(self.dir, base, Kind::Log);
                tracing::warn!(
                    "{}: no batch can be read at position {position}: producers that appended behind it are not known",
                    path.display()
                );
                return Ok(());
            }
            position += at as u64;
        }
        Ok(())
    }

    /// A segment begins here whose batches come next: where it has no snapshot yet, it gets one.
    pub fn segment_begins(&mut self, base: i64) {
        let is_there = self.files.contains_key(&base) && !self.damaged.contains(&base);
        if !is_there && self.next <= base && base > 0 {
            self.made.insert(base, self.producers.snapshot());
        }
    }

    /// Deletes the snapshots that tell of what is not there, the damaged ones, and those of no segment but for the
    /// newest. Durable with the folder's next flush; says whether there is something to flush. The log ends at `end`;
    /// `bases` are its segments.
    pub async fn tidy(&mut self, end: i64, bases: &BTreeSet<i64>) -> io::Result<bool> {
        let newest = self.files.keys().rev().find(|at| **at <= end && !self.damaged.contains(at)).copied();
        let damaged = &self.damaged;
        let keeps =
            |at: i64| at <= end && !damaged.contains(&at) && (bases.contains(&at) || newest == Some(at));
        let (kept, doomed): (BTreeMap<i64, u64>, BTreeMap<i64, u64>) =
            std::mem::take(&mut self.files).into_iter().partition(|(at, _)| keeps(*at));
        self.files = kept;
        for at in doomed.keys() {
            remove_if_there(self.log_dir, &segment::file(self.dir, *at, Kind::Snapshot)).await?;
        }
        Ok(!doomed.is_empty())
    }

    /// Writes the snapshots that are wanting. Gives the producers, and the offset of the newest snapshot.
    pub async fn finish(mut self, end: i64) -> io::Result<(Producers, i64)> {
        if self.read_again && end > 0 && !self.files.contains_key(&end) {
            self.made.insert(end, self.producers.snapshot());
        }
        for (at, bytes) in std::mem::take(&mut self.made) {
            // What is not the whole truth must not pass for it some day.
            if at <= end && !self.incomplete {
                self.log_dir.disk.replace(&segment::file(self.dir, at, Kind::Snapshot), bytes).await?;
                self.files.insert(at, 0);
            }
        }
        let newest = self.files.last_key_value().map_or(0, |(at, _)| *at);
        Ok((self.producers, newest))
    }
}
