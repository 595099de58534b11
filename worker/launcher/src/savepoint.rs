//! Snapshots by path: a record of the job log that says `complete`.

use crate::error::LauncherError;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use streamfleet_state::file::Reader;
use streamfleet_storage::{LOG_PREFIX, parse_entry};
use streamfleet_types::log::{LogEntry, LogRecord, Snapshot};
use streamfleet_types::{MAX_WATERMARK, MIN_WATERMARK};

fn refused(path: &Path, why: &str) -> LauncherError {
    LauncherError::Option(format!("{}: {why}", path.display()))
}

/// The snapshot of a record, and the folder of the job that wrote it. A job's folder stands for its newest snapshot.
fn load(path: &Path) -> Result<(LogEntry, Snapshot, PathBuf), LauncherError> {
    if path.is_dir() {
        let log = path.join(LOG_PREFIX);
        let read = |source| LauncherError::Read { path: log.display().to_string(), source };
        let mut records: Vec<PathBuf> =
            std::fs::read_dir(&log).map_err(read)?.filter_map(|e| e.ok().map(|e| e.path())).collect();
        records.sort();
        let newest = records.iter().rev().find_map(|record| load(record).ok());
        return newest.ok_or_else(|| refused(path, "the job log there names no complete checkpoint"));
    }
    let bytes =
        std::fs::read(path).map_err(|source| LauncherError::Read { path: path.display().to_string(), source })?;
    let entry = parse_entry(&path.display().to_string(), &bytes).map_err(|e| LauncherError::Option(e.to_string()))?;
    let snapshot = match &entry.record {
        LogRecord::Complete { snapshot } => (**snapshot).clone(),
        LogRecord::Start { base: Some(base), .. } => (**base).clone(),
        _ => return Err(refused(path, "this record of the job log is no complete checkpoint")),
    };
    let folder = path.parent().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned();
    Ok((entry, snapshot, folder))
}

/// The snapshot to start `job` from, whose place is `place`.
///
/// # Errors
/// There is none at the path, or it is another job's.
pub(crate) fn load_for(path: &Path, job: &str, place: &Path) -> Result<Snapshot, LauncherError> {
    let (entry, snapshot, folder) = load(path)?;
    if entry.job != job {
        let why = format!("this is a checkpoint of job {}, not of {job}: a job starts from its own only", entry.job);
        return Err(refused(path, &why));
    }
    let same = |p: &Path| p.canonicalize().ok();
    if same(&folder) != same(place) {
        let why = format!("it lies outside of the job's checkpoint place {}", place.display());
        return Err(refused(path, &why));
    }
    if is_retired(&folder, &snapshot)? {
        return Err(refused(path, "this checkpoint was retired: files that it needs may have been deleted"));
    }
    Ok(snapshot)
}

/// True if the job log says that the snapshot may be deleted.
fn is_retired(folder: &Path, snapshot: &Snapshot) -> Result<bool, LauncherError> {
    let log = folder.join(LOG_PREFIX);
    let read = |source| LauncherError::Read { path: log.display().to_string(), source };
    for record in std::fs::read_dir(&log).map_err(read)? {
        let path = record.map_err(read)?.path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let entry = parse_entry(&path.display().to_string(), &bytes);
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
pub fn inspect(path: &Path) -> Result<String, LauncherError> {
    let (entry, snapshot, folder) = load(path)?;
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
        let full = folder.join(&file.path);
        let bytes =
            std::fs::read(&full).map_err(|source| LauncherError::Read { path: full.display().to_string(), source })?;
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
