//! Runs slots: a slot is one thread that runs one slice of the whole job.
//!
//! [`deploy`] turns a job graph into slots joined by queues. A slot is driven by [`Slot::step`] — by a thread in production,
//! by the simulator under a seed — and never waits: everything slow is asked of the [`RuntimeEnv`] and comes back through
//! the slot's mailbox.

mod awaited;
mod deploy;
mod environment;
mod error;
mod mailbox;
mod metrics;
mod restore;
mod slot;
mod snapshots;
mod task;
mod thread;
mod upload;

pub use deploy::{Deployment, JobSettings, deploy, state_tables};
pub use environment::{Connectors, RuntimeEnv};
pub use error::RuntimeError;
pub use mailbox::{SlotHandle, SlotMessage};
pub use metrics::{PARTITION_METRICS, SLOT_METRICS, SlotMetrics, TASK_METRICS, TaskMetrics};
pub use slot::{Slot, Step};
pub use thread::run_slot;
