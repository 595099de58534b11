//! Small files are merged before they show.
//!
//! With `'auto-compaction' = 'true'` a part is sealed in a hidden folder instead of being prepared under its name. The committer has the
//! parts of all subtasks together: it merges those of a partition and a barrier into files of the target's size, shows these, and removes
//! what they were made from.
//!
//! # Laws
//! - From which files a merged one is made, and its name, follow from the handles alone: who commits them again makes the same.
//! - A merged file shows whole, and before the first of the files that it was made from is removed.

use crate::options;
use serde::{Deserialize, Serialize};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;
use streamfleet_types::Epoch;

/// Below the table's folder: where small files lie. Readers pass by hidden folders.
pub(super) const FOLDER: &str = ".compaction";

/// How a table's small files are merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compaction {
    target: u64,
}

impl Compaction {
    /// What the table declares; `None` if files show as they were written. `rolling_bytes`: when a part is followed by another.
    pub fn of(table: &TableDescriptor, rolling_bytes: u64) -> Result<Option<Self>, DataflowError> {
        let target = options::memory_size(table, "compaction.file-size")?.unwrap_or(rolling_bytes);
        let is_enabled = options::boolean(table, "auto-compaction", false)?;
        if target == 0 {
            return Err(options::bad(table, "compaction.file-size", "nothing would be merged: a size is needed"));
        }
        if !is_enabled && table.option("compaction.file-size").is_some() {
            options::warn_once(table, "'compaction.file-size' has no effect without 'auto-compaction' = 'true'");
        }
        Ok(is_enabled.then_some(Self { target }))
    }

    /// The handle of a file that a barrier ended. `place`: where it lies, hidden; `path`: where it would show alone.
    pub fn handle(self, place: &str, path: &str, bytes: u64, epoch: Epoch) -> serde_json::Value {
        let (small, path) = (place.to_owned(), path.to_owned());
        serde_json::json!(SmallFile { small, path, bytes, barrier: epoch.0, target: self.target })
    }
}

/// A file that is to be merged with others, and to show: as a handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SmallFile {
    /// Where it lies.
    pub small: String,
    /// Where its rows show if they are the first of a merged file.
    pub path: String,
    pub bytes: u64,
    /// The barrier that ended it: a snapshot that lists one file of a barrier lists those of all subtasks.
    barrier: u64,
    /// How large a merged file gets. The table's option may be another when the handle is committed again.
    target: u64,
}

impl SmallFile {
    /// Its partition's, with the table's.
    fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// The files of each merged file, in order. The first one gives it its name.
pub(super) fn merges(mut small: Vec<SmallFile>) -> Vec<Vec<SmallFile>> {
    small.sort_by(|a, b| (a.folder(), a.barrier, &a.path).cmp(&(b.folder(), b.barrier, &b.path)));
    let mut merges: Vec<Vec<SmallFile>> = Vec::new();
    let mut bytes = 0;
    for file in small {
        bytes += file.bytes;
        let belongs = |first: &SmallFile| first.folder() == file.folder() && first.barrier == file.barrier;
        match merges.last_mut() {
            Some(files) if belongs(&files[0]) && bytes <= files[0].target => files.push(file),
            _ => {
                bytes = file.bytes;
                merges.push(vec![file]);
            }
        }
    }
    merges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(path: &str, bytes: u64, barrier: u64) -> SmallFile {
        SmallFile { small: format!("hidden {path}"), path: path.to_owned(), bytes, barrier, target: 100 }
    }

    #[test]
    fn files_of_one_partition_and_barrier_are_merged_up_to_the_target() {
        let mut all = vec![
            small("t/a/1", 40, 1),
            small("t/a/2", 60, 1),
            small("t/a/3", 1, 1),
            small("t/a/4", 500, 1),
            small("t/a/5", 1, 1),
            small("t/a/6", 1, 2),
            small("t/ab/0", 1, 1),
            small("t/b/1", 1, 2),
            small("t/b/2", 1, 2),
            small("t/b/0", 1, 3),
            // Of two subtasks, of which one has written more files.
            small("t/c/0-7", 1, 2),
            small("t/c/1-3", 1, 1),
            small("t/c/1-4", 1, 2),
            small("t/c/0-6", 1, 1),
        ];
        let names = |all: &[SmallFile]| {
            let paths = |files: Vec<SmallFile>| files.into_iter().map(|f| f.path).collect::<Vec<_>>().join(" ");
            merges(all.to_vec()).into_iter().map(paths).collect::<Vec<_>>()
        };
        let expected = [
            "t/a/1 t/a/2",
            "t/a/3",
            "t/a/4",
            "t/a/5",
            "t/a/6",
            "t/ab/0",
            "t/b/1 t/b/2",
            "t/b/0",
            "t/c/0-6 t/c/1-3",
            "t/c/0-7 t/c/1-4",
        ];
        assert_eq!(names(&all), expected);
        // In whatever order the subtasks' handles are listed, and whatever else is.
        all.reverse();
        assert_eq!(names(&all), expected);
        all.retain(|file| file.barrier != 1);
        assert_eq!(names(&all), ["t/a/6", "t/b/1 t/b/2", "t/b/0", "t/c/0-7 t/c/1-4"]);
    }
}
