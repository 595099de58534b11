//! Reads files, each from its beginning to its end, in the order of their paths.
//!
//! One split per file. Bytes come from storage in chunks, ahead of what is decoded on the slot. A position is the offset of
//! the next record, or row group and row of a parquet file.

use super::mailbox::Mailbox;
use super::path_of;
use crate::format::{Decoded, Format, ParquetFile, RecordDecoder};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde_json::{Value, json};
use std::sync::Arc;
use streamfleet_dataflow::{DataflowError, Source, SourceBatch, SourceContext, SourceStatus, SplitState};
use streamfleet_env::{StorageError, StorageReply, StorageRequest};
use streamfleet_logical::{ColumnKind, ScanSpec};
use streamfleet_types::Batch;

/// Bytes asked for at a time.
const CHUNK_BYTES: u64 = 1 << 20;

const LISTING: u64 = 0;

/// A file.
#[derive(Debug, Clone)]
struct Split {
    path: String,
    size: Option<u64>,
    position: Value,
    finished: bool,
}

/// The file that is read now.
enum Reading {
    /// Records end to end.
    Records {
        decoder: Box<dyn RecordDecoder>,
        /// Bytes from `offset` on that are not decoded yet.
        buffer: Vec<u8>,
        offset: u64,
        asked_to: u64,
        at_end: bool,
        is_asking: bool,
    },
    Parquet {
        file: Box<ParquetFile>,
        is_asking: bool,
    },
}

/// See the module.
pub(super) struct FileSource {
    table: String,
    root: String,
    format: Format,
    schema: SchemaRef,
    /// Where each column of the schema comes from: the record, or what is known of the file.
    metadata: Vec<Option<String>>,
    context: SourceContext,
    mailbox: Mailbox,
    splits: Vec<Split>,
    known: bool,
    current: Option<(usize, Reading)>,
    /// Tells the answers of the file at hand from older ones.
    tag: u64,
    skipped: u64,
    chunk_bytes: u64,
}

impl FileSource {
    pub fn new(spec: &ScanSpec, context: SourceContext) -> Result<Self, DataflowError> {
        let table = &spec.table;
        let mut fields = Vec::new();
        let mut metadata = Vec::new();
        for column in spec.read.iter().map(|c| &table.columns[*c]) {
            metadata.push(match &column.kind {
                ColumnKind::Metadata { key, .. } => Some(key.clone()),
                _ => None,
            });
            fields.push(Field::new(&column.name, column.data_type.clone(), true));
        }
        Ok(Self {
            table: table.name.clone(),
            root: path_of(table)?,
            format: Format::of(table)?,
            schema: Arc::new(Schema::new(fields)),
            metadata,
            mailbox: Mailbox::new(Arc::clone(&context.files), Arc::clone(&context.waker)),
            context,
            splits: Vec::new(),
            known: false,
            current: None,
            tag: LISTING,
            skipped: 0,
            chunk_bytes: CHUNK_BYTES,
        })
    }

    /// Smaller chunks, to see records cut by their borders.
    #[cfg(test)]
    pub fn with_chunk_bytes(mut self, chunk_bytes: u64) -> Self {
        self.chunk_bytes = chunk_bytes;
        self
    }

    fn external(&self, error: &StorageError) -> DataflowError {
        DataflowError::External { place: format!("table {}", self.table), detail: error.to_string() }
    }

    fn on_listed(&mut self, paths: Vec<(String, u64)>) -> Result<(), DataflowError> {
        let is_hidden = |path: &str| {
            let below = path.strip_prefix(&self.root).unwrap_or(path);
            below.split('/').any(|part| part.starts_with('.') || part.starts_with('_'))
        };
        let files: Vec<(String, u64)> = paths.into_iter().filter(|(p, _)| p == &self.root || !is_hidden(p)).collect();
        if files.is_empty() {
            return Err(DataflowError::External {
                place: format!("table {}", self.table),
                detail: format!(
                    "there is no file at {}: check the option 'path' (a relative path begins at the folder that the job is started in)",
                    self.root
                ),
            });
        }
        if self.known {
            // Restored: only the sizes were missing.
            for split in &mut self.splits {
                split.size = files.iter().find(|(p, _)| *p == split.path).map(|(_, size)| *size);
            }
        } else {
            let (subtask, parallelism) = (self.context.subtask as usize, self.context.parallelism as usize);
            let mine = files.into_iter().enumerate().filter(|(index, _)| index % parallelism == subtask);
            self.splits = mine
                .map(|(_, (path, size))| Split { path, size: Some(size), position: Value::Null, finished: false })
                .collect();
            self.known = true;
        }
        Ok(())
    }

    /// Begins the next file; `None` if there is none left.
    fn open(&mut self) -> Result<Option<SourceStatus>, DataflowError> {
        let Some(index) = self.splits.iter().position(|s| !s.finished) else {
            return Ok(Some(SourceStatus::Ended));
        };
        let split = &self.splits[index];
        let Some(size) = split.size else {
            let detail = format!("the file {} is gone that the checkpoint stopped in", split.path);
            return Err(DataflowError::External { place: format!("table {}", self.table), detail });
        };
        let record_fields: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .zip(&self.metadata)
            .filter(|(_, m)| m.is_none())
            .map(|(f, _)| f.as_ref().clone())
            .collect();
        let record_schema = Arc::new(Schema::new(record_fields));
        self.tag += 1;
        let reading = match &self.format {
            Format::Parquet => {
                let position = (split.position["rowGroup"].as_u64(), split.position["row"].as_u64());
                let file = ParquetFile::new(split.path.clone(), size, record_schema, position);
                Reading::Parquet { file: Box::new(file), is_asking: false }
            }
            format => {
                let offset = split.position["offset"].as_u64().unwrap_or(0);
                let decoder = format.decoder(&split.path, record_schema, offset == 0);
                Reading::Records {
                    decoder,
                    buffer: Vec::new(),
                    offset,
                    asked_to: offset,
                    at_end: offset >= size,
                    is_asking: false,
                }
            }
        };
        self.current = Some((index, reading));
        Ok(None)
    }

    fn on_answer(&mut self, tag: u64, result: Result<StorageReply, StorageError>) -> Result<(), DataflowError> {
        let reply = result.map_err(|e| self.external(&e))?;
        match reply {
            StorageReply::Paths(paths) => self.on_listed(paths)?,
            StorageReply::Bytes(bytes) if tag == self.tag => match &mut self.current {
                Some((_, Reading::Parquet { file, is_asking })) => {
                    *is_asking = false;
                    file.on_bytes(bytes)?;
                }
                Some((index, Reading::Records { buffer, asked_to, at_end, is_asking, .. })) => {
                    *is_asking = false;
                    *asked_to += bytes.len() as u64;
                    let size = self.splits[*index].size.unwrap_or(0);
                    *at_end = *asked_to >= size || bytes.is_empty();
                    buffer.extend_from_slice(&bytes);
                }
                None => {}
            },
            StorageReply::Bytes(_) | StorageReply::Done => {}
        }
        Ok(())
    }

    fn finish(&mut self, index: usize) -> SourceStatus {
        self.splits[index].finished = true;
        self.current = None;
        SourceStatus::SplitEnded(index)
    }

    /// The columns of the schema: the record's, and what is known of the file.
    fn complete(&self, index: usize, records: RecordBatch) -> Result<RecordBatch, DataflowError> {
        if self.metadata.iter().all(Option::is_none) {
            return Ok(RecordBatch::try_new(Arc::clone(&self.schema), records.columns().to_vec())?);
        }
        let (split, rows) = (&self.splits[index], records.num_rows());
        let mut given = records.columns().iter();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for metadata in &self.metadata {
            let text = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
            columns.push(match metadata.as_deref() {
                None => Arc::clone(given.next().expect("a column per field of the record")),
                Some("file.path") => text(&split.path),
                Some("file.name") => text(split.path.rsplit('/').next().unwrap_or_default()),
                Some(_) => Arc::new(Int64Array::from(vec![split.size.unwrap_or(0) as i64; rows])),
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn read(&mut self) -> Result<SourceStatus, DataflowError> {
        let Some((index, mut reading)) = self.current.take() else { return Ok(SourceStatus::Waiting(None)) };
        let outcome = self.read_from(index, &mut reading)?;
        match outcome {
            Outcome::Rows(records) => {
                self.current = Some((index, reading));
                let batch = Batch::inserts(self.complete(index, records)?);
                Ok(SourceStatus::Rows(SourceBatch { split: index, batch }))
            }
            Outcome::Wait => {
                self.current = Some((index, reading));
                Ok(SourceStatus::Waiting(None))
            }
            Outcome::End => Ok(self.finish(index)),
        }
    }

    fn read_from(&mut self, index: usize, reading: &mut Reading) -> Result<Outcome, DataflowError> {
        let path = self.splits[index].path.clone();
        match reading {
            Reading::Parquet { file, is_asking } => {
                if let Some(records) = file.next_batch()? {
                    let (group, row) = file.position();
                    self.splits[index].position = json!({"rowGroup": group, "row": row});
                    return Ok(Outcome::Rows(records));
                }
                if *is_asking {
                    return Ok(Outcome::Wait);
                }
                match file.wanted()? {
                    None => Ok(Outcome::End),
                    Some(range) => {
                        *is_asking = true;
                        self.mailbox.ask(self.tag, StorageRequest::Get { path, range: Some(range) });
                        Ok(Outcome::Wait)
                    }
                }
            }
            Reading::Records { decoder, buffer, offset, asked_to, at_end, is_asking } => {
                let Decoded { records, consumed, skipped } = decoder.decode(buffer, *offset, *at_end)?;
                self.skipped += skipped;
                buffer.drain(..consumed);
                *offset += consumed as u64;
                // One chunk is asked for ahead of what is being decoded; a record may be longer than a chunk.
                if !*at_end && !*is_asking && (records.is_none() || (buffer.len() as u64) < self.chunk_bytes) {
                    *is_asking = true;
                    let range = Some((*asked_to, self.chunk_bytes));
                    self.mailbox.ask(self.tag, StorageRequest::Get { path, range });
                }
                match records {
                    Some(records) => {
                        self.splits[index].position = json!({"offset": *offset});
                        Ok(Outcome::Rows(records))
                    }
                    None if *at_end => Ok(Outcome::End),
                    None => Ok(Outcome::Wait),
                }
            }
        }
    }
}

enum Outcome {
    Rows(RecordBatch),
    Wait,
    End,
}

impl Source for FileSource {
    fn start(&mut self) -> Result<(), DataflowError> {
        self.mailbox.ask(LISTING, StorageRequest::List { prefix: self.root.clone() });
        Ok(())
    }

    fn restore(&mut self, splits: Vec<SplitState>) -> Result<(), DataflowError> {
        self.splits = splits
            .into_iter()
            .map(|s| Split { path: s.name, size: None, position: s.position, finished: s.finished })
            .collect();
        self.known = true;
        self.start()
    }

    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        while let Some((tag, result)) = self.mailbox.next() {
            self.on_answer(tag, result)?;
        }
        let sizes_known = self.splits.iter().any(|s| s.size.is_some()) || self.splits.iter().all(|s| s.finished);
        if !self.known || !sizes_known {
            return Ok(SourceStatus::Waiting(None));
        }
        if self.current.is_none()
            && let Some(status) = self.open()?
        {
            return Ok(status);
        }
        self.read()
    }

    fn splits(&self) -> Vec<SplitState> {
        let state = |s: &Split| SplitState { name: s.path.clone(), position: s.position.clone(), finished: s.finished };
        self.splits.iter().map(state).collect()
    }

    fn splits_known(&self) -> bool {
        self.known
    }

    fn reads_in_order(&self) -> bool {
        true
    }

    fn skipped_records(&self) -> u64 {
        self.skipped
    }
}
