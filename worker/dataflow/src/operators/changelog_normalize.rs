//! Rows that replace one another by key, as from an upsert log, become a changelog.
//!
//! # State tables
//! `rows`: key -> the other columns.
//!
//! # On batch
//! Row by row: a new key gives `+I`, another row of a known key gives `-U` and `+U`, the same row again gives nothing. A
//! deletion of a known key gives `-D` with the row that was kept, since it names no more than the key itself; of an unknown
//! key it gives nothing.
//!
//! # On time
//! Nothing. In batch mode all rows are emitted at the end.

use super::stored_rows::{Copies, FinalRows, Identity, StoredRows, records};
use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use arrow::array::Int8Array;
use arrow::datatypes::SchemaRef;
use streamfleet_logical::ChangelogNormalizeSpec;
use streamfleet_state::RowTable;
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, Millis, RowKind};

/// See the module.
pub struct ChangelogNormalizeOperator {
    rows: StoredRows,
    output: SchemaRef,
    emits_before: bool,
    batch_mode: bool,
    final_rows: FinalRows,
}

impl ChangelogNormalizeOperator {
    /// # Errors
    /// A column of a type that cannot be kept.
    pub fn new(spec: &ChangelogNormalizeSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        Ok(Self {
            rows: StoredRows::new("rows", &context.inputs[0], &spec.key, Identity::Key, None)?,
            output: context.output,
            emits_before: context.output_changes,
            batch_mode: context.batch_mode,
            final_rows: FinalRows::default(),
        })
    }

    fn give_final(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.final_rows.give(&mut self.rows, output, |columns, rows| records(&self.output, columns, rows))
    }
}

impl Operator for ChangelogNormalizeOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        vec![&mut self.rows.table]
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        self.rows.table.loaded();
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let hashes = hash_columns(&self.rows.key_columns(batch), batch.rows())?;
        self.rows.encode(batch, None)?;
        let (gives, emits_before) = (!self.batch_mode, self.emits_before);
        let mut changes = Copies::default();
        let mut kinds = Vec::new();
        for (row, hash) in hashes.iter().enumerate() {
            let is_addition = batch.kind(row).is_addition();
            let before = self.rows.find(*hash, row);
            match before {
                None if is_addition => {
                    self.rows.add(*hash, row);
                    if gives {
                        changes.push_new(&self.rows, row);
                        kinds.push(RowKind::Insert as i8);
                    }
                }
                Some(id) if is_addition && !self.rows.is_same(id, row) => {
                    if gives && emits_before {
                        changes.push_stored(&self.rows, id);
                        kinds.push(RowKind::UpdateBefore as i8);
                    }
                    self.rows.replace(id, row);
                    if gives {
                        changes.push_new(&self.rows, row);
                        kinds.push(RowKind::UpdateAfter as i8);
                    }
                }
                Some(id) if !is_addition => {
                    if gives {
                        changes.push_stored(&self.rows, id);
                        kinds.push(RowKind::Delete as i8);
                    }
                    self.rows.table.remove(id);
                }
                _ => {}
            }
        }
        if kinds.is_empty() {
            return Ok(Flow::Done);
        }
        let records = records(&self.output, changes.columns(&self.rows)?, kinds.len())?;
        let inserts_only = kinds.iter().all(|k| *k == RowKind::Insert as i8);
        output.push(match inserts_only {
            true => Batch::inserts(records),
            false => Batch::changelog(records, Int8Array::from(kinds))?,
        });
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, _watermark: Millis, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        if self.batch_mode {
            self.final_rows.begin(self.rows.table.iter());
        }
        self.give_final(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.give_final(output)
    }
}

#[cfg(test)]
#[path = "changelog_normalize_tests.rs"]
mod tests;
