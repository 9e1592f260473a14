//! The records of `__consumer_offsets`, in Kafka's bytes.

use bytes::Bytes;

use crate::wire::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::wire::schema::Record as _;
use crate::wire::schema::*;

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
    /// A group of KIP-848, by its id.
    Consumer(String, ConsumerRecord),
    /// The end of the transaction of the producer that the batch names.
    EndTransaction {
        /// Whether it is committed.
        commit: bool,
        /// The epoch of the transaction's coordinator.
        coordinator_epoch: i32,
    },
}

/// A record of a group of KIP-848. Without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsumerRecord {
    /// The group's epoch.
    Epoch(Option<ConsumerGroupMetadataValue>),
    /// What it knew of its topics, as old versions wrote it.
    Topics(Option<ConsumerGroupPartitionMetadataValue>),
    /// A member.
    Member(String, Option<ConsumerGroupMemberMetadataValue>),
    /// The epoch of the target assignment.
    TargetEpoch(Option<ConsumerGroupTargetAssignmentMetadataValue>),
    /// What a member is to have.
    Target(String, Option<ConsumerGroupTargetAssignmentMemberValue>),
    /// What a member has.
    Current(String, Option<ConsumerGroupCurrentMemberAssignmentValue>),
    /// What a regular expression matched.
    Pattern(String, Option<ConsumerGroupRegularExpressionValue>),
}

impl ConsumerRecord {
    /// The record that deletes this one.
    pub fn tombstone(self) -> ConsumerRecord {
        use ConsumerRecord::*;
        match self {
            Epoch(_) => Epoch(None),
            Topics(_) => Topics(None),
            Member(id, _) => Member(id, None),
            TargetEpoch(_) => TargetEpoch(None),
            Target(id, _) => Target(id, None),
            Current(id, _) => Current(id, None),
            Pattern(text, _) => Pattern(text, None),
        }
    }

    fn encode(&self, group: &str) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        use ConsumerRecord::*;
        let group_id = || group.to_string();
        match self {
            Epoch(value) => pair(&ConsumerGroupMetadataKey { group_id: group_id() }, value.as_ref()),
            Topics(value) => {
                pair(&ConsumerGroupPartitionMetadataKey { group_id: group_id() }, value.as_ref())
            }
            Member(id, value) => {
                let key = ConsumerGroupMemberMetadataKey { group_id: group_id(), member_id: id.clone() };
                pair(&key, value.as_ref())
            }
            TargetEpoch(value) => {
                pair(&ConsumerGroupTargetAssignmentMetadataKey { group_id: group_id() }, value.as_ref())
            }
            Target(id, value) => {
                let key =
                    ConsumerGroupTargetAssignmentMemberKey { group_id: group_id(), member_id: id.clone() };
                pair(&key, value.as_ref())
            }
            Current(id, value) => {
                let key =
                    ConsumerGroupCurrentMemberAssignmentKey { group_id: group_id(), member_id: id.clone() };
                pair(&key, value.as_ref())
            }
            Pattern(text, value) => {
                let regular_expression = text.clone();
                pair(
                    &ConsumerGroupRegularExpressionKey { group_id: group_id(), regular_expression },
                    value.as_ref(),
                )
            }
        }
    }

    /// Reads a record whose key has this number; none if it is not of a group of KIP-848.
    fn decode(
        number: i16,
        key: &mut Reader,
        value: Option<Bytes>,
    ) -> Result<Option<(String, ConsumerRecord)>, DecodeError> {
        use ConsumerRecord::*;
        let record = match number {
            ConsumerGroupMetadataKey::KEY => {
                let key = ConsumerGroupMetadataKey::decode(key, 0)?;
                (key.group_id, Epoch(decode_value(value)?))
            }
            ConsumerGroupPartitionMetadataKey::KEY => {
                let key = ConsumerGroupPartitionMetadataKey::decode(key, 0)?;
                (key.group_id, Topics(decode_value(value)?))
            }
            ConsumerGroupMemberMetadataKey::KEY => {
                let key = ConsumerGroupMemberMetadataKey::decode(key, 0)?;
                (key.group_id, Member(key.member_id, decode_value(value)?))
            }
            ConsumerGroupTargetAssignmentMetadataKey::KEY => {
                let key = ConsumerGroupTargetAssignmentMetadataKey::decode(key, 0)?;
                (key.group_id, TargetEpoch(decode_value(value)?))
            }
            ConsumerGroupTargetAssignmentMemberKey::KEY => {
                let key = ConsumerGroupTargetAssignmentMemberKey::decode(key, 0)?;
                (key.group_id, Target(key.member_id, decode_value(value)?))
            }
            ConsumerGroupCurrentMemberAssignmentKey::KEY => {
                let key = ConsumerGroupCurrentMemberAssignmentKey::decode(key, 0)?;
                (key.group_id, Current(key.member_id, decode_value(value)?))
            }
            ConsumerGroupRegularExpressionKey::KEY => {
                let key = ConsumerGroupRegularExpressionKey::decode(key, 0)?;
                (key.group_id, Pattern(key.regular_expression, decode_value(value)?))
            }
            _ => return Ok(None),
        };
        Ok(Some(record))
    }
}

/// Key and value of a record whose values have one version.
fn pair<K: crate::wire::schema::Record, V: Message>(
    key: &K,
    value: Option<&V>,
) -> Result<(Bytes, Option<Bytes>), EncodeError> {
    Ok((encode_key(key)?, encode_value(value, |_| 0)?))
}

/// The version of a group's record: the last one before they became flexible, as Kafka writes them.
const GROUP_VERSION: i16 = 3;
/// The version of an offset's record that has a time at which it expires.
const OFFSET_EXPIRES: i16 = 1;

impl Record {
    /// The epoch of the transaction's coordinator, where it says one.
    pub fn coordinator_epoch(&self) -> Option<i32> {
        match self {
            Record::EndTransaction { coordinator_epoch, .. } => Some(*coordinator_epoch),
            _ => None,
        }
    }

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
            Record::Consumer(group, record) => record.encode(group),
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
            number => match ConsumerRecord::decode(number, &mut key, value)? {
                Some((group, record)) => Record::Consumer(group, record),
                None => return Ok(None),
            },
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
                Record::Consumer(group, record) => {
                    let partitions = match record {
                        ConsumerRecord::Target(_, Some(value)) => value
                            .topic_partitions
                            .iter()
                            .map(|topic| FRAME + 4 * topic.partitions.len())
                            .sum(),
                        ConsumerRecord::Current(_, Some(value)) => {
                            let topics =
                                value.assigned_partitions.iter().chain(&value.partitions_pending_revocation);
                            topics.map(|topic| FRAME + 4 * topic.partitions.len()).sum()
                        }
                        _ => 2 * FRAME,
                    };
                    group.len() + partitions
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
