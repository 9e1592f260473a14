//! What an import changes on disk, one step after the other: each is told before it is done, and durable after it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::checker::Checker;
use crate::command::failure::{At, Failure, Result};

/// Bytes that are copied at once.
const PART: usize = 1 << 20;
/// What a file is called until it is whole.
const UNFINISHED: &str = ".importing";

/// Who is told of each step.
pub trait Watch {
    /// A step comes next; an error keeps it from being done.
    fn step(&mut self, path: &Path) -> Result<()>;
    /// So many bytes were read.
    fn bytes(&mut self, count: u64);
    /// A file is done.
    fn file(&mut self);
}

/// Does the steps.
pub struct Hands<'a> {
    /// Who is told.
    pub watch: &'a mut dyn Watch,
    /// Damage that was found: the file, and what is wrong with it.
    pub damage: Vec<String>,
}

impl Hands<'_> {
    /// Puts a file in its place, whole. Where it is there already, nothing is done.
    pub fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        if fs::read(path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.watch.step(path)?;
        let unfinished = unfinished(path);
        let write = || -> io::Result<()> {
            let mut file = File::create(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)
        };
        write().at(path.display())?;
        self.sync_parent(path)
    }

    /// Takes a file away, if it is there.
    pub fn remove(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        self.watch.step(path)?;
        fs::remove_file(path).at(path.display())?;
        self.sync_parent(path)
    }

    /// Takes a folder away with all that is in it, if it is there.
    pub fn remove_dir(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        self.watch.step(path)?;
        fs::remove_dir_all(path).at(path.display())?;
        self.sync_parent(path)
    }

    /// Gives a folder another name.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.watch.step(from)?;
        fs::rename(from, to).at(from.display())?;
        self.sync_parent(to)
    }

    /// Makes a folder and those above it, if they are not there.
    pub fn make_dir(&mut self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            self.make_dir(above)?;
        }
        self.watch.step(path)?;
        fs::create_dir(path).at(path.display())?;
        self.sync_parent(path)
    }

    /// Copies a file with its times, and checks the batches of a segment on the way. A copy that is there with the same
    /// size and time was made before.
    pub fn copy(&mut self, from: &Path, to: &Path, is_segment: bool) -> Result<()> {
        let source = fs::metadata(from).at(from.display())?;
        let modified = source.modified().at(from.display())?;
        let same =
            |there: &fs::Metadata| there.len() == source.len() && there.modified().ok() == Some(modified);
        if fs::metadata(to).is_ok_and(|there| same(&there)) {
            self.watch.bytes(source.len());
            self.watch.file();
            return Ok(());
        }
        self.watch.step(to)?;
        let unfinished = unfinished(to);
        let mut copy = File::create(&unfinished).at(unfinished.display())?;
        let mut copied = 0;
        self.read(from, is_segment, |bytes| {
            copied += bytes.len() as u64;
            copy.write_all(bytes).at(unfinished.display())
        })?;
        if copied != source.len() {
            let what = format!(
                "{} changed while it was copied: {copied} bytes, {} before",
                from.display(),
                source.len()
            );
            return Err(Failure::new(what)
                .advice("Something still writes there; stop it, then run the import again."));
        }
        let finish = || -> io::Result<()> {
            copy.set_times(fs::FileTimes::new().set_modified(modified))?;
            copy.sync_all()?;
            fs::rename(&unfinished, to)
        };
        finish().at(to.display())?;
        self.watch.file();
        Ok(())
    }

    /// Reads a file, checking a segment's batches.
    pub fn read(
        &mut self,
        path: &Path,
        is_segment: bool,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut file = File::open(path).at(path.display())?;
        let (mut part, mut checker) = (vec![0; PART], Checker::default());
        loop {
            let read = file.read(&mut part).at(path.display())?;
            if read == 0 {
                break;
            }
            if is_segment {
                checker.take(&part[..read]);
            }
            each(&part[..read])?;
            self.watch.bytes(read as u64);
        }
        if let Some((position, why)) = checker.finish() {
            self.damage.push(format!("{} at position {position}: {why}", path.display()));
        }
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub fn sync_dir(&self, dir: &Path) -> Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir).and_then(|dir| dir.sync_all()).at(dir.display())
    }

    fn sync_parent(&self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |dir| self.sync_dir(dir))
    }
}

fn unfinished(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}
