//! JoinGroup.

use super::classic::{Classic, State, join_reply};
use super::consumer::check_join;
use super::member::{Member, Waiter};
use super::{Group, Turn};
use crate::coordinator::groups::{Caller, Groups, Reply};
use crate::coordinator::names::Name;
use crate::coordinator::records::Record;
use crate::coordinator::refusals;
use crate::coordinator::runtime::{Effects, Now};
use crate::limits;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{JoinGroupRequest, JoinGroupResponse};

/// From this version on a member has to join again with the id that it is given.
const NEEDS_MEMBER_ID: i16 = 4;
/// From this version on a leader can be told not to assign.
const SKIPS_ASSIGNMENT: i16 = 9;

/// A JoinGroup request on its way.
pub(super) struct Joining {
    pub request: JoinGroupRequest,
    pub caller: Caller,
    /// The id for a member that has none.
    pub fresh: Name,
}

impl Joining {
    fn waiter(&self) -> Waiter {
        Waiter { token: self.caller.token, version: self.caller.version }
    }

    fn reply(&self, reply: JoinGroupResponse, turn: &mut Turn<'_>) {
        turn.effects.reply(self.caller.token, join_reply(self.caller.version, reply));
    }

    fn refuse(&self, member_id: &str, error: ErrorCode, turn: &mut Turn<'_>) {
        self.reply(refusals::join(member_id, error), turn);
    }

    fn member(&self, id: Name) -> Member {
        Member {
            id,
            instance: self.request.group_instance_id.clone(),
            client_id: self.caller.client_id.clone(),
            client_host: self.caller.client_host.clone(),
            rebalance_timeout_ms: self.request.rebalance_timeout_ms,
            session_timeout_ms: self.request.session_timeout_ms,
            protocols: self.request.protocols.clone(),
            assignment: Default::default(),
            is_new: true,
            joining: None,
            syncing: None,
        }
    }
}

impl Groups {
    pub(in crate::coordinator) fn join(
        &mut self,
        now: Now,
        caller: Caller,
        mut request: JoinGroupRequest,
        chance: [u8; 16],
        effects: &mut Effects<Groups>,
    ) {
        if caller.version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let settings = self.settings();
        let allowed = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
        let consumer = self.group(&request.group_id).and_then(|group| group.consumer());
        let is_consumer = consumer.is_some_and(|consumer| !consumer.is_empty());
        let is_there = self.group(&request.group_id).is_some() && consumer.is_none();
        let refusal = if request.group_id.is_empty() {
            Some(ErrorCode::INVALID_GROUP_ID)
        } else if !allowed.contains(&request.session_timeout_ms) {
            Some(ErrorCode::INVALID_SESSION_TIMEOUT)
        } else if !is_consumer && !is_there && !request.member_id.is_empty() {
            Some(ErrorCode::UNKNOWN_MEMBER_ID)
        } else {
            None
        };
        if let Some(error) = refusal {
            let reply = join_reply(caller.version, refusals::join(&request.member_id, error));
            return effects.reply(caller.token, reply);
        }
        let group_id = request.group_id.clone();
        self.make_group(&group_id);
        let prefix = request.group_instance_id.as_ref().unwrap_or(&caller.client_id);
        let fresh = format!("{prefix}-{}", uuid_text(chance)).into();
        let joining = Joining { request, caller, fresh };
        if is_consumer {
            let joined = |group: &mut Group, turn: &mut Turn<'_>| group.join_as_classic(joining, turn);
            self.with_group(now, &group_id, effects, joined);
            return;
        }
        self.with_group(now, &group_id, effects, |group, turn| {
            // An empty group of KIP-848 becomes a classic one.
            let tombstones: Vec<_> =
                group.consumer.iter().flat_map(|consumer| consumer.tombstones()).collect();
            let classic = group.members(turn.now);
            let id = turn.name.to_string();
            turn.effects
                .records
                .extend(tombstones.into_iter().map(|record| Record::Consumer(id.clone(), record)));
            let before = turn.effects.records.len();
            classic.join(joining, turn);
            if !is_there && turn.effects.records.len() == before {
                // The group is there from now on, also after a restart.
                classic.write_new(turn);
            }
        });
    }
}

impl Group {
    /// JoinGroup of a group of KIP-848 that has members.
    fn join_as_classic(&mut self, joining: Joining, turn: &mut Turn<'_>) {
        let id = joining.request.member_id.clone();
        let Some(consumer) = &mut self.consumer else { return };
        if let Err(error) = check_join(consumer, &joining, turn.settings.consumer_max_size) {
            return joining.refuse(&id, error, turn);
        }
        let is_dynamic = joining.request.group_instance_id.is_none();
        if id.is_empty() && is_dynamic && joining.caller.version >= NEEDS_MEMBER_ID {
            let fresh = joining.fresh.clone();
            return joining.refuse(&fresh, ErrorCode::MEMBER_ID_REQUIRED, turn);
        }
        let Some(view) = turn.topics.view().cloned() else {
            return joining.refuse(&id, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, turn);
        };
        match self.join_consumer(&joining, &view, turn) {
            Ok(response) => joining.reply(response, turn),
            Err(error) => joining.refuse(&id, error, turn),
        }
    }
}

/// A version 4 UUID as Java writes it.
fn uuid_text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl Classic {
    fn join(&mut self, joining: Joining, turn: &mut Turn<'_>) {
        let id = joining.request.member_id.clone();
        let is_unknown = id.is_empty();
        if !self.accepts(&id, turn.settings.max_size) {
            // The last of a group that is too large to join again is out.
            if let Some(member) = self.remove(&id) {
                turn.end_session(&member.id);
            }
            return joining.refuse("", ErrorCode::GROUP_MAX_SIZE_REACHED, turn);
        }
        if !self.supports(&joining.request.protocol_type, &joining.request.protocols) {
            return joining.refuse(&id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, turn);
        }
        match &joining.request.group_instance_id {
            _ if !is_unknown => self.join_with_id(joining, turn),
            Some(instance) => match self.static_member(instance).cloned() {
                Some(old) => self.replace_static(joining, &old, turn),
                None => {
                    let id = joining.fresh.clone();
                    self.add_member(joining, id, turn);
                }
            },
            None if joining.caller.version >= NEEDS_MEMBER_ID => self.give_id(joining, turn),
            None => {
                let id = joining.fresh.clone();
                self.add_member(joining, id, turn);
            }
        }
    }

    /// Whether there is room. While members join again, those count that have: the last ones are put out then, if
    /// there are too many. An id that was handed out holds no place.
    fn accepts(&self, id: &str, max_size: usize) -> bool {
        match self.state() {
            State::Empty => true,
            State::PreparingRebalance => {
                self.member(id).is_some_and(Member::is_joining) || self.joining() < max_size
            }
            State::CompletingRebalance | State::Stable => self.member(id).is_some() || self.len() < max_size,
        }
    }

    fn give_id(&mut self, joining: Joining, turn: &mut Turn<'_>) {
        if self.pending_joins() >= limits::GROUP_PENDING_MEMBERS {
            return joining.refuse("", ErrorCode::GROUP_MAX_SIZE_REACHED, turn);
        }
        let id = joining.fresh.clone();
        self.add_pending(id.clone());
        turn.start_session(&id, joining.request.session_timeout_ms);
        joining.refuse(&id, ErrorCode::MEMBER_ID_REQUIRED, turn);
    }

    fn add_member(&mut self, joining: Joining, id: Name, turn: &mut Turn<'_>) {
        if self.state() == State::PreparingRebalance && self.previous == State::Empty {
            self.member_came = true;
        }
        let waiter = Some(joining.waiter());
        self.add(joining.member(id.clone()), &joining.request.protocol_type, waiter);
        // It cannot send heartbeats before it is answered, and its client may be gone; one that is not asks again.
        turn.start_session(&id, turn.settings.new_member_join_timeout_ms);
        self.rebalance(turn);
    }

    fn join_with_id(&mut self, joining: Joining, turn: &mut Turn<'_>) {
        let id = joining.request.member_id.clone();
        let instance = joining.request.group_instance_id.as_deref();
        if self.is_pending(&id) {
            if instance.is_some() {
                // A static member gets its id without being asked to join again, so nobody can have this one.
                return joining.refuse("", ErrorCode::UNKNOWN_SERVER_ERROR, turn);
            }
            return self.add_member(joining, id.as_str().into(), turn);
        }
        if let Err(error) = self.check_member(&id, instance) {
            return joining
                .reply(JoinGroupResponse { error_code: error, member_id: id, ..Default::default() }, turn);
        }
        let unchanged = self.member(&id).is_some_and(|member| member.protocols == joining.request.protocols);
        match self.state() {
            State::PreparingRebalance => self.join_again(joining, turn),
            // It may not have received the answer: it is told again.
            State::CompletingRebalance if unchanged => {
                let reply = self.join_answer(&id);
                joining.reply(reply, turn);
            }
            // A leader joins again when something has changed that the members do not tell of.
            State::Stable if unchanged && !self.is_leader(&id) => {
                let reply = self.join_answer(&id);
                joining.reply(reply, turn);
            }
            State::CompletingRebalance | State::Stable => self.join_again(joining, turn),
            State::Empty => joining.refuse(&id, ErrorCode::UNKNOWN_MEMBER_ID, turn),
        }
    }

    fn join_again(&mut self, joining: Joining, turn: &mut Turn<'_>) {
        let id = joining.request.member_id.as_str();
        // A client has one such request under way; an older one came over a connection that it has given up.
        self.answer_join(id, refusals::join(id, ErrorCode::REBALANCE_IN_PROGRESS), turn.effects);
        self.update(id, &joining.request, Some(joining.waiter()));
        self.rebalance(turn);
    }

    /// The end of a rebalance as a member is told of it.
    pub(super) fn join_answer(&self, id: &str) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation(),
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader().map_or_else(String::new, |leader| leader.to_string()),
            member_id: id.into(),
            members: if self.is_leader(id) { self.members_for_leader() } else { Vec::new() },
            ..Default::default()
        }
    }

    /// A static member is back without its id. It gets a new one; the old one is fenced, at once where it waits.
    fn replace_static(&mut self, joining: Joining, old: &Name, turn: &mut Turn<'_>) {
        let instance = joining.request.group_instance_id.clone().unwrap_or_default();
        let leader_before = self.leader().map_or_else(String::new, |leader| leader.to_string());
        let id = joining.fresh.clone();
        let Some((waits_join, waits_sync)) = self.rename(&instance, id.clone()) else { return };
        self.fence(old, waits_join, waits_sync, turn);
        turn.end_session(old);
        let by_record = self.state() == State::Stable;
        self.update(&id, &joining.request, (!by_record).then(|| joining.waiter()));
        // Its session begins anew; while it waits it is excused.
        turn.start_session(&id, joining.request.session_timeout_ms);
        if !by_record {
            self.note_replaced(&instance, false);
            match self.state() {
                // The leader may be assigning to the old id.
                State::CompletingRebalance => self.prepare_rebalance(turn),
                _ => self.complete_join_if_all_have(turn),
            }
            return;
        }
        if self.choose_protocol() != self.protocol.as_deref() {
            self.note_replaced(&instance, false);
            self.update(&id, &joining.request, Some(joining.waiter()));
            return self.rebalance(turn);
        }
        self.note_replaced(&instance, true);
        self.write(turn);
        let reply = self.join_answer(&id);
        let reply = match joining.caller.version >= SKIPS_ASSIGNMENT {
            true => JoinGroupResponse { skip_assignment: self.is_leader(&id), ..reply },
            // It must not take itself for the leader, or it would assign.
            false => JoinGroupResponse { leader: leader_before, members: Vec::new(), ..reply },
        };
        joining.reply(reply, turn);
    }

    fn fence(&self, old: &Name, joining: Option<Waiter>, syncing: Option<Waiter>, turn: &mut Turn<'_>) {
        let error_code = ErrorCode::FENCED_INSTANCE_ID;
        if let Some(waiter) = joining {
            let reply = JoinGroupResponse { error_code, member_id: old.to_string(), ..Default::default() };
            turn.effects.reply(waiter.token, join_reply(waiter.version, reply));
        }
        if let Some(waiter) = syncing {
            let reply = crate::wire::schema::SyncGroupResponse { error_code, ..Default::default() };
            turn.effects.reply(waiter.token, Reply::Sync(reply));
        }
    }
}
