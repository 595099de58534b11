//! Which output is being made visible: one commit at a time, and each of everything that is open.
//!
//! A snapshot lists every transaction that was not known to be committed when it was recorded. So snapshots that come faster than
//! commits list some twice; but what a `Committed` covers must never be committed again, for its sink may use it anew.

use crate::backoff::{FIRST_PAUSE, TRIES};
use std::time::Duration;
use streamfleet_types::Epoch;
use streamfleet_types::log::Transaction;

/// What is to be committed, for a snapshot.
pub(crate) type Due = (Epoch, Vec<Transaction>);

/// Strikes what is committed off a list: what was closed at or before an epoch that a commit covers.
pub(crate) fn strike_out(transactions: &mut Vec<Transaction>, committed_through: Option<Epoch>) {
    transactions.retain(|t| t.epoch.is_none() || t.epoch > committed_through);
}

/// What the answer to a commit means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Everything that the snapshot lists is committed.
    Committed,
    /// It is tried again later.
    Again(String),
    /// It was tried often enough.
    Failed(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// The newest snapshot, and what it lists that is not known to be committed.
    newest: Option<Due>,
    /// What was closed at or before this epoch is committed. A snapshot that was being recorded meanwhile lists it still.
    done_through: Option<Epoch>,
    /// The snapshot that is being committed.
    under_way: Option<Epoch>,
    failures: u32,
    retry_at: Option<Duration>,
}

impl Commits {
    /// True if nothing is under way or waits.
    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// When the next try is due.
    pub fn wake_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// What is not known to be committed: the next snapshot must list it.
    pub fn open(&self) -> &[Transaction] {
        self.newest.as_ref().map_or(&[], |(_, transactions)| transactions)
    }

    /// A snapshot is recorded that lists these.
    pub fn recorded(&mut self, epoch: Epoch, mut transactions: Vec<Transaction>) {
        strike_out(&mut transactions, self.done_through);
        self.newest = Some((epoch, transactions));
    }

    /// What is to be committed now.
    pub fn next(&mut self, now: Duration) -> Option<Due> {
        if self.under_way.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        let due = self.newest.clone()?;
        self.retry_at = None;
        self.under_way = Some(due.0);
        Some(due)
    }

    /// The answer to the commit of a snapshot; `None` if it was not asked for.
    pub fn answered(&mut self, now: Duration, epoch: Epoch, result: Result<(), String>) -> Option<Answer> {
        self.under_way.take_if(|under_way| *under_way == epoch)?;
        let Err(message) = result else {
            self.failures = 0;
            self.done_through = Some(epoch);
            match &mut self.newest {
                Some((newest, open)) if *newest > epoch => strike_out(open, self.done_through),
                newest => *newest = None,
            }
            return Some(Answer::Committed);
        };
        self.failures += 1;
        if self.failures >= TRIES {
            return Some(Answer::Failed(message));
        }
        self.retry_at = Some(now + FIRST_PAUSE);
        Some(Answer::Again(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use streamfleet_types::OperatorId;

    fn transaction(name: &str, epoch: u64) -> Transaction {
        Transaction { operator: OperatorId("sink".into()), handle: json!(name), epoch: Some(Epoch(epoch)) }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn snapshots_that_come_faster_than_commits_commit_nothing_twice() {
        let (a, b, c) = (transaction("a", 1), transaction("b", 2), transaction("c", 3));
        let mut commits = Commits::default();
        commits.recorded(Epoch(1), vec![a.clone()]);
        assert_eq!(commits.next(NOW), Some((Epoch(1), vec![a.clone()])));
        commits.recorded(Epoch(2), vec![a.clone(), b.clone()]);
        assert_eq!(commits.next(NOW), None, "one at a time");
        commits.recorded(Epoch(3), vec![a.clone(), b.clone(), c.clone()]);
        assert_eq!(commits.open(), [a, b.clone(), c.clone()]);
        assert_eq!(commits.answered(NOW, Epoch(1), Ok(())), Some(Answer::Committed));
        assert_eq!(commits.open(), [b.clone(), c.clone()]);
        assert_eq!(commits.next(NOW), Some((Epoch(3), vec![b, c])));
        assert_eq!(commits.answered(NOW, Epoch(1), Ok(())), None);
        // This one was on its way to the log when the first commit was done.
        commits.recorded(Epoch(4), vec![transaction("a", 1), transaction("d", 4)]);
        assert_eq!(commits.open(), [transaction("d", 4)]);
        assert_eq!(commits.answered(NOW, Epoch(3), Ok(())), Some(Answer::Committed));
        assert!(commits.next(NOW).is_some());
        assert_eq!(commits.answered(NOW, Epoch(4), Ok(())), Some(Answer::Committed));
        assert!(commits.is_empty() && commits.open().is_empty());
    }

    #[test]
    fn a_commit_that_fails_is_tried_again_with_what_came_since() {
        let (a, b) = (transaction("a", 1), transaction("b", 2));
        let mut commits = Commits::default();
        commits.recorded(Epoch(1), vec![a.clone()]);
        assert!(commits.next(NOW).is_some());
        commits.recorded(Epoch(2), vec![a.clone(), b.clone()]);
        assert_eq!(commits.answered(NOW, Epoch(1), Err("no".into())), Some(Answer::Again("no".into())));
        assert_eq!(commits.next(NOW), None);
        assert_eq!(commits.wake_at(), Some(FIRST_PAUSE));
        for _ in 2..TRIES {
            assert_eq!(commits.next(FIRST_PAUSE * 10), Some((Epoch(2), vec![a.clone(), b.clone()])));
            assert_eq!(commits.answered(NOW, Epoch(2), Err("no".into())), Some(Answer::Again("no".into())));
        }
        assert!(commits.next(FIRST_PAUSE * 10).is_some());
        assert_eq!(commits.answered(NOW, Epoch(2), Err("no".into())), Some(Answer::Failed("no".into())));
    }
}
