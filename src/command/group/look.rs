//! What brokers tell of groups: members, assignments, committed offsets.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Serialize;

use crate::command::client::{Answered, Client, Connection, Fault, LATEST, Said, Topic};
use crate::command::failure::Result;
use crate::wire::api::ApiKey;
use crate::wire::codec::Reader;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// The state that older versions of DescribeGroups tell of a group that is not there.
const DEAD: &str = "Dead";
/// OffsetFetch goes by topic ids from the version after this.
const BY_NAME: i16 = 9;
/// The first version of OffsetFetch that asks for several groups.
const SEVERAL: i16 = 8;

/// A group.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Its name.
    pub group: String,
    /// Its state, in Kafka's words.
    pub state: String,
    /// `classic`, or `consumer` for the protocol of KIP-848.
    #[serde(rename = "type")]
    pub group_type: &'static str,
    /// `consumer`, or what else uses the classic protocol (`connect`).
    pub protocol_type: String,
    /// Who divides the partitions, and how.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Where that broker is.
    pub coordinator_address: Option<String>,
    /// The epoch of the group, with the protocol of KIP-848.
    pub group_epoch: Option<i32>,
    /// The epoch of its newest assignment, with the protocol of KIP-848.
    pub assignment_epoch: Option<i32>,
    /// Who is in it.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Its id.
    pub member_id: String,
    /// The name that a static member keeps.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// The rack it is in, where it tells.
    pub rack_id: Option<String>,
    /// `classic` or `consumer`: the protocol that it speaks; none where the broker does not tell.
    pub member_type: Option<&'static str>,
    /// Its epoch, with the protocol of KIP-848.
    pub member_epoch: Option<i32>,
    /// The topics that it subscribes to.
    pub subscribed_topics: Vec<String>,
    /// The pattern that it subscribes to.
    pub subscribed_regex: Option<String>,
    /// What it has, by topic.
    pub assignment: BTreeMap<String, Vec<i32>>,
    /// What it is to have, with the protocol of KIP-848.
    pub target_assignment: Option<BTreeMap<String, Vec<i32>>>,
}

/// What a group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before; -1 where it is not known.
    pub leader_epoch: i32,
    /// The text that was committed with it.
    pub metadata: String,
}

/// The offsets of one group, by topic and partition.
pub type Offsets = BTreeMap<(String, i32), Committed>;

/// Describes groups of either protocol.
pub fn groups(client: &mut Client, names: &[String]) -> Result<BTreeMap<String, Result<Group, Fault>>> {
    let mut found = client.groups(names, ask_consumer)?;
    let is_classic = |answered: &Answered<_>| {
        let Err(fault) = &answered.result else { return false };
        let is_other = fault.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND);
        is_other || fault.code() == Some(ErrorCode::UNSUPPORTED_VERSION)
    };
    let rest: Vec<String> =
        found.iter().filter(|(_, answered)| is_classic(answered)).map(|(name, _)| name.clone()).collect();
    if !rest.is_empty() {
        found.extend(client.groups(&rest, ask_classic)?);
    }
    let placed = |(name, answered): (String, Answered<Group>)| {
        let placed = answered.result.map(|group| Group {
            coordinator: answered.coordinator,
            coordinator_address: client.address(answered.coordinator).map(str::to_owned),
            ..group
        });
        (name, placed)
    };
    Ok(found.into_iter().map(placed).collect())
}

fn doing(name: &str) -> String {
    format!("describing group {name}")
}

fn ask_consumer(connection: &mut Connection, names: &[String]) -> Result<Said<Group>, Fault> {
    // A broker from before KIP-848 has classic groups alone.
    if connection.version(ApiKey::ConsumerGroupDescribe).is_err() {
        let no = |name: &String| {
            (name.clone(), Err(Fault::refused(doing(name), ErrorCode::UNSUPPORTED_VERSION, None)))
        };
        return Ok(names.iter().map(no).collect());
    }
    let request =
        ConsumerGroupDescribeRequest { group_ids: names.to_vec(), include_authorized_operations: false };
    let answer = connection.call(&request)?;
    let read = |group: ConsumerGroupDescribeDescribedGroup| {
        let name = group.group_id.clone();
        let result = match group.error_code {
            ErrorCode::NONE => Ok(consumer(group)),
            code => Err(Fault::refused(doing(&name), code, group.error_message)),
        };
        (name, result)
    };
    Ok(answer.groups.into_iter().map(read).collect())
}

fn consumer(group: ConsumerGroupDescribeDescribedGroup) -> Group {
    let by_topic = |assignment: ConsumerGroupDescribeAssignment| {
        let topics = assignment.topic_partitions.into_iter();
        topics.map(|topic| (topic.topic_name, sorted(topic.partitions))).collect::<BTreeMap<_, _>>()
    };
    let member = |member: ConsumerGroupDescribeMember| Member {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
        rack_id: member.rack_id,
        member_type: match member.member_type {
            0 => Some("classic"),
            1 => Some("consumer"),
            _ => None,
        },
        member_epoch: Some(member.member_epoch),
        subscribed_topics: member.subscribed_topic_names,
        subscribed_regex: member.subscribed_topic_regex.filter(|regex| !regex.is_empty()),
        assignment: by_topic(member.assignment),
        target_assignment: Some(by_topic(member.target_assignment)),
    };
    Group {
        group: group.group_id,
        state: group.group_state,
        group_type: "consumer",
        protocol_type: "consumer".to_owned(),
        assignor: group.assignor_name,
        coordinator: -1,
        coordinator_address: None,
        group_epoch: Some(group.group_epoch),
        assignment_epoch: Some(group.assignment_epoch),
        members: group.members.into_iter().map(member).collect(),
    }
}

fn ask_classic(connection: &mut Connection, names: &[String]) -> Result<Said<Group>, Fault> {
    let request = DescribeGroupsRequest { groups: names.to_vec(), include_authorized_operations: false };
    let answer = connection.call(&request)?;
    let read = |group: DescribedGroup| {
        let name = group.group_id.clone();
        let result = match group.error_code {
            ErrorCode::NONE if group.group_state == DEAD => {
                Err(Fault::refused(doing(&name), ErrorCode::GROUP_ID_NOT_FOUND, None))
            }
            ErrorCode::NONE => Ok(classic(group)),
            code => Err(Fault::refused(doing(&name), code, group.error_message)),
        };
        (name, result)
    };
    Ok(answer.groups.into_iter().map(read).collect())
}

fn classic(group: DescribedGroup) -> Group {
    // Other protocols (Connect's) have assignments of their own, which only they can read.
    let is_consumer = group.protocol_type == "consumer";
    let member = |member: DescribedGroupMember| Member {
        member_id: member.member_id,
        instance_id: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host,
        rack_id: None,
        member_type: Some("classic"),
        member_epoch: None,
        subscribed_topics: subscribed(member.member_metadata).filter(|_| is_consumer).unwrap_or_default(),
        subscribed_regex: None,
        assignment: assigned(member.member_assignment).filter(|_| is_consumer).unwrap_or_default(),
        target_assignment: None,
    };
    Group {
        group: group.group_id,
        state: group.group_state,
        group_type: "classic",
        assignor: group.protocol_data,
        coordinator: -1,
        coordinator_address: None,
        group_epoch: None,
        assignment_epoch: None,
        members: group.members.into_iter().map(member).collect(),
        protocol_type: group.protocol_type,
    }
}

/// The assignment that a leader of the classic protocol wrote; none while there is none, or where it is not
/// written as consumers do.
fn assigned(bytes: Bytes) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for topic in embedded::<ConsumerProtocolAssignment>(bytes)?.assigned_partitions {
        topics.entry(topic.topic).or_default().extend(topic.partitions);
    }
    Some(topics.into_iter().map(|(topic, partitions)| (topic, sorted(partitions))).collect())
}

fn subscribed(bytes: Bytes) -> Option<Vec<String>> {
    Some(embedded::<ConsumerProtocolSubscription>(bytes)?.topics)
}

/// A message that stands behind its version.
fn embedded<M: Message>(bytes: Bytes) -> Option<M> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16().ok().filter(|version| *version >= 0)?;
    // Newer versions begin like the newest that is known.
    M::decode(&mut reader, version.min(*M::versions().end())).ok()
}

fn sorted(mut partitions: Vec<i32>) -> Vec<i32> {
    partitions.sort_unstable();
    partitions
}

/// The offsets that groups committed.
pub fn offsets(client: &mut Client, names: &[String]) -> Result<BTreeMap<String, Offsets>> {
    let found = client.groups(names, ask_offsets)?;
    found.into_iter().map(|(name, answered)| Ok((name, answered.result?))).collect()
}

fn ask_offsets(connection: &mut Connection, names: &[String]) -> Result<Said<Offsets>, Fault> {
    let version = connection.version_up_to(ApiKey::OffsetFetch, BY_NAME)?;
    let mut groups = Vec::new();
    if version >= SEVERAL {
        let group = |name: &String| OffsetFetchRequestGroup { group_id: name.clone(), ..Default::default() };
        let request =
            OffsetFetchRequest { groups: names.iter().map(group).collect(), ..OffsetFetchRequest::default() };
        let sent = connection.send(&request, version)?;
        groups = connection.receive(sent, std::time::Duration::ZERO)?.groups;
    } else {
        for name in names {
            let request = OffsetFetchRequest { group_id: name.clone(), ..OffsetFetchRequest::default() };
            let sent = connection.send(&request, version)?;
            let answer = connection.receive(sent, std::time::Duration::ZERO)?;
            groups.push(of_several(name, answer));
        }
    }
    Ok(groups.into_iter().map(read_offsets).collect())
}

/// An answer about one group in the form of those about several.
fn of_several(name: &str, answer: OffsetFetchResponse) -> OffsetFetchResponseGroup {
    let partition = |part: OffsetFetchResponsePartition| OffsetFetchResponsePartitions {
        partition_index: part.partition_index,
        committed_offset: part.committed_offset,
        committed_leader_epoch: part.committed_leader_epoch,
        metadata: part.metadata,
        error_code: part.error_code,
    };
    let topic = |topic: OffsetFetchResponseTopic| OffsetFetchResponseTopics {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    OffsetFetchResponseGroup {
        group_id: name.to_owned(),
        topics: answer.topics.into_iter().map(topic).collect(),
        error_code: answer.error_code,
    }
}

fn read_offsets(group: OffsetFetchResponseGroup) -> (String, Result<Offsets, Fault>) {
    let doing = || format!("asking for the committed offsets of group {}", group.group_id);
    let read = || {
        if group.error_code.is_error() {
            return Err(Fault::refused(doing(), group.error_code, None));
        }
        let mut offsets = Offsets::new();
        for topic in &group.topics {
            for part in &topic.partitions {
                if part.error_code.is_error() {
                    return Err(Fault::refused(doing(), part.error_code, None));
                }
                if part.committed_offset >= 0 {
                    let committed = Committed {
                        offset: part.committed_offset,
                        leader_epoch: part.committed_leader_epoch,
                        metadata: part.metadata.clone().unwrap_or_default(),
                    };
                    offsets.insert((topic.name.clone(), part.partition_index), committed);
                }
            }
        }
        Ok(offsets)
    };
    let result = read();
    (group.group_id, result)
}

/// Where these partitions end; those that are no more, or have no leader, are left out.
pub fn ends(
    client: &mut Client,
    partitions: &BTreeSet<(String, i32)>,
) -> Result<BTreeMap<(String, i32), i64>> {
    let names: BTreeSet<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<&str> = names.into_iter().collect();
    let topics = client.retry(|client| client.metadata(Some(&names), false))?;
    let mut ends = BTreeMap::new();
    for topic in topics.into_iter().filter(|topic| !topic.error_code.is_error()).map(Topic::from) {
        let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
        let asked: Vec<i32> = led
            .map(|partition| partition.index)
            .filter(|index| partitions.contains(&(topic.name.clone(), *index)))
            .collect();
        if !asked.is_empty() {
            let found = client.list_offsets(&topic.name, &asked, |_| LATEST)?;
            ends.extend(found.into_iter().map(|(index, at)| ((topic.name.clone(), index), at.offset)));
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Writer;

    #[test]
    fn an_assignment_stands_behind_its_version() {
        let topic = |partitions: &[i32]| ConsumerProtocolAssignmentTopicPartition {
            topic: "t".into(),
            partitions: partitions.to_vec(),
        };
        let written = ConsumerProtocolAssignment {
            assigned_partitions: vec![topic(&[2, 0]), topic(&[1])],
            ..Default::default()
        };
        for version in [0, 3, 9] {
            let mut writer = Writer::new();
            writer.put_i16(version);
            written.encode(&mut writer, version.min(3)).unwrap();
            let read = assigned(writer.into_bytes()).unwrap();
            assert_eq!(read, BTreeMap::from([("t".to_owned(), vec![0, 1, 2])]));
        }
        assert_eq!(assigned(Bytes::new()), None);
        assert_eq!(assigned(Bytes::from_static(&[0, 0, 0])), None);
    }
}
