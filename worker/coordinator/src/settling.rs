//! Slots that still hold what snapshots which were given up have frozen. A next snapshot waits for them: what slots hold frozen
//! stays bounded, however long storage is away.

use crate::backoff::Backoff;
use std::collections::BTreeSet;
use std::time::Duration;
use streamfleet_env::StorageErrorKind;

/// Longer than any job runs.
const FOR_EVER: Duration = Duration::from_secs(1 << 40);

/// See the module.
#[derive(Debug)]
pub(crate) struct Settling {
    slots: BTreeSet<u32>,
    backoff: Backoff,
    /// When those that failed are to try again.
    again_at: Option<Duration>,
}

impl Default for Settling {
    fn default() -> Self {
        Self { slots: BTreeSet::new(), backoff: Backoff::new(FOR_EVER), again_at: None }
    }
}

impl Settling {
    /// A snapshot of so many slots is given up.
    pub fn begin(&mut self, parallelism: u32) {
        self.slots.extend(0..parallelism);
        self.again_at = None;
    }

    /// True if no slot holds anything any more.
    pub fn is_over(&self) -> bool {
        self.slots.is_empty()
    }

    /// A slot has written what it held, or could not.
    pub fn on_settled(&mut self, now: Duration, slot: u32, is_written: bool) {
        if is_written {
            self.slots.remove(&slot);
            if self.is_over() {
                self.backoff.reset();
                self.again_at = None;
            }
        } else if self.again_at.is_none() {
            // However it failed: the job goes on without snapshots, and what fails for good may be mended by somebody.
            self.again_at = self.backoff.failed(now, StorageErrorKind::Uncertain);
        }
    }

    /// True if slots that failed are to try again now; once.
    pub fn is_due(&mut self, now: Duration) -> bool {
        self.again_at.take_if(|at| now >= *at).is_some()
    }

    /// When [`Self::is_due`] will be true.
    pub const fn wake_at(&self) -> Option<Duration> {
        self.again_at
    }
}
