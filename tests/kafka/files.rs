//! The files of a partition.

use std::path::{Path, PathBuf};

/// The files in a folder whose names end so, oldest first.
pub fn named(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    files.sort();
    files
}

/// Puts one partition's files in another's place. The latter's own id stays, for that is what its topic is known by.
pub fn exchange(from: &Path, to: &Path) {
    let keep = "partition.metadata";
    for entry in std::fs::read_dir(to).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name() != keep {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name() != keep {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
