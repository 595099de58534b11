//! Columns to JSON lines, as Flink writes them.

use super::Encoder;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::io::Write;
use streamfleet_dataflow::DataflowError;

/// Encodes one object a line, fields in declared order.
pub(super) struct JsonEncoder {
    omit_nulls: bool,
    bytes: Vec<u8>,
}

impl JsonEncoder {
    pub const fn new(omit_nulls: bool) -> Self {
        Self { omit_nulls, bytes: Vec::new() }
    }
}

impl Encoder for JsonEncoder {
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError> {
        let schema = records.schema();
        let names: Vec<String> =
            schema.fields().iter().map(|f| format!("{}:", serde_json::Value::from(f.name().as_str()))).collect();
        for row in 0..records.num_rows() {
            self.bytes.push(b'{');
            let mut is_first = true;
            for (name, column) in names.iter().zip(records.columns()) {
                if self.omit_nulls && column.is_null(row) {
                    continue;
                }
                if !std::mem::take(&mut is_first) {
                    self.bytes.push(b',');
                }
                self.bytes.extend_from_slice(name.as_bytes());
                value(&mut self.bytes, column, row)?;
            }
            self.bytes.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    fn take(&mut self, at_least: usize) -> Vec<u8> {
        if self.bytes.len() >= at_least { std::mem::take(&mut self.bytes) } else { Vec::new() }
    }

    fn finish(&mut self) -> Result<Vec<u8>, DataflowError> {
        Ok(std::mem::take(&mut self.bytes))
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    let is_plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes any text");
}

/// `yyyy-MM-dd HH:mm:ss[.SSS]`, with a `Z` for an instant.
fn time(out: &mut Vec<u8>, micros: i64, is_instant: bool) {
    let Some(time) = arrow::temporal_conversions::timestamp_us_to_datetime(micros) else {
        out.extend_from_slice(b"null");
        return;
    };
    let fraction = micros.rem_euclid(1_000_000);
    let zone = if is_instant { "Z" } else { "" };
    let seconds = time.format("%Y-%m-%d %H:%M:%S");
    match fraction {
        0 => put(out, format_args!("\"{seconds}{zone}\"")),
        f if f % 1000 == 0 => put(out, format_args!("\"{seconds}.{:03}{zone}\"", f / 1000)),
        f => put(out, format_args!("\"{seconds}.{f:06}{zone}\"")),
    }
}

fn value(out: &mut Vec<u8>, column: &ArrayRef, row: usize) -> Result<(), DataflowError> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match column.data_type() {
        DataType::Utf8 => string(out, column.as_string::<i32>().value(row)),
        DataType::Int64 => put(out, format_args!("{}", column.as_primitive::<Int64Type>().value(row))),
        DataType::Int32 => put(out, format_args!("{}", column.as_primitive::<Int32Type>().value(row))),
        DataType::Int16 => put(out, format_args!("{}", column.as_primitive::<Int16Type>().value(row))),
        DataType::Int8 => put(out, format_args!("{}", column.as_primitive::<Int8Type>().value(row))),
        DataType::Boolean => put(out, format_args!("{}", column.as_boolean().value(row))),
        DataType::Float64 => number(out, column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            // The shortest text of the float, not of its double.
            number(out, value.to_string().parse().unwrap_or(f64::from(value)));
        }
        DataType::Decimal128(..) => {
            put(out, format_args!("{}", column.as_primitive::<Decimal128Type>().value_as_string(row)));
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            time(out, column.as_primitive::<TimestampMillisecondType>().value(row) * 1000, zone.is_some());
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            time(out, column.as_primitive::<TimestampMicrosecondType>().value(row), zone.is_some());
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct();
            out.push(b'{');
            for (index, (field, column)) in fields.iter().zip(columns.columns()).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(out, field.name());
                out.push(b':');
                value(out, column, row)?;
            }
            out.push(b'}');
        }
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            out.push(b'[');
            for index in 0..elements.len() {
                if index > 0 {
                    out.push(b',');
                }
                value(out, &elements, index)?;
            }
            out.push(b']');
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let keys = arrow::compute::cast(entries.column(0), &DataType::Utf8)?;
            out.push(b'{');
            for index in 0..entries.len() {
                if index > 0 {
                    out.push(b',');
                }
                string(out, keys.as_string::<i32>().value(index));
                out.push(b':');
                value(out, entries.column(1), index)?;
            }
            out.push(b'}');
        }
        _ => {
            let options = FormatOptions::default();
            let text = ArrayFormatter::try_new(column, &options)?.value(row).to_string();
            string(out, &text);
        }
    }
    Ok(())
}

fn number(out: &mut Vec<u8>, value: f64) {
    match serde_json::Number::from_f64(value) {
        Some(number) => put(out, format_args!("{number}")),
        // JSON has no infinity and no NaN; Flink writes them as texts.
        None if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
        None => out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" }),
    }
}
