//! Reading and writing Kafka's primitive forms.
//!
//! A [`Reader`] walks over one frame and hands out slices of it without copying. Every length is checked against
//! what is left of the frame before anything is reserved, so hostile bytes cannot ask for more memory than they
//! could fill. A [`Writer`] appends to a buffer that grows, and splices large shared slices in instead of copying
//! them, so that records reach the socket as they lie in the log.

use std::fmt;

use bytes::Bytes;

use super::uuid::Uuid;

/// The longest string that Kafka's protocol allows, in bytes, in every version.
pub const STRING_MAX: usize = i16::MAX as usize;
/// Shared slices of at least this length are spliced into a [`Writer`]; shorter ones are copied.
pub const SPLICE_MIN: usize = 2048;

/// Why bytes could not be read as a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<Fault>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    reason: Reason,
    at: usize,
    /// The structures that were being read, the innermost first.
    within: Vec<&'static str>,
}

/// What was wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// More bytes are needed than are left.
    Short {
        /// How many are needed.
        needed: usize,
        /// How many are left.
        left: usize,
    },
    /// A length that no value of this kind can have.
    Length(i64),
    /// A variable-length integer that is longer than its type.
    Varint,
    /// A null where this version does not allow it.
    Null,
    /// A list with more elements than the reader may still take.
    Elements {
        /// How many it has.
        count: usize,
        /// How many were still allowed.
        allowed: usize,
    },
    /// Known fields ended before the bytes that were set aside for them.
    Trailing(usize),
    /// This version of the message is not known here.
    Version(i16),
    /// The number of an API or of a record that is not known here.
    Unknown(i32),
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(reason: Reason, at: usize) -> DecodeError {
        DecodeError(Box::new(Fault { reason, at, within: Vec::new() }))
    }

    /// Adds the structure that was being read, from the innermost outwards.
    #[cold]
    pub(crate) fn within(mut self, name: &'static str) -> DecodeError {
        self.0.within.push(name);
        self
    }

    /// What was wrong.
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// Where in the bytes it was found.
    pub fn at(&self) -> usize {
        self.0.at
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in self.0.within.iter().rev() {
            write!(f, "{name}: ")?;
        }
        match &self.0.reason {
            Reason::Short { needed, left } => write!(f, "{needed} bytes are needed, {left} are left")?,
            Reason::Length(n) => write!(f, "{n} is not a possible length")?,
            Reason::Varint => write!(f, "the variable-length integer does not end in time")?,
            Reason::Null => write!(f, "null is not allowed in this version")?,
            Reason::Elements { count, allowed } => {
                write!(f, "the list has {count} elements, and {allowed} more are taken")?
            }
            Reason::Trailing(n) => write!(f, "{n} bytes follow the last known field")?,
            Reason::Version(v) => write!(f, "version {v} is not known")?,
            Reason::Unknown(k) => write!(f, "the number {k} is not known")?,
        }
        write!(f, " (at byte {})", self.0.at)
    }
}

impl std::error::Error for DecodeError {}

/// Why a message could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(Box<Refusal>);

/// What of a message has no form on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A string, byte string or list that is too long for its length field.
    TooLong(usize),
    /// A null where this version does not allow it.
    Null(&'static str),
    /// A field that was set but that this version cannot carry, and that may not be dropped.
    NotInVersion(&'static str, i16),
    /// This version of the message is not known here.
    Version(&'static str, i16),
}

impl EncodeError {
    #[cold]
    pub(crate) fn new(refusal: Refusal) -> EncodeError {
        EncodeError(Box::new(refusal))
    }

    /// What was refused.
    pub fn refusal(&self) -> &Refusal {
        &self.0
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Refusal::TooLong(n) => write!(f, "{n} is more than a length field of the protocol can say"),
            Refusal::Null(field) => write!(f, "{field} is null, which this version does not allow"),
            Refusal::NotInVersion(field, v) => write!(f, "{field} is set, which version {v} cannot carry"),
            Refusal::Version(message, v) => write!(f, "version {v} of {message} is not known"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Walks over one frame.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
    end: usize,
    /// How many elements of lists may still be read.
    elements: usize,
}

macro_rules! fixed {
    ($($(#[$doc:meta])* $get:ident $put:ident $type:ty;)*) => {
        impl Reader {$(
            $(#[$doc])*
            #[inline]
            pub fn $get(&mut self) -> Result<$type, DecodeError> {
                Ok(<$type>::from_be_bytes(self.array()?))
            }
        )*}
        impl Writer {$(
            $(#[$doc])*
            #[inline]
            pub fn $put(&mut self, value: $type) {
                self.buffer.extend_from_slice(&value.to_be_bytes());
            }
        )*}
    };
}

fixed! {
    /// One signed byte.
    i8 put_i8 i8;
    /// Two bytes, big-endian.
    i16 put_i16 i16;
    /// Two bytes without a sign.
    u16 put_u16 u16;
    /// Four bytes.
    i32 put_i32 i32;
    /// Four bytes without a sign.
    u32 put_u32 u32;
    /// Eight bytes.
    i64 put_i64 i64;
    /// A floating-point number of eight bytes.
    f64 put_f64 f64;
}

impl Reader {
    /// Starts at the first of `bytes`.
    pub fn new(bytes: Bytes) -> Reader {
        Reader::with_elements(bytes, usize::MAX)
    }

    /// The same, for so many elements in all lists together: a byte on the wire may be a structure in memory.
    pub fn with_elements(bytes: Bytes, elements: usize) -> Reader {
        let end = bytes.len();
        Reader { bytes, at: 0, end, elements }
    }

    /// Sets how many elements of lists may be read from here on.
    pub fn allow_elements(&mut self, elements: usize) {
        self.elements = elements;
    }

    /// How many bytes are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.end - self.at
    }

    /// How many bytes were read.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// What is left, as a slice of the frame.
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..self.end)
    }

    /// Refuses bytes that follow the last field.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            n => Err(self.fault(Reason::Trailing(n))),
        }
    }

    /// An error at this place.
    #[cold]
    pub(crate) fn fault(&self, reason: Reason) -> DecodeError {
        DecodeError::new(reason, self.at)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&[u8], DecodeError> {
        if len > self.left() {
            return Err(self.fault(Reason::Short { needed: len, left: self.left() }));
        }
        let from = self.at;
        self.at += len;
        Ok(&self.bytes[from..self.at])
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte without a sign.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A byte that is zero for false.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.array()?))
    }

    /// An unsigned variable-length integer of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fault(Reason::Varint))
    }

    /// A signed (zigzag) variable-length integer of at most 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A signed (zigzag) variable-length integer of at most 64 bits.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let mut raw = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(self.fault(Reason::Varint))
    }

    /// The next `len` bytes, shared with the frame.
    pub fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let from = self.at;
        self.take(len)?;
        Ok(self.bytes.slice(from..from + len))
    }

    /// Skips `len` bytes.
    pub fn skip(&mut self, len: usize) -> Result<(), DecodeError> {
        self.take(len).map(|_| ())
    }

    /// The length before a list or byte string; none for null.
    pub fn length(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        if compact {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        match self.i32()? {
            -1 => Ok(None),
            n => usize::try_from(n).map(Some).map_err(|_| self.fault(Reason::Length(n.into()))),
        }
    }

    /// A string, or null. Malformed UTF-8 is replaced and not refused, as Kafka does.
    pub fn nullable_string(&mut self, compact: bool) -> Result<Option<String>, DecodeError> {
        let len = if compact {
            match (self.uvarint()? as usize).checked_sub(1) {
                None => return Ok(None),
                Some(n) if n > STRING_MAX => return Err(self.fault(Reason::Length(n as i64))),
                Some(n) => n,
            }
        } else {
            match self.i16()? {
                -1 => return Ok(None),
                n => usize::try_from(n).map_err(|_| self.fault(Reason::Length(n.into())))?,
            }
        };
        let bytes = self.take(len)?;
        Ok(Some(match std::str::from_utf8(bytes) {
            Ok(s) => s.to_owned(),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        }))
    }

    /// A string.
    pub fn string(&mut self, compact: bool) -> Result<String, DecodeError> {
        self.nullable_string(compact)?.ok_or_else(|| self.fault(Reason::Null))
    }

    /// A byte string shared with the frame, or null.
    pub fn nullable_bytes(&mut self, compact: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(compact)? {
            None => Ok(None),
            Some(len) => self.slice(len).map(Some),
        }
    }

    /// How many elements a list has; none for null. Refused at once if so many elements of at least
    /// `smallest` bytes cannot follow, or are more than the reader takes.
    pub fn elements(&mut self, compact: bool, smallest: usize) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(compact)? else { return Ok(None) };
        let needed = count.saturating_mul(smallest.max(1));
        if needed > self.left() {
            return Err(self.fault(Reason::Short { needed, left: self.left() }));
        }
        match self.elements.checked_sub(count) {
            Some(elements) => self.elements = elements,
            None => return Err(self.fault(Reason::Elements { count, allowed: self.elements })),
        }
        Ok(Some(count))
    }

    /// Walks over a section of tagged fields. `known` reads the field of a tag that it knows and says true, or
    /// reads nothing and says false; then the field is skipped.
    pub fn tags(
        &mut self,
        known: &mut dyn FnMut(u32, &mut Reader) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let len = self.uvarint()? as usize;
            if len > self.left() {
                return Err(self.fault(Reason::Short { needed: len, left: self.left() }));
            }
            let (outer, end) = (self.end, self.at + len);
            self.end = end;
            let read = known(tag, self);
            self.end = outer;
            match read? {
                true if self.at != end => return Err(self.fault(Reason::Trailing(end - self.at))),
                true => {}
                false => self.at = end,
            }
        }
        Ok(())
    }
}

/// Appends to a buffer that grows.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    /// Shared slices, each with the place in `buffer` before which it goes.
    splices: Vec<(usize, Bytes)>,
    spliced: usize,
    /// How many tagged fields enclose what is written now; their sizes are known afterwards, so nothing is
    /// spliced in there.
    tagged: usize,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { buffer: Vec::with_capacity(capacity), ..Writer::default() }
    }

    /// How many bytes were written, with those spliced in.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.spliced
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends shared bytes: long ones by reference, short ones as a copy.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SPLICE_MIN || self.tagged > 0 {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.spliced += bytes.len();
            self.splices.push((self.buffer.len(), bytes.clone()));
        }
    }

    /// One for true, zero for false.
    pub fn put_bool(&mut self, value: bool) {
        self.put_i8(value.into());
    }

    /// Sixteen bytes.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.0);
    }

    /// An unsigned variable-length integer.
    pub fn put_uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// A signed (zigzag) variable-length integer.
    pub fn put_varint(&mut self, value: i32) {
        self.put_uvarint(((value << 1) ^ (value >> 31)) as u32);
    }

    /// A signed (zigzag) variable-length integer of up to 64 bits.
    #[inline]
    pub fn put_varlong(&mut self, value: i64) {
        let mut raw = ((value << 1) ^ (value >> 63)) as u64;
        while raw >= 0x80 {
            self.buffer.push(raw as u8 | 0x80);
            raw >>= 7;
        }
        self.buffer.push(raw as u8);
    }

    /// The length before a list or byte string; none for null.
    pub fn put_length(&mut self, len: Option<usize>, compact: bool) -> Result<(), EncodeError> {
        let n = match len {
            None => -1,
            Some(n) => match i32::try_from(n) {
                Ok(n) if n < i32::MAX => n,
                _ => return Err(EncodeError::new(Refusal::TooLong(n))),
            },
        };
        if compact {
            self.put_uvarint((n + 1) as u32)
        } else {
            self.put_i32(n)
        }
        Ok(())
    }

    /// A string, or null.
    pub fn put_nullable_string(&mut self, value: Option<&str>, compact: bool) -> Result<(), EncodeError> {
        let len = match value.map(str::len) {
            None => -1,
            Some(n) if n > STRING_MAX => return Err(EncodeError::new(Refusal::TooLong(n))),
            Some(n) => n as i16,
        };
        if compact {
            self.put_uvarint((len + 1) as u32)
        } else {
            self.put_i16(len)
        }
        self.put_slice(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// A byte string, or null.
    pub fn put_nullable_bytes(&mut self, value: Option<&Bytes>, compact: bool) -> Result<(), EncodeError> {
        self.put_length(value.map(Bytes::len), compact)?;
        if let Some(bytes) = value {
            self.put_shared(bytes);
        }
        Ok(())
    }

    /// A tagged field: its number, its size and what `field` writes.
    pub fn put_tagged(
        &mut self,
        tag: u32,
        field: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.put_uvarint(tag);
        let start = self.buffer.len();
        self.tagged += 1;
        let written = field(self);
        self.tagged -= 1;
        written?;
        let end = self.buffer.len();
        let size = u32::try_from(end - start).map_err(|_| EncodeError::new(Refusal::TooLong(end - start)))?;
        self.put_uvarint(size);
        self.buffer[start..].rotate_right(uvarint_len(size));
        Ok(())
    }

    /// Sets four bytes that were written with [`Writer::put_i32`] at `at`, counted without what was spliced in.
    pub(crate) fn patch_i32(&mut self, at: usize, value: i32) {
        self.buffer[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// What was written, as slices in order; long shared bytes are among them as they were given.
    pub fn into_slices(self) -> Vec<Bytes> {
        let buffer = Bytes::from(self.buffer);
        let mut slices = Vec::with_capacity(2 * self.splices.len() + 1);
        let mut cut = 0;
        for (at, bytes) in self.splices {
            if at > cut {
                slices.push(buffer.slice(cut..at));
                cut = at;
            }
            slices.push(bytes);
        }
        if cut < buffer.len() {
            slices.push(buffer.slice(cut..));
        }
        slices
    }

    /// What was written, in one piece; copied if shared bytes were spliced in.
    pub fn into_bytes(self) -> Bytes {
        match self.splices.is_empty() {
            true => self.buffer.into(),
            false => self.into_slices().concat().into(),
        }
    }
}

/// How many bytes `value` takes as an unsigned variable-length integer.
pub fn uvarint_len(value: u32) -> usize {
    (32 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// How many bytes `value` takes as a signed variable-length integer.
pub fn varlong_len(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros()).div_ceil(7) as usize
}

/// Record batches as they lie in memory: several slices that follow one another.
///
/// A reader gets them as one slice of its frame; a broker that answers from its log puts in what it has, and no
/// byte is copied on the way to the socket.
#[derive(Clone, Debug, Default)]
pub struct Records {
    slices: Vec<Bytes>,
}

impl Records {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(Bytes::is_empty)
    }

    /// The slices in order.
    pub fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// One slice with everything: shared where there is one slice only, else copied.
    pub fn to_bytes(&self) -> Bytes {
        match &self.slices[..] {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records { slices: vec![bytes] }
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(slices: Vec<Bytes>) -> Records {
        Records { slices }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Records) -> bool {
        self.len() == other.len() && self.slices.iter().flatten().eq(other.slices.iter().flatten())
    }
}

#[cfg(test)]
mod tests;
