//! Window aggregations of random streams against the same computed anew, window by window.

use super::*;
use crate::operators::aggregate_testing::{Row, TIME, batch, calls, expected, output_schema, random_row, schema};
use crate::operators::testing::{Content, Fleet, Random, context};
use streamfleet_logical::{OperatorSpec, WindowSpec};
use streamfleet_types::RowKind;

fn spec(window: WindowSpec) -> WindowAggregateSpec {
    WindowAggregateSpec { window: WindowInput::Assign { window, time: TIME }, keys: vec![0], aggregates: calls() }
}

fn window_context(changes: bool) -> OperatorContext {
    let mut context = context(&[schema()], output_schema(true, &["start", "end", "time"]));
    context.input_changes = vec![changes];
    context
}

fn windows() -> [WindowSpec; 3] {
    [
        WindowSpec::Tumble { size: 10, offset: 0 },
        WindowSpec::Hop { size: 12, slide: 4, offset: 0 },
        WindowSpec::Cumulate { size: 12, step: 3, offset: 1 },
    ]
}

/// The results of every window that ends in `(after, to]` (+ 1 ms).
fn results(window: WindowSpec, held: &[Row], after: Millis, to: Millis) -> Content {
    let mut groups: BTreeMap<(Option<i64>, Millis, Millis), Vec<&Row>> = BTreeMap::new();
    for row in held {
        let Some(time) = row.time else { continue };
        window.windows_of(time, |start, end| {
            if after < end - 1 && end - 1 <= to {
                groups.entry((row.key, start, end)).or_default().push(row);
            }
        });
    }
    let mut content = Content::default();
    for ((key, start, end), rows) in groups {
        content.add(expected(Some(key), &rows, &[start, end, end - 1]));
    }
    content
}

#[test]
fn every_function_with_distinct_and_retractions() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let window = windows()[seed as usize % 3];
        let changes = seed % 2 == 0;
        let mut fleet = Fleet::new(OperatorSpec::WindowAggregate(spec(window)), window_context(changes), vec![vec![0]]);
        let (mut held, mut watermark): (Vec<Row>, Millis) = (Vec::new(), -100);
        fleet.on_watermark(watermark);
        for step in 0..40 {
            // What has been in a window that ended is not taken back.
            let is_open = |row: &Row| {
                let mut open = true;
                row.time.into_iter().for_each(|t| window.windows_of(t, |_, end| open &= end - 1 > watermark));
                open
            };
            let mut rows = Vec::new();
            for _ in 0..=random.below(50) {
                let at = random.below(held.len().max(1) as u64) as usize;
                if changes && random.below(3) == 0 && held.get(at).is_some_and(is_open) {
                    rows.push((RowKind::Delete, held.swap_remove(at)));
                } else {
                    let mut row = random_row(&mut random, 6);
                    row.time = row.time.map(|t| watermark + 1 + t.abs());
                    held.push(row.clone());
                    rows.push((RowKind::Insert, row));
                }
            }
            assert!(fleet.on_batch(0, &batch(&rows)).unwrap().is_empty());
            match random.below(6) {
                0 => fleet.checkpoint(),
                1 => fleet.restart(1 + random.below(3), watermark),
                _ => {}
            }
            let to = if step == 39 { Millis::MAX - 1 } else { watermark + random.below(12) as i64 };
            if to > watermark {
                let mut given = Content::default();
                fleet.on_watermark(to).iter().for_each(|b| given.apply(b));
                assert_eq!(given, results(window, &held, watermark, to), "seed {seed} step {step}");
                watermark = to;
            }
        }
        assert_eq!(fleet.state_rows(), 0, "values go with their windows");
    }
}

#[test]
fn many_distinct_values_are_dropped_in_parts() {
    let mut fleet = Fleet::new(
        OperatorSpec::WindowAggregate(spec(WindowSpec::Tumble { size: 1000, offset: 0 })),
        window_context(false),
        vec![vec![0]],
    );
    let row = |n: i64| Row { number: Some(n), time: Some(n % 1000), key: Some(1), ..random_row(&mut Random(7), 2) };
    for part in 0..10 {
        let rows: Vec<_> = (part * 10_000..(part + 1) * 10_000).map(|n| (RowKind::Insert, row(n))).collect();
        fleet.on_batch(0, &batch(&rows)).unwrap();
    }
    assert!(fleet.state_rows() > 2 * DROP_VALUES);
    let given: usize = fleet.on_watermark(999).iter().map(Batch::rows).sum();
    assert_eq!((given, fleet.state_rows()), (1, 0));
    assert!(fleet.pauses > 0);
}

#[test]
fn rows_without_a_time_are_counted() {
    let mut operator = WindowAggregateOperator::new(&spec(windows()[0]), window_context(false)).unwrap();
    operator.restored(Millis::MIN).unwrap();
    let row = |time| (RowKind::Insert, Row { time, ..random_row(&mut Random(3), 2) });
    let mut output = Output::default();
    let rows = batch(&[row(None), row(Some(5)), row(None), row(Some(99))]);
    assert_eq!(operator.on_batch(0, &rows, &mut output).unwrap(), Flow::Done);
    assert_eq!((operator.timeless_rows(), operator.late_rows()), (2, 0));
    assert_eq!(operator.on_watermark(50, &mut output).unwrap(), Flow::Done);
    assert_eq!(operator.on_batch(0, &rows, &mut output).unwrap(), Flow::Done);
    assert_eq!((operator.timeless_rows(), operator.late_rows()), (4, 1));
}
