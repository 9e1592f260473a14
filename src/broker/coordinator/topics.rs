//! The cluster's topics, as coordinators of groups see them: an image of the metadata.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::collections::Set;
use crate::controller::image::resource;
use crate::controller::{Change, Image, Topic};
use crate::coordinator::GroupSettings;
use crate::coordinator::topics::{Changed, TopicInfo, Topics, View};
use crate::wire::uuid::Uuid;

struct ImageTopics(Arc<Image>);

impl Topics for ImageTopics {
    fn named(&self, name: &str) -> Option<TopicInfo> {
        self.0.topic_named(name).map(|topic| info(topic))
    }

    fn with_id(&self, id: Uuid) -> Option<TopicInfo> {
        self.0.topic(id).map(|topic| info(topic))
    }

    fn racks(&self, topic: Uuid, partition: i32) -> BTreeSet<String> {
        let replicas = self.0.partition(topic, partition).map_or(&[][..], |partition| &partition.replicas);
        let brokers = replicas.iter().filter_map(|id| self.0.broker(*id));
        brokers.filter_map(|broker| broker.rack.clone()).collect()
    }

    fn names_after(&self, after: Option<&str>, most: usize) -> Vec<Arc<str>> {
        let from = after.unwrap_or_default();
        let behind = self.0.topics_from(from).filter(|topic| Some(&*topic.name) != after);
        behind.take(most).map(|topic| topic.name.clone()).collect()
    }
}

fn info(topic: &Topic) -> TopicInfo {
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    TopicInfo { id: topic.id, name: topic.name.clone(), partitions }
}

/// The topics of an image.
pub fn view(image: &Arc<Image>) -> View {
    View { version: image.version(), topics: Arc::new(ImageTopics(image.clone())) }
}

/// What of an image concerns the coordinators of groups.
#[derive(Debug)]
pub struct News {
    /// What has changed of the topics, if anything has.
    pub topics: Option<Changed>,
    /// The groups for which something else is set now.
    pub groups: Set<String>,
}

impl News {
    /// Anything may have changed.
    pub fn unknown(image: &Image) -> News {
        let groups = image.configured().filter(|(kind, _)| *kind == resource::GROUP);
        News { topics: Some(Changed::Unknown), groups: groups.map(|(_, name)| name.to_string()).collect() }
    }

    /// What these changes from one image to the next mean.
    pub fn of<'a>(before: &Image, image: &Image, changes: impl Iterator<Item = &'a Change>) -> News {
        let (mut names, mut added, mut unknown) = (BTreeSet::new(), false, false);
        let mut groups = Set::default();
        for change in changes {
            match change {
                Change::TopicCreated(id) | Change::TopicDeleted(id) | Change::Partition(id, _) => {
                    added |= matches!(change, Change::TopicCreated(_));
                    let both = before.topic(*id).into_iter().chain(image.topic(*id));
                    names.extend(both.map(|topic| topic.name.to_string()));
                }
                // Its rack may be another.
                Change::Broker(_) => unknown = true,
                Change::Config(resource::GROUP, name) => drop(groups.insert(name.clone())),
                Change::TopicConfig(_) | Change::Config(..) | Change::Feature(_) | Change::ProducerIds => {}
            }
        }
        let topics = match (unknown, names.is_empty()) {
            (true, _) => Some(Changed::Unknown),
            (false, false) => Some(Changed::Topics { names, added }),
            (false, true) => None,
        };
        News { topics, groups }
    }
}

/// What is set for a group.
pub fn group_settings(image: &Image, group: &str) -> GroupSettings {
    let set = image.configs(resource::GROUP, group);
    let number = |name: &str| set.and_then(|set| set.get(name)).and_then(|text| text.trim().parse().ok());
    GroupSettings {
        consumer_session_timeout_ms: number("consumer.session.timeout.ms"),
        consumer_heartbeat_interval_ms: number("consumer.heartbeat.interval.ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::metadata_record::MetadataRecord;
    use crate::wire::schema::{PartitionRecord, RemoveTopicRecord, TopicRecord};

    fn id(n: u8) -> Uuid {
        Uuid([n; 16])
    }

    fn topic(n: u8, name: &str, partitions: i32) -> Vec<MetadataRecord> {
        let topic = TopicRecord { name: name.into(), topic_id: id(n) };
        let partition = |partition_id| PartitionRecord {
            partition_id,
            topic_id: id(n),
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..Default::default()
        };
        std::iter::once(topic.into()).chain((0..partitions).map(|n| partition(n).into())).collect()
    }

    #[test]
    fn an_image_tells_of_its_topics_and_what_changed() {
        let first = Image::empty("c").apply(&[topic(1, "a", 1), topic(2, "b", 2)].concat(), 0).unwrap();
        let first = Arc::new(first);
        let topics = view(&first).topics;
        assert_eq!(topics.named("b").map(|b| (b.id, b.partitions)), Some((id(2), 2)));
        assert_eq!(topics.with_id(id(1)).map(|a| a.name), Some("a".into()));
        assert_eq!((topics.named("c"), topics.with_id(id(3))), (None, None));
        let names = |after, most| topics.names_after(after, most).iter().map(|n| n.to_string()).collect();
        let (all, behind): (Vec<String>, Vec<String>) = (names(None, 9), names(Some("a"), 9));
        assert_eq!((all, behind), (vec!["a".into(), "b".into()], vec!["b".into()]));
        let between: Vec<String> = names(Some("aa"), 1);
        assert_eq!(between, ["b"]);

        let next = first.apply(&topic(3, "c", 1), 10).unwrap();
        let next = next.apply(&[RemoveTopicRecord { topic_id: id(1) }.into()], 20).unwrap();
        let news = News::of(&first, &next, next.changes_since(first.version()).unwrap());
        let names = ["a".to_string(), "c".to_string()].into();
        assert_eq!(news.topics, Some(Changed::Topics { names, added: true }));
        let nothing = News::of(&next, &next, next.changes_since(next.version()).unwrap());
        assert_eq!((nothing.topics, nothing.groups.len()), (None, 0));
    }
}
