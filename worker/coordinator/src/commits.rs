//! Which output is being made visible: one commit at a time, and each of everything that is open.
//!
//! A snapshot lists every transaction that was not known to be committed when it was recorded. So snapshots that come faster than
//! commits list some twice; but what a `Committed` covers must never be committed again, for its sink may use it anew.

use std::time::Duration;
use streamfleet_types::Epoch;
use streamfleet_types::log::Transaction;

/// Tries before a commit that fails fails the run.
const TRIES: u32 = 5;

/// How long after a failure the next try is.
const PAUSE: Duration = Duration::from_millis(500);

/// What is to be committed, for a snapshot.
pub(crate) type Due = (Epoch, Vec<Transaction>);

#[derive(Debug)]
struct UnderWay {
    epoch: Epoch,
    transactions: Vec<Transaction>,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything that this snapshot lists is committed.
    Committed(Epoch),
    /// It is tried again later.
    Again,
    /// It was tried often enough.
    Failed(String),
    /// It answers nothing that was asked.
    Unknown,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// The newest snapshot, and what it lists that is not known to be committed.
    newest: Option<Due>,
    /// What was closed at or before this epoch is committed. A snapshot that was being recorded meanwhile lists it still.
    done_through: Option<Epoch>,
    under_way: Option<UnderWay>,
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
    pub fn open(&self) -> Vec<Transaction> {
        self.newest.as_ref().map(|(_, transactions)| transactions.clone()).unwrap_or_default()
    }

    /// A snapshot is recorded that lists these.
    pub fn recorded(&mut self, epoch: Epoch, mut transactions: Vec<Transaction>) {
        transactions.retain(|t| t.epoch.is_none() || t.epoch > self.done_through);
        self.newest = Some((epoch, transactions));
    }

    /// What is to be committed now.
    pub fn next(&mut self, now: Duration) -> Option<Due> {
        if self.under_way.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        let (epoch, transactions) = self.newest.clone()?;
        self.retry_at = None;
        self.under_way = Some(UnderWay { epoch, transactions: transactions.clone() });
        Some((epoch, transactions))
    }

    /// The answer to a commit.
    pub fn answered(&mut self, now: Duration, epoch: Epoch, result: Result<(), String>) -> Outcome {
        let Some(UnderWay { transactions, .. }) = self.under_way.take_if(|u| u.epoch == epoch) else {
            return Outcome::Unknown;
        };
        match result {
            Ok(()) => {
                self.failures = 0;
                self.done_through = self.done_through.max(Some(epoch));
                match &mut self.newest {
                    Some((newest, _)) if *newest == epoch => self.newest = None,
                    Some((_, open)) => open.retain(|t| !transactions.contains(t)),
                    None => {}
                }
                Outcome::Committed(epoch)
            }
            Err(message) => {
                self.failures += 1;
                if self.failures >= TRIES {
                    return Outcome::Failed(message);
                }
                self.retry_at = Some(now + PAUSE);
                Outcome::Again
            }
        }
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
        assert_eq!(commits.answered(NOW, Epoch(1), Ok(())), Outcome::Committed(Epoch(1)));
        assert_eq!(commits.open(), [b.clone(), c.clone()]);
        assert_eq!(commits.next(NOW), Some((Epoch(3), vec![b, c])));
        assert_eq!(commits.answered(NOW, Epoch(1), Ok(())), Outcome::Unknown);
        // This one was on its way to the log when the first commit was done.
        commits.recorded(Epoch(4), vec![transaction("a", 1), transaction("d", 4)]);
        assert_eq!(commits.open(), [transaction("d", 4)]);
        assert_eq!(commits.answered(NOW, Epoch(3), Ok(())), Outcome::Committed(Epoch(3)));
        assert!(commits.next(NOW).is_some());
        assert_eq!(commits.answered(NOW, Epoch(4), Ok(())), Outcome::Committed(Epoch(4)));
        assert!(commits.is_empty() && commits.open().is_empty());
    }

    #[test]
    fn a_commit_that_fails_is_tried_again_with_what_came_since() {
        let (a, b) = (transaction("a", 1), transaction("b", 2));
        let mut commits = Commits::default();
        commits.recorded(Epoch(1), vec![a.clone()]);
        assert!(commits.next(NOW).is_some());
        commits.recorded(Epoch(2), vec![a.clone(), b.clone()]);
        assert_eq!(commits.answered(NOW, Epoch(1), Err("no".into())), Outcome::Again);
        assert_eq!(commits.next(NOW), None);
        assert_eq!(commits.wake_at(), Some(PAUSE));
        for _ in 2..TRIES {
            assert_eq!(commits.next(PAUSE * 10), Some((Epoch(2), vec![a.clone(), b.clone()])));
            assert_eq!(commits.answered(NOW, Epoch(2), Err("no".into())), Outcome::Again);
        }
        assert!(commits.next(PAUSE * 10).is_some());
        assert_eq!(commits.answered(NOW, Epoch(2), Err("no".into())), Outcome::Failed("no".into()));
    }
}
