//! Which of the files found belong to a table.

use super::partition::Partitioning;
use crate::options;
use regex::Regex;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;

/// Chooses files by their paths.
pub(super) struct Choice {
    root: String,
    partitioning: Partitioning,
    pattern: Option<Regex>,
}

impl Choice {
    /// What the table declares.
    pub fn of(table: &TableDescriptor, root: String, partitioning: Partitioning) -> Result<Self, DataflowError> {
        const OPTION: &str = "source.path.regex-pattern";
        // The whole path has to match.
        let pattern = table.option(OPTION).map(|text| Regex::new(&format!("^(?:{text})$"))).transpose();
        let pattern =
            pattern.map_err(|error| options::bad(table, OPTION, format!("no regular expression: {error}")))?;
        Ok(Self { root, partitioning, pattern })
    }

    /// The table's file or folder.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A file's path below the table's folder.
    pub fn below<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(&self.root).unwrap_or(path).trim_start_matches('/')
    }

    /// True if the file is to be read: hidden files, and all in hidden folders, are not.
    pub fn takes(&self, path: &str) -> bool {
        let is_hidden = |part: &str| part.starts_with(['.', '_']) && !self.partitioning.is_folder(part);
        let is_shown = path == self.root || !self.below(path).split('/').any(is_hidden);
        is_shown && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(path))
    }
}
