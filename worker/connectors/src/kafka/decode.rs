//! Records to rows.

use super::client::{MaybeMessages, NO_TIME, RecordBlock};
use super::columns::{Columns, Metadata, Part};
use crate::format::{BadMessage, DecodedMessages, Link, MessageDecoder};
use arrow::array::{
    Array, ArrayRef, BinaryBuilder, Int8Array, Int32Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, TimestampMillisecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{ColumnKind, TableDescriptor};
use streamfleet_types::{Batch, RowKind};

/// Where a column comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// The value decoder's column of this number.
    Value(usize),
    /// The key decoder's column of this number.
    Key(usize),
    Metadata(Metadata),
}

/// Rows of a block.
pub(super) struct Rows {
    pub batch: Option<Batch>,
    pub bad: Vec<BadMessage>,
    pub nulled: u64,
}

/// Decodes one part of records.
struct PartDecoder {
    decoder: Box<dyn MessageDecoder>,
}

/// See the module.
pub(super) struct BlockDecoder {
    schema: SchemaRef,
    origins: Vec<Origin>,
    value: PartDecoder,
    key: Option<PartDecoder>,
    /// A record without a value deletes its key; without this it is no row.
    is_upsert: bool,
}

impl BlockDecoder {
    /// For the table's columns of these indices.
    pub fn new(
        table: &TableDescriptor,
        columns: &Columns,
        read: &[usize],
        is_upsert: bool,
    ) -> Result<Self, DataflowError> {
        let (mut value_fields, mut key_fields) = (Vec::new(), Vec::new());
        let (mut fields, mut origins) = (Vec::new(), Vec::new());
        let place_in = |part: &Part, column: usize| part.columns.iter().position(|c| *c == column);
        for index in read {
            let column = &table.columns[*index];
            fields.push(Field::new(&column.name, column.data_type.clone(), true));
            if let ColumnKind::Metadata { key, .. } = &column.kind {
                let metadata = Metadata::of(key).ok_or_else(|| DataflowError::Unsupported {
                    operator: format!("table {}", table.name),
                    detail: format!("metadata column '{key}'"),
                })?;
                origins.push(Origin::Metadata(metadata));
                continue;
            }
            let in_key = columns.key.as_ref().and_then(|key| place_in(key, *index));
            match (place_in(&columns.value, *index), in_key) {
                // Of a row that a record deletes only the key is known.
                (_, Some(place)) if is_upsert => {
                    origins.push(Origin::Key(key_fields.len()));
                    key_fields.push(place);
                }
                (Some(place), _) => {
                    origins.push(Origin::Value(value_fields.len()));
                    value_fields.push(place);
                }
                (None, Some(place)) => {
                    origins.push(Origin::Key(key_fields.len()));
                    key_fields.push(place);
                }
                (None, None) => {
                    return Err(DataflowError::Unsupported {
                        operator: format!("table {}", table.name),
                        detail: format!("column {} lies neither in the key nor in the value", column.name),
                    });
                }
            }
        }
        let decoder = |part: &Part, wanted: &[usize]| {
            let (schema, layout) = part.layout(wanted);
            Ok::<_, DataflowError>(PartDecoder { decoder: part.format.message_decoder(&table.name, schema, &layout)? })
        };
        let key = match &columns.key {
            Some(part) if !key_fields.is_empty() => Some(decoder(part, &key_fields)?),
            _ => None,
        };
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            value: decoder(&columns.value, &value_fields)?,
            origins,
            key,
            is_upsert,
        })
    }

    /// Opens ways to where more is known of the records.
    pub fn connect(&mut self, link: &Link<'_>) -> Result<(), DataflowError> {
        self.value.decoder.connect(link)?;
        self.key.as_mut().map_or(Ok(()), |key| key.decoder.connect(link))
    }

    /// True if everything is at hand that a block needs; else it was asked for, and the slot is woken when it comes.
    pub fn is_ready(&mut self, block: &RecordBlock) -> Result<bool, DataflowError> {
        let is_ready = self.value.decoder.is_ready(&block.values.messages)?;
        let is_key_ready = self.key.as_mut().map_or(Ok(true), |key| key.decoder.is_ready(&block.keys.messages))?;
        Ok(is_ready && is_key_ready)
    }

    /// True if the records' keys are needed.
    pub fn needs_keys(&self) -> bool {
        self.key.is_some()
    }

    /// True if the records' headers are needed.
    pub fn needs_headers(&self) -> bool {
        self.origins.iter().any(|o| matches!(o, Origin::Metadata(Metadata::Headers)))
    }

    /// The rows of a block, in order.
    pub fn decode(&mut self, block: &RecordBlock) -> Result<Rows, DataflowError> {
        let count = block.offsets.len();
        let (values, absent) = decode_part(&mut self.value, &block.values, count)?;
        let (keys, key_absent) = match &mut self.key {
            Some(decoder) => {
                let (keys, absent) = decode_part(decoder, &block.keys, count)?;
                (Some(keys), absent)
            }
            None => (None, Vec::new()),
        };
        let nulled = values.nulled + keys.as_ref().map_or(0, |k| k.nulled);
        let mut bad = values.bad;
        if absent.is_empty() && keys.is_none() && bad.is_empty() {
            // The common case: every record is one row, or several as its format says.
            let batch = self.assemble(block, values.records, None, None, values.origins.as_deref(), count)?;
            return Ok(Rows { batch: with_kinds(batch, values.kinds)?, bad, nulled });
        }
        let plan = self.plan(count, &values.origins, &absent, keys.as_ref(), &key_absent, &mut bad);
        let kinds = self.is_upsert.then(|| {
            let kind = |row: &Option<u32>| row.map_or(RowKind::Delete, |_| RowKind::UpdateAfter) as i8;
            plan.values.iter().map(kind).collect::<Int8Array>()
        });
        let kinds = match (kinds, &values.kinds) {
            (None, Some(kinds)) => {
                let rows: UInt32Array = plan.values.iter().copied().collect();
                Some(Int8Array::from(take(kinds, &rows, None)?.to_data()))
            }
            (kinds, _) => kinds,
        };
        let rows = plan.values.len();
        let value_rows: UInt32Array = plan.values.into_iter().collect();
        let key_rows: UInt32Array = plan.keys.into_iter().collect();
        let batch = self.assemble(
            block,
            values.records,
            keys.and_then(|k| k.records),
            Some((&value_rows, &key_rows)),
            Some(&plan.origins),
            rows,
        )?;
        bad.sort_by_key(|b| b.number);
        Ok(Rows { batch: with_kinds(batch, kinds)?, bad, nulled })
    }

    /// Which row of values and of keys each row of the result is made of, and of which record.
    fn plan(
        &self,
        count: usize,
        value_origins: &Option<Vec<u32>>,
        absent: &[u32],
        keys: Option<&DecodedMessages>,
        key_absent: &[u32],
        bad: &mut Vec<BadMessage>,
    ) -> Plan {
        const NONE: u32 = u32::MAX;
        let mut key_row = vec![NONE; count];
        if let Some(keys) = keys {
            let rows = keys.records.as_ref().map_or(0, RecordBatch::num_rows) as u32;
            for row in 0..rows {
                let record = keys.origins.as_ref().map_or(row, |origins| origins[row as usize]);
                key_row[record as usize] = row;
            }
            let known: Vec<u32> = bad.iter().map(|b| b.number).collect();
            bad.extend(keys.bad.iter().filter(|b| !known.contains(&b.number)).cloned());
            let missing = key_absent.iter().filter(|n| !known.contains(n));
            bad.extend(
                missing.map(|number| BadMessage { number: *number, reason: "the record has no key".to_owned() }),
            );
        }
        let has_key = |record: u32| keys.is_none() || key_row[record as usize] != NONE;
        let mut plan = Plan::default();
        let mut push = |value: Option<u32>, record: u32| {
            if has_key(record) {
                plan.values.push(value);
                plan.keys.push(Some(key_row[record as usize]).filter(|row| *row != NONE));
                plan.origins.push(record);
            }
        };
        let mut tombstones = absent.iter().copied().filter(|_| self.is_upsert).peekable();
        let all: Vec<u32>;
        let origins: &[u32] = match value_origins {
            Some(origins) => origins,
            None => {
                all = (0..count as u32).collect();
                &all
            }
        };
        for (row, record) in origins.iter().enumerate() {
            while let Some(tombstone) = tombstones.next_if(|t| t < record) {
                push(None, tombstone);
            }
            push(Some(row as u32), *record);
        }
        tombstones.for_each(|tombstone| push(None, tombstone));
        plan
    }

    /// The columns of the result.
    fn assemble(
        &self,
        block: &RecordBlock,
        values: Option<RecordBatch>,
        keys: Option<RecordBatch>,
        rows: Option<(&UInt32Array, &UInt32Array)>,
        origins: Option<&[u32]>,
        count: usize,
    ) -> Result<Option<RecordBatch>, DataflowError> {
        let count = origins.map_or(count, <[u32]>::len);
        if count == 0 {
            return Ok(None);
        }
        let of = |part: &Option<RecordBatch>, column: usize, wanted: Option<&UInt32Array>, data_type: &DataType| {
            Ok::<_, DataflowError>(match (part, wanted) {
                (Some(batch), Some(rows)) => take(batch.column(column), rows, None)?,
                (Some(batch), None) => Arc::clone(batch.column(column)),
                (None, _) => new_null_array(data_type, count),
            })
        };
        let mut columns = Vec::with_capacity(self.origins.len());
        for (origin, field) in self.origins.iter().zip(self.schema.fields()) {
            columns.push(match origin {
                Origin::Value(column) => of(&values, *column, rows.map(|r| r.0), field.data_type())?,
                Origin::Key(column) => of(&keys, *column, rows.map(|r| r.1), field.data_type())?,
                Origin::Metadata(metadata) => {
                    let column = metadata_column(*metadata, block, origins)?;
                    if column.data_type() == field.data_type() { column } else { cast(&column, field.data_type())? }
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }
}

#[derive(Default)]
struct Plan {
    values: Vec<Option<u32>>,
    keys: Vec<Option<u32>>,
    origins: Vec<u32>,
}

fn with_kinds(batch: Option<RecordBatch>, kinds: Option<Int8Array>) -> Result<Option<Batch>, DataflowError> {
    Ok(match (batch, kinds) {
        (None, _) => None,
        (Some(batch), None) => Some(Batch::inserts(batch)),
        (Some(batch), Some(kinds)) => Some(Batch::changelog(batch, kinds)?),
    })
}

/// Decodes what is there; gives the numbers of the records where nothing is. Origins are numbers of records.
fn decode_part(
    part: &mut PartDecoder,
    messages: &MaybeMessages,
    count: usize,
) -> Result<(DecodedMessages, Vec<u32>), DataflowError> {
    let mut absent = Vec::new();
    let mut taken = Vec::new();
    for index in 0..count {
        match messages.get(index) {
            Some(message) => {
                part.decoder.take(message);
                if !absent.is_empty() {
                    taken.push(index as u32);
                }
            }
            None => {
                if absent.is_empty() {
                    taken.extend(0..index as u32);
                }
                absent.push(index as u32);
            }
        }
    }
    let mut decoded = part.decoder.finish()?;
    if !absent.is_empty() {
        // Numbers of messages taken become numbers of records.
        let rows = decoded.records.as_ref().map_or(0, RecordBatch::num_rows) as u32;
        let origins = decoded.origins.unwrap_or_else(|| (0..rows).collect());
        decoded.origins = Some(origins.into_iter().map(|n| taken[n as usize]).collect());
        for bad in &mut decoded.bad {
            bad.number = taken[bad.number as usize];
        }
    }
    Ok((decoded, absent))
}

fn metadata_column(
    metadata: Metadata,
    block: &RecordBlock,
    origins: Option<&[u32]>,
) -> Result<ArrayRef, DataflowError> {
    let count = origins.map_or(block.offsets.len(), <[u32]>::len);
    let record = |row: usize| origins.map_or(row, |origins| origins[row] as usize);
    Ok(match metadata {
        Metadata::Topic => Arc::new(StringArray::from_iter_values((0..count).map(|_| &*block.partition.topic))),
        Metadata::Partition => Arc::new(Int32Array::from_value(block.partition.partition, count)),
        Metadata::Offset => Arc::new((0..count).map(|row| Some(block.offsets[record(row)])).collect::<Int64Array>()),
        Metadata::Timestamp => {
            let times = (0..count).map(|row| Some(block.timestamps[record(row)]).filter(|t| *t != NO_TIME));
            Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
        }
        Metadata::LeaderEpoch => {
            let epoch = |row| block.leader_epochs.get(record(row)).copied().filter(|epoch| *epoch >= 0);
            Arc::new((0..count).map(epoch).collect::<Int32Array>())
        }
        Metadata::TimestampType => {
            let is_brokers = |row| block.broker_times.get(record(row)).copied().unwrap_or(false);
            let name = |row| if is_brokers(row) { "LogAppendTime" } else { "CreateTime" };
            Arc::new(StringArray::from_iter_values((0..count).map(name)))
        }
        Metadata::Headers => {
            let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
            let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new());
            for row in 0..count {
                for (key, value) in &block.headers[record(row)] {
                    builder.keys().append_value(key);
                    builder.values().append_option(value.as_deref());
                }
                builder.append(true)?;
            }
            Arc::new(builder.finish())
        }
    })
}
