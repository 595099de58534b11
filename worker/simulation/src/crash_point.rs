//! Where a process died: before or after which step of the log, of a file or of a commit.

use serde_json::Value;
use std::fmt;
use streamfleet_env::StorageRequest;

/// A named place at which a process died.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPoint {
    /// What was being done: `log complete`, `state seal`, `output publish`.
    pub step: String,
    /// The step had its effect, though nobody heard of it.
    pub after: bool,
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.after { "after" } else { "before" }, self.step)
    }
}

impl CrashPoint {
    pub(crate) fn of(request: &StorageRequest, after: bool) -> Self {
        let path = request.path();
        let step = match request {
            StorageRequest::PutNew { bytes, .. } if path.starts_with("job/log/") => format!("log {}", record(bytes)),
            _ => format!("{} {}", place(path), request.name()),
        };
        Self { step, after }
    }
}

fn place(path: &str) -> &'static str {
    match path.split_once('/') {
        Some(("job", rest)) if rest.starts_with("log") => "log",
        Some(("job", rest)) if rest.starts_with("data") => "state",
        Some(("job", _)) => "probe",
        Some(("out", rest)) if rest.contains("/.compaction/") => "small",
        Some(("out", _)) => "output",
        _ => "input",
    }
}

/// What a record of the job log says.
fn record(bytes: &[u8]) -> String {
    let entry: Option<Value> = serde_json::from_slice(bytes).ok();
    let kind = entry.as_ref().and_then(|e| e["record"]["type"].as_str());
    kind.unwrap_or("unreadable").to_owned()
}
