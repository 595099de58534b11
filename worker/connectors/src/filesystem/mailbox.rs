//! Storage's answers, on their way to a slot that never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use streamfleet_env::{Storage, StorageError, StorageReply, StorageRequest};

type Answer = (u64, Result<StorageReply, StorageError>);

/// Sends requests and collects their answers.
#[derive(Clone)]
pub(super) struct Mailbox {
    storage: Arc<dyn Storage>,
    waker: Arc<dyn Fn() + Send + Sync>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Mailbox {
    pub fn new(storage: Arc<dyn Storage>, waker: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { storage, waker, answers: Arc::default() }
    }

    /// Asks; the answer comes under `tag`.
    pub fn ask(&self, tag: u64, request: StorageRequest) {
        let (answers, waker) = (Arc::clone(&self.answers), Arc::clone(&self.waker));
        let done = Box::new(move |result| {
            answers.lock().expect("no holder of this lock panics").push_back((tag, result));
            waker();
        });
        self.storage.submit(request, done);
    }

    /// The next answer.
    pub fn next(&self) -> Option<Answer> {
        self.answers.lock().expect("no holder of this lock panics").pop_front()
    }
}
