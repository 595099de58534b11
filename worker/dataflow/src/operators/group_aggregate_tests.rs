//! Aggregations of random streams against the same computed anew from what the streams amount to.

use super::*;
use crate::operators::aggregate_testing::{Row, batch, calls, expected, output_schema, random_row, schema};
use crate::operators::testing::{Content, Fleet, Random, context, rows};
use std::collections::BTreeMap;
use streamfleet_logical::{AggregateCall, AggregateFunction, OperatorSpec};

fn fleet(with_key: bool, changes: bool, batch_mode: bool) -> Fleet {
    let keys: Vec<usize> = if with_key { vec![0] } else { Vec::new() };
    let mut context = context(&[schema()], output_schema(with_key, &[]));
    context.input_changes = vec![changes];
    context.batch_mode = batch_mode;
    let spec = OperatorSpec::GroupAggregate(GroupAggregateSpec { keys: keys.clone(), aggregates: calls() });
    Fleet::new(spec, context, vec![keys])
}

fn results(with_key: bool, held: &[Row]) -> Content {
    let mut groups: BTreeMap<Option<i64>, Vec<&Row>> = BTreeMap::new();
    for row in held {
        groups.entry(row.key.filter(|_| with_key)).or_default().push(row);
    }
    let mut content = Content::default();
    groups.iter().for_each(|(key, rows)| content.add(expected(with_key.then_some(*key), rows, &[])));
    content
}

/// Rows that come, and rows held that go.
fn changes(random: &mut Random, held: &mut Vec<Row>, keys: u64) -> Vec<(RowKind, Row)> {
    let mut batch = Vec::new();
    let shrinks = random.below(4) == 0;
    for _ in 0..=random.below(60) {
        if !held.is_empty() && random.below(10) < if shrinks { 8 } else { 4 } {
            let row = held.swap_remove(random.below(held.len() as u64) as usize);
            batch.push((if random.below(2) == 0 { RowKind::Delete } else { RowKind::UpdateBefore }, row));
        } else {
            let row = random_row(random, keys);
            held.push(row.clone());
            batch.push((if random.below(2) == 0 { RowKind::Insert } else { RowKind::UpdateAfter }, row));
        }
    }
    batch
}

#[test]
fn every_function_over_a_changelog_with_retractions() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let with_key = seed % 4 != 0;
        let keys = [2, 7, 40][seed as usize % 3];
        let (mut fleet, mut given, mut held) = (fleet(with_key, true, false), Content::default(), Vec::new());
        for step in 0..60 {
            let batch = batch(&changes(&mut random, &mut held, keys));
            fleet.on_batch(0, &batch).unwrap().iter().for_each(|b| given.apply(b));
            assert_eq!(given, results(with_key, &held), "seed {seed} step {step}");
            match random.below(8) {
                0 => fleet.checkpoint(),
                1 => fleet.restart(1 + random.below(3), Millis::MIN),
                _ => {}
            }
        }
        let all: Vec<_> = held.drain(..).map(|row| (RowKind::Delete, row)).collect();
        fleet.on_batch(0, &batch(&all)).unwrap().iter().for_each(|b| given.apply(b));
        assert_eq!(given, Content::default());
        assert_eq!(fleet.state_rows(), 0, "values go with their groups");
    }
}

#[test]
fn every_function_over_an_append_only_stream() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let with_key = seed % 4 != 0;
        let (mut fleet, mut given, mut held) = (fleet(with_key, false, false), Content::default(), Vec::new());
        for _ in 0..40 {
            let new: Vec<Row> = (0..=random.below(40)).map(|_| random_row(&mut random, 9)).collect();
            held.extend(new.iter().cloned());
            let new: Vec<_> = new.into_iter().map(|row| (RowKind::Insert, row)).collect();
            fleet.on_batch(0, &batch(&new)).unwrap().iter().for_each(|b| given.apply(b));
            assert_eq!(given, results(with_key, &held), "seed {seed}");
            if random.below(6) == 0 {
                fleet.restart(1 + random.below(3), Millis::MIN);
            }
        }
    }
}

#[test]
fn batch_mode_gives_final_results_once() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let with_key = seed % 2 == 0;
        let (mut fleet, mut given, mut held) = (fleet(with_key, true, true), Content::default(), Vec::new());
        for _ in 0..20 {
            let batch = batch(&changes(&mut random, &mut held, 9));
            assert!(fleet.on_batch(0, &batch).unwrap().is_empty());
        }
        fleet.restart(1 + random.below(3), Millis::MIN);
        fleet.on_end().iter().for_each(|b| given.apply(b));
        assert_eq!(given, results(with_key, &held), "seed {seed}");
        fleet.restart(2, Millis::MIN);
        assert!(fleet.on_end().is_empty(), "what was given is not given again");
    }
}

#[test]
fn without_rows_a_keyless_aggregate_gives_one_row_in_batch_mode_alone() {
    for parallelism in 1..4 {
        let mut keyless = fleet(false, false, true);
        keyless.restart(parallelism, Millis::MIN);
        let given: Vec<_> = keyless.on_end().iter().flat_map(rows).collect();
        assert_eq!(given, [(RowKind::Insert, expected(None, &[], &[]))]);
        assert!(given[0].1.starts_with("0|NULL|"));
        keyless.restart(3, Millis::MIN);
        assert!(keyless.on_end().is_empty(), "what was given is not given again");
        assert!(fleet(true, false, true).on_end().is_empty());
        assert!(fleet(false, false, false).on_end().is_empty());
    }
    let mut fleet = fleet(false, true, true);
    let row = random_row(&mut Random(1), 3);
    fleet.on_batch(0, &batch(&[(RowKind::Insert, row.clone()), (RowKind::Delete, row)])).unwrap();
    let given: Vec<_> = fleet.on_end().iter().flat_map(rows).collect();
    assert_eq!(given, [(RowKind::Insert, expected(None, &[], &[]))], "all rows were taken back");
}

#[test]
fn the_first_value_of_a_changelog_is_refused() {
    for (function, changes) in [(AggregateFunction::FirstValue, true), (AggregateFunction::LastValue, true)] {
        let result = DataType::Int64;
        let call =
            AggregateCall { function, argument: Some(1), filter: None, distinct: false, result, name: "a".to_owned() };
        let mut context = context(&[schema()], schema());
        context.input_changes = vec![changes];
        let spec = GroupAggregateSpec { keys: vec![0], aggregates: vec![call] };
        let refused = GroupAggregateOperator::new(&spec, context).err().unwrap().to_string();
        assert!(refused.contains(&format!("{function} over an input with updates or deletions")), "{refused}");
    }
}
