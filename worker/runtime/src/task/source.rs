//! A source: polls its splits, projects their rows, and derives their watermarks.

use super::idleness::Idleness;
use super::pace::Tell;
use super::{Outputs, Pace, Progress, TaskSnapshot};
use crate::metrics::{TaskMetrics, add};
use arrow::array::RecordBatch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, Projector, RowWatermark, Source, SourceBatch, SourceStatus, SplitState};
use streamfleet_snapshot::SlotReport;
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
    /// It waits for its group since then, by the same clock, which stands still for it.
    paused_at: Option<Duration>,
}

impl Split {
    /// How long until it is idle.
    fn until_idle(&self, idleness: &Idleness) -> Duration {
        idleness.left(self.quiet_since, self.paused_at.unwrap_or(idleness.time()))
    }
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
    /// Absent if the source is read as fast as it can be.
    pace: Option<Pace>,
    /// The bound or watermarks have changed: splits may have to pause, or may go on.
    may_pause: bool,
    /// Positions in snapshots that are not known to be complete, oldest first.
    taken: VecDeque<(Epoch, Vec<SplitState>)>,
    /// A snapshot that waits until the splits are known.
    barrier_due: Option<(Epoch, bool)>,
    /// The splits were known once: what a snapshot waits for since then is no matter of the start.
    has_begun: bool,
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
            pace: None,
            may_pause: false,
            taken: VecDeque::new(),
            barrier_due: None,
            has_begun: false,
            stage: Stage::Reading,
        }
    }

    /// Reads at one pace with others; nothing comes of it without watermarks.
    pub fn keep_pace(&mut self, pace: Pace) {
        self.pace = Some(pace).filter(|_| self.watermark_of.is_some());
    }

    /// Begins with these splits, by number: watermark, and whether nothing is left.
    pub fn restore_splits(&mut self, splits: impl Iterator<Item = (Millis, bool)>) {
        let (quiet_since, paused_at) = (Duration::ZERO, None);
        self.splits =
            splits.map(|(watermark, finished)| Split { watermark, finished, quiet_since, paused_at }).collect();
        self.may_pause = true;
    }

    /// True while the source finds its first splits.
    pub fn awaits_splits(&mut self) -> bool {
        self.has_begun = self.has_begun || self.source.splits_known();
        !self.has_begun
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
            self.idleness.iter_mut().for_each(Idleness::on_pause);
            return Ok(Progress::Backpressured);
        }
        if self.is_paused() {
            self.note_paused(self.unfinished().count());
            self.idleness.iter_mut().for_each(Idleness::on_pause);
            return Ok(Progress::Idle(None));
        }
        self.idleness.iter_mut().for_each(|i| i.on_ask(now));
        self.pause_splits();
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
        let quiet_since = self.idle_time();
        let greatest = watermark_of.greatest(records)?;
        self.may_pause = true;
        let split = self.split(split);
        split.quiet_since = quiet_since;
        split.watermark = split.watermark.max(greatest.unwrap_or(MIN_WATERMARK));
        Ok(())
    }

    /// A split by its number; splits are made known here when the source first speaks of them.
    fn split(&mut self, number: usize) -> &mut Split {
        if self.splits.len() <= number {
            let known = self.source.splits().len().max(number + 1);
            let quiet_since = self.idle_time();
            let new = Split { watermark: MIN_WATERMARK, finished: false, quiet_since, paused_at: None };
            self.splits.resize(known, new);
        }
        &mut self.splits[number]
    }

    /// The splits that hold the watermark back, unless they are idle; of splits read one after another, the current one.
    fn unfinished(&self) -> impl Iterator<Item = &Split> {
        let most = if self.source.reads_in_order() { 1 } else { usize::MAX };
        self.splits.iter().filter(|s| !s.finished).take(most)
    }

    /// The time by the clock of [`Idleness`].
    fn idle_time(&self) -> Duration {
        self.idleness.map_or(Duration::ZERO, |i| i.time())
    }

    /// Splits that have become idle hold the watermark back no more, and if all are, the subtask holds back no other.
    /// Gives the time until the next one becomes idle.
    fn look_for_idle_splits(&mut self) -> Option<Duration> {
        let idleness = self.idleness?;
        self.advance_watermark();
        let (mut next, mut all_idle) = (None, true);
        for split in self.unfinished() {
            let left = split.until_idle(&idleness);
            all_idle &= left.is_zero();
            if !left.is_zero() && split.paused_at.is_none() {
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
            }
        }
        if self.unfinished().next().is_none() {
            // A subtask that has no split yet, of a source that finds new ones, is quiet from its start.
            let left = idleness.left(Duration::ZERO, idleness.time());
            all_idle = left.is_zero();
            next = Some(left).filter(|left| !left.is_zero());
        }
        if all_idle && !self.is_idle {
            self.is_idle = true;
            self.outputs.push_control(&Element::Idle);
        }
        next
    }

    /// The least watermark over the unfinished splits that are not idle and that count; of splits read one after another, the
    /// current one's.
    fn merged_watermark(&self, counts: impl Fn(usize, &Split) -> bool) -> Option<Millis> {
        if self.source.reads_in_order() {
            // What was read ahead of an unfinished split, before a rescaling, must not make that split's rows late.
            let current = self.splits.iter().position(|s| !s.finished).unwrap_or(self.splits.len().saturating_sub(1));
            return self.splits.iter().take(current + 1).map(|s| s.watermark).max();
        }
        let is_idle = |split: &Split| self.idleness.is_some_and(|i| split.until_idle(&i).is_zero());
        let unfinished = self.splits.iter().enumerate().filter(|(_, split)| !split.finished && !is_idle(split));
        unfinished.filter(|(number, split)| counts(*number, split)).map(|(_, split)| split.watermark).min()
    }

    fn advance_watermark(&mut self) {
        if self.watermark_of.is_none() {
            return;
        }
        if let Some(merged) = self.merged_watermark(|_, _| true)
            && merged > self.watermark
        {
            self.watermark = merged;
            self.metrics.watermark.store(merged, Ordering::Relaxed);
            self.outputs.push_control(&Element::Watermark(merged));
        }
    }

    /// How far the source has come, for those that it is read at one pace with; `None`: it holds nobody back.
    fn reached(&self) -> Option<Millis> {
        if self.stage != Stage::Reading || self.is_idle {
            return None;
        }
        if self.splits.is_empty() {
            // While they are looked for it is not known how far they are, nor until they give something.
            let all_empty = || (0..self.source.splits().len()).all(|split| self.source.has_met_end(split));
            let has_none = self.source.splits_known() && all_empty();
            return (!has_none).then_some(MIN_WATERMARK);
        }
        self.unfinished().next()?;
        // Nobody waits for a split in which there is nothing.
        self.merged_watermark(|number, split| split.watermark != MIN_WATERMARK || !self.source.has_met_end(number))
    }

    /// True if the source is not to be asked at all: it is ahead of its group and cannot hold single splits. A snapshot that
    /// waits for it goes before.
    fn is_paused(&self) -> bool {
        let Some(pace) = &self.pace else { return false };
        let is_ahead = || self.reached().is_some_and(|watermark| pace.is_ahead(watermark));
        !self.source.pauses_splits() && self.barrier_due.is_none() && is_ahead()
    }

    /// Pauses splits that are ahead of the group, and lets those go on that are no more.
    fn pause_splits(&mut self) {
        let Some(pace) = &self.pace else { return };
        if !std::mem::take(&mut self.may_pause) {
            return;
        }
        if !self.source.pauses_splits() {
            self.note_paused(0);
            return;
        }
        let now = self.idle_time();
        for (number, split) in self.splits.iter_mut().enumerate().filter(|(_, s)| !s.finished) {
            match (pace.is_ahead(split.watermark), split.paused_at) {
                (true, None) => {
                    split.paused_at = Some(now);
                    self.source.pause(number, true);
                }
                (false, Some(at)) => {
                    split.quiet_since += now.saturating_sub(at);
                    split.paused_at = None;
                    self.source.pause(number, false);
                }
                _ => {}
            }
        }
        self.note_paused(self.unfinished().filter(|s| s.paused_at.is_some()).count());
    }

    fn note_paused(&self, splits: usize) {
        self.metrics.paused_splits.store(splits as u64, Ordering::Relaxed);
    }

    /// A group has come so far.
    pub fn on_group(&mut self, group: &str, watermark: Option<Millis>) {
        if let Some(pace) = self.pace.as_mut().filter(|pace| **pace.group() == *group) {
            pace.on_group(watermark);
            self.may_pause = true;
        }
    }

    /// Tells the group how far the source has come, if that is due; gives when it will be.
    pub fn tell_group(&mut self, now: Duration, tell: &dyn Fn(SlotReport)) -> Option<Duration> {
        self.pace.as_ref()?;
        let watermark = self.reached();
        let pace = self.pace.as_mut()?;
        match pace.tell(now, watermark) {
            Tell::Now => {
                tell(SlotReport::Reached { source: self.id.clone(), group: Arc::clone(pace.group()), watermark });
                None
            }
            Tell::At(at) => Some(at),
            Tell::Not => None,
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
