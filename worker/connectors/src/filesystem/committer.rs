//! Gives prepared files their names, merges small ones, and says which partitions are complete.

use super::compaction::{SmallFile, merges};
use super::joiner::Join;
use super::orphans::{Owner, listings};
use super::partition::Partitioning;
use super::requests::perform;
use super::{merge, path_of, splitter_of};
use crate::format::Format;
use std::sync::Arc;
use streamfleet_dataflow::{CollectDone, Collected, CommitDone, Committer, CommitterContext, DataflowError};
use streamfleet_env::{Storage, StorageReply, StorageRequest};
use streamfleet_logical::TableDescriptor;
use streamfleet_types::Term;

/// See the module.
pub(crate) struct FileCommitter {
    table: TableDescriptor,
    files: Arc<dyn Storage>,
}

/// What handles stand for. A partition is said to be complete when the files of all subtasks are there; once is enough.
#[derive(Default)]
struct Output {
    prepared: Vec<StorageRequest>,
    small: Vec<SmallFile>,
    marks: Vec<StorageRequest>,
}

impl FileCommitter {
    pub fn new(table: &TableDescriptor, context: CommitterContext) -> Self {
        Self { table: table.clone(), files: context.files }
    }

    fn read(&self, handles: Vec<serde_json::Value>) -> Result<Output, DataflowError> {
        let mut output = Output::default();
        for handle in handles {
            match (handle["path"].as_str(), handle["token"].as_str(), handle["mark"].as_str()) {
                (Some(path), Some(token), None) => {
                    output.prepared.push(StorageRequest::Publish { path: path.to_owned(), token: token.to_owned() });
                }
                (None, None, Some(path)) => {
                    output.marks.push(StorageRequest::Put { path: path.to_owned(), bytes: Vec::new() });
                }
                _ => output.small.push(serde_json::from_value(handle.clone()).map_err(|_| {
                    let detail = format!("the checkpoint names output in a form that is not known: {handle}");
                    DataflowError::External { place: format!("table {}", self.table.name), detail }
                })?),
            }
        }
        output.marks.sort_by(|a, b| a.path().cmp(b.path()));
        output.marks.dedup();
        Ok(output)
    }

    /// How small files are merged.
    fn join(&self, small: &[SmallFile]) -> Result<Join, DataflowError> {
        let format = Format::of(&self.table)?;
        let ending = format!(".{}", format.extension());
        if let Some(other) = small.iter().find(|file| !file.path.ends_with(&ending)) {
            let detail = format!(
                "it was to be merged with others of its kind, but the table's format is '{}' now: start the job once as it was",
                format.name()
            );
            return Err(DataflowError::Record { place: other.path.clone(), detail });
        }
        let schema = Arc::clone(splitter_of(&self.table, Partitioning::of(&self.table)?).schema());
        Join::new(&self.table.name, format, schema)
    }
}

impl Committer for FileCommitter {
    fn commit(&self, handles: Vec<serde_json::Value>, done: CommitDone) {
        let begin = self.read(handles).and_then(|output| {
            let join = if output.small.is_empty() { None } else { Some(self.join(&output.small)?) };
            Ok((output, join))
        });
        let (Output { prepared, small, marks }, join) = match begin {
            Ok(begin) => begin,
            Err(error) => return done(Err(error.to_string())),
        };
        let files = Arc::clone(&self.files);
        let mark = if_done(done, move |done| perform(&files, marks, Box::new(|result| done(result.map(|_| ())))));
        let files = Arc::clone(&self.files);
        let merge = if_done(mark, move |mark| match join {
            Some(join) => merge::perform(&files, &join, merges(small), mark),
            None => mark(Ok(())),
        });
        perform(&self.files, prepared, Box::new(|result| merge(result.map(|_| ()))));
    }

    fn collect(&self, uid: &str, before: Term, dry_run: bool, done: CollectDone) {
        let folder = match path_of(&self.table) {
            Ok(folder) => folder,
            Err(error) => return done(Err(error.to_string())),
        };
        let files = Arc::clone(&self.files);
        let uid = uid.to_owned();
        let then = move |found: Result<Vec<StorageReply>, String>| {
            let owner = Owner::new(&uid, before);
            let found = match found {
                Ok(found) => found,
                Err(message) => return done(Err(message)),
            };
            let kept = found.iter().map(|reply| owner.kept(reply)).sum();
            let removals: Vec<_> = found.into_iter().flat_map(|reply| owner.removals(reply)).collect();
            let removed = removals.iter().map(|request| format!("{} {}", request.name(), request.path())).collect();
            let collected = Collected { removed, kept };
            if dry_run {
                return done(Ok(collected));
            }
            perform(&files, removals, Box::new(|result| done(result.map(|_| collected))));
        };
        perform(&self.files, listings(&folder), Box::new(then));
    }
}

/// Goes on with `next` unless something failed.
fn if_done(done: CommitDone, next: impl FnOnce(CommitDone) + Send + 'static) -> CommitDone {
    Box::new(move |result| match result {
        Ok(()) => next(done),
        Err(message) => done(Err(message)),
    })
}
