//! Records that could not be read, kept as JSON lines in a folder: at least once, and before the checkpoint that passes them.
//!
//! A file that was shown takes nothing more: every sending makes a file of its own.

use crate::format::BadRecord;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use streamfleet_env::{Completion, Storage, StorageError, StorageRequest};

/// Bytes on their way to storage before nothing more is read.
const MOST_BYTES_UNDER_WAY: usize = 8 << 20;

#[derive(Default)]
struct UnderWay {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    failed: Mutex<Option<StorageError>>,
}

/// Writes them; never waits.
pub(super) struct DeadLetters {
    storage: Arc<dyn Storage>,
    waker: Arc<dyn Fn() + Send + Sync>,
    table: String,
    /// Begins every file's path; unique to this subtask and run.
    prefix: String,
    next_file: u64,
    under_way: Arc<UnderWay>,
    lines: Vec<u8>,
}

impl DeadLetters {
    /// `unique` names the files of this subtask and run.
    pub fn new(
        storage: Arc<dyn Storage>,
        waker: Arc<dyn Fn() + Send + Sync>,
        table: &str,
        folder: &str,
        unique: &str,
    ) -> Self {
        let prefix = format!("{folder}/dead-letters-{unique}");
        let table = table.to_owned();
        Self { storage, waker, table, prefix, next_file: 0, under_way: Arc::default(), lines: Vec::new() }
    }

    /// Adds a record: its bytes, and where they lie.
    pub fn add(&mut self, file: &str, line: Option<u64>, byte: u64, record: &[u8], bad: &BadRecord) {
        let mut letter = json!({"table": self.table, "file": file, "line": line, "byte": byte, "reason": bad.reason});
        match std::str::from_utf8(record) {
            Ok(text) => letter["text"] = text.trim_end_matches(['\n', '\r']).into(),
            Err(_) => letter["base64"] = STANDARD.encode(record).into(),
        }
        self.lines.extend_from_slice(letter.to_string().as_bytes());
        self.lines.push(b'\n');
    }

    /// Sends what was added.
    pub fn send(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.lines);
        let size = bytes.len();
        let path = format!("{}-{}.jsonl", self.prefix, self.next_file);
        self.next_file += 1;
        self.submit(StorageRequest::Put { path, bytes }, size);
    }

    fn submit(&self, request: StorageRequest, size: usize) {
        self.under_way.requests.fetch_add(1, Ordering::SeqCst);
        self.under_way.bytes.fetch_add(size, Ordering::SeqCst);
        let (under_way, waker) = (Arc::clone(&self.under_way), Arc::clone(&self.waker));
        let done: Completion = Box::new(move |result| {
            // A failure is known before the request counts as answered: no checkpoint may slip in between.
            if let Err(error) = result {
                under_way.failed.lock().expect("no holder of this lock panics").get_or_insert(error);
            }
            under_way.bytes.fetch_sub(size, Ordering::SeqCst);
            under_way.requests.fetch_sub(1, Ordering::SeqCst);
            waker();
        });
        self.storage.submit(request, done);
    }

    /// True while so much is under way that reading should wait.
    pub fn is_full(&self) -> bool {
        self.under_way.bytes.load(Ordering::SeqCst) >= MOST_BYTES_UNDER_WAY
    }

    /// True if everything that was added is durable.
    pub fn is_durable(&self) -> bool {
        self.under_way.requests.load(Ordering::SeqCst) == 0 && self.failure().is_none()
    }

    /// Why something could not be written.
    pub fn failure(&self) -> Option<StorageError> {
        self.under_way.failed.lock().expect("no holder of this lock panics").clone()
    }
}
