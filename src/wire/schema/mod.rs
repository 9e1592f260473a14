//! The one table of Kafka's messages, and what is made from its rows.
//!
//! A row of the table is a structure; its kind says what it is:
//!
//! ```text
//! request  FetchRequest(Fetch -> FetchResponse) { ... }
//! response FetchResponse(Fetch) { ... }
//! part     FetchTopic(FetchRequest) { ... }
//! record   TopicRecord(key 2, versions 0..=0, flexible 0..) { ... }
//! data     EndTxnMarker(versions 0..=0, flexible 1..) { ... }
//! ```
//!
//! and each of its fields is a line:
//!
//! ```text
//! name: Type, versions [, null versions] [, default value] [, tag number] [, else ignore];
//! ```
//!
//! - `versions` is the range of versions that have the field, `..` for all of them. In others a reader sets the
//!   default; a writer that finds anything else than the default refuses, unless the line says `else ignore`.
//! - `null` names the versions in which an `Option` may be none. In others it is written as a plain value.
//! - `default` is the value of a field that was not sent, where it is not the type's own.
//! - `tag` makes it a tagged field, sent only where it differs from the default. Tags stand in rising order.
//!
//! From these come the structure (with `Clone`, `Debug`, `Default` and `PartialEq`), `decode` and `encode` for any
//! version, and a description of the fields ([`Kind`]) for tools and tests. Which versions a message has, and from
//! which on it is flexible, is written once per API, in [`super::api`]. Unknown tagged fields are skipped.

#[macro_use]
mod table;

mod brokers;
mod configs;
mod consumer_groups;
mod control_records;
mod forms;
mod group_records;
mod groups;
mod log_dirs;
mod metadata;
mod metadata_records;
mod produce_fetch;
mod quorum;
mod security;
mod share_group_records;
mod share_groups;
mod share_records;
mod share_state;
mod streams_group_records;
mod streams_groups;
mod topics;
mod transaction_records;
mod transactions;

pub use brokers::*;
pub use configs::*;
pub use consumer_groups::*;
pub use control_records::*;
pub use group_records::*;
pub use groups::*;
pub use log_dirs::*;
pub use metadata::*;
pub use metadata_records::*;
pub use produce_fetch::*;
pub use quorum::*;
pub use security::*;
pub use share_group_records::*;
pub use share_groups::*;
pub use share_records::*;
pub use share_state::*;
pub use streams_group_records::*;
pub use streams_groups::*;
pub use topics::*;
pub use transaction_records::*;
pub use transactions::*;

use std::ops::{RangeBounds, RangeInclusive};

use bytes::Bytes;

use super::api::ApiKey;
use super::codec::{DecodeError, EncodeError, Reader, Reason, Refusal, Writer};

/// The version of a message that is being read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: i16,
    /// Whether it has compact lengths and tagged fields.
    pub flexible: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A signed byte.
    I8,
    /// Two bytes.
    I16,
    /// Two bytes without a sign.
    U16,
    /// Four bytes.
    I32,
    /// Four bytes without a sign.
    U32,
    /// Eight bytes.
    I64,
    /// A floating-point number.
    F64,
    /// Sixteen bytes.
    Uuid,
    /// A string.
    String,
    /// A byte string.
    Bytes,
    /// Record batches.
    Records,
    /// A list.
    List(&'static Kind),
    /// A structure.
    Struct(&'static [Field]),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Kafka's name in snake case.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether a version has it.
    pub present: fn(i16) -> bool,
    /// Whether it may be null in a version.
    pub nullable: fn(i16) -> bool,
    /// Its number, for a tagged field.
    pub tag: Option<u32>,
    /// The table's text of its default; empty where that is the type's own.
    pub default: &'static str,
}

/// One message of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Kafka's name.
    pub name: &'static str,
    /// Whether it is a request, a response or a record.
    pub role: Role,
    /// The lowest and the highest version.
    pub versions: (i16, i16),
    /// The first version that is flexible.
    pub flexible: i16,
    /// Its fields.
    pub fields: &'static [Field],
    /// Reads a message of the given version that fills the bytes, and writes it again.
    pub again: fn(Bytes, i16) -> Result<Bytes, Fault>,
}

/// What a message of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A request of this API.
    Request(ApiKey),
    /// The answer of this API.
    Response(ApiKey),
    /// A record of a log, with its number among the records of its kind.
    Record(i16),
    /// Something that stands inside another message.
    Data,
}

/// Why a message could not be read and written again.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It could not be read.
    Decode(DecodeError),
    /// It could not be written.
    Encode(EncodeError),
}

/// What can be a field. Lengths are compact, and structures end with tagged fields, in flexible versions.
pub trait Wire: Default {
    /// Its description.
    const KIND: Kind;
    /// No value takes fewer bytes than this.
    fn smallest(v: Version) -> usize;
    /// Reads a value over the default that is there.
    fn fill(&mut self, r: &mut Reader, v: Version) -> Result<(), DecodeError>;
    /// Writes a value.
    fn write(&self, w: &mut Writer, v: Version) -> Result<(), EncodeError>;

    /// Reads a value or null, over a null.
    fn fill_nullable(this: &mut Option<Self>, r: &mut Reader, v: Version) -> Result<(), DecodeError> {
        if r.i8()? < 0 { Ok(()) } else { this.insert(Self::default()).fill(r, v) }
    }

    /// Writes a value or null.
    fn write_nullable(this: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        w.put_i8(if this.is_some() { 1 } else { -1 });
        this.map_or(Ok(()), |value| value.write(w, v))
    }
}

/// A whole message: a request, a response or a record.
pub trait Message: Wire + Clone + std::fmt::Debug + Default + PartialEq {
    /// Kafka's name.
    const NAME: &'static str;
    /// The versions that can be read and written.
    fn versions() -> RangeInclusive<i16>;
    /// The first version that is flexible; past the last one if none is.
    fn flexible_from() -> i16;

    /// Reads a message of this version. Bytes after its end are left in the reader.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::versions().contains(&version) {
            return Err(r.fault(Reason::Version(version)).within(Self::NAME));
        }
        let mut message = Self::default();
        message.fill(r, Version { number: version, flexible: version >= Self::flexible_from() })?;
        Ok(message)
    }

    /// Writes the message in this version.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::versions().contains(&version) {
            return Err(EncodeError::new(Refusal::Version(Self::NAME, version)));
        }
        self.write(w, Version { number: version, flexible: version >= Self::flexible_from() })
    }
}

/// A request of one API.
pub trait Request: Message {
    /// Which API.
    const API: ApiKey;
    /// What answers it.
    type Response: Response;
}

/// The answer of one API.
pub trait Response: Message {
    /// Which API.
    const API: ApiKey;
}

/// A record of a log that is written with its own number and version before it.
pub trait Record: Message {
    /// The number, unique among the records of its kind.
    const KEY: i16;
}

/// Whether a version is in a range.
#[inline]
fn within(versions: impl RangeBounds<i16>, v: Version) -> bool {
    versions.contains(&v.number)
}

/// The same for a bare number.
fn has(versions: impl RangeBounds<i16>, number: i16) -> bool {
    versions.contains(&number)
}

/// Whether a field is worth writing.
#[inline]
fn differs<T: PartialEq>(value: &T, default: T) -> bool {
    *value != default
}

#[cold]
fn not_in_version(field: &'static str, v: Version) -> EncodeError {
    EncodeError::new(Refusal::NotInVersion(field, v.number))
}

/// Reads a field that is null in some versions only.
#[inline]
fn fill_option<T: Wire>(
    this: &mut Option<T>,
    r: &mut Reader,
    v: Version,
    nullable: bool,
) -> Result<(), DecodeError> {
    *this = None;
    if nullable { T::fill_nullable(this, r, v) } else { this.insert(T::default()).fill(r, v) }
}

/// Writes a field that is null in some versions only.
#[inline]
fn write_option<T: Wire>(
    value: &Option<T>,
    w: &mut Writer,
    v: Version,
    nullable: bool,
    name: &'static str,
) -> Result<(), EncodeError> {
    match value {
        _ if nullable => T::write_nullable(value.as_ref(), w, v),
        Some(value) => value.write(w, v),
        None => Err(EncodeError::new(Refusal::Null(name))),
    }
}

/// Reads a message that fills `bytes`, and writes it again.
fn again<M: Message>(bytes: Bytes, version: i16) -> Result<Bytes, Fault> {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, version).map_err(Fault::Decode)?;
    r.finish().map_err(|e| Fault::Decode(e.within(M::NAME)))?;
    let mut w = Writer::new();
    message.encode(&mut w, version).map_err(Fault::Encode)?;
    Ok(w.into_bytes())
}

/// Describes a message.
fn entry<M: Message>(role: Role) -> Entry {
    let Kind::Struct(fields) = M::KIND else { unreachable!("a message is a structure") };
    Entry {
        name: M::NAME,
        role,
        versions: M::versions().into_inner(),
        flexible: M::flexible_from(),
        fields,
        again: again::<M>,
    }
}

/// Every message of the table. Inlined, so that a program that does not ask for it does not carry it.
#[inline]
pub fn all() -> impl Iterator<Item = Entry> {
    std::iter::empty()
        .chain(brokers::entries())
        .chain(configs::entries())
        .chain(consumer_groups::entries())
        .chain(control_records::entries())
        .chain(group_records::entries())
        .chain(groups::entries())
        .chain(log_dirs::entries())
        .chain(metadata::entries())
        .chain(metadata_records::entries())
        .chain(produce_fetch::entries())
        .chain(quorum::entries())
        .chain(security::entries())
        .chain(share_group_records::entries())
        .chain(share_groups::entries())
        .chain(share_records::entries())
        .chain(share_state::entries())
        .chain(streams_group_records::entries())
        .chain(streams_groups::entries())
        .chain(topics::entries())
        .chain(transaction_records::entries())
        .chain(transactions::entries())
}
