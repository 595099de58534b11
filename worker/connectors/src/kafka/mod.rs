//! Kafka topics as tables: read from any offset, written at least or exactly once.
//!
//! `source`, `sink` and `committer` decide and never wait; `client` says what they ask of a cluster; `native` does it with
//! librdkafka and, for transactions of producers that are gone, with `protocol`.

pub mod client;
mod columns;
mod committer;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dead_letters;
mod decode;
mod encode;
#[cfg(test)]
mod fake;
mod first_offsets;
mod jaas;
mod native;
mod oauth;
mod options;
mod pauses;
mod properties;
mod protocol;
#[cfg(test)]
mod raw_copy;
#[cfg(test)]
mod schema_tests;
mod sink;
mod source;
mod split;
#[cfg(test)]
mod tests;
mod topic_ids;

pub use native::NativeCluster;

use crate::options::{bad, duration, hidden, number, option, optional_number};
use client::{Cluster, Properties};
use columns::Metadata;
use std::sync::Arc;
use streamfleet_dataflow::{Committer, DataflowError, Sink, SinkContext, Source, SourceContext};
use streamfleet_logical::{ConnectorDescriptor, OptionKind, OptionSpec, ScanSpec, SinkSpec, TableDescriptor};

/// Flink holds changes back by these, to write one record a key: fewer records, and the same rows.
const BUFFERED_ROWS: &str = "sink.buffer-flush.max-rows";
const BUFFERED_FOR: &str = "sink.buffer-flush.interval";

/// What the planner knows of it.
pub(crate) fn descriptor() -> ConnectorDescriptor {
    let text = |name, default, help| option(name, OptionKind::Text, default, help);
    let mut options = common_options();
    options.extend([
        text("topic", "", "The topic, or when reading several, separated by semicolons."),
        text("topic-pattern", "", "All topics are read whose whole name matches this regular expression."),
        option(
            "scan.startup.mode",
            OptionKind::OneOf(&["earliest-offset", "latest-offset", "group-offsets", "timestamp", "specific-offsets"]),
            "group-offsets",
            "Where reading begins, if no checkpoint says so.",
        ),
        text(
            "scan.startup.specific-offsets",
            "",
            "With `specific-offsets`: `partition:0,offset:42;partition:1,offset:300`. Others are read from their beginning.",
        ),
        option(
            "scan.startup.timestamp-millis",
            OptionKind::Integer,
            "",
            "With `timestamp`: the first record at or after this time, in milliseconds since the Unix epoch.",
        ),
        bounded_mode(),
        bounded_offsets(),
        bounded_time(),
        option(
            "sink.partitioner",
            OptionKind::OneOf(&["default", "fixed", "round-robin"]),
            "default",
            "By the key's hash; or all rows of a subtask to one partition; or to one after the other.",
        ),
    ]);
    ConnectorDescriptor {
        name: "kafka",
        source: true,
        sink: true,
        sink_takes_changes: false,
        uses_format: true,
        key_format: true,
        options,
        metadata: Metadata::columns(),
        ..ConnectorDescriptor::default()
    }
}

/// What the planner knows of topics whose records replace one another by their key.
pub(crate) fn upsert_descriptor() -> ConnectorDescriptor {
    let mut options = common_options();
    options.retain(|option| option.name != "key.fields");
    options.push(OptionSpec {
        required: true,
        ..option("topic", OptionKind::Text, "", "The topic, best a compacted one.")
    });
    options.push(bounded_mode());
    options.push(bounded_offsets());
    options.push(bounded_time());
    options.push(option(
        BUFFERED_ROWS,
        OptionKind::Integer,
        "0",
        "Taken, and without effect: every change is written, and the newest record of a key is the row all the same.",
    ));
    options.push(option(
        BUFFERED_FOR,
        OptionKind::Duration,
        "0 s",
        "Taken, and without effect, as `sink.buffer-flush.max-rows`.",
    ));
    ConnectorDescriptor {
        name: "upsert-kafka",
        source: true,
        sink: true,
        sink_takes_changes: true,
        uses_format: true,
        key_format: true,
        upsert: true,
        options,
        metadata: Metadata::columns(),
    }
}

fn bounded_mode() -> OptionSpec {
    option(
        "scan.bounded.mode",
        OptionKind::OneOf(&["unbounded", "latest-offset", "group-offsets", "timestamp", "specific-offsets"]),
        "unbounded",
        "Where reading ends. Offsets are looked up once, at the first start.",
    )
}

fn bounded_offsets() -> OptionSpec {
    option(
        "scan.bounded.specific-offsets",
        OptionKind::Text,
        "",
        "With `specific-offsets`: the first offset of every partition that is not read.",
    )
}

fn bounded_time() -> OptionSpec {
    option(
        "scan.bounded.timestamp-millis",
        OptionKind::Integer,
        "",
        "With `timestamp`: records at or after this time are not read.",
    )
}

/// Options of all tables over Kafka.
fn common_options() -> Vec<OptionSpec> {
    let text = |name, default, help| option(name, OptionKind::Text, default, help);
    vec![
        OptionSpec {
            required: true,
            ..text("properties.bootstrap.servers", "", "Brokers to begin with, as `host:port,host:port`.")
        },
        text(
            "key.fields",
            "",
            "The columns that a record's key consists of, separated by semicolons; needs `key.format`.",
        ),
        text("key.fields-prefix", "", "Columns of the key begin with this in the table, and without it in the key."),
        option(
            "value.fields-include",
            OptionKind::OneOf(&["ALL", "EXCEPT_KEY"]),
            "ALL",
            "Whether the columns of the key are in the value too.",
        ),
        text("properties.group.id", "streamfleet", "The consumer group; needed with `group-offsets`."),
        text(
            "properties.#",
            "",
            "A setting of the client, by its name in Kafka's Java client or in librdkafka: `properties.security.protocol`, `properties.sasl.jaas.config`, `properties.compression.type`, `properties.isolation.level`, ..",
        ),
        option(
            "scan.topic-partition-discovery.interval",
            OptionKind::Duration,
            "5 min",
            "New partitions and topics are looked for so often; `0` for never.",
        ),
        option(
            "scan.topic.recreated",
            OptionKind::OneOf(&["fail", "continue"]),
            "fail",
            "What becomes of a topic that was deleted and made anew: the job fails, or reads on from the same offsets.",
        ),
        option(
            "scan.errors",
            OptionKind::OneOf(&["fail", "skip", "dead-letter"]),
            "fail",
            "What becomes of a record that cannot be read: the job fails, or the record is counted and left out, or it is kept aside too.",
        ),
        text(
            "scan.errors.dead-letter.topic",
            "",
            "The topic for records that are kept aside, as they are, with their place and the reason in headers; needed with `dead-letter`.",
        ),
        option(
            "sink.delivery-guarantee",
            OptionKind::OneOf(&["none", "at-least-once", "exactly-once"]),
            "at-least-once",
            "With `exactly-once` rows are written in transactions that end with their checkpoint: readers need `isolation.level=read_committed`.",
        ),
        text("sink.transactional-id-prefix", "streamfleet", "Begins every transactional id."),
        option("sink.parallelism", OptionKind::Integer, "", "Taken, and without effect: a job has one parallelism."),
    ]
}

fn is_upsert(table: &TableDescriptor) -> bool {
    table.connector() == "upsert-kafka"
}

/// Reads topics.
///
/// # Errors
/// An option or a column that cannot be read.
pub(crate) fn source(
    spec: &ScanSpec,
    cluster: Arc<dyn Cluster>,
    context: SourceContext,
) -> Result<Box<dyn Source>, DataflowError> {
    let is_upsert = is_upsert(&spec.table);
    Ok(Box::new(source::KafkaSource::new(spec, cluster, context, is_upsert)?))
}

/// Writes a topic.
///
/// # Errors
/// An option or a column that cannot be written.
pub(crate) fn sink(
    spec: &SinkSpec,
    cluster: Arc<dyn Cluster>,
    context: SinkContext,
) -> Result<Box<dyn Sink>, DataflowError> {
    let is_upsert = is_upsert(&spec.table);
    check_without_effect(&spec.table)?;
    Ok(Box::new(sink::KafkaSink::new(spec, cluster, context, is_upsert)?))
}

/// Commits what a sink prepared.
///
/// # Errors
/// An option that cannot be used.
pub(crate) fn committer(spec: &SinkSpec, cluster: Arc<dyn Cluster>) -> Result<Box<dyn Committer>, DataflowError> {
    Ok(Box::new(committer::KafkaCommitter::new(&spec.table, cluster)?))
}

/// True if the source ends by itself.
///
/// # Errors
/// An option has no sense.
pub(crate) fn is_bounded(spec: &ScanSpec) -> Result<bool, DataflowError> {
    Ok(options::ReadOptions::of(&spec.table)?.bounded.is_some())
}

/// Options of Flink's that change nothing here must have values that Flink takes.
fn check_without_effect(table: &TableDescriptor) -> Result<(), DataflowError> {
    if optional_number::<u32>(table, "sink.parallelism")? == Some(0) {
        return Err(bad(table, "sink.parallelism", "it is 1 at least; leave it out: a job has one parallelism"));
    }
    let rows = number::<u32>(table, BUFFERED_ROWS, 0)?;
    let span = duration(table, BUFFERED_FOR)?.unwrap_or_default();
    if (rows == 0) != span.is_zero() {
        let detail = format!("it goes with '{BUFFERED_FOR}': both are more than zero, or neither is");
        return Err(bad(table, BUFFERED_ROWS, detail));
    }
    Ok(())
}

/// Refuses client properties before anything is begun.
fn check_properties(table: &TableDescriptor, properties: &Properties) -> Result<(), DataflowError> {
    if let Some((property, what)) = native::bad_property(properties) {
        return Err(properties::refused(table, &property, &what));
    }
    let Err(fault) = oauth::TokenSettings::of(properties) else { return Ok(()) };
    let option = format!("properties.{}", fault.property);
    Err(if properties.contains_key(fault.property) {
        hidden(table, &option, fault.detail)
    } else {
        bad(table, &option, format!("it is missing: {}", fault.detail))
    })
}
