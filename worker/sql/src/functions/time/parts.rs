//! Fields of dates and times: `EXTRACT`, `YEAR`, `HOUR` and the like; and times cut off to a unit.

use super::micros;
use crate::functions::scalar::{Texts, scalar, take};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use streamfleet_logical::type_name;

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = 3_600_000_000;
const MINUTE: i64 = 60_000_000;
const SECOND: i64 = 1_000_000;

pub(super) fn all() -> Vec<ScalarUDF> {
    let units =
        ["YEAR", "QUARTER", "MONTH", "WEEK", "DAYOFMONTH", "DAYOFWEEK", "DAYOFYEAR", "HOUR", "MINUTE", "SECOND"];
    let signature = || Signature::user_defined(Volatility::Immutable);
    let mut all: Vec<ScalarUDF> =
        units.iter().map(|unit| ScalarUDF::new_from_impl(Part { unit: Some(unit), signature: signature() })).collect();
    all.push(ScalarUDF::new_from_impl(Part { unit: None, signature: signature() }));
    all.push(scalar("floor to", cut_types, |types| types[1].clone(), |c| cut(c, false)));
    all.push(scalar("ceil to", cut_types, |types| types[1].clone(), |c| cut(c, true)));
    all
}

/// `EXTRACT(unit FROM time)`, and the functions that are named after a unit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    unit: Option<&'static str>,
    signature: Signature,
}

/// How a unit is found in a time without fractions of milliseconds.
enum Field {
    Day(fn(NaiveDate) -> i64),
    /// Of the microseconds since midnight; before 1970 they are negative, as in Flink.
    Clock(fn(i64) -> i64),
    /// Of the microseconds since 1970.
    Time(fn(i64) -> i64),
}

fn field(unit: &str) -> Option<Field> {
    use Field::{Clock, Day, Time};
    Some(match unit {
        "YEAR" => Day(|d| d.year().into()),
        "QUARTER" => Day(|d| i64::from(d.month0()) / 3 + 1),
        "MONTH" => Day(|d| d.month().into()),
        "WEEK" => Day(|d| d.iso_week().week().into()),
        "DAY" | "DAYOFMONTH" => Day(|d| d.day().into()),
        "DOW" | "DAYOFWEEK" => Day(|d| i64::from(d.weekday().num_days_from_sunday()) + 1),
        "DOY" | "DAYOFYEAR" => Day(|d| d.ordinal().into()),
        "ISODOW" => Day(|d| d.weekday().number_from_monday().into()),
        "ISOYEAR" => Day(|d| d.iso_week().year().into()),
        "DECADE" => Day(|d| i64::from(d.year()) / 10),
        "CENTURY" => Day(|d| (i64::from(d.year()) + 99) / 100),
        "HOUR" => Clock(|t| t / HOUR),
        "MINUTE" => Clock(|t| t / MINUTE % 60),
        "SECOND" => Clock(|t| t / SECOND % 60),
        "MILLISECOND" => Clock(|t| t / 1_000 % 1_000),
        "EPOCH" => Time(|t| t / SECOND),
        _ => return None,
    })
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        match self.unit {
            None => "extract",
            Some("YEAR") => "year",
            Some("QUARTER") => "quarter",
            Some("MONTH") => "month",
            Some("WEEK") => "week",
            Some("DAYOFMONTH") => "dayofmonth",
            Some("DAYOFWEEK") => "dayofweek",
            Some("DAYOFYEAR") => "dayofyear",
            Some("HOUR") => "hour",
            Some("MINUTE") => "minute",
            Some(_) => "second",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name().to_uppercase();
        let rest = match (self.unit, arguments) {
            (Some(_), [time]) | (None, [_, time]) => time,
            _ => return plan_err!("{name} does not take {} arguments", arguments.len()),
        };
        let time = match rest {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Time32(_) => rest.clone(),
            DataType::Null => DataType::Timestamp(TimeUnit::Millisecond, None),
            other => return plan_err!("{name} takes a date or time, not {}", type_name(other)),
        };
        let is_clock = matches!(self.unit, Some("HOUR" | "MINUTE" | "SECOND"));
        let fits = match &time {
            DataType::Date32 => !is_clock,
            DataType::Time32(_) => is_clock,
            _ => true,
        };
        if self.unit.is_some() && !fits {
            return plan_err!("{name} of {} is not possible", type_name(&time));
        }
        Ok(if self.unit.is_some() { vec![time] } else { vec![DataType::Utf8, time] })
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<arrow::datatypes::FieldRef> {
        if let (None, Some(Some(ScalarValue::Utf8(Some(unit))))) = (self.unit, args.scalar_arguments.first()) {
            let of = args.arg_fields[1].data_type();
            let fits = match (field(unit), of) {
                (Some(Field::Day(_)), DataType::Time32(_)) | (Some(Field::Clock(_)), DataType::Date32) | (None, _) => {
                    false
                }
                (Some(_), _) => true,
            };
            if !fits {
                return plan_err!("EXTRACT of {unit} from {} is not supported", type_name(of));
            }
        }
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), DataType::Int64, true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let units = match self.unit {
            Some(unit) => Texts::Value(Some(unit.to_owned())),
            None => Texts::of(&call.args[0])?,
        };
        let Some(field) = units.get(0).and_then(field) else { return exec_err!("EXTRACT of an unknown unit") };
        let Some(time) = call.args.last() else { return exec_err!("EXTRACT of nothing") };
        let times = micros(time, call.number_rows)?;
        let parts: Int64Array = match field {
            Field::Time(of) => times.unary(|t| of(milli(t))),
            Field::Clock(of) => times.unary(|t| of(milli(t) % DAY)),
            Field::Day(of) => times.unary_opt(|t| date(milli(t) / DAY).map(of)),
        };
        Ok(ColumnarValue::Array(Arc::new(parts)))
    }
}

/// Whole milliseconds, towards the past; what follows goes towards 1970, as in Flink.
const fn milli(micros: i64) -> i64 {
    micros.div_euclid(1_000) * 1_000
}

pub(super) fn date(days: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(days.checked_mul(86_400)?, 0).map(|t| t.date_naive())
}

pub(super) fn days_of(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

fn cut_types(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    let name = name.split(' ').next().unwrap_or(name);
    match types {
        [unit, time @ (DataType::Timestamp(..) | DataType::Date32)] => Ok(vec![unit.clone(), time.clone()]),
        [_, other] => plan_err!("{} of {} TO a unit is not supported", name.to_uppercase(), type_name(other)),
        _ => take(name, types, "tt"),
    }
}

/// `FLOOR(time TO unit)` and `CEIL(time TO unit)`. A week begins on Sunday.
fn cut(call: &ScalarFunctionArgs, up: bool) -> Result<ArrayRef> {
    let units = Texts::of(&call.args[0])?;
    let unit = units.get(0).unwrap_or_default();
    let times = micros(&call.args[1], call.number_rows)?;
    let size = match unit {
        "SECOND" => Some((SECOND, 0)),
        "MINUTE" => Some((MINUTE, 0)),
        "HOUR" => Some((HOUR, 0)),
        "DAY" => Some((DAY, 0)),
        // 1970 began on a Thursday.
        "WEEK" => Some((7 * DAY, 3 * DAY)),
        _ => None,
    };
    let months = match unit {
        "MONTH" => 1,
        "QUARTER" => 3,
        "YEAR" => 12,
        _ if size.is_some() => 0,
        other => return plan_err!("FLOOR or CEIL TO {other} is not supported"),
    };
    let one = |time: i64| -> Option<i64> {
        let (start, next) = match size {
            Some((size, offset)) => {
                let start = time - (time - offset).rem_euclid(size);
                (start, start + size)
            }
            None => {
                // By its day alone, which is found as in Flink.
                let day = date(milli(time) / DAY)?;
                let month = day.year() * 12 + day.month0() as i32;
                let first = month - month.rem_euclid(months);
                let at = |month: i32| {
                    NaiveDate::from_ymd_opt(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1)
                        .map(|d| days_of(d) * DAY)
                };
                let start = at(first)?;
                return Some(if up && start != days_of(day) * DAY { at(first + months)? } else { start });
            }
        };
        Some(if up && start != time { next } else { start })
    };
    let cut: Int64Array = times.unary_opt(one);
    of_micros(&cut, &call.args[1].data_type())
}

/// Microseconds since 1970 as a DATE or TIMESTAMP.
pub(super) fn of_micros(micros: &Int64Array, to: &DataType) -> Result<ArrayRef> {
    let by = match to {
        DataType::Date32 => DAY,
        DataType::Timestamp(unit, _) => 1_000_000 / crate::functions::per_second(*unit).min(1_000_000),
        other => return exec_err!("{other} is no time"),
    };
    let values: Int64Array = micros.unary(|v| v.div_euclid(by));
    let values: ArrayRef = match to {
        DataType::Date32 => cast(&values, &DataType::Int32)?,
        _ => Arc::new(values),
    };
    Ok(cast(&values, to)?)
}

/// An INT or BIGINT column as BIGINT.
pub(super) fn longs(value: &ColumnarValue, rows: usize) -> Result<Int64Array> {
    Ok(cast(&value.to_array(rows)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// Each row of two columns, NULL if one is.
pub(super) fn pairs(a: &Int64Array, b: &Int64Array, of: impl Fn(i64, i64) -> Option<i64>) -> Int64Array {
    let one = |row: usize| if a.is_valid(row) && b.is_valid(row) { of(a.value(row), b.value(row)) } else { None };
    (0..a.len()).map(one).collect()
}
