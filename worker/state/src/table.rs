//! STUB
use crate::{RowLayout, StateError};
use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use streamfleet_types::{Epoch, HashRange};

/// The columns of a state table.
#[derive(Debug, Clone)]
pub struct TableSchema {
    /// Name, unique in its operator.
    pub name: String,
    /// Columns of the key: their canonical hash routes the row.
    pub key: Vec<FieldRef>,
    /// Further columns that make the row unique within its key; may be empty.
    pub sub_key: Vec<FieldRef>,
    /// The rest.
    pub value: Vec<FieldRef>,
}

/// Names a row of one table for as long as it lives there. Not stable over a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u32);

/// A state table in memory.
#[derive(Debug)]
pub struct RowTable {}

impl RowTable {
    /// An empty table.
    pub fn new(_schema: TableSchema) -> Result<Self, StateError> {
        todo!()
    }
    /// Its columns.
    pub fn schema(&self) -> &TableSchema {
        todo!()
    }
    /// Layout of key and sub-key columns together: the bytes that identify a row.
    pub fn key_layout(&self) -> &RowLayout {
        todo!()
    }
    /// Layout of the value columns.
    pub fn value_layout(&self) -> &RowLayout {
        todo!()
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// True without rows.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Memory in bytes, index included.
    pub fn bytes(&self) -> usize {
        todo!()
    }
    /// The row with this key (key and sub-key, encoded), if any. `hash` is the canonical hash of the key columns.
    pub fn find(&self, _hash: u64, _key: &[u8]) -> Option<RowId> {
        todo!()
    }
    /// Finds the row, or adds it with `value`; true if it was added.
    pub fn find_or_insert(&mut self, _hash: u64, _key: &[u8], _value: &[u8]) -> (RowId, bool) {
        todo!()
    }
    /// Canonical hash of the row's key columns.
    pub fn hash(&self, _row: RowId) -> u64 {
        todo!()
    }
    /// The row's key and sub-key, encoded.
    pub fn key(&self, _row: RowId) -> &[u8] {
        todo!()
    }
    /// The row's value, encoded.
    pub fn value(&self, _row: RowId) -> &[u8] {
        todo!()
    }
    /// The row's value, to change in place; the row counts as changed.
    pub fn value_mut(&mut self, _row: RowId) -> &mut [u8] {
        todo!()
    }
    /// Another value, of any length; the row keeps its id and counts as changed.
    pub fn replace(&mut self, _row: RowId, _value: &[u8]) {
        todo!()
    }
    /// Removes a row.
    pub fn remove(&mut self, _row: RowId) {
        todo!()
    }
    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        std::iter::empty()
    }
    /// Shares what changed since the last freeze (rows written, keys removed) with the snapshot. Copies no row.
    pub fn freeze(&mut self, _epoch: Epoch) -> FrozenTable {
        todo!()
    }
    /// Applies rows of a snapshot file (see [`crate::file`]), tombstones first. Loaded rows do not count as changed.
    pub fn load(&mut self, _rows: &RecordBatch, _range: HashRange) -> Result<(), StateError> {
        todo!()
    }
}

/// What changed in a table up to a freeze: shared blocks, to be encoded on another thread.
#[derive(Debug)]
pub struct FrozenTable {}
