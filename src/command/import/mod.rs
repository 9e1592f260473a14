//! `ottla import`: adopts the folders of a stopped Kafka, in place or by copy.
//!
//! `look` reads the folders and changes nothing; `plan` decides what is to be done and said, and is pure;
//! `account` tells it; `work` does it with `hands`, step by step, each of which may be the last.

mod account;
mod checker;
mod found;
mod hands;
mod lock;
mod look;
mod metadata;
mod plan;
mod work;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hands::Watch;
use work::Mode;

use super::Global;
use super::failure::{At, Failure, Result};
use super::output::{Progress, Style, Unit, confirm, stdout};
use crate::config::properties;

/// What `ottla import` understands.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla import --from /var/lib/kafka --dry-run                     what is there, and what would be done
  ottla import --from /var/lib/kafka --data-dir /var/lib/ottla     a copy; Kafka's folder stays as it is
  ottla import --config server.properties --in-place               Kafka's own folders become Ottla's

Kafka must be stopped, run with KRaft (3.3 to 4.2) and be the cluster's only broker. First an account of what was found
is given, then comes the question whether to go on. Interrupted, run it again: it goes on.

In place nothing of Kafka's is destroyed. Its metadata is kept as __cluster_metadata-0.kafka; as long as Ottla has not
written yet, Kafka is brought back by giving it its name again (in place of Ottla's __cluster_metadata-0) and taking the
line ottla.format out of meta.properties.")]
pub struct ImportArgs {
    /// The folders of the stopped Kafka: all of its log.dirs, and its metadata.log.dir where that is another
    #[arg(long, value_name = "DIR,...", value_delimiter = ',', required_unless_present = "config")]
    pub from: Vec<PathBuf>,

    /// Kafka's server.properties: it names the folders
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub config: Option<PathBuf>,

    /// Copy into this folder, or into as many folders as Kafka has
    #[arg(long, value_name = "DIR,...", value_delimiter = ',')]
    pub data_dir: Vec<PathBuf>,

    /// Copy: what --data-dir means by itself
    #[arg(long, requires = "data_dir", conflicts_with = "in_place")]
    pub copy: bool,

    /// Make Kafka's own folders Ottla's
    #[arg(long, conflicts_with = "data_dir")]
    pub in_place: bool,

    /// Tell what was found and what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// In place too, read every segment and check each batch (a copy always does)
    #[arg(long)]
    pub verify: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Looks, tells, asks, and does it.
pub fn run(args: &ImportArgs, global: &Global) -> Result<()> {
    let style = global.style();
    let from = folders(args)?;
    let mut locks = Vec::new();
    for dir in &from {
        locks.push(lock::lock(dir, args.in_place && !args.dry_run)?);
    }
    let found = look::look(&from)?;
    let mode = match args.data_dir.len() {
        0 => Mode::InPlace,
        _ => Mode::Copy(args.data_dir.clone()),
    };
    check_mode(args, &mode, from.len())?;
    let mut plan = plan::plan(&found, |dir| mode.identity(&found, mode.target(dir)).directory_id);
    if let Mode::Copy(_) = mode {
        if found.half_done() {
            plan.problems.push(
                "an import in place was begun here and not finished: finish it with --in-place first"
                    .to_owned(),
            );
        }
        work::check_target(&found, &mode)?;
    }
    let told = account::Told {
        found: &found,
        plan: &plan,
        mode: &mode,
        chosen: args.in_place || mode_is_copy(&mode),
    };
    let mut out = stdout();
    told.write(&mut out, style)?;
    out.flush()?;
    if !plan.problems.is_empty() {
        return Err(Failure::new("it cannot be adopted as it is: nothing was changed"));
    }
    if args.dry_run {
        style.note("nothing was changed (--dry-run)");
        return Ok(());
    }
    if !args.in_place && !mode_is_copy(&mode) {
        return Err(Failure::usage("how is it to be adopted? Nothing was changed")
            .advice("Give --data-dir DIR for a copy, or --in-place to make these very folders Ottla's."));
    }
    if !args.yes {
        confirm("Go on?", "adopting a Kafka's folder needs a yes; nothing was changed")?;
    }
    if let Mode::Copy(targets) = &mode {
        for target in targets {
            fs::create_dir_all(target).at(target.display())?;
            locks.push(lock::lock(target, true)?);
        }
    }
    let mut watch = Bar::new(style, work::amount(&plan, &mode, args.verify));
    let damage = work::work(&found, &plan, &mode, args.verify, &mut watch)?;
    drop(watch);
    account::done(&mut out, style, &found, &mode, &damage)?;
    out.flush()?;
    drop(locks);
    match damage.is_empty() {
        true => Ok(()),
        false => Err(Failure::already_told()),
    }
}

fn mode_is_copy(mode: &Mode) -> bool {
    matches!(mode, Mode::Copy(_))
}

/// The folders that Kafka used.
fn folders(args: &ImportArgs) -> Result<Vec<PathBuf>> {
    let mut dirs = match &args.config {
        None => args.from.clone(),
        Some(file) => named_in(file)?,
    };
    dirs.iter_mut().for_each(|dir| {
        // One folder under two names must not count twice.
        if let Ok(whole) = dir.canonicalize() {
            *dir = whole;
        }
    });
    let all = dirs.len();
    let mut seen = std::collections::BTreeSet::new();
    dirs.retain(|dir| seen.insert(dir.clone()));
    match dirs.len() == all || args.config.is_some() {
        true => Ok(dirs),
        false => Err(Failure::usage("--from names a folder twice")),
    }
}

/// The folders that a `server.properties` names.
fn named_in(file: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(file).at(file.display())?;
    let entries =
        properties::parse(&text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    let get = |key: &str| entries.iter().rev().find(|entry| entry.key == key).map(|entry| entry.value.trim());
    let Some(dirs) = get("log.dirs").or(get("log.dir")) else {
        return Err(Failure::new(format!("{} sets no log.dirs", file.display()))
            .advice("Name the folders with --from (Kafka's default is /tmp/kafka-logs)."));
    };
    let dirs = dirs.split(',').chain(get("metadata.log.dir")).map(str::trim).filter(|dir| !dir.is_empty());
    Ok(dirs.map(PathBuf::from).collect())
}

fn check_mode(args: &ImportArgs, mode: &Mode, dirs: usize) -> Result<()> {
    let Mode::Copy(targets) = mode else { return Ok(()) };
    if targets.len() != 1 && targets.len() != dirs {
        return Err(Failure::usage(format!(
            "--data-dir names {} folders, and Kafka has {dirs}: name one for all, or one for each",
            targets.len()
        )));
    }
    let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let inside = |target: &PathBuf| {
        folders(args).is_ok_and(|from| from.iter().any(|dir| whole(target).starts_with(dir)))
    };
    match targets.iter().find(|target| inside(target)) {
        Some(target) => Err(Failure::usage(format!("{} lies in Kafka's own folder", target.display()))
            .advice("Choose another --data-dir, or adopt that folder with --in-place.")),
        None => Ok(()),
    }
}

/// The progress bar: bytes, and files beside them.
struct Bar {
    progress: Progress,
    done: u64,
    files: u64,
    all_files: u64,
}

impl Bar {
    fn new(style: Style, (bytes, files): (u64, u64)) -> Bar {
        let progress = Progress::new(style, Unit::Bytes, Some(bytes));
        Bar { progress, done: 0, files: 0, all_files: files }
    }
}

impl Watch for Bar {
    fn step(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn bytes(&mut self, count: u64) {
        self.done += count;
        self.progress.at(self.done);
    }

    fn file(&mut self) {
        self.files += 1;
        self.progress.beside(format!("{} of {} files", self.files, self.all_files));
        self.progress.at(self.done);
    }
}

#[cfg(test)]
mod tests;
