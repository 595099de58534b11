//! Rows to records.

use super::client::{Headers, MaybeMessages, OutgoingBlock};
use super::columns::{Columns, Metadata, Part};
use crate::format::{Link, MessageBuffer, MessageEncoder};
use arrow::array::{Array, AsArray, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{SchemaRef, TimestampMillisecondType};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{ColumnKind, TableDescriptor};
use streamfleet_types::{Batch, RowKind};

/// Encodes key or value.
struct PartEncoder {
    encoder: Box<dyn MessageEncoder>,
    schema: SchemaRef,
    /// For each field its column in the rows.
    columns: Vec<usize>,
}

impl PartEncoder {
    fn new(table: &TableDescriptor, part: &Part, place_of: impl Fn(usize) -> usize) -> Result<Self, DataflowError> {
        let schema = part.schema();
        Ok(Self {
            encoder: part.format.message_encoder(&table.name, &schema)?,
            schema,
            columns: part.columns.iter().map(|column| place_of(*column)).collect(),
        })
    }

    fn encode(&mut self, rows: &Batch) -> Result<MessageBuffer, DataflowError> {
        let columns = self.columns.iter().map(|column| rows.column(*column).clone()).collect();
        let records = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?;
        let mut out = MessageBuffer::default();
        self.encoder.encode(&rows.with_columns(records)?, &mut out)?;
        Ok(out)
    }
}

/// See the module.
pub(super) struct RowEncoder {
    value: PartEncoder,
    key: Option<PartEncoder>,
    /// Columns of the rows that go beside the value.
    timestamp: Option<usize>,
    headers: Option<usize>,
    /// A row that is taken back is written as a record without a value.
    is_upsert: bool,
}

impl RowEncoder {
    pub fn new(table: &TableDescriptor, is_upsert: bool) -> Result<Self, DataflowError> {
        let columns = Columns::of(table, is_upsert)?;
        let is_written = |kind: &ColumnKind| match kind {
            ColumnKind::Physical => true,
            ColumnKind::Metadata { is_virtual, .. } => !is_virtual,
            ColumnKind::Computed(_) => false,
        };
        // The rows hold the written columns, in the table's order.
        let written: Vec<usize> = (0..table.columns.len()).filter(|i| is_written(&table.columns[*i].kind)).collect();
        let place_of = |column: usize| written.iter().position(|c| *c == column).expect("physical columns are written");
        let (mut timestamp, mut headers) = (None, None);
        for (place, index) in written.iter().enumerate() {
            let ColumnKind::Metadata { key, .. } = &table.columns[*index].kind else { continue };
            match Metadata::of(key) {
                Some(Metadata::Timestamp) => timestamp = Some(place),
                Some(Metadata::Headers) => headers = Some(place),
                _ => {
                    return Err(DataflowError::Unsupported {
                        operator: format!("table {}", table.name),
                        detail: format!("writing metadata column '{key}': declare it VIRTUAL"),
                    });
                }
            }
        }
        let key = columns.key.as_ref().map(|part| PartEncoder::new(table, part, place_of)).transpose()?;
        Ok(Self { value: PartEncoder::new(table, &columns.value, place_of)?, key, timestamp, headers, is_upsert })
    }

    /// Opens ways to where records are told of; `link`: of the value and of the key.
    pub fn connect<'a>(&mut self, link: impl Fn(&'static str) -> Link<'a>) -> Result<(), DataflowError> {
        self.value.encoder.connect(&link("value"))?;
        self.key.as_mut().map_or(Ok(()), |key| key.encoder.connect(&link("key")))
    }

    /// True if rows can be encoded; else the slot is woken when they can.
    pub fn is_ready(&mut self) -> Result<bool, DataflowError> {
        let is_ready = self.value.encoder.is_ready()?;
        Ok(self.key.as_mut().map_or(Ok(true), |key| key.encoder.is_ready())? && is_ready)
    }

    /// The rows of an upsert stream that say something: of an update in two rows the second alone, if it takes the first
    /// one's place. A first row whose second one is missing (a filter may have dropped it) or has another key stays.
    fn telling(&self, rows: &Batch) -> Result<Option<UInt32Array>, DataflowError> {
        let Some(kinds) = rows.kinds().filter(|kinds| kinds.values().contains(&(RowKind::UpdateBefore as i8))) else {
            return Ok(None);
        };
        let key = self.key.as_ref().map_or(&[][..], |part| &part.columns);
        let compare =
            |column: &usize| make_comparator(rows.column(*column), rows.column(*column), SortOptions::default());
        let comparators = key.iter().map(compare).collect::<Result<Vec<_>, _>>()?;
        let is_replaced = |row: usize| {
            kinds.value(row) == RowKind::UpdateBefore as i8
                && row + 1 < rows.rows()
                && kinds.value(row + 1) == RowKind::UpdateAfter as i8
                && comparators.iter().all(|compare| compare(row, row + 1).is_eq())
        };
        let stay = (0..rows.rows()).filter(|row| !is_replaced(*row)).map(|row| row as u32);
        Ok(Some(UInt32Array::from_iter_values(stay)))
    }

    /// A record for every row; of an update in two rows only the second.
    pub fn encode(&mut self, rows: &Batch) -> Result<OutgoingBlock, DataflowError> {
        let taken;
        let telling = if self.is_upsert { self.telling(rows)? } else { None };
        let rows = match telling {
            Some(telling) => {
                taken = rows.take(&telling)?;
                &taken
            }
            None => rows,
        };
        let mut block = OutgoingBlock::default();
        if rows.is_empty() {
            return Ok(block);
        }
        block.values = MaybeMessages { messages: self.value.encode(rows)?, absent: Vec::new() };
        if self.is_upsert && rows.kinds().is_some() {
            block.values.absent = (0..rows.rows()).map(|row| !rows.kind(row).is_addition()).collect();
        }
        if let Some(key) = &mut self.key {
            block.keys.messages = key.encode(rows)?;
        }
        if let Some(column) = self.timestamp {
            let times = cast(rows.column(column), &Metadata::Timestamp.data_type())?;
            let times = times.as_primitive::<TimestampMillisecondType>();
            // A record without a timestamp of its own has the time of its writing.
            let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let time = |row| if times.is_null(row) { now().as_millis() as i64 } else { times.value(row) };
            block.timestamps = (0..rows.rows()).map(time).collect();
        }
        if let Some(column) = self.headers {
            block.headers = headers_of(rows.column(column).as_ref())?;
        }
        Ok(block)
    }
}

fn headers_of(column: &dyn Array) -> Result<Vec<Headers>, DataflowError> {
    let maps = cast(&arrow::array::make_array(column.to_data()), &Metadata::Headers.data_type())?;
    let maps = maps.as_map();
    let (keys, values) = (maps.keys().as_string::<i32>(), maps.values().as_binary::<i32>());
    let of = |row: usize| {
        let (start, end) = (maps.value_offsets()[row] as usize, maps.value_offsets()[row + 1] as usize);
        let range = if maps.is_null(row) { 0..0 } else { start..end };
        range.map(|i| (keys.value(i).to_owned(), (!values.is_null(i)).then(|| values.value(i).to_vec()))).collect()
    };
    Ok((0..maps.len()).map(of).collect())
}
