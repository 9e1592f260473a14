//! ConsumerGroupHeartbeat: members join, stay, change and leave with it.

use std::collections::BTreeSet;

use super::advance::{Visit, time_revocation};
use super::draft::Draft;
use super::index::pattern_of;
use super::reconcile::Current;
use super::{Consumer, Refusal};
use crate::coordinator::assign::{Assignment, Assignor};
use crate::coordinator::group::{Group, Turn};
use crate::coordinator::groups::{Caller, Groups, Reply, Timer};
use crate::coordinator::records::ConsumerRecord;
use crate::coordinator::runtime::{Effects, Now};
use crate::coordinator::settings::Settings;
use crate::coordinator::topics::View;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// The epoch of a member that joins.
const JOIN: i32 = 0;
/// The epoch of a member that leaves.
const LEAVE: i32 = -1;
/// The epoch of a static member that leaves and will be back.
pub(super) const LEAVE_FOR_NOW: i32 = -2;
/// From this version on members make their ids.
const MAKES_OWN_ID: i16 = 1;

/// The answer that is an error.
pub(in crate::coordinator) fn refused(
    error_code: ErrorCode,
    message: Option<String>,
) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code, error_message: message, ..Default::default() }
}

impl Groups {
    pub(in crate::coordinator) fn consumer_heartbeat(
        &mut self,
        now: Now,
        caller: Caller,
        request: ConsumerGroupHeartbeatRequest,
        chance: [u8; 16],
        effects: &mut Effects<Groups>,
    ) {
        let token = caller.token;
        let reply = match self.try_consumer_heartbeat(now, caller, request, chance, effects) {
            Ok(response) => response,
            Err(Refusal { code, message }) => refused(code, Some(message)),
        };
        effects.reply(token, Reply::ConsumerHeartbeat(reply));
    }

    fn try_consumer_heartbeat(
        &mut self,
        now: Now,
        caller: Caller,
        mut request: ConsumerGroupHeartbeatRequest,
        chance: [u8; 16],
        effects: &mut Effects<Groups>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        check(&request, caller.version, self.settings())?;
        let group_id = request.group_id.clone();
        let interval = self.heartbeat_interval_ms(&group_id);
        let session = self.session_timeout_ms(&group_id);
        if request.member_epoch == LEAVE || request.member_epoch == LEAVE_FOR_NOW {
            let left =
                self.with_group(now, &group_id, effects, |group, turn| group.leave_consumer(&request, turn));
            return left.unwrap_or_else(|| Err(not_found(&group_id)));
        }
        let Some(view) = self.topics.view().cloned() else {
            return Err(Refusal::new(
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
                "The topics of the cluster are not known yet.",
            ));
        };
        if request.member_id.is_empty() {
            request.member_id = Uuid::from_random(chance).unwrap_or(Uuid(chance)).to_string();
        }
        if self.group(&group_id).is_none() {
            if request.member_epoch != JOIN {
                return Err(not_found(&group_id));
            }
            self.make_group(&group_id);
        }
        let beat = self.with_group(now, &group_id, effects, |group, turn| {
            group.beat(&caller, &request, &view, session, turn)
        });
        let beat = beat.unwrap_or_else(|| Err(not_found(&group_id)));
        if beat.is_err() {
            self.forget_if_gone(&group_id.as_str().into());
        }
        beat.map(|response| ConsumerGroupHeartbeatResponse { heartbeat_interval_ms: interval, ..response })
    }
}

fn not_found(group: &str) -> Refusal {
    Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, format!("Consumer group {group} not found."))
}

fn invalid(message: &str) -> Result<(), Refusal> {
    Err(Refusal::new(ErrorCode::INVALID_REQUEST, message))
}

/// Whether the request makes sense by itself.
fn check(request: &ConsumerGroupHeartbeatRequest, version: i16, settings: &Settings) -> Result<(), Refusal> {
    let is_blank = |text: &str| text.trim().is_empty();
    let is_member = request.member_epoch > JOIN || request.member_epoch == LEAVE;
    if (version >= MAKES_OWN_ID || is_member) && is_blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_deref().is_some_and(is_blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        JOIN if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        JOIN if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        JOIN if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
        LEAVE_FOR_NOW if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        ..LEAVE_FOR_NOW => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    match &request.server_assignor {
        Some(asked) if !settings.consumer_assignors.iter().any(|assignor| assignor.name() == asked) => {
            let names: Vec<&str> = settings.consumer_assignors.iter().map(|known| known.name()).collect();
            let message = format!(
                "ServerAssignor {asked} is not supported. Supported assignors: {}.",
                names.join(", ")
            );
            Err(Refusal::new(ErrorCode::UNSUPPORTED_ASSIGNOR, message))
        }
        _ => Ok(()),
    }
}

fn owned(request: &ConsumerGroupHeartbeatRequest) -> Option<Assignment> {
    let topics = request.topic_partitions.as_ref()?;
    let mut owned = Assignment::new();
    for topic in topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        owned.entry(topic.topic_id).or_default().extend(&topic.partitions);
    }
    Some(owned)
}

/// The names in order, each once.
pub(super) fn in_order(names: &[String]) -> Vec<String> {
    names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

impl Group {
    /// A heartbeat of a member that stays or comes.
    fn beat(
        &mut self,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
        view: &View,
        session_timeout_ms: i32,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let start = self.as_consumer(request.member_epoch == JOIN, view, turn)?;
        let mut consumer = self.consumer.take().unwrap_or_default();
        let mut draft = Draft::new(&mut consumer);
        start.records().iter().for_each(|record| draft.put(record.clone()));
        let drafted = draft.beat(caller, request, view, &self.soft, turn);
        let replaced = drafted.as_ref().ok().and_then(|beat| beat.replaced.clone());
        let records = draft.done();
        self.consumer = (!consumer.is_gone()).then_some(consumer);
        let beat = drafted?;
        self.begin_as(start, turn);
        self.soft.is_fresh = beat.is_fresh;
        turn.records(records);
        if let Some(replaced) = replaced {
            turn.end_all(&replaced.as_str().into());
        }
        let id = request.member_id.as_str();
        time_revocation(id, &beat.before, &beat.after, beat.rebalance_timeout_ms, turn);
        turn.start_session(&id.into(), session_timeout_ms);
        if beat.resolve {
            turn.start(Timer::Resolve(turn.name.clone()), 0);
        }
        Ok(beat.response(request))
    }
}

/// What a heartbeat has led to.
struct Beat {
    id: String,
    /// The id that the static member had before.
    replaced: Option<String>,
    before: Current,
    after: Current,
    rebalance_timeout_ms: i32,
    is_fresh: bool,
    resolve: bool,
}

impl Beat {
    /// The assignment is told to who asks for all there is to know, and when it is another one.
    fn response(self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let is_told = request.member_epoch == JOIN || is_full || self.before.assigned != self.after.assigned;
        let assignment = is_told.then(|| {
            let topics = self.after.assigned.iter().map(|(topic_id, partitions)| {
                let partitions = partitions.iter().copied().collect();
                ConsumerGroupHeartbeatTopicPartitions { topic_id: *topic_id, partitions }
            });
            ConsumerGroupHeartbeatAssignment { topic_partitions: topics.collect() }
        });
        ConsumerGroupHeartbeatResponse {
            member_id: Some(self.id),
            member_epoch: self.after.epoch,
            assignment,
            ..Default::default()
        }
    }
}

impl Draft<'_> {
    fn beat(
        &mut self,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
        view: &View,
        soft: &super::Soft,
        turn: &mut Turn<'_>,
    ) -> Result<Beat, Refusal> {
        let id = request.member_id.as_str();
        self.check_room(id, turn.settings.consumer_max_size)?;
        let owned = owned(request);
        let replaced = self.come_in(request, owned.as_ref())?;
        let was = self.members.get(id).map(|member| (**member).clone());
        let visit = Visit { id, member: updated(was.clone(), caller, request), was, owned };
        let before = self.current(id);
        let subscribed = self.subscribe(&visit, soft, turn)?;
        self.advance(&visit, subscribed.is_new, view, turn)?;
        Ok(Beat {
            id: id.into(),
            replaced,
            before,
            after: self.current(id),
            rebalance_timeout_ms: visit.member.rebalance_timeout_ms,
            is_fresh: subscribed.is_fresh,
            resolve: subscribed.resolve,
        })
    }

    pub(super) fn check_room(&self, id: &str, most: usize) -> Result<(), Refusal> {
        if self.len() < most || self.has_member(id) {
            return Ok(());
        }
        let message = format!("The consumer group has reached its maximum capacity of {most} members.");
        Err(Refusal::new(ErrorCode::GROUP_MAX_SIZE_REACHED, message))
    }

    /// Whether the member may go on, or come in; gives the id that a static member had before.
    fn come_in(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Assignment>,
    ) -> Result<Option<String>, Refusal> {
        let (id, epoch) = (request.member_id.as_str(), request.member_epoch);
        let Some(instance) = &request.instance_id else {
            if epoch != JOIN {
                self.check_known(id)?;
                self.check_epoch_of(id, epoch, owned)?;
            }
            return Ok(None);
        };
        let Some(known) = self.index.statics.get(instance).cloned() else {
            return match epoch {
                JOIN => Ok(None),
                _ => Err(unknown_instance(instance)),
            };
        };
        if epoch != JOIN {
            check_instance(&known, id, instance)?;
            self.check_epoch_of(id, epoch, owned)?;
            return Ok(None);
        }
        let is_classic = self.is_classic(&known);
        if !is_classic && self.current(&known).epoch != LEAVE_FOR_NOW {
            let message = format!(
                "Static member {id} with instance id {instance} cannot join the group because the instance id is \
                 owned by {known} member."
            );
            return Err(Refusal::new(ErrorCode::UNRELEASED_INSTANCE_ID, message));
        }
        self.replace_member(&known, id);
        Ok(Some(known))
    }

    pub(super) fn check_known(&self, id: &str) -> Result<(), Refusal> {
        if self.has_member(id) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, format!("Member {id} is not a member of the group.")))
    }

    fn check_epoch_of(&self, id: &str, epoch: i32, owned: Option<&Assignment>) -> Result<(), Refusal> {
        let current = self.current(id);
        let is_part = |owned: &Assignment| {
            owned.iter().all(|(topic, partitions)| {
                current.assigned.get(topic).is_some_and(|assigned| partitions.is_subset(assigned))
            })
        };
        // The answer with the newer epoch may have been lost.
        let may_have_missed = epoch == current.previous_epoch && owned.is_some_and(is_part);
        if epoch == current.epoch || epoch < current.epoch && may_have_missed {
            return Ok(());
        }
        let than = if epoch > current.epoch { "greater" } else { "smaller" };
        let message = format!(
            "The consumer group member has a {than} member epoch ({epoch}) than the one known by the group \
             coordinator ({}). The member must abandon all its partitions and rejoin.",
            current.epoch
        );
        Err(Refusal::new(ErrorCode::FENCED_MEMBER_EPOCH, message))
    }

    /// A static member goes on under another id, from where it was.
    pub(super) fn replace_member(&mut self, old: &str, new: &str) {
        let member = self.members.get(old).map(|member| (**member).clone());
        let target = self.targets.get(old).map(|target| (**target).clone()).unwrap_or_default();
        let current = Current { epoch: JOIN, previous_epoch: 0, ..self.current(old) };
        self.remove_member(old);
        self.put(ConsumerRecord::Member(new.into(), member));
        self.put(ConsumerRecord::Target(new.into(), Some(target)));
        self.put(ConsumerRecord::Current(new.into(), Some(current.to_record())));
    }

    /// The records of a member go. The order matters to who replays them.
    pub(super) fn remove_member(&mut self, id: &str) {
        self.put(ConsumerRecord::Current(id.into(), None));
        self.put(ConsumerRecord::Target(id.into(), None));
        self.put(ConsumerRecord::Member(id.into(), None));
    }
}

impl Consumer {
    /// Whether a member speaks the classic protocol.
    pub(in crate::coordinator::group) fn is_classic(&self, id: &str) -> bool {
        self.members.get(id).is_some_and(|member| member.classic_member_metadata.is_some())
    }
}

pub(super) fn unknown_instance(instance: &str) -> Refusal {
    Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, format!("Instance id {instance} is unknown."))
}

pub(super) fn check_instance(known: &str, id: &str, instance: &str) -> Result<(), Refusal> {
    if known == id {
        return Ok(());
    }
    let message = format!("Static member {id} with instance id {instance} was fenced by member {known}.");
    Err(Refusal::new(ErrorCode::FENCED_INSTANCE_ID, message))
}

/// What is to be known of a member: what the request does not say stays as it is.
fn updated(
    was: Option<ConsumerGroupMemberMetadataValue>,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupMemberMetadataValue {
    let mut member = was.unwrap_or_else(|| ConsumerGroupMemberMetadataValue {
        subscribed_topic_regex: Some(String::new()),
        ..Default::default()
    });
    if request.instance_id.is_some() {
        member.instance_id = request.instance_id.clone();
    }
    if request.rack_id.is_some() {
        member.rack_id = request.rack_id.clone();
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(names) = &request.subscribed_topic_names {
        member.subscribed_topic_names = in_order(names);
    }
    if request.subscribed_topic_regex.is_some() {
        member.subscribed_topic_regex = request.subscribed_topic_regex.clone();
    }
    if let Some(assignor) = request.server_assignor.as_deref().and_then(Assignor::named) {
        member.server_assignor = Some(assignor.name().into());
    }
    member.client_id = caller.client_id.clone();
    member.client_host = caller.client_host.clone();
    member.classic_member_metadata = None;
    debug_assert!(pattern_of(&member).is_none_or(|pattern| !pattern.is_empty()));
    member
}
