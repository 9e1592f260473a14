//! A group's committed offsets, packed: 32 bytes each, their topics by shared names.

use crate::collections::Map;
use crate::coordinator::names::Name;
use crate::wire::schema::OffsetCommitValue;
use crate::wire::uuid::Uuid;

/// The committed offsets of one group.
#[derive(Clone, Debug, Default)]
pub struct GroupOffsets {
    topics: Map<Name, TopicOffsets>,
}

/// The committed offsets of one topic.
#[derive(Clone, Debug, Default)]
struct TopicOffsets {
    /// The topic that they were committed for, unless one says otherwise.
    id: Uuid,
    /// By partition.
    partitions: Vec<Slot>,
}

/// One committed offset.
#[derive(Clone, Debug)]
struct Slot {
    partition: i32,
    leader_epoch: i32,
    offset: i64,
    commit_timestamp: i64,
    rare: Option<Box<Rare>>,
}

/// What most offsets do not have.
#[derive(Clone, Debug)]
struct Rare {
    metadata: Box<str>,
    expire_timestamp: i64,
    topic_id: Uuid,
}

impl TopicOffsets {
    fn find(&self, partition: i32) -> Result<usize, usize> {
        match self.partitions.last() {
            // Partitions come in order where a log is loaded for the first time.
            Some(last) if last.partition < partition => Err(self.partitions.len()),
            _ => self.partitions.binary_search_by_key(&partition, |slot| slot.partition),
        }
    }

    fn pack(&self, partition: i32, value: &OffsetCommitValue) -> Slot {
        let common = value.metadata.is_empty() && value.expire_timestamp == -1 && value.topic_id == self.id;
        Slot {
            partition,
            leader_epoch: value.leader_epoch,
            offset: value.offset,
            commit_timestamp: value.commit_timestamp,
            rare: (!common).then(|| {
                Box::new(Rare {
                    metadata: value.metadata.as_str().into(),
                    expire_timestamp: value.expire_timestamp,
                    topic_id: value.topic_id,
                })
            }),
        }
    }

    fn unpack(&self, slot: &Slot) -> OffsetCommitValue {
        let (metadata, expire_timestamp, topic_id) = match &slot.rare {
            Some(rare) => (rare.metadata.to_string(), rare.expire_timestamp, rare.topic_id),
            None => (String::new(), -1, self.id),
        };
        OffsetCommitValue {
            offset: slot.offset,
            leader_epoch: slot.leader_epoch,
            metadata,
            commit_timestamp: slot.commit_timestamp,
            expire_timestamp,
            topic_id,
        }
    }
}

impl GroupOffsets {
    /// Sets an offset, and gives the one before.
    pub fn put(
        &mut self,
        topic: &Name,
        partition: i32,
        value: &OffsetCommitValue,
    ) -> Option<OffsetCommitValue> {
        let offsets = match self.topics.get_mut(topic) {
            Some(offsets) => offsets,
            None => {
                let first = TopicOffsets { id: value.topic_id, partitions: Vec::new() };
                self.topics.entry(topic.clone()).or_insert(first)
            }
        };
        let slot = offsets.pack(partition, value);
        match offsets.find(partition) {
            Ok(at) => {
                let before = offsets.unpack(&offsets.partitions[at]);
                offsets.partitions[at] = slot;
                Some(before)
            }
            Err(at) => {
                let have = offsets.partitions.len();
                if have == offsets.partitions.capacity() {
                    // An eighth at a time: a group rarely gets new partitions once it is there.
                    offsets.partitions.reserve_exact(have / 8 + 1);
                }
                offsets.partitions.insert(at, slot);
                None
            }
        }
    }

    /// Takes an offset out.
    pub fn remove(&mut self, topic: &str, partition: i32) -> Option<OffsetCommitValue> {
        let offsets = self.topics.get_mut(topic)?;
        let at = offsets.find(partition).ok()?;
        let value = offsets.unpack(&offsets.partitions[at]);
        offsets.partitions.remove(at);
        if offsets.partitions.is_empty() {
            self.topics.remove(topic);
            if self.topics.is_empty() {
                self.topics = Map::default();
            }
        }
        Some(value)
    }

    /// An offset.
    pub fn get(&self, topic: &str, partition: i32) -> Option<OffsetCommitValue> {
        let offsets = self.topics.get(topic)?;
        let at = offsets.find(partition).ok()?;
        Some(offsets.unpack(&offsets.partitions[at]))
    }

    /// Whether there is an offset.
    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|offsets| offsets.find(partition).is_ok())
    }

    /// Whether there is an offset of a topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// The topics, by name.
    pub fn topics(&self) -> Vec<&Name> {
        let mut topics: Vec<&Name> = self.topics.keys().collect();
        topics.sort_unstable();
        topics
    }

    /// The offsets of a topic, by partition.
    pub fn of(&self, topic: &str) -> impl Iterator<Item = (i32, OffsetCommitValue)> {
        self.topics
            .get(topic)
            .into_iter()
            .flat_map(|offsets| offsets.partitions.iter().map(|slot| (slot.partition, offsets.unpack(slot))))
    }

    /// The partitions of a topic of which there is an offset that fits, given when it was committed and when it
    /// expires of itself, if it does.
    pub fn that_fit(
        &self,
        topic: &str,
        fits: impl Fn(i64, Option<i64>) -> bool,
    ) -> impl Iterator<Item = (i32, bool)> {
        self.topics.get(topic).into_iter().flat_map(|offsets| &offsets.partitions).map(move |slot| {
            let expires = slot.rare.as_ref().map(|rare| rare.expire_timestamp).filter(|at| *at != -1);
            (slot.partition, fits(slot.commit_timestamp, expires))
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.topics.values().map(|offsets| offsets.partitions.len()).sum()
    }

    /// About how many bytes they take, without the names of their topics.
    pub fn bytes(&self) -> usize {
        let slot = size_of::<Slot>();
        let topics = self.topics.capacity() * (size_of::<(Name, TopicOffsets)>() + 1);
        let partitions = self.topics.values().flat_map(|offsets| {
            let rare = offsets.partitions.iter().filter_map(|slot| slot.rare.as_ref());
            rare.map(|rare| size_of::<Rare>() + rare.metadata.len())
                .chain([offsets.partitions.capacity() * slot])
        });
        topics + partitions.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(offset: i64) -> OffsetCommitValue {
        OffsetCommitValue { offset, commit_timestamp: offset * 2, ..Default::default() }
    }

    #[test]
    fn what_was_put_comes_out_whatever_is_rare_about_it() {
        let (a, b): (Name, Name) = ("a".into(), "b".into());
        let mut offsets = GroupOffsets::default();
        let rare = OffsetCommitValue {
            metadata: "text".into(),
            expire_timestamp: 9,
            topic_id: Uuid([7; 16]),
            leader_epoch: 3,
            ..value(5)
        };
        for partition in [3, 1, 2, 9, 0] {
            assert_eq!(offsets.put(&a, partition, &value(partition.into())), None);
        }
        assert_eq!(offsets.put(&a, 2, &rare), Some(value(2)));
        assert_eq!(offsets.put(&b, 2, &rare), None);
        assert_eq!(offsets.get("a", 2), Some(rare.clone()));
        assert_eq!(offsets.of("a").map(|(partition, _)| partition).collect::<Vec<_>>(), [0, 1, 2, 3, 9]);
        assert_eq!((offsets.len(), offsets.topics()), (6, vec![&a, &b]));
        assert_eq!(offsets.put(&a, 2, &value(8)), Some(rare.clone()));
        assert_eq!((offsets.remove("b", 2), offsets.remove("b", 2)), (Some(rare), None));
        assert!(!offsets.has_topic("b") && offsets.contains("a", 9) && !offsets.contains("a", 4));
        for (partition, offset) in [(0, 0), (1, 1), (2, 8), (3, 3), (9, 9)] {
            assert_eq!(offsets.remove("a", partition), Some(value(offset)));
        }
        assert!(offsets.is_empty());
    }

    #[test]
    fn an_offset_takes_about_32_bytes() {
        let mut offsets = GroupOffsets::default();
        let topics: Vec<Name> = (0..100).map(|n| format!("topic-{n}").into()).collect();
        for topic in &topics {
            for partition in 0..100 {
                offsets.put(topic, partition, &value(1));
            }
        }
        let each = offsets.bytes() as f64 / offsets.len() as f64;
        assert!((32.0..40.0).contains(&each), "{each}");
    }
}
