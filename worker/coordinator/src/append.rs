//! Appends to the job log, one record at a time, so that at most one process ever appends at a place.
//!
//! A record is created at the tail with a random nonce. If the answer is "taken" or uncertain, the place is read back: one's
//! own nonce means that it was written; another's means that somebody else reigns. After a success no later record may
//! exist, else the tail was stale: somebody appended and deleted past it. The newest record is never deleted.

use crate::backoff::{Backoff, PATIENCE};
use crate::message::CoordinatorError;
use std::collections::VecDeque;
use std::time::Duration;
use streamfleet_env::{StorageError, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_storage::{LOG_PREFIX, entry_path, parse_entry, parse_entry_path};
use streamfleet_types::log::{LogEntry, LogRecord};
use tracing::warn;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing under way.
    Idle,
    /// The record is being created.
    Creating,
    /// The place is read back, to see whose it is.
    ReadingBack,
    /// It was created: is it the newest?
    CheckingTail,
    /// It failed in a way that may pass; tried again then.
    Pausing(Duration),
}

/// What came of an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Appended {
    /// Ask this next.
    Ask(StorageRequest),
    /// Nothing yet.
    Waiting,
    /// The record stands at this place.
    Done(u64, LogRecord),
    /// It never will.
    Failed(CoordinatorError),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Appender {
    tail: u64,
    queue: VecDeque<LogEntry>,
    stage: Stage,
    backoff: Backoff,
    /// The error that the place is read back for.
    doubt: Option<StorageError>,
}

impl Appender {
    pub const fn new(tail: u64) -> Self {
        Self { tail, queue: VecDeque::new(), stage: Stage::Idle, backoff: Backoff::new(PATIENCE), doubt: None }
    }

    /// Puts a record behind those that wait.
    pub fn push(&mut self, entry: LogEntry) {
        self.queue.push_back(entry);
    }

    /// True if nothing waits or is under way.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The request to begin with, if nothing is under way and something waits.
    pub fn poll(&mut self, now: Duration) -> Option<StorageRequest> {
        match self.stage {
            Stage::Idle => {}
            Stage::Pausing(until) if now >= until => {}
            _ => return None,
        }
        let entry = self.queue.front()?;
        let bytes = serde_json::to_vec_pretty(entry).expect("a record has only string keys");
        self.stage = Stage::Creating;
        Some(StorageRequest::PutNew { path: entry_path(self.tail), bytes })
    }

    /// When to poll again, if a pause runs.
    pub const fn wake_at(&self) -> Option<Duration> {
        match self.stage {
            Stage::Pausing(until) => Some(until),
            _ => None,
        }
    }

    /// The answer to the request at hand.
    pub fn on_answer(&mut self, now: Duration, result: Result<StorageReply, StorageError>) -> Appended {
        match (self.stage, result) {
            (Stage::Creating, Ok(_)) => self.check_tail(),
            (Stage::Creating, Err(error)) => {
                self.doubt = Some(error);
                self.stage = Stage::ReadingBack;
                Appended::Ask(StorageRequest::Get { path: entry_path(self.tail), range: None })
            }
            (Stage::ReadingBack, Ok(StorageReply::Bytes(bytes))) => self.on_read_back(&bytes),
            (Stage::ReadingBack, Err(error)) if error.kind == StorageErrorKind::NotFound => {
                let doubt = self.doubt.take().expect("reading back has a cause");
                self.pause(now, doubt)
            }
            (_, Err(error)) => self.pause(now, error),
            (Stage::CheckingTail, Ok(StorageReply::Paths(paths))) => self.on_listed(&paths),
            (_, Ok(_)) => Appended::Waiting,
        }
    }

    fn check_tail(&mut self) -> Appended {
        self.stage = Stage::CheckingTail;
        Appended::Ask(StorageRequest::List { prefix: LOG_PREFIX.to_owned() })
    }

    fn on_listed(&mut self, paths: &[(String, u64)]) -> Appended {
        let newest = paths.iter().filter_map(|(p, _)| parse_entry_path(p)).max();
        let is_current = newest == Some(self.tail);
        let entry = self.queue.pop_front().expect("an answer has a record");
        if !is_current {
            return Appended::Failed(CoordinatorError::FencedLongAgo);
        }
        let place = self.tail;
        self.tail += 1;
        self.backoff.reset();
        self.stage = Stage::Idle;
        Appended::Done(place, entry.record)
    }

    fn on_read_back(&mut self, bytes: &[u8]) -> Appended {
        let own = self.queue.front().expect("an answer has a record");
        match parse_entry(&entry_path(self.tail), bytes) {
            Ok(found) if found.nonce == own.nonce => self.check_tail(),
            Ok(found) => {
                let address = match found.record {
                    LogRecord::Claim { address } => address,
                    _ => "another process".to_owned(),
                };
                Appended::Failed(CoordinatorError::Fenced { run: found.run, term: found.term, address })
            }
            Err(error) => Appended::Failed(CoordinatorError::Log(error.into())),
        }
    }

    fn pause(&mut self, now: Duration, error: StorageError) -> Appended {
        match self.backoff.failed(now, error.kind) {
            Some(until) => {
                warn!(%error, "the job log cannot be written; tried again");
                self.stage = Stage::Pausing(until);
                Appended::Waiting
            }
            None => {
                let what = "the job log cannot be written";
                Appended::Failed(CoordinatorError::Storage { what, source: error })
            }
        }
    }
}
