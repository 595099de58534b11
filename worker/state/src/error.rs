//! What can go wrong with state.

use arrow::error::ArrowError;

/// Why state cannot be kept, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A column of this type cannot be kept in a state table.
    #[error("state table {table}: a column of type {data_type} cannot be kept in state")]
    UnsupportedType {
        /// The table.
        table: String,
        /// The type.
        data_type: String,
    },
    /// A file is not what it should be.
    #[error("snapshot file {path} is damaged: {detail}")]
    Damaged {
        /// Its path.
        path: String,
        /// What is wrong, with the offset.
        detail: String,
    },
    /// A file was written by a newer version.
    #[error("snapshot file {path} has format version {found}; this build reads up to {known}")]
    NewerVersion {
        /// Its path.
        path: String,
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The file's table does not fit the operator's.
    #[error("state table {table}: the snapshot has {found}, the job needs {needed}")]
    SchemaMismatch {
        /// The table.
        table: String,
        /// The columns in the snapshot.
        found: String,
        /// The columns that the job needs.
        needed: String,
    },
    /// Arrow refused.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}
