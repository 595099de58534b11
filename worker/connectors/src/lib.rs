//! Connectors, one folder per external system, and formats.
//!
//! A connector is found by the table's `'connector'` option. The planner knows it by its descriptor ([`descriptors`]),
//! the runtime builds its [`Source`] and [`Sink`], the coordinator makes output visible through its [`Committer`].

mod blackhole;
mod datagen;
pub mod filesystem;
pub mod format;
mod generator;
mod http;
pub mod inbox;
pub mod kafka;
mod nexmark;
mod options;
mod print;
pub mod registry;
#[cfg(test)]
mod testing;

use kafka::client::Cluster;
use std::sync::Arc;
use streamfleet_dataflow::{Committer, CommitterContext, DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_logical::{ConnectorDescriptor, FormatDescriptor, ScanSpec, SinkSpec, TableDescriptor};

/// Everything that the planner needs to know of connectors and formats.
pub fn descriptors() -> (Vec<ConnectorDescriptor>, Vec<FormatDescriptor>) {
    let connectors = vec![
        blackhole::descriptor(),
        datagen::descriptor(),
        filesystem::descriptor(),
        kafka::descriptor(),
        kafka::upsert_descriptor(),
        nexmark::descriptor(),
        print::descriptor(),
    ];
    (connectors, format::descriptors())
}

/// The source of a table; gives the columns of `spec.read`.
///
/// # Errors
/// The connector cannot be read, or an option or a column is not to its liking.
pub fn source(
    spec: &ScanSpec,
    kafka: &Arc<dyn Cluster>,
    context: SourceContext,
) -> Result<Box<dyn Source>, DataflowError> {
    check_partitions(&spec.table)?;
    match spec.table.connector() {
        "datagen" => datagen::source(spec, context),
        "filesystem" => filesystem::source(spec, context),
        "kafka" | "upsert-kafka" => kafka::source(spec, Arc::clone(kafka), context),
        "nexmark" => nexmark::source(spec, context),
        _ => Err(cannot(&spec.table, "read")),
    }
}

/// The sink of a table.
///
/// # Errors
/// The connector cannot be written, or an option or a column is not to its liking.
pub fn sink(spec: &SinkSpec, kafka: &Arc<dyn Cluster>, context: SinkContext) -> Result<Box<dyn Sink>, DataflowError> {
    check_partitions(&spec.table)?;
    match spec.table.connector() {
        "blackhole" => Ok(blackhole::sink()),
        "filesystem" => filesystem::sink(spec, context),
        "kafka" | "upsert-kafka" => kafka::sink(spec, Arc::clone(kafka), context),
        "print" => print::sink(spec, context),
        _ => Err(cannot(&spec.table, "written")),
    }
}

/// What makes the output of a table's sink visible; `None` if its connector prepares none.
///
/// # Errors
/// An option is not to the connector's liking.
pub fn committer(
    spec: &SinkSpec,
    kafka: &Arc<dyn Cluster>,
    context: CommitterContext,
) -> Result<Option<Box<dyn Committer>>, DataflowError> {
    match spec.table.connector() {
        "filesystem" => Ok(Some(Box::new(filesystem::FileCommitter::new(&spec.table, context)))),
        "kafka" | "upsert-kafka" => kafka::committer(spec, Arc::clone(kafka)).map(Some),
        _ => Ok(None),
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
        "kafka" | "upsert-kafka" => kafka::is_bounded(spec),
        "nexmark" => nexmark::is_bounded(spec),
        _ => Err(cannot(&spec.table, "read")),
    }
}

/// True if a table's output is complete, before the end of all input, only by a watermark.
pub fn waits_for_watermark(spec: &SinkSpec) -> bool {
    spec.table.connector() == "filesystem" && filesystem::waits_for_watermark(&spec.table)
}

/// The largest useful parallelism of a source, its number of splits, as far as known from options alone; `None`: any.
pub fn max_source_parallelism(spec: &ScanSpec) -> Option<u32> {
    match spec.table.connector() {
        "datagen" | "nexmark" => generator::declared_splits(&spec.table),
        _ => None,
    }
}

fn check_partitions(table: &TableDescriptor) -> Result<(), DataflowError> {
    if table.partitioned_by.is_empty() || table.connector() == "filesystem" {
        return Ok(());
    }
    Err(DataflowError::Unsupported {
        operator: format!("table {}", table.name),
        detail: format!("PARTITIONED BY with 'connector' = '{}'; 'filesystem' has partitions", table.connector()),
    })
}

fn cannot(table: &TableDescriptor, what: &str) -> DataflowError {
    DataflowError::Unsupported {
        operator: format!("table {}", table.name),
        detail: format!("a table with 'connector' = '{}' cannot be {what}", table.connector()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{StepClock, context, scan};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[test]
    fn every_descriptor_is_complete() {
        let (connectors, formats) = descriptors();
        let names: BTreeSet<&str> = connectors.iter().map(|c| c.name).collect();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["blackhole", "datagen", "filesystem", "kafka", "nexmark", "print", "upsert-kafka"]
        );
        for (name, options) in
            connectors.iter().map(|c| (c.name, &c.options)).chain(formats.iter().map(|f| (f.name, &f.options)))
        {
            let keys: BTreeSet<&str> = options.iter().map(|o| o.name).collect();
            assert_eq!(keys.len(), options.len(), "{name} describes an option twice");
            assert!(options.iter().all(|o| !o.help.is_empty()), "{name}");
        }
        assert!(connectors.iter().all(|c| c.source || c.sink));
    }

    /// An option's line in `docs/connectors.md`.
    fn row_of(option: &streamfleet_logical::OptionSpec) -> String {
        use streamfleet_logical::OptionKind;
        let kind = match &option.kind {
            OptionKind::Text => "text".to_owned(),
            OptionKind::Integer => "whole number".to_owned(),
            OptionKind::Number => "number".to_owned(),
            OptionKind::Boolean => "`true` or `false`".to_owned(),
            OptionKind::Duration => "duration".to_owned(),
            OptionKind::MemorySize => "size".to_owned(),
            OptionKind::OneOf(values) => {
                let (last, others) = values.split_last().expect("there is a choice");
                let others: Vec<String> = others.iter().map(|v| format!("`{v}`")).collect();
                if others.is_empty() { format!("`{last}`") } else { format!("{} or `{last}`", others.join(", ")) }
            }
        };
        let default = match option.default {
            _ if option.required => "**required**".to_owned(),
            "" => String::new(),
            default => format!("`{default}`"),
        };
        format!("| `{}` | {kind} | {default} | {} |", option.name, option.help)
    }

    #[test]
    fn the_documentation_has_every_option_and_no_other() {
        let page = include_str!("../../../docs/connectors.md");
        let documented: Vec<&str> =
            page.lines().filter(|l| l.starts_with("| `") && l.matches(" | ").count() == 3).collect();
        let (connectors, formats) = descriptors();
        let of_all = streamfleet_logical::SCAN_OPTIONS;
        let options =
            connectors.iter().flat_map(|c| &c.options).chain(formats.iter().flat_map(|f| &f.options)).chain(of_all);
        let declared: Vec<String> = options.map(row_of).collect();
        let missing: Vec<&String> = declared.iter().filter(|row| !documented.contains(&row.as_str())).collect();
        let unknown: Vec<&&str> = documented.iter().filter(|row| !declared.iter().any(|d| d == *row)).collect();
        let text = |rows: &[&String]| rows.iter().map(|r| r.as_str()).collect::<Vec<_>>().join("\n");
        assert!(missing.is_empty(), "docs/connectors.md lacks these lines:\n{}", text(&missing));
        assert!(unknown.is_empty(), "docs/connectors.md has lines that no option has:\n{unknown:#?}");
    }

    #[test]
    fn what_a_connector_cannot_do_is_refused() {
        let kafka: Arc<dyn Cluster> = Arc::new(kafka::NativeCluster);
        let error = source(&scan(&[], &[("connector", "print")]), &kafka, context(0, 1, &Arc::<StepClock>::default()));
        let error = error.err().expect("refused").to_string();
        assert!(error.contains("table t") && error.contains("'print' cannot be read"), "{error}");
        assert!(is_bounded(&scan(&[], &[("connector", "blackhole")])).is_err());
    }

    #[test]
    fn declared_splits_bound_the_parallelism() {
        let most = |options: &[(&str, &str)]| max_source_parallelism(&scan(&[], options));
        assert_eq!(most(&[("connector", "nexmark"), ("splits", "3")]), Some(3));
        assert_eq!(most(&[("connector", "nexmark")]), None);
        assert_eq!(most(&[("connector", "datagen"), ("splits", "1")]), Some(1));
    }
}
