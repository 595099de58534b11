//! What the tests of aggregations share: rows with a column of every kind, calls over them, and results by definition.

use super::testing::Random;
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int64Array, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::BTreeSet;
use std::sync::Arc;
use streamfleet_logical::{AggregateCall, AggregateFunction};
use streamfleet_types::{Batch, Millis, RowKind};

/// A row: key, number, decimal (in cents), float (in halves), text, day, time, whether filtered calls count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub key: Option<i64>,
    pub number: Option<i64>,
    pub cents: Option<i128>,
    pub halves: Option<i64>,
    pub text: Option<String>,
    pub day: Option<i32>,
    pub time: Option<Millis>,
    pub counts: Option<bool>,
}

pub(super) const TIME: usize = 6;
const MILLIS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

pub(super) fn schema() -> SchemaRef {
    let fields = [
        ("key", DataType::Int64),
        ("number", DataType::Int64),
        ("decimal", DataType::Decimal128(10, 2)),
        ("float", DataType::Float64),
        ("text", DataType::Utf8),
        ("day", DataType::Date32),
        ("time", MILLIS),
        ("counts", DataType::Boolean),
    ];
    Arc::new(Schema::new(fields.into_iter().map(|(n, t)| Field::new(n, t, true)).collect::<Vec<_>>()))
}

pub(super) fn batch(rows: &[(RowKind, Row)]) -> Batch {
    let decimal = rows.iter().map(|(_, r)| r.cents).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, r)| r.key).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, r)| r.number).collect::<Int64Array>()),
        Arc::new(decimal.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(rows.iter().map(|(_, r)| r.halves.map(|h| h as f64 / 2.0)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|(_, r)| r.text.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, r)| r.day).collect::<Date32Array>()),
        Arc::new(rows.iter().map(|(_, r)| r.time).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|(_, r)| r.counts).collect::<BooleanArray>()),
    ];
    let records = RecordBatch::try_new(schema(), columns).unwrap();
    let kinds: Int8Array = rows.iter().map(|(kind, _)| *kind as i8).collect::<Vec<_>>().into();
    if rows.iter().all(|(kind, _)| *kind == RowKind::Insert) {
        Batch::inserts(records)
    } else {
        Batch::changelog(records, kinds).unwrap()
    }
}

pub(super) fn random_row(random: &mut Random, keys: u64) -> Row {
    let mut some =
        |bound: u64| Some(random.below(bound + 1)).filter(|n| *n < bound).map(|n| n as i64 - bound as i64 / 3);
    Row {
        number: some(12),
        cents: some(30).map(|n| i128::from(n) * 25),
        halves: some(15),
        text: some(9).map(|n| "ab".repeat((n + 3) as usize)),
        day: some(11).map(|n| n as i32),
        time: some(60),
        counts: some(4).map(|n| n > 0),
        key: Some(random.below(keys) as i64).filter(|k| *k > 0),
    }
}

/// A call by function, argument column, whether filtered, whether DISTINCT.
type Call = (AggregateFunction, Option<usize>, bool, bool);

pub(super) const CALLS: &[Call] = {
    use AggregateFunction::{Avg, Count, Max, Min, Sum};
    &[
        (Count, None, false, false),
        (Min, Some(1), false, false),
        (Max, Some(1), true, false),
        (Min, Some(2), false, true),
        (Max, Some(2), false, false),
        (Max, Some(3), false, false),
        (Min, Some(4), true, false),
        (Max, Some(4), false, false),
        (Min, Some(5), false, false),
        (Max, Some(6), false, false),
        (Count, Some(1), false, true),
        (Count, Some(4), true, true),
        (Sum, Some(1), false, true),
        (Sum, Some(2), false, true),
        (Avg, Some(1), false, true),
        (Sum, Some(1), true, false),
    ]
};

fn result_type((function, argument, _, _): Call) -> DataType {
    let argument = argument.map(|a| schema().field(a).data_type().clone());
    match (function, argument) {
        (AggregateFunction::Count, _) => DataType::Int64,
        (AggregateFunction::Sum, Some(DataType::Decimal128(_, scale))) => DataType::Decimal128(38, scale),
        (_, argument) => argument.expect("only COUNT does without"),
    }
}

pub(super) fn calls() -> Vec<AggregateCall> {
    let call = |(number, call): (usize, &Call)| AggregateCall {
        function: call.0,
        argument: call.1,
        filter: call.2.then_some(7),
        distinct: call.3,
        result: result_type(*call),
        name: format!("a{number}"),
    };
    CALLS.iter().enumerate().map(call).collect()
}

/// Key and results, then further columns.
pub(super) fn output_schema(with_key: bool, further: &[&str]) -> SchemaRef {
    let mut fields = vec![Field::new("key", DataType::Int64, true)];
    fields.extend(calls().iter().map(|c| Field::new(&c.name, c.result.clone(), true)));
    fields.extend(further.iter().map(|name| Field::new(*name, MILLIS, true)));
    Arc::new(Schema::new(fields.split_off(usize::from(!with_key))))
}

/// The result of one call over the rows of a group.
fn result(call: Call, rows: &[&Row]) -> ArrayRef {
    let (function, argument, filtered, distinct) = call;
    let rows: Vec<&Row> = rows.iter().copied().filter(|r| !filtered || r.counts == Some(true)).collect();
    let value = |row: &Row| match argument.unwrap_or(0) {
        1 => row.number.map(i128::from),
        2 => row.cents,
        3 => row.halves.map(i128::from),
        4 => row.text.as_ref().map(|t| t.len() as i128),
        5 => row.day.map(i128::from),
        _ => row.time.map(i128::from),
    };
    let mut values: Vec<i128> = rows.iter().filter_map(|row| value(row)).collect();
    if distinct {
        values = values.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    }
    let sum: i128 = values.iter().sum();
    let number = match function {
        AggregateFunction::Count if argument.is_none() => Some(rows.len() as i128),
        AggregateFunction::Count => Some(values.len() as i128),
        AggregateFunction::Sum => Some(sum).filter(|_| !values.is_empty()),
        AggregateFunction::Avg => (!values.is_empty()).then(|| sum / values.len() as i128),
        AggregateFunction::Min => values.iter().min().copied(),
        _ => values.iter().max().copied(),
    };
    let short = number.map(|n| n as i64);
    match result_type(call) {
        DataType::Int64 => Arc::new(Int64Array::from(vec![short])),
        DataType::Decimal128(precision, scale) => {
            Arc::new(Decimal128Array::from(vec![number]).with_precision_and_scale(precision, scale).unwrap())
        }
        DataType::Float64 => Arc::new(Float64Array::from(vec![short.map(|n| n as f64 / 2.0)])),
        DataType::Utf8 => Arc::new(StringArray::from(vec![short.map(|n| "ab".repeat(n as usize / 2))])),
        DataType::Date32 => Arc::new(Date32Array::from(vec![short.map(|n| n as i32)])),
        _ => Arc::new(TimestampMillisecondArray::from(vec![short])),
    }
}

/// The text of a group's output, by definition. `key` is absent if it is no column.
pub(super) fn expected(key: Option<Option<i64>>, rows: &[&Row], further: &[Millis]) -> String {
    let mut columns: Vec<ArrayRef> = Vec::new();
    columns.extend(key.map(|key| Arc::new(Int64Array::from(vec![key])) as ArrayRef));
    columns.extend(CALLS.iter().map(|call| result(*call, rows)));
    columns.extend(further.iter().map(|t| Arc::new(TimestampMillisecondArray::from(vec![*t])) as ArrayRef));
    let names = vec!["window"; further.len()];
    let records = RecordBatch::try_new(output_schema(key.is_some(), &names), columns).unwrap();
    super::testing::rows(&Batch::inserts(records)).remove(0).1
}
