//! The snapshot file: what changed in state tables, columnar, sorted by hash, immutable. Specified in
//! `docs/snapshot-format.md`.
//!
//! Magic, format version, then batches (each an Arrow IPC stream of one record batch), then a JSON footer that says where each
//! batch lies, which hashes it holds and its checksum, then the footer's length and checksum and the magic again.

use crate::change::{ChangeOrder, DELETE, PUT};
use crate::{FrozenTable, Rows, StateError};
use arrow::array::{ArrayRef, Int8Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use streamfleet_types::{Epoch, HashRange};

/// The version that this build writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"SFSTATE1";
/// A batch ends with so many rows, or with the row that brings it to so many bytes before they are compressed.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 4 << 20;
/// Magic and version.
const HEADER_BYTES: usize = 12;
/// Footer length, footer checksum, magic.
const TAIL_BYTES: usize = 16;

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

/// Writes a file part by part, so that a snapshot of any size takes little memory.
#[derive(Debug)]
pub struct Encoder {
    /// Of every table that changed: its index, and its changes in order.
    tables: Vec<(usize, ChangeOrder)>,
    /// How far: the table (in `tables`), and how many of its changes, removals first, are written.
    table: usize,
    changes: usize,
    footer: Footer,
    epoch: Epoch,
    /// Bytes and rows written so far.
    offset: u64,
    rows: u64,
}

impl Encoder {
    /// Begins the file of what changed in tables, each with its operator's id; `None` if nothing did.
    pub fn new(tables: &[(String, FrozenTable)], epoch: Epoch, range: HashRange) -> Option<Self> {
        let changed = tables.iter().enumerate().filter(|(_, (_, table))| !table.is_empty());
        let tables: Vec<_> = changed.map(|(index, (_, table))| (index, table.change_order())).collect();
        let footer = Footer { range, tables: Vec::new() };
        let is_empty = tables.is_empty();
        (!is_empty).then_some(Self { tables, table: 0, changes: 0, footer, epoch, offset: 0, rows: 0 })
    }

    /// Bytes of the file so far.
    pub const fn bytes(&self) -> u64 {
        self.offset
    }

    /// Rows and tombstones in the file so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The next part, of about so many bytes; `None` when the file is whole. `tables` are those that it began with.
    ///
    /// # Errors
    /// A value cannot be decoded from its row.
    pub fn next_part(&mut self, tables: &[(String, FrozenTable)], about: usize) -> Result<Option<Vec<u8>>, StateError> {
        if self.table > self.tables.len() {
            return Ok(None);
        }
        let about = about.max(1);
        let mut bytes = Vec::new();
        if self.offset == 0 {
            bytes.extend_from_slice(MAGIC);
            bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        }
        while self.table < self.tables.len() && bytes.len() < about {
            self.next_batch(tables, &mut bytes)?;
        }
        if self.table == self.tables.len() && bytes.len() < about {
            self.table += 1;
            let footer = serde_json::to_vec(&self.footer).expect("a footer has only string keys");
            bytes.extend_from_slice(&footer);
            bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
            bytes.extend_from_slice(MAGIC);
        }
        self.offset += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// A batch holds only removals or only writes, so that its hashes are in order.
    fn next_batch(&mut self, tables: &[(String, FrozenTable)], bytes: &mut Vec<u8>) -> Result<(), StateError> {
        let (index, order) = &self.tables[self.table];
        let (operator, table) = &tables[*index];
        let (removed, written) = (&order.removed, &order.written);
        let total = removed.len() + written.len();
        if self.changes == 0 {
            self.footer.tables.push(TableSection {
                operator: operator.clone(),
                table: table.schema().name.clone(),
                epoch: self.epoch,
                key_columns: table.schema().key.len(),
                sub_key_columns: table.schema().sub_key.len(),
                rows: total as u64,
                batches: Vec::new(),
            });
        }
        let (places, is_written) = match removed.get(self.changes..) {
            Some(left) if !left.is_empty() => (left, false),
            _ => (&written[self.changes - removed.len()..], true),
        };
        let rows = BatchRows::of_first(table, places, is_written);
        let batch = encode_batch(table, &rows, self.offset, bytes)?;
        self.footer.tables.last_mut().expect("a table's section is there").batches.push(batch);
        self.rows += rows.places.len() as u64;
        self.changes += rows.places.len();
        if self.changes == total {
            // Its places are needed no more.
            self.tables[self.table].1 = ChangeOrder::default();
            (self.table, self.changes) = (self.table + 1, 0);
        }
        Ok(())
    }
}

/// A whole file of what changed in tables, for tables that are small; `None` if nothing did.
///
/// # Errors
/// A value cannot be decoded from its row.
pub fn encode(tables: &[(String, FrozenTable)], epoch: Epoch, range: HashRange) -> Result<Option<Vec<u8>>, StateError> {
    let Some(mut encoder) = Encoder::new(tables, epoch, range) else { return Ok(None) };
    encoder.next_part(tables, usize::MAX)
}

/// The rows of one batch: places in the table's change order, keys, and values if they were written.
struct BatchRows<'a> {
    places: &'a [(u64, u32)],
    keys: Rows,
    values: Option<Rows>,
}

impl<'a> BatchRows<'a> {
    /// As many of the first as a batch holds. In the order of hashes rows lie all over the memory: each is fetched once, and not
    /// once for every column.
    fn of_first(table: &FrozenTable, places: &'a [(u64, u32)], is_written: bool) -> Self {
        let (mut keys, mut values) = (Rows::new(), Rows::new());
        for (_, place) in places.iter().take(BATCH_ROWS) {
            if is_written {
                table.push_written(*place, &mut keys, &mut values);
            } else {
                keys.push(table.removed_key(*place));
            }
            if keys.byte_len() + values.byte_len() >= BATCH_BYTES {
                break;
            }
        }
        Self { places: &places[..keys.len()], keys, values: is_written.then_some(values) }
    }
}

/// Encodes one batch behind what is in `bytes`, which begin at `offset` of the file.
fn encode_batch(
    table: &FrozenTable,
    rows: &BatchRows<'_>,
    offset: u64,
    bytes: &mut Vec<u8>,
) -> Result<BatchPlace, StateError> {
    let schema = file_schema(table);
    let places = rows.places;
    let hashes = UInt64Array::from_iter_values(places.iter().map(|(hash, _)| *hash));
    let operations = Int8Array::from_value(if rows.values.is_some() { PUT } else { DELETE }, places.len());
    let mut columns: Vec<ArrayRef> = vec![Arc::new(hashes), Arc::new(operations)];
    columns.extend(table.key_layout().decode(&rows.keys.iter().collect::<Vec<_>>())?);
    match &rows.values {
        Some(values) => columns.extend(table.value_layout().decode(&values.iter().collect::<Vec<_>>())?),
        None => {
            let value_fields = &schema.fields()[columns.len()..];
            columns.extend(value_fields.iter().map(|f| arrow::array::new_null_array(f.data_type(), places.len())));
        }
    }
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let start = bytes.len();
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(&mut *bytes, &schema, options)?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    let written = &bytes[start..];
    Ok(BatchPlace {
        offset: offset + start as u64,
        length: written.len() as u64,
        crc32: crc32fast::hash(written),
        hashes: HashRange { first: places[0].0, last: places[places.len() - 1].0 },
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
