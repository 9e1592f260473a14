//! A node's log directories when it starts: whose they are, what their disks allow, and what lies in them.
//!
//! A directory that cannot be used is told, and left out: its partitions are offline, and the others are served.
//! Only the directory of the metadata log must work.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::boot::{self, Found};
use super::core::NamedDir;
use super::identity;
use super::log_dir::LogDir;
use super::messages::PartitionId;
use super::metadata_log::METADATA_TOPIC;
use super::open::Before;
use super::relocate::{FUTURE, future_dir};
use crate::collections::Set;
use crate::controller::directories::Assignment;
use crate::controller::{Image, Partition};
use crate::log::checkpoint::MetaProperties;
use crate::log::segment;
use crate::reactor::{DiskReport, Reactor};
use crate::wire::uuid::Uuid;

/// The file whose lock says that a node uses the folder.
const LOCK: &str = ".lock";

/// The log directories of a node that starts.
#[derive(Debug)]
pub struct Dirs {
    /// The cluster that all of them belong to.
    pub cluster_id: String,
    /// In the order of the node's settings.
    pub all: Vec<Dir>,
    /// Replicas that were being moved when the node ended, and the ids of the directories that they were to go to.
    pub on_their_way: Vec<(PartitionId, Uuid)>,
}

/// One log directory.
#[derive(Debug)]
pub struct Dir {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds, or why it cannot be used.
    pub found: Result<Found, String>,
}

impl Dirs {
    /// Locks the directories, makes those that are missing, and looks at them. `needed` is the place of the one
    /// without which there is no broker.
    pub async fn look(
        reactor: &Reactor,
        paths: &[PathBuf],
        needed: usize,
        node_id: i32,
    ) -> Result<Dirs, String> {
        let mut locked = Vec::new();
        for path in paths {
            locked.push(lock(reactor, path).await);
        }
        if let Some(Err(Unusable::InUse(why))) = locked.iter().find(|l| matches!(l, Err(Unusable::InUse(_))))
        {
            return Err(why.clone());
        }
        let locked: Vec<Result<(), String>> =
            locked.into_iter().map(|locked| locked.map_err(Unusable::into_text)).collect();
        let (cluster_id, identities) = identify(reactor, paths, locked, node_id).await?;
        let mut all = Vec::new();
        for (path, identity) in paths.iter().zip(identities) {
            let found = match identity {
                Ok(identity) => look_at(reactor, path, identity.directory_id).await,
                Err(why) => Err(why),
            };
            all.push(Dir { path: path.clone(), found });
        }
        if let Err(why) = &all[needed].found {
            return Err(why.clone());
        }
        all.iter().filter_map(|dir| dir.found.as_ref().err()).for_each(|why| tell_unusable(why));
        Ok(Dirs { cluster_id, all, on_their_way: Vec::new() })
    }

    /// The directories that work, with their places.
    pub fn usable(&self) -> impl Iterator<Item = (usize, &Path, &Found)> {
        let all = self.all.iter().enumerate();
        all.filter_map(|(index, dir)| Some((index, dir.path.as_path(), dir.found.as_ref().ok()?)))
    }

    /// The id of the directory of this place; reserved where it cannot be used.
    pub fn id(&self, index: usize) -> Uuid {
        self.all[index].found.as_ref().map_or(Uuid::ZERO, |found| found.id)
    }

    /// Those of these paths, as the APIs know them.
    pub fn named(&self, paths: &[PathBuf]) -> Vec<NamedDir> {
        let named =
            |dir: &Dir| NamedDir { path: dir.path.clone(), id: dir.found.as_ref().ok().map(|f| f.id) };
        self.all.iter().filter(|dir| paths.contains(&dir.path)).map(named).collect()
    }

    /// What the operator is told of them.
    pub fn told(&self) -> Vec<DirTold> {
        let told = |dir: &Dir| match &dir.found {
            Ok(found) => Ok((found.report.clone(), found.clean)),
            Err(why) => Err(why.clone()),
        };
        self.all.iter().map(|dir| (dir.path.clone(), told(dir))).collect()
    }

    /// What is known of a partition's log that lies in this directory.
    pub fn before(&self, directory: Uuid, id: PartitionId, topic: &str) -> Before {
        let mut own = self.usable().filter(|(_, _, found)| found.id == directory || directory.is_reserved());
        let own = own.next().map(|(_, _, found)| found.before(topic, id)).unwrap_or_default();
        // The marks of a folder that was carried from one directory to another stayed where they were.
        let elsewhere = || self.usable().filter_map(|(_, _, found)| found.before(topic, id).mark).max();
        Before { mark: own.mark.or_else(elsewhere), ..own }
    }
}

/// Why a directory cannot be used.
enum Unusable {
    /// Another node uses it.
    InUse(String),
    /// The disk says no.
    Io(String),
}

impl Unusable {
    fn into_text(self) -> String {
        match self {
            Unusable::InUse(why) | Unusable::Io(why) => why,
        }
    }
}

async fn lock(reactor: &Reactor, path: &Path) -> Result<(), Unusable> {
    let disk = reactor.disk();
    disk.create_dirs(path).await.map_err(|error| Unusable::Io(cannot_use(path, &error)))?;
    disk.lock(&path.join(LOCK)).await.map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => Unusable::InUse(error.to_string()),
        _ => Unusable::Io(cannot_use(path, &error)),
    })
}

/// Whose the directories are; those that are new become this node's.
async fn identify(
    reactor: &Reactor,
    paths: &[PathBuf],
    locked: Vec<Result<(), String>>,
    node_id: i32,
) -> Result<(String, Vec<Result<MetaProperties, String>>), String> {
    let disk = reactor.disk();
    let mut known: Vec<Result<Option<MetaProperties>, String>> = Vec::new();
    for (path, locked) in paths.iter().zip(locked) {
        known.push(match locked {
            Ok(()) => match identity::read(&disk, path, node_id).await {
                Ok(found) => Ok(found),
                Err(identity::Unread::Io(why)) => Err(why),
                Err(identity::Unread::NotOurs(why)) => return Err(why),
            },
            Err(why) => Err(why),
        });
    }
    let mut named =
        paths.iter().zip(&known).filter_map(|(path, known)| Some((path, known.as_ref().ok()?.as_ref()?)));
    let first = named.next();
    let mut ids: Set<Uuid> = first.iter().map(|(_, found)| found.directory_id).collect();
    for (path, found) in named {
        let (first_path, first) = first.expect("there is one before the second");
        if found.cluster_id != first.cluster_id {
            return Err(format!(
                "{} belongs to the cluster {}, and {} to {}: the log directories of a broker are of one cluster. Leave \
                 one of them out of log.dirs",
                first_path.display(),
                first.cluster_id,
                path.display(),
                found.cluster_id
            ));
        }
        if !ids.insert(found.directory_id) {
            return Err(format!(
                "{} has the same directory.id as another of the log directories: one is a copy of the other. Leave one \
                 of them out of log.dirs",
                path.display()
            ));
        }
    }
    let cluster_id =
        first.map_or_else(|| identity::random_id(reactor).to_string(), |(_, found)| found.cluster_id.clone());
    let mut identities = Vec::new();
    for (path, known) in paths.iter().zip(known) {
        identities.push(match known {
            Ok(Some(found)) => Ok(found),
            Ok(None) => identity::make(reactor, &disk, path, node_id, &cluster_id).await,
            Err(why) => Err(why),
        });
    }
    Ok((cluster_id, identities))
}

async fn look_at(reactor: &Reactor, path: &Path, id: Uuid) -> Result<Found, String> {
    boot::look(&reactor.disk(), path, id).await.map_err(|error| cannot_use(path, &error))
}

/// Makes a directory that was found ready for work: from here on a crash leaves it unclean.
pub async fn begin(reactor: &Reactor, path: &Path, found: &Found) -> Result<LogDir, String> {
    let begin = async {
        let log_dir = LogDir::open(reactor, (found.id, path), found.report.clone()).await?;
        boot::remove_deleted(&log_dir).await?;
        boot::begin(&log_dir.disk, path, found).await?;
        Ok(log_dir)
    };
    begin.await.map_err(|error: io::Error| cannot_use(path, &error))
}

/// Tells the operator of a directory that is left out.
pub fn tell_unusable(why: &str) {
    tracing::error!("{why}. Its partitions are offline until the broker is started again with it mended");
}

/// The text of an error that a directory gave.
pub fn cannot_use(dir: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": let this user write there, or choose another folder (--data-dir)"
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            ": a file is in its place or on the way to it; move the file, or choose another folder (--data-dir)"
        }
        io::ErrorKind::StorageFull => ": the disk is full; make room on it, then start again",
        io::ErrorKind::ReadOnlyFilesystem => {
            ": choose a folder on a file system that can be written (--data-dir)"
        }
        _ => "",
    };
    format!("the folder {} cannot be used: {error}{advice}", dir.display())
}

/// What is told of a directory at the start: where it is, and what its file system allows and whether it was left by
/// a clean stop, or why it cannot be used.
pub type DirTold = (PathBuf, Result<(DiskReport, bool), String>);

/// Which partitions' folders lie in which directories.
#[derive(Debug, Default)]
pub struct Located {
    folders: BTreeMap<(String, i32), Vec<Uuid>>,
    /// Folders that replicas were being copied into.
    futures: BTreeMap<String, Vec<Uuid>>,
}

/// A replica with a folder that it was being copied into when the node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underway {
    /// The partition.
    pub id: PartitionId,
    /// Its name.
    pub name: String,
    /// The id of the directory that the copy is in.
    pub to: Uuid,
    /// Whether the copy counts by the metadata, and only the folders' names are to be changed.
    pub counts: bool,
}

impl Located {
    /// Lists the directories. The error names the one that cannot be listed.
    pub async fn look<'a>(log_dirs: impl Iterator<Item = &'a LogDir>) -> Result<Located, (Uuid, io::Error)> {
        let mut located = Located::default();
        for log_dir in log_dirs {
            let listed = log_dir.disk.list(&log_dir.path).await;
            let entries = listed.map_err(|error| (log_dir.id, error))?;
            for entry in entries.into_iter().filter(|entry| entry.is_dir) {
                if let Some((topic, partition)) = segment::parse_partition_dir(&entry.name)
                    && topic != METADATA_TOPIC
                {
                    located.folders.entry((topic.to_owned(), partition)).or_default().push(log_dir.id);
                } else if entry.name.ends_with(FUTURE) {
                    located.futures.entry(entry.name).or_default().push(log_dir.id);
                }
            }
        }
        Ok(located)
    }

    /// The replicas of this broker that were being moved.
    pub fn underway(&self, image: &Image, node_id: i32) -> Vec<Underway> {
        let mut underway = Vec::new();
        if self.futures.is_empty() {
            return underway;
        }
        for topic in image.topics() {
            for (number, partition) in topic.partitions.iter() {
                let Some(said) = partition.directory_on(node_id) else { continue };
                let name = format!("{}-{number}", topic.name);
                let futures = self.futures.get(&segment::renamed_dir(&name, topic.id, FUTURE));
                let folders = self.folders.get(&(topic.name.to_string(), *number));
                let is_there = folders.is_some_and(|folders| folders.contains(&said));
                for to in futures.into_iter().flatten() {
                    let id = PartitionId { topic: topic.id, partition: *number };
                    let counts = *to == said && !is_there;
                    underway.push(Underway { id, name: name.clone(), to: *to, counts });
                }
            }
        }
        underway
    }

    /// The partitions of this broker that lie elsewhere than the image says: an operator may have carried a folder from
    /// one disk to another. `lost` says whose records may be lost: where the directory of such a one is not there any
    /// more, it begins anew in one that is.
    pub fn misplaced(
        &self,
        image: &Image,
        node_id: i32,
        usable: &[Uuid],
        lost: impl Fn(&str, i32) -> bool,
    ) -> Vec<Assignment> {
        let mut misplaced = Vec::new();
        for topic in image.topics() {
            for (number, partition) in topic.partitions.iter() {
                let Some(said) = partition.directory_on(node_id) else { continue };
                let folders = self.folders.get(&(topic.name.to_string(), *number));
                let folders = folders.map(Vec::as_slice).unwrap_or_default();
                if folders.contains(&said) {
                    continue;
                }
                let begins_anew = said.is_reserved() || !usable.contains(&said) && lost(&topic.name, *number);
                let spread = usable.get(*number as usize % usable.len().max(1));
                let fallback = spread.filter(|_| begins_anew);
                if let Some(directory) = folders.first().or(fallback) {
                    misplaced.push(Assignment { topic: topic.id, partition: *number, directory: *directory });
                }
            }
        }
        misplaced
    }
}

/// Does what is left of a move: where the copy counts, the folders change their names; else it goes. The error names
/// the directory that fails. What the replica was copied from stays until the copy has its name.
pub async fn settle_move(
    log_dirs: impl Iterator<Item = &LogDir>,
    underway: &Underway,
) -> Result<(), (Uuid, io::Error)> {
    let mut in_order: Vec<&LogDir> = log_dirs.collect();
    in_order.sort_by_key(|log_dir| log_dir.id != underway.to);
    for log_dir in in_order {
        settle_in(log_dir, underway).await.map_err(|error| (log_dir.id, error))?;
    }
    Ok(())
}

async fn settle_in(log_dir: &LogDir, underway: &Underway) -> io::Result<()> {
    let Underway { id, name, to, counts } = underway;
    let (disk, path) = (&log_dir.disk, &log_dir.path);
    let future = future_dir(path, name, id.topic);
    match (log_dir.id == *to, counts) {
        (true, true) => disk.rename(&future, &path.join(name)).await?,
        (true, false) => disk.remove_dirs(&future).await?,
        // What it was copied from.
        (false, true) => match disk.remove_dirs(&path.join(name)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        },
        (false, false) => return Ok(()),
    }
    disk.sync_dir(path).await
}

/// Whether a partition is this broker's, and lies in this directory by the image.
pub fn belongs(partition: &Partition, node_id: i32, directory: Uuid) -> bool {
    partition.core_on(node_id).is_some()
        && partition.directory_on(node_id).is_none_or(|said| said == directory || said.is_reserved())
}
