//! Looking offsets up: the ends at once, a timestamp by the time index and then batch by batch.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::call::Responder;
use super::messages::{EpochEndPart, ListOffsetsPart, ListOffsetsReply, ShardReply};
use super::read_cache::SegmentFiles;
use super::replica::Replica;
use super::segment_read::ReadError;
use super::shard::Shard;
use crate::limits::DECOMPRESSED_MAX;
use crate::log::index::{self, Landing};
use crate::log::segment::{self, Kind};
use crate::log::walk::Walk;
use crate::reactor::Class;
use crate::wire::batch::{Batch, BatchError, BatchHeader};
use crate::wire::error::ErrorCode;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

impl Shard {
    /// Answers each question; those for a time in a task of their own.
    pub(super) fn list_offsets(self: &Rc<Shard>, parts: Vec<ListOffsetsPart>, responder: Responder) {
        let at_once: Vec<_> = parts.iter().map(|part| self.look_up(part)).collect();
        if at_once.iter().all(Option::is_some) {
            return responder.answer(ShardReply::ListOffsets(at_once.into_iter().flatten().collect()));
        }
        let shard = self.clone();
        self.reactor.spawn(Class::Fetch, async move {
            let mut replies = Vec::with_capacity(parts.len());
            for (part, known) in parts.iter().zip(at_once) {
                replies.push(match known {
                    Some(reply) => reply,
                    None => shard.search(part).await,
                });
            }
            responder.answer(ShardReply::ListOffsets(replies));
        });
    }

    /// Where a leader epoch ends.
    pub(super) fn epoch_end(&self, part: &EpochEndPart) -> Result<(i32, i64), ErrorCode> {
        let replica = self.serving(part.id)?;
        let answer = replica.online(|online| {
            online.partition.check_epoch(part.current_leader_epoch)?;
            Ok(online.partition.epoch_end(part.leader_epoch))
        });
        answer.unwrap_or(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER))
    }

    /// The answer, where nothing need be searched.
    fn look_up(&self, part: &ListOffsetsPart) -> Option<ListOffsetsReply> {
        let replica = match self.serving(part.id) {
            Ok(replica) => replica,
            Err(error) => return Some(ListOffsetsReply::failed(error)),
        };
        let answer = replica.online(|online| {
            let partition = &online.partition;
            if let Err(error) = partition.check_epoch(part.current_leader_epoch) {
                return Some(ListOffsetsReply::failed(error));
            }
            let (start, epochs) = (partition.log.start_offset(), partition.log.epochs());
            let (offset, leader_epoch) = match part.timestamp {
                LATEST if part.read_committed => (partition.last_stable_offset(), partition.leader_epoch()),
                LATEST => (partition.high_watermark(), partition.leader_epoch()),
                // Nothing is there yet: what comes next is of this epoch.
                EARLIEST | EARLIEST_LOCAL if start == partition.log.next_offset() => {
                    (start, partition.leader_epoch())
                }
                EARLIEST | EARLIEST_LOCAL => (start, epochs.at(start).unwrap_or(-1)),
                LATEST_TIERED => (-1, -1),
                EARLIEST_PENDING_UPLOAD => (-1, -1),
                MAX_TIMESTAMP | 0.. => return None,
                _ => return Some(ListOffsetsReply::failed(ErrorCode::INVALID_REQUEST)),
            };
            Some(ListOffsetsReply { error: ErrorCode::NONE, timestamp: -1, offset, leader_epoch })
        });
        answer.unwrap_or(Some(ListOffsetsReply::failed(ErrorCode::NOT_LEADER_OR_FOLLOWER)))
    }

    async fn search(self: &Rc<Shard>, part: &ListOffsetsPart) -> ListOffsetsReply {
        let Some(replica) = self.replica(part.id) else {
            return ListOffsetsReply::failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let none = ListOffsetsReply::failed(ErrorCode::NONE);
        let found = loop {
            // What was found in files that were exchanged meanwhile is worth nothing.
            replica.files.settled().await;
            let version = replica.files.version();
            let found = match part.timestamp {
                MAX_TIMESTAMP => self.search_latest(&replica).await,
                timestamp => self.search_time(&replica, timestamp).await,
            };
            if replica.files.is(version) {
                break found;
            }
        };
        let limit = replica.online(|online| match part.read_committed {
            true => online.partition.last_stable_offset(),
            false => online.partition.high_watermark(),
        });
        match found {
            Ok(Some(reply)) if limit.is_some_and(|limit| reply.offset < limit) => reply,
            Ok(_) => none,
            Err(error) => ListOffsetsReply::failed(self.read_failed(&replica, None, &error)),
        }
    }

    /// The first record at or after a time.
    async fn search_time(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        timestamp: i64,
    ) -> Result<Option<ListOffsetsReply>, ReadError> {
        for base in segment_bases(replica) {
            if self.max_timestamp(replica, base).await? < timestamp {
                continue;
            }
            let landing = self.landing_for_time(replica, base, timestamp).await?;
            let start = replica.online(|online| online.partition.log.start_offset()).unwrap_or(0);
            let wanted = |header: &BatchHeader| {
                let last = header.base_offset + i64::from(header.last_offset_delta);
                header.max_timestamp >= timestamp && last >= start
            };
            // Of a batch within which the log starts, the record may be one that was deleted.
            let found = |batch: &Bytes| first_at_or_after(batch, timestamp, start);
            let reply = match self.search_segment(replica, base, &landing, wanted, found).await {
                Err(ReadError::Rot(..)) if landing.position > 0 => {
                    // It may be the index that is damaged.
                    self.search_segment(replica, base, &Landing::start(base), wanted, found).await
                }
                reply => reply,
            };
            if let Some(reply) = reply? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of all.
    async fn search_latest(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
    ) -> Result<Option<ListOffsetsReply>, ReadError> {
        let mut latest = (-1, 0);
        for base in segment_bases(replica) {
            let timestamp = self.max_timestamp(replica, base).await?;
            if timestamp > latest.0 {
                latest = (timestamp, base);
            }
        }
        let (timestamp, base) = latest;
        if timestamp < 0 {
            return Ok(None);
        }
        let wanted = |header: &BatchHeader| header.max_timestamp == timestamp;
        let found = |batch: &Bytes| first_at_or_after(batch, timestamp, 0);
        self.search_segment(replica, base, &Landing::start(base), wanted, found).await
    }

    /// What is `found` first in a segment's batches for whose header `wanted` holds.
    async fn search_segment(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        base: i64,
        landing: &Landing,
        wanted: impl Fn(&BatchHeader) -> bool,
        found: impl Fn(&Bytes) -> Result<Option<(i64, i64)>, BatchError>,
    ) -> Result<Option<ListOffsetsReply>, ReadError> {
        let extent = replica.online(|online| online.partition.log.readable(base)).flatten();
        let Some(extent) = extent else { return Ok(None) };
        let scan = self.scan(replica, files_of(replica, base), extent).await?;
        let mut walk = Walk::new(landing, extent);
        while let Some((header, size)) = scan.peek(&walk).await? {
            // A header is worth nothing until its batch has been found whole.
            let batch = scan.take_one(&mut walk, size).await?;
            if wanted(&header)
                && let Some((offset, timestamp)) = found(&batch).map_err(invalid)?
            {
                let leader_epoch = header.leader_epoch;
                return Ok(Some(ListOffsetsReply {
                    error: ErrorCode::NONE,
                    timestamp,
                    offset,
                    leader_epoch,
                }));
            }
        }
        Ok(None)
    }

    /// The largest timestamp of a segment, from its index file where it is not known.
    pub(super) async fn max_timestamp(&self, replica: &Rc<Replica>, base: i64) -> io::Result<i64> {
        let known = replica.online(|online| online.partition.log.segment(base).map(|s| s.max_timestamp()));
        match known.flatten() {
            Some(Some(timestamp)) => return Ok(timestamp),
            Some(None) => {}
            None => return Ok(-1),
        }
        let path = segment::file(&replica.dir, base, Kind::TimeIndex);
        let times = index::decode_times(&replica.log_dir().disk.read(&path).await?);
        let latest = match times {
            Some(times) => times.last().map_or(-1, |last| last.timestamp),
            None => {
                tracing::warn!("{}: the time index is damaged; the segment counts as new", path.display());
                i64::MAX
            }
        };
        replica.online(|online| online.partition.log.learn_max_timestamp(base, latest));
        Ok(latest)
    }

    async fn landing_for_time(
        &self,
        replica: &Rc<Replica>,
        base: i64,
        timestamp: i64,
    ) -> io::Result<Landing> {
        let known = replica.online(|online| online.partition.log.landing_for_time(base, timestamp));
        if let Some(landing) = known.flatten() {
            return Ok(landing);
        }
        let times = replica.log_dir().disk.read(&segment::file(&replica.dir, base, Kind::TimeIndex)).await?;
        let relative = index::offset_before(&index::decode_times(&times).unwrap_or_default(), timestamp);
        let path = segment::file(&replica.dir, base, Kind::Index);
        let entries = self.cache.index(files_of(replica, base), &path).await?;
        Ok(index::landing(&entries, base, base + i64::from(relative)))
    }
}

fn files_of(replica: &Replica, base: i64) -> SegmentFiles {
    SegmentFiles { id: replica.id, base, version: replica.files.version() }
}

fn segment_bases(replica: &Replica) -> Vec<i64> {
    replica
        .online(|online| online.partition.log.segments().map(|s| s.base_offset).collect())
        .unwrap_or_default()
}

/// The first record of a batch at or after a time, and at or after the log's start.
fn first_at_or_after(batch: &[u8], timestamp: i64, start: i64) -> Result<Option<(i64, i64)>, BatchError> {
    for record in Batch::first(batch)?.open(DECOMPRESSED_MAX)?.iter() {
        let record = record?;
        if record.timestamp >= timestamp && record.offset >= start {
            return Ok(Some((record.offset, record.timestamp)));
        }
    }
    Ok(None)
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
