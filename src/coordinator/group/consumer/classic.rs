//! Members of a group of KIP-848 that speak the classic protocol.
//!
//! The broker assigns to them as to all others. They follow by the requests they have: a heartbeat asks them to join
//! again when there is a step to take, JoinGroup takes it, and SyncGroup fetches what they have then. Their
//! generation is their member epoch; none of them leads.

use bytes::Bytes;

use super::Consumer;
use super::Refusal;
use super::advance::Visit;
use super::draft::Draft;
use super::heartbeat::{check_instance, unknown_instance};
use super::migrate::{as_classic_member, owned, read_subscription, write_assignment};
use super::reconcile::{UNRELEASED, UNREVOKED};
use crate::coordinator::assign::Assignment;
use crate::coordinator::group::join::Joining;
use crate::coordinator::group::{CONSUMER, Classic, Group, Turn};
use crate::coordinator::groups::Timer;
use crate::coordinator::names::Name;
use crate::coordinator::topics::View;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// What a JoinGroup has led to.
struct Joined {
    id: String,
    epoch: i32,
    /// The id that the static member had before.
    replaced: Option<String>,
    is_fresh: bool,
    resolve: bool,
    /// The group is this one from now on, and whether it rebalances.
    downgraded: Option<(Classic, bool)>,
}

impl Group {
    /// JoinGroup of a group of KIP-848 that has members.
    pub(in crate::coordinator::group) fn join_consumer(
        &mut self,
        joining: &Joining,
        view: &View,
        turn: &mut Turn<'_>,
    ) -> Result<JoinGroupResponse, ErrorCode> {
        let request = &joining.request;
        let Some(mut consumer) = self.consumer.take() else { return Err(ErrorCode::UNKNOWN_MEMBER_ID) };
        let mut draft = Draft::new(&mut consumer);
        let drafted = draft.join(joining, view, &self.soft, turn);
        let records = draft.done();
        self.consumer = Some(consumer);
        let joined = drafted.map_err(|refusal| refusal.code)?;
        if let Some(replaced) = &joined.replaced {
            turn.end_all(&replaced.as_str().into());
        }
        if let Some((classic, rebalances)) = joined.downgraded {
            self.begin_classic(classic, rebalances, turn);
        } else {
            turn.records(records);
            self.soft.is_fresh = joined.is_fresh;
            let id: Name = joined.id.as_str().into();
            turn.timers.cancel(&Timer::Rejoin(turn.name.clone(), id.clone()));
            turn.start(Timer::Refetch(turn.name.clone(), id.clone()), request.rebalance_timeout_ms);
            turn.start_session(&id, request.session_timeout_ms);
            if joined.resolve {
                turn.start(Timer::Resolve(turn.name.clone()), 0);
            }
        }
        Ok(JoinGroupResponse {
            member_id: joined.id,
            generation_id: joined.epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol_name: request.protocols.first().map(|protocol| protocol.name.clone()),
            ..Default::default()
        })
    }

    /// SyncGroup: what the member has.
    pub(in crate::coordinator::group) fn sync_consumer(
        &mut self,
        request: &SyncGroupRequest,
        turn: &mut Turn<'_>,
    ) -> Result<Bytes, ErrorCode> {
        let consumer = self.consumer.as_deref().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let (id, instance) = (&request.member_id, request.group_instance_id.as_deref());
        let classic = consumer.check_classic(id, instance)?;
        let current = consumer.current(id);
        if current.epoch != request.generation_id {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let first = classic.supported_protocols.first();
        let name = first.map(|protocol| protocol.name.as_str());
        if request.protocol_type.as_deref().is_some_and(|told| told != CONSUMER)
            || request.protocol_name.is_some() && request.protocol_name.as_deref() != name
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        // One that is to give up partitions has joined already, and will be asked again when it has.
        if consumer.epoch() > current.epoch && current.state != UNREVOKED {
            turn.await_rejoin(id, consumer);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        let view = turn.topics.view().ok_or(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)?;
        let metadata = first.map(|protocol| protocol.metadata.clone()).unwrap_or_default();
        let written = write_assignment(&current.assigned, metadata, view);
        let written = written.ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
        let id: Name = id.as_str().into();
        turn.timers.cancel(&Timer::Refetch(turn.name.clone(), id.clone()));
        turn.start_session(&id, classic.session_timeout_ms);
        Ok(written)
    }

    /// Heartbeat: whether the member is to join again.
    pub(in crate::coordinator::group) fn heartbeat_consumer(
        &mut self,
        request: &HeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let consumer = self.consumer.as_deref().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let id = &request.member_id;
        let classic = consumer.check_classic(id, request.group_instance_id.as_deref())?;
        let current = consumer.current(id);
        if current.epoch != request.generation_id {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        turn.start_session(&id.as_str().into(), classic.session_timeout_ms);
        let is_free = || consumer.may_take_a_step(id, &current.assigned);
        if current.epoch < consumer.epoch()
            || current.state == UNREVOKED
            || current.state == UNRELEASED && is_free()
        {
            turn.await_rejoin(id, consumer);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// LeaveGroup. Members of the new protocol do not leave by it.
    pub(in crate::coordinator::group) fn leave_consumer_by_classic(
        &mut self,
        members: &[MemberIdentity],
        turn: &mut Turn<'_>,
    ) -> Vec<MemberResponse> {
        let Some(consumer) = self.consumer.as_deref() else { return Vec::new() };
        let mut gone: Vec<String> = Vec::new();
        let mut responses = Vec::with_capacity(members.len());
        for member in members {
            let found = consumer.leaving(member);
            let error_code = found.as_ref().err().copied().unwrap_or(ErrorCode::NONE);
            let member_id = found.as_ref().unwrap_or(&member.member_id).clone();
            if let Ok(id) = found
                && !gone.contains(&id)
            {
                gone.push(id);
            }
            let group_instance_id = member.group_instance_id.clone();
            responses.push(MemberResponse { member_id, group_instance_id, error_code });
        }
        self.fence(&gone.iter().map(String::as_str).collect::<Vec<_>>(), turn);
        responses
    }
}

impl Consumer {
    /// What is known of a member that speaks the classic protocol.
    fn check_classic(&self, id: &str, instance: Option<&str>) -> Result<&ClassicMemberMetadata, ErrorCode> {
        if let Some(instance) = instance {
            let known = self.index.statics.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if known != id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        let member = self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        member.classic_member_metadata.as_ref().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// The id of a member that leaves. An administrator names a static one by its instance alone.
    fn leaving(&self, member: &MemberIdentity) -> Result<String, ErrorCode> {
        let id = match &member.group_instance_id {
            Some(instance) if member.member_id.is_empty() => {
                self.index.statics.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?
            }
            _ => &member.member_id,
        };
        self.check_classic(id, member.group_instance_id.as_deref()).map(|_| id.clone())
    }

    /// Whether nobody holds any more what the member waits for.
    fn may_take_a_step(&self, id: &str, assigned: &Assignment) -> bool {
        let target = self.target(id);
        let mut waits_for = target.iter().flat_map(|(topic, partitions)| {
            let has = assigned.get(topic);
            let lacks = move |partition: &&i32| !has.is_some_and(|has| has.contains(partition));
            partitions.iter().filter(lacks).map(move |partition| (topic, *partition))
        });
        waits_for.all(|(topic, partition)| self.owner(topic, partition).is_none())
    }

    fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        let by_all = |protocol: &JoinGroupRequestProtocol| {
            self.index.protocols.get(&protocol.name).copied().unwrap_or(0) == self.index.classics
        };
        protocol_type == CONSUMER && protocols.iter().any(by_all)
    }
}

impl Draft<'_> {
    fn join(
        &mut self,
        joining: &Joining,
        view: &View,
        soft: &super::Soft,
        turn: &mut Turn<'_>,
    ) -> Result<Joined, Refusal> {
        let request = &joining.request;
        let is_unknown = request.member_id.is_empty();
        let id = if is_unknown { joining.fresh.to_string() } else { request.member_id.clone() };
        let subscription = request.protocols.first();
        let subscription = subscription.and_then(|protocol| read_subscription(protocol.metadata.clone()));
        let subscription = subscription.ok_or_else(|| {
            Refusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, "The embedded consumer protocol is malformed.")
        })?;
        let owned = owned(&subscription, view);
        if !owned.is_empty() && !is_unknown && !self.has_member(&id) {
            // It was put out and does not know: others may have what it has.
            return Err(Refusal::new(
                ErrorCode::UNKNOWN_MEMBER_ID,
                "The member has to give up all and join anew.",
            ));
        }
        let instance = request.group_instance_id.as_deref();
        let known = instance.and_then(|instance| self.index.statics.get(instance).cloned());
        let downgrades = is_unknown
            && known.as_ref().is_some_and(|known| {
                !self.is_classic(known) && self.may_downgrade(&[known.as_str()], true, turn.settings)
            });
        let mut replaced = None;
        match (instance, known) {
            (Some(_), Some(known)) if is_unknown => {
                self.replace_member(&known, &id);
                replaced = Some(known);
            }
            (Some(instance), Some(known)) => check_instance(&known, &id, instance)?,
            (Some(instance), None) if !is_unknown => return Err(unknown_instance(instance)),
            _ => {}
        }
        let was = self.members.get(&id).map(|member| (**member).clone());
        let mut member = was.clone().unwrap_or_default();
        member.instance_id = request.group_instance_id.clone().or(member.instance_id);
        member.client_id = joining.caller.client_id.clone();
        member.client_host = joining.caller.client_host.clone();
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        let member = as_classic_member(member, &subscription, request.session_timeout_ms, &request.protocols);
        let visit = Visit { id: &id, was, member, owned: Some(owned) };
        let subscribed = self.subscribe(&visit, soft, turn)?;
        let mut downgraded = None;
        if downgrades {
            if !subscribed.is_new {
                self.step(&visit, false, view)?;
            }
            let classic = self.downgraded(&[], view, turn.now.wall);
            downgraded = classic.map(|classic| (classic, subscribed.is_new || !self.is_settled()));
        }
        if downgraded.is_none() {
            self.advance(&visit, subscribed.is_new, view, turn)?;
        }
        Ok(Joined {
            epoch: self.current(&id).epoch,
            replaced,
            is_fresh: subscribed.is_fresh,
            resolve: subscribed.resolve,
            downgraded,
            id,
        })
    }
}

impl Turn<'_> {
    /// A classic member is asked to join again, and has so long for it from when it was asked first.
    fn await_rejoin(&mut self, id: &str, consumer: &Consumer) {
        let timer = Timer::Rejoin(self.name.clone(), id.into());
        if self.timers.deadline(&timer).is_none() {
            let timeout = consumer.members.get(id).map_or(0, |member| member.rebalance_timeout_ms);
            self.start(timer, timeout);
        }
    }
}

/// Whether a JoinGroup of a group of KIP-848 may come in.
pub(in crate::coordinator::group) fn check_join(
    consumer: &mut Consumer,
    joining: &Joining,
    most: usize,
) -> Result<(), ErrorCode> {
    let request = &joining.request;
    Draft::new(consumer).check_room(&request.member_id, most).map_err(|refusal| refusal.code)?;
    match consumer.supports(&request.protocol_type, &request.protocols) {
        true => Ok(()),
        false => Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
    }
}
