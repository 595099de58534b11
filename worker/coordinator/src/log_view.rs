//! What a job log says: a fold over its records.

use crate::commits::strike_out;
use std::collections::BTreeSet;
use streamfleet_storage::LogError;
use streamfleet_types::log::{LogEntry, LogRecord, Outcome, Snapshot, Transaction};
use streamfleet_types::{Epoch, Run, Term};

/// Why a log cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ViewError {
    /// A record cannot be read.
    #[error("{0}")]
    Record(String),
    /// A record is gone that later ones build on.
    #[error(
        "job log record {path} is missing, though later records stand: restore it from a backup of the checkpoint place, or \
         remove the whole place to run the job anew"
    )]
    Missing {
        /// Its path.
        path: String,
    },
    /// The log is another job's.
    #[error("the checkpoint place belongs to job {found}, not to {wanted}: give each job its own place")]
    OtherJob {
        /// The job of the log.
        found: String,
        /// The job that was to be started.
        wanted: String,
    },
}

impl From<LogError> for ViewError {
    fn from(error: LogError) -> Self {
        Self::Record(error.to_string())
    }
}

/// What is known from the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogView {
    /// The place of the oldest record.
    pub lowest: u64,
    /// The place of the next record.
    pub tail: u64,
    /// The job's uid; absent in an empty log.
    pub uid: Option<String>,
    /// The newest run.
    pub run: Run,
    /// The newest term.
    pub term: Term,
    /// Who claimed it, for people.
    pub address: String,
    /// How the newest run ended, if it did.
    pub ended: Option<Outcome>,
    /// The newest epoch that any record names.
    pub newest_epoch: Epoch,
    /// Complete snapshots that are not retired, oldest first, with the place of their record.
    pub snapshots: Vec<(u64, Snapshot)>,
    /// Complete snapshots that are not retired, but that a later `Start` went back behind.
    pub superseded: Vec<(u64, Snapshot)>,
    /// Of all these, the ones whose transactions are known to be done.
    pub committed: BTreeSet<Epoch>,
    /// The newest term has completed a snapshot: what it was begun from is committed.
    has_completed: bool,
    /// Since the newest `Start`, what was closed at or before this epoch is committed.
    committed_through: Option<Epoch>,
}

impl LogView {
    /// Takes the next record, at place `n`.
    ///
    /// # Errors
    /// The record is another job's.
    pub fn apply(&mut self, n: u64, entry: &LogEntry, job: &str) -> Result<(), ViewError> {
        if entry.job != job {
            return Err(ViewError::OtherJob { found: entry.job.clone(), wanted: job.to_owned() });
        }
        if self.tail == 0 {
            self.lowest = n;
        }
        self.tail = n + 1;
        self.uid = Some(entry.uid.clone());
        self.run = self.run.max(entry.run);
        self.term = self.term.max(entry.term);
        match &entry.record {
            LogRecord::Start { base, base_committed, .. } => {
                self.ended = None;
                self.has_completed = false;
                self.committed_through = base.as_ref().filter(|_| *base_committed).map(|b| b.epoch);
                match base {
                    Some(base) => {
                        self.newest_epoch = self.newest_epoch.max(base.epoch);
                        // "Newest" means since this record: what an older run completed after its base does not count.
                        let behind = self.snapshots.iter().position(|(_, s)| s.epoch >= base.epoch);
                        let behind = self.snapshots.split_off(behind.unwrap_or(self.snapshots.len()));
                        self.superseded.extend(behind);
                        self.superseded.retain(|(_, s)| s.epoch != base.epoch);
                        self.snapshots.push((n, (**base).clone()));
                        if *base_committed {
                            self.committed.insert(base.epoch);
                        }
                    }
                    None => self.superseded.append(&mut self.snapshots),
                }
            }
            LogRecord::Claim { address } => {
                self.address.clone_from(address);
                // A reign may be taken over without a new start.
                self.has_completed = false;
            }
            LogRecord::Complete { snapshot } => {
                self.newest_epoch = self.newest_epoch.max(snapshot.epoch);
                let mut snapshot = (**snapshot).clone();
                strike_out(&mut snapshot.transactions, self.committed_through);
                self.snapshots.push((n, snapshot));
                self.has_completed = true;
            }
            LogRecord::Abort { epoch, .. } => self.newest_epoch = self.newest_epoch.max(*epoch),
            LogRecord::Committed { epoch } => {
                self.committed_through = self.committed_through.max(Some(*epoch));
                for (_, snapshot) in &mut self.snapshots {
                    // An earlier snapshot lists nothing that this one did not, unless it was done already.
                    if snapshot.epoch <= *epoch {
                        self.committed.insert(snapshot.epoch);
                    }
                    strike_out(&mut snapshot.transactions, Some(*epoch));
                }
            }
            LogRecord::Retire { epoch } => {
                self.snapshots.retain(|(_, s)| s.epoch != *epoch);
                self.superseded.retain(|(_, s)| s.epoch != *epoch);
                self.committed.remove(epoch);
            }
            LogRecord::End { outcome, .. } => self.ended = Some(*outcome),
        }
        Ok(())
    }

    /// What a snapshot lists and nothing says to be committed.
    pub fn open_transactions(&self, snapshot: &Snapshot) -> Vec<Transaction> {
        if self.committed.contains(&snapshot.epoch) {
            return Vec::new();
        }
        let kept = self.kept().map(|(_, s)| s).find(|s| s.epoch == snapshot.epoch);
        kept.unwrap_or(snapshot).transactions.clone()
    }

    /// The lowest term whose process may still write: earlier ones complete nothing any more. When the job has ended, that is
    /// one that has not begun.
    pub fn below_who_may_live(&self) -> Term {
        if self.ended.is_some() { self.term.next() } else { self.term }
    }

    /// The newest snapshot, if its output is still to be committed and was written below [`Self::below_who_may_live`].
    pub fn uncommitted(&self) -> Option<Epoch> {
        let is_of_who_may_live = self.has_completed && self.ended.is_none();
        let newest = self.newest().filter(|_| !is_of_who_may_live)?;
        (!self.open_transactions(newest).is_empty()).then_some(newest.epoch)
    }

    /// Every complete snapshot that is not retired: their files must stay.
    pub fn kept(&self) -> impl Iterator<Item = &(u64, Snapshot)> {
        self.superseded.iter().chain(&self.snapshots)
    }

    /// The newest complete snapshot.
    pub fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.last().map(|(_, s)| s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use streamfleet_types::OperatorId;
    use streamfleet_types::log::LOG_VERSION;

    fn snapshot(epoch: u64, transactions: &[u64]) -> Snapshot {
        let of = |closed: &u64| Transaction {
            operator: OperatorId("sink".into()),
            handle: json!(closed),
            epoch: Some(Epoch(*closed)),
        };
        Snapshot {
            epoch: Epoch(epoch),
            parallelism: 1,
            max_parallelism: 8,
            fingerprint: String::new(),
            files: Vec::new(),
            positions: Vec::new(),
            transactions: transactions.iter().map(of).collect(),
            watermarks: Vec::new(),
        }
    }

    fn view(records: Vec<LogRecord>) -> LogView {
        let mut view = LogView::default();
        for (place, record) in records.into_iter().enumerate() {
            let entry = LogEntry {
                version: LOG_VERSION,
                job: "j".into(),
                uid: "u".into(),
                nonce: 0,
                run: Run(1),
                term: Term(1),
                written_at_ms: 0,
                record,
            };
            view.apply(place as u64, &entry, "j").expect("the job's own");
        }
        view
    }

    fn complete(epoch: u64, transactions: &[u64]) -> LogRecord {
        LogRecord::Complete { snapshot: Box::new(snapshot(epoch, transactions)) }
    }

    fn start(base: Option<Snapshot>, base_committed: bool) -> LogRecord {
        LogRecord::Start { fingerprint: String::new(), base: base.map(Box::new), base_committed }
    }

    fn open(view: &LogView, epoch: u64, listed: &[u64]) -> Vec<u64> {
        let open = view.open_transactions(&snapshot(epoch, listed));
        open.iter().map(|t| t.epoch.expect("it has one").0).collect()
    }

    #[test]
    fn output_of_a_term_that_is_over_is_known_to_wait_for_its_commit() {
        let claim = || LogRecord::Claim { address: String::new() };
        let committed = |epoch| LogRecord::Committed { epoch: Epoch(epoch) };
        let end = || LogRecord::End { outcome: Outcome::Failed, reason: String::new() };
        let mut log = vec![start(None, true), claim(), complete(1, &[1])];
        let said = |log: &[LogRecord]| {
            let view = view(log.to_vec());
            (view.uncommitted(), view.below_who_may_live())
        };
        assert_eq!(said(&log), (None, Term(1)), "its own process may be about to");
        for (record, expected) in [
            (end(), (Some(Epoch(1)), Term(2))),
            (start(Some(snapshot(1, &[1])), false), (Some(Epoch(1)), Term(1))),
            (claim(), (Some(Epoch(1)), Term(1))),
            (committed(1), (None, Term(1))),
            (complete(2, &[2]), (None, Term(1))),
            (end(), (Some(Epoch(2)), Term(2))),
        ] {
            log.push(record);
            assert_eq!(said(&log), expected, "{:?}", log.last());
        }
    }

    #[test]
    fn what_a_commit_covers_is_struck_off_every_list() {
        let committed = |epoch| LogRecord::Committed { epoch: Epoch(epoch) };
        let log =
            vec![start(None, true), complete(1, &[1]), complete(3, &[1, 2, 3]), committed(1), complete(4, &[1, 3, 4])];
        let lagging = view(log.clone());
        assert!(open(&lagging, 1, &[1]).is_empty());
        assert_eq!(open(&lagging, 3, &[1, 2, 3]), [2, 3]);
        assert_eq!(open(&lagging, 4, &[1, 3, 4]), [3, 4]);
        let done = view([log.clone(), vec![committed(4)]].concat());
        assert!(open(&done, 3, &[1, 2, 3]).is_empty(), "a later snapshot listed it too");
        // A run that goes back aborts what later snapshots list: nothing that it commits covers them.
        let base = snapshot(3, &[2, 3]);
        let back = view([log, vec![start(Some(base), false), complete(6, &[2, 3, 6]), committed(6)]].concat());
        assert!(open(&back, 3, &[2, 3]).is_empty());
        assert_eq!(open(&back, 4, &[1, 3, 4]), [3, 4]);
    }
}
