//! A slot: one slice of the whole job, driven by one thread.

use crate::RuntimeEnv;
use crate::error::RuntimeError;
use crate::mailbox::SlotMessage;
use crate::metrics::{SlotMetrics, add_time};
use crate::restore::Restore;
use crate::snapshots::Snapshots;
use crate::task::{Progress, Task, TaskSnapshot, Trigger};
use crossbeam_channel::Receiver;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_snapshot::{FirstRows, SlotCommand, SlotFailure, SlotReport};
use streamfleet_types::{Epoch, MIN_WATERMARK, Millis, OperatorId};

/// A step that has taken so long ends after its round, however much of its budget is left: commands and answers wait in the
/// mailbox meanwhile, and tasks would go by a time long past.
const LONGEST_STEP: Duration = Duration::from_millis(2);

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done; step again.
    Ran,
    /// Nothing to do until woken, or until this time of the monotonic clock.
    IdleUntil(Option<Duration>),
}

/// Where reports go.
pub type Reports = Box<dyn Fn(u32, SlotReport) + Send>;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Restoring,
    Running,
    Dead,
}

/// See the module.
pub struct Slot {
    number: u32,
    env: RuntimeEnv,
    /// Producers before consumers.
    tasks: Vec<Task>,
    mailbox: Receiver<SlotMessage>,
    reports: Reports,
    stage: Stage,
    restore: Restore,
    /// Watermark of every operator in the snapshot that the slot begins from.
    restored_watermarks: BTreeMap<OperatorId, Millis>,
    snapshots: Snapshots,
    drained: bool,
    first_rows: FirstRows,
    metrics: Arc<SlotMetrics>,
    taken: Vec<(Epoch, TaskSnapshot)>,
    last_step: Option<(Duration, bool)>,
}

/// What a slot is made of; see `deploy`.
pub(crate) struct SlotParts {
    pub number: u32,
    pub env: RuntimeEnv,
    pub tasks: Vec<Task>,
    pub mailbox: Receiver<SlotMessage>,
    pub reports: Reports,
    pub restore: Restore,
    pub restored_watermarks: BTreeMap<OperatorId, Millis>,
    pub snapshots: Snapshots,
    pub metrics: Arc<SlotMetrics>,
}

impl Slot {
    pub(crate) fn new(parts: SlotParts) -> Self {
        Self {
            number: parts.number,
            env: parts.env,
            tasks: parts.tasks,
            mailbox: parts.mailbox,
            reports: parts.reports,
            stage: Stage::Restoring,
            restore: parts.restore,
            restored_watermarks: parts.restored_watermarks,
            snapshots: parts.snapshots,
            drained: false,
            first_rows: FirstRows::None,
            metrics: parts.metrics,
            taken: Vec::new(),
            last_step: None,
        }
    }

    /// The slot's number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// What the slot counts.
    pub fn metrics(&self) -> Arc<SlotMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Does up to `budget` calls of tasks, fewer if they take long: the most downstream runnable first, each task at most a few
    /// times a round, sources last. Never waits.
    pub fn step(&mut self, budget: usize) -> Step {
        if self.stage == Stage::Dead {
            return Step::IdleUntil(None);
        }
        let now = self.env.clock.monotonic();
        self.count_time_since_last_step(now);
        match self.try_step(budget, now) {
            Ok(step) => step,
            Err(error) => {
                self.stage = Stage::Dead;
                let failure = SlotFailure {
                    message: error.to_string(),
                    outlook: error.outlook(),
                    in_restore: error.in_restore(),
                    path: error.path().map(str::to_owned),
                };
                (self.reports)(self.number, SlotReport::Failed(failure));
                Step::IdleUntil(None)
            }
        }
    }

    /// Epochs whose frozen tables the slot holds: at most two, the one under way and one that was given up.
    pub fn held_epochs(&self) -> usize {
        self.snapshots.held_epochs()
    }

    /// The slot is not stepped any more: throws away what no snapshot names. Call it until it is true, if there is time.
    pub fn leave(&mut self) -> bool {
        let mut all_left = true;
        for task in &mut self.tasks {
            if let Task::Sink(task) = task {
                all_left &= task.sink.leave();
            }
        }
        all_left
    }

    fn count_time_since_last_step(&mut self, now: Duration) {
        if let Some((idle_since, backpressured)) = self.last_step.take() {
            let counter = if backpressured { &self.metrics.backpressured_ns } else { &self.metrics.idle_ns };
            add_time(counter, now.saturating_sub(idle_since));
        }
    }

    fn try_step(&mut self, budget: usize, now: Duration) -> Result<Step, RuntimeError> {
        let mut ran = self.read_mail()?;
        if self.stage == Stage::Restoring {
            if !self.restore.is_done() {
                return Ok(Step::IdleUntil(None));
            }
            self.begin(now)?;
            ran = true;
        }
        let mut wake_at: Option<Duration> = None;
        let mut backpressured = false;
        let mut left = budget;
        loop {
            let mut ran_in_round = false;
            for index in (0..self.tasks.len()).rev() {
                let calls = if matches!(self.tasks[index], Task::Source(_)) { 1 } else { 4 };
                for _ in 0..calls {
                    match self.call(index, now)? {
                        Progress::Worked => ran_in_round = true,
                        Progress::Idle(until) => {
                            wake_at = match (wake_at, until) {
                                (Some(a), Some(b)) => Some(a.min(b)),
                                (a, b) => a.or(b),
                            };
                            break;
                        }
                        Progress::Backpressured => {
                            backpressured = true;
                            break;
                        }
                    }
                    left = left.saturating_sub(1);
                }
            }
            ran |= ran_in_round;
            if !ran_in_round || left == 0 || self.env.clock.monotonic().saturating_sub(now) >= LONGEST_STEP {
                break;
            }
        }
        self.poll_sinks()?;
        self.report_first_rows();
        let tell_at = self.report_reached(now);
        let wake_at = [wake_at, tell_at].into_iter().flatten().min();
        if let Some(report) = self.snapshots.poll_report() {
            (self.reports)(self.number, report);
        }
        if !self.drained && self.tasks.iter().all(Task::is_finished) {
            self.drained = true;
            (self.reports)(self.number, SlotReport::Drained);
        }
        let end = self.env.clock.monotonic();
        add_time(&self.metrics.busy_ns, end.saturating_sub(now));
        if ran {
            return Ok(Step::Ran);
        }
        self.last_step = Some((end, backpressured));
        Ok(Step::IdleUntil(wake_at))
    }

    fn call(&mut self, index: usize, now: Duration) -> Result<Progress, RuntimeError> {
        let task = &mut self.tasks[index];
        let progress = task.call(now, &mut self.taken).map_err(|source| failed(task, source))?;
        self.hand_over(index);
        Ok(progress)
    }

    fn hand_over(&mut self, index: usize) {
        for (epoch, snapshot) in self.taken.drain(..) {
            self.snapshots.on_task(index, epoch, snapshot);
        }
    }

    fn poll_sinks(&mut self) -> Result<(), RuntimeError> {
        for (index, epoch) in self.snapshots.preparing().to_vec() {
            let Task::Sink(task) = &mut self.tasks[index] else { continue };
            let prepared = task.sink.poll_prepared(epoch);
            let prepared =
                prepared.map_err(|source| RuntimeError::Task { task: task.metrics.place.clone(), source })?;
            if let Some(handles) = prepared {
                self.snapshots.on_prepared(index, epoch, &task.id, handles);
            }
        }
        Ok(())
    }

    /// Says how far the slot is with its first rows, if that has changed.
    fn report_first_rows(&mut self) {
        if self.first_rows == FirstRows::Taken {
            return;
        }
        let mut now = FirstRows::None;
        for task in &mut self.tasks {
            match task.first_rows() {
                FirstRows::None => {}
                FirstRows::Awaited => now = FirstRows::Awaited,
                FirstRows::Taken => {
                    now = FirstRows::Taken;
                    break;
                }
            }
        }
        if now != self.first_rows {
            self.first_rows = now;
            (self.reports)(self.number, SlotReport::FirstRows(now));
        }
    }

    /// Says how far sources have come that are read at one pace with others; gives when the next one is to say it.
    fn report_reached(&mut self, now: Duration) -> Option<Duration> {
        let Self { tasks, reports, number, .. } = self;
        let mut next: Option<Duration> = None;
        for task in tasks {
            let Task::Source(source) = task else { continue };
            let due = source.tell_group(now, &|report| reports(*number, report));
            next = [next, due].into_iter().flatten().min();
        }
        next
    }

    /// State is loaded: operators rebuild what they derive from it.
    fn begin(&mut self, now: Duration) -> Result<(), RuntimeError> {
        for task in &mut self.tasks {
            let Task::Operator(operator) = task else { continue };
            let watermark = self.restored_watermarks.get(&operator.id).copied().unwrap_or(MIN_WATERMARK);
            let restored = operator.operator.restored(watermark);
            restored.map_err(|source| RuntimeError::Task { task: operator.metrics.place.clone(), source })?;
        }
        self.stage = Stage::Running;
        // When all slots run, all parts of every group must be known, and what is awaited.
        self.report_reached(now);
        self.report_first_rows();
        (self.reports)(self.number, SlotReport::Running);
        Ok(())
    }

    fn read_mail(&mut self) -> Result<bool, RuntimeError> {
        let mut read = false;
        while let Ok(message) = self.mailbox.try_recv() {
            read = true;
            match message {
                SlotMessage::Command(command) => self.on_command(&command)?,
                SlotMessage::Uploaded { upload, result } => self.snapshots.on_uploaded(upload, result),
                SlotMessage::FileRead { index, result } => self.restore.on_read(index, result, &mut self.tasks)?,
            }
        }
        Ok(read)
    }

    fn on_command(&mut self, command: &SlotCommand) -> Result<(), RuntimeError> {
        match command {
            SlotCommand::Trigger { epoch, last, drained, full } => {
                let trigger = Trigger { epoch: *epoch, last: *last, drained: *drained, full: *full };
                for index in 0..self.tasks.len() {
                    let task = &mut self.tasks[index];
                    task.on_trigger(trigger, &mut self.taken).map_err(|source| failed(task, source))?;
                    self.hand_over(index);
                }
            }
            SlotCommand::Abort { epoch } => {
                self.tasks.iter_mut().for_each(|t| t.on_abort(*epoch));
                self.snapshots.on_abort(*epoch);
            }
            SlotCommand::Settle => self.snapshots.settle(),
            SlotCommand::Completed { epoch, watermarks } => {
                self.snapshots.on_completed(*epoch);
                for task in &mut self.tasks {
                    match task {
                        Task::Source(task) => task.on_completed(*epoch),
                        Task::Sink(task) => {
                            if let Some(of_all) = watermarks.iter().find(|w| w.operator == task.id) {
                                task.sink.all_reached(of_all.watermark);
                            }
                        }
                        Task::Operator(_) => {}
                    }
                }
            }
            SlotCommand::Committed { epoch } => {
                for task in &mut self.tasks {
                    if let Task::Sink(task) = task {
                        task.sink.committed(*epoch);
                    }
                }
            }
            SlotCommand::GroupReached { group, watermark } => {
                for task in &mut self.tasks {
                    if let Task::Source(task) = task {
                        task.on_group(group, *watermark);
                    }
                }
            }
        }
        Ok(())
    }
}

fn failed(task: &Task, source: streamfleet_dataflow::DataflowError) -> RuntimeError {
    RuntimeError::Task { task: task.metrics().place.clone(), source }
}
