//! What a job log says: a fold over its records.

use std::collections::BTreeSet;
use streamfleet_storage::LogError;
use streamfleet_types::log::{LogEntry, LogRecord, Outcome, Snapshot};
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
            LogRecord::Claim { address } => self.address.clone_from(address),
            LogRecord::Complete { snapshot } => {
                self.newest_epoch = self.newest_epoch.max(snapshot.epoch);
                self.snapshots.push((n, (**snapshot).clone()));
            }
            LogRecord::Abort { epoch, .. } => self.newest_epoch = self.newest_epoch.max(*epoch),
            LogRecord::Committed { epoch } => {
                self.committed.insert(*epoch);
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

    /// Every complete snapshot that is not retired: their files must stay.
    pub fn kept(&self) -> impl Iterator<Item = &(u64, Snapshot)> {
        self.superseded.iter().chain(&self.snapshots)
    }

    /// The newest complete snapshot.
    pub fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.last().map(|(_, s)| s)
    }
}
