//! Connectors, one folder per external system, and formats.
//!
//! A connector is found by the table's `'connector'` option. The planner knows it by its descriptor ([`descriptors`]), the
//! runtime builds its [`Source`] and [`Sink`], the coordinator asks [`commit_requests`] what makes output visible.

mod blackhole;
mod datagen;
pub mod filesystem;
pub mod format;
mod generator;
mod nexmark;
mod options;
mod print;
#[cfg(test)]
mod testing;

use streamfleet_dataflow::{DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_env::StorageRequest;
use streamfleet_logical::{ConnectorDescriptor, FormatDescriptor, ScanSpec, SinkSpec, TableDescriptor};

/// Everything that the planner needs to know of connectors and formats.
pub fn descriptors() -> (Vec<ConnectorDescriptor>, Vec<FormatDescriptor>) {
    let connectors = vec![
        blackhole::descriptor(),
        datagen::descriptor(),
        filesystem::descriptor(),
        nexmark::descriptor(),
        print::descriptor(),
    ];
    (connectors, format::descriptors())
}

/// The source of a table; gives the columns of `spec.read`.
///
/// # Errors
/// The connector cannot be read, or an option or a column is not to its liking.
pub fn source(spec: &ScanSpec, context: SourceContext) -> Result<Box<dyn Source>, DataflowError> {
    match spec.table.connector() {
        "datagen" => datagen::source(spec, context),
        "filesystem" => filesystem::source(spec, context),
        "nexmark" => nexmark::source(spec, context),
        _ => Err(cannot(&spec.table, "read")),
    }
}

/// The sink of a table.
///
/// # Errors
/// The connector cannot be written, or an option or a column is not to its liking.
pub fn sink(spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
    match spec.table.connector() {
        "blackhole" => Ok(blackhole::sink()),
        "filesystem" => filesystem::sink(spec, context),
        "print" => print::sink(spec, context),
        _ => Err(cannot(&spec.table, "written")),
    }
}

/// What the coordinator asks of the outside world's storage to make a prepared handle visible. Idempotent.
///
/// # Errors
/// The handle was not made by the table's connector.
pub fn commit_requests(
    table: &TableDescriptor,
    handle: &serde_json::Value,
) -> Result<Vec<StorageRequest>, DataflowError> {
    match table.connector() {
        "filesystem" => filesystem::commit_requests(table, handle),
        other => Err(DataflowError::Unsupported {
            operator: format!("table {}", table.name),
            detail: format!("connector '{other}' prepares no output, yet a snapshot holds some for it: {handle}"),
        }),
    }
}

/// True if the source ends by itself.
///
/// # Errors
/// The connector cannot be read, or an option has no sense.
pub fn is_bounded(spec: &ScanSpec) -> Result<bool, DataflowError> {
    match spec.table.connector() {
        "datagen" => datagen::is_bounded(spec),
        "filesystem" => filesystem::is_bounded(spec),
        "nexmark" => nexmark::is_bounded(spec),
        _ => Err(cannot(&spec.table, "read")),
    }
}

/// The largest useful parallelism of a source, its number of splits, as far as known from options alone; `None`: any.
pub fn max_source_parallelism(spec: &ScanSpec) -> Option<u32> {
    match spec.table.connector() {
        "datagen" | "nexmark" => generator::declared_splits(&spec.table),
        _ => None,
    }
}

fn cannot(table: &TableDescriptor, what: &str) -> DataflowError {
    DataflowError::Unsupported {
        operator: format!("table {}", table.name),
        detail: format!("a table with 'connector' = '{}' cannot be {what}", table.connector()),
    }
}
