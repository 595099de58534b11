//! A source: polls its splits, projects their rows, and derives their watermarks.

use super::{Outputs, Progress, TaskSnapshot};
use crate::metrics::{TaskMetrics, add};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::TimestampMillisecondType;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Projector, Source, SourceBatch, SourceStatus};
use streamfleet_types::log::SplitPosition;
use streamfleet_types::{Barrier, Element, Epoch, MAX_WATERMARK, MIN_WATERMARK, Millis, OperatorId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// A last barrier was sent: nothing is read any more.
    Stopped,
    Finished,
}

#[derive(Debug, Clone, Copy)]
struct Split {
    watermark: Millis,
    finished: bool,
}

impl Split {
    const NEW: Self = Self { watermark: MIN_WATERMARK, finished: false };
}

pub(crate) struct SourceTask {
    pub id: OperatorId,
    pub source: Box<dyn Source>,
    pub outputs: Outputs,
    pub metrics: Arc<TaskMetrics>,
    /// The output columns, over what the source gives.
    projection: Projector,
    /// The watermark of a row, over what the source gives; absent without watermarks.
    watermark_of: Option<Projector>,
    /// Every split, by its number; empty until they are known.
    splits: Vec<Split>,
    watermark: Millis,
    /// A snapshot that waits until the splits are known.
    barrier_due: Option<(Epoch, bool)>,
    stage: Stage,
}

impl SourceTask {
    pub fn new(
        id: OperatorId,
        source: Box<dyn Source>,
        outputs: Outputs,
        metrics: Arc<TaskMetrics>,
        projection: Projector,
        watermark_of: Option<Projector>,
    ) -> Self {
        Self {
            id,
            source,
            outputs,
            metrics,
            projection,
            watermark_of,
            splits: Vec::new(),
            watermark: MIN_WATERMARK,
            barrier_due: None,
            stage: Stage::Reading,
        }
    }

    /// Begins with these splits, by number: watermark, and whether nothing is left.
    pub fn restore_splits(&mut self, splits: impl Iterator<Item = (Millis, bool)>) {
        self.splits = splits.map(|(watermark, finished)| Split { watermark, finished }).collect();
    }

    pub const fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Finished)
    }

    pub fn call(&mut self, now: Duration, taken: &mut Vec<(Epoch, TaskSnapshot)>) -> Result<Progress, DataflowError> {
        // Also when nothing is read any more: what the queues had no room for must still go out.
        self.outputs.flush();
        if let Some((epoch, last)) = self.barrier_due.take_if(|_| self.source.splits_known()) {
            taken.push((epoch, self.take_snapshot(epoch, last)));
            return Ok(Progress::Worked);
        }
        if self.stage != Stage::Reading {
            return Ok(Progress::Idle(None));
        }
        if !self.outputs.has_room() {
            return Ok(Progress::Backpressured);
        }
        match self.source.poll()? {
            SourceStatus::Rows(SourceBatch { split, batch }) => {
                let rows = batch.rows() as u64;
                add(&self.metrics.rows_in, rows);
                add(&self.metrics.rows_out, rows);
                add(&self.metrics.bytes_in, batch.bytes() as u64);
                self.note_errors();
                self.advance_split(split, batch.records())?;
                let projected = batch.with_columns(self.projection.project(batch.records())?)?;
                self.outputs.push_batch(&projected)?;
                self.advance_watermark();
            }
            SourceStatus::SplitEnded(split) => {
                self.split(split).finished = true;
                self.advance_watermark();
            }
            SourceStatus::Waiting(time) => {
                self.note_errors();
                return Ok(Progress::Idle(time.map(|t| now + t)));
            }
            SourceStatus::Ended => {
                self.stage = Stage::Finished;
                self.note_errors();
                if self.watermark_of.is_some() {
                    self.outputs.push_control(&Element::Watermark(MAX_WATERMARK));
                }
                self.outputs.push_control(&Element::End);
            }
        }
        Ok(Progress::Worked)
    }

    fn note_errors(&self) {
        let errors = self.source.errors();
        self.metrics.skipped_records.store(errors.skipped_records, Ordering::Relaxed);
        self.metrics.dead_letters.store(errors.dead_letters, Ordering::Relaxed);
        self.metrics.nulled_fields.store(errors.nulled_fields, Ordering::Relaxed);
    }

    fn advance_split(&mut self, split: usize, records: &RecordBatch) -> Result<(), DataflowError> {
        let Some(watermark_of) = &self.watermark_of else { return Ok(()) };
        let watermarks = watermark_of.project(records)?;
        let times = watermarks.column(0);
        if let Some(greatest) = compute::max(times.as_primitive::<TimestampMillisecondType>()) {
            let split = self.split(split);
            split.watermark = split.watermark.max(greatest);
        }
        Ok(())
    }

    /// A split by its number; splits are made known here when the source first speaks of them.
    fn split(&mut self, number: usize) -> &mut Split {
        if self.splits.len() <= number {
            let known = self.source.splits().len().max(number + 1);
            self.splits.resize(known, Split::NEW);
        }
        &mut self.splits[number]
    }

    /// The subtask's watermark: the least over its unfinished splits; of splits read one after another, the current one's.
    fn advance_watermark(&mut self) {
        if self.watermark_of.is_none() {
            return;
        }
        let merged = if self.source.reads_in_order() {
            // What was read ahead of an unfinished split, before a rescaling, must not make that split's rows late.
            let current = self.splits.iter().position(|s| !s.finished).unwrap_or(self.splits.len().saturating_sub(1));
            self.splits.iter().take(current + 1).map(|s| s.watermark).max()
        } else {
            self.splits.iter().filter(|s| !s.finished).map(|s| s.watermark).min()
        };
        if let Some(merged) = merged
            && merged > self.watermark
        {
            self.watermark = merged;
            self.metrics.watermark.store(merged, Ordering::Relaxed);
            self.outputs.push_control(&Element::Watermark(merged));
        }
    }

    /// The coordinator asks for a snapshot: takes it at once, or as soon as the splits are known.
    pub fn on_trigger(&mut self, epoch: Epoch, last: bool, taken: &mut Vec<(Epoch, TaskSnapshot)>) {
        if self.source.splits_known() {
            taken.push((epoch, self.take_snapshot(epoch, last)));
        } else {
            self.barrier_due = Some((epoch, last));
        }
    }

    /// The coordinator gave a snapshot up.
    pub fn on_abort(&mut self, epoch: Epoch) {
        self.barrier_due.take_if(|(due, _)| *due <= epoch);
    }

    /// Sends the barrier and says where the splits stand.
    fn take_snapshot(&mut self, epoch: Epoch, last: bool) -> TaskSnapshot {
        let of = |split: usize| self.splits.get(split).map_or(MIN_WATERMARK, |s| s.watermark);
        let positions = self.source.splits().into_iter().enumerate().map(|(index, state)| SplitPosition {
            operator: self.id.clone(),
            split: state.name,
            position: state.position,
            watermark: of(index),
            finished: state.finished,
        });
        let snapshot = TaskSnapshot {
            operator: self.id.clone(),
            tables: Vec::new(),
            positions: positions.collect(),
            watermark: None,
            prepares: false,
            full: true,
        };
        if self.stage != Stage::Finished {
            self.outputs.push_control(&Element::Barrier(Barrier { epoch }));
            if last {
                self.stage = Stage::Stopped;
            }
        }
        snapshot
    }
}
