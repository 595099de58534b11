//! A bucket of S3, or of a server that speaks like it, as storage.
//!
//! - `PutNew` is a put with `If-None-Match: *`, which one of any number of writers wins.
//! - What is appended becomes a multipart upload: no reader sees it before it is completed. The token of a prepared one holds the
//!   upload's id and the parts' tags, so that any process can complete it.
//! - Requests on one path are carried out one after another; requests on different paths side by side, up to a bound.
//! - What may pass (no answer, 503, a timed-out request) is tried again: a few times by the client, then with pauses for as long
//!   as [`S3Options::patience`] says. Creating and deleting are not repeated in this way: the caller looks what became of them.

mod client;
mod errors;
mod multipart;
mod naming;
mod requests;

pub use client::{Checksum, Encryption, S3Options};
pub use naming::S3Place;

use client::Client;
use errors::Failure;
use multipart::Upload;
use naming::Naming;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use streamfleet_env::{Completion, Storage, StorageError, StorageErrorKind, StorageRequest, give_way_to_slots};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, Semaphore};
use tracing::warn;

/// Threads for all requests of the process.
const THREADS: usize = 2;

/// Requests under way at once, of one bucket's storage.
const MOST_REQUESTS: usize = 32;

/// Pause before a request is tried again; doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("s3")
        .on_thread_start(give_way_to_slots)
        .enable_all()
        .build()
        .expect("the system can start threads")
});

type Waiting = VecDeque<(StorageRequest, Completion)>;

/// A bucket, or a part of one, as storage. Nothing is asked of it before the first request.
pub struct S3Storage {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    bucket: String,
    naming: Naming,
    patience: Duration,
    permits: Semaphore,
    /// Set when the bucket was seen.
    seen: OnceCell<()>,
    /// Requests that wait for one on the same path; a path is here while a request on it is under way.
    queues: Mutex<HashMap<String, Waiting>>,
    /// What this process has staged, by path.
    staged: Mutex<HashMap<String, Upload>>,
}

impl S3Storage {
    /// Storage below a place: paths are keys below its prefix.
    pub fn below(place: &S3Place, options: &S3Options) -> Self {
        Self::new(&place.bucket, Naming::below(place), options)
    }

    /// Storage of a bucket whose paths are whole: `s3://<bucket>/<key>`.
    pub fn whole(bucket: &str, options: &S3Options) -> Self {
        Self::new(bucket, Naming::whole(bucket), options)
    }

    fn new(bucket: &str, naming: Naming, options: &S3Options) -> Self {
        let inner = Inner {
            client: Client::new(options.clone()),
            bucket: bucket.to_owned(),
            naming,
            patience: options.patience,
            permits: Semaphore::new(MOST_REQUESTS),
            seen: OnceCell::new(),
            queues: Mutex::default(),
            staged: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Storage for S3Storage {
    fn submit(&self, request: StorageRequest, done: Completion) {
        let path = request.path().to_owned();
        let mut queues = self.inner.queues.lock().expect("no holder of this lock panics");
        match queues.get_mut(&path) {
            Some(waiting) => waiting.push_back((request, done)),
            None => {
                queues.insert(path.clone(), Waiting::new());
                RUNTIME.spawn(Arc::clone(&self.inner).serve(path, request, done));
            }
        }
    }
}

impl Inner {
    /// Carries out a request, and those on its path that came meanwhile.
    async fn serve(self: Arc<Self>, path: String, request: StorageRequest, done: Completion) {
        let mut next = Some((request, done));
        while let Some((request, done)) = next {
            let result = match self.see_bucket().await {
                Ok(()) => self.perform(&request).await,
                Err(failure) => Err(failure),
            };
            done(result.map_err(|failure| self.describe(&request, failure)));
            let mut queues = self.queues.lock().expect("no holder of this lock panics");
            next = queues.get_mut(&path).and_then(Waiting::pop_front);
            if next.is_none() {
                queues.remove(&path);
            }
        }
    }

    fn describe(&self, request: &StorageRequest, failure: Failure) -> StorageError {
        let path = format!("s3://{}/{}", self.bucket, self.naming.key(request.path()));
        StorageError { kind: failure.kind, operation: request.name(), path, detail: failure.detail }
    }

    /// Makes one attempt of a call.
    async fn attempt<T, F: Future<Output = Result<T, Failure>>>(&self, call: F) -> Result<T, Failure> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        call.await
    }

    /// Makes a call, and makes it again while it fails in a way that may pass, until patience ends.
    async fn patiently<T, C, F>(&self, path: &str, mut call: C) -> Result<T, Failure>
    where
        C: FnMut() -> F,
        F: Future<Output = Result<T, Failure>>,
    {
        let (began, mut pause, mut tries) = (Instant::now(), FIRST_PAUSE, 0_u32);
        loop {
            match self.attempt(call()).await {
                Err(failure)
                    if failure.kind == StorageErrorKind::Uncertain && began.elapsed() + pause < self.patience =>
                {
                    tries += 1;
                    // Not every time: an outage makes many requests wait.
                    if tries.is_power_of_two() {
                        warn!(bucket = self.bucket, path, detail = failure.detail, "S3 fails; tried again");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                result => return result,
            }
        }
    }
}
