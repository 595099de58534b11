//! Columns to Avro records.

use crate::format::message::{MessageBuffer, MessageEncoder};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    SchemaRef, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
};
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// Encodes one record a message.
pub(in crate::format) struct AvroEncoder {
    table: String,
    schema: SchemaRef,
}

impl AvroEncoder {
    pub fn new(table: &str, schema: &SchemaRef) -> Self {
        Self { table: table.to_owned(), schema: SchemaRef::clone(schema) }
    }
}

impl MessageEncoder for AvroEncoder {
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        for row in 0..rows.rows() {
            for (field, column) in self.schema.fields().iter().zip(rows.records().columns()) {
                value(&mut out.bytes, field, column, row)
                    .map_err(|column| DataflowError::Null { operator: format!("table {}", self.table), column })?;
            }
            out.end();
        }
        Ok(())
    }
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn variable(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// A number in the fewest bytes, the highest first.
fn unscaled(out: &mut Vec<u8>, value: i128) {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let is_spare = |at: &usize| bytes[*at] == sign && (bytes[*at + 1] ^ sign) & 0x80 == 0;
    let start = (0..15).take_while(is_spare).count();
    variable(out, &bytes[start..]);
}

/// Writes a value. `Err`: the field that would need a NULL and takes none.
fn value(out: &mut Vec<u8>, field: &Field, column: &dyn Array, row: usize) -> Result<(), String> {
    match (column.is_null(row), field.is_nullable()) {
        (true, true) => {
            long(out, 0);
            return Ok(());
        }
        (true, false) => return Err(field.name().clone()),
        (false, true) => long(out, 1),
        (false, false) => {}
    }
    match field.data_type() {
        DataType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
        DataType::Int8 => long(out, column.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => long(out, column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => long(out, column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => long(out, column.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => out.extend(column.as_primitive::<Float32Type>().value(row).to_le_bytes()),
        DataType::Float64 => out.extend(column.as_primitive::<Float64Type>().value(row).to_le_bytes()),
        DataType::Utf8 => variable(out, column.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => variable(out, column.as_binary::<i32>().value(row)),
        DataType::Decimal128(..) => unscaled(out, column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Date32 => long(out, column.as_primitive::<Date32Type>().value(row).into()),
        DataType::Time32(_) => long(out, column.as_primitive::<Time32MillisecondType>().value(row).into()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            long(out, column.as_primitive::<TimestampMicrosecondType>().value(row));
        }
        DataType::Timestamp(..) => long(out, column.as_primitive::<TimestampMillisecondType>().value(row)),
        DataType::Struct(fields) => {
            for (field, column) in fields.iter().zip(column.as_struct().columns()) {
                value(out, field, column, row)?;
            }
        }
        DataType::List(element) => {
            let lists = column.as_list::<i32>();
            let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
            if end > start {
                long(out, (end - start).into());
                (start..end).try_for_each(|item| value(out, element, lists.values(), item as usize))?;
            }
            long(out, 0);
        }
        DataType::Map(..) => {
            let maps = column.as_map();
            let (start, end) = (maps.value_offsets()[row], maps.value_offsets()[row + 1]);
            let keys = maps.keys().as_string::<i32>();
            let (_, values) = maps.entries_fields();
            if end > start {
                long(out, (end - start).into());
                for item in start..end {
                    variable(out, keys.value(item as usize).as_bytes());
                    value(out, values, maps.values(), item as usize)?;
                }
            }
            long(out, 0);
        }
        other => unreachable!("columns of type {other} are refused before"),
    }
    Ok(())
}
