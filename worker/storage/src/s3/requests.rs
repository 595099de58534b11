//! Requests on whole objects.

use super::Inner;
use super::errors::Failure;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use streamfleet_env::{StorageErrorKind, StorageReply, StorageRequest};

impl Inner {
    pub(super) async fn perform(&self, request: &StorageRequest) -> Result<StorageReply, Failure> {
        match request {
            StorageRequest::PutNew { path, bytes } => self.put_new(path, bytes.clone()).await,
            StorageRequest::Put { path, bytes } => self.put(path, bytes.clone()).await,
            StorageRequest::Append { path, bytes } => self.append(path, bytes).await,
            StorageRequest::Seal { path } => self.seal(path).await,
            StorageRequest::Prepare { path } => self.prepare(path).await,
            StorageRequest::Publish { path, token } => self.publish(path, token).await,
            StorageRequest::ListStaged { prefix } => self.list_staged(prefix).await,
            StorageRequest::Discard { path, token } => self.discard(path, token).await,
            StorageRequest::Unstage { path } => self.discard_own(path).await.map(|()| StorageReply::Done),
            StorageRequest::Get { path, range } => self.get(path, *range).await,
            StorageRequest::List { prefix } => self.list(prefix).await,
            StorageRequest::Delete { path } => {
                self.discard_own(path).await?;
                let delete = self.client.get().await.delete_object().bucket(&self.bucket).key(self.naming.key(path));
                match self.attempt(async { Ok::<_, Failure>(delete.send().await?) }).await {
                    Err(failure) if failure.kind != StorageErrorKind::NotFound => Err(failure),
                    _ => Ok(StorageReply::Done),
                }
            }
        }
    }

    /// Fails if the bucket is not there: some servers make it at the first writing, under whatever name was mistyped, or taken for
    /// that of a bucket. An answer that is none to this question says that they do not know the bucket by its host.
    pub(super) async fn see_bucket(&self) -> Result<(), Failure> {
        let look = async {
            let list = self.client.get().await.list_objects_v2().bucket(&self.bucket).max_keys(1);
            match self.attempt(async { Ok::<_, Failure>(list.send().await?) }).await {
                // Who may not list need not ask again and again, one request after the other.
                Err(failure) if failure.kind != StorageErrorKind::Denied => Err(failure),
                _ => Ok(()),
            }
        };
        match self.seen.get_or_try_init(|| look).await {
            Err(failure) if failure.kind == StorageErrorKind::Broken => Err(failure),
            // What else is wrong, the request itself will tell.
            _ => Ok(()),
        }
    }

    /// A put of an object, without its content.
    async fn new_put(&self, path: &str) -> PutObjectFluentBuilder {
        let (encryption, kms_key) = self.client.encryption();
        let put = self.client.get().await.put_object().bucket(&self.bucket).key(self.naming.key(path));
        let put = put.set_server_side_encryption(encryption).set_ssekms_key_id(kms_key);
        put.set_checksum_algorithm(self.client.checksum().map(Into::into))
    }

    async fn put_new(&self, path: &str, bytes: Vec<u8>) -> Result<StorageReply, Failure> {
        let put = self.new_put(path).await.if_none_match("*").body(ByteStream::from(bytes));
        self.attempt(async { Ok::<_, Failure>(put.send().await?) }).await.map(|_| StorageReply::Done)
    }

    pub(super) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<StorageReply, Failure> {
        let bytes = Bytes::from(bytes);
        let send = || async {
            let put = self.new_put(path).await.body(ByteStream::from(bytes.clone()));
            Ok::<_, Failure>(put.send().await?)
        };
        self.patiently(path, send).await.map(|_| StorageReply::Done)
    }

    /// An object's size; `None` if there is none.
    pub(super) async fn size_of(&self, path: &str) -> Result<Option<u64>, Failure> {
        let head = self.client.get().await.head_object().bucket(&self.bucket).key(self.naming.key(path));
        match self.patiently(path, || async { Ok::<_, Failure>(head.clone().send().await?) }).await {
            Ok(found) => Ok(Some(size(found.content_length))),
            Err(failure) if failure.kind == StorageErrorKind::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn get(&self, path: &str, range: Option<(u64, u64)>) -> Result<StorageReply, Failure> {
        let mut get = self.client.get().await.get_object().bucket(&self.bucket).key(self.naming.key(path));
        if let Some((first, length)) = range {
            // There is no range of nothing: one byte, of which nothing is taken.
            let last = first.saturating_add(length.max(1) - 1).min(i64::MAX as u64);
            get = get.range(format!("bytes={first}-{last}"));
        }
        let read = || async {
            let found = get.clone().send().await?;
            let bytes =
                found.body.collect().await.map_err(|error| {
                    Failure::new(StorageErrorKind::Uncertain, format!("the answer broke off: {error}"))
                })?;
            Ok::<_, Failure>(bytes.into_bytes())
        };
        match self.patiently(path, read).await {
            Ok(_) if matches!(range, Some((_, 0))) => Ok(StorageReply::Bytes(Vec::new())),
            Ok(bytes) => Ok(StorageReply::Bytes(bytes.into())),
            // The range begins behind the end.
            Err(failure) if range.is_some() && failure.is("InvalidRange") => Ok(StorageReply::Bytes(Vec::new())),
            Err(failure) => Err(failure),
        }
    }

    async fn list(&self, prefix: &str) -> Result<StorageReply, Failure> {
        let key = self.naming.key(prefix);
        let mut found = Vec::new();
        // A path without a slash at its end may be an object's.
        if !key.is_empty()
            && !key.ends_with('/')
            && let Some(bytes) = self.size_of(prefix).await?
        {
            found.push((prefix.to_owned(), bytes));
        }
        let folder = if key.is_empty() { key } else { format!("{}/", key.trim_end_matches('/')) };
        let mut token = None;
        loop {
            let page = self.client.get().await.list_objects_v2().bucket(&self.bucket).prefix(&folder);
            let page = page.set_continuation_token(token);
            let page = self.patiently(prefix, || async { Ok::<_, Failure>(page.clone().send().await?) }).await?;
            for object in page.contents.unwrap_or_default() {
                // An empty object of a folder's name stands for the folder in some tools.
                let key = object.key.filter(|key| !key.ends_with('/'));
                if let Some(path) = key.and_then(|key| self.naming.path(&key)) {
                    found.push((path, size(object.size)));
                }
            }
            token = page.next_continuation_token;
            if page.is_truncated != Some(true) || token.is_none() {
                break;
            }
        }
        found.sort();
        Ok(StorageReply::Paths(found))
    }
}

fn size(bytes: Option<i64>) -> u64 {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

/// True for what a listing of `prefix` finds.
pub(super) fn is_below(path: &str, prefix: &str) -> bool {
    let folder = prefix.trim_end_matches('/');
    let below = if folder.is_empty() { Some(path) } else { path.strip_prefix(folder).filter(|p| p.starts_with('/')) };
    below.is_some() || path == prefix
}
