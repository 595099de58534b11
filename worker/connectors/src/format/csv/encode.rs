//! Columns to delimited text.

use super::{CsvOptions, RULES};
use crate::format::message::{MessageBuffer, MessageEncoder};
use crate::format::{Encoder, take_bytes, text};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use streamfleet_dataflow::DataflowError;
use streamfleet_types::Batch;

/// Encodes rows.
pub(in crate::format) struct CsvEncoder {
    table: String,
    options: CsvOptions,
    needs_header: bool,
    bytes: Vec<u8>,
    /// The text of the field at hand.
    field: Vec<u8>,
    /// An element of the field holds the delimiter of elements.
    is_ambiguous: bool,
}

impl CsvEncoder {
    pub fn new(table: &str, options: &CsvOptions) -> Self {
        Self {
            table: table.to_owned(),
            needs_header: options.header,
            options: options.clone(),
            bytes: Vec::new(),
            field: Vec::new(),
            is_ambiguous: false,
        }
    }

    /// Ends the field at hand, whose text is collected. False if nothing can keep its characters from being taken for others.
    fn end_field(&mut self, is_alone: bool) -> bool {
        let syntax = self.options.syntax;
        let has_meaning = |b: u8| {
            b == syntax.delimiter || Some(b) == syntax.quote || Some(b) == syntax.escape || matches!(b, b'\n' | b'\r')
        };
        let is_comment = syntax.comments && self.field.first() == Some(&b'#');
        // An empty line is no record.
        let is_empty_line = is_alone && self.field.is_empty();
        if !is_comment && !is_empty_line && !self.field.iter().any(|b| has_meaning(*b)) {
            self.bytes.extend_from_slice(&self.field);
            return true;
        }
        match (syntax.quote, syntax.escape) {
            (Some(quote), escape) => {
                self.bytes.push(quote);
                for byte in &self.field {
                    if *byte == quote || Some(*byte) == escape {
                        self.bytes.push(escape.unwrap_or(quote));
                    }
                    self.bytes.push(*byte);
                }
                self.bytes.push(quote);
                true
            }
            (None, Some(escape)) if !is_empty_line => {
                for (index, byte) in self.field.iter().enumerate() {
                    let (needs_escape, letter) = match byte {
                        b'\n' => (true, b'n'),
                        b'\r' => (true, b'r'),
                        b => (has_meaning(*b) || is_comment && index == 0, *b),
                    };
                    if needs_escape {
                        self.bytes.push(escape);
                    }
                    self.bytes.push(letter);
                }
                true
            }
            _ => false,
        }
    }

    fn end_cell(&mut self, name: &str, is_alone: bool) -> Result<(), DataflowError> {
        if self.is_ambiguous {
            return Err(DataflowError::Record {
                place: format!("table {}, column {name}", self.table),
                detail: format!(
                    "an element of `{}` holds the delimiter of elements: choose another 'csv.array-element-delimiter'",
                    String::from_utf8_lossy(&self.field)
                ),
            });
        }
        if self.end_field(is_alone) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.field);
        Err(DataflowError::Record {
            place: format!("table {}, column {name}", self.table),
            detail: format!(
                "`{text}` cannot be written without quotes: leave 'csv.disable-quote-character' out, or set \
                 'csv.escape-character' and, for empty lines, 'csv.null-literal'"
            ),
        })
    }

    /// Adds a value's text to the field at hand.
    fn add(&mut self, column: &dyn Array, row: usize) {
        if column.is_null(row) {
            self.field.extend_from_slice(self.options.null_literal.as_deref().unwrap_or_default().as_bytes());
            return;
        }
        match column.data_type() {
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                let (start, end) = (lists.value_offsets()[row] as usize, lists.value_offsets()[row + 1] as usize);
                for index in start..end {
                    self.separate(index > start);
                    self.add_element(lists.values(), index);
                }
            }
            DataType::Struct(_) => {
                for (index, column) in column.as_struct().columns().iter().enumerate() {
                    self.separate(index > 0);
                    self.add_element(column, row);
                }
            }
            _ => text::scalar(&mut self.field, column, row, RULES),
        }
    }

    fn add_element(&mut self, column: &dyn Array, row: usize) {
        let start = self.field.len();
        self.add(column, row);
        let delimiter = self.options.element_delimiter.as_bytes();
        self.is_ambiguous |= self.field[start..].windows(delimiter.len()).any(|part| part == delimiter);
    }

    fn separate(&mut self, is_needed: bool) {
        if is_needed {
            self.field.extend_from_slice(self.options.element_delimiter.as_bytes());
        }
    }
}

impl CsvEncoder {
    /// Writes one row, without the end of the line.
    fn record(&mut self, records: &RecordBatch, row: usize) -> Result<(), DataflowError> {
        let is_alone = records.num_columns() == 1;
        for (index, (column, field)) in records.columns().iter().zip(records.schema_ref().fields()).enumerate() {
            if index > 0 {
                self.bytes.push(self.options.syntax.delimiter);
            }
            self.field.clear();
            self.add(column, row);
            self.end_cell(field.name(), is_alone)?;
        }
        Ok(())
    }
}

impl MessageEncoder for CsvEncoder {
    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        for row in 0..rows.rows() {
            self.record(rows.records(), row)?;
            out.bytes.append(&mut self.bytes);
            out.end();
        }
        Ok(())
    }
}

impl Encoder for CsvEncoder {
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError> {
        let (schema, is_alone) = (records.schema(), records.num_columns() == 1);
        if std::mem::take(&mut self.needs_header) {
            for (index, field) in schema.fields().iter().enumerate() {
                if index > 0 {
                    self.bytes.push(self.options.syntax.delimiter);
                }
                self.field.clear();
                self.field.extend_from_slice(field.name().as_bytes());
                self.end_cell(field.name(), is_alone)?;
            }
            self.bytes.push(b'\n');
        }
        for row in 0..records.num_rows() {
            self.record(records, row)?;
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
