//! Avro's binary encoding. A message is one record, under the schema that Flink derives from a table or under schemas that a
//! registry keeps; a file names its schema itself.

mod codec;
mod confluent;
mod confluent_options;
mod container;
mod debezium;
mod decode;
mod encode;
mod schema;
mod shape;
#[cfg(test)]
mod shape_tests;
#[cfg(test)]
mod tests;

pub(super) use confluent::{ConfluentDecoder, ConfluentEncoder};
pub(crate) use confluent_options::ConfluentOptions;
pub(super) use confluent_options::{CHANGES, ROWS, descriptors as registry_descriptors};
pub(super) use debezium::{DebeziumDecoder, DebeziumEncoder};

use crate::format::column::entry_fields;
use crate::format::message::{MessageDecoder, MessageEncoder};
use crate::format::{Encoder, Layout, RecordDecoder};
use crate::options::{self, option};
use apache_avro::Schema;
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef, TimeUnit};
use codec::Codec;
use container::{ContainerDecoder, ContainerEncoder};
use decode::AvroDecoder;
use encode::AvroEncoder;
use shape::Shapes;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, OptionSpec, TableDescriptor};

/// The format's options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AvroOptions {
    /// Of points in time only `TIMESTAMP(3)` is known, as in Flink before 1.19.
    has_few_times: bool,
    /// How the blocks of written files are compressed.
    codec: Codec,
}

/// What the planner knows of it.
pub(super) fn descriptor() -> FormatDescriptor {
    FormatDescriptor {
        name: "avro",
        changes: false,
        options: vec![
            option("avro.encoding", OptionKind::OneOf(&["binary"]), "binary", "How a record is written."),
            option(
                "avro.codec",
                OptionKind::OneOf(Codec::NAMES),
                "snappy",
                "How the blocks of written files are compressed; files are read whatever theirs is.",
            ),
            times_option("avro.timestamp_mapping.legacy"),
        ],
    }
}

const fn times_option(name: &'static str) -> OptionSpec {
    option(
        name,
        OptionKind::Boolean,
        "true",
        "`true`: the only points in time are TIMESTAMP with up to three digits, as `timestamp-millis`. `false`: TIMESTAMP is `local-timestamp-millis` or `-micros`, TIMESTAMP_LTZ is `timestamp-millis` or `-micros`.",
    )
}

impl AvroOptions {
    /// Reads them.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        if table.option("avro.encoding").is_some_and(|encoding| encoding != "binary") {
            return Err(options::bad(table, "avro.encoding", "it is binary"));
        }
        let codec = table.option("avro.codec").unwrap_or(Codec::Snappy.name());
        let codec = Codec::of(codec)
            .ok_or_else(|| options::bad(table, "avro.codec", format!("it is one of {}", Codec::NAMES.join(", "))))?;
        Ok(Self { codec, ..Self::under(table, "avro.")? })
    }

    /// True if every point in time has a type of its own.
    const fn has_all_times(self) -> bool {
        !self.has_few_times
    }

    /// Those that begin with this prefix.
    fn under(table: &TableDescriptor, prefix: &str) -> Result<Self, DataflowError> {
        let has_few_times = options::boolean(table, &format!("{prefix}timestamp_mapping.legacy"), true)?;
        Ok(Self { has_few_times, codec: Codec::Snappy })
    }

    /// True if values of the type could be read and written, were it not for the mapping of points in time.
    pub fn needs_more_times(self, data_type: &DataType) -> bool {
        self.has_few_times && Self { has_few_times: false, ..self }.has_type(data_type)
    }

    /// True if values of the type can be read and written.
    pub fn has_type(self, data_type: &DataType) -> bool {
        match data_type {
            DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Binary
            | DataType::Decimal128(..)
            | DataType::Date32
            | DataType::Time32(TimeUnit::Millisecond)
            | DataType::Timestamp(TimeUnit::Millisecond, None) => true,
            DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, _) => !self.has_few_times,
            DataType::Struct(fields) => fields.iter().all(|f| self.has_type(f.data_type())),
            DataType::List(element) => self.has_type(element.data_type()),
            // Avro's maps have texts for keys.
            DataType::Map(entries, _) => entry_fields(entries)
                .is_ok_and(|f| *f[0].data_type() == DataType::Utf8 && self.has_type(f[1].data_type())),
            _ => false,
        }
    }
}

/// The schema that Flink derives from columns: its text, and what it says.
fn derived<'a>(
    table: &str,
    columns: impl IntoIterator<Item = &'a FieldRef>,
    options: AvroOptions,
) -> Result<(String, Schema), DataflowError> {
    schema::of_columns(columns, !options.has_few_times).map_err(|detail| DataflowError::Unsupported {
        operator: format!("table {table}"),
        detail: format!("the columns as an Avro schema: {detail}"),
    })
}

/// A decoder for records of a table, for columns of this schema.
pub(super) fn decoder(
    table: &str,
    schema: SchemaRef,
    layout: &Layout,
    options: AvroOptions,
) -> Result<Box<dyn MessageDecoder>, DataflowError> {
    let fields = Fields::from(layout.fields.clone());
    let (_, writer) = derived(table, &fields, options)?;
    let shapes = Shapes::of(&writer, &[], schema.fields()).map_err(|detail| unsupported(table, detail))?;
    Ok(Box::new(AvroDecoder::new(schema, shapes)?))
}

/// An encoder for rows of these columns.
pub(super) fn encoder(
    table: &str,
    columns: &SchemaRef,
    options: AvroOptions,
) -> Result<Box<dyn MessageEncoder>, DataflowError> {
    Ok(Box::new(record_encoder(table, columns, options)?.1))
}

/// An encoder of records under the schema that is derived from these columns, and that schema's text.
fn record_encoder(
    table: &str,
    columns: &SchemaRef,
    options: AvroOptions,
) -> Result<(String, AvroEncoder), DataflowError> {
    let (text, writer) = derived(table, columns.fields(), options)?;
    let shapes = Shapes::to_write(&writer, columns.fields()).map_err(|detail| unsupported(table, detail))?;
    Ok((text, AvroEncoder::new(table, columns, shapes)))
}

/// A decoder for files, for columns of this schema.
pub(super) fn file_decoder(schema: SchemaRef) -> Result<Box<dyn RecordDecoder>, DataflowError> {
    Ok(Box::new(ContainerDecoder::new(schema)?))
}

/// An encoder for a file with rows of these columns.
pub(super) fn file_encoder(
    table: &str,
    columns: &SchemaRef,
    options: AvroOptions,
) -> Result<Box<dyn Encoder>, DataflowError> {
    let (text, encoder) = record_encoder(table, columns, options)?;
    Ok(Box::new(ContainerEncoder::new(encoder, &text, options.codec)))
}

fn unsupported(table: &str, detail: String) -> DataflowError {
    DataflowError::Unsupported { operator: format!("table {table}"), detail: format!("format 'avro': {detail}") }
}
