//! `explain`: what a job would do, without running it.

use crate::compile::CompiledJob;
use streamfleet_plan::{ExplainFormat, Explained, ExplainedTable};
use streamfleet_state::TableSchema;

/// Renders a job: logical plan, operators with exchanges and state tables.
pub fn explain(job: &CompiledJob, format: ExplainFormat) -> String {
    let explained = Explained {
        parallelism: job.parallelism,
        max_parallelism: job.max_parallelism,
        state_tables: job.state_tables.iter().map(|tables| tables.iter().map(table).collect()).collect(),
    };
    streamfleet_plan::explain(&job.graph, &explained, format)
}

fn table(schema: &TableSchema) -> ExplainedTable {
    let names = |fields: &[arrow::datatypes::FieldRef]| fields.iter().map(|f| f.name().clone()).collect();
    ExplainedTable {
        name: schema.name.clone(),
        key: names(&schema.key),
        sub_key: names(&schema.sub_key),
        value: names(&schema.value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use crate::compile::{Overrides, compile_text};
    use std::path::Path;

    fn job() -> CompiledJob {
        let script =
            "CREATE TABLE s (a BIGINT, b STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
            WITH ('connector' = 'datagen', 'splits' = '1');
          CREATE TABLE o (b STRING, n BIGINT) WITH ('connector' = 'print');
          INSERT INTO o SELECT b, SUM(a) FROM s WHERE b <> 'x \"y\"' GROUP BY b;";
        let overrides = Overrides { parallelism: Some(3), ..Overrides::default() };
        compile_text("job", script, Path::new("job.sql"), &overrides).unwrap()
    }

    #[test]
    fn text_shows_plan_exchanges_and_state_tables() {
        let text = explain(&job(), ExplainFormat::Text);
        for part in [
            "logical plan\n\nSink o -> ",
            "\n  GroupAggregate by [",
            "watermark ts - INTERVAL '5' SECOND",
            "b != 'x \"y\"'",
            "4 operators, parallelism 3 of at most 720",
            "subtasks: 1; output: append-only",
            "reads [1] by hash(",
            "state: one row per key\n    table ",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn json_and_dot_say_the_same() {
        let value: serde_json::Value = serde_json::from_str(&explain(&job(), ExplainFormat::Json)).unwrap();
        assert_eq!(value["parallelism"], 3);
        assert_eq!(value["operators"].as_array().unwrap().len(), 4);
        assert_eq!(value["operators"][2]["state"]["bound"], "one row per key");
        assert_eq!(value["operators"][2]["state"]["tables"][0]["key"].as_array().unwrap().len(), 1);
        assert!(value["plan"][0]["inputs"][0]["node"].as_str().unwrap().starts_with("GroupAggregate"));
        let dot = explain(&job(), ExplainFormat::Dot);
        assert!(dot.starts_with("digraph job {") && dot.ends_with("}\n"), "{dot}");
        assert!(dot.contains(r#"'x \"y\"'"#) && dot.contains("v1 -> v2 [label=\"hash("), "{dot}");
    }
}
