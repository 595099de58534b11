//! What is simulated: a compiled job and its input.

use crate::kafka::{SimKafka, shown_by_key};
use crate::storage::SimStorage;
use std::path::Path;
use std::time::Duration;
use streamfleet_launcher::{CompiledJob, JobMode, LauncherError, Overrides, compile_text};

/// A topic that is there before the job.
#[derive(Debug, Clone)]
pub struct SimTopic {
    /// Its name.
    pub name: String,
    /// Number of its partitions.
    pub partitions: i32,
    /// What is in it.
    pub records: Vec<SimRecord>,
    /// Of the records of a key only the last counts, and none if that has no value.
    pub is_compacted: bool,
}

/// A record of a topic.
#[derive(Debug, Clone)]
pub struct SimRecord {
    /// Where it lies.
    pub partition: i32,
    /// Its value.
    pub value: String,
    /// Its transaction was aborted: readers of committed records do not see it.
    pub is_aborted: bool,
}

/// A job with its input files and topics.
#[derive(Debug)]
pub struct SimJob {
    /// The job.
    pub job: CompiledJob,
    /// Input files: path and content.
    pub input: Vec<(String, Vec<u8>)>,
    /// The folder that the sinks write below.
    pub output: String,
    /// Topics; those without records are written by the job.
    pub topics: Vec<SimTopic>,
    /// Time from one checkpoint to the next.
    pub interval: Duration,
}

/// Between files.
const INTERVAL: Duration = Duration::from_millis(40);

/// Between topics a run takes less time, and commits are to lag behind.
const TOPICS_INTERVAL: Duration = Duration::from_millis(5);

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
        Ok(Self { job, input, output: output.to_owned(), topics: Vec::new(), interval: INTERVAL })
    }

    /// The same with topics.
    #[must_use]
    pub fn with_topics(self, topics: Vec<SimTopic>) -> Self {
        Self { topics, interval: TOPICS_INTERVAL, ..self }
    }

    /// Brokers with the topics in place.
    pub(crate) fn kafka(&self) -> SimKafka {
        let kafka = SimKafka::default();
        self.topics.iter().for_each(|topic| kafka.place(topic));
        kafka
    }

    /// Storage with the input in place.
    pub(crate) fn storage(&self) -> SimStorage {
        let storage = SimStorage::default();
        for (path, bytes) in &self.input {
            storage.place(path, bytes.clone());
        }
        storage
    }

    /// Every line that the sinks show, sorted: hidden files are not shown. Of partitions, which were said to be complete, and what
    /// came after that. Of topics, for every key its values in order, or
    /// the last one.
    pub(crate) fn shown(&self, storage: &SimStorage, kafka: &SimKafka) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, bytes) in storage.objects(&self.output) {
            if path.ends_with("/_SUCCESS") {
                lines.push(path);
                continue;
            }
            let is_hidden = path.split('/').any(|part| part.starts_with('.') || part.starts_with('_'));
            if !is_hidden {
                lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
            }
        }
        lines.extend(storage.late().into_iter().map(|path| format!("{path} came too late")));
        for topic in self.topics.iter().filter(|topic| topic.records.is_empty()) {
            lines.extend(shown_by_key(kafka, &topic.name, topic.is_compacted));
        }
        lines.sort();
        lines
    }
}
