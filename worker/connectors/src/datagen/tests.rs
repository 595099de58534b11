use super::*;
use crate::testing::{StepClock, context, read, rows, scan};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use streamfleet_dataflow::SourceStatus;

const FAST: (&str, &str) = ("rows-per-second", "1000000000");

/// A source for which every row is due.
fn open(spec: &ScanSpec, subtask: u32, parallelism: u32) -> Box<dyn Source> {
    let clock = StepClock { step: 3_600_000, ..StepClock::default() };
    source(spec, context(subtask, parallelism, &Arc::new(clock))).unwrap()
}

fn read_all(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> RecordBatch {
    let mut source = open(&scan(columns, options), 0, 1);
    source.start().unwrap();
    let batches = read(source.as_mut(), usize::MAX);
    assert!(matches!(source.poll().unwrap(), SourceStatus::Ended));
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn scalars() -> Vec<(&'static str, DataType)> {
    vec![
        ("b", DataType::Boolean),
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i32", DataType::Int32),
        ("i64", DataType::Int64),
        ("f32", DataType::Float32),
        ("f64", DataType::Float64),
        ("d", DataType::Decimal128(38, 4)),
        ("s", DataType::Utf8),
        ("y", DataType::Binary),
        ("day", DataType::Date32),
        ("t32s", DataType::Time32(TimeUnit::Second)),
        ("t32", DataType::Time32(TimeUnit::Millisecond)),
        ("t64", DataType::Time64(TimeUnit::Nanosecond)),
        ("ts0", DataType::Timestamp(TimeUnit::Second, None)),
        ("ts3", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("ltz3", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("ts6", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("ts9", DataType::Timestamp(TimeUnit::Nanosecond, None)),
    ]
}

#[test]
fn the_same_rows_at_any_parallelism_and_after_a_restore() {
    let options = [FAST, ("number-of-rows", "40000"), ("base-time", "1000"), ("fields.s.length", "10")];
    let spec = scan(&scalars(), &options);
    let mut expected = rows(&read_all(&scalars(), &options));
    expected.sort_unstable();
    for (before, after) in [(2, 1), (1, 2), (3, 2)] {
        let (mut found, mut states) = (vec![], vec![]);
        for subtask in 0..before {
            let mut source = open(&spec, subtask, before);
            source.start().unwrap();
            found.extend(read(source.as_mut(), 1));
            states.extend(source.splits());
        }
        for subtask in 0..after {
            let mut source = open(&spec, subtask, after);
            source.restore(states.iter().skip(subtask as usize).step_by(after as usize).cloned().collect()).unwrap();
            found.extend(read(source.as_mut(), usize::MAX));
        }
        let mut found: Vec<String> = found.iter().flat_map(rows).collect();
        found.sort_unstable();
        assert!(found == expected, "{before} subtasks, then {after}: {} rows", found.len());
    }
}

#[test]
fn values_lie_within_their_bounds() {
    let all = read_all(
        &[
            ("i", DataType::Int32),
            ("f", DataType::Float64),
            ("d", DataType::Decimal128(6, 2)),
            ("s", DataType::Utf8),
            ("v", DataType::Utf8),
            ("full", DataType::Int64),
            ("wide", DataType::Decimal128(38, 0)),
        ],
        &[
            FAST,
            ("number-of-rows", "10000"),
            ("fields.i.min", "-2"),
            ("fields.i.max", "2"),
            ("fields.f.min", "1.5"),
            ("fields.f.max", "2.5"),
            ("fields.d.min", "0.10"),
            ("fields.d.max", "0.12"),
            ("fields.s.length", "7"),
            ("fields.v.length", "20"),
            ("fields.v.var-len", "true"),
        ],
    );
    assert_eq!(all.num_rows(), 10_000);
    let count = |value| all.column(0).as_primitive::<Int32Type>().values().iter().filter(|v| **v == value).count();
    assert!((-2..=2).all(|value| (1_850..2_150).contains(&count(value))));
    assert!(all.column(1).as_primitive::<Float64Type>().values().iter().all(|v| (1.5..2.5).contains(v)));
    let decimals = all.column(2).as_primitive::<Decimal128Type>().values();
    assert!([10, 11, 12].iter().all(|v| decimals.contains(v)) && decimals.iter().all(|v| (10..=12).contains(v)));
    let hex = |s: &str| s.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(all.column(3).as_string::<i32>().iter().flatten().all(|s| s.len() == 7 && hex(s)));
    let lengths: Vec<_> = all.column(4).as_string::<i32>().iter().flatten().map(str::len).collect();
    assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&1), Some(&20)));
    let full = all.column(5).as_primitive::<Int64Type>().values();
    assert!(full.iter().any(|v| *v < -(1 << 62)) && full.iter().any(|v| *v > 1 << 62));
    let wide = all.column(6).as_primitive::<Decimal128Type>().values();
    let share = |range: std::ops::Range<i128>| wide.iter().filter(|v| range.contains(v)).count();
    let most = 10i128.pow(38);
    assert_eq!(share(1 - most..most), 10_000);
    assert!([-most, -most / 2, 0, most / 2].iter().all(|&from| (2_300..2_700).contains(&share(from..from + most / 2))));
}

#[test]
fn a_sequence_ends_the_rows() {
    let columns = [("n", DataType::Int64), ("s", DataType::Utf8), ("d", DataType::Decimal128(5, 2))];
    let options = [
        ("fields.n.kind", "sequence"),
        ("fields.n.start", "5"),
        ("fields.n.end", "7"),
        ("fields.s.kind", "sequence"),
        ("fields.s.start", "-1"),
        ("fields.s.end", "100"),
        ("fields.d.kind", "sequence"),
        ("fields.d.start", "1"),
        ("fields.d.end", "9"),
    ];
    assert!(is_bounded(&scan(&columns, &options)).unwrap());
    assert!(!is_bounded(&scan(&columns, &[])).unwrap());
    assert_eq!(rows(&read_all(&columns, &options)), ["5|-1|1.00", "6|0|2.00", "7|1|3.00"]);
}

#[test]
fn nulls_come_at_their_rate() {
    let all = read_all(
        &[("a", DataType::Utf8), ("b", DataType::Int64)],
        &[FAST, ("number-of-rows", "20000"), ("fields.a.null-rate", "0.25")],
    );
    assert!((4_700..5_300).contains(&all.column(0).null_count()), "{}", all.column(0).null_count());
    assert_eq!(all.column(1).null_count(), 0);
}

#[test]
fn timestamps_are_past() {
    let column = [("t", DataType::Timestamp(TimeUnit::Millisecond, None))];
    let options = [("rows-per-second", "1000"), ("number-of-rows", "2000"), ("base-time", "1000000")];
    let now = read_all(&column, &options);
    let times = now.column(0).as_primitive::<TimestampMillisecondType>().values();
    assert!(times.iter().copied().eq(1_000_000..1_002_000));
    let past = read_all(&column, &[&options[..], &[("fields.t.max-past", "10 s")]].concat());
    let past = past.column(0).as_primitive::<TimestampMillisecondType>().values();
    assert!(times.iter().zip(past).all(|(now, past)| (0..=10_000).contains(&(now - past))));
    assert!(times.iter().zip(past).any(|(now, past)| now - past > 9_000));
}

#[test]
fn rows_come_at_their_rate() {
    let clock = Arc::new(StepClock::default());
    clock.now.store(77, Ordering::Relaxed);
    let spec = scan(&[("n", DataType::Int64)], &[("rows-per-second", "4")]);
    let mut source = source(&spec, context(0, 1, &clock)).unwrap();
    source.start().unwrap();
    for _ in 0..3 {
        let SourceStatus::Rows(rows) = source.poll().unwrap() else { panic!("a row is due") };
        assert_eq!(rows.batch.rows(), 1);
        let SourceStatus::Waiting(Some(wait)) = source.poll().unwrap() else { panic!("nothing is due") };
        assert_eq!(wait, Duration::from_millis(250));
        clock.now.fetch_add(250, Ordering::Relaxed);
    }
}

#[test]
fn bad_options_are_refused_by_name() {
    let columns = [("n", DataType::Int8), ("s", DataType::Utf8), ("d", DataType::Decimal128(4, 2))];
    for (option, value, expected) in [
        ("rows-per-second", "0", "at least 1"),
        ("number-of-rows", "-1", "number"),
        ("splits", "0", "at least 1"),
        ("fields.n.max", "300", "number"),
        ("fields.n.max", "-129", "type holds"),
        ("fields.n.min", "127.5", "number"),
        ("fields.n.kind", "sorted", "random or sequence"),
        ("fields.n.kind", "sequence", "a sequence needs it"),
        ("fields.n.null-rate", "2", "0 to 1"),
        ("fields.s.length", "0", "1 to"),
        ("fields.d.max", "100", "does not fit"),
        ("fields.m.min", "1", "no column 'm'"),
    ] {
        let made = source(&scan(&columns, &[(option, value)]), context(0, 1, &Arc::default()));
        let error = made.err().map(|e| e.to_string()).unwrap_or_default();
        let named = option.rsplit_once('.').map_or(option, |(field, _)| field);
        let right =
            error.contains(named) && (error.contains(expected) || expected == "number" && error.contains("holds"));
        assert!(right, "{option} = {value}: {error}");
    }
    let nested = scan(&[("r", DataType::new_list(DataType::Int64, true))], &[]);
    let error = source(&nested, context(0, 1, &Arc::default())).err().unwrap().to_string();
    assert!(error.contains("fields.r.kind") && error.contains("table t"), "{error}");
}
