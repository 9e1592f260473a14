//! ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups: what an operator asks of all groups of this broker, or of some.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Asked;
use super::coordinators::{answered, ask_at, place_of_group};
use super::places::place;
use crate::broker::connection::{Ended, Reply};
use crate::broker::coordinator::GROUPS_TOPIC;
use crate::coordinator::{self, Request, refuse};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse,
};

/// What may be done to a group, as bits of Kafka's operations: everything, as there are no ACLs.
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

/// Asks every coordinator of this broker for its groups.
pub async fn list(mut asked: Asked) -> Result<Reply, Ended> {
    // All coordinators are asked at once, and a request may be large.
    let request = Arc::new(asked.decode::<ListGroupsRequest>()?);
    let core = asked.client.core.clone();
    let mut calls = Vec::new();
    if let Some(topic) = core.image().topic_named(GROUPS_TOPIC) {
        for partition in topic.partitions.keys() {
            // What is led elsewhere is listed there.
            let Ok(place) = place(&core, topic, *partition) else { continue };
            core.caller.has_room().await;
            calls.push(ask_at(&asked, place, Request::List(request.clone())));
        }
    }
    let mut response = ListGroupsResponse::default();
    for call in calls {
        let coordinator::Reply::List(part) = answered(call).await else {
            unreachable!("a coordinator answers what it was asked")
        };
        match part.error_code {
            ErrorCode::NONE => response.groups.extend(part.groups),
            ErrorCode::NOT_COORDINATOR => {}
            // Some of the groups would look like all of them.
            error_code => response = ListGroupsResponse { error_code, ..ListGroupsResponse::default() },
        }
        if response.error_code.is_error() {
            break;
        }
    }
    asked.reply(&response)
}

/// Tells the state and the members of groups.
pub async fn describe(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DescribeGroupsRequest = asked.decode()?;
    let read = |reply| match reply {
        coordinator::Reply::Describe(groups) => groups,
        _ => unreachable!("a coordinator answers what it was asked"),
    };
    let mut groups = each(&asked, request.groups, Request::Describe, read).await;
    if request.include_authorized_operations {
        for group in groups.iter_mut().filter(|group| !group.error_code.is_error()) {
            group.authorized_operations = GROUP_OPERATIONS;
        }
    }
    asked.reply(&DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() })
}

/// The same for groups of KIP-848.
pub async fn describe_consumers(mut asked: Asked) -> Result<Reply, Ended> {
    let request: ConsumerGroupDescribeRequest = asked.decode()?;
    let read = |reply| match reply {
        coordinator::Reply::ConsumerDescribe(groups) => groups,
        _ => unreachable!("a coordinator answers what it was asked"),
    };
    let mut groups = each(&asked, request.group_ids, Request::ConsumerDescribe, read).await;
    if request.include_authorized_operations {
        for group in groups.iter_mut().filter(|group| !group.error_code.is_error()) {
            group.authorized_operations = GROUP_OPERATIONS;
        }
    }
    asked.reply(&ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() })
}

/// Deletes groups without members.
pub async fn delete(mut asked: Asked) -> Result<Reply, Ended> {
    let request: DeleteGroupsRequest = asked.decode()?;
    let read = |reply| match reply {
        coordinator::Reply::Delete(results) => results,
        _ => unreachable!("a coordinator answers what it was asked"),
    };
    let results = each(&asked, request.groups_names, Request::Delete, read).await;
    asked.reply(&DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() })
}

/// Asks each coordinator once for what concerns its groups.
async fn each<R>(
    asked: &Asked,
    groups: Vec<String>,
    request: impl Fn(Vec<String>) -> Request,
    read: impl Fn(coordinator::Reply) -> Vec<R>,
) -> Vec<R> {
    let core = asked.client.core.clone();
    let image = core.image();
    let mut by_place = BTreeMap::new();
    let mut nowhere = Vec::new();
    for group in groups {
        match place_of_group(&core, &image, &group) {
            Ok(place) => by_place.entry((place.core, place.id)).or_insert((place, Vec::new())).1.push(group),
            Err(error) => nowhere.extend(read(refuse(request(vec![group]), error))),
        }
    }
    let mut calls = Vec::new();
    for (place, groups) in by_place.into_values() {
        core.caller.has_room().await;
        calls.push(ask_at(asked, place, request(groups)));
    }
    let mut all = nowhere;
    for call in calls {
        all.extend(read(answered(call).await));
    }
    all
}
