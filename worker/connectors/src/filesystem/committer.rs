//! Gives prepared files their names, and says which partitions are complete.

use super::commit_requests;
use std::sync::Arc;
use streamfleet_dataflow::{CommitDone, Committer, CommitterContext};
use streamfleet_env::{Storage, StorageRequest};
use streamfleet_logical::TableDescriptor;

/// See the module.
pub(crate) struct FileCommitter {
    table: TableDescriptor,
    files: Arc<dyn Storage>,
}

impl FileCommitter {
    pub fn new(table: &TableDescriptor, context: CommitterContext) -> Self {
        Self { table: table.clone(), files: context.files }
    }
}

impl Committer for FileCommitter {
    fn commit(&self, handles: Vec<serde_json::Value>, done: CommitDone) {
        let requests: Result<Vec<_>, _> = handles.iter().map(|handle| commit_requests(&self.table, handle)).collect();
        match requests {
            Ok(requests) => {
                perform_in_order(Arc::clone(&self.files), files_first(requests.concat()).into_iter(), done);
            }
            Err(error) => done(Err(error.to_string())),
        }
    }
}

/// A partition is said to be complete when the files of all subtasks are there; once is enough.
fn files_first(requests: Vec<StorageRequest>) -> Vec<StorageRequest> {
    let (mut files, mut marks): (Vec<_>, Vec<_>) =
        requests.into_iter().partition(|request| matches!(request, StorageRequest::Publish { .. }));
    marks.sort_by(|a, b| a.path().cmp(b.path()));
    marks.dedup();
    files.append(&mut marks);
    files
}

/// Carries requests out one after another; `done` gets the first error.
fn perform_in_order(files: Arc<dyn Storage>, mut requests: std::vec::IntoIter<StorageRequest>, done: CommitDone) {
    let Some(request) = requests.next() else { return done(Ok(())) };
    let next = Arc::clone(&files);
    files.submit(
        request,
        Box::new(move |answer| match answer {
            Ok(_) => perform_in_order(next, requests, done),
            Err(error) => done(Err(error.to_string())),
        }),
    );
}
