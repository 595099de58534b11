//! The job graph for people: text, JSON and Graphviz.

use crate::{JobGraph, Partitioning, Vertex, describe};
use serde_json::{Value, json};
use std::fmt::Write;
use streamfleet_logical::{ChangelogMode, StateBound};

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

/// Renders a job graph.
pub fn explain(graph: &JobGraph, format: ExplainFormat) -> String {
    match format {
        ExplainFormat::Text => text(graph),
        ExplainFormat::Json => format!("{:#}\n", as_json(graph)),
        ExplainFormat::Dot => dot(graph),
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

fn text(graph: &JobGraph) -> String {
    let mut out = String::new();
    let w = "a string takes any text";
    writeln!(out, "job graph {} ({} operators)", graph.fingerprint, graph.vertices.len()).expect(w);
    for (index, vertex) in graph.vertices.iter().enumerate() {
        writeln!(out, "\n[{index}] {}", describe(&vertex.node)).expect(w);
        writeln!(out, "    id: {}; output: {}", vertex.id, changelog_text(vertex)).expect(w);
        if vertex.node.properties.state != StateBound::None {
            writeln!(out, "    state: {}", state_text(&vertex.node.properties.state)).expect(w);
        }
        if let Some(subtasks) = vertex.max_subtasks {
            writeln!(out, "    subtasks: at most {subtasks}").expect(w);
        }
        for edge in &vertex.inputs {
            writeln!(out, "    reads [{}] by {}", edge.from, partitioning_text(graph, edge.from, &edge.partitioning))
                .expect(w);
        }
    }
    out
}

fn as_json(graph: &JobGraph) -> Value {
    let vertices = graph.vertices.iter().map(|v| {
        let inputs = v.inputs.iter().map(|e| {
            json!({"from": graph.vertices[e.from].id, "exchange": partitioning_text(graph, e.from, &e.partitioning)})
        });
        json!({
            "id": v.id,
            "name": v.name,
            "description": describe(&v.node),
            "output": changelog_text(v),
            "state": state_text(&v.node.properties.state),
            "maxSubtasks": v.max_subtasks,
            "inputs": inputs.collect::<Vec<_>>(),
        })
    });
    json!({"fingerprint": graph.fingerprint, "operators": vertices.collect::<Vec<_>>()})
}

fn dot(graph: &JobGraph) -> String {
    let mut out = String::from("digraph job {\n  rankdir=LR;\n  node [shape=box];\n");
    let w = "a string takes any text";
    for (index, vertex) in graph.vertices.iter().enumerate() {
        let label = describe(&vertex.node).replace('\\', "\\\\").replace('"', "\\\"");
        writeln!(out, "  v{index} [label=\"{label}\"];").expect(w);
        for edge in &vertex.inputs {
            let how = partitioning_text(graph, edge.from, &edge.partitioning);
            writeln!(out, "  v{} -> v{index} [label=\"{how}\"];", edge.from).expect(w);
        }
    }
    out.push_str("}\n");
    out
}
