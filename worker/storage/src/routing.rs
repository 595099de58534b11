//! Files wherever they are: paths `s3://bucket/key` on S3, all others in a local folder.

use crate::{LocalFolder, S3Options, S3Place, S3Storage};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use streamfleet_env::{Completion, Storage, StorageRequest};

/// See the module. A bucket's client is made when its first path comes.
pub struct Files {
    local: LocalFolder,
    options: S3Options,
    buckets: Mutex<HashMap<String, Arc<S3Storage>>>,
}

impl Files {
    /// `folder`: where relative local paths begin.
    pub fn new(folder: impl Into<PathBuf>, options: S3Options) -> Self {
        Self { local: LocalFolder::new(folder), options, buckets: Mutex::default() }
    }
}

impl Storage for Files {
    fn submit(&self, request: StorageRequest, done: Completion) {
        let Some(S3Place { bucket, .. }) = S3Place::parse(request.path()) else {
            self.local.submit(request, done);
            return;
        };
        let storage = {
            let mut buckets = self.buckets.lock().expect("no holder of this lock panics");
            let made = buckets.entry(bucket).or_insert_with_key(|b| Arc::new(S3Storage::whole(b, &self.options)));
            Arc::clone(made)
        };
        storage.submit(request, done);
    }
}

/// The storage at a location: on S3, or in a local folder.
pub fn open(location: &str, options: &S3Options) -> Arc<dyn Storage> {
    match S3Place::parse(location) {
        Some(place) => Arc::new(S3Storage::below(&place, options)),
        None => Arc::new(LocalFolder::new(location)),
    }
}
