//! The StreamJob manifest, `streamfleet.io/v1alpha1`.

use crate::{ByteSize, HumanDuration, ManifestError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The only API version that this build knows.
pub const API_VERSION: &str = "streamfleet.io/v1alpha1";

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
const DEFAULT_RETAIN: usize = 3;
const MOST_KEY_GROUPS: u32 = 32_768;

/// A StreamJob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// `streamfleet.io/v1alpha1`.
    pub api_version: String,
    /// `StreamJob`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
}

/// Name and labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The job's name: a DNS label.
    pub name: String,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Kubernetes labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Kubernetes annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The job itself.
    pub job: Job,
    /// Checkpoints and savepoints.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// Where state lives while the job runs.
    #[serde(default)]
    pub state: State,
    /// Container image.
    pub image: Option<String>,
    /// The coordinator's pods.
    #[serde(default)]
    pub coordinator: Coordinator,
    /// The workers' pods.
    #[serde(default)]
    pub worker: Worker,
}

/// The job itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// Flink SQL.
    pub sql: Option<String>,
    /// Flink SQL from elsewhere.
    pub sql_from: Option<SqlFrom>,
    /// The user's own dataflow, in the image.
    pub program: Option<Program>,
    /// Streaming or batch.
    pub mode: Option<JobMode>,
    /// Number of slots.
    pub parallelism: Option<u32>,
    /// Number of key groups.
    pub max_parallelism: Option<u32>,
    /// Running or suspended.
    pub state: Option<JobState>,
    /// How a changed spec takes over.
    pub upgrade_mode: Option<UpgradeMode>,
    /// Where the first start begins.
    pub from_savepoint: Option<String>,
    /// Flink's options.
    #[serde(default)]
    pub config: BTreeMap<String, serde_yaml::Value>,
}

/// Flink SQL from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlFrom {
    /// A file beside the manifest.
    pub file: Option<String>,
    /// A key of a ConfigMap.
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// A key of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// The ConfigMap.
    pub name: String,
    /// The key.
    pub key: String,
}

/// The user's own dataflow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
}

/// Streaming or batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobMode {
    /// Results as rows come.
    Streaming,
    /// Final results of bounded input.
    Batch,
}

impl JobMode {
    /// Its name in manifests and settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Batch => "batch",
        }
    }
}

/// Running or suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It should run.
    Running,
    /// It should stop with a savepoint.
    Suspended,
}

/// How a changed spec takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeMode {
    /// From a savepoint.
    Savepoint,
    /// From the newest checkpoint.
    LastState,
    /// From nothing.
    Stateless,
}

/// Checkpoints and savepoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshots {
    /// A folder or bucket.
    pub location: Option<String>,
    /// Credentials for it.
    pub credentials: Option<Credentials>,
    /// Time between checkpoints.
    pub interval: Option<HumanDuration>,
    /// A checkpoint that takes longer is given up.
    pub timeout: Option<HumanDuration>,
    /// Checkpoints kept.
    pub retain: Option<usize>,
    /// Savepoints by schedule.
    pub savepoints: Option<SavepointSchedule>,
}

impl Snapshots {
    /// Time between checkpoints, by default ten seconds.
    pub fn interval(&self) -> Duration {
        self.interval.as_ref().map_or(DEFAULT_INTERVAL, |d| d.value)
    }

    /// How long a checkpoint may take, by default ten minutes.
    pub fn timeout(&self) -> Duration {
        self.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |d| d.value)
    }

    /// Checkpoints kept, by default three.
    pub fn retain(&self) -> usize {
        self.retain.unwrap_or(DEFAULT_RETAIN)
    }
}

/// Credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// A Secret.
    pub secret_ref: SecretRef,
}

/// A Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    pub name: String,
}

/// Savepoints by schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SavepointSchedule {
    /// A cron expression.
    pub schedule: String,
    /// Which are kept.
    pub retain: Option<ScheduledRetention>,
}

/// Which savepoints are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduledRetention {
    /// At most so many.
    pub count: Option<usize>,
    /// At most so old.
    pub age: Option<HumanDuration>,
}

/// Where state lives while the job runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// The backend.
    pub backend: Option<StateBackend>,
    /// The most memory for state, per worker.
    pub memory_limit: Option<ByteSize>,
}

/// The backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateBackend {
    /// In memory.
    Memory,
    /// In memory, with local images for fast recovery.
    Filesystem,
    /// On disk.
    Rocksdb,
}

impl std::fmt::Display for StateBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Filesystem => "filesystem",
            Self::Rocksdb => "rocksdb",
        })
    }
}

/// The coordinator's pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coordinator {
    /// How many.
    pub replicas: Option<u32>,
    /// Kubernetes resources.
    pub resources: Option<serde_yaml::Value>,
    /// Overlay of the pod.
    pub pod_template: Option<serde_yaml::Value>,
}

/// The workers' pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Worker {
    /// How many.
    pub replicas: Option<u32>,
    /// Slots in each.
    pub slots: Option<u32>,
    /// Local disk.
    pub storage: Option<WorkerStorage>,
    /// Kubernetes resources.
    pub resources: Option<serde_yaml::Value>,
    /// Overlay of the pod.
    pub pod_template: Option<serde_yaml::Value>,
}

/// Local disk of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerStorage {
    /// How much.
    pub size: Option<ByteSize>,
}

impl Job {
    /// `config` with every value as text.
    pub fn config_as_text(&self) -> BTreeMap<String, String> {
        let text = |value: &serde_yaml::Value| match value {
            serde_yaml::Value::String(text) => text.clone(),
            serde_yaml::Value::Bool(b) => b.to_string(),
            serde_yaml::Value::Number(n) => n.to_string(),
            _ => String::new(),
        };
        self.config.iter().map(|(key, value)| (key.clone(), text(value))).collect()
    }
}

impl Manifest {
    /// Parses and checks a manifest; `origin` names it in errors.
    ///
    /// # Errors
    /// Anything that is wrong with it, with its place.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_yaml::from_str(text).map_err(|e| ManifestError::from_yaml(origin, &e))?;
        match manifest.problem() {
            None => Ok(manifest),
            Some((field, message)) => {
                let (line, column) = Self::place_of(text, field);
                Err(ManifestError { origin: origin.to_owned(), line, column, message })
            }
        }
    }

    /// Line and column, from 1, where a field is first written in a manifest's text; 1 and 1 if it is not.
    pub fn place_of(text: &str, field: &str) -> (usize, usize) {
        for (index, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start_matches([' ', '-', '{']).len();
            let is_field =
                |rest: &str| rest.strip_prefix(field).is_some_and(|after| after.trim_start().starts_with(':'));
            if is_field(&line[indent..]) {
                return (index + 1, indent + 1);
            }
            if let Some((at, _)) = line.match_indices(field).find(|(at, _)| {
                is_field(&line[*at..]) && !line[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '-')
            }) {
                return (index + 1, at + 1);
            }
        }
        (1, 1)
    }

    /// The manifest of a bare SQL script.
    pub fn for_script(name: &str) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "StreamJob".to_owned(),
            metadata: Metadata { name: name.to_owned(), ..Metadata::default() },
            spec: Spec::default(),
        }
    }

    /// What is wrong, with the field that it is about.
    fn problem(&self) -> Option<(&'static str, String)> {
        let job = &self.spec.job;
        let sources = [job.sql.is_some(), job.sql_from.is_some(), job.program.is_some()];
        let name = &self.metadata.name;
        let is_label = !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        let most = job.max_parallelism.unwrap_or(MOST_KEY_GROUPS);
        let nested = job.config.iter().find(|(_, v)| v.is_mapping() || v.is_sequence());
        if self.api_version != API_VERSION {
            return Some((
                "apiVersion",
                format!("apiVersion is `{}`: this build knows `{API_VERSION}`", self.api_version),
            ));
        }
        if self.kind != "StreamJob" {
            return Some(("kind", format!("kind is `{}`: expected `StreamJob`", self.kind)));
        }
        if !is_label {
            let message = format!("metadata.name is `{name}`: use lower-case letters, digits and `-`, at most 63");
            return Some(("name", message));
        }
        if sources.iter().filter(|s| **s).count() != 1 {
            return Some(("job", "spec.job needs exactly one of sql, sqlFrom and program".to_owned()));
        }
        if most == 0 || most > MOST_KEY_GROUPS {
            return Some((
                "maxParallelism",
                format!("maxParallelism is {most}: it must be from 1 to {MOST_KEY_GROUPS}"),
            ));
        }
        if let Some(parallelism) = job.parallelism.filter(|p| *p == 0 || *p > most) {
            let message = format!("parallelism is {parallelism}: it must be from 1 to maxParallelism, {most}");
            return Some(("parallelism", message));
        }
        if let Some((key, _)) = nested {
            return Some(("config", format!("config.{key} must be a single value")));
        }
        if self.spec.snapshots.retain == Some(0) {
            return Some(("retain", "snapshots.retain is 0: keep at least one checkpoint".to_owned()));
        }
        None
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
