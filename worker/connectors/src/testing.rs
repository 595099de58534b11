//! What the tests of several connectors need.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use streamfleet_dataflow::{SinkContext, Source, SourceContext, SourceStatus};
use streamfleet_env::{Clock, Completion, Storage, StorageRequest};
use streamfleet_logical::{Column, ColumnKind, Position, ScanSpec, TableDescriptor};

/// A clock that goes on by `step` milliseconds with every look at it; by default it stands still.
#[derive(Debug, Default)]
pub struct StepClock {
    pub now: AtomicU64,
    pub step: u64,
}

impl Clock for StepClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now.fetch_add(self.step, Ordering::Relaxed))
    }

    fn wall_clock_ms(&self) -> i64 {
        self.now.load(Ordering::Relaxed) as i64
    }
}

struct NoStorage;

impl Storage for NoStorage {
    fn submit(&self, _: StorageRequest, _: Completion) {
        panic!("no storage is needed here");
    }
}

/// A context without storage.
pub fn context(subtask: u32, parallelism: u32, clock: &Arc<StepClock>) -> SourceContext {
    let clock: Arc<dyn Clock> = Arc::<StepClock>::clone(clock);
    SourceContext {
        files: Arc::new(NoStorage),
        clock,
        waker: Arc::new(|| {}),
        subtask,
        parallelism,
        batch_mode: false,
        unique: "u".to_owned(),
    }
}

/// The same for a sink.
pub fn sink_context(clock: &Arc<StepClock>) -> SinkContext {
    let clock: Arc<dyn Clock> = Arc::<StepClock>::clone(clock);
    SinkContext {
        files: Arc::new(NoStorage),
        clock,
        waker: Arc::new(|| {}),
        subtask: 0,
        parallelism: 1,
        checkpoint_interval: Duration::from_secs(10),
        commit_within: Duration::from_secs(660),
        unique: "uid-3-nonce-op-0".to_owned(),
    }
}

/// A table of physical columns.
pub fn table(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> TableDescriptor {
    let column = |(name, data_type): &(&str, DataType)| Column {
        name: (*name).into(),
        data_type: data_type.clone(),
        nullable: true,
        kind: ColumnKind::Physical,
    };
    TableDescriptor {
        name: "t".into(),
        columns: columns.iter().map(column).collect(),
        watermark: None,
        primary_key: vec![],
        partitioned_by: vec![],
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        position: Position::default(),
    }
}

/// A scan of all columns.
pub fn scan(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> ScanSpec {
    ScanSpec::whole(Arc::new(table(columns, options))).unwrap()
}

/// The text of every row.
pub fn rows(records: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        records.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..records.num_rows()).map(row).collect()
}

/// Polls until the end, or until so many batches came.
pub fn read(source: &mut dyn Source, batches: usize) -> Vec<RecordBatch> {
    let mut all = vec![];
    while all.len() < batches {
        match source.poll().unwrap() {
            SourceStatus::Rows(rows) => all.push(rows.batch.records().clone()),
            SourceStatus::SplitEnded(_) => {}
            SourceStatus::Ended | SourceStatus::Waiting(_) => break,
        }
    }
    for column in all.iter().flat_map(RecordBatch::columns) {
        column.to_data().validate_full().unwrap();
    }
    all
}
