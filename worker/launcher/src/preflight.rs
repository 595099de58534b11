//! Makes every source and sink once without running it: what its options forbid is found before the job begins.

use crate::driver::ConnectorRegistry;
use crate::system::SystemClock;
use std::sync::Arc;
use std::time::Duration;
use streamfleet_dataflow::{DataflowError, SinkContext, SourceContext};
use streamfleet_env::{Completion, Storage, StorageError, StorageErrorKind, StorageRequest};
use streamfleet_logical::OperatorSpec;
use streamfleet_plan::JobGraph;
use streamfleet_runtime::Connectors;

/// Storage that nothing can be asked of: building a source or a sink must not reach outside.
struct OutOfReach;

impl Storage for OutOfReach {
    fn submit(&self, request: StorageRequest, done: Completion) {
        done(Err(StorageError {
            kind: StorageErrorKind::Denied,
            operation: request.name(),
            path: request.path().to_owned(),
            detail: "the job is only being checked".to_owned(),
        }));
    }
}

/// # Errors
/// A table's options do not go with its connector, its columns or each other.
pub(crate) fn check_tables(graph: &JobGraph, batch_mode: bool) -> Result<(), DataflowError> {
    let clock = Arc::new(SystemClock::new());
    let connectors = ConnectorRegistry::default();
    for vertex in &graph.vertices {
        match &vertex.node.spec {
            OperatorSpec::Scan(scan) => {
                let context = SourceContext {
                    files: Arc::new(OutOfReach),
                    clock: Arc::clone(&clock) as _,
                    waker: Arc::new(|| {}),
                    subtask: 0,
                    parallelism: 1,
                    batch_mode,
                    unique: String::new(),
                };
                drop(connectors.source(scan, context)?);
            }
            OperatorSpec::Sink(sink) => {
                let context = SinkContext {
                    files: Arc::new(OutOfReach),
                    clock: Arc::clone(&clock) as _,
                    waker: Arc::new(|| {}),
                    subtask: 0,
                    parallelism: 1,
                    checkpoint_interval: Duration::ZERO,
                    commit_within: Duration::ZERO,
                    unique: String::new(),
                };
                drop(connectors.sink(sink, context)?);
            }
            _ => {}
        }
    }
    Ok(())
}
