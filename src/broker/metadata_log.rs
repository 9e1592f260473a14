//! The metadata log: the partition that the controller's records are kept in.

use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};

use super::log_dir::LogDir;
use super::messages::PartitionId;
use super::open::{OpenError, OpenRequest, Opener};
use crate::config::BrokerConfig;
use crate::controller::Image;
use crate::log::LogConfig;
use crate::log::segment::{self, Kind};
use crate::partition::AppendRules;
use crate::reactor::{Reactor, Share};
use crate::wire::batch::{Batch, BatchBuilder, Record};
use crate::wire::codec::{Reader, Writer};
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::uuid::Uuid;

/// The partition that holds the metadata log.
pub const METADATA_LOG: PartitionId = PartitionId { topic: Uuid::ONE, partition: 0 };
/// Its topic's name.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// Bytes that the records of one batch may have when read.
const BATCH_MAX: usize = 64 << 20;
/// Bytes that are read at once.
const READ: usize = 1 << 20;

/// How the metadata log is kept: nothing of it is ever deleted by time or size.
pub fn log_config(config: &BrokerConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.metadata_log_segment_bytes.into(),
        segment_ms: i64::try_from(config.metadata_log_segment_ms).unwrap_or(i64::MAX),
        retention_ms: -1,
        retention_bytes: -1,
        delete: false,
        ..LogConfig::default()
    }
}

/// The controller alone appends, and nothing that it makes is refused for its size or time.
pub fn append_rules() -> AppendRules {
    AppendRules {
        max_message_bytes: i32::MAX as usize,
        timestamp_after_max_ms: i64::MAX,
        ..AppendRules::default()
    }
}

/// Its folder.
pub fn dir(log_dir: &Path) -> PathBuf {
    segment::partition_dir(log_dir, METADATA_TOPIC, METADATA_LOG.partition)
}

/// What the metadata log says, after it was recovered.
pub struct Loaded {
    /// The cluster as of its last record.
    pub image: Image,
    /// The offset of the next record.
    pub next_offset: i64,
}

/// Recovers the metadata log and reads it whole. Comes before the shards start, for it says which partitions they
/// have.
pub async fn load(
    reactor: &Reactor,
    log_dir: &LogDir,
    request: &OpenRequest,
    cluster_id: &str,
) -> Result<Loaded, OpenError> {
    let opened = Opener::new(reactor, log_dir, request).open().await?;
    let (log, mut image) = (opened.log, Image::empty(cluster_id));
    if log.start_offset() > 0 {
        return Err(OpenError::Damaged(format!(
            "{}: the metadata log begins at offset {}, and what came before is in a snapshot, which this version does \
             not read",
            request.dir.display(),
            log.start_offset()
        )));
    }
    for segment in log.segments() {
        let path = segment::file(&request.dir, segment.base_offset, Kind::Log);
        let file = log_dir.disk.open(&path, false).await?;
        let (mut position, mut unread) = (0, BytesMut::new());
        while position < segment.size() {
            let chunk = file.read_at(reactor.pool().chunk(Share::Background, READ).await, position).await?;
            let new = chunk.len().min((segment.size() - position) as usize);
            if new == 0 {
                return Err(OpenError::Damaged(format!("{}: shorter than it was", path.display())));
            }
            unread.extend_from_slice(&chunk.freeze().slice(0..new));
            position += new as u64;
            image = apply_all(image, &mut unread)
                .map_err(|what| OpenError::Damaged(format!("{}: {what}", path.display())))?;
        }
    }
    Ok(Loaded { image, next_offset: log.next_offset() })
}

/// Applies the batches that are there as a whole, and takes them away.
fn apply_all(mut image: Image, bytes: &mut BytesMut) -> Result<Image, String> {
    loop {
        let Ok(batch) = Batch::first(bytes) else { return Ok(image) };
        let (at, len) = (batch.base_offset(), batch.bytes().len());
        let records = decode(&batch)?;
        if !records.is_empty() {
            image = image.apply(&records, at).map_err(|error| error.to_string())?;
        }
        bytes.advance(len);
    }
}

/// A batch of the metadata log.
pub fn encode(records: &[MetadataRecord], now_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    for record in records {
        let mut writer = Writer::new();
        record.encode(&mut writer).expect("the controller makes records that can be written");
        let value = writer.into_slices().concat();
        builder.append(now_ms, None, Some(&value), &[]);
    }
    Bytes::from(builder.build().expect("an uncompressed batch can be built"))
}

/// The records of a batch; a control batch has none.
pub fn decode(batch: &Batch<'_>) -> Result<Vec<MetadataRecord>, String> {
    if batch.is_control() {
        return Ok(Vec::new());
    }
    let at = batch.base_offset();
    let records = batch.open(BATCH_MAX).map_err(|error| format!("in the batch at offset {at}: {error}"))?;
    let decode = |record: Result<Record<'_>, _>| {
        let record = record.map_err(|error: crate::wire::batch::BatchError| error.to_string())?;
        let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
        MetadataRecord::decode(&mut Reader::new(value)).map_err(|error| error.to_string())
    };
    let all: Result<Vec<_>, String> = records.iter().map(decode).collect();
    all.map_err(|error| format!("in the batch at offset {at}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchMut;
    use crate::wire::schema::FeatureLevelRecord;

    #[test]
    fn what_is_written_reads_back() {
        let level =
            |name: &str, feature_level| FeatureLevelRecord { name: name.into(), feature_level }.into();
        let batches = [vec![level("a", 1), level("b", 2)], vec![level("a", 3)]];
        let mut bytes = BytesMut::new();
        let mut offset = 0;
        for records in &batches {
            let mut batch = encode(records, 5).to_vec();
            BatchMut::first(&mut batch).unwrap().set_base_offset(offset);
            offset += records.len() as i64;
            bytes.extend_from_slice(&batch);
        }
        let rest = bytes.split_off(bytes.len() - 3);
        let image = apply_all(Image::empty("c"), &mut bytes).unwrap();
        assert_eq!((image.version(), image.features()["a"], image.features()["b"]), (1, 1, 2));
        bytes.unsplit(rest);
        let image = apply_all(image, &mut bytes).unwrap();
        assert_eq!((image.version(), image.features()["a"], bytes.len()), (2, 3, 0));
    }
}
