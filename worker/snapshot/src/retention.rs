//! Which snapshots are kept, and which files nobody needs any more.

use std::collections::BTreeSet;
use streamfleet_types::Epoch;
use streamfleet_types::log::Snapshot;

/// Keeps the newest snapshots.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// How many; at least one.
    pub keep: usize,
}

impl Retention {
    /// The snapshots to retire, oldest first, given all that exist in order.
    pub fn to_retire(self, existing: &[Epoch]) -> Vec<Epoch> {
        let excess = existing.len().saturating_sub(self.keep.max(1));
        existing[..excess].to_vec()
    }
}

/// The files that only retired snapshots refer to.
pub fn unreferenced_files(retired: &[Snapshot], kept: &[&Snapshot]) -> Vec<String> {
    let needed: BTreeSet<&str> = kept.iter().flat_map(|s| &s.files).map(|f| f.path.as_str()).collect();
    let mut gone: Vec<String> = retired
        .iter()
        .flat_map(|s| &s.files)
        .map(|f| f.path.clone())
        .filter(|p| !needed.contains(p.as_str()))
        .collect();
    gone.sort();
    gone.dedup();
    gone
}
