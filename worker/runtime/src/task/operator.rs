//! An operator with its channels: elements in, rows and control elements out.

use super::{Input, Outputs, Progress, TaskSnapshot};
use crate::metrics::{TaskMetrics, add};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use streamfleet_dataflow::{DataflowError, Flow, Operator, Output};
use streamfleet_exchange::Verdict;
use streamfleet_state::RowTable;
use streamfleet_types::{Barrier, Element, Epoch, Millis, OperatorId};

/// What follows when the operator's call is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Watermark(Millis),
    End,
}

pub(crate) struct OperatorTask {
    pub id: OperatorId,
    pub operator: Box<dyn Operator>,
    pub input: Input,
    pub outputs: Outputs,
    pub metrics: Arc<TaskMetrics>,
    /// The operator said `More` and has this to follow.
    pending: Option<After>,
    /// A barrier that is aligned but must wait for the operator's call to be done.
    pub barrier_due: Option<Epoch>,
    /// Input has ended; `on_end` comes next.
    end_due: bool,
    pub finished: bool,
    /// The whole job has drained: a snapshot needs no state.
    pub needs_no_state: bool,
    /// The snapshot that all rows are wanted for.
    pub full: Option<Epoch>,
    scratch: Output,
}

impl OperatorTask {
    pub fn new(
        id: OperatorId,
        operator: Box<dyn Operator>,
        input: Input,
        outputs: Outputs,
        metrics: Arc<TaskMetrics>,
    ) -> Self {
        Self {
            id,
            operator,
            input,
            outputs,
            metrics,
            pending: None,
            barrier_due: None,
            end_due: false,
            finished: false,
            needs_no_state: false,
            full: None,
            scratch: Output::default(),
        }
    }

    fn has_work(&self) -> bool {
        self.pending.is_some() || self.barrier_due.is_some() || self.end_due || self.input.is_ready()
    }

    pub fn call(&mut self, taken: &mut Vec<(Epoch, TaskSnapshot)>) -> Result<Progress, DataflowError> {
        if !self.has_work() {
            self.outputs.flush();
            return Ok(Progress::Idle(None));
        }
        if self.pending.is_none()
            && let Some(epoch) = self.barrier_due.take()
        {
            self.take_snapshot(epoch, taken);
            return Ok(Progress::Worked);
        }
        if !self.outputs.has_room() {
            return Ok(Progress::Backpressured);
        }
        if let Some(after) = self.pending.take() {
            let flow = self.operator.resume(&mut self.scratch)?;
            self.finish_call(flow, after)?;
        } else if self.end_due {
            self.end_due = false;
            let flow = self.operator.on_end(&mut self.scratch)?;
            self.finish_call(flow, After::End)?;
        } else if let Some((channel, port, element)) = self.input.pop() {
            self.on_element(channel, port, element)?;
        }
        Ok(Progress::Worked)
    }

    fn on_element(&mut self, channel: usize, port: usize, element: Element) -> Result<(), DataflowError> {
        match element {
            Element::Batch(batch) => {
                add(&self.metrics.rows_in, batch.rows() as u64);
                self.metrics.bytes_in.store(self.input.bytes, Ordering::Relaxed);
                let flow = self.operator.on_batch(port, &batch, &mut self.scratch)?;
                self.finish_call(flow, After::Nothing)?;
            }
            Element::Watermark(watermark) => {
                let grown = self.input.watermarks.on_watermark(channel, watermark);
                self.on_watermark(grown)?;
            }
            Element::Barrier(Barrier { epoch }) => {
                if let Verdict::Aligned(epoch) = self.input.alignment.on_barrier(channel, epoch) {
                    self.barrier_due = Some(epoch);
                }
            }
            Element::Idle => {
                let grown = self.input.watermarks.on_idle(channel);
                self.on_watermark(grown)?;
                if self.input.watermarks.all_idle() && !self.input.idle {
                    self.input.idle = true;
                    self.outputs.push_control(&Element::Idle);
                }
            }
            Element::Active => {
                self.input.watermarks.on_active(channel);
                if self.input.idle {
                    self.input.idle = false;
                    self.outputs.push_control(&Element::Active);
                }
            }
            Element::End => {
                let grown = self.input.watermarks.on_end(channel);
                if let Verdict::Aligned(epoch) = self.input.alignment.on_end(channel) {
                    self.barrier_due = Some(epoch);
                }
                self.end_due = self.input.alignment.all_ended();
                self.on_watermark(grown)?;
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, grown: Option<Millis>) -> Result<(), DataflowError> {
        let Some(watermark) = grown else { return Ok(()) };
        self.metrics.watermark.store(watermark, Ordering::Relaxed);
        let flow = self.operator.on_watermark(watermark, &mut self.scratch)?;
        self.finish_call(flow, After::Watermark(watermark))
    }

    /// Passes on what the call gave, and what follows it if it is done.
    fn finish_call(&mut self, flow: Flow, after: After) -> Result<(), DataflowError> {
        for batch in self.scratch.drain() {
            add(&self.metrics.rows_out, batch.rows() as u64);
            self.outputs.push_batch(&batch)?;
        }
        if flow == Flow::More {
            self.pending = Some(after);
            return Ok(());
        }
        self.metrics.late_rows.store(self.operator.late_rows(), Ordering::Relaxed);
        self.metrics.timeless_rows.store(self.operator.timeless_rows(), Ordering::Relaxed);
        match after {
            After::Nothing => {}
            After::Watermark(watermark) => {
                self.outputs.push_control(&Element::Watermark(watermark));
                self.count_state();
            }
            After::End => {
                self.finished = true;
                self.outputs.push_control(&Element::End);
            }
        }
        Ok(())
    }

    fn count_state(&mut self) {
        let bytes: usize = self.operator.tables().iter().map(|t| t.bytes()).sum();
        self.metrics.state_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    fn take_snapshot(&mut self, epoch: Epoch, taken: &mut Vec<(Epoch, TaskSnapshot)>) {
        // Of a job without watermarks, this is when its state is counted.
        self.count_state();
        // A barrier may overtake the wish: then only changes are given, which is right as well.
        let full = self.full == Some(epoch);
        let tables = if self.needs_no_state {
            Vec::new()
        } else {
            let freeze = |t: &mut RowTable| if full { t.freeze_whole(epoch) } else { t.freeze(epoch) };
            self.operator.tables().into_iter().map(freeze).collect()
        };
        let snapshot = TaskSnapshot {
            operator: self.id.clone(),
            tables,
            positions: Vec::new(),
            watermark: Some(self.input.watermarks.merged()),
            prepares: false,
            full: full || self.needs_no_state,
        };
        taken.push((epoch, snapshot));
        if !self.finished {
            self.outputs.push_control(&Element::Barrier(Barrier { epoch }));
        }
    }
}
