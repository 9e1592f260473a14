//! Which names a topic may have.

/// The longest name: a partition's directory `<topic>-<number>` must fit in a file name.
pub const NAME_MAX: usize = 249;

/// The metadata log, which is no topic that a client may create.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// A name as it is shown in a message about each of its partitions: no longer than a name can be.
pub fn shown(name: &str) -> &str {
    let end = (0..=NAME_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// Why a name is not allowed.
pub fn check(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Err(format!("Topic name is invalid: '{name}' is not allowed"));
    }
    if name.len() > NAME_MAX {
        return Err(format!(
            "Topic name is invalid: it has {} characters, and {NAME_MAX} are allowed",
            name.len()
        ));
    }
    if !name.chars().all(legal) {
        return Err(format!(
            "Topic name is invalid: '{name}' holds a character other than ASCII letters, digits, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// The name under which names collide: metrics write '.' as '_', so `a.b` and `a_b` cannot both exist.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_allowed_as_in_kafka() {
        for good in ["a", "A.b_c-9", "__consumer_offsets", "...", &"x".repeat(249)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", "a:b", &"x".repeat(250)] {
            assert!(check(bad).unwrap_err().starts_with("Topic name is invalid"), "{bad}");
        }
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a.b"), collision_key("a-b"));
    }
}
