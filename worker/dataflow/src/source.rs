//! Sources: where rows come from.

use crate::{DataflowError, PartitionLags};
use std::sync::Arc;
use std::time::Duration;
use streamfleet_env::{Clock, Storage};
use streamfleet_types::{Batch, Millis};

/// What a source is given when it is built.
#[derive(Clone)]
pub struct SourceContext {
    /// The files of the outside world; paths as the user wrote them.
    pub files: Arc<dyn Storage>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Wakes the slot; call it from any thread when [`Source::poll`] has something new to say.
    pub waker: Arc<dyn Fn() + Send + Sync>,
    /// This subtask of the source.
    pub subtask: u32,
    /// How many subtasks the source has.
    pub parallelism: u32,
    /// Batch mode: bounded, no need for watermarks.
    pub batch_mode: bool,
    /// Unique to this job, term, source and slot: part of every name that the source makes, never used twice.
    pub unique: String,
}

/// What a source could not read, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceErrors {
    /// Records left out.
    pub skipped_records: u64,
    /// Of these, the ones kept aside.
    pub dead_letters: u64,
    /// Fields that became NULL.
    pub nulled_fields: u64,
}

/// Rows of one split.
#[derive(Debug)]
pub struct SourceBatch {
    /// Number of the split, as in [`Source::splits`].
    pub split: usize,
    /// The rows.
    pub batch: Batch,
}

/// Where a split stands after the last batch that was given.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitState {
    /// The split's name, unique in the source over all subtasks.
    pub name: String,
    /// Where to read on.
    pub position: serde_json::Value,
    /// Nothing is left.
    pub finished: bool,
}

/// What a source has to say when polled.
#[derive(Debug)]
pub enum SourceStatus {
    /// Rows.
    Rows(SourceBatch),
    /// Nothing now: poll again when woken, or after this time if given.
    Waiting(Option<Duration>),
    /// A split of this number has ended, after its last rows.
    SplitEnded(usize),
    /// All splits have ended and no new one will come.
    Ended,
}

/// One subtask of a source. Never waits: I/O is submitted, and its answer wakes the slot.
///
/// # Flow
/// [`Source::restore`] once when positions are known from a snapshot (the splits that fell to this subtask; also an empty
/// list), or [`Source::start`] once when the job starts from nothing; then [`Source::poll`] again and again;
/// [`Source::splits`] between any two polls.
pub trait Source: Send {
    /// Begins from nothing: finds this subtask's splits.
    fn start(&mut self) -> Result<(), DataflowError>;

    /// Goes on from a snapshot. Which subtask gets which split was decided by the caller.
    fn restore(&mut self, splits: Vec<SplitState>) -> Result<(), DataflowError>;

    /// The next rows, or why there are none.
    fn poll(&mut self) -> Result<SourceStatus, DataflowError>;

    /// Every split that this subtask has, as of the last batch given. A split keeps its number (its index here).
    fn splits(&self) -> Vec<SplitState>;

    /// False while the source is still finding its splits, or while something is not durable yet that belongs before its
    /// positions: a snapshot must wait, or it would forget them.
    fn splits_known(&self) -> bool {
        true
    }

    /// True if splits are read one after another, in event-time order: then only the current one holds the watermark back.
    fn reads_in_order(&self) -> bool {
        false
    }

    /// Watermark of a split that the source itself knows (for instance a generator's), if any.
    fn split_watermark(&self, _split: usize) -> Option<Millis> {
        None
    }

    /// True if all was given that there was of a split when it was begun: if that was nothing, nobody need wait for it.
    fn has_met_end(&self, _split: usize) -> bool {
        false
    }

    /// True if [`Source::pause`] is for single splits. A source that cannot hold them apart is not polled while it is ahead.
    fn pauses_splits(&self) -> bool {
        false
    }

    /// No rows of the split are given until it goes on (`false`). Other splits' go on: what is there of a paused one must not
    /// stand in their way, and is bounded. Positions are those of rows that were given, as ever.
    fn pause(&mut self, _split: usize, _paused: bool) {}

    /// The subtask that a split falls to after a restore, if the split's name says it; else the caller deals.
    fn owner(&self, _split: &str) -> Option<u32> {
        None
    }

    /// A snapshot with these positions is complete: whoever watches from outside may be told. Nothing may depend on it.
    fn completed(&mut self, _splits: &[SplitState]) {}

    /// How far behind their ends its partitions are read, if it knows: the same for as long as it lives.
    fn lags(&self) -> Option<Arc<PartitionLags>> {
        None
    }

    /// What could not be read.
    fn errors(&self) -> SourceErrors {
        SourceErrors::default()
    }
}
