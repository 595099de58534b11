//! Where the records of a job log lie and how they read: `log/<n>`, twenty digits, one JSON object each.

use streamfleet_types::log::{LOG_VERSION, LogEntry};

/// The folder of the log, below the job's place.
pub const LOG_PREFIX: &str = "log/";

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The record is no JSON object of the known form.
    #[error("job log record {path} is damaged: {detail}")]
    Damaged {
        /// Its path.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// The record was written by a newer build.
    #[error(
        "job log record {path} has version {found}; this build reads up to {LOG_VERSION}: use the build that wrote it"
    )]
    NewerVersion {
        /// Its path.
        path: String,
        /// Its version.
        found: u32,
    },
}

/// The path of record `n`.
pub fn entry_path(n: u64) -> String {
    format!("{LOG_PREFIX}{n:020}")
}

/// The number of the record at a path, if it is one's.
pub fn parse_entry_path(path: &str) -> Option<u64> {
    let digits = path.strip_prefix(LOG_PREFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Reads a record.
///
/// # Errors
/// It is damaged or of a newer version.
pub fn parse_entry(path: &str, bytes: &[u8]) -> Result<LogEntry, LogError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |e: serde_json::Error| LogError::Damaged { path: path.to_owned(), detail: e.to_string() };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version > LOG_VERSION {
        return Err(LogError::NewerVersion { path: path.to_owned(), found: version });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
#[path = "job_log_tests.rs"]
mod tests;
