//! Logical plan to job graph: which operators there are, how rows travel between them, and the job's fingerprint.

mod describe;
mod explain;
mod graph;
mod identity;

pub use describe::describe;
pub use explain::{ExplainFormat, Explained, ExplainedTable, explain};
pub use graph::{Edge, JobGraph, Partitioning, PlanError, Vertex};
