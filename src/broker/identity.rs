//! Who a data folder belongs to: `meta.properties`.

use std::io;
use std::path::Path;

use crate::log::checkpoint::MetaProperties;
use crate::reactor::{Disk, Reactor};
use crate::wire::uuid::Uuid;

const FILE: &str = "meta.properties";

/// Reads whose folder it is, or makes it this node's. The error says what to do.
pub async fn establish(
    reactor: &Reactor,
    disk: &Disk,
    dir: &Path,
    node_id: i32,
) -> Result<MetaProperties, String> {
    let path = dir.join(FILE);
    let bytes = match disk.read(&path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = MetaProperties {
                cluster_id: random_id(reactor).to_string(),
                node_id,
                directory_id: random_id(reactor),
            };
            disk.replace(&path, found.encode()).await.map_err(|e| format!("{}: {e}", path.display()))?;
            return Ok(found);
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let found = MetaProperties::decode(&bytes).map_err(|why| format!("{}: {why}", path.display()))?;
    if found.node_id != node_id {
        return Err(format!(
            "{} says that the folder belongs to node {}, and this is node {node_id}: give this node a folder of its own \
             (log.dirs), or set node.id={}",
            path.display(),
            found.node_id,
            found.node_id
        ));
    }
    Ok(found)
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
