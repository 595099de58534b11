//! The job's master: starts, snapshots, recovers and ends a job.
//!
//! [`Coordinator::step`] is a pure state machine: events in, actions out, no I/O and no clock of its own. Its driver (a
//! thread in production, the simulator under a seed) carries the actions out and brings their results back as events.
//!
//! # Flow
//! probe the store, read the job log, append `Start` and `Claim`, commit what the base snapshot left open, deploy the slots;
//! then snapshot after snapshot: trigger, gather, append `Complete`, commit, append `Committed`, retire old ones; at last
//! append `End`.

mod append;
mod backoff;
mod chain;
mod commits;
mod config;
mod coordinator;
mod first_rows;
mod last_snapshot;
mod leftovers;
mod log_view;
mod message;
mod settling;
mod startup;
mod stats;
mod watermark_groups;

pub use config::{CoordinatorConfig, StartFrom};
pub use coordinator::Coordinator;
pub use leftovers::{DATA_PREFIX, PROBE_PREFIX, leftovers};
pub use log_view::{LogView, ViewError};
pub use message::{Action, CoordinatorError, Ending, Event};
pub use startup::newest_unbroken;
pub use stats::{CHECKPOINT_METRICS, CheckpointStats};
