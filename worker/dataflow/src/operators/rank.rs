//! Keeps the first rows of each partition by an order (`ROW_NUMBER() <= N`).
//!
//! # State tables
//! `rows`: partition columns, number in order of arrival -> the other columns. Over an append-only input only the best N rows
//! of a partition are kept, over changes all rows. With N = 1 over an append-only input there is no number: the row is
//! replaced in place.
//!
//! # On batch
//! Emits the net change of every partition that the batch touches, in the order of first touch. Equal rows rank by arrival.
//!
//! # On time
//! Nothing. In batch mode all rows are emitted at the end.

use super::join::unknown_retraction;
use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use std::sync::Arc;
use streamfleet_logical::RankSpec;
use streamfleet_state::{RowId, RowLayout, RowTable, Rows, TableSchema};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, Millis, RowKind};

/// Bytes of the sequence number at the end of a sort key.
const SEQUENCE: usize = 8;

/// Where a stored row keeps an input column.
#[derive(Debug, Clone, Copy)]
enum Place {
    Key(usize),
    Value(usize),
}

/// A partition's rows in order, each with its sort key.
struct Partition {
    hash: u64,
    key: Box<[u8]>,
    rows: Vec<(Box<[u8]>, RowId)>,
    /// Its place in the batch's list of touched partitions; verified there.
    slot: u32,
}

/// A partition that the batch touches, with its first rows before.
struct Touched {
    partition: u32,
    before: Vec<RowId>,
}

/// Rows to emit, then rows to remove.
#[derive(Default)]
struct Changes {
    rows: Vec<RowId>,
    ranks: Vec<i64>,
    kinds: Vec<i8>,
    /// Emitted so far.
    done: usize,
    remove: Vec<RowId>,
}

impl Changes {
    fn push(&mut self, row: RowId, index: usize, kind: RowKind) {
        self.rows.push(row);
        self.ranks.push(index as i64 + 1);
        self.kinds.push(kind as i8);
    }
}

/// See the module.
pub struct RankOperator {
    name: String,
    table: RowTable,
    partition: Vec<usize>,
    order: Vec<usize>,
    values: Vec<usize>,
    places: Vec<Place>,
    limit: usize,
    output_rank: bool,
    output: SchemaRef,
    emits_before: bool,
    batch_mode: bool,
    changes: bool,
    converter: RowConverter,
    /// N = 1 over an append-only input.
    single: bool,
    /// By row: its place in the batch's list of touched rows; verified there. Only with `single`.
    slots: Vec<u32>,
    partition_layout: RowLayout,
    sequence: u64,
    index: HashTable<u32>,
    partitions: Vec<Partition>,
    free: Vec<u32>,
    pending: Changes,
    /// Partitions still to be emitted at the end, last first.
    final_partitions: Vec<u32>,
    /// The same with `single`.
    final_rows: Vec<RowId>,
}

impl RankOperator {
    /// # Errors
    /// A column of a type that cannot be kept or ordered.
    pub fn new(spec: &RankSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let input = &context.inputs[0];
        let changes = context.input_changes[0];
        let single = spec.limit == 1 && !changes;
        let mut partition = spec.partition.clone();
        let mut seen = Vec::new();
        partition.retain(|c| {
            !seen.contains(c) && {
                seen.push(*c);
                true
            }
        });
        let field = |c: &usize| -> FieldRef { Arc::new(input.field(*c).clone().with_nullable(true)) };
        let values: Vec<usize> = (0..input.fields().len()).filter(|c| !partition.contains(c)).collect();
        let place = |c: usize| match partition.iter().position(|k| *k == c) {
            Some(key) => Place::Key(key),
            None => Place::Value(values.iter().position(|v| *v == c).unwrap_or_default()),
        };
        let sequence: FieldRef = Arc::new(Field::new("sequence", DataType::UInt64, false));
        let key: Vec<FieldRef> = partition.iter().map(field).collect();
        let sort_fields = spec.order.iter().map(|k| {
            let options = SortOptions { descending: k.descending, nulls_first: k.nulls_first };
            SortField::new_with_options(input.field(k.column).data_type().clone(), options)
        });
        Ok(Self {
            places: (0..input.fields().len()).map(place).collect(),
            partition_layout: RowLayout::new("rows", &key)?,
            table: RowTable::new(TableSchema {
                name: "rows".to_owned(),
                key,
                sub_key: if single { Vec::new() } else { vec![sequence] },
                value: values.iter().map(field).collect(),
            })?,
            converter: RowConverter::new(sort_fields.collect())?,
            name: context.name,
            partition,
            order: spec.order.iter().map(|k| k.column).collect(),
            values,
            limit: usize::try_from(spec.limit).unwrap_or(usize::MAX),
            output_rank: spec.output_rank,
            output: context.output,
            emits_before: context.output_changes,
            batch_mode: context.batch_mode,
            changes,
            single,
            slots: Vec::new(),
            sequence: 0,
            index: HashTable::new(),
            partitions: Vec::new(),
            free: Vec::new(),
            pending: Changes::default(),
            final_partitions: Vec::new(),
            final_rows: Vec::new(),
        })
    }

    fn stored_column(&self, column: usize, rows: &[RowId]) -> Result<ArrayRef, DataflowError> {
        Ok(match self.places[column] {
            Place::Key(c) => {
                let keys: Vec<&[u8]> = rows.iter().map(|row| self.table.key(*row)).collect();
                self.table.key_layout().decode_column(c, &keys)?
            }
            Place::Value(c) => {
                let values: Vec<&[u8]> = rows.iter().map(|row| self.table.value(*row)).collect();
                self.table.value_layout().decode_column(c, &values)?
            }
        })
    }

    fn stored_columns(&self, columns: &[usize], rows: &[RowId]) -> Result<Vec<ArrayRef>, DataflowError> {
        columns.iter().map(|c| self.stored_column(*c, rows)).collect()
    }

    /// Sort keys, one a row: all equal without an order.
    fn sort_keys(&self, columns: &[ArrayRef], rows: usize) -> Result<SortKeys, DataflowError> {
        let order = if columns.is_empty() { None } else { Some(self.converter.convert_columns(columns)?) };
        debug_assert!(order.as_ref().is_none_or(|o| o.num_rows() == rows));
        Ok(SortKeys(order))
    }

    /// Gives rows out; `kinds` only if one of them is not `+I`.
    fn give(
        &self,
        mut columns: Vec<ArrayRef>,
        ranks: Vec<i64>,
        kinds: Vec<i8>,
        output: &mut Output,
    ) -> Result<(), DataflowError> {
        if kinds.is_empty() {
            return Ok(());
        }
        if self.output_rank {
            columns.push(Arc::new(Int64Array::from(ranks)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kinds.len()));
        let records = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
        let changes = kinds.iter().any(|k| *k != RowKind::Insert as i8);
        output.push(if changes { Batch::changelog(records, Int8Array::from(kinds))? } else { Batch::inserts(records) });
        Ok(())
    }

    /// N = 1 over an append-only input.
    fn on_single_batch(&mut self, batch: &Batch, output: &mut Output) -> Result<(), DataflowError> {
        let (hashes, keys, values) = self.encode_single(batch)?;
        let rows = batch.rows();
        let order: Vec<ArrayRef> = self.order.iter().map(|c| batch.column(*c).clone()).collect();
        let order = self.sort_keys(&order, rows)?;
        // Each touched partition's stored row, and the batch's row that is better, if any.
        let mut touched: Vec<(RowId, Option<u32>)> = Vec::new();
        let mut known: Vec<(u32, RowId)> = Vec::new();
        let mut slots = Vec::with_capacity(rows);
        for (row, hash) in hashes.iter().enumerate() {
            let (stored, inserted) = self.table.find_or_insert(*hash, keys.get(row), values.get(row));
            let index = stored.0 as usize;
            if self.slots.len() <= index {
                self.slots.resize(index + 1, 0);
            }
            if touched.get(self.slots[index] as usize).is_none_or(|(of, _)| *of != stored) {
                self.slots[index] = touched.len() as u32;
                if !inserted {
                    known.push((touched.len() as u32, stored));
                }
                touched.push((stored, inserted.then_some(row as u32)));
            }
            slots.push(self.slots[index]);
        }
        let known_rows: Vec<RowId> = known.iter().map(|(_, row)| *row).collect();
        let known_order = self.stored_columns(&self.order, &known_rows)?;
        let known_order = self.sort_keys(&known_order, known.len())?;
        let mut known_at = vec![u32::MAX; touched.len()];
        known.iter().enumerate().for_each(|(at, (slot, _))| known_at[*slot as usize] = at as u32);
        for (row, slot) in slots.iter().enumerate() {
            let (_, best) = &mut touched[*slot as usize];
            let current = match best {
                Some(best) => order.get(*best as usize),
                None => known_order.get(known_at[*slot as usize] as usize),
            };
            if order.get(row) < current {
                *best = Some(row as u32);
            }
        }
        if !self.batch_mode {
            self.emit_single(batch, &touched, &known_at, output)?;
        }
        for (stored, best) in &touched {
            if let Some(best) = best
                && self.table.value(*stored) != values.get(*best as usize)
            {
                self.table.replace(*stored, values.get(*best as usize));
            }
        }
        Ok(())
    }

    fn encode_single(&self, batch: &Batch) -> Result<(Vec<u64>, Rows, Rows), DataflowError> {
        let columns = |of: &[usize]| of.iter().map(|c| batch.column(*c).clone()).collect::<Vec<ArrayRef>>();
        let (partition, value) = (columns(&self.partition), columns(&self.values));
        let hashes = hash_columns(&partition, batch.rows())?;
        let (mut keys, mut values) = (Rows::new(), Rows::new());
        self.partition_layout.encode(&partition, batch.rows(), &mut keys)?;
        self.table.value_layout().encode(&value, batch.rows(), &mut values)?;
        Ok((hashes, keys, values))
    }

    fn emit_single(
        &self,
        batch: &Batch,
        touched: &[(RowId, Option<u32>)],
        known_at: &[u32],
        output: &mut Output,
    ) -> Result<(), DataflowError> {
        // Row n of the batch has index n, the stored rows that go follow.
        let (mut indices, mut kinds, mut old) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, (stored, best)) in touched.iter().enumerate() {
            let Some(best) = best else { continue };
            let is_new = known_at[slot] == u32::MAX;
            if !is_new && self.emits_before {
                indices.push((batch.rows() + old.len()) as u32);
                kinds.push(RowKind::UpdateBefore as i8);
                old.push(*stored);
            }
            indices.push(*best);
            kinds.push(if is_new { RowKind::Insert } else { RowKind::UpdateAfter } as i8);
        }
        let indices = UInt32Array::from(indices);
        let mut columns = Vec::with_capacity(self.places.len());
        for column in 0..self.places.len() {
            let new = batch.column(column);
            columns.push(if old.is_empty() {
                take(new, &indices, None)?
            } else {
                let stored = self.stored_column(column, &old)?;
                take(&concat(&[new, &stored])?, &indices, None)?
            });
        }
        self.give(columns, vec![1; kinds.len()], kinds, output)
    }

    /// The partition of a key, made if it is new.
    fn find_partition(&mut self, hash: u64, key: &[u8]) -> u32 {
        let partitions = &self.partitions;
        let found = self.index.find(hash, |p| *partitions[*p as usize].key == *key);
        if let Some(found) = found {
            return *found;
        }
        let partition = Partition { hash, key: key.into(), rows: Vec::new(), slot: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.partitions[number as usize] = partition;
                number
            }
            None => {
                self.partitions.push(partition);
                self.partitions.len() as u32 - 1
            }
        };
        let partitions = &self.partitions;
        self.index.insert_unique(hash, number, |p| partitions[*p as usize].hash);
        number
    }

    fn forget_if_empty(&mut self, number: u32) {
        let partition = &mut self.partitions[number as usize];
        if !partition.rows.is_empty() {
            return;
        }
        (partition.rows, partition.key) = (Vec::new(), Box::default());
        if let Ok(entry) = self.index.find_entry(partition.hash, |p| *p == number) {
            entry.remove();
        }
        self.free.push(number);
    }

    fn first_rows(&self, number: u32) -> Vec<RowId> {
        self.partitions[number as usize].rows.iter().take(self.limit).map(|(_, row)| *row).collect()
    }

    fn on_general_batch(&mut self, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let rows = batch.rows();
        let (hashes, partition_keys, values) = self.encode_single(batch)?;
        let mut identity: Vec<ArrayRef> = self.partition.iter().map(|c| batch.column(*c).clone()).collect();
        let first_sequence = self.sequence;
        self.sequence += rows as u64;
        identity.push(Arc::new(UInt64Array::from_iter_values(first_sequence..self.sequence)));
        let mut keys = Rows::new();
        self.table.key_layout().encode(&identity, rows, &mut keys)?;
        let order: Vec<ArrayRef> = self.order.iter().map(|c| batch.column(*c).clone()).collect();
        let order = self.sort_keys(&order, rows)?;
        let mut touched: Vec<Touched> = Vec::new();
        let mut changes = Changes::default();
        let mut sort_key: Vec<u8> = Vec::new();
        for (row, hash) in hashes.iter().enumerate() {
            let number = self.find_partition(*hash, partition_keys.get(row));
            let slot = self.partitions[number as usize].slot as usize;
            if touched.get(slot).is_none_or(|t| t.partition != number) {
                self.partitions[number as usize].slot = touched.len() as u32;
                touched.push(Touched { partition: number, before: self.first_rows(number) });
            }
            sort_key.clear();
            sort_key.extend_from_slice(order.get(row));
            if !batch.kind(row).is_addition() {
                let removed = self.take_back(number, &sort_key, values.get(row));
                changes.remove.push(removed.ok_or_else(|| unknown_retraction(&self.name, batch, row))?);
                continue;
            }
            sort_key.extend_from_slice(&(first_sequence + row as u64).to_be_bytes());
            let partition = &mut self.partitions[number as usize];
            let at = partition.rows.partition_point(|(key, _)| **key < *sort_key);
            if !self.changes && at >= self.limit {
                continue;
            }
            let (stored, _) = self.table.find_or_insert(*hash, keys.get(row), values.get(row));
            partition.rows.insert(at, (sort_key.as_slice().into(), stored));
            if !self.changes && partition.rows.len() > self.limit {
                changes.remove.extend(partition.rows.pop().map(|(_, row)| row));
            }
        }
        for Touched { partition, before } in touched {
            if !self.batch_mode {
                self.compare(partition, &before, &mut changes);
            }
            self.forget_if_empty(partition);
        }
        self.pending = changes;
        self.emit_changes(output)
    }

    /// Finds the first row of this content and takes it out of the partition.
    fn take_back(&mut self, number: u32, order: &[u8], value: &[u8]) -> Option<RowId> {
        let rows = &mut self.partitions[number as usize].rows;
        let order_of = |key: &[u8]| -> usize { key.len() - SEQUENCE };
        let from = rows.partition_point(|(key, _)| key[..order_of(key)] < *order);
        let equal = rows[from..].iter().take_while(|(key, _)| key[..order_of(key)] == *order);
        let at = from + equal.into_iter().position(|(_, row)| self.table.value(*row) == value)?;
        Some(rows.remove(at).1)
    }

    /// Adds what changed between the first rows before and now.
    fn compare(&self, number: u32, before: &[RowId], changes: &mut Changes) {
        let after = self.first_rows(number);
        if self.output_rank {
            self.compare_ranks(before, &after, changes);
            return;
        }
        let sorted = |rows: &[RowId]| {
            let mut sorted = rows.to_vec();
            sorted.sort_unstable();
            sorted
        };
        let (before_set, after_set) = (sorted(before), sorted(&after));
        let missing = |rows: &[RowId], from: &[RowId]| -> Vec<Option<RowId>> {
            rows.iter().map(|row| from.binary_search(row).is_err().then_some(*row)).collect()
        };
        let (mut left, mut entered) = (missing(before, &after_set), missing(&after, &before_set));
        if self.changes {
            // A row that was taken back and given again is no change.
            for gone in &mut left {
                let Some(row) = *gone else { continue };
                let same = entered.iter_mut().find(|e| e.is_some_and(|e| self.table.value(e) == self.table.value(row)));
                if let Some(same) = same {
                    (*same, *gone) = (None, None);
                }
            }
        }
        let is_pair =
            |rank: usize| left.get(rank).copied().flatten().is_some() && entered.get(rank).copied().flatten().is_some();
        for (rank, row) in left.iter().enumerate().filter(|(rank, _)| !is_pair(*rank)) {
            row.iter().for_each(|row| changes.push(*row, rank, RowKind::Delete));
        }
        for (rank, row) in entered.iter().enumerate() {
            let Some(row) = row else { continue };
            match left.get(rank).copied().flatten() {
                Some(old) => {
                    if self.emits_before {
                        changes.push(old, rank, RowKind::UpdateBefore);
                    }
                    changes.push(*row, rank, RowKind::UpdateAfter);
                }
                None => changes.push(*row, rank, RowKind::Insert),
            }
        }
    }

    fn compare_ranks(&self, before: &[RowId], after: &[RowId], changes: &mut Changes) {
        for rank in 0..before.len().max(after.len()) {
            match (before.get(rank).copied(), after.get(rank).copied()) {
                (Some(old), Some(new)) => {
                    if old == new || self.table.value(old) == self.table.value(new) {
                        continue;
                    }
                    if self.emits_before {
                        changes.push(old, rank, RowKind::UpdateBefore);
                    }
                    changes.push(new, rank, RowKind::UpdateAfter);
                }
                (Some(old), None) => changes.push(old, rank, RowKind::Delete),
                (None, Some(new)) => changes.push(new, rank, RowKind::Insert),
                (None, None) => {}
            }
        }
    }

    fn emit_changes(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        let all: Vec<usize> = (0..self.places.len()).collect();
        while self.pending.done < self.pending.rows.len() {
            if !output.has_room() {
                return Ok(Flow::More);
            }
            let from = self.pending.done;
            let to = (from + Output::BATCH_ROWS).min(self.pending.rows.len());
            let columns = self.stored_columns(&all, &self.pending.rows[from..to])?;
            let (ranks, kinds) = (self.pending.ranks[from..to].to_vec(), self.pending.kinds[from..to].to_vec());
            self.give(columns, ranks, kinds, output)?;
            self.pending.done = to;
        }
        for row in std::mem::take(&mut self.pending).remove {
            self.table.remove(row);
        }
        Ok(Flow::Done)
    }

    /// Emits everything as `+I` and forgets it.
    fn emit_final(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        loop {
            if self.emit_changes(output)? == Flow::More {
                return Ok(Flow::More);
            }
            let mut changes = Changes::default();
            while changes.rows.len() < Output::BATCH_ROWS {
                if let Some(row) = self.final_rows.pop() {
                    changes.push(row, 0, RowKind::Insert);
                    changes.remove.push(row);
                } else if let Some(number) = self.final_partitions.pop() {
                    let rows = std::mem::take(&mut self.partitions[number as usize].rows);
                    for (index, (_, row)) in rows.iter().enumerate().take(self.limit) {
                        changes.push(*row, index, RowKind::Insert);
                    }
                    changes.remove.extend(rows.iter().map(|(_, row)| *row));
                    self.forget_if_empty(number);
                } else {
                    break;
                }
            }
            if changes.remove.is_empty() {
                return Ok(Flow::Done);
            }
            self.pending = changes;
        }
    }
}

/// Sort keys of some rows.
struct SortKeys(Option<arrow::row::Rows>);

impl SortKeys {
    fn get(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

impl Operator for RankOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        vec![&mut self.table]
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        if self.single {
            return Ok(());
        }
        self.index.clear();
        self.partitions.clear();
        self.free.clear();
        self.sequence = 0;
        let rows: Vec<RowId> = self.table.iter().collect();
        let sequence_column = self.partition.len();
        for chunk in rows.chunks(Output::BATCH_ROWS) {
            let partition = self.stored_columns(&self.partition, chunk)?;
            let mut keys = Rows::new();
            self.partition_layout.encode(&partition, chunk.len(), &mut keys)?;
            let order = self.stored_columns(&self.order, chunk)?;
            let order = self.sort_keys(&order, chunk.len())?;
            for (index, row) in chunk.iter().enumerate() {
                let sequence = self.table.key_layout().get_i64(self.table.key(*row), sequence_column) as u64;
                self.sequence = self.sequence.max(sequence + 1);
                let number = self.find_partition(self.table.hash(*row), keys.get(index));
                let sort_key = [order.get(index), &sequence.to_be_bytes()].concat();
                self.partitions[number as usize].rows.push((sort_key.into(), *row));
            }
        }
        self.partitions.iter_mut().for_each(|p| p.rows.sort_unstable());
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        if self.single {
            self.on_single_batch(batch, output)?;
            return Ok(Flow::Done);
        }
        self.on_general_batch(batch, output)
    }

    fn on_watermark(&mut self, _watermark: Millis, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        if !self.batch_mode {
            return Ok(Flow::Done);
        }
        if self.single {
            self.final_rows = self.table.iter().collect();
            self.final_rows.reverse();
        } else {
            let live = |number: &u32| !self.partitions[*number as usize].rows.is_empty();
            self.final_partitions = (0..self.partitions.len() as u32).rev().filter(live).collect();
        }
        self.emit_final(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        self.emit_final(output)
    }
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;
