//! Comma-separated values.

use super::text::{Misfits, typed};
use super::{BATCH_ROWS, Decoded, Encoder, Layout, RecordDecoder, bad_record};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, StringBuilder};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;

/// Decodes records; quoted fields may hold delimiters and line ends.
pub(super) struct CsvDecoder {
    path: String,
    schema: SchemaRef,
    layout: Layout,
    delimiter: u8,
    null: String,
    skip_header: bool,
    skip_bad: bool,
}

/// A record's fields, end to end, and where it lies.
struct Record {
    offset: u64,
    fields: Vec<String>,
}

impl CsvDecoder {
    pub fn new(path: &str, schema: SchemaRef, layout: Layout, delimiter: u8, null: String) -> Self {
        Self { path: path.to_owned(), schema, layout, delimiter, null, skip_header: false, skip_bad: false }
    }

    /// The first line is left out.
    pub fn skip_header(mut self, skip: bool) -> Self {
        self.skip_header = skip;
        self
    }

    /// Bad records are left out.
    pub fn skip_bad(mut self, skip: bool) -> Self {
        self.skip_bad = skip;
        self
    }

    fn reader(&self) -> Reader {
        ReaderBuilder::new().delimiter(self.delimiter).build()
    }

    /// One record at the start of `bytes`: its fields and length; `None` if it is not complete.
    fn record(&self, bytes: &[u8], at_end: bool) -> Option<(Vec<String>, usize)> {
        let mut reader = self.reader();
        let (mut text, mut ends) = (vec![0; bytes.len().min(1 << 16) + 64], vec![0; 64]);
        let (mut read, mut written, mut ended) = (0, 0, 0);
        loop {
            let input = &bytes[read..];
            let (result, r, w, e) = reader.read_record(input, &mut text[written..], &mut ends[ended..]);
            (read, written, ended) = (read + r, written + w, ended + e);
            match result {
                ReadRecordResult::OutputFull => text.resize(text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
                // Without more input the reader is told so by an empty one.
                ReadRecordResult::InputEmpty if at_end && !input.is_empty() => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return None,
                ReadRecordResult::Record => break,
            }
        }
        let mut start = 0;
        let mut fields = Vec::with_capacity(ended);
        for end in &ends[..ended] {
            fields.push(String::from_utf8_lossy(&text[start..*end]).into_owned());
            start = *end;
        }
        Some((fields, read))
    }

    fn bad(&self, offset: u64, detail: &str) -> DataflowError {
        bad_record(&self.path, offset, detail)
    }

    fn columns(&self, records: &[Record], misfits: &mut Misfits) -> Result<RecordBatch, DataflowError> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (place, field) in self.layout.places.iter().zip(self.schema.fields()) {
            let mut texts = StringBuilder::with_capacity(records.len(), records.len() * 8);
            for record in records {
                let text = &record.fields[*place];
                let is_null = *text == self.null && (*field.data_type() != DataType::Utf8 || !self.null.is_empty());
                texts.append_option((!is_null).then_some(text));
            }
            let texts = Arc::new(texts.finish());
            columns.push(typed(&texts, field.data_type(), |row| {
                let text = texts.value(row);
                misfits.note(row, format!("column {}: `{text}` is no {}", field.name(), field.data_type()));
            })?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl RecordDecoder for CsvDecoder {
    fn decode(&mut self, bytes: &[u8], offset: u64, at_end: bool) -> Result<Decoded, DataflowError> {
        let (mut records, mut consumed, mut skipped) = (Vec::new(), 0, 0);
        while records.len() < BATCH_ROWS {
            let Some((fields, length)) = self.record(&bytes[consumed..], at_end) else { break };
            let at = offset + consumed as u64;
            consumed += length;
            let width = self.layout.width;
            if std::mem::take(&mut self.skip_header) {
                continue;
            }
            if fields.len() < width {
                if !self.skip_bad {
                    return Err(self.bad(at, &format!("{} fields, expected {width}", fields.len())));
                }
                skipped += 1;
                continue;
            }
            records.push(Record { offset: at, fields });
        }
        let mut misfits = Misfits::default();
        let batch = self.columns(&records, &mut misfits)?;
        let batch = match misfits.first() {
            None => batch,
            Some(_) if self.skip_bad => filter_record_batch(&batch, &misfits.mask(records.len()))?,
            Some((row, detail)) => return Err(self.bad(records[row].offset, detail)),
        };
        skipped += misfits.len() as u64;
        Ok(Decoded { records: Some(batch).filter(|b| b.num_rows() > 0), consumed, skipped })
    }
}

/// Encodes rows.
pub(super) struct CsvEncoder {
    delimiter: u8,
    null: String,
    header: bool,
    bytes: Vec<u8>,
}

impl CsvEncoder {
    pub const fn new(delimiter: u8, null: String, header: bool) -> Self {
        Self { delimiter, null, header, bytes: Vec::new() }
    }

    fn field(&mut self, text: &str) {
        let is_special = |b: u8| b == self.delimiter || matches!(b, b'"' | b'\n' | b'\r');
        if text.bytes().any(is_special) {
            self.bytes.push(b'"');
            self.bytes.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            self.bytes.push(b'"');
        } else {
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }
}

impl Encoder for CsvEncoder {
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError> {
        let texts: Vec<ArrayRef> =
            records.columns().iter().map(|c| cast(c, &DataType::Utf8)).collect::<Result<_, _>>()?;
        let texts: Vec<&StringArray> = texts.iter().map(arrow::array::AsArray::as_string::<i32>).collect();
        if std::mem::take(&mut self.header) {
            for (index, field) in records.schema().fields().iter().enumerate() {
                if index > 0 {
                    self.bytes.push(self.delimiter);
                }
                self.field(field.name());
            }
            self.bytes.push(b'\n');
        }
        let null = self.null.clone();
        for row in 0..records.num_rows() {
            for (index, column) in texts.iter().enumerate() {
                if index > 0 {
                    self.bytes.push(self.delimiter);
                }
                self.field(if column.is_null(row) { &null } else { column.value(row) });
            }
            self.bytes.push(b'\n');
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
