//! Holds rows back until they are due.

use std::sync::Arc;
use std::time::Duration;
use streamfleet_env::Clock;

/// Lets a generator run no faster than its rate. The pace begins with the first row asked for, so that a restored generator
/// does not hurry to make good the time that it was down.
pub struct Pace {
    clock: Arc<dyn Clock>,
    /// When a row at time zero of the generator is due.
    start: Option<Duration>,
}

impl Pace {
    /// A pace that has not begun.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, start: None }
    }

    /// How long to wait until what begins at `begin` and ends at `end` of the generator's own time is due; `None` if it is.
    pub fn wait(&mut self, begin: Duration, end: Duration) -> Option<Duration> {
        let now = self.clock.monotonic();
        let start = *self.start.get_or_insert(now.saturating_sub(begin));
        let due = start + end;
        (due > now).then(|| due - now)
    }
}
