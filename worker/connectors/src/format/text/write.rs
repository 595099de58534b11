//! Values to texts.

use super::{TextRules, TimeStyle};
use crate::print::java;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// True if [`scalar`] writes values of the type.
pub(crate) const fn is_writable(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::Binary
            | DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Date32
            | DataType::Time32(TimeUnit::Millisecond)
            | DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, _)
    )
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes any text");
}

/// The text of a value that is not NULL, of a type that [`is_writable`] knows.
pub(crate) fn scalar(out: &mut Vec<u8>, column: &dyn Array, row: usize, rules: TextRules) {
    match column.data_type() {
        DataType::Utf8 => out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            let (start, length) = (out.len(), bytes.len().div_ceil(3) * 4);
            out.resize(start + length, 0);
            STANDARD.encode_slice(bytes, &mut out[start..]).expect("four characters for every three bytes");
        }
        DataType::Boolean => put(out, format_args!("{}", column.as_boolean().value(row))),
        DataType::Int8 => put(out, format_args!("{}", column.as_primitive::<Int8Type>().value(row))),
        DataType::Int16 => put(out, format_args!("{}", column.as_primitive::<Int16Type>().value(row))),
        DataType::Int32 => put(out, format_args!("{}", column.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => put(out, format_args!("{}", column.as_primitive::<Int64Type>().value(row))),
        DataType::Float32 => java::float(out, column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => java::double(out, column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            if rules.plain_decimals {
                plain_decimal(out, value, *scale);
            } else {
                java::decimal(out, value, *scale);
            }
        }
        DataType::Date32 => java::date(out, column.as_primitive::<Date32Type>().value(row).into()),
        DataType::Time32(_) => {
            time_of_day(out, i64::from(column.as_primitive::<Time32MillisecondType>().value(row)) * 1000);
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            let millis = column.as_primitive::<TimestampMillisecondType>().value(row);
            point_in_time(
                out,
                millis.div_euclid(86_400_000),
                millis.rem_euclid(86_400_000) * 1000,
                rules,
                zone.is_some(),
            );
        }
        DataType::Timestamp(_, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            point_in_time(
                out,
                micros.div_euclid(MICROS_OF_DAY),
                micros.rem_euclid(MICROS_OF_DAY),
                rules,
                zone.is_some(),
            );
        }
        // The planner gave a type that was checked when the format was made.
        other => unreachable!("a column of type {other} was not refused"),
    }
}

/// Without an exponent.
fn plain_decimal(out: &mut Vec<u8>, unscaled: i128, scale: i8) {
    let (magnitude, scale) = (unscaled.unsigned_abs(), u32::try_from(scale).unwrap_or(0));
    let sign = if unscaled < 0 { "-" } else { "" };
    let one = 10u128.pow(scale);
    if scale == 0 {
        put(out, format_args!("{sign}{magnitude}"));
    } else {
        let width = scale as usize;
        put(out, format_args!("{sign}{}.{:0width$}", magnitude / one, magnitude % one));
    }
}

/// `HH:mm:ss[.fraction]`; the fraction ends with its last digit that is not zero.
fn time_of_day(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros / 1_000_000;
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if micros % 1_000_000 != 0 {
        put(out, format_args!(".{:06}", micros % 1_000_000));
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

fn point_in_time(out: &mut Vec<u8>, days: i64, micros_of_day: i64, rules: TextRules, is_instant: bool) {
    java::date(out, days);
    out.push(if rules.times == TimeStyle::Iso { b'T' } else { b' ' });
    time_of_day(out, micros_of_day);
    if is_instant {
        out.push(b'Z');
    }
}
