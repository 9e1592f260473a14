//! One member of a classic group.

use bytes::Bytes;

use crate::coordinator::names::Name;
use crate::coordinator::runtime::Token;
use crate::wire::schema::{DescribedGroupMember, JoinGroupRequestProtocol, MemberMetadata};

/// A request that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Who asked.
    pub token: Token,
    /// The version of the request.
    pub version: i16,
}

/// A member.
#[derive(Clone, Debug)]
pub struct Member {
    /// The id that the coordinator gave it.
    pub id: Name,
    /// The `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it supports, what it likes best first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// What the leader gave it.
    pub assignment: Bytes,
    /// It has joined without an id and was not answered yet: it cannot send heartbeats.
    pub is_new: bool,
    pub(super) joining: Option<Waiter>,
    pub(super) syncing: Option<Waiter>,
}

impl Member {
    /// The member that a record tells of; it supports what the group has chosen.
    pub(super) fn from_record(record: &MemberMetadata, protocol: &str) -> Member {
        Member {
            id: record.member_id.as_str().into(),
            instance: record.group_instance_id.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            rebalance_timeout_ms: match record.rebalance_timeout {
                -1 => record.session_timeout,
                timeout => timeout,
            },
            session_timeout_ms: record.session_timeout,
            protocols: vec![JoinGroupRequestProtocol {
                name: protocol.into(),
                metadata: record.subscription.clone(),
            }],
            assignment: record.assignment.clone(),
            is_new: false,
            joining: None,
            syncing: None,
        }
    }

    /// What a record tells of it.
    pub(super) fn to_record(&self, protocol: &str) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.to_string(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout_ms,
            session_timeout: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// Whether it waits for the end of a rebalance.
    pub fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// Whether it waits for its assignment.
    pub fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// Who waits need not send heartbeats; only new members are timed out then, since their client may have gone
    /// and joined again, as another member.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.is_joining() || self.is_syncing())
    }

    /// What it told for a protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let protocol = self.protocols.iter().find(|other| other.name == protocol);
        protocol.map_or_else(Bytes::new, |protocol| protocol.metadata.clone())
    }

    /// The names of its protocols, each once.
    pub(super) fn protocol_names(&self) -> impl Iterator<Item = &str> {
        let earlier = |at: usize| self.protocols[..at].iter();
        self.protocols
            .iter()
            .enumerate()
            .filter(move |(at, protocol)| earlier(*at).all(|other| other.name != protocol.name))
            .map(|(_, protocol)| protocol.name.as_str())
    }

    /// How DescribeGroups tells of it; with metadata in a stable group only.
    pub(super) fn describe(&self, protocol: Option<&str>) -> DescribedGroupMember {
        DescribedGroupMember {
            member_id: self.id.to_string(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            member_metadata: protocol.map_or_else(Bytes::new, |protocol| self.metadata(protocol)),
            member_assignment: self.assignment.clone(),
        }
    }
}
