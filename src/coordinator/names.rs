//! Names that many hold and one keeps.

use std::sync::Arc;

use crate::collections::Set;

/// The name of a group, a topic or a member.
pub type Name = Arc<str>;

/// Each name once, whatever the number of groups that use it.
#[derive(Debug, Default)]
pub struct Names {
    kept: Set<Name>,
}

impl Names {
    /// The shared form of a name.
    pub fn get(&mut self, name: &str) -> Name {
        if let Some(kept) = self.kept.get(name) {
            return kept.clone();
        }
        let name: Name = name.into();
        self.kept.insert(name.clone());
        name
    }

    /// Forgets names that nobody uses. It looks at all of them.
    pub fn forget_unused(&mut self) {
        self.kept.retain(|name| Arc::strong_count(name) > 1);
    }
}
