//! Values as texts, in the shapes of Flink and Java.

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType,
};
use arrow::temporal_conversions as temporal;
use datafusion_common::{Result, exec_err};
use std::fmt::{Display, LowerExp, Write};
use std::sync::Arc;

/// A column as texts.
pub(super) fn column(array: &ArrayRef) -> Result<ArrayRef> {
    let write = writer(array)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
        } else {
            text.clear();
            write(row, &mut text);
            builder.append_value(&text);
        }
    }
    Ok(Arc::new(builder.finish()))
}

type Writer<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

/// Writes the value of a row that is not NULL.
fn writer(array: &ArrayRef) -> Result<Writer<'_>> {
    macro_rules! plain {
        ($kind:ty) => {{
            let values = array.as_primitive::<$kind>();
            Box::new(move |row, text: &mut String| push(text, values.value(row)))
        }};
    }
    macro_rules! stamp {
        ($kind:ty, $convert:path, $digits:expr) => {{
            let values = array.as_primitive::<$kind>();
            Box::new(move |row, text: &mut String| {
                if let Some(time) = $convert(values.value(row)) {
                    push(text, time.format($digits));
                }
            })
        }};
    }
    Ok(match array.data_type() {
        DataType::Int8 => plain!(Int8Type),
        DataType::Int16 => plain!(Int16Type),
        DataType::Int32 => plain!(Int32Type),
        DataType::Int64 => plain!(Int64Type),
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(|row, text| double(text, values.value(row)))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Box::new(|row, text| double(text, values.value(row)))
        }
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>();
            Box::new(move |row, text| text.push_str(&values.value_as_string(row)))
        }
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |row, text| text.push_str(if values.value(row) { "TRUE" } else { "FALSE" }))
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            Box::new(move |row, text| text.push_str(values.value(row)))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            Box::new(move |row, text| text.push_str(&String::from_utf8_lossy(values.value(row))))
        }
        DataType::Date32 => stamp!(Date32Type, temporal::date32_to_datetime, "%Y-%m-%d"),
        DataType::Time32(TimeUnit::Millisecond) => {
            let values = array.as_primitive::<Time32MillisecondType>();
            Box::new(move |row, text| {
                if let Some(time) = temporal::time32ms_to_time(values.value(row)) {
                    push(text, time.format("%H:%M:%S"));
                }
            })
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            stamp!(TimestampSecondType, temporal::timestamp_s_to_datetime, "%Y-%m-%d %H:%M:%S")
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            stamp!(TimestampMillisecondType, temporal::timestamp_ms_to_datetime, "%Y-%m-%d %H:%M:%S%.3f")
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            stamp!(TimestampMicrosecondType, temporal::timestamp_us_to_datetime, "%Y-%m-%d %H:%M:%S%.6f")
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let write = writer(lists.values())?;
            Box::new(move |row, text| {
                text.push('[');
                let range = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
                for (number, at) in range.enumerate() {
                    text.push_str(if number > 0 { ", " } else { "" });
                    or_null(lists.values(), at, text, &write);
                }
                text.push(']');
            })
        }
        DataType::Struct(_) => {
            let rows = array.as_struct();
            let writers = rows.columns().iter().map(writer).collect::<Result<Vec<_>>>()?;
            Box::new(move |row, text| {
                text.push('(');
                for (number, (column, write)) in rows.columns().iter().zip(&writers).enumerate() {
                    text.push_str(if number > 0 { ", " } else { "" });
                    or_null(column, row, text, write);
                }
                text.push(')');
            })
        }
        other => return exec_err!("no text of {}", streamfleet_logical::type_name(other)),
    })
}

fn or_null(array: &ArrayRef, row: usize, text: &mut String, write: &Writer<'_>) {
    if array.is_null(row) {
        text.push_str("NULL");
    } else {
        write(row, text);
    }
}

fn push(text: &mut String, value: impl Display) {
    write!(text, "{value}").expect("a String takes everything");
}

/// A FLOAT or DOUBLE as Java writes it: `1.0`, `1.0E10`, `NaN`.
pub(in crate::functions) fn double<F: LowerExp + Display + Copy + Into<f64>>(text: &mut String, value: F) {
    let wide: f64 = value.into();
    if wide.is_nan() {
        text.push_str("NaN");
    } else if wide.is_infinite() {
        text.push_str(if wide > 0.0 { "Infinity" } else { "-Infinity" });
    } else if wide == 0.0 || (1e-3..1e7).contains(&wide.abs()) {
        let start = text.len();
        push(text, value);
        if !text[start..].contains('.') {
            text.push_str(".0");
        }
    } else {
        let digits = format!("{value:e}");
        let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
        text.push_str(mantissa);
        if !mantissa.contains('.') {
            text.push_str(".0");
        }
        text.push('E');
        text.push_str(exponent);
    }
}
