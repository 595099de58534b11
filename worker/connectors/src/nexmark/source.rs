//! The source: deals blocks of events to splits and gives one block a poll.

use super::columns::Columns;
use super::options::Options;
use crate::generator::{Next, Pace, Splits};
use std::sync::Arc;
use streamfleet_dataflow::{DataflowError, Source, SourceBatch, SourceContext, SourceStatus, SplitState};
use streamfleet_logical::ScanSpec;
use streamfleet_types::Batch;

/// One subtask of the source.
pub struct NexmarkSource {
    options: Arc<Options>,
    columns: Columns,
    splits: Splits,
    pace: Option<Pace>,
    subtask: u32,
    parallelism: u32,
}

impl NexmarkSource {
    /// A source that has not begun.
    pub fn new(spec: &ScanSpec, context: SourceContext) -> Result<Self, DataflowError> {
        let options = Arc::new(Options::of(&spec.table)?);
        Ok(Self {
            columns: Columns::new(spec, &options)?,
            splits: Splits::new(&spec.table.name, options.blocks()),
            pace: options.paced.then(|| Pace::new(context.clock)),
            subtask: context.subtask,
            parallelism: context.parallelism,
            options,
        })
    }
}

impl Source for NexmarkSource {
    fn start(&mut self) -> Result<(), DataflowError> {
        self.splits.start(self.options.splits.unwrap_or(self.parallelism), self.subtask, self.parallelism);
        Ok(())
    }

    fn restore(&mut self, splits: Vec<SplitState>) -> Result<(), DataflowError> {
        self.splits.restore(&splits)
    }

    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        let (split, block) = loop {
            match self.splits.next() {
                Next::Block { split, block } => break (split, block),
                // Nobody would wake the slot for the other splits.
                Next::SplitEnded(_) if self.options.keep_alive => {}
                Next::Ended if self.options.keep_alive => return Ok(SourceStatus::Waiting(None)),
                Next::SplitEnded(split) => return Ok(SourceStatus::SplitEnded(split)),
                Next::Ended => return Ok(SourceStatus::Ended),
            }
        };
        let first = block * self.options.block_events();
        let end = self.options.events.unwrap_or(u64::MAX).min(first + self.options.block_events());
        if let Some(wait) = self.pace.as_mut().and_then(|pace| pace.wait(self.options.since_start(first))) {
            return Ok(SourceStatus::Waiting(Some(wait)));
        }
        let batch = Batch::inserts(self.columns.batch(first, end - first)?);
        self.splits.taken(split);
        Ok(SourceStatus::Rows(SourceBatch { split, batch }))
    }

    fn splits(&self) -> Vec<SplitState> {
        self.splits.states()
    }
}
