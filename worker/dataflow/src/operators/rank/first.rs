//! The one first row per partition of an append-only input: deduplication.

use super::order::Order;
use super::ranked;
use crate::operators::OperatorContext;
use crate::operators::stored_rows::{Added, FinalRows, Identity, StoredRows};
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;
use streamfleet_logical::RankSpec;
use streamfleet_state::{RowId, RowLayout, RowTable, Rows};
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, RowKind};

/// See the module.
pub(super) struct FirstRow {
    rows: StoredRows,
    order: Order,
    output: SchemaRef,
    output_rank: bool,
    emits_before: bool,
    batch_mode: bool,
    partition_layout: RowLayout,
    partitions: Rows,
    /// Of the batch being taken: its partitions, by hash, as indices into the batch's best rows.
    in_batch: HashTable<u32>,
    final_rows: FinalRows,
}

impl FirstRow {
    pub fn new(spec: &RankSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let input = &context.inputs[0];
        let rows = StoredRows::new("rows", input, &spec.partition, Identity::Key, None)?;
        Ok(Self {
            partition_layout: RowLayout::new("rows", &rows.table.schema().key)?,
            rows,
            order: Order::new(&spec.order, input)?,
            output: context.output,
            output_rank: spec.output_rank,
            emits_before: context.output_changes,
            batch_mode: context.batch_mode,
            partitions: Rows::new(),
            in_batch: HashTable::new(),
            final_rows: FinalRows::default(),
        })
    }

    pub const fn table(&mut self) -> &mut RowTable {
        &mut self.rows.table
    }

    pub fn on_batch(&mut self, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let keys = self.rows.key_columns(batch);
        let hashes = hash_columns(&keys, batch.rows())?;
        let order = self.order.of_batch(batch)?;
        let best = self.best_of_batch(&keys, &hashes, &order)?;
        let one_each = best.len() == batch.rows();
        let best = UInt32Array::from(best);
        let batch = if one_each { batch.clone() } else { batch.take(&best)? };
        self.rows.encode(&batch, None)?;

        // Which of these are first in their partition, and what they take the place of.
        let mut new = Vec::new();
        let (mut rivals, mut challengers) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            match self.rows.add(hashes[best.value(row) as usize], row) {
                Added::New(_) => new.push(row as u32),
                Added::Again(id, _) => {
                    rivals.push(id);
                    challengers.push(row as u32);
                }
            }
        }
        let rival_order = self.order.of_stored(&self.rows, &rivals)?;
        let wins = |index: &usize| {
            let challenger = best.value(challengers[*index] as usize);
            order.row(challenger as usize) < rival_order.row(*index)
        };
        let winners: Vec<usize> = (0..rivals.len()).filter(wins).collect();
        let replaced: Vec<RowId> = winners.iter().map(|w| rivals[*w]).collect();
        let winners: Vec<u32> = winners.into_iter().map(|w| challengers[w]).collect();
        let gives = !self.batch_mode;
        let before = if gives && self.emits_before { self.rows.decoder(&replaced).columns()? } else { Vec::new() };
        replaced.iter().zip(&winners).for_each(|(id, row)| self.rows.replace(*id, *row as usize));
        if gives {
            self.give_changes(&batch, &new, &winners, &before, output)?;
        }
        Ok(Flow::Done)
    }

    /// The first row of every partition in the batch, partitions in the order in which they come.
    fn best_of_batch(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        order: &arrow::row::Rows,
    ) -> Result<Vec<u32>, DataflowError> {
        self.partitions.clear();
        self.partition_layout.encode(keys, hashes.len(), &mut self.partitions)?;
        self.in_batch.clear();
        let mut best: Vec<u32> = Vec::with_capacity(hashes.len());
        for (row, hash) in hashes.iter().enumerate() {
            let same = |at: &u32| {
                let other = best[*at as usize] as usize;
                hashes[other] == *hash && self.partitions.get(other) == self.partitions.get(row)
            };
            match self.in_batch.find(*hash, same) {
                Some(at) => {
                    let best = &mut best[*at as usize];
                    if order.row(row) < order.row(*best as usize) {
                        *best = row as u32;
                    }
                }
                None => {
                    best.push(row as u32);
                    let at = best.len() as u32 - 1;
                    self.in_batch.insert_unique(*hash, at, |at| hashes[best[*at as usize] as usize]);
                }
            }
        }
        Ok(best)
    }

    /// `new` and `winners` are rows of the batch, ascending; `before` are columns of what the winners replaced.
    fn give_changes(
        &self,
        batch: &Batch,
        new: &[u32],
        winners: &[u32],
        before: &[ArrayRef],
        output: &mut Output,
    ) -> Result<(), DataflowError> {
        if winners.is_empty() {
            let columns = if new.len() == batch.rows() {
                batch.records().columns().to_vec()
            } else {
                let indices = UInt32Array::from(new.to_vec());
                let columns = batch.records().columns().iter();
                columns.map(|c| take(c, &indices, None)).collect::<Result<_, _>>()?
            };
            output.push(Batch::inserts(self.records(columns, new.len())?));
            return Ok(());
        }
        // Where each output row comes from: the replaced rows (0) or the batch (1).
        let (mut sources, mut kinds) = (Vec::new(), Vec::new());
        let mut new = new.iter().copied().peekable();
        for (index, winner) in winners.iter().enumerate() {
            while let Some(row) = new.next_if(|row| row < winner) {
                sources.push((1, row as usize));
                kinds.push(RowKind::Insert as i8);
            }
            if self.emits_before {
                sources.push((0, index));
                kinds.push(RowKind::UpdateBefore as i8);
            }
            sources.push((1, *winner as usize));
            kinds.push(RowKind::UpdateAfter as i8);
        }
        for row in new {
            sources.push((1, row as usize));
            kinds.push(RowKind::Insert as i8);
        }
        let mut columns = Vec::with_capacity(batch.records().num_columns());
        for (index, after) in batch.records().columns().iter().enumerate() {
            let before = before.get(index).unwrap_or(after);
            columns.push(interleave(&[before.as_ref(), after.as_ref()], &sources)?);
        }
        let records = self.records(columns, kinds.len())?;
        output.push(Batch::changelog(records, Int8Array::from(kinds))?);
        Ok(())
    }

    fn records(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, DataflowError> {
        ranked(&self.output, self.output_rank, columns, rows)
    }

    pub fn on_end(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        if self.batch_mode {
            self.final_rows.begin(self.rows.table.iter());
        }
        self.give_final(output)
    }

    /// Emits rows as `+I` and forgets them.
    pub fn give_final(&mut self, output: &mut Output) -> Result<Flow, DataflowError> {
        let (schema, output_rank) = (&self.output, self.output_rank);
        self.final_rows.give(&mut self.rows, output, |columns, rows| ranked(schema, output_rank, columns, rows))
    }
}
