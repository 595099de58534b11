//! Formats of records: bytes to columns and back.

mod avro;
mod column;
mod csv;
mod json;
mod message;
mod parquet;
mod protobuf;
mod raw;
mod rows;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod values;

pub(crate) use column::Column;
pub use message::MessageBuffer;
pub(crate) use message::{BadMessage, DecodedMessages, Link, MessageDecoder, MessageEncoder};
pub(crate) use parquet::ParquetFile;
pub use values::{ValueDecoder, ValueEncoder};

use crate::options;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use json::changes::{self, ChangeDecoder, ChangeEncoder, ChangeOptions, Dialect};
use std::sync::Arc;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, TableDescriptor, type_name};

/// The most rows that a decoder gives at once.
const BATCH_ROWS: usize = 8192;

/// Where the wanted columns lie in a record.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The fields that a record has: the columns that a file holds, read or not.
    pub fields: Vec<Field>,
    /// The field of every wanted column.
    pub places: Vec<usize>,
}

impl Layout {
    /// Every field of a record is wanted.
    pub fn whole(schema: &SchemaRef) -> Self {
        let fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        Self { places: (0..fields.len()).collect(), fields }
    }
}

/// A record that cannot be used: which of the bytes given, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord {
    pub start: usize,
    pub end: usize,
    pub reason: String,
}

/// What came of decoding.
pub(crate) struct Decoded {
    /// Rows, if any.
    pub records: Option<RecordBatch>,
    /// Bytes used up.
    pub consumed: usize,
    /// Records among them that are not in the rows.
    pub bad: Vec<BadRecord>,
    /// Fields that could not be read and are NULL.
    pub nulled: u64,
}

/// Decodes records that lie end to end in a file.
pub(crate) trait RecordDecoder: Send {
    /// True if the beginning of a file must be decoded before anything that lies behind: what is consumed first then is its
    /// head. Such files have no lines.
    fn needs_head(&self) -> bool {
        false
    }

    /// Decodes complete records at the start of `bytes`; `at_end`: nothing follows them in the file.
    fn decode(&mut self, bytes: &[u8], at_end: bool) -> Result<Decoded, DataflowError>;
}

/// Encodes rows.
pub(crate) trait Encoder: Send {
    /// Takes rows.
    fn write(&mut self, records: &RecordBatch) -> Result<(), DataflowError>;

    /// What was encoded, if it is at least so many bytes; else nothing yet. With 0, everything that can be given.
    fn take(&mut self, at_least: usize) -> Result<Vec<u8>, DataflowError>;

    /// Bytes of memory that rows take which are not handed over yet.
    fn held_bytes(&self) -> usize;

    /// What is left, and the end of the file.
    fn finish(&mut self) -> Result<Vec<u8>, DataflowError>;
}

/// All the bytes, if there are so many.
fn take_bytes(bytes: &mut Vec<u8>, at_least: usize) -> Vec<u8> {
    if bytes.len() >= at_least { std::mem::take(bytes) } else { Vec::new() }
}

/// What the planner knows of the formats.
pub fn descriptors() -> Vec<FormatDescriptor> {
    let mut all = vec![
        json::descriptor(),
        csv::descriptor(),
        raw::descriptor(),
        avro::descriptor(),
        protobuf::descriptor(),
        parquet::descriptor(),
    ];
    all.extend(avro::registry_descriptors());
    all.extend(changes::descriptors());
    all
}

/// A table's format with its options.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    Json(json::JsonOptions),
    Csv(csv::CsvOptions),
    Raw(raw::RawOptions),
    Parquet(parquet::ParquetOptions),
    Changes(ChangeOptions),
    Avro(avro::AvroOptions),
    AvroConfluent(Box<avro::ConfluentOptions>),
    DebeziumAvro(Box<avro::ConfluentOptions>),
    Protobuf(Box<protobuf::ProtobufOptions>),
}

impl Format {
    /// The format that a table declares.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        match table.option("format") {
            Some("json") => json::JsonOptions::of(table).map(Self::Json),
            Some("csv") => csv::CsvOptions::of(table).map(Self::Csv),
            Some("raw") => raw::RawOptions::of(table).map(Self::Raw),
            Some("parquet") => parquet::ParquetOptions::of(table).map(Self::Parquet),
            Some("avro") => avro::AvroOptions::of(table).map(Self::Avro),
            Some(avro::ROWS) => {
                avro::ConfluentOptions::of(table, avro::ROWS).map(|options| Self::AvroConfluent(Box::new(options)))
            }
            Some(avro::CHANGES) => {
                avro::ConfluentOptions::of(table, avro::CHANGES).map(|options| Self::DebeziumAvro(Box::new(options)))
            }
            Some("protobuf") => protobuf::ProtobufOptions::of(table).map(|options| Self::Protobuf(Box::new(options))),
            Some("debezium-json") => ChangeOptions::of(table, Dialect::Debezium).map(Self::Changes),
            Some("canal-json") => ChangeOptions::of(table, Dialect::Canal).map(Self::Changes),
            Some("maxwell-json") => ChangeOptions::of(table, Dialect::Maxwell).map(Self::Changes),
            _ => {
                let names: Vec<&str> = descriptors().iter().map(|f| f.name).collect();
                Err(options::bad(table, "format", format!("it is one of {}", names.join(", "))))
            }
        }
    }

    /// The format of a message's value: 'format' or 'value.format'.
    pub fn of_value(table: &TableDescriptor) -> Result<Self, DataflowError> {
        if table.option("value.format").is_none() {
            return Self::of(table);
        }
        Self::under(table, "value.")
    }

    /// The format of a message's key: 'key.format', if there is one.
    pub fn of_key(table: &TableDescriptor) -> Result<Option<Self>, DataflowError> {
        table.option("key.format").map(|_| Self::under(table, "key.")).transpose()
    }

    /// The format whose options begin with `prefix`.
    fn under(table: &TableDescriptor, prefix: &str) -> Result<Self, DataflowError> {
        let mut plain = table.clone();
        plain.options =
            table.options.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone()))).collect();
        Self::of(&plain).map_err(|error| match error {
            DataflowError::Option { table, option, value, detail } => {
                DataflowError::Option { table, option: format!("{prefix}{option}"), value, detail }
            }
            other => other,
        })
    }

    /// Refuses columns that the format cannot read or write, before anything is. `fields`: all that a file holds.
    pub fn check(&self, table: &str, fields: &[Field]) -> Result<(), DataflowError> {
        let has_type = |data_type: &DataType| match self {
            Self::Json(_) | Self::Changes(_) => json::has_type(data_type),
            Self::Csv(_) => csv::has_type(data_type),
            Self::Raw(_) => raw::has_type(data_type),
            Self::Avro(options) => options.has_type(data_type),
            Self::AvroConfluent(options) | Self::DebeziumAvro(options) => options.avro.has_type(data_type),
            // The message says more than a type.
            Self::Parquet(_) | Self::Protobuf(_) => true,
        };
        if let Self::Raw(_) = self {
            raw::check_width(table, fields)?;
        }
        match fields.iter().find(|f| !has_type(f.data_type())) {
            None => Ok(()),
            Some(field) => {
                let (column, of, format) = (field.name(), type_name(field.data_type()), self.name());
                let needs_more_times = match self {
                    Self::Avro(options) => options.needs_more_times(field.data_type()),
                    Self::AvroConfluent(options) | Self::DebeziumAvro(options) => {
                        options.avro.needs_more_times(field.data_type())
                    }
                    _ => false,
                };
                let advice = match needs_more_times {
                    true => format!(": set '{format}.timestamp_mapping.legacy' = 'false'"),
                    false => String::new(),
                };
                Err(DataflowError::Unsupported {
                    operator: format!("table {table}"),
                    detail: format!("column {column} of type {of} in format '{format}'{advice}"),
                })
            }
        }
    }

    /// True if a record says what became of a row.
    pub const fn tells_changes(&self) -> bool {
        matches!(self, Self::Changes(_) | Self::DebeziumAvro(_))
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Changes(options) => options.dialect.name(),
            Self::AvroConfluent(options) | Self::DebeziumAvro(options) => options.format,
            _ => self.extension(),
        }
    }

    /// The ending of a file's name.
    pub const fn extension(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Changes(_) => "json",
            Self::Csv(_) => "csv",
            Self::Raw(_) => "raw",
            Self::Parquet(_) => "parquet",
            Self::Avro(_) | Self::AvroConfluent(_) | Self::DebeziumAvro(_) => "avro",
            Self::Protobuf(_) => "protobuf",
        }
    }

    /// True if a field that cannot be read is NULL, and a record that cannot is left out.
    pub const fn ignores_errors(&self) -> bool {
        match self {
            Self::Json(options) => options.ignore_parse_errors,
            Self::Changes(options) => options.json.ignore_parse_errors,
            Self::Csv(options) => options.ignore_parse_errors,
            Self::Protobuf(options) => options.ignore_parse_errors,
            Self::Raw(_) | Self::Parquet(_) | Self::Avro(_) | Self::AvroConfluent(_) | Self::DebeziumAvro(_) => false,
        }
    }

    /// A decoder for a file of records; `from_start`: it begins with the file's first byte. `None`: the format is no
    /// sequence of records.
    pub fn decoder(
        &self,
        schema: SchemaRef,
        layout: &Layout,
        from_start: bool,
    ) -> Result<Option<Box<dyn RecordDecoder>>, DataflowError> {
        Ok(Some(match self {
            Self::Csv(options) => Box::new(csv::CsvDecoder::new(schema, layout.clone(), options, from_start)?),
            Self::Json(options) => Box::new(json::JsonDecoder::new(schema, options)?),
            Self::Raw(options) => Box::new(raw::RawDecoder::new(schema, *options)?),
            Self::Parquet(_) => return Ok(None),
            Self::Avro(_) => avro::file_decoder(schema)?,
            Self::Changes(_) | Self::AvroConfluent(_) | Self::DebeziumAvro(_) | Self::Protobuf(_) => {
                return Err(self.no_files());
            }
        }))
    }

    /// A decoder of a table's messages. `layout` as for files.
    pub fn message_decoder(
        &self,
        table: &str,
        schema: SchemaRef,
        layout: &Layout,
    ) -> Result<Box<dyn MessageDecoder>, DataflowError> {
        Ok(match self {
            Self::Csv(options) => Box::new(csv::CsvDecoder::new(schema, layout.clone(), options, false)?),
            Self::Json(options) => Box::new(json::JsonDecoder::new(schema, options)?),
            Self::Raw(options) => Box::new(raw::RawDecoder::new(schema, *options)?),
            Self::Changes(options) => Box::new(ChangeDecoder::new(schema, options)?),
            Self::Avro(options) => avro::decoder(table, schema, layout, *options)?,
            Self::AvroConfluent(options) => Box::new(avro::ConfluentDecoder::new(schema, options)?),
            Self::DebeziumAvro(options) => Box::new(avro::DebeziumDecoder::new(schema, options)?),
            Self::Protobuf(options) => Box::new(protobuf::ProtobufDecoder::new(table, schema, options)?),
            Self::Parquet(_) => return Err(self.no_messages()),
        })
    }

    /// An encoder of messages; `schema`: the columns of a message.
    pub fn message_encoder(&self, table: &str, schema: &SchemaRef) -> Result<Box<dyn MessageEncoder>, DataflowError> {
        Ok(match self {
            Self::Json(options) => Box::new(json::JsonEncoder::new(options)),
            Self::Csv(options) => Box::new(csv::CsvEncoder::new(table, options)),
            Self::Raw(options) => Box::new(raw::RawEncoder::new(table, *options)),
            Self::Changes(options) => Box::new(ChangeEncoder::new(table, options)?),
            Self::Avro(options) => avro::encoder(table, schema, *options)?,
            Self::AvroConfluent(options) => Box::new(avro::ConfluentEncoder::of_rows(table, schema, options)?),
            Self::DebeziumAvro(options) => Box::new(avro::DebeziumEncoder::new(table, schema, options)?),
            Self::Protobuf(options) => Box::new(protobuf::ProtobufEncoder::new(table, schema, options)?),
            Self::Parquet(_) => return Err(self.no_messages()),
        })
    }

    /// Refuses a format that no file can have, before any is read or written.
    pub fn check_files(&self) -> Result<(), DataflowError> {
        match self {
            Self::Changes(_) | Self::AvroConfluent(_) | Self::DebeziumAvro(_) | Self::Protobuf(_) => {
                Err(self.no_files())
            }
            Self::Json(_) | Self::Csv(_) | Self::Raw(_) | Self::Avro(_) | Self::Parquet(_) => Ok(()),
        }
    }

    fn no_files(&self) -> DataflowError {
        DataflowError::Unsupported {
            operator: format!("format '{}'", self.name()),
            detail: "it is for messages: use it with 'connector' = 'kafka', not with \
                     'connector' = 'filesystem'"
                .to_owned(),
        }
    }

    fn no_messages(&self) -> DataflowError {
        DataflowError::Unsupported {
            operator: format!("format '{}'", self.name()),
            detail: "it writes whole files, not messages: use it with 'connector' = 'filesystem'".to_owned(),
        }
    }

    /// An encoder for a new file of a table; `schema`: the columns that a file holds.
    pub fn encoder(&self, table: &str, schema: &SchemaRef) -> Result<Box<dyn Encoder>, DataflowError> {
        Ok(match self {
            Self::Json(options) => Box::new(json::JsonEncoder::new(options)),
            Self::Csv(options) => Box::new(csv::CsvEncoder::new(table, options)),
            Self::Raw(options) => Box::new(raw::RawEncoder::new(table, *options)),
            Self::Avro(options) => avro::file_encoder(table, schema, *options)?,
            Self::Changes(_) | Self::AvroConfluent(_) | Self::DebeziumAvro(_) | Self::Protobuf(_) => {
                return Err(self.no_files());
            }
            Self::Parquet(options) => Box::new(parquet::ParquetEncoder::new(Arc::clone(schema), *options)?),
        })
    }
}
