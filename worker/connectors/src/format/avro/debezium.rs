//! Changes of rows as Debezium tells them in Avro: a record with the row `before` and `after`, and `op`, what became of it.

use super::confluent::{ConfluentDecoder, ConfluentEncoder};
use super::confluent_options::ConfluentOptions;
use super::schema;
use crate::format::json::changes::{before_is_missing, unknown_operation};
use crate::format::message::{BadMessage, DecodedMessages, Link, MessageBuffer, MessageDecoder, MessageEncoder};
use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, RecordBatchOptions, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_types::{Batch, RowKind};

/// The record's places for the row before and after.
const BEFORE: usize = 0;
const AFTER: usize = 1;

/// The record around rows of these columns; what became of the row may be unknown in one that is read.
fn envelope(columns: &Fields, operation_is_known: bool) -> SchemaRef {
    let row = |name| Field::new(name, DataType::Struct(columns.clone()), true);
    Arc::new(Schema::new(vec![row("before"), row("after"), Field::new("op", DataType::Utf8, !operation_is_known)]))
}

/// Decodes one change a message, under any schemas.
pub(in crate::format) struct DebeziumDecoder {
    schema: SchemaRef,
    records: ConfluentDecoder,
    /// The number of every message that is a record.
    numbers: Vec<u32>,
    taken: u32,
}

/// Rows with their kinds, each of one of the records.
#[derive(Default)]
struct Rows {
    /// Before or after, and the record.
    places: Vec<(usize, usize)>,
    kinds: Vec<i8>,
    origins: Vec<u32>,
}

impl Rows {
    fn push(&mut self, kind: RowKind, place: usize, record: usize, number: u32) {
        self.places.push((place, record));
        self.kinds.push(kind as i8);
        self.origins.push(number);
    }
}

impl DebeziumDecoder {
    /// For columns of this schema.
    pub fn new(schema: SchemaRef, options: &ConfluentOptions) -> Result<Self, DataflowError> {
        let records = ConfluentDecoder::new(envelope(schema.fields(), false), options)?;
        Ok(Self { schema, records, numbers: Vec::new(), taken: 0 })
    }

    /// The rows of records, and what is wrong with the others.
    fn rows(&self, records: &RecordBatch, origins: Option<&[u32]>, bad: &mut Vec<BadMessage>) -> Rows {
        let mut rows = Rows::default();
        let is_there = |place: usize, record: usize| !records.column(place).is_null(record);
        let operations = records.column(2).as_string::<i32>();
        for record in 0..records.num_rows() {
            let number = origins.map_or(record, |origins| origins[record] as usize);
            let number = self.numbers[number];
            let operation = (!operations.is_null(record)).then(|| operations.value(record));
            let missing = |place: usize, what: &str| match (is_there(place, record), place) {
                (true, _) => None,
                (false, BEFORE) => Some(before_is_missing(what)),
                (false, _) => Some(format!("a change of type {what} has no `after`")),
            };
            let wrong = match operation {
                Some("c" | "r") => missing(AFTER, "insert"),
                Some("u") => missing(BEFORE, "an update").or_else(|| missing(AFTER, "update")),
                Some("d") => missing(BEFORE, "a deletion"),
                other => Some(unknown_operation("op", other)),
            };
            match (wrong, operation) {
                (Some(reason), _) => bad.push(BadMessage { number, reason }),
                (None, Some("u")) => {
                    rows.push(RowKind::UpdateBefore, BEFORE, record, number);
                    rows.push(RowKind::UpdateAfter, AFTER, record, number);
                }
                (None, Some("d")) => rows.push(RowKind::Delete, BEFORE, record, number),
                (None, _) => rows.push(RowKind::Insert, AFTER, record, number),
            }
        }
        rows
    }
}

impl MessageDecoder for DebeziumDecoder {
    fn connect(&mut self, link: &Link<'_>) -> Result<(), DataflowError> {
        self.records.connect(link)
    }

    fn is_ready(&mut self, messages: &MessageBuffer) -> Result<bool, DataflowError> {
        self.records.is_ready(messages)
    }

    fn take(&mut self, message: &[u8]) {
        // A message without a value marks, for a compacted log, that a deletion came before.
        if !message.is_empty() {
            self.numbers.push(self.taken);
            self.records.take(message);
        }
        self.taken += 1;
    }

    fn finish(&mut self) -> Result<DecodedMessages, DataflowError> {
        let decoded = self.records.finish()?;
        let mut bad = decoded.bad;
        bad.iter_mut().for_each(|bad| bad.number = self.numbers[bad.number as usize]);
        let rows = match &decoded.records {
            Some(records) => self.rows(records, decoded.origins.as_deref(), &mut bad),
            None => Rows::default(),
        };
        bad.sort_by_key(|bad| bad.number);
        self.numbers.clear();
        self.taken = 0;
        let records = match &decoded.records {
            Some(records) if !rows.places.is_empty() => {
                let (before, after) = (records.column(BEFORE).as_struct(), records.column(AFTER).as_struct());
                let column = |(before, after): (&ArrayRef, &ArrayRef)| interleave(&[before, after], &rows.places);
                let columns = before.columns().iter().zip(after.columns()).map(column);
                let options = RecordBatchOptions::new().with_row_count(Some(rows.places.len()));
                let columns = columns.collect::<Result<_, _>>()?;
                Some(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
            }
            _ => None,
        };
        let inserts_only = rows.kinds.iter().all(|kind| *kind == RowKind::Insert as i8);
        Ok(DecodedMessages {
            records,
            kinds: (!inserts_only).then(|| Int8Array::from(rows.kinds)),
            origins: Some(rows.origins),
            bad,
            nulled: decoded.nulled,
        })
    }
}

/// Encodes one change a message: an update is a deletion and an insertion, as Flink writes it.
pub(in crate::format) struct DebeziumEncoder {
    schema: SchemaRef,
    records: ConfluentEncoder,
}

impl DebeziumEncoder {
    /// For rows of these columns.
    pub fn new(table: &str, columns: &SchemaRef, options: &ConfluentOptions) -> Result<Self, DataflowError> {
        let schema = envelope(columns.fields(), true);
        // Flink's schema lets `op` be NULL; one of the user's need not.
        let flinks = envelope(columns.fields(), false);
        let records = ConfluentEncoder::new(table, &schema, options, |local_times| {
            schema::nullable_of_columns(flinks.fields(), local_times)
        })?;
        Ok(Self { schema, records })
    }
}

impl MessageEncoder for DebeziumEncoder {
    fn connect(&mut self, link: &Link<'_>) -> Result<(), DataflowError> {
        self.records.connect(link)
    }

    fn is_ready(&mut self) -> Result<bool, DataflowError> {
        self.records.is_ready()
    }

    fn encode(&mut self, rows: &Batch, out: &mut MessageBuffer) -> Result<(), DataflowError> {
        let records = rows.records();
        let DataType::Struct(fields) = self.schema.field(BEFORE).data_type() else {
            unreachable!("the record around rows has a row there")
        };
        let is_added: Vec<bool> = (0..rows.rows()).map(|row| rows.kind(row).is_addition()).collect();
        let row = |is_there: NullBuffer| {
            let columns = records.columns().to_vec();
            StructArray::try_new_with_length(fields.clone(), columns, Some(is_there), rows.rows())
        };
        let before = row(is_added.iter().map(|is_added| !is_added).collect())?;
        let after = row(NullBuffer::from(is_added.as_slice()))?;
        let operations = is_added.iter().map(|is_added| if *is_added { "c" } else { "d" });
        let columns: Vec<ArrayRef> =
            vec![Arc::new(before), Arc::new(after), Arc::new(StringArray::from_iter_values(operations))];
        self.records.encode(&Batch::inserts(RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?), out)
    }
}
