//! A sink with its channels. Its output of an epoch is closed at the barrier and named in the snapshot when it is durable.

use super::{Input, Progress, TaskSnapshot};
use crate::metrics::{TaskMetrics, add};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use streamfleet_dataflow::{DataflowError, Flow, Sink};
use streamfleet_exchange::Verdict;
use streamfleet_types::{Barrier, Batch, Element, Epoch, OperatorId};

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
                if let Some(watermark) = self.input.watermarks.on_watermark(channel, watermark) {
                    self.metrics.watermark.store(watermark, Ordering::Relaxed);
                }
            }
            Element::Barrier(Barrier { epoch }) => {
                if let Verdict::Aligned(epoch) = self.input.alignment.on_barrier(channel, epoch) {
                    self.take_snapshot(epoch, taken)?;
                }
            }
            Element::End => {
                if let Verdict::Aligned(epoch) = self.input.alignment.on_end(channel) {
                    self.take_snapshot(epoch, taken)?;
                }
                self.finished = self.input.alignment.all_ended();
            }
            Element::Idle | Element::Active => {}
        }
        Ok(Progress::Worked)
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
        taken.push((
            epoch,
            TaskSnapshot {
                operator: self.id.clone(),
                tables: Vec::new(),
                positions: Vec::new(),
                watermark: None,
                prepares: true,
                full: true,
            },
        ));
        Ok(())
    }
}
