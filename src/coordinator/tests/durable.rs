//! What of the groups is durable, to compare.

use std::collections::BTreeMap;

use crate::coordinator::Groups;
use crate::coordinator::group::Consumer;
use crate::coordinator::offsets::Spot;
use crate::coordinator::records::{Form, Record};
use crate::coordinator::runtime::Machine;
use crate::coordinator::settings::Settings;
use crate::wire::schema::{GroupMetadataValue, OffsetCommitValue};

/// The durable part of a coordinator.
#[derive(Clone, Debug, PartialEq)]
pub struct Durable {
    pub groups: BTreeMap<String, GroupMetadataValue>,
    pub consumers: BTreeMap<String, Consumer>,
    pub offsets: BTreeMap<(String, String, i32), OffsetCommitValue>,
    /// With the producer and whether it is superseded, in the order of the log.
    pub pending: Vec<(Spot, i64, OffsetCommitValue, bool)>,
}

impl Durable {
    pub fn of(groups: &Groups) -> Durable {
        let mut durable = Durable {
            groups: BTreeMap::new(),
            consumers: BTreeMap::new(),
            offsets: BTreeMap::new(),
            pending: Vec::new(),
        };
        for (name, group) in groups.all() {
            if let Some(stored) = group.stored() {
                durable.groups.insert(name.to_string(), GroupMetadataValue::clone(stored));
            }
            if let Some(consumer) = group.consumer() {
                consumer.check_index();
                durable.consumers.insert(name.to_string(), consumer.clone());
            }
            for topic in group.offsets.topics() {
                for (partition, value) in group.offsets.of(topic) {
                    durable.offsets.insert((name.to_string(), topic.to_string(), partition), value);
                }
            }
        }
        let mut pending: Vec<_> = groups.pending().iter().collect();
        pending.sort_by_key(|(_, _, pending)| pending.order);
        durable.pending = pending
            .into_iter()
            .map(|(spot, producer, pending)| {
                (spot.clone(), producer, pending.value.clone(), pending.superseded)
            })
            .collect();
        durable
    }

    /// What a coordinator knows that has read these records.
    pub fn replayed<'a>(records: impl IntoIterator<Item = &'a (Form, Record)>) -> Durable {
        let mut groups = Groups::new(Settings::default());
        for (form, record) in records {
            groups.replay(form, record);
        }
        Durable::of(&groups)
    }
}
