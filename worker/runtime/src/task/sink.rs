//! A sink with its channels. Its output of an epoch is closed at the barrier and named in the snapshot when it is durable.

use super::{Input, Progress, TaskSnapshot};
use crate::metrics::{TaskMetrics, add};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use streamfleet_dataflow::{DataflowError, Flow, Sink};
use streamfleet_exchange::Verdict;
use streamfleet_types::log::SplitPosition;
use streamfleet_types::{Barrier, Batch, Element, Epoch, MIN_WATERMARK, Millis, OperatorId};

pub(crate) struct SinkTask {
    pub id: OperatorId,
    pub sink: Box<dyn Sink>,
    pub input: Input,
    pub metrics: Arc<TaskMetrics>,
    /// Rows that the sink did not take yet.
    held: Option<Batch>,
    pub finished: bool,
}

impl SinkTask {
    pub fn new(id: OperatorId, sink: Box<dyn Sink>, input: Input, metrics: Arc<TaskMetrics>) -> Self {
        Self { id, sink, input, metrics, held: None, finished: false }
    }

    pub fn call(&mut self, taken: &mut Vec<(Epoch, TaskSnapshot)>) -> Result<Progress, DataflowError> {
        if let Some(batch) = self.held.take() {
            return self.write(batch);
        }
        let Some((channel, _, element)) = self.input.pop() else { return Ok(Progress::Idle(None)) };
        match element {
            Element::Batch(batch) => return self.write(batch),
            Element::Watermark(watermark) => {
                let grown = self.input.watermarks.on_watermark(channel, watermark);
                self.note_watermark(grown);
            }
            Element::Barrier(Barrier { epoch }) => {
                if let Verdict::Aligned(epoch) = self.input.alignment.on_barrier(channel, epoch) {
                    self.take_snapshot(epoch, taken)?;
                }
            }
            Element::End => {
                let grown = self.input.watermarks.on_end(channel);
                self.note_watermark(grown);
                if let Verdict::Aligned(epoch) = self.input.alignment.on_end(channel) {
                    self.take_snapshot(epoch, taken)?;
                }
                self.finished = self.input.alignment.all_ended();
            }
            Element::Idle => {
                let grown = self.input.watermarks.on_idle(channel);
                self.note_watermark(grown);
            }
            Element::Active => self.input.watermarks.on_active(channel),
        }
        Ok(Progress::Worked)
    }

    fn note_watermark(&self, grown: Option<Millis>) {
        if let Some(watermark) = grown {
            self.metrics.watermark.store(watermark, Ordering::Relaxed);
        }
    }

    fn write(&mut self, batch: Batch) -> Result<Progress, DataflowError> {
        match self.sink.write(&batch)? {
            Flow::Done => {
                add(&self.metrics.rows_in, batch.rows() as u64);
                self.metrics.bytes_in.store(self.input.bytes, Ordering::Relaxed);
                self.metrics.written_bytes.store(self.sink.written_bytes(), Ordering::Relaxed);
                Ok(Progress::Worked)
            }
            Flow::More => {
                self.held = Some(batch);
                Ok(Progress::Backpressured)
            }
        }
    }

    pub fn take_snapshot(&mut self, epoch: Epoch, taken: &mut Vec<(Epoch, TaskSnapshot)>) -> Result<(), DataflowError> {
        self.sink.prepare(epoch)?;
        self.metrics.written_bytes.store(self.sink.written_bytes(), Ordering::Relaxed);
        let merge = &self.input.watermarks;
        let pending = self.sink.pending().into_iter().map(|work| SplitPosition {
            operator: self.id.clone(),
            split: work.name,
            position: work.state,
            watermark: MIN_WATERMARK,
            finished: false,
        });
        taken.push((
            epoch,
            TaskSnapshot {
                operator: self.id.clone(),
                tables: Vec::new(),
                positions: pending.collect(),
                // A subtask with nothing but idle input holds back no other.
                watermark: Some(merge.merged()).filter(|_| !merge.all_idle()),
                prepares: true,
                full: true,
            },
        ));
        Ok(())
    }
}
