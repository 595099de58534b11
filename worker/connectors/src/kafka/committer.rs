//! Commits the transactions that a checkpoint names, whoever wrote them.

use super::client::{Answer, Cluster, IdState, KafkaFault, TransactionHandle, Transactions, left_open, worth_fencing};
use super::options::{Guarantee, WriteOptions};
use std::sync::{Arc, OnceLock};
use streamfleet_dataflow::{CollectDone, CommitDone, Committer, DataflowError};
use streamfleet_logical::TableDescriptor;
use streamfleet_types::Term;

/// See the module.
pub(super) struct KafkaCommitter {
    table: String,
    options: WriteOptions,
    cluster: Arc<dyn Cluster>,
    /// Of who writes exactly once it is there from the beginning.
    transactions: OnceLock<Result<Arc<dyn Transactions>, KafkaFault>>,
}

impl KafkaCommitter {
    pub fn new(table: &TableDescriptor, cluster: Arc<dyn Cluster>) -> Result<Self, DataflowError> {
        let options = WriteOptions::of(table)?;
        let committer = Self { table: table.name.clone(), options, cluster, transactions: OnceLock::new() };
        if committer.options.guarantee == Guarantee::ExactlyOnce {
            // Its thread inherits a priority, and commits may be asked for by threads of a low one. A fault is told to who asks.
            let _ = committer.transactions();
        }
        Ok(committer)
    }

    fn transactions(&self) -> Result<&Arc<dyn Transactions>, String> {
        let make = || self.cluster.transactions(self.options.properties.clone()).map(Arc::from);
        let made = self.transactions.get_or_init(make);
        made.as_ref().map_err(|fault| self.told(fault))
    }

    fn told(&self, fault: &KafkaFault) -> String {
        format!("table {}: {fault}", self.table)
    }

    /// Lists the transactional ids of the job with this uid, and fences those that `which` picks, unless that is only asked for;
    /// gives their names.
    fn fence(
        &self,
        uid: &str,
        which: impl FnOnce(&str, Vec<IdState>) -> Vec<String> + Send + 'static,
        dry_run: bool,
        done: CollectDone,
    ) {
        if self.options.guarantee != Guarantee::ExactlyOnce {
            return done(Ok(Vec::new()));
        }
        let transactions = match self.transactions() {
            Ok(transactions) => Arc::clone(transactions),
            Err(message) => return done(Err(message)),
        };
        let (table, again) = (self.table.clone(), Arc::clone(&transactions));
        let done = move |result: Result<Vec<String>, KafkaFault>| {
            done(result.map_err(|fault| format!("table {table}: {fault}")));
        };
        let prefix = format!("{}-{uid}-", self.options.id_prefix);
        let of_prefix = prefix.clone();
        let then: Answer<Vec<IdState>> = Box::new(move |found| match found.map(|found| which(&of_prefix, found)) {
            Ok(ids) if !dry_run => again.fence(ids.clone(), Box::new(|result| done(result.map(|()| ids)))),
            other => done(other),
        });
        transactions.list(prefix, then);
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
        let which = move |prefix: &str, ids| worth_fencing(prefix, before, ids);
        self.fence(uid, which, false, Box::new(|result| done(result.map(|_| ()))));
    }

    fn collect(&self, uid: &str, before: Term, dry_run: bool, done: CollectDone) {
        let which = move |prefix: &str, ids| left_open(prefix, before, ids);
        let told = |result: Result<Vec<String>, String>| {
            done(result.map(|ids| ids.iter().map(|id| format!("abort transaction {id}")).collect()));
        };
        self.fence(uid, which, dry_run, Box::new(told));
    }
}
