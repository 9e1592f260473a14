//! What becomes of a folder's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::{Files, Folder, PARTITION};
use crate::targets::input::Input;

/// The most steps of one input.
const STEPS: usize = 8;
/// The largest that a file grows.
const LARGEST: usize = 64 << 10;

/// A folder after the damage.
pub struct Damage {
    pub files: Files,
    /// Whether a batch may seem to lie at another offset now.
    pub moves: bool,
    /// Whether there are segments that the log never had.
    pub is_strange: bool,
    /// Whether nothing that must be there can be gone by it.
    pub is_harmless: bool,
    /// Where the mark is, if something past it was damaged.
    pub is_past_mark: Option<i64>,
    /// Whether a whole batch lies past the mark where no crash leaves one. It may have been acknowledged, under another
    /// offset or epoch: the log may be refused.
    pub contradicts: bool,
}

impl Damage {
    /// What the rest of an input does to a folder.
    pub fn read(input: &mut Input<'_>, folder: &Folder) -> Damage {
        let mut damage = Damage {
            files: folder.files.clone(),
            moves: false,
            is_strange: false,
            is_harmless: true,
            is_past_mark: None,
            contradicts: false,
        };
        for _ in 0..STEPS {
            if input.is_empty() {
                break;
            }
            damage.step(input, folder);
        }
        damage.contradicts = damage.is_past_mark.is_some() && folder.is_contradicted_by(&damage.files);
        damage
    }

    fn step(&mut self, input: &mut Input<'_>, folder: &Folder) {
        let paths: Vec<PathBuf> = self.files.keys().cloned().collect();
        if paths.is_empty() {
            return;
        }
        let path = input.pick(&paths).clone();
        let is_log = path.extension().is_some_and(|kind| kind == "log");
        let kind = input.below(10);
        let bytes = self.files.get_mut(&path).expect("it was just listed");
        let len = bytes.len();
        let at = if len == 0 { 0 } else { input.below(len) };
        match kind {
            // Flips bits.
            0..=2 => {
                let mask = input.u8();
                let Some(byte) = bytes.get_mut(at) else { return };
                *byte ^= mask;
                self.judge(folder, &path, at, (at + 1).min(len));
            }
            // Cuts short.
            3 => {
                bytes.truncate(at);
                self.judge(folder, &path, at, len);
            }
            // Fills with one byte.
            4 => {
                let (count, fill) = (input.below(4096), *input.pick(&[0, 0, 0xff, 0x55]));
                let end = (at + count).min(len);
                bytes[at..end].fill(fill);
                self.judge(folder, &path, at, end);
            }
            // Writes a piece of this or another file there.
            5 => {
                let from = &folder.files[input.pick(&folder.files.keys().cloned().collect::<Vec<_>>())];
                let start = if from.is_empty() { 0 } else { input.below(from.len()) };
                let piece = &from[start..(start + input.below(4096)).min(from.len())];
                let end = (at + piece.len()).min(LARGEST.max(len));
                bytes.resize(end.max(len), 0);
                bytes[at..end].copy_from_slice(&piece[..end - at]);
                self.judge(folder, &path, at, end);
            }
            // Zeros behind it, as files that grew ahead of need have.
            6 => {
                let end = (len + 1 + input.below(8192)).min(LARGEST.max(len));
                bytes.resize(end, 0);
                self.judge(folder, &path, len, end);
            }
            // What is no log holds anything, with a checksum that fits where it has one.
            7 if !is_log => {
                let free = input.below(64);
                let text = input.take(free);
                let end = (at + text.len()).min(LARGEST.max(len));
                bytes.resize(end.max(len), 0);
                bytes[at..end].copy_from_slice(&text[..end - at]);
                seal(&path, bytes);
                self.judge(folder, &path, at, end);
            }
            // Is gone.
            8 => {
                self.files.remove(&path);
                self.judge(folder, &path, 0, len.max(1));
            }
            // Another file, or one of another name.
            _ => {
                let name = self.name(input, &paths, &path);
                let copy = self.files[&path].clone();
                let old = self.files.insert(name.clone(), copy);
                self.moves = true;
                self.is_strange |= name.extension().is_some_and(|kind| kind == "log");
                self.judge(folder, &name, 0, old.map_or(1, |old| old.len().max(1)));
            }
        }
    }

    fn name(&self, input: &mut Input<'_>, paths: &[PathBuf], path: &Path) -> PathBuf {
        let folder = Path::new(PARTITION);
        match input.below(4) {
            0 => input.pick(paths).clone(),
            1 => {
                let base = *input.pick(&[0, 1, 7, 1000, i64::MAX, i64::MAX - 1, 1 << 40]);
                let kind = *input.pick(&["log", "index", "timeindex", "snapshot", "txnindex"]);
                folder.join(format!("{base:020}.{kind}"))
            }
            2 => {
                let suffix = *input.pick(&[".deleted", ".cleaned", ".swap", ".tmp"]);
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                name.into()
            }
            _ => folder.join(*input.pick(&[
                "leader-epoch-checkpoint",
                "log-start-offset-checkpoint",
                "cleaner-offset-checkpoint",
                "partition.metadata",
            ])),
        }
    }

    /// These bytes of a file are others now.
    fn judge(&mut self, folder: &Folder, path: &Path, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let is_own = path.parent() == Some(Path::new(PARTITION));
        if !is_own {
            // The marks and Kafka's checkpoints say what must be there.
            self.is_harmless = false;
            return;
        }
        match path.extension().and_then(|kind| kind.to_str()) {
            Some("log") => {
                self.moves |= folder.hits_front(path, from, to);
                match folder.tail {
                    Some((ref last, position, mark)) if last == path && from >= position => {
                        self.is_past_mark = Some(mark);
                    }
                    _ => self.is_harmless = false,
                }
            }
            // A shortcut, from which nothing is told but what the batches tell too.
            Some("snapshot") => {}
            _ => self.is_harmless = false,
        }
    }
}

/// Computes the checksum of a file that has one anew.
fn seal(path: &Path, bytes: &mut [u8]) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".snapshot") && bytes.len() >= 6 {
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    }
    if name.starts_with("stable-ends-") {
        for block in bytes.chunks_exact_mut(ottla::limits::BLOCK) {
            if block[4..8] == *b"OtSE" {
                let crc = crc32c::crc32c(&block[4..]);
                block[..4].copy_from_slice(&crc.to_be_bytes());
            }
        }
    }
}

/// The batches of a segment's file, by where they begin.
pub fn places(bytes: &[u8]) -> BTreeMap<usize, usize> {
    let mut at = 0;
    let mut places = BTreeMap::new();
    for batch in ottla::wire::batch::batches(bytes).map_while(Result::ok) {
        places.insert(at, batch.bytes().len());
        at += batch.bytes().len();
    }
    places
}
