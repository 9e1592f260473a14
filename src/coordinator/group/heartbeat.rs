//! Heartbeat.

use super::Turn;
use super::classic::{Classic, State};
use crate::coordinator::groups::{Caller, Groups, Reply};
use crate::coordinator::runtime::{Effects, Now};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{HeartbeatRequest, HeartbeatResponse};

impl Groups {
    pub(in crate::coordinator) fn heartbeat(
        &mut self,
        now: Now,
        caller: Caller,
        request: HeartbeatRequest,
        effects: &mut Effects<Groups>,
    ) {
        let error_code = match request.group_id.is_empty() {
            true => ErrorCode::INVALID_GROUP_ID,
            false => self
                .with_group(now, &request.group_id, effects, |group, turn| {
                    if group.consumer.is_some() {
                        return Some(
                            group.heartbeat_consumer(&request, turn).err().unwrap_or(ErrorCode::NONE),
                        );
                    }
                    group.classic.as_mut().map(|classic| classic.heartbeat(&request, turn))
                })
                .flatten()
                .unwrap_or(ErrorCode::UNKNOWN_MEMBER_ID),
        };
        let reply = HeartbeatResponse { throttle_time_ms: 0, error_code };
        effects.reply(caller.token, Reply::Heartbeat(reply));
    }
}

impl Classic {
    fn heartbeat(&mut self, request: &HeartbeatRequest, turn: &mut Turn<'_>) -> ErrorCode {
        if let Err(error) = self.check_member(&request.member_id, request.group_instance_id.as_deref()) {
            return error;
        }
        if request.generation_id != self.generation() {
            return ErrorCode::ILLEGAL_GENERATION;
        }
        if let Some(member) = self.member(&request.member_id) {
            turn.start_session(&member.id, member.session_timeout_ms);
        }
        match self.state() {
            State::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
            State::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
            State::CompletingRebalance | State::Stable => ErrorCode::NONE,
        }
    }
}
