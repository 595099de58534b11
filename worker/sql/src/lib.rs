//! Flink SQL text to logical plan.
