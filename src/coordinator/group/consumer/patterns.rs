//! The topics that the patterns of a group match.
//!
//! They are looked up together, some time after the first member came with a pattern, when there are new topics, and
//! every now and then; so that members with patterns cause one rebalance, not one each. A look-up is done in turns.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::pattern::Pattern;
use crate::coordinator::group::{Group, Turn};
use crate::coordinator::groups::Timer;
use crate::coordinator::names::Name;
use crate::coordinator::records::ConsumerRecord;
use crate::coordinator::topics::View;
use crate::limits;
use crate::wire::schema::ConsumerGroupRegularExpressionValue;

/// A look-up under way.
#[derive(Debug)]
pub(in crate::coordinator::group) struct Resolution {
    view: View,
    patterns: Vec<Wanted>,
    /// The last topic that was looked at.
    after: Option<Name>,
}

#[derive(Debug)]
struct Wanted {
    text: String,
    /// None: it cannot be read, and matches nothing.
    pattern: Option<Pattern>,
    topics: BTreeSet<String>,
}

impl Resolution {
    fn new<'a>(patterns: impl Iterator<Item = &'a String>, view: &View) -> Resolution {
        let patterns = patterns.map(|text| Wanted {
            text: text.clone(),
            pattern: Pattern::new(text).ok(),
            topics: BTreeSet::new(),
        });
        Resolution { view: view.clone(), patterns: patterns.collect(), after: None }
    }

    /// Looks at some topics; whether those were the last.
    fn go_on(&mut self) -> bool {
        let most = (limits::PATTERN_MATCHES_TURN / self.patterns.len().max(1)).max(1);
        let names = self.view.topics.names_after(self.after.as_deref(), most);
        for wanted in &mut self.patterns {
            let Some(pattern) = &wanted.pattern else { continue };
            let matched = names.iter().filter(|name| pattern.is_match(name));
            wanted.topics.extend(matched.map(|name| name.to_string()));
        }
        let is_done = names.len() < most;
        self.after = names.last().cloned();
        is_done
    }
}

impl Group {
    /// A look-up begins or goes on.
    pub(in crate::coordinator) fn resolve_patterns(&mut self, turn: &mut Turn<'_>) {
        let (Some(consumer), Some(view)) = (&mut self.consumer, turn.topics.view().cloned()) else {
            self.soft.resolution = None;
            return;
        };
        let begun = self.soft.resolution.take();
        let mut resolution =
            begun.unwrap_or_else(|| Box::new(Resolution::new(consumer.index.patterns.keys(), &view)));
        if !resolution.go_on() {
            self.soft.resolution = Some(resolution);
            // Not in the same turn of the core.
            return turn.start(Timer::Resolve(turn.name.clone()), 1);
        }
        let mut draft = Draft::new(consumer);
        let has_changed = draft.resolved(*resolution, turn.now.wall);
        let hash = turn.topics.hash(draft.subscribed().into_iter());
        if has_changed || hash != draft.metadata_hash() {
            draft.next_epoch(hash);
        }
        let records = draft.done();
        turn.records(records);
    }
}

impl Draft<'_> {
    /// Writes down what was found; whether that is something else than before.
    fn resolved(&mut self, found: Resolution, wall: i64) -> bool {
        let mut has_changed = false;
        for wanted in found.patterns {
            if !self.index.patterns.contains_key(&wanted.text) {
                continue;
            }
            let topics: Vec<String> = wanted.topics.into_iter().collect();
            let before = self.patterns.get(&wanted.text).map_or(&[][..], |matched| &matched.topics);
            has_changed |= before != topics;
            let value =
                ConsumerGroupRegularExpressionValue { topics, version: found.view.version, timestamp: wall };
            self.put(ConsumerRecord::Pattern(wanted.text, Some(value)));
        }
        has_changed
    }
}
