//! LeaveGroup.

use super::Turn;
use super::classic::{Classic, State};
use crate::coordinator::groups::{Caller, Groups, Reply};
use crate::coordinator::runtime::{Effects, Now};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};

/// From this version on several members may leave with one request.
const BATCHED: i16 = 3;

impl Groups {
    pub(in crate::coordinator) fn leave(
        &mut self,
        now: Now,
        caller: Caller,
        request: LeaveGroupRequest,
        effects: &mut Effects<Groups>,
    ) {
        if request.group_id.is_empty() {
            let error_code = ErrorCode::INVALID_GROUP_ID;
            return effects
                .reply(caller.token, Reply::Leave(LeaveGroupResponse { error_code, ..Default::default() }));
        }
        let members = match caller.version < BATCHED {
            true => vec![MemberIdentity { member_id: request.member_id, ..Default::default() }],
            false => request.members,
        };
        let left = self.with_group(now, &request.group_id, effects, |group, turn| {
            if group.consumer.is_some() {
                return Some(group.leave_consumer_by_classic(&members, turn));
            }
            let leaving = |classic: &mut Classic| classic.leave(&members, turn);
            group.classic.as_deref_mut().map(leaving)
        });
        let unknown =
            || members.iter().map(|member| response(member, ErrorCode::UNKNOWN_MEMBER_ID)).collect();
        let members: Vec<MemberResponse> = left.flatten().unwrap_or_else(unknown);
        let reply = match caller.version < BATCHED {
            true => LeaveGroupResponse {
                error_code: members.first().map_or(ErrorCode::NONE, |member| member.error_code),
                ..Default::default()
            },
            false => LeaveGroupResponse { members, ..Default::default() },
        };
        effects.reply(caller.token, Reply::Leave(reply));
    }
}

fn response(member: &MemberIdentity, error_code: ErrorCode) -> MemberResponse {
    let MemberIdentity { member_id, group_instance_id, .. } = member.clone();
    MemberResponse { member_id, group_instance_id, error_code }
}

impl Classic {
    fn leave(&mut self, members: &[MemberIdentity], turn: &mut Turn<'_>) -> Vec<MemberResponse> {
        let mut some_left = false;
        let mut responses = Vec::with_capacity(members.len());
        for member in members {
            let left = self.leave_one(member, turn);
            some_left |= left.is_ok();
            responses.push(response(member, left.err().unwrap_or(ErrorCode::NONE)));
        }
        match self.state() {
            State::Stable | State::CompletingRebalance if some_left => self.rebalance(turn),
            State::PreparingRebalance if some_left => self.complete_join_if_all_have(turn),
            _ => {}
        }
        responses
    }

    fn leave_one(&mut self, member: &MemberIdentity, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let instance = member.group_instance_id.as_deref();
        if member.member_id.is_empty() {
            // An administrator names a static member by its instance alone.
            let id = instance.and_then(|instance| self.static_member(instance)).cloned();
            let id = id.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            self.put_out(&id, turn);
        } else if self.is_pending(&member.member_id) {
            self.remove(&member.member_id);
            turn.end_session(&member.member_id.as_str().into());
        } else {
            self.check_member(&member.member_id, instance)?;
            self.put_out(&member.member_id, turn);
        }
        Ok(())
    }
}
