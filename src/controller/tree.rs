//! An ordered map that is cheap to copy and cheap to change after a copy.
//!
//! A tree of small sorted nodes behind `Arc`s. A copy shares everything; a change after it copies the nodes on one
//! path from the root and no more, so that one partition's change among 200,000 costs a few small vectors. Values
//! should be cheap to clone (an `Arc`, a number): a leaf's values are cloned with it.

use std::fmt;
use std::sync::Arc;

/// The most entries of a node; one that grows past it is split in two.
const WIDE: usize = 32;

/// A persistent map, ordered by key.
pub struct Tree<K, V> {
    root: Node<K, V>,
    len: usize,
}

enum Node<K, V> {
    Leaf(Arc<Vec<(K, V)>>),
    /// Each child with the smallest key that it has held; the first child takes everything below as well.
    Branch(Arc<Vec<(K, Node<K, V>)>>),
}

impl<K, V> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Node::Leaf(entries) => Node::Leaf(entries.clone()),
            Node::Branch(children) => Node::Branch(children.clone()),
        }
    }
}

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Tree { root: self.root.clone(), len: self.len }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Tree { root: Node::Leaf(Arc::new(Vec::new())), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Tree<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    return entries
                        .binary_search_by(|(k, _)| k.borrow().cmp(key))
                        .ok()
                        .map(|at| &entries[at].1);
                }
                Node::Branch(children) => node = &children[child_of(children, key)].1,
            }
        }
    }

    /// Whether the key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value of a key, to be changed: the path to it is copied where it is shared.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.get(key)?;
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
                    return Some(&mut Arc::make_mut(entries)[at].1);
                }
                Node::Branch(children) => {
                    let at = child_of(children, key);
                    node = &mut Arc::make_mut(children)[at].1;
                }
            }
        }
    }

    /// Sets the value of a key; what it had before is given back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (before, split) = self.root.insert(key, value);
        if let Some((key, right)) = split {
            let left = self.root.clone();
            let first = left.first_key().unwrap_or_else(|| key.clone());
            self.root = Node::Branch(Arc::new(vec![(first, left), (key, right)]));
        }
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        // Looked for first: a path is copied only if something changes.
        self.get(key)?;
        let value = self.root.remove(key);
        while let Node::Branch(children) = &self.root {
            match children.len() {
                0 => self.root = Node::Leaf(Arc::default()),
                1 => self.root = children[0].1.clone(),
                _ => break,
            }
        }
        self.len -= usize::from(value.is_some());
        value
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter { branches: Vec::new(), leaf: [].iter() };
        iter.descend(&self.root);
        iter
    }

    /// The entries from `key` on, in order.
    pub fn from<'a>(&'a self, key: &K) -> Iter<'a, K, V> {
        let mut iter = Iter { branches: Vec::new(), leaf: [].iter() };
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|(k, _)| k < key);
                    iter.leaf = entries[at..].iter();
                    return iter;
                }
                Node::Branch(children) => {
                    let at = child_of(children, key);
                    iter.branches.push(children[at + 1..].iter());
                    node = &children[at].1;
                }
            }
        }
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }
}

/// Which child may hold a key.
fn child_of<K: std::borrow::Borrow<Q>, V, Q: Ord + ?Sized>(children: &[(K, Node<K, V>)], key: &Q) -> usize {
    children.partition_point(|(first, _)| first.borrow() <= key).saturating_sub(1)
}

/// A right half that no longer fits, with its first key.
type Split<K, V> = Option<(K, Node<K, V>)>;

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Branch(children) => children.len(),
        }
    }

    fn first_key(&self) -> Option<K> {
        match self {
            Node::Leaf(entries) => entries.first().map(|(key, _)| key.clone()),
            Node::Branch(children) => children.first().map(|(key, _)| key.clone()),
        }
    }

    fn insert(&mut self, key: K, value: V) -> (Option<V>, Split<K, V>) {
        match self {
            Node::Leaf(entries) => {
                let entries = Arc::make_mut(entries);
                match entries.binary_search_by(|(k, _)| k.cmp(&key)) {
                    Ok(at) => (Some(std::mem::replace(&mut entries[at].1, value)), None),
                    Err(at) => {
                        entries.insert(at, (key, value));
                        (None, split(entries, at).map(|(key, right)| (key, Node::Leaf(Arc::new(right)))))
                    }
                }
            }
            Node::Branch(children) => {
                let children = Arc::make_mut(children);
                let at = child_of(children, &key);
                let (before, more) = children[at].1.insert(key, value);
                let Some(right) = more else { return (before, None) };
                children.insert(at + 1, right);
                (before, split(children, at + 1).map(|(key, right)| (key, Node::Branch(Arc::new(right)))))
            }
        }
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        match self {
            Node::Leaf(entries) => {
                let entries = Arc::make_mut(entries);
                let at = entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
                Some(entries.remove(at).1)
            }
            Node::Branch(children) => {
                let children = Arc::make_mut(children);
                let at = child_of(children, key);
                let value = children[at].1.remove(key);
                if children[at].1.len() == 0 {
                    children.remove(at);
                } else if children[at].1.len() < WIDE / 4 {
                    merge(children, at);
                }
                value
            }
        }
    }
}

/// Takes the right half off a node that has grown too wide. Where the new entry went to the end, only that one is
/// taken, so that ascending keys leave full nodes behind.
fn split<K: Clone, T>(entries: &mut Vec<(K, T)>, inserted: usize) -> Option<(K, Vec<(K, T)>)> {
    if entries.len() <= WIDE {
        return None;
    }
    let at = if inserted + 1 == entries.len() { inserted } else { entries.len() / 2 };
    let right = entries.split_off(at);
    Some((right[0].0.clone(), right))
}

/// Joins a narrow child with a neighbour, if both fit in one node.
fn merge<K: Ord + Clone, V: Clone>(children: &mut Vec<(K, Node<K, V>)>, at: usize) {
    let left = if at > 0 { at - 1 } else { at };
    if left + 1 >= children.len() || children[left].1.len() + children[left + 1].1.len() > WIDE {
        return;
    }
    let (key, right) = children.remove(left + 1);
    match (&mut children[left].1, right) {
        (Node::Leaf(left), Node::Leaf(right)) => Arc::make_mut(left).extend(right.iter().cloned()),
        (Node::Branch(left), Node::Branch(right)) => {
            let at = left.len();
            let left = Arc::make_mut(left);
            left.extend(right.iter().cloned());
            // No longer a first child, so it no longer takes everything below: its bound is the old node's.
            left[at].0 = key;
        }
        _ => unreachable!("all leaves are equally deep"),
    }
}

/// The entries of a tree in order.
pub struct Iter<'a, K, V> {
    branches: Vec<std::slice::Iter<'a, (K, Node<K, V>)>>,
    leaf: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iter<'a, K, V> {
    fn descend(&mut self, mut node: &'a Node<K, V>) {
        loop {
            match node {
                Node::Leaf(entries) => {
                    self.leaf = entries.iter();
                    return;
                }
                Node::Branch(children) => {
                    let mut children = children.iter();
                    let Some((_, first)) = children.next() else { return };
                    self.branches.push(children);
                    node = first;
                }
            }
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            match self.branches.last_mut()?.next() {
                Some((_, node)) => self.descend(node),
                None => {
                    self.branches.pop();
                }
            }
        }
    }
}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for Tree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for Tree<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Tree<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut tree = Tree::default();
        for (key, value) in entries {
            tree.insert(key, value);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::controller::testing::Chance;

    fn depth<K, V>(node: &Node<K, V>) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Branch(children) => {
                let depths: Vec<usize> = children.iter().map(|(_, child)| depth(child)).collect();
                assert!(depths.windows(2).all(|pair| pair[0] == pair[1]), "all leaves are equally deep");
                assert!(children.len() <= WIDE);
                depths[0] + 1
            }
        }
    }

    /// Random inserts and removals agree with a BTreeMap, and copies made on the way stay as they were.
    #[test]
    fn it_does_what_a_btree_map_does_and_copies_do_not_change() {
        for seed in 0..90 {
            let mut chance = Chance::new(seed);
            let keys = [8, 100, 20_000][seed as usize % 3];
            let (mut tree, mut model) = (Tree::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for step in 0..6000 {
                let key = chance.below(keys);
                // Phases that mostly grow, then mostly shrink.
                if chance.below(10) < if step % 3000 < 2000 { 7 } else { 2 } {
                    assert_eq!(tree.insert(key, step), model.insert(key, step));
                } else if chance.one_in(3) {
                    assert_eq!(tree.get_mut(&key).map(|v| *v += 1), model.get_mut(&key).map(|v| *v += 1));
                } else {
                    assert_eq!(tree.remove(&key), model.remove(&key));
                }
                // Whole stretches go, so that nodes empty and join.
                if chance.one_in(100) {
                    let end = key + chance.below(keys / 4 + 1);
                    let gone: Vec<u64> = model.range(key..end).map(|(key, _)| *key).collect();
                    for key in gone {
                        assert_eq!(tree.remove(&key), model.remove(&key));
                    }
                }
                assert_eq!(tree.len(), model.len());
                if step % 1500 == 0 {
                    copies.push((tree.clone(), model.clone()));
                }
            }
            copies.push((tree, model));
            for (tree, model) in copies {
                depth(&tree.root);
                assert!(tree.iter().eq(model.iter()), "seed {seed}");
                let from = chance.below(keys);
                assert!(tree.from(&from).eq(model.range(from..)), "seed {seed}");
                assert_eq!(tree.get(&from), model.get(&from));
            }
        }
    }

    #[test]
    fn ascending_keys_leave_full_nodes_and_a_change_copies_one_path() {
        let tree: Tree<u32, u32> = (0..10_000).map(|i| (i, i)).collect();
        assert_eq!(depth(&tree.root), 3, "10,000 entries in nodes of 32");
        let mut changed = tree.clone();
        changed.insert(5000, 0);
        let shared = |a: &Node<u32, u32>, b: &Node<u32, u32>| match (a, b) {
            (Node::Branch(a), Node::Branch(b)) => a
                .iter()
                .zip(b.iter())
                .filter(|(a, b)| match (&a.1, &b.1) {
                    (Node::Branch(a), Node::Branch(b)) => !Arc::ptr_eq(a, b),
                    (Node::Leaf(a), Node::Leaf(b)) => !Arc::ptr_eq(a, b),
                    _ => true,
                })
                .count(),
            _ => panic!("the root is a branch"),
        };
        assert_eq!(shared(&tree.root, &changed.root), 1);
    }
}
