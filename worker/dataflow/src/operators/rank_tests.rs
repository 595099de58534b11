//! Rankings of random streams against the ranking of what the streams amount to.

use crate::operators::testing::{Content, Fleet, Random, context, rows};
use crate::{DataflowError, Output};
use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::{OperatorSpec, RankSpec, SortKey};
use streamfleet_types::{Batch, Millis, RowKind};

/// Partition, text, value.
type Row = (Option<i64>, Option<String>, i64);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("v", DataType::Int64, false),
    ]))
}

fn batch(rows: &[(RowKind, Row)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, r)| r.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, r)| r.1.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, r)| Some(r.2)).collect::<Int64Array>()),
    ];
    let records = RecordBatch::try_new(schema(), columns).unwrap();
    if rows.iter().all(|(kind, _)| *kind == RowKind::Insert) {
        return Batch::inserts(records);
    }
    Batch::changelog(records, rows.iter().map(|(kind, _)| *kind as i8).collect::<Int8Array>()).unwrap()
}

#[derive(Clone, Copy)]
struct Case {
    partition: &'static [usize],
    limit: u64,
    output_rank: bool,
    changes: bool,
    batch_mode: bool,
    output_changes: bool,
    text_first: bool,
    by_arrival: bool,
}

const PLAIN: Case = Case {
    partition: &[0],
    limit: 1,
    output_rank: false,
    changes: false,
    batch_mode: false,
    output_changes: true,
    text_first: false,
    by_arrival: false,
};

impl Case {
    fn fleet(self) -> Fleet {
        let value = SortKey { column: 2, descending: true, nulls_first: false };
        let text = SortKey { column: 1, descending: false, nulls_first: false };
        let order = match (self.by_arrival, self.text_first) {
            (true, _) => vec![],
            (false, true) => vec![text, value],
            (false, false) => vec![value],
        };
        let spec = RankSpec {
            partition: self.partition.to_vec(),
            order,
            limit: self.limit,
            output_rank: self.output_rank,
            window_end: None,
            event_time: None,
        };
        let mut fields: Vec<_> = schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        if self.output_rank {
            fields.push(Field::new("rank", DataType::Int64, false));
        }
        let mut context = context(&[schema()], Arc::new(Schema::new(fields)));
        context.input_changes = vec![self.changes];
        context.output_changes = self.output_changes;
        context.batch_mode = self.batch_mode;
        Fleet::new(OperatorSpec::Rank(spec), context, vec![self.partition.to_vec()])
    }

    /// The ranking of rows in the order of their arrival, as its definition has it.
    fn ranked(self, held: &[Row]) -> Content {
        let mut partitions: BTreeMap<Vec<Option<String>>, Vec<&Row>> = BTreeMap::new();
        for row in held {
            let columns = [row.0.map(|k| k.to_string()), row.1.clone(), Some(row.2.to_string())];
            partitions.entry(self.partition.iter().map(|c| columns[*c].clone()).collect()).or_default().push(row);
        }
        let mut content = Content::default();
        for rows_of_one in partitions.values_mut() {
            let text = |row: &Row| (self.text_first).then(|| (row.1.is_none(), row.1.clone()));
            if !self.by_arrival {
                rows_of_one.sort_by_key(|row| (text(row), -row.2));
            }
            for (index, row) in rows_of_one.iter().take(self.limit as usize).enumerate() {
                let text = rows(&batch(&[(RowKind::Insert, (*row).clone())])).remove(0).1;
                content.add(if self.output_rank { format!("{text}|{}", index + 1) } else { text });
            }
        }
        content
    }
}

fn random_row(random: &mut Random) -> Row {
    let (k, text) = (random.below(9) as i64, random.below(4));
    ((k > 0).then_some(k), (text > 0).then(|| "x".repeat(text as usize * 5)), random.below(50) as i64)
}

#[test]
fn the_first_rows_of_an_append_only_stream() {
    for seed in 0..48 {
        let mut random = Random(seed);
        let case = Case {
            partition: [&[0][..], &[1, 0], &[]][seed as usize % 3],
            limit: [1, 3, 10][seed as usize / 3 % 3],
            output_rank: seed & 1 != 0,
            text_first: seed & 2 != 0,
            ..PLAIN
        };
        let (mut fleet, mut given, mut held) = (case.fleet(), Content::default(), Vec::new());
        for step in 0..50 {
            let new: Vec<Row> = (0..=random.below(40)).map(|_| random_row(&mut random)).collect();
            held.extend(new.iter().cloned());
            let new: Vec<_> = new.into_iter().map(|row| (RowKind::Insert, row)).collect();
            fleet.on_batch(0, &batch(&new)).unwrap().iter().for_each(|b| given.apply(b));
            assert_eq!(given, case.ranked(&held), "seed {seed} step {step}");
            match random.below(8) {
                0 => fleet.checkpoint(),
                1 => fleet.restart(1 + random.below(3), Millis::MIN),
                _ => {}
            }
        }
        assert_eq!(fleet.state_rows() as i64, given.0.values().sum::<i64>(), "only the first rows are kept");
    }
}

#[test]
fn the_row_that_comes_first_is_given_once_and_stays() {
    for seed in 0..48 {
        let mut random = Random(seed);
        let case = Case {
            partition: [&[0][..], &[1, 0], &[], &[0, 1, 2]][seed as usize % 4],
            output_rank: seed & 4 != 0,
            batch_mode: seed & 8 != 0,
            output_changes: false,
            by_arrival: true,
            ..PLAIN
        };
        let (mut fleet, mut given, mut held) = (case.fleet(), Content::default(), Vec::new());
        for step in 0..50 {
            let new: Vec<Row> = (0..=random.below(40)).map(|_| random_row(&mut random)).collect();
            held.extend(new.iter().cloned());
            let new: Vec<_> = new.into_iter().map(|row| (RowKind::Insert, row)).collect();
            for batch in fleet.on_batch(0, &batch(&new)).unwrap() {
                assert!(batch.kinds().is_none() && batch.rows() > 0, "only new rows");
                given.apply(&batch);
            }
            assert_eq!(given, case.ranked(&held), "seed {seed} step {step}");
            match random.below(8) {
                0 => fleet.checkpoint(),
                1 => fleet.restart(1 + random.below(3), Millis::MIN),
                _ => {}
            }
        }
        assert!(fleet.on_end().is_empty(), "all was given");
        assert_eq!(fleet.state_rows() as i64, given.0.values().sum::<i64>());
    }
}

#[test]
fn the_first_rows_of_a_changelog() {
    for seed in 0..48 {
        let mut random = Random(seed);
        let case = Case {
            partition: [&[0][..], &[1, 0], &[]][seed as usize % 3],
            limit: [1, 3, 10][seed as usize / 3 % 3],
            output_rank: seed & 1 != 0,
            text_first: seed & 2 != 0,
            changes: true,
            ..PLAIN
        };
        let (mut fleet, mut given, mut held) = (case.fleet(), Content::default(), Vec::<Row>::new());
        for step in 0..50 {
            let mut changes = Vec::new();
            for _ in 0..=random.below(40) {
                if !held.is_empty() && random.below(9) < 4 {
                    let row = held.swap_remove(random.below(held.len() as u64) as usize);
                    changes.push((RowKind::Delete, row));
                } else {
                    let mut row = random_row(&mut random);
                    // Rows that the order does not tell apart may come in any order: let these be equal.
                    row.1 = Some("x".repeat(row.2 as usize % 3));
                    held.push(row.clone());
                    changes.push((RowKind::UpdateAfter, row));
                }
            }
            fleet.on_batch(0, &batch(&changes)).unwrap().iter().for_each(|b| given.apply(b));
            // Without a partition key column the key may still differ between rows that the order does not tell apart.
            if case.partition.is_empty() {
                assert_eq!(given.0.values().sum::<i64>(), (case.limit as i64).min(held.len() as i64));
            } else {
                assert_eq!(given, case.ranked(&held), "seed {seed} step {step}");
            }
            match random.below(8) {
                0 => fleet.checkpoint(),
                1 => fleet.restart(1 + random.below(3), Millis::MIN),
                _ => {}
            }
        }
    }
}

#[test]
fn a_batch_gives_net_changes_with_updates_adjacent() {
    for changes in [false, true] {
        let mut fleet = Case { changes, ..PLAIN }.fleet();
        let row = |k, v| (RowKind::Insert, (Some(k), None, v));
        let first = fleet.on_batch(0, &batch(&[row(1, 5), row(2, 5), row(1, 9)])).unwrap();
        assert_eq!(rows(&first[0]), [(RowKind::Insert, "1|NULL|9".into()), (RowKind::Insert, "2|NULL|5".into())]);
        assert!(fleet.on_batch(0, &batch(&[row(1, 8), row(2, 1)])).unwrap().is_empty());
        let next = fleet.on_batch(0, &batch(&[row(2, 6), row(3, 1), row(1, 10), row(2, 7)])).unwrap();
        let mut next = rows(&next[0]);
        assert_eq!(next.len(), 5);
        let at = next.iter().position(|(_, r)| r == "2|NULL|5").unwrap();
        assert_eq!(next[at + 1], (RowKind::UpdateAfter, "2|NULL|7".into()));
        assert_eq!(next[at].0, RowKind::UpdateBefore);
        next.retain(|(kind, _)| *kind == RowKind::Insert);
        assert_eq!(next, [(RowKind::Insert, "3|NULL|1".into())]);
    }
}

#[test]
fn nobody_reads_what_was_before() {
    for limit in [1, 2] {
        let mut fleet = Case { limit, output_rank: true, output_changes: false, ..PLAIN }.fleet();
        let row = |v| batch(&[(RowKind::Insert, (Some(1), None, v))]);
        fleet.on_batch(0, &row(1)).unwrap();
        let given = fleet.on_batch(0, &row(2)).unwrap();
        assert_eq!(rows(&given[0])[0], (RowKind::UpdateAfter, "1|NULL|2|1".into()));
        assert_eq!(given[0].rows(), limit as usize);
    }
}

#[test]
fn of_equal_rows_the_first_to_come_is_first_also_after_a_restart() {
    for limit in [1, 2] {
        let mut fleet = Case { limit, ..PLAIN }.fleet();
        let row = |text: &str| batch(&[(RowKind::Insert, (Some(1), Some(text.to_owned()), 5))]);
        let mut given = Content::default();
        for (step, text) in ["m", "z", "a", "b"].into_iter().enumerate() {
            fleet.on_batch(0, &row(text)).unwrap().iter().for_each(|b| given.apply(b));
            fleet.restart(1 + step as u64 % 3, Millis::MIN);
        }
        let expected: Vec<&str> = ["1|m|5", "1|z|5"].into_iter().take(limit as usize).collect();
        assert_eq!(given.0.keys().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn batch_mode_gives_all_at_the_end_in_the_order_of_arrival_and_forgets() {
    for case in [
        Case { batch_mode: true, ..PLAIN },
        Case { batch_mode: true, limit: 2, ..PLAIN },
        Case { batch_mode: true, limit: 2, changes: true, output_rank: true, ..PLAIN },
    ] {
        let mut fleet = case.fleet();
        let mut held: Vec<Row> = Vec::new();
        for part in 0..10 {
            let new: Vec<Row> = (0..4000).rev().map(|k| (Some(k * 7), None, (part * 37 + k) % 100)).collect();
            held.extend(new.iter().cloned());
            let new: Vec<_> = new.into_iter().map(|row| (RowKind::Insert, row)).collect();
            assert!(fleet.on_batch(0, &batch(&new)).unwrap().is_empty());
        }
        let given = fleet.on_end();
        let all: Vec<String> = given.iter().flat_map(rows).map(|(_, row)| row).collect();
        assert!(all[0].starts_with("27993|") && all[all.len() - 1].starts_with("0|"));
        let mut content = Content::default();
        given.iter().for_each(|b| content.apply(b));
        assert_eq!(content, case.ranked(&held));
        assert_eq!(fleet.state_rows(), 0);
        fleet.restart(1, Millis::MIN);
        assert!(fleet.on_end().is_empty());
    }
}

#[test]
fn many_changes_come_in_parts() {
    let mut fleet = Case { partition: &[], limit: 30_000, output_rank: true, ..PLAIN }.fleet();
    let mut given = Content::default();
    for part in 0..6 {
        let new: Vec<_> = (0..5000).map(|v| (RowKind::Insert, (Some(part), None, v))).collect();
        let before = fleet.pauses;
        let batches = fleet.on_batch(0, &batch(&new)).unwrap();
        assert!(batches.iter().all(|b| b.rows() <= Output::BATCH_ROWS));
        assert!(part == 0 || fleet.pauses >= before);
        batches.iter().for_each(|b| given.apply(b));
    }
    assert!(fleet.pauses > 0);
    assert_eq!(given.0.len(), 30_000);
}

#[test]
fn a_retraction_of_nothing_is_an_error() {
    let mut fleet = Case { changes: true, ..PLAIN }.fleet();
    let row = (Some(1), None, 5);
    let both = [(RowKind::Insert, row.clone()), (RowKind::Delete, row.clone())];
    assert!(fleet.on_batch(0, &batch(&both)).unwrap().is_empty(), "nothing is left of it");
    let error = fleet.on_batch(0, &batch(&[(RowKind::Delete, row)])).unwrap_err();
    assert!(matches!(error, DataflowError::UnknownRetraction { .. }));
}
