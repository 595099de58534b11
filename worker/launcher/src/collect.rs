//! Removes what crashes left of a job: in its checkpoint place, and at its sinks. Needs no running job, and harms none.

use crate::compile::CompiledJob;
use crate::driver::{Committers, ConnectorRegistry};
use crate::error::LauncherError;
use crate::system::SystemClock;
use std::fmt::Write;
use std::sync::Arc;
use streamfleet_coordinator::{DATA_PREFIX, LogView, PROBE_PREFIX, leftovers, newest_unbroken};
use streamfleet_env::{Clock, Storage, StorageErrorKind, StorageRequest};
use streamfleet_storage::{
    Files, LOG_PREFIX, S3Options, ask, entry_path, list, open, parse_entry, parse_entry_path, read,
};

/// What is to be collected.
#[derive(Debug, Clone, Copy)]
pub enum CollectFrom<'a> {
    /// What lies in this checkpoint place.
    Place(&'a str),
    /// That of a job, and what lies at its sinks.
    Job(&'a CompiledJob),
}

/// Removes state files, staged uploads and probes that nobody needs, and of a job that is known also unfinished files and open
/// transactions of its sinks; gives a line for each. With `dry_run` it only tells.
///
/// # Errors
/// There is no job log at the place, it cannot be read, or something cannot be removed.
pub fn collect(what: CollectFrom<'_>, dry_run: bool) -> Result<String, LauncherError> {
    let (place, s3) = match what {
        CollectFrom::Place(place) => (place.trim_end_matches('/').to_owned(), S3Options::default()),
        CollectFrom::Job(job) => (job.place(), job.s3.clone()),
    };
    let storage = open(&place, &s3);
    let view = read_log(&place, storage.as_ref())?;
    // Before its sinks are asked: what is refused removes nothing.
    let committers = match what {
        CollectFrom::Place(_) => None,
        CollectFrom::Job(job) => Some(committers_of(job, &place, &view)?),
    };
    let (mut lines, mut kept) = (Vec::new(), 0);
    let now = SystemClock::new().wall_clock_ms();
    let prefix = |prefix: &str| prefix.to_owned();
    for listing in [
        StorageRequest::List { prefix: prefix(DATA_PREFIX) },
        StorageRequest::ListStaged { prefix: prefix(DATA_PREFIX) },
        StorageRequest::List { prefix: prefix(PROBE_PREFIX) },
        StorageRequest::List { prefix: prefix(LOG_PREFIX) },
    ] {
        let listed = ask(storage.as_ref(), listing)?;
        for request in leftovers(&view, &listed, now) {
            lines.push(format!("{} {}", request.name(), request.path()));
            if !dry_run {
                ask(storage.as_ref(), request)?;
            }
        }
    }
    if let (Some(committers), Some(uid)) = (committers, &view.uid) {
        let found = committers.collect(uid, view.below_who_may_live(), dry_run);
        let found = found.map_err(LauncherError::Collect)?;
        lines.extend(found.removed);
        kept = found.kept;
    }
    let mut text = String::new();
    let w = "a string takes any text";
    lines.iter().for_each(|line| writeln!(text, "{line}").expect(w));
    if kept > 0 {
        writeln!(text, "{kept} at the sinks are kept: the newest start wrote them, and may be running").expect(w);
    }
    let what = if dry_run { "would be removed" } else { "removed" };
    writeln!(text, "{} {what}", lines.len()).expect(w);
    Ok(text)
}

fn read_log(place: &str, storage: &dyn Storage) -> Result<LogView, LauncherError> {
    let records = list(storage, LOG_PREFIX)?;
    let mut view = LogView::default();
    for n in newest_unbroken(records.iter().filter_map(|path| parse_entry_path(path))) {
        let path = entry_path(n);
        let bytes = match read(storage, &path) {
            Ok(bytes) => bytes,
            // A job that runs deletes old records.
            Err(error) if error.kind == StorageErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let entry = parse_entry(&path, &bytes).map_err(|e| LauncherError::Option(format!("{place}: {e}")))?;
        view.apply(n, &entry, &entry.job).map_err(|e| LauncherError::Option(format!("{place}: {e}")))?;
    }
    if view.uid.is_none() {
        let why = "there is no job log; the checkpoint place of one job is needed: PLACE/JOB";
        return Err(LauncherError::Option(format!("{place}: {why}")));
    }
    Ok(view)
}

/// The committers of a job's sinks, if nothing that they would find is still to be shown: a checkpoint may name it.
fn committers_of(job: &CompiledJob, place: &str, view: &LogView) -> Result<Committers, LauncherError> {
    if let Some(other) = view.newest().filter(|snapshot| snapshot.fingerprint != job.graph.fingerprint) {
        let why = format!(
            "the job of this file has another plan than the one that wrote checkpoint {}: its sinks may be others. Name the file \
             and the options that it was run with",
            other.epoch
        );
        return Err(LauncherError::Option(format!("{place}: {why}")));
    }
    if let Some(epoch) = view.uncommitted() {
        let why = format!(
            "output of checkpoint {epoch} is not committed yet, and is no leftover: start the job, which commits it, or name the \
             place without the job to clean up its state only"
        );
        return Err(LauncherError::Option(format!("{place}: {why}")));
    }
    let files: Arc<dyn Storage> = Arc::new(Files::new(std::path::Path::new(""), job.s3.clone()));
    Ok(Committers::new(&job.graph, &ConnectorRegistry::default(), &files)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_job_log_is_refused() {
        let error = collect(CollectFrom::Place("/nowhere/at/all"), true).expect_err("there is nothing").to_string();
        assert!(error.starts_with("/nowhere/at/all: there is no job log; the checkpoint place of one job"), "{error}");
    }
}
