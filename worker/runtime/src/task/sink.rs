//! A sink with its channels. Its output of an epoch is closed at the barrier and named in the snapshot when it is durable.

use super::{Input, Progress, TaskSnapshot};
use crate::metrics::{TaskMetrics, add};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use streamfleet_dataflow::{DataflowError, Flow, Sink};
use streamfleet_exchange::Verdict;
use streamfleet_snapshot::FirstRows;
use streamfleet_types::log::SplitPosition;
use streamfleet_types::{Barrier, Batch, Element, Epoch, MIN_WATERMARK, Millis, OperatorId};

pub(crate) struct SinkTask {
    pub id: OperatorId,
    pub sink: Box<dyn Sink>,
    pub input: Input,
    pub metrics: Arc<TaskMetrics>,
    /// Rows that the sink did not take yet.
    held: Option<Batch>,
    /// It has taken rows.
    has_taken: bool,
    pub finished: bool,
}

impl SinkTask {
    pub fn new(id: OperatorId, sink: Box<dyn Sink>, input: Input, metrics: Arc<TaskMetrics>) -> Self {
        Self { id, sink, input, metrics, held: None, has_taken: false, finished: false }
    }

    /// How far the sink is with its first rows.
    pub const fn first_rows(&self) -> FirstRows {
        match (self.has_taken, &self.held) {
            (true, _) => FirstRows::Taken,
            (false, Some(_)) => FirstRows::Awaited,
            (false, None) => FirstRows::None,
        }
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
                self.has_taken = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use streamfleet_exchange::queue;

    /// Takes rows from the second offer on.
    #[derive(Default)]
    struct Late {
        offers: usize,
    }

    impl Sink for Late {
        fn write(&mut self, _: &Batch) -> Result<Flow, DataflowError> {
            self.offers += 1;
            Ok(if self.offers > 1 { Flow::Done } else { Flow::More })
        }

        fn prepare(&mut self, _: Epoch) -> Result<(), DataflowError> {
            Ok(())
        }

        fn poll_prepared(&mut self, _: Epoch) -> Result<Option<Vec<serde_json::Value>>, DataflowError> {
            Ok(Some(Vec::new()))
        }
    }

    #[test]
    fn first_rows_are_awaited_while_the_sink_does_not_take_them() {
        let (mut sender, receiver) = queue(1 << 20, Arc::new(|| {}), Arc::new(|| {}));
        let metrics = Arc::new(TaskMetrics::new(String::new(), String::new(), String::new(), false, true));
        let input = Input::new(vec![(0, receiver)], MIN_WATERMARK);
        let mut task = SinkTask::new(OperatorId("sink".to_owned()), Box::<Late>::default(), input, metrics);
        let mut call = || {
            let progress = task.call(&mut Vec::new()).expect("it goes on");
            (progress, task.first_rows())
        };
        assert_eq!(call(), (Progress::Idle(None), FirstRows::None));
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let records = RecordBatch::try_from_iter([("id", column)]).expect("one column");
        sender.push(Element::Batch(Batch::inserts(records)));
        assert_eq!(call(), (Progress::Backpressured, FirstRows::Awaited));
        assert_eq!(call(), (Progress::Worked, FirstRows::Taken));
        assert_eq!(call(), (Progress::Idle(None), FirstRows::Taken));
    }
}
