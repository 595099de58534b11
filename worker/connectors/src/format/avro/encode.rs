//! Columns to Avro records.

use super::shape::{RecordShape, Shape, Shapes};
use crate::format::message::{MessageBuffer, MessageEncoder};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, SchemaRef, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
};
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// Encodes one record a message.
pub(in crate::format) struct AvroEncoder {
    table: String,
    schema: SchemaRef,
    shapes: Shapes,
}

/// Why a row is no record.
enum Wrong {
    /// The field that would need a NULL and takes none.
    Null(String),
    /// A value that its field does not take.
    Unfit(String),
}

impl AvroEncoder {
    /// For rows of these columns; `shapes` are made to write them.
    pub(super) fn new(table: &str, schema: &SchemaRef, shapes: Shapes) -> Self {
        Self { table: table.to_owned(), schema: SchemaRef::clone(schema), shapes }
    }

    /// Appends a message for every row; each begins with these bytes.
    pub(super) fn encode_behind(
        &mut self,
        head: &[u8],
        rows: &Batch,
        out: &mut MessageBuffer,
    ) -> Result<(), DataflowError> {
        for row in 0..rows.rows() {
            out.bytes.extend_from_slice(head);
            self.put(&mut out.bytes, rows.records().columns(), row)?;
            out.end();
        }
        Ok(())
    }

    /// Appends one row.
    pub(super) fn put(&self, out: &mut Vec<u8>, columns: &[ArrayRef], row: usize) -> Result<(), DataflowError> {
        if let Some(branch) = self.shapes.branch {
            long(out, branch as i64);
        }
        put_record(out, &self.shapes.record, self.schema.fields(), columns, row).map_err(|wrong| match wrong {
            Wrong::Null(column) => DataflowError::Null { operator: self.place(), column },
            Wrong::Unfit(detail) => DataflowError::Record { place: self.place(), detail },
        })
    }

    /// Whose rows they are, for errors.
    pub(super) fn place(&self) -> String {
        format!("table {}", self.table)
    }
}

impl MessageEncoder for AvroEncoder {
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        self.encode_behind(&[], rows, out)
    }
}

pub(super) fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub(super) fn variable(out: &mut Vec<u8>, bytes: &[u8]) {
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

/// A number in so many bytes, the highest first. `None`: it has more.
fn unscaled_in(out: &mut Vec<u8>, value: i128, size: usize) -> Option<()> {
    let bytes = value.to_be_bytes();
    let sign: u8 = if value < 0 { 0xff } else { 0 };
    let spare = bytes.len().saturating_sub(size);
    let is_kept = bytes.get(spare).is_none_or(|first| (first ^ sign) & 0x80 == 0);
    if spare > 0 && (!is_kept || size == 0 || bytes[..spare].iter().any(|byte| *byte != sign)) {
        return None;
    }
    out.extend(std::iter::repeat_n(sign, size.saturating_sub(bytes.len())));
    out.extend_from_slice(&bytes[spare..]);
    Some(())
}

/// The whole number of a column, if it is one of whole numbers.
fn whole(column: &dyn Array, row: usize) -> Option<i64> {
    Some(match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        _ => return None,
    })
}

/// Writes a record.
fn put_record(
    out: &mut Vec<u8>,
    record: &RecordShape,
    fields: &Fields,
    columns: &[ArrayRef],
    row: usize,
) -> Result<(), Wrong> {
    for (column, shape) in &record.fields {
        let column = column.expect("a field without a column is refused before");
        put(out, shape, &fields[column], columns[column].as_ref(), row)?;
    }
    Ok(())
}

/// Writes a value.
fn put(out: &mut Vec<u8>, shape: &Shape, field: &Field, column: &dyn Array, row: usize) -> Result<(), Wrong> {
    let is_null = column.is_null(row);
    let unfit = |what: String| Wrong::Unfit(format!("field {}: {what}", field.name()));
    match (shape, field.data_type()) {
        (Shape::Union(shapes), _) => {
            let branch = shapes.iter().position(|branch| (*branch == Shape::Null) == is_null);
            let branch = branch.ok_or_else(|| Wrong::Null(field.name().clone()))?;
            long(out, branch as i64);
            return put(out, &shapes[branch], field, column, row);
        }
        (Shape::Null, _) => {}
        _ if is_null => return Err(Wrong::Null(field.name().clone())),
        (_, DataType::Boolean) => out.push(u8::from(column.as_boolean().value(row))),
        (_, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            let value = whole(column, row).expect("it is one of these");
            match shape {
                Shape::Float => out.extend((value as f32).to_le_bytes()),
                Shape::Double => out.extend((value as f64).to_le_bytes()),
                _ => long(out, value),
            }
        }
        (Shape::Double, DataType::Float32) => {
            out.extend(f64::from(column.as_primitive::<Float32Type>().value(row)).to_le_bytes());
        }
        (_, DataType::Float32) => out.extend(column.as_primitive::<Float32Type>().value(row).to_le_bytes()),
        (_, DataType::Float64) => out.extend(column.as_primitive::<Float64Type>().value(row).to_le_bytes()),
        (Shape::Symbol(symbols), DataType::Utf8) => {
            let text = column.as_string::<i32>().value(row);
            let place = symbols.iter().position(|symbol| symbol == text);
            let unknown = || unfit(format!("`{text}` is no symbol of the enum: {}", symbols.join(", ")));
            long(out, place.ok_or_else(unknown)? as i64);
        }
        (_, DataType::Utf8) => variable(out, column.as_string::<i32>().value(row).as_bytes()),
        (Shape::Fixed(size), DataType::Binary) => {
            let bytes = column.as_binary::<i32>().value(row);
            if bytes.len() != *size {
                return Err(unfit(format!("{} bytes, where the schema has a fixed of {size}", bytes.len())));
            }
            out.extend_from_slice(bytes);
        }
        (_, DataType::Binary) => variable(out, column.as_binary::<i32>().value(row)),
        (Shape::Decimal { size: Some(size), .. }, DataType::Decimal128(..)) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            unscaled_in(out, value, *size).ok_or_else(|| unfit(format!("a number of more than {size} bytes")))?;
        }
        (_, DataType::Decimal128(..)) => unscaled(out, column.as_primitive::<Decimal128Type>().value(row)),
        (_, DataType::Date32) => long(out, column.as_primitive::<Date32Type>().value(row).into()),
        (_, DataType::Time32(_)) => long(out, column.as_primitive::<Time32MillisecondType>().value(row).into()),
        (_, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            long(out, column.as_primitive::<TimestampMicrosecondType>().value(row));
        }
        (_, DataType::Timestamp(..)) => long(out, column.as_primitive::<TimestampMillisecondType>().value(row)),
        (Shape::Record(record), DataType::Struct(fields)) => {
            put_record(out, record, fields, column.as_struct().columns(), row)?;
        }
        (Shape::Array(items), DataType::List(element)) => {
            let lists = column.as_list::<i32>();
            let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
            if end > start {
                long(out, (end - start).into());
                (start..end).try_for_each(|item| put(out, items, element, lists.values(), item as usize))?;
            }
            long(out, 0);
        }
        (Shape::Map(shape), DataType::Map(..)) => {
            let maps = column.as_map();
            let (start, end) = (maps.value_offsets()[row], maps.value_offsets()[row + 1]);
            let keys = maps.keys().as_string::<i32>();
            let (_, values) = maps.entries_fields();
            if end > start {
                long(out, (end - start).into());
                for item in start..end {
                    variable(out, keys.value(item as usize).as_bytes());
                    put(out, shape, values, maps.values(), item as usize)?;
                }
            }
            long(out, 0);
        }
        (_, other) => unreachable!("columns of type {other} are refused before"),
    }
    Ok(())
}
