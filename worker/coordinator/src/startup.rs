//! Before a reign: is the place fit for a log, and what does the log say?

use crate::backoff::Backoff;
use crate::leftovers::probe_path;
use crate::log_view::{LogView, ViewError};
use crate::message::CoordinatorError;
use std::collections::VecDeque;
use std::time::Duration;
use streamfleet_env::{StorageError, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_storage::{LOG_PREFIX, parse_entry, parse_entry_path};
use streamfleet_types::log::LogRecord;
use tracing::warn;

/// A place that does not answer is tried for so long: whoever starts a job waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

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
    /// Nothing yet: see [`Startup::poll`].
    Waiting,
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
    /// What was asked last, to be asked again.
    asked: StorageRequest,
    backoff: Backoff,
    retry_at: Option<Duration>,
}

impl Startup {
    /// Begins; `nonce` makes the probe's name unique, the time tells when it is left over.
    pub fn new(job: &str, nonce: u64, wall_clock_ms: i64) -> (Self, StorageRequest) {
        let probe = probe_path(wall_clock_ms, nonce);
        let request = StorageRequest::PutNew { path: probe.clone(), bytes: b"first".to_vec() };
        let startup = Self {
            job: job.to_owned(),
            probe,
            stage: Stage::FirstProbe,
            unread: VecDeque::new(),
            has_beginning: false,
            view: LogView::default(),
            asked: request.clone(),
            backoff: Backoff::new(PATIENCE),
            retry_at: None,
        };
        (startup, request)
    }

    /// When to poll, if a pause runs.
    pub const fn wake_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// The request that is made again, if its pause is over.
    pub fn poll(&mut self, now: Duration) -> Option<StorageRequest> {
        self.retry_at.take_if(|at| now >= *at).map(|_| self.asked.clone())
    }

    /// The answer to the request at hand.
    pub fn on_answer(&mut self, now: Duration, result: Result<StorageReply, StorageError>) -> Progress {
        if let Err(error) = &result
            && error.kind == StorageErrorKind::Uncertain
            && let Some(at) = self.backoff.failed(now, error.kind)
        {
            warn!(%error, "the checkpoint place does not answer; tried again");
            self.retry_at = Some(at);
            return Progress::Waiting;
        }
        self.backoff.reset();
        let progress = self.go_on(result);
        if let Progress::Ask(request) = &progress {
            self.asked = request.clone();
        }
        progress
    }

    fn go_on(&mut self, result: Result<StorageReply, StorageError>) -> Progress {
        // The probe's name is random: what stands there was written by an earlier try, whose answer was lost.
        let result = match result {
            Err(error) if self.stage == Stage::FirstProbe && error.kind == StorageErrorKind::AlreadyExists => {
                Ok(StorageReply::Done)
            }
            other => other,
        };
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
pub fn newest_unbroken(records: impl Iterator<Item = u64>) -> VecDeque<u64> {
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
            Progress::Ask(_) | Progress::Read(_) | Progress::Waiting => panic!("it must be refused"),
        }
    }

    #[test]
    fn a_place_where_two_writers_can_create_one_object_is_refused() {
        let (mut startup, request) = Startup::new("job", 7, 99);
        assert!(matches!(request, StorageRequest::PutNew { .. }));
        assert!(matches!(
            startup.on_answer(Duration::ZERO, Ok(StorageReply::Done)),
            Progress::Ask(StorageRequest::PutNew { path, .. }) if path == request.path()
        ));
        let error = refused(startup.on_answer(Duration::ZERO, Ok(StorageReply::Done)));
        assert!(error.starts_with("probe/99-0000000000000007 does not keep a second writer"), "{error}");
        assert!(error.contains("Choose a local folder"), "{error}");
    }

    #[test]
    fn a_place_without_exclusive_creation_is_refused() {
        let (mut startup, request) = Startup::new("job", 7, 99);
        let error = refused(startup.on_answer(
            Duration::ZERO,
            Err(StorageError {
                kind: StorageErrorKind::NotExclusive,
                operation: request.name(),
                path: "/mnt/share/probe".to_owned(),
                detail: "operation not supported".to_owned(),
            }),
        ));
        assert!(error.starts_with("/mnt/share/probe does not keep a second writer"), "{error}");
    }

    fn silence(request: &StorageRequest) -> Result<StorageReply, StorageError> {
        let (operation, path) = (request.name(), request.path().to_owned());
        Err(StorageError { kind: StorageErrorKind::Uncertain, operation, path, detail: "no answer in time".to_owned() })
    }

    #[test]
    fn a_place_that_answers_late_is_taken_and_one_that_never_does_is_refused() {
        let (mut startup, request) = Startup::new("job", 7, 99);
        assert_eq!(startup.on_answer(Duration::ZERO, silence(&request)), Progress::Waiting);
        let at = startup.wake_at().expect("it is tried again");
        assert_eq!(startup.poll(at / 2), None);
        assert_eq!(startup.poll(at), Some(request.clone()));
        // The first try had its effect.
        let taken = StorageError { kind: StorageErrorKind::AlreadyExists, ..silence(&request).expect_err("silence") };
        assert!(matches!(startup.on_answer(at, Err(taken)), Progress::Ask(StorageRequest::PutNew { .. })));

        let (mut startup, request) = Startup::new("job", 7, 99);
        let mut now = Duration::ZERO;
        let error = loop {
            match startup.on_answer(now, silence(&request)) {
                Progress::Waiting => now = startup.wake_at().expect("it is tried again"),
                other => break refused(other),
            }
            assert_eq!(startup.poll(now).as_ref(), Some(&request));
        };
        assert!(
            now <= PATIENCE && error.starts_with("the checkpoint place cannot be used: cannot create probe/"),
            "{error}"
        );
    }
}
