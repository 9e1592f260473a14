//! Readers of committed records are told which transactions among them were aborted: from memory, or from the
//! `.txnindex` of finished segments.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::read_cache::SegmentFiles;
use super::replica::Replica;
use super::shard::Shard;
use crate::log::aborted::{Aborted, AbortedIndex, Search};
use crate::log::segment::{self, Kind};
use crate::wire::batch::{HEADER, front};

impl Shard {
    /// The aborted transactions that may have records among these, which were read from an offset on: of `files`, and
    /// those behind.
    pub(super) async fn aborted_among(
        &self,
        replica: &Rc<Replica>,
        files: SegmentFiles,
        offset: i64,
        records: &[Bytes],
    ) -> io::Result<Vec<Aborted>> {
        let limit = end_offset(records).unwrap_or(offset + 1);
        self.aborted_between(replica, files, offset, limit).await
    }

    /// The same, up to an offset.
    pub(super) async fn aborted_between(
        &self,
        replica: &Rc<Replica>,
        files: SegmentFiles,
        offset: i64,
        limit: i64,
    ) -> io::Result<Vec<Aborted>> {
        let (mut found, mut from) = (Vec::new(), files.base);
        loop {
            let looked =
                replica.online(|online| online.partition.aborted.collect(from, offset, limit, &mut found));
            let base = match looked {
                Some(Ok(())) => return Ok(found),
                Some(Err(base)) => base,
                None => return Err(io::Error::new(io::ErrorKind::NotFound, "the partition is not served")),
            };
            let index = self.aborted_index(replica, SegmentFiles { base, ..files }).await?;
            if index.collect(offset, limit, &mut found) == Search::Done {
                return Ok(found);
            }
            from = base + 1;
        }
    }

    /// What a finished segment's `.txnindex` holds.
    pub(super) async fn aborted_index(
        &self,
        replica: &Replica,
        files: SegmentFiles,
    ) -> io::Result<Rc<AbortedIndex>> {
        if let Some(index) = self.cache.aborted(files) {
            return Ok(index);
        }
        let path = segment::file(&replica.dir, files.base, Kind::TxnIndex);
        let bytes = replica.log_dir().disk.read(&path).await?;
        let index = AbortedIndex::decode(&bytes, files.base).map_err(|why| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
        })?;
        let index = Rc::new(index);
        self.cache.put_aborted(files, index.clone());
        Ok(index)
    }
}

/// The offset behind the last batch of which the header is there.
pub fn end_offset(records: &[Bytes]) -> Option<i64> {
    let (mut end, mut slices) = (None, records.iter());
    // How far into the slice, or behind it, the next batch begins.
    let (mut slice, mut at): (&[u8], usize) = (slices.next()?, 0);
    loop {
        while at >= slice.len() {
            at -= slice.len();
            let Some(next) = slices.next() else { return end };
            slice = next;
        }
        let mut header = [0; HEADER];
        let here = &slice[at..slice.len().min(at + HEADER)];
        header[..here.len()].copy_from_slice(here);
        let mut filled = here.len();
        for next in slices.clone() {
            let more = &next[..next.len().min(HEADER - filled)];
            header[filled..filled + more.len()].copy_from_slice(more);
            filled += more.len();
        }
        if filled < HEADER {
            return end;
        }
        let Ok((header, size)) = front::peek(&header) else { return end };
        end = Some(header.base_offset + i64::from(header.last_offset_delta) + 1);
        at += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{BatchBuilder, BatchMut};

    #[test]
    fn the_end_is_found_however_the_records_are_cut() {
        let mut bytes = Vec::new();
        for base in [10, 20, 30] {
            let mut builder = BatchBuilder::new();
            (0..3).for_each(|i| builder.append(i, None, Some(b"value"), &[]));
            let mut batch = builder.build().unwrap();
            BatchMut::first(&mut batch).unwrap().set_base_offset(base);
            bytes.extend_from_slice(&batch);
        }
        let one = bytes.len() / 3;
        for cut in 1..bytes.len() {
            let slices = [Bytes::copy_from_slice(&bytes[..cut]), Bytes::copy_from_slice(&bytes[cut..])];
            assert_eq!(end_offset(&slices), Some(33), "cut at {cut}");
            let there = match cut {
                _ if cut < HEADER => None,
                _ if cut < one + HEADER => Some(13),
                _ if cut < 2 * one + HEADER => Some(23),
                _ => Some(33),
            };
            assert_eq!(end_offset(&slices[..1]), there, "the first {cut} bytes");
        }
        assert_eq!(end_offset(&[]), None);
    }
}
