//! Topics that are read at one pace: the output is that of topics that are not, and none runs ahead of another.

use super::jobs::{READ, topic};
use super::{run_seeds, seeds};
use streamfleet_launcher::JobMode;
use streamfleet_simulation::{Faults, SimJob, simulate};

/// Orders, one a second.
const ORDERS: u64 = 900;

/// Clicks in the same time, so many for each order.
const CLICKS: u64 = 3;

const MAX_DRIFT_MS: i64 = 60_000;

/// The most event time that one batch has: a fetch gives up to 40 records of one of three partitions.
const BATCH_MS: i64 = 3 * 40 * 1_000;

fn time(millis: u64) -> String {
    format!("2024-01-01 00:{:02}:{:02}.{:03}", millis / 60_000, millis / 1_000 % 60, millis % 1_000)
}

/// Clicks that came within some seconds of their order, and clicks by the minute.
fn joined(alignment: &str) -> SimJob {
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
    let orders = (0..ORDERS).map(|n| format!("{{\"id\":{n},\"ts\":\"{}\"}}", time(n * 1_000)));
    let click = |n: u64| {
        let of_order = (n / CLICKS + n * 13 % 20) % ORDERS;
        format!("{{\"id\":{n},\"of_order\":{of_order},\"ts\":\"{}\"}}", time(n * 1_000 / CLICKS))
    };
    let topics = vec![topic("orders", orders, |n| n * 7), topic("clicks", (0..ORDERS * CLICKS).map(click), |n| n * 7)];
    SimJob::new(&script, JobMode::Streaming, Vec::new(), "out/").expect("the script compiles").with_topics(topics)
}

fn aligned() -> SimJob {
    joined(
        ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '1 min', \
          'scan.watermark.alignment.update-interval' = '1 ms'",
    )
}

#[test]
fn a_topic_that_is_read_faster_does_not_run_ahead() {
    let free = simulate(&joined(""), 0, Faults::NONE, None, None).expect("it finishes");
    assert!(free.widest_drift > 3 * MAX_DRIFT_MS + BATCH_MS, "orders run ahead by {} ms", free.widest_drift);
    for seed in 0..20 {
        let faults = if seed == 0 { Faults::NONE } else { Faults::of_seed(seed).for_long_job() };
        let report = simulate(&aligned(), seed, faults, None, Some(&free.output)).expect("the same output");
        let drift = report.widest_drift;
        assert!(drift > 0 && drift <= MAX_DRIFT_MS + BATCH_MS, "seed {seed}: {drift} ms");
    }
}

#[test]
fn seeds_of_aligned_topics_give_the_undisturbed_output() {
    run_seeds(&aligned(), seeds().div_ceil(4), |seed| Faults::of_seed(seed).for_long_job());
}
