//! Tasks: what a slot runs. A source, an operator or a sink, with its input channels and output edges.

mod idleness;
mod input;
mod operator;
mod output;
mod pace;
mod sink;
mod source;

pub(crate) use idleness::idle_timeout;
pub(crate) use input::Input;
pub(crate) use operator::OperatorTask;
pub(crate) use output::{OutputEdge, Outputs, Router};
pub(crate) use pace::Pace;
pub(crate) use sink::SinkTask;
pub(crate) use source::SourceTask;

use crate::metrics::TaskMetrics;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::DataflowError;
use streamfleet_exchange::Verdict;
use streamfleet_snapshot::FirstRows;
use streamfleet_state::FrozenTable;
use streamfleet_types::log::SplitPosition;
use streamfleet_types::{Epoch, Millis, OperatorId};

/// What came of one call of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something was done.
    Worked,
    /// Nothing to do until woken or until then.
    Idle(Option<Duration>),
    /// Work is there, but an output is full.
    Backpressured,
}

/// What a task contributes to a snapshot at its barrier.
pub(crate) struct TaskSnapshot {
    pub operator: OperatorId,
    pub tables: Vec<FrozenTable>,
    pub positions: Vec<SplitPosition>,
    pub watermark: Option<Millis>,
    /// The task is a sink that prepares its output.
    pub prepares: bool,
    /// `tables` hold all rows, not only what changed.
    pub full: bool,
}

/// The coordinator's wish for a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trigger {
    pub epoch: Epoch,
    /// Sources give nothing more behind it.
    pub last: bool,
    /// The whole job has drained: no state is needed.
    pub drained: bool,
    /// All rows are wanted, not only what changed.
    pub full: bool,
}

/// A task of any kind.
pub(crate) enum Task {
    Source(SourceTask),
    Operator(OperatorTask),
    Sink(SinkTask),
}

impl Task {
    pub fn metrics(&self) -> &Arc<TaskMetrics> {
        match self {
            Self::Source(t) => &t.metrics,
            Self::Operator(t) => &t.metrics,
            Self::Sink(t) => &t.metrics,
        }
    }

    /// Runs one call: one element, or one poll. Snapshots taken on the way go to `taken`.
    pub fn call(&mut self, now: Duration, taken: &mut Vec<(Epoch, TaskSnapshot)>) -> Result<Progress, DataflowError> {
        match self {
            Self::Source(t) => t.call(now, taken),
            Self::Operator(t) => t.call(taken),
            Self::Sink(t) => t.call(taken),
        }
    }

    /// The coordinator asks for a snapshot.
    pub fn on_trigger(
        &mut self,
        trigger: Trigger,
        taken: &mut Vec<(Epoch, TaskSnapshot)>,
    ) -> Result<(), DataflowError> {
        let Trigger { epoch, last, drained, full } = trigger;
        match self {
            Self::Source(t) => t.on_trigger(epoch, last, taken),
            Self::Operator(t) => {
                t.needs_no_state = drained;
                t.full = full.then_some(epoch);
                if let Verdict::Aligned(epoch) = t.input.alignment.on_trigger(epoch) {
                    t.barrier_due = Some(epoch);
                }
            }
            Self::Sink(t) => {
                if drained {
                    t.sink.all_ended();
                }
                if let Verdict::Aligned(epoch) = t.input.alignment.on_trigger(epoch) {
                    t.take_snapshot(epoch, taken)?;
                }
            }
        }
        Ok(())
    }

    /// The coordinator gave a snapshot up.
    pub fn on_abort(&mut self, epoch: Epoch) {
        match self {
            Self::Source(t) => t.on_abort(epoch),
            Self::Operator(t) => {
                t.input.alignment.on_abort(epoch);
                if t.barrier_due.is_some_and(|due| due <= epoch) {
                    t.barrier_due = None;
                }
            }
            Self::Sink(t) => t.input.alignment.on_abort(epoch),
        }
    }

    /// How far the task is with its first rows.
    pub fn first_rows(&mut self) -> FirstRows {
        match self {
            Self::Source(t) => {
                if t.awaits_splits() {
                    FirstRows::Awaited
                } else {
                    FirstRows::None
                }
            }
            Self::Operator(_) => FirstRows::None,
            Self::Sink(t) => t.first_rows(),
        }
    }

    /// True if all input has ended and everything was passed on.
    pub const fn is_finished(&self) -> bool {
        match self {
            Self::Source(t) => t.is_finished(),
            Self::Operator(t) => t.finished,
            Self::Sink(t) => t.finished,
        }
    }
}
