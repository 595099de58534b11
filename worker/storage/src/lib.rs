//! Object storage: the local folder, and the job log's place in it.

mod job_log;
mod local;

pub use job_log::{LOG_PREFIX, LogError, entry_path, parse_entry, parse_entry_path};
pub use local::LocalFolder;
