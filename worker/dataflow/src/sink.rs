//! Sinks: where rows go.

use crate::{DataflowError, Flow};
use std::sync::Arc;
use std::time::Duration;
use streamfleet_env::{Clock, Storage};
use streamfleet_types::{Batch, Epoch};

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

/// One subtask of a sink. Never waits.
///
/// # Flow
/// `write` for every batch. At a barrier (and at the end) `prepare(epoch)` closes what was written since the last one and
/// starts making it durable; `poll_prepared` is asked until it gives the handles. The handles go into the snapshot; when
/// that is complete the coordinator commits them through the connector's committer, also after a restore.
///
/// # Guarantees asked
/// Nothing written is visible before its handle was committed; committing a handle twice is harmless.
pub trait Sink: Send {
    /// Takes rows. `Flow::More`: too much is under way; the rows were *not* taken, offer them again when woken.
    fn write(&mut self, batch: &Batch) -> Result<Flow, DataflowError>;

    /// Closes the output of an epoch.
    fn prepare(&mut self, epoch: Epoch) -> Result<(), DataflowError>;

    /// The handles of everything prepared, once it is durable; `None` while it is not.
    fn poll_prepared(&mut self, epoch: Epoch) -> Result<Option<Vec<serde_json::Value>>, DataflowError>;

    /// Everything prepared in epochs up to this one was committed, and a record says so.
    fn committed(&mut self, _epoch: Epoch) {}

    /// Bytes that were handed to the external system, so far.
    fn written_bytes(&self) -> u64 {
        0
    }
}
