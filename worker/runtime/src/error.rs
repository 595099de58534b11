//! What ends a slot.

use streamfleet_dataflow::DataflowError;
use streamfleet_env::{StorageError, StorageErrorKind};
use streamfleet_state::StateError;
use streamfleet_types::Outlook;

/// Why a slot cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// An operator, source or sink failed.
    #[error("{}{source}", before(.task, .source))]
    Task {
        /// The task's place in the job.
        task: String,
        /// What it said.
        source: DataflowError,
    },
    /// A file of the snapshot to begin from cannot be read.
    #[error("cannot restore from {path}: {source}")]
    RestoreRead {
        /// Its path.
        path: String,
        /// What storage said.
        source: StorageError,
    },
    /// A file of the snapshot to begin from is not usable.
    #[error("cannot restore from {path}: {source}")]
    RestoreState {
        /// Its path.
        path: String,
        /// What is wrong with it.
        source: StateError,
    },
}

impl RuntimeError {
    /// True if the slot failed before any row flowed, over the snapshot's own files.
    pub const fn in_restore(&self) -> bool {
        matches!(self, Self::RestoreRead { .. } | Self::RestoreState { .. })
    }

    /// What another run may expect.
    pub const fn outlook(&self) -> Outlook {
        match self {
            Self::Task { source, .. } => source.outlook(),
            Self::RestoreRead { source, .. } => match source.kind {
                // The next run begins from the same snapshot.
                StorageErrorKind::NotFound | StorageErrorKind::Broken => Outlook::Lasts,
                _ => source.outlook(),
            },
            Self::RestoreState { .. } => Outlook::Lasts,
        }
    }

    /// The file that is not usable, if it is about one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::RestoreRead { path, .. } | Self::RestoreState { path, .. } => Some(path),
            Self::Task { .. } => None,
        }
    }
}

/// What stands before the error of a task: its place, unless the error begins with it.
fn before(task: &str, source: &DataflowError) -> String {
    if source.operator() == Some(task) { String::new() } else { format!("{task}: ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_once() {
        let place = "calc from table t into table o";
        let failed = |source| RuntimeError::Task { task: place.to_owned(), source }.to_string();
        let own = DataflowError::Overflow { operator: place.to_owned(), detail: "too much".to_owned() };
        assert_eq!(failed(own), format!("{place}: too much"));
        let table = DataflowError::External { place: "table o".to_owned(), detail: "gone".to_owned() };
        assert_eq!(failed(table), format!("{place}: table o: gone"));
    }
}
