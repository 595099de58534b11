#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::settings::known_settings;
use streamfleet_sql::check_setting;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn set(values: &[(&str, &str)]) -> Settings {
    Settings::new(values.iter().map(|(k, v)| (format!("{PREFIX}{k}"), (*v).to_owned())).collect())
}

fn of(values: &[(&str, &str)]) -> Restarts {
    Restarts::new(RestartStrategy::of(&set(values)).unwrap())
}

impl Restarts {
    /// A failure that may pass, with no jitter.
    fn passing(&mut self, now: Duration) -> Verdict {
        self.failed(now, Outlook::MayPass, true, 0.5)
    }

    /// The pause behind a failure that may pass.
    fn pause_at(&mut self, now: Duration, chance: f64) -> f64 {
        match self.failed(now, Outlook::MayPass, true, chance) {
            Verdict::Again { pause, .. } => pause.as_secs_f64(),
            Verdict::Over(why) => panic!("{why}"),
        }
    }
}

#[test]
fn without_a_strategy_nothing_is_begun_again() {
    assert_eq!(of(&[]).passing(s(1)), Verdict::Over(Why::NotAsked));
    assert_eq!(of(&[("type", "NONE")]).passing(s(1)), Verdict::Over(Why::NotAsked));
}

#[test]
fn a_fixed_delay_counts_all_restarts() {
    assert_eq!(
        RestartStrategy::of(&set(&[("type", "fixed-delay")])).unwrap(),
        RestartStrategy::FixedDelay { attempts: 1, delay: s(1) }
    );
    let mut restarts = of(&[("type", "fixed-delay"), ("fixed-delay.attempts", "2"), ("fixed-delay.delay", "10 s")]);
    assert_eq!(restarts.passing(s(0)), Verdict::Again { pause: s(10), attempt: 1 });
    assert_eq!(restarts.passing(s(100_000)), Verdict::Again { pause: s(10), attempt: 2 });
    assert_eq!(restarts.passing(s(900_000)), Verdict::Over(Why::TooOften));
}

#[test]
fn a_failure_rate_forgets_what_is_older_than_its_interval() {
    let default = RestartStrategy::of(&set(&[("type", "failure-rate")])).unwrap();
    assert_eq!(default, RestartStrategy::FailureRate { failures: 1, interval: s(60), delay: s(1) });
    let mut restarts = of(&[
        ("type", "failure-rate"),
        ("failure-rate.max-failures-per-interval", "2"),
        ("failure-rate.failure-rate-interval", "1 min"),
        ("failure-rate.delay", "3 s"),
    ]);
    for (number, at) in [0, 30, 61, 100, 150].into_iter().enumerate() {
        assert_eq!(restarts.passing(s(at)), Verdict::Again { pause: s(3), attempt: number as u32 + 1 }, "{at}");
    }
    assert_eq!(restarts.passing(s(160)), Verdict::Over(Why::TooOften), "the third since 100");
}

#[test]
fn an_exponential_delay_grows_to_its_longest_and_begins_anew_after_calm() {
    let mut restarts = of(&[("type", "exponential-delay"), ("exponential-delay.jitter-factor", "0")]);
    let mut now = s(0);
    let mut pauses = Vec::new();
    for _ in 0..14 {
        pauses.push(restarts.pause_at(now, 0.9));
        now += Duration::from_secs_f64(*pauses.last().unwrap()) + s(5);
    }
    assert_eq!(pauses[..4], [1.0, 1.5, 2.25, 3.375]);
    assert!((pauses[10] - 1.5_f64.powi(10)).abs() < 1e-6, "{}", pauses[10]);
    assert_eq!(pauses[11..], [60.0; 3], "no more than a minute");
    // The pause itself is no calm: only what the run lasted after it.
    now = now - s(5) + s(3600);
    assert_eq!(restarts.pause_at(now - Duration::from_millis(1), 0.5), 60.0);
    assert_eq!(restarts.pause_at(now - Duration::from_millis(1) + s(60 + 3600), 0.5), 1.0);
    for failures in 0..100_000_u64 {
        assert!(restarts.pause_at(now + s(failures), 0.5) <= 60.0);
    }
}

#[test]
fn chance_varies_a_pause_within_its_bounds() {
    let mut restarts = of(&[("type", "exponential-delay")]);
    assert_eq!(restarts.pause_at(s(0), 0.0), 1.0, "never less than the first");
    assert!((restarts.pause_at(s(10), 0.0) - 1.35).abs() < 1e-6);
    assert!((restarts.pause_at(s(20), 1.0) - 2.475).abs() < 1e-6);
}

#[test]
fn an_exponential_delay_may_be_bounded_too() {
    let mut restarts = of(&[("type", "exponential-delay"), ("exponential-delay.attempts-before-reset-backoff", "2")]);
    assert!(matches!(restarts.passing(s(0)), Verdict::Again { attempt: 1, .. }));
    assert!(matches!(restarts.passing(s(10)), Verdict::Again { attempt: 2, .. }));
    assert!(matches!(restarts.passing(s(10_000)), Verdict::Again { attempt: 1, .. }), "after calm");
    assert!(matches!(restarts.passing(s(10_010)), Verdict::Again { attempt: 2, .. }));
    assert_eq!(restarts.passing(s(10_020)), Verdict::Over(Why::TooOften));
}

#[test]
fn what_another_run_does_not_mend_is_the_end_whatever_the_strategy() {
    let mut restarts = of(&[("type", "exponential-delay")]);
    assert_eq!(restarts.failed(s(0), Outlook::Lasts, true, 0.5), Verdict::Over(Why::Lasts));
    assert_eq!(restarts.failed(s(0), Outlook::Refused, false, 0.5), Verdict::Over(Why::RefusedAtStart));
    assert_eq!(restarts.failed(s(0), Outlook::Refused, true, 0.5), Verdict::Again { pause: s(1), attempt: 1 });
    assert!(matches!(restarts.failed(s(9), Outlook::MayPass, false, 0.5), Verdict::Again { attempt: 2, .. }));
}

#[test]
fn options_that_do_not_go_together_are_told() {
    let longer = set(&[("type", "exponential-delay"), ("exponential-delay.initial-backoff", "2 min")]);
    let error = RestartStrategy::of(&longer).unwrap_err().to_string();
    assert!(error.contains("initial-backoff is 120s, longer than") && error.contains("max-backoff, 60s"), "{error}");
    let others = set(&[("type", "fixed-delay"), ("fixed-delay.attempts", "2"), ("failure-rate.delay", "1 s")]);
    let ignored: Vec<String> = RestartStrategy::ignored(&others).collect();
    assert_eq!(
        ignored,
        ["option 'restart-strategy.failure-rate.delay' has no effect without 'restart-strategy.type' = 'failure-rate'"]
    );
    for (key, value, why) in [
        ("type", "always", "it is one of none, fixed-delay, failure-rate, exponential-delay"),
        ("fixed-delay.attempts", "0", "it must be 1 or more"),
        ("exponential-delay.backoff-multiplier", "1", "it must be above 1"),
        ("exponential-delay.jitter-factor", "1.5", "it must be from 0 to 1"),
        ("exponential-delay.initial-backoff", "0 s", "it must be above zero"),
    ] {
        let error = check_setting(&known_settings(), &format!("{PREFIX}{key}"), value).unwrap_err().to_string();
        assert!(error.ends_with(why), "{error}");
    }
}
