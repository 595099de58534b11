//! Object storage: S3, the local folder, and the job log's place in them.

mod blocking;
#[cfg(feature = "conformance")]
pub mod conformance;
mod job_log;
mod local;
mod routing;
mod s3;

pub use blocking::{ask, list, read};
pub use job_log::{LOG_PREFIX, LogError, entry_path, parse_entry, parse_entry_path};
pub use local::LocalFolder;
pub use routing::{Files, open};
pub use s3::{Checksum, Encryption, S3Options, S3Place, S3Storage};
