//! A member's step towards its target.
//!
//! A member gives up first what it is not to have any more, and keeps its epoch while it does. Then it moves to the
//! epoch of the target, and gets what nobody else holds; what others still hold it gets when they have let go.

use std::collections::BTreeSet;

use crate::coordinator::assign::Assignment;
use crate::wire::uuid::Uuid;

/// All that the target gives is there.
pub const STABLE: i8 = 0;
/// The member is to give up partitions.
pub const UNREVOKED: i8 = 1;
/// The member waits for partitions that others hold.
pub const UNRELEASED: i8 = 2;

/// Where a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// The member's epoch.
    pub epoch: i32,
    /// The one before, with which a heartbeat may come whose answer was lost.
    pub previous_epoch: i32,
    /// [`STABLE`], [`UNREVOKED`] or [`UNRELEASED`].
    pub state: i8,
    /// What it has, or may take.
    pub assigned: Assignment,
    /// What it is to give up; nobody else gets it before it has.
    pub revoking: Assignment,
}

/// Where the member is to be.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The epoch of the target assignment.
    pub epoch: i32,
    /// What it gives the member.
    pub assignment: &'a Assignment,
}

impl Current {
    /// The next step; the same where there is none. `owned` is what the member says it has, where it does, and
    /// `is_held` tells whether another member has a partition or has not given it up.
    pub fn towards(
        &self,
        target: Target<'_>,
        owned: Option<&Assignment>,
        is_held: impl Fn(&Uuid, i32) -> bool,
    ) -> Current {
        match self.state {
            STABLE if self.epoch == target.epoch => self.clone(),
            STABLE | UNRELEASED => self.step(self.epoch, target, owned, is_held),
            // What it was to give up it gives up no more, when it does not say that it has it.
            UNREVOKED if !owns_any(owned, &self.revoking) => {
                self.step(self.epoch + 1, target, owned, is_held)
            }
            _ => self.clone(),
        }
    }

    fn step(
        &self,
        epoch: i32,
        target: Target<'_>,
        owned: Option<&Assignment>,
        is_held: impl Fn(&Uuid, i32) -> bool,
    ) -> Current {
        let mut assigned = Assignment::new();
        let mut revoking = Assignment::new();
        for (topic, partitions) in &self.assigned {
            for partition in partitions {
                let stays = target.assignment.get(topic).is_some_and(|target| target.contains(partition));
                let to = if stays { &mut assigned } else { &mut revoking };
                to.entry(*topic).or_default().insert(*partition);
            }
        }
        if !revoking.is_empty() && owns_any(owned, &revoking) {
            return self.at(epoch, UNREVOKED, assigned, revoking);
        }
        let mut state = STABLE;
        for (topic, partitions) in target.assignment {
            for partition in partitions {
                let has_it = assigned.get(topic).is_some_and(|assigned| assigned.contains(partition));
                if !has_it && is_held(topic, *partition) {
                    state = UNRELEASED;
                } else {
                    assigned.entry(*topic).or_default().insert(*partition);
                }
            }
        }
        self.at(target.epoch, state, assigned, Assignment::new())
    }

    fn at(&self, epoch: i32, state: i8, assigned: Assignment, revoking: Assignment) -> Current {
        let previous_epoch = if epoch == self.epoch { self.previous_epoch } else { self.epoch };
        Current { epoch, previous_epoch, state, assigned, revoking }
    }
}

/// Whether the member has some of these, as far as it has said: who has said nothing may have all.
fn owns_any(owned: Option<&Assignment>, partitions: &Assignment) -> bool {
    let Some(owned) = owned else { return true };
    let none = BTreeSet::new();
    partitions.iter().any(|(topic, partitions)| !owned.get(topic).unwrap_or(&none).is_disjoint(partitions))
}
