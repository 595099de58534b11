//! What slots are given from outside.

use std::sync::Arc;
use streamfleet_dataflow::{DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_env::{Clock, Entropy, Spawner, Storage};
use streamfleet_logical::{ScanSpec, SinkSpec};

/// Clock, randomness, threads and storage of a job.
#[derive(Clone)]
pub struct RuntimeEnv {
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Threads beside the slots.
    pub spawner: Arc<dyn Spawner>,
    /// The job's own place: log and snapshots.
    pub storage: Arc<dyn Storage>,
    /// The files of the outside world, for the filesystem connector.
    pub files: Arc<dyn Storage>,
    /// Makes sources and sinks.
    pub connectors: Arc<dyn Connectors>,
}

/// Makes sources and sinks by a table's `connector` option.
pub trait Connectors: Send + Sync {
    /// A subtask of a scan's source.
    fn source(&self, spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError>;

    /// A subtask of a sink.
    fn sink(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError>;
}
