#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::task::{OutputEdge, Router};
use arrow::array::TimestampMillisecondArray;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_common::DFSchema;
use datafusion_expr::col;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use streamfleet_dataflow::SplitState;
use streamfleet_exchange::{QueueReceiver, queue};
use streamfleet_logical::WatermarkAlignment;
use streamfleet_types::Batch;

/// In a script: the split ends.
const END: Millis = MAX_WATERMARK;

/// Gives what a test wrote down: rows of a split with one event time, its end, or nothing for now.
struct Scripted {
    script: VecDeque<Option<(usize, Millis)>>,
    splits: usize,
    /// Which splits are paused, if single ones can be.
    paused: Option<BTreeSet<usize>>,
    known: bool,
    ends: bool,
    /// This split has met its end.
    met_end: Option<usize>,
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
        self.known = true;
        let is_paused = |split: usize| self.paused.as_ref().is_some_and(|paused| paused.contains(&split));
        let next = self.script.iter().position(|next| next.is_none_or(|(split, _)| !is_paused(split)));
        let is_over = self.ends && self.script.is_empty();
        let Some((split, time)) = next.and_then(|index| self.script.remove(index)).flatten() else {
            return Ok(if is_over { SourceStatus::Ended } else { SourceStatus::Waiting(None) });
        };
        if time == END {
            return Ok(SourceStatus::SplitEnded(split));
        }
        let column = Arc::new(TimestampMillisecondArray::from(vec![time]));
        let records = RecordBatch::try_new(schema(), vec![column])?;
        Ok(SourceStatus::Rows(SourceBatch { split, batch: Batch::inserts(records) }))
    }

    fn splits(&self) -> Vec<SplitState> {
        let state = |i| SplitState { name: format!("{i}"), position: 0.into(), finished: false };
        (0..self.splits).map(state).collect()
    }

    fn splits_known(&self) -> bool {
        self.known
    }

    fn has_met_end(&self, split: usize) -> bool {
        self.met_end == Some(split)
    }

    fn pauses_splits(&self) -> bool {
        self.paused.is_some()
    }

    fn pause(&mut self, split: usize, paused: bool) {
        let splits = self.paused.as_mut().expect("it was asked whether it can");
        assert!(if paused { splits.insert(split) } else { splits.remove(&split) }, "it is so already");
    }
}

/// A task that reads the script, with ten seconds until a split is idle, and what it sends.
fn task(script: &[Option<(usize, Millis)>], splits: usize) -> (SourceTask, QueueReceiver) {
    let script = script.iter().copied().collect();
    task_of(Scripted { script, splits, paused: None, known: true, ends: false, met_end: None })
}

fn task_of(source: Scripted) -> (SourceTask, QueueReceiver) {
    let (sender, receiver) = queue(1 << 20, Arc::new(|| {}), Arc::new(|| {}));
    let edges = vec![OutputEdge::new(Router::Single, vec![sender])];
    let of = Arc::new(DFSchema::try_from(schema().as_ref().clone()).unwrap());
    let task = SourceTask::new(
        OperatorId("source".to_owned()),
        Box::new(source),
        Outputs { edges },
        Arc::new(TaskMetrics::new(String::new(), String::new(), String::new(), true, false)),
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

/// One that may be ten seconds ahead of its group.
fn paced(source: Scripted) -> (SourceTask, QueueReceiver) {
    let (mut task, receiver) = task_of(source);
    let alignment =
        WatermarkAlignment { group: "g".into(), max_drift: 10_000, update_interval: Duration::from_secs(1) };
    task.keep_pace(Pace::new(alignment));
    (task, receiver)
}

fn scripted(script: &[Option<(usize, Millis)>], splits: usize, pauses_splits: bool) -> Scripted {
    let script = script.iter().copied().collect();
    Scripted { script, splits, paused: pauses_splits.then(BTreeSet::new), known: true, ends: false, met_end: None }
}

/// What the group is told at a time, if it is told anything.
fn told(task: &mut SourceTask, second: u64) -> Option<Option<Millis>> {
    let said = RefCell::new(None);
    task.tell_group(Duration::from_secs(second), &|report| match report {
        SlotReport::Reached { source, group, watermark } => {
            assert_eq!((source.0.as_str(), &*group), ("source", "g"));
            said.replace(Some(watermark));
        }
        other => panic!("{other:?}"),
    });
    said.into_inner()
}

const S: Millis = 1_000;

#[test]
fn a_split_that_is_ahead_of_the_group_waits_and_the_others_go_on() {
    let script =
        [Some((0, S)), Some((1, S)), Some((0, 30 * S)), Some((0, 31 * S)), Some((1, 2 * S)), Some((1, 25 * S))];
    let (mut task, mut receiver) = paced(scripted(&script, 2, true));
    assert_eq!(told(&mut task, 0), Some(Some(MIN_WATERMARK)), "it has splits, and nobody knows how far they are");
    // What has no watermark yet gives one batch; then it must wait to hear of the group.
    for _ in 0..3 {
        call(&mut task, 0);
    }
    assert_eq!(sent(&mut receiver), ["rows", "rows", "watermark 1000"]);
    assert_eq!(told(&mut task, 0), Some(Some(S)), "a first watermark is told at once");
    task.on_group("another", Some(100 * S));
    assert_eq!(call(&mut task, 0), Progress::Idle(None), "both wait, and no clock runs");
    task.on_group("g", Some(S));
    call(&mut task, 1);
    // The first is ahead by more than ten seconds now: its next rows wait, those of the second do not.
    call(&mut task, 1);
    assert_eq!(sent(&mut receiver), ["rows", "rows", "watermark 2000"]);
    assert_eq!(told(&mut task, 0), None, "not before the interval is over");
    assert_eq!(told(&mut task, 1), Some(Some(2 * S)));
    call(&mut task, 1);
    assert_eq!(sent(&mut receiver), ["rows", "watermark 25000"]);
    assert_eq!(call(&mut task, 1), Progress::Idle(None));
    assert_eq!(told(&mut task, 1), Some(Some(25 * S)), "all of it waits for the group: that is told at once");
    assert_eq!(told(&mut task, 1), None);
    task.on_group("g", Some(25 * S));
    call(&mut task, 1);
    assert_eq!(sent(&mut receiver), ["rows"]);
    // A checkpoint passes whatever waits.
    task.on_group("g", Some(0));
    call(&mut task, 1);
    let mut taken = Vec::new();
    task.on_trigger(Epoch(1), false, &mut taken);
    assert_eq!(taken[0].1.positions.iter().map(|p| p.watermark).collect::<Vec<_>>(), [31 * S, 25 * S]);
}

#[test]
fn a_source_that_cannot_hold_splits_apart_waits_as_a_whole() {
    let script = [Some((0, S)), Some((0, 30 * S)), Some((0, 31 * S))];
    let (mut task, mut receiver) = paced(Scripted { ends: true, ..scripted(&script, 1, false) });
    call(&mut task, 0);
    assert_eq!(call(&mut task, 0), Progress::Idle(None));
    task.on_group("g", Some(S));
    call(&mut task, 0);
    assert_eq!(call(&mut task, 0), Progress::Idle(None));
    assert_eq!(sent(&mut receiver), ["rows", "watermark 1000", "rows", "watermark 30000"]);
    assert_eq!(told(&mut task, 0), Some(Some(30 * S)));
    // Nobody holds it back.
    task.on_group("g", None);
    call(&mut task, 0);
    call(&mut task, 0);
    assert!(task.is_finished());
    assert_eq!(told(&mut task, 0), Some(None), "who has ended holds nobody back");
}

#[test]
fn a_snapshot_that_waits_for_the_splits_goes_before_the_pause() {
    let (mut task, _receiver) = paced(Scripted { known: false, ..scripted(&[None], 1, false) });
    task.restore_splits([(50 * S, false)].into_iter());
    assert_eq!(call(&mut task, 0), Progress::Idle(None));
    let mut taken = Vec::new();
    task.on_trigger(Epoch(1), false, &mut taken);
    assert!(taken.is_empty());
    assert_ne!(task.call(Duration::ZERO, &mut taken).unwrap(), Progress::Worked, "it is asked, to find its splits");
    assert_eq!(task.call(Duration::ZERO, &mut taken).unwrap(), Progress::Worked);
    assert_eq!(taken.len(), 1);
}

#[test]
fn what_was_restored_waits_until_the_group_is_known() {
    let (mut task, mut receiver) = paced(scripted(&[Some((0, 51 * S)), Some((1, 6 * S))], 2, true));
    task.restore_splits([(50 * S, false), (5 * S, false)].into_iter());
    assert_eq!(told(&mut task, 0), Some(Some(5 * S)), "before anything is read");
    call(&mut task, 0);
    assert_eq!(sent(&mut receiver), ["watermark 5000"]);
    task.on_group("g", Some(5 * S));
    call(&mut task, 0);
    call(&mut task, 0);
    assert_eq!(sent(&mut receiver), ["rows", "watermark 6000"]);
}

#[test]
fn the_idleness_clock_of_a_split_stands_still_while_it_waits() {
    let (mut task, mut receiver) = paced(scripted(&[Some((0, 50 * S)), Some((1, S)), None, None, None, None], 2, true));
    task.on_group("g", Some(S));
    call(&mut task, 0);
    call(&mut task, 0);
    // The first waits as soon as it has given rows; the second is quiet.
    assert_eq!(call(&mut task, 3), Progress::Idle(Some(Duration::from_secs(10))));
    assert_eq!(call(&mut task, 13), Progress::Idle(None));
    assert_eq!(sent(&mut receiver), ["rows", "rows", "watermark 1000", "watermark 50000"]);
    assert_eq!(told(&mut task, 13), Some(Some(50 * S)), "the second is idle, the first is not");
    task.on_group("g", Some(50 * S));
    assert_eq!(call(&mut task, 13), Progress::Idle(Some(Duration::from_secs(13 + 10))));
    call(&mut task, 23);
    assert_eq!(sent(&mut receiver), ["idle"]);
    assert_eq!(told(&mut task, 23), Some(None), "all of it is idle");
}

#[test]
fn a_subtask_without_splits_holds_nobody_back() {
    let (mut task, _receiver) = paced(Scripted { known: false, ..scripted(&[], 0, true) });
    assert_eq!(told(&mut task, 0), Some(Some(MIN_WATERMARK)), "it looks for them");
    call(&mut task, 0);
    assert_eq!(told(&mut task, 0), Some(None));
}

#[test]
fn a_split_that_has_ended_holds_nobody_back() {
    let script = [Some((0, S)), Some((1, 5 * S)), Some((0, END)), Some((1, 6 * S)), Some((1, END))];
    let (mut task, mut receiver) = paced(Scripted { ends: true, ..scripted(&script, 2, true) });
    task.on_group("g", Some(S));
    call(&mut task, 0);
    call(&mut task, 0);
    assert_eq!(told(&mut task, 0), Some(Some(S)));
    call(&mut task, 1);
    assert_eq!(told(&mut task, 1), Some(Some(5 * S)), "the first has ended");
    call(&mut task, 2);
    assert_eq!(told(&mut task, 2), Some(Some(6 * S)));
    call(&mut task, 2);
    assert!(!task.is_finished());
    assert_eq!(told(&mut task, 2), Some(None), "both have, which is told at once");
    assert_eq!(sent(&mut receiver), ["rows", "rows", "watermark 1000", "watermark 5000", "rows", "watermark 6000"]);
}

#[test]
fn a_split_in_which_there_is_nothing_holds_nobody_back() {
    let empty = |splits| Scripted { met_end: Some(1), ..scripted(&[Some((0, 5 * S)), Some((1, S))], splits, true) };
    let (mut task, mut receiver) = paced(empty(2));
    assert_eq!(told(&mut task, 0), Some(Some(MIN_WATERMARK)), "of the first nothing is known");
    call(&mut task, 0);
    assert_eq!(told(&mut task, 0), Some(Some(5 * S)));
    assert_eq!(sent(&mut receiver), ["rows"], "the watermark waits for it as ever");
    call(&mut task, 0);
    assert_eq!(told(&mut task, 2), Some(Some(S)), "with its first row it counts");
    let (task, _receiver) = paced(Scripted { met_end: Some(0), ..empty(1) });
    assert_eq!(task.reached(), None);
}

#[test]
fn splits_are_awaited_until_they_are_known_once() {
    let (mut task, _receiver) = task_of(Scripted { known: false, ..scripted(&[], 1, false) });
    assert!(task.awaits_splits());
    call(&mut task, 0);
    assert!(!task.awaits_splits());
    // A snapshot may have to wait later too, for what is not durable yet.
    task.source = Box::new(Scripted { known: false, ..scripted(&[], 1, false) });
    assert!(!task.awaits_splits());
}
