//! Changes of rows that meet in one key become those of the row that came last: what a table that replaces rows by this key
//! must hold.
//!
//! # State tables
//! `rows`: key, number of arrival -> the other columns. All rows are kept, for the last one may be taken back.
//!
//! # On batch
//! Rows are added and taken back one by one: the row taken back is the youngest of its key that is equal to it, and needs not
//! be the last. Then every key whose last row has become another gives one change: `+I`, `+U` or `-D`. What a key held in
//! between is not given, nor the same row again, nor the row before an update: a table by key has no use for it.
//!
//! # On time
//! Nothing. In batch mode the last row of every key is emitted at the end.

use super::chains::{Chains, END};
use super::key_index::KeyShape;
use super::stored_rows::{Added, Copies, FinalRows, Identity, StoredRows, records, unknown_retraction};
use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use arrow::array::Int8Array;
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;
use streamfleet_logical::UpsertMaterializeSpec;
use streamfleet_state::{RowId, RowTable};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, Millis, RowKind};

/// A key that a batch changes.
#[derive(Debug, Clone, Copy)]
struct Touched {
    /// A row of the batch that has it.
    row: usize,
    hash: u64,
    /// A copy of the row that was its last before the batch.
    before: Option<usize>,
}

/// See the module.
pub struct UpsertMaterializeOperator {
    name: String,
    rows: StoredRows,
    shape: KeyShape,
    /// The rows of each key, the last one first.
    chains: Chains,
    output: SchemaRef,
    batch_mode: bool,
    /// Of the batch at hand: its keys in the order in which they come, and where they are by hash.
    touched: Vec<Touched>,
    by_hash: HashTable<u32>,
    befores: Copies,
    final_rows: FinalRows,
}

impl UpsertMaterializeOperator {
    /// # Errors
    /// A column of a type that cannot be kept.
    pub fn new(spec: &UpsertMaterializeSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let rows = StoredRows::new("rows", &context.inputs[0], &spec.key, Identity::Numbered, None)?;
        Ok(Self {
            name: context.name,
            shape: KeyShape::new(&rows.table.schema().key)?,
            rows,
            chains: Chains::new(true),
            output: context.output,
            batch_mode: context.batch_mode,
            touched: Vec::new(),
            by_hash: HashTable::new(),
            befores: Copies::default(),
            final_rows: FinalRows::default(),
        })
    }

    /// The last row of the key of a row of the encoded batch, or `END`.
    fn last(&self, hash: u64, row: usize) -> RowId {
        let key = self.rows.new_key_row(row);
        self.chains.first(hash, |stored| self.shape.same(key, self.rows.key_row(stored)))
    }

    /// Remembers what a row's key held before this batch.
    fn touch(&mut self, hash: u64, row: usize) {
        let (rows, shape, touched) = (&self.rows, &self.shape, &self.touched);
        let is_known = |at: &u32| {
            let other = touched[*at as usize];
            other.hash == hash && shape.same(rows.new_key_row(other.row), rows.new_key_row(row))
        };
        if self.by_hash.find(hash, is_known).is_some() {
            return;
        }
        let last = self.last(hash, row);
        let before = (last != END).then(|| {
            self.befores.push_stored(&self.rows, last);
            self.befores.len() - 1
        });
        let at = self.touched.len() as u32;
        self.touched.push(Touched { row, hash, before });
        let touched = &self.touched;
        self.by_hash.insert_unique(hash, at, |at| touched[*at as usize].hash);
    }

    fn add(&mut self, hash: u64, row: usize) {
        // Numbered rows are always new.
        if let Added::New(id) = self.rows.add(hash, row) {
            let (rows, shape) = (&self.rows, &self.shape);
            let key = rows.new_key_row(row);
            self.chains.link(id, hash, |stored| shape.same(key, rows.key_row(stored)));
        }
    }

    /// Takes the youngest equal row back; false if there is none.
    fn take_back(&mut self, hash: u64, row: usize) -> bool {
        let mut at = self.last(hash, row);
        while at != END && !self.rows.is_same(at, row) {
            at = self.chains.next(at);
        }
        if at == END {
            return false;
        }
        self.chains.unlink(at, hash);
        self.rows.table.remove(at);
        true
    }

    /// What has become of the keys that the batch touched.
    fn give_changes(&self, output: &mut Output) -> Result<(), DataflowError> {
        let mut changes = Copies::default();
        let mut kinds = Vec::new();
        for touched in &self.touched {
            let last = self.last(touched.hash, touched.row);
            match touched.before {
                None if last == END => {}
                None => {
                    changes.push_stored(&self.rows, last);
                    kinds.push(RowKind::Insert as i8);
                }
                Some(before) if last == END => {
                    changes.push_copy(&self.befores, before);
                    kinds.push(RowKind::Delete as i8);
                }
                Some(before) if self.befores.is_same(before, &self.rows, last) => {}
                Some(_) => {
                    changes.push_stored(&self.rows, last);
                    kinds.push(RowKind::UpdateAfter as i8);
                }
            }
        }
        if kinds.is_empty() {
            return Ok(());
        }
        let records = records(&self.output, changes.columns(&self.rows)?, kinds.len())?;
        output.push(Batch::changelog(records, Int8Array::from(kinds))?);
        Ok(())
    }

    fn give_final(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.final_rows.give(&mut self.rows, output, |columns, rows| records(&self.output, columns, rows))
    }
}

impl Operator for UpsertMaterializeOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        vec![&mut self.rows.table]
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        self.chains.clear();
        for id in self.rows.restored() {
            let (rows, shape) = (&self.rows, &self.shape);
            self.chains.link(id, rows.table.hash(id), |stored| shape.same(rows.key_row(id), rows.key_row(stored)));
        }
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let hashes = hash_columns(&self.rows.key_columns(batch), batch.rows())?;
        self.rows.encode(batch, None)?;
        self.touched.clear();
        self.by_hash.clear();
        self.befores.clear();
        for (row, hash) in hashes.iter().enumerate() {
            if !self.batch_mode {
                self.touch(*hash, row);
            }
            if batch.kind(row).is_addition() {
                self.add(*hash, row);
            } else if !self.take_back(*hash, row) {
                return Err(unknown_retraction(&self.name, batch, row));
            }
        }
        self.give_changes(output)?;
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, _watermark: Millis, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        if self.batch_mode {
            let all: Vec<RowId> = self.rows.table.iter().collect();
            let (last, others): (Vec<RowId>, Vec<RowId>) = all.into_iter().partition(|id| self.chains.is_first(*id));
            others.into_iter().for_each(|id| self.rows.table.remove(id));
            self.final_rows.begin(last);
        }
        self.give_final(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.give_final(output)
    }
}

#[cfg(test)]
#[path = "upsert_materialize_tests.rs"]
mod tests;
