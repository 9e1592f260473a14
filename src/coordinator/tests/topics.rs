//! Topics for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::coordinator::Event;
use crate::coordinator::names::Name;
use crate::coordinator::topics::{Changed, TopicInfo, Topics, View};
use crate::wire::uuid::Uuid;

/// Topics with their ids and numbers of partitions.
#[derive(Clone, Default)]
pub struct TestTopics {
    pub known: BTreeMap<String, (Uuid, i32)>,
    pub version: i64,
    pub rack: Option<String>,
    made: u8,
}

impl TestTopics {
    /// Makes, changes or, with no partitions, deletes a topic; the event that tells of it.
    pub fn set(&mut self, name: &str, partitions: i32) -> Event {
        self.version += 1;
        let added = !self.known.contains_key(name) && partitions > 0;
        match self.known.get_mut(name) {
            Some(_) if partitions == 0 => drop(self.known.remove(name)),
            Some(known) => known.1 = partitions,
            None => {
                self.made += 1;
                self.known.insert(name.into(), (Uuid([self.made; 16]), partitions));
            }
        }
        self.event(Changed::Topics { names: BTreeSet::from([name.to_string()]), added })
    }

    pub fn event(&self, changed: Changed) -> Event {
        Event::Topics(View { version: self.version, topics: Arc::new(self.clone()) }, changed)
    }

    pub fn id(&self, name: &str) -> Uuid {
        self.known[name].0
    }
}

impl Topics for TestTopics {
    fn named(&self, name: &str) -> Option<TopicInfo> {
        let (id, partitions) = *self.known.get(name)?;
        Some(TopicInfo { id, name: name.into(), partitions })
    }

    fn with_id(&self, id: Uuid) -> Option<TopicInfo> {
        let (name, (_, partitions)) = self.known.iter().find(|(_, known)| known.0 == id)?;
        Some(TopicInfo { id, name: name.as_str().into(), partitions: *partitions })
    }

    fn racks(&self, _: Uuid, _: i32) -> BTreeSet<String> {
        self.rack.clone().into_iter().collect()
    }

    fn names_after(&self, after: Option<&str>, most: usize) -> Vec<Name> {
        let names = self.known.keys().filter(|name| after.is_none_or(|after| name.as_str() > after));
        names.take(most).map(|name| name.as_str().into()).collect()
    }
}
