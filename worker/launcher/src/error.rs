//! Why a job cannot be run, and the exit code that says so.

use streamfleet_coordinator::CoordinatorError;
use streamfleet_dataflow::DataflowError;
use streamfleet_env::StorageError;
use streamfleet_manifest::ManifestError;
use streamfleet_plan::PlanError;
use streamfleet_runtime::RuntimeError;
use streamfleet_sql::SqlError;
use streamfleet_types::Outlook;

/// Why a job cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file that a manifest names for its SQL cannot be read.
    #[error(
        "{manifest}: spec.job.sqlFrom.file: cannot read {path}: {source}; the path is relative to the manifest's folder"
    )]
    SqlFile {
        /// The manifest.
        manifest: String,
        /// The file's path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The SQL is wrong.
    #[error("{origin}: {source}")]
    Sql {
        /// The file.
        origin: String,
        /// What is wrong.
        source: Box<SqlError>,
    },
    /// The plan is no job.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A connector refuses its table.
    #[error(transparent)]
    Connector(#[from] DataflowError),
    /// An option of the command line or the manifest is not usable.
    #[error("{0}")]
    Option(String),
    /// The address for metrics cannot be bound.
    #[error("cannot serve metrics at {address}: {source}")]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Storage fails what is asked of it before a job runs.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What a job left at a sink cannot be removed, or not be looked for.
    #[error("{0}")]
    Collect(String),
    /// The slots cannot be made.
    #[error(transparent)]
    Deploy(#[from] RuntimeError),
    /// The job failed.
    #[error(transparent)]
    Job(#[from] CoordinatorError),
}

impl LauncherError {
    /// True if what the user gave is wrong (exit code 2), false if the job failed (exit code 1).
    pub const fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Deploy(_) | Self::Job(_) | Self::Collect(_))
    }

    /// True if another run of the job goes on instead.
    pub const fn is_overtaken(&self) -> bool {
        matches!(self, Self::Job(CoordinatorError::Fenced { .. } | CoordinatorError::FencedLongAgo))
    }

    /// What another run may expect.
    pub const fn outlook(&self) -> Outlook {
        match self {
            Self::Job(error) => error.outlook(),
            Self::Deploy(error) => error.outlook(),
            Self::Storage(error) => error.outlook(),
            _ => Outlook::Lasts,
        }
    }
}
