//! ListGroups, DescribeGroups, DeleteGroups.

use std::collections::BTreeSet;

use super::Group;
use super::classic::State;
use crate::coordinator::groups::Groups;
use crate::coordinator::names::Name;
use crate::coordinator::records::Record;
use crate::coordinator::runtime::Effects;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// How ListGroups calls the groups of this protocol.
const CLASSIC: &str = "classic";
/// The same for those of KIP-848.
const CONSUMER: &str = "consumer";
/// The state of a group that is not there.
const DEAD: &str = "Dead";
/// From this version on DescribeGroups has an error for a group that is not there.
const TELLS_OF_UNKNOWN: i16 = 6;

impl Groups {
    pub(in crate::coordinator) fn list(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let lower =
            |names: &[String]| names.iter().map(|name| name.trim().to_lowercase()).collect::<BTreeSet<_>>();
        let (states, types) = (lower(&request.states_filter), lower(&request.types_filter));
        let type_of = |group: &Group| if group.consumer().is_some() { CONSUMER } else { CLASSIC };
        let fits = |group: &Group| {
            (states.is_empty() || states.contains(&group.state_name().to_lowercase()))
                && (types.is_empty() || types.contains(type_of(group)))
        };
        let groups = self.all().filter(|(_, group)| fits(group)).map(|(name, group)| ListedGroup {
            group_id: name.to_string(),
            protocol_type: group.protocol_type().unwrap_or_default().into(),
            group_state: group.state_name().into(),
            group_type: type_of(group).into(),
        });
        ListGroupsResponse { groups: groups.collect(), ..Default::default() }
    }

    pub(in crate::coordinator) fn describe(&self, groups: &[String], version: i16) -> Vec<DescribedGroup> {
        groups
            .iter()
            .map(|group_id| match self.group(group_id) {
                Some(group) if group.consumer().is_none() => group.describe(group_id),
                _ if version < TELLS_OF_UNKNOWN => DescribedGroup {
                    group_id: group_id.clone(),
                    group_state: DEAD.into(),
                    ..Default::default()
                },
                group => DescribedGroup {
                    error_code: ErrorCode::GROUP_ID_NOT_FOUND,
                    error_message: Some(match group {
                        Some(_) => format!("Group {group_id} is not a classic group."),
                        None => format!("Group {group_id} not found."),
                    }),
                    group_id: group_id.clone(),
                    group_state: DEAD.into(),
                    ..Default::default()
                },
            })
            .collect()
    }

    pub(in crate::coordinator) fn delete(
        &mut self,
        groups: Vec<String>,
        effects: &mut Effects<Groups>,
    ) -> Vec<DeletableGroupResult> {
        let results = groups.into_iter().map(|group_id| {
            let error_code = match self.group(&group_id) {
                None => ErrorCode::GROUP_ID_NOT_FOUND,
                Some(group) if !group.is_empty() => ErrorCode::NON_EMPTY_GROUP,
                Some(group) => {
                    let name: Name = group_id.as_str().into();
                    self.delete_all_offsets(&name, effects);
                    group.delete(&group_id, effects);
                    ErrorCode::NONE
                }
            };
            DeletableGroupResult { group_id, error_code }
        });
        results.collect()
    }
}

impl Group {
    /// Tombstones for all records of the group.
    pub(in crate::coordinator) fn delete(&self, group_id: &str, effects: &mut Effects<Groups>) {
        match self.consumer() {
            Some(consumer) => {
                let records = consumer.tombstones().into_iter();
                effects.records.extend(records.map(|record| Record::Consumer(group_id.into(), record)));
            }
            None => {
                let key = GroupMetadataKey { group: group_id.into() };
                effects.records.push(Record::Group(key, None));
            }
        }
    }

    fn describe(&self, group_id: &str) -> DescribedGroup {
        let stable = self.state() == State::Stable;
        let protocol = self.classic().and_then(|classic| classic.protocol()).filter(|_| stable);
        DescribedGroup {
            group_id: group_id.into(),
            group_state: self.state().name().into(),
            protocol_type: self.protocol_type().unwrap_or_default().into(),
            protocol_data: protocol.unwrap_or_default().into(),
            members: self
                .classic()
                .map(|classic| classic.members().map(|member| member.describe(protocol)).collect())
                .unwrap_or_default(),
            ..Default::default()
        }
    }
}
