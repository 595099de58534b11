//! What is staged: a multipart upload, begun when a part is full or when nothing may show yet.

use super::Inner;
use super::client::Checksum;
use super::errors::Failure;
use super::requests::is_below;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::builders::CompletedPartBuilder;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use streamfleet_env::{Staged, StorageErrorKind, StorageReply};
use tracing::warn;

/// S3 takes no smaller part but the last.
const PART_BYTES: usize = 5 << 20;

/// S3 takes 10000 parts: after so many, parts become larger by as much again.
const PARTS_OF_ONE_SIZE: usize = 1000;

/// What one process has staged for a path.
#[derive(Debug, Default)]
pub(super) struct Upload {
    id: Option<String>,
    /// The tags of the parts so far, and their checksums, if the server keeps them.
    parts: Vec<String>,
    checksums: Vec<String>,
    /// Bytes of the next part.
    buffer: Vec<u8>,
    /// A part was lost: what is staged can only be thrown away.
    has_hole: bool,
}

/// All that completing an upload takes.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    upload: String,
    parts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksums: Option<Checksums>,
}

/// Those of all parts of an upload, as the server told them.
#[derive(Debug, Serialize, Deserialize)]
struct Checksums {
    of: Checksum,
    values: Vec<String>,
}

impl Checksums {
    /// `values` are all there, or the server does not keep them.
    fn of_parts(of: Option<Checksum>, values: Vec<String>) -> Option<Self> {
        let of = of.filter(|_| values.iter().all(|value| !value.is_empty()))?;
        Some(Self { of, values })
    }

    /// What the answer to a part says of it.
    fn told(of: Option<Checksum>, answer: UploadPartOutput) -> String {
        let told = match of {
            None => None,
            Some(Checksum::Crc32) => answer.checksum_crc32,
            Some(Checksum::Crc32c) => answer.checksum_crc32_c,
            Some(Checksum::Sha256) => answer.checksum_sha256,
        };
        told.unwrap_or_default()
    }

    /// Adds that of a part, the first of which is 0.
    fn add_to(&self, part: CompletedPartBuilder, index: usize) -> CompletedPartBuilder {
        let value = self.values.get(index).cloned();
        match self.of {
            Checksum::Crc32 => part.set_checksum_crc32(value),
            Checksum::Crc32c => part.set_checksum_crc32_c(value),
            Checksum::Sha256 => part.set_checksum_sha256(value),
        }
    }
}

impl Inner {
    fn take_staged(&self, path: &str) -> Option<Upload> {
        self.staged.lock().expect("no holder of this lock panics").remove(path)
    }

    fn keep_staged(&self, path: &str, upload: Upload) {
        self.staged.lock().expect("no holder of this lock panics").insert(path.to_owned(), upload);
    }

    /// What is staged, if nothing of it is lost.
    fn take_whole(&self, path: &str) -> Result<Option<Upload>, Failure> {
        match self.take_staged(path) {
            Some(upload) if upload.has_hole => {
                self.keep_staged(path, upload);
                let detail = "a part of it could not be uploaded before: it can only be thrown away";
                Err(Failure::new(StorageErrorKind::Broken, detail))
            }
            upload => Ok(upload),
        }
    }

    pub(super) async fn append(&self, path: &str, bytes: &[u8]) -> Result<StorageReply, Failure> {
        let mut upload = self.take_whole(path)?.unwrap_or_default();
        upload.buffer.extend_from_slice(bytes);
        let mut result = Ok(());
        while result.is_ok() {
            let part_bytes = PART_BYTES * (1 + upload.parts.len() / PARTS_OF_ONE_SIZE);
            if upload.buffer.len() < part_bytes {
                break;
            }
            let rest = upload.buffer.split_off(part_bytes);
            let part = mem::replace(&mut upload.buffer, rest);
            result = self.upload_part(path, &mut upload, part).await;
        }
        // Also after a failure: whoever deletes the path aborts the upload.
        self.keep_staged(path, upload);
        result.map(|()| StorageReply::Done)
    }

    pub(super) async fn seal(&self, path: &str) -> Result<StorageReply, Failure> {
        let Some(mut upload) = self.take_whole(path)? else { return Err(nothing_appended()) };
        if upload.id.is_none() {
            return self.put(path, upload.buffer).await;
        }
        match self.upload_rest(path, &mut upload).await {
            Ok(token) => self.complete(path, &token).await,
            Err(failure) => {
                self.keep_staged(path, upload);
                Err(failure)
            }
        }
    }

    pub(super) async fn prepare(&self, path: &str) -> Result<StorageReply, Failure> {
        let Some(mut upload) = self.take_whole(path)? else { return Err(nothing_appended()) };
        match self.upload_rest(path, &mut upload).await {
            Ok(token) => {
                let token = serde_json::to_string(&token).expect("a token has only string keys");
                Ok(StorageReply::Prepared(token))
            }
            Err(failure) => {
                self.keep_staged(path, upload);
                Err(failure)
            }
        }
    }

    pub(super) async fn publish(&self, path: &str, token: &str) -> Result<StorageReply, Failure> {
        let token: Token = serde_json::from_str(token).map_err(|error| {
            let detail = format!("the checkpoint names output in a form that is not known: {error}");
            Failure::new(StorageErrorKind::Broken, detail)
        })?;
        self.complete(path, &token).await
    }

    async fn upload_rest(&self, path: &str, upload: &mut Upload) -> Result<Token, Failure> {
        if !upload.buffer.is_empty() || upload.parts.is_empty() {
            let part = mem::take(&mut upload.buffer);
            self.upload_part(path, upload, part).await?;
        }
        let id = upload.id.clone().expect("a part begins the upload");
        let checksums = Checksums::of_parts(self.client.checksum(), mem::take(&mut upload.checksums));
        Ok(Token { upload: id, parts: mem::take(&mut upload.parts), checksums })
    }

    async fn upload_part(&self, path: &str, upload: &mut Upload, bytes: Vec<u8>) -> Result<(), Failure> {
        upload.has_hole = true;
        let (client, key) = (self.client.get().await, self.naming.key(path));
        let id = match &upload.id {
            Some(id) => id.clone(),
            None => {
                let id = self.begin(path).await?;
                upload.id = Some(id.clone());
                id
            }
        };
        let number = i32::try_from(upload.parts.len() + 1).unwrap_or(i32::MAX);
        let (bytes, checksum) = (Bytes::from(bytes), self.client.checksum());
        let send = || async {
            let part = client.upload_part().bucket(&self.bucket).key(&key).upload_id(&id).part_number(number);
            let part = part.set_checksum_algorithm(checksum.map(Into::into));
            Ok::<_, Failure>(part.body(ByteStream::from(bytes.clone())).send().await?)
        };
        let mut answer = self.patiently(path, send).await?;
        upload.parts.push(answer.e_tag.take().unwrap_or_default());
        upload.checksums.push(Checksums::told(checksum, answer));
        upload.has_hole = false;
        Ok(())
    }

    /// Begins an upload; gives its id. Every try that reaches the server begins one: if an answer was lost, all others on
    /// this path are aborted, which is used by this process alone.
    async fn begin(&self, path: &str) -> Result<String, Failure> {
        let (client, key) = (self.client.get().await, self.naming.key(path));
        let (encryption, kms_key) = self.client.encryption();
        let create = client.create_multipart_upload().bucket(&self.bucket).key(&key);
        let create = create.set_server_side_encryption(encryption).set_ssekms_key_id(kms_key);
        let create = create.set_checksum_algorithm(self.client.checksum().map(Into::into));
        let tries = AtomicU32::new(0);
        let begin = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            // The client's own tries would not be counted.
            let once = aws_sdk_s3::config::Config::builder().retry_config(RetryConfig::disabled());
            Ok::<_, Failure>(create.clone().customize().config_override(once).send().await?)
        };
        let id = self.patiently(path, begin).await?.upload_id.unwrap_or_default();
        if tries.into_inner() > 1 {
            self.sweep(path, &id).await;
        }
        Ok(id)
    }

    /// Aborts the uploads on a path but one. Cleaning is no reason to fail.
    async fn sweep(&self, path: &str, kept: &str) {
        let Ok(StorageReply::Staged(others)) = self.list_staged(path).await else { return };
        for other in others.into_iter().filter(|other| other.path == path && other.token != kept) {
            if let Err(failure) = self.discard(path, &other.token).await {
                warn!(path, detail = failure.detail, "an upload that nobody goes on with stays");
            }
        }
    }

    /// Completes an upload. If it is gone and the object is there, it was completed before: names are used once. A server that died
    /// in the midst may have the object and still the upload.
    async fn complete(&self, path: &str, token: &Token) -> Result<StorageReply, Failure> {
        let (client, key) = (self.client.get().await, self.naming.key(path));
        let part = |((index, tag), number)| {
            let part = CompletedPart::builder().part_number(number).e_tag(tag);
            token.checksums.iter().fold(part, |part, checksums| checksums.add_to(part, index)).build()
        };
        let parts = token.parts.iter().enumerate().zip(1..).map(part).collect();
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = client.complete_multipart_upload().bucket(&self.bucket).key(&key);
        let complete = complete.upload_id(&token.upload).multipart_upload(all);
        let tries = AtomicU32::new(0);
        let finish = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Failure>(complete.clone().send().await?)
        };
        let finished = self.patiently(path, finish).await;
        if finished.is_ok() && tries.into_inner() > 1 {
            self.sweep(path, "").await;
        }
        match finished {
            Ok(_) => Ok(StorageReply::Done),
            Err(failure) if failure.kind == StorageErrorKind::NotFound && !failure.is("NoSuchBucket") => {
                match self.size_of(path).await? {
                    Some(_) => Ok(StorageReply::Done),
                    None => Err(Failure::new(
                        StorageErrorKind::NotFound,
                        "its upload is gone, and it is not there: was the upload aborted, by hand or by a lifecycle rule?",
                    )),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn list_staged(&self, prefix: &str) -> Result<StorageReply, Failure> {
        let client = self.client.get().await;
        let key = self.naming.key(prefix);
        let (mut key_marker, mut id_marker, mut found) = (None, None, Vec::new());
        loop {
            let page = client.list_multipart_uploads().bucket(&self.bucket).prefix(key.trim_end_matches('/'));
            let page = page.set_key_marker(key_marker).set_upload_id_marker(id_marker);
            let page = self.patiently(prefix, || async { Ok::<_, Failure>(page.clone().send().await?) }).await?;
            for upload in page.uploads.unwrap_or_default() {
                let (Some(key), Some(token)) = (upload.key, upload.upload_id) else { continue };
                if let Some(path) = self.naming.path(&key).filter(|path| is_below(path, prefix)) {
                    found.push(Staged { path, token });
                }
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated != Some(true) || key_marker.is_none() {
                break;
            }
        }
        found.sort();
        Ok(StorageReply::Staged(found))
    }

    /// Aborts an upload. `token`: its id, as it is listed, or what completing it takes.
    pub(super) async fn discard(&self, path: &str, token: &str) -> Result<StorageReply, Failure> {
        let (client, key) = (self.client.get().await, self.naming.key(path));
        let id = serde_json::from_str::<Token>(token).map_or_else(|_| token.to_owned(), |prepared| prepared.upload);
        let abort = client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(id);
        match self.patiently(path, || async { Ok::<_, Failure>(abort.clone().send().await?) }).await {
            Err(failure) if failure.kind != StorageErrorKind::NotFound => Err(failure),
            _ => Ok(StorageReply::Done),
        }
    }

    /// Throws away what this process has staged.
    pub(super) async fn discard_own(&self, path: &str) -> Result<(), Failure> {
        match self.take_staged(path).and_then(|upload| upload.id) {
            Some(id) => self.discard(path, &id).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

fn nothing_appended() -> Failure {
    Failure::new(StorageErrorKind::NotFound, "nothing was appended")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::{S3Options, S3Place, S3Storage};

    #[test]
    fn what_lost_a_part_is_never_whole() {
        // Nobody listens there.
        let options = S3Options {
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            region: Some("r".to_owned()),
            credentials: Some(("key".to_owned(), "secret".to_owned())),
            ..S3Options::default()
        };
        let place = S3Place::parse("s3://bucket/place").expect("a place");
        let storage = S3Storage::below(&place, &options);
        let inner = &storage.inner;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            inner.append("x", b"first").await.expect("it fits into the buffer");
            let lost = inner.append("x", &vec![0; PART_BYTES]).await.expect_err("nobody takes the part");
            assert_eq!(lost.kind, StorageErrorKind::Uncertain, "{}", lost.detail);
            let steps = [inner.append("x", b"more").await, inner.prepare("x").await, inner.seal("x").await];
            for step in steps {
                let failure = step.expect_err("there is a hole");
                assert_eq!(failure.kind, StorageErrorKind::Broken, "{}", failure.detail);
            }
            inner.discard_own("x").await.expect("it can be thrown away");
            inner.append("x", b"anew").await.expect("it fits into the buffer");
            for _ in 0..2 {
                inner.prepare("x").await.expect_err("nobody takes the part");
            }
        });
    }
}
