//! Snapshots by path: a record of the job log that says `complete`.

use crate::compile::CompiledJob;
use crate::error::LauncherError;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use streamfleet_env::Storage;
use streamfleet_state::file::Reader;
use streamfleet_storage::{LOG_PREFIX, S3Options, S3Place, list, open, parse_entry, parse_entry_path, read};
use streamfleet_types::log::{LogEntry, LogRecord, Snapshot};
use streamfleet_types::{MAX_WATERMARK, MIN_WATERMARK};

pub(crate) fn refused(path: &str, why: &str) -> LauncherError {
    LauncherError::Option(format!("{path}: {why}"))
}

/// A snapshot that was found, with what it lies in.
pub(crate) struct Found {
    /// The record.
    pub entry: LogEntry,
    /// What it says.
    pub snapshot: Snapshot,
    /// The place of the job that wrote it.
    pub place: String,
    /// The same, opened.
    pub storage: Arc<dyn Storage>,
}

/// A snapshot to start a job from.
pub(crate) enum Base {
    /// The job's own.
    Own(Snapshot),
    /// Another job's: its state is to be copied first.
    Foreign(Box<Found>),
}

/// Takes the path of a record apart: the job's place and the record's path in it. `None` for anything but a record's path.
fn split(path: &str) -> Option<(String, String)> {
    let (folder, number) = path.rsplit_once('/').unwrap_or((".", path));
    let record = format!("{LOG_PREFIX}{number}");
    parse_entry_path(&record)?;
    let place = match folder {
        "." => "..".to_owned(),
        "log" => ".".to_owned(),
        folder => folder.strip_suffix("/log")?.to_owned(),
    };
    Some((place, record))
}

/// Finds the snapshot of a record. A job's place stands for its newest snapshot.
fn load(path: &str, s3: &S3Options) -> Result<Found, LauncherError> {
    let path = path.trim_end_matches('/');
    let Some((place, record)) = split(path) else {
        let storage = open(path, s3);
        let records = list(storage.as_ref(), LOG_PREFIX)?;
        let newest = records.iter().rev().find_map(|record| load_record(&storage, path, record).ok());
        return newest.ok_or_else(|| {
            refused(
                path,
                "there is no job log with a complete checkpoint; a job's place or a record of its log is needed",
            )
        });
    };
    load_record(&open(&place, s3), &place, &record)
}

fn load_record(storage: &Arc<dyn Storage>, place: &str, record: &str) -> Result<Found, LauncherError> {
    let bytes = read(storage.as_ref(), record)?;
    let path = format!("{place}/{record}");
    let entry = parse_entry(&path, &bytes).map_err(|e| LauncherError::Option(e.to_string()))?;
    let snapshot = match &entry.record {
        LogRecord::Complete { snapshot } => (**snapshot).clone(),
        LogRecord::Start { base: Some(base), .. } => (**base).clone(),
        _ => return Err(refused(&path, "this record of the job log is no complete checkpoint")),
    };
    Ok(Found { entry, snapshot, place: place.to_owned(), storage: Arc::clone(storage) })
}

/// The snapshot to start a job from, whose place is `place`.
///
/// # Errors
/// There is none at the path, or it may have been deleted in part.
pub(crate) fn load_for(path: &str, job: &CompiledJob, place: &str) -> Result<Base, LauncherError> {
    let found = load(path, &job.s3)?;
    if is_retired(found.storage.as_ref(), &found.snapshot)? {
        return Err(refused(path, "this checkpoint was retired: files that it needs may have been deleted"));
    }
    let is_own = found.entry.job == job.name && is_same_place(&found.place, place);
    Ok(if is_own { Base::Own(found.snapshot) } else { Base::Foreign(Box::new(found)) })
}

fn is_same_place(one: &str, other: &str) -> bool {
    match (S3Place::parse(one), S3Place::parse(other)) {
        (None, None) => Path::new(one).canonicalize().ok() == Path::new(other).canonicalize().ok(),
        (one, other) => one == other,
    }
}

/// True if the job log says that the snapshot may be deleted.
fn is_retired(storage: &dyn Storage, snapshot: &Snapshot) -> Result<bool, LauncherError> {
    for record in list(storage, LOG_PREFIX)? {
        // Records go away while a job runs.
        let Ok(bytes) = read(storage, &record) else { continue };
        let entry = parse_entry(&record, &bytes);
        if entry.is_ok_and(|e| matches!(e.record, LogRecord::Retire { epoch } if epoch == snapshot.epoch)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a snapshot consists of, for people.
///
/// # Errors
/// There is none at the path.
pub fn inspect(path: &str) -> Result<String, LauncherError> {
    let Found { entry, snapshot, storage, .. } = load(path, &S3Options::default())?;
    let mut text = String::new();
    let w = "a string takes any text";
    writeln!(text, "job          {} (uid {}, run {}, term {})", entry.job, entry.uid, entry.run, entry.term).expect(w);
    writeln!(text, "checkpoint   {}", snapshot.epoch).expect(w);
    writeln!(text, "parallelism  {} of {}", snapshot.parallelism, snapshot.max_parallelism).expect(w);
    writeln!(text, "fingerprint  {}", snapshot.fingerprint).expect(w);
    let bytes: u64 = snapshot.files.iter().map(|f| f.bytes).sum();
    writeln!(text, "state        {} files, {bytes} bytes", snapshot.files.len()).expect(w);
    for file in &snapshot.files {
        writeln!(text, "  {}  epoch {}, {} rows, {} bytes", file.path, file.epoch, file.rows, file.bytes).expect(w);
        let bytes = read(storage.as_ref(), &file.path)?;
        let reader = Reader::open(&file.path, bytes).map_err(|e| LauncherError::Option(e.to_string()))?;
        for table in reader.tables() {
            writeln!(text, "    {} {}: {} rows", table.operator, table.table, table.rows).expect(w);
        }
    }
    writeln!(text, "positions").expect(w);
    for p in &snapshot.positions {
        let end = if p.finished { ", finished" } else { "" };
        writeln!(text, "  {} {}: {}{end}", p.operator, p.split, p.position).expect(w);
    }
    writeln!(text, "transactions {}", snapshot.transactions.len()).expect(w);
    writeln!(text, "watermarks").expect(w);
    for o in &snapshot.watermarks {
        let watermark = match o.watermark {
            MIN_WATERMARK => "none yet".to_owned(),
            MAX_WATERMARK => "end of input".to_owned(),
            ms => format!("{ms} ms"),
        };
        writeln!(text, "  {} {watermark}", o.operator).expect(w);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_path_is_taken_apart() {
        let number = "00000000000000000007";
        let place = |place: &str| Some((place.to_owned(), format!("log/{number}")));
        assert_eq!(split(&format!("s3://bucket/folder/job/log/{number}")), place("s3://bucket/folder/job"));
        assert_eq!(split(&format!("/a/job/log/{number}")), place("/a/job"));
        assert_eq!(split(&format!("log/{number}")), place("."));
        assert_eq!(split(number), place(".."));
        for other in ["s3://bucket/job", "checkpoints/job", "checkpoints/job/log/7", "elsewhere/00000000000000000007"] {
            assert_eq!(split(other), None, "{other}");
        }
    }

    #[test]
    fn a_place_without_a_checkpoint_is_refused() {
        let error = inspect("/nowhere/at/all").expect_err("there is nothing").to_string();
        assert!(error.starts_with("/nowhere/at/all: there is no job log with a complete checkpoint"), "{error}");
    }
}
