//! Carries merges out: reads small files, shows the merged one, removes them.
//!
//! # Flow
//! Look whether the merged file shows: then only what it was made from is left to be removed. Else throw away what this process
//! staged when it tried before, and copy, prepare, publish.
//!
//! # Guarantees
//! Whatever the step at which a process dies or a request fails, doing it all again comes to the same end. A process that was overtaken
//! without knowing it, and goes on, shows the same bytes under the same name, or fails.

use super::compaction::SmallFile;
use super::joiner::{Join, Joiner};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use streamfleet_dataflow::{CommitDone, DataflowError};
use streamfleet_env::{Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest};

type Answer = Result<StorageReply, StorageError>;

/// Merges at once: each holds some megabytes.
const MOST_AT_ONCE: usize = 4;

/// Makes one file of each of these lists of files; `done` gets the first error, when nothing is under way any more.
pub(super) fn perform(files: &Arc<dyn Storage>, join: &Join, merges: Vec<Vec<SmallFile>>, done: CommitDone) {
    let lanes = MOST_AT_ONCE.min(merges.len());
    let queue = Arc::new(Mutex::new(VecDeque::from(merges)));
    for done in parts_of(lanes, done) {
        Lane { files: Arc::clone(files), join: join.clone(), queue: Arc::clone(&queue) }.next(done);
    }
}

/// So many answers that together are one: the first error, when the last has come.
fn parts_of(count: usize, done: CommitDone) -> Vec<CommitDone> {
    if count == 0 {
        done(Ok(()));
        return Vec::new();
    }
    let state = Arc::new(Mutex::new((count, Ok(()), Some(done))));
    let part = |_| -> CommitDone {
        let state = Arc::clone(&state);
        Box::new(move |result| {
            let mut state = state.lock().expect("no holder of this lock panics");
            state.0 -= 1;
            if state.1.is_ok() {
                state.1 = result;
            }
            let last = if state.0 == 0 { state.2.take() } else { None };
            let all = state.1.clone();
            drop(state);
            if let Some(done) = last {
                done(all);
            }
        })
    };
    (0..count).map(part).collect()
}

/// Takes one merge after the other.
struct Lane {
    files: Arc<dyn Storage>,
    join: Join,
    queue: Arc<Mutex<VecDeque<Vec<SmallFile>>>>,
}

impl Lane {
    fn next(self, done: CommitDone) {
        let inputs = self.queue.lock().expect("no holder of this lock panics").pop_front();
        let Some(inputs) = inputs else { return done(Ok(())) };
        let joiner = match self.join.joiner() {
            Ok(joiner) => joiner,
            Err(error) => return done(Err(error.to_string())),
        };
        let files = Arc::clone(&self.files);
        let then: CommitDone = Box::new(move |result| match result {
            Ok(()) => self.next(done),
            Err(message) => done(Err(message)),
        });
        Box::new(Merge { files, into: inputs[0].path.clone(), inputs, read: 0, joiner, done: then }).begin();
    }
}

/// One merged file.
struct Merge {
    files: Arc<dyn Storage>,
    into: String,
    inputs: Vec<SmallFile>,
    /// How many of them were begun.
    read: usize,
    joiner: Joiner,
    done: CommitDone,
}

impl Merge {
    fn ask(self: Box<Self>, request: StorageRequest, then: impl FnOnce(Box<Self>, StorageReply) + Send + 'static) {
        let files = Arc::clone(&self.files);
        files.submit(
            request,
            Box::new(move |answer| match answer {
                Ok(reply) => then(self, reply),
                Err(error) => (self.done)(Err(error.to_string())),
            }),
        );
    }

    fn failed(self, error: &DataflowError) {
        (self.done)(Err(format!("small files cannot be merged into {}: {error}", self.into)));
    }

    /// Storage answered something else than it was asked for.
    fn misled(self, reply: &StorageReply) {
        (self.done)(Err(format!("merging into {}: storage answered {reply:?}", self.into)));
    }

    fn begin(self: Box<Self>) {
        let look = StorageRequest::Get { path: self.into.clone(), range: Some((0, 0)) };
        let files = Arc::clone(&self.files);
        files.submit(
            look,
            Box::new(move |answer| match answer {
                Ok(_) => self.remove_inputs(),
                Err(error) if error.kind == StorageErrorKind::NotFound => {
                    let begin_anew = StorageRequest::Unstage { path: self.into.clone() };
                    self.ask(begin_anew, |merge, _| merge.next());
                }
                Err(error) => (self.done)(Err(error.to_string())),
            }),
        );
    }

    fn next(mut self: Box<Self>) {
        match self.joiner.wanted() {
            Ok(Some(range)) => {
                let path = self.inputs[self.read - 1].small.clone();
                self.ask(StorageRequest::Get { path, range: Some(range) }, |mut merge, reply| {
                    let StorageReply::Bytes(bytes) = reply else { return merge.misled(&reply) };
                    match merge.joiner.on_bytes(bytes) {
                        Ok(bytes) => merge.append(bytes, Self::next),
                        Err(error) => merge.failed(&error),
                    }
                });
            }
            Ok(None) => match self.inputs.get(self.read) {
                Some(input) => {
                    self.joiner.begin(input);
                    self.read += 1;
                    self.next();
                }
                None => match self.joiner.finish() {
                    Ok(bytes) => self.append(bytes, Self::show),
                    Err(error) => self.failed(&error),
                },
            },
            Err(error) => self.failed(&error),
        }
    }

    fn append(self: Box<Self>, bytes: Vec<u8>, then: fn(Box<Self>)) {
        if bytes.is_empty() {
            return then(self);
        }
        let path = self.into.clone();
        self.ask(StorageRequest::Append { path, bytes }, move |merge, _| then(merge));
    }

    fn show(self: Box<Self>) {
        let path = self.into.clone();
        self.ask(StorageRequest::Prepare { path }, |merge, reply| {
            let StorageReply::Prepared(token) = reply else { return merge.misled(&reply) };
            let path = merge.into.clone();
            merge.ask(StorageRequest::Publish { path, token }, |merge, _| merge.remove_inputs());
        });
    }

    fn remove_inputs(self) {
        let Self { files, inputs, done, .. } = self;
        for (SmallFile { small, .. }, done) in inputs.iter().zip(parts_of(inputs.len(), done)) {
            let request = StorageRequest::Delete { path: small.clone() };
            let done = move |answer: Answer| done(answer.map(|_| ()).map_err(|error| error.to_string()));
            files.submit(request, Box::new(done));
        }
    }
}
