//! Object storage: the local folder, and the job log's place in it.

mod job_log;
mod local;

pub use job_log::{LogError, entry_path, parse_entry, parse_entry_path, LOG_PREFIX};
pub use local::LocalFolder;
