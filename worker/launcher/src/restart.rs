//! What is done when a run fails: it is begun again after a pause, or it was the last.
//!
//! Strategies, their names and numbers are Flink's (`restart-strategy.type`). They decide by the failures so far and their times
//! alone; whether another run could do better at all ([`Outlook`]) is asked first.

use crate::error::LauncherError;
use crate::settings::Settings;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use streamfleet_telemetry::metrics::Declared;
use streamfleet_types::Outlook;

/// When a failed run is begun again.
#[derive(Debug, Clone, PartialEq)]
pub enum RestartStrategy {
    /// Never.
    None,
    /// So many times in all, each after the same pause.
    FixedDelay {
        /// How many times.
        attempts: u32,
        /// The pause.
        delay: Duration,
    },
    /// As long as no more than so many failures come within a time, each after the same pause.
    FailureRate {
        /// How many failures.
        failures: u32,
        /// Within this time.
        interval: Duration,
        /// The pause.
        delay: Duration,
    },
    /// After pauses that grow from failure to failure.
    ExponentialDelay {
        /// The first pause.
        first: Duration,
        /// The longest.
        longest: Duration,
        /// Each pause is longer than the one before by this factor.
        factor: f64,
        /// The part of a pause that chance adds or takes away.
        jitter: f64,
        /// A run that failed this long after the last pause counts as the first that fails.
        calm: Duration,
        /// The most failures without such calm between them; `None`: any number.
        attempts: Option<u32>,
    },
}

/// The names of the strategies, as values of [`TYPE`].
pub(crate) const STRATEGIES: &[&str] = &["none", "fixed-delay", "failure-rate", "exponential-delay"];

/// The option that names a strategy; those of a strategy have its name in theirs.
pub(crate) const TYPE: &str = "restart-strategy.type";
const PREFIX: &str = "restart-strategy.";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

impl RestartStrategy {
    /// The strategy that the options name.
    ///
    /// # Errors
    /// Its options do not go with each other.
    pub(crate) fn of(settings: &Settings) -> Result<Self, LauncherError> {
        let number = |key: &str| settings.number(&format!("{PREFIX}{key}"));
        let time = |key: &str, default| {
            Ok::<_, LauncherError>(settings.duration(&format!("{PREFIX}{key}"))?.unwrap_or(default))
        };
        match settings.text(TYPE).unwrap_or("none").to_lowercase().as_str() {
            "fixed-delay" => Ok(Self::FixedDelay {
                attempts: number("fixed-delay.attempts")?.unwrap_or(1),
                delay: time("fixed-delay.delay", SECOND)?,
            }),
            "failure-rate" => Ok(Self::FailureRate {
                failures: number("failure-rate.max-failures-per-interval")?.unwrap_or(1),
                interval: time("failure-rate.failure-rate-interval", MINUTE)?,
                delay: time("failure-rate.delay", SECOND)?,
            }),
            "exponential-delay" => {
                let first = time("exponential-delay.initial-backoff", SECOND)?;
                let longest = time("exponential-delay.max-backoff", MINUTE)?;
                if first > longest {
                    let message = format!(
                        "restart-strategy.exponential-delay.initial-backoff is {first:?}, longer than \
                         restart-strategy.exponential-delay.max-backoff, {longest:?}"
                    );
                    return Err(LauncherError::Option(message));
                }
                let part =
                    |key: &str| settings.text(&format!("{PREFIX}exponential-delay.{key}")).and_then(|v| v.parse().ok());
                Ok(Self::ExponentialDelay {
                    first,
                    longest,
                    factor: part("backoff-multiplier").unwrap_or(1.5),
                    jitter: part("jitter-factor").unwrap_or(0.1),
                    calm: time("exponential-delay.reset-backoff-threshold", HOUR)?,
                    attempts: number("exponential-delay.attempts-before-reset-backoff")?,
                })
            }
            _ => Ok(Self::None),
        }
    }

    /// The longest time from a failure to the next run.
    pub(crate) const fn longest_pause(&self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::FixedDelay { delay, .. } | Self::FailureRate { delay, .. } => *delay,
            Self::ExponentialDelay { longest, .. } => *longest,
        }
    }

    /// Options that were set and that the strategy does not look at.
    pub(crate) fn ignored<'a>(settings: &'a Settings) -> impl Iterator<Item = String> + 'a {
        let kind = settings.text(TYPE).unwrap_or("none").to_lowercase();
        let others = settings.keys().filter(|key| key.starts_with(PREFIX) && *key != TYPE);
        others.filter_map(move |key| {
            let of = key[PREFIX.len()..].split_once('.')?.0;
            (of != kind).then(|| format!("option '{key}' has no effect without '{TYPE}' = '{of}'"))
        })
    }
}

/// The failures of a job's runs in this process, and what follows from them.
#[derive(Debug)]
pub(crate) struct Restarts {
    strategy: RestartStrategy,
    /// When the failures were that count still, oldest first, for a strategy that asks for their rate.
    failures: VecDeque<Duration>,
    /// Restarts since the beginning, or since the last calm.
    attempts: u32,
    /// When the last pause ended.
    begun_again: Option<Duration>,
}

/// What is done after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The job is begun again after this pause.
    Again {
        /// The pause.
        pause: Duration,
        /// Counts the restarts, since the last calm if the strategy knows one.
        attempt: u32,
    },
    /// It is not.
    Over(Why),
}

/// Why a job is not begun again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody asked for it.
    NotAsked,
    /// Another run would not do better.
    Lasts,
    /// What the job needs was refused before it ever ran.
    RefusedAtStart,
    /// The strategy's bound is reached.
    TooOften,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "there is no restart strategy",
            Self::Lasts => "another run would fail in the same way",
            Self::RefusedAtStart => "it was refused before its first checkpoint, and somebody has to mend that first",
            Self::TooOften => "the restart strategy allows no more restarts",
        })
    }
}

impl Restarts {
    pub const fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, failures: VecDeque::new(), attempts: 0, begun_again: None }
    }

    /// A run failed at `now`. `has_run`: this process has seen the job complete a checkpoint. `chance`: a number from 0 to 1.
    pub fn failed(&mut self, now: Duration, outlook: Outlook, has_run: bool, chance: f64) -> Verdict {
        match (&self.strategy, outlook) {
            (RestartStrategy::None, _) => return Verdict::Over(Why::NotAsked),
            (_, Outlook::Lasts) => return Verdict::Over(Why::Lasts),
            (_, Outlook::Refused) if !has_run => return Verdict::Over(Why::RefusedAtStart),
            _ => {}
        }
        match self.pause(now, chance) {
            Some(pause) => {
                self.begun_again = Some(now + pause);
                Verdict::Again { pause, attempt: self.attempts }
            }
            None => Verdict::Over(Why::TooOften),
        }
    }

    /// The pause that the strategy puts behind a failure, if it has one left.
    fn pause(&mut self, now: Duration, chance: f64) -> Option<Duration> {
        match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => {
                self.attempts += 1;
                (self.attempts <= attempts).then_some(delay)
            }
            RestartStrategy::FailureRate { failures, interval, delay } => {
                self.attempts += 1;
                self.failures.retain(|at| now.saturating_sub(*at) <= interval);
                self.failures.push_back(now);
                (self.failures.len() <= failures as usize).then_some(delay)
            }
            RestartStrategy::ExponentialDelay { first, longest, factor, jitter, calm, attempts } => {
                if self.begun_again.is_some_and(|at| now.saturating_sub(at) >= calm) {
                    self.attempts = 0;
                }
                let exact = first.as_secs_f64() * factor.powf(f64::from(self.attempts));
                let varied = exact * (1.0 + jitter * (2.0 * chance - 1.0));
                self.attempts = self.attempts.saturating_add(1);
                // However often it failed: beyond the longest nothing is counted in seconds.
                let pause = Duration::from_secs_f64(varied.min(longest.as_secs_f64())).max(first);
                attempts.is_none_or(|most| self.attempts <= most).then_some(pause)
            }
        }
    }
}

/// What is known of restarts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RestartCounts {
    /// Times that the job was begun again in this process.
    pub restarts: u64,
}

/// What is known of a job's restarts.
pub(crate) const RESTART_METRICS: &[Declared<RestartCounts>] = &[Declared::counter(
    "streamfleet_job_restarts_total",
    "Times that the job was begun again in this process after it had failed ('restart-strategy.type').",
    |c, _| Some(c.restarts as f64),
)];

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;
