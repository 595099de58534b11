//! A pairing heap for each group, whose nodes are the rows of a table: the first value of a group, though any may go.
//!
//! Links are found by row id, so nothing is allocated per row, and what comes first is for the caller to say. To add costs
//! O(1), to remove O(log n) on average over the removals of a heap. With an order that calls all rows equal it is a list.

use streamfleet_state::RowId;

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    child: u32,
    /// The next sibling.
    next: u32,
    /// The sibling before; of a first child its parent.
    previous: u32,
}

const LONE: Node = Node { child: NONE, next: NONE, previous: NONE };

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Heaps {
    /// The first row of each group, by the group's row.
    roots: Vec<u32>,
    /// By row.
    nodes: Vec<Node>,
    /// Parts of heaps that are being dropped.
    dropping: Vec<u32>,
}

impl Heaps {
    /// The first row of a group.
    #[inline]
    pub fn first(&self, group: RowId) -> Option<RowId> {
        self.roots.get(group.0 as usize).copied().filter(|root| *root != NONE).map(RowId)
    }

    fn set_root(&mut self, group: RowId, root: u32) {
        let group = group.0 as usize;
        if self.roots.len() <= group {
            self.roots.resize(group + 1, NONE);
        }
        self.roots[group] = root;
    }

    /// Adds a row that is in no group; true if it is the first now. `is_before(a, b)`: a comes before b.
    pub fn add(&mut self, group: RowId, row: RowId, is_before: impl Fn(RowId, RowId) -> bool) -> bool {
        if self.nodes.len() <= row.0 as usize {
            self.nodes.resize(row.0 as usize + 1, LONE);
        }
        self.nodes[row.0 as usize] = LONE;
        let root = self.first(group).map_or(row.0, |root| self.meld(root.0, row.0, &is_before));
        self.set_root(group, root);
        root == row.0
    }

    /// Takes a row out of its group; true if it was the first.
    pub fn remove(&mut self, group: RowId, row: RowId, is_before: impl Fn(RowId, RowId) -> bool) -> bool {
        let children = self.merge_children(row.0, &is_before);
        let root = self.first(group).map_or(NONE, |root| root.0);
        if root == row.0 {
            self.set_root(group, children);
            return true;
        }
        let Node { next, previous, .. } = self.nodes[row.0 as usize];
        let before = &mut self.nodes[previous as usize];
        if before.child == row.0 {
            before.child = next;
        } else {
            before.next = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if children != NONE {
            let root = self.meld(root, children, &is_before);
            self.set_root(group, root);
        }
        false
    }

    /// One heap of two; `a` and `b` are their roots.
    fn meld(&mut self, a: u32, b: u32, is_before: &impl Fn(RowId, RowId) -> bool) -> u32 {
        let (top, low) = if is_before(RowId(b), RowId(a)) { (b, a) } else { (a, b) };
        let child = self.nodes[top as usize].child;
        if child != NONE {
            self.nodes[child as usize].previous = low;
        }
        let low_node = &mut self.nodes[low as usize];
        low_node.next = child;
        low_node.previous = top;
        self.nodes[top as usize] = Node { child: low, ..LONE };
        top
    }

    /// One heap of the children of a row, in two passes: pairs from the front, then all from the back.
    fn merge_children(&mut self, row: u32, is_before: &impl Fn(RowId, RowId) -> bool) -> u32 {
        let mut at = self.nodes[row as usize].child;
        let mut paired = NONE;
        while at != NONE {
            let first = at;
            let second = self.nodes[first as usize].next;
            at = if second == NONE { NONE } else { self.nodes[second as usize].next };
            let pair = if second == NONE { first } else { self.meld(first, second, is_before) };
            let node = &mut self.nodes[pair as usize];
            node.previous = NONE;
            node.next = paired;
            paired = pair;
        }
        let mut merged = NONE;
        while paired != NONE {
            let following = std::mem::replace(&mut self.nodes[paired as usize].next, NONE);
            merged = if merged == NONE { paired } else { self.meld(merged, paired, is_before) };
            paired = following;
        }
        merged
    }

    /// Lets a group's rows go: [`Self::next_dropped`] gives them.
    pub fn drop_group(&mut self, group: RowId) {
        if let Some(root) = self.first(group) {
            self.dropping.push(root.0);
            self.set_root(group, NONE);
        }
    }

    /// The next row of groups that were dropped.
    pub fn next_dropped(&mut self) -> Option<RowId> {
        let row = self.dropping.pop()?;
        let Node { child, next, .. } = self.nodes[row as usize];
        self.dropping.extend([child, next].into_iter().filter(|row| *row != NONE));
        Some(RowId(row))
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
#[path = "heaps_tests.rs"]
mod tests;
