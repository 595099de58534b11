//! The job for people: logical plan and job graph as text, JSON and Graphviz.

use crate::{JobGraph, Partitioning, Vertex, describe};
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;
use streamfleet_logical::{ChangelogMode, Node, OperatorSpec, StateBound};

/// What an explanation says beside the graph.
#[derive(Debug, Clone)]
pub struct Explained {
    /// Number of slots.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// The state tables of every vertex of the graph.
    pub state_tables: Vec<Vec<ExplainedTable>>,
}

/// A state table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedTable {
    /// Its name, unique in its operator.
    pub name: String,
    /// Columns whose hash says where a row lies.
    pub key: Vec<String>,
    /// Further columns that make a row unique within its key.
    pub sub_key: Vec<String>,
    /// The rest.
    pub value: Vec<String>,
}

/// How to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainFormat {
    /// Indented text.
    Text,
    /// One JSON object.
    Json,
    /// A Graphviz digraph.
    Dot,
}

/// Renders a job.
pub fn explain(graph: &JobGraph, explained: &Explained, format: ExplainFormat) -> String {
    match format {
        ExplainFormat::Text => text(graph, explained),
        ExplainFormat::Json => format!("{:#}\n", as_json(graph, explained)),
        ExplainFormat::Dot => dot(graph, explained),
    }
}

fn state_text(bound: &StateBound) -> &'static str {
    match bound {
        StateBound::None => "none",
        StateBound::EventTime => "until event time passes",
        StateBound::Keys => "one row per key",
        StateBound::Unbounded => "unbounded",
    }
}

fn changelog_text(vertex: &Vertex) -> &'static str {
    match vertex.node.properties.changelog {
        ChangelogMode::AppendOnly => "append-only",
        ChangelogMode::Retract => "changelog",
    }
}

fn partitioning_text(graph: &JobGraph, from: usize, partitioning: &Partitioning) -> String {
    match partitioning {
        Partitioning::Forward => "forward".to_owned(),
        Partitioning::Rebalance => "rebalance".to_owned(),
        Partitioning::Hash(columns) if columns.is_empty() => "single".to_owned(),
        Partitioning::Hash(columns) => {
            let schema = &graph.vertices[from].node.schema;
            let names: Vec<&str> = columns.iter().map(|c| schema.field(*c).name().as_str()).collect();
            format!("hash({})", names.join(", "))
        }
    }
}

/// Subtasks that a vertex has.
fn subtasks(vertex: &Vertex, explained: &Explained) -> u32 {
    vertex.max_subtasks.map_or(explained.parallelism, |most| most.min(explained.parallelism))
}

fn sinks(graph: &JobGraph) -> impl Iterator<Item = &Arc<Node>> {
    graph.vertices.iter().map(|v| &v.node).filter(|n| matches!(n.spec, OperatorSpec::Sink(_)))
}

const WRITES: &str = "a string takes any text";

fn text(graph: &JobGraph, explained: &Explained) -> String {
    let mut out = String::from("logical plan\n");
    for sink in sinks(graph) {
        out.push('\n');
        tree(sink, 0, &mut out);
    }
    let Explained { parallelism, max_parallelism, state_tables } = explained;
    writeln!(
        out,
        "\njob graph {}: {} operators, parallelism {parallelism} of at most {max_parallelism}",
        graph.fingerprint,
        graph.vertices.len()
    )
    .expect(WRITES);
    for (index, vertex) in graph.vertices.iter().enumerate() {
        writeln!(out, "\n[{index}] {}", describe(&vertex.node)).expect(WRITES);
        let subtasks = subtasks(vertex, explained);
        writeln!(out, "    id: {}; subtasks: {subtasks}; output: {}", vertex.id, changelog_text(vertex)).expect(WRITES);
        for edge in &vertex.inputs {
            writeln!(out, "    reads [{}] by {}", edge.from, partitioning_text(graph, edge.from, &edge.partitioning))
                .expect(WRITES);
        }
        if vertex.node.properties.state != StateBound::None {
            writeln!(out, "    state: {}", state_text(&vertex.node.properties.state)).expect(WRITES);
        }
        for table in &state_tables[index] {
            writeln!(out, "    table {}", table_text(table)).expect(WRITES);
        }
    }
    out
}

/// A node, and what it reads beneath it, further in.
fn tree(node: &Arc<Node>, depth: usize, out: &mut String) {
    writeln!(out, "{:1$}{2}", "", depth * 2, describe(node)).expect(WRITES);
    for input in &node.inputs {
        tree(input, depth + 1, out);
    }
}

fn table_text(table: &ExplainedTable) -> String {
    let list = |columns: &[String]| columns.join(", ");
    let sub_key = if table.sub_key.is_empty() { String::new() } else { format!(" + ({})", list(&table.sub_key)) };
    format!("{}: ({}){sub_key} -> ({})", table.name, list(&table.key), list(&table.value))
}

fn as_json(graph: &JobGraph, explained: &Explained) -> Value {
    let vertices = graph.vertices.iter().zip(&explained.state_tables).map(|(v, tables)| {
        let inputs = v.inputs.iter().map(|e| {
            json!({"from": graph.vertices[e.from].id, "exchange": partitioning_text(graph, e.from, &e.partitioning)})
        });
        json!({
            "id": v.id,
            "name": v.name,
            "description": describe(&v.node),
            "output": changelog_text(v),
            "subtasks": subtasks(v, explained),
            "inputs": inputs.collect::<Vec<_>>(),
            "state": {"bound": state_text(&v.node.properties.state), "tables": tables},
        })
    });
    json!({
        "fingerprint": graph.fingerprint,
        "parallelism": explained.parallelism,
        "maxParallelism": explained.max_parallelism,
        "plan": sinks(graph).map(plan_json).collect::<Vec<_>>(),
        "operators": vertices.collect::<Vec<_>>(),
    })
}

fn plan_json(node: &Arc<Node>) -> Value {
    json!({"node": describe(node), "inputs": node.inputs.iter().map(plan_json).collect::<Vec<_>>()})
}

fn dot(graph: &JobGraph, explained: &Explained) -> String {
    let mut out = String::from("digraph job {\n  rankdir=LR;\n  node [shape=box];\n");
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    for (index, vertex) in graph.vertices.iter().enumerate() {
        let mut label = format!("{}\\lsubtasks: {}\\l", escaped(&describe(&vertex.node)), subtasks(vertex, explained));
        for table in &explained.state_tables[index] {
            write!(label, "{}\\l", escaped(&table_text(table))).expect(WRITES);
        }
        writeln!(out, "  v{index} [label=\"{label}\"];").expect(WRITES);
        for edge in &vertex.inputs {
            let how = escaped(&partitioning_text(graph, edge.from, &edge.partitioning));
            writeln!(out, "  v{} -> v{index} [label=\"{how}\"];", edge.from).expect(WRITES);
        }
    }
    out.push_str("}\n");
    out
}
