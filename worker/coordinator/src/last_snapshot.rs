//! The snapshot that a run ends with: without it what came behind the one before would not show, so it is tried again for a while.

use crate::backoff::{FIRST_PAUSE, PATIENCE, TRIES};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LastSnapshot {
    is_done: bool,
    has_all_output: bool,
    tries: u32,
    failing_since: Option<Duration>,
    retry_at: Duration,
}

impl LastSnapshot {
    /// It stands.
    pub const fn done(&mut self) {
        self.is_done = true;
    }

    /// True if it stands: nothing but commits and `End` is left.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// A snapshot stands that was begun after all slots had drained.
    pub const fn took_all_output(&mut self) {
        self.has_all_output = true;
    }

    /// True if all output is in it.
    pub const fn has_all_output(&self) -> bool {
        self.has_all_output
    }

    /// A try has failed; true if it was the last one. Storage that does not answer makes snapshots late; what a slot says counts at
    /// once.
    pub fn failed(&mut self, now: Duration, is_late: bool) -> bool {
        self.failing_since.get_or_insert(now);
        self.tries += u32::from(!is_late);
        self.retry_at = now + FIRST_PAUSE;
        self.tries >= TRIES || self.is_out_of_patience(now)
    }

    /// True after a first try that failed.
    pub const fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// True if the next try is to wait.
    pub fn is_pausing(&self, now: Duration) -> bool {
        now < self.retry_at
    }

    /// True if it has failed for too long.
    pub fn is_out_of_patience(&self, now: Duration) -> bool {
        self.patience_ends_at().is_some_and(|at| now >= at)
    }

    /// When the next try is due, if one has failed.
    pub fn retry_at(&self) -> Option<Duration> {
        self.failing_since.map(|_| self.retry_at)
    }

    /// When [`Self::is_out_of_patience`] will be true, if a try has failed.
    pub fn patience_ends_at(&self) -> Option<Duration> {
        self.failing_since.map(|since| since + PATIENCE)
    }
}
