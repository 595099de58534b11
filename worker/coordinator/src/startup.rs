//! Before a reign: is the place fit for a log, and what does the log say?

use crate::log_view::{LogView, ViewError};
use crate::message::CoordinatorError;
use std::collections::VecDeque;
use streamfleet_env::{StorageError, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_storage::{LOG_PREFIX, parse_entry, parse_entry_path};
use streamfleet_types::log::LogRecord;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    FirstProbe,
    SecondProbe,
    ProbeRemoval,
    Listing,
    Reading,
}

/// What came of an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Progress {
    /// Ask this next.
    Ask(StorageRequest),
    /// The log is read.
    Read(LogView),
    /// It cannot be.
    Failed(CoordinatorError),
}

/// Probes the place and reads the log.
#[derive(Debug)]
pub(crate) struct Startup {
    job: String,
    probe: String,
    stage: Stage,
    unread: VecDeque<u64>,
    /// Records below a gap were left out.
    has_gap: bool,
    view: LogView,
}

impl Startup {
    /// Begins; `nonce` makes the probe's name unique.
    pub fn new(job: &str, nonce: u64) -> (Self, StorageRequest) {
        let probe = format!("probe/{nonce:016x}");
        let startup = Self {
            job: job.to_owned(),
            probe: probe.clone(),
            stage: Stage::FirstProbe,
            unread: VecDeque::new(),
            has_gap: false,
            view: LogView::default(),
        };
        (startup, StorageRequest::PutNew { path: probe, bytes: b"first".to_vec() })
    }

    /// The answer to the request at hand.
    pub fn on_answer(&mut self, result: Result<StorageReply, StorageError>) -> Progress {
        match (self.stage, result) {
            (Stage::FirstProbe, Ok(_)) => {
                self.stage = Stage::SecondProbe;
                Progress::Ask(StorageRequest::PutNew { path: self.probe.clone(), bytes: b"second".to_vec() })
            }
            (Stage::SecondProbe, Ok(_)) => {
                Progress::Failed(CoordinatorError::NotExclusive { place: self.probe.clone() })
            }
            (Stage::SecondProbe, Err(error)) if error.kind == StorageErrorKind::AlreadyExists => {
                self.stage = Stage::ProbeRemoval;
                Progress::Ask(StorageRequest::Delete { path: self.probe.clone() })
            }
            (Stage::ProbeRemoval, Ok(_)) => {
                self.stage = Stage::Listing;
                Progress::Ask(StorageRequest::List { prefix: LOG_PREFIX.to_owned() })
            }
            (Stage::Listing, Ok(StorageReply::Paths(paths))) => {
                let records: Vec<u64> = paths.iter().filter_map(|(p, _)| parse_entry_path(p)).collect();
                self.unread = newest_unbroken(records.iter().copied());
                self.has_gap = self.unread.len() < records.len();
                self.stage = Stage::Reading;
                self.next()
            }
            (Stage::Reading, Ok(StorageReply::Bytes(bytes))) => match self.read(&bytes) {
                Ok(()) => self.next(),
                Err(error) => Progress::Failed(error),
            },
            // A record that vanished between the listing and the reading was old.
            (Stage::Reading, Err(error)) if error.kind == StorageErrorKind::NotFound => {
                self.unread.pop_front();
                self.next()
            }
            (Stage::FirstProbe | Stage::SecondProbe, Err(error)) if error.kind == StorageErrorKind::NotExclusive => {
                Progress::Failed(CoordinatorError::NotExclusive { place: error.path })
            }
            (_, Err(source)) => {
                Progress::Failed(CoordinatorError::Storage { what: "the checkpoint place cannot be used", source })
            }
            (_, Ok(_)) => self.next(),
        }
    }

    fn next(&self) -> Progress {
        match self.unread.front() {
            Some(n) => Progress::Ask(StorageRequest::Get { path: streamfleet_storage::entry_path(*n), range: None }),
            None => Progress::Read(self.view.clone()),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), CoordinatorError> {
        let n = self.unread.pop_front().expect("a record was asked for");
        let entry =
            parse_entry(&streamfleet_storage::entry_path(n), bytes).map_err(|e| CoordinatorError::Log(e.into()))?;
        // Old records are deleted lowest first, up to one that holds a snapshot or begins a run. What begins otherwise has lost
        // the record before.
        let begins = matches!(entry.record, LogRecord::Start { .. } | LogRecord::Complete { .. });
        if self.view.tail == 0 && n > 0 && !begins && self.has_gap {
            let path = streamfleet_storage::entry_path(n - 1);
            return Err(CoordinatorError::Log(ViewError::Missing { path }));
        }
        Ok(self.view.apply(n, &entry, &self.job)?)
    }
}

/// The newest records without a gap between them. What lies below a gap was left by a writer that had been overtaken.
fn newest_unbroken(records: impl Iterator<Item = u64>) -> VecDeque<u64> {
    let mut sorted: Vec<u64> = records.collect();
    sorted.sort_unstable();
    let begin = (1..sorted.len()).rev().find(|i| sorted[*i] != sorted[i - 1] + 1).unwrap_or(0);
    sorted.split_off(begin).into()
}
