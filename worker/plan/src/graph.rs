//! The job graph: operators once each (equal parts of the plan are shared), and the edges between them.

use crate::identity::identity;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use streamfleet_logical::{ChangelogMode, Node, OperatorSpec};
use streamfleet_types::OperatorId;
use streamfleet_types::hash::hash_bytes;

/// Why a plan cannot become a job.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing writes anything.
    #[error("the script has no INSERT INTO: there is nothing to run")]
    NoSink,
    /// An expression names a column that its input does not have: a mistake of the planner.
    #[error("an expression does not fit the columns it reads: {0}")]
    Expression(String),
}

/// How rows of an edge find their consumer subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// The subtask of the same slot.
    Forward,
    /// The owner of the key's hash; columns of the producer's output. No column: all rows to one subtask.
    Hash(Vec<usize>),
    /// Batches in turn to all subtasks.
    Rebalance,
}

/// An edge into a vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The producing vertex.
    pub from: usize,
    /// How rows travel.
    pub partitioning: Partitioning,
}

/// An operator of the job.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// Stable over restarts as long as the plan beneath is the same.
    pub id: OperatorId,
    /// Short name, for logs and metrics.
    pub name: String,
    /// For errors: the name, with the tables whose statement it is of.
    pub place: String,
    /// The plan node.
    pub node: Arc<Node>,
    /// One edge per input of the node (a union's inputs too).
    pub inputs: Vec<Edge>,
    /// It has subtasks only in the first so many slots; `None`: in all.
    pub max_subtasks: Option<u32>,
}

/// The whole job, producers before consumers.
#[derive(Debug, Clone)]
pub struct JobGraph {
    /// Its operators.
    pub vertices: Vec<Vertex>,
    /// Two plans with the same fingerprint keep the same state.
    pub fingerprint: String,
}

impl JobGraph {
    /// The graph of a program's sinks. `source_subtasks` says how many subtasks a scan can use, if limited.
    ///
    /// # Errors
    /// There is no sink, or an expression does not fit its input.
    pub fn new(sinks: &[Arc<Node>], source_subtasks: &dyn Fn(&Node) -> Option<u32>) -> Result<Self, PlanError> {
        if sinks.is_empty() {
            return Err(PlanError::NoSink);
        }
        let mut builder = Builder { vertices: Vec::new(), by_text: HashMap::new(), source_subtasks };
        for (index, sink) in sinks.iter().enumerate() {
            builder.add(sink, Some(index))?;
        }
        let mut text = String::new();
        for vertex in &builder.vertices {
            writeln!(text, "{}", vertex.id).expect("a string takes any text");
        }
        let fingerprint = format!("{:016x}", hash_bytes(text.as_bytes()));
        let mut vertices = builder.vertices;
        name_places(&mut vertices);
        Ok(Self { vertices, fingerprint })
    }

    /// Indices of the vertices that read from `from`, with the input they read it at.
    pub fn consumers(&self, from: usize) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (index, vertex) in self.vertices.iter().enumerate() {
            for (input, edge) in vertex.inputs.iter().enumerate() {
                if edge.from == from {
                    found.push((index, input));
                }
            }
        }
        found
    }

    /// The vertex with this id.
    pub fn vertex(&self, id: &OperatorId) -> Option<&Vertex> {
        self.vertices.iter().find(|v| v.id == *id)
    }
}

struct Builder<'a> {
    vertices: Vec<Vertex>,
    by_text: HashMap<String, usize>,
    source_subtasks: &'a dyn Fn(&Node) -> Option<u32>,
}

impl Builder<'_> {
    /// Adds a node and all beneath it; equal nodes become one vertex. `sink` numbers the statement of a sink: two INSERTs of
    /// the same query into one table stay two.
    fn add(&mut self, node: &Arc<Node>, sink: Option<usize>) -> Result<usize, PlanError> {
        let inputs = node.inputs.iter().map(|input| self.add(input, None)).collect::<Result<Vec<usize>, _>>()?;
        let mut text = identity(node)?;
        for input in &inputs {
            write!(text, " < {}", self.vertices[*input].id).expect("a string takes any text");
        }
        let nth = sink.filter(|_| self.by_text.contains_key(&text));
        if let Some(nth) = nth {
            write!(text, " #{nth}").expect("a string takes any text");
        }
        if let Some(existing) = self.by_text.get(&text) {
            return Ok(*existing);
        }
        let index = self.vertices.len();
        let kind = kind_name(&node.spec);
        let edges = inputs
            .iter()
            .enumerate()
            .map(|(port, from)| Edge { from: *from, partitioning: self.partitioning(node, port, *from) });
        let vertex = Vertex {
            id: OperatorId(format!("{kind}-{:016x}", hash_bytes(text.as_bytes()))),
            name: vertex_name(node),
            // When all are known.
            place: String::new(),
            node: Arc::clone(node),
            inputs: edges.collect(),
            max_subtasks: match node.spec {
                OperatorSpec::Scan(_) => (self.source_subtasks)(node),
                _ => None,
            },
        };
        self.by_text.insert(text, index);
        self.vertices.push(vertex);
        Ok(index)
    }

    fn partitioning(&self, node: &Node, port: usize, from: usize) -> Partitioning {
        match &node.spec {
            OperatorSpec::GroupAggregate(spec) => Partitioning::Hash(spec.keys.clone()),
            OperatorSpec::WindowAggregate(spec) => Partitioning::Hash(spec.keys.clone()),
            OperatorSpec::Rank(spec) => Partitioning::Hash(spec.partition.clone()),
            OperatorSpec::ChangelogNormalize(spec) => Partitioning::Hash(spec.key.clone()),
            OperatorSpec::UpsertMaterialize(spec) => Partitioning::Hash(spec.key.clone()),
            OperatorSpec::Join(spec) => {
                let side = |(left, right): &(usize, usize)| if port == 0 { *left } else { *right };
                Partitioning::Hash(spec.on.iter().map(side).collect())
            }
            _ => {
                let producer = &self.vertices[from];
                let append_only = producer.node.properties.changelog == ChangelogMode::AppendOnly;
                if producer.max_subtasks.is_some() && append_only {
                    Partitioning::Rebalance
                } else {
                    Partitioning::Forward
                }
            }
        }
    }
}

pub(crate) const fn kind_name(spec: &OperatorSpec) -> &'static str {
    match spec {
        OperatorSpec::Scan(_) => "scan",
        OperatorSpec::Calc(_) => "calc",
        OperatorSpec::WindowAssign(_) => "window-assign",
        OperatorSpec::WindowAggregate(_) => "window-aggregate",
        OperatorSpec::GroupAggregate(_) => "group-aggregate",
        OperatorSpec::Join(_) => "join",
        OperatorSpec::Union => "union",
        OperatorSpec::Rank(_) => "rank",
        OperatorSpec::ChangelogNormalize(_) => "changelog-normalize",
        OperatorSpec::UpsertMaterialize(_) => "upsert-materialize",
        OperatorSpec::Sink(_) => "sink",
    }
}

/// Names every vertex by the tables that its rows come from and go to: there may be a `calc` in every statement.
fn name_places(vertices: &mut [Vertex]) {
    let mut from: Vec<BTreeSet<String>> = vec![BTreeSet::new(); vertices.len()];
    let mut into = from.clone();
    for (index, vertex) in vertices.iter().enumerate() {
        from[index] = vertex.inputs.iter().flat_map(|edge| from[edge.from].clone()).collect();
        if let OperatorSpec::Scan(scan) = &vertex.node.spec {
            from[index].insert(scan.table.name.clone());
        }
    }
    for (index, vertex) in vertices.iter().enumerate().rev() {
        if let OperatorSpec::Sink(sink) = &vertex.node.spec {
            into[index].insert(sink.table.name.clone());
        }
        let sinks = into[index].clone();
        vertex.inputs.iter().for_each(|edge| into[edge.from].extend(sinks.iter().cloned()));
    }
    for ((vertex, from), into) in vertices.iter_mut().zip(from).zip(into) {
        vertex.place = match vertex.node.spec {
            OperatorSpec::Scan(_) | OperatorSpec::Sink(_) => vertex.name.clone(),
            _ => format!("{} from {} into {}", vertex.name, tables(&from), tables(&into)),
        };
    }
}

fn tables(names: &BTreeSet<String>) -> String {
    let what = if names.len() == 1 { "table" } else { "tables" };
    format!("{what} {}", names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn vertex_name(node: &Node) -> String {
    match &node.spec {
        OperatorSpec::Scan(scan) => format!("scan {}", scan.table.name),
        OperatorSpec::Sink(sink) => format!("sink {}", sink.table.name),
        other => kind_name(other).to_owned(),
    }
}
