//! What follows from what a member asks: the group's epoch, the target assignment, the member's own step.

use super::draft::Draft;
use super::index::pattern_of;
use super::pattern::Pattern;
use super::reconcile::{Around, Current, Target, UNREVOKED};
use super::{Refusal, Soft};
use crate::coordinator::assign::Assignment;
use crate::coordinator::group::Turn;
use crate::coordinator::groups::Timer;
use crate::coordinator::names::Name;
use crate::coordinator::records::ConsumerRecord;
use crate::coordinator::topics::View;
use crate::limits;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// The patterns of a group are not matched more often than this, in milliseconds.
const RESOLUTION_PAUSE_MS: i64 = 10_000;

/// A member that asks for something.
pub(super) struct Visit<'a> {
    pub id: &'a str,
    /// What was known of it; nothing of a new one.
    pub was: Option<ConsumerGroupMemberMetadataValue>,
    /// What is to be known of it.
    pub member: ConsumerGroupMemberMetadataValue,
    /// What it says it has, where it does.
    pub owned: Option<Assignment>,
}

/// What became of its subscription.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subscribed {
    /// It has changed.
    pub is_new: bool,
    /// The group's patterns are to be matched with the topics.
    pub resolve: bool,
    /// The group's epoch knows what its topics are like now.
    pub is_fresh: bool,
}

/// What became of a member's pattern.
#[derive(Clone, Copy, Debug, Default)]
struct PatternChange {
    is_new: bool,
    /// What it matches is known.
    is_known: bool,
    /// Nobody else has it.
    is_first: bool,
}

impl Draft<'_> {
    /// Writes down what is new of the member, and the group's next epoch if there is reason for one.
    pub fn subscribe(
        &mut self,
        visit: &Visit<'_>,
        soft: &Soft,
        turn: &mut Turn<'_>,
    ) -> Result<Subscribed, Refusal> {
        let was_names = visit.was.as_ref().map_or(&[][..], |was| &was.subscribed_topic_names);
        let has_new_names = was_names != visit.member.subscribed_topic_names;
        if self.members.get(visit.id).map(|member| &**member) != Some(&visit.member) {
            self.put(ConsumerRecord::Member(visit.id.into(), Some(visit.member.clone())));
        }
        let pattern = self.change_pattern(visit)?;
        let mut next_epoch = self.epoch() == 0 || has_new_names || pattern.is_new && pattern.is_known;
        let mut is_fresh = soft.is_fresh;
        if next_epoch || !is_fresh {
            let hash = turn.topics.hash(self.subscribed().into_iter());
            next_epoch |= hash != self.metadata_hash();
            if next_epoch {
                self.next_epoch(hash);
            }
            if self.topics.is_some() {
                self.put(ConsumerRecord::Topics(None));
            }
            is_fresh = true;
        }
        let resolve = self.is_resolution_due(pattern.is_first, turn);
        Ok(Subscribed { is_new: has_new_names || pattern.is_new, resolve, is_fresh })
    }

    /// The group's next epoch, with this hash of its topics.
    pub fn next_epoch(&mut self, metadata_hash: i64) {
        let epoch = self.epoch() + 1;
        self.put(ConsumerRecord::Epoch(Some(ConsumerGroupMetadataValue { epoch, metadata_hash })));
    }

    fn change_pattern(&mut self, visit: &Visit<'_>) -> Result<PatternChange, Refusal> {
        let was = visit.was.as_ref().and_then(pattern_of);
        let now = pattern_of(&visit.member);
        if was == now {
            return Ok(PatternChange::default());
        }
        if let Some(was) = was {
            self.forget_pattern(was);
        }
        let Some(now) = now else {
            return Ok(PatternChange { is_new: true, is_known: true, is_first: false });
        };
        let is_first = self.index.patterns.get(now) == Some(&1);
        if is_first {
            if self.index.patterns.len() > limits::GROUP_PATTERNS {
                let message = format!("A group may have no more than {} patterns.", limits::GROUP_PATTERNS);
                return Err(Refusal::new(ErrorCode::INVALID_REGULAR_EXPRESSION, message));
            }
            Pattern::new(now).map_err(|error| {
                let message =
                    format!("SubscribedTopicRegex `{now}` is not a valid regular expression: {error}.");
                Refusal::new(ErrorCode::INVALID_REGULAR_EXPRESSION, message)
            })?;
        }
        Ok(PatternChange { is_new: true, is_known: self.patterns.contains_key(now), is_first })
    }

    /// What a pattern matched is not kept when nobody has it any more.
    pub fn forget_pattern(&mut self, pattern: &str) {
        if !self.index.patterns.contains_key(pattern) && self.patterns.contains_key(pattern) {
            self.put(ConsumerRecord::Pattern(pattern.into(), None));
        }
    }

    fn is_resolution_due(&self, is_required: bool, turn: &Turn<'_>) -> bool {
        let is_under_way = || turn.timers.deadline(&Timer::Resolve(turn.name.clone())).is_some();
        if self.index.patterns.is_empty() || is_under_way() {
            return false;
        }
        let last = self.patterns.values().map(|matched| matched.timestamp).max();
        let version = self.patterns.values().map(|matched| matched.version).min();
        if last.is_some_and(|last| turn.now.wall <= last.saturating_add(RESOLUTION_PAUSE_MS)) {
            return false;
        }
        let refresh = turn.settings.consumer_regex_refresh_interval_ms;
        is_required
            || self.index.patterns.len() != self.patterns.len()
            || version.is_none_or(|version| version < turn.topics.added)
            || last.is_none_or(|last| turn.now.wall > last.saturating_add(refresh))
    }

    /// Brings the target up to the group's epoch, and the member nearer to the target.
    pub fn advance(
        &mut self,
        visit: &Visit<'_>,
        has_new_subscription: bool,
        view: &View,
        turn: &Turn<'_>,
    ) -> Result<(), Refusal> {
        if self.epoch() > self.target_epoch() {
            self.assign(view, &turn.settings.consumer_assignors);
        }
        self.step(visit, has_new_subscription, view)
    }

    /// Brings the member nearer to the target there is.
    pub fn step(
        &mut self,
        visit: &Visit<'_>,
        has_new_subscription: bool,
        view: &View,
    ) -> Result<(), Refusal> {
        let epoch = self.target_epoch();
        let current = self.current(visit.id);
        if current.is_at(epoch) && !has_new_subscription {
            return Ok(());
        }
        let assignment = self.target(visit.id);
        let is_subscribed = |topic: &crate::wire::uuid::Uuid| {
            let topic = view.topics.with_id(*topic);
            topic.is_some_and(|topic| self.topics_of(&visit.member).any(|name| **name == *topic.name))
        };
        let is_held =
            |topic: &crate::wire::uuid::Uuid, partition| self.index.is_held_from(visit.id, topic, partition);
        let around = Around {
            owned: visit.owned.as_ref(),
            has_new_subscription,
            is_subscribed: &is_subscribed,
            is_held: &is_held,
        };
        let Some(next) = current.towards(Target { epoch, assignment: &assignment }, &around) else {
            return Err(Refusal::new(
                ErrorCode::FENCED_MEMBER_EPOCH,
                "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
            ));
        };
        if next != current {
            self.put(ConsumerRecord::Current(visit.id.into(), Some(next.to_record())));
        }
        Ok(())
    }
}

/// Starts or ends the time that a member of the new protocol has to give up partitions.
pub(super) fn time_revocation(
    id: &str,
    before: &Current,
    after: &Current,
    rebalance_timeout_ms: i32,
    turn: &mut Turn<'_>,
) {
    if before == after {
        return;
    }
    let id = Name::from(id);
    match after.state {
        UNREVOKED => turn.start(Timer::Rebalance(turn.name.clone(), id), rebalance_timeout_ms),
        _ => turn.timers.cancel(&Timer::Rebalance(turn.name.clone(), id)),
    }
}
