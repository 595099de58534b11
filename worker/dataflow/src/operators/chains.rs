//! The rows of each key, as linked lists over row ids.

use super::key_index::KeyIndex;
use streamfleet_state::RowId;

/// The end of a chain.
pub(super) const END: RowId = RowId(u32::MAX);

/// The link of a row that is in no chain.
const UNLINKED: RowId = RowId(u32::MAX - 1);

/// See the module. A chain begins with the row that was linked last.
#[derive(Debug)]
pub(super) struct Chains {
    heads: KeyIndex,
    next: Vec<RowId>,
    /// Kept only if rows are unlinked.
    previous: Option<Vec<RowId>>,
}

fn set(links: &mut Vec<RowId>, at: RowId, to: RowId) {
    let at = at.0 as usize;
    if links.len() <= at {
        links.resize(at + 1, UNLINKED);
    }
    links[at] = to;
}

impl Chains {
    pub fn new(rows_are_unlinked: bool) -> Self {
        Self { heads: KeyIndex::default(), next: Vec::new(), previous: rows_are_unlinked.then(Vec::new) }
    }

    /// The first row of a key, or [`END`]. `same` tells whether a row has the key.
    #[inline]
    pub fn first(&self, hash: u64, same: impl Fn(RowId) -> bool) -> RowId {
        self.heads.find(hash, |row| same(RowId(row))).map_or(END, RowId)
    }

    /// The row behind this one, or [`END`].
    #[inline]
    pub fn next(&self, row: RowId) -> RowId {
        self.next[row.0 as usize]
    }

    /// True if the row is in a chain.
    pub fn contains(&self, row: RowId) -> bool {
        self.next.get(row.0 as usize).is_some_and(|next| *next != UNLINKED)
    }

    /// Puts a row first in the chain of its key.
    #[inline]
    pub fn link(&mut self, row: RowId, hash: u64, same: impl Fn(RowId) -> bool) {
        let head = self.heads.put(hash, row.0, |row| same(RowId(row))).map_or(END, RowId);
        set(&mut self.next, row, head);
        if let Some(previous) = &mut self.previous {
            set(previous, row, END);
            if head != END {
                set(previous, head, row);
            }
        }
    }

    /// Takes a row out of its chain.
    pub fn unlink(&mut self, row: RowId, hash: u64) {
        let previous = self.previous.as_mut().expect("chains that rows leave are linked both ways");
        let next = std::mem::replace(&mut self.next[row.0 as usize], UNLINKED);
        let before = previous[row.0 as usize];
        if next != END {
            previous[next.0 as usize] = before;
        }
        if before != END {
            self.next[before.0 as usize] = next;
        } else if next != END {
            self.heads.put(hash, next.0, |head| head == row.0);
        } else {
            self.heads.remove(hash, row.0);
        }
    }

    /// True for a row that was linked last of its key.
    pub fn is_first(&self, row: RowId) -> bool {
        self.contains(row) && self.previous.as_ref().is_some_and(|previous| previous[row.0 as usize] == END)
    }

    pub fn clear(&mut self) {
        self.heads.clear();
        self.next.clear();
        self.previous.iter_mut().for_each(Vec::clear);
    }
}
