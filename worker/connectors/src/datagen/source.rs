//! The source: deals blocks of rows to splits and gives one block a poll, when it is due.

use super::options::Options;
use crate::generator::{Next, Pace, Splits};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use streamfleet_dataflow::{DataflowError, Source, SourceBatch, SourceContext, SourceStatus, SplitState};
use streamfleet_env::Clock;
use streamfleet_logical::ScanSpec;
use streamfleet_types::Batch;

/// One subtask of the source.
pub struct DatagenSource {
    options: Options,
    /// The columns to give.
    read: Vec<usize>,
    schema: SchemaRef,
    splits: Splits,
    pace: Pace,
    clock: Arc<dyn Clock>,
    subtask: u32,
    parallelism: u32,
}

impl DatagenSource {
    /// A source that has not begun.
    pub fn new(spec: &ScanSpec, context: SourceContext) -> Result<Self, DataflowError> {
        let options = Options::of(&spec.table)?;
        Ok(Self {
            read: spec.read.clone(),
            schema: Arc::clone(spec.read_schema.inner()),
            splits: Splits::new(&spec.table.name, options.blocks()),
            pace: Pace::new(Arc::clone(&context.clock)),
            clock: context.clock,
            subtask: context.subtask,
            parallelism: context.parallelism,
            options,
        })
    }

    fn batch(&self, first: u64, rows: usize) -> Result<RecordBatch, DataflowError> {
        let wall_clock = self.clock.wall_clock_ms();
        let now = |row| match self.options.base_time {
            Some(base) => base + self.options.since_start(row).as_millis() as i64,
            None => wall_clock,
        };
        let fields = self.read.iter().map(|&column| {
            self.options.fields[column]
                .as_ref()
                .expect("a source is not asked for computed columns")
                .column(first, rows, now)
        });
        let columns = fields.collect::<Result<Vec<_>, _>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &count)?)
    }
}

impl Source for DatagenSource {
    fn start(&mut self) -> Result<(), DataflowError> {
        self.splits.start(self.options.splits.unwrap_or(self.parallelism), self.subtask, self.parallelism);
        Ok(())
    }

    fn restore(&mut self, splits: Vec<SplitState>) -> Result<(), DataflowError> {
        self.splits.restore(&splits)
    }

    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        let (split, block) = match self.splits.next() {
            Next::Block { split, block } => (split, block),
            Next::SplitEnded(split) => return Ok(SourceStatus::SplitEnded(split)),
            Next::Ended => return Ok(SourceStatus::Ended),
        };
        let first = block * self.options.block_rows();
        if let Some(wait) = self.pace.wait(self.options.since_start(first)) {
            return Ok(SourceStatus::Waiting(Some(wait)));
        }
        let end = self.options.rows.unwrap_or(u64::MAX).min(first + self.options.block_rows());
        let batch = Batch::inserts(self.batch(first, (end - first) as usize)?);
        self.splits.taken(split);
        Ok(SourceStatus::Rows(SourceBatch { split, batch }))
    }

    fn splits(&self) -> Vec<SplitState> {
        self.splits.states()
    }
}
