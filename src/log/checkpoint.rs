//! Kafka's small text files: checkpoints, `partition.metadata`, `meta.properties`.

use std::fmt::Write;

use crate::wire::uuid::Uuid;

/// Offsets per topic and partition: `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`.
pub fn encode_offsets(entries: &[(String, i32, i64)]) -> Vec<u8> {
    let mut text = format!("0\n{}\n", entries.len());
    for (topic, partition, offset) in entries {
        writeln!(text, "{topic} {partition} {offset}").expect("a string takes all text");
    }
    text.into_bytes()
}

/// Reads an offset checkpoint; the error names the line.
pub fn decode_offsets(bytes: &[u8]) -> Result<Vec<(String, i32, i64)>, String> {
    lines(bytes)?
        .map(|(number, line)| {
            let mut words = line.split(' ');
            let entry = (|| {
                let topic = words.next()?.to_string();
                Some((topic, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
            })();
            entry.ok_or_else(|| format!("line {number}: '{line}' is not 'topic partition offset'"))
        })
        .collect()
}

/// The same name in a partition's own folder: the offset at which this log starts, where records were deleted.
pub fn encode_start(offset: i64) -> Vec<u8> {
    format!("0\n{offset}\n").into_bytes()
}

/// Reads where a log starts; the error says what is wrong.
pub fn decode_start(bytes: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_string())?;
    let offset = text.strip_prefix("0\n").and_then(|rest| rest.strip_suffix('\n')?.parse().ok());
    offset.filter(|offset| *offset >= 0).ok_or_else(|| "not a version 0 and an offset".to_string())
}

/// `leader-epoch-checkpoint`: epochs and the offsets at which they begin.
pub fn encode_epochs(entries: &[(i32, i64)]) -> Vec<u8> {
    let mut text = format!("0\n{}\n", entries.len());
    for (epoch, offset) in entries {
        writeln!(text, "{epoch} {offset}").expect("a string takes all text");
    }
    text.into_bytes()
}

/// Reads a leader epoch checkpoint; the error names the line.
pub fn decode_epochs(bytes: &[u8]) -> Result<Vec<(i32, i64)>, String> {
    lines(bytes)?
        .map(|(number, line)| {
            let entry = line.split_once(' ').and_then(|(e, o)| Some((e.parse().ok()?, o.parse().ok()?)));
            entry.ok_or_else(|| format!("line {number}: '{line}' is not 'epoch offset'"))
        })
        .collect()
}

/// The lines behind a checkpoint's version and count, numbered from 1 as in the file.
fn lines(bytes: &[u8]) -> Result<impl Iterator<Item = (usize, &str)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_string())?;
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    match lines.next() {
        Some((_, "0")) => {}
        Some((_, version)) => return Err(format!("version {version} is not known here")),
        None => return Err("empty".to_string()),
    }
    let count: usize = lines.next().and_then(|(_, n)| n.parse().ok()).ok_or("line 2: no count")?;
    let found = text.lines().count() - 2;
    if found != count {
        return Err(format!("{count} entries announced, {found} found"));
    }
    Ok(lines)
}

/// `partition.metadata`: which topic the folder belongs to.
pub fn encode_partition_metadata(topic_id: Uuid) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic_id}").into_bytes()
}

/// Reads `partition.metadata`.
pub fn decode_partition_metadata(bytes: &[u8]) -> Result<Uuid, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_string())?;
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id:")).ok_or("no topic_id in it")?;
    id.trim().parse().map_err(|_| format!("'{}' is not a topic id", id.trim()))
}

/// `meta.properties`: who the folder belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id.
    pub cluster_id: String,
    /// The broker's id.
    pub node_id: i32,
    /// The folder's own id.
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        let MetaProperties { cluster_id, node_id, directory_id } = self;
        format!(
            "#\nversion=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n\
             ottla.format={FORMAT}\n"
        )
        .into_bytes()
    }

    /// Reads the file; the error says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<MetaProperties, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_string())?;
        let get = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::trim)
        };
        match get("version") {
            Some("1") => {}
            other => return Err(format!("version {} is not known here", other.unwrap_or("(none)"))),
        }
        let format: u32 =
            get("ottla.format").unwrap_or("1").parse().map_err(|_| "ottla.format is no number")?;
        if format > FORMAT {
            return Err(format!(
                "the folder has format {format}, written by a newer Ottla; this one knows formats up to \
                 {FORMAT}: run the newer version"
            ));
        }
        Ok(MetaProperties {
            cluster_id: get("cluster.id").ok_or("no cluster.id in it")?.to_string(),
            node_id: get("node.id").and_then(|id| id.parse().ok()).ok_or("no node.id in it")?,
            directory_id: get("directory.id")
                .and_then(|id| id.parse().ok())
                .ok_or("no directory.id in it")?,
        })
    }
}

/// The format of a data folder that this version writes.
pub const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_read_back() {
        let offsets = vec![("a".to_string(), 0, 5), ("b.c".to_string(), 12, 99)];
        assert_eq!(decode_offsets(&encode_offsets(&offsets)), Ok(offsets));
        assert_eq!(decode_start(&encode_start(77)), Ok(77));
        for bad in ["", "0\n", "0\n7", "1\n7\n", "0\n-7\n", "0\n7\n8\n"] {
            assert!(decode_start(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let epochs = vec![(0, 0), (3, 17)];
        assert_eq!(decode_epochs(&encode_epochs(&epochs)), Ok(epochs));
        assert!(decode_epochs(b"0\n2\n1 2\n").unwrap_err().contains("2 entries"));
        assert!(decode_offsets(b"0\n1\nx y z\n").unwrap_err().contains("line 3"));
        assert!(decode_offsets(b"7\n0\n").unwrap_err().contains("version 7"));
    }

    #[test]
    fn metadata_reads_back_and_a_newer_format_is_refused() {
        let id = Uuid([9; 16]);
        assert_eq!(decode_partition_metadata(&encode_partition_metadata(id)), Ok(id));
        let meta = MetaProperties { cluster_id: "c".into(), node_id: 4, directory_id: id };
        assert_eq!(MetaProperties::decode(&meta.encode()), Ok(meta.clone()));
        let newer = String::from_utf8(meta.encode()).unwrap().replace("format=1", "format=2");
        assert!(MetaProperties::decode(newer.as_bytes()).unwrap_err().contains("newer"));
    }
}
