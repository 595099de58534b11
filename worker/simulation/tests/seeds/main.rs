//! Seeds: every run of a job under faults gives the output of the run without faults; bugs put in by hand are found.

mod alignment;
mod changelogs;
mod jobs;

use changelogs::between_changelogs;
use jobs::{between_files, between_topics, into_merged_partitions, into_partitions};
use std::collections::BTreeSet;
use streamfleet_launcher::JobMode;
use streamfleet_simulation::{CrashPoint, Failure, Faults, Sabotage, SimJob, simulate};

/// Seeds in an ordinary run; `STREAMFLEET_SEEDS` overrides it.
const SEEDS: u64 = 1_000;

/// A planted bug must show within so many seeds.
const SEEDS_TO_FIND_A_BUG: u64 = 2_000;

fn seeds() -> u64 {
    std::env::var("STREAMFLEET_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SEEDS)
}

fn undisturbed(job: &SimJob) -> Vec<String> {
    let output = simulate(job, 0, Faults::NONE, None, None).expect("it runs without faults").output;
    let bytes: usize = output.iter().map(String::len).sum();
    assert!(bytes > 30_000, "{bytes} bytes in {} lines", output.len());
    output
}

/// Steps at which a process must have died in some seed, before and after their effect.
const CRASH_POINTS: [&str; 17] = [
    "input list",
    "input read",
    "log abort",
    "log claim",
    "log committed",
    "log complete",
    "log delete",
    "log end",
    "log retire",
    "log start",
    "output append",
    "output list what is staged in",
    "output prepare",
    "output publish",
    "state append",
    "state read",
    "state seal",
];

/// The same between topics.
const KAFKA_CRASH_POINTS: [&str; 10] = [
    "kafka commit transaction",
    "kafka describe transaction",
    "kafka fetch",
    "kafka initialise producer",
    "kafka list partitions",
    "kafka list transactions",
    "kafka look up offsets",
    "kafka produce",
    "log committed",
    "log complete",
];

/// Runs seeds; gives where processes died.
fn run_seeds(job: &SimJob, seeds: u64, faults: impl Fn(u64) -> Faults) -> BTreeSet<CrashPoint> {
    let expected = undisturbed(job);
    let (mut lives, mut steps, mut most_lives) = (0, 0, 0);
    let mut crash_points = BTreeSet::new();
    for seed in 1..=seeds {
        match simulate(job, seed, faults(seed), None, Some(&expected)) {
            Ok(report) => {
                lives += report.lives;
                steps += report.steps;
                most_lives = most_lives.max(report.lives);
                // What failed to be cleaned, or was made by a process that stood still, is there until the next start.
                let may_be = faults(seed).freeze > 0 || faults(seed).storage_errors > 0;
                assert!(may_be || report.left_over.is_empty(), "seed {seed}: left over: {:?}", report.left_over);
                assert!(may_be || report.unnamed.is_empty(), "seed {seed}: state left over: {:?}", report.unnamed);
                crash_points.extend(report.crash_points);
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{seeds} seeds: {lives} lives (at most {most_lives} in one run), {steps} steps");
    assert!(lives > 2 * seeds, "faults happen: {lives} lives");
    crash_points
}

/// Fails if no process died at one of these steps; few seeds cannot tell.
fn check_crash_points(died_at: &BTreeSet<CrashPoint>, steps: &[&str]) {
    let names: BTreeSet<String> = died_at.iter().map(ToString::to_string).collect();
    println!("died {}", names.iter().cloned().collect::<Vec<_>>().join(", "));
    let expected = steps.iter().flat_map(|step| [format!("before {step}"), format!("after {step}")]);
    let missed: Vec<String> = expected.filter(|name| !names.contains(name)).collect();
    assert!(seeds() < SEEDS || missed.is_empty(), "no process died {}", missed.join(", "));
}

#[test]
fn seeds_give_the_undisturbed_output() {
    check_crash_points(&run_seeds(&between_files(JobMode::Streaming), seeds(), Faults::of_seed), &CRASH_POINTS);
}

/// Every partition is said to be complete, and no file comes into it after that: no row of this job is late.
#[test]
fn seeds_of_partitions_give_the_undisturbed_output() {
    let job = into_partitions();
    let marks = undisturbed(&job).iter().filter(|line| line.ends_with("/_SUCCESS")).count();
    assert_eq!(marks, 3);
    let died_at = run_seeds(&job, seeds().div_ceil(2), Faults::of_seed);
    check_crash_points(&died_at, &["output publish", "output write"]);
}

/// The same when small files are merged: every row shows once, none after its partition is said to be complete, and no small file
/// and nothing staged is left over.
#[test]
fn seeds_of_merged_files_give_the_undisturbed_output() {
    let job = into_merged_partitions();
    assert_eq!(undisturbed(&job), undisturbed(&into_partitions()));
    let died_at = run_seeds(&job, seeds().div_ceil(2), Faults::of_seed);
    let steps = [
        "output append",
        "output prepare",
        "output publish",
        "output read",
        "output unstage",
        "output write",
        "small delete",
        "small list",
        "small read",
        "small seal",
    ];
    check_crash_points(&died_at, &steps);
}

#[test]
fn seeds_between_topics_give_the_undisturbed_output() {
    check_crash_points(
        &run_seeds(&between_topics(), 2 * seeds(), |seed| Faults::of_seed(seed).for_long_job()),
        &KAFKA_CRASH_POINTS,
    );
}

#[test]
fn tables_kept_in_topics_by_key_are_what_their_definition_says() {
    let output = undisturbed(&between_changelogs());
    let without_partition = |line: &String| {
        let (topic, rest) = line.split_once(' ').expect("a key");
        format!("{} {rest}", topic.split_once('-').expect("a partition").0)
    };
    let mut shown: Vec<String> = output.iter().map(without_partition).collect();
    shown.sort();
    let expected = changelogs::expected();
    assert!(expected.iter().any(|line| line.starts_with("much")), "{expected:?}");
    assert_eq!(shown, expected);
}

#[test]
fn seeds_of_changelogs_give_the_undisturbed_output() {
    let job = between_changelogs();
    run_seeds(&job, seeds().div_ceil(4), |seed| Faults::of_seed(seed).for_long_job());
}

/// Stops come behind the end of input too: a batch job gives its rows only there.
#[test]
fn seeds_of_batch_jobs_give_the_undisturbed_output() {
    run_seeds(&between_files(JobMode::Batch), seeds().div_ceil(2), Faults::of_seed);
}

#[test]
fn a_seed_replays_to_the_same_step() {
    for job in [between_files(JobMode::Streaming), between_topics()] {
        for seed in [3, 17, 99] {
            let first = simulate(&job, seed, Faults::of_seed(seed), None, None).expect("it finishes");
            let again = simulate(&job, seed, Faults::of_seed(seed), None, None).expect("it finishes");
            assert_eq!(first, again);
        }
    }
}

fn find(sabotage: Sabotage, job: &SimJob, faults: impl Fn(u64) -> Faults) {
    let expected = undisturbed(job);
    let run = |seed, sabotage| simulate(job, seed, faults(seed), sabotage, Some(&expected));
    let found = (1..=SEEDS_TO_FIND_A_BUG).find_map(|seed| Some((seed, run(seed, Some(sabotage)).err()?)));
    let (seed, failure): (u64, Failure) = found.expect("the planted bug shows");
    run(seed, None).expect("the same seed without the bug is fine");
    println!("{sabotage:?}: {failure}");
}

fn find_between_files(sabotage: Sabotage) {
    find(sabotage, &between_files(JobMode::Streaming), Faults::of_seed);
}

#[test]
fn a_delta_dropped_with_its_aborted_epoch_is_found() {
    find_between_files(Sabotage::DeltaDroppedWithAbortedEpoch);
}

#[test]
fn a_commit_before_complete_is_found() {
    find_between_files(Sabotage::CommitBeforeComplete);
}

#[test]
fn a_transaction_committed_before_complete_is_found() {
    find(Sabotage::CommitBeforeComplete, &between_topics(), |seed| Faults::of_seed(seed).for_long_job());
}

/// It shows only if a process stands still while it fences until its successor has a checkpoint: nothing worse happens here.
#[test]
fn transactions_of_a_successor_that_are_fenced_are_found() {
    let frozen = Faults {
        until_step: 60_000,
        storage_delay_ms: 50,
        death_at_step: 5,
        freeze: 100,
        freeze_steps: 12_000,
        ..Faults::NONE
    };
    find(Sabotage::FencesSuccessors, &between_topics(), |_| frozen);
}

#[test]
fn a_claim_that_does_not_compete_is_found() {
    find_between_files(Sabotage::ClaimDoesNotCompete);
}
