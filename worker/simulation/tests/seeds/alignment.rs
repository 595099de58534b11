//! Topics that are read at one pace: the output is that of topics that are not, and none runs ahead of another.

use super::jobs::{READ, topic};
use super::{run_seeds, seeds};
use streamfleet_launcher::JobMode;
use streamfleet_simulation::{Faults, SimJob, SimTopic, simulate};

/// Orders, one a second.
const ORDERS: u64 = 900;

/// Clicks in the same time, so many for each order.
const CLICKS: u64 = 3;

const MAX_DRIFT_MS: i64 = 60_000;

/// The most event time that one batch has: a fetch gives up to 40 records of one of three partitions.
const BATCH_MS: i64 = 3 * 40 * 1_000;

/// A split that is ahead by the bound has given the batch that brought it there. After a restart it gives one more before anybody
/// knows how far it is: its watermark is not in the snapshot.
const WIDEST_DRIFT_MS: i64 = MAX_DRIFT_MS + 2 * BATCH_MS;

fn time(millis: u64) -> String {
    format!("2024-01-01 00:{:02}:{:02}.{:03}", millis / 60_000, millis / 1_000 % 60, millis % 1_000)
}

const ALIGNMENT: &str = ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '1 min', \
                         'scan.watermark.alignment.update-interval' = '1 ms'";

fn order(n: u64) -> String {
    format!("{{\"id\":{n},\"ts\":\"{}\"}}", time(n * 1_000))
}

/// One of so many orders.
fn click(n: u64, orders: u64) -> String {
    let of_order = (n / CLICKS + n * 13 % 20) % orders;
    format!("{{\"id\":{n},\"of_order\":{of_order},\"ts\":\"{}\"}}", time(n * 1_000 / CLICKS))
}

/// Clicks that came within some seconds of their order, and clicks by the minute.
fn joined(alignment: &str, topics: Vec<SimTopic>) -> SimJob {
    let script = format!(
        "CREATE TABLE orders (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
            WITH ({READ}, 'format' = 'json', 'topic' = 'orders'{alignment});
        CREATE TABLE clicks (id BIGINT, of_order BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
            WITH ({READ}, 'format' = 'json', 'topic' = 'clicks'{alignment});
        CREATE TABLE joined (id BIGINT, click BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/joined', 'format' = 'json');
        CREATE TABLE counted (ends TIMESTAMP(3), clicks BIGINT)
            WITH ('connector' = 'filesystem', 'path' = 'out/counted', 'format' = 'json');
        INSERT INTO joined SELECT o.id, c.id FROM orders AS o JOIN clicks AS c
            ON o.id = c.of_order AND c.ts BETWEEN o.ts - INTERVAL '30' SECOND AND o.ts + INTERVAL '30' SECOND;
        INSERT INTO counted SELECT window_end, COUNT(*)
            FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;"
    );
    SimJob::new(&script, JobMode::Streaming, Vec::new(), "out/").expect("the script compiles").with_topics(topics)
}

/// Both topics have the same time.
fn together(alignment: &str) -> SimJob {
    let clicks = (0..ORDERS * CLICKS).map(|n| click(n, ORDERS));
    joined(alignment, vec![topic("orders", (0..ORDERS).map(order), |n| n * 7), topic("clicks", clicks, |n| n * 7)])
}

/// There are orders in the first third of the time only, and clicks in one partition in its first half.
fn one_ends_early(alignment: &str) -> SimJob {
    let orders = ORDERS / 3;
    let clicks = (0..ORDERS * CLICKS).map(|n| click(n, orders));
    let partition_of = |n: u64| if n < ORDERS * CLICKS / 2 { n * 7 } else { 1 + n % 2 };
    joined(alignment, vec![topic("orders", (0..orders).map(order), |n| n * 7), topic("clicks", clicks, partition_of)])
}

#[test]
fn a_topic_that_is_read_faster_does_not_run_ahead() {
    let free = simulate(&together(""), 0, Faults::NONE, None, None).expect("it finishes");
    assert!(free.widest_drift > WIDEST_DRIFT_MS + BATCH_MS, "orders run ahead by {} ms", free.widest_drift);
    for seed in 0..20 {
        let faults = if seed == 0 { Faults::NONE } else { Faults::of_seed(seed).for_long_job() };
        let report = simulate(&together(ALIGNMENT), seed, faults, None, Some(&free.output)).expect("the same output");
        let drift = report.widest_drift;
        assert!(drift > 0 && drift <= WIDEST_DRIFT_MS, "seed {seed}: {drift} ms");
    }
}

#[test]
fn what_has_ended_holds_nobody_back() {
    let free = simulate(&one_ends_early(""), 0, Faults::NONE, None, None).expect("it finishes");
    for seed in 0..10 {
        let faults = if seed == 0 { Faults::NONE } else { Faults::of_seed(seed).for_long_job() };
        simulate(&one_ends_early(ALIGNMENT), seed, faults, None, Some(&free.output)).expect("the same output");
    }
}

#[test]
fn seeds_of_aligned_topics_give_the_undisturbed_output() {
    run_seeds(&together(ALIGNMENT), seeds().div_ceil(4), |seed| Faults::of_seed(seed).for_long_job());
}
