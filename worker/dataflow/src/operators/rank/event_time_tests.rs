//! The first row of random streams by event time, against its definition.

use crate::Output;
use crate::operators::testing::{Fleet, Random, context, rows};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::{OperatorSpec, RankSpec, SortKey};
use streamfleet_types::{Batch, MAX_WATERMARK, MIN_WATERMARK, Millis, RowKind};

/// Key, event time; what is unique is the text.
type Row = (i64, Option<Millis>, String);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("text", DataType::Utf8, true),
    ]))
}

fn batch(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|row| Some(row.2.as_str())).collect::<StringArray>()),
    ];
    Batch::inserts(RecordBatch::try_new(schema(), columns).unwrap())
}

fn fleet(output_rank: bool, batch_mode: bool) -> Fleet {
    let order = vec![SortKey { column: 1, descending: false, nulls_first: true }];
    let spec = RankSpec { partition: vec![0], order, limit: 1, window_end: None, event_time: Some(1), output_rank };
    let mut fields: Vec<_> = schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    if output_rank {
        fields.push(Field::new("rank", DataType::Int64, false));
    }
    let mut context = context(&[schema()], Arc::new(Schema::new(fields)));
    context.output_changes = false;
    context.batch_mode = batch_mode;
    Fleet::new(OperatorSpec::Rank(spec), context, vec![vec![0]])
}

/// The texts of rows, all of which are new.
fn texts(batches: &[Batch]) -> Vec<String> {
    let all = batches.iter().flat_map(rows);
    all.map(|(kind, row)| {
        assert_eq!(kind, RowKind::Insert);
        row.split('|').nth(2).unwrap().to_owned()
    })
    .collect()
}

#[test]
fn the_earliest_row_is_given_once_when_no_earlier_one_can_come() {
    for seed in 0..48 {
        let mut random = Random(seed);
        let mut fleet = fleet(seed & 1 != 0, false);
        let mut watermark = MIN_WATERMARK;
        // The earliest row of each key, and whether it was given.
        let mut first: BTreeMap<i64, (Millis, String, bool)> = BTreeMap::new();
        for step in 0..60 {
            let new: Vec<Row> = (0..random.below(30))
                .map(|n| {
                    let time = (step * 10 + random.below(60)) as Millis;
                    (random.below(40) as i64, (random.below(9) > 0).then_some(time), format!("{step}-{n}"))
                })
                .collect();
            for (key, time, text) in &new {
                let Some(time) = time.filter(|time| *time >= watermark) else { continue };
                match first.get_mut(key) {
                    Some((before, ..)) if time >= *before => {}
                    Some((.., true)) => {}
                    _ => {
                        first.insert(*key, (time, text.clone(), false));
                    }
                }
            }
            assert!(fleet.on_batch(0, &batch(&new)).unwrap().is_empty(), "nothing is final yet");
            if random.below(3) > 0 {
                watermark = watermark.max((step * 10 + random.below(20)) as Millis);
                let mut expected = Vec::new();
                for (time, text, given) in first.values_mut().filter(|(time, _, given)| !given && *time <= watermark) {
                    expected.push((*time, text.clone()));
                    *given = true;
                }
                expected.sort();
                let mut given = texts(&fleet.on_watermark(watermark));
                given.sort();
                let mut expected: Vec<String> = expected.into_iter().map(|(_, text)| text).collect();
                expected.sort();
                assert_eq!(given, expected, "seed {seed} step {step}");
            }
            match random.below(8) {
                0 => fleet.checkpoint(),
                1 => fleet.restart(1 + random.below(3), watermark),
                _ => {}
            }
        }
        let left = first.values().filter(|(.., given)| !given).count();
        assert_eq!(texts(&fleet.on_watermark(MAX_WATERMARK)).len(), left);
        assert!(fleet.on_end().is_empty());
        assert_eq!(fleet.state_rows(), first.len(), "that a key was given is kept");
    }
}

#[test]
fn of_rows_of_one_time_the_first_to_come_is_given_and_late_ones_are_not() {
    let mut fleet = fleet(false, false);
    let row = |key, time, text: &str| (key, Some(time), text.to_owned());
    let take = |fleet: &mut Fleet, rows: &[Row]| assert!(fleet.on_batch(0, &batch(rows)).unwrap().is_empty());
    take(&mut fleet, &[row(1, 50, "a"), row(1, 50, "b"), row(2, 70, "c")]);
    take(&mut fleet, &[row(1, 50, "d"), row(2, 60, "e")]);
    assert_eq!(texts(&fleet.on_watermark(59)), ["a"]);
    take(&mut fleet, &[row(1, 59, "f"), row(3, 58, "late"), row(4, 59, "just in time")]);
    assert_eq!(texts(&fleet.on_watermark(60)), ["just in time", "e"]);
    take(&mut fleet, &[row(3, 80, "g")]);
    fleet.restart(2, 60);
    assert_eq!(texts(&fleet.on_watermark(MAX_WATERMARK)), ["g"]);
}

#[test]
fn many_rows_come_in_parts_and_a_batch_job_gives_all_at_the_end() {
    for batch_mode in [false, true] {
        let mut fleet = fleet(true, batch_mode);
        for part in 0..5 {
            let new: Vec<Row> = (0..10_000).map(|n| (n, Some((part * 7 + n) % 100), format!("{part}"))).collect();
            assert!(fleet.on_batch(0, &batch(&new)).unwrap().is_empty());
        }
        let given = if batch_mode { fleet.on_end() } else { fleet.on_watermark(MAX_WATERMARK) };
        assert!(given.iter().all(|batch| batch.rows() <= Output::BATCH_ROWS));
        assert_eq!(given.iter().map(Batch::rows).sum::<usize>(), 10_000);
        assert!(given.iter().flat_map(rows).all(|(_, row)| row.ends_with("|1")), "all are the first");
    }
}
