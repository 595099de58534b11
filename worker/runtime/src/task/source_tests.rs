#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::task::{OutputEdge, Router};
use arrow::array::TimestampMillisecondArray;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_common::DFSchema;
use datafusion_expr::col;
use std::collections::VecDeque;
use streamfleet_dataflow::SplitState;
use streamfleet_exchange::{QueueReceiver, queue};
use streamfleet_types::Batch;

/// Gives what a test wrote down: rows of a split with one event time, or nothing for now.
struct Scripted {
    script: VecDeque<Option<(usize, Millis)>>,
    splits: usize,
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true)]))
}

impl Source for Scripted {
    fn start(&mut self) -> Result<(), DataflowError> {
        Ok(())
    }

    fn restore(&mut self, _: Vec<SplitState>) -> Result<(), DataflowError> {
        Ok(())
    }

    fn poll(&mut self) -> Result<SourceStatus, DataflowError> {
        let Some((split, time)) = self.script.pop_front().flatten() else { return Ok(SourceStatus::Waiting(None)) };
        let column = Arc::new(TimestampMillisecondArray::from(vec![time]));
        let records = RecordBatch::try_new(schema(), vec![column])?;
        Ok(SourceStatus::Rows(SourceBatch { split, batch: Batch::inserts(records) }))
    }

    fn splits(&self) -> Vec<SplitState> {
        let state = |i| SplitState { name: format!("{i}"), position: 0.into(), finished: false };
        (0..self.splits).map(state).collect()
    }
}

/// A task that reads the script, with ten seconds until a split is idle, and what it sends.
fn task(script: &[Option<(usize, Millis)>], splits: usize) -> (SourceTask, QueueReceiver) {
    let (sender, receiver) = queue(1 << 20, Arc::new(|| {}), Arc::new(|| {}));
    let edges = vec![OutputEdge::new(Router::Single, vec![sender])];
    let of = Arc::new(DFSchema::try_from(schema().as_ref().clone()).unwrap());
    let task = SourceTask::new(
        OperatorId("source".to_owned()),
        Box::new(Scripted { script: script.iter().copied().collect(), splits }),
        Outputs { edges },
        Arc::new(TaskMetrics::new(String::new(), String::new(), true, false)),
        Projector::new("source", &[col("ts")], &of, schema()).unwrap(),
        Some(RowWatermark::new("source", &col("ts"), &of).unwrap()),
        Some(Duration::from_secs(10)),
    );
    (task, receiver)
}

fn call(task: &mut SourceTask, second: u64) -> Progress {
    task.call(Duration::from_secs(second), &mut Vec::new()).unwrap()
}

fn sent(receiver: &mut QueueReceiver) -> Vec<String> {
    std::iter::from_fn(|| receiver.pop())
        .map(|(element, _)| match element {
            Element::Batch(_) => "rows".to_owned(),
            Element::Watermark(w) => format!("watermark {w}"),
            Element::Idle => "idle".to_owned(),
            Element::Active => "active".to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_quiet_split_stops_holding_the_watermark_back() {
    let (mut task, mut receiver) = task(&[Some((0, 5)), Some((1, 100)), None, Some((1, 200)), Some((1, 300))], 2);
    for second in [0, 1, 2, 5] {
        call(&mut task, second);
    }
    assert_eq!(sent(&mut receiver), ["rows", "rows", "watermark 5", "rows"]);
    call(&mut task, 10);
    assert_eq!(sent(&mut receiver), ["rows", "watermark 300"]);
}

#[test]
fn a_quiet_source_becomes_idle_and_active_again() {
    let (mut task, mut receiver) = task(&[Some((0, 5)), None, None, None, Some((0, 6))], 1);
    call(&mut task, 0);
    assert_eq!(call(&mut task, 3), Progress::Idle(Some(Duration::from_secs(10))));
    assert_eq!(call(&mut task, 10), Progress::Idle(None));
    assert_eq!(call(&mut task, 11), Progress::Idle(None));
    assert_eq!(sent(&mut receiver), ["rows", "watermark 5", "idle"]);
    call(&mut task, 12);
    assert_eq!(sent(&mut receiver), ["active", "rows", "watermark 6"]);
}

#[test]
fn a_subtask_without_splits_becomes_idle() {
    let (mut task, mut receiver) = task(&[], 0);
    assert_eq!(call(&mut task, 0), Progress::Idle(Some(Duration::from_secs(10))));
    call(&mut task, 10);
    assert_eq!(sent(&mut receiver), ["idle"]);
}
