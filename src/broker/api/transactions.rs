//! AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, ListTransactions, DescribeTransactions: what producers and operators ask
//! of the coordinators of transactions.

use std::collections::BTreeMap;

use super::Asked;
use super::places::place;
use crate::broker::connection::{Ended, Reply};
use crate::broker::coordinator::transactions::{ask, ask_at, place_of_transaction};
use crate::broker::coordinator::{GROUPS_TOPIC, TRANSACTIONS_TOPIC, is_internal, partition_for};
use crate::broker::core::Core;
use crate::controller::Image;
use crate::coordinator::transaction::{self, AddPartitions, Request, refuse};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// From this version on, brokers ask, for several transactions at once.
const FROM_BROKERS: i16 = 4;

/// Adds partitions to transactions, or tells whether they were added.
pub async fn add_partitions(mut asked: Asked) -> Result<Reply, Ended> {
    let request: AddPartitionsToTxnRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let mut results = Vec::new();
    for one in AddPartitions::of(request, asked.version) {
        results.push(add(&core, asked.version, one).await);
    }
    let mut response = AddPartitionsToTxnResponse::default();
    match asked.version {
        FROM_BROKERS.. => response.results_by_transaction = results,
        _ => {
            let topics = results.into_iter().flat_map(|result| result.topic_results);
            response.results_by_topic_v3_and_below = topics.collect();
        }
    }
    asked.reply(&response)
}

/// Adds partitions to one transaction; all of them, or none where one of them cannot be.
async fn add(core: &Core, version: i16, one: AddPartitions) -> AddPartitionsToTxnResult {
    let image = core.image();
    let wrong = |topic: &str, partition: i32| match image.topic_named(topic) {
        // Clients do not write to what brokers keep for themselves.
        _ if version < FROM_BROKERS && is_internal(topic) => Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        Some(topic) if topic.partitions.contains_key(&partition) => None,
        _ => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    };
    let mut each = one.topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (&*topic.name, *p)));
    if each.any(|(topic, partition)| wrong(topic, partition).is_some()) {
        return one.answer(|topic, p| wrong(topic, p).unwrap_or(ErrorCode::OPERATION_NOT_ATTEMPTED));
    }
    let id = one.transactional_id.clone();
    match ask(core, &id, version, Request::AddPartitions(one)).await {
        transaction::Reply::AddPartitions(result) => result,
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// Adds the offsets of a group to a transaction.
pub async fn add_offsets(mut asked: Asked) -> Result<Reply, Ended> {
    let request: AddOffsetsToTxnRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let partition = partition_of_group(&core, &request.group_id);
    let id = request.transactional_id.clone();
    match ask(&core, &id, asked.version, Request::AddOffsets(request, partition)).await {
        transaction::Reply::AddOffsets(response) => asked.reply(&response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// The partition of a group's offsets, also before there are any.
fn partition_of_group(core: &Core, group: &str) -> i32 {
    let planned =
        || core.config.layers.value("offsets.topic.num.partitions").and_then(|n| n.trim().parse().ok());
    let image = core.image();
    let partitions = image.topic_named(GROUPS_TOPIC).map(|topic| topic.partitions.len());
    partition_for(group, partitions.or_else(planned).unwrap_or(1))
}

/// Commits or aborts a transaction.
pub async fn end(mut asked: Asked) -> Result<Reply, Ended> {
    let request: EndTxnRequest = asked.decode()?;
    let id = request.transactional_id.clone();
    match ask(&asked.client.core, &id, asked.version, Request::End(request)).await {
        transaction::Reply::End(response) => asked.reply(&response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// Asks every coordinator of this broker for its transactions.
pub async fn list(mut asked: Asked) -> Result<Reply, Ended> {
    let request: ListTransactionsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let image = core.image();
    let mut response = ListTransactionsResponse::default();
    let topic = image.topic_named(TRANSACTIONS_TOPIC);
    for partition in topic.iter().flat_map(|topic| topic.partitions.keys().map(move |p| (topic, *p))) {
        let (topic, number) = partition;
        // What is led elsewhere is listed there.
        let Ok(place) = place(&core, topic, number) else { continue };
        let transaction::Reply::List(part) =
            ask_at(&core, place, asked.version, Request::List(request.clone())).await
        else {
            unreachable!("a coordinator answers what it was asked")
        };
        match part.error_code {
            ErrorCode::NONE => {
                response.unknown_state_filters = part.unknown_state_filters;
                response.transaction_states.extend(part.transaction_states);
            }
            ErrorCode::NOT_COORDINATOR => {}
            // Some of the transactions would look like all of them.
            error_code => {
                response = ListTransactionsResponse { error_code, ..ListTransactionsResponse::default() };
                break;
            }
        }
    }
    asked.reply(&response)
}

/// Tells the state of transactions.
pub async fn describe(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeTransactionsRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let states = each(&core, &core.image(), request.transactional_ids).await;
    asked.reply(&DescribeTransactionsResponse {
        transaction_states: states,
        ..DescribeTransactionsResponse::default()
    })
}

/// Asks each coordinator once for what concerns its transactional ids.
async fn each(core: &Core, image: &Image, ids: Vec<String>) -> Vec<DescribeTransactionsTransactionState> {
    let read = |reply| match reply {
        transaction::Reply::Describe(states) => states,
        _ => unreachable!("a coordinator answers what it was asked"),
    };
    let (mut by_place, mut all) = (BTreeMap::new(), Vec::new());
    for id in ids {
        match place_of_transaction(core, image, &id) {
            Ok(place) => by_place.entry((place.core, place.id)).or_insert((place, Vec::new())).1.push(id),
            Err(_) if id.is_empty() => {
                all.extend(read(refuse(Request::Describe(vec![id]), ErrorCode::INVALID_REQUEST)))
            }
            Err(error) => all.extend(read(refuse(Request::Describe(vec![id]), error))),
        }
    }
    for (place, ids) in by_place.into_values() {
        all.extend(read(ask_at(core, place, 0, Request::Describe(ids)).await));
    }
    all
}
