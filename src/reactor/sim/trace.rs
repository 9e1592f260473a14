//! The account of a run: every choice, event and operation, as a running hash and, on request, as text.
//!
//! Two runs of one seed must give the same account in any two processes, so nothing that enters it may come
//! from an address, a hasher's key, the machine's clock or a thread.

use std::collections::VecDeque;
use std::fmt::Write;

use super::rng::spread;

/// What happened in a world so far.
pub struct Trace {
    hash: u64,
    count: u64,
    lines: VecDeque<String>,
    bound: usize,
}

impl Trace {
    pub(super) fn new(bound: usize) -> Trace {
        Trace { hash: 0, count: 0, lines: VecDeque::new(), bound }
    }

    fn fold(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn fold_text(&mut self, text: &str) {
        for part in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.fold(u64::from_le_bytes(word));
        }
    }

    /// Notes what happened at `at`, on which node, with three numbers that tell the case.
    pub(super) fn note(&mut self, at: u64, node: u32, what: &'static str, numbers: [u64; 3]) {
        self.count += 1;
        self.fold(at);
        self.fold(u64::from(node));
        self.fold_text(what);
        for number in numbers {
            self.fold(number);
        }
        if self.bound > 0 {
            let [a, b, c] = numbers;
            self.push(format!("{at} n{node} {what} {a} {b} {c}"));
        }
    }

    /// Notes what happened with a text that tells the case, as a path.
    pub(super) fn note_text(&mut self, at: u64, node: u32, what: &'static str, text: &str) {
        self.count += 1;
        self.fold(at);
        self.fold(u64::from(node));
        self.fold_text(what);
        self.fold_text(text);
        if self.bound > 0 {
            self.push(format!("{at} n{node} {what} {text}"));
        }
    }

    fn push(&mut self, line: String) {
        if self.lines.len() == self.bound {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// A number that stands for all that happened.
    pub fn hash(&self) -> u64 {
        spread(self.hash ^ self.count)
    }

    /// How many things happened.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines, as many as [`Options::trace_lines`](super::Options::trace_lines) allows.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "{} notes, hash {:016x}", self.count, self.hash());
        text
    }
}
