//! One column, whose value is the whole line.

use super::message::{DecodedMessages, MessageBuffer, MessageDecoder, MessageEncoder};
use super::rows::Rows;
use super::text::{self, TextRules, TimeStyle};
use super::{BATCH_ROWS, Decoded, Encoder, RecordDecoder, take_bytes};
use crate::format::column::{Column, Values};
use crate::options::{self, option};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, TableDescriptor, type_name};
use streamfleet_types::Batch;

const RULES: TextRules = TextRules { times: TimeStyle::Sql, plain_decimals: false };

/// The format's options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawOptions {
    is_little_endian: bool,
}

/// What the planner knows of it.
pub(super) fn descriptor() -> FormatDescriptor {
    FormatDescriptor {
        name: "raw",
        changes: false,
        options: vec![
            option("raw.charset", OptionKind::OneOf(&["UTF-8"]), "UTF-8", "How a STRING is written."),
            option(
                "raw.endianness",
                OptionKind::OneOf(&["big-endian", "little-endian"]),
                "big-endian",
                "The order of the bytes of a number.",
            ),
        ],
    }
}

impl RawOptions {
    /// Reads them.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        if table.option("raw.charset").is_some_and(|charset| !charset.eq_ignore_ascii_case("UTF-8")) {
            return Err(options::bad(table, "raw.charset", "only UTF-8 is read and written"));
        }
        match table.option("raw.endianness") {
            None | Some("big-endian") => Ok(Self { is_little_endian: false }),
            Some("little-endian") => Ok(Self { is_little_endian: true }),
            Some(_) => Err(options::bad(table, "raw.endianness", "it is big-endian or little-endian")),
        }
    }
}

/// True if values of the type can be read and written.
pub(super) const fn has_type(data_type: &DataType) -> bool {
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
    )
}

/// Refuses a table of several columns.
pub(super) fn check_width(table: &str, fields: &[Field]) -> Result<(), DataflowError> {
    if fields.len() == 1 {
        return Ok(());
    }
    Err(DataflowError::Unsupported {
        operator: format!("table {table}"),
        detail: format!("{} columns in format 'raw', which holds exactly one", fields.len()),
    })
}

/// Decodes one value a line.
pub(super) struct RawDecoder {
    rows: Rows,
    options: RawOptions,
}

impl RawDecoder {
    pub fn new(schema: SchemaRef, options: RawOptions) -> Result<Self, DataflowError> {
        Ok(Self { rows: Rows::new(schema, RULES, false)?, options })
    }

    fn take_line(&mut self, line: &[u8], start: usize, end: usize) {
        let Rows { columns, fate, .. } = &mut self.rows;
        // No column is wanted if only the number of rows is.
        if let Some(column) = columns.first_mut()
            && !take_bytes_as_value(column, line, self.options.is_little_endian)
        {
            let (name, data_type, length) = (column.name.clone(), type_name(column.data_type()), line.len());
            fate.drop_record(|| format!("column {name}: {length} bytes that are no {data_type}"));
            column.take_filler();
        }
        self.rows.end_row(start, end);
    }
}

/// Puts the bytes of a number into big-endian order.
fn ordered<const N: usize>(bytes: &[u8], is_little_endian: bool) -> Option<[u8; N]> {
    let mut bytes: [u8; N] = bytes.try_into().ok()?;
    if is_little_endian {
        bytes.reverse();
    }
    Some(bytes)
}

fn take_bytes_as_value(column: &mut Column, bytes: &[u8], is_little_endian: bool) -> bool {
    let value = match &mut column.values {
        Values::Text(b) => std::str::from_utf8(bytes).ok().map(|v| b.append_value(v)),
        Values::Bytes(b, _) => {
            b.append_value(bytes);
            Some(())
        }
        Values::Boolean(b) => ordered(bytes, false).map(|[byte]: [u8; 1]| b.append_value(byte != 0)),
        Values::Int8(b) => ordered(bytes, is_little_endian).map(|v| b.append_value(i8::from_be_bytes(v))),
        Values::Int16(b) => ordered(bytes, is_little_endian).map(|v| b.append_value(i16::from_be_bytes(v))),
        Values::Int32(b) => ordered(bytes, is_little_endian).map(|v| b.append_value(i32::from_be_bytes(v))),
        Values::Int64(b) => ordered(bytes, is_little_endian).map(|v| b.append_value(i64::from_be_bytes(v))),
        Values::Float32(b) => ordered(bytes, is_little_endian).map(|v| b.append_value(f32::from_be_bytes(v))),
        Values::Float64(b) => ordered(bytes, is_little_endian).map(|v| b.append_value(f64::from_be_bytes(v))),
        _ => None,
    };
    value.is_some()
}

impl RecordDecoder for RawDecoder {
    fn decode(&mut self, bytes: &[u8], at_end: bool) -> Result<Decoded, DataflowError> {
        let mut consumed = 0;
        while self.rows.seen() < BATCH_ROWS && consumed < bytes.len() {
            let rest = &bytes[consumed..];
            let (line, length) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..end], end + 1),
                None if at_end => (rest, rest.len()),
                None => break,
            };
            self.take_line(line.strip_suffix(b"\r").unwrap_or(line), consumed, consumed + length);
            consumed += length;
        }
        self.rows.finish(consumed)
    }
}

impl MessageDecoder for RawDecoder {
    fn take(&mut self, message: &[u8]) {
        let number = self.rows.seen();
        self.take_line(message, number, number);
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        let taken = self.rows.seen();
        Ok(DecodedMessages::of_rows(self.rows.finish(0)?, taken))
    }
}

/// Encodes one value a line, or a message.
pub(super) struct RawEncoder {
    table: String,
    options: RawOptions,
    bytes: Vec<u8>,
}

impl RawEncoder {
    pub fn new(table: &str, options: RawOptions) -> Self {
        Self { table: table.to_owned(), options, bytes: Vec::new() }
    }

    fn add(&mut self, column: &dyn Array, row: usize) {
        match column.data_type() {
            DataType::Binary => self.bytes.extend_from_slice(column.as_binary::<i32>().value(row)),
            DataType::Boolean => self.bytes.push(u8::from(column.as_boolean().value(row))),
            DataType::Int8 => self.number(&column.as_primitive::<Int8Type>().value(row).to_be_bytes()),
            DataType::Int16 => self.number(&column.as_primitive::<Int16Type>().value(row).to_be_bytes()),
            DataType::Int32 => self.number(&column.as_primitive::<Int32Type>().value(row).to_be_bytes()),
            DataType::Int64 => self.number(&column.as_primitive::<Int64Type>().value(row).to_be_bytes()),
            DataType::Float32 => self.number(&column.as_primitive::<Float32Type>().value(row).to_be_bytes()),
            DataType::Float64 => self.number(&column.as_primitive::<Float64Type>().value(row).to_be_bytes()),
            _ => text::scalar(&mut self.bytes, column, row, RULES),
        }
    }

    fn failed(&self, records: &RecordBatch, what: &str) -> DataflowError {
        DataflowError::Record {
            place: format!("table {}, column {}", self.table, records.schema().field(0).name()),
            detail: format!("{what}: format 'raw' writes one value a line ('json' and 'csv' write any value)"),
        }
    }

    fn number(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.options.is_little_endian {
            let start = self.bytes.len() - bytes.len();
            self.bytes[start..].reverse();
        }
    }
}

impl MessageEncoder for RawEncoder {
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        let column = rows.column(0);
        if column.null_count() > 0 {
            return Err(self.failed(rows.records(), "NULL has no bytes"));
        }
        for row in 0..rows.rows() {
            self.add(column, row);
            out.bytes.append(&mut self.bytes);
            out.end();
        }
        Ok(())
    }
}

impl Encoder for RawEncoder {
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError> {
        let column = records.column(0);
        if column.null_count() > 0 {
            return Err(self.failed(records, "NULL has no bytes"));
        }
        for row in 0..records.num_rows() {
            let start = self.bytes.len();
            self.add(column, row);
            let value = &self.bytes[start..];
            if value.contains(&b'\n') || value.ends_with(b"\r") {
                return Err(self.failed(records, "a value holds the bytes of a line's end"));
            }
            self.bytes.push(b'\n');
        }
        Ok(())
    }

    fn take(&mut self, at_least: usize) -> Result<Vec<u8>, DataflowError> {
        Ok(take_bytes(&mut self.bytes, at_least))
    }

    fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn finish(&mut self) -> Result<Vec<u8>, DataflowError> {
        Ok(std::mem::take(&mut self.bytes))
    }
}
