//! Joins of random streams against the join of what the streams amount to.

use crate::operators::testing::{Content, Fleet, Random, context, joined_schema, rows};
use crate::operators::{OperatorContext, build};
use crate::{DataflowError, Flow, Output};
use arrow::array::{
    Array, ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::{Expr, cast, col};
use std::sync::Arc;
use streamfleet_logical::{JoinKind, JoinSpec, OperatorSpec, TimeBounds};
use streamfleet_types::{Batch, MAX_WATERMARK, Millis, RowKind};

/// Key, text, value, time.
type Row = (Option<i64>, Option<String>, i64, Millis);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("v", DataType::Int64, false),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}

fn batch(rows: &[(RowKind, Row)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, r)| r.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, r)| r.1.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, r)| Some(r.2)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, r)| Some(r.3)).collect::<TimestampMillisecondArray>()),
    ];
    let records = RecordBatch::try_new(schema(), columns).unwrap();
    if rows.iter().all(|(kind, _)| *kind == RowKind::Insert) {
        return Batch::inserts(records);
    }
    Batch::changelog(records, rows.iter().map(|(kind, _)| *kind as i8).collect::<Int8Array>()).unwrap()
}

struct Case {
    kind: JoinKind,
    changes: [bool; 2],
    /// Key columns, of both sides alike.
    on: Vec<usize>,
    filter: Option<Expr>,
    bounds: Option<TimeBounds>,
    batch_mode: bool,
    output_changes: bool,
}

impl Case {
    fn new(kind: JoinKind, changes: [bool; 2], on: &[usize]) -> Self {
        Self { kind, changes, on: on.to_vec(), filter: None, bounds: None, batch_mode: false, output_changes: true }
    }

    fn spec(&self) -> JoinSpec {
        JoinSpec {
            kind: self.kind,
            on: self.on.iter().map(|c| (*c, *c)).collect(),
            filter: self.filter.clone(),
            filter_schema: Arc::new(joined_schema(&schema(), &schema())),
            bounds: self.bounds,
        }
    }

    fn context(&self) -> OperatorContext {
        let output = Arc::clone(joined_schema(&schema(), &schema()).inner());
        let mut context = context(&[schema(), schema()], output);
        context.input_changes = self.changes.to_vec();
        context.output_changes = self.output_changes;
        context.batch_mode = self.batch_mode;
        context
    }

    fn fleet(&self) -> Fleet {
        Fleet::new(OperatorSpec::Join(self.spec()), self.context(), vec![self.on.clone(); 2])
    }
}

/// The join as its definition has it.
fn join(case: &Case, sides: &[Vec<Row>; 2], passes: impl Fn(&Row, &Row) -> bool) -> Content {
    let mut content = Content::default();
    let single = |row: &Row| rows(&batch(&[(RowKind::Insert, row.clone())])).remove(0).1;
    let key = |row: &Row, column: usize| match column {
        0 => row.0.map(|k| k.to_string()),
        _ => row.1.clone(),
    };
    for l in &sides[0] {
        let equal = |r: &Row| case.on.iter().all(|c| key(l, *c).is_some() && key(l, *c) == key(r, *c));
        let partners: Vec<&Row> = sides[1].iter().filter(|r| equal(r) && passes(l, r)).collect();
        for r in &partners {
            content.add(format!("{}|{}", single(l), single(r)));
        }
        if partners.is_empty() && case.kind == JoinKind::Left {
            content.add(format!("{}|NULL|NULL|NULL|NULL", single(l)));
        }
    }
    content
}

fn random_row(random: &mut Random, time: Millis) -> Row {
    let k = random.below(12) as i64;
    let text = random.below(4);
    let text = (text > 0).then(|| "x".repeat(text as usize * 5));
    ((k > 0).then_some(k), text, random.below(4) as i64, time)
}

/// Some rows for one side, and what the side then holds.
fn random_batch(random: &mut Random, held: &mut Vec<Row>, changes: bool, time: Millis) -> Batch {
    let mut rows = Vec::new();
    for _ in 0..=random.below(16) {
        if changes && !held.is_empty() && random.below(5) < 2 {
            let row = held.swap_remove(random.below(held.len() as u64) as usize);
            let update = random.below(2) == 0;
            rows.push((if update { RowKind::UpdateBefore } else { RowKind::Delete }, row.clone()));
            if update {
                let row = (row.0, row.1, row.2 + 1, row.3);
                held.push(row.clone());
                rows.push((RowKind::UpdateAfter, row));
            }
        } else {
            let row = random_row(random, time);
            held.push(row.clone());
            rows.push((RowKind::Insert, row));
        }
    }
    batch(&rows)
}

#[test]
fn joins_what_the_streams_amount_to() {
    for seed in 0..48 {
        let mut random = Random(seed);
        let kind = if seed % 2 == 0 { JoinKind::Inner } else { JoinKind::Left };
        let on: &[usize] = [&[0][..], &[1], &[1, 0]][seed as usize % 3];
        let mut case = Case::new(kind, [seed & 2 != 0, seed & 4 != 0], on);
        if seed & 8 != 0 {
            case.filter = Some(col("l.v").lt(col("r.v")));
        }
        let passes = |l: &Row, r: &Row| seed & 8 == 0 || l.2 < r.2;
        let (mut fleet, mut given, mut sides) = (case.fleet(), Content::default(), [vec![], vec![]]);
        for step in 0..48 {
            let input = random.below(2) as usize;
            let next = random_batch(&mut random, &mut sides[input], case.changes[input], 0);
            fleet.on_batch(input, &next).unwrap().iter().for_each(|b| given.apply(b));
            match random.below(12) {
                0 => fleet.checkpoint(),
                1 => fleet.restart(1 + random.below(3), Millis::MIN),
                _ => {}
            }
            if step % 6 == 5 {
                assert_eq!(given, join(&case, &sides, passes), "seed {seed} step {step}");
            }
        }
    }
}

#[test]
fn time_bounds_free_state_and_lose_nothing() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let kind = if seed % 2 == 0 { JoinKind::Inner } else { JoinKind::Left };
        let (lower, upper) = [(0, 0), (-5, 20), (3, 30), (-40, -10)][seed as usize / 2 % 4];
        let mut case = Case::new(kind, [false, seed % 5 == 0], &[0]);
        let millis = |c: &str| cast(col(c), DataType::Int64);
        let distance = millis("r.t") - millis("l.t");
        case.filter = Some(distance.between(datafusion_expr::lit(lower), datafusion_expr::lit(upper)));
        case.bounds = Some(TimeBounds { left_time: 3, right_time: 3, lower, upper });
        case.output_changes = case.changes[1];
        let passes = |l: &Row, r: &Row| (lower..=upper).contains(&(r.3 - l.3));
        let (mut fleet, mut given, mut sides) = (case.fleet(), Content::default(), [vec![], vec![]]);
        let (mut watermark, mut most) = (-1000, 0);
        for _ in 0..120 {
            for (input, held) in sides.iter_mut().enumerate() {
                let mut new: Vec<Row> = vec![];
                for _ in 0..random.below(20) {
                    let time = watermark + 1 + random.below(25) as i64;
                    new.push(random_row(&mut random, time));
                }
                held.extend(new.iter().cloned());
                let mut changes: Vec<(RowKind, Row)> = new.into_iter().map(|r| (RowKind::Insert, r)).collect();
                if case.changes[input] && random.below(3) == 0 && changes.len() > 2 {
                    let gone = changes[0].1.clone();
                    held.swap_remove(held.iter().position(|r| *r == gone).unwrap());
                    changes.push((RowKind::Delete, gone));
                }
                fleet.on_batch(input, &batch(&changes)).unwrap().iter().for_each(|b| given.apply(b));
            }
            watermark += random.below(12) as i64;
            let emitted = fleet.on_watermark(watermark);
            emitted.iter().for_each(|b| given.apply(b));
            if random.below(15) == 0 {
                fleet.restart(1 + random.below(3), watermark);
            }
            most = most.max(fleet.state_rows());
        }
        assert!(most < 600, "{most} rows kept");
        fleet.on_watermark(MAX_WATERMARK).iter().for_each(|b| given.apply(b));
        fleet.on_end().iter().for_each(|b| given.apply(b));
        assert_eq!(given, join(&case, &sides, passes), "seed {seed}");
        assert_eq!(fleet.state_rows(), 0);
    }
}

#[test]
fn a_row_goes_when_the_watermark_forbids_partners_and_not_before() {
    let mut case = Case::new(JoinKind::Left, [false, false], &[0]);
    case.bounds = Some(TimeBounds { left_time: 3, right_time: 3, lower: -2, upper: 10 });
    case.output_changes = false;
    let mut fleet = case.fleet();
    let row = |t| batch(&[(RowKind::Insert, (Some(1), None, 0, t))]);
    assert!(fleet.on_batch(0, &row(100)).unwrap().is_empty());
    assert!(fleet.on_watermark(109).is_empty(), "a right row of time 110 may come");
    let given = fleet.on_watermark(110);
    assert_eq!(given.len(), 1);
    assert_eq!((given[0].kind(0), given[0].column(4).is_null(0)), (RowKind::Insert, true));
    assert!(fleet.on_batch(1, &row(100)).unwrap().is_empty());
    fleet.on_watermark(101);
    assert_eq!(fleet.state_rows(), 1, "a left row of time 102 may come");
    fleet.on_watermark(102);
    assert_eq!(fleet.state_rows(), 0);
}

#[test]
fn batch_mode_gives_rows_without_partner_once_at_the_end() {
    for changes in [false, true] {
        let mut case = Case::new(JoinKind::Left, [false, changes], &[0]);
        case.batch_mode = true;
        let mut random = Random(3);
        let (mut fleet, mut sides) = (case.fleet(), [vec![], vec![]]);
        let mut given = Content::default();
        for _ in 0..20 {
            let input = random.below(2) as usize;
            let next = random_batch(&mut random, &mut sides[input], case.changes[input], 0);
            for b in fleet.on_batch(input, &next).unwrap() {
                let without = rows(&b).into_iter().filter(|(_, r)| r.ends_with("|NULL|NULL|NULL|NULL"));
                assert!(without.into_iter().all(|(_, r)| r.starts_with("NULL|")), "only rows that can have no partner");
                given.apply(&b);
            }
        }
        // Left rows of a key that the right side has not.
        for k in 0..30_000 {
            sides[0].push((Some(1000 + k), None, 0, 0));
        }
        let late: Vec<(RowKind, Row)> =
            sides[0].iter().rev().take(30_000).map(|r| (RowKind::Insert, r.clone())).collect();
        for part in late.chunks(8000) {
            fleet.on_batch(0, &batch(part)).unwrap().iter().for_each(|b| given.apply(b));
        }
        fleet.on_end().iter().for_each(|b| given.apply(b));
        assert!(fleet.pauses > 0);
        assert_eq!(given, join(&case, &sides, |_, _| true));
        fleet.restart(2, Millis::MIN);
        assert!(fleet.on_end().is_empty(), "what was given is not given again after a restart");
    }
}

#[test]
fn many_matches_come_in_parts() {
    for (kind, changes) in [(JoinKind::Inner, false), (JoinKind::Inner, true), (JoinKind::Left, true)] {
        let mut fleet = Case::new(kind, [changes, changes], &[0]).fleet();
        for part in 0..50 {
            let rows: Vec<_> = (0..1000).map(|v| (RowKind::Insert, (Some(7), None, part * 1000 + v, 0))).collect();
            fleet.on_batch(0, &batch(&rows)).unwrap();
        }
        fleet.pauses = 0;
        let partner = |v| (RowKind::Insert, (Some(7), Some("p".to_owned()), v, 0));
        let given = fleet.on_batch(1, &batch(&[partner(1), partner(2)])).unwrap();
        let expected = if kind == JoinKind::Left { 150_000 } else { 100_000 };
        assert_eq!(given.iter().map(Batch::rows).sum::<usize>(), expected);
        assert!(fleet.pauses >= 5 && given.iter().all(|b| b.rows() <= Output::BATCH_ROWS));
    }
}

#[test]
fn equal_rows_of_a_changelog_are_counted() {
    let mut fleet = Case::new(JoinKind::Inner, [true, true], &[0]).fleet();
    let row = |kind| (kind, (Some(7), None, 1, 0));
    fleet.on_batch(0, &batch(&vec![row(RowKind::Insert); 20_000])).unwrap();
    assert_eq!(fleet.state_rows(), 1);
    let given = fleet.on_batch(1, &batch(&[row(RowKind::Insert)])).unwrap();
    assert_eq!(given.iter().map(Batch::rows).sum::<usize>(), 20_000);
    assert!(fleet.pauses > 0);
    let gone = fleet.on_batch(0, &batch(&[row(RowKind::UpdateBefore)])).unwrap();
    assert_eq!(rows(&gone[0])[0].0, RowKind::UpdateBefore, "an inner join forwards the kind");
    assert_eq!(gone[0].rows(), 1);
}

#[test]
fn a_retraction_of_nothing_is_an_error() {
    let mut fleet = Case::new(JoinKind::Inner, [true, false], &[0]).fleet();
    let error = fleet.on_batch(0, &batch(&[(RowKind::Delete, (Some(7), None, 1, 0))])).unwrap_err();
    assert!(matches!(&error, DataflowError::UnknownRetraction { row, .. } if row.starts_with("[7, ")), "{error}");
}

#[test]
fn keys_of_other_types_are_refused() {
    let case = Case::new(JoinKind::Inner, [false, false], &[0]);
    let spec = JoinSpec { on: vec![(0, 1)], ..case.spec() };
    let error = build(&OperatorSpec::Join(spec), case.context()).err().unwrap();
    assert!(error.to_string().contains("k (BIGINT) with text (STRING): cast one side"), "{error}");
}

#[test]
fn float_zeros_are_one_key_and_stay_what_they_are() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("f", DataType::Float64, true)]));
    let joined = joined_schema(&schema, &schema);
    let mut context = context(&[schema.clone(), schema.clone()], Arc::clone(joined.inner()));
    context.input_changes = vec![false, false];
    let spec = JoinSpec {
        on: vec![(0, 0)],
        filter_schema: Arc::new(joined),
        ..Case::new(JoinKind::Inner, [false; 2], &[0]).spec()
    };
    let mut operator = build(&OperatorSpec::Join(spec), context).unwrap();
    let one = |f: f64| {
        Batch::inserts(RecordBatch::try_new(schema.clone(), vec![Arc::new(Float64Array::from(vec![f]))]).unwrap())
    };
    let mut output = Output::default();
    assert_eq!(operator.on_batch(0, &one(0.0), &mut output).unwrap(), Flow::Done);
    assert_eq!(operator.on_batch(1, &one(-0.0), &mut output).unwrap(), Flow::Done);
    let given: Vec<Batch> = output.drain().collect();
    assert_eq!(rows(&given[0])[0].1, "0.0|-0.0");
}
