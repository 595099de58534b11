//! Makes the slots of a job: tasks from vertices, queues from edges, splits and state from a snapshot.

use crate::environment::RuntimeEnv;
use crate::error::RuntimeError;
use crate::mailbox::SlotHandle;
use crate::metrics::{SlotMetrics, TaskMetrics};
use crate::restore::Restore;
use crate::slot::{Reports, Slot, SlotParts};
use crate::snapshots::Snapshots;
use crate::task::{Input, OperatorTask, OutputEdge, Outputs, Pace, Router, SinkTask, SourceTask, Task, idle_timeout};
use crate::upload::UploadTarget;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::{
    DataflowError, OperatorContext, PendingWork, Projector, RowWatermark, SinkContext, SinkStart, Source,
    SourceContext, SplitState, build,
};
use streamfleet_exchange::{QUEUE_CAPACITY_BYTES, QueueReceiver, QueueSender, Wake, queue};
use streamfleet_logical::{ChangelogMode, OperatorSpec, ScanSpec};
use streamfleet_plan::{JobGraph, Partitioning, Vertex};
use streamfleet_state::TableSchema;
use streamfleet_types::log::{Snapshot, SplitPosition};
use streamfleet_types::{HashRange, MIN_WATERMARK, Millis, OperatorId, subtask_range};

/// What all slots of a job have in common.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// Number of slots.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Unique to job and term: in the name of every file that the slots write.
    pub unique: String,
    /// Bounded input, final results only.
    pub batch_mode: bool,
    /// A source that gives no row for so long holds no watermark back, unless its table says otherwise; `None` for never.
    pub idle_timeout: Option<Duration>,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// How long it may take from a barrier until the output before it is committed, a restart included.
    pub commit_within: Duration,
    /// State files are written in parts of about so many bytes.
    pub snapshot_part_bytes: usize,
}

/// The slots of a job, ready to be driven.
pub struct Deployment {
    /// The slots, by number.
    pub slots: Vec<Slot>,
    /// Their mailboxes.
    pub handles: Vec<SlotHandle>,
}

/// Makes the slots. `wakes` has one wake function per slot; `reports` makes each slot's way to the coordinator.
///
/// # Errors
/// An operator, source or sink cannot be built.
pub fn deploy(
    graph: &JobGraph,
    settings: &JobSettings,
    base: Option<&Snapshot>,
    env: &RuntimeEnv,
    wakes: &[Wake],
    reports: &dyn Fn() -> Reports,
) -> Result<Deployment, RuntimeError> {
    let (handles, mailboxes): (Vec<_>, Vec<_>) = wakes.iter().map(|w| SlotHandle::new(Arc::clone(w))).unzip();
    let watermarks: BTreeMap<OperatorId, Millis> =
        base.map(|b| b.watermarks.iter().map(|w| (w.operator.clone(), w.watermark)).collect()).unwrap_or_default();
    let mut wiring = Wiring::new(graph, settings, wakes);
    let mut slots = Vec::new();
    for ((number, mailbox), handle) in (0..settings.parallelism).zip(mailboxes).zip(&handles) {
        // A slot without key groups owns no state; an empty range stands for that.
        let none = HashRange { first: 1, last: 0 };
        let range = subtask_range(number, settings.parallelism, settings.max_parallelism).unwrap_or(none);
        let wake = &wakes[number as usize];
        let maker = TaskMaker { settings, base, env, number, range, wake, watermarks: &watermarks };
        let mut tasks = Vec::new();
        for index in 0..graph.vertices.len() {
            if number < wiring.subtasks[index] {
                let (channels, outputs) = wiring.ends(index, number);
                let vertex = &graph.vertices[index];
                let task = maker.make(vertex, channels, outputs);
                tasks.push(task.map_err(|source| RuntimeError::Task { task: vertex.place.clone(), source })?);
            }
        }
        let files = base.map_or(&[][..], |b| &b.files);
        let prefix = format!("data/{}-{number}", settings.unique);
        let metrics = SlotMetrics {
            slot: number,
            tasks: tasks.iter().map(|t| Arc::clone(t.metrics())).collect(),
            busy_ns: 0.into(),
            backpressured_ns: 0.into(),
            idle_ns: 0.into(),
        };
        slots.push(Slot::new(SlotParts {
            number,
            env: env.clone(),
            mailbox,
            reports: reports(),
            restore: Restore::new(env.clone(), handle.clone(), range, files),
            restored_watermarks: watermarks.clone(),
            snapshots: Snapshots::new(
                env.clone(),
                handle.clone(),
                tasks.len(),
                UploadTarget { range, prefix, part_bytes: settings.snapshot_part_bytes },
            ),
            metrics: Arc::new(metrics),
            tasks,
        }));
    }
    Ok(Deployment { slots, handles })
}

/// All queues of the job, to be taken by the two tasks that each joins.
struct Wiring<'a> {
    graph: &'a JobGraph,
    max_parallelism: u32,
    /// Number of subtasks per vertex.
    subtasks: Vec<u32>,
    /// By (consumer vertex, port, producer subtask, consumer subtask).
    senders: BTreeMap<(usize, usize, u32, u32), QueueSender>,
    receivers: BTreeMap<(usize, usize, u32, u32), QueueReceiver>,
}

impl<'a> Wiring<'a> {
    fn new(graph: &'a JobGraph, settings: &JobSettings, wakes: &[Wake]) -> Self {
        let parallelism = settings.parallelism;
        let subtasks: Vec<u32> =
            graph.vertices.iter().map(|v| v.max_subtasks.unwrap_or(parallelism).clamp(1, parallelism)).collect();
        let mut wiring = Self {
            graph,
            max_parallelism: settings.max_parallelism,
            subtasks,
            senders: BTreeMap::new(),
            receivers: BTreeMap::new(),
        };
        for (consumer, vertex) in graph.vertices.iter().enumerate() {
            for (port, edge) in vertex.inputs.iter().enumerate() {
                for from in 0..wiring.subtasks[edge.from] {
                    for to in 0..wiring.subtasks[consumer] {
                        if !wiring.is_joined(edge.from, &edge.partitioning, from, to) {
                            continue;
                        }
                        let (writer, reader) = (&wakes[from as usize], &wakes[to as usize]);
                        let (sender, receiver) = queue(QUEUE_CAPACITY_BYTES, Arc::clone(writer), Arc::clone(reader));
                        wiring.senders.insert((consumer, port, from, to), sender);
                        wiring.receivers.insert((consumer, port, from, to), receiver);
                    }
                }
            }
        }
        wiring
    }

    /// Forward joins equal subtasks; a producer with fewer subtasks than its consumer leaves no consumer without a channel.
    fn is_joined(&self, producer: usize, partitioning: &Partitioning, from: u32, to: u32) -> bool {
        match partitioning {
            Partitioning::Forward => from == to % self.subtasks[producer],
            Partitioning::Hash(_) | Partitioning::Rebalance => true,
        }
    }

    /// The channels into a subtask (with their ports), and the edges out of it.
    fn ends(&mut self, vertex: usize, subtask: u32) -> (Vec<(usize, QueueReceiver)>, Outputs) {
        let mut channels = Vec::new();
        for (port, edge) in self.graph.vertices[vertex].inputs.iter().enumerate() {
            for from in 0..self.subtasks[edge.from] {
                if let Some(receiver) = self.receivers.remove(&(vertex, port, from, subtask)) {
                    channels.push((port, receiver));
                }
            }
        }
        let mut outputs = Outputs::default();
        let is_changelog = self.graph.vertices[vertex].node.properties.changelog == ChangelogMode::Retract;
        for (consumer, port) in self.graph.consumers(vertex) {
            let queues: Vec<QueueSender> = (0..self.subtasks[consumer])
                .filter_map(|to| self.senders.remove(&(consumer, port, subtask, to)))
                .collect();
            let router = match &self.graph.vertices[consumer].inputs[port].partitioning {
                Partitioning::Hash(columns) => {
                    Router::Hash { columns: columns.clone(), max_parallelism: self.max_parallelism }
                }
                Partitioning::Rebalance => Router::Rebalance { next: subtask as usize % queues.len().max(1) },
                // Changes of one row must not overtake one another.
                Partitioning::Forward if queues.len() == 1 || is_changelog => Router::Single,
                Partitioning::Forward => Router::Rebalance { next: 0 },
            };
            outputs.edges.push(OutputEdge::new(router, queues));
        }
        (channels, outputs)
    }
}

fn operator_context(vertex: &Vertex, batch_mode: bool, owned: HashRange) -> OperatorContext {
    let inputs = &vertex.node.inputs;
    let changes = |mode: ChangelogMode| mode == ChangelogMode::Retract;
    OperatorContext {
        name: vertex.place.clone(),
        inputs: inputs.iter().map(|i| i.arrow_schema()).collect(),
        input_df_schemas: inputs.iter().map(|i| Arc::clone(&i.schema)).collect(),
        output: vertex.node.arrow_schema(),
        input_changes: inputs.iter().map(|i| changes(i.properties.changelog)).collect(),
        output_changes: changes(vertex.node.properties.changelog),
        batch_mode,
        owned,
    }
}

/// The state tables of an operator, without running it; none of sources and sinks.
///
/// # Errors
/// What would keep the operator from running: an expression, a type, or a feature that is not supported.
pub fn state_tables(vertex: &Vertex, batch_mode: bool) -> Result<Vec<TableSchema>, DataflowError> {
    match &vertex.node.spec {
        OperatorSpec::Sink(_) => Ok(Vec::new()),
        OperatorSpec::Scan(scan) => {
            let output = vertex.node.arrow_schema();
            Projector::new(&vertex.place, &scan.expressions, &scan.read_schema, output)?;
            if let Some(watermark) = &scan.watermark {
                RowWatermark::new(&vertex.place, watermark, &scan.read_schema)?;
            }
            Ok(Vec::new())
        }
        spec => {
            let mut operator = build(spec, operator_context(vertex, batch_mode, HashRange::ALL))?;
            Ok(operator.tables().iter().map(|table| table.schema().clone()).collect())
        }
    }
}

/// Makes the tasks of one slot.
struct TaskMaker<'a> {
    settings: &'a JobSettings,
    base: Option<&'a Snapshot>,
    env: &'a RuntimeEnv,
    number: u32,
    range: HashRange,
    wake: &'a Wake,
    watermarks: &'a BTreeMap<OperatorId, Millis>,
}

impl TaskMaker<'_> {
    fn make(
        &self,
        vertex: &Vertex,
        channels: Vec<(usize, QueueReceiver)>,
        outputs: Outputs,
    ) -> Result<Task, DataflowError> {
        let id = vertex.id.clone();
        let is_source = matches!(vertex.node.spec, OperatorSpec::Scan(_));
        let is_sink = matches!(vertex.node.spec, OperatorSpec::Sink(_));
        let metrics =
            Arc::new(TaskMetrics::new(vertex.name.clone(), vertex.place.clone(), id.0.clone(), is_source, is_sink));
        let watermark = self.watermarks.get(&id).copied().unwrap_or(MIN_WATERMARK);
        Ok(match &vertex.node.spec {
            OperatorSpec::Scan(scan) => Task::Source(self.source(vertex, scan, outputs, metrics)?),
            OperatorSpec::Sink(sink) => {
                let context = SinkContext {
                    files: Arc::clone(&self.env.files),
                    clock: Arc::clone(&self.env.clock),
                    waker: Arc::clone(self.wake),
                    subtask: self.number,
                    parallelism: self.settings.parallelism,
                    checkpoint_interval: self.settings.checkpoint_interval,
                    commit_within: self.settings.commit_within,
                    // The operator is part of the name: two sinks may write to one folder.
                    unique: format!("{}-{}-{}", self.settings.unique, short(&id), self.number),
                };
                let mut sink = self.env.connectors.sink(sink, context)?;
                let pending = self.pending(&id);
                sink.start(SinkStart { pending, watermark, batch_mode: self.settings.batch_mode })?;
                Task::Sink(SinkTask::new(id, sink, Input::new(channels, watermark), metrics))
            }
            spec => {
                let operator = build(spec, operator_context(vertex, self.settings.batch_mode, self.range))?;
                let input = Input::new(channels, watermark);
                Task::Operator(OperatorTask::new(id, operator, input, outputs, metrics))
            }
        })
    }

    /// What a sink still has to do, if this is its first subtask.
    fn pending(&self, id: &OperatorId) -> Vec<PendingWork> {
        let positions = self.base.filter(|_| self.number == 0).map_or(&[][..], |base| &base.positions);
        let own = positions.iter().filter(|p| p.operator == *id);
        own.map(|p| PendingWork { name: p.split.clone(), state: p.position.clone() }).collect()
    }

    fn source(
        &self,
        vertex: &Vertex,
        scan: &ScanSpec,
        outputs: Outputs,
        metrics: Arc<TaskMetrics>,
    ) -> Result<SourceTask, DataflowError> {
        let id = vertex.id.clone();
        let parallelism = vertex.max_subtasks.unwrap_or(self.settings.parallelism).clamp(1, self.settings.parallelism);
        let context = SourceContext {
            files: Arc::clone(&self.env.files),
            clock: Arc::clone(&self.env.clock),
            waker: Arc::clone(self.wake),
            subtask: self.number,
            parallelism,
            batch_mode: self.settings.batch_mode,
            unique: format!("{}-{}-{}", self.settings.unique, short(&id), self.number),
        };
        let mut source = self.env.connectors.source(scan, context)?;
        if let Some(lags) = source.lags() {
            metrics.lags.get_or_init(|| lags);
        }
        let output = vertex.node.arrow_schema();
        let projection = Projector::new(&vertex.place, &scan.expressions, &scan.read_schema, output)?;
        let watermark_of = match &scan.watermark {
            Some(expression) if !self.settings.batch_mode => {
                Some(RowWatermark::new(&vertex.place, expression, &scan.read_schema)?)
            }
            _ => None,
        };
        let positions = self.positions(&id, parallelism, source.as_ref());
        match &positions {
            None => source.start()?,
            Some(positions) => {
                let split = |p: &SplitPosition| SplitState {
                    name: p.split.clone(),
                    position: p.position.clone(),
                    finished: p.finished,
                };
                source.restore(positions.iter().map(split).collect())?;
            }
        }
        let of_table = scan.table.watermark.as_ref().and_then(|w| w.idle_timeout);
        let idle_timeout = idle_timeout(of_table, self.settings.idle_timeout);
        let mut task = SourceTask::new(id, source, outputs, metrics, projection, watermark_of, idle_timeout);
        if let Some(alignment) = scan.table.watermark.as_ref().and_then(|w| w.alignment.clone()) {
            task.keep_pace(Pace::new(alignment));
        }
        task.restore_splits(positions.into_iter().flatten().map(|p| (p.watermark, p.finished)));
        Ok(task)
    }

    /// The splits of a source that fall to this slot, or `None` if the snapshot knows nothing of the source.
    fn positions(&self, id: &OperatorId, parallelism: u32, source: &dyn Source) -> Option<Vec<SplitPosition>> {
        let all: Vec<&SplitPosition> = self.base?.positions.iter().filter(|p| p.operator == *id).collect();
        if all.is_empty() {
            return None;
        }
        let owner = |index: usize, split: &str| source.owner(split).unwrap_or(index as u32 % parallelism);
        let mine = all.into_iter().enumerate().filter(|(index, p)| owner(*index, &p.split) == self.number);
        Some(mine.map(|(_, position)| position.clone()).collect())
    }
}

/// The end of an operator's id: enough to tell the operators of one job apart in a file's name.
fn short(id: &OperatorId) -> &str {
    let start = id.0.len().saturating_sub(8);
    id.0.get(start..).unwrap_or(&id.0)
}
