//! Records on their way into columns: which rows are complete, and which records are not.

use super::column::Column;
use super::text::TextRules;
use super::{BadRecord, Decoded};
use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use std::fmt::Display;
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::type_name;

/// The most characters of a value that an error shows.
const SHOWN_CHARS: usize = 100;

/// What becomes of the fields of the record at hand.
pub(super) struct Fate {
    rules: TextRules,
    /// A field that cannot be read becomes NULL.
    nulls_for_errors: bool,
    /// Why the record is dropped.
    dropped: Option<String>,
    nulled: u64,
}

impl Fate {
    /// The rules for texts.
    pub const fn rules(&self) -> TextRules {
        self.rules
    }

    /// The record cannot be used: the first reason counts.
    pub fn drop_record(&mut self, reason: impl FnOnce() -> String) {
        if self.dropped.is_none() {
            self.dropped = Some(reason());
        }
    }

    /// A value that the column does not take.
    pub fn unfit(&mut self, column: &mut Column, value: impl Display) {
        if self.nulls_for_errors && column.nullable {
            self.nulled += 1;
        } else {
            let (name, data_type) = (&column.name, type_name(column.data_type()));
            self.drop_record(|| format!("field {name}: `{}` is no {data_type}", shortened(value)));
        }
        column.take_filler();
    }

    /// NULL, which not every column takes.
    pub fn null(&mut self, column: &mut Column) {
        if !column.nullable {
            let name = &column.name;
            self.drop_record(|| format!("field {name}: NULL, but it is declared NOT NULL"));
        }
        column.take_filler();
    }

    /// Fields that became NULL so far.
    pub const fn nulled(&self) -> u64 {
        self.nulled
    }

    /// Forgets what became of the record at hand, before which so many fields were NULL.
    pub fn forget(&mut self, nulled: u64) {
        self.dropped = None;
        self.nulled = nulled;
    }

    /// A text as a value.
    pub fn text(&mut self, column: &mut Column, text: &str) {
        if !column.take_text(text, self.rules) {
            self.unfit(column, text);
        }
    }
}

fn shortened(value: impl Display) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS) {
        text.truncate(end);
        text.push_str("..");
    }
    text
}

/// The rows of one call of a decoder.
pub(super) struct Rows {
    schema: SchemaRef,
    pub columns: Vec<Column>,
    pub fate: Fate,
    /// For each row whether it stays.
    kept: Vec<bool>,
    bad: Vec<BadRecord>,
    seen: usize,
}

impl Rows {
    pub fn new(schema: SchemaRef, rules: TextRules, nulls_for_errors: bool) -> Result<Self, DataflowError> {
        let column = |f: &arrow::datatypes::FieldRef| Column::new(f.name(), f.data_type(), f.is_nullable());
        let columns = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
        let fate = Fate { rules, nulls_for_errors, dropped: None, nulled: 0 };
        Ok(Self { schema, columns, fate, kept: Vec::new(), bad: Vec::new(), seen: 0 })
    }

    /// Records seen, good and bad.
    pub const fn seen(&self) -> usize {
        self.seen
    }

    /// A record, at these bytes of the buffer, that is not in the columns and cannot be.
    pub fn bad(&mut self, start: usize, end: usize, reason: String) {
        self.seen += 1;
        self.bad.push(BadRecord { start, end, reason });
    }

    /// Every column has taken the record's value: ends the row.
    pub fn end_row(&mut self, start: usize, end: usize) {
        self.seen += 1;
        let dropped = self.fate.dropped.take();
        self.kept.push(dropped.is_none());
        if let Some(reason) = dropped {
            self.bad.push(BadRecord { start, end, reason });
        }
    }

    /// A record whose row was closed, and stays.
    pub const fn good(&mut self) {
        self.seen += 1;
    }

    /// Every column has taken a value: ends the row without counting a record. `Err`: why the row does not stay.
    pub fn close_row(&mut self) -> Result<(), String> {
        let dropped = self.fate.dropped.take();
        self.kept.push(dropped.is_none());
        dropped.map_or(Ok(()), Err)
    }

    /// Every column has taken some value: ends the row, which does not stay.
    pub fn void_row(&mut self) {
        self.kept.push(false);
    }

    /// Rows so far, also those that do not stay.
    pub const fn rows(&self) -> usize {
        self.kept.len()
    }

    /// Rows from this one on do not stay.
    pub fn leave_out(&mut self, from: usize) {
        self.kept[from..].fill(false);
    }

    /// The rows so far; nothing is left of them here.
    pub fn finish(&mut self, consumed: usize) -> Result<Decoded, DataflowError> {
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        self.seen = 0;
        let kept = std::mem::take(&mut self.kept);
        let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
        let mut batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        if kept.contains(&false) {
            batch = filter_record_batch(&batch, &BooleanArray::from(kept))?;
        }
        Ok(Decoded {
            records: Some(batch).filter(|b| b.num_rows() > 0),
            consumed,
            bad: std::mem::take(&mut self.bad),
            nulled: std::mem::take(&mut self.fate.nulled),
        })
    }
}
