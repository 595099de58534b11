//! The connectors, handed to those who must not import them.

use crate::crash_point;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use streamfleet_connectors as connectors;
use streamfleet_connectors::kafka::NativeCluster;
use streamfleet_connectors::kafka::client::Cluster;
use streamfleet_dataflow::{
    Collected, CommitDone, Committer, CommitterContext, DataflowError, Sink, SinkContext, Source, SourceContext,
};
use streamfleet_env::Storage;
use streamfleet_logical::{OperatorSpec, ScanSpec, SinkSpec};
use streamfleet_plan::JobGraph;
use streamfleet_runtime::Connectors;
use streamfleet_types::log::Transaction;
use streamfleet_types::{OperatorId, Term};

/// All connectors of this build.
#[derive(Clone)]
pub struct ConnectorRegistry {
    /// The way to Kafka clusters.
    pub kafka: Arc<dyn Cluster>,
}

impl Default for ConnectorRegistry {
    /// Real clusters.
    fn default() -> Self {
        Self { kafka: Arc::new(NativeCluster) }
    }
}

impl Connectors for ConnectorRegistry {
    fn source(&self, spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
        connectors::source(spec, &self.kafka, context)
    }

    fn sink(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
        connectors::sink(spec, &self.kafka, context)
    }
}

/// What makes the output of every sink of a job visible.
#[derive(Clone)]
pub struct Committers {
    by_sink: Arc<BTreeMap<OperatorId, Box<dyn Committer>>>,
}

impl Committers {
    /// The committers of a job's sinks.
    ///
    /// # Errors
    /// A sink's options are not to its connector's liking.
    pub fn new(
        graph: &JobGraph,
        connectors: &ConnectorRegistry,
        files: &Arc<dyn Storage>,
    ) -> Result<Self, DataflowError> {
        let mut by_sink = BTreeMap::new();
        for vertex in &graph.vertices {
            if let OperatorSpec::Sink(sink) = &vertex.node.spec {
                let context = CommitterContext { files: Arc::clone(files) };
                if let Some(committer) = connectors::committer(sink, &connectors.kafka, context)? {
                    by_sink.insert(vertex.id.clone(), committer);
                }
            }
        }
        Ok(Self { by_sink: Arc::new(by_sink) })
    }

    /// Commits transactions, sink by sink.
    pub fn commit(&self, transactions: Vec<Transaction>, done: CommitDone) {
        let mut by_sink: BTreeMap<OperatorId, Vec<Transaction>> = BTreeMap::new();
        for transaction in transactions {
            by_sink.entry(transaction.operator.clone()).or_default().push(transaction);
        }
        self.clone().commit_next(by_sink, done);
    }

    fn commit_next(self, mut left: BTreeMap<OperatorId, Vec<Transaction>>, done: CommitDone) {
        let Some((sink, transactions)) = left.pop_first() else { return done(Ok(())) };
        let committers = Arc::clone(&self.by_sink);
        let Some(committer) = committers.get(&sink) else {
            return done(Err(format!("the job has no sink {sink} any more, whose output is not committed yet")));
        };
        let then: CommitDone = Box::new(move |result| match result {
            Ok(()) => {
                crash_point::reached("between-commits");
                self.commit_next(left, done);
            }
            Err(message) => done(Err(message)),
        });
        committer.commit(transactions.into_iter().map(|t| t.handle).collect(), then);
    }

    /// Ends what earlier reigns of the job left open.
    pub fn abandon(&self, uid: String, before: Term, done: CommitDone) {
        self.clone().abandon_next(uid, before, 0, done);
    }

    fn abandon_next(self, uid: String, before: Term, index: usize, done: CommitDone) {
        let committers = Arc::clone(&self.by_sink);
        let Some(committer) = committers.values().nth(index) else { return done(Ok(())) };
        let next = uid.clone();
        let then: CommitDone = Box::new(move |result| match result {
            Ok(()) => self.abandon_next(next, before, index + 1, done),
            Err(message) => done(Err(message)),
        });
        committer.abandon(&uid, before, then);
    }

    /// Finds what reigns before this one left at every sink, and removes it unless `dry_run`. Waits for it.
    ///
    /// # Errors
    /// What a sink's system said.
    pub(crate) fn collect(&self, uid: &str, before: Term, dry_run: bool) -> Result<Collected, String> {
        let mut all = Collected::default();
        for committer in self.by_sink.values() {
            let (sender, answer) = channel();
            committer.collect(uid, before, dry_run, Box::new(move |result| sender.send(result).unwrap_or_default()));
            let found = answer.recv().unwrap_or_else(|_| Err("a sink gave no answer".to_owned()))?;
            all.removed.extend(found.removed);
            all.kept += found.kept;
        }
        // Sinks that write to one place find the same.
        all.removed.sort_unstable();
        all.removed.dedup();
        Ok(all)
    }
}
