//! How far slots are with their first rows: a stop does not wait for a system outside that was never reached.

use std::collections::BTreeMap;
use std::time::Duration;
use streamfleet_snapshot::FirstRows;

/// How long first rows must have waited for a system outside until a stop does without a snapshot: one that can be reached has
/// taken them by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// What each slot has said of it, and when.
#[derive(Debug, Default)]
pub(crate) struct FirstRowsOfSlots {
    said: BTreeMap<u32, (FirstRows, Duration)>,
}

impl FirstRowsOfSlots {
    /// A slot says how far it is.
    pub fn on_said(&mut self, now: Duration, slot: u32, first_rows: FirstRows) {
        self.said.insert(slot, (first_rows, now));
    }

    /// True if no sink has taken any rows, and one has waited with them for long enough.
    pub fn are_kept_waiting(&self, now: Duration) -> bool {
        let is_taken = self.said.values().any(|(first_rows, _)| *first_rows == FirstRows::Taken);
        !is_taken && self.wait_ends_at().is_some_and(|end| now >= end)
    }

    /// When they will have waited for long enough, if any wait.
    pub fn wait_ends_at(&self) -> Option<Duration> {
        let awaited = self.said.values().filter(|(first_rows, _)| *first_rows == FirstRows::Awaited);
        awaited.map(|(_, since)| *since + PATIENCE).min()
    }
}
