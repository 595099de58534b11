//! The connectors, handed to those who must not import them.

use std::sync::Arc;
use streamfleet_connectors as connectors;
use streamfleet_dataflow::{DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_env::{Storage, StorageError, StorageRequest};
use streamfleet_logical::{OperatorSpec, ScanSpec, SinkSpec};
use streamfleet_plan::JobGraph;
use streamfleet_runtime::Connectors;
use streamfleet_types::log::Transaction;

/// All connectors of this build.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectorRegistry;

impl Connectors for ConnectorRegistry {
    fn source(&self, spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
        connectors::source(spec, context)
    }

    fn sink(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
        connectors::sink(spec, context)
    }
}

/// What to ask of storage to make the transactions' output visible, in order.
pub fn commit_requests(graph: &JobGraph, transactions: &[Transaction]) -> Result<Vec<StorageRequest>, String> {
    let mut requests = Vec::new();
    for transaction in transactions {
        let Some(vertex) = graph.vertex(&transaction.operator) else {
            return Err(format!(
                "the job has no sink {} any more, whose output is not committed yet",
                transaction.operator
            ));
        };
        let OperatorSpec::Sink(sink) = &vertex.node.spec else {
            return Err(format!("operator {} is no sink", transaction.operator));
        };
        let more = connectors::commit_requests(&sink.table, &transaction.handle).map_err(|e| e.to_string())?;
        requests.extend(more);
    }
    Ok(requests)
}

/// Carries requests out one after another; `done` gets the first error.
pub fn perform_in_order(
    files: Arc<dyn Storage>,
    mut requests: std::vec::IntoIter<StorageRequest>,
    done: Box<dyn FnOnce(Result<(), StorageError>) + Send>,
) {
    let Some(request) = requests.next() else {
        done(Ok(()));
        return;
    };
    let next = Arc::clone(&files);
    files.submit(
        request,
        Box::new(move |answer| match answer {
            Ok(_) => perform_in_order(next, requests, done),
            Err(error) => done(Err(error)),
        }),
    );
}
