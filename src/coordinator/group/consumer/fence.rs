//! Members that go: they say so, or are silent for too long.

use super::Refusal;
use super::draft::Draft;
use super::heartbeat::{LEAVE_FOR_NOW, check_instance, unknown_instance};
use super::index::pattern_of;
use super::reconcile::UNREVOKED;
use crate::coordinator::assign::Assignment;
use crate::coordinator::group::{Group, Turn};
use crate::coordinator::names::Name;
use crate::coordinator::records::ConsumerRecord;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

impl Group {
    /// A heartbeat of a member that leaves.
    pub(super) fn leave_consumer(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let Some(consumer) = &mut self.consumer else {
            let message = format!("Group {} is not a consumer group.", turn.name);
            return Err(Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, message));
        };
        let id = request.member_id.as_str();
        match &request.instance_id {
            None => Draft::new(consumer).check_known(id)?,
            Some(instance) => {
                let known = consumer.index.statics.get(instance).ok_or_else(|| unknown_instance(instance))?;
                check_instance(known, id, instance)?;
            }
        }
        if request.member_epoch == LEAVE_FOR_NOW {
            // It keeps its place, and what it has, until its session ends.
            let mut current = consumer.current(id);
            current.epoch = LEAVE_FOR_NOW;
            current.revoking = Assignment::new();
            turn.records(vec![ConsumerRecord::Current(id.into(), Some(current.to_record()))]);
        } else {
            self.fence(&[id], turn);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }

    /// Puts members out. The others' target is without them when one of them sends a heartbeat.
    pub(super) fn fence(&mut self, ids: &[&str], turn: &mut Turn<'_>) {
        let Some(consumer) = &mut self.consumer else { return };
        if ids.is_empty() {
            return;
        }
        if consumer.may_downgrade(ids, false, turn.settings)
            && let Some(view) = turn.topics.view()
            && let Some(classic) = consumer.downgraded(ids, view, turn.now.wall)
        {
            return self.begin_classic(classic, true, turn);
        }
        let mut draft = Draft::new(consumer);
        for id in ids {
            let pattern = draft.members.get(*id).and_then(|member| pattern_of(member)).map(str::to_string);
            draft.remove_member(id);
            if let Some(pattern) = pattern {
                draft.forget_pattern(&pattern);
            }
        }
        let hash = match turn.topics.view() {
            Some(_) => turn.topics.hash(draft.subscribed().into_iter()),
            None => draft.metadata_hash(),
        };
        draft.next_epoch(hash);
        let records = draft.done();
        turn.records(records);
        for id in ids {
            turn.end_all(&Name::from(*id));
        }
    }

    /// A member was silent for too long, or, of the classic protocol, has not joined or fetched its assignment.
    pub(in crate::coordinator::group) fn consumer_time_ended(&mut self, id: &str, turn: &mut Turn<'_>) {
        if self.consumer.as_ref().is_some_and(|consumer| consumer.has_member(id)) {
            self.fence(&[id], turn);
        }
    }

    /// A member has had its time to give up partitions.
    pub(in crate::coordinator) fn revocation_ended(&mut self, id: &str, turn: &mut Turn<'_>) {
        let Some(consumer) = &self.consumer else { return };
        let current = consumer.current(id);
        if current.state == UNREVOKED && current.epoch != LEAVE_FOR_NOW {
            self.consumer_time_ended(id, turn);
        }
    }

    /// A classic member has had its time to join again, or to fetch its assignment.
    pub(in crate::coordinator) fn classic_step_ended(&mut self, id: &str, turn: &mut Turn<'_>) {
        if self.consumer.as_ref().is_some_and(|consumer| consumer.is_classic(id)) {
            self.consumer_time_ended(id, turn);
        }
    }
}
