//! What is simulated: a compiled job and its input.

use crate::storage::SimStorage;
use std::path::Path;
use streamfleet_launcher::{CompiledJob, JobMode, LauncherError, Overrides, compile_text};

/// A job with its input files.
#[derive(Debug)]
pub struct SimJob {
    /// The job.
    pub job: CompiledJob,
    /// Input files: path and content.
    pub input: Vec<(String, Vec<u8>)>,
    /// The folder that the sinks write below.
    pub output: String,
}

impl SimJob {
    /// Compiles a script for a mode.
    ///
    /// # Errors
    /// The script does not compile.
    pub fn new(
        script: &str,
        mode: JobMode,
        input: Vec<(String, Vec<u8>)>,
        output: &str,
    ) -> Result<Self, LauncherError> {
        let overrides = Overrides { mode: Some(mode), ..Overrides::default() };
        let job = compile_text("simulated", script, Path::new("simulated.sql"), &overrides)?;
        Ok(Self { job, input, output: output.to_owned() })
    }

    /// Storage with the input in place.
    pub(crate) fn storage(&self) -> SimStorage {
        let storage = SimStorage::default();
        for (path, bytes) in &self.input {
            storage.place(path, bytes.clone());
        }
        storage
    }

    /// Every line that the sinks show, sorted: hidden files are not shown.
    pub(crate) fn shown(&self, storage: &SimStorage) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, bytes) in storage.objects(&self.output) {
            let is_hidden = path.split('/').any(|part| part.starts_with('.') || part.starts_with('_'));
            if !is_hidden {
                lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
            }
        }
        lines.sort();
        lines
    }
}
