//! Does what was planned, in place or into other folders. Interrupted at any step, it can be run again.
//!
//! In place, Kafka can start until `meta.properties` says that an import is under way, which is the last thing before its
//! metadata is renamed; from then on neither broker starts until the import has ended. In a copy, `meta.properties` says
//! so from the beginning.

use std::path::{Path, PathBuf};

use super::found::{Begun, Found, KEPT, METADATA};
use super::hands::{Hands, Watch};
use super::look::{CLEAN, HALF_DONE, IDENTITY, list, metadata_path};
use super::plan::{PartitionWork, Plan, is_ours};
use crate::broker::boot::LOG_STARTS;
use crate::broker::metadata_log::{METADATA_LOG, encode};
use crate::command::failure::{At, Failure, Result};
use crate::command::units::now_ms;
use crate::limits::METADATA_BATCH_RECORDS;
use crate::log::checkpoint::{MetaProperties, encode_partition_metadata};
use crate::log::compact::checkpoint::NAME as CLEANED;
use crate::log::segment::{self, Kind};
use crate::wire::batch::BatchMut;

/// The stable ends that an Ottla has left; they say nothing of what Kafka has written since.
const STABLE_ENDS: &str = "stable-ends-";
/// What an unfinished copy says of where it comes from.
const FROM: &str = "ottla.import.from";

/// Where to.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The folders become Ottla's.
    InPlace,
    /// Into these folders: one for each of Kafka's, or one for all.
    Copy(Vec<PathBuf>),
}

impl Mode {
    /// The place of the target of a log directory.
    pub fn target(&self, dir: usize) -> usize {
        match self {
            Mode::Copy(targets) if targets.len() == 1 => 0,
            _ => dir,
        }
    }

    /// The log directories afterwards.
    pub fn targets(&self, found: &Found) -> Vec<PathBuf> {
        match self {
            Mode::InPlace => found.dirs.iter().map(|dir| dir.path.clone()).collect(),
            Mode::Copy(targets) => targets.clone(),
        }
    }

    /// Whose a target is: where all come together, it is the metadata's.
    pub fn identity(&self, found: &Found, target: usize) -> MetaProperties {
        let at = match self.target(found.metadata_dir) == target {
            true => found.metadata_dir,
            false => target,
        };
        found.dirs[at].identity.clone()
    }

    /// Whether a target is left as by a clean stop.
    fn is_clean(&self, found: &Found, target: usize) -> bool {
        let mut from = found.dirs.iter().enumerate().filter(|(at, _)| self.target(*at) == target);
        from.all(|(_, dir)| dir.clean)
    }
}

/// How much there is to read: bytes and files.
pub fn amount(plan: &Plan, mode: &Mode, verify: bool) -> (u64, u64) {
    let of = |files: &mut dyn Iterator<Item = &(String, u64)>| {
        files.fold((0, 0), |(bytes, count), (_, size)| (bytes + size, count + 1))
    };
    let is_log = |file: &&(String, u64)| file.0.ends_with(".log");
    let all = plan.partitions.iter().map(|p| match mode {
        Mode::Copy(_) => of(&mut p.files.iter()),
        Mode::InPlace if verify => of(&mut p.files.iter().filter(is_log)),
        Mode::InPlace => of(&mut p.doubtful.iter()),
    });
    all.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
}

/// Does it all. Gives the damage that was found, which is as it was.
pub fn work(
    found: &Found,
    plan: &Plan,
    mode: &Mode,
    verify: bool,
    watch: &mut dyn Watch,
) -> Result<Vec<String>> {
    let mut hands = Hands { watch, damage: Vec::new() };
    match mode {
        Mode::InPlace => in_place(found, plan, verify, &mut hands)?,
        Mode::Copy(_) => copy(found, plan, mode, &mut hands)?,
    }
    Ok(hands.damage)
}

fn in_place(found: &Found, plan: &Plan, verify: bool, hands: &mut Hands<'_>) -> Result<()> {
    for p in &plan.partitions {
        let dir = found.dirs[p.dir].path.join(&p.name);
        let logs: Vec<&(String, u64)> = p.files.iter().filter(|(name, _)| name.ends_with(".log")).collect();
        let checked = if verify { logs } else { p.doubtful.iter().collect() };
        for (name, _) in checked {
            hands.read(&dir.join(name), true, |_| Ok(()))?;
            hands.watch.file();
        }
    }
    refuse_torn(found, plan, hands)?;
    for p in &plan.partitions {
        beside(&found.dirs[p.dir].path.join(&p.name), p, hands)?;
    }
    let home = &found.dirs[found.metadata_dir];
    if home.begun == Begun::No {
        hands.write(&home.path.join(IDENTITY), &half_done(&home.identity, &home.path))?;
    }
    for dir in &found.dirs {
        for (name, ..) in list(&dir.path)?.iter().filter(|(name, ..)| name.starts_with(STABLE_ENDS)) {
            hands.remove(&dir.path.join(name))?;
        }
    }
    let kept = home.path.join(KEPT);
    if metadata_path(home) != kept {
        hands.rename(&home.path.join(METADATA), &kept)?;
    }
    write_metadata(&home.path, plan, hands)?;
    let identities =
        found.dirs.iter().enumerate().map(|(at, dir)| (dir.path.clone(), Mode::InPlace.identity(found, at)));
    finish(identities.collect(), found.metadata_dir, hands)
}

/// A segment that Kafka had not flushed and that is torn in the middle of the log: Kafka cuts the log there, and says so.
fn refuse_torn(found: &Found, plan: &Plan, hands: &Hands<'_>) -> Result<()> {
    let doubtful = plan.partitions.iter().flat_map(|p| {
        let dir = found.dirs[p.dir].path.join(&p.name);
        p.doubtful.iter().map(move |(name, _)| dir.join(name).display().to_string())
    });
    let torn = |path: &String| hands.damage.iter().find(|damage| damage.starts_with(&format!("{path} at ")));
    match doubtful.filter_map(|path| torn(&path).cloned()).next() {
        Some(damage) => Err(Failure::new(format!(
            "a segment that Kafka had not flushed is damaged: {damage}"
        ))
        .advice("Start Kafka once and stop it cleanly: it cuts the log there. Then run the import again.")),
        None => Ok(()),
    }
}

fn copy(found: &Found, plan: &Plan, mode: &Mode, hands: &mut Hands<'_>) -> Result<()> {
    let targets = mode.targets(found);
    for (at, target) in targets.iter().enumerate() {
        hands.make_dir(target)?;
        let identity = mode.identity(found, at);
        hands.write(&target.join(IDENTITY), &half_done(&identity, &found.dirs[found.metadata_dir].path))?;
    }
    for p in &plan.partitions {
        let (from, to) = (found.dirs[p.dir].path.join(&p.name), targets[mode.target(p.dir)].join(&p.name));
        hands.make_dir(&to)?;
        for (name, ..) in list(&to)? {
            if !p.files.iter().any(|(file, _)| *file == name) {
                hands.remove(&to.join(name))?;
            }
        }
        for (name, _) in &p.files {
            let is_segment = matches!(segment::parse_name(name), Some((_, Kind::Log)));
            hands.copy(&from.join(name), &to.join(name), is_segment)?;
        }
        hands.sync_dir(&to)?;
        beside(&to, p, hands)?;
    }
    refuse_torn(found, plan, hands)?;
    let home = mode.target(found.metadata_dir);
    let (kafkas, kept) = (metadata_path(&found.dirs[found.metadata_dir]), targets[home].join(KEPT));
    hands.make_dir(&kept)?;
    for (name, is_dir, _) in list(&kafkas)? {
        if !is_dir {
            hands.copy(&kafkas.join(&name), &kept.join(&name), false)?;
        }
    }
    hands.sync_dir(&kept)?;
    write_metadata(&targets[home], plan, hands)?;
    for (at, target) in targets.iter().enumerate() {
        match mode.is_clean(found, at) {
            true => hands.write(&target.join(CLEAN), b"{\"version\":0,\"brokerEpoch\":-1}")?,
            false => hands.remove(&target.join(CLEAN))?,
        }
    }
    let identities =
        targets.iter().enumerate().map(|(at, target)| (target.clone(), mode.identity(found, at)));
    finish(identities.collect(), home, hands)
}

/// What stands in a partition's folder beside Kafka's files. What an Ottla has left there before goes: Kafka has changed
/// the log since.
fn beside(dir: &Path, p: &PartitionWork, hands: &mut Hands<'_>) -> Result<()> {
    for (name, content) in [(LOG_STARTS, &p.start), (CLEANED, &p.cleaned)] {
        match content {
            Some(bytes) => hands.write(&dir.join(name), bytes)?,
            None => hands.remove(&dir.join(name))?,
        }
    }
    match p.topic_id {
        Some(id) => hands.write(&dir.join("partition.metadata"), &encode_partition_metadata(id)),
        None => Ok(()),
    }
}

/// Makes Ottla's metadata log, in the place of what is there of it.
fn write_metadata(home: &Path, plan: &Plan, hands: &mut Hands<'_>) -> Result<()> {
    let dir = home.join(METADATA);
    hands.remove_dir(&dir)?;
    hands.make_dir(&dir)?;
    hands.write(&dir.join("partition.metadata"), &encode_partition_metadata(METADATA_LOG.topic))?;
    let now_ms = now_ms();
    let (mut log, mut offset) = (Vec::new(), 0);
    for records in plan.records.chunks(METADATA_BATCH_RECORDS) {
        let mut batch = encode(records, now_ms).to_vec();
        let mut placed = BatchMut::first(&mut batch).expect("it was just made");
        placed.set_base_offset(offset);
        placed.set_leader_epoch(0);
        offset += records.len() as i64;
        log.extend_from_slice(&batch);
    }
    hands.write(&segment::file(&dir, 0, Kind::Log), &log)
}

/// The folders become Ottla's, that of the metadata last.
fn finish(identities: Vec<(PathBuf, MetaProperties)>, home: usize, hands: &mut Hands<'_>) -> Result<()> {
    let (last, others): (Vec<_>, Vec<_>) = identities.iter().enumerate().partition(|(at, _)| *at == home);
    for (_, (dir, identity)) in others.into_iter().chain(last) {
        hands.write(&dir.join(IDENTITY), &identity.encode())?;
    }
    Ok(())
}

/// What `meta.properties` says while neither broker may start.
fn half_done(identity: &MetaProperties, from: &Path) -> Vec<u8> {
    let MetaProperties { cluster_id, node_id, directory_id } = identity;
    format!(
        "# An import into this folder was not finished: run the same ottla import again.\nversion={HALF_DONE}\n\
         cluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n{FROM}={}\n",
        from.display()
    )
    .into_bytes()
}

/// Looks whether a target of a copy can be written to: it is empty, or a copy of the same was begun there.
pub fn check_target(found: &Found, mode: &Mode) -> Result<()> {
    let (from, targets) = (&found.dirs[found.metadata_dir].path, mode.targets(found));
    let there = |at: usize| match std::fs::read(targets[at].join(IDENTITY)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.at(targets[at].display()),
    };
    let is_half = |at: usize| there(at).map(|there| there == half_done(&mode.identity(found, at), from));
    let home_is_half = is_half(mode.target(found.metadata_dir))?;
    for (at, target) in targets.iter().enumerate() {
        if !target.exists() {
            continue;
        }
        let names: Vec<String> = list(target)?.into_iter().map(|(name, ..)| name).collect();
        let mut strange = names.iter().filter(|name| !matches!(&name[..], "lost+found" | ".lock"));
        let Some(first) = strange.next() else { continue };
        // One that was cut short before it had a file may have left that unfinished.
        if names.contains(&IDENTITY.to_owned()) {
            // The folder of the metadata is the last that becomes Ottla's.
            let becoming = home_is_half && there(at)? == mode.identity(found, at).encode();
            if becoming || is_half(at)? {
                continue;
            }
        } else if strange.next().is_none() && first.starts_with(IDENTITY) && !is_ours(first) {
            continue;
        }
        return Err(Failure::new(format!(
            "{} is not empty, and no unfinished import of {} ({first})",
            target.display(),
            from.display()
        ))
        .advice("Choose another folder with --data-dir, or make this one empty."));
    }
    Ok(())
}
