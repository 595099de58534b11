//! `run --report FILE`: what a run did and took, as JSON.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;
use streamfleet_launcher::{CompiledJob, LauncherError, RunCounts, Usage};

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunReport {
    pub job: String,
    pub parallelism: u32,
    /// From the reading of the job to its end, seconds.
    pub seconds: f64,
    #[serde(flatten)]
    pub usage: Usage,
    #[serde(flatten)]
    pub counts: RunCounts,
}

impl RunReport {
    pub fn new(job: &CompiledJob, began: Instant, counts: RunCounts) -> Self {
        Self {
            job: job.name.clone(),
            parallelism: job.parallelism,
            seconds: began.elapsed().as_secs_f64(),
            usage: Usage::of_this_process(),
            counts,
        }
    }

    pub fn write(&self, path: &Path) -> Result<(), LauncherError> {
        let mut text = serde_json::to_string_pretty(self).expect("numbers and names are JSON");
        text.push('\n');
        std::fs::write(path, text).map_err(|source| LauncherError::Write { path: path.display().to_string(), source })
    }

    pub fn read(path: &Path) -> Result<Self, LauncherError> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| LauncherError::Read { path: name(), source })?;
        serde_json::from_str(&text).map_err(|e| LauncherError::Option(format!("{}: {e}", name())))
    }
}
