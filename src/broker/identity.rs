//! Who a data folder belongs to: `meta.properties`.

use std::io;
use std::path::Path;

use crate::log::checkpoint::MetaProperties;
use crate::reactor::{Disk, Reactor};
use crate::wire::uuid::Uuid;

const FILE: &str = "meta.properties";

/// Why it is not known whose folder it is.
pub enum Unread {
    /// The disk says no.
    Io(String),
    /// It is another's, or it cannot be said; the text says what to do.
    NotOurs(String),
}

/// Reads whose folder it is; none where it is nobody's yet.
pub async fn read(disk: &Disk, dir: &Path, node_id: i32) -> Result<Option<MetaProperties>, Unread> {
    let path = dir.join(FILE);
    let bytes = match disk.read(&path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unread::Io(format!("{}: {error}", path.display()))),
    };
    // An import that was cut short says so in the place of the version; a Kafka knows no format.
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("version=ottla-import") {
        return Err(Unread::NotOurs(format!(
            "{}: an import into this folder was cut short: run the same ottla import again",
            path.display()
        )));
    }
    if !text.contains("ottla.format=") {
        return Err(Unread::NotOurs(format!(
            "{} is of a Kafka: adopt its folder with ottla import --from {}, which tells what becomes of it, or give this \
             node another folder (log.dirs, --data-dir)",
            path.display(),
            dir.display()
        )));
    }
    let found = MetaProperties::decode(&bytes)
        .map_err(|why| Unread::NotOurs(format!("{}: {why}", path.display())))?;
    if found.node_id != node_id {
        return Err(Unread::NotOurs(format!(
            "{} says that the folder belongs to node {}, and this is node {node_id}: give this node a folder of its own \
             (log.dirs), or set node.id={}",
            path.display(),
            found.node_id,
            found.node_id
        )));
    }
    Ok(Some(found))
}

/// Makes a folder this node's.
pub async fn make(
    reactor: &Reactor,
    disk: &Disk,
    dir: &Path,
    node_id: i32,
    cluster_id: &str,
) -> Result<MetaProperties, String> {
    let path = dir.join(FILE);
    let made =
        MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id: random_id(reactor) };
    disk.replace(&path, made.encode()).await.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(made)
}

/// An id by chance.
pub fn random_id(reactor: &Reactor) -> Uuid {
    loop {
        let bytes = u128::from(reactor.random()) << 64 | u128::from(reactor.random());
        if let Some(id) = Uuid::from_random(bytes.to_be_bytes()) {
            return id;
        }
    }
}
