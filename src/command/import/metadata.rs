//! What Kafka's metadata log says: its latest snapshot and the segments behind it, read into an image, and beside it
//! what an image of Ottla has no place for. Pure.

use std::collections::BTreeSet;

use crate::broker::metadata_log;
use crate::controller::Image;
use crate::controller::features::METADATA_VERSION;
use crate::wire::batch::Batch;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::FeatureLevelRecord;
use crate::wire::uuid::Uuid;

/// The feature whose level says which records a cluster writes.
const VERSION: &str = "metadata.version";

/// Kafka's metadata, as of its last record.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// What Ottla knows of too: topics, settings, brokers, features, producer ids.
    pub image: Image,
    /// What it does not.
    pub unserved: Unserved,
    /// Where the last segment breaks off, if it does.
    pub torn: Option<String>,
}

/// What Ottla does not serve yet; by what tells one from the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unserved {
    /// ACLs, by their ids.
    pub acls: BTreeSet<Uuid>,
    /// SCRAM credentials: the user and the mechanism's number.
    pub users: BTreeSet<(String, i8)>,
    /// Quotas: the entity and the quota's name.
    pub quotas: BTreeSet<(String, String)>,
    /// Delegation tokens.
    pub tokens: BTreeSet<String>,
    /// The controllers that registered.
    pub controllers: BTreeSet<i32>,
}

impl Metadata {
    /// The level of `metadata.version`.
    pub fn version(&self) -> i16 {
        self.image.features().get(VERSION).copied().unwrap_or(0)
    }
}

/// A file of the metadata log.
#[derive(Clone, Debug)]
pub struct MetadataFile {
    /// Its path, for errors.
    pub name: String,
    /// A segment's base offset; for a snapshot, the offset of the first record that it does not stand for.
    pub offset: i64,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Reads the metadata: the latest snapshot, if there is one, and the segments, oldest first.
pub fn read(
    cluster_id: &str,
    snapshot: Option<&MetadataFile>,
    segments: &[MetadataFile],
) -> Result<Metadata, String> {
    let mut reader = Reader {
        image: Image::empty(cluster_id),
        unserved: Unserved::default(),
        before_transaction: None,
        next: 0,
    };
    if let Some(snapshot) = snapshot {
        let end =
            reader.file(&snapshot.bytes, i64::MIN).map_err(|why| format!("{}: {why}", snapshot.name))?;
        if let Some(why) = end {
            return Err(format!("{}: {why}", snapshot.name));
        }
        reader.next = snapshot.offset;
    }
    let mut torn = None;
    for (at, segment) in segments.iter().enumerate() {
        if segment.offset > reader.next {
            return Err(format!(
                "{} begins at offset {}, and the records from {} on are nowhere",
                segment.name, segment.offset, reader.next
            ));
        }
        let end =
            reader.file(&segment.bytes, reader.next).map_err(|why| format!("{}: {why}", segment.name))?;
        match end {
            Some(why) if at + 1 < segments.len() => return Err(format!("{}: {why}", segment.name)),
            Some(why) => torn = Some(format!("{}: {why}", segment.name)),
            None => {}
        }
    }
    // What a transaction has changed counts once it has ended.
    if let Some((image, unserved)) = reader.before_transaction {
        (reader.image, reader.unserved) = (image, unserved);
    }
    Ok(Metadata { image: reader.image, unserved: reader.unserved, torn })
}

struct Reader {
    image: Image,
    unserved: Unserved,
    before_transaction: Option<(Image, Unserved)>,
    /// The offset of the next record.
    next: i64,
}

impl Reader {
    /// Reads a file's batches, leaving out the records before `from`. Gives where and why it breaks off, if it does.
    fn file(&mut self, bytes: &[u8], from: i64) -> Result<Option<String>, String> {
        let mut position = 0;
        while position < bytes.len() {
            let rest = &bytes[position..];
            if rest.iter().all(|byte| *byte == 0) {
                break;
            }
            let batch = match Batch::first(rest).and_then(|batch| batch.check().map(|()| batch)) {
                Ok(batch) => batch,
                Err(error) => return Ok(Some(format!("position {position}: {error}"))),
            };
            position += batch.bytes().len();
            self.batch(&batch, from)?;
        }
        Ok(None)
    }

    fn batch(&mut self, batch: &Batch<'_>, from: i64) -> Result<(), String> {
        let records = metadata_log::decode(batch).map_err(|why| {
            format!("{why}. A Kafka newer than 4.2 may have written it; run the Ottla that knows it")
        })?;
        for (offset, record) in (batch.base_offset()..).zip(&records).filter(|(offset, _)| *offset >= from) {
            self.record(record).map_err(|why| format!("offset {offset}, {}: {why}", record.name()))?;
        }
        if from != i64::MIN {
            self.next = self.next.max(batch.last_offset() + 1);
        }
        Ok(())
    }

    fn record(&mut self, record: &MetadataRecord) -> Result<(), String> {
        match record {
            MetadataRecord::AccessControlEntry(r) => drop(self.unserved.acls.insert(r.id)),
            MetadataRecord::RemoveAccessControlEntry(r) => drop(self.unserved.acls.remove(&r.id)),
            MetadataRecord::UserScramCredential(r) => {
                self.unserved.users.insert((r.name.clone(), r.mechanism));
            }
            MetadataRecord::RemoveUserScramCredential(r) => {
                self.unserved.users.remove(&(r.name.clone(), r.mechanism));
            }
            MetadataRecord::ClientQuota(r) => {
                let part = |e: &crate::wire::schema::ClientQuotaEntityData| {
                    format!("{} {}", e.entity_type, e.entity_name.as_deref().unwrap_or("(default)"))
                };
                let entity = r.entity.iter().map(part).collect::<Vec<_>>().join(", ");
                let quota = (entity, r.key.clone());
                match r.remove {
                    true => drop(self.unserved.quotas.remove(&quota)),
                    false => drop(self.unserved.quotas.insert(quota)),
                }
            }
            MetadataRecord::DelegationToken(r) => drop(self.unserved.tokens.insert(r.token_id.clone())),
            MetadataRecord::RemoveDelegationToken(r) => drop(self.unserved.tokens.remove(&r.token_id)),
            MetadataRecord::RegisterController(r) => drop(self.unserved.controllers.insert(r.controller_id)),
            MetadataRecord::ZkMigrationState(_) => {}
            MetadataRecord::BeginTransaction(_) => {
                self.before_transaction = Some((self.image.clone(), self.unserved.clone()));
            }
            MetadataRecord::EndTransaction(_) => self.before_transaction = None,
            MetadataRecord::AbortTransaction(_) => {
                let before = self.before_transaction.take();
                (self.image, self.unserved) = before.ok_or("no transaction has begun")?;
            }
            MetadataRecord::FeatureLevel(r) => self.feature(record, r)?,
            other => self.apply(other)?,
        }
        Ok(())
    }

    fn feature(&mut self, record: &MetadataRecord, r: &FeatureLevelRecord) -> Result<(), String> {
        if r.name == VERSION && r.feature_level > METADATA_VERSION {
            return Err(format!(
                "the cluster's metadata.version has the level {}, and this Ottla knows levels up to {METADATA_VERSION} \
                 (Kafka 4.2): run the Ottla that knows it",
                r.feature_level
            ));
        }
        self.apply(record)
    }

    fn apply(&mut self, record: &MetadataRecord) -> Result<(), String> {
        // The image counts by itself: a snapshot's records have no offsets of the log.
        let at = self.image.version() + 1;
        self.image = self.image.apply(std::slice::from_ref(record), at).map_err(|error| error.what)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
