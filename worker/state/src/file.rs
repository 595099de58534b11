//! The snapshot file: what changed in state tables, columnar, sorted by hash, immutable. Specified in
//! `docs/snapshot-format.md`.
//!
//! Magic, format version, then batches (each an Arrow IPC stream of one record batch), then a JSON footer that says where each
//! batch lies, which hashes it holds and its checksum, then the footer's length and checksum and the magic again.

use crate::table::Change;
use crate::{FrozenTable, StateError};
use arrow::array::{ArrayRef, Int8Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use streamfleet_types::{Epoch, HashRange};

/// `__op` of a removed row.
pub const DELETE: i8 = 0;

/// `__op` of a written row.
pub const PUT: i8 = 1;

/// The version that this build writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"SFSTATE1";
const BATCH_ROWS: usize = 8192;
/// Magic and version.
const HEADER_BYTES: usize = 12;
/// Footer length, footer checksum, magic.
const TAIL_BYTES: usize = 16;

/// A file ready to be stored.
#[derive(Debug)]
pub struct EncodedFile {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Rows and tombstones in it.
    pub rows: u64,
}

/// What a file says of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableSection {
    /// The operator.
    pub operator: String,
    /// The table.
    pub table: String,
    /// The freeze's epoch.
    pub epoch: Epoch,
    /// Number of key columns, behind `__hash` and `__op`.
    pub key_columns: usize,
    /// Number of sub-key columns, behind these.
    pub sub_key_columns: usize,
    /// Rows and tombstones.
    pub rows: u64,
    batches: Vec<BatchPlace>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchPlace {
    offset: u64,
    length: u64,
    crc32: u32,
    hashes: HashRange,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Footer {
    range: HashRange,
    tables: Vec<TableSection>,
}

fn file_schema(table: &FrozenTable) -> SchemaRef {
    let nullable = |f: &FieldRef| Field::new(f.name(), f.data_type().clone(), true);
    let mut fields = vec![Field::new("__hash", DataType::UInt64, false), Field::new("__op", DataType::Int8, false)];
    fields.extend(table.schema().fields().iter().map(nullable));
    Arc::new(Schema::new(fields))
}

/// Encodes what changed in tables, each with its operator's id; `None` if nothing did.
///
/// # Errors
/// A value cannot be decoded from its row.
pub fn encode(
    tables: &[(String, FrozenTable)],
    epoch: Epoch,
    range: HashRange,
) -> Result<Option<EncodedFile>, StateError> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    let mut footer = Footer { range, tables: Vec::new() };
    for (operator, table) in tables.iter().filter(|(_, t)| !t.is_empty()) {
        let changes = table.sorted_changes();
        let mut section = TableSection {
            operator: operator.clone(),
            table: table.schema().name.clone(),
            epoch,
            key_columns: table.schema().key.len(),
            sub_key_columns: table.schema().sub_key.len(),
            rows: changes.len() as u64,
            batches: Vec::new(),
        };
        let schema = file_schema(table);
        // A batch holds only removals or only writes, so that its hashes are in order.
        for part in changes.chunk_by(|a, b| a.value.is_some() == b.value.is_some()) {
            for chunk in part.chunks(BATCH_ROWS) {
                section.batches.push(encode_batch(table, &schema, chunk, &mut bytes)?);
            }
        }
        footer.tables.push(section);
    }
    if footer.tables.is_empty() {
        return Ok(None);
    }
    let rows = footer.tables.iter().map(|t| t.rows).sum();
    let footer = serde_json::to_vec(&footer).expect("a footer has only string keys");
    bytes.extend_from_slice(&footer);
    bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    Ok(Some(EncodedFile { bytes, rows }))
}

fn encode_batch(
    table: &FrozenTable,
    schema: &SchemaRef,
    changes: &[Change<'_>],
    bytes: &mut Vec<u8>,
) -> Result<BatchPlace, StateError> {
    let null_value = table.value_layout().null_row();
    let keys: Vec<&[u8]> = changes.iter().map(|c| c.key).collect();
    let values: Vec<&[u8]> = changes.iter().map(|c| c.value.unwrap_or(&null_value)).collect();
    let hashes: UInt64Array = changes.iter().map(|c| c.hash).collect();
    let operations: Int8Array = changes.iter().map(|c| if c.value.is_some() { PUT } else { DELETE }).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(hashes), Arc::new(operations)];
    columns.extend(table.key_layout().decode(&keys)?);
    if changes[0].value.is_some() {
        columns.extend(table.value_layout().decode(&values)?);
    } else {
        let value_fields = &schema.fields()[columns.len()..];
        columns.extend(value_fields.iter().map(|f| arrow::array::new_null_array(f.data_type(), changes.len())));
    }
    let batch = RecordBatch::try_new(Arc::clone(schema), columns)?;
    let offset = bytes.len();
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(&mut *bytes, schema, options)?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    let written = &bytes[offset..];
    Ok(BatchPlace {
        offset: offset as u64,
        length: written.len() as u64,
        crc32: crc32fast::hash(written),
        hashes: HashRange { first: changes[0].hash, last: changes[changes.len() - 1].hash },
    })
}

/// Reads a file.
#[derive(Debug)]
pub struct Reader {
    path: String,
    bytes: Vec<u8>,
    footer: Footer,
}

impl Reader {
    /// Checks the file's frame and reads its footer. `path` is for errors.
    ///
    /// # Errors
    /// The file is damaged, or of a newer version.
    pub fn open(path: &str, bytes: Vec<u8>) -> Result<Self, StateError> {
        let damaged = |detail: String| StateError::Damaged { path: path.to_owned(), detail };
        if bytes.len() < HEADER_BYTES + TAIL_BYTES {
            return Err(damaged(format!("{} bytes are too few", bytes.len())));
        }
        if &bytes[..8] != MAGIC {
            return Err(damaged("it does not begin as a state file does (offset 0)".to_owned()));
        }
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if word(8) > FORMAT_VERSION {
            return Err(StateError::NewerVersion { path: path.to_owned(), found: word(8), known: FORMAT_VERSION });
        }
        let tail = bytes.len() - TAIL_BYTES;
        if word(8) == 0 || &bytes[tail + 8..] != MAGIC {
            return Err(damaged(format!("it does not end as a state file does (offset {tail}): it may be cut short")));
        }
        let length = word(tail) as usize;
        let start = tail.checked_sub(length).filter(|start| *start >= HEADER_BYTES);
        let Some(start) = start else { return Err(damaged(format!("footer length {length} (offset {tail})"))) };
        let footer = &bytes[start..tail];
        if crc32fast::hash(footer) != word(tail + 4) {
            return Err(damaged(format!("checksum of the footer (offset {start})")));
        }
        let footer = serde_json::from_slice(footer).map_err(|e| damaged(format!("footer (offset {start}): {e}")))?;
        Ok(Self { path: path.to_owned(), bytes, footer })
    }

    /// The tables in the file.
    pub fn tables(&self) -> &[TableSection] {
        &self.footer.tables
    }

    /// The batches of a table that hold hashes of `range`; a batch may hold others too. Columns: `__hash`, `__op`, then the
    /// table's.
    pub fn read<'a>(
        &'a self,
        operator: &'a str,
        table: &'a str,
        range: HashRange,
    ) -> impl Iterator<Item = Result<RecordBatch, StateError>> + 'a {
        let sections = self.footer.tables.iter().filter(move |t| t.operator == operator && t.table == table);
        let batches = sections.flat_map(|t| &t.batches).filter(move |b| b.hashes.overlaps(range));
        batches.map(|batch| self.read_batch(batch))
    }

    fn read_batch(&self, place: &BatchPlace) -> Result<RecordBatch, StateError> {
        let damaged = |what: String| StateError::Damaged {
            path: self.path.clone(),
            detail: format!("{what} (offset {})", place.offset),
        };
        let end = place.offset.checked_add(place.length).filter(|end| *end <= self.bytes.len() as u64);
        let Some(end) = end else { return Err(damaged("a batch beyond the end".to_owned())) };
        let bytes = &self.bytes[place.offset as usize..end as usize];
        if crc32fast::hash(bytes) != place.crc32 {
            return Err(damaged("checksum of a batch".to_owned()));
        }
        let mut reader = StreamReader::try_new(bytes, None).map_err(|e| damaged(e.to_string()))?;
        match reader.next() {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(error)) => Err(damaged(error.to_string())),
            None => Err(damaged("an empty batch".to_owned())),
        }
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
