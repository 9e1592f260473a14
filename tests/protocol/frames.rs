//! Frames that are no requests.

use std::net::Shutdown;

use ottla::wire::api::{ApiKey, read_response};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, Role, all};

use crate::bystander::Bystander;
use crate::generate::{Chance, message};
use crate::raw::{Raw, frame, header, request};
use crate::target::Target;

/// What the broker advertises: each API with its versions.
pub fn advertised(target: &Target) -> Vec<(ApiKey, Vec<i16>)> {
    let asked = frame(&request(&ApiVersionsRequest::default(), 0));
    let answer = Raw::connect(&target.address).ask(&asked).unwrap();
    let (_, answer) = read_response::<ApiVersionsResponse>(answer, 0).unwrap();
    assert_eq!(answer.error_code, ErrorCode::NONE);
    let known = answer.api_keys.iter().filter_map(|key| {
        let api = ApiKey::from_number(key.api_key)?;
        let versions = (key.min_version..=key.max_version).filter(|version| api.versions().contains(version));
        Some((api, versions.collect()))
    });
    let known: Vec<_> = known.collect();
    assert!(known.len() > 5);
    known
}

/// A request of this API in this version, with contents by chance.
pub fn by_chance(api: ApiKey, version: i16, chance: &mut Chance) -> Vec<u8> {
    let entry = all().find(|entry| entry.role == Role::Request(api)).expect("the table has all requests");
    [header(api, version), message(&entry, version, chance)].concat()
}

#[test]
fn random_bytes_are_answered_or_end_the_connection() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let memory = target.watch_memory();
    let mut chance = Chance(1);
    for round in 0..400 {
        let mut bytes = match round % 4 {
            0 => chance.bytes(1 + round),
            1 => frame(&chance.bytes(round)),
            2 => [header(ApiKey::Metadata, (round % 14) as i16), chance.bytes(round)].concat(),
            _ => vec![chance.next() as u8; round],
        };
        if round % 4 == 2 {
            bytes = frame(&bytes);
        }
        let mut raw = Raw::connect(&target.address);
        raw.send(&bytes);
        raw.finish();
    }
    bystander.end();
    memory.check(10);
}

#[test]
fn lengths_that_no_frame_has_end_the_connection() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let max = 100 << 20;
    for length in [-1, i32::MIN, -2, i32::MAX, max + 1] {
        let mut raw = Raw::connect(&target.address);
        raw.send(&length.to_be_bytes());
        assert!(raw.is_closed(), "{length}");
    }
    // Shorter than a header.
    for length in 0..8 {
        let mut raw = Raw::connect(&target.address);
        raw.send(&frame(&vec![0; length]));
        assert!(raw.is_closed(), "{length}");
    }
    for other in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"PUT /x"]
    {
        let mut raw = Raw::connect(&target.address);
        raw.send(other);
        assert!(raw.is_closed());
    }
    bystander.end();
}

#[test]
fn a_frame_larger_than_allowed_ends_the_connection_before_it_is_read() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let memory = target.watch_memory();
    for _ in 0..20 {
        let mut raw = Raw::connect(&target.address);
        raw.send(&((100 << 20) + 1i32).to_be_bytes());
        // As much of it as the broker takes.
        let body = vec![0; 1 << 20];
        for _ in 0..100 {
            if !raw.send(&body) {
                break;
            }
        }
        assert!(raw.is_closed());
    }
    bystander.end();
    memory.check(10);
}

/// Each request in its first and its last version, ended at each byte: within its frame, and with the frame.
#[test]
fn every_prefix_of_a_request_ends_the_connection() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let mut chance = Chance(2);
    for (api, versions) in advertised(&target) {
        for version in [versions[0], versions[versions.len() - 1]] {
            let whole = loop {
                let whole = by_chance(api, version, &mut chance);
                if whole.len() < 300 {
                    break whole;
                }
            };
            for len in 0..whole.len() {
                let mut shorter = Raw::connect(&target.address);
                shorter.send(&frame(&whole[..len]));
                assert!(shorter.is_closed(), "{api} {version}: {len} of {} bytes", whole.len());

                let mut cut = Raw::connect(&target.address);
                let bytes = frame(&whole);
                cut.send(&bytes[..len]);
                cut.stream.shutdown(Shutdown::Write).unwrap();
                assert!(cut.is_closed(), "{api} {version}: {len} of {} bytes", bytes.len());
            }
        }
    }
    bystander.end();
}

#[test]
fn what_is_not_served_ends_the_connection() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let start = |api: i16, version: i16| [api.to_be_bytes(), version.to_be_bytes()].concat();
    let mut unknown: Vec<(i16, i16)> = [-1, -32768, 93, 500, 999, i16::MAX].map(|api| (api, 0)).to_vec();
    let served = advertised(&target);
    let not_served = |api: &&ApiKey| !served.iter().any(|(served, _)| served == *api);
    unknown.extend(ApiKey::ALL.iter().filter(not_served).map(|api| (api.number(), *api.versions().end())));
    for (api, versions) in &served {
        for version in [i16::MIN, -1, versions[versions.len() - 1] + 1, 1000, i16::MAX] {
            if *api != ApiKey::ApiVersions {
                unknown.push((api.number(), version));
            }
        }
    }
    for (api, version) in unknown {
        let mut raw = Raw::connect(&target.address);
        raw.send(&frame(&[&start(api, version)[..], b"\0\0\0\x07\0\x01t\0\0\0\0\0\0\0\0\0\0"].concat()));
        assert!(raw.is_closed(), "API {api}, version {version}");
    }
    bystander.end();
}

#[test]
fn an_unknown_version_of_api_versions_is_told_what_is_known() {
    let target = Target::start();
    for version in [5i16, 6, 99, i16::MAX, -1] {
        let mut raw = Raw::connect(&target.address);
        let asked = [&b"\0\x12"[..], &version.to_be_bytes(), b"\0\0\0\x09\0\x01t\0whatever"].concat();
        let answer = raw.ask(&frame(&asked)).unwrap_or_else(|| panic!("version {version}"));
        let (id, answer) = read_response::<ApiVersionsResponse>(answer, 0).unwrap();
        assert_eq!((id, answer.error_code), (9, ErrorCode::UNSUPPORTED_VERSION));
        let keys: Vec<_> =
            answer.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version)).collect();
        assert_eq!(keys, [(18, 0, 4)]);
        assert!(raw.is_served(), "and the connection goes on");
    }
}

#[test]
fn bytes_behind_a_request_are_let_pass() {
    let target = Target::start();
    for version in [0, 4, 9, 12] {
        let mut raw = Raw::connect(&target.address);
        let asked = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        let asked = [request(&asked, version), b"more than it needs".to_vec()].concat();
        assert!(raw.ask(&frame(&asked)).is_some() && raw.is_served(), "{version}");
    }
}

#[test]
fn what_came_before_a_bad_frame_is_answered() {
    let target = Target::start();
    let good = frame(&request(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, 9));
    let mut raw = Raw::connect(&target.address);
    raw.send(&[&good[..], &good, b"\xff\xff\xff\xff", &good].concat());
    assert_eq!(
        [raw.receive().is_some(), raw.receive().is_some(), raw.receive().is_some()],
        [true, true, false]
    );
}

/// What a connection took is given back when it ends.
#[test]
fn memory_does_not_grow_with_the_number_of_bad_clients() {
    let target = Target::start();
    let served = advertised(&target);
    let mut chance = Chance(8);
    let mut round = || {
        for number in 0..4_000 {
            let (api, versions) = &served[number % served.len()];
            let version = versions[chance.below(versions.len() as u64) as usize];
            let mut bytes = frame(&by_chance(*api, version, &mut chance));
            if number % 3 > 0 {
                bytes.truncate(chance.below(bytes.len() as u64) as usize);
            }
            let mut raw = Raw::connect(&target.address);
            raw.send(&bytes);
            raw.finish();
        }
        target.watch_memory()
    };
    round();
    let before = round();
    round();
    let after = round();
    let grown = after.before.saturating_sub(before.before);
    println!("{grown} bytes more after 8000 more clients");
    assert!(grown < 1 << 20, "{grown} bytes more after 8000 more clients");
}
