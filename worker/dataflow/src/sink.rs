//! Sinks: where rows go.

use crate::{DataflowError, Flow};
use std::sync::Arc;
use std::time::Duration;
use streamfleet_env::{Clock, Storage};
use streamfleet_types::{Batch, Epoch, Millis};

/// What a sink is given when it is built.
#[derive(Clone)]
pub struct SinkContext {
    /// The files of the outside world; paths as the user wrote them.
    pub files: Arc<dyn Storage>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Wakes the slot; call it from any thread when a pending call can go on.
    pub waker: Arc<dyn Fn() + Send + Sync>,
    /// This subtask.
    pub subtask: u32,
    /// How many subtasks the sink has.
    pub parallelism: u32,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// How long it may take from a barrier until the output before it is committed, at the most, a restart included.
    pub commit_within: Duration,
    /// Unique to this job, term, sink and slot: part of every name that the sink makes, never used twice. It begins with the
    /// job's uid, a dash, the term and a dash.
    pub unique: String,
}

/// What a sink still has to do, of a kind that its connector knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingWork {
    /// What it is about.
    pub name: String,
    /// More about it, in the connector's own form.
    pub state: serde_json::Value,
}

/// What a sink begins with.
#[derive(Debug, Clone)]
pub struct SinkStart {
    /// What the snapshot names that the job begins from: of all subtasks, whatever their number was. The first subtask gets all
    /// of it, others get nothing.
    pub pending: Vec<PendingWork>,
    /// The last [`Sink::all_reached`] before that snapshot, or [`MIN_WATERMARK`](streamfleet_types::MIN_WATERMARK).
    pub watermark: Millis,
    /// Bounded input, final results only.
    pub batch_mode: bool,
}

/// One subtask of a sink. Never waits.
///
/// # Flow
/// `start` once. `write` for every batch. At a barrier (and at the end) `prepare(epoch)` closes what was written since the last one and
/// starts making it durable; `poll_prepared` is asked until it gives the handles. The handles go into the snapshot; when
/// that is complete the coordinator commits them through the connector's committer, also after a restore.
///
/// # Guarantees asked
/// Nothing written is visible before its handle was committed; committing a handle twice is harmless.
pub trait Sink: Send {
    /// Before anything else.
    ///
    /// # Errors
    /// The snapshot names something that the table's options do not go with.
    fn start(&mut self, _start: SinkStart) -> Result<(), DataflowError> {
        Ok(())
    }

    /// Takes rows. `Flow::More`: too much is under way; the rows were *not* taken, offer them again when woken.
    fn write(&mut self, batch: &Batch) -> Result<Flow, DataflowError>;

    /// Closes the output of an epoch.
    fn prepare(&mut self, epoch: Epoch) -> Result<(), DataflowError>;

    /// What is still to be done after the `prepare` just made: part of the same snapshot, and given back by [`Sink::start`].
    fn pending(&self) -> Vec<PendingWork> {
        Vec::new()
    }

    /// A snapshot is complete at whose barrier the watermark of every subtask was this or higher; subtasks without a watermark,
    /// because all their input is idle, do not count.
    fn all_reached(&mut self, _watermark: Millis) {}

    /// No subtask gets any more rows: the next `prepare` is the last.
    fn all_ended(&mut self) {}

    /// The handles of everything prepared, once it is durable; `None` while it is not.
    fn poll_prepared(&mut self, epoch: Epoch) -> Result<Option<Vec<serde_json::Value>>, DataflowError>;

    /// Everything prepared in epochs up to this one was committed, and a record says so.
    fn committed(&mut self, _epoch: Epoch) {}

    /// The job ends, or goes on elsewhere: throws away what no snapshot names. Called again and again until it is true, for some
    /// seconds at most: what stays is left to the job's next start.
    fn leave(&mut self) -> bool {
        true
    }

    /// Bytes that were handed to the external system, so far.
    fn written_bytes(&self) -> u64 {
        0
    }
}
