//! Files as tables: read one after another, written exactly once.

mod committer;
mod compaction;
mod dead_letters;
mod decompress;
mod joiner;
mod listing;
mod mailbox;
mod merge;
mod orphans;
mod partition;
mod partition_commit;
mod partition_time;
mod requests;
mod sink;
mod source;

pub(crate) use committer::FileCommitter;

use crate::options::{self, option};
use arrow::datatypes::{DataType, Field};
use partition::{Partitioning, Splitter};
use streamfleet_dataflow::{DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_logical::{
    ColumnKind, ConnectorDescriptor, MetadataColumn, OptionKind, OptionSpec, ScanSpec, SinkSpec, TableDescriptor,
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
        key_format: false,
        options: vec![
            OptionSpec {
                required: true,
                ..option("path", OptionKind::Text, "", "The file, or the folder of files and of folders of files.")
            },
            option(
                "auto-compaction",
                OptionKind::Boolean,
                "false",
                "The files of a checkpoint are merged into fewer, larger ones before they show.",
            ),
            option(
                "compaction.file-size",
                OptionKind::MemorySize,
                "",
                "With `auto-compaction`: how large a merged file gets. If absent, as `sink.rolling-policy.file-size`.",
            ),
            option(
                "sink.parallelism",
                OptionKind::Integer,
                "",
                "Taken, and without effect: a job has one parallelism.",
            ),
            option(
                "partition.default-name",
                OptionKind::Text,
                "__DEFAULT_PARTITION__",
                "With PARTITIONED BY: the value in a folder's name that stands for NULL and for the empty text.",
            ),
            option(
                "partition.time-extractor.kind",
                OptionKind::Text,
                "default",
                "How the time of a partition is found; only `default`, by the two options below.",
            ),
            option(
                "partition.time-extractor.timestamp-formatter",
                OptionKind::Text,
                "yyyy-MM-dd HH:mm:ss",
                "How that time is written, as for Java's `DateTimeFormatter`, of `yyyy`, `MM`, `dd`, `HH`, `mm`, `ss`, `S`. If absent, months and what is smaller may have one digit, and a date alone is midnight.",
            ),
            option(
                "partition.time-extractor.timestamp-pattern",
                OptionKind::Text,
                "",
                "The time of a partition, with `$column` for the columns of PARTITIONED BY: `$dt $hour:00:00`. If absent, the first column is the time.",
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
                "sink.partition-commit.delay",
                OptionKind::Duration,
                "0 s",
                "A partition is complete so long after the time that the trigger names.",
            ),
            option(
                "sink.partition-commit.policy.kind",
                OptionKind::Text,
                "",
                "`success-file`: a file without content says that a partition is complete. If absent, nothing does.",
            ),
            option("sink.partition-commit.success-file.name", OptionKind::Text, "_SUCCESS", "The name of that file."),
            option(
                "sink.partition-commit.trigger",
                OptionKind::OneOf(&["process-time", "partition-time"]),
                "process-time",
                "A partition is complete by the wall clock, from its first file on; or when the watermark has passed the time in its name.",
            ),
            option(
                "sink.partition-commit.watermark-time-zone",
                OptionKind::Text,
                "UTC",
                "The time zone of the times in the names of partitions; only `UTC`.",
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
                "sink.rolling-policy.inactivity-interval",
                OptionKind::Duration,
                "30 min",
                "A file that got no rows for so long is followed by another.",
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
    match path.split_once("://") {
        Some(("s3" | "s3a", place)) => {
            let is_whole = place.split_once('/').is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty());
            if !is_whole {
                return Err(options::bad(table, "path", "a bucket and a folder in it are needed: s3://bucket/folder"));
            }
            return Ok(format!("s3://{place}"));
        }
        Some((scheme, _)) => {
            let what = format!("files are read and written under file:// and s3://, not {scheme}://");
            return Err(options::bad(table, "path", what));
        }
        None => {}
    }
    if path.is_empty() {
        return Err(options::bad(table, "path", "a file or folder is needed"));
    }
    Ok(path.to_owned())
}

/// Takes the rows of a table's sink apart, and knows what its files hold.
fn splitter_of(table: &TableDescriptor, partitioning: Partitioning) -> Splitter {
    let is_written = |kind: &ColumnKind| match kind {
        ColumnKind::Physical => true,
        ColumnKind::Metadata { is_virtual, .. } => !is_virtual,
        ColumnKind::Computed(_) => false,
    };
    let columns = table.columns.iter().filter(|c| is_written(&c.kind));
    let fields: Vec<Field> = columns.map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable)).collect();
    Splitter::new(partitioning, &fields)
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

/// True if the table's output waits for a watermark.
pub(crate) fn waits_for_watermark(table: &TableDescriptor) -> bool {
    partition_commit::waits_for_watermark(table)
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
