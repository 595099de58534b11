//! Ways from threads that may wait to a slot that never does.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What comes from outside, on its way to a slot; putting something in wakes the slot.
pub struct Inbox<T> {
    waker: Arc<dyn Fn() + Send + Sync>,
    items: Arc<Mutex<VecDeque<T>>>,
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self { waker: Arc::clone(&self.waker), items: Arc::clone(&self.items) }
    }
}

impl<T> Inbox<T> {
    /// An empty one; `waker` is called behind every item.
    pub fn new(waker: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { waker, items: Arc::default() }
    }

    /// Adds an item.
    pub fn put(&self, item: T) {
        self.items.lock().expect("no holder of this lock panics").push_back(item);
        (self.waker)();
    }

    /// The oldest item.
    pub fn next(&self) -> Option<T> {
        self.items.lock().expect("no holder of this lock panics").pop_front()
    }
}

/// Bytes on their way between two threads.
#[derive(Debug, Default)]
pub struct UnderWay {
    bytes: Mutex<usize>,
    fewer: Condvar,
}

impl UnderWay {
    /// Counts bytes that were handed over.
    pub fn add(&self, bytes: usize) {
        *self.bytes.lock().expect("no holder of this lock panics") += bytes;
    }

    /// Counts bytes that were taken.
    pub fn remove(&self, bytes: usize) {
        let mut left = self.bytes.lock().expect("no holder of this lock panics");
        *left = left.saturating_sub(bytes);
        self.fewer.notify_all();
    }

    /// Bytes at the moment.
    pub fn bytes(&self) -> usize {
        *self.bytes.lock().expect("no holder of this lock panics")
    }

    /// Waits until there are fewer than `most`, at most so long; false if there are not.
    pub fn wait_below(&self, most: usize, longest: Duration) -> bool {
        let bytes = self.bytes.lock().expect("no holder of this lock panics");
        let waited = self.fewer.wait_timeout_while(bytes, longest, |bytes| *bytes >= most);
        !waited.expect("no holder of this lock panics").1.timed_out()
    }
}
