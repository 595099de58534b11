//! Ids, time, key groups, hashing, batches and log records: data only, no I/O.
//!
//! Every other crate may import this one; it imports none of them.

mod batch;
mod element;
pub mod hash;
mod ids;
mod key_group;
pub mod log;
mod outlook;
mod row_kind;
mod time;

pub use batch::{Batch, BatchError};
pub use element::{Barrier, Element};
pub use ids::{Epoch, OperatorId, Run, Term};
pub use key_group::{DEFAULT_MAX_PARALLELISM, HashRange, KeyGroup, key_group, owner_of, subtask_range};
pub use outlook::Outlook;
pub use row_kind::RowKind;
pub use time::{MAX_WATERMARK, MIN_WATERMARK, Millis};
