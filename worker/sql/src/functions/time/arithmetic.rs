//! `TIMESTAMPADD` and `TIMESTAMPDIFF`.

use super::micros;
use super::parts::{date, days_of, longs, of_micros, pairs};
use crate::functions::scalar::{Texts, scalar};
use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use chrono::{Datelike, NaiveDate};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use streamfleet_logical::type_name;

const DAY: i64 = 86_400_000_000;

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![
        ScalarUDF::new_from_impl(Add { signature: Signature::user_defined(Volatility::Immutable) }),
        scalar("timestampdiff", difference_types, |_| DataType::Int32, difference),
    ]
}

/// A unit as microseconds, or as months.
enum Span {
    Micros(i64),
    Months(i64),
}

fn span(unit: &str) -> Result<Span> {
    Ok(match unit {
        "SECOND" => Span::Micros(1_000_000),
        "MINUTE" => Span::Micros(60_000_000),
        "HOUR" => Span::Micros(3_600_000_000),
        "DAY" => Span::Micros(DAY),
        "WEEK" => Span::Micros(7 * DAY),
        "MONTH" => Span::Months(1),
        "QUARTER" => Span::Months(3),
        "YEAR" => Span::Months(12),
        other => {
            return plan_err!(
                "the unit {other} is not supported: use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR"
            );
        }
    })
}

const fn is_day_or_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

fn unit_of(value: &ColumnarValue) -> Result<Span> {
    match Texts::of(value)?.get(0) {
        Some(unit) => span(unit),
        None => exec_err!("the unit is not a constant"),
    }
}

/// `TIMESTAMPADD(unit, number, time)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Add {
    signature: Signature,
}

impl ScalarUDFImpl for Add {
    fn name(&self) -> &str {
        "timestampadd"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [DataType::Utf8, number, time] if number.is_integer() && is_day_or_time(time) => Ok(arguments.to_vec()),
            [_, number, time] => {
                plan_err!(
                    "TIMESTAMPADD takes a unit, INT and TIMESTAMP or DATE, not {} and {}",
                    type_name(number),
                    type_name(time)
                )
            }
            _ => plan_err!("TIMESTAMPADD takes a unit, a number and a time"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[2].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let data_type = args.arg_fields[2].data_type();
        if let Some(Some(ScalarValue::Utf8(Some(unit)))) = args.scalar_arguments.first()
            && let Span::Micros(..DAY) = span(unit)?
            && *data_type == DataType::Date32
        {
            return plan_err!("TIMESTAMPADD of {unit} to a DATE is not supported: cast it to TIMESTAMP(3)");
        }
        Ok(Arc::new(Field::new(self.name(), data_type.clone(), true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (numbers, times) = (longs(&call.args[1], call.number_rows)?, micros(&call.args[2], call.number_rows)?);
        let added: Int64Array = match unit_of(&call.args[0])? {
            Span::Micros(size) => pairs(&numbers, &times, |n, t| t.checked_add(n.checked_mul(size)?)),
            Span::Months(size) => pairs(&numbers, &times, |n, t| {
                let day = add_months(t.div_euclid(DAY), n.checked_mul(size)?)?;
                Some(day * DAY + t.rem_euclid(DAY))
            }),
        };
        Ok(ColumnarValue::Array(of_micros(&added, &call.args[2].data_type())?))
    }
}

fn difference_types(_: &str, arguments: &[DataType]) -> Result<Vec<DataType>> {
    match arguments {
        [DataType::Utf8, a, b] if is_day_or_time(a) && is_day_or_time(b) => Ok(arguments.to_vec()),
        [_, a, b] => plan_err!("TIMESTAMPDIFF takes a unit and two times, not {} and {}", type_name(a), type_name(b)),
        _ => plan_err!("TIMESTAMPDIFF takes a unit and two times"),
    }
}

/// `TIMESTAMPDIFF(unit, from, to)`: whole units.
fn difference(call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (from, to) = (micros(&call.args[1], call.number_rows)?, micros(&call.args[2], call.number_rows)?);
    // Flink compares whole milliseconds.
    let milli = |t: i64| t.div_euclid(1_000) * 1_000;
    let units = match unit_of(&call.args[0])? {
        Span::Micros(size) => pairs(&from, &to, |a, b| Some(i64::from(((milli(b) - milli(a)) / size) as i32))),
        Span::Months(size) => pairs(&from, &to, |a, b| Some(months_between(milli(b), milli(a))? / size)),
    };
    Ok(cast(&units, &DataType::Int32)?)
}

/// The same day of another month, or the month's last.
fn add_months(days: i64, months: i64) -> Option<i64> {
    let day = date(days)?;
    let month = i64::from(day.year()) * 12 + i64::from(day.month0()) + months;
    let (year, month0) = (i32::try_from(month.div_euclid(12)).ok()?, month.rem_euclid(12) as u32);
    let last =
        (0..4).rev().map(|short| 28 + short).find(|d| NaiveDate::from_ymd_opt(year, month0 + 1, *d).is_some())?;
    NaiveDate::from_ymd_opt(year, month0 + 1, day.day().min(last)).map(days_of)
}

/// Months from `b` to `a`, as Calcite counts them.
fn months_between(a: i64, b: i64) -> Option<i64> {
    let (day_a, day_b) = (a.div_euclid(DAY), b.div_euclid(DAY));
    let months = months_between_days(day_a, day_b)?;
    let is_short = add_months(day_b, months)? == day_a && a.rem_euclid(DAY) < b.rem_euclid(DAY);
    Some(if is_short { months - 1 } else { months })
}

fn months_between_days(a: i64, b: i64) -> Option<i64> {
    if a < b {
        return Some(-months_between_days(b, a)?);
    }
    let mut months = (a - b) / 31;
    loop {
        if add_months(b, months)? >= a || add_months(b, months + 1)? > a {
            return Some(months);
        }
        months += 1;
    }
}
