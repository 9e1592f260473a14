//! Rot: what was durable changes by itself while the node is down.
//!
//! Where recovery reads, damage below the mark must be told: the partition is refused, whatever else happens to
//! the node, and nothing of it is changed, until it is restored or its loss is accepted. Where recovery does not
//! read (in segments that are finished, and before the last index entry after a clean stop), the log must at
//! least not become shorter by it, and who reads what has rotted must be told.

use std::cmp::Ordering;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{DIR, PATIENCE, Run, clients, log_start};
use crate::broker::messages::PartitionId;
use crate::broker::replica::{Replica, State};
use crate::broker::shard::Shard;
use crate::limits::BLOCK;
use crate::log::index::SegmentIndex;
use crate::log::marks::read_file;
use crate::log::segment::{self, Kind};
use crate::reactor::Reactor;
use crate::reactor::sim::View;
use crate::wire::batch::Batch;
use crate::wire::error::ErrorCode;

/// The bytes of a batch that hold its leader epoch. They lie outside its checksum, and one that is too high cannot
/// be told from a right one.
const EPOCH: Range<u64> = 12..16;
/// The bytes of a batch that hold its base offset, outside its checksum too.
const OFFSET: Range<u64> = 0..8;
const SECTOR: u64 = 512;

/// What has happened to a file.
struct Damage {
    id: PartitionId,
    path: PathBuf,
    /// The bytes and which of their bits flip. Flipped once more, they are as before.
    flips: Vec<(u64, u8)>,
    /// The base offset of the first batch that is damaged, where recovery reads it.
    cut: Option<i64>,
    /// Whether a batch may seem to lie at another offset now.
    moves: bool,
    /// Where the first batch that is damaged ends.
    ends: i64,
}

/// A batch below the mark.
struct Place {
    range: Range<u64>,
    base_offset: i64,
    last_offset: i64,
}

impl Run {
    /// Damages a partition, sees that it is refused, and restores it or accepts its loss.
    pub(super) fn damage_and_mend(self: &Rc<Run>) {
        if self.disk().is_read_only() {
            // What the marks say now need not be what they say when the machine starts anew.
            return;
        }
        let Some(damage) = self.plan_damage() else { return };
        let Damage { id, path, flips, cut, .. } = &damage;
        let (first, mask) = flips[0];
        self.world.note(&format!(
            "{} bytes of {id:?} rot from {first} ({mask:#04x}) of {}; cut {cut:?}",
            flips.len(),
            path.display()
        ));
        self.flip(&damage);
        let Some(cut) = damage.cut else {
            let reactor = self.boot();
            if let Some(shard) = self.start_whole(&reactor, None) {
                self.expect_whole(&shard, &damage);
                self.expect_told(&reactor, &shard, &damage);
            }
            self.die(3);
            // Retention may have come meanwhile.
            if self.disk().content(path, View::Current).is_ok() {
                self.flip(&damage);
            }
            return;
        };
        let names = |run: &Run| run.folder(damage.id).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        let planned = names(self);
        for _ in 0..1 + self.draw(3) {
            self.live_refused(&damage);
            // A deletion that was not durable yet has come to nothing: recovery may begin at another segment now.
            if names(self) != planned {
                return self.flip(&damage);
            }
        }
        if damage.moves || self.draw(2) == 0 {
            return self.flip(&damage);
        }
        let reactor = self.boot();
        let Some(shard) = self.start_whole(&reactor, Some(damage.id)) else { return self.lose_power() };
        self.known.borrow_mut().entry(damage.id.partition).or_default().lose_from(cut);
        for replica in shard.replicas() {
            self.check(&reactor, &shard, &replica);
        }
        self.rewind(damage.id);
        let end = shard.replica(damage.id).and_then(|r| r.online(|o| o.partition.log.next_offset()));
        assert_eq!(end, Some(cut), "seed {}: all that stands before the damage is kept", self.world.seed());
        self.report.borrow_mut().losses_accepted += 1;
        // The next start accepts nothing, and must find nothing that was lost.
        if self.draw(2) == 0 {
            return self.die(3);
        }
        let pace = self.pace();
        self.work(&reactor, &shard, pace);
        self.world.run_for(pace.span);
        self.end(&reactor, &shard);
    }

    /// A life in which one partition is refused and the others are served.
    fn live_refused(self: &Rc<Run>, damage: &Damage) {
        let before = self.folder(damage.id);
        let reactor = self.boot();
        let Some(shard) = self.start_whole(&reactor, None) else { return self.lose_power() };
        for replica in shard.replicas() {
            if replica.id == damage.id {
                self.expect_refused(&replica);
            } else {
                self.check(&reactor, &shard, &replica);
            }
        }
        self.report.borrow_mut().refused += 1;
        if self.draw(2) == 0 {
            let pace = self.pace();
            self.work(&reactor, &shard, pace);
            self.world.run_for(pace.span);
        }
        let after = self.folder(damage.id);
        assert!(before == after, "seed {}: a partition that is refused is not changed", self.world.seed());
        self.end(&reactor, &shard);
    }

    fn expect_refused(&self, replica: &Replica) {
        let seed = self.world.seed();
        match &*replica.state.borrow() {
            State::Offline(_, why) => {
                assert!(why.contains("--accept-loss"), "seed {seed}: it says what to do: {why}");
            }
            _ => panic!("seed {seed}: {} is served though it was damaged below its mark", replica.name()),
        }
    }

    fn expect_whole(&self, shard: &Rc<Shard>, damage: &Damage) {
        let seed = self.world.seed();
        let certain = self.known.borrow().get(&damage.id.partition).map_or(0, |known| known.certain_end());
        let replica = shard.replica(damage.id).expect("all partitions were opened");
        match &*replica.state.borrow() {
            State::Online(online) => assert!(
                online.partition.log.next_offset() >= certain,
                "seed {seed}: {} has become shorter by rot",
                replica.name()
            ),
            State::Offline(_, why) => panic!("seed {seed}: recovery read what it need not: {why}"),
            State::Opening(_) => unreachable!("all were opened"),
        }
    }

    /// Who reads a log of which a part has rotted gets what was written or is told, and gets all else.
    fn expect_told(self: &Rc<Run>, reactor: &Reactor, shard: &Rc<Shard>, damage: &Damage) {
        let (run, reading, id) = (self.clone(), shard.clone(), damage.id);
        let told = self.world.run(reactor, PATIENCE, async move { run.read_rotten(&reading, id).await });
        let start = log_start(shard, damage.id);
        let seed = self.world.seed();
        assert!(told > 0 || start >= damage.ends, "seed {seed}: {:?}: nobody was told of the rot", damage.id);
        self.report.borrow_mut().rot_told += u64::from(told > 0);
    }

    /// Reads a log past what has rotted. Says how often it was told.
    async fn read_rotten(&self, shard: &Rc<Shard>, id: PartitionId) -> u64 {
        let (seed, mut told) = (self.world.seed(), 0);
        let mut offset = log_start(shard, id);
        loop {
            let read = clients::read(shard, id, offset, 1 + self.draw(100_000) as usize).await;
            let known = self.known.borrow();
            let known = known.get(&id.partition).expect("it has batches");
            match read {
                Ok(batches) if batches.is_empty() => return told,
                Ok(batches) => {
                    for (at, entry) in batches {
                        assert!(at <= offset, "seed {seed}: {id:?}: {at} comes where {offset} should");
                        let right = known.at(at).is_none_or(|right| right == entry);
                        assert!(
                            right,
                            "seed {seed}: {id:?}: {entry:?} comes at {at} instead of {:?}",
                            known.at(at)
                        );
                        offset = at + i64::from(entry.records);
                    }
                }
                Err(ErrorCode::CORRUPT_MESSAGE) => {
                    told += 1;
                    let Some(next) = known.next_after(offset) else { return told };
                    offset = next;
                }
                Err(ErrorCode::OFFSET_OUT_OF_RANGE) if log_start(shard, id) > offset => {
                    offset = log_start(shard, id);
                }
                Err(error) => panic!("seed {seed}: {id:?} at offset {offset}: {error:?}"),
            }
        }
    }

    fn flip(&self, damage: &Damage) {
        for (position, mask) in &damage.flips {
            let hit = self.disk().corrupt(&damage.path, *position, *mask).expect("the file is there");
            assert!(hit, "there was something to flip");
        }
    }

    /// Damages a snapshot of producers: it is a shortcut, and nothing may hang on it, as long as the batches of which
    /// it tells are there, or an older snapshot that tells of those that are not.
    pub(super) fn damage_snapshot(&self) {
        let disk = self.disk();
        let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "snapshot");
        let files = disk.files(View::Current);
        let snapshots: Vec<_> =
            files.iter().filter(|(path, len)| is_snapshot(path) && *len > 0).cloned().collect();
        if disk.is_read_only() || snapshots.is_empty() {
            return;
        }
        let (path, len) = self.rng.borrow_mut().pick(&snapshots).clone();
        // An older one tells enough if no batch behind it was deleted.
        let is_log = |other: &&PathBuf| {
            other.parent() == path.parent() && other.extension().is_some_and(|kind| kind == "log")
        };
        let start = files.iter().map(|(path, _)| path).filter(is_log).min().map(|log| log.with_extension(""));
        let is_spared = |(other, _): &(PathBuf, u64)| {
            let reaches = start.as_ref().is_some_and(|start| other.with_extension("") >= *start);
            other.parent() == path.parent() && *other < path && reaches
        };
        let first = path.with_file_name("00000000000000000000.log");
        if !snapshots.iter().any(is_spared) && disk.content(&first, View::Current).is_err() {
            return;
        }
        let (position, bit) = (self.draw(len), 1 << self.draw(8));
        self.world.note(&format!("byte {position} of {} rots", path.display()));
        assert!(
            disk.corrupt(&path, position, bit).expect("it was just listed"),
            "there was something to flip"
        );
        self.report.borrow_mut().snapshots_damaged += 1;
    }

    /// All files of a partition.
    fn folder(&self, id: PartitionId) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.disk();
        let dir = segment::partition_dir(Path::new(DIR), "t", id.partition);
        let files = disk.files(View::Current).into_iter().map(|(path, _)| path);
        let read = |path: PathBuf| {
            let content = disk.content(&path, View::Current).expect("it was just listed");
            (path, content)
        };
        files.filter(|path| path.starts_with(&dir)).map(read).collect()
    }

    /// Chooses what is to rot.
    fn plan_damage(&self) -> Option<Damage> {
        let disk = self.disk();
        let files = disk.files(View::Current).into_iter().map(|(path, _)| path);
        let is_mark = |path: &PathBuf| path.to_string_lossy().contains("/stable-ends-");
        let mark_files = files.filter(is_mark).filter_map(|path| {
            let content = disk.content(&path, View::Current).expect("it was just listed");
            read_file(&content)
        });
        let marks = mark_files.max_by_key(|file| file.generation)?.marks;
        let id = self.partitions[self.draw(self.partitions.len() as u64) as usize];
        let mark = *marks.get(&id)?;
        let clean = disk.content(&Path::new(DIR).join(".kafka_cleanshutdown"), View::Current).is_ok();
        let (path, bytes, read_from) = self.choose_segment(id, clean)?;
        let (places, read) = places(&bytes, mark, read_from);
        // Mostly where recovery reads.
        let chosen = if !read.is_empty() && self.draw(5) > 0 { &places[read] } else { &places[..] };
        let place = &chosen[self.draw((chosen.len() as u64).max(1)) as usize..].first()?;
        let flips = self.choose_bytes(&bytes, place, &places, read_from);
        let hit = |range: &Range<u64>| flips.iter().any(|(at, _)| range.contains(at));
        let first = places.iter().find(|place| hit(&place.range))?;
        let moves = places.iter().any(|place| {
            let start = place.range.start;
            hit(&(start + OFFSET.start..start + OFFSET.end))
        });
        let cut = read_from.filter(|from| *from <= first.range.start).map(|_| first.base_offset);
        Some(Damage { id, path, flips, cut, moves, ends: first.last_offset + 1 })
    }

    /// A segment of a partition, its bytes, and from where on recovery reads it, if it does.
    fn choose_segment(&self, id: PartitionId, clean: bool) -> Option<(PathBuf, Vec<u8>, Option<u64>)> {
        let folder = self.folder(id);
        let of_kind = |wanted: Kind| {
            let named = folder.iter().filter_map(|(path, bytes)| {
                let name = path.file_name().expect("a file has a name").to_string_lossy();
                segment::parse_name(&name).map(|(base, kind)| (base, kind, path, bytes))
            });
            named.filter(move |(_, kind, ..)| *kind == wanted)
        };
        let logs: Vec<_> = of_kind(Kind::Log).collect();
        let has = |base: i64, kind| of_kind(kind).any(|(found, ..)| found == base);
        let indexed = |base: i64| has(base, Kind::Index) && has(base, Kind::TimeIndex);
        let last = logs.len().checked_sub(1)?;
        let first_read = logs.iter().position(|(base, ..)| !indexed(*base)).unwrap_or(last);
        let index = match self.draw(4) {
            0 => self.draw(logs.len() as u64) as usize,
            _ => first_read + self.draw((logs.len() - first_read) as u64) as usize,
        };
        let (base, _, path, bytes) = logs[index];
        let resumes = || {
            let file = |kind| of_kind(kind).find(|(found, ..)| *found == base).map(|(.., bytes)| bytes);
            let indexed = SegmentIndex::from_files(file(Kind::Index)?, file(Kind::TimeIndex)?)?;
            // What is served from memory is read in any case.
            let len = bytes.len() as u64;
            let indexed = if index == last { indexed.up_to(len - len % BLOCK as u64) } else { indexed };
            Some(indexed.last_position())
        };
        // After a crash the end of the last finished segment is read too.
        let read_from = match (index + 1).cmp(&first_read) {
            Ordering::Less => None,
            Ordering::Equal if clean => None,
            Ordering::Equal => Some(resumes().unwrap_or(0)),
            Ordering::Greater if indexed(base) && (clean || index < last) => Some(resumes().unwrap_or(0)),
            Ordering::Greater => Some(0),
        };
        Some((path.clone(), bytes.clone(), read_from))
    }

    /// One bit of a batch, or all of a sector.
    fn choose_bytes(
        &self,
        bytes: &[u8],
        place: &Place,
        places: &[Place],
        read_from: Option<u64>,
    ) -> Vec<(u64, u8)> {
        let Range { start, end } = place.range;
        let epoch = |at: u64| places.iter().any(|p| EPOCH.contains(&at.wrapping_sub(p.range.start)));
        let mut at = start + self.draw(end - start);
        if self.draw(3) == 0 {
            at = start + self.draw(61.min(end - start));
        }
        if self.draw(4) == 0 {
            // Only what lies below the mark, and not on both sides of where recovery begins to read.
            let below = places.last().map_or(end, |place| place.range.end);
            let within = match read_from {
                Some(from) if from <= start => from..below,
                Some(from) => 0..from,
                None => 0..below,
            };
            let from = (at - at % SECTOR).max(within.start);
            let to = (at - at % SECTOR + SECTOR).min(within.end);
            let zeroed: Vec<_> = (from..to)
                .filter(|at| !epoch(*at) && bytes[*at as usize] != 0)
                .map(|at| (at, bytes[at as usize]))
                .collect();
            if !zeroed.is_empty() {
                return zeroed;
            }
        }
        if epoch(at) {
            at = start + EPOCH.end;
        }
        vec![(at, 1 << self.draw(8))]
    }
}

/// The batches of a segment below the mark, and which of them recovery reads.
fn places(bytes: &[u8], mark: i64, read_from: Option<u64>) -> (Vec<Place>, Range<usize>) {
    let (mut places, mut position, mut next) = (Vec::new(), 0, 0);
    // What was torn has no place here.
    while let Ok(batch) = Batch::first(&bytes[position..])
        && batch.check().is_ok()
        && (next..mark).contains(&batch.base_offset())
        && batch.last_offset() < mark
    {
        let range = position as u64..(position + batch.bytes().len()) as u64;
        (position, next) = (range.end as usize, batch.last_offset() + 1);
        places.push(Place { range, base_offset: batch.base_offset(), last_offset: batch.last_offset() });
    }
    let read = match read_from {
        Some(from) => places.iter().position(|place| place.range.start >= from).unwrap_or(places.len()),
        None => places.len(),
    };
    let end = places.len();
    (places, read..end)
}
