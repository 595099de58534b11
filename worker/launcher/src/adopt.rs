//! A job that begins from another job's snapshot: its state is copied, so that neither job refers to the other's files.
//!
//! # Flow
//! Every file is copied into the new job's place under a name of its own uid and of term 0, which no reign has. Then the
//! coordinator begins as from any snapshot. What the other job's sinks had prepared is that job's business.
//!
//! # Caveats
//! The other job may retire the snapshot meanwhile: then a file is missing, which is told, and nothing has begun. Copies that no
//! log names, left by a process that died while it copied, are leftovers as any others.

use crate::error::LauncherError;
use crate::savepoint::{Found, refused};
use std::sync::Arc;
use streamfleet_env::{Entropy, Storage, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_storage::{LOG_PREFIX, ask, list};
use streamfleet_types::Term;
use streamfleet_types::log::Snapshot;

/// Bytes copied at a time: what copying takes of the memory.
const PART_BYTES: u64 = 8 << 20;

/// What the new job begins with.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The new job's uid.
    pub uid: String,
    /// The other job's snapshot, of this job's files.
    pub snapshot: Snapshot,
}

/// Copies a snapshot's files into `storage`, the place of a job that has not begun yet; `tell` shows progress.
///
/// # Errors
/// The job has begun already, or a file cannot be read or written.
pub(crate) fn adopt(
    path: &str,
    found: Found,
    storage: &Arc<dyn Storage>,
    entropy: &dyn Entropy,
    tell: impl Fn(&str),
) -> Result<Adopted, LauncherError> {
    if !list(storage.as_ref(), LOG_PREFIX)?.is_empty() {
        return Err(refused(
            path,
            "this is another job's checkpoint, and the job has begun already: start it without --from-savepoint to go on, or \
             give it a checkpoint place or a name of its own",
        ));
    }
    let uid = format!("{:016x}", entropy.next_u64());
    let prefix = format!("data/{uid}-{}-{:08x}", Term(0), entropy.next_u64() as u32);
    let Found { entry, mut snapshot, storage: from, .. } = found;
    let total: u64 = snapshot.files.iter().map(|f| f.bytes).sum();
    tell(&format!(
        "begins from checkpoint {} of job {}: {} files of state are copied, {total} bytes",
        snapshot.epoch,
        entry.job,
        snapshot.files.len()
    ));
    for (number, file) in snapshot.files.iter_mut().enumerate() {
        let copy = format!("{prefix}-{number:06}.state");
        copy_file(from.as_ref(), &file.path, file.bytes, storage.as_ref(), &copy).map_err(|error| match error {
            LauncherError::Storage(error) if error.kind == StorageErrorKind::NotFound => refused(
                path,
                &format!("the other job has retired this checkpoint ({} is gone): choose a newer one", error.path),
            ),
            other => other,
        })?;
        file.path = copy;
    }
    snapshot.transactions.clear();
    Ok(Adopted { uid, snapshot })
}

fn copy_file(from: &dyn Storage, path: &str, bytes: u64, to: &dyn Storage, copy: &str) -> Result<(), LauncherError> {
    let mut next = 0;
    while next < bytes {
        let length = PART_BYTES.min(bytes - next);
        let request = StorageRequest::Get { path: path.to_owned(), range: Some((next, length)) };
        let StorageReply::Bytes(part) = ask(from, request)? else {
            return Err(refused(path, "the storage answers something else"));
        };
        if part.len() as u64 != length {
            let why = format!("it has {} bytes instead of {bytes}", next + part.len() as u64);
            return Err(refused(path, &why));
        }
        ask(to, StorageRequest::Append { path: copy.to_owned(), bytes: part })?;
        next += length;
    }
    ask(to, StorageRequest::Seal { path: copy.to_owned() })?;
    Ok(())
}
