//! Texts as values, in the shapes that Flink reads.

use super::numbers;
use super::times;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array, PrimitiveArray,
    StringArray, Time32MillisecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMicrosecondType,
};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion_common::{Result, exec_err};
use std::sync::Arc;
use streamfleet_logical::type_name;

/// A column of texts as values; what cannot be read is an error, or NULL if `is_safe`.
pub(super) fn column(texts: &StringArray, to: &DataType, is_safe: bool) -> Result<ArrayRef> {
    macro_rules! whole {
        ($kind:ty) => {{
            let one = |text: &str| integer(text).and_then(|v| <$kind as ArrowPrimitiveType>::Native::try_from(v).ok());
            Arc::new(read::<$kind>(texts, to, is_safe, one)?)
        }};
    }
    Ok(match to {
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::Float32 => Arc::new(read::<Float32Type>(texts, to, is_safe, |t| java_number(t)?.parse().ok())?),
        DataType::Float64 => Arc::new(read::<Float64Type>(texts, to, is_safe, |t| java_number(t)?.parse().ok())?),
        DataType::Decimal128(precision, scale) => {
            let one = |text: &str| numbers::parse(text.trim(), *precision, *scale);
            let values: Decimal128Array = read(texts, to, is_safe, one)?;
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Boolean => {
            let mut values = Vec::with_capacity(texts.len());
            for text in texts {
                values.push(match text {
                    None => None,
                    Some(text) => one(boolean(text), text, to, is_safe)?,
                });
            }
            Arc::new(BooleanArray::from(values))
        }
        DataType::Binary => Arc::new(texts.iter().map(|t| t.map(str::as_bytes)).collect::<BinaryArray>()),
        DataType::Date32 => {
            let values: Date32Array = read(texts, to, is_safe, |t| date(t).map(Date32Type::from_naive_date))?;
            Arc::new(values)
        }
        DataType::Time32(_) => {
            let one = |t: &str| time(t).map(|t| t.num_seconds_from_midnight() as i32 * 1_000);
            let values: Time32MillisecondArray = read::<Time32MillisecondType>(texts, to, is_safe, one)?;
            Arc::new(values)
        }
        DataType::Timestamp(_, zone) => {
            let one = |t: &str| timestamp(t).map(|t| t.and_utc().timestamp_micros());
            let values: TimestampMicrosecondArray = read::<TimestampMicrosecondType>(texts, to, is_safe, one)?;
            let values: ArrayRef = Arc::new(values.with_timezone_opt(zone.clone()));
            if values.data_type() == to { values } else { times::column(&values, to)? }
        }
        other => return exec_err!("no conversion of STRING to {}", type_name(other)),
    })
}

fn read<T: ArrowPrimitiveType>(
    texts: &StringArray,
    to: &DataType,
    is_safe: bool,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let value = |text: Option<&str>| match text {
        None => Ok(None),
        Some(text) => one(parse(text), text, to, is_safe),
    };
    texts.iter().map(value).collect()
}

fn one<V>(value: Option<V>, text: &str, to: &DataType, is_safe: bool) -> Result<Option<V>> {
    if value.is_none() && !is_safe {
        return exec_err!("'{text}' is no {}; TRY_CAST gives NULL for it", type_name(to));
    }
    Ok(value)
}

/// A whole number; digits behind a point are cut off.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    whole.parse().ok()
}

/// What Java takes for a DOUBLE, without the letter at the end.
fn java_number(text: &str) -> Option<&str> {
    let text = text.trim();
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    match body {
        "NaN" | "Infinity" => Some(text),
        _ if body.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            Some(text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text))
        }
        _ => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// `2024-02-29`, also `2024-2-9`, `2024-02` and `2024`; a time behind it is passed over.
pub(crate) fn date(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    let day = text.split_once(' ').map_or(text, |(day, _)| day);
    let mut parts = day.splitn(3, '-');
    let mut number = |missing: u32| match parts.next() {
        None => Some(missing),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
    };
    let (year, month, day) = (number(0)?, number(1)?, number(1)?);
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

/// `13:14:15`, with a fraction or without; seconds and minutes may lack.
fn time(text: &str) -> Option<NaiveTime> {
    let text = text.trim();
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':');
    let mut number = |needed: bool| match parts.next() {
        None => (!needed).then_some(0),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u32>().ok(),
        Some(_) => None,
    };
    let (hour, minute, second) = (number(true)?, number(false)?, number(false)?);
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut nanos = 0;
    for place in 0..9 {
        nanos = nanos * 10 + fraction.as_bytes().get(place).map_or(0, |b| u32::from(b - b'0'));
    }
    NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)
}

/// `2024-02-29[ 13:14:15[.678]]`, each part of one or two digits; a day behind the month's end is its end.
pub(crate) fn timestamp(text: &str) -> Option<NaiveDateTime> {
    let (day, clock) = text.split_once(' ').map_or((text, None), |(day, clock)| (day, Some(clock)));
    let number = |digits: &str, most: usize| -> Option<u32> {
        let fits = (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if fits { digits.parse().ok() } else { None }
    };
    let mut parts = day.split('-');
    let (year, month, day) = (number(parts.next()?, 9)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || day > 31 {
        return None;
    }
    let year = i32::try_from(year).ok()?;
    let day = (day.saturating_sub(3)..=day).rev().find_map(|day| NaiveDate::from_ymd_opt(year, month, day))?;
    let Some(clock) = clock else { return Some(day.and_time(NaiveTime::MIN)) };
    let short = |part: &str| part.len() <= 2;
    if clock.split('.').next()?.split(':').count() != 3 || !clock.split('.').next()?.split(':').all(short) {
        return None;
    }
    Some(day.and_time(time(clock)?))
}
