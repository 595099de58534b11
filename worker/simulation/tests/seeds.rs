//! Seeds: every run of a job under faults gives the output of the run without faults; bugs put in by hand are found.

use std::collections::BTreeSet;
use streamfleet_launcher::JobMode;
use streamfleet_simulation::{CrashPoint, Failure, Faults, Sabotage, SimJob, simulate};

/// Seeds in an ordinary run; `STREAMFLEET_SEEDS` overrides it.
const SEEDS: u64 = 1_000;

/// A planted bug must show within so many seeds.
const SEEDS_TO_FIND_A_BUG: u64 = 500;

fn seeds() -> u64 {
    std::env::var("STREAMFLEET_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SEEDS)
}

/// Files of orders, one after the other in event time.
const FILES: u64 = 15;

/// The orders of one file.
fn orders(file: u64) -> Vec<u8> {
    let mut text = String::new();
    for n in file * 900 / FILES..(file + 1) * 900 / FILES {
        let time = format!("2024-01-01 00:{:02}:{:02}", n / 60, n % 60);
        let line = format!("{{\"id\":{n},\"customer\":{},\"amount\":{},\"ts\":\"{time}\"}}\n", n * 7 % 13, n * n % 101);
        text.push_str(&line);
    }
    text.into_bytes()
}

fn customers() -> Vec<u8> {
    (0..12).map(|n| format!("{{\"id\":{n},\"name\":\"customer {n}\"}}\n")).collect::<String>().into_bytes()
}

/// A window aggregate joined with a table, a top-N per window, and a plain copy: three sinks, keyed state of three kinds.
fn job(mode: JobMode) -> SimJob {
    let script = "
        CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, ts TIMESTAMP(3),
            WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
            WITH ('connector' = 'filesystem', 'path' = 'in/orders', 'format' = 'json');
        CREATE TABLE customers (id BIGINT, name STRING)
            WITH ('connector' = 'filesystem', 'path' = 'in/customers.json', 'format' = 'json');
        CREATE TABLE totals (ends TIMESTAMP(3), name STRING, orders BIGINT, amount BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/totals', 'format' = 'json');
        CREATE TABLE best (ends TIMESTAMP(3), place BIGINT, customer BIGINT, amount BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/best', 'format' = 'json');
        CREATE TABLE copy (id BIGINT, customer BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/copy', 'format' = 'json');
        CREATE VIEW sums AS
            SELECT window_start, window_end, customer, COUNT(*) AS orders, SUM(amount) AS amount
            FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
            GROUP BY window_start, window_end, customer;
        INSERT INTO totals SELECT s.window_end, c.name, s.orders, s.amount FROM sums AS s JOIN customers AS c ON s.customer = c.id;
        INSERT INTO best SELECT window_end, place, customer, amount FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY amount DESC, customer) AS place FROM sums)
            WHERE place <= 3;
        INSERT INTO copy SELECT id, customer FROM orders WHERE amount > 10;";
    let mut input = vec![("in/customers.json".to_owned(), customers())];
    input.extend((0..FILES).map(|file| (format!("in/orders/{file:02}.json"), orders(file))));
    SimJob::new(script, mode, input, "out/").expect("the script compiles")
}

fn undisturbed(job: &SimJob) -> Vec<String> {
    let output = simulate(job, 0, Faults::NONE, None, None).expect("it runs without faults").output;
    assert!(output.len() > 900, "{} rows", output.len());
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

/// Runs seeds; gives where processes died.
fn run_seeds(job: &SimJob, seeds: u64) -> BTreeSet<CrashPoint> {
    let expected = undisturbed(job);
    let (mut lives, mut steps, mut most_lives) = (0, 0, 0);
    let mut crash_points = BTreeSet::new();
    for seed in 1..=seeds {
        match simulate(job, seed, Faults::of_seed(seed), None, Some(&expected)) {
            Ok(report) => {
                lives += report.lives;
                steps += report.steps;
                most_lives = most_lives.max(report.lives);
                crash_points.extend(report.crash_points);
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{seeds} seeds: {lives} lives (at most {most_lives} in one run), {steps} steps");
    assert!(lives > 2 * seeds, "faults happen: {lives} lives");
    crash_points
}

#[test]
fn seeds_give_the_undisturbed_output() {
    let crash_points = run_seeds(&job(JobMode::Streaming), seeds());
    let names: BTreeSet<String> = crash_points.iter().map(ToString::to_string).collect();
    println!("died {}", names.iter().cloned().collect::<Vec<_>>().join(", "));
    let expected = CRASH_POINTS.iter().flat_map(|step| [format!("before {step}"), format!("after {step}")]);
    let missed: Vec<String> = expected.filter(|name| !names.contains(name)).collect();
    assert!(seeds() < SEEDS || missed.is_empty(), "no process died {}", missed.join(", "));
}

/// Stops come behind the end of input too: a batch job gives its rows only there.
#[test]
fn seeds_of_batch_jobs_give_the_undisturbed_output() {
    run_seeds(&job(JobMode::Batch), seeds().div_ceil(2));
}

#[test]
fn a_seed_replays_to_the_same_step() {
    let job = job(JobMode::Streaming);
    for seed in [3, 17, 99] {
        let first = simulate(&job, seed, Faults::of_seed(seed), None, None).expect("it finishes");
        let again = simulate(&job, seed, Faults::of_seed(seed), None, None).expect("it finishes");
        assert_eq!(first, again);
    }
}

fn find(sabotage: Sabotage) {
    let job = job(JobMode::Streaming);
    let expected = undisturbed(&job);
    let run = |seed, sabotage| simulate(&job, seed, Faults::of_seed(seed), sabotage, Some(&expected));
    let found = (1..=SEEDS_TO_FIND_A_BUG).find_map(|seed| Some((seed, run(seed, Some(sabotage)).err()?)));
    let (seed, failure): (u64, Failure) = found.expect("the planted bug shows");
    run(seed, None).expect("the same seed without the bug is fine");
    println!("{sabotage:?}: {failure}");
}

#[test]
fn a_delta_dropped_with_its_aborted_epoch_is_found() {
    find(Sabotage::DeltaDroppedWithAbortedEpoch);
}

#[test]
fn a_commit_before_complete_is_found() {
    find(Sabotage::CommitBeforeComplete);
}

#[test]
fn a_claim_that_does_not_compete_is_found() {
    find(Sabotage::ClaimDoesNotCompete);
}
