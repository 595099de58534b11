//! Aggregates per key and emits the changes of each batch.
//!
//! # State tables
//! `groups`: key -> row count, accumulators. `distinct<n>` per DISTINCT call: key, value -> count. `values<n>` per MIN or MAX
//! of a changelog: likewise.
//!
//! # On batch
//! A group that the batch touches is emitted once, with the net change: `+I` when it is new, `-U` and `+U` when its result
//! changed, `-D` when its last row is gone, nothing when its result is as before.
//!
//! # On time
//! Nothing. In batch mode all groups are emitted at the end; without a key there is one group then, even of no row.

use super::{Operator, OperatorContext};
use crate::aggregate::{Accumulators, GroupFields};
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, BooleanArray, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use std::sync::Arc;
use streamfleet_logical::GroupAggregateSpec;
use streamfleet_state::{RowId, RowTable, Rows, TableSchema};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, Millis, RowKind};

/// Value column with the number of rows in the group.
const ROWS: usize = 0;

/// The number of rows of the one group without a key once it was given at the end: it must not be given again.
const GIVEN: i64 = i64::MIN;

/// See the module.
pub struct GroupAggregateOperator {
    keys: Vec<usize>,
    accumulators: Accumulators,
    table: RowTable,
    initial: Vec<u8>,
    output: SchemaRef,
    emits_before: bool,
    batch_mode: bool,
    /// The batch that last touched a group, by the group's row.
    touched_in: Vec<u32>,
    batch_number: u32,
    /// Groups still to be emitted at the end, last first.
    final_groups: Vec<RowId>,
    /// This subtask has the one group without a key.
    owns_no_key: bool,
    scratch: Rows,
}

pub(crate) fn key_fields(keys: &[usize], input: &SchemaRef) -> Vec<FieldRef> {
    keys.iter().map(|k| Arc::new(input.field(*k).clone().with_nullable(true))).collect()
}

impl GroupAggregateOperator {
    /// # Errors
    /// An aggregate of a type that is not supported, or not over changes.
    pub fn new(spec: &GroupAggregateSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let input = &context.inputs[0];
        let keys = key_fields(&spec.keys, input);
        let rows: FieldRef = Arc::new(Field::new("rows", DataType::Int64, false));
        let changes = context.input_changes[0];
        let groups = GroupFields { key: &keys, window: &[] };
        let accumulators = Accumulators::new(&context.name, &spec.aggregates, input, groups, vec![rows], changes)?;
        let schema = TableSchema {
            name: "groups".to_owned(),
            key: keys,
            sub_key: Vec::new(),
            value: accumulators.fields().to_vec(),
        };
        let table = RowTable::new(schema)?;
        let mut initial = accumulators.initial(table.value_layout());
        table.value_layout().set_i64(&mut initial, ROWS, 0);
        Ok(Self {
            keys: spec.keys.clone(),
            accumulators,
            table,
            initial,
            output: context.output,
            emits_before: context.output_changes,
            batch_mode: context.batch_mode,
            touched_in: Vec::new(),
            batch_number: 0,
            final_groups: Vec::new(),
            owns_no_key: spec.keys.is_empty() && context.owned.contains(hash_columns(&[], 1)?[0]),
            scratch: Rows::new(),
        })
    }

    /// Finds or makes every row's group; `touched` gets each group once, with its value before (absent if it is new).
    fn find_groups(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        touched: &mut Vec<RowId>,
        before: &mut Rows,
    ) -> Result<Vec<RowId>, DataflowError> {
        self.scratch.clear();
        self.table.key_layout().encode(keys, hashes.len(), &mut self.scratch)?;
        self.batch_number = self.batch_number.wrapping_add(1);
        let mut groups = Vec::with_capacity(hashes.len());
        for (row, hash) in hashes.iter().enumerate() {
            let (group, inserted) = self.table.find_or_insert(*hash, self.scratch.get(row), &self.initial);
            let index = group.0 as usize;
            if self.touched_in.len() <= index {
                self.touched_in.resize(index + 1, 0);
            }
            if self.touched_in[index] != self.batch_number || inserted {
                self.touched_in[index] = self.batch_number;
                touched.push(group);
                before.push(if inserted { &[] } else { self.table.value(group) });
            }
            groups.push(group);
        }
        Ok(groups)
    }

    fn emit_changes(&mut self, touched: &[RowId], before: &Rows, output: &mut Output) -> Result<(), DataflowError> {
        let layout = self.table.value_layout();
        let old: Vec<&[u8]> = (0..touched.len())
            .map(|i| Some(before.get(i)).filter(|v| !v.is_empty()).unwrap_or(&self.initial))
            .collect();
        let new: Vec<&[u8]> = touched.iter().map(|group| self.table.value(*group)).collect();
        let (old_results, new_results) =
            (self.accumulators.results(layout, &old)?, self.accumulators.results(layout, &new)?);
        let unchanged = all_equal(&old_results, &new_results, touched.len())?;
        // Row n of the old results has index n, of the new ones n + the number of groups.
        let (mut indices, mut kinds) = (Vec::new(), Vec::new());
        let count = touched.len() as u32;
        let mut emit = |index: u32, kind: RowKind| {
            indices.push(index);
            kinds.push(kind as i8);
        };
        for row in 0..count {
            let was_there = !before.get(row as usize).is_empty();
            let is_there = layout.get_i64(new[row as usize], ROWS) > 0;
            match (was_there, is_there) {
                (false, true) => emit(row + count, RowKind::Insert),
                (true, false) => emit(row, RowKind::Delete),
                (true, true) if !unchanged.value(row as usize) => {
                    if self.emits_before {
                        emit(row, RowKind::UpdateBefore);
                    }
                    emit(row + count, RowKind::UpdateAfter);
                }
                _ => {}
            }
        }
        let keys: Vec<&[u8]> = touched.iter().map(|group| self.table.key(*group)).collect();
        let indices = UInt32Array::from(indices);
        let group_indices = UInt32Array::from_iter_values(indices.values().iter().map(|i| i % count.max(1)));
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for key in self.table.key_layout().decode(&keys)? {
            columns.push(take(&key, &group_indices, None)?);
        }
        for (old, new) in old_results.iter().zip(&new_results) {
            columns.push(take(&concat(&[old, new])?, &indices, None)?);
        }
        let kinds = Int8Array::from(kinds);
        if kinds.is_empty() {
            return Ok(());
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(kinds.len()));
        let records = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
        let changes = kinds.values().iter().any(|k| *k != RowKind::Insert as i8);
        output.push(if changes { Batch::changelog(records, kinds)? } else { Batch::inserts(records) });
        Ok(())
    }

    /// Emits groups as `+I` and forgets them.
    fn emit_final(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        while !self.final_groups.is_empty() {
            if !output.has_room() {
                return Ok(Flow::More);
            }
            let from = self.final_groups.len().saturating_sub(Output::BATCH_ROWS);
            let mut groups = self.final_groups.split_off(from);
            groups.reverse();
            let keys: Vec<&[u8]> = groups.iter().map(|g| self.table.key(*g)).collect();
            let values: Vec<&[u8]> = groups.iter().map(|g| self.table.value(*g)).collect();
            let mut columns = self.table.key_layout().decode(&keys)?;
            columns.extend(self.accumulators.results(self.table.value_layout(), &values)?);
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(groups.len()));
            let records = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
            output.push(Batch::inserts(records));
            if self.keys.is_empty() {
                let give = |group| self.table.update(group, |layout, value| layout.set_i64(value, ROWS, GIVEN));
                groups.into_iter().for_each(give);
            } else {
                groups.into_iter().for_each(|group| self.table.remove(group));
            }
        }
        Ok(Flow::Done)
    }
}

/// True where all columns are equal, NULL being equal to NULL.
fn all_equal(left: &[ArrayRef], right: &[ArrayRef], rows: usize) -> Result<BooleanArray, DataflowError> {
    let mut equal = BooleanArray::from(vec![true; rows]);
    for (l, r) in left.iter().zip(right) {
        equal = and(&equal, &not_distinct(l, r)?)?;
    }
    Ok(equal)
}

impl Operator for GroupAggregateOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        std::iter::once(&mut self.table).chain(self.accumulators.tables()).collect()
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        self.accumulators.restored(&self.table)
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|k| batch.column(*k).clone()).collect();
        let hashes = hash_columns(&keys, batch.rows())?;
        let (mut touched, mut before) = (Vec::new(), Rows::new());
        let groups = self.find_groups(&keys, &hashes, &mut touched, &mut before)?;
        for (row, group) in groups.iter().enumerate() {
            let sign = if batch.kind(row).is_addition() { 1 } else { -1 };
            self.table.update(*group, |layout, value| layout.set_i64(value, ROWS, layout.get_i64(value, ROWS) + sign));
        }
        self.accumulators.update(&mut self.table, &groups, None, &keys, &hashes, batch)?;
        if !self.batch_mode {
            self.emit_changes(&touched, &before, output)?;
        }
        if batch.kinds().is_some() {
            let layout = self.table.value_layout();
            let empty: Vec<RowId> =
                touched.into_iter().filter(|g| layout.get_i64(self.table.value(*g), ROWS) <= 0).collect();
            // Their values were all taken back with their rows, if the input is what it says it is.
            self.accumulators.drop_groups(&empty);
            self.accumulators.finish_drop(usize::MAX);
            empty.into_iter().for_each(|group| self.table.remove(group));
        }
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, _watermark: Millis, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        if !self.batch_mode {
            return Ok(Flow::Done);
        }
        if self.owns_no_key && self.table.is_empty() {
            // Without any row the result is that of none: COUNT is 0, SUM is NULL.
            let hash = hash_columns(&[], 1)?[0];
            self.scratch.clear();
            self.table.key_layout().encode(&[], 1, &mut self.scratch)?;
            self.table.find_or_insert(hash, self.scratch.get(0), &self.initial);
        }
        let layout = self.table.value_layout();
        let is_due = |group: &RowId| layout.get_i64(self.table.value(*group), ROWS) != GIVEN;
        self.final_groups = self.table.iter().filter(is_due).collect();
        self.final_groups.reverse();
        self.emit_final(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.emit_final(output)
    }
}

#[cfg(test)]
#[path = "group_aggregate_tests.rs"]
mod tests;
