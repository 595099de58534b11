//! All rows of all inputs, as they come.

use super::Operator;
use crate::{DataflowError, Flow, Output};
use arrow::array::RecordBatch;
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
        let records = RecordBatch::try_new(Arc::clone(&self.output), batch.records().columns().to_vec())?;
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
