//! When to try again what failed, and when to give it up.

use std::time::Duration;
use streamfleet_env::StorageErrorKind;

/// What may pass is tried again for so long: storage may be away for minutes without a job failing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Times that is tried again what most likely will not pass.
pub(crate) const TRIES: u32 = 5;

/// The first pause; storage that stays away is asked less and less often.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Failures in a row.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    patience: Duration,
    since: Option<Duration>,
    failures: u32,
}

impl Backoff {
    /// `patience`: for how long to try again what may pass.
    pub const fn new(patience: Duration) -> Self {
        Self { patience, since: None, failures: 0 }
    }

    /// It failed: when to try again, or `None` to give up.
    pub fn failed(&mut self, now: Duration, kind: StorageErrorKind) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        self.failures += 1;
        if kind != StorageErrorKind::Uncertain {
            return (self.failures <= TRIES).then(|| now + FIRST_PAUSE);
        }
        let doublings = (self.failures - 1).min(16);
        let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
        (now + pause <= since + self.patience).then(|| now + pause)
    }

    /// It went well.
    pub fn reset(&mut self) {
        (self.since, self.failures) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(kind: StorageErrorKind) -> (u32, Duration) {
        let (mut backoff, mut now, mut tries) = (Backoff::new(PATIENCE), Duration::from_secs(7), 0);
        while let Some(next) = backoff.failed(now, kind) {
            assert!(next - now >= FIRST_PAUSE && next - now <= LONGEST_PAUSE);
            (now, tries) = (next, tries + 1);
        }
        (tries, now - Duration::from_secs(7))
    }

    #[test]
    fn what_may_pass_is_tried_for_minutes_and_other_failures_a_few_times() {
        let (count, took) = tries(StorageErrorKind::Uncertain);
        assert!(took > PATIENCE - LONGEST_PAUSE && took <= PATIENCE && count < 70, "{count} tries in {took:?}");
        for kind in [StorageErrorKind::Full, StorageErrorKind::Denied, StorageErrorKind::Broken] {
            assert_eq!(tries(kind), (TRIES, FIRST_PAUSE * TRIES));
        }
    }

    #[test]
    fn success_begins_anew() {
        let mut backoff = Backoff::new(PATIENCE);
        let kind = StorageErrorKind::Uncertain;
        assert_eq!(backoff.failed(Duration::ZERO, kind), Some(FIRST_PAUSE));
        assert_eq!(backoff.failed(Duration::ZERO, kind), Some(FIRST_PAUSE * 2));
        backoff.reset();
        assert_eq!(backoff.failed(PATIENCE * 2, kind), Some(PATIENCE * 2 + FIRST_PAUSE));
    }
}
