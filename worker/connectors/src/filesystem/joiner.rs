//! Makes one file's content of several files'.
//!
//! Records that lie end to end are copied as they are, behind one head. Of parquet, row groups are read and written anew: small
//! row groups in a large file would be read as slowly as small files.

use super::compaction::SmallFile;
use crate::format::{Encoder, Format, ParquetFile};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;

/// Bytes that are copied at once.
const CHUNK_BYTES: u64 = if cfg!(test) { 10_000 } else { 4 << 20 };

/// Encoded bytes of parquet that are handed over.
const PIECE_BYTES: usize = 1 << 20;

/// How files of a table are joined.
#[derive(Clone)]
pub(super) struct Join {
    table: String,
    format: Format,
    /// The columns of every file.
    schema: SchemaRef,
    /// What begins every file.
    head: Arc<[u8]>,
}

impl Join {
    pub fn new(table: &str, format: Format, schema: SchemaRef) -> Result<Self, DataflowError> {
        let mut head = Vec::new();
        if !matches!(format, Format::Parquet(_)) {
            let mut encoder = format.encoder(table, &schema)?;
            encoder.write(&RecordBatch::new_empty(Arc::clone(&schema)))?;
            head = encoder.take(0)?;
        }
        Ok(Self { table: table.to_owned(), format, schema, head: head.into() })
    }

    /// For a new file.
    pub fn joiner(&self) -> Result<Joiner, DataflowError> {
        Ok(match self.format {
            Format::Parquet(_) => {
                let encoder = self.format.encoder(&self.table, &self.schema)?;
                Joiner::Anew { schema: SchemaRef::clone(&self.schema), encoder, file: None }
            }
            _ => Joiner::Copied { head: Arc::clone(&self.head), has_head: false, file: None, at: 0 },
        })
    }
}

/// See the module.
pub(super) enum Joiner {
    Copied {
        head: Arc<[u8]>,
        /// The head was given.
        has_head: bool,
        file: Option<SmallFile>,
        at: u64,
    },
    Anew {
        schema: SchemaRef,
        encoder: Box<dyn Encoder>,
        file: Option<Box<ParquetFile>>,
    },
}

impl Joiner {
    /// Goes on with this file.
    pub fn begin(&mut self, next: &SmallFile) {
        match self {
            Self::Copied { file, at, .. } => {
                *file = Some(next.clone());
                *at = 0;
            }
            Self::Anew { schema, file, .. } => {
                let next = ParquetFile::new(next.small.clone(), next.bytes, SchemaRef::clone(schema), (None, None));
                *file = Some(Box::new(next));
            }
        }
    }

    /// The bytes of the file at hand to read next: first and length; `None` at its end.
    pub fn wanted(&mut self) -> Result<Option<(u64, u64)>, DataflowError> {
        match self {
            Self::Copied { file, at, .. } => {
                let left = file.as_ref().map_or(0, |file| file.bytes - *at);
                Ok((left > 0).then_some((*at, left.min(CHUNK_BYTES))))
            }
            Self::Anew { file, .. } => file.as_mut().map_or(Ok(None), |file| file.wanted()),
        }
    }

    /// Takes the bytes that were asked for; gives what comes next in the new file.
    pub fn on_bytes(&mut self, mut bytes: Vec<u8>) -> Result<Vec<u8>, DataflowError> {
        match self {
            Self::Copied { head, has_head, file, at } => {
                let Some(file) = file else { return Ok(Vec::new()) };
                let failed =
                    |detail: &str| Err(DataflowError::Record { place: file.small.clone(), detail: detail.to_owned() });
                let expected = (file.bytes - *at).min(CHUNK_BYTES);
                if bytes.len() as u64 != expected {
                    return failed("it is shorter than the checkpoint says");
                }
                let is_start = *at == 0;
                *at += expected;
                if is_start && !bytes.starts_with(head) {
                    return failed("it does not begin as the table's files do: was the table changed since?");
                }
                if is_start && std::mem::replace(has_head, true) {
                    bytes.drain(..head.len());
                }
                Ok(bytes)
            }
            Self::Anew { encoder, file, .. } => {
                let Some(file) = file else { return Ok(Vec::new()) };
                file.on_bytes(bytes)?;
                while let Some(records) = file.next_batch()? {
                    encoder.write(&records)?;
                }
                encoder.take(PIECE_BYTES)
            }
        }
    }

    /// The end of the new file.
    pub fn finish(&mut self) -> Result<Vec<u8>, DataflowError> {
        match self {
            Self::Copied { .. } => Ok(Vec::new()),
            Self::Anew { encoder, .. } => encoder.finish(),
        }
    }
}
