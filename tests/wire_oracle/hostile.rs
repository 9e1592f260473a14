//! Hostile bytes: no decoder panics, and none takes more memory than a small multiple of what it was given.

use bytes::Bytes;
use ottla::wire::api::RequestHeader;
use ottla::wire::batch::{self, Batch, BatchBuilder, Compression};
use ottla::wire::codec::Reader;
use ottla::wire::metadata_record::MetadataRecord;
use ottla::wire::schema::Entry;

use crate::generate::{Chance, all_versions, message};
use crate::memory::peak;

/// A byte of a flexible message may stand for a whole list element with several empty fields; errors and the
/// writer's first buffer take a little in any case.
fn allowed(input: usize) -> usize {
    FACTOR * input + 2048
}

const FACTOR: usize = 32;

/// Feeds the bytes to the decoder of a message (and, if they are one, to its encoder).
fn feed(entry: &Entry, version: i16, bytes: &[u8]) -> f64 {
    let input = Bytes::copy_from_slice(bytes);
    let (_, peak) = peak(|| (entry.again)(input, version));
    assert!(
        peak <= allowed(bytes.len()),
        "{} version {version} held {peak} bytes for {}: {bytes:02x?}",
        entry.name,
        bytes.len()
    );
    peak as f64 / bytes.len().max(64) as f64
}

/// Forms of lengths that claim far more than can follow.
const CLAIMS: [&[u8]; 5] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0, 0, 0],
    &[0x7f, 0xff],
];

#[test]
fn truncated_and_changed_messages() {
    let mut chance = Chance(1);
    let mut worst = 0f64;
    for (entry, version) in all_versions() {
        let good = message(&entry, version, &mut chance);
        for _ in 0..40 {
            let cut = chance.below(good.len() as u64 + 1) as usize;
            worst = worst.max(feed(&entry, version, &good[..cut]));
            let mut bad = good.clone();
            for _ in 0..=chance.below(3) {
                if let Some(at) = (!bad.is_empty()).then(|| chance.below(bad.len() as u64) as usize) {
                    bad[at] = chance.next() as u8;
                }
            }
            worst = worst.max(feed(&entry, version, &bad));
            let mut bad = good.clone();
            let claim = CLAIMS[chance.below(5) as usize];
            let at = chance.below(good.len() as u64 + 1) as usize;
            bad.splice(at..(at + claim.len()).min(good.len()), claim.iter().copied());
            worst = worst.max(feed(&entry, version, &bad));
        }
    }
    assert!(worst > 1.0, "the memory was not counted");
}

#[test]
fn bytes_by_chance() {
    let mut chance = Chance(2);
    for (entry, version) in all_versions() {
        for len in [0, 1, 2, 5, 17, 100, 400] {
            for small in [false, true] {
                let mut bytes = chance.bytes(len);
                if small {
                    // Small numbers make more lengths that are believed.
                    bytes.iter_mut().for_each(|b| *b %= 4);
                }
                feed(&entry, version, &bytes);
            }
        }
    }
}

#[test]
fn a_list_of_as_many_empty_elements_as_fit() {
    // The worst that a valid message can do: all bytes are elements with nothing in them.
    for (entry, version) in all_versions() {
        let flexible = version >= entry.flexible;
        for fill in [0u8, 1] {
            let mut bytes = vec![fill; 40_000];
            if flexible {
                // Everywhere a count of about 16,000 in two bytes may begin.
                for at in [0, 1, 2, 4, 8, 16] {
                    let mut bytes = bytes.clone();
                    bytes[at..at + 3].copy_from_slice(&[0x80, 0x80, 0x01]);
                    feed(&entry, version, &bytes);
                }
            }
            bytes[..4].copy_from_slice(&1000i32.to_be_bytes());
            feed(&entry, version, &bytes);
        }
    }
}

#[test]
fn headers_and_metadata_records() {
    let mut chance = Chance(3);
    for i in 0..20_000 {
        let mut bytes = chance.bytes(chance.0 as usize % 60);
        if i % 2 == 0 && bytes.len() > 4 {
            // A known API, or a known frame, kind and version.
            bytes[..3].copy_from_slice(&[if i % 4 == 0 { 0 } else { 1 }, chance.below(30) as u8, 0]);
        }
        let input = Bytes::copy_from_slice(&bytes);
        let (_, peak) = peak(|| {
            let header = RequestHeader::decode(&mut Reader::new(input.clone()));
            (header, MetadataRecord::decode(&mut Reader::new(input)))
        });
        assert!(peak <= allowed(bytes.len()), "{peak} bytes held for {bytes:02x?}");
    }
}

/// Everything that can be read of batches.
fn read_all(bytes: &[u8], limit: usize) {
    for batch in batch::batches(bytes).flatten() {
        let _ = (batch.check(), batch.check_from_client(), batch.last_sequence(), batch.last_offset());
        if let Ok(records) = batch.open(limit) {
            for record in records.iter().flatten() {
                record.headers.for_each(drop);
            }
        }
    }
}

#[test]
fn changed_batches() {
    let mut chance = Chance(4);
    let limit = 64 << 10;
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new().compression(compression);
        for i in 0..20 {
            let value = vec![b'v'; chance.below(60) as usize];
            builder.append(i, Some(b"key"), Some(&value), &[("h", Some(b"1")), ("i", None)]);
        }
        let good = builder.build().unwrap();
        for _ in 0..4000 {
            let mut bad = [&good[..], &good[..]].concat();
            for _ in 0..=chance.below(4) {
                let at = chance.below(bad.len() as u64) as usize;
                bad[at] = chance.next() as u8;
            }
            bad.truncate(bad.len() - chance.below(40) as usize);
            let (_, peak) = peak(|| read_all(&bad, limit));
            // The decompressed records twice while their buffer grows, and what a decoder needs: an LZ4 block of
            // up to 4 MiB twice, as its header asks.
            assert!(peak <= 2 * limit + (9 << 20), "{compression}: {peak} bytes held");
        }
        for payload in [&b""[..], &[0xff; 40], &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1]] {
            let header = Batch::first(&good).unwrap().header();
            read_all(&header.write(payload), limit);
        }
    }
}
