//! Functions of dates and times. The session's zone is UTC.

mod arithmetic;
mod format;
mod parts;

use super::cast::{date, timestamp};
use super::scalar::{Texts, checked, take};
use crate::data_type::LOCAL_ZONE;
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, PrimitiveArray, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, TimestampMillisecondType};
use chrono::{DateTime, NaiveDateTime, Utc};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use format::Format;
use std::sync::Arc;
use streamfleet_logical::type_name;

const MILLIS: TimeUnit = TimeUnit::Millisecond;

/// The name of the function that gives the time at which a row is processed.
pub(crate) const PROCTIME: &str = "proctime";

pub(super) fn all() -> Vec<ScalarUDF> {
    let text: fn(&[DataType]) -> DataType = |_| DataType::Utf8;
    let mut all = vec![
        checked("date_format", format_types, text, date_format, pattern),
        checked("from_unixtime", |name, types| take(name, types, "b?t"), text, from_unixtime, pattern),
        checked("to_timestamp", text_types, |_| DataType::Timestamp(MILLIS, None), to_timestamp, pattern_to_read),
        checked("to_date", text_types, |_| DataType::Date32, to_date, pattern_to_read),
        checked("to_timestamp_ltz", |name, types| take(name, types, "b?i"), |_| local(), to_timestamp_ltz, precision),
    ];
    let clocks = [
        PROCTIME,
        "current_timestamp",
        "now",
        "current_row_timestamp",
        "localtimestamp",
        "current_date",
        "unix_timestamp",
    ];
    let signature = Signature::user_defined(Volatility::Volatile);
    all.extend(clocks.map(|name| ScalarUDF::new_from_impl(Clock { name, signature: signature.clone() })));
    all.extend(parts::all());
    all.extend(arithmetic::all());
    all
}

fn local() -> DataType {
    DataType::Timestamp(MILLIS, Some(LOCAL_ZONE.into()))
}

/// A time's microseconds since 1970; of a TIME, of its day.
fn micros(value: &ColumnarValue, rows: usize) -> Result<Int64Array> {
    let array = value.to_array(rows)?;
    let by = match array.data_type() {
        DataType::Timestamp(unit, _) => 1_000_000 / super::per_second(*unit).min(1_000_000),
        DataType::Date32 => 86_400_000_000,
        DataType::Time32(TimeUnit::Second) => 1_000_000,
        _ => 1_000,
    };
    let array = match array.data_type() {
        DataType::Date32 | DataType::Time32(_) => cast(&array, &DataType::Int32)?,
        _ => array,
    };
    Ok(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().unary(|v| v.wrapping_mul(by)))
}

/// The wall clock; never folded.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        take(self.name, arguments, "")
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.name {
            "current_date" => DataType::Date32,
            "localtimestamp" => DataType::Timestamp(MILLIS, None),
            "unix_timestamp" => DataType::Int64,
            _ => local(),
        })
    }

    fn invoke_with_args(&self, _call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now = Utc::now();
        let millis = Some(now.timestamp_millis());
        Ok(ColumnarValue::Scalar(match self.name {
            "current_date" => ScalarValue::Date32(Some(Date32Type::from_naive_date(now.date_naive()))),
            "localtimestamp" => ScalarValue::TimestampMillisecond(millis, None),
            "unix_timestamp" => ScalarValue::Int64(Some(now.timestamp())),
            _ => ScalarValue::TimestampMillisecond(millis, Some(LOCAL_ZONE.into())),
        }))
    }
}

fn format_types(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [time @ DataType::Timestamp(..), pattern] if *pattern == DataType::Utf8 || pattern.is_null() => {
            Ok(vec![time.clone(), DataType::Utf8])
        }
        [DataType::Utf8, _] => take(name, types, "tt"),
        [other, _] => plan_err!("{} takes a TIMESTAMP, not {}", name.to_uppercase(), type_name(other)),
        _ => plan_err!("{} does not take {} arguments", name.to_uppercase(), types.len()),
    }
}

/// Each row's compiled pattern: one for a constant, else made anew as it changes.
fn with_formats(
    patterns: &Texts,
    rows: usize,
    mut each: impl FnMut(usize, Option<&Format>) -> Result<()>,
) -> Result<()> {
    let mut last: Option<(String, Format)> = None;
    for row in 0..rows {
        let Some(pattern) = patterns.get(row) else {
            each(row, None)?;
            continue;
        };
        if last.as_ref().is_none_or(|(text, _)| text != pattern) {
            last = Some((pattern.to_owned(), Format::parse(pattern)?));
        }
        each(row, last.as_ref().map(|(_, format)| format))?;
    }
    Ok(())
}

fn formatted(times: &Int64Array, patterns: &Texts) -> Result<ArrayRef> {
    let mut builder = arrow::array::StringBuilder::with_capacity(times.len(), times.len() * 19);
    let mut out = String::new();
    with_formats(patterns, times.len(), |row, format| {
        let time = times.is_valid(row).then(|| DateTime::from_timestamp_micros(times.value(row))).flatten();
        match (time, format) {
            (Some(time), Some(format)) => {
                out.clear();
                format.write(time.naive_utc(), &mut out);
                builder.append_value(&out);
            }
            _ => builder.append_null(),
        }
        Ok(())
    })?;
    Ok(Arc::new(builder.finish()))
}

/// `DATE_FORMAT(timestamp, pattern)`, a Java pattern. A text is read as a timestamp with a time first.
fn date_format(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let patterns = Texts::of(&call.args[1])?;
    if call.args[0].data_type() != DataType::Utf8 {
        return formatted(&micros(&call.args[0], call.number_rows)?, &patterns);
    }
    let texts = Texts::of(&call.args[0])?;
    let one =
        |row| texts.get(row).filter(|t| t.contains(' ')).and_then(timestamp).map(|t| t.and_utc().timestamp_micros());
    formatted(&(0..call.number_rows).map(one).collect::<Int64Array>(), &patterns)
}

fn from_unixtime(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let seconds = call.args[0].to_array(call.number_rows)?;
    let times: Int64Array = seconds.as_primitive::<Int64Type>().unary(|v| v.wrapping_mul(1_000_000));
    let patterns = match call.args.get(1) {
        Some(pattern) => Texts::of(pattern)?,
        None => Texts::Value(Some("yyyy-MM-dd HH:mm:ss".to_owned())),
    };
    formatted(&times, &patterns)
}

/// Texts as times: by a pattern if there is one; NULL if a text does not fit.
fn parsed(call: &ScalarFunctionArgs, plain: fn(&str) -> Option<NaiveDateTime>) -> Result<Vec<Option<NaiveDateTime>>> {
    let texts = Texts::of(&call.args[0])?;
    let rows = call.number_rows;
    let Some(pattern) = call.args.get(1) else {
        return Ok((0..rows).map(|row| texts.get(row).and_then(plain)).collect());
    };
    let mut found = Vec::with_capacity(rows);
    with_formats(&Texts::of(pattern)?, rows, |row, format| {
        found.push(format.and_then(|format| format.read(texts.get(row)?)));
        Ok(())
    })?;
    Ok(found)
}

fn text_types(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    take(name, types, "t?t")
}

fn to_timestamp(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let millis = parsed(call, timestamp)?.into_iter().map(|t| t.map(|t| t.and_utc().timestamp_millis()));
    Ok(Arc::new(millis.collect::<TimestampMillisecondArray>()))
}

fn to_date(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let parsed = parsed(call, |text| date(text).map(|d| d.and_time(chrono::NaiveTime::MIN)))?;
    let days = parsed.into_iter().map(|t| t.map(|t| Date32Type::from_naive_date(t.date())));
    Ok(Arc::new(days.collect::<Date32Array>()))
}

/// Refuses a constant pattern that cannot be written.
fn pattern(arguments: &[Option<&ScalarValue>]) -> Result<()> {
    match arguments.get(1) {
        Some(Some(ScalarValue::Utf8(Some(pattern)))) => Format::parse(pattern).map(|_| ()),
        _ => Ok(()),
    }
}

/// Refuses a constant pattern that cannot be read.
fn pattern_to_read(arguments: &[Option<&ScalarValue>]) -> Result<()> {
    match arguments.get(1) {
        Some(Some(ScalarValue::Utf8(Some(pattern)))) => Format::parse(pattern)?.check_readable(pattern),
        _ => Ok(()),
    }
}

/// Refuses a constant precision that is not known.
fn precision(arguments: &[Option<&ScalarValue>]) -> Result<()> {
    match arguments.get(1).copied().flatten().and_then(|p| p.cast_to(&DataType::Int64).ok()) {
        Some(ScalarValue::Int64(Some(other))) if other != 0 && other != 3 => {
            plan_err!("TO_TIMESTAMP_LTZ with the precision {other} is not supported: it is 0 or 3")
        }
        _ => Ok(()),
    }
}

/// `TO_TIMESTAMP_LTZ(number[, precision])`: seconds (0) or milliseconds (3) since 1970; NULL beyond the year 9999.
fn to_timestamp_ltz(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let numbers = call.args[0].to_array(call.number_rows)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let precisions = match call.args.get(1) {
        Some(precision) => super::scalar::Integers::of(precision)?,
        None => super::scalar::Integers::Value(Some(3)),
    };
    let mut millis = Vec::with_capacity(numbers.len());
    for row in 0..numbers.len() {
        millis.push(match (precisions.get(row), numbers.is_valid(row)) {
            (None, _) | (_, false) => None,
            (Some(0), true) => numbers.value(row).checked_mul(1_000),
            (Some(3), true) => Some(numbers.value(row)),
            (Some(other), true) => return plan_err!("TO_TIMESTAMP_LTZ with the precision {other}: it is 0 or 3"),
        });
    }
    const YEAR_0: i64 = -62_167_219_200_000;
    const YEAR_10000: i64 = 253_402_300_800_000;
    let in_range = |v: Option<i64>| v.filter(|v| (YEAR_0..YEAR_10000).contains(v));
    let times: PrimitiveArray<TimestampMillisecondType> = millis.into_iter().map(in_range).collect();
    Ok(Arc::new(times.with_timezone(LOCAL_ZONE)))
}
