//! Commits the transactions that a checkpoint names, whoever wrote them.

use super::client::{Answer, Cluster, IdState, KafkaFault, TransactionHandle, Transactions, left_open, worth_fencing};
use super::options::{Guarantee, WriteOptions};
use std::sync::{Arc, OnceLock};
use streamfleet_dataflow::{CollectDone, Collected, CommitDone, Committer, DataflowError};
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
        if committer.has_transactions() {
            // Its thread inherits a priority, and commits may be asked for by threads of a low one. A fault is told to who asks.
            let _ = committer.transactions();
        }
        Ok(committer)
    }

    fn transactions(&self) -> Result<&Arc<dyn Transactions>, String> {
        let make = || self.cluster.transactions(self.options.properties.clone()).map(Arc::from);
        let made = self.transactions.get_or_init(make);
        made.as_ref().map_err(|fault| self.told()(fault.clone()))
    }

    /// Tells a fault with its table.
    fn told(&self) -> impl Fn(KafkaFault) -> String + Send + 'static {
        let table = self.table.clone();
        move |fault| format!("table {table}: {fault}")
    }

    /// Lists the transactional ids of the job with this uid; `then` gets them with what they begin with and a way to end them.
    fn list(
        &self,
        uid: &str,
        then: impl FnOnce(Result<(String, Vec<IdState>, Arc<dyn Transactions>), String>) + Send + 'static,
    ) {
        let transactions = match self.transactions() {
            Ok(transactions) => Arc::clone(transactions),
            Err(message) => return then(Err(message)),
        };
        let (told, prefix) = (self.told(), format!("{}-{uid}-", self.options.id_prefix));
        let (asked, again) = (prefix.clone(), Arc::clone(&transactions));
        let answer: Answer<Vec<IdState>> = Box::new(move |found| {
            then(found.map(|found| (prefix, found, again)).map_err(told));
        });
        transactions.list(asked, answer);
    }

    const fn has_transactions(&self) -> bool {
        matches!(self.options.guarantee, Guarantee::ExactlyOnce)
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
        let told = self.told();
        match handles.and_then(|handles| Ok((handles, self.transactions()?))) {
            Ok((handles, transactions)) => transactions.commit(handles, Box::new(|result| done(result.map_err(told)))),
            Err(message) => done(Err(message)),
        }
    }

    fn abandon(&self, uid: &str, before: Term, done: CommitDone) {
        if !self.has_transactions() {
            return done(Ok(()));
        }
        let told = self.told();
        self.list(uid, move |found| match found {
            Ok((prefix, found, transactions)) => {
                let ids = worth_fencing(&prefix, before, found);
                transactions.fence(ids, Box::new(|result| done(result.map_err(told))));
            }
            Err(message) => done(Err(message)),
        });
    }

    fn collect(&self, uid: &str, before: Term, dry_run: bool, done: CollectDone) {
        if !self.has_transactions() {
            return done(Ok(Collected::default()));
        }
        let told = self.told();
        self.list(uid, move |found| {
            let (prefix, found, transactions) = match found {
                Ok(found) => found,
                Err(message) => return done(Err(message)),
            };
            let (left, kept) = left_open(&prefix, before, found);
            let removed = left.iter().map(|id| format!("abort transaction {id}")).collect();
            let collected = Collected { removed, kept: kept.len() };
            if dry_run {
                return done(Ok(collected));
            }
            transactions.fence(left, Box::new(|result| done(result.map(|()| collected).map_err(told))));
        });
    }
}
