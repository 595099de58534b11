//! Columns to JSON lines, as Flink writes them.

use super::JsonOptions;
use crate::format::message::{MessageBuffer, MessageEncoder};
use crate::format::text::{self, TextRules};
use crate::format::{Encoder, take_bytes};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// Encodes one object a line or a message, fields in declared order.
pub(in crate::format) struct JsonEncoder {
    omit_nulls: bool,
    writer: Writer,
    bytes: Vec<u8>,
}

impl JsonEncoder {
    pub const fn new(options: &JsonOptions) -> Self {
        let writer = Writer { rules: options.rules(), scratch: Vec::new() };
        Self { omit_nulls: options.omit_nulls, writer, bytes: Vec::new() }
    }
}

/// The columns' names as they are written, with the colon.
pub(super) fn written_names(records: &RecordBatch) -> Vec<Vec<u8>> {
    let name = |f: &std::sync::Arc<Field>| {
        let mut name = Vec::new();
        string(&mut name, f.name());
        name.push(b':');
        name
    };
    records.schema().fields().iter().map(name).collect()
}

impl JsonEncoder {
    /// Writes a row as an object.
    pub(super) fn object(&mut self, bytes: &mut Vec<u8>, names: &[Vec<u8>], records: &RecordBatch, row: usize) {
        bytes.push(b'{');
        let mut is_first = true;
        for (name, column) in names.iter().zip(records.columns()) {
            if self.omit_nulls && column.is_null(row) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                bytes.push(b',');
            }
            bytes.extend_from_slice(name);
            self.writer.value(bytes, column, row);
        }
        bytes.push(b'}');
    }

    /// Writes an object for every row; `end` is called behind each.
    fn objects<T>(&mut self, records: &RecordBatch, out: &mut T, mut end: impl FnMut(&mut T))
    where
        T: AsMut<Vec<u8>>,
    {
        let names = written_names(records);
        for row in 0..records.num_rows() {
            self.object(out.as_mut(), &names, records, row);
            end(out);
        }
    }
}

impl MessageEncoder for JsonEncoder {
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        self.objects(rows.records(), out, MessageBuffer::end);
        Ok(())
    }
}

impl Encoder for JsonEncoder {
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.objects(records, &mut bytes, |bytes| bytes.push(b'\n'));
        self.bytes = bytes;
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

/// Writes values.
struct Writer {
    rules: TextRules,
    /// The text of a map's key.
    scratch: Vec<u8>,
}

impl Writer {
    fn value(&mut self, out: &mut Vec<u8>, column: &dyn Array, row: usize) {
        if column.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match column.data_type() {
            DataType::Utf8 => string(out, column.as_string::<i32>().value(row)),
            // JSON has no infinity and no NaN; Flink writes them as texts.
            DataType::Float64 => {
                self.number(out, column, row, column.as_primitive::<Float64Type>().value(row).is_finite())
            }
            DataType::Float32 => {
                self.number(out, column, row, column.as_primitive::<Float32Type>().value(row).is_finite())
            }
            DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Decimal128(..) => self.number(out, column, row, true),
            DataType::Struct(fields) => {
                let columns = column.as_struct();
                out.push(b'{');
                for (index, (field, column)) in fields.iter().zip(columns.columns()).enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    string(out, field.name());
                    out.push(b':');
                    self.value(out, column, row);
                }
                out.push(b'}');
            }
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                let (start, end) = (lists.value_offsets()[row] as usize, lists.value_offsets()[row + 1] as usize);
                out.push(b'[');
                for index in start..end {
                    if index > start {
                        out.push(b',');
                    }
                    self.value(out, lists.values(), index);
                }
                out.push(b']');
            }
            DataType::Map(..) => {
                let maps = column.as_map();
                let (start, end) = (maps.value_offsets()[row] as usize, maps.value_offsets()[row + 1] as usize);
                out.push(b'{');
                for index in start..end {
                    if index > start {
                        out.push(b',');
                    }
                    self.scratch.clear();
                    text::scalar(&mut self.scratch, maps.keys(), index, self.rules);
                    string(out, std::str::from_utf8(&self.scratch).expect("values have texts"));
                    out.push(b':');
                    self.value(out, maps.values(), index);
                }
                out.push(b'}');
            }
            // Their texts need no escapes.
            _ => self.number(out, column, row, false),
        }
    }

    fn number(&self, out: &mut Vec<u8>, column: &dyn Array, row: usize, is_plain: bool) {
        if !is_plain {
            out.push(b'"');
        }
        text::scalar(out, column, row, self.rules);
        if !is_plain {
            out.push(b'"');
        }
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    let is_plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a vector takes any text");
    }
}
