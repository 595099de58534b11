//! Removes what crashes left in a job's checkpoint place; needs no running job, and harms none.

use crate::error::LauncherError;
use crate::system::SystemClock;
use std::fmt::Write;
use streamfleet_coordinator::{DATA_PREFIX, LogView, PROBE_PREFIX, leftovers, newest_unbroken};
use streamfleet_env::{Clock, StorageErrorKind, StorageRequest};
use streamfleet_storage::{LOG_PREFIX, S3Options, ask, entry_path, list, open, parse_entry, parse_entry_path, read};

/// Removes state files, staged uploads and probes that nobody needs; gives a line for each. With `dry_run` it only tells.
///
/// # Errors
/// There is no job log at the place, it cannot be read, or something cannot be removed.
pub fn collect(place: &str, dry_run: bool) -> Result<String, LauncherError> {
    let storage = open(place.trim_end_matches('/'), &S3Options::default());
    let records = list(storage.as_ref(), LOG_PREFIX)?;
    let mut view = LogView::default();
    for n in newest_unbroken(records.iter().filter_map(|path| parse_entry_path(path))) {
        let path = entry_path(n);
        let bytes = match read(storage.as_ref(), &path) {
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
    let mut text = String::new();
    let (w, mut count) = ("a string takes any text", 0);
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
            writeln!(text, "{} {}", request.name(), request.path()).expect(w);
            count += 1;
            if !dry_run {
                ask(storage.as_ref(), request)?;
            }
        }
    }
    let what = if dry_run { "would be removed" } else { "removed" };
    writeln!(text, "{count} {what}").expect(w);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_job_log_is_refused() {
        let error = collect("/nowhere/at/all", true).expect_err("there is nothing").to_string();
        assert!(error.starts_with("/nowhere/at/all: there is no job log; the checkpoint place of one job"), "{error}");
    }
}
