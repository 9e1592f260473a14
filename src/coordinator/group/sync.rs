//! SyncGroup.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Turn;
use super::classic::{Classic, State};
use super::member::Waiter;
use crate::coordinator::groups::{Caller, Groups, Reply};
use crate::coordinator::runtime::{Effects, Now};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{SyncGroupRequest, SyncGroupResponse};

impl Groups {
    pub(in crate::coordinator) fn sync(
        &mut self,
        now: Now,
        caller: Caller,
        request: SyncGroupRequest,
        effects: &mut Effects<Groups>,
    ) {
        let token = caller.token;
        if self.group(&request.group_id).is_some_and(|group| group.consumer().is_some()) {
            let synced = self.with_group(now, &request.group_id, effects, |group, turn| {
                group.sync_consumer(&request, turn)
            });
            let (assignment, error_code) = match synced.unwrap_or(Err(ErrorCode::UNKNOWN_MEMBER_ID)) {
                Ok(assignment) => (assignment, ErrorCode::NONE),
                Err(error) => (Bytes::new(), error),
            };
            let told = error_code.is_none();
            let reply = SyncGroupResponse {
                error_code,
                protocol_type: request.protocol_type.filter(|_| told),
                protocol_name: request.protocol_name.filter(|_| told),
                assignment,
                ..Default::default()
            };
            return effects.reply(token, Reply::Sync(reply));
        }
        let checked = match self.group(&request.group_id).and_then(|group| group.classic()) {
            _ if request.group_id.is_empty() => Err(ErrorCode::INVALID_GROUP_ID),
            Some(classic) => classic.check_sync(&request),
            None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        };
        match checked {
            Err(error_code) => {
                effects.reply(token, Reply::Sync(SyncGroupResponse { error_code, ..Default::default() }));
            }
            Ok(()) => {
                let group_id = request.group_id.clone();
                self.with_group(now, &group_id, effects, |group, turn| {
                    let waiter = Waiter { token, version: caller.version };
                    group.members(turn.now).sync(waiter, request, turn);
                });
            }
        }
    }
}

impl Classic {
    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let differs = |told: &Option<String>, known: &Option<String>| {
            told.is_some() && known.is_some() && told != known
        };
        if self.state() == State::Empty {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation() {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state() {
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    fn sync(&mut self, waiter: Waiter, request: SyncGroupRequest, turn: &mut Turn<'_>) {
        let id = request.member_id;
        self.has_synced(&id);
        if self.have_all_synced() {
            turn.end_sync();
        }
        let Some(member) = self.member_mut(&id) else { return };
        if let Some(older) = member.syncing.replace(waiter) {
            // A client has one such request under way; it hears of the older one that it is to ask again.
            let error_code = ErrorCode::REBALANCE_IN_PROGRESS;
            turn.effects
                .reply(older.token, Reply::Sync(SyncGroupResponse { error_code, ..Default::default() }));
        }
        if self.state() == State::CompletingRebalance {
            if !self.is_leader(&id) {
                return;
            }
            let given = request.assignments.into_iter().map(|given| (given.member_id, given.assignment));
            let mut given: BTreeMap<String, Bytes> = given.collect();
            for member in self.members_mut() {
                member.assignment = given.remove(&*member.id).unwrap_or_default();
            }
            // The record bears the time at which the generation began. The assignments are told when it is committed.
            self.write(turn);
            self.set_state(State::Stable, turn.now.wall);
            self.answer_syncs(ErrorCode::NONE, turn);
            return;
        }
        let (protocol_type, protocol_name) = (self.protocol_type.clone(), self.protocol.clone());
        if let Some(member) = self.member_mut(&id) {
            member.syncing = None;
            let assignment = member.assignment.clone();
            let reply = SyncGroupResponse { protocol_type, protocol_name, assignment, ..Default::default() };
            turn.effects.reply(waiter.token, Reply::Sync(reply));
        }
    }
}
