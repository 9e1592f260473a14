//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: the members of groups of the classic protocol. ConsumerGroupHeartbeat:
//! those of KIP-848.

use bytes::Bytes;

use super::Asked;
use super::coordinators::ask;
use crate::broker::connection::{Ended, Reply};
use crate::coordinator::{self, Request};
use crate::wire::schema::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};

/// Joins a group; answered when all members have.
pub async fn join(mut asked: Asked) -> Result<Reply, Ended> {
    let mut request: JoinGroupRequest = asked.decode()?;
    for protocol in &mut request.protocols {
        own(&mut protocol.metadata);
    }
    let (group, chance) = (request.group_id.clone(), chance(&asked));
    asked.release();
    match ask(&asked, &group, Request::Join(request, chance)).await {
        coordinator::Reply::Join(response) => asked.reply(&response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// Hands in the assignment of a generation, or waits for it.
pub async fn sync(mut asked: Asked) -> Result<Reply, Ended> {
    let mut request: SyncGroupRequest = asked.decode()?;
    for assignment in &mut request.assignments {
        own(&mut assignment.assignment);
    }
    let group = request.group_id.clone();
    asked.release();
    match ask(&asked, &group, Request::Sync(request)).await {
        coordinator::Reply::Sync(response) => asked.reply(&response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// Tells that a member is alive.
pub async fn heartbeat(mut asked: Asked) -> Result<Reply, Ended> {
    let request: HeartbeatRequest = asked.decode()?;
    let group = request.group_id.clone();
    match ask(&asked, &group, Request::Heartbeat(request)).await {
        coordinator::Reply::Heartbeat(response) => asked.reply(&response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// Leaves a group.
pub async fn leave(mut asked: Asked) -> Result<Reply, Ended> {
    let request: LeaveGroupRequest = asked.decode()?;
    let group = request.group_id.clone();
    match ask(&asked, &group, Request::Leave(request)).await {
        coordinator::Reply::Leave(response) => asked.reply(&response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// Joins, stays in, changes in or leaves a group of KIP-848.
pub async fn consumer_heartbeat(mut asked: Asked) -> Result<Reply, Ended> {
    let request: ConsumerGroupHeartbeatRequest = asked.decode()?;
    let (group, chance) = (request.group_id.clone(), chance(&asked));
    match ask(&asked, &group, Request::ConsumerHeartbeat(request, chance)).await {
        coordinator::Reply::ConsumerHeartbeat(response) => asked.reply(&response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}

/// Random bytes, for the id of a member that has none.
fn chance(asked: &Asked) -> [u8; 16] {
    let reactor = &asked.client.core.reactor;
    let (high, low) = (reactor.random(), reactor.random());
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// What a group keeps must not keep the memory of the frame that it came in.
fn own(bytes: &mut Bytes) {
    *bytes = Bytes::copy_from_slice(bytes);
}
