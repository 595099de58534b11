//! What slots and tasks count. Written by the slot's thread alone, read by whoever reports.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use streamfleet_dataflow::{PartitionLag, PartitionLags};
use streamfleet_telemetry::metrics::Declared;
use streamfleet_types::{MAX_WATERMARK, MIN_WATERMARK};

/// Counters of one subtask.
#[derive(Debug)]
pub struct TaskMetrics {
    /// Short name of the operator.
    pub name: String,
    /// The same for errors: with the tables around it.
    pub place: String,
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
    /// Bytes of rows taken, as they lie in memory.
    pub bytes_in: AtomicU64,
    /// Rows dropped because they came too late.
    pub late_rows: AtomicU64,
    /// Rows dropped because their event time is NULL.
    pub timeless_rows: AtomicU64,
    /// Records skipped because they could not be read.
    pub skipped_records: AtomicU64,
    /// Skipped records that were kept aside.
    pub dead_letters: AtomicU64,
    /// Fields that became NULL because they could not be read.
    pub nulled_fields: AtomicU64,
    /// Bytes handed to the external system.
    pub written_bytes: AtomicU64,
    /// Bytes of state.
    pub state_bytes: AtomicU64,
    /// Event time, ms.
    pub watermark: AtomicI64,
    /// Splits that wait for others of their alignment group.
    pub paused_splits: AtomicU64,
    /// How far behind their ends a source's partitions are read, if it knows.
    pub lags: OnceLock<Arc<PartitionLags>>,
    /// Time spent in the task, ns.
    pub busy_ns: AtomicU64,
}

impl TaskMetrics {
    pub(crate) fn new(name: String, place: String, operator: String, is_source: bool, is_sink: bool) -> Self {
        Self {
            name,
            place,
            operator,
            is_source,
            is_sink,
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            late_rows: AtomicU64::new(0),
            timeless_rows: AtomicU64::new(0),
            skipped_records: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            nulled_fields: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            watermark: AtomicI64::new(MIN_WATERMARK),
            paused_splits: AtomicU64::new(0),
            lags: OnceLock::new(),
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
    pub tasks: Vec<Arc<TaskMetrics>>,
    /// Time with work, ns.
    pub busy_ns: AtomicU64,
    /// Time without work because outputs were full, ns.
    pub backpressured_ns: AtomicU64,
    /// Time with nothing to do, ns.
    pub idle_ns: AtomicU64,
}

/// What is known of every subtask.
pub const TASK_METRICS: &[Declared<TaskMetrics>] = &[
    Declared::counter("streamfleet_task_rows_in_total", "Rows that the subtask took, or a source read.", |t, _| {
        Some(value(&t.rows_in))
    }),
    Declared::counter("streamfleet_task_rows_out_total", "Rows that the subtask gave.", |t, _| {
        (!t.is_sink).then(|| value(&t.rows_out))
    }),
    Declared::counter("streamfleet_task_in_bytes_total", "Bytes of the rows taken, as they lie in memory.", |t, _| {
        Some(value(&t.bytes_in))
    }),
    Declared::counter(
        "streamfleet_task_late_rows_total",
        "Rows left out because they came after the watermark had closed what they belong to.",
        |t, _| (!t.is_source && !t.is_sink).then(|| value(&t.late_rows)),
    ),
    Declared::counter(
        "streamfleet_task_timeless_rows_total",
        "Rows left out because their event time is NULL.",
        |t, _| (!t.is_source && !t.is_sink).then(|| value(&t.timeless_rows)),
    ),
    Declared::counter(
        "streamfleet_source_skipped_records_total",
        "Records left out because they could not be decoded ('scan.errors').",
        |t, _| t.is_source.then(|| value(&t.skipped_records)),
    ),
    Declared::counter(
        "streamfleet_source_dead_letters_total",
        "Of these, records kept aside ('scan.errors' = 'dead-letter').",
        |t, _| t.is_source.then(|| value(&t.dead_letters)),
    ),
    Declared::counter(
        "streamfleet_source_nulled_fields_total",
        "Fields that could not be decoded and are NULL ('ignore-parse-errors').",
        |t, _| t.is_source.then(|| value(&t.nulled_fields)),
    ),
    Declared::gauge(
        "streamfleet_source_paused_splits",
        "Splits that are ahead of their group and wait for it ('scan.watermark.alignment.group').",
        |t, _| t.is_source.then(|| value(&t.paused_splits)),
    ),
    Declared::gauge(
        "streamfleet_source_pending_records",
        "Records that the subtask has still to read of its partitions, as far as their ends are known.",
        |t, _| t.lags.get().and_then(|lags| lags.pending()).map(|records| records as f64),
    ),
    Declared::counter(
        "streamfleet_sink_written_bytes_total",
        "Bytes that a sink handed to its external system; 0 for those that do not count.",
        |t, _| t.is_sink.then(|| value(&t.written_bytes)),
    ),
    Declared::gauge("streamfleet_task_state_bytes", "Bytes of state, as they lie in memory.", |t, _| {
        (!t.is_source && !t.is_sink).then(|| value(&t.state_bytes))
    }),
    Declared::gauge(
        "streamfleet_task_watermark_seconds",
        "Event time that the subtask has reached, seconds since 1970; absent before the first watermark and after the last.",
        |t, _| t.event_time().map(|ms| ms as f64 / 1e3),
    ),
    Declared::gauge(
        "streamfleet_task_watermark_lag_seconds",
        "Wall clock minus watermark; absent like the watermark.",
        |t, at| t.event_time().map(|ms| (at.now_ms - ms) as f64 / 1e3),
    ),
];

/// What is known of every partition that a source reads.
pub const PARTITION_METRICS: &[Declared<PartitionLag>] = &[Declared::gauge(
    "streamfleet_source_partition_lag_records",
    "Records between what the source has read of the partition and the end that the brokers last told of; of what is bounded, up to its bound.",
    |p, _| p.records().map(|records| records as f64),
)];

/// What is known of every slot. The three add up to the time that the slot has run: their rates are fractions.
pub const SLOT_METRICS: &[Declared<SlotMetrics>] = &[
    Declared::counter("streamfleet_slot_busy_seconds_total", "Time with work.", |s, _| Some(seconds(&s.busy_ns))),
    Declared::counter(
        "streamfleet_slot_backpressured_seconds_total",
        "Time in which rows were there, but a consumer's queue was full.",
        |s, _| Some(seconds(&s.backpressured_ns)),
    ),
    Declared::counter("streamfleet_slot_idle_seconds_total", "Time with nothing to do.", |s, _| {
        Some(seconds(&s.idle_ns))
    }),
];

impl TaskMetrics {
    /// The watermark, if it is a time.
    pub fn event_time(&self) -> Option<i64> {
        let watermark = self.watermark.load(Ordering::Relaxed);
        (watermark != MIN_WATERMARK && watermark != MAX_WATERMARK).then_some(watermark)
    }
}

fn value(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

fn seconds(nanoseconds: &AtomicU64) -> f64 {
    value(nanoseconds) / 1e9
}

/// Adds with the cost of a plain store: a counter has one writer.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

pub(crate) fn add_time(counter: &AtomicU64, more: Duration) {
    add(counter, u64::try_from(more.as_nanos()).unwrap_or(u64::MAX));
}
