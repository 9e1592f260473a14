//! What the head of a node knows of its other cores.

use std::cell::RefCell;
use std::rc::Rc;

use super::controller::ControllerShell;
use super::messages::{LogEnds, ToCore};
use super::shard::Shard;
use crate::reactor::sync::Bell;

/// The other cores of a node, as its head sees them.
pub struct Members {
    head: usize,
    members: RefCell<Vec<Member>>,
    changed: Bell,
}

#[derive(Clone, Default)]
struct Member {
    begun: bool,
    stopped: Option<Vec<(usize, Result<LogEnds, String>)>>,
}

impl Members {
    /// For a node with so many cores, of which one is the head.
    pub fn new(cores: usize, head: usize) -> Members {
        Members { head, members: RefCell::new(vec![Member::default(); cores]), changed: Bell::default() }
    }

    /// The numbers of the other cores.
    pub fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let (head, cores) = (self.head, self.members.borrow().len());
        (0..cores).filter(move |core| *core != head)
    }

    /// Takes what the others tell the head.
    pub fn told(
        self: Rc<Members>,
        shell: &Rc<ControllerShell>,
        shard: &Rc<Shard>,
    ) -> impl Fn(usize, ToCore) + use<> {
        let (shell, shard) = (shell.clone(), shard.clone());
        move |from, message| {
            match message {
                ToCore::ImageSeen(version) => return shell.image_seen(from, version),
                ToCore::LogDirFailed(index, failure) => return shard.went_offline(index, failure),
                ToCore::Begun => self.members.borrow_mut()[from].begun = true,
                ToCore::Stopped(stopped) => self.members.borrow_mut()[from].stopped = Some(stopped),
                _ => unreachable!("all else comes from the head"),
            }
            self.changed.ring();
        }
    }

    /// Resolves when all serve.
    pub async fn all_begun(&self) {
        loop {
            let changed = self.changed.notified();
            if self.others().all(|core| self.members.borrow()[core].begun) {
                return;
            }
            changed.await;
        }
    }

    /// Resolves when all have stopped.
    pub async fn all_stopped(&self) {
        loop {
            let changed = self.changed.notified();
            if self.others().all(|core| self.members.borrow()[core].stopped.is_some()) {
                return;
            }
            changed.await;
        }
    }

    /// Where the logs of each log directory end on each of them, or why it is not left as a clean stop leaves it.
    pub fn ends(&self) -> Vec<(usize, Result<LogEnds, String>)> {
        let members = self.members.borrow();
        let stopped = |core: usize| members[core].stopped.clone().expect("all have stopped");
        self.others().flat_map(stopped).collect()
    }
}
