//! Snapshot decisions without I/O: what a snapshot is made of, when it is complete, what may be deleted.

mod assembly;
mod protocol;
mod retention;

pub use assembly::{Assembly, JobShape};
pub use protocol::{FirstRows, SlotCommand, SlotFailure, SlotReport};
pub use retention::{Retention, unreferenced_files};
