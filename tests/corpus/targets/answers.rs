//! Answers as clients read them, and every other message and record of the table.

use std::sync::LazyLock;

use bytes::Bytes;
use ottla::limits::REQUEST_GROWTH;
use ottla::wire::api::ResponseHeader;
use ottla::wire::codec::{Reader, Writer};
use ottla::wire::metadata_record::MetadataRecord;
use ottla::wire::schema::{self, Entry, Role};

use super::frames::again;
use super::input::Input;
use super::memory;

static MESSAGES: LazyLock<Vec<Entry>> = LazyLock::new(|| schema::all().collect());

/// Two bytes say which message, one which version; 0xffff is a record of the metadata log in its frame.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let which = input.u16();
    if which == u16::MAX {
        return metadata_record(input.rest());
    }
    let entry = &MESSAGES[usize::from(which) % MESSAGES.len()];
    // One version more on either side.
    let version = i16::from(input.u8()) % (entry.versions.1 - entry.versions.0 + 3) + entry.versions.0 - 1;
    let bytes = Bytes::copy_from_slice(input.rest());
    let limit = bytes.len() * REQUEST_GROWTH + (16 << 10);
    let Role::Response(api) = entry.role else { return again(entry, bytes, version, limit) };
    let mut reader = Reader::new(bytes);
    let Ok(header) = memory::within(limit, || ResponseHeader::decode(&mut reader, api, version)) else {
        return;
    };
    let mut writer = Writer::new();
    header.encode(&mut writer, api, version);
    assert_eq!(ResponseHeader::decode(&mut Reader::new(writer.into_bytes()), api, version), Ok(header));
    again(entry, reader.rest(), version, limit);
}

fn metadata_record(bytes: &[u8]) {
    let Ok(record) = MetadataRecord::decode(&mut Reader::new(Bytes::copy_from_slice(bytes))) else { return };
    let mut writer = Writer::new();
    // It is written in the highest version, which may not have what an older one had.
    if record.encode(&mut writer).is_err() {
        return;
    }
    let first = writer.into_bytes();
    let read = MetadataRecord::decode(&mut Reader::new(first.clone())).expect("it was just written");
    assert_eq!(read.name(), record.name());
    let mut writer = Writer::new();
    read.encode(&mut writer).expect("it was written before");
    assert_eq!(writer.into_bytes(), first, "{record:?}");
}
