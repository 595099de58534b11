//! What a user writes: the StreamJob manifest as serde types. Knows no Kubernetes client.

mod error;
mod job;
mod nearest;
mod sql_place;
mod units;

pub use error::ManifestError;
pub use job::{
    ConfigMapKeyRef, Coordinator, Credentials, Job, JobMode, JobState, Manifest, Metadata, Program, SavepointSchedule,
    ScheduledRetention, SecretRef, Snapshots, Spec, SqlFrom, State, StateBackend, UpgradeMode, Worker, WorkerStorage,
};
pub use nearest::nearest;
pub use sql_place::SqlPlace;
pub use units::{ByteSize, HumanDuration, UnitError, parse_duration, parse_size};
