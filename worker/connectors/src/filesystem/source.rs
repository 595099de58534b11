//! Reads files, each from its beginning to its end, in the order of their paths.
//!
//! One split per file. Bytes come from storage in chunks, ahead of what is decoded on the slot. A position is the offset of
//! the next record, in a compressed file that in what it was made of, or row group and row of a parquet file. A monitored
//! folder is listed again and again, and its new files are read behind the known ones; a file's owner depends on its path
//! alone, also after a restore at another parallelism.

use super::dead_letters::DeadLetters;
use super::decompress::{Compression, Decompressor};
use super::listing::Choice;
use super::mailbox::Mailbox;
use super::partition::Partitioning;
use super::path_of;
use crate::format::{Decoded, Format, Layout, ParquetFile, RecordDecoder};
use crate::options;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Source, SourceBatch, SourceContext, SourceErrors, SourceStatus, SplitState};
use streamfleet_env::{StorageError, StorageReply, StorageRequest};
use streamfleet_logical::{ColumnKind, ScanSpec, TableDescriptor};
use streamfleet_types::Batch;
use streamfleet_types::hash::hash_bytes;

/// Bytes asked for at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// The most bytes that a record may have: it is held in memory until it is complete.
const MAX_RECORD_BYTES: u64 = 32 << 20;

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
struct Current {
    split: usize,
    reading: Reading,
    /// What its folders stand for: columns of one row.
    partition: Vec<ArrayRef>,
}

enum Reading {
    Records(Box<Records>),
    Parquet { file: Box<ParquetFile>, is_asking: bool },
}

/// Records end to end.
struct Records {
    decoder: Box<dyn RecordDecoder>,
    /// The file is compressed: what is asked for are its bytes, and all else is counted in those that it was made of.
    compressed: Option<Box<Decompressor>>,
    /// Bytes from `offset` on that are not decoded yet.
    buffer: Vec<u8>,
    /// Bytes of the buffer that are used up; they are dropped when more come.
    used: usize,
    offset: u64,
    /// The line that `offset` lies in, from 1; a checkpoint of an earlier version does not tell it.
    line: Option<u64>,
    asked_to: u64,
    at_end: bool,
    is_asking: bool,
    /// Where to go on when the head of the file was decoded.
    after_head: Option<u64>,
}

/// Where a column comes from.
#[derive(Debug, Clone)]
enum Origin {
    Record,
    /// What is known of the file.
    Metadata(String),
    /// The name of a folder, by its number.
    Partition(usize),
}

/// What becomes of a record that cannot be read.
enum OnBad {
    Fail,
    Skip,
    Keep(Box<DeadLetters>),
}

/// See the module.
pub(super) struct FileSource {
    table: String,
    choice: Choice,
    partitioning: Partitioning,
    format: Format,
    schema: SchemaRef,
    /// The schema's columns that the records hold, and where in a record each of them lies.
    record_schema: SchemaRef,
    layout: Layout,
    origins: Vec<Origin>,
    on_bad: OnBad,
    context: SourceContext,
    mailbox: Mailbox,
    splits: Vec<Split>,
    /// Paths of the splits.
    paths: HashSet<String>,
    known: bool,
    /// The sizes of the files are known.
    listed: bool,
    /// New files are looked for so often.
    monitor: Option<Duration>,
    is_listing: bool,
    next_listing: Duration,
    current: Option<Current>,
    /// Tells the answers of the file at hand from older ones.
    tag: u64,
    errors: SourceErrors,
    chunk_bytes: u64,
    max_record_bytes: u64,
}

/// How often a folder is looked into for new files, if it is.
pub(super) fn monitor_interval(table: &TableDescriptor) -> Result<Option<Duration>, DataflowError> {
    let interval = options::duration(table, "source.monitor-interval")?;
    if interval == Some(Duration::ZERO) {
        return Err(options::bad(table, "source.monitor-interval", "more than nothing is needed"));
    }
    Ok(interval)
}

fn on_bad(table: &TableDescriptor, format: &Format, context: &SourceContext) -> Result<OnBad, DataflowError> {
    const PATH: &str = "scan.errors.dead-letter.path";
    let way = table.option("scan.errors");
    let folder = table.option(PATH).map(|path| path.strip_prefix("file://").unwrap_or(path).trim_end_matches('/'));
    match (way, folder) {
        (Some("dead-letter"), None | Some("")) => {
            Err(options::bad(table, PATH, "'scan.errors' = 'dead-letter' needs a folder to keep the records in"))
        }
        (Some("dead-letter"), Some(folder)) => {
            let root = path_of(table)?;
            if folder == root || folder.starts_with(&format!("{root}/")) {
                return Err(options::bad(table, PATH, "the folder lies in the table's own, whose files are read"));
            }
            let (files, waker) = (Arc::clone(&context.files), Arc::clone(&context.waker));
            let letters = DeadLetters::new(files, waker, &table.name, folder, &context.unique);
            Ok(OnBad::Keep(Box::new(letters)))
        }
        (_, Some(_)) => Err(options::bad(table, PATH, "it needs 'scan.errors' = 'dead-letter'")),
        (Some("skip"), None) => Ok(OnBad::Skip),
        (None | Some("fail"), None) if format.ignores_errors() => Ok(OnBad::Skip),
        (None | Some("fail"), None) => Ok(OnBad::Fail),
        (Some(_), None) => Err(options::bad(table, "scan.errors", "it is fail, skip or dead-letter")),
    }
}

impl FileSource {
    pub fn new(spec: &ScanSpec, context: SourceContext) -> Result<Self, DataflowError> {
        let table = &spec.table;
        let partitioning = Partitioning::of(table)?;
        // The columns that a file holds.
        let held: Vec<Field> = table
            .columns
            .iter()
            .filter(|c| matches!(c.kind, ColumnKind::Physical) && partitioning.position(&c.name).is_none())
            .map(|c| Field::new(&c.name, c.data_type.clone(), true))
            .collect();
        let (mut fields, mut origins) = (Vec::new(), Vec::new());
        let (mut record_fields, mut places) = (Vec::new(), Vec::new());
        for index in &spec.read {
            let column = &table.columns[*index];
            let field = Field::new(&column.name, column.data_type.clone(), true);
            origins.push(match (&column.kind, partitioning.position(&column.name)) {
                (ColumnKind::Metadata { key, .. }, _) => Origin::Metadata(key.clone()),
                (_, Some(folder)) => Origin::Partition(folder),
                (_, None) => {
                    places.extend(held.iter().position(|f| f.name() == &column.name));
                    record_fields.push(field.clone());
                    Origin::Record
                }
            });
            fields.push(field);
        }
        let format = Format::of(table)?;
        format.check(&table.name, &held)?;
        format.check_files()?;
        Ok(Self {
            table: table.name.clone(),
            choice: Choice::of(table, path_of(table)?, partitioning.clone())?,
            partitioning,
            on_bad: on_bad(table, &format, &context)?,
            format,
            record_schema: Arc::new(Schema::new(record_fields)),
            layout: Layout { fields: held, places },
            schema: Arc::new(Schema::new(fields)),
            origins,
            mailbox: Mailbox::new(Arc::clone(&context.files), Arc::clone(&context.waker)),
            context,
            splits: Vec::new(),
            paths: HashSet::new(),
            known: false,
            listed: false,
            monitor: monitor_interval(table)?,
            is_listing: false,
            next_listing: Duration::ZERO,
            current: None,
            tag: LISTING,
            errors: SourceErrors::default(),
            chunk_bytes: CHUNK_BYTES,
            max_record_bytes: MAX_RECORD_BYTES,
        })
    }

    /// Smaller chunks, to see records cut by their borders.
    #[cfg(test)]
    pub fn with_chunk_bytes(mut self, chunk_bytes: u64) -> Self {
        self.chunk_bytes = chunk_bytes;
        self
    }

    /// A smaller limit, to see it reached.
    #[cfg(test)]
    pub fn with_max_record_bytes(mut self, max_record_bytes: u64) -> Self {
        self.max_record_bytes = max_record_bytes;
        self
    }

    fn external(&self, error: &StorageError) -> DataflowError {
        DataflowError::of_storage(format!("table {}", self.table), error)
    }

    fn is_durable(&self) -> bool {
        !matches!(&self.on_bad, OnBad::Keep(letters) if !letters.is_durable())
    }

    fn list(&mut self) {
        self.is_listing = true;
        self.mailbox.ask(LISTING, StorageRequest::List { prefix: self.choice.root().to_owned() });
    }

    fn on_listed(&mut self, mut files: Vec<(String, u64)>) -> Result<(), DataflowError> {
        self.is_listing = false;
        if let Some(interval) = self.monitor {
            self.next_listing = self.context.clock.monotonic() + interval;
        }
        files.retain(|(path, _)| self.choice.takes(path));
        // After a restore a file that is missed is named when its turn comes; a monitored folder may fill later.
        if files.is_empty() && !self.known && self.monitor.is_none() {
            return Err(DataflowError::Refused {
                place: format!("table {}", self.table),
                detail: format!(
                    "there is no file at {}, or the folder holds none: check the option 'path' (a relative path begins at the folder that the job is started in)",
                    self.choice.root()
                ),
            });
        }
        // Restored: only the sizes were missing.
        for split in self.splits.iter_mut().filter(|s| s.size.is_none() && !s.finished) {
            let listed = files.iter().find(|(p, _)| *p == split.path).map(|(_, size)| *size);
            // What was appended since the file was begun is not read: its first record may have been cut.
            split.size = listed.map(|size| split.position["size"].as_u64().unwrap_or(size));
        }
        if !self.known || self.monitor.is_some() {
            // Each subtask lists for itself, and may see another set of files: a file's owner depends on its path alone.
            let (subtask, parallelism) = (self.context.subtask, self.context.parallelism);
            for (path, size) in files.into_iter().filter(|(path, _)| owner(path, parallelism) == subtask) {
                if self.paths.insert(path.clone()) {
                    self.splits.push(Split { path, size: Some(size), position: Value::Null, finished: false });
                }
            }
            self.known = true;
        }
        self.listed = true;
        Ok(())
    }

    /// Begins the next file; a status if there is none to begin.
    fn open(&mut self) -> Result<Option<SourceStatus>, DataflowError> {
        let Some(index) = self.splits.iter().position(|s| !s.finished) else {
            let wait = |_| self.next_listing.saturating_sub(self.context.clock.monotonic());
            return Ok(Some(match self.monitor.map(wait) {
                // A source that has ended is not asked again, and could not tell what failed.
                None if !self.is_durable() => SourceStatus::Waiting(None),
                None => SourceStatus::Ended,
                // The answer wakes the slot.
                Some(_) if self.is_listing => SourceStatus::Waiting(None),
                Some(wait) => SourceStatus::Waiting(Some(wait)),
            }));
        };
        let split = &self.splits[index];
        let Some(size) = split.size else {
            let detail = format!("the file {} is gone that the checkpoint stopped in", split.path);
            return Err(DataflowError::Refused { place: format!("table {}", self.table), detail });
        };
        let partition = self.partitioning.values(&split.path, self.choice.below(&split.path))?;
        let record_schema = Arc::clone(&self.record_schema);
        self.tag += 1;
        let offset = split.position["offset"].as_u64().unwrap_or(0);
        let reading = match self.format.decoder(Arc::clone(&record_schema), &self.layout, offset == 0)? {
            None => {
                let position = (split.position["rowGroup"].as_u64(), split.position["row"].as_u64());
                let file = ParquetFile::new(split.path.clone(), size, record_schema, position);
                Reading::Parquet { file: Box::new(file), is_asking: false }
            }
            Some(decoder) => {
                let after_head = Some(offset).filter(|offset| decoder.needs_head() && *offset > 0);
                let compressed = match decoder.needs_head() {
                    true => None,
                    false => self.decompressor(&split.path, offset)?,
                };
                let from = if after_head.is_some() || compressed.is_some() { 0 } else { offset };
                let line = match offset {
                    _ if decoder.needs_head() => None,
                    0 => Some(1),
                    _ => split.position["line"].as_u64(),
                };
                Reading::Records(Box::new(Records {
                    decoder,
                    buffer: Vec::new(),
                    used: 0,
                    offset: if compressed.is_some() { offset } else { from },
                    compressed,
                    line,
                    asked_to: from,
                    at_end: from >= size,
                    is_asking: false,
                    after_head,
                }))
            }
        };
        self.current = Some(Current { split: index, reading, partition });
        Ok(None)
    }

    /// For a file that its name says to be compressed.
    fn decompressor(&self, path: &str, offset: u64) -> Result<Option<Box<Decompressor>>, DataflowError> {
        let refused =
            |detail: String| DataflowError::Refused { place: format!("table {}, {path}", self.table), detail };
        let compression = Compression::of(path).map_err(|name| {
            refused(format!(
                "files that {name} compressed are not read (those of gzip, deflate and zstd are): write them anew, or leave them \
                 out by 'source.path.regex-pattern'"
            ))
        })?;
        let new = |compression| Decompressor::new(compression, offset).map(Box::new);
        compression.map(new).transpose().map_err(|error| refused(error.to_string()))
    }

    fn on_answer(&mut self, tag: u64, result: Result<StorageReply, StorageError>) -> Result<(), DataflowError> {
        let reply = result.map_err(|e| self.external(&e))?;
        match reply {
            StorageReply::Paths(paths) => self.on_listed(paths)?,
            StorageReply::Bytes(bytes) if tag == self.tag => match &mut self.current {
                Some(Current { reading: Reading::Parquet { file, is_asking }, .. }) => {
                    *is_asking = false;
                    file.on_bytes(bytes)?;
                }
                Some(Current { split, reading: Reading::Records(records), .. }) => {
                    let Records { buffer, used, asked_to, at_end, is_asking, compressed, .. } = records.as_mut();
                    *is_asking = false;
                    let split = &self.splits[*split];
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
                    let is_whole = *asked_to >= size;
                    match compressed {
                        Some(compressed) => compressed.give(&bytes, is_whole),
                        None => {
                            *at_end = is_whole;
                            buffer.drain(..std::mem::take(used));
                            buffer.extend_from_slice(&bytes);
                        }
                    }
                }
                None => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, index: usize) -> SourceStatus {
        self.splits[index].finished = true;
        self.current = None;
        SourceStatus::SplitEnded(index)
    }

    /// The columns of the schema: the record's, and what is known of the file and its folders.
    fn complete(&self, current: &Current, records: RecordBatch) -> Result<RecordBatch, DataflowError> {
        if self.origins.iter().all(|origin| matches!(origin, Origin::Record)) {
            return Ok(records);
        }
        let (split, rows) = (&self.splits[current.split], records.num_rows());
        let text = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
        let mut given = records.columns().iter();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for origin in &self.origins {
            columns.push(match origin {
                Origin::Record => Arc::clone(given.next().expect("a column per field of the record")),
                Origin::Partition(folder) => {
                    take(&current.partition[*folder], &UInt32Array::from(vec![0; rows]), None)?
                }
                Origin::Metadata(key) => match key.as_str() {
                    "file.path" => text(&split.path),
                    "file.name" => text(split.path.rsplit('/').next().unwrap_or_default()),
                    _ => Arc::new(Int64Array::from(vec![split.size.unwrap_or(0) as i64; rows])),
                },
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn read(&mut self) -> Result<SourceStatus, DataflowError> {
        let Some(mut current) = self.current.take() else { return Ok(SourceStatus::Waiting(None)) };
        let index = current.split;
        match self.read_from(index, &mut current.reading)? {
            Outcome::Rows(records) => {
                let batch = Batch::inserts(self.complete(&current, records)?);
                self.current = Some(current);
                Ok(SourceStatus::Rows(SourceBatch { split: index, batch }))
            }
            Outcome::Wait => {
                self.current = Some(current);
                Ok(SourceStatus::Waiting(None))
            }
            Outcome::End => Ok(self.finish(index)),
        }
    }

    fn read_from(&mut self, index: usize, reading: &mut Reading) -> Result<Outcome, DataflowError> {
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
                        let path = self.splits[index].path.clone();
                        self.mailbox.ask(self.tag, StorageRequest::Get { path, range: Some(range) });
                        Ok(Outcome::Wait)
                    }
                }
            }
            Reading::Records(reading) => {
                let size = self.splits[index].size.unwrap_or(0);
                let records = loop {
                    let before = reading.used;
                    let records = self.decode(index, reading)?;
                    // A batch may consist of bad records only, with good ones behind it.
                    let has_more = reading.used != before && reading.used != reading.buffer.len();
                    if records.is_some() || !has_more && !self.decompress(index, reading)? {
                        break records;
                    }
                };
                let left = (reading.buffer.len() - reading.used) as u64;
                if records.is_none() && left > self.max_record_bytes {
                    return Err(DataflowError::Record {
                        place: place(&self.splits[index].path, reading.line, reading.offset),
                        detail: format!(
                            "a record begins here that has no end within {} bytes, the most that a record may have: \
                             mend the file, or check 'format' and its options",
                            self.max_record_bytes
                        ),
                    });
                }
                // One chunk is asked for ahead of what is being decoded; a record may be longer than a chunk.
                let wants_more = reading.asked_to < size && (records.is_none() || left < self.chunk_bytes);
                if wants_more && !reading.is_asking {
                    reading.is_asking = true;
                    // Not past the size that was listed: the last record of a growing file may be cut.
                    let range = Some((reading.asked_to, self.chunk_bytes.min(size - reading.asked_to)));
                    let path = self.splits[index].path.clone();
                    self.mailbox.ask(self.tag, StorageRequest::Get { path, range });
                }
                let offset = reading.after_head.unwrap_or(reading.offset);
                self.splits[index].position = json!({"offset": offset, "size": size, "line": reading.line});
                match records {
                    Some(records) => Ok(Outcome::Rows(records)),
                    None if reading.at_end => Ok(Outcome::End),
                    None => Ok(Outcome::Wait),
                }
            }
        }
    }

    /// Adds to the buffer of a compressed file; false if that does not change anything now.
    fn decompress(&self, index: usize, reading: &mut Records) -> Result<bool, DataflowError> {
        let Records { compressed: Some(compressed), buffer, used, at_end, asked_to, .. } = reading else {
            return Ok(false);
        };
        let is_too_long = (buffer.len() - *used) as u64 > self.max_record_bytes;
        if *at_end || is_too_long {
            return Ok(false);
        }
        buffer.drain(..std::mem::take(used));
        let before = buffer.len();
        compressed.read(self.chunk_bytes as usize, buffer).map_err(|error| DataflowError::Record {
            place: format!("{}, before byte {asked_to}", self.splits[index].path),
            detail: format!(
                "the file is no {} file, is damaged, or is not whole ({error}): write it again, under another name until it is \
                 whole, or under one that does not say that it is compressed",
                compressed.compression().name()
            ),
        })?;
        *at_end = compressed.is_at_end();
        Ok(*at_end || buffer.len() > before)
    }

    /// Decodes what is in the buffer, once; deals with the records that cannot be read.
    fn decode(&mut self, index: usize, reading: &mut Records) -> Result<Option<RecordBatch>, DataflowError> {
        let bytes = &reading.buffer[reading.used..];
        let Decoded { records, consumed, bad, nulled } = reading.decoder.decode(bytes, reading.at_end)?;
        self.errors.nulled_fields += nulled;
        let path = &self.splits[index].path;
        let (mut line, mut counted) = (reading.line, 0);
        for record in &bad {
            line = line.map(|line| line + count_lines(&bytes[counted..record.start]));
            counted = record.start;
            let offset = reading.offset + record.start as u64;
            match &mut self.on_bad {
                OnBad::Fail => {
                    return Err(DataflowError::Record {
                        place: place(path, line, offset),
                        detail: format!(
                            "{} ('scan.errors' = 'skip' counts such records and leaves them out, 'dead-letter' keeps them aside)",
                            record.reason
                        ),
                    });
                }
                OnBad::Skip => {}
                OnBad::Keep(letters) => {
                    letters.add(path, line, offset, &bytes[record.start..record.end], record);
                    self.errors.dead_letters += 1;
                }
            }
            self.errors.skipped_records += 1;
        }
        if let OnBad::Keep(letters) = &mut self.on_bad {
            letters.send();
        }
        reading.line = line.map(|line| line + count_lines(&bytes[counted..consumed]));
        reading.used += consumed;
        reading.offset += consumed as u64;
        if let Some(offset) = reading.after_head.take_if(|_| consumed > 0) {
            // What lies between was read before; an answer that is under way is of no use.
            self.tag += 1;
            reading.buffer.clear();
            reading.used = 0;
            reading.offset = offset;
            reading.asked_to = offset;
            reading.at_end = offset >= self.splits[index].size.unwrap_or(0);
            reading.is_asking = false;
        }
        Ok(records)
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// A record's place, for errors.
fn place(path: &str, line: Option<u64>, offset: u64) -> String {
    line.map_or(format!("{path}, byte {offset}"), |line| format!("{path}, line {line}, byte {offset}"))
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
        self.list();
        Ok(())
    }

    fn restore(&mut self, splits: Vec<SplitState>) -> Result<(), DataflowError> {
        self.paths = splits.iter().map(|s| s.name.clone()).collect();
        self.splits = splits
            .into_iter()
            .map(|s| Split { path: s.name, size: None, position: s.position, finished: s.finished })
            .collect();
        self.known = true;
        self.listed = self.monitor.is_none() && self.splits.iter().all(|s| s.finished);
        if !self.listed {
            self.list();
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        while let Some((tag, result)) = self.mailbox.next() {
            self.on_answer(tag, result)?;
        }
        if let OnBad::Keep(letters) = &self.on_bad {
            if let Some(error) = letters.failure() {
                return Err(self.external(&error));
            }
            if letters.is_full() {
                return Ok(SourceStatus::Waiting(None));
            }
        }
        if !self.listed {
            return Ok(SourceStatus::Waiting(None));
        }
        if self.monitor.is_some() && !self.is_listing && self.context.clock.monotonic() >= self.next_listing {
            self.list();
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

    /// No position may be kept that has passed a dead letter which is not durable.
    fn splits_known(&self) -> bool {
        self.known && self.is_durable()
    }

    /// A new file is met by the subtask that its path names: that one must know whether it was read.
    fn owner(&self, split: &str) -> Option<u32> {
        Some(owner(split, self.context.parallelism))
    }

    fn reads_in_order(&self) -> bool {
        true
    }

    fn errors(&self) -> SourceErrors {
        self.errors
    }
}
