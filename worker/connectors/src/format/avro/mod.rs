//! Avro's binary encoding, one record a message, under the schema that Flink derives from a table: a column that takes NULL
//! is a union of `null` and its type, in this order.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub(super) use decode::AvroDecoder;
pub(super) use encode::AvroEncoder;

use crate::format::column::entry_fields;
use crate::options::{self, option};
use arrow::datatypes::{DataType, TimeUnit};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, TableDescriptor};

/// The format's options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AvroOptions {
    /// Of points in time only `TIMESTAMP(3)` is known, as in Flink before 1.19.
    has_few_times: bool,
}

/// What the planner knows of it.
pub(super) fn descriptor() -> FormatDescriptor {
    FormatDescriptor {
        name: "avro",
        changes: false,
        options: vec![
            option("avro.encoding", OptionKind::OneOf(&["binary"]), "binary", "How a record is written."),
            option(
                "avro.timestamp_mapping.legacy",
                OptionKind::Boolean,
                "true",
                "`true`: the only points in time are TIMESTAMP with up to three digits, as `timestamp-millis`. `false`: TIMESTAMP is `local-timestamp-millis` or `-micros`, TIMESTAMP_LTZ is `timestamp-millis` or `-micros`.",
            ),
        ],
    }
}

impl AvroOptions {
    /// Reads them.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        if table.option("avro.encoding").is_some_and(|encoding| encoding != "binary") {
            return Err(options::bad(table, "avro.encoding", "it is binary"));
        }
        Ok(Self { has_few_times: options::boolean(table, "avro.timestamp_mapping.legacy", true)? })
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
