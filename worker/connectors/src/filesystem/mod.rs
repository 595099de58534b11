//! Files as tables: read one after another, written exactly once.

mod dead_letters;
mod listing;
mod mailbox;
mod orphans;
mod partition;
mod sink;
mod source;

use crate::options::{self, option};
use arrow::datatypes::DataType;
use streamfleet_dataflow::{DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_env::StorageRequest;
use streamfleet_logical::{
    ConnectorDescriptor, MetadataColumn, OptionKind, OptionSpec, ScanSpec, SinkSpec, TableDescriptor,
};

/// What the planner knows of it.
pub fn descriptor() -> ConnectorDescriptor {
    let metadata = |key, data_type| MetadataColumn { key, data_type };
    ConnectorDescriptor {
        name: "filesystem",
        source: true,
        sink: true,
        sink_takes_changes: false,
        uses_format: true,
        options: vec![
            OptionSpec {
                required: true,
                ..option("path", OptionKind::Text, "", "The file, or the folder of files and of folders of files.")
            },
            option(
                "partition.default-name",
                OptionKind::Text,
                "__DEFAULT_PARTITION__",
                "With PARTITIONED BY: the value in a folder's name that stands for NULL and for the empty text.",
            ),
            option(
                "scan.errors",
                OptionKind::OneOf(&["fail", "skip", "dead-letter"]),
                "fail",
                "What becomes of a record that cannot be read: the job fails, or the record is counted and left out, or it is kept aside too.",
            ),
            option(
                "scan.errors.dead-letter.path",
                OptionKind::Text,
                "",
                "The folder for records that are kept aside; needed with `dead-letter`.",
            ),
            option(
                "sink.rolling-policy.file-size",
                OptionKind::MemorySize,
                "128 mb",
                "A file that has grown to this is followed by another.",
            ),
            option(
                "sink.rolling-policy.rollover-interval",
                OptionKind::Duration,
                "30 min",
                "A file that is open for so long is followed by another. Every checkpoint ends all files anyway.",
            ),
            option(
                "sink.rolling-policy.check-interval",
                OptionKind::Duration,
                "1 min",
                "How often the age of the open files is looked at, while rows come.",
            ),
            option(
                "source.monitor-interval",
                OptionKind::Duration,
                "",
                "The folder is looked into for new files so often, and the source has no end. If absent, it is read once.",
            ),
            option(
                "source.path.regex-pattern",
                OptionKind::Text,
                "",
                "Only files are read whose whole path, as in `file.path`, matches this regular expression.",
            ),
        ],
        metadata: vec![
            metadata("file.path", DataType::Utf8),
            metadata("file.name", DataType::Utf8),
            metadata("file.size", DataType::Int64),
        ],
        ..ConnectorDescriptor::default()
    }
}

/// The `path` option as storage takes it.
fn path_of(table: &TableDescriptor) -> Result<String, DataflowError> {
    let path = table.option("path").unwrap_or_default();
    let path = path.strip_prefix("file://").unwrap_or(path).trim_end_matches('/');
    if let Some((scheme, _)) = path.split_once("://") {
        return Err(options::bad(table, "path", format!("files are read and written under file://, not {scheme}://")));
    }
    if path.is_empty() {
        return Err(options::bad(table, "path", "a file or folder is needed"));
    }
    Ok(path.to_owned())
}

/// Reads files.
///
/// # Errors
/// An option or a column that the format cannot read.
pub fn source(spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
    Ok(Box::new(source::FileSource::new(spec, context)?))
}

/// Writes files.
///
/// # Errors
/// An option or a column that the format cannot write.
pub fn sink(spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
    Ok(Box::new(sink::FileSink::new(&spec.table, context)?))
}

/// What makes a prepared handle visible.
///
/// # Errors
/// The handle is not one of this connector's.
pub fn commit_requests(
    table: &TableDescriptor,
    handle: &serde_json::Value,
) -> Result<Vec<StorageRequest>, DataflowError> {
    match (handle["from"].as_str(), handle["to"].as_str()) {
        (Some(from), Some(to)) => Ok(vec![StorageRequest::Publish { from: from.to_owned(), to: to.to_owned() }]),
        _ => Err(DataflowError::External {
            place: format!("table {}", table.name),
            detail: format!("the checkpoint names output in a form that is not known: {handle}"),
        }),
    }
}

/// True if the source ends by itself.
///
/// # Errors
/// An option has no sense.
pub fn is_bounded(spec: &ScanSpec) -> Result<bool, DataflowError> {
    Ok(source::monitor_interval(&spec.table)?.is_none())
}

#[cfg(test)]
mod tests;
