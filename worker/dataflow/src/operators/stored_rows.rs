//! Rows of an input kept by key, for operators that need whole rows again: joins and rankings.
//!
//! Two ways to tell rows of one key apart. Rows that never go back are *numbered*: adding one looks at no other. Rows of a
//! changelog are *counted*: the whole row is its identity, whatever its keys are said to be, and equal rows share a count.
//! So a row is taken back rightly even if its old and new versions came by different ways and overtook each other.

use super::key_index::{KeyRow, bitmap_bytes};
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::util::display::array_value_to_string;
use std::sync::Arc;
use streamfleet_state::{RowId, RowTable, Rows, TableSchema};
use streamfleet_types::Batch;

/// Where an input column lies in the table.
#[derive(Debug, Clone, Copy)]
enum Place {
    Key(usize),
    Value(usize),
}

/// How rows of one key are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// By a number given on arrival: for append-only inputs.
    Numbered,
    /// By their content, with a count: for changelogs.
    Counted,
    /// One row per key.
    Key,
}

/// What became of a row that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It is new.
    New(RowId),
    /// An equal row was there already (or is again): its count grew from this.
    Again(RowId, i64),
}

/// See the module.
pub(super) struct StoredRows {
    pub table: RowTable,
    identity: Identity,
    keys: Vec<usize>,
    rest: Vec<usize>,
    places: Vec<Place>,
    next_number: u64,
    /// Where slots begin in the key of a row.
    key_slots: usize,
    /// Value columns.
    count: usize,
    extra: usize,
    key_bytes: Rows,
    value_bytes: Rows,
}

impl StoredRows {
    /// `extra` is a further column of the value that the operator looks after.
    pub fn new(
        name: &str,
        input: &SchemaRef,
        keys: &[usize],
        identity: Identity,
        extra: Option<FieldRef>,
    ) -> Result<Self, DataflowError> {
        let rest: Vec<usize> = (0..input.fields().len()).filter(|c| !keys.contains(c)).collect();
        let fields = |columns: &[usize]| -> Vec<FieldRef> {
            columns.iter().map(|c| Arc::new(input.field(*c).clone().with_nullable(true))).collect()
        };
        let mut value = Vec::new();
        let mut sub_key = Vec::new();
        match identity {
            Identity::Numbered => sub_key.push(Arc::new(Field::new("__number", DataType::UInt64, false))),
            Identity::Counted => sub_key = fields(&rest),
            Identity::Key => {}
        }
        if identity == Identity::Counted {
            value.push(Arc::new(Field::new("__count", DataType::Int64, false)));
        } else {
            value = fields(&rest);
        }
        let extra_column = value.len();
        value.extend(extra);
        let place = |column: usize| match keys.iter().position(|k| *k == column) {
            Some(key) => Place::Key(key),
            None => {
                let at = rest.iter().position(|c| *c == column).expect("a column is in the key or in the rest");
                if identity == Identity::Counted { Place::Key(keys.len() + at) } else { Place::Value(at) }
            }
        };
        let places = (0..input.fields().len()).map(place).collect();
        let key_slots = bitmap_bytes(keys.len() + sub_key.len());
        let schema = TableSchema { name: name.to_owned(), key: fields(keys), sub_key, value };
        // Numbers are unique, and numbered rows are found by the operator's own indexes.
        let is_numbered = identity == Identity::Numbered;
        let table = if is_numbered { RowTable::unindexed(schema)? } else { RowTable::new(schema)? };
        Ok(Self {
            table,
            identity,
            keys: keys.to_vec(),
            rest,
            places,
            next_number: 0,
            key_slots,
            count: 0,
            extra: extra_column,
            key_bytes: Rows::new(),
            value_bytes: Rows::new(),
        })
    }

    pub const fn is_counted(&self) -> bool {
        matches!(self.identity, Identity::Counted)
    }

    /// The key columns of a batch.
    pub fn key_columns(&self, batch: &Batch) -> Vec<ArrayRef> {
        self.keys.iter().map(|k| batch.column(*k).clone()).collect()
    }

    /// Encodes a batch, to be added or taken back row by row.
    pub fn encode(&mut self, batch: &Batch, extra: Option<ArrayRef>) -> Result<(), DataflowError> {
        let rows = batch.rows();
        let mut key = self.key_columns(batch);
        let rest = self.rest.iter().map(|c| batch.column(*c).clone());
        let mut value: Vec<ArrayRef> = Vec::new();
        match self.identity {
            Identity::Numbered => {
                let numbers = UInt64Array::from_iter_values(self.next_number..self.next_number + rows as u64);
                self.next_number += rows as u64;
                key.push(Arc::new(numbers));
                value.extend(rest);
            }
            Identity::Counted => {
                key.extend(rest);
                value.push(Arc::new(Int64Array::from_value(1, rows)));
            }
            Identity::Key => value.extend(rest),
        }
        value.extend(extra);
        self.key_bytes.clear();
        self.value_bytes.clear();
        self.table.key_layout().encode(&key, rows, &mut self.key_bytes)?;
        self.table.value_layout().encode(&value, rows, &mut self.value_bytes)?;
        Ok(())
    }

    /// Adds a row of the encoded batch.
    #[inline]
    pub fn add(&mut self, hash: u64, row: usize) -> Added {
        if self.identity == Identity::Numbered {
            let (key, value) = (self.key_bytes.get(row), self.value_bytes.get(row));
            return Added::New(self.table.insert_unique(hash, key, value));
        }
        let (id, is_new) = self.table.find_or_insert(hash, self.key_bytes.get(row), self.value_bytes.get(row));
        if is_new || !self.is_counted() {
            return if is_new { Added::New(id) } else { Added::Again(id, 1) };
        }
        Added::Again(id, self.change_count(id, 1) - 1)
    }

    /// Takes one of a row of the encoded batch back: its id and what count is left. At zero the caller removes it.
    #[inline]
    pub fn take_back(&mut self, hash: u64, row: usize) -> Option<(RowId, i64)> {
        if !self.is_counted() {
            return None;
        }
        let id = self.table.find(hash, self.key_bytes.get(row))?;
        Some((id, self.change_count(id, -1)))
    }

    /// The stored row with the key of a row of the encoded batch.
    #[inline]
    pub fn find(&self, hash: u64, row: usize) -> Option<RowId> {
        self.table.find(hash, self.key_bytes.get(row))
    }

    /// A stored row's key columns, and what follows them.
    #[inline]
    pub fn key_row(&self, id: RowId) -> KeyRow<'_> {
        KeyRow { layout: self.table.key_layout(), slots: self.key_slots, bytes: self.table.key(id) }
    }

    /// The same of a row of the encoded batch.
    #[inline]
    pub fn new_key_row(&self, row: usize) -> KeyRow<'_> {
        KeyRow { layout: self.table.key_layout(), slots: self.key_slots, bytes: self.key_bytes.get(row) }
    }

    /// True if a stored row has the value of a row of the encoded batch.
    #[inline]
    pub fn is_same(&self, id: RowId, row: usize) -> bool {
        self.table.value(id) == self.value_bytes.get(row)
    }

    fn change_count(&mut self, id: RowId, by: i64) -> i64 {
        let column = self.count;
        self.table.update(id, |layout, value| {
            let count = layout.get_i64(value, column) + by;
            layout.set_i64(value, column, count);
            count
        })
    }

    /// Puts a row of the encoded batch in the place of a stored one of the same key.
    pub fn replace(&mut self, id: RowId, row: usize) {
        self.table.replace(id, self.value_bytes.get(row));
    }

    /// How many equal rows there are.
    #[inline]
    pub fn count(&self, id: RowId) -> i64 {
        if self.is_counted() { self.table.value_layout().get_i64(self.table.value(id), self.count) } else { 1 }
    }

    /// The operator's own column.
    #[inline]
    pub fn extra(&self, id: RowId) -> i64 {
        self.table.value_layout().get_i64(self.table.value(id), self.extra)
    }

    /// Changes the operator's own column; gives what it was before.
    #[inline]
    pub fn change_extra(&mut self, id: RowId, by: i64) -> i64 {
        let column = self.extra;
        self.table.update(id, |layout, value| {
            let before = layout.get_i64(value, column);
            layout.set_i64(value, column, before + by);
            before
        })
    }

    /// The number of a numbered row.
    #[inline]
    pub fn number(&self, id: RowId) -> u64 {
        self.table.key_layout().get_i64(self.table.key(id), self.keys.len()) as u64
    }

    /// A fixed-width column of one row.
    #[inline]
    pub fn get_i64(&self, id: RowId, column: usize) -> Option<i64> {
        let (layout, bytes, column) = match self.places[column] {
            Place::Key(column) => (self.table.key_layout(), self.table.key(id), column),
            Place::Value(column) => (self.table.value_layout(), self.table.value(id), column),
        };
        (!layout.is_null(bytes, column)).then(|| layout.get_i64(bytes, column))
    }

    /// The rows of these ids, to be decoded column by column.
    pub fn decoder<'a>(&'a self, ids: &'a [RowId]) -> Decoder<'a> {
        Decoder { rows: self, ids, keys: None, values: None }
    }

    /// After a restore: all rows in the order in which they came (or, counted, in the order of their bytes). Numbers go on
    /// behind the greatest.
    pub fn restored(&mut self) -> Vec<RowId> {
        self.table.loaded();
        let mut ids: Vec<RowId> = self.table.iter().collect();
        match self.identity {
            Identity::Numbered => {
                ids.sort_by_cached_key(|id| self.number(*id));
                self.next_number = ids.last().map_or(0, |id| self.number(*id) + 1);
            }
            Identity::Counted => ids.sort_unstable_by(|a, b| self.table.key(*a).cmp(self.table.key(*b))),
            Identity::Key => {}
        }
        ids
    }
}

/// Decodes columns of some rows; slices are made once they are needed.
pub(super) struct Decoder<'a> {
    rows: &'a StoredRows,
    ids: &'a [RowId],
    keys: Option<Vec<&'a [u8]>>,
    values: Option<Vec<&'a [u8]>>,
}

impl Decoder<'_> {
    /// One input column.
    pub fn column(&mut self, column: usize) -> Result<ArrayRef, DataflowError> {
        let (table, ids) = (&self.rows.table, self.ids);
        Ok(match self.rows.places[column] {
            Place::Key(column) => {
                let rows = self.keys.get_or_insert_with(|| ids.iter().map(|id| table.key(*id)).collect());
                table.key_layout().decode_column(column, rows)?
            }
            Place::Value(column) => {
                let rows = self.values.get_or_insert_with(|| ids.iter().map(|id| table.value(*id)).collect());
                table.value_layout().decode_column(column, rows)?
            }
        })
    }

    /// All input columns.
    pub fn columns(&mut self) -> Result<Vec<ArrayRef>, DataflowError> {
        (0..self.rows.places.len()).map(|column| self.column(column)).collect()
    }
}

/// Copies of rows, as they are when they are pushed.
#[derive(Default)]
pub(super) struct Copies {
    keys: Rows,
    values: Rows,
    count: usize,
}

impl Copies {
    /// A row of the encoded batch.
    pub fn push_new(&mut self, rows: &StoredRows, row: usize) {
        self.keys.push(rows.key_bytes.get(row));
        self.values.push(rows.value_bytes.get(row));
        self.count += 1;
    }

    /// A stored row.
    pub fn push_stored(&mut self, rows: &StoredRows, id: RowId) {
        self.keys.push(rows.table.key(id));
        self.values.push(rows.table.value(id));
        self.count += 1;
    }

    /// One of other copies.
    pub fn push_copy(&mut self, other: &Self, index: usize) {
        self.keys.push(other.keys.get(index));
        self.values.push(other.values.get(index));
        self.count += 1;
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True if a stored row has the value that this copy has.
    pub fn is_same(&self, index: usize, rows: &StoredRows, id: RowId) -> bool {
        self.values.get(index) == rows.table.value(id)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.count = 0;
    }

    /// All input columns of rows told apart by their key.
    pub fn columns(&self, rows: &StoredRows) -> Result<Vec<ArrayRef>, DataflowError> {
        let keys: Vec<&[u8]> = (0..self.count).map(|row| self.keys.get(row)).collect();
        let values: Vec<&[u8]> = (0..self.count).map(|row| self.values.get(row)).collect();
        let column = |place: &Place| match place {
            Place::Key(column) => rows.table.key_layout().decode_column(*column, &keys),
            Place::Value(column) => rows.table.value_layout().decode_column(*column, &values),
        };
        Ok(rows.places.iter().map(column).collect::<Result<_, _>>()?)
    }
}

/// Rows that a batch job gives once the input has ended.
#[derive(Default)]
pub(super) struct FinalRows {
    /// The first one last.
    left: Vec<RowId>,
}

impl FinalRows {
    /// These are to be given, in this order.
    pub fn begin(&mut self, rows: impl IntoIterator<Item = RowId>) {
        self.left = rows.into_iter().collect();
        self.left.reverse();
    }

    /// Gives rows as `+I` and forgets them, as long as there is room; `records` makes a batch of the input's columns.
    pub fn give(
        &mut self,
        rows: &mut StoredRows,
        output: &mut Output,
        records: impl Fn(Vec<ArrayRef>, usize) -> Result<RecordBatch, DataflowError>,
    ) -> Result<Flow, DataflowError> {
        while !self.left.is_empty() {
            if !output.has_room() {
                return Ok(Flow::More);
            }
            let from = self.left.len().saturating_sub(Output::BATCH_ROWS);
            let mut ids = self.left.split_off(from);
            ids.reverse();
            let columns = rows.decoder(&ids).columns()?;
            output.push(Batch::inserts(records(columns, ids.len())?));
            ids.into_iter().for_each(|id| rows.table.remove(id));
        }
        Ok(Flow::Done)
    }
}

/// A batch of so many rows, which may have no column.
pub(super) fn records(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, DataflowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The error for a row taken back that was never given.
pub(super) fn unknown_retraction(operator: &str, batch: &Batch, row: usize) -> DataflowError {
    let columns = batch.records().columns().iter();
    let text: Vec<String> =
        columns.map(|c| array_value_to_string(c, row).unwrap_or_else(|error| error.to_string())).collect();
    DataflowError::UnknownRetraction { operator: operator.to_owned(), row: format!("[{}]", text.join(", ")) }
}
