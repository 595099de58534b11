//! All rows of all inputs, as they come.

use super::Operator;
use crate::{DataflowError, Flow, Output};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use streamfleet_state::RowTable;
use streamfleet_types::{Batch, Millis};

/// See the module.
pub struct UnionOperator {
    output: SchemaRef,
}

impl UnionOperator {
    /// The inputs have the types of `output`; its names hold.
    pub const fn new(output: SchemaRef) -> Self {
        Self { output }
    }
}

impl Operator for UnionOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        Vec::new()
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        // A count of rows alone has no columns.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        let columns = batch.records().columns().to_vec();
        let records = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
        output.push(batch.with_columns(records)?);
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, _watermark: Millis, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn on_end(&mut self, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }

    fn resume(&mut self, _output: &mut Output) -> Result<Flow, DataflowError> {
        Ok(Flow::Done)
    }
}
