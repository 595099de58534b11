//! Adds `window_start`, `window_end` and `window_time` to every row, once per window that holds it. A row without an event
//! time is in no window: it is dropped and counted.

use super::{Operator, OperatorContext};
use crate::{DataflowError, Flow, Output};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef, TimestampMillisecondType};
use std::sync::Arc;
use streamfleet_logical::{WindowAssignSpec, WindowSpec};
use streamfleet_state::RowTable;
use streamfleet_types::{Batch, Millis};

/// See the module.
pub struct WindowAssignOperator {
    window: WindowSpec,
    time: usize,
    output: SchemaRef,
    timeless_rows: u64,
}

/// Times as a column of the type that a schema asks for: with or without a zone.
pub(crate) fn time_column(times: Vec<Millis>, data_type: &DataType) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(times).with_data_type(data_type.clone()))
}

impl WindowAssignOperator {
    /// An operator of this spec.
    pub fn new(spec: &WindowAssignSpec, context: &OperatorContext) -> Self {
        Self { window: spec.window, time: spec.time, output: Arc::clone(&context.output), timeless_rows: 0 }
    }
}

impl Operator for WindowAssignOperator {
    fn tables(&mut self) -> Vec<&mut RowTable> {
        Vec::new()
    }

    fn restored(&mut self, _watermark: Millis) -> Result<(), DataflowError> {
        Ok(())
    }

    fn on_batch(&mut self, _input: usize, batch: &Batch, output: &mut Output) -> Result<Flow, DataflowError> {
        let times = batch.column(self.time).as_primitive::<TimestampMillisecondType>();
        self.timeless_rows += times.null_count() as u64;
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for row in (0..batch.rows()).filter(|row| times.is_valid(*row)) {
            self.window.windows_of(times.value(row), |start, end| {
                rows.push(row as u32);
                starts.push(start);
                ends.push(end);
            });
        }
        let taken = batch.take(&UInt32Array::from(rows))?;
        let mut columns = taken.records().columns().to_vec();
        let window_times = ends.iter().map(|end| end - 1).collect();
        for times in [starts, ends, window_times] {
            let data_type = self.output.field(columns.len()).data_type();
            columns.push(time_column(times, data_type));
        }
        output.push(taken.with_columns(RecordBatch::try_new(Arc::clone(&self.output), columns)?)?);
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

    fn timeless_rows(&self) -> u64 {
        self.timeless_rows
    }
}
