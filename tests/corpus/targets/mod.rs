//! What is fuzzed. Each target takes any bytes, and panics when something that was promised does not hold.
//!
//! `cargo test --test corpus` runs them over the corpus and mutations of it; `fuzz/` hands them to libFuzzer.

pub mod answers;
pub mod batches;
pub mod compression;
pub mod config;
pub mod connection;
pub mod files;
pub mod frames;
mod input;
mod memory;
pub mod recovery;

/// A target: its name, as in `fuzz/corpus/`, and what runs one input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 8] = [
    ("answers", answers::run),
    ("batches", batches::run),
    ("compression", compression::run),
    ("config", config::run),
    ("connection", connection::run),
    ("files", files::run),
    ("frames", frames::run),
    ("recovery", recovery::run),
];
