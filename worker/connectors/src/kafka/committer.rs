//! Commits the transactions that a checkpoint names, whoever wrote them.

use super::client::{Cluster, KafkaFault, TransactionHandle, Transactions};
use super::options::{Guarantee, WriteOptions};
use std::sync::{Arc, OnceLock};
use streamfleet_dataflow::{CommitDone, Committer, DataflowError};
use streamfleet_logical::TableDescriptor;
use streamfleet_types::Term;

/// See the module.
pub(super) struct KafkaCommitter {
    table: String,
    options: WriteOptions,
    cluster: Arc<dyn Cluster>,
    /// Made when it is first needed.
    transactions: OnceLock<Result<Box<dyn Transactions>, KafkaFault>>,
}

impl KafkaCommitter {
    pub fn new(table: &TableDescriptor, cluster: Arc<dyn Cluster>) -> Result<Self, DataflowError> {
        Ok(Self {
            table: table.name.clone(),
            options: WriteOptions::of(table)?,
            cluster,
            transactions: OnceLock::new(),
        })
    }

    fn transactions(&self) -> Result<&dyn Transactions, String> {
        let made = self.transactions.get_or_init(|| self.cluster.transactions(self.options.properties.clone()));
        made.as_deref().map_err(|fault| format!("table {}: {fault}", self.table))
    }
}

impl Committer for KafkaCommitter {
    fn commit(&self, handles: Vec<serde_json::Value>, done: CommitDone) {
        let parse = |handle: serde_json::Value| {
            serde_json::from_value::<TransactionHandle>(handle.clone()).map_err(|_| {
                format!("table {}: the checkpoint names output in a form that is not known: {handle}", self.table)
            })
        };
        let handles: Result<Vec<_>, _> = handles.into_iter().map(parse).collect();
        let table = self.table.clone();
        let answer =
            move |result: Result<(), KafkaFault>| done(result.map_err(|fault| format!("table {table}: {fault}")));
        match handles.and_then(|handles| Ok((handles, self.transactions()?))) {
            Ok((handles, transactions)) => transactions.commit(handles, Box::new(answer)),
            Err(message) => answer(Err(KafkaFault::new(message))),
        }
    }

    fn abandon(&self, uid: &str, before: Term, done: CommitDone) {
        if self.options.guarantee != Guarantee::ExactlyOnce {
            return done(Ok(()));
        }
        let prefix = format!("{}-{uid}-", self.options.id_prefix);
        let table = self.table.clone();
        match self.transactions() {
            Ok(transactions) => {
                let answer = move |result: Result<usize, KafkaFault>| {
                    done(result.map(|_| ()).map_err(|fault| format!("table {table}: {fault}")));
                };
                transactions.fence(prefix, before, Box::new(answer));
            }
            Err(message) => done(Err(message)),
        }
    }
}
