//! Which of a source's splits have been quiet for so long that they hold no watermark back.

use std::time::Duration;

/// A clock that runs only while the source is asked for rows: while nobody downstream takes rows, no split is quiet.
///
/// Times that it gives are its own, not the monotonic clock's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idleness {
    timeout: Duration,
    passed: Duration,
    asked_at: Option<Duration>,
}

impl Idleness {
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, passed: Duration::ZERO, asked_at: None }
    }

    /// The source is about to be asked; the time since it was last asked counts.
    pub fn on_ask(&mut self, now: Duration) {
        self.passed += self.asked_at.map_or(Duration::ZERO, |at| now.saturating_sub(at));
        self.asked_at = Some(now);
    }

    /// The source is not asked for now: the time until it is asked again does not count.
    pub const fn on_pause(&mut self) {
        self.asked_at = None;
    }

    /// The time now.
    pub const fn time(&self) -> Duration {
        self.passed
    }

    /// How long until what has given no row since `quiet_since` is idle, by the time `until`; zero if it is.
    pub fn left(&self, quiet_since: Duration, until: Duration) -> Duration {
        (quiet_since + self.timeout).saturating_sub(until)
    }
}

/// How long until a table's splits are idle: as the table says, else as the job does; `None` if they never are.
pub(crate) fn idle_timeout(of_table: Option<Duration>, of_job: Option<Duration>) -> Option<Duration> {
    of_table.or(of_job).filter(|timeout| !timeout.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_own_timeout_goes_before_the_jobs() {
        let (own, of_job) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(9)));
        assert_eq!(idle_timeout(own, of_job), own);
        assert_eq!(idle_timeout(own, None), own);
        assert_eq!(idle_timeout(None, of_job), of_job);
        assert_eq!(idle_timeout(Some(Duration::ZERO), of_job), None, "never, whatever the job says");
        assert_eq!(idle_timeout(None, Some(Duration::ZERO)), None);
    }

    #[test]
    fn time_without_asking_does_not_count() {
        let s = Duration::from_secs;
        let mut idleness = Idleness::new(s(10));
        idleness.on_ask(s(100));
        idleness.on_ask(s(104));
        assert_eq!(idleness.left(s(0), idleness.time()), s(6));
        idleness.on_pause();
        idleness.on_ask(s(1000));
        assert_eq!(idleness.left(s(0), idleness.time()), s(6));
        idleness.on_ask(s(1006));
        assert_eq!(idleness.left(s(0), idleness.time()), s(0));
        assert_eq!(idleness.left(s(5), idleness.time()), s(5));
    }
}
