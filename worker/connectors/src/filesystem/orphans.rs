//! Staged parts, and parts in the hidden folder of small files, that a crash left behind.
//!
//! A part's name tells the job's uid and the term it was written under. Of an earlier term of the same uid no part is needed
//! any more: before a term deploys, it has committed every part that its checkpoint names, and an earlier term completes no
//! checkpoint after its successor has claimed the job's log. Parts of another uid may belong to a job that runs, so they stay;
//! so do those of a job without a checkpoint place, whose uid ends with its process.

use super::compaction;
use streamfleet_env::{Staged, StorageReply, StorageRequest};
use streamfleet_types::Term;

/// What lists all that may have been left in a table's folder.
pub(super) fn listings(folder: &str) -> [StorageRequest; 2] {
    [
        StorageRequest::ListStaged { prefix: format!("{folder}/") },
        StorageRequest::List { prefix: format!("{folder}/{}/", compaction::FOLDER) },
    ]
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner<'a> {
    uid: &'a str,
    term: u64,
}

impl<'a> Owner<'a> {
    /// Out of a sink's unique name, `<uid>-<term>-<the rest>`.
    pub fn of(unique: &'a str) -> Option<Self> {
        let mut pieces = unique.splitn(3, '-');
        let (uid, term, _rest) = (pieces.next()?, pieces.next()?, pieces.next()?);
        // A uid is random; anything shorter may be another's as well.
        let is_uid = uid.len() == 16 && uid.bytes().all(|b| b.is_ascii_hexdigit());
        if is_uid { Some(Self { uid, term: term.parse().ok()? }) } else { None }
    }

    /// A job under a term.
    pub const fn new(uid: &'a str, term: Term) -> Self {
        Self { uid, term: term.0 }
    }

    /// What removes what earlier terms left, of all that a listing found.
    pub fn removals(self, found: StorageReply) -> Vec<StorageRequest> {
        match found {
            StorageReply::Staged(staged) => {
                let left = staged.into_iter().filter(|staged| self.left_behind(&staged.path));
                left.map(|Staged { path, token }| StorageRequest::Discard { path, token }).collect()
            }
            StorageReply::Paths(paths) => {
                let left = paths.into_iter().filter(|(path, _)| self.left_behind(path));
                left.map(|(path, _)| StorageRequest::Delete { path }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How many parts of the same job a listing found that no earlier term wrote.
    pub fn kept(self, found: &StorageReply) -> usize {
        let is_kept = |path: &str| self.term_of(path).is_some_and(|term| term >= self.term);
        match found {
            StorageReply::Staged(staged) => staged.iter().filter(|staged| is_kept(&staged.path)).count(),
            StorageReply::Paths(paths) => paths.iter().filter(|(path, _)| is_kept(path)).count(),
            _ => 0,
        }
    }

    /// The term under which the same job wrote a part.
    fn term_of(self, path: &str) -> Option<u64> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let owner = name.strip_prefix("part-").and_then(Owner::of)?;
        (owner.uid == self.uid).then_some(owner.term)
    }

    /// True for the path of a part of the same job and an earlier term.
    fn left_behind(self, path: &str) -> bool {
        self.term_of(path).is_some_and(|term| term < self.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_of_the_job_and_an_earlier_term_are_left_behind() {
        let owner = Owner::of("00112233445566ff-7-deadbeef-ab-cd-0").expect("a unique name");
        let is = |name: &str| owner.left_behind(name);
        assert!(is("out/part-00112233445566ff-6-01234567-ab-cd-0-12.json"));
        assert!(is("s3://bucket/out/dt=1/part-00112233445566ff-6-01234567-other-3-0.parquet"));
        for other in [
            "out/part-00112233445566ff-7-deadbeef-ab-cd-0-0.json",
            "out/part-00112233445566ff-8-deadbeef-ab-cd-0-0.json",
            "out/part-00112233445566fe-6-deadbeef-ab-cd-0-0.json",
            "out/.part-00112233445566ff-6-deadbeef-ab-cd-0-0.json",
            "out/part-u-0.json",
            "out/part-00112233445566ff-x-y.json",
            "out/part-00112233445566ff-6-deadbeef-0.json/file",
        ] {
            assert!(!is(other), "{other}");
        }
        assert_eq!(Owner::of("u"), None);
        assert_eq!(Owner::of("job-1-x"), None);
    }
}
