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
    /// A record was read that holds a snapshot or begins a run.
    has_beginning: bool,
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
            has_beginning: false,
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
                self.unread = newest_unbroken(paths.iter().filter_map(|(p, _)| parse_entry_path(p)));
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
            // Deletion stops before a record that holds a snapshot or begins a run: one at least is there, or was lost.
            None if self.view.lowest > 0 && !self.has_beginning => {
                let path = streamfleet_storage::entry_path(self.view.lowest - 1);
                Progress::Failed(CoordinatorError::Log(ViewError::Missing { path }))
            }
            None => Progress::Read(self.view.clone()),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), CoordinatorError> {
        let n = self.unread.pop_front().expect("a record was asked for");
        let entry =
            parse_entry(&streamfleet_storage::entry_path(n), bytes).map_err(|e| CoordinatorError::Log(e.into()))?;
        self.has_beginning |= matches!(entry.record, LogRecord::Start { .. } | LogRecord::Complete { .. });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(progress: Progress) -> String {
        match progress {
            Progress::Failed(error) => error.to_string(),
            Progress::Ask(_) | Progress::Read(_) => panic!("it must be refused"),
        }
    }

    #[test]
    fn a_place_where_two_writers_can_create_one_object_is_refused() {
        let (mut startup, request) = Startup::new("job", 7);
        assert!(matches!(request, StorageRequest::PutNew { .. }));
        assert!(matches!(
            startup.on_answer(Ok(StorageReply::Done)),
            Progress::Ask(StorageRequest::PutNew { path, .. }) if path == request.path()
        ));
        let error = refused(startup.on_answer(Ok(StorageReply::Done)));
        assert!(error.starts_with("probe/0000000000000007 does not keep a second writer"), "{error}");
        assert!(error.contains("Choose a local folder"), "{error}");
    }

    #[test]
    fn a_place_without_exclusive_creation_is_refused() {
        let (mut startup, request) = Startup::new("job", 7);
        let error = refused(startup.on_answer(Err(StorageError {
            kind: StorageErrorKind::NotExclusive,
            operation: request.name(),
            path: "/mnt/share/probe".to_owned(),
            detail: "operation not supported".to_owned(),
        })));
        assert!(error.starts_with("/mnt/share/probe does not keep a second writer"), "{error}");
    }
}
