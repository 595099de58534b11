//! Holds rows back until they are due.

use std::sync::Arc;
use std::time::Duration;
use streamfleet_env::Clock;

/// Lets a generator run no faster than its rate. The pace begins with the first row asked for, so that a restored
/// generator does not hurry to make good the time that it was down.
pub struct Pace {
    clock: Arc<dyn Clock>,
    /// Where the pace began.
    start: Option<Due>,
}

/// The generator's time `own` is due at `clock`.
#[derive(Clone, Copy)]
struct Due {
    own: Duration,
    clock: Duration,
}

impl Pace {
    /// A pace that has not begun.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, start: None }
    }

    /// How long to wait until a moment of the generator's own time; `None` if it is there.
    pub fn wait(&mut self, own: Duration) -> Option<Duration> {
        let now = self.clock.monotonic();
        let start = *self.start.get_or_insert(Due { own, clock: now });
        let due = start.clock + own.saturating_sub(start.own);
        (due > now).then(|| due - now)
    }
}
