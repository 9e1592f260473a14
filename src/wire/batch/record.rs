//! The records within a batch.

use std::borrow::Cow;

use super::{Batch, BatchError, Compression};

/// The records of one batch, decompressed.
#[derive(Clone, Debug)]
pub struct RecordSet<'a> {
    bytes: Cow<'a, [u8]>,
    base_offset: i64,
    base_timestamp: i64,
    /// The timestamp of all records, where it is the broker's.
    append_time: Option<i64>,
    count: i32,
}

impl<'a> RecordSet<'a> {
    pub(super) fn open(batch: Batch<'a>, limit: usize) -> Result<RecordSet<'a>, BatchError> {
        let bytes = match batch.compression()? {
            Compression::None => Cow::Borrowed(batch.payload()),
            compression => Cow::Owned(compression.decompress(batch.payload(), limit)?),
        };
        Ok(RecordSet {
            bytes,
            base_offset: batch.base_offset(),
            base_timestamp: batch.base_timestamp(),
            append_time: batch.is_log_append_time().then(|| batch.max_timestamp()),
            count: batch.count(),
        })
    }

    /// The decompressed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records in order. After the last record, or a damaged one, it ends; the last item is an error if there
    /// are more or fewer records than the batch says.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { set: self, rest: Cursor(&self.bytes), left: self.count }
    }
}

/// See [`RecordSet::iter`].
#[derive(Debug)]
pub struct RecordIter<'a> {
    set: &'a RecordSet<'a>,
    rest: Cursor<'a>,
    left: i32,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970, or -1.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            let surplus = !std::mem::replace(&mut self.rest, Cursor(&[])).0.is_empty();
            return surplus.then_some(Err(BatchError::Record("bytes follow the batch's last record")));
        }
        let record = self.record();
        self.left = if record.is_ok() { self.left - 1 } else { 0 };
        if record.is_err() {
            self.rest = Cursor(&[]);
        }
        Some(record)
    }
}

impl<'a> RecordIter<'a> {
    fn record(&mut self) -> Result<Record<'a>, BatchError> {
        let len = self.rest.varint()?;
        let mut body = Cursor(self.rest.take(len)?);
        let _attributes = body.take(1)?;
        let timestamp = self.set.base_timestamp.wrapping_add(body.varlong()?);
        let offset = self.set.base_offset.wrapping_add(body.varint()?.into());
        let key = body.nullable()?;
        let value = body.nullable()?;
        let count = body.varint()?;
        // A header takes two bytes at least.
        if count < 0 || count as usize > body.0.len() / 2 {
            return Err(BatchError::Record("a record has an impossible number of headers"));
        }
        let headers = Headers { rest: body, left: count };
        // Walked over once here, so that a damaged header is an error of the record.
        let mut check = headers;
        check.by_ref().try_for_each(|header| header.map(|_| ()))?;
        if !check.rest.0.is_empty() {
            return Err(BatchError::Record("bytes follow the fields of a record"));
        }
        let timestamp = self.set.append_time.unwrap_or(timestamp);
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

/// See [`Batch::latest_timestamp`].
pub(super) fn latest_timestamp(batch: Batch<'_>) -> Option<i64> {
    let (mut rest, mut latest) = (Cursor(batch.payload()), -1);
    for _ in 0..batch.count() {
        let len = rest.varint().ok()?;
        let mut body = Cursor(rest.take(len).ok()?);
        body.take(1).ok()?;
        latest = latest.max(batch.base_timestamp().wrapping_add(body.varlong().ok()?));
    }
    Some(latest)
}

/// The headers of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    rest: Cursor<'a>,
    left: i32,
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, which clients write as UTF-8.
    pub key: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

impl Headers<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let mut header = || {
            let key = self.rest.nullable()?.ok_or(BatchError::Record("a header has no name"))?;
            Ok(Header { key, value: self.rest.nullable()? })
        };
        let header = header();
        if header.is_err() {
            self.left = 0;
        }
        Some(header)
    }
}

/// What is left of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor<'a>(&'a [u8]);

const CUT: BatchError = BatchError::Record("a record ends too early");

impl<'a> Cursor<'a> {
    fn take(&mut self, len: i32) -> Result<&'a [u8], BatchError> {
        let len = usize::try_from(len).map_err(|_| BatchError::Record("a record has a negative length"))?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn nullable(&mut self) -> Result<Option<&'a [u8]>, BatchError> {
        match self.varint()? {
            -1 => Ok(None),
            len => self.take(len).map(Some),
        }
    }

    fn varint(&mut self) -> Result<i32, BatchError> {
        i32::try_from(self.varlong()?).map_err(|_| BatchError::Record("a number in a record is too large"))
    }

    fn varlong(&mut self) -> Result<i64, BatchError> {
        let mut raw = 0u64;
        for (i, &byte) in self.0.iter().enumerate().take(10) {
            raw |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(CUT)
    }
}
