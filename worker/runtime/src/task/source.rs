//! A source: polls its splits, projects their rows, and derives their watermarks.

use super::idleness::Idleness;
use super::{Outputs, Progress, TaskSnapshot};
use crate::metrics::{TaskMetrics, add};
use arrow::array::RecordBatch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Projector, RowWatermark, Source, SourceBatch, SourceStatus, SplitState};
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
    /// By the clock of [`Idleness`].
    quiet_since: Duration,
}

pub(crate) struct SourceTask {
    pub id: OperatorId,
    pub source: Box<dyn Source>,
    pub outputs: Outputs,
    pub metrics: Arc<TaskMetrics>,
    /// The output columns, over what the source gives.
    projection: Projector,
    /// The watermark of a row, over what the source gives; absent without watermarks.
    watermark_of: Option<RowWatermark>,
    /// Every split, by its number; empty until they are known.
    splits: Vec<Split>,
    watermark: Millis,
    /// Absent if splits never become idle.
    idleness: Option<Idleness>,
    /// All splits are idle, and consumers were told.
    is_idle: bool,
    /// Positions in snapshots that are not known to be complete, oldest first.
    taken: VecDeque<(Epoch, Vec<SplitState>)>,
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
        watermark_of: Option<RowWatermark>,
        idle_timeout: Option<Duration>,
    ) -> Self {
        let idleness = idle_timeout.filter(|_| watermark_of.is_some()).map(Idleness::new);
        Self {
            id,
            source,
            outputs,
            metrics,
            projection,
            watermark_of,
            splits: Vec::new(),
            watermark: MIN_WATERMARK,
            idleness,
            is_idle: false,
            taken: VecDeque::new(),
            barrier_due: None,
            stage: Stage::Reading,
        }
    }

    /// Begins with these splits, by number: watermark, and whether nothing is left.
    pub fn restore_splits(&mut self, splits: impl Iterator<Item = (Millis, bool)>) {
        self.splits =
            splits.map(|(watermark, finished)| Split { watermark, finished, quiet_since: Duration::ZERO }).collect();
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
            self.idleness.iter_mut().for_each(Idleness::on_backpressure);
            return Ok(Progress::Backpressured);
        }
        self.idleness.iter_mut().for_each(|i| i.on_ask(now));
        match self.source.poll()? {
            SourceStatus::Rows(SourceBatch { split, batch }) => {
                let rows = batch.rows() as u64;
                add(&self.metrics.rows_in, rows);
                add(&self.metrics.rows_out, rows);
                add(&self.metrics.bytes_in, batch.bytes() as u64);
                self.note_errors();
                self.advance_split(split, batch.records())?;
                if std::mem::take(&mut self.is_idle) {
                    self.outputs.push_control(&Element::Active);
                }
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
                let idle_in = self.look_for_idle_splits();
                let wait = [time, idle_in].into_iter().flatten().min();
                return Ok(Progress::Idle(wait.map(|t| now + t)));
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
        let quiet_since = self.idleness.map_or(Duration::ZERO, |i| i.time());
        let greatest = watermark_of.greatest(records)?;
        let split = self.split(split);
        split.quiet_since = quiet_since;
        split.watermark = split.watermark.max(greatest.unwrap_or(MIN_WATERMARK));
        Ok(())
    }

    /// A split by its number; splits are made known here when the source first speaks of them.
    fn split(&mut self, number: usize) -> &mut Split {
        if self.splits.len() <= number {
            let known = self.source.splits().len().max(number + 1);
            let quiet_since = self.idleness.map_or(Duration::ZERO, |i| i.time());
            self.splits.resize(known, Split { watermark: MIN_WATERMARK, finished: false, quiet_since });
        }
        &mut self.splits[number]
    }

    /// The splits that hold the watermark back, unless they are idle; of splits read one after another, the current one.
    fn unfinished(&self) -> impl Iterator<Item = &Split> {
        let most = if self.source.reads_in_order() { 1 } else { usize::MAX };
        self.splits.iter().filter(|s| !s.finished).take(most)
    }

    /// Splits that have become idle hold the watermark back no more, and if all are, the subtask holds back no other.
    /// Gives the time until the next one becomes idle.
    fn look_for_idle_splits(&mut self) -> Option<Duration> {
        let idleness = self.idleness?;
        // A subtask that has no split yet, of a source that finds new ones, is quiet from its start.
        let next = match self.unfinished().next() {
            None => Some(idleness.left(Duration::ZERO)).filter(|left| !left.is_zero()),
            Some(_) => self.unfinished().map(|s| idleness.left(s.quiet_since)).filter(|left| !left.is_zero()).min(),
        };
        self.advance_watermark();
        if next.is_none() && !self.is_idle {
            self.is_idle = true;
            self.outputs.push_control(&Element::Idle);
        }
        next
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
            let counts = |s: &&Split| self.idleness.is_none_or(|i| !i.is_idle(s.quiet_since));
            self.unfinished().filter(counts).map(|s| s.watermark).min()
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

    /// A snapshot is complete.
    pub fn on_completed(&mut self, epoch: Epoch) {
        while let Some((taken, splits)) = self.taken.pop_front_if(|(taken, _)| *taken <= epoch) {
            if taken == epoch {
                self.source.completed(&splits);
            }
        }
    }

    /// Sends the barrier and says where the splits stand.
    fn take_snapshot(&mut self, epoch: Epoch, last: bool) -> TaskSnapshot {
        let of = |split: usize| self.splits.get(split).map_or(MIN_WATERMARK, |s| s.watermark);
        let splits = self.source.splits();
        let positions = splits.iter().enumerate().map(|(index, state)| SplitPosition {
            operator: self.id.clone(),
            split: state.name.clone(),
            position: state.position.clone(),
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
        self.taken.push_back((epoch, splits));
        if self.stage != Stage::Finished {
            self.outputs.push_control(&Element::Barrier(Barrier { epoch }));
            if last {
                self.stage = Stage::Stopped;
            }
        }
        snapshot
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
