//! Requests with lengths that claim far more than can follow, in every API and version that is advertised.

use ottla::wire::schema::{Role, all};

use crate::bystander::Bystander;
use crate::frames::{advertised, by_chance};
use crate::generate::Chance;
use crate::raw::{Raw, frame, header};
use crate::target::Target;

/// Forms of lengths that claim gigabytes, or nothing that a length can be.
const CLAIMS: [&[u8]; 7] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x40, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0, 0, 0],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
];

#[test]
fn no_claim_is_believed() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let memory = target.watch_memory();
    let mut chance = Chance(4);
    let mut connections = Connections::new(&target);
    for (api, versions) in advertised(&target) {
        for version in versions {
            let start = header(api, version).len();
            let whole = by_chance(api, version, &mut chance);
            for at in 8..whole.len().min(start + 60) {
                let claim = CLAIMS[chance.below(CLAIMS.len() as u64) as usize];
                let mut bytes = whole.clone();
                bytes.splice(at..(at + claim.len()).min(whole.len()), claim.iter().copied());
                connections.send(&frame(&bytes));
            }
        }
    }
    connections.end();
    bystander.end();
    memory.check(Connections::OPEN as u64);
}

/// Lengths that are believed, as small numbers are, and bytes of any value.
#[test]
fn bodies_by_chance() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let memory = target.watch_memory();
    let mut chance = Chance(5);
    let mut connections = Connections::new(&target);
    for (api, versions) in advertised(&target) {
        for version in versions {
            for _ in 0..15 {
                let len = chance.below(300) as usize;
                let mut bytes = chance.bytes(len);
                let bound = [3, 8, 255][chance.below(3) as usize];
                bytes.iter_mut().for_each(|byte| *byte %= bound);
                connections.send(&frame(&[header(api, version), bytes].concat()));
            }
            let mut whole = by_chance(api, version, &mut chance);
            let at = header(api, version).len() + chance.below(20) as usize;
            if let Some(byte) = whole.get_mut(at) {
                *byte = chance.next() as u8;
            }
            connections.send(&frame(&whole));
        }
    }
    connections.end();
    bystander.end();
    memory.check(Connections::OPEN as u64);
}

/// Some connections in turn. Each is closed before it is used again: a request by chance may ask for a long wait, or
/// for no answer.
struct Connections<'a> {
    target: &'a Target,
    open: std::collections::VecDeque<Raw>,
}

impl<'a> Connections<'a> {
    const OPEN: usize = 64;

    fn new(target: &'a Target) -> Self {
        assert!(all().any(|entry| matches!(entry.role, Role::Request(_))));
        Connections { target, open: Default::default() }
    }

    fn send(&mut self, frame: &[u8]) {
        let mut raw = Raw::connect(&self.target.address);
        raw.send(frame);
        self.open.push_back(raw);
        if self.open.len() > Self::OPEN {
            self.open.pop_front().expect("there are many").finish();
        }
    }

    fn end(self) {
        self.open.into_iter().for_each(|raw| drop(raw.finish()));
    }
}
