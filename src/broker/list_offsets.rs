//! Looking offsets up: the ends at once, a timestamp by the time index and then batch by batch.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::call::Responder;
use super::fetch::FileScan;
use super::messages::{EpochEndPart, ListOffsetsPart, ListOffsetsReply, ShardReply};
use super::read_cache::SegmentFiles;
use super::replica::Replica;
use super::shard::Shard;
use crate::limits::DECOMPRESSED_MAX;
use crate::log::index;
use crate::log::segment::{self, Kind};
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
            Err(error) => {
                tracing::error!("{}: a search by time failed: {error}", replica.name());
                ListOffsetsReply::failed(ErrorCode::KAFKA_STORAGE_ERROR)
            }
        }
    }

    /// The first record at or after a time.
    async fn search_time(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        timestamp: i64,
    ) -> io::Result<Option<ListOffsetsReply>> {
        for base in segment_bases(replica) {
            if self.max_timestamp(replica, base).await? < timestamp {
                continue;
            }
            let mut from = self.position_for_time(replica, base, timestamp).await?;
            let start = replica.online(|online| online.partition.log.start_offset()).unwrap_or(0);
            let wanted = |header: &BatchHeader| {
                let last = header.base_offset + i64::from(header.last_offset_delta);
                header.max_timestamp >= timestamp && last >= start
            };
            // Of a batch within which the log starts, the record may be one that was deleted.
            while let Some((batch, end)) = self.search_segment(replica, base, from, wanted).await? {
                let record = first_at_or_after(&batch, timestamp, start).map_err(invalid)?;
                if let Some((offset, time)) = record {
                    return Ok(Some(self.found(&batch, offset, time)));
                }
                from = end;
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of all.
    async fn search_latest(self: &Rc<Shard>, replica: &Rc<Replica>) -> io::Result<Option<ListOffsetsReply>> {
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
        let found = self.search_segment(replica, base, 0, |header| header.max_timestamp == timestamp).await?;
        let Some((batch, _)) = found else { return Ok(None) };
        let record = first_at_or_after(&batch, timestamp, 0).map_err(invalid)?;
        Ok(record.map(|(offset, time)| self.found(&batch, offset, time)))
    }

    fn found(&self, batch: &Bytes, offset: i64, timestamp: i64) -> ListOffsetsReply {
        let leader_epoch = Batch::first(batch).map_or(-1, |batch| batch.leader_epoch());
        ListOffsetsReply { error: ErrorCode::NONE, timestamp, offset, leader_epoch }
    }

    /// The first batch of a segment for which `wanted` holds, whole, and the position behind it.
    async fn search_segment(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        base: i64,
        from: u64,
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<(Bytes, u64)>> {
        let end = replica.online(|online| online.partition.log.readable_end(base)).flatten();
        let Some(end) = end else { return Ok(None) };
        let file = self.segment_file(replica, base).await?;
        let scan = FileScan { shard: self, files: files_of(replica, base), file, end };
        let mut position = from;
        while let Some((header, size)) = scan.header(position).await? {
            if wanted(&header) {
                let slices = scan.slices(position..position + size).await?;
                let batch = match &slices[..] {
                    [whole] => whole.clone(),
                    parts => Bytes::from(parts.concat()),
                };
                return Ok(Some((batch, position + size)));
            }
            position += size;
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

    async fn position_for_time(&self, replica: &Rc<Replica>, base: i64, timestamp: i64) -> io::Result<u64> {
        let known = replica.online(|online| online.partition.log.position_for_time(base, timestamp));
        if let Some(position) = known.flatten() {
            return Ok(position);
        }
        let times = replica.log_dir().disk.read(&segment::file(&replica.dir, base, Kind::TimeIndex)).await?;
        let relative = index::offset_before(&index::decode_times(&times).unwrap_or_default(), timestamp);
        let path = segment::file(&replica.dir, base, Kind::Index);
        let entries = self.cache.index(files_of(replica, base), &path).await?;
        Ok(index::position_for(&entries, base, base + i64::from(relative)))
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
