//! Delimited text to columns.

use super::fields::{Fields, Found};
use super::{CsvOptions, RULES};
use crate::format::column::{Column, Values};
use crate::format::message::{DecodedMessages, MessageDecoder};
use crate::format::rows::{Fate, Rows};
use crate::format::{BATCH_ROWS, Decoded, Layout, RecordDecoder};
use arrow::datatypes::SchemaRef;
use streamfleet_dataflow::DataflowError;

const UNCLOSED: &str = "a quoted field has no closing quote";
const MALFORMED: &str = "text stands behind the closing quote of a field: a quote within a field is doubled";

/// Decodes records; quoted fields may hold delimiters and line ends.
pub(in crate::format) struct CsvDecoder {
    options: CsvOptions,
    layout: Layout,
    rows: Rows,
    fields: Fields,
    skip_header: bool,
    /// The columns that are read.
    names: Vec<String>,
}

impl CsvDecoder {
    /// `from_start`: the file's first record comes first.
    pub fn new(
        schema: SchemaRef,
        layout: Layout,
        options: &CsvOptions,
        from_start: bool,
    ) -> Result<Self, DataflowError> {
        Ok(Self {
            names: schema.fields().iter().map(|f| f.name().clone()).collect(),
            rows: Rows::new(schema, RULES, options.ignore_parse_errors)?,
            skip_header: options.header && from_start,
            options: options.clone(),
            layout,
            fields: Fields::default(),
        })
    }

    /// Columns are read by position: a header that names others would give wrong values.
    fn check_header(&self) -> Result<(), DataflowError> {
        for (name, place) in self.names.iter().zip(&self.layout.places) {
            let found = String::from_utf8_lossy(self.fields.get(*place).unwrap_or_default());
            let found = found.trim().trim_start_matches('\u{feff}');
            if !found.eq_ignore_ascii_case(name) {
                return Err(DataflowError::Record {
                    place: "the header".to_owned(),
                    detail: format!(
                        "field {} is `{found}`, but the table's column there is `{name}`: declare the columns in the file's order",
                        place + 1
                    ),
                });
            }
        }
        Ok(())
    }

    fn take_record(&mut self, record: &[u8], start: usize, end: usize) {
        let (found, width) = (self.fields.len(), self.layout.fields.len());
        if let Err(error) = std::str::from_utf8(record) {
            let reason = format!("the record is no UTF-8 from its byte {} on", error.valid_up_to() + 1);
            return self.rows.bad(start, end, reason);
        }
        if found > width || found < width && !self.options.ignore_parse_errors {
            return self.rows.bad(start, end, format!("{found} fields, expected {width}"));
        }
        let Rows { columns, fate, .. } = &mut self.rows;
        for (column, place) in columns.iter_mut().zip(&self.layout.places) {
            // Escapes make one character of two, but the rest of a record that is UTF-8 stays so.
            match self.fields.get(*place).and_then(|field| std::str::from_utf8(field).ok()) {
                Some(text) => value(&self.options, fate, column, text),
                None => fate.null(column),
            }
        }
        self.rows.end_row(start, end);
    }
}

impl RecordDecoder for CsvDecoder {
    fn decode(&mut self, bytes: &[u8], at_end: bool) -> Result<Decoded, DataflowError> {
        let mut consumed = 0;
        while self.rows.seen() < BATCH_ROWS && consumed < bytes.len() {
            let start = consumed;
            match self.options.syntax.split(&bytes[start..], at_end, &mut self.fields) {
                Found::Incomplete => break,
                Found::Nothing(length) => consumed += length,
                Found::Unclosed(length) => {
                    consumed += length;
                    self.rows.bad(start, consumed, UNCLOSED.to_owned());
                }
                Found::Malformed(length) => {
                    consumed += length;
                    self.rows.bad(start, consumed, MALFORMED.to_owned());
                }
                Found::Record(length) => {
                    consumed += length;
                    if std::mem::take(&mut self.skip_header) {
                        self.check_header()?;
                    } else {
                        self.take_record(&bytes[start..consumed], start, consumed);
                    }
                }
            }
        }
        self.rows.finish(consumed)
    }
}

impl MessageDecoder for CsvDecoder {
    fn take(&mut self, message: &[u8]) {
        let number = self.rows.seen();
        let reason = match self.options.syntax.split(message, true, &mut self.fields) {
            Found::Record(length) if message[length..].trim_ascii().is_empty() => {
                return self.take_record(&message[..length], number, number);
            }
            Found::Record(_) => "the message holds more than one record",
            Found::Incomplete | Found::Nothing(_) => "the message holds no record",
            Found::Unclosed(_) => UNCLOSED,
            Found::Malformed(_) => MALFORMED,
        };
        self.rows.bad(number, number, reason.to_owned());
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        let taken = self.rows.seen();
        Ok(DecodedMessages::of_rows(self.rows.finish(0)?, taken))
    }
}

fn value(options: &CsvOptions, fate: &mut Fate, column: &mut Column, text: &str) {
    if options.is_null(text, matches!(column.values, Values::Text(_))) {
        return fate.null(column);
    }
    match &mut column.values {
        Values::List(list) => {
            if !text.is_empty() {
                for element in text.split(options.element_delimiter.as_str()) {
                    value(options, fate, &mut list.element, element);
                    list.count();
                }
            }
            list.end();
        }
        Values::Row(row) => {
            let mut texts = text.split(options.element_delimiter.as_str());
            if texts.clone().count() != row.columns.len() {
                return fate.unfit(column, text);
            }
            for column in &mut row.columns {
                value(options, fate, column, texts.next().unwrap_or_default());
            }
            row.end();
        }
        _ => fate.text(column, text),
    }
}
