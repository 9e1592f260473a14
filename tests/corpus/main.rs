//! What is fuzzed, over the corpus and a few thousand mutations of it.
//!
//! The corpus is in `fuzz/corpus/`, a folder for each target; what fuzzing has found is there too, under a name that says
//! what it was. `OTTLA_MUTATIONS=100000 cargo test --test corpus recovery` looks longer, `OTTLA_FIRST_SEED=7` elsewhere, and
//! `OTTLA_INPUT=path cargo test --test corpus recovery` runs one input alone.

#![allow(clippy::disallowed_methods, reason = "a test runs outside of the seam")]

mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ottla::reactor::sim::Rng;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The inputs of a target's corpus with their names, in the order of these.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .map(|path| {
            let name = path.file_name().expect("it was listed").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("it can be read"))
        })
        .collect();
    inputs.sort();
    inputs
}

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

/// Runs one input; tells how to see it again if it fails.
fn run_one(target: &str, run: fn(&[u8]), name: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
        let path = std::env::temp_dir().join(format!("ottla-{target}-finding"));
        std::fs::write(&path, input).expect("a finding can be kept");
        let path = path.display();
        panic!("{target}: {name}: see it again: OTTLA_INPUT={path} cargo test --test corpus {target}");
    }
}

fn hold(target: &str, mutations: u64) {
    let (_, run) = targets::ALL.into_iter().find(|(name, _)| *name == target).expect("it is a target");
    if let Ok(path) = std::env::var("OTTLA_INPUT") {
        return run(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")));
    }
    let inputs = inputs(target);
    assert!(inputs.len() > 10, "the corpus of {target} is there");
    for (name, input) in &inputs {
        run_one(target, run, name, input);
    }
    let mut rng = Rng::new(number("OTTLA_FIRST_SEED", 0));
    for round in 0..number("OTTLA_MUTATIONS", mutations) {
        let (name, input) = rng.pick(&inputs);
        let (_, other) = rng.pick(&inputs);
        let mutated = mutate(&mut rng, input, other);
        run_one(target, run, &format!("mutation {round}, of {name}"), &mutated);
    }
}

/// An input that is like `input`, with something of `other` perhaps.
fn mutate(rng: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        let end = (at + 1 + rng.below(16) as usize).min(bytes.len());
        match rng.below(8) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            2 if at < bytes.len() => bytes[at] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            3 => bytes[at..end].fill(*rng.pick(&[0, 0xff, 0x80])),
            4 => drop(bytes.drain(at..end)),
            5 => drop(bytes.splice(at..at, std::iter::repeat_n(rng.below(256) as u8, end - at + 1))),
            6 => {
                let from = rng.below(other.len() as u64 + 1) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => bytes.truncate(at),
            _ => {}
        }
    }
    bytes
}

macro_rules! hold {
    ($($target:ident $mutations:literal)*) => {$(
        #[test]
        fn $target() {
            hold(stringify!($target), $mutations);
        }
    )*};
}

hold! {
    answers 3000
    batches 1500
    compression 1000
    config 2000
    connection 200
    files 4000
    frames 3000
    recovery 1500
}

/// `OTTLA_WRITE_CORPUS=1 cargo test --test corpus seeds` adds what real encodings give to the corpus.
#[test]
fn the_seeds_hold() {
    for (target, run) in targets::ALL {
        for (name, bytes) in seeds::of(target) {
            run_one(target, run, &name, &bytes);
            if std::env::var("OTTLA_WRITE_CORPUS").is_ok() {
                std::fs::create_dir_all(corpus(target)).expect("the corpus can be written");
                std::fs::write(corpus(target).join(name), bytes).expect("the corpus can be written");
            }
        }
    }
}
