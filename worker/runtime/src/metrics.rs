//! What slots and tasks count. Written by the slot's thread alone, read by whoever reports.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use streamfleet_types::MIN_WATERMARK;

/// Counters of one subtask.
#[derive(Debug)]
pub struct TaskMetrics {
    /// Short name of the operator.
    pub name: String,
    /// Stable id of the operator.
    pub operator: String,
    /// True for sources.
    pub is_source: bool,
    /// True for sinks.
    pub is_sink: bool,
    /// Rows taken.
    pub rows_in: AtomicU64,
    /// Rows given.
    pub rows_out: AtomicU64,
    /// Rows dropped because they came too late.
    pub late_rows: AtomicU64,
    /// Records skipped because they could not be read.
    pub skipped_records: AtomicU64,
    /// Bytes of state.
    pub state_bytes: AtomicU64,
    /// Event time, ms.
    pub watermark: AtomicI64,
    /// Time spent in the task, ns.
    pub busy_ns: AtomicU64,
}

impl TaskMetrics {
    pub(crate) fn new(name: String, operator: String, is_source: bool, is_sink: bool) -> Self {
        Self {
            name,
            operator,
            is_source,
            is_sink,
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            late_rows: AtomicU64::new(0),
            skipped_records: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            watermark: AtomicI64::new(MIN_WATERMARK),
            busy_ns: AtomicU64::new(0),
        }
    }
}

/// Counters of one slot.
#[derive(Debug)]
pub struct SlotMetrics {
    /// The slot's number.
    pub slot: u32,
    /// Its tasks, producers first.
    pub tasks: Vec<std::sync::Arc<TaskMetrics>>,
    /// Time with work, ns.
    pub busy_ns: AtomicU64,
    /// Time without work because outputs were full, ns.
    pub backpressured_ns: AtomicU64,
    /// Time with nothing to do, ns.
    pub idle_ns: AtomicU64,
}

/// Adds with the cost of a plain store: a counter has one writer.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

pub(crate) fn add_time(counter: &AtomicU64, more: Duration) {
    add(counter, u64::try_from(more.as_nanos()).unwrap_or(u64::MAX));
}
