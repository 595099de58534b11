//! Files as tables: read one after another, written exactly once.

mod mailbox;
mod sink;
mod source;

use crate::format::Format;
use crate::options;
use arrow::datatypes::DataType;
use streamfleet_dataflow::{DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_env::StorageRequest;
use streamfleet_logical::{
    ConnectorDescriptor, MetadataColumn, OptionKind, OptionSpec, ScanSpec, SinkSpec, TableDescriptor,
};

const DEFAULT_PART_BYTES: u64 = 128 << 20;

/// What the planner knows of it.
pub fn descriptor() -> ConnectorDescriptor {
    let option = |name, kind, required, default, help| OptionSpec { name, kind, required, default, help };
    let metadata = |key, data_type| MetadataColumn { key, data_type };
    ConnectorDescriptor {
        name: "filesystem",
        source: true,
        sink: true,
        sink_takes_changes: false,
        uses_format: true,
        options: vec![
            option("path", OptionKind::Text, true, "", "The file, or the folder of files."),
            option(
                "sink.rolling-policy.file-size",
                OptionKind::MemorySize,
                false,
                "128 mb",
                "A file that has grown to this is followed by another.",
            ),
            option(
                "scan.errors",
                OptionKind::OneOf(&["fail", "skip"]),
                false,
                "fail",
                "What becomes of a record that cannot be read: the job fails, or the record is counted and left out.",
            ),
        ],
        metadata: vec![
            metadata("file.path", DataType::Utf8),
            metadata("file.name", DataType::Utf8),
            metadata("file.size", DataType::Int64),
        ],
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
    let part_bytes = options::memory_size(&spec.table, "sink.rolling-policy.file-size")?;
    let format = Format::of(&spec.table)?;
    let path = path_of(&spec.table)?;
    Ok(Box::new(sink::FileSink::new(&spec.table, format, path, part_bytes.unwrap_or(DEFAULT_PART_BYTES), context)?))
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
/// None.
pub fn is_bounded(_spec: &ScanSpec) -> Result<bool, DataflowError> {
    Ok(true)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
