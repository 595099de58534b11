//! Reads files, each from its beginning to its end, in the order of their paths.
//!
//! One split per file. Bytes come from storage in chunks, ahead of what is decoded on the slot. A position is the offset of
//! the next record, or row group and row of a parquet file.

use super::mailbox::Mailbox;
use super::path_of;
use crate::format::{Decoded, Format, Layout, ParquetFile, RecordDecoder};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde_json::{Value, json};
use std::sync::Arc;
use streamfleet_dataflow::{DataflowError, Source, SourceBatch, SourceContext, SourceStatus, SplitState};
use streamfleet_env::{StorageError, StorageReply, StorageRequest};
use streamfleet_logical::{Column, ColumnKind, ScanSpec};
use streamfleet_types::Batch;
use streamfleet_types::hash::hash_bytes;

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
        /// Bytes of the buffer that are used up; they are dropped when more come.
        used: usize,
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
    /// The schema's columns that the records hold, and where in a record each of them lies.
    record_schema: SchemaRef,
    layout: Layout,
    /// Where each column of the schema comes from: the record, or what is known of the file.
    metadata: Vec<Option<String>>,
    context: SourceContext,
    mailbox: Mailbox,
    splits: Vec<Split>,
    known: bool,
    /// The sizes of the files are known.
    listed: bool,
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
        let is_physical = |c: &Column| matches!(c.kind, ColumnKind::Physical);
        let width = table.columns.iter().filter(|c| is_physical(c)).count();
        let (mut record_fields, mut places) = (Vec::new(), Vec::new());
        for index in &spec.read {
            let column = &table.columns[*index];
            metadata.push(match &column.kind {
                ColumnKind::Metadata { key, .. } => Some(key.clone()),
                _ => None,
            });
            let field = Field::new(&column.name, column.data_type.clone(), true);
            if !matches!(column.kind, ColumnKind::Metadata { .. }) {
                places.push(table.columns[..*index].iter().filter(|c| is_physical(c)).count());
                record_fields.push(field.clone());
            }
            fields.push(field);
        }
        let format = Format::of(table)?;
        format.check_readable(&table.name, &record_fields)?;
        Ok(Self {
            table: table.name.clone(),
            root: path_of(table)?,
            format,
            record_schema: Arc::new(Schema::new(record_fields)),
            layout: Layout { width, places },
            schema: Arc::new(Schema::new(fields)),
            metadata,
            mailbox: Mailbox::new(Arc::clone(&context.files), Arc::clone(&context.waker)),
            context,
            splits: Vec::new(),
            known: false,
            listed: false,
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
        // After a restore a file that is missed is named when its turn comes.
        if files.is_empty() && !self.known {
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
                let listed = files.iter().find(|(p, _)| *p == split.path).map(|(_, size)| *size);
                // What was appended since the file was begun is not read: its first record may have been cut.
                split.size = listed.map(|size| split.position["size"].as_u64().unwrap_or(size));
            }
        } else {
            // Each subtask lists for itself, and may see another set of files: a file's owner depends on its path alone.
            let (subtask, parallelism) = (self.context.subtask, self.context.parallelism);
            let mine = files.into_iter().filter(|(path, _)| owner(path, parallelism) == subtask);
            self.splits = mine
                .map(|(path, size)| Split { path, size: Some(size), position: Value::Null, finished: false })
                .collect();
            self.known = true;
        }
        self.listed = true;
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
        let record_schema = Arc::clone(&self.record_schema);
        self.tag += 1;
        let reading = match &self.format {
            Format::Parquet => {
                let position = (split.position["rowGroup"].as_u64(), split.position["row"].as_u64());
                let file = ParquetFile::new(split.path.clone(), size, record_schema, position);
                Reading::Parquet { file: Box::new(file), is_asking: false }
            }
            format => {
                let offset = split.position["offset"].as_u64().unwrap_or(0);
                let decoder = format.decoder(&split.path, record_schema, &self.layout, offset == 0);
                Reading::Records {
                    decoder,
                    buffer: Vec::new(),
                    used: 0,
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
                Some((index, Reading::Records { buffer, used, asked_to, at_end, is_asking, .. })) => {
                    *is_asking = false;
                    let split = &self.splits[*index];
                    let size = split.size.unwrap_or(0);
                    let expected = self.chunk_bytes.min(size - *asked_to);
                    if bytes.len() as u64 != expected {
                        return Err(DataflowError::External {
                            place: format!("{}, byte {asked_to}", split.path),
                            detail: format!(
                                "{} bytes came where {expected} were listed: the file of {size} bytes changed while it was read",
                                bytes.len()
                            ),
                        });
                    }
                    *asked_to += expected;
                    *at_end = *asked_to >= size;
                    buffer.drain(..std::mem::take(used));
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
            return Ok(records);
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
            Reading::Records { decoder, buffer, used, offset, asked_to, at_end, is_asking } => {
                let size = self.splits[index].size.unwrap_or(0);
                let records = loop {
                    let Decoded { records, consumed, skipped } = decoder.decode(&buffer[*used..], *offset, *at_end)?;
                    self.skipped += skipped;
                    *used += consumed;
                    *offset += consumed as u64;
                    // A batch may consist of bad records only, with good ones behind it.
                    if records.is_some() || consumed == 0 || *used == buffer.len() {
                        break records;
                    }
                };
                // One chunk is asked for ahead of what is being decoded; a record may be longer than a chunk.
                let left = (buffer.len() - *used) as u64;
                if !*at_end && !*is_asking && (records.is_none() || left < self.chunk_bytes) {
                    *is_asking = true;
                    // Not past the size that was listed: the last record of a growing file may be cut.
                    let range = Some((*asked_to, self.chunk_bytes.min(size - *asked_to)));
                    self.mailbox.ask(self.tag, StorageRequest::Get { path, range });
                }
                self.splits[index].position = json!({"offset": *offset, "size": size});
                match records {
                    Some(records) => Ok(Outcome::Rows(records)),
                    None if *at_end => Ok(Outcome::End),
                    None => Ok(Outcome::Wait),
                }
            }
        }
    }
}

/// The subtask that reads a file.
fn owner(path: &str, parallelism: u32) -> u32 {
    (hash_bytes(path.as_bytes()) % u64::from(parallelism.max(1))) as u32
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
        self.listed = self.splits.iter().all(|s| s.finished);
        if self.listed { Ok(()) } else { self.start() }
    }

    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        while let Some((tag, result)) = self.mailbox.next() {
            self.on_answer(tag, result)?;
        }
        if !self.listed {
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
