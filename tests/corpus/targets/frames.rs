//! Requests, as a connection reads them: frames one after the other, each with its header and its body.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use ottla::limits::{FRAME_MAX, REQUEST_GROWTH};
use ottla::wire::api::{ApiKey, RequestHeader};
use ottla::wire::codec::{Reader, Writer};
use ottla::wire::schema::{self, Entry, Fault, Role};

use super::memory;

static REQUESTS: LazyLock<BTreeMap<ApiKey, Entry>> = LazyLock::new(|| {
    let request = |entry: Entry| match entry.role {
        Role::Request(api) => Some((api, entry)),
        _ => None,
    };
    schema::all().filter_map(request).collect()
});

/// Any bytes as what a client sends.
pub fn run(mut bytes: &[u8]) {
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return };
        if length > FRAME_MAX || length > rest.len() {
            return;
        }
        let (frame, after) = rest.split_at(length);
        bytes = after;
        request(Bytes::copy_from_slice(frame));
    }
}

fn request(frame: Bytes) {
    LazyLock::force(&REQUESTS);
    let limit = frame.len() * REQUEST_GROWTH + (16 << 10);
    let mut reader = Reader::new(frame);
    let Ok(header) = memory::within(limit, || RequestHeader::decode(&mut reader)) else { return };
    header_again(&header);
    let entry = &REQUESTS[&header.api];
    let (lowest, highest) = entry.versions;
    assert_eq!(lowest..=highest, header.api.versions());
    again(entry, reader.rest(), header.version, limit);
}

fn header_again(header: &RequestHeader) {
    let mut writer = Writer::new();
    match header.encode(&mut writer) {
        Ok(()) => {
            let read = RequestHeader::decode(&mut Reader::new(writer.into_bytes()));
            assert_eq!(read.as_ref(), Ok(header));
        }
        // What replaces malformed text takes more bytes.
        Err(_) => assert!(header.client_id.as_ref().is_some_and(|id| id.len() > i16::MAX as usize)),
    }
}

/// What can be read can be written, and reads back as the same; within so many bytes of memory.
pub fn again(entry: &Entry, bytes: Bytes, version: i16, limit: usize) {
    let first = match memory::within(limit, || (entry.again)(bytes.clone(), version)) {
        Ok(first) => first,
        Err(Fault::Decode(why)) => return drop(why.to_string()),
        Err(Fault::Encode(why)) => {
            // What replaces malformed text takes more bytes.
            assert!(bytes.len() > i16::MAX as usize / 3, "{} {version}: {why}: {bytes:?}", entry.name);
            return;
        }
    };
    let second = (entry.again)(first.clone(), version);
    assert_eq!(second.as_ref(), Ok(&first), "{} {version}: {bytes:?}", entry.name);
}
