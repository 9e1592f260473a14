//! ListTransactions and DescribeTransactions.

use regex::Regex;

use super::Transactions;
use super::state::{Status, Transaction};
use crate::coordinator::names::Name;
use crate::coordinator::runtime::Now;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// Bytes that a pattern may take once it is read.
const PATTERN_BYTES: usize = 1 << 20;

impl Transactions {
    pub(super) fn list(&self, now: Now, request: &ListTransactionsRequest) -> ListTransactionsResponse {
        let pattern = match request.transactional_id_pattern.as_deref() {
            None | Some("") => None,
            Some(pattern) => match whole(pattern) {
                Ok(pattern) => Some(pattern),
                Err(_) => {
                    return ListTransactionsResponse {
                        error_code: ErrorCode::INVALID_REGULAR_EXPRESSION,
                        ..Default::default()
                    };
                }
            },
        };
        let mut states = Vec::new();
        let mut unknown_state_filters = Vec::new();
        for name in &request.state_filters {
            match Status::of_name(name) {
                Some(status) => states.push(status),
                None => unknown_state_filters.push(name.clone()),
            }
        }
        let wanted = |id: &Name, known: &Transaction| {
            let ids = &request.producer_id_filters;
            let age = now.wall.saturating_sub(known.started);
            (ids.is_empty() || ids.contains(&known.producer.id))
                && (request.state_filters.is_empty() || states.contains(&known.status))
                && (request.duration_filter < 0 || age > request.duration_filter)
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
        };
        let transaction_states = self
            .all()
            .filter(|(id, known)| wanted(id, known))
            .map(|(id, known)| ListedTransaction {
                transactional_id: id.to_string(),
                producer_id: known.producer.id,
                transaction_state: known.status.name().to_string(),
            })
            .collect();
        ListTransactionsResponse { unknown_state_filters, transaction_states, ..Default::default() }
    }

    pub(super) fn describe(&self, id: &str) -> DescribeTransactionsTransactionState {
        let nothing = |error_code| DescribeTransactionsTransactionState {
            error_code,
            transactional_id: id.to_string(),
            ..Default::default()
        };
        if id.is_empty() {
            return nothing(ErrorCode::INVALID_REQUEST);
        }
        let Some((name, known)) = self.known.get_key_value(id) else {
            return nothing(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
        };
        let topics =
            self.unmarked(name, known).topics().map(|(topic, numbers)| DescribeTransactionsTopicData {
                topic: topic.to_string(),
                partitions: numbers.iter().copied().collect(),
            });
        DescribeTransactionsTransactionState {
            error_code: ErrorCode::NONE,
            transactional_id: id.to_string(),
            transaction_state: known.status.name().to_string(),
            transaction_timeout_ms: known.timeout_ms,
            transaction_start_time_ms: known.started,
            producer_id: known.producer.id,
            producer_epoch: known.producer.epoch,
            topics: topics.collect(),
        }
    }
}

/// A pattern that an id has to match from its beginning to its end.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // By itself first: it may not close the parenthesis that is put around it.
    Regex::new(pattern)?;
    regex::RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(PATTERN_BYTES).build()
}
