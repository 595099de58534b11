//! Functions of dates and times. Session time zone is UTC.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringBuilder, TimestampMillisecondArray};
use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMillisecondType};
use chrono::{DateTime, NaiveDateTime, Utc};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

const MILLIS: TimeUnit = TimeUnit::Millisecond;

pub(super) fn all() -> Vec<ScalarUDF> {
    use Function::{DateFormat, Now, Part, ToTimestamp, ToTimestampLtz};
    let parts = [
        ("year", DatePart::Year),
        ("quarter", DatePart::Quarter),
        ("month", DatePart::Month),
        ("week", DatePart::WeekISO),
        ("dayofmonth", DatePart::Day),
        ("dayofweek", DatePart::DayOfWeekSunday1),
        ("dayofyear", DatePart::DayOfYear),
        ("hour", DatePart::Hour),
        ("minute", DatePart::Minute),
        ("second", DatePart::Second),
    ];
    let parts = parts.into_iter().map(|(name, part)| (name, Part(part)));
    let others = [
        ("date_format", DateFormat),
        ("to_timestamp", ToTimestamp),
        ("to_timestamp_ltz", ToTimestampLtz),
        ("proctime", Now),
        ("current_timestamp", Now),
        ("now", Now),
    ];
    parts
        .chain(others)
        .map(|(name, function)| {
            let volatility = if function == Now { Volatility::Volatile } else { Volatility::Immutable };
            ScalarUDF::new_from_impl(Time { name, function, signature: Signature::user_defined(volatility) })
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    /// A field of a date or timestamp, as BIGINT.
    Part(DatePart),
    /// `DATE_FORMAT(timestamp, 'yyyy-MM-dd HH:mm:ss')`, a Java pattern.
    DateFormat,
    /// `TO_TIMESTAMP(text[, pattern])`: NULL if the text does not fit.
    ToTimestamp,
    /// `TO_TIMESTAMP_LTZ(number, precision)`: seconds (0) or milliseconds (3) since 1970.
    ToTimestampLtz,
    /// The wall clock; never folded.
    Now,
}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Time {
    name: &'static str,
    function: Function,
    signature: Signature,
}

impl ScalarUDFImpl for Time {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name.to_uppercase();
        let time = || match arguments[0] {
            ref t @ (DataType::Timestamp(..) | DataType::Date32 | DataType::Time32(_)) => Ok(t.clone()),
            DataType::Utf8 | DataType::Null => Ok(DataType::Timestamp(MILLIS, None)),
            ref other => plan_err!("{name} takes a time, not {other}"),
        };
        Ok(match (self.function, arguments.len()) {
            (Function::Now, 0) => vec![],
            (Function::Part(_), 1) => vec![time()?],
            (Function::DateFormat, 2) => vec![time()?, DataType::Utf8],
            (Function::ToTimestamp, n @ 1..=2) => vec![DataType::Utf8; n],
            (Function::ToTimestampLtz, 2) => vec![DataType::Int64; 2],
            (_, n) => return plan_err!("{name} does not take {n} arguments"),
        })
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            Function::Part(_) => DataType::Int64,
            Function::DateFormat => DataType::Utf8,
            Function::ToTimestamp => DataType::Timestamp(MILLIS, None),
            Function::ToTimestampLtz | Function::Now => {
                DataType::Timestamp(MILLIS, Some(crate::data_type::LOCAL_ZONE.into()))
            }
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        let array: ArrayRef = match self.function {
            Function::Part(part) => cast(&date_part(&columns[0], part)?, &DataType::Int64)?,
            Function::DateFormat => {
                let times = cast(&columns[0], &DataType::Timestamp(MILLIS, None))?;
                let times = times.as_primitive::<TimestampMillisecondType>();
                let patterns = columns[1].as_string::<i32>();
                let mut builder = StringBuilder::with_capacity(times.len(), times.len() * 19);
                for row in 0..times.len() {
                    match (times.is_valid(row) && patterns.is_valid(row)).then(|| times.value_as_datetime(row)) {
                        Some(Some(time)) => builder.append_value(format(time, patterns.value(row))?),
                        _ => builder.append_null(),
                    }
                }
                Arc::new(builder.finish())
            }
            Function::ToTimestamp => {
                let texts = columns[0].as_string::<i32>();
                let patterns = columns.get(1).map(|p| p.as_string::<i32>());
                let mut times = Vec::with_capacity(texts.len());
                for row in 0..texts.len() {
                    let pattern = patterns.map_or("yyyy-MM-dd HH:mm:ss", |p| p.value(row));
                    let time = texts.is_valid(row).then(|| parse(texts.value(row), pattern)).transpose()?;
                    times.push(time.flatten());
                }
                Arc::new(TimestampMillisecondArray::from(times))
            }
            Function::ToTimestampLtz => {
                let (numbers, precisions) =
                    (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<Int64Type>());
                let millis = |(n, p): (Option<i64>, Option<i64>)| match p? {
                    0 => n?.checked_mul(1000),
                    3 => n,
                    _ => None,
                };
                let times: Int64Array = numbers.iter().zip(precisions.iter()).map(millis).collect();
                cast(&times, &self.return_type(&[])?)?
            }
            Function::Now => {
                let now = Utc::now().timestamp_millis();
                let zone = Some(crate::data_type::LOCAL_ZONE.into());
                return Ok(ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(Some(now), zone)));
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// A Java date pattern as one of chrono's.
fn translate(pattern: &str) -> Result<String> {
    let mut translated = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let Some(end) = rest[1..].find('\'') else { return exec_err!("`{pattern}`: a quote does not end") };
            translated.push_str(if end == 0 { "'" } else { &rest[1..=end] });
            rest = &rest[end + 2..];
            continue;
        }
        let run = rest.chars().take_while(|c| *c == first).count();
        let symbol = match (first, run) {
            ('y', 4) => "%Y",
            ('y', 2) => "%y",
            ('M', 2) => "%m",
            ('M', 1) => "%-m",
            ('d', 2) => "%d",
            ('d', 1) => "%-d",
            ('H', 2) => "%H",
            ('H', 1) => "%-H",
            ('h', 2) => "%I",
            ('m', 2) => "%M",
            ('m', 1) => "%-M",
            ('s', 2) => "%S",
            ('s', 1) => "%-S",
            ('S', 3) => "%3f",
            ('a', 1) => "%p",
            ('E', 1..=3) => "%a",
            (c, _) if c.is_ascii_alphabetic() => {
                return exec_err!("date pattern `{pattern}`: `{}` is not supported", &rest[..run]);
            }
            ('%', _) => "%%",
            _ => "",
        };
        if symbol.is_empty() {
            translated.push_str(&rest[..run * first.len_utf8()]);
        } else {
            translated.push_str(symbol);
        }
        rest = &rest[run * first.len_utf8()..];
    }
    Ok(translated)
}

fn format(time: NaiveDateTime, pattern: &str) -> Result<String> {
    Ok(time.format(&translate(pattern)?).to_string())
}

fn parse(text: &str, pattern: &str) -> Result<Option<i64>> {
    let translated = translate(pattern)?.replace(".%3f", "%.3f");
    let time = NaiveDateTime::parse_from_str(text, &translated).ok();
    let day = || chrono::NaiveDate::parse_from_str(text, &translated).ok()?.and_hms_opt(0, 0, 0);
    let fraction = || NaiveDateTime::parse_from_str(text, &format!("{translated}%.f")).ok();
    Ok(time
        .or_else(day)
        .or_else(fraction)
        .map(|t| DateTime::<Utc>::from_naive_utc_and_offset(t, Utc).timestamp_millis()))
}
