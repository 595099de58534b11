//! The row of every partition that comes first: deduplication by the time at which rows are processed. It stays the first, so
//! it is given at once, and only its partition is kept.

use super::ranked;
use crate::operators::OperatorContext;
use crate::operators::group_aggregate::key_fields;
use crate::{DataflowError, Flow, Output};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::SchemaRef;
use streamfleet_logical::RankSpec;
use streamfleet_state::{RowTable, Rows, TableSchema};
use streamfleet_types::Batch;
use streamfleet_types::hash::hash_columns;

/// See the module.
pub(super) struct FirstToCome {
    partition: Vec<usize>,
    table: RowTable,
    output: SchemaRef,
    output_rank: bool,
    scratch: Rows,
}

impl FirstToCome {
    pub fn new(spec: &RankSpec, context: OperatorContext) -> Result<Self, DataflowError> {
        let key = key_fields(&spec.partition, &context.inputs[0]);
        let schema = TableSchema { name: "seen".to_owned(), key, sub_key: Vec::new(), value: Vec::new() };
        Ok(Self {
            partition: spec.partition.clone(),
            table: RowTable::new(schema)?,
            output: context.output,
            output_rank: spec.output_rank,
            scratch: Rows::new(),
        })
    }

    pub const fn table(&mut self) -> &mut RowTable {
        &mut self.table
    }

    pub fn on_batch(&mut self, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let keys: Vec<ArrayRef> = self.partition.iter().map(|column| batch.column(*column).clone()).collect();
        let hashes = hash_columns(&keys, batch.rows())?;
        self.scratch.clear();
        self.table.key_layout().encode(&keys, hashes.len(), &mut self.scratch)?;
        let mut first = Vec::new();
        for (row, hash) in hashes.iter().enumerate() {
            let (_, is_new) = self.table.find_or_insert(*hash, self.scratch.get(row), &[]);
            if is_new {
                first.push(row as u32);
            }
        }
        if first.is_empty() {
            return Ok(Flow::Done);
        }
        let first = if first.len() == batch.rows() { batch.clone() } else { batch.take(&UInt32Array::from(first))? };
        let columns = first.records().columns().to_vec();
        output.push(Batch::inserts(ranked(&self.output, self.output_rank, columns, first.rows())?));
        Ok(Flow::Done)
    }
}
