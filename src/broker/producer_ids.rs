//! The producer ids that a core may give: from blocks that the controller hands out, each of them once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::api::commands::command;
use super::controller::{Command, CommandReply};
use super::core::Core;
use crate::controller::Refusal;
use crate::controller::brokers::PRODUCER_ID_BLOCK;
use crate::reactor::Class;
use crate::reactor::sync::Bell;

/// How long to wait for a block of ids.
const PATIENCE: Duration = Duration::from_secs(5);
/// With so few left, more are asked for where nobody can wait for them.
const FEW: i64 = PRODUCER_ID_BLOCK / 4;

/// The producer ids that a core may give.
#[derive(Default)]
pub struct ProducerIds {
    blocks: RefCell<VecDeque<Range<i64>>>,
    /// Whether a new block was asked for.
    asking: Cell<bool>,
    /// Rung when the asking has ended.
    asked: Bell,
}

impl ProducerIds {
    fn take(&self) -> Option<i64> {
        let mut blocks = self.blocks.borrow_mut();
        loop {
            match blocks.front_mut()?.next() {
                Some(id) => return Some(id),
                None => drop(blocks.pop_front()),
            }
        }
    }

    fn left(&self) -> i64 {
        self.blocks.borrow().iter().map(|block| block.end - block.start).sum()
    }
}

/// The next id.
pub async fn next_id(core: &Core) -> Result<i64, Refusal> {
    let ids = &core.producer_ids;
    loop {
        if let Some(id) = ids.take() {
            return Ok(id);
        }
        let asked = ids.asked.notified();
        match ids.asking.get() {
            true => asked.await,
            false => fetch(core).await?,
        }
    }
}

/// The next id, where there is one at hand.
pub fn id_at_hand(core: &Rc<Core>) -> Option<i64> {
    let id = core.producer_ids.take();
    stock_up(core);
    id
}

/// Has more ids fetched where few are left.
pub fn stock_up(core: &Rc<Core>) {
    let ids = &core.producer_ids;
    if ids.left() >= FEW || ids.asking.get() {
        return;
    }
    let on = core.clone();
    core.reactor.spawn(Class::Request, async move {
        if let Err(refusal) = fetch(&on).await {
            tracing::warn!("no producer ids: {}: {}", refusal.error, refusal.message);
        }
    });
}

async fn fetch(core: &Core) -> Result<(), Refusal> {
    let ids = &core.producer_ids;
    if ids.asking.replace(true) {
        return Ok(());
    }
    let _asking = Asking(ids);
    let CommandReply::ProducerIds(first) = command(core, Command::AllocateProducerIds, PATIENCE).await?
    else {
        unreachable!("the controller answers what it was asked")
    };
    ids.blocks.borrow_mut().push_back(first..first + PRODUCER_ID_BLOCK);
    Ok(())
}

/// While one asks for a block, the others wait; also if the one goes away meanwhile.
struct Asking<'a>(&'a ProducerIds);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.set(false);
        self.0.asked.ring();
    }
}
