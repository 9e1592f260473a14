//! From one generation to the next.
//!
//! Members are asked to join again by the answers to their heartbeats. When all have, or their time is over, those
//! who have not are put out, the next generation begins, and all who joined are answered. The leader hands in an
//! assignment then, and everybody fetches it.

use super::Turn;
use super::classic::{Classic, State};
use super::member::Member;
use crate::coordinator::groups::Reply;
use crate::coordinator::names::Name;
use crate::coordinator::records::Record;
use crate::coordinator::refusals;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{GroupMetadataKey, GroupMetadataValue, SyncGroupResponse};

impl Classic {
    /// The record of a group that is new and has no members yet.
    pub(super) fn write_new(&self, turn: &mut Turn<'_>) {
        let key = GroupMetadataKey { group: turn.name.to_string() };
        let value = GroupMetadataValue {
            protocol_type: String::new(),
            generation: 0,
            current_state_timestamp: self.since(),
            ..Default::default()
        };
        turn.effects.records.push(Record::Group(key, Some(value)));
    }

    /// Something has changed: a rebalance begins, or the one under way may have come to its end.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.state() {
            State::PreparingRebalance => self.complete_join_if_all_have(turn),
            _ => self.prepare_rebalance(turn),
        }
    }

    /// Asks all members to join again.
    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state() == State::CompletingRebalance {
            // Who waits for an assignment will not get this one.
            for member in self.members_mut() {
                member.assignment = Default::default();
            }
            self.answer_syncs(ErrorCode::REBALANCE_IN_PROGRESS, turn);
        }
        self.clear_pending_syncs();
        turn.end_sync();
        let is_first = self.state() == State::Empty;
        self.set_state(State::PreparingRebalance, turn.now.wall);
        if is_first {
            // Time for more members to come, so that not each of them causes a rebalance.
            let delay = turn.settings.initial_rebalance_delay_ms;
            self.initial_delay = Some((delay, (self.rebalance_timeout_ms() - delay).max(0)));
            self.member_came = false;
            turn.start_join(delay);
        } else if self.have_all_joined() {
            self.complete_join(turn);
        } else {
            turn.start_join(self.rebalance_timeout_ms());
        }
    }

    pub(super) fn complete_join_if_all_have(&mut self, turn: &mut Turn<'_>) {
        // The first rebalance of a group takes its time, whoever has joined.
        let may_end = self.state() == State::PreparingRebalance && self.previous != State::Empty;
        if may_end && self.have_all_joined() {
            self.complete_join(turn);
        }
    }

    /// The time to join again is over, or a step of the first rebalance.
    pub(super) fn join_ended(&mut self, turn: &mut Turn<'_>) {
        if self.state() != State::PreparingRebalance {
            return;
        }
        match self.initial_delay {
            Some((delay, remaining)) if self.member_came && remaining != 0 => {
                self.member_came = false;
                let next = turn.settings.initial_rebalance_delay_ms.min(remaining);
                self.initial_delay = Some((next, (remaining - delay).max(0)));
                turn.start_join(next);
            }
            _ => self.complete_join(turn),
        }
    }

    /// Puts out who has not joined, and begins the next generation.
    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        turn.end_join();
        self.initial_delay = None;
        let gone = self.members().filter(|member| !member.is_joining() && member.instance.is_none());
        let gone: Vec<Name> = gone.map(|member| member.id.clone()).collect();
        for id in gone {
            self.remove(&id);
            turn.end_session(&id);
        }
        if !self.choose_leader() && !self.is_empty() {
            // Static members that have not joined stay until their sessions end.
            turn.start_join(self.rebalance_timeout_ms());
            return;
        }
        self.next_generation(turn.now.wall);
        if self.state() == State::Empty {
            return self.write(turn);
        }
        let ids: Vec<(Name, i32)> =
            self.members().map(|member| (member.id.clone(), member.session_timeout_ms)).collect();
        for (id, session_timeout_ms) in ids {
            if self.member(&id).is_some_and(Member::is_joining) {
                let answer = self.join_answer(&id);
                self.answer_join(&id, answer, turn.effects);
            }
            if let Some(member) = self.member_mut(&id) {
                member.is_new = false;
            }
            turn.start_session(&id, session_timeout_ms);
        }
        turn.start_sync(self.rebalance_timeout_ms());
    }

    /// Answers all who wait for their assignment.
    pub(super) fn answer_syncs(&mut self, error_code: ErrorCode, turn: &mut Turn<'_>) {
        let (protocol_type, protocol_name) = match error_code.is_none() {
            true => (self.protocol_type.clone(), self.protocol.clone()),
            false => (None, None),
        };
        for member in self.members_mut() {
            let Some(waiter) = member.syncing.take() else { continue };
            let reply = SyncGroupResponse {
                throttle_time_ms: 0,
                error_code,
                protocol_type: protocol_type.clone(),
                protocol_name: protocol_name.clone(),
                assignment: member.assignment.clone(),
            };
            turn.effects.reply(waiter.token, Reply::Sync(reply));
            // Its session may have ended while it waited, which excused it.
            let (id, timeout) = (member.id.clone(), member.session_timeout_ms);
            turn.start_session(&id, timeout);
        }
    }

    /// A member was silent for too long, or has not used the id that it was given.
    pub(super) fn session_ended(&mut self, id: &Name, turn: &mut Turn<'_>) {
        if self.is_pending(id) {
            self.remove(id);
            if self.state() == State::PreparingRebalance && self.have_all_joined() {
                self.complete_join(turn);
            }
            return;
        }
        if self.member(id).is_some_and(|member| !member.is_excused()) {
            self.put_out(id, turn);
            match self.state() {
                State::Stable | State::CompletingRebalance => self.rebalance(turn),
                State::PreparingRebalance if self.have_all_joined() => self.complete_join(turn),
                _ => {}
            }
        }
    }

    /// Removes a member. If it waits, its client may ask again, as a new member.
    pub(super) fn put_out(&mut self, id: &str, turn: &mut Turn<'_>) {
        self.answer_join(id, refusals::join("", ErrorCode::UNKNOWN_MEMBER_ID), turn.effects);
        if let Some(member) = self.remove(id) {
            turn.end_session(&member.id);
            if let Some(waiter) = member.syncing {
                let error_code = ErrorCode::UNKNOWN_MEMBER_ID;
                let reply = SyncGroupResponse { error_code, ..Default::default() };
                turn.effects.reply(waiter.token, Reply::Sync(reply));
            }
        }
    }

    /// The time to fetch assignments is over.
    pub(super) fn sync_ended(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.state(), State::CompletingRebalance | State::Stable) || self.have_all_synced() {
            return;
        }
        for id in self.clear_pending_syncs() {
            self.remove(&id);
            turn.end_session(&id);
        }
        self.prepare_rebalance(turn);
    }
}
