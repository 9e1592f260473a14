//! Hash tables whose order is the same in every process.
//!
//! The standard library seeds its default hasher from the system's chance, so two runs of one simulator seed
//! would iterate in different orders. These aliases fix the key.

#![expect(clippy::disallowed_types, reason = "this is where the allowed form is made")]

use std::hash::{BuildHasherDefault, DefaultHasher};

/// A hash map with a fixed hasher.
pub type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
/// A hash set with a fixed hasher.
pub type Set<K> = std::collections::HashSet<K, BuildHasherDefault<DefaultHasher>>;
