//! State files that nobody refers to, and records that are no part of the log: which of those found may go.
//!
//! A state file's name tells the job's uid and the term it was written under. An earlier term of the same uid completes nothing
//! any more once its successor has claimed: what no snapshot refers to then is nobody's. Files of the newest term may be on
//! their way into a snapshot as long as its process may live, and files of another uid belong to another job, so both stay.
//!
//! A record below the log's lowest was created by a process that had stood still, at a place whose record had been deleted.

use crate::log_view::LogView;
use std::collections::BTreeSet;
use streamfleet_env::{Staged, StorageReply, StorageRequest};
use streamfleet_storage::parse_entry_path;
use streamfleet_types::Term;
use streamfleet_types::log::Snapshot;

/// The folder of state files, below the job's place.
pub const DATA_PREFIX: &str = "data/";

/// The folder of the objects that start-up makes to see whether two writers can create one.
pub const PROBE_PREFIX: &str = "probe/";

/// A probe that is older was left by a process that died at its start.
const PROBE_AGE_MS: i64 = 60 * 60 * 1000;

/// What removes the leftovers of a job among what a listing of [`DATA_PREFIX`], [`PROBE_PREFIX`] or
/// [`streamfleet_storage::LOG_PREFIX`] found.
pub fn leftovers(view: &LogView, listed: &StorageReply, wall_clock_ms: i64) -> Vec<StorageRequest> {
    let kept: Vec<&Snapshot> = view.kept().map(|(_, s)| s).collect();
    let uid = view.uid.as_deref().unwrap_or_default();
    let mut removals =
        (Leftovers { uid, below: view.below_who_may_live(), kept: &kept, lowest: view.lowest }).removals(listed);
    if let StorageReply::Paths(paths) = listed {
        let old = paths.iter().filter(|(path, _)| is_old_probe(path, wall_clock_ms));
        removals.extend(old.map(|(path, _)| StorageRequest::Delete { path: path.clone() }));
    }
    removals
}

/// The path of a probe.
pub(crate) fn probe_path(wall_clock_ms: i64, nonce: u64) -> String {
    format!("{PROBE_PREFIX}{wall_clock_ms}-{nonce:016x}")
}

fn is_old_probe(path: &str, wall_clock_ms: i64) -> bool {
    let made = path.strip_prefix(PROBE_PREFIX).and_then(|name| name.split('-').next()?.parse().ok());
    made.is_some_and(|made: i64| wall_clock_ms.saturating_sub(made) > PROBE_AGE_MS)
}

/// The rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leftovers<'a> {
    /// The job's.
    pub uid: &'a str,
    /// The lowest term that may still refer to what it wrote; only what earlier ones wrote may go.
    pub below: Term,
    /// Every snapshot that may still be restored.
    pub kept: &'a [&'a Snapshot],
    /// The log's lowest record.
    pub lowest: u64,
}

impl Leftovers<'_> {
    /// What removes the leftovers among what a listing found.
    pub fn removals(&self, listed: &StorageReply) -> Vec<StorageRequest> {
        match listed {
            StorageReply::Paths(paths) => {
                let needed: BTreeSet<&str> = self.kept.iter().flat_map(|s| &s.files).map(|f| f.path.as_str()).collect();
                let paths = paths.iter().map(|(path, _)| path);
                let is_left = |path: &str| !needed.contains(path) && self.is_of_earlier_term(path);
                let left = paths.filter(|path| is_left(path) || self.is_below_the_log(path));
                left.map(|path| StorageRequest::Delete { path: path.clone() }).collect()
            }
            StorageReply::Staged(staged) => {
                let left = staged.iter().filter(|s| self.is_of_earlier_term(&s.path)).cloned();
                left.map(|Staged { path, token }| StorageRequest::Discard { path, token }).collect()
            }
            _ => Vec::new(),
        }
    }

    fn is_below_the_log(&self, path: &str) -> bool {
        parse_entry_path(path).is_some_and(|n| n < self.lowest)
    }

    /// True for a state file that this job wrote under an earlier term; see `Deploy::unique` for how they are named. Term 0 is
    /// that of files copied for a job before its log began: no other job can use this place any more.
    fn is_of_earlier_term(&self, path: &str) -> bool {
        let mut name = path.strip_prefix(DATA_PREFIX).unwrap_or_default().split('-');
        let (uid, term) = (name.next(), name.next().and_then(|t| t.parse().ok()));
        let is_own = uid == Some(self.uid);
        term.is_some_and(|term| Term(term) < self.below && (is_own || term == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamfleet_storage::entry_path;
    use streamfleet_types::log::StateFile;
    use streamfleet_types::{Epoch, HashRange};

    fn snapshot(path: &str) -> Snapshot {
        let range = HashRange { first: 0, last: u64::MAX };
        Snapshot {
            epoch: Epoch(1),
            parallelism: 1,
            max_parallelism: 1,
            fingerprint: String::new(),
            files: vec![StateFile { path: path.to_owned(), epoch: Epoch(1), range, bytes: 1, rows: 1 }],
            positions: vec![],
            transactions: vec![],
            watermarks: vec![],
        }
    }

    #[test]
    fn only_files_of_the_job_and_of_earlier_terms_that_no_snapshot_names_are_removed() {
        let kept = snapshot("data/u-1-aa-0-000000-0.state");
        let leftovers = Leftovers { uid: "u", below: Term(3), kept: &[&kept], lowest: 0 };
        let files = [
            "u-1-aa-0-000000-0",
            "u-1-aa-0-000001-0",
            "u-2-bb-0-000000-0",
            "u-3-cc-0-000000-0",
            "v-1-aa-0-0-0",
            "w-0-dd-000000",
        ];
        let path = |name: &str| format!("data/{name}.state");
        let removed = leftovers.removals(&StorageReply::Paths(files.iter().map(|f| (path(f), 1)).collect()));
        let delete = |name| StorageRequest::Delete { path: path(name) };
        assert_eq!(removed, ["u-1-aa-0-000001-0", "u-2-bb-0-000000-0", "w-0-dd-000000"].map(delete));
        let staged = files.iter().map(|f| Staged { path: path(f), token: "t".to_owned() }).collect();
        let removed = leftovers.removals(&StorageReply::Staged(staged));
        let discard = |name| StorageRequest::Discard { path: path(name), token: "t".to_owned() };
        // What is staged is in no snapshot.
        assert_eq!(
            removed,
            ["u-1-aa-0-000000-0", "u-1-aa-0-000001-0", "u-2-bb-0-000000-0", "w-0-dd-000000"].map(discard)
        );
    }

    #[test]
    fn records_below_the_log_are_removed() {
        let leftovers = Leftovers { uid: "u", below: Term(3), kept: &[], lowest: 69 };
        let paths = [4, 68, 69, 70].map(|n| (entry_path(n), 1));
        let removed = leftovers.removals(&StorageReply::Paths(paths.into()));
        assert_eq!(removed, [4, 68].map(|n| StorageRequest::Delete { path: entry_path(n) }));
    }

    #[test]
    fn only_old_probes_are_removed() {
        let now = 10 * PROBE_AGE_MS;
        let old = probe_path(now - PROBE_AGE_MS - 1, 7);
        let paths = [old.clone(), probe_path(now - PROBE_AGE_MS, 7), probe_path(now + 5, 7), "probe/x".to_owned()];
        let listed = StorageReply::Paths(paths.into_iter().map(|p| (p, 5)).collect());
        assert_eq!(leftovers(&LogView::default(), &listed, now), [StorageRequest::Delete { path: old }]);
    }
}
