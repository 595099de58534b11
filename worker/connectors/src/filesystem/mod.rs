//! Files as tables.

use streamfleet_dataflow::{DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_env::StorageRequest;
use streamfleet_logical::{ConnectorDescriptor, ScanSpec, SinkSpec, TableDescriptor};

fn placeholder<T>() -> Result<T, DataflowError> {
    Err(DataflowError::Unsupported { operator: "filesystem".into(), detail: "not built in".into() })
}

/// What the planner knows of it.
pub fn descriptor() -> ConnectorDescriptor {
    ConnectorDescriptor {
        name: "filesystem",
        source: true,
        sink: true,
        sink_takes_changes: false,
        uses_format: true,
        options: vec![],
        metadata: vec![],
    }
}

/// Reads files.
pub fn source(_spec: &ScanSpec, _context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
    placeholder()
}

/// Writes files.
pub fn sink(_spec: &SinkSpec, _context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
    placeholder()
}

/// What makes a prepared handle visible.
pub fn commit_requests(
    _table: &TableDescriptor,
    _handle: &serde_json::Value,
) -> Result<Vec<StorageRequest>, DataflowError> {
    placeholder()
}

/// True if the source ends by itself.
pub fn is_bounded(_spec: &ScanSpec) -> Result<bool, DataflowError> {
    placeholder()
}
