//! Asking the controller, with patience that ends.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::broker::controller::{Command, CommandReply};
use crate::broker::core::Core;
use crate::broker::messages::{ShardReply, ShardRequest};
use crate::controller::Refusal;
use crate::wire::error::ErrorCode;

/// The patience that a request states.
pub fn patience(timeout_ms: i32) -> Duration {
    Duration::from_millis(timeout_ms.max(0) as u64)
}

/// Has the controller carry out a command. The reply is to what is committed and seen by every core of this
/// broker; past the time, the command may still be carried out.
pub async fn command(core: &Core, command: Command, patience: Duration) -> Result<CommandReply, Refusal> {
    let request = ShardRequest::Command(command);
    let mut answer = pin!(core.caller.call(core.settings.controller_core, request));
    let mut late = pin!(core.reactor.sleep(patience));
    let reply = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(reply) => Poll::Ready(Some(reply)),
        Poll::Pending => late.as_mut().poll(cx).map(|()| None),
    });
    match reply.await {
        Some(ShardReply::Command(CommandReply::Refused(refusal))) => Err(refusal),
        Some(ShardReply::Command(reply)) => Ok(reply),
        Some(_) => unreachable!("a shard answers what it was asked"),
        None => Err(Refusal::new(
            ErrorCode::REQUEST_TIMED_OUT,
            format!("the controller took longer than {} ms; it may still do it", patience.as_millis()),
        )),
    }
}
