//! The records of `__consumer_offsets`, in Kafka's bytes.

use bytes::Bytes;

use crate::wire::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::wire::schema::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, Message, OffsetCommitKey, OffsetCommitValue,
    Record as _,
};

/// A producer, as batches name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// What a batch of `__consumer_offsets` is besides its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// What it says holds at once.
    #[default]
    Plain,
    /// What it says holds when the producer's transaction is committed.
    Transactional(Producer),
    /// A control batch that ends the producer's transaction, with one [`Record::EndTransaction`].
    Marker(Producer),
}

/// A record of `__consumer_offsets`. Without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A committed offset.
    Offset(OffsetCommitKey, Option<OffsetCommitValue>),
    /// A classic group.
    Group(GroupMetadataKey, Option<GroupMetadataValue>),
    /// The end of the transaction of the producer that the batch names.
    EndTransaction {
        /// Whether it is committed.
        commit: bool,
        /// The epoch of the transaction's coordinator.
        coordinator_epoch: i32,
    },
}

/// The version of a group's record: the last one before they became flexible, as Kafka writes them.
const GROUP_VERSION: i16 = 3;
/// The version of an offset's record that has a time at which it expires.
const OFFSET_EXPIRES: i16 = 1;

impl Record {
    /// The bytes of key and value of a record of a batch that is not a marker.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Record::Offset(key, value) => {
                let version = |value: &OffsetCommitValue| match value.expire_timestamp {
                    -1 => *OffsetCommitValue::versions().end(),
                    _ => OFFSET_EXPIRES,
                };
                Ok((encode_key(key)?, encode_value(value.as_ref(), version)?))
            }
            Record::Group(key, value) => {
                Ok((encode_key(key)?, encode_value(value.as_ref(), |_| GROUP_VERSION)?))
            }
            Record::EndTransaction { .. } => panic!("the end of a transaction is a control record"),
        }
    }

    /// Reads a record of a batch that is not a marker. None: it is of a kind that is not known here.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Record>, DecodeError> {
        let mut key = Reader::new(key);
        let record = match key.i16()? {
            LegacyOffsetCommitKey::KEY => {
                let LegacyOffsetCommitKey { group, topic, partition } =
                    LegacyOffsetCommitKey::decode(&mut key, 0)?;
                Record::Offset(OffsetCommitKey { group, topic, partition }, decode_value(value)?)
            }
            OffsetCommitKey::KEY => {
                Record::Offset(OffsetCommitKey::decode(&mut key, 0)?, decode_value(value)?)
            }
            GroupMetadataKey::KEY => {
                Record::Group(GroupMetadataKey::decode(&mut key, 0)?, decode_value(value)?)
            }
            _ => return Ok(None),
        };
        key.finish()?;
        Ok(Some(record))
    }

    /// About how many bytes it takes in a batch.
    pub fn size(&self) -> usize {
        const FRAME: usize = 48;
        FRAME
            + match self {
                Record::Offset(key, value) => {
                    key.group.len() + key.topic.len() + value.as_ref().map_or(0, |value| value.metadata.len())
                }
                Record::Group(key, value) => {
                    let members = value.iter().flat_map(|value| &value.members);
                    key.group.len()
                        + members
                            .map(|member| {
                                FRAME
                                    + member.member_id.len()
                                    + member.client_id.len()
                                    + member.client_host.len()
                                    + member.group_instance_id.as_ref().map_or(0, String::len)
                                    + member.subscription.len()
                                    + member.assignment.len()
                            })
                            .sum::<usize>()
                }
                Record::EndTransaction { .. } => 0,
            }
    }
}

/// The key of a record begins with the number of its kind, where a message would have its version.
fn encode_key<K: crate::wire::schema::Record>(key: &K) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    w.put_i16(K::KEY);
    key.encode(&mut w, 0)?;
    Ok(w.into_bytes())
}

fn encode_value<V: Message>(
    value: Option<&V>,
    version: impl FnOnce(&V) -> i16,
) -> Result<Option<Bytes>, EncodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut w = Writer::new();
    let version = version(value);
    w.put_i16(version);
    value.encode(&mut w, version)?;
    Ok(Some(w.into_bytes()))
}

fn decode_value<V: Message>(value: Option<Bytes>) -> Result<Option<V>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut r = Reader::new(value);
    let version = r.i16()?;
    let value = V::decode(&mut r, version)?;
    r.finish().map_err(|e| e.within(V::NAME))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::schema::MemberMetadata;

    fn again(record: &Record) -> Record {
        let (key, value) = record.encode().unwrap();
        Record::decode(key, value).unwrap().unwrap()
    }

    #[test]
    fn an_offset_has_kafkas_bytes() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 2 };
        let value = OffsetCommitValue {
            offset: 5,
            leader_epoch: 1,
            metadata: "m".into(),
            commit_timestamp: 7,
            expire_timestamp: 9,
            ..Default::default()
        };
        let record = Record::Offset(key, Some(value));
        let (key, value) = record.encode().unwrap();
        assert_eq!(key[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2]);
        // Version 1 has no leader epoch, and a time of expiry.
        let mut expected = vec![0, 1];
        expected.extend(5i64.to_be_bytes());
        expected.extend([0, 1, b'm']);
        expected.extend(7i64.to_be_bytes());
        expected.extend(9i64.to_be_bytes());
        assert_eq!(value.unwrap()[..], expected);
    }

    #[test]
    fn records_come_back_as_they_went() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 2 };
        let value =
            OffsetCommitValue { offset: 5, leader_epoch: 3, commit_timestamp: 7, ..Default::default() };
        let member = MemberMetadata {
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
            session_timeout: 10,
            rebalance_timeout: 20,
            ..Default::default()
        };
        let group = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 4,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            current_state_timestamp: 99,
            members: vec![member],
        };
        let group_key = GroupMetadataKey { group: "g".into() };
        for record in [
            Record::Offset(key.clone(), Some(value)),
            Record::Offset(key, None),
            Record::Group(group_key.clone(), Some(group)),
            Record::Group(group_key, None),
        ] {
            assert_eq!(again(&record), record);
        }
    }

    #[test]
    fn other_kinds_are_skipped_and_damage_is_told() {
        let share_group = Bytes::from_static(&[0, 11, 0, 1, b'g']);
        assert_eq!(Record::decode(share_group, None).unwrap(), None);
        assert!(Record::decode(Bytes::from_static(&[0]), None).is_err());
        assert!(Record::decode(Bytes::from_static(&[0, 2, 0, 9, b'g']), None).is_err());
        let key = Bytes::from_static(&[0, 2, 0, 1, b'g']);
        assert!(Record::decode(key, Some(Bytes::from_static(&[0, 9]))).is_err());
    }
}
