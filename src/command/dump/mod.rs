//! `ottla dump`: the files of a log directory, readable, and whether they are whole.

mod checkpoint;
mod index;
mod segment;
mod snapshot;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failure::{At, Failure, Result};
use super::output::{Style, json_line, stdout};

/// What `ottla dump` understands.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla dump ottla-data/orders-0                         every file of a partition
  ottla dump ottla-data/orders-0/*.log                   each batch and whether its CRC is right
  ottla dump --records ottla-data/orders-0/00000000000000000000.log
  ottla dump --verdict-only ottla-data/*/                is anything damaged?
  ottla dump --output json FILE... | jq 'select(.kind == \"verdict\")'

It reads Kafka's formats, whichever broker wrote them: segments (.log), .index, .timeindex, .txnindex,
producer snapshots (.snapshot), the checkpoints, partition.metadata and meta.properties.
Exit codes: 0 everything is whole, 1 damage was found or a file could not be read.")]
pub struct DumpArgs {
    /// Files, or folders whose files are all meant
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Show the records of each batch of a segment
    #[arg(short, long)]
    pub records: bool,

    /// Show the verdict on each file only
    #[arg(long, conflicts_with = "records")]
    pub verdict_only: bool,
}

/// What a look at one file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether everything in the file is as it was written.
    pub whole: bool,
    /// What was found, in a sentence.
    pub text: String,
}

impl Verdict {
    fn whole(text: impl Into<String>) -> Verdict {
        Verdict { whole: true, text: text.into() }
    }

    fn damaged(text: impl Into<String>) -> Verdict {
        Verdict { whole: false, text: text.into() }
    }
}

/// Where the entries of a file go: shown as text, as JSON, or not at all.
struct Sink<'a, W: Write> {
    out: &'a mut W,
    style: Style,
    file: String,
    silent: bool,
}

#[derive(Serialize)]
struct JsonEntry<'a, T: Serialize> {
    file: &'a str,
    kind: &'a str,
    #[serde(flatten)]
    entry: &'a T,
}

#[derive(Serialize)]
struct JsonVerdict<'a> {
    whole: bool,
    verdict: &'a str,
}

impl<W: Write> Sink<'_, W> {
    /// Shows one entry: `text` for a person, `entry` for a program.
    fn entry(
        &mut self,
        kind: &str,
        entry: &impl Serialize,
        text: impl FnOnce(&mut W) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.silent {
            return Ok(());
        }
        if self.style.json() {
            json_line(self.out, &JsonEntry { file: &self.file, kind, entry })
        } else {
            text(self.out)
        }
    }

    fn verdict(&mut self, verdict: &Verdict) -> io::Result<()> {
        if self.style.json() {
            let entry = JsonVerdict { whole: verdict.whole, verdict: &verdict.text };
            return json_line(self.out, &JsonEntry { file: &self.file, kind: "verdict", entry: &entry });
        }
        let word = if verdict.whole { "whole" } else { "DAMAGED" };
        writeln!(self.out, "{}: {word}: {}", self.file, verdict.text)
    }
}

/// The files that this command can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
    LeaderEpochs,
    Offsets,
    /// In a partition's own folder, where its log starts.
    Start,
    /// In a partition's own folder, how far its log was compacted.
    Cleaned,
    Properties,
}

impl Kind {
    fn of(path: &Path) -> Option<Kind> {
        let name = path.file_name()?.to_str()?;
        match name {
            "leader-epoch-checkpoint" => return Some(Kind::LeaderEpochs),
            "log-start-offset-checkpoint" if is_of_a_partition(path) => return Some(Kind::Start),
            "cleaner-offset-checkpoint" if is_of_a_partition(path) => return Some(Kind::Cleaned),
            "recovery-point-offset-checkpoint"
            | "log-start-offset-checkpoint"
            | "replication-offset-checkpoint"
            | "cleaner-offset-checkpoint" => return Some(Kind::Offsets),
            "partition.metadata" | "meta.properties" => return Some(Kind::Properties),
            _ => {}
        }
        // A file on its way out keeps its format.
        match name.trim_end_matches(".deleted").rsplit_once('.')?.1 {
            "log" => Some(Kind::Segment),
            "index" => Some(Kind::OffsetIndex),
            "timeindex" => Some(Kind::TimeIndex),
            "txnindex" => Some(Kind::TransactionIndex),
            "snapshot" => Some(Kind::ProducerSnapshot),
            _ => None,
        }
    }
}

/// Whether a file lies in a partition's own folder.
fn is_of_a_partition(path: &Path) -> bool {
    path.with_file_name("partition.metadata").exists()
}

/// Dumps the files.
pub fn run(args: &DumpArgs, style: Style) -> Result<()> {
    let mut out = stdout();
    let mut damaged = 0;
    let files = expand(&args.files)?;
    for (number, path) in files.iter().enumerate() {
        if number > 0 && !style.json() && !args.verdict_only {
            writeln!(out)?;
        }
        let silent = args.verdict_only;
        let mut sink = Sink { out: &mut out, style, file: path.display().to_string(), silent };
        let verdict = dump_file(path, args, &mut sink)?;
        sink.verdict(&verdict)?;
        damaged += usize::from(!verdict.whole);
    }
    out.flush()?;
    match damaged {
        0 => Ok(()),
        // Each file's verdict says it; with several files the count helps.
        1 if files.len() == 1 => Err(Failure::already_told()),
        n => Err(Failure::new(format!("{n} of {} files are damaged", files.len()))),
    }
}

/// The files that are meant: a folder stands for all the files in it that can be read, in order.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let meta = std::fs::metadata(path).at(path.display())?;
        if !meta.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        for entry in std::fs::read_dir(path).at(path.display())? {
            let entry = entry.at(path.display())?;
            let is_file = entry.file_type().at(entry.path().display())?.is_file();
            if is_file && Kind::of(&entry.path()).is_some() {
                files.push(entry.path());
            }
        }
        if files.len() == before {
            return Err(Failure::new(format!("{}: no file in this folder is one of a log", path.display()))
                .advice("Name the folder of a partition, for example ottla-data/orders-0."));
        }
        files[before..].sort();
    }
    Ok(files)
}

fn dump_file<W: Write>(path: &Path, args: &DumpArgs, sink: &mut Sink<'_, W>) -> Result<Verdict> {
    let kind = Kind::of(path).ok_or_else(|| {
        Failure::new(format!("{}: not a file of a log by its name", path.display())).advice(
            "Its name tells a file's format: 00000000000000000000.log, .index, leader-epoch-checkpoint, ...",
        )
    })?;
    match kind {
        Kind::Segment => segment::dump(path, args.records, sink),
        Kind::OffsetIndex => index::dump_offsets(path, sink),
        Kind::TimeIndex => index::dump_times(path, sink),
        Kind::TransactionIndex => index::dump_transactions(path, sink),
        Kind::ProducerSnapshot => snapshot::dump(path, sink),
        Kind::LeaderEpochs => checkpoint::dump_epochs(path, sink),
        Kind::Offsets => checkpoint::dump_offsets(path, sink),
        Kind::Start => checkpoint::dump_start(path, sink),
        Kind::Cleaned => checkpoint::dump_cleaned(path, sink),
        Kind::Properties => checkpoint::dump_properties(path, sink),
    }
}

/// Opens a file and tells its length.
fn open(path: &Path) -> Result<(File, u64)> {
    let file = File::open(path).at(path.display())?;
    let len = file.metadata().at(path.display())?.len();
    Ok((file, len))
}

/// The offset that a segment's files are named after.
fn base_offset(path: &Path) -> Result<i64> {
    let stem = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.split('.').next()).unwrap_or("");
    stem.parse().ok().filter(|o| *o >= 0).ok_or_else(|| {
        Failure::new(format!("{}: the name does not start with the segment's base offset", path.display()))
            .advice("A segment's files are named by 20 digits, for example 00000000000000000000.log.")
    })
}

fn plural(count: u64, thing: &str) -> String {
    match (count, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (n, Some(stem)) => format!("{n} {stem}ies"),
        (n, None) => format!("{n} {thing}{}", if thing.ends_with("ch") { "es" } else { "s" }),
    }
}

#[cfg(test)]
mod tests;
