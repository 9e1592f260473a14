//! Reading a segment's file for consumers, and what to do where it does not hold what was written.

use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use super::read_cache::SegmentFiles;
use super::replica::Replica;
use super::shard::Shard;
use crate::limits::READ_WINDOW;
use crate::log::index::{Landing, OffsetEntry, SegmentIndex};
use crate::log::segment::{self, BatchPlace, Kind};
use crate::log::walk::{Extent, Rot, Walk};
use crate::reactor::{Class, File};
use crate::wire::batch::{BatchHeader, HEADER};
use crate::wire::error::ErrorCode;

/// Why a read has nothing to give.
#[derive(Debug)]
pub enum ReadError {
    /// The file could not be read.
    Io(io::Error),
    /// It does not hold what was written.
    Rot(i64, Rot),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => error.fmt(f),
            ReadError::Rot(_, rot) => rot.fmt(f),
        }
    }
}

/// Reads the batches of one segment's file through the cache.
pub(super) struct FileScan<'a> {
    shard: &'a Rc<Shard>,
    files: SegmentFiles,
    file: File,
    extent: Extent,
}

impl FileScan<'_> {
    /// The header of the batch that comes next and the batch's size, none at the end.
    pub async fn peek(&self, walk: &Walk) -> Result<Option<(BatchHeader, u64)>, ReadError> {
        let position = walk.position();
        if position + HEADER as u64 > self.extent.end {
            return walk.end().map(|()| None).map_err(|rot| self.rot(rot));
        }
        let slices = self.slices(position..position + HEADER as u64).await?;
        let header = match &slices[..] {
            [whole] => walk.peek(whole),
            parts => walk.peek(&parts.concat()),
        };
        header.map(Some).map_err(|rot| self.rot(rot))
    }

    /// Finds the first batch that ends at or behind an offset. Says whether there is one: it comes next then.
    pub async fn find(&self, walk: &mut Walk, offset: i64) -> Result<bool, ReadError> {
        while let Some((header, size)) = self.peek(walk).await? {
            if header.base_offset.saturating_add(header.last_offset_delta.into()) >= offset {
                return Ok(true);
            }
            let batch = self.slices(walk.position()..walk.position() + size).await?;
            walk.skip(&header, &batch).map_err(|rot| self.rot(rot))?;
        }
        Ok(false)
    }

    /// The batches that come next: whole ones below the offset `limit`, of `max_bytes` and no more, but at least one.
    pub async fn take(&self, walk: &mut Walk, limit: i64, max_bytes: u64) -> Result<Vec<Bytes>, ReadError> {
        let Some((_, size)) = self.peek(walk).await? else { return Ok(Vec::new()) };
        // The header behind tells something of the batch before.
        let (from, most) = (walk.position(), max_bytes.max(size));
        let to = self.extent.end.min(from + most + HEADER as u64);
        let mut slices = self.slices(from..to).await?;
        let stands = walk.take(&slices, limit, max_bytes);
        if let Some(rot) = stands.rot.filter(|_| stands.len == 0) {
            return Err(self.rot(rot));
        }
        let mut left = stands.len;
        slices.retain_mut(|slice| {
            slice.truncate(left);
            left -= slice.len();
            !slice.is_empty()
        });
        Ok(slices)
    }

    /// The batch that comes next, whose header and size are these, in one piece.
    pub async fn take_one(&self, walk: &mut Walk, size: u64) -> Result<Bytes, ReadError> {
        let slices = self.slices(walk.position()..walk.position() + size).await?;
        match walk.take(&slices, i64::MAX, size).rot {
            Some(rot) => Err(self.rot(rot)),
            None if slices.len() == 1 => Ok(slices[0].clone()),
            None => Ok(Bytes::from(slices.concat())),
        }
    }

    /// Begins to read the next window, for a consumer that reads on.
    pub fn read_ahead(&self, position: u64) {
        let next = (position / READ_WINDOW as u64 + 1) * READ_WINDOW as u64;
        for from in [position, next] {
            let (files, end) = (self.files, self.extent.end);
            if from >= end || self.shard.cache.has(files, from, end) {
                continue;
            }
            let (shard, file) = (self.shard.clone(), self.file.clone());
            self.shard.reactor.spawn(Class::Fetch, async move {
                // If it fails, so will the read that needs it, and tell.
                drop(shard.cache.read(files, &file, from, end).await);
            });
        }
    }

    /// A range of the file.
    async fn slices(&self, range: Range<u64>) -> io::Result<Vec<Bytes>> {
        let mut slices = Vec::new();
        let mut position = range.start;
        while position < range.end {
            let cache = &self.shard.cache;
            let slice = cache.read(self.files, &self.file, position, self.extent.end).await?;
            let len = slice.len().min((range.end - position) as usize);
            position += len as u64;
            slices.push(slice.slice(0..len).into_bytes());
        }
        Ok(slices)
    }

    fn rot(&self, rot: Rot) -> ReadError {
        ReadError::Rot(self.files.base, rot)
    }
}

impl Shard {
    /// A reader of a segment of which this is known.
    pub(super) async fn scan<'a>(
        self: &'a Rc<Shard>,
        replica: &Rc<Replica>,
        files: SegmentFiles,
        extent: Extent,
    ) -> io::Result<FileScan<'a>> {
        Ok(FileScan { shard: self, files, file: self.segment_file(replica, files.base).await?, extent })
    }

    /// What a read that failed is answered, of this segment where it was of one. The log tells it.
    pub(super) fn read_failed(
        &self,
        replica: &Replica,
        segment: Option<i64>,
        error: &ReadError,
    ) -> ErrorCode {
        let (base, rot) = match error {
            ReadError::Rot(base, rot) => (base, rot),
            ReadError::Io(error) => {
                replica.tell_unread(segment, error, self.reactor.now());
                return ErrorCode::KAFKA_STORAGE_ERROR;
            }
        };
        if replica.note_rot(*base, rot.position) {
            let path = segment::file(&replica.dir, *base, Kind::Log);
            let go_on = match rot.offsets {
                Some((_, last)) => format!("from offset {} on", last + 1),
                None => "behind it".into(),
            };
            tracing::error!(
                "{}: {rot}. It is not served: who asks for it is answered CORRUPT_MESSAGE. What lies before it is \
                 served, and so is what lies {go_on} to consumers that are told to go on there. To repair it, stop \
                 the broker, put this file back from a copy, and start again; `ottla dump` shows what else \
                 is damaged",
                path.display()
            );
        }
        ErrorCode::CORRUPT_MESSAGE
    }

    /// After a segment's index has led to where nothing fits: whether it was the index. The segment is read from its
    /// beginning then, and an index that fits takes the other's place.
    pub(super) async fn index_again(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        files: SegmentFiles,
        extent: Extent,
    ) -> Result<bool, ReadError> {
        let Some(interval) = replica.online(|online| online.partition.log.config().index_interval_bytes)
        else {
            return Ok(false);
        };
        if replica.has_rot(files.base) {
            return Ok(false);
        }
        let scan = self.scan(replica, files, extent).await?;
        let mut walk = Walk::new(&Landing::start(files.base), extent);
        let mut index = SegmentIndex::default();
        while let Some((header, size)) = scan.peek(&walk).await? {
            let place = BatchPlace::new(&header, walk.position(), size);
            scan.take_one(&mut walk, size).await?;
            index.on_batch(files.base, &place, interval);
        }
        let in_memory = replica.online(|online| {
            let log = &mut online.partition.log;
            log.mend_index(files.base, &index, extent.end)
        });
        let path = segment::file(&replica.dir, files.base, Kind::Index);
        let anew = if in_memory == Some(true) {
            "A clean stop writes it anew"
        } else {
            let entries: Vec<OffsetEntry> = index.into_offsets();
            self.cache.put_index(files, Rc::new(entries));
            "It is made anew if it is deleted while the broker is stopped"
        };
        tracing::warn!(
            "{}: the index does not fit its segment, which is whole; it is not used any more. {anew}",
            path.display()
        );
        Ok(true)
    }
}
